"""Motion for a magnitude and a distance: scaling, residuals, onsets, a map (notebook 08)."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np

from tsgen import equivalence, evidence, gmm, measured, residuals, scaling
from tsgen.figures.style import ROLES, SIMILARITY_MAP, kind_note
from tsgen.measured import SPECTRAL

SHOWN = {"pga": "PGA (cm/s²)", SPECTRAL[14]: "PSA at 1 s (cm/s²)", "fourier": "Fourier amplitude at 5.7 Hz (cm/s)"}
PERIOD_OF = {"pga": 0.0, SPECTRAL[14]: float(measured.PERIODS_IN_S[14])}
OUTSIDE = {"color": "#eeeeee", "zorder": 0}  # what training did not reach
AXES = {"magnitude": "magnitude", "distance_in_km": "hypocentral distance (km)"}


def _values(frame, name):
    """ln values (n,); "fourier" is the mean of both horizontals."""
    return frame[["fourier_e_5.66", "fourier_n_5.66"]].mean(axis=1) if name == "fourier" else frame[name]


def scenario_scaling(study):
    """PGA, PSA and Fourier amplitude by magnitude at 30 km and by distance at M 5.5. Lines: medians, bands 16 to 84 %;
    crosses are held-out recordings moved to the scenario; grey is what training did not reach."""
    frames = {"cgm": scaling.frame(study, "sweep")}
    if study.kind == "simulated":
        frames["fresh"] = scaling.frame(study, "sweep", "truth")
    first = len(frames["cgm"]) * len(scaling.SWEPT_MAGNITUDES)
    first //= len(scaling.SWEPT_MAGNITUDES) + len(scaling.SWEPT_DISTANCES_IN_KM)
    figure, axes = plt.subplots(2, 3, figsize=(11, 6.4))
    for row, (sweep, part) in enumerate((("magnitude", slice(first)), ("distance_in_km", slice(first, None)))):
        for ax, (name, label) in zip(axes[row], SHOWN.items(), strict=True):
            for which, frame in frames.items():
                _band(ax, frame[part], sweep, name, which)
            _recorded(ax, study, sweep, name)
            if name in PERIOD_OF:
                _models(ax, study, sweep, PERIOD_OF[name])
            ax.set(yscale="log", xlabel=AXES[sweep], ylabel=label)
            low, high = scaling.reach(study)[sweep]
            swept = scaling.SWEPT_MAGNITUDES if sweep == "magnitude" else scaling.SWEPT_DISTANCES_IN_KM
            if sweep == "distance_in_km":
                ax.set_xscale("log")
                ax.set_xticks([10, 20, 50, 100], ["10", "20", "50", "100"])
                ax.minorticks_off()
            for ends in ((swept[0], low), (high, swept[-1])):
                if ends[1] > ends[0]:
                    ax.axvspan(*ends, **OUTSIDE)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    title = f"station {study.stations[0]}, by magnitude at 30 km, by distance at M 5.5 ({kind_note(study)})"
    figure.suptitle(title, fontsize=10)
    return figure


def _band(ax, frame, sweep, name, which):
    groups = _values(frame, name).groupby(frame[sweep])
    low, middle, high = (np.exp(groups.quantile(q)) for q in (0.16, 0.5, 0.84))
    look = ROLES[which]
    ax.plot(middle.index, middle, "o" if which == "cgm" else "s", markersize=4, label=look.label, **look.line)
    ax.fill_between(middle.index, low, high, color=look.color, alpha=0.15, linewidth=0)


def _recorded(ax, study, sweep, name):
    """Held-out recordings of the station, moved to the sweep's scenario by the training recordings' own scaling."""
    training, held_out = (evidence.measured_frame(study, which) for which in ("training", "held_out"))
    known = training.assign(value=_values(training, name))
    if not np.isfinite(known[["magnitude", "distance_in_km", "value"]]).all(axis=1).any():
        return
    slopes = residuals.Scaling.fit(known[["value"]], known).coefficients[-2:, 0]
    own = held_out[held_out["station"] == study.stations[0]]
    moved = _values(own, name).to_numpy()
    if sweep == "magnitude":
        moved = moved + slopes[1] * np.log(scaling.REFERENCE_DISTANCE_IN_KM / own["distance_in_km"])
    else:
        moved = moved + slopes[0] * (scaling.REFERENCE_MAGNITUDE - own["magnitude"])
    ax.plot(own[sweep], np.exp(moved), "x", color=ROLES["held_out"].color, label="held out, moved to the scenario")


def _models(ax, study, sweep, period):
    """Median of every ground-motion model, and plus and minus one sigma of BSSA14 (region Turkey)."""
    vs30 = scaling.vs30_of(study, study.stations[0])
    vs30 = vs30 if np.isfinite(vs30) else scaling.PLAIN_VS30
    x = np.linspace(*gmm.MAGNITUDES, 13) if sweep == "magnitude" else np.geomspace(9.0, 160.0, 13)
    magnitude = x if sweep == "magnitude" else scaling.REFERENCE_MAGNITUDE
    distance = scaling.REFERENCE_DISTANCE_IN_KM if sweep == "magnitude" else x
    near = gmm.joyner_boore(distance, scaling.DEPTH_IN_KM)
    for model in gmm.MODELS:
        found = gmm.prediction(model, magnitude, near, vs30, [period], "turkey", scaling.DEPTH_IN_KM)
        median, ln_std = (each[:, 0] for each in found)
        if model == "BSSA14":
            ax.plot(x, median, color="#009E73", linewidth=1.2, label="BSSA14, Turkey, ± sigma")
            ax.fill_between(x, median * np.exp(-ln_std), median * np.exp(ln_std), color="#009E73", alpha=0.1)
        else:
            ax.plot(x, median, color="#009E73", linewidth=0.7, linestyle=":", label="ASK14, CB14, CY14, ASB14")
            if model != "ASK14":
                ax.lines[-1].set_label("_")


def scenario_residuals(study):
    """ln of generated over reference by magnitude and distance bins, given both and the station. A star marks more than
    two standard errors."""
    names = {"pga": "PGA", SPECTRAL[8]: "PSA at 0.28 s", SPECTRAL[14]: "PSA at 1 s", SPECTRAL[19]: "PSA at 3 s"}
    figure, axes = plt.subplots(1, 4, figsize=(11.5, 3.3), sharey=True)
    for ax, (name, title) in zip(axes, names.items(), strict=True):
        mean, error, _, (magnitudes, distances) = scaling.bins(study, name)
        image = ax.imshow(mean, cmap="RdBu_r", vmin=-0.6, vmax=0.6, origin="lower", aspect="auto")
        for (i, j), value in np.ndenumerate(mean):
            mark = "*" if abs(value) > 2 * error[i, j] else ""
            ax.text(j, i, f"{value:+.2f}{mark}" if np.isfinite(value) else "–", ha="center", va="center", fontsize=7)
        for axis, edges, digits in ((ax.xaxis, distances, 0), (ax.yaxis, magnitudes, 1)):
            words = [f"{a:.{digits}f}–{b:.{digits}f}" for a, b in pairwise(edges)]
            axis.set_ticks(range(4), words, fontsize=7)
        ax.set(title=title, xlabel="distance (km)")
    axes[0].set_ylabel("magnitude")
    figure.colorbar(image, ax=axes, label="ln generated / reference")
    against = "fresh truth" if study.kind == "simulated" else "held-out recordings"
    figure.suptitle(f"against {against}, * beyond two standard errors ({kind_note(study)})", fontsize=10)
    return figure


def scenario_bias(study):
    """Bias and spread of CGM-GM's response spectra with 5 to 95 %: seen stations, held-out events, unseen stations."""
    looks = {"fresh": ("fresh truth, seen stations", "cgm"), "held_out": ("held-out recordings", "held_out")}
    looks["unseen"] = ("fresh truth, unseen stations", "control_average")
    found = scaling.judged(study)
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.9))
    for ax, statistic in zip(axes, ("median", "spread"), strict=True):
        for part, (label, role) in looks.items():
            if part not in found:
                continue
            table = found[part].reindex(list(SPECTRAL)).astype({statistic: float})
            ax.plot(measured.PERIODS_IN_S, table[statistic], label=f"against {label}", **ROLES[role].line)
            ends = (table[f"{statistic}_{end}"].to_numpy(float) for end in ("low", "high"))
            ax.fill_between(measured.PERIODS_IN_S, *ends, color=ROLES[role].color, alpha=0.13, linewidth=0)
        bound = equivalence.MEDIAN_BOUND if statistic == "median" else equivalence.SPREAD_BOUND
        ax.axhspan(-bound, bound, color="#cfe3d4", zorder=0)
        ax.axhline(0, color="black", linewidth=0.6)
        words = {"median": "bias (ln ratio of medians)", "spread": "spread (ln ratio of standard deviations)"}
        ax.set(xscale="log", xlabel="period (s)", ylabel=words[statistic])
        ax.set_xticks([0.05, 0.1, 0.2, 0.5, 1, 2, 3], ["0.05", "0.1", "0.2", "0.5", "1", "2", "3"])
        ax.minorticks_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(f"CGM-GM, given magnitude, distance and station ({kind_note(study)})", fontsize=10)
    return figure


