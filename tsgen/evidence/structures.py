"""What a structure feels under recorded, generated and true motion of the same scenarios (notebook 09).

The suites: held-out recordings; CGM-GM's records at the held-out recordings' scenarios; on the simulated default also
fresh truth at the same scenarios, enough of it to judge by. Differences are generated less reference, of natural
logarithms given magnitude, distance and station.
"""

import numpy as np
import pandas as pd

from tsgen import building, findings, generate, hvsr, intensity, oscillator, residuals, simulate
from tsgen.measures import IDENTITY, NEEDED, SCENARIO

GENERATOR = "cgm"
PERIODS_IN_S = np.array([0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0])
STRENGTH_FACTORS = (2, 4, 6)
ELASTIC = tuple(f"sa_{period:g}" for period in PERIODS_IN_S)
RATIOS = tuple(f"ratio_{factor}_{period:g}" for factor in STRENGTH_FACTORS for period in PERIODS_IN_S)
BUILDING = building.ShearFrame()
LIMITS = {"slight": 0.005, "moderate": 0.01, "severe": 0.02}  # a storey's largest drift: yielding, twice, four times it
CAPACITIES = tuple(f"capacity_{name}" for name in LIMITS)
LEVELS = np.geomspace(0.5, 24.0, 12)  # times the acceleration at which the frame yields
REALISATIONS = 4  # of each held-out scenario
BOUND = findings.SPREAD_BOUND  # ln 1.15: what good practice lets pass, for medians and for spreads
N_DRAWS = 400  # of each bootstrap over events
KINDS = {"elastic spectra": ELASTIC, "frame's capacity": CAPACITIES} | {
    f"inelastic ratio, R = {factor}": RATIOS[8 * i : 8 * (i + 1)] for i, factor in enumerate(STRENGTH_FACTORS)
}


def keys_of(column):
    """{"measure", "period_in_s"} of a column: psa or inelastic ratio by period, capacity by limit."""
    name, _, last = column.rpartition("_")
    if column in CAPACITIES:
        return {"measure": f"capacity, {last}"}
    measure = "psa" if name == "sa" else f"inelastic ratio, R = {name.rpartition('_')[2]}"
    return {"measure": measure, "period_in_s": float(last)}


def suites(study):
    """{name: Records} of "held_out" (those with magnitude and distance), "generated" and, where simulated, "fresh"."""
    table = study.held_out.table.reindex(columns=NEEDED)
    held_out = study.held_out.take(table.notna().all(axis=1).to_numpy())
    rows = held_out.table.reindex(columns=SCENARIO).reset_index(drop=True)
    made = generate.sample(study.model(GENERATOR), scenarios=rows, n=REALISATIONS, seed=study.seed)
    some = {"held_out": held_out, "generated": made}
    if study.kind == "simulated":
        rows = rows.loc[rows.index.repeat(REALISATIONS)]
        depth = np.minimum(rows["depth_in_km"].to_numpy(float), 0.99 * rows["distance_in_km"].to_numpy(float))
        of = (rows["station"], rows["magnitude"], rows["distance_in_km"], depth)
        some["fresh"] = simulate.fresh(study.settings.simulation, *of, 1003 + 2 * study.seed, study.seed)
    return some


def demands(records):
    """DataFrame of one row a record: ln of ELASTIC (PSA in cm/s² at 5 % damping) and RATIOS, geometric mean of E and N.
    RATIOS: inelastic over elastic largest displacement of bilinear oscillators, 5 % hardening, yielding at the
    elastic displacement over 2, 4 and 6. NaN outside a record's usable band."""
    shown = hvsr.in_band(records, 1 / PERIODS_IN_S)
    elastic = np.log(intensity.response_spectra(records, PERIODS_IN_S)[:, :2].clip(1e-9)).mean(axis=1)
    ratio = oscillator.inelastic_displacement_ratio(records, PERIODS_IN_S, STRENGTH_FACTORS)
    ratio = np.where(shown[..., None], np.log(ratio.clip(1e-9)).mean(axis=1), np.nan)  # (n, period, factor)
    values = np.column_stack([np.where(shown, elastic, np.nan), ratio.swapaxes(1, 2).reshape(len(records), -1)])
    return pd.DataFrame(values, columns=[*ELASTIC, *RATIOS])


