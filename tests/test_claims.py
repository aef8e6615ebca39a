"""Verdicts follow from planted results, and every claim finds its number in a run."""

import json

import pandas as pd
import pytest

from tsgen import claims, evidence, rules
from tsgen.claims import Claim
from tsgen.rules import FAILS, HOLDS, UNTESTED
from tsgen.study import Study


def entry(low, high, **more):
    return {"value": (low + high) / 2, "low": low, "high": high} | more


def planted(*path, **values):
    found = values
    for name in reversed(path):
        found = {name: found}
    return found


INTERVALS = [
    # rule, interval, verdict
    (rules.above(0.1, "x"), (0.11, 0.2), HOLDS),
    (rules.above(0.1, "x"), (-0.3, 0.09), FAILS),
    (rules.above(0.1, "x"), (0.0, 0.2), UNTESTED),
    (rules.below(0.1, "x"), (0.0, 0.09), HOLDS),
    (rules.below(0.1, "x"), (0.11, 0.2), FAILS),
    (rules.below(0.1, "x"), (0.0, 0.2), UNTESTED),
    (rules.inside(0.1, "x"), (-0.09, 0.09), HOLDS),
    (rules.inside(0.1, "x"), (-0.5, -0.11), FAILS),
    (rules.inside(0.1, "x"), (0.05, 0.15), UNTESTED),
    (rules.inside(0.1, "x"), (-0.5, 0.5), UNTESTED),  # a wide interval proves no sameness
    (rules.outside(0.1, "x"), (0.11, 0.5), HOLDS),
    (rules.outside(0.1, "x"), (-0.5, -0.11), HOLDS),
    (rules.outside(0.1, "x"), (-0.09, 0.09), FAILS),
    (rules.outside(0.1, "x"), (0.05, 0.15), UNTESTED),
    (rules.around(0, "x"), (-0.1, 0.2), HOLDS),
    (rules.around(0, "x"), (0.1, 0.2), FAILS),
]


@pytest.mark.parametrize(("rule", "interval", "verdict"), INTERVALS)
def test_an_interval_against_a_bound(rule, interval, verdict):
    found = rule({"x": entry(*interval)})
    assert (found.low, found.high, found.verdict) == (*interval, verdict)
    assert bool(found.why) == (verdict == UNTESTED)
    assert rule({}).verdict == rule({"x": {"value": None}}).verdict == UNTESTED
    assert "no number" in rule({}).why


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, HOLDS), (0.3, FAILS), (0.05, UNTESTED)])
def test_a_loss_is_held_against_its_theory(shift, verdict):
    loss = entry(-0.81 + shift, -0.79 + shift, theory=-0.8)
    assert rules.at_theory("x")({"x": loss}).verdict == verdict


def test_bias_of_recorded_stations_gets_no_verdict():
    rule = rules.outside(0.1, "evidence", "timesnet", "pga_median")
    without, judged = entry(0.5, 0.6), entry(0.5, 0.6, verdict="different")
    assert rule(planted("evidence", "timesnet", pga_median=judged)).verdict == HOLDS
    found = rule(planted("evidence", "timesnet", pga_median=without))
    assert found.verdict == UNTESTED and "fresh truth" in found.why and found.value == pytest.approx(0.55)


def test_counts_chance_and_the_flattering_matrix():
    count = rules.all_of_n("x")
    assert [count({"x": {"value": v, "n": 5}}).verdict for v in (5, 4)] == [HOLDS, FAILS]
    chance = rules.above_chance("timesnet")
    for low, high, verdict in ((0.5, 0.7, HOLDS), (0.1, 0.5, UNTESTED), (-0.2, 0.2, FAILS)):
        scores = {"timesnet": {"held_out": entry(low, high, chance={"high": 0.3})}}
        assert chance({"scores": scores}).verdict == verdict
    for paired, verdict in ((0.5, HOLDS), (0.2, FAILS), (None, UNTESTED)):
        scores = {"control_other": {"score_2s": paired, "in_sample": entry(-0.2, 0.0)}}
        assert rules.flattered("control_other")({"scores": scores}).verdict == verdict


def sweep(scores, durations):
    rows = {}
    for k in range(1, 11):
        score, duration = scores(k), durations(k)
        row = {"score": score, "score_low": score - 0.05, "score_high": score + 0.05}
        row |= {"ln_d5_95": duration, "ln_d5_95_low": duration - 0.05, "ln_d5_95_high": duration + 0.05}
        rows[f"timesnet, {k}"] = row
    return {"averaging": {"sweep": rows}}


