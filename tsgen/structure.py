"""What a structure feels under recorded, generated and true motion of the same scenarios (notebook 09).

Takes a Study. The suites: held-out recordings; CGM-GM's records at the held-out recordings' scenarios; on the
simulated default also fresh truth at the same scenarios, enough of it to judge by. Differences are generated less
reference, of natural logarithms given magnitude, distance and station.
"""

import json
import sys

import numpy as np
import pandas as pd

from tsgen import arrivals, equivalence, evidence, frame, intensity, oscillator, residuals, scaling, simulate, store

PERIODS_IN_S = np.array([0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0])
STRENGTH_FACTORS = (2, 4, 6)
ELASTIC = tuple(f"sa_{period:g}" for period in PERIODS_IN_S)
RATIOS = tuple(f"ratio_{factor}_{period:g}" for factor in STRENGTH_FACTORS for period in PERIODS_IN_S)
BUILDING = frame.ShearFrame()
LIMITS = {
    "slight": 0.005,
    "moderate": 0.01,
    "severe": 0.02,
}  # largest drift of a storey: yielding, twice, four times it
CAPACITIES = tuple(f"capacity_{name}" for name in LIMITS)
LEVELS = np.geomspace(0.5, 24.0, 12)  # times the acceleration at which the frame yields
REALISATIONS = 4  # of each held-out scenario
BOUND = equivalence.SPREAD_BOUND  # ln 1.15: what good practice lets pass, for medians and for spreads
CODE = (arrivals, equivalence, evidence, frame, intensity, oscillator, scaling, simulate)


def suites(study):
    """{name: Records} of "held_out" (those with magnitude and distance), "generated" and, where simulated, "fresh"."""
    table = study.held_out.table.reindex(columns=scaling.NEEDED)
    held_out = study.held_out.take(table.notna().all(axis=1).to_numpy())
    rows = held_out.table.reindex(columns=scaling.SCENARIO).reset_index(drop=True)
    found = {"held_out": held_out, "generated": scaling.generated(study, rows, REALISATIONS)}
    if study.kind == "simulated":
        found["fresh"] = scaling.truth(study, rows.loc[rows.index.repeat(REALISATIONS)], seed_offset=3)
    return found


def demands(records):
    """DataFrame of one row a record: ln of ELASTIC (PSA in cm/s²) and RATIOS, geometric mean of E and N.

    PSA at 5 % damping; RATIOS: inelastic over elastic largest displacement of bilinear oscillators, 5 % hardening,
    yielding at the elastic displacement over 2, 4 and 6. NaN outside a record's usable band.
    """
    shown = intensity.in_band(records, 1 / PERIODS_IN_S)
    elastic = np.log(intensity.response_spectra(records, PERIODS_IN_S)[:, :2].clip(1e-9)).mean(axis=1)
    ratio = oscillator.inelastic_displacement_ratio(records, PERIODS_IN_S, STRENGTH_FACTORS)
    ratio = np.where(shown[..., None], np.log(ratio.clip(1e-9)).mean(axis=1), np.nan)  # (n, period, factor)
    values = np.column_stack([np.where(shown, elastic, np.nan), ratio.swapaxes(1, 2).reshape(len(records), -1)])
    return pd.DataFrame(values, columns=[*ELASTIC, *RATIOS])


def capacities(records):
    """DataFrame of one row a record: ln of the PSA in cm/s² at which BUILDING reaches each of LIMITS, mean of E and N.

    Components are scaled to LEVELS one by one; PSA is that of the component at the frame's first period.
    """
    spectral = intensity.response_spectra(records, [BUILDING.period_in_s])[:, :2, 0].clip(1e-9)
    levels = BUILDING.yield_acceleration_in_cm_s2 * LEVELS
    found = frame.capacity(BUILDING, records, spectral, levels, list(LIMITS.values()))  # (n, 2, limit)
    return pd.DataFrame(found.mean(axis=1), columns=list(CAPACITIES))


