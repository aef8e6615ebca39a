"""Readers: every sample file against its own header, the collection against its tables, and hostile files."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
from conftest import shared

from tsgen import formats, hvsr, intensity
from tsgen.config import QualitySettings, WindowSettings
from tsgen.formats import discovery, mat5, peer, quality, reading, recording
from tsgen.formats.recording import UNITS_IN_CM_S2, Damaged, in_order, scale_of
from tsgen.records import REQUIRED_COLUMNS, Records

HERE = Path(__file__).parent


def samples():
    return shared("records/formats")


def copied(folder, tmp_path, only=""):
    """Files of a sample folder whose names hold ``only``, copied so that a test may damage them."""
    for path in (samples() / folder).iterdir():
        if only in path.name:
            shutil.copyfile(path, tmp_path / path.name)
    return sorted(tmp_path.iterdir())


def refusal(path, **options):
    with pytest.raises(formats.UnreadableRecord) as caught:
        formats.read(path, **options)
    assert caught.value.path == str(path) and str(path) in str(caught.value)
    assert caught.value.reason and caught.value.remedy
    return str(caught.value)


# ---------------------------------------------------------------- the sample files


@pytest.fixture(scope="module")
def manifest():
    return pd.read_csv(samples() / "MANIFEST.csv")


@pytest.fixture(scope="module")
def mixed():
    """read_folder of all sample files at once."""
    return formats.read_folder(samples(), sampling_rate_in_hz=50.0, duration_in_s=40.96)


def test_every_file_gives_what_the_manifest_expects(manifest):
    for row in manifest.itertuples():
        path = samples() / row.folder / row.file
        if row.expected == "read":
            assert len(formats.read(path)) == 1, path
        elif row.expected.startswith("read when unit"):
            assert "StationXML" in refusal(path)
            assert len(formats.read(path, unit="cm/s^2")) == 1
        elif "two components only" in row.expected:  # since read, as two horizontals
            assert formats.read(path).table["components"].tolist() == ["EN"]
        elif "unsupported" in row.expected:
            told = refusal(path)
            assert f"unsupported format {path.suffix.lower()}" in told and "supported are" in told
            assert all(form.name in told for form in discovery.FORMATS)
        else:
            assert row.expected.startswith("companion")


def test_report_of_a_mixed_folder_follows_the_manifest(manifest, mixed):
    records, report = mixed
    assert list(report.columns) == ["file", "outcome", "reason"] and not report["file"].duplicated().any()
    outcome = report.set_index("file")["outcome"]
    words = manifest["expected"].str.extract(r"^(\w+)")[0].where(~manifest["expected"].str.contains("unit="), "refused")
    words = words.where(~manifest["expected"].str.contains("two components only"), "read")
    assert outcome[manifest["folder"] + "/" + manifest["file"]].tolist() == words.tolist()
    assert outcome["MANIFEST.csv"] == "left out" and len(outcome) == len(manifest) + 1
    assert (report.loc[report["outcome"] == "refused", "reason"].str.len() > 20).all()
    assert len(records) == 12 and records.waveforms.shape == (12, 3, 2048)
    assert np.isfinite(records.waveforms).all()


def header_pga(path):
    """PGA that the file's own header states, for E, N, Z (or the one component), read independently; else None."""
    if path.suffix == ".mat":
        north, east, up = scipy.io.loadmat(path)["EQ"]["anEQ"][0, 0]["pga"][0, 0].ravel()
        return {"E": east, "N": north, "Z": up}
    if path.suffix in (".mseed", ".MSEED", ".xml", ".jsonl", ".AT2", ".VT2"):
        return None
    lines = path.read_text(encoding="latin-1").splitlines()[:64]
    value = {key.strip(): rest for key, _, rest in (line.partition(":") for line in lines)}
    if "PGA_CM/S^2" in value:
        return {value["STREAM"].strip()[-1]: float(value["PGA_CM/S^2"])}
    if path.suffix == ".txt":
        words = value["RAW PGA VALUES (gal)"].split()
        return {"N": float(words[1]), "E": float(words[3]), "Z": float(words[5])}
    peak = next(line for line in lines if line.startswith("Max. Acc."))
    return {{"E": "E", "N": "N", "U": "Z"}[path.suffix[1]]: float(peak.split()[-1])}


def test_peaks_are_those_of_the_headers(manifest):
    checked = 0
    for row in manifest[manifest["expected"] == "read"].itertuples():
        path = samples() / row.folder / row.file
        for component, pga in (header_pga(path) or {}).items():
            found = np.abs(formats.read(path).waveforms[0]["ENZ".index(component)]).max()
            assert found == pytest.approx(pga, rel=0.01), (path.name, component)
            checked += 1
    assert checked == 6 + 6 + 2 * 3 + 3  # K-NET and KiK-net, both DYNA, two .mat, the old text


def expected_rows():
    """What the headers say, read by eye: (folder, part of the file name, station, rate, samples, table columns)."""
    knet = dict(event="nied_1801241951", origin_time="2018-01-24T10:51:00Z", magnitude=6.2, depth_in_km=30.0)
    kiknet = dict(event="nied_0010061330", start_time="2000-10-06T04:31:09.000000Z", station_latitude=34.9319)
    asc = dict(event="afad_20230206011732", start_time="2023-02-06T01:17:36.776285Z", vs30_in_m_per_s=350.0)
    asc |= dict(distance_in_km=143.54, usable_from_hz=0.025, magnitude=7.7, event_longitude=37.043)
    esm = dict(event="EMSC-20190728_0000106", origin_time="2019-07-28T16:09:08Z", magnitude=4.6, usable_from_hz=0.1)
    txt = dict(event="afad_20170720223109", start_time="2017-07-20T22:30:59Z", magnitude=6.5, depth_in_km=19.44)
    mat = dict(event="afad_20160203212508", origin_time="2016-02-03T21:25:08Z", depth_in_km=6.98, magnitude=3.5)
    mat |= dict(start_time="", vs30_in_m_per_s=671.0, p_arrival_sample=721.434, s_arrival_sample=1174.157)
    at2 = dict(event="peer_20111020_ComalTX11-10-20", usable_to_hz=8.0)
    openeew = dict(event="inferred_202001292314", event_inferred=True)
    miniseed = dict(event="inferred_201907060319", event_inferred=True, station_latitude=35.81574)
    return [
        ("knet_ascii", ".UD", "BO.AOM001", 100.0, 10200, knet),
        ("kiknet_ascii", ".NS2", "BO.AICH04", 200.0, 28600, kiknet),
        ("afad_asc", "_U.asc", "TK.3126", 100.0, 12500, asc),
        ("esm_asc", "HNN", "HI.ARS1", 200.0, 19128, esm),
        ("afad_txt_old", ".txt", "TK.4806", 100.0, 9166, txt),
        ("afad_mat", "4614", "TK.4614", 100.0, 6206, mat),
        ("peer_at2", "BH2", "IU.CCM", 20.0, 15306, at2),
        ("peer_vt2", "HHZ", "CI.CWC", 80.0, 12927, dict(event="peer_20030222_Big_Bear_City")),
        ("miniseed_stationxml", "HNE", "CI.CLC", 100.0, 39001, miniseed),
        ("openeew_jsonl", "jsonl", "OEEWMX.014", 31.1819, 9344, openeew),
    ]


