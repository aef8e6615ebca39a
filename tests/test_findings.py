"""Findings: one row a statement; planted differences are seen, sameness only where the sample can show it."""

import json

import numpy as np
import pandas as pd
import pytest

from tsgen import findings
from tsgen.findings import FAILS, HOLDS, UNDECIDED, UNTESTED, Estimate, Sample, finding, verdict

NOTHING = Estimate(np.nan, np.nan, np.nan, 0)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(findings, "N_DRAWS", 120)  # a study draws 400


def sample(n_events, seed, bias=0.0, spread=1.0, per_event=1, event_share=0.0, name="e"):
    """Standard normal values, of which ``event_share`` of the variance is common to an event."""
    rng = np.random.default_rng(seed)
    common = np.repeat(rng.standard_normal(n_events), per_event)
    own = rng.standard_normal(n_events * per_event)
    values = bias + spread * (np.sqrt(event_share) * common + np.sqrt(1 - event_share) * own)
    event = np.repeat([f"{name}{i}" for i in range(n_events)], per_event)
    return Sample(values, event, np.full(len(values), "SIM.01"))


def within(estimate, bound):
    return verdict(estimate.low, estimate.high, (-bound, bound))


# ---- rows ----


def test_keys_are_unique_in_a_whole_run(study, smoke_findings):
    rows = study.results["findings"]
    assert len(rows) == len(smoke_findings) > 1000
    seen = pd.DataFrame(rows).reindex(columns=findings.IDENTITY)
    twice = seen[seen.duplicated(keep=False)]
    assert not len(twice), twice.head().to_string()
    assert all(set(row) <= set(findings.COLUMNS) and "value" in row for row in rows)
    written = json.loads((study.folder / "results.json").read_text())["findings"]
    pd.testing.assert_frame_equal(findings.table(written), findings.table(rows), rtol=1e-5)
    assert (smoke_findings["low"].dropna() <= smoke_findings["high"].dropna()).all()


def test_a_row_holds_what_is_known_and_no_unknown_key():
    row = finding("a", "b", "pga", "median", Estimate(0.5, np.nan, np.nan, 0), 12, station="SIM.01", period_in_s=np.nan)
    known = {"subject": "a", "against": "b", "measure": "pga", "statistic": "median", "station": "SIM.01"}
    assert row == known | {"value": 0.5, "n": 12}
    with pytest.raises(ValueError, match="no key colour; there are station"):
        finding("a", "b", "pga", "median", 0.5, colour="red")


def test_a_table_has_every_column_text_empty_and_numbers_nan():
    rows = [finding("a", "", "pga", "level", 1.5), finding("a", "b", "psa", "median", 2.0, period_in_s=0.3, n=3)]
    frame = findings.table(rows)
    assert list(frame) == list(findings.COLUMNS)
    assert frame["station"].tolist() == frame["set"].tolist() == ["", ""]
    assert np.isnan(frame.loc[0, ["period_in_s", "low", "n"]].astype(float)).all() and frame.loc[1, "n"] == 3
    pd.testing.assert_frame_equal(findings.table(frame), frame)
    assert list(findings.table([])) == list(findings.COLUMNS) and not len(findings.table([]))


def test_select_and_one():
    frame = findings.table([finding(s, "b", "pga", "median", v) for s, v in (("x", 1), ("y", 2), ("z", 3))])
    assert findings.select(frame, subject=("x", "z"))["value"].tolist() == [1, 3]
    assert findings.one(frame, subject="y")["value"] == 2
    for wanted in ({"subject": "w"}, {"measure": "pga"}):
        with pytest.raises(KeyError, match="findings, not one, have"):
            findings.one(frame, **wanted)


