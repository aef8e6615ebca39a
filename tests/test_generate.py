"""Mixing, reconstruction and the controls, with models whose answer is known."""

import numpy as np
import pytest
import torch
from test_records import made

from tsgen import config, generate, timesnet


@pytest.fixture(scope="module")
def records():
    rng = np.random.default_rng(3)
    some = made(n=24, t=256, stations=2, distance_in_km=rng.uniform(10, 80, 24), p_arrival_sample=50.0)
    return some


@pytest.fixture(scope="module")
def model(records):
    torch.manual_seed(0)
    settings = config.TimesNetSettings(256, 8, 16, 3, 2, n_stations=2)
    net = timesnet.TimesNetGen(settings).eval()
    net.stations = tuple(records.stations)
    return net


def test_mixing_latents_is_averaging_standardised_reconstructions(model, records):
    own = records.select(station="TK.0000")
    z, mean, std = model.encode_records(own)
    matrix = generate.weight_matrix(np.random.default_rng(0), 6, len(own), 5)
    mixed = generate.decode_mixture(model, z, mean, std, matrix, "equal")
    with torch.no_grad():
        each = model.decode(z, torch.zeros_like(mean), torch.ones_like(std)).transpose(1, 2).numpy()
    m, s = mean.numpy().transpose(0, 2, 1), std.numpy().transpose(0, 2, 1)
    for row, found in zip(matrix, mixed, strict=True):
        expected = np.tensordot(row, each, 1) * np.tensordot(row, s, 1) + np.tensordot(row, m, 1)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("order", "number"), [((0, 1), 0), ((1, 0), 1), ((), -1)])
def test_a_model_told_other_stations_encodes_with_their_one_hots(model, records, order, number):
    own, stations = records.select(station="TK.0000"), model.stations
    told = model.told(stations[i] for i in order)
    x = torch.tensor(own.waveforms).transpose(1, 2)
    with torch.no_grad():
        expected = model.encode(x, torch.full((len(own),), number))[0]
        others = [model.encode(x, torch.full((len(own),), i))[0] for i in {-1, 0, 1} - {number}]
    found = told.encode_records(own)[0]
    torch.testing.assert_close(found, expected)
    assert min((found - other).abs().max() for other in others) > 1e-2
    assert model.stations == stations


def test_generated_rows_say_what_they_were_made_from(model, records):
    generated = generate.mix(model, records, 7, k=3, seed=2)
    assert len(generated) == 14 and generated.table["event"].is_unique
    assert set(generated.table["kind"]) == {"generated"} and set(generated.table["source"]) == {"timesnet"}
    for row in generated.table.itertuples():
        events, weights = row.made_from.split(";"), [float(w) for w in row.weights.split(";")]
        assert len(set(events)) == 3 and sum(weights) == pytest.approx(1, abs=1e-4)
        own = records.select(station=row.station, event=events).table
        assert row.magnitude == pytest.approx(own["magnitude"].mean())
        assert row.distance_in_km == pytest.approx(np.exp(np.log(own["distance_in_km"]).mean()))
    again = generate.mix(model, records, 7, k=3, seed=2)
    np.testing.assert_array_equal(again.waveforms, generated.waveforms)
    assert np.abs(generate.mix(model, records, 7, k=3, seed=3).waveforms - generated.waveforms).max() > 0.1


def test_more_records_asked_for_than_there_are_takes_all(model, records):
    generated = generate.mix(model, records, 2, k=50)
    assert (generated.table["made_from"].str.count(";") == 11).all()


def test_unknown_weights_are_refused(model, records):
    with pytest.raises(ValueError, match="equal, dirichlet, energy"):
        generate.mix(model, records, 1, weights="loud")


def ln_std(some):
    return np.log(some.waveforms.astype(float).std(axis=2)).mean()


