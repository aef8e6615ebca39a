"""CGM-GM: its published size, its arithmetic against closed forms, its options, and planted scaling learned back."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from tsgen import cgm, config, generate, scenario, spectrogram, trainer
from tsgen.model import kl
from tsgen.records import Records

RATE_IN_HZ = 50.0
N_SAMPLES = 512
SMALL = config.CGMSettings(
    N_SAMPLES, RATE_IN_HZ, n_fft=64, hop=16, latent=4, record_latent=2, posterior_hidden=16, decoder_hidden=32
)
STATIONS = ("SIM.01", "SIM.02")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The tensors here are small: a second thread would only wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def planted(n, seed=0, stations=STATIONS, scatter=0.0):
    """Noise whose ln amplitude is 1.5 (M - 5) - ln(R / 30), plus 0.7 at the second station and a record's scatter."""
    rng = np.random.default_rng(seed)
    magnitude, distance = rng.uniform(4, 6, n), np.exp(rng.uniform(np.log(10), np.log(90), n))
    station = np.array(stations)[np.arange(n) % len(stations)]
    level = 1.5 * (magnitude - 5) - np.log(distance / 30) + 0.7 * (station == "SIM.02") + scatter * rng.normal(size=n)
    table = pd.DataFrame(
        {
            "station": station,
            "event": [f"e{seed}-{i}" for i in range(n)],
            "kind": "simulated",
            "source": "planted",
            "samples": N_SAMPLES,
            "native_sampling_rate_in_hz": RATE_IN_HZ,
            "usable_from_hz": 0.1,
            "usable_to_hz": 20.0,
            "magnitude": magnitude,
            "distance_in_km": distance,
            "depth_in_km": 10.0,
            "vs30_in_m_per_s": np.where(station == "SIM.02", 300.0, 600.0),
        }
    )
    waveforms = 30 * np.exp(level)[:, None, None] * rng.normal(size=(n, 3, N_SAMPLES))
    return Records(waveforms.astype(np.float32), RATE_IN_HZ, table)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small model that has learned from planted records; nothing in it is trained long."""
    torch.manual_seed(0)
    model = cgm.CGMGM(replace(SMALL, n_stations=2))
    background = planted(240, seed=1, stations=("SIM.B1",), scatter=0.3)
    settings = config.TrainingSettings(8, 10, 10, 6e-3, 3e-3)
    trainer.fit(model, background, planted(120, seed=2, scatter=0.3), settings, tmp_path_factory.mktemp("cgm"))
    return model


def ln_rms(waveforms):
    return np.log(waveforms.std(axis=(1, 2)))


# --- sizes


def test_published_size():
    model = cgm.CGMGM(cgm.published())
    assert sum(p.numel() for p in model.parameters()) == cgm.parameter_count(cgm.published()) == 173_009


@pytest.mark.parametrize("name", config.PROFILES)
@pytest.mark.parametrize("change", [{}, {"n_stations": 5}, {"record_latent": 0, "residual": "none", "clock": 0}])
def test_parameter_count_is_predicted(name, change):
    settings = replace(config.profile(name).cgm, **change)
    assert sum(p.numel() for p in cgm.CGMGM(settings).parameters()) == cgm.parameter_count(settings)


@pytest.mark.parametrize("name", config.PROFILES)
def test_shapes(name):
    settings = config.profile(name).cgm
    model = cgm.CGMGM(replace(settings, iterations=1))
    scenarios = pd.DataFrame({"station": "X.1", "magnitude": [5.0, 6.0], "distance_in_km": 30.0, "depth_in_km": 8.0})
    records = generate.sample(model, scenarios=scenarios, n=2)
    assert records.waveforms.shape == (4, 3, settings.n_samples)
    assert records.sampling_rate_in_hz == config.profile(name).sampling_rate_in_hz
    assert records.table["magnitude"].tolist() == [5.0, 5.0, 6.0, 6.0]
    assert set(records.table["kind"]) == {"generated"} and records.table["event"].is_unique


@pytest.mark.parametrize("change", [{"faults": ("phase",)}, {"residual": "rayleigh"}, {"n_components": 2}])
def test_unknown_options_raise(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(SMALL, **change)


# --- spectrograms


def test_ln_of_noise():
    z = spectrogram.transform(torch.randn(200, 4096, generator=torch.Generator().manual_seed(0)), 160, 46)[..., 5:-5]
    ln = z.abs().log()
    assert z.abs().square().mean().item() == pytest.approx(1, abs=0.01)
    mean, std = spectrogram.ln_of_noise(81)
    torch.testing.assert_close(ln.mean((0, 2))[:, None], mean, atol=0.03, rtol=0)
    torch.testing.assert_close(ln.std((0, 2))[:, None], std, atol=0.04, rtol=0)
    assert mean[5].item() == pytest.approx(-0.2886, abs=1e-4)


@pytest.mark.parametrize(("window", "low", "high"), [("hann", -0.02, 0.02), ("mismatched", 0.40, 0.55)])
def test_round_trip(window, low, high):
    """One window everywhere keeps the amplitude; the public code's mismatched one raises it by nearly ln sqrt(8/3)."""
    x = torch.from_numpy(planted(3).waveforms) * torch.hann_window(N_SAMPLES)
    amplitude = spectrogram.transform(x, 160, 46, window).abs()
    start = torch.polar(amplitude, 6.2832 * torch.rand(amplitude.shape, generator=torch.Generator().manual_seed(1)))
    y = spectrogram.griffin_lim(amplitude, start, 160, 46, N_SAMPLES, iterations=100)
    again = spectrogram.transform(y, 160, 46).abs()
    strong = spectrogram.transform(x, 160, 46).abs()
    keep = strong > 0.1 * strong.amax((-2, -1), keepdim=True)  # a phase that is not quite right fills the zeros
    assert low < (again / strong)[keep].log().median().item() < high
    assert low < (y.std() / x.std()).log().item() < high


