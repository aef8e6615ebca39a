"""Figures of the records themselves, of HVSR, and of the score (notebooks 01 and 02)."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from tsgen import hvsr, metrics
from tsgen.figures.style import SIMILARITY_MAP, frequency_axis, kind_note
from tsgen.records import COMPONENTS


def stations(study):
    """Where the stations are and how many records each target station has: training and held out."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), width_ratios=(1.2, 1))
    table = study.records.table
    if {"station_latitude", "station_longitude"} <= set(table.columns):
        place = table.groupby("station")[["station_longitude", "station_latitude"]].first().dropna()
        target = place.index.isin(study.stations)
        left.scatter(*place[~target].to_numpy().T, s=10, c="#aaaaaa", label="background")
        left.scatter(*place[target].to_numpy().T, s=46, c="#D55E00", marker="^", edgecolor="black", label="targets")
        if study.kind == "simulated":  # a recorded network can span the globe: names would cover each other
            for name, (x, y) in place[target].iterrows():
                left.annotate(name, (x, y), xytext=(6, 4), textcoords="offset points", fontsize=8)
        left.legend(loc="best")
    left.set(xlabel="longitude (°)", ylabel="latitude (°)", title=f"stations ({kind_note(study)})")
    counts = study.station_table()
    y = np.arange(len(counts))
    trained = counts["records"] - counts["held_out"]
    right.barh(y, trained, color="#0072B2", label="training")
    right.barh(y, counts["held_out"], left=trained, color="white", edgecolor="#0072B2", hatch="///", label="held out")
    right.set_yticks(y, counts.index)
    right.invert_yaxis()
    right.set(xlabel="records", title="target stations", xlim=(0, counts["records"].max() * 1.5))
    right.legend(loc="lower right")
    return figure


def magnitude_distance(study):
    """Magnitude against distance of every record whose event is known; target stations stand out."""
    figure, ax = plt.subplots(figsize=(6, 3.8))
    table = study.records.table
    if {"magnitude", "distance_in_km"} <= set(table.columns):
        known = table.dropna(subset=["magnitude", "distance_in_km"])
        target = known["station"].isin(study.stations)
        for rows, style in (
            (~target, {"s": 9, "c": "#aaaaaa", "label": "background"}),
            (target, {"s": 18, "c": "#0072B2", "marker": "^", "label": "targets"}),
        ):
            ax.scatter(known["distance_in_km"][rows], known["magnitude"][rows], **style)
        ax.set_xscale("log")
        ax.legend(loc="best")
    ax.set(xlabel="distance (km)", ylabel="magnitude", title=f"what the stations recorded ({kind_note(study)})")
    return figure