@pytest.mark.parametrize(
    ("value", "low", "high", "bound", "text"),
    [
        (0.123, None, None, None, "0.12"),
        (-0.123, -0.2, 0.004, None, "−0.12 (−0.20 to 0.00)"),
        (-0.001, -0.001, 0.001, None, "0.00 (0.00 to 0.00)"),  # no minus zero
        (250.0, None, None, None, "250"),
        (5.0, None, None, None, "5.00"),
        (12.0, 11.0, 13.0, None, "12.00 (11.00 to 13.00)"),
        (0.05, 0.02, 0.08, 0.1, "0.05 (0.02 to 0.08) ="),
        (0.5, 0.4, 0.6, 0.1, "0.50 (0.40 to 0.60) ≠"),
        (0.05, -0.2, 0.3, 0.1, "0.05 (−0.20 to 0.30) ?"),
        (0.05, None, None, 0.1, "0.05"),
        (float("nan"), None, None, 0.1, "–"),
    ],
)
def test_text_of_a_finding(value, low, high, bound, text):
    assert findings.text({"value": value, "low": low, "high": high}, 2, bound) == text
    if low is not None:
        assert findings.text(Estimate(value, low, high, 9), 2, bound) == text


def test_a_number_as_written():
    assert [findings.number(v, 1) for v in (-0.04, -0.06, 12.345)] == ["0.0", "−0.1", "12.3"]


def test_pivot_keeps_the_order_of_its_rows_and_signs_each_cell():
    rows = [
        finding(subject, "fresh", measure, "median", Estimate(value, value - 0.01, value + 0.01, 9))
        for subject, measure, value in (("z", "pga", 0.0), ("z", "cav", 0.5), ("a", "pga", 0.1))
    ]
    wide = findings.pivot(rows, "measure", "subject", bounds={"median": 0.1})
    assert list(wide.index) == ["pga", "cav"] and list(wide.columns) == ["z", "a"]
    assert wide.loc["pga"].tolist() == ["0.00 (−0.01 to 0.01) =", "0.10 (0.09 to 0.11) ?"]
    assert wide.loc["cav"].tolist() == ["0.50 (0.49 to 0.51) ≠", ""]
    assert findings.pivot(rows, "measure", ["statistic", "subject"]).columns.tolist() == [("median", s) for s in "za"]


# ---- verdicts ----


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.09, 0.09, HOLDS),
        (-0.5, -0.11, FAILS),
        (0.11, 0.5, FAILS),
        (0.05, 0.15, UNDECIDED),
        (-0.5, 0.5, UNDECIDED),  # a wide interval proves no sameness
        (0.05, 0.1, UNDECIDED),  # the bound itself is not within
        (None, None, UNTESTED),
        (np.nan, np.nan, UNTESTED),
    ],
)
def test_a_verdict_reads_the_interval(low, high, expected):
    assert verdict(low, high, (-0.1, 0.1)) == expected


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),  # Wilson's formula with z = 1.644854, by hand
    [(176, 200, 0.8370, 0.9128), (0, 20, 0.0, 0.1192), (20, 20, 0.8808, 1.0)],
)
def test_a_share_has_wilson_s_interval(k, n, low, high):
    found = findings.share(np.arange(n) < k)
    assert (found.value, found.low, found.high) == pytest.approx((k / n, low, high), abs=1e-4) and found.n == n


def test_a_planted_bias_is_never_called_equivalent():
    pairs = [(sample(400, i, 0.15, 0.3), sample(400, i + 99, 0, 0.3, name="f")) for i in range(20)]
    verdicts = [within(findings.difference("median", *pair), 0.1) for pair in pairs]
    assert HOLDS not in verdicts and FAILS in verdicts


def test_sameness_is_declared_with_enough_events_and_not_with_few():
    def verdicts(n):
        pairs = [(sample(n, i, 0, 0.3), sample(n, i + 50, 0, 0.3, name="f")) for i in range(20)]
        return [within(findings.difference("median", *pair), 0.1) for pair in pairs]

    assert verdicts(500).count(HOLDS) >= 18
    assert verdicts(15).count(HOLDS) <= 2


def test_spread_is_judged_as_a_ratio():
    a, b = sample(2000, 0, spread=0.5), sample(2000, 1, spread=0.6, name="f")
    found = findings.difference("spread", a, b)
    assert found.low < np.log(0.5 / 0.6) < found.high
    assert found.value == pytest.approx(np.log(a.values.std(ddof=1) / b.values.std(ddof=1)), abs=1e-12)
    assert within(found, findings.SPREAD_BOUND) == FAILS
    same = findings.difference("spread", a, sample(2000, 2, spread=0.5, name="f"))
    assert within(same, findings.SPREAD_BOUND) == HOLDS