def test_a_flat_score_and_a_growing_duration():
    flat, growing = rules.score_stays("timesnet"), rules.grows("timesnet", "ln_d5_95")
    results = sweep(lambda k: 0.9 - 0.004 * k, lambda k: 0.04 * k)
    assert flat(results).verdict == HOLDS and flat(results).value == pytest.approx(-0.036)
    assert growing(results).verdict == HOLDS
    results = sweep(lambda k: 0.9 - 0.03 * k, lambda k: 0.005 * k)
    assert flat(results).verdict == FAILS and growing(results).verdict == UNTESTED
    assert growing(sweep(lambda k: 0.9, lambda k: -0.04 * k)).verdict == FAILS


def test_both_needs_both():
    yes, no, unknown = (lambda _, v=v: rules.Finding(1.0, 0.9, 1.1, v) for v in (HOLDS, FAILS, UNTESTED))
    verdicts = [rules.both(a, b)({}).verdict for a, b in ((yes, yes), (yes, no), (no, unknown), (yes, unknown))]
    assert verdicts == [HOLDS, FAILS, FAILS, UNTESTED]


def test_a_stored_experiment_is_read_row_by_row():
    rule = rules.in_every_row("evidence", "r2 low", lambda v: v > 0.05, generator="timesnet")
    rows = [{"generator": "timesnet", "r2 low": 0.7}, {"generator": "timesnet", "r2 low": 0.8}]
    other = [{"generator": "cvae", "r2 low": 0.0}]
    found = rule({"stored": {"evidence": {"rows": rows + other}}})
    assert (found.verdict, found.low, found.high, found.value) == (HOLDS, 0.7, 0.8, pytest.approx(0.75))
    weak = [*rows, {"generator": "timesnet", "r2 low": 0.01}]
    assert rule({"stored": {"evidence": {"rows": weak}}}).verdict == FAILS
    assert rule({"stored": {"evidence": {"rows": other}}}).verdict == UNTESTED
    missing = rule({"stored": {}})
    assert missing.verdict == UNTESTED and "results/evidence.json is missing" in missing.why


def test_the_table_prints_what_the_rules_found():
    some = (
        Claim("It is small.", "study", "ln ratio", rules.inside(0.1, "x"), "07"),
        Claim("It cannot be known.", "paper", "score", rules.never("needs other recordings"), "06"),
        Claim("It is large.", "paper", "ln ratio", rules.above(0.1, "x"), "06"),
    )
    frame = claims.table({"x": {"value": -0.021, "low": -0.05, "high": 0.013}}, some)
    assert frame["verdict"].tolist() == [HOLDS, UNTESTED, FAILS]
    assert frame.loc[1, ["value", "5 to 95 %"]].tolist() == ["−0.02", "−0.05 to 0.01"]
    assert frame.loc[2, ["value", "5 to 95 %", "why"]].tolist() == ["", "", "needs other recordings"]
    text = claims.found(frame)
    assert "1 hold, 1 do not hold, 1 cannot be tested here" in text and text.endswith("It is large.")


def test_without_results_nothing_is_claimed():
    assert set(claims.table({})["verdict"]) == {UNTESTED}


def test_every_claim_of_a_run_finds_its_number(tmp_path, monkeypatch):
    """At smoke numbers mean nothing, but each path into results.json must lead somewhere."""
    study = Study("smoke", folder=tmp_path)
    results = claims.gathered(study)
    frame = claims.table(results)
    assert not frame[frame["why"].str.contains("no number in")]["claim"].tolist()
    assert len(frame) == len(claims.CLAIMS) and {"paper", "study"} == set(frame["of"])
    row = frame[frame["claim"].str.contains("PGA of TimesNet-Gen")].iloc[0]
    entry = json.loads((tmp_path / "results.json").read_text())["evidence"]["timesnet"]["pga_median"]
    assert row["value"].replace("−", "-") == f"{entry['value']:.2f}"
    assert set(evidence.generators(study)) <= set(results["evidence"]) and isinstance(frame, pd.DataFrame)


def test_stored_columns_that_claims_name_are_written(tmp_path, monkeypatch):
    """What the claims read of a stored experiment is what the experiments write."""
    from test_study import recorded

    from tsgen import experiments, splits
    from tsgen.experiments import common, scenario

    monkeypatch.setenv("TSGEN_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(common, "N_SEEDS", 1)
    monkeypatch.setattr(splits, "N_FOLDS", 2)
    monkeypatch.setattr(splits, "N_SPLITS", 2)
    given = recorded(tmp_path / "set"), "TK.0000,TK.0001"
    monkeypatch.setattr(scenario, "N_NETWORKS", 2)
    experiments.run("evidence", "smoke", folder=tmp_path)
    experiments.run("cgm_networks", "smoke", folder=tmp_path)
    for name in ("recorded", "folds"):
        experiments.run(name, "smoke", *given, folder=tmp_path)
    frame = claims.table({"stored": claims.stored(tmp_path)})
    read = frame[frame["why"].str.startswith("range of")]
    assert len(read) == 7 and not frame["why"].str.contains(".json").any()
