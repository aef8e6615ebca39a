"""What the score does not see: averaging, amplitude, spectra, duration, correlation, memorisation (notebook 07)."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np

from tsgen import controls, equivalence, evidence, memorisation, residuals
from tsgen.evidence import TRUTH
from tsgen.figures.style import ROLES, kind_note
from tsgen.measured import AMPLITUDE, ENERGY, FOURIER, FREQUENCIES_IN_HZ, PERIODS_IN_S, SPECTRAL
from tsgen.records import COMPONENTS
from tsgen.tables import WORDS

BOUNDS = {"median": equivalence.MEDIAN_BOUND, "spread": equivalence.SPREAD_BOUND}
AXES = {"median": "bias (ln ratio of medians)", "spread": "spread (ln ratio of standard deviations)"}
MARKERS = ("o", "s", "^", "v", "D", "P", "X", "*")
LAST_MARK = 3.0  # ln units: what lies beyond would hide the rest


def k_sweep(study):
    """Averaging k recordings, k = 1 to 10: the score stays, the amplitude falls as ½ ln Σw², the duration grows."""
    sweep = study.averaging()["sweep"]
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.4))
    parts = (("score", "station score, S × S, held-out"), ("ln_loss", "ln std, mix over single record"))
    parts += (("ln_d5_95", "ln D5-95, mix over recordings"),)
    for ax, (part, label) in zip(axes, parts, strict=True):
        for place, name in enumerate(controls.SWEPT):
            if part not in sweep:
                continue
            rows, look = sweep.loc[name], ROLES[name]
            k, middle = rows.index + 0.12 * (place - 0.5), rows[part]
            error = np.abs(rows[[f"{part}_low", f"{part}_high"]].to_numpy().T - middle.to_numpy())
            ax.errorbar(k, middle, error, marker=MARKERS[place], markersize=4, label=look.label, **look.line)
        ax.set(xlabel="k, records averaged", ylabel=label)
        ax.set_xticks(controls.KS)
    rows = sweep.loc[controls.SWEPT[0]]
    axes[1].plot(rows.index, rows["theory"], color="black", linestyle=":", label="theory, ½ ln Σw²")
    if "score" in sweep:
        ceiling = study.scores("control_average")["held_out"]["ceiling"]
        axes[0].axhspan(ceiling["low"], ceiling["high"], color="#cfe3d4", label="ceiling, 5 to 95 %", zorder=0)
        axes[0].set_ylim(min(0.0, sweep["score_low"].min()), 1)
    axes[2].axhline(0, color="black", linewidth=0.8)
    axes[0].legend(loc="lower left")
    axes[1].legend(loc="lower left")
    figure.suptitle(f"weights 1/k, without replacement, bars 5 to 95 % ({kind_note(study)})", fontsize=10)
    return figure


def _reference(found):
    return found.get(TRUTH, found["held_out"])


def _against(study):
    if study.kind == "simulated":
        return "fresh truth, given magnitude and distance"
    return "held-out recordings, too few for a bound"


def _shown(study):
    return ("training", *evidence.generators(study))


def _role(name):
    return ROLES["recorded" if name == "training" else name]


def _curves(ax, study, rows, x, statistic):
    """One line with its band a generator, over the measures ``rows`` at ``x``."""
    for name in _shown(study):
        if name == "control_other":  # TimesNet-Gen's curves again, under other names
            continue
        table, look = _reference(study.evidence(name)).loc[list(rows)], _role(name)
        ax.plot(x, table[statistic], label=look.label, **look.line)
        if name in ("training", "timesnet"):
            band = (table[f"{statistic}_low"].to_numpy(float), table[f"{statistic}_high"].to_numpy(float))
            ax.fill_between(x, *band, color=look.color, alpha=0.15, linewidth=0)
    if study.kind == "simulated":
        ax.axhspan(-BOUNDS[statistic], BOUNDS[statistic], color="#cfe3d4", zorder=0)
    ax.axhline(0, color="black", linewidth=0.6)
    ax.set_xscale("log")
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, -LAST_MARK), min(high, LAST_MARK))


def response_bias(study):
    """Bias and spread of RotD50 response spectra, 0.05 to 3 s; green: what counts as the same."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.9))
    for ax, statistic in zip(axes, BOUNDS, strict=True):
        _curves(ax, study, SPECTRAL, PERIODS_IN_S, statistic)
        ax.set(xlabel="period (s)", ylabel=AXES[statistic])
        ax.set_xticks([0.05, 0.1, 0.2, 0.5, 1, 2, 3], ["0.05", "0.1", "0.2", "0.5", "1", "2", "3"])
        ax.minorticks_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside center right")
    figure.suptitle(f"5 % damped response spectra against {_against(study)} ({kind_note(study)})", fontsize=10)
    return figure


