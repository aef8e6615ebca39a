"""Scenario evidence: trends and biases planted and found, scenarios that leak nothing, and the truth as a generator."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_study import recorded

from tsgen import arrivals, config, experiments, figures, residuals, scaling, simulate, structure
from tsgen.records import Records, event_groups
from tsgen.study import Study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return Study("smoke", folder=tmp_path_factory.mktemp("runs") / "smoke")


def scaled_truth(factor):
    """What ``scaling.generated`` would be if the generator were the truth itself, times a factor."""

    def generated(study, rows, n=1):
        some = scaling.truth(study, rows.loc[rows.index.repeat(n)], seed_offset=100)
        table = some.table.assign(event="g" + some.table["event"])
        return Records(np.float32(factor) * some.waveforms, some.sampling_rate_in_hz, table)

    return generated


@pytest.fixture(scope="module")
def truth_study(tmp_path_factory):
    """A study whose scenario generator is the truth times 1.3."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scaling, "generated", scaled_truth(1.3))
        many = replace(config.profile("smoke"), n_fresh=96, n_generated=30)  # so that intervals are narrower
        run = Study(many, folder=tmp_path_factory.mktemp("runs") / "truth")
        return run, scaling.judged(run), structure.judged(run)


def test_planted_trends_are_found():
    """0.3 per magnitude unit and -0.2 per unit of ln distance, at stations of unequal level and number."""
    rng = np.random.default_rng(0)
    n = 400
    table = pd.DataFrame(
        {"station": rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1]), "magnitude": rng.uniform(4, 7, n)}
    )
    table["distance_in_km"], table["event"] = np.exp(rng.uniform(2, 5, n)), [f"e{i}" for i in range(n)]
    level = 1.2 * table["magnitude"] - 1.1 * np.log(table["distance_in_km"]) + 0.5 * (table["station"] == "b")
    theirs = table.assign(pga=level + 0.2 * rng.normal(size=n))
    trend = 0.3 * table["magnitude"] - 0.2 * np.log(table["distance_in_km"])
    ours = table.assign(pga=level + trend + 0.2 * rng.normal(size=n), event="g" + table["event"])
    found = residuals.trends(["pga", "pgv"], ours.assign(pgv=np.nan), theirs.assign(pgv=np.nan))
    assert list(found.index) == ["pga"]
    row = found.loc["pga"]
    assert row["magnitude"] == pytest.approx(0.3, abs=0.04) and row["ln_distance"] == pytest.approx(-0.2, abs=0.04)
    assert row["magnitude_low"] < 0.3 < row["magnitude_high"] and row["magnitude_high"] - row["magnitude_low"] < 0.12
    assert (row["magnitude_verdict"], row["ln_distance_verdict"]) == ("different", "different")
    same = residuals.trends(["pga"], theirs.assign(event="g" + theirs["event"]), theirs).loc["pga"]
    assert (same["magnitude_verdict"], same["ln_distance_verdict"]) == ("equivalent", "equivalent")


