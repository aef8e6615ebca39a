"""Scenario evidence: biases planted and found, scenarios that leak nothing, and the truth as a generator."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import few_draws
from test_study import recorded

from tsgen import config, findings, generate, intensity, simulate
from tsgen.evidence import scenarios, structures
from tsgen.findings import HOLDS, one, select, verdict
from tsgen.records import Records, event_groups
from tsgen.study import Study


class Truth:
    """A generator of scenario records that is the simulator itself, times a factor; it is not trained."""

    def __init__(self, factor):
        self.factor, self.study = np.float32(factor), None

    def sample(self, model, stations=None, scenarios=None, n=1, seed=0):
        rows = scenarios.iloc[np.repeat(np.arange(len(scenarios)), n)]
        depth = np.minimum(rows["depth_in_km"].to_numpy(float), 0.99 * rows["distance_in_km"].to_numpy(float))
        of = rows["station"], rows["magnitude"], rows["distance_in_km"], depth
        some = simulate.fresh(with_unseen(self.study), *of, 1100, 0)  # not the truth that it is judged by
        table = some.table.assign(event="g" + some.table["event"])
        return Records(self.factor * some.waveforms, some.sampling_rate_in_hz, table)


with_unseen = scenarios._with_unseen


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """(findings of scenarios, of structures, the study) where the scenario generator is the truth times 1.3."""
    smoke = config.profile("smoke")
    smooth = replace(smoke.simulation, without=config.INGREDIENTS)  # what is planted is the factor, not the scatter
    many = replace(smoke, simulation=smooth, n_fresh=96, n_generated=30)  # so that intervals are narrower
    run, generator = Study(many, folder=tmp_path_factory.mktemp("runs") / "truth"), Truth(1.3)
    generator.study = run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generate, "sample", generator.sample)
        patch.setattr(Study, "model", lambda self, name: None)
        return scenarios.scenario(run), structures.structures(run, "cgm"), run


@pytest.mark.slow
def test_the_truth_as_a_generator_differs_by_the_planted_factor_alone(judged):
    found = judged[0]
    cgm = select(found, subject="cgm", against="fresh", station="", statistic="median")
    for protocol, tolerance in (("scenario", 0.08), ("unseen", 0.12)):  # 120 records each
        rows = select(cgm, protocol=protocol)
        pga = one(rows, measure="pga")
        assert pga["value"] == pytest.approx(np.log(1.3), abs=tolerance)
        assert verdict(pga["low"], pga["high"], (-0.1, 0.1)) != HOLDS
        assert one(rows, measure="d5_95")["value"] == pytest.approx(0, abs=0.06)
    held_out = one(found, subject="cgm", against="held_out", measure="pga", statistic="median")["value"]
    assert np.log(1.3) - 0.15 < held_out < np.log(1.3) + 0.25
    slope = one(found, subject="cgm", against="fresh", measure="pga", statistic="slope_magnitude")
    assert slope["low"] < 0 < slope["high"]
    farthest = one(
        found, subject="cgm", measure="psa", protocol="scenario", statistic="median, farthest", against="fresh"
    )
    assert farthest["value"] == pytest.approx(np.log(1.3), abs=0.12)


@pytest.mark.slow
def test_structures_feel_the_planted_factor_where_it_can_be_felt(judged):
    _, felt, run = judged
    fresh = select(felt, against="fresh", statistic="median")
    assert one(fresh, measure="psa", period_in_s=0.5)["value"] == pytest.approx(np.log(1.3), abs=0.12)
    ratio = one(fresh, measure="inelastic ratio, R = 4", period_in_s=1.0)
    assert ratio["value"] == pytest.approx(0, abs=0.1)  # a ratio does not see the factor
    assert one(fresh, measure="capacity, moderate")["value"] == pytest.approx(0, abs=0.1)
    table = structures.fifteen_percent(run, "cgm", "fresh")
    assert table.loc[("elastic spectra", "median"), "within by value"] == 0
    assert table.loc[("inelastic ratio, R = 4", "median"), "within by value"] >= 7
    whole = one(felt, against="fresh", measure="structural response", statistic="median, farthest, beyond truth's")
    assert whole["value"] > -0.15 and set(felt["protocol"]) == {"structure"}


@pytest.mark.slow
def test_what_is_made_for_a_station_is_judged_without_a_scenario(study, monkeypatch):
    """True motion with wrong magnitudes is felt as true motion; where half of its scatter is taken away, elastic
    spectra show it, and what is measured on scaled records does not."""
    mixes = study.generated("timesnet").table
    assert mixes["magnitude"].notna().all()  # means of five, which are no scenario
    assert structures.suite(study, "timesnet").table[["magnitude", "distance_in_km"]].isna().all(axis=None)
    run = Study(replace(study.settings, n_fresh=4 * structures.N_A_STATION), folder=study.folder.with_name("felt"))
    fresh = run.fresh("single")
    true = fresh.take(fresh.table.groupby("station").tail(structures.N_A_STATION).index)
    true = true.with_columns(magnitude=9.0, distance_in_km=1.0, event="g" + true.table["event"])
    ln_pga = np.log(np.abs(true.waveforms).max(axis=(1, 2)))
    half = np.exp((ln_pga.mean() - ln_pga) / 2).astype(np.float32)[:, None, None]
    alike = Records(half * true.waveforms, true.sampling_rate_in_hz, true.table)
    made = {"control_bootstrap": true, "control_average": alike}
    some = Study.some
    monkeypatch.setattr(Study, "some", lambda self, which: made[which] if which in made else some(self, which))
    felt = {name: select(structures.structures(run, name), against="fresh") for name in made}
    statistics = [f"{name}, farthest, beyond truth's" for name in findings.BOUNDS]
    for part in structures.POOLED:
        rows = select(felt["control_bootstrap"], measure=part, statistic=tuple(statistics))
        assert len(rows) == 2 and (rows["low"] < 0).all()  # not told from truth
    spreads = [select(felt[name], measure="psa", statistic="spread") for name in made]
    assert len(spreads[0]) == 8 and (spreads[1]["high"] < -structures.BOUND).all()
    beyond = one(felt["control_average"], measure="elastic spectra", statistic=statistics[1])
    assert beyond["low"] > 0
    scaled = [select(felt[name], measure="response after yielding")["value"].to_numpy() for name in made]
    np.testing.assert_allclose(*scaled, rtol=1e-3)


def test_scenarios_are_those_of_training_records_and_unseen_stations_are_unseen(study):
    hidden = set(event_groups(study.records.table)[study.records.table["event"].isin(study.held_out.table["event"])])
    assert not hidden & set(study.training.table["event"])
    rows = scenarios.scenarios(study, "training")
    known = study.training.table.set_index(["station", "magnitude", "distance_in_km"]).index
    assert rows.set_index(["station", "magnitude", "distance_in_km"]).index.isin(known).all()
    assert rows["station"].value_counts().eq(study.settings.n_fresh // 4).all()
    unseen = scenarios.scenarios(study, "unseen")
    assert unseen["station"].nunique() == scenarios.N_UNSEEN
    assert not set(unseen["station"]) & set(study.records.table["station"])
    before = simulate.stations(study.settings.simulation)
    more = simulate.stations(scenarios._with_unseen(study))
    pd.testing.assert_frame_equal(more.iloc[: len(before)], before)


def test_onsets_are_found_where_they_were_planted(study):
    distance = np.repeat([12.0, 25.0, 45.0], 10)
    records = simulate.fresh(study.settings.simulation, "SIM.01", 5.5, distance, 8.0)
    late = intensity.onsets(records) - records.table[["p_arrival_sample", "s_arrival_sample"]].to_numpy() / 50
    assert (np.abs(np.median(late, axis=0)) < 0.9).all() and np.isfinite(late).all()
    assert np.abs(late[:, 0]).max() < 0.8
    silent = Records(0 * records.waveforms, 50.0, records.table)
    assert np.isnan(intensity.onsets(silent)).all()


def test_a_run_says_all_there_is_to_say_of_scenarios(study, smoke_findings):
    found = scenarios.scenario(study)  # which the whole run has kept
    cgm = select(found, subject="cgm")
    protocols = {"scenario", "unseen", "inside training", "beyond training"}
    assert protocols == set(cgm["protocol"]) and {"fresh", "held_out", "planted"} == set(cgm["against"])
    assert set(select(cgm, protocol="scenario")["station"]) == {"", *study.stations}
    assert set(cgm["statistic"]) >= {"slope_magnitude", "slope_ln_distance", "median, farthest, beyond truth's"}
    assert len(select(found, subject="training", protocol="scenario", measure="pga", station="")) == 4
    beyond = select(cgm, measure="pga", protocol="beyond training")["set"].tolist()
    assert {"magnitude 7", "magnitude 7.5"} <= set(beyond)
    for protocol, subjects in (("structure", {"cgm", "evolve"}), ("structure, station", {"timesnet", "cvae"})):
        felt = select(smoke_findings, protocol=protocol)
        assert {"fresh", "held_out"} == set(felt["against"]) and subjects == set(felt["subject"])
    assert set(felt["statistic"]) >= {"median", "spread", "spread, farthest, beyond truth's"}
    assert len(scenarios.sites(study)) == scenarios.GRID_POINTS**2
    assert len(structures.fragility(study)) == 3 * 8 and scenarios.bins(study, "pga")[0].shape == (4, 4)


@pytest.mark.slow
def test_recordings_of_which_some_lack_a_magnitude(tmp_path):
    distance = np.linspace(10.0, 90.0, 60)
    folder = recorded(tmp_path / "set", distance_in_km=distance)
    records = Records.load(folder)
    magnitude = np.where(np.arange(len(records)) % 5 == 0, np.nan, records.table["magnitude"])
    records.with_columns(magnitude=magnitude).save(folder)
    run = Study("smoke", folder, stations="TK.0000,TK.0001", folder=tmp_path / "run")
    assert not run.lacking("magnitudes")
    with few_draws():
        found, felt = scenarios.scenario(run), structures.every(run)
    assert set(found["against"]) == set(felt["against"]) == {"held_out"}
    assert set(found["subject"]) == {"cgm"} and set(felt["subject"]) == {"timesnet", "cvae", "cgm", "evolve"}
    assert np.isfinite(run.generated("cgm").table["magnitude"]).all()
    assert len(findings.table(run.results["findings"])) == len(found) + len(felt)


def test_recordings_without_magnitudes_end_in_one_sentence(tmp_path):
    folder = recorded(tmp_path / "set", magnitude=np.nan)
    run = Study("smoke", folder, stations="TK.0000,TK.0001", folder=tmp_path / "run")
    assert run.lacking("magnitudes") and "cgm" not in run.models
    with pytest.raises(ValueError, match="no record has a magnitude and a distance"):
        scenarios.scenarios(run, "training")
