"""Claims: each names a finding and a region; verdicts follow from planted findings, and every claim finds its own."""

import numpy as np
import pytest

from tsgen import claims, findings
from tsgen.claims import CLAIMS, Claim
from tsgen.findings import COLUMNS, FAILS, HOLDS, IDENTITY, UNDECIDED, UNTESTED, Estimate, finding, over

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
    ("beyond 0.1", (0.11, 0.5), HOLDS),
    ("beyond 0.1", (-0.5, -0.11), HOLDS),
    ("beyond 0.1", (-0.09, 0.09), FAILS),
    ("beyond 0.1", (0.05, 0.15), UNDECIDED),
]


@pytest.mark.parametrize(("region", "interval", "verdict"), REGIONS)
def test_an_interval_against_a_region(region, interval, verdict):
    claim = Claim("It is so.", "study", "07", WHERE, region)
    row = judged(claim, rows_of(interval))
    assert row["verdict"] == verdict and row["why"] == ""
    assert row["5 to 95 %"] == f"{interval[0]:.2f} to {interval[1]:.2f}".replace("-", "−")


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.text[:60])
def test_every_claim_names_columns_and_can_hold_and_fail(claim):
    where = dict(claim.where)
    assert set(where) <= set(IDENTITY) and claim.of in ("paper", "study") and claim.notebook in ("06", "07", "08", "09")
    if not where:
        assert judged(claim, rows_of())["verdict"] == UNTESTED
        return
    assert {"subject", "against", "measure", "statistic"} <= set(where)
    verdicts = {}
    for value in (0.0, *np.linspace(-1.01, 1.01, 12)):
        row = finding(estimate=Estimate(value, value - 1e-4, value + 1e-4, 9), **where)
        verdicts.setdefault(judged(claim, findings.table([row]))["verdict"], value)
    assert {HOLDS, FAILS} <= set(verdicts)
    wide = finding(estimate=Estimate(0, -9, 9, 9), **where)
    assert judged(claim, findings.table([wide]))["verdict"] == UNDECIDED
    without = finding(estimate=verdicts[HOLDS], **where)
    assert judged(claim, findings.table([without]))["verdict"] == UNTESTED


def test_no_two_claims_say_the_same():
    assert len({claim.text for claim in CLAIMS}) == len({(c.where, c.region, c.source) for c in CLAIMS}) == len(CLAIMS)


@pytest.mark.parametrize("key", ["training", "network", "fold"])
def test_over_repeats_a_claim_is_judged_by_students_interval_of_their_mean(key):
    claim = Claim("It is so.", "study", "07", WHERE, "> 0.1", source="evidence")
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
    stored = Claim("It stays so.", "study", "07", WHERE, source="evidence")
    row = claims.table({"run": rows_of((0.2, 0.4))}, [stored]).iloc[0]
    assert (row["verdict"], row["why"]) == (UNTESTED, "results/evidence.json is missing")
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
    row = frame[frame["claim"].str.contains("PGA of TimesNet-Gen")].iloc[0]
    pga = findings.one(smoke_findings, subject="timesnet", against="fresh", measure="pga", statistic="median")
    assert row["value"] == findings.number(pga["value"])
    assert set(COLUMNS) == set(smoke_findings)
