"""Experiments at smoke: each leaves findings that its keys tell apart, and what claims and readers ask of them."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, few_draws
from test_study import recorded

from tsgen import claims, dataset, experiments, findings, paper, trials
from tsgen import study as study_module
from tsgen.claims import CLAIMS, UNTESTED
from tsgen.evidence import new_station
from tsgen.findings import IDENTITY, finding

JUDGED = ("timesnet", "cvae", "cgm", "control_bootstrap", "control_average", "control_renoised", "control_regression")


@pytest.fixture(autouse=True)
def short(tmp_path, monkeypatch):
    """Few trainings, networks, splits and trials; nothing is written outside the test's folder."""
    monkeypatch.setenv("TSGEN_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(experiments, "RESULTS", tmp_path / "results")
    for name in ("N_TRAININGS", "N_NETWORKS", "N_SPLITS", "N_TRANSFERS", "N_ROUGH", "N_REGRESSED", "N_FEW"):
        monkeypatch.setattr(experiments, name, 2)
    monkeypatch.setattr(experiments, "N_ABLATED", 1)
    monkeypatch.setattr(experiments, "N_CHOICES", {"simulated": 2, "recorded": 1})
    monkeypatch.setattr(experiments, "POOLED", (1001,))
    monkeypatch.setattr(new_station, "WHOLE", ("evolve", "control_renoised"))
    monkeypatch.setattr(new_station, "NUMBERS", {"simulated": (0, 1, 2, 5), "recorded": (0, 1, 2, 4)})
    monkeypatch.setattr(experiments, "N_POOL", 4 * 18)  # an event is held out at every station: 18 + 12 are too few
    monkeypatch.setattr(experiments, "N_POWER", 4)
    monkeypatch.setattr(dataset, "FOLDS", 2)
    monkeypatch.setattr(experiments, "RECORDED_FIGURES", ())
    monkeypatch.setattr(study_module, "JUDGED", JUDGED)
    monkeypatch.setattr(experiments, "CONTROLS", tuple(name for name in JUDGED if name.startswith("control")))
    monkeypatch.setattr(trials, "BEFORE", {})
    monkeypatch.setattr(trials, "N_CHOICES", 2)
    for model, of in trials.TRIALS.items():
        ends = list(of.items())[:: len(of) - 1]  # as before, and the last one, changed
        monkeypatch.setitem(trials.TRIALS, model, dict(ends))
    with few_draws(STEPS_PER_PERIOD=8):
        yield


def ran(name, folder, *given):
    with pytest.MonkeyPatch.context() as patch:
        if name == "trainings":  # of which claims read scores alone
            patch.setattr(study_module, "JUDGED", ("timesnet", "cvae", "control_average"))
            patch.setattr(experiments, "CONTROLS", ("control_average",))
        content = json.loads(experiments.run(name, "smoke", *given, folder=folder).read_text())
    rows = findings.table(content["findings"])
    assert content["run"]["profile"] == "smoke" and content["run"]["experiment"]
    assert content["run"]["command"].startswith(f"python -m tsgen.experiments {name} --profile smoke")
    assert len(rows) > 2 and not rows.duplicated(list(IDENTITY)).any()
    return content["run"], rows


TOLD_APART = {
    # experiment: the key that tells its variants apart
    "power": "set",
    "timesnet_trials": "set",
    "cvae_trials": "set",
    "cgm_trials": "set",
    "evolve_trials": "set",
    "transfer": "set",
    "roughness": "set",
    "cgm_leaks": "set",
}
FOR_CLAIMS = ("trainings", "networks", "onehot", "regressed", "few")  # in one test below
FOR_CLAIMS_OF_RECORDINGS = ("recorded", "folds", "trainings", "few")


@pytest.mark.slow
@pytest.mark.parametrize("name", TOLD_APART)
def test_every_experiment_runs_at_smoke(name, tmp_path):
    _, rows = ran(name, tmp_path / "results")
    variants = rows[TOLD_APART[name]].replace("", np.nan).dropna().unique()
    assert len(variants) >= 2 and rows["value"].notna().any()


@pytest.mark.slow
def test_what_is_trained_elsewhere_is_trained_once_and_serves_recorded_stations(tmp_path):
    given = recorded(tmp_path / "set"), "TK.0000,TK.0001"
    _, rows = ran("transfer", tmp_path / "results", *given)
    errors = findings.select(rows, statistic="share of variance changed")
    assert errors.groupby("network")["set"].nunique().tolist() == [3, 3] and errors["value"].is_unique
    trained = (path.parts[-3] for path in (tmp_path / "runs").rglob("model-timesnet/artefact.json"))
    assert sorted(name.split("-")[-2] for name in trained) == ["active"] * 2 + ["own"] * 2 + ["stable"] * 2


def test_the_papers_setting_goes_on_from_call_to_call(tmp_path, capsys):
    """The command of a lent GPU, at smoke sizes: what stands is written by each call."""
    call = ["paper", "--profile", "smoke", "--background", "40"]
    assert experiments.main([*call, "--minutes", "0"]) == 3
    first = json.loads((experiments.RESULTS / "paper.json").read_text())
    assert first["run"]["device"] and "goes on from there" in capsys.readouterr().err
    assert experiments.main(call) == 0
    rows = findings.table(json.loads((experiments.RESULTS / "paper.json").read_text())["findings"])
    assert rows[: len(first["findings"])].equals(findings.table(first["findings"]))  # not measured again
    assert findings.one(rows, measure="latents", set="float32")["value"] < 1e-4
    for of in ({"subject": "timesnet", "set": "float32"}, {"subject": "plain"}):
        assert (
            0 < findings.one(rows, measure="training step", statistic="share of the matrix rate", **of)["value"] < 1.5
        )
    trained = findings.select(rows, measure="training", statistic="epochs")
    assert trained["value"].tolist() == [1, 1] and 10 < trained["n"].iloc[0] <= 0.8 * 40
    assert set(findings.select(rows, measure="wave", station="")["subject"]) == set(paper.JUDGED)


def test_the_papers_setting_asks_for_few_packages():
    """A lent machine has no network: what a GPU image lacks must not be imported."""
    lacking = "obspy", "pygmm", "seisbench", "papermill", "nbformat", "nbconvert", "IPython"
    script = f"import sys; sys.modules.update(dict.fromkeys({lacking}))\nimport tsgen.experiments"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_every_experiment_is_run_by_a_test():
    assert set(experiments.EXPERIMENTS) == {*TOLD_APART, *FOR_CLAIMS, *FOR_CLAIMS_OF_RECORDINGS, "paper"}


@pytest.mark.slow
def test_what_claims_read_of_stored_experiments_is_what_experiments_write(tmp_path):
    sources = {name: ran(name, tmp_path / "results")[1] for name in FOR_CLAIMS}
    distance_in_km = np.geomspace(10, 90, 60)[np.random.default_rng(0).permutation(60)]
    given = recorded(tmp_path / "set", distance_in_km=distance_in_km), "TK.0000,TK.0001"
    for name in FOR_CLAIMS_OF_RECORDINGS:
        run, rows = ran(name, tmp_path / "results", *given)
        sources["recorded" if name == "recorded" else f"recorded-{name}"] = rows
        assert run["command"].endswith("--records set --stations TK.0000,TK.0001") and run["records"] == "set"
    asked = [claim for claim in CLAIMS if claim.source != "run" and dict(claim.where)["set"] != "n = 10"]  # there are 8
    frame = claims.table(sources, asked)
    assert not frame[frame["verdict"] == UNTESTED]["claim"].tolist()
    pooled = "recorded", "recorded-few"
    repeated = [claim.source not in pooled and dict(claim.where)["set"] != "folds" for claim in asked]
    assert frame["why"].str.startswith("mean of 2 ").tolist() == repeated
    loss = {"subject": "control_average", "against": "theory", "set": "all recordings"}
    assert abs(findings.one(sources["recorded"], **loss)["value"]) < 0.05  # noise is incoherent
    read = experiments.sources(sources["networks"])
    assert set(read) == {"run", *sources} and len(read["recorded"]) == len(sources["recorded"])


def test_recorded_needs_records_and_an_unknown_name_is_refused(tmp_path, capsys):
    with pytest.raises(ValueError, match="--records"):
        experiments.run("recorded", "smoke", folder=tmp_path)
    with pytest.raises(ValueError, match="unknown experiment 'other'; known: power"):
        experiments.run("other", "smoke", folder=tmp_path)
    assert experiments.main(["other"]) == 2 and "unknown experiment" in capsys.readouterr().err
    assert experiments.main(["--list"]) == 0 and "cgm_leaks" in capsys.readouterr().out


def test_a_missing_experiment_is_told_with_the_command_that_makes_it(capsys):
    for name in ("cgm_leaks", "recorded-networks"):
        assert not len(experiments.stored(name))
    plain, recorded_one = capsys.readouterr().out.splitlines()
    assert plain.endswith("python -m tsgen.experiments cgm_leaks makes it")
    assert "tsgen.experiments networks --records FOLDER --stations A,B makes it" in recorded_one


def test_a_stored_experiment_says_when_and_how_it_was_made(tmp_path, capsys):
    content = {"run": {"experiment": "What.", "date": "2026-01-01", "profile": "quick", "records": "set"}}
    content["run"] |= {"command": "python -m x", "attribution": "Whose"}
    content["findings"] = [finding("a", "", "pga", "level", 1.0, training=3)]
    experiments.RESULTS.mkdir()
    (experiments.RESULTS / "x.json").write_text(json.dumps(content))
    assert experiments.stored("x")["training"].tolist() == [3]
    assert capsys.readouterr().out == "stored, 2026-01-01, quick, set: python -m x\nWhat.\nWhose\n"


def test_spread_is_the_mean_over_repeats_with_students_interval():
    values = [1.0, 2.0, 3.0, 4.0]
    rows = [finding("a", "b", "pga", "median", v, training=i) for i, v in enumerate(values)]
    rows += [finding("a", "", "pga", "level", 1.0, training=0), finding("a", "b", "pga", "spread", 7.0)]
    found = experiments.spread(findings.table(rows))
    half = 2.353363 * np.sqrt(5 / 3) / 2  # the 95 % point of Student's t with 3 degrees of freedom
    first = findings.one(found, statistic="median")
    assert (first["low"], first["high"]) == pytest.approx((2.5 - half, 2.5 + half)) and first["n"] == 4
    assert len(found) == 2 and np.isnan(findings.one(found, statistic="level")["low"])
