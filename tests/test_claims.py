"""Claims: each names a finding and a region; verdicts follow from planted findings, and every claim finds its own."""

import numpy as np
import pytest

from tsgen import claims, experiments, findings
from tsgen.claims import CLAIMS, Claim
from tsgen.findings import COLUMNS, FAILS, HOLDS, IDENTITY, UNDECIDED, UNTESTED, Estimate, finding, over
from tsgen.running import environment

WHERE = (("subject", "a"), ("against", "b"), ("measure", "pga"), ("statistic", "median"))


def rows_of(*intervals, **keys):
    """Findings that WHERE names, one for each (low, high); the keys' values one for each too."""
    return findings.table(
        [
            finding(
                "a",
                "b",
                "pga",
                "median",
                Estimate((low + high) / 2, low, high, 9),
                **{k: v[i] for k, v in keys.items()},
            )
            for i, (low, high) in enumerate(intervals)
        ]
    )


def judged(claim, rows):
    return claims.table({claim.source: rows}, [claim]).iloc[0]


REGIONS = [
    # region, interval, verdict
    ("> 0.1", (0.11, 0.2), HOLDS),
    ("> 0.1", (-0.3, 0.09), FAILS),
    ("> 0.1", (0.0, 0.2), UNDECIDED),
    ("< 0.1", (0.0, 0.09), HOLDS),
    ("< 0.1", (0.11, 0.2), FAILS),
    ("< 0.1", (0.0, 0.2), UNDECIDED),
    ("within 0.1", (-0.09, 0.09), HOLDS),
    ("within 0.1", (-0.5, -0.11), FAILS),
    ("within 0.1", (0.05, 0.15), UNDECIDED),
    ("within 0.1", (-0.5, 0.5), UNDECIDED),  # a wide interval proves no sameness
]


@pytest.mark.parametrize(("region", "interval", "verdict"), REGIONS)
def test_an_interval_against_a_region(region, interval, verdict):
    claim = Claim("It is so.", "study", "07", WHERE, region)
    row = judged(claim, rows_of(interval))
    assert row["verdict"] == verdict and row["why"] == ""
    assert row["5 to 95 %"] == f"{interval[0]:.2f} to {interval[1]:.2f}".replace("-", "−")


REPEATED = {"trainings": "training", "recorded-trainings": "training", "onehot": "training"}
REPEATED |= {
    "networks": "network",
    "regressed": "network",
    "few": "network",
    "recorded-folds": "fold",
}  # what a source repeats
POSSIBLE = {  # values that a measure or statistic can take; others any
    "draws in which half the scatter is better": (0, 1),
    "share of variance changed": (0, np.inf),
    "skill": (-np.inf, 1),
    "S × S, farthest": (0, 2),
    "score": (-2, 2),
    "similarity": (-1, 1),
    "r2": (-1, 1),
}


def planted(claim, value, width):
    """Findings that a claim names, with an interval of ``width`` about the value; of repeats four, which scatter."""
    where, key = dict(claim.where), REPEATED.get(claim.source)
    if key is None or where["set"] == "folds":  # the pooled folds are one finding
        return findings.table([finding(estimate=Estimate(value, value - width / 2, value + width / 2, 9), **where)])
    step = 0.4 * width  # their mean has an interval of 1.2 times the width
    values = value + step * np.array([-1.0, -1.0, 1.0, 1.0])
    return findings.table([finding(estimate=each, **where, **{key: i}) for i, each in enumerate(values)])


def regions(claim):
    """(a value in the claim's region, one beyond it), both near its bound and possible."""
    where = dict(claim.where)
    limits = next((POSSIBLE[where[name]] for name in ("statistic", "measure") if where[name] in POSSIBLE), (-9, 9))
    tried = [v for v in np.round(np.arange(-1.005, 1.0, 0.01), 3) if limits[0] < v - 1e-3 and v + 1e-3 < limits[1]]
    inside = [v for v in tried if claim.judged(v - 1e-3, v + 1e-3) == HOLDS]
    beyond = [v for v in tried if claim.judged(v - 1e-3, v + 1e-3) == FAILS]
    return min(((a, b) for a in inside for b in beyond), key=lambda pair: abs(pair[0] - pair[1]))


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.text[:60])
def test_every_claim_names_columns_and_can_hold_and_fail(claim):
    where = dict(claim.where)
    assert set(where) <= set(IDENTITY) and claim.of in ("paper", "study")
    assert claim.notebook in {path.name[:2] for path in environment.choose()}
    if not where:
        assert judged(claim, rows_of())["verdict"] == UNTESTED
        return
    assert {"subject", "against", "measure", "statistic"} <= set(where)
    inside, beyond = regions(claim)
    assert judged(claim, planted(claim, inside, 2e-3))["verdict"] == HOLDS
    assert judged(claim, planted(claim, beyond, 2e-3))["verdict"] == FAILS
    for value in (inside, beyond):
        assert judged(claim, planted(claim, value, 5.0))["verdict"] == UNDECIDED
    without = findings.table([finding(estimate=inside, **where)])
    assert judged(claim, without)["verdict"] == judged(claim, without[:0])["verdict"] == UNTESTED