# ---- intervals ----


def test_an_interval_is_the_middle_nine_tenths_of_the_draws():
    drawn = np.concatenate([[7.0], np.arange(101.0), [np.nan, np.inf]])
    assert findings.interval(drawn) == Estimate(7.0, 5.0, 95.0, 101)
    assert findings.interval(drawn, centred=True) == Estimate(7.0, -38.0, 52.0, 101)
    assert findings.interval(np.arange(101.0), 3.0).low == 5.0
    nothing = findings.interval([1.0, np.nan])
    assert nothing.value == 1.0 and np.isnan([nothing.low, nothing.high]).all() and nothing.n == 0


def test_over_repetitions_the_interval_is_students():
    found = findings.over([1.0, 2.0, 3.0, 4.0, np.nan])
    half = 2.353363 * np.sqrt(5 / 3) / 2  # the 95 % point of Student's t with 3 degrees of freedom
    assert (found.value, found.low, found.high) == pytest.approx((2.5, 2.5 - half, 2.5 + half)) and found.n == 4
    alone = findings.over([1.0])
    assert alone.value == 1.0 and np.isnan([alone.low, alone.high]).all()
    assert np.isnan(findings.over([]).value)


def test_intervals_cover_at_their_level_because_events_are_drawn_whole():
    """Four records an event with half their variance in common: drawing records one by one would be too sure."""
    whole, alone = 0, 0
    for i in range(200):
        a = sample(40, i, per_event=4, event_share=0.6)
        b = sample(40, i + 1000, per_event=4, event_share=0.6, name="f")
        found = findings.difference("median", a, b)
        whole += found.low <= 0 <= found.high
        single = [
            Sample(s.values, np.arange(len(s.values)).astype(str) + side, s.station) for s, side in ((a, "a"), (b, "b"))
        ]
        found = findings.difference("median", *single)
        alone += found.low <= 0 <= found.high
    assert 0.84 < whole / 200 < 0.96  # 0.90, standard error 0.02
    assert alone / 200 < 0.82


def test_events_are_drawn_whole_and_as_many_as_there_are():
    a, b = sample(30, 0, per_event=3), sample(20, 1, per_event=2, name="f")
    for drawn, side, size in zip(findings.event_weights(a, b, n_draws=50, seed=0), (a, b), (3, 2), strict=True):
        assert drawn.shape == (51, len(side.values)) and (drawn[0] == 1).all()
        by_event = drawn.reshape(51, -1, size)  # a sample's records stand event by event
        assert (by_event == by_event[:, :, :1]).all() and (drawn.sum(axis=1) == len(side.values)).all()
        assert (drawn == 0).any() and (drawn > 1).any()


def test_sides_that_hold_the_same_events_are_drawn_as_pairs_and_others_are_not():
    records = sample(60, 0)
    order = np.random.default_rng(0).permutation(60)
    rebuilt = Sample(records.values + 0.05, records.event, records.station).take(order)
    other = sample(60, 1, name="f")
    first, second, third = findings.event_weights(records, rebuilt, other, n_draws=20, seed=0)
    np.testing.assert_array_equal(first[:, order], second)
    assert (first[1:] != third[1:]).any(axis=1).all()
    found = findings.difference("median", rebuilt, records)
    assert found.low == pytest.approx(0.05) and found.high == pytest.approx(0.05)
    apart = findings.difference("median", other, records)
    assert apart.high - apart.low > 0.3


def test_weighted_median_and_spread_are_those_of_repeated_values():
    rng = np.random.default_rng(0)
    values, weights = rng.standard_normal(23), rng.integers(0, 4, (50, 23))
    weights[3] = 0
    median, spread = findings.drawn_median(values, weights), findings.drawn_ln_std(values, weights)
    assert np.isnan(median[3]) and np.isnan(spread[3])
    for i in set(range(50)) - {3}:
        repeated = np.repeat(values, weights[i])
        assert median[i] == pytest.approx(np.median(repeated), abs=1e-12)
        assert spread[i] == pytest.approx(np.log(repeated.std(ddof=1)), abs=1e-9)


