"""Motion for a magnitude and a distance (notebook 08), and what structures feel of it (notebook 09)."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

from tsgen.evidence import bias, scenarios, structures
from tsgen.figures import style
from tsgen.figures.style import figure, finish
from tsgen.findings import BOUNDS, select
from tsgen.intensity import G_IN_CM_S2
from tsgen.measures import PERIODS_IN_S, SPECTRAL
from tsgen.roles import role
from tsgen.scenario import NEEDED

NEEDS = ("magnitudes", "held-out recordings")  # of every figure of a scenario
# label: columns whose mean is shown, and the period of the ground-motion models
SHOWN = {"PGA (cm/s²)": (["pga"], 0.0), "PSA at 1 s (cm/s²)": ([SPECTRAL[14]], float(PERIODS_IN_S[14]))}
SHOWN["Fourier amplitude at 5.7 Hz (cm/s)"] = (["fourier_e_5.66", "fourier_n_5.66"], None)
REFERENCES = {"fresh": "fresh truth", "held_out": "held-out recordings"}
AXES = {"magnitude": "magnitude", "distance_in_km": "hypocentral distance (km)"}


def _frames(study, which):
    """{role: frame} of what CGM-GM generates for some scenarios and, on the simulated default, of the truth."""
    parts = {"cgm": "generated"} | ({"fresh": "truth"} if study.kind == "simulated" else {})
    return {name: scenarios.frame(study, which, part) for name, part in parts.items()}


@figure(needs=NEEDS)
def scenario_waves(study):
    """Five realisations of one scenario, M 6 at 20 km, and five of the truth where it can be drawn."""
    row = scenarios.one_scenario(study)
    sets = {"cgm": scenarios.generated(study, row, 5)}
    if study.kind == "simulated":
        sets["fresh"] = scenarios.truth(study, row.loc[row.index.repeat(5)])
    drawn, axes = plt.subplots(5, len(sets), figsize=(10, 5), sharex=True, sharey=True, squeeze=False)
    for column, (which, some) in zip(axes.T, sets.items(), strict=True):
        look = role(which)
        for ax, wave in zip(column, some.waveforms[:, 0], strict=True):
            ax.plot(style.times(some), wave, color=look.color, linewidth=0.5)
        column[0].set_title(look.label)
        column[-1].set_xlabel("time (s)")
    axes[2, 0].set_ylabel("acceleration, E (cm/s²)")
    magnitude, distance = scenarios.ASKED
    return finish(drawn, study, f"M {magnitude:g} at {distance:g} km, station {study.stations[0]}")


@figure(needs=NEEDS)
def scenario_scaling(study):
    """PGA, PSA and Fourier amplitude by magnitude at 30 km and by distance at M 5.5. Lines: medians, bands 16 to 84 %;
    crosses are held-out recordings, of other distances (above) and magnitudes (below), each shifted to the panel's
    30 km or M 5.5 by the scaling of the training recordings; grey is what training did not reach."""
    frames, limits = _frames(study, "sweep"), scenarios.reach(study)
    n = len(frames["cgm"]) // sum(map(len, scenarios.SWEPT.values())) * len(scenarios.SWEPT["magnitude"])
    parts = {"magnitude": slice(n), "distance_in_km": slice(n, None)}
    crosses = {"color": role("held_out").color, "label": "held out, shifted to 30 km or M 5.5"}
    drawn, axes = plt.subplots(2, 3, figsize=(11, 6.4))
    for row, (sweep, part) in zip(axes, parts.items(), strict=True):
        for ax, (words, (columns, period)) in zip(row, SHOWN.items(), strict=True):
            for which, frame in frames.items():
                groups, look = frame[part][columns].mean(axis=1).groupby(frame[part][sweep]), role(which)
                low, middle, high = (np.exp(groups.quantile(q)) for q in (0.16, 0.5, 0.84))
                mark = {"marker": "o" if which == "cgm" else "s", "markersize": 4} | look.line
                ax.plot(middle.index, middle, label=look.label, **mark)
                ax.fill_between(middle.index, low, high, color=look.color, alpha=0.15, linewidth=0)
            ax.plot(*scenarios.moved(study, sweep, columns), "x", **crosses)
            if period is not None:
                _expected(ax, study, sweep, period)
            ax.set(yscale="log", xlabel=AXES[sweep], ylabel=words)
            if sweep == "distance_in_km":
                ax.set_xscale("log")
                style.plain_ticks(ax.xaxis, (10, 20, 50, 100))
            swept, (least, most) = scenarios.SWEPT[sweep], limits[sweep]
            for start, end in ((swept[0], least), (most, swept[-1])):
                if end > start:
                    ax.axvspan(start, end, color="#eeeeee", zorder=0)  # what training did not reach
    title = f"station {study.stations[0]}, by magnitude at 30 km, by distance at M 5.5"
    return finish(drawn, study, title, axes[0, 0], ncols=5)


def _expected(ax, study, sweep, period):
    """Median of every ground-motion model, and plus and minus one sigma of BSSA14 (region Turkey)."""
    for model, (x, median, ln_std) in scenarios.expected(study, sweep, period).items():
        look = {"color": role("control_average").color, "linewidth": 0.7, "linestyle": ":"}
        if model == "BSSA14":
            look |= {"linewidth": 1.2, "linestyle": "-", "label": "BSSA14, Turkey, ± sigma"}
            ax.fill_between(x, median * np.exp(-ln_std), median * np.exp(ln_std), color=look["color"], alpha=0.1)
        ax.plot(x, median, **({"label": "ASK14, CB14, CY14, ASB14" if model == "ASK14" else "_"} | look))


@figure(needs=NEEDS)
def scenario_bias(study):
    """Bias and spread of CGM-GM's response spectra with 5 to 95 %: seen stations, held-out events, unseen stations."""
    looks = {
        "fresh truth, seen stations": ("cgm", "fresh", "scenario"),
        "held-out recordings": ("held_out", "held_out", "scenario"),
        "fresh truth, unseen stations": ("control_average", "fresh", "unseen"),
    }
    found = select(scenarios.scenario(study), subject="cgm", station="", measure="psa")
    drawn, axes = plt.subplots(1, 2, figsize=(10, 3.9))
    for ax, statistic in zip(axes, style.STATISTICS, strict=True):
        for words, (name, against, protocol) in looks.items():
            rows = select(found, against=against, protocol=protocol, statistic=statistic)
            style.draw_findings(ax, rows, "period_in_s", role(name), f"against {words}")
        style.no_difference(ax, BOUNDS[statistic])
        style.period_axis(ax)
        ax.set_ylabel(style.STATISTICS[statistic])
    return finish(drawn, study, "CGM-GM, given magnitude, distance and station", axes[0])