def scenario_trends(study):
    """What ln(generated / reference) gains per magnitude unit and per unit of ln distance, with 5 to 95 %; beside it
    the same of the recordings that CGM-GM learned from. Green: a unit changes the ratio by less than 10 %."""
    looks = {"fresh": ("generated, against fresh truth", "cgm", "o")}
    looks["recorded"] = ("recordings it learned from, against fresh truth", "recorded", "s")
    looks["held_out"] = ("generated, against held-out recordings", "held_out", "x")
    slopes = scaling.judged(study).get("slopes")
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.7), sharey=True)
    for ax, part in zip(axes, residuals.PREDICTORS, strict=True):
        for i, (of, (label, role, mark)) in enumerate(looks.items()):
            if slopes is None or of not in slopes.index.get_level_values("of"):
                continue
            table = slopes.loc[of].reindex(scaling.SLOPES)
            x, value = np.arange(len(table)) + 0.2 * (i - 1), table[part]
            ends = np.abs([value - table[f"{part}_low"], table[f"{part}_high"] - value])
            ax.errorbar(x, value, ends, fmt=mark, color=ROLES[role].color, markersize=5, capsize=2, label=label)
        ax.axhspan(-equivalence.MEDIAN_BOUND, equivalence.MEDIAN_BOUND, color="#cfe3d4", zorder=0)
        ax.axhline(0, color="black", linewidth=0.6)
        names = ["PGA", *(f"{float(name.removeprefix('sa_')):.2g} s" for name in scaling.SLOPES[1:])]
        ax.set_xticks(range(len(names)), names)
        ax.set_xlabel("PGA, and PSA by period")
    axes[0].set(ylabel="slope of ln ratio", title="per magnitude unit")
    axes[1].set(title="per unit of ln distance")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(f"trends, given the station ({kind_note(study)})", fontsize=10)
    return figure


