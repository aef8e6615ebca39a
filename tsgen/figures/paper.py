"""The paper's figures (arXiv 2512.04694), regenerated: architecture, stations, matrices, scores (notebook 06)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from tsgen import findings, metrics
from tsgen.evidence import scores as evidence
from tsgen.figures import style
from tsgen.figures.style import SAME, arrow, boxes, figure, finish
from tsgen.roles import role
from tsgen.study import PAPER_MODELS

SHOWN = ("training", *(each for name in PAPER_MODELS for each in (f"reconstructed-{name}", name)))
LEGEND = {role(name).label: role(name).line for name in SHOWN}


@figure
def architecture(study):
    """TimesNet-Gen as this run builds it: encoder, latent noise of phase 1, mixing at generation, decoder."""
    s = study.settings.timesnet
    texts = [f"record\n(T, 3), E N Z\nT = {s.n_samples}", f"standardise\nlinear 3 → {s.d_model}\n+ position"]
    texts += [f"{s.n_blocks} × TimesBlock\ntop {s.top_k} periods\nfold, 2-D inception\nwidth {s.d_model}, {s.d_ff}"]
    texts += [f"latent z\n(T, {s.d_model})", f"linear {s.d_model} → 3\nde-standardise", "record\n(T, 3)"]
    drawn, ax, x = boxes(texts, (10, 3.4), (-1.6, 2.0), width=1.15)
    mixed = f"phase 1: z + N(0, std²)\ngeneration: mean z of k = {study.settings.mixed_records} records"
    given = "station one-hot, phase 1:\nconcatenated to the folded maps"
    arrow(ax, (x[2], 1.37), (x[2], 1.06), given, (x[2], 1.62))
    arrow(ax, (x[3], -0.37), (x[3], -0.06), mixed, (x[3], -0.62))
    ax.plot([1.0, 1.0, 6.6, 6.6], [-0.05, -1.15, -1.15, -0.05], color="#7a7a7a", linestyle="--", linewidth=1)
    ax.text(3.0, -1.28, "mean and std of each component", ha="center", va="top", fontsize=8, color="#555555")
    ax.set_xlim(-0.2, 8.8)
    return drawn


@figure
def stations_f0(study):
    """For each target station the histogram of f0 that the score compares: 20 bins from 1 to 20 Hz, sum 1; grey:
    recordings. Above it the similarity of each model's generated records to the recordings."""
    drawn, panels = style.station_axes(study, LEGEND, xlabel="f0 (Hz)", ylabel="share of records")
    for ax, station in zip(panels, study.stations, strict=True):
        f0_panel(ax, station, {name: study.f0(name)[station] for name in SHOWN}, PAPER_MODELS, study.settings.f0)
    return finish(drawn, study, "f0 of recorded, reconstructed and generated records")


def f0_panel(ax, station, f0, judged, settings=metrics.DEFAULT):
    """Histograms of f0 {role: values in Hz}, and how alike those of ``judged`` are to the recordings'."""
    edges = np.linspace(settings.lowest_in_hz, settings.highest_in_hz, settings.n_bins + 1)
    shares = {name: metrics.f0_histogram(values, settings) for name, values in f0.items()}
    ax.stairs(shares["training"], edges, fill=True, color="#d9d9d9")
    for name, values in shares.items():
        ax.stairs(values, edges, **role(name).line)
    _titled(ax, station, "similarity", {n: metrics.js_similarity(shares["training"], shares[n]) for n in judged})


def _titled(ax, station, words, values):
    """Name of the station, and below it a number for each role."""
    names = {name: role(name).label.removesuffix(", reconstructed") for name in values}
    numbers = ", ".join(f"{names[name]} {findings.number(value)}" for name, value in values.items())
    ax.set_title(f"{station}\n{words}: {numbers}", fontsize=8)


@figure
def stations_hvsr(study):
    """For each target station the median HVSR curve of recorded, reconstructed and generated records; above it the
    correlation of each model's generated curve with that of the recordings."""
    drawn, panels = style.station_axes(study, LEGEND, ylabel="H/V")
    curves = {name: (study.some(name).table["station"], study.hvsr(study.some(name))) for name in SHOWN}
    for ax, station in zip(panels, study.stations, strict=True):
        medians = {name: some.take((of == station).to_numpy()).median for name, (of, some) in curves.items()}
        hvsr_panel(ax, station, curves["training"][1].frequency_in_hz, medians, PAPER_MODELS)
    return finish(drawn, study, "median HVSR")


def hvsr_panel(ax, station, frequency_in_hz, medians, judged):
    """Median HVSR curves {role: (f,)}, and the correlation of those of ``judged`` with the recordings'."""
    for name, median in medians.items():
        ax.plot(frequency_in_hz, median, **role(name).line)
    known = np.isfinite(list(medians.values())).all(axis=0)
    alike = {name: np.corrcoef(medians["training"][known], medians[name][known])[0, 1] for name in judged}
    _titled(ax, station, "correlation", alike)
    ax.set_ylim(bottom=0)