def capacities(records):
    """DataFrame of one row a record: ln of the PSA in cm/s² at which BUILDING reaches each of LIMITS, mean of E and N.
    Components are scaled to LEVELS one by one; PSA is that of the component at the frame's first period."""
    spectral = intensity.response_spectra(records, [BUILDING.period_in_s])[:, :2, 0].clip(1e-9)
    levels = BUILDING.yield_acceleration_in_cm_s2 * LEVELS
    found = building.capacity(BUILDING, records, spectral, levels, list(LIMITS.values()))  # (n, 2, limit)
    return pd.DataFrame(found.mean(axis=1), columns=list(CAPACITIES))


def measured(study):
    """{suite: DataFrame} of IDENTITY, ``demands`` and ``capacities``; built once."""

    def build(folder):
        for name, some in suites(study).items():
            identity = some.table.reindex(columns=IDENTITY).reset_index(drop=True)
            pd.concat([identity, demands(some), capacities(some)], axis=1).to_csv(folder / f"{name}.csv", index=False)

    def load(folder):
        paths = sorted(folder.glob("*.csv"))
        return {path.stem: pd.read_csv(path, dtype={"station": str, "event": str}) for path in paths}

    inputs = [study.stage("records"), study.stage("model", GENERATOR)]
    return study.keep("structures-measured", build, load, inputs)


def structures(study):
    """Findings (protocol "structure"): medians and spreads of every measure against fresh truth and held-out
    recordings, and the farthest of them, which may lie 15 % off."""

    def build():
        frames, rows, every = measured(study), [], [name for names in KINDS.values() for name in names]
        for against in (name for name in ("fresh", "held_out") if name in frames):
            ours, theirs = frames["generated"], frames[against]
            names = [name for name in every if min(np.isfinite(side[name]).sum() for side in (ours, theirs)) > 2]
            left = residuals.given_scenario(names, theirs, ours, theirs)
            compared = findings.compare(*left, ours, theirs, n_draws=N_DRAWS, seed=study.seed)
            what, of = (GENERATOR, against, compared), {"protocol": "structure"}
            pooled = names, "structural response", left[1], theirs, study.seed, dict.fromkeys(findings.BOUNDS, BOUND)
            rows += findings.tell(*what, keys_of, **of) + findings.pooled(*what, *pooled, **of)
        return rows

    inputs = [study.stage("records"), study.stage("model", GENERATOR)]
    return study.keep_findings("structures", build, inputs)


def fifteen_percent(study, against):
    """DataFrame by kind of measure and statistic: how many are within 15 % by value, and with their whole interval."""
    whole = findings.select(structures(study), against=against)
    rows = {}
    for kind, names in KINDS.items():
        measures = {keys_of(name)["measure"] for name in names}
        for statistic in findings.BOUNDS:
            part = findings.select(whole, measure=tuple(measures), statistic=statistic)
            within, inside = part["value"].abs() <= BOUND, (part["low"] > -BOUND) & (part["high"] < BOUND)
            farthest = part.loc[part["value"].abs().idxmax()] if len(part) else {"value": np.nan, "period_in_s": np.nan}
            row = {"within by value": int(within.sum()), "whole interval within": int(inside.sum()), "of": len(part)}
            rows[kind, statistic] = row | {"farthest": farthest["value"], "at period (s)": farthest["period_in_s"]}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["measure", "statistic"])


def fragility(study):
    """DataFrame by limit and suite: median capacity (PSA in g), ln standard deviation, records, and those left out.
    Left out: records that reach the limit below the lowest or above the highest of LEVELS."""
    rows = {}
    for limit, name in zip(LIMITS, CAPACITIES, strict=True):
        for suite, table in measured(study).items():
            values = table[name].dropna()
            row = {"median_in_g": float(np.exp(values.median()) / intensity.G_IN_CM_S2), "ln_std": float(values.std())}
            rows[limit, suite] = row | {"n": len(values), "left_out": int(table[name].isna().sum())}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["limit", "suite"])