def test_scenarios_are_those_of_training_records_and_unseen_stations_are_unseen(study):
    hidden = set(event_groups(study.records.table)[study.records.table["event"].isin(study.held_out.table["event"])])
    assert not hidden & set(study.training.table["event"])
    rows = scaling.scenarios(study, "training")
    known = study.training.table.set_index(["station", "magnitude", "distance_in_km"]).index
    assert rows.set_index(["station", "magnitude", "distance_in_km"]).index.isin(known).all()
    assert rows["station"].value_counts().eq(study.settings.n_fresh // 4).all()
    unseen = scaling.scenarios(study, "unseen")
    assert unseen["station"].nunique() == scaling.N_UNSEEN
    assert not set(unseen["station"]) & set(study.records.table["station"])
    before = simulate.stations(study.settings.simulation)
    pd.testing.assert_frame_equal(simulate.stations(scaling.with_unseen(study)).iloc[: len(before)], before)


def test_the_truth_as_a_generator_differs_by_the_planted_factor_alone(truth_study):
    _, found, felt = truth_study
    for part, tolerance in (("fresh", 0.08), ("unseen", 0.12)):  # 120 records each
        assert found[part].loc["pga", "median"] == pytest.approx(np.log(1.3), abs=tolerance)
        assert found[part].loc["pga", "median_verdict"] != "equivalent"
        assert found[part].loc["d5_95", "median"] == pytest.approx(0, abs=0.06)
    assert np.log(1.3) - 0.15 < found["held_out"].loc["pga", "median"] < np.log(1.3) + 0.25
    fresh = found["slopes"].loc["fresh"].loc["pga"]
    assert fresh["magnitude_low"] < 0 < fresh["magnitude_high"]
    assert felt["fresh"].loc["sa_0.5", "median"] == pytest.approx(np.log(1.3), abs=0.12)
    assert felt["fresh"].loc["ratio_4_1", "median"] == pytest.approx(0, abs=0.1)  # a ratio does not see the factor
    assert felt["fresh"].loc["capacity_moderate", "median"] == pytest.approx(0, abs=0.1)
    table = structure.fifteen_percent(felt["fresh"])
    assert table.loc[("elastic spectra", "median"), "within by value"] == 0
    assert table.loc[("inelastic ratio, R = 4", "median"), "within by value"] >= 7


def test_onsets_are_found_where_they_were_planted(study):
    distance = np.repeat([12.0, 25.0, 45.0], 10)
    records = simulate.fresh(study.settings.simulation, "SIM.01", 5.5, distance, 8.0)
    late = arrivals.onsets(records) - records.table[["p_arrival_sample", "s_arrival_sample"]].to_numpy() / 50
    assert (np.abs(np.median(late, axis=0)) < 0.9).all() and np.isfinite(late).all()
    assert np.abs(late[:, 0]).max() < 0.8
    silent = Records(0 * records.waveforms, 50.0, records.table)
    assert np.isnan(arrivals.onsets(silent)).all()


def test_the_study_keeps_what_it_found(study):
    found, felt = study.scaling(), study.structure()
    assert {"fresh", "held_out", "recorded", "slopes", "stations", "unseen", "beyond", "onsets"} == set(found)
    assert set(felt) == {"fresh", "held_out"}
    assert {"scaling", "structure"} == set(study.results["scenario"]) and set(study.results["structure"]) == set(felt)
    assert len(scaling.grid_frame(study)) == scaling.GRID_POINTS**2
    assert found["beyond"].loc["magnitude"].loc[[7.0, 7.5], "inside"].eq(False).all()
    again = scaling.judged(Study("smoke", folder=study.folder))
    for part, table in found.items():
        pd.testing.assert_frame_equal(again[part], table)


def test_recordings_of_which_some_lack_a_magnitude(tmp_path):
    folder = recorded(tmp_path / "set")
    records = Records.load(folder)
    magnitude = np.where(np.arange(len(records)) % 5 == 0, np.nan, records.table["magnitude"])
    distance = np.linspace(10.0, 90.0, len(records))
    records.with_columns(magnitude=magnitude, distance_in_km=distance).save(folder)
    run = Study("smoke", folder, stations="TK.0000,TK.0001", folder=tmp_path / "run")
    found = run.scaling()
    assert "held_out" in found and set(found) <= {"held_out", "slopes", "stations"}
    assert len(run.structure()["held_out"])
    assert np.isfinite(run.generated("cgm").table["magnitude"]).all()
    for name in (*figures.scenario.FIGURES, *figures.structure.FIGURES):
        assert figures.draw(run, name).exists()


def test_recordings_without_magnitudes_end_in_one_sentence(tmp_path):
    folder = recorded(tmp_path / "set")
    Records.load(folder).with_columns(magnitude=np.nan).save(folder)
    run = Study("smoke", folder, stations="TK.0000,TK.0001", folder=tmp_path / "run")
    with pytest.raises(ValueError, match="no record has a magnitude and a distance"):
        scaling.scenarios(run, "training")


def test_over_networks_the_interval_is_students():
    rows = pd.DataFrame(
        {"seed": [1, 2, 3, 4], "x": [1.0, 2.0, 3.0, 4.0], "x, recordings": [1.0, 1.0, 2.0, 2.0], "y": 1.0}
    )
    found = experiments.over_networks(rows)
    half = 2.353363 * np.sqrt(5 / 3) / 2  # the 95 % point of Student's t with 3 degrees of freedom
    assert found.loc["x", "low"] == pytest.approx(2.5 - half) and found.loc["x", "high"] == pytest.approx(2.5 + half)
    assert found.loc["x", "most"] - found.loc["x", "least"] == pytest.approx(6 * np.sqrt(5 / 3))
    assert found.loc["x", "recordings"] == 1.5 and found.loc["x", "beyond"] == pytest.approx(1.0)
    assert found.loc["x", "beyond_high"] == pytest.approx(1 + 2.353363 * np.sqrt(2 / 3) / 2)
    assert np.isnan(found.loc["y", "beyond"]) and list(found.index) == ["x", "y"]
    assert "beyond" not in experiments.over_networks(rows[["seed", "x"]])  # recorded stations


def test_ablations_are_judged_by_bias_and_scatter_alike():
    rows = pd.DataFrame({"setting": ["a", "b"] * 2, "seed": [1, 1, 2, 2], "diagnostics loss": 0.0})
    rows = rows.assign(**{"PGA median": [0.3, 0.1, -0.4, 0.1], "periods with an equivalent median": [10, 20, 12, 18]})
    found = experiments.by_setting(rows)
    assert list(found.index) == ["a", "b"] and found.loc["a", "PGA median"] == pytest.approx(np.sqrt(0.125))
    assert found["periods with an equivalent median"].tolist() == [11, 19]


def test_a_missing_experiment_is_told_with_the_command_that_makes_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    assert experiments.stored("cgm_leaks") is None and experiments.stored("recorded-cgm_networks") is None
    plain, recorded_one = capsys.readouterr().out.splitlines()
    assert plain.endswith("python -m tsgen.experiments cgm_leaks makes it")
    assert "tsgen.experiments cgm_networks --records FOLDER --stations A,B makes it" in recorded_one