@figure(needs=NEEDS)
def scenario_trends(study):
    """What ln(generated / reference) gains per magnitude unit and per unit of ln distance, with 5 to 95 %; beside it
    the same of the recordings that CGM-GM learned from. Green: a unit changes the ratio by less than 10 %."""
    looks = {"generated, against fresh truth": ("cgm", "cgm", "fresh", "o")}
    looks["recordings it learned from, against fresh truth"] = ("training", "training", "fresh", "s")
    looks["generated, against held-out recordings"] = ("held_out", "cgm", "held_out", "x")
    found = select(scenarios.scenario(study), protocol="scenario", station="").fillna({"period_in_s": 0.0})
    drawn, axes = plt.subplots(1, 2, figsize=(10, 3.7), sharey=True)
    periods = [0.0, *(round(PERIODS_IN_S[SPECTRAL.index(name)], 4) for name in scenarios.SLOPES[1:])]
    for ax, part in zip(axes, NEEDED, strict=True):
        for i, (words, (name, subject, against, marker)) in enumerate(looks.items()):
            rows = select(found, subject=subject, against=against, statistic=f"slope_{part}")
            x = np.array([periods.index(period) for period in rows["period_in_s"]]) + 0.2 * (i - 1)
            style.draw_findings(ax, rows, x, role(name), words, marker, markersize=5, capsize=2)
        style.no_difference(ax, BOUNDS["median"])
        ax.set_xticks(range(len(periods)), ["PGA", *(f"{period:.2g} s" for period in periods[1:])])
        ax.set_xlabel("PGA, and PSA by period")
    axes[0].set(ylabel="slope of ln ratio", title="per magnitude unit")
    axes[1].set_title("per unit of ln distance")
    return finish(drawn, study, "trends, given the station", axes[0])


@figure(needs=NEEDS)
def scenario_residuals(study):
    """ln of generated over reference by magnitude and distance bins, given both and the station. A star marks more than
    two standard errors."""
    names = {"pga": "PGA", SPECTRAL[8]: "PSA at 0.28 s", SPECTRAL[14]: "PSA at 1 s", SPECTRAL[19]: "PSA at 3 s"}
    drawn, axes = plt.subplots(1, 4, figsize=(11.5, 3.3), sharey=True)
    for ax, (name, title) in zip(axes, names.items(), strict=True):
        mean, error, (magnitudes, distances) = scenarios.bins(study, name)
        image = ax.imshow(mean, cmap="RdBu_r", vmin=-0.6, vmax=0.6, origin="lower", aspect="auto")
        for (i, j), value in np.ndenumerate(mean):
            mark = "*" if abs(value) > 2 * error[i, j] else ""
            text = f"{value:+.2f}{mark}".replace("-", "−") if np.isfinite(value) else "–"
            ax.text(j, i, text, ha="center", va="center", fontsize=7)
        for axis, edges, digits in ((ax.xaxis, distances, 0), (ax.yaxis, magnitudes, 1)):
            axis.set_ticks(range(4), [f"{a:.{digits}f}–{b:.{digits}f}" for a, b in pairwise(edges)], fontsize=7)
        ax.set(title=title, xlabel="distance (km)")
    axes[0].set_ylabel("magnitude")
    drawn.colorbar(image, ax=axes, label="ln generated / reference")
    return finish(drawn, study, f"against {REFERENCES[bias.reference_of(study)]}, * beyond two standard errors")


