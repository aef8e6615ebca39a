"""Is generated motion as strong, as scattered, as long and as rich as the truth? Bias and spread of every ln measure.

On the simulated default the truth can be drawn again: bias and spread are judged against it, given magnitude, distance
and station, by equivalence (a 90 % interval inside a stated bound). Held-out recordings are too few for that; they are
shown with their intervals. Recorded stations have no fresh truth.
"""

import pandas as pd

from tsgen import findings, residuals
from tsgen.findings import Sample, finding
from tsgen.measures import AMPLITUDE, COLUMNS, ENERGY, SANITY, SPECTRAL, keys_of

LED = (*AMPLITUDE, *ENERGY)  # what tables lead with


def references(study, name):
    """{against: name of what it is measured by}: "held_out", and "fresh" on the simulated default."""
    found = {"held_out": "held_out"}
    if study.kind == "simulated":
        made_from = study.some(name).table.get("made_from")
        mixed = made_from is not None and made_from.str.contains(";").any()
        found["fresh"] = "fresh-mixed" if mixed else "fresh-single"
    return found


def bias(study, name):
    """Findings on a generator, or on "training": median and spread of each of measures.COLUMNS against each reference,
    the farthest of the response spectrum's periods; the interperiod correlation of ln residuals less the reference's,
    and what two sets of one law show at such sizes."""
    against = references(study, name)
    names = ["training", "held_out", name, *against.values()]
    inputs = [study.stage("measured", each) for each in dict.fromkeys(names)]

    def build():
        frame, rows = study.measures(name), []
        frames = {of: study.measures(which) for of, which in against.items()}
        own = pd.concat([study.measures(which) for which in ("training", "held_out")], ignore_index=True)
        scaling_from = frames.get("fresh", own)
        for of, reference in frames.items():
            how = {"scaling_from": scaling_from, "fewest": 0, "pooled": {"psa": (SPECTRAL, findings.BOUNDS)}}
            rows += residuals.differences(name, of, COLUMNS, frame, reference, keys_of, study.seed, **how)
        of = reference_of(study)
        sides = [frame, frames[of]]
        if residuals.known_scenarios(scaling_from, *sides):
            left = residuals.given_scenario(SPECTRAL, scaling_from, *sides)
            samples = map(Sample.of, left, sides)
            estimates = residuals.correlation_difference(*samples, seed=study.seed)
            for part, estimate in zip(("mean absolute difference", "if of one law"), estimates, strict=True):
                rows.append(finding(name, of, "correlation of periods", part, estimate, *map(len, sides)))
        return rows

    return study.keep_findings(f"bias-{name}", build, inputs)


WORDS = {"rms": "RMS", "pga": "PGA", "pgv": "PGV", "arias": "Arias intensity", "cav": "CAV"}
WORDS |= {"d5_75": "D5-75", "d5_95": "D5-95", "psa": "PSA", "drift": "drift after double integration"}
WORDS |= {"quiet": "quiet before P", "p_lead": "lead of P (s)", "vertical": "vertical over horizontal"}


def reference_of(study):
    """What bias is judged against: "fresh" truth where it can be drawn, else the "held_out" recordings."""
    return "fresh" if study.kind == "simulated" else "held_out"


def bias_table(study, names, measures=(*LED, *SANITY)):
    """DataFrame of text, measures by generator: bias and spread with the sign of the verdict (fresh truth alone)."""
    rows = pd.concat([bias(study, name) for name in names])
    rows = findings.select(rows, against=reference_of(study), measure=tuple(measures), statistic=tuple(findings.BOUNDS))
    bounds = {"bias": findings.MEDIAN_BOUND} | findings.BOUNDS if study.kind == "simulated" else None
    rows = rows.assign(measure=rows["measure"].map(WORDS), statistic=rows["statistic"].replace({"median": "bias"}))
    return findings.pivot(rows, ["measure", "statistic"], "subject", bounds=bounds)