@pytest.mark.parametrize("case", expected_rows(), ids=lambda case: case[0])
def test_headers_end_up_in_the_table(case):
    folder, part, station, rate, n, columns = case
    path = next(path for path in (samples() / folder).iterdir() if part in path.name)
    records = formats.read(path)
    row = records.table.iloc[0]
    assert set(REQUIRED_COLUMNS) | {"quality", "processing", "file", "event_inferred"} <= set(records.table.columns)
    assert row["station"] == station and row["source"] == station.split(".")[0] and row["kind"] == "recorded"
    assert records.sampling_rate_in_hz == pytest.approx(rate, rel=1e-5)
    assert row["samples"] == n == records.n_samples
    assert row["usable_to_hz"] == pytest.approx(0.4 * rate, rel=1e-5)
    for name, value in columns.items():
        assert row[name] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value), name
    assert "mean removed" in row["processing"] and abs(records.waveforms.mean(axis=2)).max() < 1e-3
    assert row["event_inferred"] == row["event"].startswith("inferred")


def test_distance_comes_from_coordinates_where_the_header_has_none():
    from obspy.geodetics import gps2dist_azimuth

    row = formats.read(samples() / "knet_ascii" / "AOM0011801241951.EW").table.iloc[0]
    metres, _, _ = gps2dist_azimuth(41.0, 142.5, 41.5267, 140.9244)
    assert row["distance_in_km"] == pytest.approx(metres / 1000, rel=0.005)


def test_knet_is_counts_times_scale_factor():
    path = samples() / "knet_ascii" / "AOM0011801241951.NS"
    counts = np.array(path.read_text().split("Memo.")[1].split(), float)
    wave = formats.read(path).waveforms[0, 1]
    np.testing.assert_allclose(wave, (counts - counts.mean()) * 3920 / 6182761, atol=1e-5)


def test_openeew_agrees_with_the_collection_made_from_the_same_file():
    """The collection was converted by others; its record is cut from this file, so peaks and rate must agree."""
    metadata = pd.read_csv(shared("records/metadata.csv")).set_index("trace_name")
    theirs = metadata.loc["OEEWMX.014.ssnmx_47557"]
    records = formats.read(next((samples() / "openeew_jsonl").iterdir()))
    peaks = np.abs(records.waveforms[0]).max(axis=1)
    expected = [float(theirs[f"trace_pga_{component}_cmps2"]) for component in "enz"]
    np.testing.assert_allclose(peaks, expected, rtol=1e-3)
    assert records.sampling_rate_in_hz == pytest.approx(float(theirs["trace_sampling_rate_hz"]), rel=1e-4)


def test_miniseed_is_corrected_for_the_response():
    """Inside the flat band the correction is the sensitivity; the phase of the digitiser's filter is corrected too."""
    from obspy import read, read_inventory

    folder = samples() / "miniseed_stationxml"
    ours = formats.read(folder / "CI.CLC..HNZ.mseed").waveforms[0, 2]
    trace = read(folder / "CI.CLC..HNZ.mseed")[0]
    inventory = read_inventory(folder / "CI.CLC.xml")
    sensitivity = inventory.get_response(trace.id, trace.stats.starttime).instrument_sensitivity.value
    scaled = (trace.data - trace.data.mean()) / sensitivity * 100
    frequency_in_hz = np.fft.rfftfreq(len(scaled), 0.01)
    ratio = np.abs(np.fft.rfft(ours)) / np.abs(np.fft.rfft(scaled))
    assert np.median(ratio[(frequency_in_hz > 0.1) & (frequency_in_hz < 2)]) == pytest.approx(1, abs=0.005)
    assert np.abs(np.median(ratio[(frequency_in_hz > 2) & (frequency_in_hz < 35)]) - 1) < 0.02
    # nothing is blown up where the digitiser has filtered everything away
    spectrum = np.abs(np.fft.rfft(ours))
    assert spectrum[frequency_in_hz > 48.5].max() < 1e-4 * np.median(spectrum[frequency_in_hz < 40])


def test_kiknet_miniseed_keeps_the_six_letter_station_and_the_common_span():
    path = samples() / "miniseed_kiknet_processed" / "FKSH111103230712.UD2.MSEED"
    record = formats.read(path, unit="g")
    row = record.table.iloc[0]
    assert row["station"] == "BO.FKSH11" and row["event"] == "nied_1103230712"
    assert row["start_time"] == "2011-03-22T22:13:41.800000Z"  # the latest of three starts
    gal = formats.read(path, unit="gal")
    np.testing.assert_allclose(record.waveforms, gal.waveforms * 980.665, rtol=1e-5, atol=1e-4)
    assert "unit" in refusal(path, unit="feet")


def test_velocity_is_differentiated_exactly():
    time_in_s = np.arange(4000) * 0.01
    frequency_in_hz = np.array([0.3, 2.0, 11.0, 30.0])[:, None]
    phase = 2 * np.pi * frequency_in_hz * (time_in_s - 20)
    envelope = np.exp(-(((time_in_s - 20) / 4) ** 2))
    slope = -2 * (time_in_s - 20) / 16 * envelope
    exact = slope * np.sin(phase) + envelope * 2 * np.pi * frequency_in_hz * np.cos(phase) + 0.5
    found = peer.derivative(envelope * np.sin(phase) + 0.5 * time_in_s, 0.01)
    assert np.abs(found - exact).max(axis=1) == pytest.approx(0, abs=1e-6)


def test_peer_azimuths_are_turned_to_east_and_north():
    east, north, up = np.random.default_rng(0).normal(size=(3, 50))
    angle = np.radians(67)
    first, second = north * np.cos(angle) + east * np.sin(angle), -north * np.sin(angle) + east * np.cos(angle)
    waveform, note = peer._oriented({"067": first, "157": second, "UP": up})
    np.testing.assert_allclose(waveform, [east, north, up], atol=1e-12)
    assert "67 and 157" in note
    with pytest.raises(Damaged, match="right angles"):
        peer._oriented({"067": first, "100": second, "UP": up})


def test_peer_files_named_by_azimuth_make_one_record(tmp_path):
    for path in copied("peer_at2", tmp_path, "GIL067"):
        shutil.copyfile(path, tmp_path / "RSN763_LOMAP_GIL157.AT2")
        shutil.copyfile(path, tmp_path / "RSN763_LOMAP_GIL-UP.AT2")
    found = [formats.read(path) for path in tmp_path.iterdir()]
    assert len({one.waveforms.tobytes() for one in found}) == 1  # whichever of the three is named
    row = found[0].table.iloc[0]
    assert row["station"] == "PEER.GIL" and row["event"] == "peer_19891018_Loma_Prieta"
    east, north, up = found[0].waveforms[0]
    turn = np.radians(67)
    np.testing.assert_allclose(east, up * (np.sin(turn) + np.cos(turn)), atol=1e-3)
    np.testing.assert_allclose(north, up * (np.cos(turn) - np.sin(turn)), atol=1e-3)


