"""The spine at smoke: stages built once, no held-out event seen, bad input in one sentence, figures, experiments."""

import json

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
from test_records import made

from tsgen import config, evidence, experiments, figures
from tsgen import study as study_module
from tsgen.experiments import common, models, scenario
from tsgen.figures.__main__ import main as figures_main
from tsgen.records import Records, event_groups
from tsgen.store import Store
from tsgen.study import NAMES, Study


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def study(runs):
    return Study("smoke", folder=runs / "smoke")


def test_stages_leave_artefacts_and_are_loaded_the_second_time(study, runs, monkeypatch):
    first = study.generated("timesnet")
    assert len(first) == 5 * study.settings.n_generated
    assert {"records", "model-timesnet", "generated-timesnet"} <= set(Store(runs / "smoke").manifest())

    def forbidden(*_, **__):
        raise AssertionError("a stage that stands was built again")

    monkeypatch.setattr(study_module.train, "fit", forbidden)
    monkeypatch.setattr(study_module.simulate, "network", forbidden)
    monkeypatch.setattr(study_module.generate, "mix", forbidden)
    again = Study("smoke", folder=runs / "smoke").generated("timesnet")
    np.testing.assert_array_equal(again.waveforms, first.waveforms)


def test_same_seed_same_records_other_seed_other_records(study, runs):
    other = Study("smoke", seed=1, folder=runs / "seed1")
    same = Study("smoke", folder=runs / "again")
    np.testing.assert_array_equal(same.records.waveforms, study.records.waveforms)
    assert np.abs(other.records.waveforms - study.records.waveforms).max() > 0.1


def test_no_model_or_control_sees_a_held_out_event(study):
    hidden = set(event_groups(study.records.table)[study.records.table["event"].isin(study.held_out.table["event"])])
    assert hidden and not hidden & set(study.training.table["event"])
    assert not hidden & set(study.background.table["event"])
    for name in ("timesnet", "control_average", "control_bootstrap", "control_phase"):
        made_from = set(study.generated(name).table["made_from"].str.split(";").explode())
        assert made_from and not made_from & hidden


