"""Choose records for dynamic analysis: ``python -m tsgen.select RECORDS (--magnitude M --distance R | --target CSV)``.

Of a suite, recorded or generated, the n records whose response spectra together have a target's mean and spread: a
ground-motion model's for a magnitude, a distance and a site, conditional on one period if asked, or the user's. Records
are scaled within stated limits. After Jayaram, Lin and Baker (2011, Earthquake Spectra 27, 797) and Baker and Lee
(2018, J. Earthq. Eng. 22, 1365): spectra drawn from the target choose first records, then one after another is replaced
by the record that brings mean and spread nearest, until none does. Left in --out: selected.csv, selected.png, and the
records, unscaled, with their scale in the table.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from tsgen import config, formats, ground_motion, hvsr, intensity
from tsgen.figures import style
from tsgen.measures import PERIODS_IN_S
from tsgen.one_sentence import OneSentence

SCALES = 15  # of a record that are tried, evenly in ln, within the limits
ROUNDS = 20  # at most, through all places
SHOWN = ("station", "event", "kind", "source", "magnitude", "distance_in_km", "scale")  # of each record that is chosen
TICKS_IN_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


@dataclass(frozen=True)
class Target:
    """ln PSA in cm/s² at periods_in_s (p,): mean (p,) and covariance (p, p)."""

    periods_in_s: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray

    @property
    def std(self):
        return np.sqrt(np.diag(self.covariance))

    def given(self, k, epsilon):
        """The Target conditional on ``epsilon`` standard deviations at period number k (Baker 2011, J. Struct. Eng.
        137, 322)."""
        slope = self.covariance[:, k] / self.covariance[k, k]
        mean = self.mean + slope * (epsilon * self.std[k])
        return Target(self.periods_in_s, mean, self.covariance - np.outer(slope, self.covariance[k]))


def correlation(periods_in_s):
    """(p, p) correlation of ln PSA at periods of 0.01 to 10 s given magnitude, distance and site (Baker and Jayaram
    2008, Earthquake Spectra 24, 299, eq. 2), by pygmm."""
    correlations = ground_motion.pygmm_module("pygmm.baker_jayaram_2008").calc_correls
    return np.array([correlations(periods_in_s, each) for each in periods_in_s])


def of_model(magnitude, distance_in_km, vs30_in_m_per_s, periods_in_s=PERIODS_IN_S, model="BSSA14", depth_in_km=8.0):
    """Target of a ground-motion model for an earthquake of a magnitude at a hypocentral distance."""
    near = ground_motion.joyner_boore(distance_in_km, depth_in_km)
    site = vs30_in_m_per_s, periods_in_s, "global", depth_in_km
    median, ln_std = (part[0] for part in ground_motion.prediction(model, magnitude, near, *site))
    return Target(np.asarray(periods_in_s), np.log(median), np.outer(ln_std, ln_std) * correlation(periods_in_s))


def of_file(path):
    """Target of a CSV with the columns period_in_s, ln_mean (of PSA in cm/s²) and ln_std. ValueError for another."""
    try:
        table = pd.read_csv(path)[["period_in_s", "ln_mean", "ln_std"]].astype(float).sort_values("period_in_s")
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is no target: a CSV with period_in_s, ln_mean and ln_std is needed") from error
    if not (np.isfinite(table.to_numpy()).all() and (table["period_in_s"] > 0).all() and (table["ln_std"] >= 0).all()):
        raise ValueError(f"{path}: periods must be above 0, and every value a number")
    periods, mean, std = table.to_numpy().T
    return Target(periods, mean, np.outer(std, std) * correlation(periods))


def choose(ln_spectra, target, n, highest_scale=4.0, conditional=None, seed=0):
    """(rows (n,), scales (n,)): records of ln_spectra (N, p), none twice, and what to multiply them by, so that the
    mean and the standard deviation of their spectra are the target's. Scales lie between 1 / highest_scale and
    highest_scale; conditional: the number of the period at which every scaled record has the target's mean, which
    leaves each record one scale. ValueError where fewer than n can be scaled so."""
    limit, n_records = np.log(highest_scale), len(ln_spectra)
    if conditional is None:
        steps = np.linspace(-limit, limit, SCALES) if limit > 0 else np.zeros(1)
        row, scale = np.repeat(np.arange(n_records), len(steps)), np.tile(steps, n_records)
    else:
        row, scale = np.arange(n_records), target.mean[conditional] - ln_spectra[:, conditional]
    usable = np.isfinite(ln_spectra[row]).all(axis=1) & (np.abs(scale) <= limit + 1e-12)
    row, scale = row[usable], scale[usable]
    if len(set(row)) < n:
        told = f"{len(set(row))} of {n_records} records can be scaled to the target within a factor of"
        raise ValueError(f"{told} {highest_scale:g}; {n} are asked for: widen --scale, or give more records")
    spectra = ln_spectra[row] + scale[:, None]  # (candidates, p)
    wanted = np.random.default_rng(seed).multivariate_normal(target.mean, target.covariance, n, method="eigh")
    chosen, free = [], np.ones(len(row), bool)
    for each in wanted:
        far = np.where(free, ((spectra - each) ** 2).sum(axis=1), np.inf)
        chosen.append(int(far.argmin()))
        free &= row != row[chosen[-1]]
    for _ in range(ROUNDS):
        before = list(chosen)
        for place in range(n):
            rest = np.delete(chosen, place)
            allowed = ~np.isin(row, row[rest])
            errors = np.where(allowed, misfits(spectra[rest], spectra, target), np.inf)
            if errors.min() < errors[chosen[place]] - 1e-12:
                chosen[place] = int(errors.argmin())
        if chosen == before:
            break
    return row[chosen], np.exp(scale[chosen])


def misfits(rest, added, target):
    """(candidates,) squared errors of mean and spread over periods of ``rest`` (n - 1, p) with each of ``added``."""
    n = len(rest) + 1
    mean, square = (rest.sum(axis=0) + added) / n, (rest**2).sum(axis=0) + added**2
    std = np.sqrt(((square - n * mean**2) / max(1, n - 1)).clip(0))
    return ((mean - target.mean) ** 2).sum(axis=1) + ((std - target.std) ** 2).sum(axis=1)


def figure_of(target, scaled, conditional=None):
    """Figure: every chosen spectrum, their mean and spread, and the target's; scaled (n, p) ln PSA in cm/s²."""
    drawn, axes = plt.subplots(1, 2, figsize=(10, 4))
    periods, chosen = target.periods_in_s, (scaled.mean(axis=0), scaled.std(axis=0, ddof=1))
    axes[0].plot(periods, np.exp(scaled.T), color=style.GREY, linewidth=0.6)
    sides = {"target": (target.mean, target.std, "black", "--"), "chosen": (*chosen, style.BLUE, "-")}
    for label, (mean, std, color, line) in sides.items():
        look = {"color": color, "linestyle": line}
        axes[0].plot(periods, np.exp(mean), label=f"{label}: median", **look)
        for sign, words in ((-1, None), (1, f"{label}: 16 and 84 %")):
            axes[0].plot(periods, np.exp(mean + sign * std), linewidth=0.8, label=words, **look)
        axes[1].plot(periods, std, label=label, **look)
    axes[0].set(yscale="log", ylabel="PSA, RotD50, 5 % (cm/s²)")
    axes[1].set(ylabel="ln standard deviation", ylim=(0, None))
    for ax in axes:
        ax.set(xscale="log", xlabel="period (s)")
        style.plain_ticks(ax.xaxis, [t for t in TICKS_IN_S if periods.min() <= t <= periods.max()])
        if conditional is not None:
            ax.axvline(periods[conditional], color=style.GREY, linestyle=":", label="conditional on this period")
        ax.legend(fontsize=7)
    drawn.suptitle(f"{len(scaled)} records, chosen and scaled to a target")
    return drawn