@pytest.mark.parametrize("name", ["20160203212508_4614.mat", "20120115133856_2404.mat"])
def test_matlab_reader_agrees_with_scipy(name):
    path = samples() / "afad_mat" / name
    ours = mat5.load(path.read_bytes())["EQ"]["anEQ"]
    theirs = scipy.io.loadmat(path)["EQ"]["anEQ"][0, 0]
    assert list(ours) == list(theirs.dtype.names)
    numbers = 0
    for field, value in ours.items():
        expected = theirs[field][0, 0]
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, expected)
            numbers += 1
        elif isinstance(value, str):
            assert value == expected[0]
    assert numbers >= 14


@pytest.mark.parametrize("compressed", [True, False])
def test_matlab_reader_round_trip(compressed):
    file = io.BytesIO()
    values = {"a": np.arange(12.0).reshape(3, 4), "text": "ğ text", "s": {"x": np.int16([[1, 2]]), "t": {"u": 3.5}}}
    scipy.io.savemat(file, values, do_compression=compressed)
    found = mat5.load(file.getvalue())
    np.testing.assert_array_equal(found["a"], values["a"])
    assert found["text"] == "ğ text" and found["s"]["t"]["u"] == [[3.5]] and found["s"]["x"].tolist() == [[1, 2]]


# ---------------------------------------------------------------- the collection


@pytest.fixture(scope="module")
def collection():
    return formats.read_folder(shared("records"), sampling_rate_in_hz=50.0, duration_in_s=40.96)


def test_collection_reads_in_full(collection):
    records, report = collection
    assert len(records) == 466 and (report["outcome"] == "read").sum() == 466
    assert set(report["outcome"]) == {"read", "companion"}  # formats/ lies inside and is not read
    counts = records.table["station"].value_counts()
    stations = pd.read_csv(shared("records/stations.csv"), dtype={"station_code": str})
    expected = stations.set_index(stations["station_network_code"] + "." + stations["station_code"])["n_earthquakes"]
    assert counts.sort_index().to_dict() == expected.sort_index().to_dict()
    assert records.waveforms.shape == (466, 3, 2048) and np.isfinite(records.waveforms).all()


def test_collection_table_is_complete(collection):
    table = collection[0].table
    assert not table[list(REQUIRED_COLUMNS)].isna().any().any()
    assert (table[["station", "event", "kind", "source", "processing", "file"]] != "").all().all()
    assert table["native_sampling_rate_in_hz"].between(30, 250).all()
    np.testing.assert_allclose(
        table["usable_to_hz"], np.minimum(0.4 * table["native_sampling_rate_in_hz"], 20.0), rtol=1e-9
    )
    metadata = pd.read_csv(shared("records/metadata.csv"))
    for ours, theirs in (("magnitude", "source_magnitude"), ("vs30_in_m_per_s", "station_vs30_mps")):
        np.testing.assert_array_equal(table[ours], metadata[theirs])
    assert table["energy_in_window"].between(0.05, 1).all()
    assert not table["event_inferred"].any()


def test_collection_quality(collection):
    records, report = collection
    quality = records.table["quality"]
    weak = records.table["trace_weak_motion_flag"].astype(bool)
    assert weak.sum() == 21 and (quality.str.contains("weak") == weak).all()
    assert (quality != "").sum() == 46  # 19 of the other 25 were looked at: see the records named below
    flagged = records.table.assign(quality=quality).set_index(["station", "event"])["quality"]
    # isolated zeros of telemetry, a channel that stops, a second name for one file, a pen against its stop
    assert "spike: one sample of N at 69.33 s" in flagged["TW.TAI1", "cwa_20210418221139"]
    assert "dead: E does not move for 92.0 s" in flagged["TW.EGF", "us1000chhc"]
    assert flagged["TW.HWA075", "cwb_2022_0917"] == "duplicate of waveforms.hdf5/TW.EHY.cwb_2022_0917"
    assert "clipped" in flagged["XX.13160", "ci3031425"]
    two_ids = report[report["reason"].str.contains("usp000a1b0 is also jma_20001006133018")]
    assert two_ids["file"].tolist() == ["waveforms.hdf5/BO.AICH04.usp000a1b0"]


def test_seisbench_layout_round_trip_and_bucket_slices(tmp_path):
    records = formats.read(samples() / "afad_mat" / "20160203212508_4614.mat")
    records.save(tmp_path / "saved")
    again = formats.read(tmp_path / "saved")
    np.testing.assert_array_equal(again.waveforms, records.waveforms)
    for name in ("station", "event", "origin_time", "magnitude", "usable_to_hz", "p_arrival_sample", "samples"):
        assert again.table[name].tolist() == records.table[name].tolist(), name
    # SeisBench's own writer: one padded bucket, the true length in the trace name, another component order and unit
    folder = tmp_path / "bucket"
    folder.mkdir()
    waves = np.random.default_rng(0).normal(size=(2, 3, 900)).astype(np.float32)
    with h5py.File(folder / "waveforms.hdf5", "w") as file:
        file["data/bucket0"] = waves
        file["data_format/unit"] = "mps2"
    names = ["bucket0$0,:3,:900", "bucket0$1,:3,:700"]
    table = pd.DataFrame({"trace_name": names, "trace_sampling_rate_hz": [50.0, 25.0], "station_code": ["A", "B"]})
    table = table.assign(source_id=["e1", "e2"], station_network_code="XX", trace_component_order="ZNE")
    table.to_csv(folder / "metadata.csv", index=False)
    with pytest.raises(formats.UnreadableRecord, match="give sampling_rate_in_hz"):
        formats.read(folder)
    found, _ = formats.read_folder(folder, sampling_rate_in_hz=25.0)
    assert found.table["samples"].tolist() == [450, 700]
    np.testing.assert_allclose(found.waveforms[1, :, :700], 100 * waves[1, ::-1, :700], rtol=1e-6)
    assert not found.waveforms[0, :, 450:].any()


ESM25 = [f"{what}_mp_{axis}" for what in ("dis", "acc", "vel") for axis in "wuv"]