def example_row(study):
    """Position in study.training of the record that stands for the set: the one of median peak at the first station."""
    rows = np.flatnonzero(study.training.table["station"] == study.stations[0])
    peaks = np.abs(study.training.take(rows).waveforms).max(axis=(1, 2))
    return int(rows[np.argsort(peaks)[len(rows) // 2]])


def record(study):
    """One record in full: east, north and vertical acceleration, with the arrivals of P and S."""
    row = example_row(study)
    one = study.training.take([row])
    info = one.table.iloc[0]
    time = np.arange(one.n_samples) / one.sampling_rate_in_hz
    figure, axes = plt.subplots(3, 1, figsize=(8, 4.4), sharex=True, sharey=True)
    for ax, name, wave in zip(axes, COMPONENTS, one.waveforms[0], strict=True):
        ax.plot(time, wave, color="black", linewidth=0.6)
        for phase, color in (("p", "#0072B2"), ("s", "#D55E00")):
            sample = info.get(f"{phase}_arrival_sample", np.nan)
            if 0 <= sample <= one.n_samples:
                ax.axvline(sample / one.sampling_rate_in_hz, color=color, linestyle="--", linewidth=1)
                if ax is axes[0]:
                    ax.text(sample / one.sampling_rate_in_hz, ax.get_ylim()[1], f" {phase.upper()}", color=color)
        ax.set_ylabel(f"{name} (cm/s²)")
    axes[-1].set(xlabel="time (s)", xlim=(0, time[-1]))
    figure.suptitle(f"{info['station']}, event {info['event']} ({info['kind']})", fontsize=10)
    return figure


def hvsr_steps(study):
    """From three spectra to one curve: amplitude, Konno-Ohmachi smoothing, and the ratio with its peak f0."""
    row = example_row(study)
    one, settings = study.training.take([row]), study.settings.hvsr
    curve = study.hvsr(study.training).take([row])
    x = hvsr.detrended(one.waveforms, one.table["samples"])[0]
    n_fft = one.n_samples + round(2 * settings.padding_in_s * one.sampling_rate_in_hz)
    frequency = np.fft.rfftfreq(n_fft, 1 / one.sampling_rate_in_hz)
    raw = np.abs(np.fft.rfft(x, n_fft)) / one.sampling_rate_in_hz  # cm/s
    spectra = np.stack([np.sqrt(raw[0] * raw[1]), raw[2]])
    smooth = spectra @ hvsr.konno_ohmachi(frequency, curve.frequency_in_hz, settings.bandwidth, settings.window).T
    figure, axes = plt.subplots(1, 3, figsize=(9.5, 3.2))
    band = (frequency >= 0.8) & (frequency <= 22)
    centre = curve.frequency_in_hz
    for i, (color, line, label) in enumerate((("#D55E00", "-", "horizontal"), ("#0072B2", "--", "vertical"))):
        axes[0].loglog(frequency[band], spectra[i][band], color=color, linewidth=0.5, label=label)
        axes[1].loglog(centre, smooth[i], color=color, linestyle=line, label=label)
    axes[2].plot(centre, curve.curves[0], color="black")
    axes[2].axvline(curve.f0_in_hz[0], color="#D55E00", linestyle="--", label=f"f0 = {curve.f0_in_hz[0]:.2f} Hz")
    for ax in axes:
        frequency_axis(ax)
        ax.legend(loc="best")
    axes[0].set(title="Fourier amplitude", ylabel="amplitude (cm/s)")
    axes[1].set(title=f"smoothed, b = {study.settings.hvsr.bandwidth:g}", ylabel="amplitude (cm/s)")
    axes[2].set(title="ratio", ylabel="H/V")
    axes[2].set_ylim(bottom=0)
    return figure


def station_hvsr(study):
    """HVSR of every record of each target station (thin), the median curve (thick) and the median f0 (dashed)."""
    curves = study.hvsr(study.targets)
    columns = min(3, len(study.stations))
    rows = -(-len(study.stations) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(9, 2.5 * rows), sharex=True, squeeze=False)
    for ax, station in zip(axes.flat, study.stations, strict=False):
        mask = (study.targets.table["station"] == station).to_numpy()
        own = curves.take(mask)
        ax.plot(own.frequency_in_hz, own.curves.T, color="#999999", linewidth=0.3)
        ax.plot(own.frequency_in_hz, own.median, color="black", linewidth=2)
        f0 = np.nanmedian(own.f0_in_hz)
        ax.axvline(f0, color="#D55E00", linestyle="--", linewidth=1)
        text = f"{station}: f0 {f0:.2f} Hz"
        if "site_f0_in_hz" in study.targets.table:
            text += f", planted {study.targets.table['site_f0_in_hz'][mask].iloc[0]:.2f}"
        ax.set(title=text, ylim=(0, np.nanquantile(own.curves, 0.995)))
        frequency_axis(ax, label=ax in axes[-1])
        ax.set_ylabel("H/V")
    for ax in list(axes.flat)[len(study.stations) :]:
        ax.remove()
    return figure


def score_trap(study):
    """Five stations with one and the same f0 law: the interleaved matrix looks specific, the S × S does not."""
    rng = np.random.default_rng(0)
    names = [f"station {i}" for i in range(1, 6)]
    law = {s: {n: np.exp(rng.normal(np.log(5), 0.2, 60)) for n in names} for s in ("real", "generated")}
    both = metrics.station_matrix(law)
    cross = metrics.station_matrix(law, rows="real", columns="generated")
    alone = metrics.station_matrix({"real": law["real"]})
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.4))
    for ax, frame, text in (
        (axes[0], alone, "real × real"),
        (axes[1], both, "2S × 2S, interleaved"),
        (axes[2], cross, "S × S, real × generated"),
    ):
        sns.heatmap(frame.to_numpy(), ax=ax, vmin=0, vmax=1, cmap=SIMILARITY_MAP, square=True, cbar=ax is axes[2])
        ax.set(xticks=[], yticks=[], title=f"{text}\nscore {metrics.station_score(frame):.2f}")
    axes[2].collections[0].colorbar.set_label("similarity of f0")
    figure.suptitle("five stations that cannot be told apart (random numbers, not records)", fontsize=10)
    return figure


def score_ceiling(study):
    """What the S × S score can be: random halves of the recordings (ceiling) and permuted stations (chance)."""
    scores = study.scores("control_bootstrap")["in_sample"]
    figure, ax = plt.subplots(figsize=(7, 2.2))
    for y, (name, text) in enumerate((("chance", "stations permuted"), ("halves", "half against half"))):
        found = scores[name]
        ax.plot([found["low"], found["high"]], [y, y], color="black", linewidth=2)
        ax.plot(found["value"], y, "o", color="#D55E00", markersize=8)
        ax.annotate(
            f"{found['value']:.2f}", (found["value"], y), xytext=(0, 9), textcoords="offset points", ha="center"
        )
        ax.text(-0.98, y, text, va="center")
    ax.set(xlim=(-1, 1), ylim=(-0.6, 1.7), yticks=[], xlabel="station-specificity score, S × S")
    ax.set_title(f"median and 5 to 95 % range of {study.settings.n_halves} draws ({kind_note(study)})")
    return figure


FIGURES = {
    function.__name__: function
    for function in (
        stations,
        magnitude_distance,
        record,
        hvsr_steps,
        station_hvsr,
        score_trap,
        score_ceiling,
    )
}