def scenario_onsets(study):
    """P and S onsets and significant duration D5-95 by distance, in generated records and in the truth."""
    if study.kind == "simulated":
        frames = {"fresh": scaling.frame(study, "unseen", "truth"), "cgm": scaling.frame(study, "unseen")}
    else:
        frames = {"cgm": scaling.frame(study, "held_out")}
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.7))
    for which, frame in frames.items():
        look, mark = ROLES[which], "o" if which == "cgm" else "s"
        for wave, face in (("p", "none"), ("s", look.color)):
            style = {"markersize": 3, "markerfacecolor": face, "color": look.color}
            axes[0].plot(
                frame["distance_in_km"], frame[f"{wave}_onset"], mark, label=f"{wave.upper()}, {look.label}", **style
            )
        axes[1].plot(
            frame["distance_in_km"], np.exp(frame["d5_95"]), mark, color=look.color, markersize=3, label=look.label
        )
    distance = np.array([1.0, frames["cgm"]["distance_in_km"].max()])
    before = study.settings.window.before_p_in_s
    if study.kind == "simulated":
        axes[0].plot(distance, before + distance * scaling.s_less_p_per_km(), color="black", label="S as planted")
    axes[0].axhline(before, color="black", linewidth=0.7, linestyle=":", label="P as windowed")
    axes[0].set(xlabel=AXES["distance_in_km"], ylabel="onset (s from the record's start)")
    axes[1].set(xlabel=AXES["distance_in_km"], ylabel="D5-95 (s)")
    axes[0].legend(fontsize=7)
    axes[1].legend()
    figure.suptitle(
        f"scenarios of the training records, stations not trained on ({kind_note(study)})"
        if study.kind == "simulated"
        else f"scenarios of the held-out recordings ({kind_note(study)})",
        fontsize=10,
    )
    return figure


