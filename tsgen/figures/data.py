"""Figures of the records themselves, of HVSR, and of the score (notebooks 01 and 02)."""

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from tsgen import findings, hvsr, metrics
from tsgen.evidence.scores import improper, station_table
from tsgen.figures import style
from tsgen.figures.style import BLUE, GREY, ORANGE, figure, finish, frequency_axis
from tsgen.records import COMPONENTS

TARGETS = {"marker": "^", "label": "targets"}


@figure
def stations(study):
    """Where stations and epicentres are and how many records each target station has: training and held out."""
    drawn, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), width_ratios=(1.2, 1))
    places = study.records.table.reindex(columns=["station", "station_longitude", "station_latitude"])
    place = places.groupby("station").first().dropna()
    target = place.index.isin(study.stations)
    epicentres = study.records.table.reindex(columns=["event_longitude", "event_latitude"]).drop_duplicates().dropna()
    if len(epicentres):
        left.scatter(*epicentres.to_numpy(float).T, s=9, marker="x", c=BLUE, linewidth=0.5, label="epicentres")
    if len(place):
        left.scatter(*place[~target].to_numpy(float).T, s=10, c=GREY, label="background")
        left.scatter(*place[target].to_numpy(float).T, s=46, c=ORANGE, edgecolor="black", **TARGETS)
        left.legend(loc="best")
    if study.kind == "simulated":  # a recorded network can span the globe: names would cover each other
        named = place[target].sort_values("station_longitude").iterrows()  # neighbours' names go to different sides
        for (name, at), side in zip(named, cycle(((6, 4, "left"), (6, -10, "left"), (-6, 4, "right")))):
            left.annotate(name, at, side[:2], textcoords="offset points", fontsize=8, ha=side[2])
    title = "stations and epicentres" if len(place) else "the map needs coordinates"
    left.set(xlabel="longitude (°)", ylabel="latitude (°)", title=title)
    counts = station_table(study)
    trained, hatched = counts["records"] - counts["held out"], {"color": "white", "edgecolor": BLUE, "hatch": "///"}
    right.barh(counts.index, trained, color=BLUE, label="training")
    right.barh(counts.index, counts["held out"], left=trained, label="held out", **hatched)
    right.invert_yaxis()
    right.set(xlabel="records", title="target stations", xlim=(0, counts["records"].max() * 1.5))
    right.legend(loc="lower right")
    return finish(drawn, study, "where the records come from")


@figure(needs=["magnitudes"])
def magnitude_distance(study):
    """Magnitude against distance of every record whose event is known; target stations stand out."""
    drawn, ax = plt.subplots(figsize=(6, 3.8))
    known = study.records.table.reindex(columns=["distance_in_km", "magnitude", "station"]).dropna()
    target, known = known.pop("station").isin(study.stations), known.astype(float)
    ax.scatter(*known[~target].to_numpy().T, s=9, c=GREY, label="background")
    ax.scatter(*known[target].to_numpy().T, s=18, c=BLUE, **TARGETS)
    ax.set(xscale="log", xlabel="distance (km)", ylabel="magnitude")
    low, high = ax.get_xlim()
    style.plain_ticks(ax.xaxis, [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if low <= tick <= high])
    ax.legend(loc="best")
    return finish(drawn, study, "what the stations recorded")