@pytest.mark.parametrize(
    ("weights", "replace", "expected"),
    [("equal", False, -0.80), ("equal", True, -0.66), ("dirichlet", False, -0.57), ("energy", False, 0.0)],
)
def test_averaging_white_noise_loses_what_theory_says(weights, replace, expected):
    # standardised white noise of equal std: ln std of the mix is half the ln of the sum of squared weights
    noise = made(n=24, t=4096, stations=2)
    mixed = generate.mix(generate.PlainAverage(), noise, 150, weights=weights, replace=replace)
    # with replacement from n = 12: half ln(1/5 + 4/(5 12)) = -0.66
    assert ln_std(mixed) - ln_std(noise) == pytest.approx(expected, abs=0.03)


def test_bootstrap_repeats_recordings(records):
    drawn = generate.bootstrap(records, 30)
    for row, wave in zip(drawn.table.itertuples(), drawn.waveforms, strict=True):
        source = records.select(station=row.station, event=row.made_from)
        np.testing.assert_array_equal(source.waveforms[0], wave)


def test_random_phase_keeps_the_spectrum_and_no_waveform():
    rng = np.random.default_rng(0)
    some = made(n=20, t=2048, stations=2)
    shaped = np.array(some.waveforms)
    envelope = np.exp(-((np.arange(2048) - 700) ** 2) / (2 * 150**2))
    spectrum = np.fft.rfft(shaped * envelope)
    spectrum *= np.exp(-((np.fft.rfftfreq(2048, 1 / 50) - 5) ** 2) / 2)  # a band around 5 Hz
    some._stored[:] = np.fft.irfft(spectrum, 2048) + 1e-4 * rng.standard_normal(shaped.shape)
    made_up = generate.random_phase(some, 12)
    frequency = np.fft.rfftfreq(2048, 1 / 50)
    power = (np.abs(np.fft.rfft(made_up.waveforms)) ** 2).mean((0, 1))
    assert abs(np.average(frequency, weights=power) - 5) < 0.3
    strength = (made_up.waveforms.astype(float) ** 2).mean((0, 1))
    assert strength[400:1000].mean() > 5 * strength[1300:].mean()
    flat = made_up.waveforms.reshape(len(made_up), -1), some.waveforms.reshape(len(some), -1)
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in flat)
    assert np.abs(a @ b.T).max() < 0.5


def test_another_station_s_records_carry_the_wrong_name(model, records):
    generated = generate.mix(model, records, 4)
    wrong = generate.other_station(generated)
    first = wrong.select(station="TK.0000").waveforms
    np.testing.assert_array_equal(first, generated.select(station="TK.0001").waveforms)
    assert wrong.table["event"].is_unique


def test_reconstruction_keeps_the_table_and_names_its_origin(model, records):
    back = generate.reconstruct(model, records)
    assert list(back.table["made_from"]) == list(records.table["event"])
    assert back.table["event"].is_unique and set(back.table["kind"]) == {"generated"}
    assert back.waveforms.shape == records.waveforms.shape


def test_a_released_bank_generates_without_records(model, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for station in ("0205", "1716"):
        arrays[f"latents_{station}"] = rng.standard_normal((6, 256, 8)).astype(np.float32)
        arrays[f"means_{station}"] = np.zeros((6, 3), np.float32)
        arrays[f"stdev_{station}"] = np.ones((6, 3), np.float32)
    np.savez(tmp_path / "bank.npz", **arrays)
    bank = timesnet.ReleasedBank(tmp_path / "bank.npz")
    generated = generate.mix_bank(model, bank, 100.0, 3, k=1)
    assert generated.stations == ["TK.0205", "TK.1716"] and len(generated) == 6
    index = int(generated.table["made_from"][0].split("[")[1][:-1])
    with torch.no_grad():
        expected = model.decode(*(part[[index]] for part in bank.latents("0205")))[0].T.numpy()
    np.testing.assert_allclose(generated.waveforms[0], expected, atol=1e-5)


def test_a_model_without_a_prior_cannot_be_sampled(model):
    with pytest.raises(ValueError, match="no prior"):
        generate.sample(model)
