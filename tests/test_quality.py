"""Quality rules: each planted fault is found and named, and what only looks like one is not."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import shared

from tsgen import config, formats, simulate
from tsgen.config import QualitySettings
from tsgen.formats import quality
from tsgen.records import Records

CLEAN = [
    "afad_mat/20160203212508_4614.mat",
    "afad_asc/20230206011732_3126_ap_Acc_E.asc",
    "knet_ascii/AOM0011801241951.EW",
]
CLEAN += ["afad_txt_old/20170720223109_4806.txt", "kiknet_ascii/AICH040010061330.EW2"]


@pytest.fixture(params=CLEAN, ids=lambda name: name.split("/")[0])
def clean(request):
    return formats.read(shared("records/formats") / request.param)


@pytest.fixture(scope="module")
def simulated():
    settings = config.profile("smoke").simulation
    return simulate.network(replace(settings, n_background_stations=3, n_background_records=4), seed=3)


def planted(records, change):
    """The first record after ``change`` of a copy of its waveform (3, samples)."""
    wave = records.waveforms[0].astype(float)
    changed = change(wave)
    wave = wave if changed is None else changed
    table = records.table.iloc[:1].assign(samples=wave.shape[1])
    return Records(wave[None], records.sampling_rate_in_hz, table)


def check(records, **settings):
    """Texts of the rules, one list a record, the padding left out."""
    return [
        quality.faults(wave[:, :n], records.sampling_rate_in_hz, p, QualitySettings(**settings))
        for wave, n, p in zip(
            records.waveforms, records.table["samples"], records.table["p_arrival_sample"], strict=True
        )
    ]


def told(records, **settings):
    return "; ".join(check(records, **settings)[0])


def strongest(wave, component=0):
    return int(np.abs(wave[component]).argmax())


def test_sound_records_get_no_text(clean, simulated):
    assert check(clean) == [[]]
    assert check(simulated) == [[]] * len(simulated) and quality.duplicates(simulated) == [""] * len(simulated)


def test_weak(clean):
    peak = np.abs(clean.waveforms).max()
    assert told(planted(clean, lambda wave: wave * 0.98 / peak)).startswith("weak: peak 0.98 cm/s²")
    assert told(planted(clean, lambda wave: wave * 1.02 / peak)) == ""
    assert "weak" in told(clean, lowest_peak_in_cm_s2=2 * peak)


def test_impossible(clean):
    """A gain that is wrong by powers of ten makes peaks that no instrument has measured."""
    peak = float(np.abs(clean.waveforms[0] - clean.waveforms[0].mean(axis=1, keepdims=True)).max())
    assert told(planted(clean, lambda wave: wave * 4950 / peak)).startswith("impossible: peak 4.95e+03 cm/s²")
    assert "impossible" not in told(planted(clean, lambda wave: wave * 4850 / peak))


def test_too_short(clean):
    rate = clean.sampling_rate_in_hz

    def cut(seconds):
        def change(wave):
            first = max(0, strongest(wave) - int(seconds * rate / 2))
            return wave[:, first : first + int(seconds * rate)]

        return planted(clean, change)

    assert "too short: 9.9 s of 10" in told(cut(9.9))
    assert "too short" not in told(cut(10.1))


@pytest.mark.parametrize("level", [0.3, 0.5])
def test_clipped(clean, level):
    def clip(wave):
        limit = level * np.abs(wave).max()
        np.clip(wave, -limit, limit, out=wave)

    assert "clipped: " in told(planted(clean, clip))


def test_coarse_resolution_is_not_clipping(clean):
    """Twenty digitiser steps to the peak: its flat tops have neighbours one step below."""

    def quantised(wave):
        step = np.abs(wave).max() / 20
        return np.round(wave / step) * step

    text = told(planted(clean, quantised))
    assert "clipped" not in text and "dead" not in text


@pytest.mark.parametrize("component", [0, 1, 2])
def test_dead_in_the_middle_and_to_the_end(clean, component):
    rate = clean.sampling_rate_in_hz

    def stop(seconds):
        def change(wave):
            first = strongest(wave, component) + 5
            wave[component, first : first + int(seconds * rate)] = wave[component, first]

        return planted(clean, change)

    name = "ENZ"[component]
    assert f"dead: {name} does not move for 3.0 s" in told(stop(3.0))
    assert f"dead: {name} does not move" in told(stop(1000))
    assert "dead" not in told(stop(1.5))
    assert "dead" in told(stop(1.5), dead_in_s=1.0)


def test_a_silent_component_is_dead(clean):
    def silence(wave):
        wave[1] = 0

    assert "dead: N does not move" in told(planted(clean, silence))


def test_padding_and_taper_are_not_dead(clean):
    n = clean.n_samples
    padded = np.concatenate([clean.waveforms, np.zeros((1, 3, 2000), np.float32)], axis=2)
    padded[:, :, n:] = 0
    assert told(Records(padded, clean.sampling_rate_in_hz, clean.table)) == ""
    assert "dead" in told(Records(padded, clean.sampling_rate_in_hz, clean.table.assign(samples=n + 2000)))

    def processed(wave):  # as databases hand records out: tapered over 5 %, then zeros
        taper = np.minimum(1, (1 - np.arange(n) / n) / 0.05)
        return np.concatenate([wave * (1 - np.cos(np.pi * taper)) / 2, np.zeros((3, 2000))], axis=1)

    assert told(planted(clean, processed)) == ""


@pytest.mark.parametrize("size", [4.0, -6.0])
def test_spike_in_strong_motion_and_in_the_quiet(clean, size):
    for place in (30, -12):

        def spike(wave, place=place):
            wave[2, strongest(wave, 2) + place if place > 0 else place] += size * np.abs(wave[2]).max()

        text = told(planted(clean, spike))
        assert "spike: one sample of Z at" in text
        assert text.count("spike") == 1


def test_a_lost_sample_is_a_spike(clean):
    """Telemetry that fills one sample with zero, at the strongest motion: the commonest fault of the collection."""

    def lose(wave):
        wave[0, strongest(wave)] = 0

    record = planted(clean, lose)
    at = strongest(clean.waveforms[0]) / clean.sampling_rate_in_hz
    bend = np.abs(np.diff(clean.waveforms[0, 0], 2)).max() / np.abs(clean.waveforms[0, 0]).max()
    if bend < 0.1:  # else one sample is no longer short against the motion
        assert f"spike: one sample of E at {at:.2f} s" in told(record)


def test_a_sharp_onset_is_no_spike():
    rng = np.random.default_rng(0)
    time_in_s = np.arange(4000) / 100
    motion = np.where(time_in_s > 10, 50 * np.exp(-(time_in_s - 10) / 4), 0) * np.sin(2 * np.pi * 8 * (time_in_s - 10))
    wave = motion + 0.01 * rng.normal(size=(3, 4000))
    assert quality.faults(wave, 100.0) == []


def test_drift(clean):
    def lean(share):
        def change(wave):
            wave += share * np.abs(wave).max() * np.linspace(-1, 1, wave.shape[1])

        return planted(clean, change)

    assert "drift: the pre-event level is" in told(lean(0.4))
    assert "drift" not in told(lean(0.05))


def test_the_pre_event_window_ends_at_p():
    wave = np.random.default_rng(0).normal(size=(3, 4000))
    wave[:, 200:500] += 3  # one-sided motion after P
    assert any("drift" in text for text in quality.faults(wave, 100.0))
    assert not any("drift" in text for text in quality.faults(wave, 100.0, p_arrival_sample=200.0))


def test_duplicates_are_named_once_and_found_at_another_lag(clean):
    table = clean.table
    shifted = np.roll(clean.waveforms, 300, axis=2)
    other = clean.waveforms[:, ::-1] * 1.5
    table = np.repeat(table.index, 4)
    table = clean.table.iloc[table].assign(file=["a", "b", "c", "d"]).reset_index(drop=True)
    records = Records(np.concatenate([clean.waveforms, other, shifted, clean.waveforms]), 100.0, table)
    assert quality.duplicates(records) == ["", "", "duplicate of a", "duplicate of a"]


def test_records_of_equal_peak_are_not_duplicates(clean):
    wave = clean.waveforms[0].astype(float)
    reversed_in_time = wave[:, ::-1]
    table = clean.table.iloc[[0, 0]].assign(file=["a", "b"])
    assert quality.duplicates(Records(np.stack([wave, reversed_in_time]), 100.0, table)) == ["", ""]


def test_two_ids_for_one_event_are_noted(simulated):
    two = simulated.take([0, 1, 2]).with_columns(
        event=["here", "there", "far"],
        origin_time=["2020-01-01T00:00:00Z", "2020-01-01T00:00:40Z", "2020-01-01T00:05:00Z"],
    )
    notes = quality.event_notes(two.table)
    assert "also there" in notes[0] and "also here" in notes[1] and notes[2] == ""


def test_read_folder_writes_the_text_and_the_report(tmp_path):
    """A spike of one sample at the native rate, which resampling to 20 Hz would hide."""
    path = shared("records/formats") / "afad_txt_old" / "20170720223109_4806.txt"
    lines = path.read_bytes().split(b"\r\n")
    lines[18 + 1000] = b"  200.0   0.0   0.0"
    (tmp_path / path.name).write_bytes(b"\r\n".join(lines))
    records, report = formats.read_folder(tmp_path, sampling_rate_in_hz=20.0)
    assert "spike: one sample of N at 10.00 s" in records.table["quality"][0]
    assert report["reason"][0] == records.table["quality"][0] and report["outcome"][0] == "read"