def options(arguments):
    parser = OneSentence(prog="python -m tsgen.select", description=__doc__)
    parser.add_argument("records", type=Path, metavar="RECORDS", help="folder of records, recorded or generated")
    parser.add_argument("--magnitude", type=float, metavar="M")
    parser.add_argument("--distance", type=float, metavar="KM", help="hypocentral")
    parser.add_argument("--vs30", type=float, default=400.0, metavar="V", help="of the site, m/s (400)")
    parser.add_argument("--model", choices=ground_motion.MODELS, default="BSSA14", help="ground-motion model (BSSA14)")
    parser.add_argument("--target", type=Path, metavar="CSV", help="in place of a model: period_in_s, ln_mean, ln_std")
    parser.add_argument("--period", type=float, metavar="T", help="condition on the PSA at this period, s …")
    parser.add_argument("--epsilon", type=float, default=0.0, help="… so many standard deviations above its mean (0)")
    parser.add_argument("-n", type=int, default=30, help="records to choose (30)")
    parser.add_argument("--scale", type=float, default=4.0, metavar="S", help="factor at most, and 1/S at least (4)")
    parser.add_argument("--profile", choices=config.PROFILES, default="quick", help="sampling rate and length (quick)")
    parser.add_argument("--unit", metavar="U", help="of files that do not state one, as cm/s^2 or g")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("selected"), metavar="FOLDER")
    return parser.parse_args(arguments)


