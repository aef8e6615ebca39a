"""``python -m tsgen.generate`` as a new user would call it: each model, a new site, wrong input, and what it leaves."""

import importlib

import pandas as pd
import pytest
from test_study import recorded

from tsgen import config, formats

command = importlib.import_module("tsgen.generate.__main__")
SMOKE = config.profile("smoke")


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """The command on one run of the simulated default at smoke: (exit code, folder)."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSGEN_RUNS", str(tmp_path_factory.mktemp("runs")))

        def called(*given, profile="smoke", out=None):
            into = out or folder / f"{len(list(folder.iterdir()))}"
            return command.main([*given, "--profile", profile, "--out", str(into)]), into

        yield called


@pytest.mark.parametrize(
    "given",
    [
        ("--model", "timesnet", "--station", "SIM.02"),
        ("--model", "cvae", "--station", "02"),
        ("--model", "cgm", "--station", "sim.02", "--magnitude", "5", "--distance", "30"),
        ("--model", "control_stochastic", "--station", "SIM.02", "--magnitude", "5", "--distance", "30"),
        ("--model", "control_regression", "--station", "SIM.02"),
        ("--model", "evolve", "--station", "SIM.02", "--magnitude", "5", "--distance", "30"),
    ],
)
def test_what_is_generated_says_so_in_every_file_and_reads_back(call, given, capsys):
    code, folder = call(*given, "-n", "3")
    assert code == 0 and "Not for design without review" in capsys.readouterr().out
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["README.txt", *(f"generated_{i:05d}_SIM.02.mseed" for i in range(3)), "records.csv"]
    table = pd.read_csv(folder / "records.csv")
    assert set(table["kind"]) == {"generated"} and set(table["model"]) == {given[1]}
    assert table["note"].str.startswith("Generated, not recorded.").all()
    assert "simulated default" in (folder / "README.txt").read_text()
    back, _ = formats.read_folder(folder, SMOKE.sampling_rate_in_hz, SMOKE.duration_in_s, "cm/s^2")
    assert len(back) == 3 and back.stations == ["SIM.02"] and set(back.table["kind"]) == {"generated"}
    if "--magnitude" in given:
        assert back.table["magnitude"].tolist() == [5.0] * 3 and back.table["distance_in_km"].tolist() == [30.0] * 3


@pytest.mark.parametrize("model", ["cgm", "evolve"])
def test_a_site_without_records_and_a_scenario_out_of_reach(call, model, capsys):
    scenario = "--vs30", "450", "--magnitude", "7.5", "--distance", "25"
    code, folder = call("--model", model, *scenario, "-n", "2", "--seisbench")
    assert code == 0 and "magnitude 7.5 lies outside what was learned from" in capsys.readouterr().out
    table = pd.read_csv(folder / "metadata.csv")
    assert (table["station_vs30_mps"] == 450).all() and table["note"].str.contains("extrapolated").all()


def test_the_terms_of_recordings_go_with_what_was_learned_from_them(call, tmp_path, capsys):
    folder = recorded(tmp_path / "set").parent / "set"
    given = "--model", "timesnet", "--station", "0001", "-n", "2", "--records", str(folder), "--stations", "0000,0001"
    code, into = call(*given)
    assert code == 0 and "Learned from set" in (into / "README.txt").read_text()
    assert pd.read_csv(into / "records.csv")["made_from"].str.contains(";").all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--model", "timesnet", "--station", "SIM.01", "--magnitude", "6"), "timesnet takes no magnitude"),
        (("--model", "cvae", "--vs30", "400"), "cvae takes no magnitude, distance or Vs30"),
        (("--model", "cgm", "--station", "SIM.09"), "SIM.09 is none of the target stations SIM.01"),
        (("--model", "cgm", "--station", "SIM.01", "--magnitude", "6"), "both --magnitude and --distance"),
        (("--model", "cgm", "--vs30", "400"), "both --magnitude and --distance"),
        (("--model", "cgm", "--station", "SIM.01", "--depth", "9"), "both --magnitude and --distance"),
        (("--model", "control_regression", "--vs30", "400", "--magnitude", "5", "--distance", "9"), "evolve take --vs30"),
        (("--model", "cgm", "--station", "SIM.01", "-n", "0"), "-n must be 1 or more"),
        (("--model", "cgm", "--station", "SIM.01", "--records", "nowhere"), "nowhere: no such folder"),
    ],
)
def test_wrong_input_ends_in_one_sentence(call, given, words, tmp_path, capsys):
    assert call(*given, out=tmp_path / "out")[0] == 2 and not (tmp_path / "out").exists()
    err = capsys.readouterr().err.strip()
    assert words in err and len(err.splitlines()) == 1


def test_a_word_that_is_not_known_is_told(call, capsys):
    for given in (
        ("--model", "gan", "--station", "A"),
        ("--model", "cgm"),
        ("--model", "cgm", "--station", "A", "--vs30", "4"),
    ):
        with pytest.raises(SystemExit, match="2"):
            call(*given)
        assert "--help lists what there is" in capsys.readouterr().err
    assert call("--model", "cgm", "--station", "SIM.01", profile="other")[0] == 2
    assert "unknown profile 'other'" in capsys.readouterr().err