def _heatmap(ax, study, frame, words, n_sources, colorbar=True):
    """A station matrix with its score in the title; n_sources: rows and columns that a station has."""
    style.similarity(ax, np.asarray(frame), colorbar)
    for (row, column), value in np.ndenumerate(np.asarray(frame)):  # in hundredths: a cell is a quarter of an inch
        look = {"ha": "center", "va": "center", "fontsize": 9 - 1.5 * n_sources}
        ax.text(column + 0.5, row + 0.5, f"{100 * value:.0f}", color="black" if value > 0.5 else "white", **look)
    n, f0 = len(study.stations), study.f0("training").items()
    middle = (np.arange(n) + 0.5) * n_sources
    names = [f"{station}\n{np.median(values):.1f} Hz" if len(values) else station for station, values in f0]
    ax.set_xticks(middle, names, rotation=90, fontsize=7)
    if n_sources > 1:  # every row by its source, the first of a station by the station, too
        sources = frame.index.get_level_values("source")
        each = [f"{names[i // n_sources]}, {s}" if i % n_sources == 0 else s for i, s in enumerate(sources)]
        ax.set_yticks(np.arange(len(each)) + 0.5, [text.replace("\n", " ") for text in each], rotation=0, fontsize=6)
    else:
        ax.set_yticks(middle, names, rotation=0, fontsize=7)
    ax.tick_params(length=0)
    for edge in range(1, n):
        ax.axhline(edge * n_sources, color="white", linewidth=0.8)
        ax.axvline(edge * n_sources, color="white", linewidth=0.8)
    score = f"score {metrics.station_score(frame):.3f}" if n > 1 else "the score needs two stations"
    ax.set_title(f"{words}\n{score}", fontsize=9)


def _matrix(study, name):
    frame = study.matrix(("real", "training"), ("reconstructed", f"reconstructed-{name}"), ("generated", name))
    ideal = pd.DataFrame(np.kron(np.eye(len(study.stations)), np.ones((3, 3))), frame.index, frame.columns)
    drawn, axes = plt.subplots(1, 2, figsize=(9.6, 4.4))
    _heatmap(axes[0], study, ideal, "ideal", 3, False)
    _heatmap(axes[1], study, frame, f"{role(name).label}, 3S × 3S", 3)
    return finish(drawn, study, "numbers: hundredths; within a station: real, reconstructed, generated")


@figure
def matrix_timesnet(study):
    """TimesNet-Gen's 3S × 3S similarity matrix (real, reconstructed, generated) beside the ideal, with its score."""
    return _matrix(study, "timesnet")


@figure
def matrix_cvae(study):
    """The VAE baseline's 3S × 3S similarity matrix (real, reconstructed, generated) beside the ideal."""
    return _matrix(study, "cvae")


@figure
def matrix_generated(study):
    """Real × generated (S × S, the primary score) for each model and the plain average, in-sample and held-out."""
    names = [*PAPER_MODELS, "control_average"]
    protocols = evidence.protocols(study)
    size = (3.5 * len(names), 0.4 + 3.0 * len(protocols))
    drawn, axes = plt.subplots(len(protocols), len(names), figsize=size, squeeze=False)
    for row, (protocol, real) in zip(axes, protocols.items(), strict=True):
        for ax, name in zip(row, names, strict=True):
            groups = {"real": study.f0(real), "generated": study.f0(name)}
            frame = metrics.station_matrix(groups, "real", "generated", study.settings.f0)
            _heatmap(ax, study, frame, f"{role(name).label}, {protocol.replace('_', '-')}", 1, ax is row[-1])
            ax.set(xlabel="generated" if row is axes[-1] else "", ylabel="recorded" if ax is row[0] else "")
    return finish(drawn, study, "S × S similarity in hundredths; below a station's name its median recorded f0")


@figure
def matrix_pairs(study):
    """The 2S × 2S matrices (real, generated interleaved): half of each diagonal block is 1 by construction."""
    drawn, axes = plt.subplots(1, len(PAPER_MODELS), figsize=(9.2, 4.2))
    for ax, name in zip(axes, PAPER_MODELS, strict=True):
        _heatmap(ax, study, study.matrix(("real", "training"), ("generated", name)), f"{role(name).label}, 2S × 2S", 2)
    return finish(drawn, study, "numbers: hundredths; within a station: real, generated")


@figure(needs=["two stations"])
def scores(study):
    """S × S score of each model and control with its interval, in-sample and held-out; bands: chance, and training
    recordings against held-out ones."""
    names = study.judged
    against = findings.select(evidence.recordings(study), against="held_out", statistic="S × S")
    protocols = evidence.protocols(study)
    size = {"figsize": (0.5 + 4.5 * len(protocols), 0.42 * len(names) + 1.7), "squeeze": False}
    drawn, axes = plt.subplots(1, len(protocols), sharex=True, sharey=True, **size)
    for ax, protocol in zip(axes[0], protocols, strict=True):
        found = pd.concat([findings.select(evidence.scores(study, name), protocol=protocol) for name in names])
        chance = findings.select(found, statistic="S × S, chance").head(1)
        band, words = {"edgecolor": "white"}, "recordings against recordings"
        for low, high in chance[["low", "high"]].to_numpy():
            ax.axvspan(low, high, facecolor="#dddddd", label="chance", **band)
        for low, high in against[["low", "high"]].to_numpy():
            ax.axvspan(low, high, facecolor=SAME, hatch="///", label=words, **band)
        for y, name in enumerate(names):
            style.draw_score(ax, findings.maybe(found, subject=name, statistic="S × S"), y, color=role(name).color)
        ax.set_yticks(range(len(names)), [role(name).label for name in names])
        ax.set(xlabel="station-specificity score, S × S", title=protocol.replace("_", "-"))
        ax.set_ylim(len(names) - 0.4, -0.8)
    return finish(drawn, study, "recordings against recordings: training against held-out", axes[0, 0], ncols=2)