def asked_for(asked):
    """(Target, number of the period it is conditional on, or None) of the command line."""
    if asked.target:
        target = of_file(asked.target)
    elif asked.magnitude is None or asked.distance is None:
        raise ValueError("give --magnitude and --distance, or a --target file")
    else:
        target = of_model(asked.magnitude, asked.distance, asked.vs30, model=asked.model)
    if asked.period is None:
        return target, None
    k = int(np.abs(np.log(target.periods_in_s / asked.period)).argmin())
    return target.given(k, asked.epsilon), k


def main(arguments=None):
    """Exit code: 0, or 2 where nothing can be chosen."""
    asked = options(arguments)
    try:
        if asked.n < 2 or asked.scale < 1:
            raise ValueError("-n must be 2 or more, and --scale 1 or more")
        profile = config.profile(asked.profile)
        target, conditional = asked_for(asked)
        read = asked.records, profile.sampling_rate_in_hz, profile.duration_in_s, asked.unit
        records, _ = formats.read_folder(*read, quality=profile.quality, window=profile.window)
        if "quality" in records.table:
            records = records.take((records.table["quality"] == "").to_numpy())
        spectra = intensity.rotd(records, target.periods_in_s, (50,))[0]
        spectra = np.log(np.where(hvsr.in_band(records, 1 / target.periods_in_s), spectra, np.nan))
        rows, scales = choose(spectra, target, asked.n, asked.scale, conditional, asked.seed)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    chosen, scaled = records.take(rows).with_columns(scale=scales), spectra[rows] + np.log(scales)[:, None]
    chosen.save(asked.out / "records")
    table = chosen.table[[name for name in SHOWN if name in chosen.table]].round({"scale": 3})
    table.to_csv(asked.out / "selected.csv", index=False)
    with style.styled():
        figure_of(target, scaled, conditional).savefig(asked.out / "selected.png")
    fit = {"period_in_s": target.periods_in_s, "mean": scaled.mean(axis=0), "target's mean": target.mean}
    fit = pd.DataFrame(fit | {"std": scaled.std(axis=0, ddof=1), "target's std": target.std})
    print(table.to_string(index=False), fit.round(3).to_string(index=False), sep="\n\n")
    free = fit[np.arange(len(fit)) != conditional]  # at the period of a condition the target has no spread
    mean = np.expm1((free["mean"] - free["target's mean"]).abs().max())
    spread = (free["std"] / free["target's std"] - 1).abs().max()
    print(f"\nmean within {100 * mean:.0f} %, spread within {100 * spread:.0f} % of the target's at every period")
    if (chosen.table["kind"] == "generated").any():
        print("Generated records are among them: not for design without review.")
    print(asked.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
