"""The carrier: a record and its own resynthesis shake alike and are not the same wave; the fine filter is needed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import fft
from test_records import made

from tsgen import config, hvsr, measures, simulate, spectrogram
from tsgen.carrier import Carrier, renoised
from tsgen.records import Records

SETTINGS = replace(config.profile("quick").simulation, n_background_stations=0, n_target_records=(12,) * 5)
LONG_PERIODS = measures.SPECTRAL[-2:]  # above 2 s a record holds one or two cycles, whose phases noise does not keep


@pytest.fixture(scope="module")
def recordings():
    """Of four networks (they differ more than noise does), others than those that the constants were chosen on."""
    return Records.concatenate([simulate.network(SETTINGS, seed) for seed in (15, 16, 17, 18)])


def resynthesised(records, key=0, fine=True):
    """The records, each in noise of its own; without its fine shape: with the one that coarsely shaped noise has."""
    carrier, x = Carrier(records.n_samples, records.sampling_rate_in_hz), torch.from_numpy(np.array(records.waveforms))
    coarse, spectrum = carrier.coarse(x), carrier.fine(x)
    if not fine:
        noise = spectrogram.normal(spectrogram.generators(("coarse", i) for i in range(len(x))), 3, x.shape[2])
        shaped = spectrogram.transform(noise, carrier.n_fft, carrier.hop) * coarse.sqrt()
        spectrum = carrier.fine(spectrogram.inverse(shaped, carrier.n_fft, carrier.hop, x.shape[2]))
    waves = carrier.waves(coarse, spectrum, spectrogram.generators((key, i) for i in range(len(x))))
    return Records(waves.numpy(), records.sampling_rate_in_hz, records.table)


@pytest.fixture(scope="module")
def again(recordings):
    return resynthesised(recordings)


def differences(records, others):
    """(n, measures) DataFrame of ln ratios, other over record."""
    return measures.measures(others) - measures.measures(records)


def test_a_record_and_its_resynthesis_shake_alike(recordings, again):
    """Standard errors over 240 records: 0.01 at most of ln PSA, 0.006 of ln D5-95."""
    found = differences(recordings, again)
    error = found.std() / np.sqrt(len(found))
    assert error[list(measures.SPECTRAL)].max() < 0.012 and error["d5_95"] < 0.01
    psa = found[list(measures.SPECTRAL)].mean().abs()
    assert psa.drop(list(LONG_PERIODS)).max() < 0.03 and psa.max() < 0.06
    assert abs(found["d5_95"].mean()) < 0.05
    assert abs(found["arias"].mean()) < 0.01


def test_f0_of_stations_is_kept(recordings, again):
    was, now = (hvsr.hvsr(some).f0_in_hz for some in (recordings, again))
    for station in recordings.stations:
        own = (recordings.table["station"] == station).to_numpy()
        assert np.median(now[own]) == pytest.approx(np.median(was[own]), rel=0.03)
    assert np.median(np.abs(np.log(now / was))) < 0.05  # of each record


def test_the_coarse_shape_alone_does_not_do(recordings):
    """Windows of 1.28 s blur an f0 of 1.8 Hz and the fall of the spectrum below 1 Hz."""
    some = recordings.take(np.arange(0, len(recordings), 2))
    coarse = resynthesised(some, fine=False)
    assert differences(some, coarse)[list(measures.SPECTRAL)].mean().abs().max() > 0.3
    was, now = (hvsr.hvsr(side).f0_in_hz for side in (some, coarse))
    assert np.median(np.abs(np.log(now / was))) > 0.1


def test_it_is_no_copy_of_the_wave(recordings, again):
    """A record correlates with its resynthesis as two resyntheses do, which share no random number (0.29)."""
    some, other = (side.take(np.arange(0, len(recordings), 3)) for side in (recordings, again))
    third = resynthesised(some, key=1)
    of_source, of_noise = (np.median(largest_correlation(side, third)) for side in (some, other))
    assert of_source == pytest.approx(of_noise, abs=0.03)


def largest_correlation(a, b):
    """(n, 3) normalised cross-correlation at its best lag."""
    a, b = (np.array(some.waveforms, float) for some in (a, b))
    product = fft.rfft(a, 2 * a.shape[2]) * fft.rfft(b, 2 * a.shape[2]).conj()
    return np.abs(fft.irfft(product)).max(axis=2) / np.linalg.norm(a, axis=2) / np.linalg.norm(b, axis=2)


def test_another_rate_has_windows_of_the_same_length():
    for rate in (50.0, 100.0, 200.0):
        carrier = Carrier(1024, rate)
        assert (carrier.n_fft / rate, carrier.hop / rate) == (1.28, 0.32)
        assert carrier.frequency_in_hz[-1] <= rate / 2


def test_renoised_records_name_their_source_and_are_as_long():
    records = made(n=24, t=256, stations=2, distance_in_km=np.random.default_rng(3).uniform(10, 80, 24))
    n = np.where(np.arange(len(records)) % 4 == 0, 150, 256)
    some = records.with_columns(samples=n)
    made_up = renoised(some, 70, seed=4)
    assert made_up.table["event"].is_unique and set(made_up.table["source"]) == {"control_renoised"}
    for row, wave in zip(made_up.table.itertuples(), made_up.waveforms, strict=True):
        source = some.select(station=row.station, event=row.made_from)
        assert row.samples == source.table["samples"].item() and row.weights == "1"
        assert row.distance_in_km == pytest.approx(source.table["distance_in_km"].item())
        assert not wave[:, row.samples :].any() and wave[:, : row.samples].all()
        true = source.waveforms[0, :, : row.samples].astype(float)
        assert wave[:, : row.samples].std() == pytest.approx(true.std(), rel=0.15)
        assert abs(np.corrcoef(wave[:, : row.samples].ravel(), true.ravel())[0, 1]) < 0.5
    again = made_up.table["made_from"].duplicated(keep=False).to_numpy()
    assert len(np.unique(made_up.waveforms[again, 0, 9])) == again.sum()  # each draw has noise of its own
    np.testing.assert_array_equal(renoised(some, 70, seed=4).waveforms, made_up.waveforms)
