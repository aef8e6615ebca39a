"""The judge on folders as others hold them: recordings pass for recordings, planted faults are told, and what cannot be
judged ends in one sentence."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from obspy import Stream, Trace, UTCDateTime

from tsgen import config, features, findings, judge, measures, simulate, timesnet
from tsgen.findings import one, select, table
from tsgen.judge import APART, SAME, main

SMOKE = config.profile("smoke")
N = 24  # records a station and side
NAMES = {"SIM.01": "TK.0001", "SIM.03": "TK.0003"}


def fresh(seed, n=N, stations=tuple(NAMES), **changed):
    """Simulated recordings of ``n`` magnitudes and distances at each station, the same for every seed of the motion;
    changed: of the simulation's settings."""
    rng, settings = np.random.default_rng(0), replace(SMOKE.simulation, **changed)
    magnitude, distance = rng.uniform(4.2, 6.2, (len(stations), n)), rng.uniform(12.0, 55.0, (len(stations), n))
    some = simulate.fresh(settings, np.repeat(stations, n), magnitude.ravel(), distance.ravel(), seed=seed)
    known = {"station": some.table["station"].map(NAMES).to_numpy(), "kind": "recorded", "source": "TK"}
    return some.with_columns(**known, event=[f"{seed} {i}" for i in range(len(some))])


def miniseed(some, folder, year):
    """The records as another program leaves them: one MiniSEED file each in cm/s², and nothing beside it."""
    folder.mkdir()
    for i, (wave, station) in enumerate(zip(some.waveforms, some.table["station"], strict=True)):
        network, code = station.split(".")
        header = {"network": network, "station": code, "starttime": UTCDateTime(year, 1, 1) + 86400 * i}
        header["sampling_rate"] = some.sampling_rate_in_hz
        parts = zip("ENZ", wave, strict=True)
        stream = Stream([Trace(np.array(samples), header | {"channel": f"HN{name}"}) for name, samples in parts])
        stream.write(str(folder / f"{i:03d}.mseed"), format="MSEED", encoding="FLOAT32")
    return folder


def judged(generated, recorded, out, *more):
    """Exit code, judged.json and the page of the command."""
    code = main([str(generated), "--records", str(recorded), "--out", str(out), "--profile", "smoke", *more])
    return code, json.loads((out / "judged.json").read_text()), (out / "index.html").read_text()