def measured(study):
    """{suite: DataFrame} of SCENARIO, event, ``demands`` and ``capacities``; built once."""
    key = store.key_of(
        "structure", study.settings, study.generated_key(scaling.GENERATOR), modules=(*CODE, sys.modules[__name__])
    )

    def build(folder):
        for name, some in suites(study).items():
            identity = some.table.reindex(columns=[*scaling.SCENARIO, "event"]).reset_index(drop=True)
            pd.concat([identity, demands(some), capacities(some)], axis=1).to_csv(folder / f"{name}.csv", index=False)

    def load(folder):
        return {path.stem: pd.read_csv(path, dtype={"station": str, "event": str}) for path in folder.glob("*.csv")}

    return study.store.cached("structure", key, build, load)


def judged(study):
    """{"fresh" and "held_out": DataFrame by measure} of ``equivalence.compare``, with verdicts at BOUND; built once."""
    key = store.key_of(
        "structure",
        study.settings,
        study.generated_key(scaling.GENERATOR),
        "judged",
        modules=(*CODE, sys.modules[__name__]),
    )

    def build(folder):
        frames = measured(study)
        found = {
            name: compare(study, frames["generated"], frames[name]).reset_index().to_dict("records")
            for name in ("fresh", "held_out")
            if name in frames
        }
        store.write_json(folder / "structure.json", found)

    def load(folder):
        found = json.loads((folder / "structure.json").read_text())
        return {name: pd.DataFrame(rows).set_index("index") for name, rows in found.items()}

    return study.store.cached("structure-judged", key, build, load)


def compare(study, ours, theirs):
    """``equivalence.compare`` given magnitude, distance and station, with 15 % as the bound of medians as well."""
    every = (*ELASTIC, *RATIOS, *CAPACITIES)
    names = [name for name in every if min(np.isfinite(side[name]).sum() for side in (ours, theirs)) > 2]
    left = residuals.given_scenario(names, ours, theirs)
    found = equivalence.compare(*left, ours, theirs, by_station=True, n_draws=scaling.N_DRAWS, seed=study.seed)
    for name, row in found.iterrows():
        median = equivalence.Estimate(row["median"], row["median_low"], row["median_high"], 0)
        found.loc[name, "median_verdict"] = equivalence.verdict(median, BOUND)
    return found


def fifteen_percent(found):
    """DataFrame by kind of measure and statistic: how many are within 15 % by value, and with their whole interval."""
    rows = {}
    kinds = {"elastic spectra": ELASTIC, "frame's capacity": CAPACITIES}
    kinds |= {
        f"inelastic ratio, R = {factor}": RATIOS[8 * i : 8 * (i + 1)] for i, factor in enumerate(STRENGTH_FACTORS)
    }
    for kind, names in kinds.items():
        table = found.loc[[name for name in names if name in found.index]]
        for statistic in ("median", "spread"):
            worst = table[statistic].abs().idxmax() if len(table) else ""
            rows[kind, statistic] = {
                "within by value": int((table[statistic].abs() <= BOUND).sum()),
                "whole interval within": int((table[f"{statistic}_verdict"] == "equivalent").sum()),
                "of": len(table),
                "farthest": worst,
                "its difference": float(table.loc[worst, statistic]) if worst else np.nan,
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["measure", "statistic"])


def fragility(study):
    """DataFrame by limit and suite: median capacity (PSA in g), ln standard deviation, records, and those left out.

    Left out: records that reach the limit below the lowest or above the highest of LEVELS.
    """
    rows = {}
    for limit, name in zip(LIMITS, CAPACITIES, strict=True):
        for suite, table in measured(study).items():
            values = table[name].dropna()
            rows[limit, suite] = {
                "median_in_g": float(np.exp(values.median()) / intensity.G_IN_CM_S2),
                "ln_std": float(values.std()),
                "n": len(values),
                "left_out": int(table[name].isna().sum()),
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["limit", "suite"])