def test_one_value_has_no_spread():
    assert np.isnan(findings.drawn_ln_std(np.full(5, 3.0) + 1e-6 * np.arange(5), np.ones((2, 5), int))).all()


def test_nothing_to_compare_gives_no_number():
    nothing = Sample(np.array([]), np.array([], object), np.array([], object))
    for by_station in (False, True):
        found = findings.difference("median", nothing, sample(5, 0), by_station)
        assert np.isnan([found.value, found.low, found.high]).all() and found.n == 0


def test_by_station_unequal_numbers_do_not_bias():
    """Two stations a factor e^3 apart, equal laws at each, but nine in ten records from another one of them."""
    rng = np.random.default_rng(0)
    level = {"A": 0.0, "B": 3.0}
    sides = []
    for share in (0.9, 0.1):
        station = rng.choice(["A", "B"], 600, p=[share, 1 - share])
        values = np.array([level[name] for name in station]) + rng.normal(0, 0.3, 600)
        sides.append(Sample(values, np.array([f"{share}-{i}" for i in range(600)]), station))
    assert findings.difference("median", *sides).value < -2
    by_station = findings.difference("median", *sides, by_station=True)
    assert by_station.low < 0 < by_station.high and by_station.high - by_station.low < 0.3


def table_of(n, stations, seed):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"station": rng.choice(stations, n), "event": [f"{seed}-{i}" for i in range(n)]})


def test_compare_judges_each_measure_and_skips_missing_values():
    table, other = table_of(800, ["A", "B"], 1), table_of(800, ["A", "B"], 2)
    rng = np.random.default_rng(0)
    values = pd.DataFrame(rng.normal(0, 0.4, (800, 3)), columns=["same", "biased", "wide"]) * [1, 1, 1.4] + [0, 0.3, 0]
    reference = pd.DataFrame(rng.normal(0, 0.4, (800, 3)), columns=["wide", "same", "biased"])
    values.loc[:99, "same"] = np.nan
    compared = findings.compare(values, reference, table, other)
    told = findings.table(findings.tell("x", "y", compared, lambda column: {"measure": column}))
    assert told["measure"].tolist() == np.repeat(list(values), 2).tolist()
    said = [verdict(row.low, row.high, (-b, b)) for row in told.itertuples() for b in [findings.BOUNDS[row.statistic]]]
    assert said[::2] == [HOLDS, FAILS, HOLDS] and said[1::2] == [HOLDS, HOLDS, FAILS]
    assert told["n"].tolist() == [700, 700, 800, 800, 800, 800] and (told["n_against"] == 800).all()
    sides = Sample.of(values["biased"], table), Sample.of(reference["biased"], other)
    assert compared[2]["estimate"] == findings.difference("median", *sides, by_station=True)
    empty = findings.compare(values * np.nan, reference, table, other)
    assert all(np.isnan(row["estimate"].value) and row["n"] == 0 for row in empty)
    assert not findings.with_value(findings.tell("x", "y", empty, lambda column: {"measure": column}))
    with pytest.raises(ValueError, match="800 values, but 10 records"):
        Sample.of(values, table[:10])


# ---- one finding over many periods ----

PERIODS = [f"p{i}" for i in range(20)]


