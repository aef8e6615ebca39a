"""What the score does not see: averaging, amplitude, spectra, duration, correlation, memorisation (notebook 07)."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np

from tsgen import findings, residuals
from tsgen.evidence import averaging, bias, copying, scores
from tsgen.evidence import distances as judge
from tsgen.figures import style
from tsgen.figures.style import STATISTICS, draw_findings, figure, finish, no_difference
from tsgen.findings import BOUNDS, select
from tsgen.measures import PERIODS_IN_S, SPECTRAL
from tsgen.records import COMPONENTS
from tsgen.roles import label, role

MARKERS = ("o", "s", "^", "v", "D", "P", "X", "*", "<", ">")
LAST_MARK = 3.0  # ln units: what lies beyond would hide the rest
AGAINST = {"fresh": "fresh truth, given magnitude and distance", "held_out": "held-out recordings, too few for a bound"}


def subjects(study):
    """Who stands in figures of bias: the recordings first."""
    return "training", *study.judged


@figure(needs=["held-out recordings"])
def distances(study):
    """Energy distance of every generator to held-out recordings with 5 to 95 %; green: what one law gives."""
    names = ("training", *study.judged, judge.SHIFTED)
    found = {name: select(judge.distances(study, name), station="", against="held_out") for name in names}
    measures = [m for m in judge.FEATURES if m in set(found[names[0]]["measure"])]
    drawn, axes = plt.subplots(1, len(measures), figsize=(11.5, 4.6), sharey=True)
    for ax, measure in zip(axes, measures, strict=True):
        for y, name in enumerate(names):
            rows, look = select(found[name], measure=measure), role(name)
            null = findings.maybe(rows, statistic=judge.ONE_LAW)
            ax.barh(y, null["high"] - null["low"], left=null["low"], height=0.9, color=style.SAME, zorder=0)
            draw_findings(ax, select(rows, statistic=judge.DISTANCE), [y], look, marker="o", sideways=True)
        ax.axvline(0, color="black", linewidth=0.6)
        ax.set_xscale("symlog", linthresh=0.1, linscale=0.8)
        style.plain_ticks(ax.xaxis, [tick for tick in (-0.1, 0, 0.1, 0.3, 1, 3) if tick <= max(0.1, ax.get_xlim()[1])])
        ax.set(title=measure, xlabel="energy distance")
    axes[0].set_yticks(range(len(names)), [label(name) for name in names])
    axes[0].invert_yaxis()
    return finish(drawn, study, "to held-out recordings, in units of the scatter within stations; bar 5 to 95 %")


@figure(needs=["held-out recordings"])
def k_sweep(study):
    """Averaging k recordings, k = 1 to 10: the score stays, the amplitude falls as ½ ln Σw², the duration grows."""
    drawn, axes = plt.subplots(1, 3, figsize=(10.5, 3.4))
    parts = {"station score, S × S, held-out": ("score", "held_out")}
    parts |= {
        "ln standard deviation,\nmix over single record": ("ln std", ""),
        "ln D5-95, mix over recordings": ("d5_95", "training"),
    }
    for place, name in enumerate(averaging.SWEPT):
        rows = averaging.averaging(study, name)
        rows = rows[rows["set"].str.startswith("k = ")]
        rows = rows.assign(k=rows["set"].str.removeprefix("k = ").astype(int))
        for ax, (words, (measure, against)) in zip(axes, parts.items(), strict=True):
            found, look = select(rows, subject=name, measure=measure, against=against), role(name)
            draw_findings(ax, found, found["k"] + 0.12 * (place - 0.5), look, marker=MARKERS[place], **look.line)
            ax.set(xlabel="k, records averaged", ylabel=words, xticks=averaging.KS)
        if place == 0:
            theory = select(rows, subject="theory")
            axes[1].plot(theory["k"], theory["value"], color="black", linestyle=":", label="theory, ½ ln Σw²")
    if len(study.stations) > 1:
        band = findings.maybe(scores.recordings(study), against="held_out", statistic="S × S")
        look = {"color": style.SAME, "label": "recordings against recordings", "zorder": 0}
        axes[0].axhspan(band["low"], band["high"], **look)
        axes[0].set_ylim(min(0.0, axes[0].get_ylim()[0]), 1)
        axes[0].legend(loc="lower left")
    else:
        axes[0].set(title="the score needs two stations", yticks=[])
    axes[1].legend(loc="lower left")
    axes[2].axhline(0, color="black", linewidth=0.8)
    return finish(drawn, study, "weights 1/k, without replacement, bars 5 to 95 %")


@figure(needs=["two stations", "held-out recordings"])
def own_station(study):
    """Similarity of generated f0 with held-out recordings: of the same station, and the mean with the other ones."""
    drawn, axes = plt.subplots(1, len(study.judged), figsize=(11.5, 2.9), sharex=True, sharey=True)
    for ax, name in zip(axes, study.judged, strict=True):
        rows, look = select(scores.scores(study, name), measure="similarity"), role(name)
        own, others = (select(rows, statistic=s).set_index("station")["value"] for s in ("own", "others"))
        ax.hlines(own.index, others, own, color=look.color, linewidth=1)
        ax.plot(own, own.index, "o", color=look.color, label="own station", clip_on=False)
        marks = {"color": "white", "markeredgecolor": look.color, "clip_on": False}
        ax.plot(others, own.index, "o", label="the others, mean", **marks)
        ax.set_title(textwrap.fill(look.label, 16), fontsize=8)
        ax.set_xlim(0, 1)
    axes[0].invert_yaxis()
    drawn.supxlabel("similarity of f0", fontsize=9)
    return finish(drawn, study, "against held-out recordings", axes[0], "outside lower right", 2)


def _curves(study, axes, measures, statistics, x, title):
    """Each of the axes has one line a generator over x, "period_in_s" or "frequency"; at the right the legend."""
    against = bias.reference_of(study)
    for ax, measure, statistic in zip(axes, measures, statistics, strict=True):
        for name in subjects(study):
            if name != "control_other":  # TimesNet-Gen's curves again, under other names
                rows = select(bias.bias(study, name), against=against, measure=measure, statistic=statistic)
                rows = rows.assign(frequency=1 / rows["period_in_s"])
                draw_findings(ax, rows, x, role(name), band=name in ("training", "timesnet"))
        no_difference(ax, BOUNDS[statistic] if against == "fresh" else None)
    for ax in axes:  # once all are drawn, since they may share their limits
        low, high = ax.get_ylim()
        ax.set_ylim(max(low, -LAST_MARK), min(high, LAST_MARK))
    return finish(axes[0].figure, study, f"{title} against {AGAINST[against]}", axes[0], "outside center right", 1)


@figure(needs=["held-out recordings"])
def intensity_bias(study):
    """Bias and spread of amplitude, energy and duration with 5 to 95 % intervals; green: what counts as the same."""
    step, against = 0.8 / len(subjects(study)), bias.reference_of(study)
    drawn, axes = plt.subplots(1, 2, figsize=(10, 6.2), sharey=True)
    for ax, (statistic, words) in zip(axes, STATISTICS.items(), strict=True):
        for place, name in enumerate(subjects(study)):
            rows = select(bias.bias(study, name), against=against, statistic=statistic)
            rows = select(rows, measure=bias.LED).set_index("measure").reindex(bias.LED)
            y = np.arange(len(rows)) - 0.4 + step * (place + 0.5)
            draw_findings(ax, rows, y, role(name), marker=MARKERS[place % len(MARKERS)], sideways=True)
        no_difference(ax, BOUNDS[statistic] if against == "fresh" else None, sideways=True)
        ax.set_xlabel(words)
        for edge in np.arange(len(rows) - 1) + 0.5:
            ax.axhline(edge, color="#dddddd", linewidth=0.6)
    axes[0].set_yticks(range(len(bias.LED)), [bias.WORDS[name] for name in bias.LED])
    axes[0].invert_yaxis()
    return finish(drawn, study, f"against {AGAINST[against]}", axes[0], ncols=4)


@figure(needs=["held-out recordings"])
def response_bias(study):
    """Bias and spread of RotD50 response spectra, 0.05 to 3 s; green: what counts as the same."""
    axes = plt.subplots(1, 2, figsize=(10, 3.9))[1]
    for ax, words in zip(axes, STATISTICS.values(), strict=True):
        style.period_axis(ax)
        ax.set_ylabel(words)
    return _curves(study, axes, ("psa", "psa"), STATISTICS, "period_in_s", "5 % damped response spectra")


@figure(needs=["held-out recordings"])
def fourier_bias(study):
    """Bias of the Fourier amplitude of each component, 0.5 to 16 Hz, within what records can show."""
    axes = plt.subplots(1, 3, figsize=(10.5, 3.6), sharey=True)[1]
    for ax, component in zip(axes, COMPONENTS, strict=True):
        style.frequency_axis(ax, ticks=(0.5, 1, 2, 5, 10))
        ax.set(title=f"component {component}", xlim=(0.45, 18))
    axes[0].set_ylabel(STATISTICS["median"])
    measures = [f"fourier_{component.lower()}" for component in COMPONENTS]
    return _curves(study, axes, measures, ["median"] * 3, "frequency", "Fourier amplitude")


@figure(needs=["held-out recordings"])
def period_correlation(study):
    """Correlation of ln response-spectrum residuals between periods: the truth's, and each generator's less it."""
    truth = study.measures("fresh-single" if study.kind == "simulated" else "held_out")
    frames = [truth, *(study.measures(name) for name in subjects(study))]
    scaled = residuals.given_scenario(SPECTRAL, *frames[:1], *frames)
    expected, *others = (residuals.interperiod_correlation(frame.to_numpy(float)) for frame in scaled)
    drawn, axes = plt.subplots(2, -(-(len(others) + 1) // 2), figsize=(10.5, 4.8))
    edges = np.append(PERIODS_IN_S, PERIODS_IN_S[-1] * PERIODS_IN_S[1] / PERIODS_IN_S[0])
    titles = ["fresh truth" if study.kind == "simulated" else "held out", *(label(name) for name in subjects(study))]
    shown = [expected, *(other - expected for other in others)]
    for ax in axes.flat[len(shown) :]:
        ax.set_axis_off()
    for ax, title, values in zip(axes.flat, titles, shown, strict=False):
        colours, lowest = ("cividis", 0) if values is expected else ("RdBu_r", -1)
        image = ax.pcolormesh(edges, edges, values, cmap=colours, vmin=lowest, vmax=1)
        ax.set(xscale="log", yscale="log", aspect="equal", xlabel="period (s)", ylabel="period (s)")
        ax.label_outer()
        ax.set_title(textwrap.fill(title.split(" (")[0], 18), fontsize=7)
        for axis in (ax.xaxis, ax.yaxis):
            style.plain_ticks(axis, (0.1, 1))
        if values is expected:
            drawn.colorbar(image, ax=axes[0], label=f"correlation,\n{title}")
    drawn.colorbar(image, ax=axes[1], label="difference\nfrom it")
    given = "residuals" if residuals.known_scenarios(*frames) else "values (each needs magnitudes and distances)"
    return finish(drawn, study, f"correlation of ln {given} between periods")


@figure(needs=["held-out recordings"])
def stacks(study):
    """How much of a record is a stack of training records: R² of a non-negative regression, and the closest match."""
    names = ("held_out", *study.judged)
    drawn, axes = plt.subplots(1, 2, figsize=(9.5, 3.9), sharey=True)
    parts = {"r2": "R² on the station's training records", "largest_correlation": "largest cross-correlation"}
    for place, name in enumerate(names):
        found, look = copying.memory(study, name), role(name)
        for ax, measure in zip(axes, parts, strict=True):
            low, middle, high = np.quantile(found[measure], [0.05, 0.5, 0.95])
            scatter = np.random.default_rng(place).uniform(-0.25, 0.25, len(found))
            ax.plot(found[measure], place + scatter, ".", color=look.color, markersize=2, alpha=0.5)
            ax.hlines(place, low, high, color=look.color, linewidth=2.5)
            ax.plot(middle, place, "o", color="white", markeredgecolor=look.color, markersize=7)
        axes[0].text(1.04, place, f"{np.median(found['active_records']):.0f} records", va="center", fontsize=8)
    for ax, words in zip(axes, parts.values(), strict=True):
        ax.set(xlabel=words, xlim=(0, 1.02))
    axes[0].set_yticks(range(len(names)), [label(name) for name in names])
    axes[0].invert_yaxis()
    return finish(drawn, study, "each dot a record, bar 5 to 95 %, ring the median")