@figure(needs=NEEDS)
def scenario_onsets(study):
    """P and S onsets and significant duration D5-95 by distance, in generated records and in the truth."""
    simulated, before = study.kind == "simulated", study.settings.window.before_p_in_s
    frames = _frames(study, "unseen" if simulated else "held_out")
    drawn, axes = plt.subplots(1, 2, figsize=(10, 3.7))
    for which, frame in reversed(frames.items()):
        look = role(which)
        dots = {"color": look.color, "markersize": 3, "marker": "o" if which == "cgm" else "s", "linestyle": "none"}
        for wave, face in (("p", "none"), ("s", look.color)):
            dots |= {"markerfacecolor": face, "label": f"{wave.upper()}, {look.label}"}
            axes[0].plot(frame["distance_in_km"], frame[f"{wave}_onset"], **dots)
        axes[1].plot(frame["distance_in_km"], np.exp(frame["d5_95"]), **(dots | {"label": look.label}))
    if simulated:
        distance = np.array([1.0, frames["cgm"]["distance_in_km"].max()])
        axes[0].plot(distance, before + distance * scenarios.s_less_p_per_km(), color="black", label="S as planted")
    axes[0].axhline(before, color="black", linewidth=0.7, linestyle=":", label="P as windowed")
    for ax, words in zip(axes, ("onset (s from the record's start)", "D5-95 (s)"), strict=True):
        ax.set(xlabel=AXES["distance_in_km"], ylabel=words)
        ax.legend(fontsize=7)
    of = "training records, stations not trained on" if simulated else "held-out recordings"
    return finish(drawn, study, f"scenarios of the {of}")


@figure(needs=NEEDS)
def scenario_map(study):
    """Map of Fourier amplitude generated for one earthquake on a grid of sites, each of its nearest station's Vs30."""
    sites, n = scenarios.sites(study), scenarios.GRID_POINTS
    drawn, axes = plt.subplots(1, 4, figsize=(12, 3.3), sharey=True)
    ends = scenarios.GRID_HALF_WIDTH_IN_KM * (1 + 1 / (n - 1))
    columns = {"vs30_in_m_per_s": "Vs30 (m/s)"}
    columns |= {f"{f:g} Hz": f"log₁₀ Fourier amplitude, {f:g} Hz" for f in scenarios.GRID_FREQUENCIES_IN_HZ}
    for ax, (column, title) in zip(axes, columns.items(), strict=True):
        values = sites[column].to_numpy().reshape(n, n)
        values = np.log10(values) if column.endswith("Hz") else values
        image = ax.imshow(values, origin="lower", extent=(-ends, ends, -ends, ends), cmap=style.SIMILARITY_MAP)
        ax.plot(0, 0, "*", color="white", markeredgecolor="black", markersize=11)
        ax.set(xlabel="east (km)", title=title)
        drawn.colorbar(image, ax=ax, shrink=0.8)
    axes[0].set_ylabel("north (km)")
    title = f"M {scenarios.GRID_MAGNITUDE:g} at {scenarios.GRID_DEPTH_IN_KM:g} km depth below the star"
    return finish(drawn, study, f"{title}, amplitude in cm/s")


SPECTRA = {kind: names for kind, names in structures.KINDS.items() if names != structures.CAPACITIES}
BUILDING_PERIODS = (0.1, 0.2, 0.5, 1, 2)
FELT = ("held-out recordings",)  # what the figures of notebook 09 need


def _suites(study):
    """[(what the suites of a row are given, [(frame, role)])]"""
    return [
        (structures.GIVEN[of], [(structures.measured(study, which), role(name)) for which, name in some.items()])
        for of, some in structures.groups(study).items()
    ]