@pytest.mark.parametrize("where", ["waveforms", "metadata"])
def test_esm25_gives_its_acceleration(where, tmp_path):
    """Nine channels by name: in the waveforms' file, as SeisBench 0.12.6 has it, or as a tuple's text in the table."""
    nine = np.random.default_rng(0).normal(size=(9, 400)).astype(np.float32)
    table = pd.DataFrame({"trace_name": ["a"], "trace_sampling_rate_hz": 100.0, "station_code": "X", "source_id": "e"})
    if where == "metadata":
        table["trace_component_order"] = str(tuple(ESM25))
    table.to_csv(tmp_path / "metadata.csv", index=False)

    def write(names):
        with h5py.File(tmp_path / "waveforms.hdf5", "w") as file:
            file["data/a"], file["data_format/unit"] = nine, "cm/s^2"
            if where == "waveforms":
                file["data_format/component_order"] = names

    write(ESM25)
    records = formats.read(tmp_path)
    np.testing.assert_array_equal(records.waveforms[0], nine[[ESM25.index(f"acc_mp_{axis}") for axis in "uvw"]])
    assert "taken as east, north and up" in records.table["processing"][0]
    if where == "waveforms":
        write([name.replace("acc_mp_w", "acc_mp_x") for name in ESM25])
        with pytest.raises(formats.UnreadableRecord, match="hold no acceleration to the east, to the north and up"):
            formats.read_folder(tmp_path)
        write([name.replace("dis_mp", "acc_cv") for name in ESM25])  # processed goes before converted
        np.testing.assert_array_equal(formats.read(tmp_path).waveforms, records.waveforms)


def test_component_order_comes_from_the_waveforms_file_where_the_table_has_none(tmp_path):
    trio = np.random.default_rng(0).normal(size=(3, 400)).astype(np.float32)
    table = pd.DataFrame({"trace_name": ["a"], "trace_sampling_rate_hz": 100.0, "station_code": "X", "source_id": "e"})
    table.to_csv(tmp_path / "metadata.csv", index=False)
    with h5py.File(tmp_path / "waveforms.hdf5", "w") as file:
        file["data/a"], file["data_format/unit"], file["data_format/component_order"] = trio, "cm/s^2", "ZNE"
    np.testing.assert_array_equal(formats.read(tmp_path).waveforms[0], trio[::-1])


def test_collection_below_a_folder_is_read_beside_loose_files(tmp_path):
    copied("afad_txt_old", tmp_path)
    formats.read(samples() / "afad_mat" / "20120115133856_2404.mat").save(tmp_path / "inside")
    (tmp_path / "inside" / "broken.mat").write_bytes(b"")  # below a collection nothing else is read
    records, report = formats.read_folder(tmp_path)
    assert records.stations == ["TK.2404", "TK.4806"]
    assert report.set_index("file")["outcome"].to_dict() == {
        "20170720223109_4806.txt": "read",
        "inside/metadata.csv": "companion",
        "inside/waveforms.hdf5": "companion",
        "inside/waveforms.hdf5/bucket0$0,:3,:4970": "read",
    }


# ---------------------------------------------------------------- rates, siblings, damage


def test_native_rate_must_be_one_and_shorter_records_are_padded(tmp_path):
    copied("afad_mat", tmp_path)
    records, _ = formats.read_folder(tmp_path, sampling_rate_in_hz=None)
    assert records.sampling_rate_in_hz == 100 and records.table["samples"].tolist() == [4970, 6206]
    assert records.waveforms[0, :, 4969].any() and not records.waveforms[0, :, 4970:].any()
    copied("knet_ascii", tmp_path)
    copied("esm_asc", tmp_path)
    with pytest.raises(formats.UnreadableRecord, match="2 sampling rates, 100 to 200 Hz; give sampling_rate_in_hz"):
        formats.read_folder(tmp_path, sampling_rate_in_hz=None)
    slow, _ = formats.read_folder(tmp_path, sampling_rate_in_hz=40.0)
    assert slow.sampling_rate_in_hz == 40 and (slow.table["usable_to_hz"] == 16).all()
    slow = formats.read(tmp_path / "20160203212508_4614.mat", 40.0)
    assert slow.table["p_arrival_sample"][0] == pytest.approx(288.57, abs=0.01)


@pytest.mark.parametrize(
    "folder, lost, named",
    [
        ("knet_ascii", ".NS", "component N is missing (found E and Z)"),
        ("kiknet_ascii", ".EW2", "component E is missing (found N and Z)"),
        ("afad_asc", "_E.asc", "component E is missing (found N and Z)"),
        ("esm_asc", "HNE", "component E is missing (found N and Z)"),
        ("miniseed_stationxml", "HNN", "component N is missing (found E and Z)"),
        ("peer_vt2", "HHE", "component E is missing (found N and Z)"),
    ],
)
def test_missing_sibling_is_named(folder, lost, named, tmp_path):
    files = copied(folder, tmp_path)
    gone = next(path for path in files if lost in path.name)
    gone.unlink()
    left = next(path for path in files if path != gone and path.suffix != ".xml")
    assert named in refusal(left)


@pytest.mark.parametrize(
    "folder, only, lost",
    [
        ("peer_at2", "GIL", None),
        ("miniseed_stationxml", "", "HNZ"),
        ("afad_asc", "", "_U.asc"),
        ("kiknet_ascii", "", ".UD2"),
    ],
)
def test_two_horizontals_are_read_and_kept_from_what_needs_a_vertical(folder, only, lost, tmp_path):
    whole = None if lost is None else formats.read_folder(samples() / folder, None)[0]
    for path in copied(folder, tmp_path, only):
        if lost and lost in path.name:
            path.unlink()
    records, report = formats.read_folder(tmp_path, None)
    assert len(records) == 1 and records.table["components"][0] == "EN"
    assert records.table["quality"][0] == reading.NO_VERTICAL
    assert (report.loc[report["outcome"] == "read", "reason"] == reading.NO_VERTICAL).sum() == 2
    curves = hvsr.hvsr(records)
    assert np.isnan(curves.f0_in_hz).all() and np.isnan(curves.curves).all()
    values = intensity.measures(records).iloc[0]
    assert values[["pga_z_in_cm_s2", "pgv_z_in_cm_s"]].isna().all()
    assert values.drop(["pga_z_in_cm_s2", "pgv_z_in_cm_s"]).gt(0).all()
    spectra = intensity.response_spectra(records, [0.3])
    amplitude = intensity.fourier_amplitude(records, np.array([2.0]))
    for each in (spectra, amplitude):
        assert np.isnan(each[0, 2]).all() and (each[0, :2] > 0).all()
    if whole is not None:  # the horizontals are what they are with the vertical beside them
        np.testing.assert_allclose(records.waveforms[0, :2], whole.waveforms[0, :2], atol=1e-4)
    records.save(tmp_path / "saved")  # and all of this is so after a round trip
    again = Records.load(tmp_path / "saved")
    assert np.isnan(intensity.measures(again)["pga_z_in_cm_s2"]).all()
    assert formats.read(tmp_path / "saved").table["quality"].tolist() == [reading.NO_VERTICAL]


def replaced(path, old, new, count=1):
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, count))