def fourier_bias(study):
    """Bias of the Fourier amplitude of each component, 0.5 to 16 Hz, within what records can show."""
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.6), sharey=True)
    for i, (ax, component) in enumerate(zip(axes, COMPONENTS, strict=True)):
        n = len(FREQUENCIES_IN_HZ)
        _curves(ax, study, FOURIER[i * n : (i + 1) * n], FREQUENCIES_IN_HZ, "median")
        ax.set(xlabel="frequency (Hz)", title=f"component {component}")
        ax.set_xticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
        ax.minorticks_off()
    axes[0].set_ylabel(AXES["median"])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside center right")
    figure.suptitle(f"Fourier amplitude against {_against(study)} ({kind_note(study)})", fontsize=10)
    return figure


def intensity_bias(study):
    """Bias and spread of amplitude, energy and duration with 5 to 95 % intervals; green: what counts as the same."""
    rows, names = (*AMPLITUDE, *ENERGY), _shown(study)
    figure, axes = plt.subplots(1, 2, figsize=(10, 6.2), sharey=True)
    step = 0.8 / len(names)
    for ax, statistic in zip(axes, BOUNDS, strict=True):
        for place, name in enumerate(names):
            table, look = _reference(study.evidence(name)).loc[list(rows)], _role(name)
            y = np.arange(len(rows)) - 0.4 + step * (place + 0.5)
            value = table[statistic].to_numpy(float)
            low, high = (table[f"{statistic}_{end}"].to_numpy(float) for end in ("low", "high"))
            ax.hlines(y, low, high, color=look.color, linewidth=1.4)
            ax.plot(value, y, MARKERS[place % len(MARKERS)], color=look.color, markersize=4, label=look.label)
        if study.kind == "simulated":
            ax.axvspan(-BOUNDS[statistic], BOUNDS[statistic], color="#cfe3d4", zorder=0)
        ax.axvline(0, color="black", linewidth=0.6)
        ax.set_xlabel(AXES[statistic])
        for edge in np.arange(len(rows) - 1) + 0.5:
            ax.axhline(edge, color="#dddddd", linewidth=0.6)
    axes[0].set_yticks(range(len(rows)), [WORDS[name] for name in rows])
    axes[0].invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.suptitle(f"against {_against(study)} ({kind_note(study)})", fontsize=10)
    return figure


