"""What a structure feels under recorded, generated and true motion (notebook 09): ln of generated less reference.

What takes a magnitude and a distance is compared at the held-out recordings' scenarios, with these and with fresh truth
there, given magnitude, distance and station. A mix, or a record of the VAE, has no scenario: it is compared given the
station alone, with held-out recordings and with fresh truth at the training records' scenarios.
"""

import numpy as np
import pandas as pd

from tsgen import building, findings, hvsr, intensity, oscillator, residuals
from tsgen.measures import IDENTITY, NEEDED
from tsgen.roles import label
from tsgen.study import CONDITIONED

GIVEN = {"structure, station": "given the station", "structure": "given magnitude, distance, station"}  # protocols
PERIODS_IN_S = np.array([0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0])
STRENGTH_FACTORS = (2, 4, 6)
ELASTIC = tuple(f"sa_{period:g}" for period in PERIODS_IN_S)
RATIOS = tuple(f"ratio_{factor}_{period:g}" for factor in STRENGTH_FACTORS for period in PERIODS_IN_S)
BUILDING = building.ShearFrame()
LIMITS = {"slight": 0.005, "moderate": 0.01, "severe": 0.02}  # a storey's largest drift: yielding, twice, four times it
CAPACITIES = tuple(f"capacity_{name}" for name in LIMITS)
LEVELS = np.geomspace(0.5, 24.0, 12)  # times the acceleration at which the frame yields
N_A_STATION = 60  # records at most of what is made for a station alone, and of fresh truth beside it: frames take time
BOUND = findings.SPREAD_BOUND  # ln 1.15: what good practice lets pass, for medians and for spreads
KINDS = {"elastic spectra": ELASTIC, "frame's capacity": CAPACITIES} | {
    f"inelastic ratio, R = {factor}": RATIOS[8 * i : 8 * (i + 1)] for i, factor in enumerate(STRENGTH_FACTORS)
}
EVERY = (*ELASTIC, *CAPACITIES, *RATIOS)
POOLED = {"structural response": EVERY, "elastic spectra": ELASTIC, "response after yielding": (*CAPACITIES, *RATIOS)}


def keys_of(column):
    """{"measure", "period_in_s"} of a column: psa or inelastic ratio by period, capacity by limit."""
    name, _, last = column.rpartition("_")
    if column in CAPACITIES:
        return {"measure": f"capacity, {last}"}
    measure = "psa" if name == "sa" else f"inelastic ratio, R = {name.rpartition('_')[2]}"
    return {"measure": measure, "period_in_s": float(last)}


def protocol(name):
    """Which of GIVEN generator ``name`` is judged by."""
    return "structure" if name in CONDITIONED else "structure, station"


def suite_of(name):
    """What ``suite`` calls the records of generator ``name``."""
    return f"given-{name}" if name in CONDITIONED else name


def references(study, name):
    """{against: suite} that generator ``name`` is compared with: "fresh" on the simulated default, and "held_out"."""
    fresh = {"fresh": "given-fresh" if name in CONDITIONED else "fresh-single"}
    return (fresh if study.kind == "simulated" else {}) | {"held_out": "held_out"}


def suite(study, which):
    """Records by name (``Study.some``); of what is made for a station alone N_A_STATION, without magnitude and
    distance: the mean of a mix's magnitudes is none."""
    some = study.some(which)
    if which == "held_out" or which.startswith("given-"):
        return some
    some = some.take(some.table.groupby("station").head(N_A_STATION).index)
    return some.with_columns(**dict.fromkeys(NEEDED, np.nan))


def demands(records):
    """DataFrame of one row a record: ln of ELASTIC (PSA in cm/s² at 5 % damping) and RATIOS, geometric mean of E and N.
    RATIOS: inelastic over elastic largest displacement of bilinear oscillators, 5 % hardening, yielding at the elastic
    displacement over 2, 4 and 6. NaN outside a record's usable band."""
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


def measured(study, which):
    """DataFrame of IDENTITY, ``demands`` and ``capacities`` of the records of a suite; built once."""

    def make():
        some = suite(study, which)
        identity = some.table.reindex(columns=IDENTITY).reset_index(drop=True)
        return pd.concat([identity, demands(some), capacities(some)], axis=1)

    return study.keep_table(f"structures-measured-{which}", make, [study.stage_of(which)])


def structures(study, name):
    """Findings (``protocol``) on generator ``name``: median and spread of each measure against each of ``references``,
    and the farthest of each of POOLED, which may lie 15 % off."""

    def build():
        ours, rows, bounds = measured(study, suite_of(name)), [], dict.fromkeys(findings.BOUNDS, BOUND)
        pooled = {measure: (columns, bounds) for measure, columns in POOLED.items()}
        how = {"fewest": 3, "pooled": pooled, "protocol": protocol(name)}
        for against, reference in references(study, name).items():
            theirs = measured(study, reference)
            theirs = theirs.dropna(subset=NEEDED) if name in CONDITIONED else theirs
            rows += residuals.differences(name, against, EVERY, ours, theirs, keys_of, study.seed, **how)
        return rows

    inputs = [study.stage_of(which) for which in (suite_of(name), *references(study, name).values())]
    return study.keep_findings(f"structures-{name}", build, inputs)


def judged(study):
    """Generators that structures are asked of: every model that can be trained on these records, and ours."""
    return (*study.models, *(["evolve"] if not study.lacking("magnitudes") else []))


def every(study):
    """Table of ``structures`` of all that are ``judged``."""
    return pd.concat([structures(study, name) for name in judged(study)], ignore_index=True)


def fifteen_percent(study, name, against):
    """DataFrame by kind of measure and statistic: how many are within 15 % by value, and with their whole interval."""
    whole = findings.select(structures(study, name), against=against)
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


def groups(study):
    """{protocol: {suite: role}} of the suites that are shown together: the references, then who is ``judged``."""
    found = {}
    for name in judged(study):
        beside = {which: against for against, which in references(study, name).items()}
        found.setdefault(protocol(name), beside)[suite_of(name)] = name
    return found


def fragility(study):
    """DataFrame by limit and suite: median capacity (PSA in g), ln standard deviation, records, and those left out.
    Left out: records that reach the limit below the lowest or above the highest of LEVELS."""
    rows = {}
    for limit, column in zip(LIMITS, CAPACITIES, strict=True):
        for given, which, name in ((GIVEN[of], *each) for of, some in groups(study).items() for each in some.items()):
            values = measured(study, which)[column]
            median_in_g = float(np.exp(values.median()) / intensity.G_IN_CM_S2)
            row = {"median_in_g": median_in_g, "ln_std": float(values.std()), "n": int(values.count())}
            rows[limit, given, label(name)] = row | {"left_out": int(values.isna().sum())}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["limit", "", "suite"])