def spectra(n, name, rng):
    """ln spectra of n records at five stations, each an event of its own, periods correlated by their ratio."""
    ln_period = np.log(np.geomspace(0.05, 3, 20))
    rho = np.exp(-np.abs(np.subtract.outer(ln_period, ln_period)) / 1.5)
    values = 0.35 * rng.standard_normal((n, 20)) @ np.linalg.cholesky(rho).T  # the default's scatter, given a scenario
    table = pd.DataFrame({"station": np.repeat([f"S{i}" for i in range(5)], n // 5)})
    return pd.DataFrame(values, columns=PERIODS), table.assign(event=[f"{name}{i}" for i in range(n)])


def verdicts_of(seed, bias=0.0, ratio=1.0):
    """{statistic: verdict} of 250 records against 1500, one period of which is off; the claims' rule."""
    rng = np.random.default_rng(seed)
    (ours, table), (truth, other) = spectra(250, "g", rng), spectra(1500, "t", rng)
    ours["p7"] = ratio * ours["p7"] + bias
    compared, found = findings.compare(ours, truth, table, other, seed=seed), {}
    for statistic, bound in findings.BOUNDS.items():
        excess = findings.beyond_truth(compared, PERIODS, statistic, truth, other, bound, seed)
        found[statistic] = verdict(excess.low, excess.high, (-np.inf, 0.0))
    return found


def test_truth_passes_against_truth_over_many_periods():
    """95 % by construction; the largest of twenty is beyond the bound of one in most of these draws."""
    said = pd.DataFrame([verdicts_of(seed) for seed in range(100)])
    passed = (said == HOLDS).mean()
    assert (passed >= 0.9).all(), passed
    assert not (said == FAILS).any(axis=None)


@pytest.mark.parametrize(("statistic", "fault"), [("median", {"bias": 0.25}), ("spread", {"ratio": 1.4})])
def test_a_fault_in_one_period_of_many_does_not_pass(statistic, fault):
    said = [verdicts_of(seed, **fault)[statistic] for seed in range(12)]
    assert HOLDS not in said and said.count(FAILS) >= 9, said


def test_the_farthest_is_the_largest_of_the_periods_and_its_interval_holds_a_planted_one():
    held = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        (ours, table), (truth, other) = spectra(250, "g", rng), spectra(1500, "t", rng)
        ours["p7"] += 0.6
        compared = findings.compare(ours, truth, table, other, seed=seed)
        found = findings.farthest(compared, PERIODS, "median")
        largest = max(abs(row["estimate"].value) for row in compared if row["statistic"] == "median")
        assert found.value == largest and found.low < found.value < found.high
        held += found.low <= 0.6 <= found.high
    assert held >= 15  # of 20 at 90 %: 18, standard error 1.3
    assert np.isnan(findings.farthest(compared, [], "median").value)


def test_pooled_findings_come_in_pairs_and_leave_out_what_the_truth_does_not_show():
    rng = np.random.default_rng(0)
    (ours, table), (truth, other) = spectra(100, "g", rng), spectra(300, "t", rng)
    compared = findings.compare(ours, truth, table, other)
    found = findings.pooled(
        "g", "fresh", compared, PERIODS, "psa", truth, other, 0, findings.BOUNDS, protocol="scenario"
    )
    ends = ("farthest", "farthest, beyond truth's")
    assert [row["statistic"] for row in found] == [f"{s}, {end}" for s in ("median", "spread") for end in ends]
    assert {row["protocol"] for row in found} == {"scenario"}
    assert findings.pooled("g", "fresh", compared, PERIODS, "psa", truth * np.nan, other, 0, findings.BOUNDS) == []


def test_too_few_events_have_no_interval():
    """Two events drawn again tell of themselves alone: a value, and no range."""
    rng = np.random.default_rng(0)
    many, few = (pd.DataFrame({"event": [f"e{i % n}" for i in range(20)], "station": "A"}) for n in (10, 2))
    for table, known in ((many, True), (few, False)):
        sides = [findings.Sample.of(rng.standard_normal(20), of) for of in (many, table)]
        estimate = findings.difference("median", *sides)
        assert np.isfinite(estimate.value) and np.isfinite(estimate.low) == np.isfinite(estimate.high) == known


def test_a_finding_that_may_be_missing_is_a_dash_and_two_are_still_an_error():
    rows = findings.table(
        [findings.finding("a", "b", "pga", "median", 1.0), findings.finding("a", "c", "pga", "median", 2.0)]
    )
    assert findings.maybe(rows, against="b")["value"] == 1.0
    assert findings.text(findings.maybe(rows, against="d")) == "–"
    with pytest.raises(KeyError, match="2 findings"):
        findings.maybe(rows, measure="pga")