@pytest.mark.parametrize(
    "folder, part, old, new, told",
    [
        (
            "afad_asc",
            "_N.asc",
            b"SAMPLING_INTERVAL_S: 0.01",
            b"SAMPLING_INTERVAL_S: 0.02",
            "differ in sampling interval",
        ),
        ("afad_asc", "_N.asc", b"UNITS: cm/s^2", b"UNITS: furlong", "unit 'furlong' is unknown"),
        ("afad_asc", "_N.asc", b"UNITS: cm/s^2", b"UNITS: ", "no unit is given"),
        ("afad_asc", "_N.asc", b"NDATA: 12500", b"NDATA: 12600", "promises 12600 samples, the file holds 12500"),
        ("afad_asc", "_N.asc", b"Acceleration", b"Velocity", "holds velocity, not acceleration"),
        ("afad_asc", "_N.asc", b"01:17:36.776285", b"01:17:38.776285", "differ in start time"),
        ("knet_ascii", ".EW", b"100Hz", b"200Hz", "promises 20400 samples"),
        ("knet_ascii", ".EW", b"3920(gal)", b"3920(ft) ", "scale factor"),
        ("afad_txt_old", ".txt", b"RAW PGA VALUES (gal)", b"RAW PGA VALUES (ft) ", "does not say that the unit is gal"),
        ("afad_txt_old", ".txt", b"0.01\r\n", b"0.00\r\n", "sampling rate"),
        ("peer_vt2", "HHN", b"CM/S", b"IN/S", "unit is unknown"),
        ("peer_vt2", "HHN", b"0.0125", b"0.0250", "differ in sampling interval"),
        ("openeew_jsonl", ".jsonl", b'"x": [', b'"x": [1, ', "not lists of equal length"),
        (
            "openeew_jsonl",
            ".jsonl",
            b'"device_t": 1580339704.691',
            b'"device_t": 1580339705.191',
            "packets are missing",
        ),
    ],
)
def test_wrong_headers_are_refused_with_their_reason(folder, part, old, new, told, tmp_path):
    path = next(path for path in copied(folder, tmp_path) if part in path.name)
    replaced(path, old, new)
    assert told in refusal(path)


def test_values_that_are_not_finite_are_refused(tmp_path):
    path = copied("afad_txt_old", tmp_path)[0]
    for word in (b"nan", b"inf", b"1e300"):
        shutil.copyfile(samples() / "afad_txt_old" / path.name, path)
        replaced(path, b"-0.002859", word.rjust(9))
        assert "not finite" in refusal(path) or "impossible" in refusal(path)
    path.write_bytes(b"")
    refusal(path)


def test_gaps_in_miniseed_are_refused(tmp_path):
    path = next(path for path in copied("miniseed_stationxml", tmp_path) if "HNZ" in path.name)
    whole = path.read_bytes()
    path.write_bytes(whole[: 4096 * 9] + whole[4096 * 10 :])
    assert "a gap of" in refusal(path)


def test_obspy_turns_horizontals_named_1_and_2(tmp_path):
    from obspy import read

    original = formats.read(samples() / "miniseed_stationxml" / "CI.CLC..HNZ.mseed").waveforms[0]
    for path in copied("miniseed_stationxml", tmp_path):
        if path.suffix == ".mseed":
            stream = read(path)
            stream[0].stats.channel = {"HNN": "HN1", "HNE": "HN2"}.get(stream[0].stats.channel, "HNZ")
            path.unlink()
            stream.write(str(tmp_path / f"CI.CLC..{stream[0].stats.channel}.mseed"), format="MSEED")
    inventory = tmp_path / "CI.CLC.xml"
    for old, new in ((b'code="HNN"', b'code="HN1"'), (b'code="HNE"', b'code="HN2"')):
        replaced(inventory, old, new, -1)
    whole = inventory.read_bytes()
    same = formats.read(tmp_path / "CI.CLC..HN1.mseed")  # azimuths 0 and 90
    np.testing.assert_allclose(same.waveforms[0], original, atol=1e-3)
    assert "at 0 and 90 degrees turned" in same.table["processing"][0]
    for first, second in ((b"30.0", b"120.0"), (b"30.0", b"300.0")):
        turned_by = {b">0.0</Azimuth>": first, b">90.0</Azimuth>": second}
        content = whole
        for old, new in turned_by.items():
            assert old in content
            content = content.replace(old, b">" + new + b"</Azimuth>")
        inventory.write_bytes(content)
        east, north, up = formats.read(tmp_path / "CI.CLC..HNZ.mseed").waveforms[0]
        one, two = np.radians([float(first), float(second)])
        np.testing.assert_allclose(north * np.cos(one) + east * np.sin(one), original[1], atol=1e-3)
        np.testing.assert_allclose(north * np.cos(two) + east * np.sin(two), original[0], atol=1e-3)
        np.testing.assert_allclose(up, original[2], atol=1e-3)
    inventory.write_bytes(content.replace(b">300.0</Azimuth>", b">35.0</Azimuth>"))
    assert "not at right angles: azimuths 30 and 35" in refusal(tmp_path / "CI.CLC..HNZ.mseed")


def test_overlapping_packets_are_refused(tmp_path):
    from obspy import Stream, read

    path = next(path for path in copied("miniseed_stationxml", tmp_path) if "HNZ" in path.name)
    trace = read(path)[0]
    early, late = trace.slice(endtime=trace.stats.starttime + 100), trace.slice(trace.stats.starttime + 99)
    Stream([early, late]).write(str(path), format="MSEED")
    assert "an overlap of" in refusal(path)


def test_a_stationxml_without_stages_gives_its_sensitivity(tmp_path):
    path = copied("miniseed_stationxml", tmp_path)[0]
    full = formats.read(path).waveforms
    inventory = tmp_path / "CI.CLC.xml"
    inventory.write_bytes(re.sub(rb"<Stage .*?</Stage>", b"", inventory.read_bytes(), flags=re.DOTALL))
    records = formats.read(path)
    assert "divided by the sensitivity" in records.table["processing"][0]
    assert np.abs(records.waveforms).max() == pytest.approx(np.abs(full).max(), rel=0.05)
    content = inventory.read_bytes()
    assert b"<Name>m/s**2</Name>" in content or b"<Name>M/S**2</Name>" in content
    inventory.write_bytes(re.sub(rb"<Name>[mM]/[sS]\*\*2</Name>", b"<Name>m/s</Name>", content))
    assert "level=response" in refusal(path)


def test_a_stationxml_that_contradicts_itself_is_remarked(tmp_path):
    path = copied("miniseed_stationxml", tmp_path)[0]
    assert formats.read(path).table["quality"][0] == ""
    replaced(tmp_path / "CI.CLC.xml", b"<Value>0.510086</Value>", b"<Value>510.086</Value>", -1)
    quality = formats.read(path).table["quality"][0]
    assert quality.startswith("gain of HNE: the StationXML contradicts itself (its stages multiply to 2.139e+08")