def verdicts(found):
    """{distance: verdict} over all stations, or of the only one."""
    lines = judge.table(found["findings"])
    whole = lines if (lines["station"] != "all").all() else lines[lines["station"] == "all"]
    return dict(zip(whole["distance"], whole["verdict"], strict=True))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Folder of recordings with magnitudes and distances, in the SeisBench layout."""
    folder = tmp_path_factory.mktemp("recorded") / "set"
    fresh(21).save(folder)
    return folder


@pytest.fixture(scope="module")
def others():
    """Other recordings of the same law."""
    return fresh(22)


def test_recordings_pass_for_recordings_from_another_programs_files(tmp_path, others, capsys):
    folders = miniseed(others, tmp_path / "made", 2001), miniseed(fresh(21), tmp_path / "seen", 2002)
    code, found, page = judged(*folders, tmp_path / "out", "--unit", "cm/s^2")
    assert code == 0 and verdicts(found) == dict.fromkeys(("site", "spectra", "duration", "wave"), SAME)
    assert found["run"]["stations"] == list(NAMES.values()) and found["run"]["given"] == "the station"
    told = capsys.readouterr().out
    assert "may differ because the earthquakes do" in told and "Not told apart from recordings by site" in told
    assert "TK.0003" in told and "PGA" in told and "not told apart" in page and "src=" not in page
    halves = select(table(found["findings"]), subject="recordings", statistic="energy distance", station="")
    assert len(halves) == 4 and select(table(found["findings"]), statistic="share above 0.9")["value"].item() == 0


def louder(some):
    return type(some)(2 * some.waveforms, some.sampling_rate_in_hz, some.table)


PLANTED = {  # fault: (the records with it, distances that tell it, a finding of what is off and its value)
    "none": (lambda some: some, set(), ("pga", 0.0)),
    "twice as strong": (louder, {"spectra", "duration"}, ("pga", np.log(2))),
    "another site": (
        lambda some: fresh(22, target_f0_in_hz=tuple(1.3 * f for f in SMOKE.simulation.target_f0_in_hz)),
        {"site"},
        ("f0", np.log(1.3)),
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_what_is_planted_is_told_given_magnitude_and_distance(fault, recorded, others, tmp_path):
    plant, told, (measure, value) = PLANTED[fault]
    plant(others).save(tmp_path / "made")
    code, found, page = judged(tmp_path / "made", recorded, tmp_path / "out")
    apart = {name for name, verdict in verdicts(found).items() if verdict == APART}
    assert code == 0 and found["run"]["given"] == "magnitude, distance and station"
    assert told <= apart if told else not apart
    off = one(table(found["findings"]), subject="generated", measure=measure, statistic="median")
    assert off["value"] == pytest.approx(value, abs=0.13) and (off["low"] > 0.1) == bool(told)
    skill = one(table(found["findings"]), subject="generated", statistic="skill")["value"]
    assert (skill > 0.97) == (fault != "another site")  # 0 is the other station's, f0 of which is twice as high
    assert ("Told apart from recordings by" in page) == bool(told)


@pytest.mark.slow
@pytest.mark.parametrize("given", [False, True])
def test_one_law_is_told_apart_in_one_of_twenty(given, monkeypatch):
    """Few records of many features, which the unit or the scaling fits if it is made from one side alone."""
    monkeypatch.setattr(findings, "N_DRAWS", 2)
    columns = [*dict.fromkeys((*measures.COLUMNS, *sum(map(tuple, features.FEATURES.values()), ()), "f0"))]
    rng, apart = np.random.default_rng(0), []
    for _ in range(30):
        sides = []
        for n in (40, 12):
            frame = pd.DataFrame(rng.normal(size=(n, len(columns))), columns=columns)
            known = {"magnitude": rng.uniform(4, 6, n), "distance_in_km": rng.uniform(10, 50, n)}
            sides.append(frame.assign(station="TK.0001", event=[f"{n} {i}" for i in range(n)], **known))
        apart += list(judge.table(judge.compared("generated", *sides, given))["verdict"] == APART)
    assert len(apart) == 120 and 1 <= sum(apart) <= 12  # binomial: 1 to 12 in 99 %


def test_copies_pass_every_distance_and_are_named(recorded, tmp_path, capsys):
    shutil.copytree(recorded, tmp_path / "made")
    _, found, _ = judged(tmp_path / "made", recorded, tmp_path / "out", "--stations", "0001")
    assert set(verdicts(found).values()) == {SAME} and found["run"]["stations"] == ["TK.0001"]
    told = capsys.readouterr().out
    assert f"{N} of {N} generated records are copies" in told
    assert "One station: whether the motion is its own" in told
    assert not len(select(table(found["findings"]), statistic="skill"))


def test_a_released_checkpoint_and_bank_are_judged_in_one_call(recorded, others, tmp_path, capsys):
    """Weights and bank under the authors' names, made here: the real ones are large and elsewhere."""
    model = timesnet.TimesNetGen(replace(SMOKE.timesnet, n_stations=0))
    torch.save({"model_state_dict": model.state_dict()}, tmp_path / "weights.pth")
    arrays = {}
    for station in others.stations:
        z, mean, std = model.encode_records(others.select(station=station))
        code = station.removeprefix("TK.")
        arrays |= {f"latents_{code}": z.numpy(), f"means_{code}": mean.numpy(), f"stdev_{code}": std.numpy()}
    np.savez(tmp_path / "bank.npz", **arrays)
    given = tmp_path / "bank.npz", recorded, tmp_path / "out", "--released", str(tmp_path / "weights.pth")
    code, found, page = judged(*given)
    assert code == 0 and set(verdicts(found)) == set(features.FEATURES) and verdicts(found)["wave"] == APART
    assert found["run"]["records"]["generated"] == 2 * SMOKE.n_generated and "weights.pth" in page
    assert judged(*given, "--profile", "quick")[0] == 2 and "--profile paper" in capsys.readouterr().err


def test_stations_without_recordings_or_with_few_are_left_out_by_name(recorded, others, tmp_path, capsys):
    few = others.take(np.flatnonzero(others.table["station"] == "TK.0003")[:4])
    rest = others.select(station="TK.0001")
    elsewhere = rest.take(np.arange(6)).with_columns(station="TK.9999")
    made = type(others).concatenate([few, rest, elsewhere])
    made.with_columns(magnitude=np.nan).save(tmp_path / "made")
    code, found, _ = judged(tmp_path / "made", recorded, tmp_path / "out")
    told = capsys.readouterr().out
    assert code == 0 and found["run"]["stations"] == ["TK.0001"] and found["run"]["notes"]
    assert "Without recordings of the same name, and left out: TK.9999" in told
    assert f"TK.0003 has 4 generated records and recordings of {N} earthquakes: fewer than 5" in told


def refused(capsys, *arguments):
    """The one sentence that ends the command."""
    assert main([str(each) for each in arguments]) == 2
    told = capsys.readouterr()
    assert not told.out and told.err.count("\n") == 1
    return told.err


def test_what_cannot_be_judged_ends_in_one_sentence(recorded, others, tmp_path, capsys):
    others.take(np.arange(3)).save(tmp_path / "three")
    others.with_columns(station="IT.AAAA").save(tmp_path / "elsewhere")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.sac").write_text("no record")
    rest = ["--records", recorded, "--profile", "smoke", "--out", tmp_path / "out"]
    for folder, words in {
        "three": "too few records: TK.0001 has 3 generated records",
        "elsewhere": r"no station of the generated records (IT.AAAA) has recordings (TK.0001, TK.0003)",
        "empty": "the folder is empty",
        "text": "convert it to MiniSEED",
        "nowhere": "there is no such folder",
    }.items():
        assert words in refused(capsys, tmp_path / folder, *rest)
    assert "given as both" in refused(capsys, recorded, *rest)
    others.save(tmp_path / "made")
    asked = refused(capsys, tmp_path / "made", *rest, "--stations", "0001,0002")
    assert "--stations: 0002 has no recordings, but TK.0001, TK.0003" in asked
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit, match="2"):
        main([str(recorded), "--out", "somewhere"])
    assert "--records" in capsys.readouterr().err
