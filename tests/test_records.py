"""Records: round trip, selection without copying, split by event, window, resampling, a collection on disk."""

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from tsgen.collection import utc
from tsgen.config import WindowSettings
from tsgen.records import Records, assemble, event_groups


def made(n=12, t=400, rate=50.0, stations=2, seed=0, **columns):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "station": [f"TK.{i % stations:04d}" for i in range(n)],
            "event": [f"E{i // stations:03d}" for i in range(n)],
            "kind": "recorded",
            "source": "TK",
            "samples": t,
            "native_sampling_rate_in_hz": 100.0,
            "usable_from_hz": 0.1,
            "usable_to_hz": 20.0,
            "magnitude": rng.uniform(4, 7, n),
            "start_time": [f"2020-01-01T{i // stations:02d}:00:00" for i in range(n)],
            "quality": "",
            "p_arrival_sample": np.where(np.arange(n) % 3 == 0, np.nan, 123.4),
        }
    )
    return Records(rng.standard_normal((n, 3, t)).astype(np.float32), rate, table.assign(**columns))


def test_what_is_saved_is_loaded_as_a_memory_map(tmp_path):
    records = made(note="a,b\nc")
    records.save(tmp_path / "set")
    loaded = Records.load(tmp_path / "set")
    assert isinstance(loaded.waveforms, np.memmap)
    np.testing.assert_array_equal(loaded.waveforms, records.waveforms)
    pd.testing.assert_frame_equal(loaded.table, records.table, check_like=True)
    assert loaded.stations == ["TK.0000", "TK.0001"]  # leading zeros stay
    assert not list((tmp_path / "set").glob(".*"))


def test_a_selection_saved_and_loaded_at_another_rate(tmp_path):
    records = made().select(station="TK.0001")
    records.save(tmp_path)
    assert len(Records.load(tmp_path)) == 6
    slower = Records.load(tmp_path, sampling_rate_in_hz=25.0)
    assert slower.sampling_rate_in_hz == 25 and (slower.table["usable_to_hz"] == 10).all()
    assert np.nanmax(slower.table["p_arrival_sample"]) == pytest.approx(61.7)


def test_selecting_copies_no_waveform():
    records = made(n=200, t=5000)
    tracemalloc.start()
    few = records.select(station="TK.0000").take(np.arange(3))
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert used < 0.1 * records.waveforms.nbytes
    np.testing.assert_array_equal(few.waveforms, records.waveforms[[0, 2, 4]])


def test_unfit_input_is_refused_in_words():
    records = made()
    with pytest.raises(ValueError, match="shape"):
        Records(records.waveforms[:, :2], 50, records.table)
    with pytest.raises(ValueError, match="lacks the columns kind"):
        Records(records.waveforms, 50, records.table.drop(columns="kind"))
    spoiled = records.waveforms.copy()
    spoiled[3, 1, 7] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        Records(spoiled, 50, records.table)
    with pytest.raises(KeyError, match="no column colour"):
        records.select(colour="red")


def test_no_event_is_on_both_sides_and_each_station_has_its_share():
    records = made(n=120, stations=4)
    training, held_out = records.split(0.3, seed=1)
    assert not set(training.table["event"]) & set(held_out.table["event"])
    assert len(training) + len(held_out) == 120
    assert (held_out.table["station"].value_counts() == 9).all()


SPLIT = """
import sys; sys.path.insert(0, "tests")
from test_records import made
print(sorted(set(made(n=120, stations=4).split(0.3, seed=5)[1].table["event"])))
"""


def test_the_split_is_the_same_in_every_process():
    def once(hash_seed):
        env = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        return subprocess.run([sys.executable, "-c", SPLIT], cwd=ROOT, env=env, capture_output=True, text=True).stdout

    here = str(sorted(set(made(n=120, stations=4).split(0.3, seed=5)[1].table["event"])))
    assert once("1").strip() == once("77").strip() == here
    assert here != str(sorted(set(made(n=120, stations=4).split(0.3, seed=6)[1].table["event"])))


def test_two_ids_within_a_minute_are_one_event_and_stay_on_one_side():
    records = made(n=40, stations=2)
    table = records.table.copy()
    twin = table["station"] == "TK.0001"
    table.loc[twin, "event"] = "OTHER" + table.loc[twin, "event"]
    table["origin_time"] = [f"2020-01-01T{i // 2:02d}:00:{30 * (i % 2):02d}Z" for i in range(40)]
    twins = Records(records.waveforms, 50, table)
    assert event_groups(table).nunique() == 20
    _, held_out = twins.split(0.3, seed=0)
    plain = held_out.table["event"].str.replace("OTHER", "")
    assert (plain.value_counts() == 2).all()


def test_a_station_with_too_few_events_is_refused_by_name():
    with pytest.raises(ValueError, match=r"TK\.0001 \(4\)"):
        made(n=8).split()
    assert len(made(n=10).split()[1]) == 4  # two of five events at each of two stations