@figure(needs=FELT)
def structural_demand(study):
    """Elastic spectra and inelastic displacement ratios of each suite: medians, and in grey 16 to 84 % of the
    reference. Above what is made for a station alone, below what is made for the scenarios of held-out recordings."""
    rows = _suites(study)
    drawn, axes = plt.subplots(len(rows), 4, figsize=(12, 0.8 + 2.9 * len(rows)), sharey="col", squeeze=False)
    for row, (given, frames) in zip(axes, rows, strict=True):
        for ax, (kind, names) in zip(row, SPECTRA.items(), strict=True):
            for frame, look in frames:
                low, middle, high = (np.exp(frame[list(names)].quantile(q)) for q in (0.16, 0.5, 0.84))
                ax.plot(structures.PERIODS_IN_S, middle, label=look.label, **look.line)
                if look is frames[0][1]:  # the reference to judge by
                    ax.fill_between(structures.PERIODS_IN_S, low, high, color=look.color, alpha=0.12, linewidth=0)
            style.period_axis(ax, BUILDING_PERIODS)
            ax.set(yscale="log", ylabel="PSA (cm/s²)")
            if names is not structures.ELASTIC:
                ax.axhline(1, color="black", linewidth=0.6)
                low, high = ax.get_ylim()
                style.plain_ticks(ax.yaxis, [tick for tick in (0.2, 0.5, 1, 2, 5, 10, 20, 50) if low <= tick <= high])
                ax.set_ylabel(kind.replace("inelastic ratio", "inelastic / elastic displacement"))
        row[0].set_title(given, loc="left")
    title = "what oscillators feel; lines: medians, grey: 16 to 84 % of the reference"
    return finish(drawn, study, title, axes[:, 0], ncols=5)


@figure(needs=FELT)
def structural_bias(study):
    """Generated less reference, medians and spreads with 5 to 95 %, by period; green: the 15 % of good practice."""
    found, against = structures.every(study), bias.reference_of(study)
    drawn, axes = plt.subplots(2, 4, figsize=(12, 5.6), sharex=True, sharey="row")
    for row, (statistic, words) in zip(axes, style.STATISTICS.items(), strict=True):
        for ax, (kind, names) in zip(row, SPECTRA.items(), strict=True):
            measure = structures.keys_of(names[0])["measure"]
            for name in structures.judged(study):
                rows = select(found, subject=name, against=against, measure=measure, statistic=statistic)
                given = structures.GIVEN[structures.protocol(name)]
                style.draw_findings(ax, rows, "period_in_s", role(name), f"{role(name).label}, {given}")
            style.no_difference(ax, structures.BOUND)
            if statistic == "median":
                ax.set_title(kind.replace("elastic spectra", "elastic PSA"))
        row[0].set_ylabel(words.replace(" of standard deviations", ""))
    for ax in axes[1]:
        style.period_axis(ax, BUILDING_PERIODS)
    return finish(drawn, study, f"against {REFERENCES[against]}", axes[0, 0])


@figure(needs=FELT)
def fragility_curves(study):
    """Probability that the frame's largest drift exceeds each limit, by PSA at its period: lognormal fit (lines) and
    the records themselves (marks, one in twenty of a line's length)."""
    rows = _suites(study)
    size = {"figsize": (11, 0.8 + 2.9 * len(rows)), "sharex": "col", "sharey": True, "squeeze": False}
    drawn, axes = plt.subplots(len(rows), len(structures.LIMITS), **size)
    for row, (given, frames) in zip(axes, rows, strict=True):
        for ax, name in zip(row, structures.CAPACITIES, strict=True):
            for marker, (frame, look) in zip("osD^v<>P", frames, strict=False):
                values = np.sort(frame[name].dropna())
                if len(values) < 2:
                    continue
                x = np.linspace(values[0] - 0.3, values[-1] + 0.3, 100)
                fit = norm.cdf(x, np.median(values), values.std(ddof=1))
                ax.plot(np.exp(x) / G_IN_CM_S2, fit, color=look.color, linewidth=1.2, label=f"{look.label}, fit")
                share = (np.arange(len(values)) + 0.5) / len(values)
                marks = {"color": look.color, "marker": marker, "markerfacecolor": "none", "markersize": 4}
                marks |= {"linestyle": "none", "markevery": 0.05, "label": f"{look.label}, records"}
                ax.plot(np.exp(values) / G_IN_CM_S2, share, **marks)
        row[0].set_ylabel(f"probability of exceedance\n{given}")
    for ax, (limit, drift) in zip(axes[0], structures.LIMITS.items(), strict=True):
        ax.set_title(f"{limit}: storey drift above {100 * drift:g} %")
    for ax in axes[-1]:
        ax.set_xlabel(f"PSA at {structures.BUILDING.period_in_s:g} s (g)")
    title = f"frame of {structures.BUILDING.n_storeys} storeys, records scaled; lines: lognormal fit, marks: records"
    return finish(drawn, study, title, axes[:, 0], ncols=5)