def same(a, b):
    """Equal to the last bit, through dicts and lists of tensors and arrays."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool((a == b).all()) if hasattr(a, "shape") else a == b or (a != a and b != b)


def test_a_marker_in_held_out_events_reaches_nothing(study, runs, monkeypatch):
    """Held-out records replaced by a huge tone: every model weight and generated sample stays as it was."""
    whole = study.records
    marked = np.array(whole.waveforms)
    hidden = whole.table["event"].isin(study.held_out.table["event"]).to_numpy()
    marked[hidden] = 1e4 * np.sin(np.arange(whole.n_samples) / 5).astype(np.float32)
    planted = Records(marked, whole.sampling_rate_in_hz, whole.table)
    monkeypatch.setattr(study_module.simulate, "network", lambda *_: planted)
    twin = Study("smoke", folder=runs / "marked")
    assert np.abs(twin.held_out.waveforms).max() > 5e3
    for name in ("timesnet", "cvae"):
        ours, theirs = study.model(name).state_dict(), twin.model(name).state_dict()
        assert same(ours, theirs)
    for name in ("timesnet", "cvae", "control_average", "control_bootstrap", "control_phase"):
        np.testing.assert_array_equal(study.generated(name).waveforms, twin.generated(name).waveforms)


def test_scores_come_with_ceiling_chance_interval_and_sizes(study):
    scores = study.scores("timesnet")
    for protocol in ("in_sample", "held_out"):
        part = scores[protocol]
        assert part["low"] <= part["value"] <= part["high"]
        assert {"ceiling", "halves", "chance"} <= set(part)
        assert part["n_generated"] <= 60 and part["n_real"] > 0
    kept = json.loads((study.folder / "results.json").read_text())
    assert kept["scores"]["timesnet"]["held_out"]["value"] == scores["held_out"]["value"]
    assert study.results["records"]["held out"] == len(study.held_out)


def test_another_station_scores_below_the_right_one(study):
    right, wrong = study.scores("control_bootstrap"), study.scores("control_other")
    assert wrong["held_out"]["value"] < right["held_out"]["value"] - 0.3


def test_unknown_names_are_refused_with_what_there_is(study, tmp_path, monkeypatch):
    monkeypatch.setenv("TSGEN_RUNS", str(tmp_path / "runs"))
    with pytest.raises(ValueError, match="smoke, quick, paper"):
        Study("huge")
    with pytest.raises(ValueError, match="no such folder"):
        Study("smoke", records=tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"XX\.99 is not among the records"):
        _ = Study("smoke", stations="XX.99").training
    with pytest.raises(ValueError, match=", ".join(NAMES)):
        study.generated("oracle")
    with pytest.raises(ValueError, match="timesnet"):
        study.model("oracle")
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_run_folders_do_not_meet(tmp_path, monkeypatch):
    monkeypatch.setenv("TSGEN_RUNS", str(tmp_path))
    for parent in ("a", "b"):
        (tmp_path / parent / "set").mkdir(parents=True)
    names = [
        Study("smoke").folder.name,
        Study("smoke", seed=3).folder.name,
        Study("smoke", tmp_path / "a/set", "X.1").folder.name,
        Study("smoke", tmp_path / "b/set", "X.1").folder.name,
        Study("smoke", tmp_path / "a/set", "X.2").folder.name,
    ]
    assert names[:2] == ["smoke", "smoke-seed3"] and len(set(names)) == 5
    assert names[2].startswith("smoke-set-")


def recorded(folder, n=60, t=1024):
    records = made(n=n, t=t, stations=3, p_arrival_sample=250.0)
    quality = ["weak: peak 0.2 cm/s²" if i == 5 else "" for i in range(n)]
    records.with_columns(quality=quality, usable_to_hz=12.0).save(folder)
    return folder


def test_recorded_stations_with_few_background_records_use_the_simulated_background(tmp_path, capsys):
    run = Study("smoke", recorded(tmp_path / "set"), stations="0000,TK.0001", folder=tmp_path / "run")
    assert run.stations == ["TK.0000", "TK.0001"]  # a bare code is enough where it is unique
    assert set(run.background.table["kind"]) == {"simulated"}
    assert "simulated ones serve" in capsys.readouterr().out
    assert run.kind == "recorded" and not run.is_default
    assert set(run.generated("control_average").table["usable_to_hz"]) == {12.0}
    curves = run.hvsr(run.generated("control_average"))
    assert np.isnan(curves.curves[:, curves.frequency_in_hz > 12.1]).all()


def test_one_target_gives_everything_but_the_score(tmp_path):
    run = Study("smoke", recorded(tmp_path / "set"), stations="TK.0000", folder=tmp_path / "run")
    scores = run.scores("control_average")
    assert scores["held_out"]["value"] is None and scores["score_2s"] is None
    assert len(run.score_table(["control_average"])) == 2


def test_expect_has_teeth_on_the_committed_run_only(study, capsys):
    study.expect("a number", 5.0, 0, 1)
    assert "not checked" in capsys.readouterr().out
    default = Study("quick", folder="unused")
    default.expect("a number", 0.5, 0, 1)
    with pytest.raises(AssertionError, match="outside"):
        default.expect("a number", 5.0, 0, 1)


@pytest.mark.parametrize("name", list(figures.FIGURES))
def test_every_figure_draws_without_warnings_and_labels_its_axes(study, name):
    with figures.styled():
        figure = figures.FIGURES[name](study)
        figure.canvas.draw()
    assert isinstance(figure, matplotlib.figure.Figure)
    text = " ".join(ax.get_xlabel() + ax.get_ylabel() + ax.get_title() for ax in figure.axes)
    assert text.strip() or name == "architecture"
    matplotlib.pyplot.close(figure)


def test_one_figure_from_the_command_line(study, monkeypatch, capsys):
    monkeypatch.setattr(study_module.Study, "_run_name", lambda self: "smoke")
    monkeypatch.setenv("TSGEN_RUNS", str(study.folder.parent))
    assert figures_main(["station_hvsr", "--profile", "smoke"]) == 0
    path = study.folder / "figures" / "station_hvsr.png"
    assert path.stat().st_size > 10_000 and path.with_suffix(".pdf").exists()
    assert figures_main(["nonsense", "--profile", "smoke"]) == 2
    assert "unknown figure 'nonsense'" in capsys.readouterr().err
    assert figures_main(["--list"]) == 0


ELSEWHERE = {"evidence", "folds", "recorded", "cgm_networks"}  # run in test_claims


@pytest.mark.parametrize("name", sorted(set(experiments.EXPERIMENTS) - ELSEWHERE))
def test_every_experiment_runs_at_smoke(name, tmp_path, monkeypatch):
    monkeypatch.setenv("TSGEN_RUNS", str(tmp_path))
    monkeypatch.setattr(common, "N_SEEDS", 2)
    monkeypatch.setattr(models, "VAE_TRIALS", dict(list(models.VAE_TRIALS.items())[:2]))
    if name == "cgm_objectives":
        monkeypatch.setattr(scenario, "CGM_TRIALS", dict(list(scenario.CGM_TRIALS.items())[-2:]))
    monkeypatch.setattr(scenario, "ABLATED_NETWORKS", (2,))
    content = json.loads(experiments.run(name, "smoke", folder=tmp_path).read_text())
    assert content["command"].startswith(f"python -m tsgen.experiments {name}") and content["profile"] == "smoke"
    assert len(pd.DataFrame(content["rows"])) >= 2


def test_profiles_are_what_the_documents_say():
    assert [config.PROFILES[name].timesnet.d_model for name in ("smoke", "quick", "paper")] == [8, 16, 128]
    with pytest.raises(TypeError):
        config.TimesNetSettings(1, 2, 3, 4, 5, colour="red")
    with pytest.raises(ValueError, match="form must be"):
        config.TrainingSettings(8, 1, 1, 1e-3, 1e-3, form="other")


def test_cgm_generates_at_scenarios_of_the_training_records(study):
    records = study.generated("cgm")
    assert records.stations == study.stations and len(records) == 5 * study.settings.n_generated
    known = set(zip(study.training.table["station"], study.training.table["magnitude"], strict=True))
    assert set(zip(records.table["station"], records.table["magnitude"], strict=True)) <= known
    assert records.table["event"].is_unique and np.isfinite(records.table["distance_in_km"]).all()
    assert "cgm" not in evidence.generators(study) and "cgm" in study.models