def test_the_window_starts_before_p_and_says_what_it_keeps():
    rate, n = 50.0, 6000
    wave = np.zeros((2, 3, n), np.float32)
    rng = np.random.default_rng(0)
    wave[:, :, 3000:4000] = rng.standard_normal((2, 3, 1000))
    table = made(n=2).table.assign(samples=n, p_arrival_sample=[3000.0, np.nan])
    cut = Records(wave, rate, table).window(800, WindowSettings())
    assert cut.table["p_arrival_sample"][0] == 250  # 5 s
    assert cut.table["start_time"][0] == "2020-01-01T00:00:55"
    before = np.abs(cut.waveforms[0, :, 30:245]).max()
    assert before < 0.05 and np.abs(cut.waveforms[0, :, 250:700]).max() > 1
    # 550 of the 1000 shaking samples lie in the window; the other record starts 5 % of its energy later
    assert cut.table["energy_in_window"][0] == pytest.approx(0.55, abs=0.05)
    assert cut.table["energy_in_window"][1] == pytest.approx(0.60, abs=0.05)


def test_a_short_record_is_padded_and_its_length_kept():
    records = made(n=4, t=300, p_arrival_sample=10.0)
    cut = records.window(1000)
    assert cut.waveforms.shape == (4, 3, 1000) and (cut.table["samples"] == 300).all()
    assert not cut.waveforms[:, :, 300:].any()
    assert cut.table["energy_in_window"].to_numpy() == pytest.approx(1)


def test_resampling_keeps_what_fits_and_removes_what_would_fold():
    rate, n = 200.0, 8000
    time = np.arange(n) / rate
    wave = np.stack([np.sin(2 * np.pi * f * time) for f in (3.0, 40.0, 3.0)])[None].astype(np.float32)
    slow = Records(wave, rate, made(n=1).table.assign(samples=n, usable_to_hz=80.0)).resample(50.0)
    expected = np.sin(2 * np.pi * 3 * np.arange(slow.n_samples) / 50)
    np.testing.assert_allclose(slow.waveforms[0, 0, 50:-50], expected[50:-50], atol=0.01)
    assert np.abs(slow.waveforms[0, 1, 50:-50]).max() < 0.01  # 40 Hz would have folded to 10 Hz
    assert slow.table["usable_to_hz"][0] == 20


def test_unequal_rates_need_a_rate():
    traces = [np.zeros((3, 100)), np.zeros((3, 200))]
    with pytest.raises(ValueError, match="sampling_rate_in_hz"):
        assemble(traces, [50.0, 100.0], made(n=2).table)
    both = assemble(traces, [50.0, 100.0], made(n=2).table, 50.0)
    assert both.waveforms.shape == (2, 3, 100)


def test_obspy_traces_and_miniseed(tmp_path):
    import obspy

    records = made(n=2, samples=[400, 250])
    stream = records.to_stream()
    assert [trace.id for trace in stream[:3]] == ["TK.0000..HNE", "TK.0000..HNN", "TK.0000..HNZ"]
    assert stream[3].stats.npts == 250
    records.save_miniseed(tmp_path)
    beside = pd.read_csv(tmp_path / "records.csv")
    back = obspy.read(tmp_path / beside["file"][0])
    np.testing.assert_array_equal(back.select(channel="HNZ")[0].data, records.waveforms[0, 2])


def test_times_in_japanese_local_time_become_utc(tmp_path):
    assert utc("2016 04 14 21 26 20", "%Y %m %d %H %M %S", hours=9) == "2016-04-14T12:26:20Z"
    assert utc("2016-04-14T23:26:20+02:00") == "2016-04-14T21:26:20Z" and utc("yesterday") == utc("0016-04-14") == ""
    written = ["2016 04 14 21 26 20 JST", "2016-04-14T21:26:20Z", "yesterday"]
    made(n=3, origin_time=written).save(tmp_path)
    assert Records.load(tmp_path).table["origin_time"].tolist() == ["2016-04-14T12:26:20Z", written[1], ""]


LARGE = """
import resource, sys, numpy as np, pandas as pd
sys.path.insert(0, "tests")
from tsgen.records import Records
from test_records import made
held = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (held + 500_000_000, held + 500_000_000))
one = made(n=1, t=6000)
n = 12000  # 864 MB
table = pd.concat([one.table] * n, ignore_index=True).assign(event=[f"E{i}" for i in range(n)])
stored = np.memmap(sys.argv[1] + "/raw", np.float32, "w+", shape=(n, 3, 6000))
records = Records(stored, 50.0, table)
records.save(sys.argv[1] + "/set")
loaded = Records.load(sys.argv[1] + "/set")
some = loaded.select(event=[f"E{i}" for i in range(0, n, 2)])
print(sum(len(batch.waveforms) for batch in some.batches(100)))
try:
    np.array(loaded.waveforms)
except MemoryError:
    print("whole it does not fit")
"""


def test_a_collection_on_disk_is_never_held_whole(tmp_path):
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    # mapped pages count as resident until the kernel wants them back: a limit on the heap is what proves it, above what
    # the imports hold, which PyTorch's CUDA build makes hundreds of megabytes
    call = [sys.executable, "-c", LARGE, str(tmp_path)]
    done = subprocess.run(call, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["6000", "whole it does not fit"]
