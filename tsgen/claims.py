"""The claims of the paper and of the study (claims.csv): each names a finding and a region, and one rule judges them
all.

A claim holds where the interval of its finding lies in the region, does not hold where all of it lies beyond, and is
undecided between; one that names findings over trainings, networks or folds is judged on their mean with its 90 %
interval (Student). A bound is a number or a name of BOUNDS.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tsgen import findings
from tsgen.findings import UNTESTED, Estimate, number, over, verdict
from tsgen.roles import label

BOUNDS = {
    "bias": findings.MEDIAN_BOUND,
    "spread": findings.SPREAD_BOUND,
    "score": 0.05,  # a gap in score below it is no gap: half the width of a score's interval at quick
    "stack": 0.05,  # of R²: unseen recordings differ by less
    "shuffled": 0.5,  # half of what recordings score
    "flattery": 0.3,  # of a score by the form of its matrix
}
VARYING = ("training", "network", "fold")  # over which findings of one claim are pooled
NAMING = ["subject", "against", "measure", "statistic", "protocol", "set"]  # a finding of all stations


@dataclass(frozen=True)
class Claim:
    """One sentence, whose it is ("paper" or "study"), the notebook that shows it, and what it rests on. where: (name,
    value) of its finding's NAMING columns; region: "> bound", "< bound" or "within bound" (of 0); source: "run", or the
    experiment whose stored findings it reads."""

    text: str
    of: str
    notebook: str
    where: tuple
    region: str = "> 0"
    source: str = "run"

    def judged(self, low, high):
        """Verdict on an interval. KeyError for a bound that is neither a number nor in BOUNDS."""
        side, name = self.region.split()
        sign, name = (-1, name[1:]) if name.startswith("-") else (1, name)
        bound = sign * (float(name) if name[0].isdigit() else BOUNDS[name])
        region = {">": (bound, float("inf")), "<": (-float("inf"), bound)}.get(side, (-bound, bound))
        return verdict(low, high, region)


CLAIMS = tuple(
    Claim(row["claim"], row["of"], row["notebook"], where, row["region"], row["source"] or "run")
    for row in pd.read_csv(Path(__file__).with_suffix(".csv"), dtype=str, keep_default_na=False).to_dict("records")
    for where in [tuple((name, row[name]) for name in NAMING) if row["subject"] else ()]
)


def chosen(claim, sources):
    """(Estimate of the finding that a claim names, of one row or the mean over VARYING, or None; and a remark).
    sources: {"run" or experiment: table of findings}. ValueError where it names several that are not repeats."""
    if not claim.where:
        return None, "needs recordings that are not here"
    if claim.source not in sources:
        return None, f"results/{claim.source}.json is missing"
    rows = findings.select(sources[claim.source], station="", **dict(claim.where))
    if len(rows) < 2:
        row = rows[["value", "low", "high", "n"]].to_dict("records")
        return (Estimate(**row[0]), "") if row else (None, "no such finding of these records")
    varying = [name for name in VARYING if rows[name].nunique() > 1]
    if len(varying) != 1 or rows[varying[0]].nunique() != len(rows):
        raise ValueError(f"{claim.text} names {len(rows)} findings that are not repeats of one")
    return over(rows["value"]), f"mean of {len(rows)} {varying[0]}s"


def table(sources, claims=CLAIMS):
    """DataFrame of one row a claim: claim, of, number (what it is), value, interval, verdict, why, notebook."""
    rows = []
    for claim in claims:
        found, why = chosen(claim, sources)
        said = UNTESTED, "", "", ""
        if found is not None:
            where = dict(claim.where)
            less = f" less {label(where['against'])}" if where["against"] else ""
            interval = f"{number(found.low)} to {number(found.high)}" if found.low == found.low else ""
            what = f"{where['measure']}, {where['statistic']}: {label(where['subject'])}{less}"
            said = claim.judged(found.low, found.high), what, number(found.value), interval
        rows.append((claim.text, claim.of, *said[1:], said[0], why, claim.notebook))
    columns = ["claim", "of", "number", "value", "5 to 95 %", "verdict", "why", "notebook"]
    return pd.DataFrame(rows, columns=columns, index=pd.RangeIndex(1, len(rows) + 1))