def test_inverse_is_exact():
    x = torch.randn(2, 3, 512, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(spectrogram.inverse(spectrogram.transform(x, 64, 16), 64, 16, 512), x)


def test_mean_of_log_is_corrected():
    """A level that is the mean log amplitude of noise gives noise of that strength: without the correction -0.29."""
    model = cgm.CGMGM(replace(SMALL, residual="none"))
    level = spectrogram.ln_of_noise(33)[0] + torch.full((40, 3, 33, model.n_frames), np.log(7.0))
    x = model.waves(level, spectrogram.generators((0, i) for i in range(40)))
    assert np.log(x[..., 64:-64].std() / 7) == pytest.approx(0, abs=0.02)


# --- probability


def test_divergence():
    values = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    mean, log_variance, prior_mean, prior_log_variance = values
    first, second = Normal(mean, (0.5 * log_variance).exp()), Normal(prior_mean, (0.5 * prior_log_variance).exp())
    torch.testing.assert_close(kl(*values), kl_divergence(first, second))


@pytest.fixture
def correlated():
    """A model whose record's latent has a prior of which every entry of the mixing differs."""
    torch.manual_seed(1)
    model = cgm.CGMGM(replace(SMALL, record_latent=4))
    torch.nn.init.normal_(model.record_prior.entries.weight, std=0.3)
    return model


def prior_of(model, c):
    mean, log_variance, mixing = model.record_prior(c)
    scale = mixing * (0.5 * log_variance).exp()[:, None]  # (batch, u, u), lower triangular
    return MultivariateNormal(mean, scale_tril=scale)


def test_divergence_from_a_correlated_prior(correlated):
    c, mean, log_variance = torch.randn(5, SMALL.condition), torch.randn(5, 4), torch.randn(5, 4)
    posterior = MultivariateNormal(mean, torch.diag_embed(log_variance.exp()))
    found = correlated.record_divergence((mean, log_variance), c)
    torch.testing.assert_close(found, kl_divergence(posterior, prior_of(correlated, c)))


def test_records_latent_is_drawn_as_the_posterior_tells(trained):
    """Means and covariances by station, of draws at the records' own scenarios against the posterior's mixture."""
    records = planted(600, seed=7, scatter=0.3)
    model = cgm.CGMGM(trained.settings)
    model.load_state_dict(trained.state_dict())
    model.stations = trained.stations
    with torch.no_grad():  # a prior network that is far off is not what is drawn from
        model.record_prior.network[-1].bias += 5.0
        model.fit_record_law(records)
        parts = list(model._encoded(records))
        c, station = torch.cat([part[2] for part in parts]), torch.cat([part[3] for part in parts])
        mean, log_variance = (torch.cat([part[5][i] for part in parts]) for i in range(2))
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(50, *mean.shape, generator=generator)
        told = (mean + (0.5 * log_variance).exp() * noise).transpose(0, 1)  # (record, draw, u)
        drawn = torch.stack([model.draw_record(c, station, each) for each in noise], 1)
    for number in range(2):
        ours, theirs = (x[station == number].flatten(0, 1) for x in (drawn, told))
        scale = theirs.std(0)
        torch.testing.assert_close(ours.mean(0) / scale, theirs.mean(0) / scale, atol=0.1, rtol=0)
        covariances = (torch.cov(x.T) / scale / scale[:, None] for x in (ours, theirs))
        torch.testing.assert_close(*covariances, atol=0.15, rtol=0)
    unseen = model.draw_record(c[:1].expand(4000, -1), torch.full((4000,), -1), torch.randn(4000, 2))
    assert torch.linalg.det(torch.cov(unseen.T)) > 0  # any other station has the pooled one


def test_std_of_a_draw():
    log_variance = torch.tensor(np.log(9.0))
    assert cgm.CGMGM(SMALL).draw(0, log_variance, 1).item() == pytest.approx(3)
    assert cgm.CGMGM(replace(SMALL, faults=("std",))).draw(0, log_variance, 1).item() == pytest.approx(4.5)


def test_prior_in_one_call_is_the_prior_step_by_step():
    torch.manual_seed(0)
    model = cgm.CGMGM(SMALL)
    context = torch.randn(3, SMALL.condition + SMALL.record_latent)
    z, rolled = model.roll_prior(context, torch.randn(3, model.n_frames, SMALL.latent))
    torch.testing.assert_close(model.prior(z, context), rolled)


# --- objectives


def test_objectives_against_planted_differences():
    power = torch.ones(2, 3, 9, 40)
    for term, louder in {"spectral": 1, "envelope": 1, "duration": 0}.items():
        assert spectrogram.difference(term, power, power, 0.5).item() == 0
        found = spectrogram.difference(term, np.e * power, power, 0.5)  # a factor of e in power is one unit of its ln
        assert found.item() == pytest.approx(louder, rel=1e-4, abs=1e-8)
    torch.testing.assert_close(spectrogram.significant(power, 0.5), torch.full((2,), 0.9 * 40 * 0.5))
    half = power.clone()
    half[..., 20:] = 0
    assert spectrogram.difference("duration", half, power, 0.5).item() == pytest.approx(np.log(2) ** 2, rel=1e-3)


def test_terms_are_switchable():
    records = planted(8)
    for name in ("spectral", "envelope", "duration"):
        torch.manual_seed(0)
        model = cgm.CGMGM(replace(SMALL, **{f"{name}_weight": 0.5}))
        terms = model.terms(model.training_arrays(records))
        assert set(terms) == {"error", "divergence", name} and terms[name] > 0
        gradient = torch.autograd.grad(terms[name], model.decoder[-1].weight)[0]
        assert gradient.abs().max() > 0
    model = cgm.CGMGM(SMALL)
    assert set(model.terms(model.training_arrays(records))) == {"error", "divergence"}


# --- training and scenarios


def test_own_recipe():
    settings = config.profile("quick")
    recipe = settings.cgm.recipe(settings.training)
    assert (recipe.batch_size, recipe.epochs_phase_0) == (settings.cgm.batch_size, settings.cgm.epochs[0])
    assert recipe.weight_decay == settings.training.weight_decay


def test_records_without_magnitude_or_distance_are_left_out():
    records = planted(6)
    table = records.table.assign(magnitude=[np.nan, 5, 5, 5, 5, 5], distance_in_km=[9, np.nan, 9, 9, 9, 9])
    table["depth_in_km"] = np.nan  # this one counts as the mean
    arrays = cgm.CGMGM(SMALL).training_arrays(Records(records.waveforms, RATE_IN_HZ, table))
    assert [len(array) for array in arrays] == [4] * 4
    with pytest.raises(ValueError, match="magnitude and a distance"):
        cgm.CGMGM(SMALL).training_arrays(Records(records.waveforms, RATE_IN_HZ, table.assign(magnitude=np.nan)))


def test_scaling_comes_from_the_first_records_alone():
    model, first = cgm.CGMGM(SMALL), planted(20)
    model.training_arrays(first)
    before = model.amplitude_shift.clone()
    model.training_arrays(Records(100 * first.waveforms, RATE_IN_HZ, first.table))
    assert torch.equal(before, model.amplitude_shift)
    scaled = model.frames(model.log_amplitude(torch.from_numpy(first.waveforms)))
    assert abs(scaled.mean()) < 1e-3 and scaled.std().item() == pytest.approx(1, abs=0.01)


def test_planted_scaling_is_learned(trained):
    """ln amplitude must rise with magnitude, fall with distance and know the station, as it was planted."""
    base = {"station": "SIM.01", "magnitude": 5.0, "distance_in_km": 30.0, "depth_in_km": 10.0}
    changes = [{}, {"magnitude": 5.8}, {"distance_in_km": 60.0}, {"station": "SIM.02"}]
    records = generate.sample(trained, scenarios=pd.DataFrame([base | change for change in changes]), n=100, seed=3)
    level = ln_rms(records.waveforms).reshape(4, 100).mean(1)
    assert level[0] == pytest.approx(np.log(30), abs=0.25)
    np.testing.assert_allclose(level[1:] - level[0], [1.2, -np.log(2), 0.7], atol=0.3)


def test_spread_of_records_is_learned(trained):
    """The planted scatter is one number a record, ln std 0.3: the record's latent has to carry it."""
    row = {"station": "SIM.01", "magnitude": 5.0, "distance_in_km": 30.0}
    level = ln_rms(generate.sample(trained, scenarios=pd.DataFrame([row]), n=200, seed=4).waveforms)
    assert 0.2 < level.std() < 0.42


def test_residual_spread_is_that_of_noise(trained):
    std = (trained.residual_log_std.exp() * trained.amplitude_scale).detach()[:, 2:-2]
    assert std.mean().item() == pytest.approx(spectrogram.RAYLEIGH_LN[1], abs=0.08)


def test_sampling_is_repeatable_and_independent_of_its_batch(trained, monkeypatch):
    rows = planted(3, seed=9).table[["station", "magnitude", "distance_in_km"]]
    both = generate.sample(trained, scenarios=rows, n=4, seed=5)
    np.testing.assert_array_equal(both.waveforms, generate.sample(trained, scenarios=rows, n=4, seed=5).waveforms)
    assert np.abs(both.waveforms - generate.sample(trained, scenarios=rows, n=4, seed=6).waveforms).max() > 1
    monkeypatch.setattr(scenario, "BATCH", 5)
    parts = generate.sample(trained, scenarios=rows, n=4, seed=5).waveforms
    np.testing.assert_allclose(both.waveforms, parts, atol=1e-3 * both.waveforms.std())
    alone = generate.sample(trained, scenarios=rows.iloc[:1], n=2, seed=5).waveforms
    np.testing.assert_allclose(both.waveforms[:2], alone, atol=1e-3 * both.waveforms.std())


def test_station_scenarios(trained):
    records = generate.sample(trained, n=5, seed=1)
    assert records.stations == list(STATIONS) and len(records) == 10 and records.table["event"].is_unique
    given = pd.concat([trained.scenarios_of(station, 5, seed=1) for station in STATIONS])
    np.testing.assert_array_equal(records.waveforms, generate.sample(trained, scenarios=given, seed=1).waveforms)
    drawn = trained.scenarios_of("SIM.02", 50)
    assert set(drawn["magnitude"]) <= set(planted(120, seed=2).table["magnitude"])
    np.testing.assert_allclose(drawn["vs30_in_m_per_s"], 300)


def test_unseen_stations(trained):
    row = {"station": "XX.9", "magnitude": 5.0, "distance_in_km": 30.0}
    with pytest.raises(ValueError, match=r"XX\.9.*vs30_in_m_per_s"):
        generate.sample(trained, scenarios=pd.DataFrame([row]))
    assert len(generate.sample(trained, scenarios=pd.DataFrame([row | {"vs30_in_m_per_s": 500.0}]))) == 1
    with pytest.raises(ValueError, match="lack the columns distance_in_km"):
        generate.sample(trained, scenarios=pd.DataFrame([{"station": "SIM.01", "magnitude": 5.0}]))
    with pytest.raises(ValueError, match="above 0 km"):
        generate.sample(trained, scenarios=pd.DataFrame([row | {"distance_in_km": 0.0}]))


def test_reconstruction(trained):
    records = planted(20, seed=11, scatter=0.3)
    again = generate.reconstruct(trained, records)
    difference = ln_rms(again.waveforms) - ln_rms(records.waveforms)
    assert abs(difference.mean()) < 0.1 and difference.std() < 0.15
    one = generate.reconstruct(trained, records.take([7])).waveforms
    np.testing.assert_allclose(again.waveforms[7:8], one, atol=1e-3 * one.std())


def test_power_that_the_decoder_adds_is_corrected(trained):
    """A bias planted in the decoder is found on some records and gone from what is generated for others' scenarios."""
    model = cgm.CGMGM(trained.settings)
    model.load_state_dict(trained.state_dict())
    model.stations = trained.stations
    with torch.no_grad():
        model.decoder[-1].bias += 0.5 * torch.tensor([-1.0, 0.0, 1.0]).repeat_interleave(33)
        model.station_spectrum[1, 43:49] += 1.0  # north alone
    records, others = planted(120, seed=2, scatter=0.3), planted(60, seed=12, scatter=0.3)

    def off():
        ours = generate.sample(model, scenarios=others.table, n=4, seed=2).waveforms
        return np.log(ours.std(axis=2)).mean(0) - np.log(others.waveforms.std(axis=2)).mean(0)  # (component,)

    assert np.ptp(off()) > 0.5
    model.fit_level(records)
    assert np.ptp(off()) < 0.05 and np.abs(off()).max() < 0.15  # 60 others, of scatter 0.3
    fitted = model.level_correction[-1].mean((1, 2))
    torch.testing.assert_close(fitted[2] - fitted[0], model.amplitude_scale.mean(), atol=0.05, rtol=0)
    first, second = model.level_correction[:2, 1, :, 0]
    added = (second - first)[11:15] - (second - first)[20:30].mean()  # one bin from the edges: neighbours are averaged
    torch.testing.assert_close(added, model.amplitude_scale[1, 11:15, 0], atol=0.15, rtol=0)


def test_what_training_was_interrupted_goes_on_to_the_same_model(tmp_path, monkeypatch):
    settings = config.TrainingSettings(8, 2, 2, 3e-3, 3e-3, keeps_background=True)
    sets = planted(24, seed=1, stations=("SIM.B1",)), planted(16, seed=2)

    def fit(folder, seed=0):
        torch.manual_seed(seed)
        model = cgm.CGMGM(replace(SMALL, n_stations=2, iterations=2))
        trainer.fit(model, *sets, settings, folder)
        return model

    whole, save, saved = fit(tmp_path / "whole"), trainer._save, []

    def save_and_stop(*arguments):
        save(*arguments)
        saved.append(None)
        if len(saved) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "_save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / "part")
    resumed = fit(tmp_path / "part", seed=5)  # first weights, scaling and scenarios come from the checkpoint
    expected = whole.state_dict()
    assert resumed.bank.to_dict("list") == expected.pop("_extra_state")["bank"] and len(resumed.bank) == 16
    assert all(torch.equal(resumed.state_dict()[name], tensor) for name, tensor in expected.items())


def test_checkpoint_keeps_scenarios_and_scaling(trained):
    copy = cgm.CGMGM(trained.settings)
    copy.load_state_dict(trained.state_dict())
    copy.stations = trained.stations
    ours, theirs = (generate.sample(model, n=1).waveforms for model in (trained, copy))
    np.testing.assert_array_equal(ours, theirs)


def test_published_form_runs():
    settings = replace(cgm.published(), n_samples=N_SAMPLES, n_fft=64, hop=16, sampling_rate_in_hz=50.0, iterations=2)
    model = cgm.CGMGM(settings)
    arrays = model.training_arrays(planted(8))
    assert model.amplitude_scale.unique().numel() == 1
    model.loss(arrays, 0, 0.0, None).backward()
    assert model.prior_rnn.weight_hh_l0.grad.abs().max() > 0


def test_a_target_record_without_magnitude_is_no_scenario():
    records = planted(6, stations=("SIM.01",))
    table = records.table.assign(magnitude=[np.nan, 5, 5, 5, 5, 5], distance_in_km=[9, np.nan, 9, 9, 9, 9])
    model = cgm.CGMGM(replace(SMALL, n_stations=1))
    model.stations = ("SIM.01",)
    model.end_of_phase(1, Records(records.waveforms, RATE_IN_HZ, table), None)
    assert len(model.bank) == 4 and np.isfinite(model.scenarios_of("SIM.01", 30)[["magnitude"]]).all().all()


def test_information_of_the_latents(trained):
    """The record's scatter is all that differs from noise: its latent tells it, the frames' have nothing to add."""
    nats = trained.information(planted(30, seed=13, scatter=0.3))
    assert nats["record"] > 1 > nats["frame"] >= 0
    louder = trained.information(planted(30, seed=13, scatter=1.5))
    assert louder["record"] > 1.5 * nats["record"]