def test_clipping_is_looked_for_in_counts(tmp_path):
    """The response rounds flat tops off: what the corrected trace does not show, the counts do."""
    from obspy import read

    path = next(path for path in copied("miniseed_stationxml", tmp_path) if "HNN" in path.name)
    stream = read(path)
    limit = int(0.3 * np.abs(stream[0].data).max())
    stream[0].data = np.clip(stream[0].data, -limit, limit)
    stream.write(str(path), format="MSEED")
    records = formats.read(path)
    assert "clipped:" in records.table["quality"][0] and "value of N" in records.table["quality"][0]
    assert not any("clipped" in told for told in quality.faults(records.waveforms[0], 100.0))


PEER_NAMES = [  # (east, north, up) as PEER writes them, the station, and whether up is down
    ("RSN1616_DUZCE_362-E", "RSN1616_DUZCE_362-N", "RSN1616_DUZCE_362-V", "362", 1),
    ("RSN1633_MANJIL_ABBAR--T", "RSN1633_MANJIL_ABBAR--L", "RSN1633_MANJIL_ABBAR--V", "ABBAR", 1),
    ("RSN4843_CHUETSU_65006EW", "RSN4843_CHUETSU_65006NS", "RSN4843_CHUETSU_65006UD", "65006", 1),
    ("RSN1485_CHICHI_TCU045-E", "RSN1485_CHICHI_TCU045-N", "RSN1485_CHICHI_TCU045-V", "TCU045", 1),
    ("RSN4_X_ABC090", "RSN4_X_ABC000", "RSN4_X_ABCUD", "ABC", 1),
    ("RSN4_X_ABC090", "RSN4_X_ABC360", "RSN4_X_ABCDWN", "ABC", -1),
    ("RSN6_IMPVALL.I_I-ELC270", "RSN6_IMPVALL.I_I-ELC180", "RSN6_IMPVALL.I_I-ELC-UP", "I-ELC", 1),
]


@pytest.mark.parametrize("names", PEER_NAMES, ids=lambda names: names[2])
def test_peer_s_ways_of_naming_components(names, tmp_path):
    header = b"PEER NGA STRONG MOTION DATABASE RECORD\nChi-Chi, Taiwan, 9/20/1999, A, 1\n"
    header += b"ACCELERATION TIME SERIES IN UNITS OF G\nNPTS=    50, DT= .0100 SEC\n"
    waves = np.random.default_rng(0).normal(size=(3, 50)).round(5)
    for name, wave in zip(names[:3], waves, strict=True):
        (tmp_path / f"{name}.AT2").write_bytes(header + " ".join(map(str, wave)).encode())
    records, report = formats.read_folder(tmp_path)
    assert (report["outcome"] == "read").all() and records.stations == ["PEER." + names[3]]
    assert records.table["event"][0] == "peer_19990920_Chi-Chi_Taiwan"
    sign = np.array([-1, -1, 1]) if "ELC" in names[0] else np.array([1, 1, names[4]])  # azimuths 270 and 180
    expected = (waves - waves.mean(axis=1, keepdims=True)) * 980.665 * sign[:, None]
    np.testing.assert_allclose(records.waveforms[0], expected, atol=1e-3)


def test_peer_s_first_generation_header(tmp_path):
    path = next(path for path in copied("peer_at2", tmp_path) if "BH1" in path.name)
    for path in tmp_path.iterdir():
        new = path.read_bytes().split(b"\n", 4)
        found = re.search(rb"NPTS=\s*(\d+), DT=\s*([\d.]+)", new[3])
        new[0] = b"PACIFIC ENGINEERING AND ANALYSIS STRONG-MOTION DATA"
        new[1] = b"LOMA PRIETA 10/18/89 00:05, GILROY ARRAY #1, 000 (CDMG STATION 47379)"
        new[3] = b" " + found[1] + b"    " + found[2] + b"    NPTS, DT"
        path.write_bytes(b"\n".join(new))
    records = formats.read(path)
    same = formats.read(samples() / "peer_at2" / path.name)
    np.testing.assert_array_equal(records.waveforms, same.waveforms)
    assert records.table["event"][0] == "peer_19891018_LOMA_PRIETA"
    renamed = path.rename(tmp_path / "first.AT2")
    assert "name does not tell the component" in refusal(renamed)


def test_remedies_exist(tmp_path):
    for name, told in [
        ("a.v1", "gmprocess"),
        ("a.V2A", "gmprocess"),
        ("a.smc", "gmprocess"),
        ("a.sac", "MiniSEED with ObsPy"),
        ("a.dat", "download or save it in a supported format"),
    ]:
        (tmp_path / name).write_bytes(b"")
        assert told in refusal(tmp_path / name) and ("ObsPy" in told) == ("ObsPy" in refusal(tmp_path / name))
    zipped(tmp_path / "outer.zip", **{"inner.zip": b""})
    with pytest.raises(formats.UnreadableRecord, match=r"unsupported format .zip; unpack it first"):
        formats.read_folder(tmp_path / "outer.zip")


def test_linked_folders_have_a_line(tmp_path):
    (tmp_path / "here").mkdir()
    copied("afad_mat", tmp_path / "here", "4614")
    (tmp_path / "here" / "there").symlink_to(samples(), target_is_directory=True)
    records, report = formats.read_folder(tmp_path / "here")
    assert len(records) == 1 and report.set_index("file")["outcome"]["there"] == "left out"
    assert report["reason"].str.contains("a link to a folder").sum() == 1


def test_two_sensors_in_one_file_are_two_records_and_a_broken_one_costs_no_other(tmp_path):
    from obspy import read

    stream = read(str(samples() / "miniseed_stationxml" / "*.mseed"))
    for trace in stream:
        trace.data = (trace.data * 1e-4).astype(np.float32)
        del trace.stats.mseed  # its encoding is that of the counts
    other = stream.copy()
    for trace in other:
        trace.stats.station = "OTHER"
    (stream + other).write(str(tmp_path / "both.mseed"), format="MSEED")
    assert formats.read(tmp_path / "both.mseed", unit="cm/s^2").stations == ["CI.CLC", "CI.OTHER"]
    (stream + other[1:]).write(str(tmp_path / "both.mseed"), format="MSEED")
    records, report = formats.read_folder(tmp_path, unit="cm/s^2")
    assert records.stations == ["CI.CLC"] and report["outcome"].tolist() == ["read", "refused"]
    assert "component E is missing" in report["reason"][1]


def test_units_and_component_helpers():
    assert scale_of("cm/s^2") == scale_of("GAL") == scale_of("cmps2") == 1 and scale_of("m/s/s") == 100
    assert scale_of("g") == pytest.approx(980.665) and set(UNITS_IN_CM_S2) == {"cm/s^2", "gal", "m/s^2", "g"}
    wave, note = in_order({"Z": np.ones(5), "N": np.ones(4), "E": np.zeros(5)})
    assert wave.shape == (3, 4) and "common length" in note


