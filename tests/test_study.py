"""The spine at smoke: stages built once and when they must be, no held-out event seen, bad input in one sentence."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import few_draws
from test_records import made

from tsgen import config, findings, generate, store
from tsgen import study as study_module
from tsgen.dataset import Dataset
from tsgen.evidence import scores
from tsgen.records import Records, event_groups
from tsgen.study import RECIPES, Study, with_scenarios


def again(study, settings=None, folder=None):
    """The same study as a new process would open it; of its records nothing is read again."""
    twin = Study(settings or study.settings, folder=folder or study.folder)
    twin.__dict__["_everything"] = study._everything
    return twin


def forbid(monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("a stage that stands was built again")

    monkeypatch.setattr(store.Stage, "_make", forbidden)


def test_stages_leave_artefacts_and_are_loaded_the_second_time(study, monkeypatch):
    first = study.generated("timesnet")
    assert len(first) == 5 * study.settings.n_generated
    standing = {folder.name for folder in store.standing(study.folder)}
    assert {"records", "model-timesnet", "generated-timesnet"} <= standing
    forbid(monkeypatch)
    found = Study("smoke", folder=study.folder).generated("timesnet")
    np.testing.assert_array_equal(found.waveforms, first.waveforms)


# ---- what a stage rests on ----

STAGES = {
    "records": ("records",),
    "timesnet": ("model", "timesnet"),
    "cvae": ("model", "cvae"),
    "cgm": ("model", "cgm"),
    "generated": ("generated", "timesnet", 12),
    "energy": ("generated", "timesnet_energy", 12),
    "average": ("generated", "control_average", 12),
    "renoised": ("generated", "control_renoised", 12),
    "fresh": ("fresh", "single"),
    "given": ("given", "cgm"),
    "measured": ("measured", "timesnet"),
    "f0": ("f0", "held_out"),
    "f0 of generated": ("f0", "timesnet"),
}


def edited(monkeypatch, *names):
    source = store._source
    monkeypatch.setattr(store, "_source", lambda name: source(name) + b"# edited" * (name in names))


def changed(study, settings=None):
    """Names of STAGES whose key is not what it is of the study as it stands."""
    kept = {name: study.stage(*of).key for name, of in STAGES.items()}
    return {name for name, of in STAGES.items() if again(study, settings).stage(*of).key != kept[name]}


MEASURED = {"measured", "f0", "f0 of generated"}
MIXED = {"generated", "energy", "average", "renoised", "measured", "f0 of generated"}  # the last two rest on the first
# of each module: the stages of STAGES that editing it builds anew
EDITED = {
    "intensity": MEASURED,  # features ask it which records have no vertical
    "oscillator": {*MEASURED, "renoised"},  # what the carrier makes is cut at the record's true end
    "hvsr": {*MEASURED, "renoised"},  # the carrier smooths with its Konno-Ohmachi windows
    "spectrogram": {"cvae", "cgm", "given", "renoised"},
    "timesnet": {"timesnet", "generated", "energy", "measured", "f0 of generated"},
    "cgm": {"cgm", "given"},
    "carrier": {"renoised"},
    "generate": {*MIXED, "given"},
    "features": MEASURED,
    "distance": set(),
    "metrics": set(),
    "findings": set(),
    "evidence.scores": set(),
    "formats.peer": set(),  # of simulated records
    "study": set(),
    "dataset": set(),
    "config": set(),
}


@pytest.mark.parametrize("module", EDITED)
def test_editing_a_module_builds_anew_what_rests_on_it_and_nothing_else(study, monkeypatch, module):
    for of in STAGES.values():
        _ = study.stage(*of).key
    edited(monkeypatch, f"tsgen.{module}")
    assert changed(study) == EDITED[module]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"hvsr": {"bandwidth": 20.0}}, {"f0", "f0 of generated"}),
        ({"cvae": {"beta": 0.5}}, {"cvae"}),
        ({"mixed_records": 4}, MIXED),
        ({"n_fresh": 22}, {"fresh"}),
        ({"held_out_share": 0.4}, set(STAGES) - {"records"}),
        ({"n_halves": 3}, set()),  # findings alone
    ],
)
def test_a_changed_setting_builds_anew_what_uses_it_and_nothing_else(study, change, expected):
    settings = study.settings
    for name, value in change.items():
        settings = replace(
            settings, **{name: replace(getattr(settings, name), **value) if isinstance(value, dict) else value}
        )
    assert changed(study, settings) == expected


EVIDENCE = {
    # module: (stages of findings that an edit leaves standing, stages that it does not)
    "hvsr": ({"model-timesnet", "records"}, {"f0-timesnet", "scores-timesnet", "distances-timesnet"}),
    "evidence.structures": (
        {"scenario", "bias-cvae", "scores-cvae"},
        {"structures-cgm", "structures-measured-given-cgm"},
    ),
    "evidence.copying": ({"scores-timesnet", "bias-timesnet"}, {"copying-cvae", "memory-held_out"}),
    "evidence.distances": (
        {"scores-timesnet", "f0-timesnet", "given-cgm"},
        {"distances-cvae", "distances-control_shift", "distances-compared", "distances-scenario"},
    ),
    "distance": ({"scores-timesnet", "bias-timesnet", "f0-timesnet"}, {"distances-cvae", "distances-compared"}),
    "features": ({"generated-timesnet", "copying-timesnet"}, {"f0-timesnet", "scores-timesnet", "distances-cvae"}),
    "metrics": (
        {"bias-timesnet", "f0-timesnet", "copying-timesnet"},
        {"scores-cvae", "scores-gaps", "distances-cvae"},
    ),
    "timesnet": (
        {"scores-cvae", "bias-cvae", "model-cvae", "distances-cvae"},
        {"bias-timesnet", "scores-timesnet", "scores-gaps", "distances-compared"},
    ),
    "study": ({"scores-timesnet", "structures-cgm", "model-cgm", "distances-compared"}, set()),
}


@pytest.mark.parametrize("module", EVIDENCE)
def test_findings_of_a_stale_stage_are_not_in_the_results(study, smoke_findings, monkeypatch, module):
    before = {folder.name for folder in store.standing(study.folder)}
    edited(monkeypatch, f"tsgen.{module}")
    standing = {folder.name for folder in store.standing(study.folder)}
    stays, goes = EVIDENCE[module]
    assert stays <= standing <= before and goes <= before and not goes & standing
    rows = findings.table(study.results["findings"])
    said = {
        "structures-cgm": {"protocol": "structure"},
        "scores-timesnet": {"subject": "timesnet", "measure": "score", "statistic": "S × S, chance"},
        "copying-cvae": {"subject": "cvae", "measure": "r2"},
        "scores-cvae": {"subject": "cvae", "measure": "score", "statistic": "3S × 3S"},
        "bias-timesnet": {"subject": "timesnet", "measure": "pga"},
        "distances-cvae": {"subject": "cvae", "against": "held_out", "measure": "wave", "protocol": "held_out"},
        "distances-compared": {"subject": "timesnet", "against": "control_average", "measure": "site"},
    }
    for name, which in said.items():
        assert len(findings.select(smoke_findings, **which))
        assert bool(len(findings.select(rows, **which))) == (name in standing), name


@pytest.fixture
def copied(study, smoke_findings, tmp_path):
    """The run in a folder of its own, to be harmed."""
    shutil.copytree(study.folder, tmp_path / "smoke", ignore=shutil.ignore_patterns(".*"))
    return again(study, folder=tmp_path / "smoke")


def harm(path, how):
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
    path.write_bytes(flipped if how == "changed" else content[:middle])


@pytest.mark.parametrize("how", ["changed", "truncated"])
def test_a_damaged_artefact_is_noticed_and_built_anew(study, copied, monkeypatch, capsys, how):
    harm(copied.folder / "generated-control_phase" / "waveforms.hdf5", how)
    harm(copied.folder / "model-cvae" / "last.pt", how)
    harm(copied.folder / "scores-control_phase" / "findings.json", how)
    np.testing.assert_array_equal(
        copied.generated("control_phase").waveforms, study.generated("control_phase").waveforms
    )
    assert same(copied.model("cvae").state_dict(), study.model("cvae").state_dict())
    with few_draws():
        pd.testing.assert_frame_equal(
            scores.scores(copied, "control_phase"), scores.scores(study, "control_phase"), check_exact=True
        )
    said = capsys.readouterr().err.splitlines()
    names = ("generated-control_phase", "model-cvae", "scores-control_phase")
    assert said == [f"{name}: a file of it was changed or is missing, building it anew" for name in names]
    forbid(monkeypatch)  # and now it stands
    assert len(again(study, folder=copied.folder).generated("control_phase")) == 60


def test_results_json_holds_what_stands_and_is_written_only_for_news(copied):
    path, n = copied.folder / "results.json", len(copied.results["findings"])

    def written():
        return len(json.loads(path.read_text())["findings"])

    path.write_text('{"findings": []}')
    scores.stations(copied)  # it stands, but this Study cannot know whether the file holds what stands
    assert written() == n > 1000
    path.write_text('{"findings": []}')
    scores.recordings(copied)
    assert written() == 0
    harm(copied.folder / "scores-control_phase" / "findings.json", "changed")
    with few_draws():
        scores.scores(copied, "control_phase")  # made anew
    assert written() == n


# ---- what models see ----


def test_same_seed_same_records_other_seed_other_records(study, tmp_path):
    other = Study("smoke", seed=1, folder=tmp_path / "seed1")
    same = Study("smoke", folder=tmp_path / "again")
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


def test_a_marker_in_held_out_events_reaches_nothing(study, tmp_path, monkeypatch):
    """Held-out records replaced by a huge tone: every model weight and generated sample stays as it was."""
    whole = study.records
    marked = np.array(whole.waveforms)
    hidden = whole.table["event"].isin(study.held_out.table["event"]).to_numpy()
    marked[hidden] = 1e4 * np.sin(np.arange(whole.n_samples) / 5).astype(np.float32)
    planted = Records(marked, whole.sampling_rate_in_hz, whole.table)
    monkeypatch.setattr(study_module.simulate, "network", lambda *_: planted)
    twin = Study("smoke", folder=tmp_path / "marked")
    assert np.abs(twin.held_out.waveforms).max() > 5e3
    for name in ("timesnet", "cvae"):
        assert same(study.model(name).state_dict(), twin.model(name).state_dict())
    for name in ("timesnet", "cvae", "control_average", "control_bootstrap", "control_phase"):
        np.testing.assert_array_equal(study.generated(name).waveforms, twin.generated(name).waveforms)


def test_cgm_generates_at_scenarios_of_the_training_records(study):
    records = study.generated("cgm")
    assert records.stations == study.stations and len(records) == 5 * study.settings.n_generated
    known = set(zip(study.training.table["station"], study.training.table["magnitude"], strict=True))
    assert set(zip(records.table["station"], records.table["magnitude"], strict=True)) <= known
    assert records.table["event"].is_unique and np.isfinite(records.table["distance_in_km"]).all()


def test_a_generator_without_scenarios_takes_those_of_the_recording_that_scaled_it(study):
    training = study.training.table
    one = training.iloc[3]
    table = pd.DataFrame(
        {"station": [one["station"]] * 2, "event": ["a", "b"], "made_from": [one["event"], f"{one['event']};other"]}
    )
    found = with_scenarios(table, training)
    assert found["magnitude"][0] == one["magnitude"] and found["distance_in_km"][0] == one["distance_in_km"]
    assert found[["magnitude", "distance_in_km"]].iloc[1].isna().all()
    stated = with_scenarios(table.assign(magnitude=[4.5, np.nan]), training)
    assert stated["magnitude"][0] == 4.5 and stated["distance_in_km"][0] == one["distance_in_km"]


def test_a_variant_mixes_the_same_recordings_under_another_station_s_one_hot(study):
    own, model = study.generated("timesnet"), study.model("timesnet")
    order = {"timesnet_next_station": [4, 0, 1, 2, 3], "timesnet_no_station": []}
    for name, places in order.items():
        found, told = study.generated(name), model.told(study.stations[i] for i in places)
        assert found.table["made_from"].tolist() == own.table["made_from"].tolist()
        assert set(found.table["source"]) == {name} and np.abs(found.waveforms - own.waveforms).max() > 0
        mixed = generate.mix(told, study.training, study.settings.n_generated, study.settings.mixed_records)
        np.testing.assert_array_equal(found.waveforms, mixed.waveforms)
    for name in ("timesnet_dirichlet", "control_average_dirichlet"):
        weights = [[float(w) for w in row.split(";")] for row in study.generated(name).table["weights"]]
        assert {len(row) for row in weights} == {5} and np.std(weights) > 0.1


def test_another_study_s_models_serve_and_what_they_make_rests_on_them(study, tmp_path):
    released = replace(study.settings, training=replace(study.settings.training, form="released"))
    away, farther = (Study(released, seed=seed, folder=tmp_path / f"away-{seed}") for seed in (3, 4))
    moved = Study(released, folder=tmp_path / "moved", whole=study, models_of=away)
    found = moved.generated("timesnet_dirichlet")
    assert found.stations == study.stations
    model = away.model("timesnet")
    expected = generate.mix(model, moved.training, moved.settings.n_generated, weights="dirichlet")
    np.testing.assert_array_equal(found.waveforms, expected.waveforms)
    assert len(moved.reconstructed("timesnet")) == len(study.training)
    home = Study(released, folder=tmp_path / "moved", whole=study)
    elsewhere = Study(released, folder=tmp_path / "moved", whole=study, models_of=farther)
    for of in (("generated", "timesnet_dirichlet", 12), ("reconstructed", "timesnet"), ("f0", "timesnet_dirichlet")):
        assert len({some.stage(*of).key for some in (moved, home, elsewhere)}) == 3
    assert moved.stage("generated", "control_average", 12).key == home.stage("generated", "control_average", 12).key


# ---- what is asked for ----


def test_unknown_names_are_refused_with_what_there_is(study, tmp_path, monkeypatch):
    monkeypatch.setenv("TSGEN_RUNS", str(tmp_path / "runs"))
    with pytest.raises(ValueError, match="smoke, quick, rehearsal, paper"):
        Study("huge")
    with pytest.raises(ValueError, match="no such folder"):
        Study("smoke", records=tmp_path / "nowhere")
    with pytest.raises(ValueError, match=", ".join(RECIPES)):
        study.generated("oracle")
    for refused in (study.model, study.untrained):
        with pytest.raises(ValueError, match="timesnet"):
            refused("oracle")
    assert not (tmp_path / "runs").exists()


def test_an_unknown_station_is_named(study):
    other = Study("smoke", stations="XX.99", folder=study.folder)
    other.__dict__["_everything"] = study._everything
    with pytest.raises(ValueError, match=r"XX\.99 is not among the records"):
        _ = other.training


def test_a_station_is_found_in_small_letters_and_a_poor_one_is_told_apart(tmp_path):
    folder = recorded(tmp_path / "set", n=30)
    records = Records.load(folder)
    records.with_columns(quality=np.where(records.table["station"] == "TK.0002", "weak", "")).save(folder)
    assert Study("smoke", folder, "tk.0001,0000", folder=tmp_path / "run").stations == ["TK.0000", "TK.0001"]
    with pytest.raises(ValueError, match=r"TK\.0002 has poor records alone; the stations with most events: TK\.0000"):
        _ = Study("smoke", folder, "TK.0002", folder=tmp_path / "poor").training


def test_without_a_choice_the_fullest_stations_are_the_targets_and_few_events_hold_nothing_out(tmp_path, capsys):
    few = Study("smoke", recorded(tmp_path / "few", n=9), folder=tmp_path / "run")  # three events a station, one poor
    assert len(few.stations) == 3 and len(few.held_out) == 0 and len(few.training) == 8
    assert "nothing is held out" in capsys.readouterr().out
    assert "recordings held out" in few.lacking("held-out recordings") and not few.lacking("two stations")
    some = Study("smoke", recorded(tmp_path / "some", n=18), folder=tmp_path / "run2")
    assert len(some.held_out) >= 4 and not some.lacking("held-out recordings")


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
        Study("smoke", split="fold 1 of 5").folder.name,
    ]
    assert names[:2] == ["smoke", "smoke-seed3"] and len(set(names)) == 6
    assert names[2].startswith("smoke-set-")


def recorded(folder, n=60, t=1024, **columns):
    records = made(n=n, t=t, stations=3, p_arrival_sample=250.0)
    quality = ["weak: peak 0.2 cm/s²" if i == 5 else "" for i in range(n)]
    records.with_columns(quality=quality, usable_to_hz=12.0, **columns).save(folder)
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
    assert len(run.not_used) == 1 and run.not_used["reason"][0].startswith("weak")


def test_a_record_of_two_horizontals_is_left_out_with_its_reason(tmp_path):
    records = made(n=30, t=1024, stations=3, p_arrival_sample=250.0)
    waveforms = records.waveforms.copy()
    waveforms[7, 2] = 0
    Records(waveforms, 50.0, records.table).save(tmp_path / "set")
    data = Dataset("smoke", tmp_path / "set", folder=tmp_path / "run")
    assert len(data.records) == 29 and set(data.records.table["components"]) == {"ENZ"}
    assert data.not_used["reason"].tolist() == ["horizontals alone: HVSR and the models need a vertical"]


def test_results_say_what_the_run_was(study, smoke_findings):
    run = study.results["run"]
    assert run["profile"] == "smoke" and run["kind"] == "simulated" and run["stations"] == study.stations
    assert run["records"]["held_out"] == len(study.held_out) and run["records"]["training"] == len(study.training)


def test_expect_has_teeth_on_the_committed_run_only(study, capsys):
    study.expect("a number", 5.0, 0, 1)
    assert "not checked" in capsys.readouterr().out
    default = Study("quick", folder="unused")
    default.expect("a number", 0.5, 0, 1)
    with pytest.raises(AssertionError, match="outside"):
        default.expect("a number", 5.0, 0, 1)


def test_profiles_are_what_the_documents_say():
    assert [config.PROFILES[name].timesnet.d_model for name in ("smoke", "quick", "paper")] == [8, 16, 128]
    with pytest.raises(TypeError):
        config.TimesNetSettings(1, 2, 3, 4, 5, colour="red")
    with pytest.raises(ValueError, match="form must be"):
        config.TrainingSettings(8, 1, 1, 1e-3, 1e-3, form="other")
