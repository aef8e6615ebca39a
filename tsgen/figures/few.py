"""What can be said of a station from n of its records (notebook 10)."""

import matplotlib.pyplot as plt
import numpy as np

from tsgen.evidence import distances, new_station
from tsgen.evidence.bias import reference_of
from tsgen.evidence.few import SCORE, brief, few
from tsgen.evidence.new_station import ERGODIC, MODEL, OURS, UNSEEN
from tsgen.features import FEATURES, SITE, SITE_FREQUENCIES_IN_HZ
from tsgen.figures import style
from tsgen.figures.style import BLUE, GREY, ORANGE, draw_findings, figure, finish
from tsgen.findings import select
from tsgen.measures import PERIODS_IN_S, SPECTRAL
from tsgen.roles import label, role
from tsgen.study import SHIFTED

NEEDS = ["magnitudes", "held-out recordings"]
DRAWN = (OURS, UNSEEN, "control_renoised", SHIFTED, "control_bootstrap", MODEL, ERGODIC)
TOLD = 2  # records, of the worst case


@figure(needs=NEEDS)
def few_quality(study):
    """Energy distance, and energy score of ln PSA given the scenario, against the number of the station's records: one
    choice of them, everyone is given the same; band: 5 to 95 % over earthquakes."""
    rows = select(few(study), against=reference_of(study), station="")
    order = [f"n = {n}" for n in new_station.numbers(study)]
    drawn, axes = plt.subplots(2, 3, figsize=(10.5, 6))
    panels = [(measure, distances.DISTANCE) for measure in FEATURES] + [("psa", SCORE)]
    for ax, (measure, statistic) in zip(axes.flat, panels, strict=False):
        for name in DRAWN:
            part = select(rows, subject=name, measure=measure, statistic=statistic, set=tuple(order))
            x = np.array([order.index(of) for of in part["set"]])
            draw_findings(ax, part, x, role(name), marker="D" if len(part) == 1 else None, band=name == OURS)
        ax.set_xticks(range(len(order)), [of.removeprefix("n = ") for of in order])
        ax.set(xlabel="records of the station", ylabel=statistic, title="ln PSA" if statistic == SCORE else measure)
        if statistic != SCORE:
            ax.axhline(0, color="black", linewidth=0.6)
            ax.set_yscale("symlog", linthresh=0.1, linscale=0.6)
    axes[1, 2].set_axis_off()
    axes[1, 2].legend(*style.known_lines(axes), loc="center")
    return finish(drawn, study, f"against {label(reference_of(study))}")


@figure(needs=NEEDS)
def few_shrinkage(study):
    """What n records of the first station tell of its response spectra beyond a ground-motion model: their mean
    residual (dashed) is station and chance; the posterior mean (line; band: one standard deviation) takes what n allows
    of it."""
    columns, station = new_station.spectral(study), study.stations[0]
    law, known = new_station.region(study, [station], columns), new_station.frame(study, "training")
    counts = [n for n in new_station.numbers(study) if n not in (0, new_station.ALL)][:4]
    drawn, axes = plt.subplots(1, len(counts), figsize=(2.7 * len(counts), 3.6), sharey=True, squeeze=False)
    period = [PERIODS_IN_S[SPECTRAL.index(name)] for name in columns]
    whole = known[known["station"] == station]
    for ax, n in zip(axes[0], counts if law is not None else (), strict=False):
        own = known.iloc[new_station.chosen(study, 0, n)]
        left = law.residuals(own[own["station"] == station])
        if len(left):
            mean, doubt = law.terms.posterior(left)
            spread = np.sqrt(np.diag(doubt).clip(0))
            raw = left.mean(axis=0) - law.terms.mean
            ax.plot(period, raw, color=ORANGE, linestyle="--", label="mean of n residuals")
            ax.plot(period, mean, color=BLUE, label="posterior mean")
            ax.fill_between(period, mean - spread, mean + spread, color=BLUE, alpha=0.15, linewidth=0)
        all_of_them = law.residuals(whole).mean(axis=0) - law.terms.mean
        ax.plot(period, all_of_them, color="black", linestyle=":", label=f"mean of all {len(whole)}")
        ax.axhline(0, color=GREY, linewidth=0.6)
        style.period_axis(ax, ticks=(0.05, 0.2, 1, 3))
        ax.set_title(f"{n} record{'s' * (n != 1)}")
    axes[0, 0].set(xlabel="period (s)", ylabel="ln PSA beyond the model")
    return finish(drawn, study, f"the term of {station}", axes[0, 0])


@figure(needs=NEEDS)
def few_worst(study):
    """The worst case: the station whose site response two records told the least of. Medians, and 5 to 95 % of single
    records (band: generated; thin lines: the truth's)."""
    rows = select(few(study), subject=OURS, measure="site", set=f"n = {TOLD}", statistic=distances.DISTANCE)
    rows = rows[rows["station"] != ""]
    station = rows.loc[rows["value"].idxmax(), "station"] if len(rows) else None
    made = new_station.waves(study, 0, brief(study), False)
    made = made[(made["subject"] == OURS) & (made["set"] == f"n = {TOLD}")]
    truth = new_station.frame(study, "given-fresh" if study.kind == "simulated" else "held_out")
    drawn, axes = plt.subplots(1, 2, figsize=(9.5, 3.6))
    for ax, columns, x in zip(axes, (SITE, SPECTRAL), (SITE_FREQUENCIES_IN_HZ, PERIODS_IN_S), strict=True):
        for look, frame in ((role(OURS), made), (role(reference_of(study)), truth)):
            values = np.exp(frame.loc[frame["station"] == station, list(columns)].to_numpy(float))
            there = np.isfinite(values).mean(axis=0) > 0.5
            if len(values):
                low, middle, high = np.nanquantile(values[:, there], [0.05, 0.5, 0.95], axis=0)
                ax.plot(x[there], middle, label=look.label, **look.line)
                if frame is made:
                    ax.fill_between(x[there], low, high, color=look.color, alpha=0.15, linewidth=0)
                else:
                    ax.plot(x[there], np.transpose([low, high]), color="black", linewidth=0.5)
        ax.set_yscale("log")
    style.frequency_axis(axes[0])
    style.period_axis(axes[1])
    axes[0].set_ylabel("H/V")
    axes[1].set_ylabel("PSA (cm/s²)")
    return finish(drawn, study, f"{station}, from {TOLD} records", axes[0])