def example_row(records, station):
    """Position of the record that stands for a station: the one of median peak."""
    rows = np.flatnonzero(records.table["station"] == station)
    peaks = np.abs(records.take(rows).waveforms).max(axis=(1, 2))
    return int(rows[np.argsort(peaks)[len(rows) // 2]])


@figure
def record(study):
    """One record in full: east, north and vertical acceleration, with the arrivals of P and S."""
    one = study.training.take([example_row(study.training, study.stations[0])])
    info, time = one.table.iloc[0], style.times(one)
    drawn, axes = plt.subplots(3, 1, figsize=(8, 4.4), sharex=True, sharey=True)
    for ax, name, wave in zip(axes, COMPONENTS, one.waveforms[0], strict=True):
        ax.plot(time, wave, color="black", linewidth=0.6)
        for phase, color in (("p", BLUE), ("s", ORANGE)):
            arrival = info.get(f"{phase}_arrival_sample", np.nan) / one.sampling_rate_in_hz
            if 0 <= arrival <= time[-1]:
                ax.axvline(arrival, color=color, linestyle="--", linewidth=1)
                if ax is axes[0]:
                    ax.text(arrival, ax.get_ylim()[1], f" {phase.upper()}", color=color)
        ax.set_ylabel(f"{name} (cm/s²)")
    axes[-1].set(xlabel="time (s)", xlim=(0, time[-1]))
    drawn.suptitle(f"{info['station']}, event {info['event']} ({info['kind']})", fontsize=10)
    return drawn


@figure
def hvsr_steps(study):
    """From three spectra to one curve: amplitude, Konno-Ohmachi smoothing, and the ratio with its peak f0."""
    row, settings = example_row(study.training, study.stations[0]), study.settings.hvsr
    one, curve = study.training.take([row]), study.hvsr(study.training).take([row])
    x = hvsr.detrended(one.waveforms, one.table["samples"])[0]
    n_fft = one.n_samples + round(2 * settings.padding_in_s * one.sampling_rate_in_hz)
    frequency = np.fft.rfftfreq(n_fft, 1 / one.sampling_rate_in_hz)
    raw = np.abs(np.fft.rfft(x, n_fft)) / one.sampling_rate_in_hz  # cm/s
    spectra = np.stack([np.sqrt(raw[0] * raw[1]), raw[2]])
    smooth = spectra @ hvsr.konno_ohmachi(frequency, curve.frequency_in_hz, settings.bandwidth, settings.window).T
    drawn, axes = plt.subplots(1, 3, figsize=(9.5, 3.2))
    band, centre = (frequency >= 0.8) & (frequency <= 22), curve.frequency_in_hz
    for i, (color, line, label) in enumerate(((ORANGE, "-", "horizontal"), (BLUE, "--", "vertical"))):
        axes[0].loglog(frequency[band], spectra[i][band], color=color, linewidth=0.5, label=label)
        axes[1].loglog(centre, smooth[i], color=color, linestyle=line, label=label)
    axes[2].plot(centre, curve.curves[0], color="black")
    axes[2].axvline(curve.f0_in_hz[0], color=ORANGE, linestyle="--", label=f"f0 = {curve.f0_in_hz[0]:.2f} Hz")
    titles = ("Fourier amplitude", f"smoothed, b = {settings.bandwidth:g}", "ratio")
    for ax, title in zip(axes, titles, strict=True):
        frequency_axis(ax)
        ax.set(title=title, ylabel="H/V" if title == "ratio" else "amplitude (cm/s)")
        ax.legend(loc="best")
    axes[2].set_ylim(bottom=0)
    return finish(drawn, study, f"{one.table['station'].iloc[0]}, one record")


@figure
def station_hvsr(study):
    """HVSR of every record of each target station (thin), the median curve (thick) and the median f0 (dashed)."""
    curves, table = study.hvsr(study.targets), study.targets.table
    planted = table.get("site_f0_in_hz", pd.Series(np.nan, table.index))
    looks = {"one record": ("#999999", "-"), "median curve": ("black", "-"), "median f0": (ORANGE, "--")}
    legend = {words: {"color": color, "linestyle": line} for words, (color, line) in looks.items()}
    drawn, panels = style.station_axes(study, legend, ylabel="H/V")
    for ax, station in zip(panels, study.stations, strict=True):
        mask = (table["station"] == station).to_numpy()
        own = curves.take(mask)
        ax.plot(own.frequency_in_hz, own.curves.T, color="#999999", linewidth=0.3)
        ax.plot(own.frequency_in_hz, own.median, color="black", linewidth=2)
        if np.isfinite(own.f0_in_hz).any():
            f0, there = np.nanmedian(own.f0_in_hz), planted[mask].iloc[0]
            ax.axvline(f0, color=ORANGE, linestyle="--", linewidth=1)
            ax.set_ylim(0, np.nanquantile(own.curves, 0.995))
            ax.set_title(f"{station}: f0 {f0:.2f} Hz" + (f", planted {there:.2f}" if np.isfinite(there) else ""))
    return finish(drawn, study, "HVSR of the target stations")


@figure
def score_trap(study):
    """Five stations with one and the same f0 law: the interleaved matrix looks specific, the S × S does not."""
    rng = np.random.default_rng(0)
    names = [f"station {i}" for i in range(1, 6)]
    law = {s: {n: np.exp(rng.normal(np.log(5), 0.2, 60)) for n in names} for s in ("real", "generated")}
    own, both = metrics.station_matrix({"real": law["real"]}), metrics.station_matrix(law)
    cross = metrics.station_matrix(law, rows="real", columns="generated")
    frames = {"real × real": own, "2S × 2S, interleaved": both, "S × S, real × generated": cross}
    drawn, axes = plt.subplots(1, 3, figsize=(10, 3.4))
    for ax, (text, frame) in zip(axes, frames.items(), strict=True):
        style.similarity(ax, frame.to_numpy(), ax is axes[2])
        ax.set(xticks=[], yticks=[], title=f"{text}\nscore {metrics.station_score(frame):.2f}")
    drawn.suptitle("five stations that cannot be told apart (random numbers, not records)", fontsize=10)
    return drawn


@figure(needs=["two stations"])
def score_ceiling(study):
    """What the S × S score can be: recordings against recordings (random halves), and chance (permuted stations)."""
    real, n = study.f0("targets"), study.settings.n_halves
    drawn, ax = plt.subplots(figsize=(7, 2.2))
    found = {"stations permuted (chance)": metrics.chance(real, real, n)}
    found["recordings against recordings"] = metrics.ceiling(real, n)
    for y, (text, one) in enumerate(found.items()):
        style.draw_score(ax, vars(one), y, color=ORANGE, ecolor="black")
        ax.text(-0.98, y, text, va="center")
    ax.set(xlim=(-1, 1), ylim=(-0.6, 1.7), yticks=[], xlabel="station-specificity score, S × S")
    return finish(drawn, study, f"median and 5 to 95 % range of {n} draws")


@figure(needs=["two stations", "held-out recordings"])
def score_improper(study):
    """The paper's score rises where generated f0 scatters less than it should; the energy distance is least where it
    scatters as it should."""
    drawn, axes = plt.subplots(1, 2, figsize=(9, 3.2))
    words = {"score": "score S × S\n(the higher, the better)"}
    words["f0"] = "energy distance of ln f0\n(the lower, the better)"
    for ax, (measure, text) in zip(axes, words.items(), strict=True):
        rows = findings.select(improper(study), measure=measure)
        rows = rows[rows["set"] != ""]
        x = rows["set"].str.removeprefix("scatter × ").astype(float)
        ax.plot(x, rows["value"], "o-", color=BLUE)
        ax.fill_between(x, rows["low"], rows["high"], color=BLUE, alpha=0.15, linewidth=0)
        best = rows["value"].idxmax() if measure == "score" else rows["value"].idxmin()
        ax.plot(x[best], rows.loc[best, "value"], "o", markersize=11, markerfacecolor="none", color=ORANGE)
        ax.axvline(1, color="black", linewidth=0.8, linestyle=":")
        ax.set(xlabel="scatter of generated ln f0 / true scatter", ylabel=text)
    title = "generators of the right median; ring: what is taken for the best; band: 5 to 95 % of draws"
    return finish(drawn, study, title)
