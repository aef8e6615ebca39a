"""Structural response to recorded, generated and true motion: spectra, inelastic ratios, fragility (notebook 09)."""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

from tsgen import structure
from tsgen.figures.style import ROLES, kind_note
from tsgen.intensity import G_IN_CM_S2
from tsgen.structure import PERIODS_IN_S, STRENGTH_FACTORS

SUITES = {"held_out": "held_out", "fresh": "fresh", "generated": "cgm"}


def _frames(study):
    found = structure.measured(study)
    return {name: (found[name], ROLES[role]) for name, role in SUITES.items() if name in found}


def _period_axis(ax):
    ax.set_xscale("log")
    ax.set_xticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
    ax.minorticks_off()
    ax.set_xlabel("period (s)")


def structural_demand(study):
    """Elastic spectra and inelastic displacement ratios of each suite: medians, and 16 to 84 % of the generated."""
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.5))
    kinds = {"PSA (cm/s²)": structure.ELASTIC}
    for i, factor in enumerate(STRENGTH_FACTORS):
        kinds[f"inelastic / elastic displacement, R = {factor}"] = structure.RATIOS[8 * i : 8 * (i + 1)]
    for ax, (label, names) in zip(axes, kinds.items(), strict=True):
        for name, (frame, look) in _frames(study).items():
            low, middle, high = (np.exp(frame[list(names)].quantile(q)) for q in (0.16, 0.5, 0.84))
            ax.plot(PERIODS_IN_S, middle, label=look.label, **look.line)
            if name == "generated":
                ax.fill_between(PERIODS_IN_S, low, high, color=look.color, alpha=0.15, linewidth=0)
        _period_axis(ax)
        ax.set_yscale("log")
        ax.set_ylabel(label)
        if names is not structure.ELASTIC:
            ax.axhline(1, color="black", linewidth=0.6)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(f"suites of the held-out recordings' scenarios ({kind_note(study)})", fontsize=10)
    return figure


def structural_bias(study):
    """Generated less reference, medians and spreads with 5 to 95 %, by period; green: the 15 % of good practice."""
    found = structure.judged(study)
    figure, axes = plt.subplots(2, 4, figsize=(12, 5.4), sharex=True, sharey="row")
    kinds = {"elastic PSA": structure.ELASTIC}
    for i, factor in enumerate(STRENGTH_FACTORS):
        kinds[f"inelastic ratio, R = {factor}"] = structure.RATIOS[8 * i : 8 * (i + 1)]
    for row, statistic in zip(axes, ("median", "spread"), strict=True):
        for ax, (title, names) in zip(row, kinds.items(), strict=True):
            for against, table in found.items():
                part, look = table.reindex(list(names)), ROLES["cgm" if against == "fresh" else "held_out"]
                label = "fresh truth" if against == "fresh" else "held-out recordings"
                ax.plot(PERIODS_IN_S, part[statistic], label=f"against {label}", **look.line)
                ends = (part[f"{statistic}_{end}"].to_numpy(float) for end in ("low", "high"))
                ax.fill_between(PERIODS_IN_S, *ends, color=look.color, alpha=0.15, linewidth=0)
            ax.axhspan(-structure.BOUND, structure.BOUND, color="#cfe3d4", zorder=0)
            ax.axhline(0, color="black", linewidth=0.6)
            if statistic == "median":
                ax.set_title(title)
        row[0].set_ylabel({"median": "bias (ln ratio of medians)", "spread": "spread (ln ratio)"}[statistic])
    for ax in axes[1]:
        _period_axis(ax)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle(f"given magnitude, distance and station ({kind_note(study)})", fontsize=10)
    return figure


def fragility_curves(study):
    """Probability that the frame's largest drift exceeds each limit, by PSA at its period: lognormal fit, counts."""
    figure, axes = plt.subplots(1, len(structure.LIMITS), figsize=(11, 3.5), sharey=True)
    for ax, (limit, drift), name in zip(axes, structure.LIMITS.items(), structure.CAPACITIES, strict=True):
        for frame, look in _frames(study).values():
            values = np.sort(frame[name].dropna())
            if len(values) < 2:
                continue
            x = np.linspace(values[0] - 0.3, values[-1] + 0.3, 100)
            ax.plot(
                np.exp(x) / G_IN_CM_S2,
                norm.cdf(x, np.median(values), values.std(ddof=1)),
                label=look.label,
                **look.line,
            )
            share = (np.arange(len(values)) + 0.5) / len(values)
            ax.plot(np.exp(values) / G_IN_CM_S2, share, ".", color=look.color, markersize=2, alpha=0.5)
        period = structure.BUILDING.period_in_s
        ax.set(xlabel=f"PSA at {period:g} s (g)", title=f"{limit}: storey drift above {100 * drift:g} %")
    axes[0].set_ylabel("probability of exceedance")
    axes[0].legend()
    figure.suptitle(
        f"frame of {structure.BUILDING.n_storeys} storeys, records scaled ({kind_note(study)})", fontsize=10
    )
    return figure


FIGURES = {function.__name__: function for function in (structural_demand, structural_bias, fragility_curves)}
