"""The paper's figures (arXiv 2512.04694), regenerated: architecture, stations, matrices, scores (notebook 06)."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch
from scipy.stats import gaussian_kde

from tsgen import metrics
from tsgen.figures.style import ROLES, SIMILARITY_MAP, frequency_axis, kind_note
from tsgen.study import PAPER_MODELS


def architecture(study):
    """TimesNet-Gen as this run builds it: encoder, latent noise of phase 1, mixing at generation, decoder."""
    s = study.settings.timesnet
    figure, ax = plt.subplots(figsize=(10, 3.4))
    boxes = [
        (0.0, "record\n(T, 3), E N Z\n" + f"T = {s.n_samples}"),
        (1.5, f"standardise\nlinear 3 → {s.d_model}\n+ position"),
        (
            3.0,
            f"{s.n_blocks} × TimesBlock\ntop {s.top_k} periods\nfold, 2-D inception\nwidth {s.d_model}, {s.d_ff}",
        ),
        (4.5, f"latent z\n(T, {s.d_model})"),
        (6.0, f"linear {s.d_model} → 3\nde-standardise"),
        (7.5, "record\n(T, 3)"),
    ]
    for x, text in boxes:
        box = FancyBboxPatch((x, 0), 1.15, 1, boxstyle="round,pad=0.04", facecolor="#eef3f8", edgecolor="#0072B2")
        ax.add_patch(box)
        ax.text(x + 0.575, 0.5, text, ha="center", va="center", fontsize=8)
        if x:
            ax.annotate("", (x - 0.05, 0.5), (x - 0.29, 0.5), arrowprops={"arrowstyle": "->", "color": "black"})
    notes = [
        (3.575, 1.62, "station one-hot, phase 1:\nconcatenated to the folded maps"),
        (5.075, -0.62, f"phase 1: z + N(0, std²)\ngeneration: mean z of k = {study.settings.mixed_records} records"),
    ]
    for x, y, text in notes:
        ax.text(x, y, text, ha="center", va="center", fontsize=8, color="#D55E00")
        edge = 1.06 if y > 1 else -0.06
        ax.annotate("", (x, edge), (x, y - 0.25 * np.sign(y)), arrowprops={"arrowstyle": "->", "color": "#D55E00"})
    ax.plot([1.0, 1.0, 6.6, 6.6], [-0.05, -1.15, -1.15, -0.05], color="#7a7a7a", linestyle="--", linewidth=1)
    ax.text(3.0, -1.28, "mean and std of each component", ha="center", va="top", fontsize=8, color="#555555")
    ax.set(xlim=(-0.2, 8.8), ylim=(-1.6, 2.0))
    ax.axis("off")
    return figure


def sources(study):
    """{role: Records} of everything that the run has built, recordings first."""
    found = {"recorded": study.training}
    for name in PAPER_MODELS:
        found[f"{name}_reconstructed"] = study.reconstructed(name)
        found[name] = study.generated(name)
    return found


def stations_f0(study):
    """For each target station the distribution of f0: histogram (20 bins from 1 to 20 Hz) and density curve."""
    found = sources(study)
    f0 = {role: study.f0(some) for role, some in found.items()}
    s = study.settings.f0
    edges = np.linspace(s.lowest_in_hz, s.highest_in_hz, s.n_bins + 1)
    figure, axes = _station_axes(study)
    grid = np.geomspace(edges[0], edges[-1], 300)
    for ax, station in zip(axes.flat, study.stations, strict=False):
        for role, groups in f0.items():
            values = groups[station]
            look = ROLES[role]
            if role == "recorded":
                ax.hist(values, edges, density=True, color="#d9d9d9", edgecolor="#7a7a7a", linewidth=0.6)
            else:
                ax.hist(values, edges, density=True, histtype="step", color=look.color, linewidth=0.5, alpha=0.6)
            if len(values) > 1 and np.ptp(values) > 0.01:  # equal peaks have no density curve
                density = gaussian_kde(np.log(values))(np.log(grid)) / grid  # of ln f0: its scatter is lognormal
                ax.plot(grid, density, **look.line)
        ax.set(title=station, xlabel="f0 (Hz)", ylabel="density (1/Hz)")
        frequency_axis(ax)
    _shared_legend(axes, study, found)
    figure.suptitle(f"f0 of recorded, reconstructed and generated records ({kind_note(study)})", fontsize=10)
    return figure


def stations_hvsr(study):
    """For each target station the median HVSR curve of recorded, reconstructed and generated records."""
    figure, axes = _station_axes(study)
    found = sources(study)
    for role, some in found.items():
        curves = study.hvsr(some)
        for ax, station in zip(axes.flat, study.stations, strict=False):
            own = curves.take((some.table["station"] == station).to_numpy())
            ax.plot(own.frequency_in_hz, own.median, **ROLES[role].line)
            ax.set(title=station, ylabel="H/V")
            frequency_axis(ax)
    for ax in axes.flat:
        ax.set_ylim(bottom=0)
    _shared_legend(axes, study, found)
    figure.suptitle(f"median HVSR ({kind_note(study)})", fontsize=10)
    return figure


def _station_axes(study):
    columns = min(3, len(study.stations))
    rows = -(-(len(study.stations) + 1) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.3 * columns, 2.4 * rows + 0.4), squeeze=False)
    return figure, axes


def _shared_legend(axes, study, roles):
    """The legend in the first empty panel, where it hides no curve; the other empty panels go."""
    empty = list(axes.flat)[len(study.stations) :]
    for ax in empty:
        ax.set_axis_off()
    handles = [Line2D([], [], label=ROLES[role].label, **ROLES[role].line) for role in roles]
    empty[0].legend(handles=handles, loc="center")


def _ideal(frame):
    rows = np.asarray(frame.index.get_level_values("station"))
    columns = np.asarray(frame.columns.get_level_values("station"))
    return (rows[:, None] == columns).astype(float)


def _target_f0(study):
    f0 = study.f0(study.training)
    return [f"{station}\n{np.median(f0[station]):.1f} Hz" for station in study.stations]


def _heatmap(ax, values, study, n_sources, colorbar=False):
    sns.heatmap(values, ax=ax, vmin=0, vmax=1, cmap=SIMILARITY_MAP, square=True, cbar=colorbar)
    n = len(study.stations)
    middle = (np.arange(n) + 0.5) * n_sources
    names = _target_f0(study)
    ax.set_xticks(middle, names, rotation=90, fontsize=7)
    ax.set_yticks(middle, names, rotation=0, fontsize=7)
    ax.tick_params(length=0)
    for edge in range(1, n):
        ax.axhline(edge * n_sources, color="white", linewidth=0.8)
        ax.axvline(edge * n_sources, color="white", linewidth=0.8)
    if colorbar:
        ax.collections[0].colorbar.set_label("similarity of f0")


def _score_text(frame, study):
    return f"score {metrics.station_score(frame):.3f}" if len(study.stations) > 1 else "one station: no score"


def _matrix(study, name):
    parts = [
        ("real", study.training),
        ("reconstructed", study.reconstructed(name)),
        ("generated", study.generated(name)),
    ]
    frame = study.matrix(*parts)
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 4.4))
    _heatmap(axes[0], _ideal(frame), study, 3)
    axes[0].set_title("ideal")
    _heatmap(axes[1], frame.to_numpy(), study, 3, colorbar=True)
    axes[1].set_title(f"{ROLES[name].label.split(',')[0]}, 3S × 3S: {_score_text(frame, study)}")
    figure.suptitle(
        f"within a station: real, reconstructed, generated; median recorded f0 ({kind_note(study)})", fontsize=10
    )
    return figure


def matrix_timesnet(study):
    """TimesNet-Gen's 3S × 3S similarity matrix (real, reconstructed, generated) beside the ideal, with its score."""
    return _matrix(study, "timesnet")