def period_correlation(study):
    """Correlation of ln response-spectrum residuals between periods: the truth's, and each generator's less it."""
    frames = {name: evidence.measured_frame(study, name) for name in _shown(study)}
    single = f"{TRUTH}-single" if study.kind == "simulated" else "held_out"
    truth = evidence.measured_frame(study, single)
    scaled = evidence.given_magnitude_and_distance(truth, truth, *frames.values())
    expected, *others = (residuals.interperiod_correlation(frame[list(SPECTRAL)].to_numpy(float)) for frame in scaled)
    figure, axes = plt.subplots(2, -(-(len(others) + 1) // 2), figsize=(10.5, 4.8), squeeze=False)
    edges = np.append(PERIODS_IN_S, PERIODS_IN_S[-1] * PERIODS_IN_S[1] / PERIODS_IN_S[0])
    titles = ["held out" if single == "held_out" else "fresh truth", *(_role(name).label for name in frames)]
    shown = [expected, *(other - expected for other in others)]
    for ax, title, values in zip(axes.flat, titles, shown, strict=False):
        colours, lowest = ("cividis", 0) if values is expected else ("RdBu_r", -1)
        image = ax.pcolormesh(edges, edges, values, cmap=colours, vmin=lowest, vmax=1)
        ax.set(xscale="log", yscale="log", aspect="equal")
        ax.set_title(title.split(" (")[0], fontsize=7)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_ticks([0.1, 1], ["0.1", "1"])
            axis.minorticks_off()
        if values is expected:
            figure.colorbar(image, ax=axes[0], label=f"correlation, {titles[0]}")
    figure.colorbar(image, ax=axes[1], label="difference from it")
    for ax in list(axes.flat)[len(shown) :]:
        ax.remove()
    for ax in axes[-1]:
        ax.set_xlabel("period (s)")
    for ax in axes[:, 0]:
        ax.set_ylabel("period (s)")
    figure.suptitle(f"correlation of ln residuals between periods ({kind_note(study)})", fontsize=10)
    return figure


def stacks(study):
    """How much of a record is a stack of training records: R² of a non-negative regression, and the closest match."""
    sets = {"held_out": study.held_out} | {name: study.generated(name) for name in evidence.generators(study)}
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.9), sharey=True)
    parts = (("r2", "R² on the station's training records"), ("largest_correlation", "largest cross-correlation"))
    for place, (name, some) in enumerate(sets.items()):
        found, look = memorisation.memorisation(some, study.training), ROLES[name]
        for ax, (measure, _) in zip(axes, parts, strict=True):
            low, middle, high = np.quantile(found[measure], [0.05, 0.5, 0.95])
            scatter = np.random.default_rng(place).uniform(-0.25, 0.25, len(found))
            ax.plot(found[measure], place + scatter, ".", color=look.color, markersize=2, alpha=0.5)
            ax.hlines(place, low, high, color=look.color, linewidth=2.5)
            ax.plot(middle, place, "o", color="white", markeredgecolor=look.color, markersize=7)
        active = np.median(found["active_records"])
        axes[0].text(1.04, place, f"{active:.0f} records", va="center", fontsize=8)
    for ax, (_, label) in zip(axes, parts, strict=True):
        ax.set(xlabel=label, xlim=(0, 1.02))
    axes[0].set_yticks(range(len(sets)), [ROLES[name].label for name in sets])
    axes[0].invert_yaxis()
    figure.suptitle(f"each dot a record, bar 5 to 95 %, ring the median ({kind_note(study)})", fontsize=10)
    return figure


def own_station(study):
    """Similarity of generated f0 with held-out recordings: of the same station, and the mean with the other ones."""
    names = [name for name in evidence.generators(study) if "own" in study.evidence(name)]
    figure, axes = plt.subplots(1, max(1, len(names)), figsize=(10.5, 2.9), sharex=True, sharey=True, squeeze=False)
    for ax, name in zip(axes[0], names, strict=False):
        own, look = study.evidence(name)["own"], ROLES[name]
        y = np.arange(len(own))
        ax.hlines(y, own["others"], own["own"], color=look.color, linewidth=1)
        ax.plot(own["own"], y, "o", color=look.color, label="own station", clip_on=False)
        marks = {"color": "white", "markeredgecolor": look.color, "clip_on": False}
        ax.plot(own["others"], y, "o", label="the others, mean", **marks)
        ax.set_title(textwrap.fill(look.label, 16), fontsize=8)
        ax.set_yticks(y, own.index)
        ax.set_xlim(0, 1)
    if names:
        axes[0, 0].invert_yaxis()
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower right", ncols=2)
    figure.supxlabel("similarity of f0", fontsize=9)
    figure.suptitle(f"against held-out recordings ({kind_note(study)})", fontsize=10)
    return figure


FIGURES = {
    function.__name__: function
    for function in (
        k_sweep,
        own_station,
        intensity_bias,
        response_bias,
        fourier_bias,
        period_correlation,
        stacks,
    )
}