def test_settings_reach_the_rules(tmp_path):
    copied("afad_mat", tmp_path)
    strict, _ = formats.read_folder(tmp_path, quality=QualitySettings(lowest_peak_in_cm_s2=2.4))
    assert strict.table["quality"].str.contains("weak").tolist() == [True, False]
    early, _ = formats.read_folder(tmp_path, 100.0, 20.0, window=WindowSettings(before_p_in_s=2.0))
    assert early.table["p_arrival_sample"].tolist() == pytest.approx([200, 200], abs=1)


def test_arguments_that_make_no_sense(tmp_path, monkeypatch):
    path = copied("afad_mat", tmp_path)[0]
    with pytest.raises(ValueError, match="sampling_rate_in_hz must be above 0"):
        formats.read(path, sampling_rate_in_hz=0)
    with pytest.raises(ValueError, match="duration_in_s must be above 0"):
        formats.read_folder(tmp_path, duration_in_s=-1.0)
    assert "the unit 'furlong' is unknown" in refusal(path, unit="furlong")
    monkeypatch.setattr(reading, "LARGEST_IN_BYTES", 100_000)
    with pytest.raises(formats.UnreadableRecord, match="give duration_in_s"):
        formats.read_folder(tmp_path)


def test_days_long_records_are_refused(tmp_path):
    path = copied("afad_txt_old", tmp_path)[0]
    replaced(path, b"INTERVAL (sec) : 0.01", b"INTERVAL (sec) : 1.00")
    assert formats.read(path).duration_in_s == 9166  # odd, but a record
    content = path.read_bytes().replace(b"OF DATA          : 9166", b"OF DATA          : 100000")
    path.write_bytes(content[: content.index(b"U-D\r\n") + 5] + b"0.1 0.2 0.3\r\n" * 100_000)
    assert "it lasts 28 hours" in refusal(path)


def test_times_of_no_instrument_are_unknown(tmp_path):
    """Found by fuzzing: a year that pandas parses, but cannot hold in nanoseconds."""
    path = copied("esm_asc", tmp_path)[0]
    replaced(path, b"EVENT_DATE_YYYYMMDD: 2019", b"EVENT_DATE_YYYYMMDD: 0190")
    records, _ = formats.read_folder(tmp_path)
    assert records.table["origin_time"][0] == "" and records.table["start_time"][0] == "2019-07-28T16:09:19.870000Z"
    formats.read(samples() / "afad_mat" / "20120115133856_2404.mat").save(tmp_path / "saved")
    replaced(tmp_path / "saved" / "metadata.csv", b"2012-01-15T", b"0012-01-15T")
    assert formats.read(tmp_path / "saved").table["origin_time"][0] == ""


def test_paths_that_hold_nothing_end_in_one_sentence(tmp_path):
    for path, told in [
        (tmp_path / "absent", "there is no such folder"),
        (tmp_path, "the folder is empty"),
    ]:
        with pytest.raises(formats.UnreadableRecord, match=told):
            formats.read_folder(path)
    (tmp_path / "notes.md").write_text("no record")
    (tmp_path / "x.sac").write_bytes(b"")
    with pytest.raises(formats.UnreadableRecord, match=r"none of its 2 files can be read.*unsupported format .sac"):
        formats.read_folder(tmp_path)
    assert "no such file" in refusal(tmp_path / "absent.mat")
    assert "use formats.read_folder" in refusal(tmp_path)


def test_borehole_sensor_is_left_out(tmp_path):
    for path in copied("kiknet_ascii", tmp_path):
        shutil.copyfile(path, path.with_suffix(path.suffix.replace("2", "1")))
    records, report = formats.read_folder(tmp_path)
    assert len(records) == 1
    outcome = report.set_index("file")["outcome"]
    assert (outcome[outcome.index.str.endswith("1")] == "left out").all() and (outcome == "read").sum() == 3
    assert "borehole" in refusal(tmp_path / "AICH040010061330.EW1")


# ---------------------------------------------------------------- many files, archives


@pytest.fixture
def many(tmp_path):
    """Sixty copies of one small record under sixty times, and one damaged file."""
    content = (samples() / "afad_mat" / "20160203212508_4614.mat").read_bytes()
    for i in range(60):
        (tmp_path / f"201602032125{i:02d}_4614.mat").write_bytes(content)
    (tmp_path / "20160203213000_4614.mat").write_bytes(content[:5000])
    return tmp_path


def test_one_bad_file_costs_one_line_and_workers_change_nothing(many, monkeypatch):
    parallel, report = formats.read_folder(many, 50.0, 20.0)
    monkeypatch.setattr(reading, "FEWEST_JOBS_FOR_WORKERS", 1000)
    serial, report_serial = formats.read_folder(many, 50.0, 20.0)
    np.testing.assert_array_equal(parallel.waveforms, serial.waveforms)
    pd.testing.assert_frame_equal(parallel.table, serial.table)
    pd.testing.assert_frame_equal(report, report_serial)
    assert len(parallel) == 60 and (report["outcome"] == "refused").sum() == 1
    assert "declares" in report.loc[report["outcome"] == "refused", "reason"].item()
    # fifty-nine duplicates of the first, which is fine
    assert (
        parallel.table["quality"].str.startswith("duplicate of 20160203212500_4614.mat").tolist()
        == [False] + [True] * 59
    )


def test_a_file_that_kills_its_reader_costs_one_line(many, monkeypatch):
    load = mat5.load
    deadly = (many / "20160203212531_4614.mat").read_bytes() + b"deadly"
    (many / "20160203212531_4614.mat").write_bytes(deadly)
    monkeypatch.setattr(mat5, "load", lambda content: os._exit(9) if content == deadly else load(content))
    monkeypatch.setattr(reading, "cores", lambda: 2)
    records, report = formats.read_folder(many, 50.0, 20.0)
    refused = report[report["outcome"] == "refused"].set_index("file")["reason"]
    assert len(records) == 59 and "ended the process" in refused["20160203212531_4614.mat"] and len(refused) == 2


def test_zip_archives_are_read_in_place(tmp_path, mixed):
    packed = tmp_path / "download.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(samples().rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(samples()).as_posix())
        archive.writestr("__MACOSX/._x.mat", b"")
    for place, prefix in ((packed, "download.zip!"), (tmp_path, "download.zip!")):
        records, report = formats.read_folder(place, sampling_rate_in_hz=50.0, duration_in_s=40.96)
        np.testing.assert_array_equal(records.waveforms, mixed[0].waveforms)
        assert report["file"].str.startswith(prefix).all() and len(report) == len(mixed[1]) + 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["download.zip"]