def scenario_map(study):
    """Map of the Fourier amplitude generated for M 6.5 on a grid of sites, each with its nearest station's Vs30."""
    sites = scaling.grid_frame(study)
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.3), sharey=True)
    columns = ["vs30_in_m_per_s", *(f"{f:g} Hz" for f in scaling.GRID_FREQUENCIES_IN_HZ)]
    ends = scaling.GRID_HALF_WIDTH_IN_KM * (1 + 1 / (scaling.GRID_POINTS - 1))
    for ax, column in zip(axes, columns, strict=True):
        values = sites[column].to_numpy().reshape(scaling.GRID_POINTS, -1)
        values = values if column == columns[0] else np.log10(values)
        image = ax.imshow(values, origin="lower", extent=(-ends, ends, -ends, ends), cmap=SIMILARITY_MAP)
        ax.plot(0, 0, "*", color="white", markeredgecolor="black", markersize=11)
        ax.set(xlabel="east (km)", title="Vs30 (m/s)" if column == columns[0] else f"log₁₀ Fourier amplitude, {column}")
        figure.colorbar(image, ax=ax, shrink=0.8)
    axes[0].set_ylabel("north (km)")
    figure.suptitle(f"M 6.5 at 10 km depth below the star, amplitude in cm/s ({kind_note(study)})", fontsize=10)
    return figure


def scenario_waves(study):
    """Five realisations of one scenario, M 6.5 at 20 km, and five of the truth where it can be drawn."""
    row = scaling.one_scenario(study, 6.5, 20.0)
    sets = {"cgm": scaling.generated(study, row, 5)}
    if study.kind == "simulated":
        sets["fresh"] = scaling.truth(study, row.loc[row.index.repeat(5)])
    figure, axes = plt.subplots(5, len(sets), figsize=(10, 5), sharex=True, sharey=True, squeeze=False)
    for column, (which, some) in zip(axes.T, sets.items(), strict=True):
        for ax, wave in zip(column, some.waveforms[:, 0], strict=True):
            ax.plot(np.arange(some.n_samples) / some.sampling_rate_in_hz, wave, color=ROLES[which].color, linewidth=0.5)
        column[0].set_title(ROLES[which].label)
        column[-1].set_xlabel("time (s)")
    axes[2, 0].set_ylabel("acceleration, E (cm/s²)")
    figure.suptitle(f"M 6.5 at 20 km, station {study.stations[0]} ({kind_note(study)})", fontsize=10)
    return figure


FIGURES = {
    function.__name__: function
    for function in (
        scenario_waves,
        scenario_scaling,
        scenario_bias,
        scenario_trends,
        scenario_residuals,
        scenario_onsets,
        scenario_map,
    )
}
