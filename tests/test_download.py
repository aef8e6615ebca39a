"""Downloads from a server on this machine (``download_server``): what is fetched, resumed, refused, and then read."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import download_server
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from download_server import WORDS, fetch

from tsgen import formats
from tsgen.config import DownloadSettings
from tsgen.download import __main__ as command
from tsgen.download import plan
from tsgen.download.polite import Web
from tsgen.formats import catalogue
from tsgen.records import epicentral_distance_in_km
from tsgen.study import Study

NETWORKS = {"esm": "TK", "fdsn": "TK", "openeew": "OEEWMX"}
FETCHING = {"esm": "/esmws/eventdata/1/query", "fdsn": "/fdsnws/dataselect/1/query", "openeew": "/records/"}


@pytest.fixture(scope="module")
def holdings():
    return download_server.Holdings()


@pytest.fixture
def server(holdings):
    with download_server.serving(holdings) as one:
        yield one


def asked(server, part):
    return [parameters for path, parameters in server.requests if part in path]


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read(folder, source):
    return formats.read_folder(folder, 31.25 if source == "openeew" else download_server.RATE_IN_HZ)


@pytest.fixture(scope="module", params=WORDS)
def downloaded(request, holdings, tmp_path_factory):
    """(source, folder with 2 stations × 6 events as the command leaves it)."""
    folder = tmp_path_factory.mktemp("downloads") / request.param
    with download_server.serving(holdings) as one:
        assert fetch(one, request.param, folder) == 0
    return request.param, folder


def test_obspy_s_own_client_understands_the_server(server):
    """The server follows the specification, not our client: another client gets the same from it."""
    from obspy import UTCDateTime
    from obspy.clients.fdsn import Client

    client, (first, *_) = Client(server.url), server.holdings.rows
    when = UTCDateTime(first["origin_time"])
    events = client.get_events(starttime=when - 1, endtime=when + 1, minmagnitude=3)
    assert [event.preferred_origin() or event.origins[0].time for event in events] == [when]
    stations = client.get_stations(network="TK", station="0205", channel="HN?", level="response")
    assert len(stations[0][0].channels) == 3
    stream = client.get_waveforms("TK", "0205", "00", "HN?", when - 60, when + 120)
    assert len(stream) == 3 and stream[0].stats.endtime - stream[0].stats.starttime > 170


# ---------------------------------------------------------------- what is fetched, and what is read of it


def test_what_is_fetched_reads_as_the_planted_motion(downloaded, holdings):
    source, folder = downloaded
    records, report = read(folder, source)
    names = holdings.devices if source == "openeew" else holdings.codes
    assert len(records) == 12 and len(report) == len(files_of(folder)) and "refused" not in set(report["outcome"])
    assert (records.table["quality"] == "").all()
    table = records.table.assign(at=pd.to_datetime(records.table["origin_time"], format="ISO8601", utc=True))
    for row, wave in zip(holdings.rows, holdings.records.waveforms, strict=True):
        at_station = table["station"] == f"{NETWORKS[source]}.{names[row['station']]}"
        (i,) = table.index[at_station & (table["at"] == pd.Timestamp(row["origin_time"]))]
        if source == "openeew":
            wave = download_server.resample_poly(wave, 5, 8, axis=1)
        np.testing.assert_allclose(np.abs(records.waveforms[i]).max(axis=1), np.abs(wave).max(axis=1), rtol=0.02)
        ours = table.loc[i]
        assert ours["magnitude"] == row["magnitude"] and ours["depth_in_km"] == pytest.approx(row["depth_in_km"])
        for name in ("event_latitude", "event_longitude", "station_latitude", "station_longitude"):
            assert ours[name] == pytest.approx(row[name], abs=1e-4)
        # the simulated table's distance is hypocentral
        distance = np.sqrt(row["distance_in_km"] ** 2 - row["depth_in_km"] ** 2)
        assert ours["distance_in_km"] == pytest.approx(distance, rel=0.01, abs=0.1)
        assert source == "esm" or ours["event"] == row["event"]
        assert np.isnan(ours["p_arrival_sample"])  # a computed P is no observed one


@pytest.mark.parametrize("downloaded", ["fdsn", "openeew"], indirect=True)  # ESM cuts its records itself
def test_windows_begin_a_minute_before_p_and_hold_the_coda(downloaded):
    source, folder = downloaded
    table = read(folder, source)[0].table
    for row in table.to_dict("records"):
        depth, start = row["depth_in_km"], pd.Timestamp(row["start_time"])
        since_origin_in_s = (start - pd.Timestamp(row["origin_time"])).total_seconds()
        before_p_in_s = catalogue.first_p_in_s(row["distance_in_km"], depth) - since_origin_in_s
        assert 58 < before_p_in_s < 70
        assert row["samples"] / (31.25 if source == "openeew" else 50) > before_p_in_s + 115


def test_table_terms_and_originals_are_beside_the_records(downloaded, server):
    source, folder = downloaded
    table = pd.read_csv(folder / "records.csv", dtype=str)
    assert list(table) == plan.COLUMNS and len(table) == 12 and not table.isna().any().any()
    assert (table["file"].str.split("/").str[0] == table["station"]).all()
    fetched = pd.to_datetime(table["fetched"])
    assert (abs(fetched - pd.Timestamp.now("UTC")) < pd.Timedelta("1h")).all()
    terms = (folder / "LICENSE.txt").read_text()
    module = command.SOURCES[source]
    assert module.LICENCE in terms and table["source"].str.startswith(module.NAME).all()
    assert not [name for name in files_of(folder) if "/." in f"/{name}"]  # no temporary file is left
    if source == "esm":
        first = table.iloc[0]
        content = server.holdings.eventdata(
            {"eventid": first["event"], "station": first["station"][3:], "processing-type": "MP"}
        )
        with zipfile.ZipFile(download_server.io.BytesIO(content)) as archive:
            for name in archive.namelist():
                assert (folder / first["station"] / name).read_bytes() == archive.read(name)
        assert set(table["licence"]) == {"D (network default license)"}


@pytest.mark.parametrize("downloaded", ["fdsn"], indirect=True)
def test_the_accelerometer_goes_before_the_seismometer(downloaded, server, tmp_path):
    source, folder = downloaded
    names = [name for name in files_of(folder) if name.endswith(".mseed")]
    assert all((".HN." in name) == name.startswith("TK.0205") for name in names)
    processing = read(folder, source)[0].table.groupby("station")["processing"].first()
    assert "then differentiated" in processing["TK.1716"] and "differentiated" not in processing["TK.0205"]
    # seismometers only if asked for
    assert fetch(server, "fdsn", tmp_path / "out", words=["--network", "TK"]) == 0
    assert {row["station"] for row in asked(server, "dataselect")} == {"0205"}


# ---------------------------------------------------------------- resuming


@pytest.mark.parametrize("source", WORDS)
def test_a_second_call_fetches_nothing_and_a_lost_file_alone(source, server, tmp_path):
    assert fetch(server, source, tmp_path) == 0
    before = files_of(tmp_path)
    server.requests.clear()
    assert fetch(server, source, tmp_path) == 0
    assert not asked(server, FETCHING[source]) and files_of(tmp_path) == before
    lost = tmp_path / pd.read_csv(tmp_path / "records.csv")["file"][3]
    lost.unlink()
    assert fetch(server, source, tmp_path) == 0
    assert len(asked(server, FETCHING[source])) in ((1,) if source != "openeew" else (1, 2))
    assert lost.read_bytes() == before[lost.relative_to(tmp_path).as_posix()]
    assert len(pd.read_csv(tmp_path / "records.csv")) == 12


@pytest.mark.parametrize("source", WORDS)
def test_interrupted_it_says_so_and_goes_on(source, server, tmp_path, capsys):
    class Interrupted(Web):
        n = 0

        def _once(self, url):
            self.n += FETCHING[source] in url
            if self.n == 5:
                raise KeyboardInterrupt
            return super()._once(url)

    assert fetch(server, source, tmp_path, web=Interrupted(wait=lambda seconds: None)) == 130
    assert "same command goes on" in capsys.readouterr().err
    done = pd.read_csv(tmp_path / "records.csv", dtype=str)
    assert 2 <= len(done) < 12 and all((tmp_path / name).exists() for name in done["file"])
    server.requests.clear()
    assert fetch(server, source, tmp_path) == 0
    again = pd.read_csv(tmp_path / "records.csv", dtype=str)
    assert len(again) == 12 and not again.duplicated(["station", "event"]).any()
    pd.testing.assert_frame_equal(again.iloc[: len(done)], done)  # those were not fetched again
    if source == "esm":
        assert len(asked(server, FETCHING[source])) == 12 - len(done)
    assert len(read(tmp_path, source)[0]) == 12


def test_killed_it_leaves_whole_files_and_goes_on(server, tmp_path):
    server.faults.append({"in": "eventdata", "times": 99, "wait": 0.1})
    words = [sys.executable, "-m", "tsgen.download", "esm", "--server", server.url, "--out", str(tmp_path / "out")]
    child = subprocess.Popen([*words, *WORDS["esm"]], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    table = tmp_path / "out" / "records.csv"
    deadline = time.monotonic() + 20
    while not table.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    done = len(pd.read_csv(table))
    assert 1 <= done < 12
    server.requests.clear()
    assert fetch(server, "esm", tmp_path / "out") == 0
    assert len(asked(server, "eventdata")) == 12 - done
    whole = [name for name in files_of(tmp_path / "out") if name.lower().endswith(".asc")]
    assert len(whole) == 36 and len(read(tmp_path / "out", "esm")[0]) == 12


def test_what_the_server_has_not_is_asked_for_once(server, tmp_path):
    assert fetch(server, "fdsn", tmp_path) == 0
    assert len(asked(server, "dataselect")) == 24  # each station has half of the events
    assert len((tmp_path / plan.NOTHING).read_text().split()) == 12
    (tmp_path / plan.NOTHING).unlink()
    server.requests.clear()
    assert fetch(server, "fdsn", tmp_path) == 0 and len(asked(server, "dataselect")) == 12


def test_where_nothing_is_there_no_study_is_proposed(server, tmp_path, capsys):
    server.faults.append({"in": "dataselect", "times": 99, "status": 404})
    assert fetch(server, "fdsn", tmp_path) == 1
    told = capsys.readouterr()
    assert "nothing is there" in told.err and "run_all" not in told.out


# ---------------------------------------------------------------- wrong answers

RETRIED = {
    "429 with Retry-After": {"status": 429, "head": {"Retry-After": "77"}},
    "500": {"status": 500},
    "503": {"status": 503},
    "HTML": {"content": b"<html><body>Maintenance</body></html>"},
    "broken off": {"cut": True},
    "half, and said to be whole": {"cut": True, "honest": True},
    "stalled": {"wait": 1.0},
    "empty": {"content": b""},
}


@pytest.mark.parametrize("fault", RETRIED)
@pytest.mark.parametrize("source", WORDS)
def test_what_may_pass_is_asked_for_again(source, fault, server, tmp_path, capsys):
    waits, settings = [], DownloadSettings(timeout_in_s=0.4)
    web = Web(settings, wait=waits.append)
    server.faults.append({"in": FETCHING[source], "times": 1} | RETRIED[fault])
    times = sorted(row["origin_time"] for row in server.holdings.rows)
    second = next(time for time in times if time[:10] > times[0][:10])[:10]
    assert fetch(server, source, tmp_path, "--to", f"{second}T23:59:59", web=web) == 0
    assert "once more in" in capsys.readouterr().err
    n_records = len(pd.read_csv(tmp_path / "records.csv"))
    assert 2 <= n_records == sum(time[:10] <= second for time in times) == len(read(tmp_path, source)[0])
    assert max(waits) == (77 if "Retry-After" in fault else settings.waits_in_s[0])


def test_waits_grow_and_end_in_a_sentence(server, tmp_path, capsys):
    waits, settings = [], DownloadSettings()
    server.faults.append({"in": "eventdata", "times": 99, "status": 503})
    assert fetch(server, "esm", tmp_path, web=Web(settings, wait=waits.append)) == 1
    longer = [wait for wait in waits if wait > settings.pause_in_s]
    assert longer == list(settings.waits_in_s) * settings.failures_in_a_row
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert "3 records in a row failed" in told and "HTTP 503" in told and "same command goes on" in told
    assert not (tmp_path / "records.csv").exists() and not list(tmp_path.rglob("*.ASC"))


def test_one_record_that_fails_costs_no_other(server, tmp_path, capsys):
    server.faults.append({"in": "eventid=QUAKE.E0009", "times": 99, "content": b"PK\x03\x04 half of a zip"})
    assert fetch(server, "esm", tmp_path) == 1
    told = capsys.readouterr()
    assert "not fetched: TK.0205 QUAKE.E0009" in told.err and "zip" in told.err and "11 records" in told.out
    server.faults.clear()
    assert fetch(server, "esm", tmp_path) == 0 and len(read(tmp_path, "esm")[0]) == 12


def test_an_incomplete_record_is_kept_and_refused_when_it_is_read(server, tmp_path):
    packed = download_server.io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("TK.0205..HNE.D.QUAKE.E0009.ACC.MP.ASC", "NETWORK: TK\n1.0\n")
    server.faults.append({"in": "eventid=QUAKE.E0009", "times": 1, "content": packed.getvalue()})
    assert fetch(server, "esm", tmp_path) == 0
    table = pd.read_csv(tmp_path / "records.csv", dtype=str).set_index("event")
    assert len(table) == 12 and pd.isna(table.loc["QUAKE.E0009", "magnitude"])
    records, report = read(tmp_path, "esm")
    assert len(records) == 11 and report.set_index("file")["outcome"][table.loc["QUAKE.E0009", "file"]] == "refused"


def test_a_server_that_names_files_elsewhere_is_not_followed(server, tmp_path, capsys):
    row = {"event_id": "a", "net_name": "../..", "station_code": "x", "location_code": "", "instr_code": "HN"}
    rows = [row | {"processing_type": "MP"}]
    packed = download_server.io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.ASC", "")
    server.faults.append({"in": "dataset-selection", "times": 2, "content": json.dumps(rows).encode()})
    server.faults.append({"in": "eventdata", "times": 1, "content": packed.getvalue()})
    assert fetch(server, "esm", tmp_path / "here" / "out") == 1 and "outside" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.ASC"))


def test_requests_are_named_and_apart(server, tmp_path):
    clock, waits = [1000.0], []

    def wait(seconds):
        clock[0] += seconds
        waits.append(seconds)

    assert fetch(server, "esm", tmp_path, web=Web(wait=wait, now=lambda: clock[0])) == 0
    assert [round(seconds, 6) for seconds in waits[1:]] == [0.5] * (len(server.requests) - 1)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"status": 400}, "refuses (HTTP 400"),
        ({"status": 403}, "refuses (HTTP 403"),
        ({"status": 404}, "has no record"),
        ({"status": 429, "head": {"Retry-After": "7200"}}, "come back in 120 minutes"),
        ({"content": b"<html>moved</html>"}, "no JSON but"),
        ({"content": b'[{"event": 1}]'}, "list of records has changed: it lacks event_id"),
        ({"content": b"[1]"}, "list of records has changed: it lacks event_id"),
    ],
)
def test_a_plan_that_cannot_be_had_ends_in_one_sentence(fault, told, server, tmp_path, capsys):
    server.faults.append({"in": "dataset-selection", "times": 99} | fault)
    assert fetch(server, "esm", tmp_path / "out") == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if "once more in" not in line]
    assert len(lines) == 1 and told in lines[0] and not (tmp_path / "out").exists()


def test_devices_of_another_form_end_in_one_sentence(server, tmp_path, capsys):
    server.faults.append({"in": "devices.jsonl", "times": 1, "content": b'{"device_id": "001"}'})
    assert fetch(server, "openeew", tmp_path) == 1
    assert "lacks country_code" in capsys.readouterr().err


def test_no_server_and_other_wrong_words(tmp_path, server, capsys):
    server.server_close()
    assert fetch(server, "fdsn", tmp_path) == 1
    assert "does not answer after 5 attempts" in capsys.readouterr().err
    out = ["--out", str(tmp_path)]
    assert command.main(["fdsn", "--network", "CI", *out]) == 1 and "--server" in capsys.readouterr().err
    assert command.main(["fdsn", "--network", "CI", "--server", "NOWHERE", *out]) == 1
    assert "EARTHSCOPE" in capsys.readouterr().err
    for words in (["esm", *out], ["esm", "--network", "TK", "--from", "yesterday", *out], ["fdsn", "--network", "X"]):
        with pytest.raises(SystemExit):
            command.main(words)
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", WORDS)
def test_more_than_was_allowed_is_refused_before_it_is_fetched(source, server, tmp_path, capsys):
    assert fetch(server, source, tmp_path, "--most", "11") == 1
    assert "--most" in capsys.readouterr().err
    assert not asked(server, FETCHING[source]) and not files_of(tmp_path)


def test_a_table_of_another_s_is_not_touched(server, tmp_path, capsys):
    (tmp_path / "records.csv").write_text("a,b\n1,2\n")
    assert fetch(server, "esm", tmp_path) == 1 and "another --out" in capsys.readouterr().err
    assert files_of(tmp_path) == {"records.csv": b"a,b\n1,2\n"}


def test_help_and_what_is_said_at_the_end(server, tmp_path, capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    said = capsys.readouterr().out
    assert all(word in said for word in (*WORDS, "--min-magnitude", "--max-distance-km", "--most", "goes on where"))
    assert fetch(server, "esm", tmp_path / "my records") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "12 records, 12 to fetch:" and said[1].split() == "TK.0205 6 records, 6 to fetch".split()
    assert said[-1].endswith(f"./run_all.sh quick --records '{tmp_path}/my records' --stations TK.0205,TK.1716")


# ---------------------------------------------------------------- a catalogue beside MiniSEED


@pytest.fixture
def miniseed(holdings, tmp_path):
    """A folder of MiniSEED with StationXML and QuakeML, without the table."""
    with download_server.serving(holdings) as one:
        assert fetch(one, "fdsn", tmp_path) == 0
    (tmp_path / "records.csv").unlink()
    return tmp_path


def test_quakeml_alone_tells_the_earthquake_by_the_time_of_its_p(miniseed, holdings):
    records, report = read(miniseed, "fdsn")
    names = {f"TK.{code}": name for name, code in holdings.codes.items()}
    wanted = {(row["station"], row["event"]): row for row in holdings.rows}
    for ours in records.table.to_dict("records"):
        row = wanted[names[ours["station"]], ours["event"]]
        assert ours["magnitude"] == row["magnitude"] and not ours["event_inferred"]
        distance = float(epicentral_distance_in_km(row))
        assert ours["distance_in_km"] == pytest.approx(distance, rel=0.01)
    assert report.set_index("file")["outcome"][next(miniseed.glob("events_*.xml")).name] == "companion"


def test_two_earthquakes_or_none_leave_it_unknown_and_the_report_says_so(miniseed):
    from obspy import read_events

    path = next(miniseed.glob("events_*.xml"))
    whole = path.read_bytes()
    twin = whole.replace(b"QUAKE.E", b"TWIN.E")
    (miniseed / "twin.xml").write_bytes(twin)
    records, report = read(miniseed, "fdsn")
    reasons = report.loc[report["outcome"] == "read", "reason"]
    assert records.table["event_inferred"].all() and records.table["magnitude"].isna().all()
    assert reasons.str.contains("several earthquakes have their P in it: QUAKE.E").all()
    assert (records.table["quality"] == "").all()  # it is no fault of the record
    (miniseed / "twin.xml").unlink()
    for event in (events := read_events(path)):
        event.origins[0].time -= 600  # ten minutes: its P has passed, and it is not too long ago for a far one
    events.write(str(path), format="QUAKEML")
    records, report = read(miniseed, "fdsn")
    assert records.table["event_inferred"].all()
    assert report.loc[report["outcome"] == "read", "reason"].str.contains("no earthquake has its P in it").all()
    path.write_bytes(whole[: len(whole) // 2])
    records, report = read(miniseed, "fdsn")
    assert report.set_index("file").loc[path.name, "outcome"] == "refused" and len(records) == 12


def test_a_p_pick_of_the_station_is_kept_and_none_else(miniseed):
    from obspy import UTCDateTime, read_events
    from obspy.core.event import Arrival, Pick, WaveformStreamID

    before = read(miniseed, "fdsn")[0].table
    path, ours = next(miniseed.glob("events_*.xml")), before.iloc[0]
    events = read_events(path)
    event = next(event for event in events if str(event.resource_id).endswith(ours["event"]))
    start = UTCDateTime(ours["start_time"])
    for code, phase, at in (("0205", "P", 61.0), ("0205", "S", 63.0), ("9999", "P", 62.0)):
        event.picks.append(Pick(time=start + at, waveform_id=WaveformStreamID("TK", code, "00", "HNZ")))
        event.origins[0].arrivals.append(Arrival(pick_id=event.picks[-1].resource_id, phase=phase))
    events.write(str(path), format="QUAKEML")
    picks = read(miniseed, "fdsn")[0].table["p_arrival_sample"]
    assert picks[0] == pytest.approx(61.0 * download_server.RATE_IN_HZ, abs=0.01) and picks[1:].isna().all()


def test_a_catalogue_serves_what_lies_below_it_and_not_beside(miniseed):
    other = miniseed / "elsewhere"
    other.mkdir()
    shutil.move(next(miniseed.glob("events_*.xml")), other / "events.xml")
    records, _ = read(miniseed, "fdsn")
    assert records.table["event_inferred"].all()


def test_what_a_header_says_stands(holdings, tmp_path):
    with download_server.serving(holdings) as one:
        assert fetch(one, "esm", tmp_path) == 0
    table = pd.read_csv(tmp_path / "records.csv", dtype=str).assign(magnitude="9.0", event="other")
    table.to_csv(tmp_path / "records.csv", index=False)
    records, _ = read(tmp_path, "esm")
    assert records.table["magnitude"].max() < 7 and records.table["event"].str.startswith("afad_").all()


def test_names_of_events_are_short():
    usgs = "quakeml:earthquake.usgs.gov/fdsnws/event/1/query?eventid=us7000abcd&format=quakeml"
    assert catalogue.short_id(usgs) == "us7000abcd"
    assert catalogue.short_id("smi:webservices.ingv.it/fdsnws/event/1/query?eventId=863301") == "863301"
    assert catalogue.short_id("smi:scs/0.7/2011p123456") == "2011p123456"
    assert catalogue.short_id("smi:ISC/evid=600516598") == "600516598"


def test_first_p_of_a_shallow_earthquake_is_its_hypocentral_time():
    """In iasp91 the upper crust has 5.8 km/s."""
    assert catalogue.first_p_in_s(30.0, 10.0) == pytest.approx(np.hypot(30, 10) / 5.8, rel=0.01)


def test_the_study_takes_the_folder(downloaded_folder, tmp_path):
    study = Study("smoke", downloaded_folder, "TK.0205,TK.1716", folder=tmp_path)
    assert len(study.targets) == 10 and len(study.held_out) == 4
    assert set(study.records.table["window_from"]) == {"P picked"}  # in the minute before P there is only noise
    assert (study.records.table["energy_in_window"] > 0.5).all()