def matrix_cvae(study):
    """The VAE baseline's 3S × 3S similarity matrix (real, reconstructed, generated) beside the ideal."""
    return _matrix(study, "cvae")


def matrix_generated(study):
    """Real × generated (S × S, the primary score) for each model and the plain average, in-sample and held-out."""
    names = [*PAPER_MODELS, "control_average"]
    protocols = (("in-sample", study.training), ("held-out", study.held_out))
    figure, axes = plt.subplots(2, len(names), figsize=(3.5 * len(names), 6.4), squeeze=False)
    for row, (protocol, real) in zip(axes, protocols, strict=True):
        for ax, name in zip(row, names, strict=True):
            groups = {"real": study.f0(real), "generated": study.f0(study.generated(name))}
            frame = metrics.station_matrix(groups, "real", "generated", study.settings.f0)
            _heatmap(ax, frame.to_numpy(), study, 1, colorbar=ax is row[-1])
            ax.set_title(f"{ROLES[name].label.split(',')[0]}, {protocol}\n{_score_text(frame, study)}", fontsize=9)
        row[0].set_ylabel("recorded")
    for ax in axes[-1]:
        ax.set_xlabel("generated")
    figure.suptitle(f"S × S similarity, recorded f0 medians ({kind_note(study)})", fontsize=10)
    return figure


def matrix_pairs(study):
    """The 2S × 2S matrices (real, generated interleaved): half of each diagonal block is 1 by construction."""
    names = list(PAPER_MODELS)
    figure, axes = plt.subplots(1, len(names), figsize=(4.6 * len(names), 4.2), squeeze=False)
    for ax, name in zip(axes[0], names, strict=True):
        frame = study.matrix(("real", study.training), ("generated", study.generated(name)))
        _heatmap(ax, frame.to_numpy(), study, 2, colorbar=True)
        ax.set_title(f"{ROLES[name].label.split(',')[0]}, 2S × 2S: {_score_text(frame, study)}")
    return figure


def scores(study):
    """S × S score of each model and control with its interval, in-sample and held-out, between chance and ceiling."""
    names = [*PAPER_MODELS, "control_average", "control_bootstrap", "control_phase", "control_other"]
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 0.42 * len(names) + 1.7), sharex=True, sharey=True)
    for ax, protocol in zip(axes, ("in_sample", "held_out"), strict=True):
        found = {name: study.scores(name)[protocol] for name in names}
        shown = [name for name in names if found[name]["value"] is not None]
        for name, color, hatch in (("chance", "#dddddd", ""), ("ceiling", "#cfe3d4", "///")):
            if shown:
                band = found[shown[0]][name]
                ax.axvspan(band["low"], band["high"], facecolor=color, edgecolor="white", hatch=hatch, label=name)
        for y, name in enumerate(shown):
            one, look = found[name], ROLES[name]
            ax.plot([one["low"], one["high"]], [y, y], color=look.color, linewidth=2)
            ax.plot(one["value"], y, "o", color=look.color)
            ax.annotate(
                f"{one['value']:.2f}",
                (one["value"], y),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=7,
            )
        ax.set_yticks(range(len(shown)), [ROLES[name].label for name in shown])
        ax.set(
            xlabel="station-specificity score, S × S", title=protocol.replace("_", "-"), ylim=(len(shown) - 0.4, -0.8)
        )
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle(f"ceiling: training against held-out recordings ({kind_note(study)})", fontsize=10)
    return figure


FIGURES = {
    function.__name__: function
    for function in (
        architecture,
        stations_f0,
        stations_hvsr,
        matrix_timesnet,
        matrix_cvae,
        matrix_generated,
        matrix_pairs,
        scores,
    )
}