def test_every_repeated_source_is_known_and_every_source_is_an_experiment():
    recorded = {f"recorded-{name}" for name in experiments.EXPERIMENTS}
    assert {claim.source for claim in CLAIMS} <= {"run", *experiments.EXPERIMENTS, *recorded}
    assert set(REPEATED) == {claim.source for claim in CLAIMS} - {"run", "recorded", "recorded-few"}


def test_no_two_claims_say_the_same():
    assert len({claim.text for claim in CLAIMS}) == len({(c.where, c.region, c.source) for c in CLAIMS}) == len(CLAIMS)


@pytest.mark.parametrize("key", ["training", "network", "fold"])
def test_over_repeats_a_claim_is_judged_by_students_interval_of_their_mean(key):
    claim = Claim("It is so.", "study", "07", WHERE, "> 0.1", source="networks")
    values = np.array([0.2, 0.3, 0.4])
    rows = rows_of(*zip(values - 5, values + 5, strict=True), **{key: [0, 1, 2]})
    row, mean = judged(claim, rows), over(values)
    assert row["verdict"] == HOLDS and row["why"] == f"mean of 3 {key}s" and row["value"] == "0.30"
    assert row["5 to 95 %"] == f"{mean.low:.2f} to {mean.high:.2f}"
    assert judged(claim, rows_of((-4, 4), (-3, 5), (-2, 6), **{key: [0, 1, 2]}))["verdict"] == UNDECIDED


def test_several_findings_that_are_no_repeats_are_refused():
    claim = Claim("It is so.", "study", "07", WHERE)
    with pytest.raises(ValueError, match=r"It is so\. names 2 findings that are not repeats"):
        judged(claim, rows_of((0, 1), (0, 1), set=["k = 1", "k = 2"]))
    with pytest.raises(ValueError, match="names 4 findings"):
        judged(claim, rows_of(*[(0, 1)] * 4, set=["k = 1"] * 2 + ["k = 2"] * 2, training=[0, 1] * 2))


def test_what_is_not_there_cannot_be_tested_and_says_why():
    claim = Claim("It is so.", "study", "07", WHERE)
    assert judged(claim, rows_of())["why"] == "no such finding of these records"
    assert judged(claim, rows_of((0.2, 0.4)).assign(subject="other"))["verdict"] == UNTESTED
    stored = Claim("It stays so.", "study", "07", WHERE, source="networks")
    row = claims.table({"run": rows_of((0.2, 0.4))}, [stored]).iloc[0]
    assert (row["verdict"], row["why"]) == (UNTESTED, "results/networks.json is missing")
    assert set(claims.table({})["verdict"]) == {UNTESTED}


def test_the_table_prints_what_was_judged():
    some = (
        Claim("It is small.", "study", "07", WHERE, "within 0.1"),
        Claim("It cannot be known.", "paper", "06", ()),
    )
    frame = claims.table({"run": rows_of((-0.054, 0.013))}, some)
    assert list(frame.index) == [1, 2] and frame["verdict"].tolist() == [HOLDS, UNTESTED]
    assert frame.loc[1, ["value", "5 to 95 %"]].tolist() == ["−0.02", "−0.05 to 0.01"]
    assert frame.loc[1, "number"] == "pga, median: a less b"
    assert frame.loc[2, ["value", "5 to 95 %", "why"]].tolist() == ["", "", "needs recordings that are not here"]


def test_every_claim_of_a_run_finds_its_number(study, smoke_findings):
    """At smoke numbers mean nothing, but each claim must lead to a finding with an interval."""
    frame = claims.table({"run": smoke_findings})
    own = frame[[claim.source == "run" and bool(claim.where) for claim in CLAIMS]]
    assert len(frame) == len(CLAIMS) and not own[own["verdict"] == UNTESTED]["claim"].tolist()
    row = frame[frame["claim"].str.contains("PGA of TimesNet-Gen's records is too small")].iloc[0]
    pga = findings.one(smoke_findings, subject="timesnet", against="fresh", measure="pga", statistic="median")
    assert row["value"] == findings.number(pga["value"])
    assert set(COLUMNS) == set(smoke_findings)