# ---------------------------------------------------------------- hostile files


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_hostile_archives_are_refused(tmp_path):
    (tmp_path / "no.zip").write_bytes(b"PK and no more")
    with pytest.raises(formats.UnreadableRecord, match="the archive cannot be opened"):
        formats.read_folder(tmp_path / "no.zip")
    content = (samples() / "afad_mat" / "20160203212508_4614.mat").read_bytes()
    good = {"20160203212508_4614.mat": content}
    for name in ("../20160203212509_4614.mat", "/tmp/20160203212509_4614.mat", "a/../../20160203212509_4614.mat"):
        zipped(tmp_path / "x.zip", **good, **{name: content})
        records, report = formats.read_folder(tmp_path)
        assert len(records) == 1 and "outside its folder" in report["reason"].str.cat()
    zipped(tmp_path / "x.zip", **good, **{"20160203212509_4614.mat": bytes(50_000_000)})
    records, report = formats.read_folder(tmp_path)
    assert len(records) == 1 and "expands" in report["reason"].str.cat()
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(formats.UnreadableRecord, match="the archive cannot be opened"):
        formats.read_folder(tmp_path)
    zipped(tmp_path / "x.zip", **{"20160203212509_4614.mat": zipfile_bytes(good)})
    with pytest.raises(formats.UnreadableRecord):
        formats.read_folder(tmp_path)


def zipfile_bytes(members):
    file = io.BytesIO()
    zipped(file, **members)
    return file.getvalue()


def matlab(path, **fields):
    scipy.io.savemat(path, {"EQ": {"anEQ": fields}}, do_compression=True)
    return path


def test_hostile_matlab_files_are_refused(tmp_path):
    path = tmp_path / "20160203212508_4614.mat"
    good = dict(Accel=np.random.default_rng(0).normal(size=(2000, 3)), sampling=0.01, statID=208)
    assert formats.read(matlab(path, **good)).stations == ["TK.0208"]
    for wrong, told in [
        (dict(Accel="os.system('true')"), "not an array of three columns"),
        (dict(Accel=np.zeros((5, 2))), "not an array of three columns"),
        (dict(Accel={"deep": 1}), "not an array of three columns"),
        (dict(Accel=np.zeros((0, 3))), "holds 0 samples"),
        (dict(Accel=np.full((2000, 3), np.nan)), "not finite"),
        (dict(sampling="0.01 s"), "sampling rate"),
        (dict(sampling=0.0), "sampling rate"),
        (dict(sampling=-0.01), "sampling rate"),
        (dict(pgaUnit="m/s2"), "not gal"),
    ]:
        assert told in refusal(matlab(path, **good | wrong)), wrong
    scipy.io.savemat(path, {"EQ": 3.0})
    assert "no struct EQ.anEQ" in refusal(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM" + bytes(400))
    assert "MATLAB 7.3" in refusal(path) and "-v7" in refusal(path)


def test_a_matlab_file_that_may_not_be_afad_s_needs_a_unit(tmp_path):
    fields = dict(Accel=np.random.default_rng(0).normal(size=(2000, 3)), sampling=0.01)
    path = matlab(tmp_path / "20160203212508_4614.mat", **fields)  # renamed, as its refusal under another name asks
    assert "no unit is given; give unit=" in refusal(path)
    own, gal = formats.read(path, unit="m/s^2"), formats.read(matlab(path, **fields, pgaUnit="gal"))
    np.testing.assert_allclose(own.waveforms, 100 * gal.waveforms, rtol=1e-5)
    other = matlab(tmp_path / "mine.mat", **fields)
    assert "named neither in the file nor in its name" in refusal(other, unit="gal")


def test_matlab_sizes_are_checked_before_memory_is_taken(tmp_path, monkeypatch):
    path = tmp_path / "20160203212508_4614.mat"
    scipy.io.savemat(path, {"EQ": {"anEQ": {"Accel": np.zeros((7, 3)), "sampling": 0.01}}}, do_compression=False)
    content = path.read_bytes()
    shape = np.array([7, 3], "<i4").tobytes()
    assert content.count(shape) == 1
    path.write_bytes(content.replace(shape, np.array([2**30, 2**30], "<i4").tobytes()))
    assert "declares 1073741824 x 1073741824 values" in refusal(path)
    path.write_bytes(content.replace(np.array([9, 168], "<i4").tobytes(), np.array([9, 2**31 - 8], "<i4").tobytes()))
    assert "declares 2147483640 bytes" in refusal(path)
    monkeypatch.setattr(mat5, "LARGEST_IN_BYTES", 2**20)
    scipy.io.savemat(path, {"EQ": np.zeros(200_000)}, do_compression=True)
    assert path.stat().st_size < 10_000 and "expands beyond 1 MB" in refusal(path)


def test_pickles_and_other_formats_are_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    np.savez(tmp_path / "records.npz", np.array([Trap()], dtype=object))
    assert "unsupported format .npz" in refusal(tmp_path / "records.npz")
    for name in ("a.pkl", "b.npy", "c.tar.gz", "d", "e.SAC"):
        (tmp_path / name).write_bytes(b"\x80\x04.")
        assert "unsupported format" in refusal(tmp_path / name)
    assert "unpack it first" in refusal(tmp_path / "c.tar.gz")
    assert not (tmp_path / "sprung").exists()
    package = Path(formats.__file__).parent
    assert not any("pickle" in path.read_text().replace('"pickle"', "") for path in package.glob("*.py"))


def test_xml_entities_and_huge_hdf5_and_large_text_are_refused(tmp_path, monkeypatch):
    files = copied("miniseed_stationxml", tmp_path)
    replaced(tmp_path / "CI.CLC.xml", b"<FDSNStationXML", b'<!DOCTYPE a [<!ENTITY a "b">]><FDSNStationXML')
    assert "entities" in refusal(files[0])
    folder = tmp_path / "collection"
    formats.read(samples() / "afad_mat" / "20120115133856_2404.mat").save(folder)
    with h5py.File(folder / "waveforms.hdf5", "w") as file:
        file.create_dataset("data/bucket0", (1, 3, 2**40), np.float32, chunks=(1, 3, 1000))
        file["data_format/unit"] = "gal"
    with pytest.raises(formats.UnreadableRecord, match=r"not \(3, samples\)"):
        formats.read(folder)
    path = copied("afad_txt_old", tmp_path, ".txt")
    path = tmp_path / "20170720223109_4806.txt"
    with open(path, "ab") as file:
        file.truncate(recording.LARGEST_TEXT_IN_BYTES + 1)  # sparse: nothing is written
    assert "larger than 64 MB" in refusal(path)


def test_short_fuzz():
    """Three hundred damaged variants; the full run is `python tests/fuzz_formats.py --n 10000`."""
    samples()
    command = [sys.executable, str(HERE / "fuzz_formats.py"), "--seed", "7", "--n", "300"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    result = json.loads(done.stdout)
    assert done.returncode == 0 and result["failures"] == []
    assert result["read"] + result["refused"] == 300 and min(result["read"], result["refused"]) > 30


def test_records_type_and_import_names():
    assert formats.__all__ == ["UnreadableRecord", "read", "read_folder"]
    assert issubclass(formats.UnreadableRecord, ValueError)
    assert isinstance(formats.read(samples() / "afad_mat" / "20120115133856_2404.mat"), Records)
