"""The spectrogram VAE: nothing is lost in the transform, divergence and sampler agree, the condition conditions."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from torch import distributions

from tsgen import generate, trainer
from tsgen.config import PROFILES, CVAESettings, TrainingSettings, replace
from tsgen.cvae import Spectrogram, SpectrogramCVAE, phase_error, shrunk_covariance
from tsgen.model import draw, kl, standardise
from tsgen.records import Records

RATE_IN_HZ = 50.0
TINY = CVAESettings(256, n_fft=64, hop=16, latent=8, channels=(8, 16), n_stations=2, station_embedding=4)
TRAINING = TrainingSettings(4, 1, 1, 1e-3, 1e-3)


@pytest.fixture(autouse=True)
def one_thread():
    """Maps this small wait for a second thread longer than they compute: 2 s against 70 s on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def records_of(waveforms, stations):
    n = len(waveforms)
    table = pd.DataFrame({"station": stations, "event": [f"E{i}" for i in range(n)], "kind": "simulated"})
    table = table.assign(source="test", samples=waveforms.shape[2], native_sampling_rate_in_hz=RATE_IN_HZ)
    return Records(waveforms, RATE_IN_HZ, table.assign(usable_from_hz=0.0, usable_to_hz=20.0))


def noise_records(n=12, seed=0, stations=("X.A", "X.B")):
    rng = np.random.default_rng(seed)
    waveforms = rng.standard_normal((n, 3, TINY.n_samples)) * rng.lognormal(1, 1, (n, 3, 1))
    return records_of(waveforms.astype(np.float32), [stations[i % len(stations)] for i in range(n)])


@pytest.fixture
def model():
    """Untrained weights, embeddings apart from zero, the sampler fitted to 12 records of two stations."""
    torch.manual_seed(1)
    built = SpectrogramCVAE(TINY)
    built.stations = ("X.A", "X.B")
    torch.nn.init.normal_(built.embedding.weight)
    built.end_of_phase(1, noise_records(), TRAINING)
    return built.eval()


@pytest.mark.parametrize("profile", PROFILES)
def test_spectrogram_and_back_is_the_record_to_its_edges(profile):
    spectrogram = Spectrogram(PROFILES[profile].cvae)
    x = torch.randn(4, 3, spectrogram.n_samples, generator=torch.Generator().manual_seed(0))
    x[1, :, spectrogram.n_samples // 5 :] *= 1e-3  # a quiet part below the floor
    x[2] = 0.0
    x[2, :, [0, -1]] = 5.0  # the first and the last sample alone
    x[3, 1] = 0.0  # a dead component
    maps = spectrogram.analyse(x)
    assert maps.shape == (4, 9, *spectrogram.shape)
    assert (spectrogram.synthesise(maps) - x).abs().max() < 1e-5


def test_white_noise_has_unit_amplitude_and_a_tone_a_steady_phase():
    settings = PROFILES["quick"].cvae
    spectrogram = Spectrogram(settings)
    x = torch.randn(20, 3, settings.n_samples, generator=torch.Generator().manual_seed(0))
    power = (spectrogram.analyse(x)[:, :3, 1:-1, 3:-3].exp() - settings.amplitude_floor).square().mean()
    assert abs(power - 1) < 0.03
    time = torch.arange(settings.n_samples)
    tone = torch.cos(2 * torch.pi * 37 / settings.n_fft * time + 1.0).expand(1, 3, -1)
    _, cosine, sine = spectrogram.analyse(tone)[0, ::3, 37, 3:-3]
    assert torch.allclose(cosine, torch.tensor(1.0).cos(), atol=1e-3)
    assert torch.allclose(sine, torch.tensor(1.0).sin(), atol=1e-3)


def test_divergence_is_that_of_the_law_that_draw_samples():
    mean = torch.tensor([[0.3, -1.0, 2.0]])
    ln_variance = torch.tensor([[-2.0, 0.4, 1.5]])
    torch.manual_seed(0)
    samples = draw(mean, ln_variance, torch.randn(200_000, 3))
    assert torch.allclose(samples.mean(0), mean[0], atol=0.02)
    assert torch.allclose(
        samples.std(0), (0.5 * ln_variance[0]).exp(), rtol=0.01
    )  # 0.5 exp(ln_variance): 6 to 80 % off
    posterior, prior = distributions.Normal(mean, samples.std(0)), distributions.Normal(0.0, 1.0)
    closed = distributions.kl_divergence(distributions.Normal(mean, (0.5 * ln_variance).exp()), prior).sum(1)
    assert torch.allclose(kl(mean, ln_variance).sum(1), closed, rtol=1e-5)
    monte_carlo = (posterior.log_prob(samples) - prior.log_prob(samples)).sum(1).mean()
    assert abs(monte_carlo - closed) < 0.02 * closed


def test_phase_error_asks_for_the_phase_where_the_energy_is():
    generator = torch.Generator().manual_seed(0)
    angle = 2 * torch.pi * torch.rand(2, 3, 33, 17, generator=generator)
    amplitude = torch.where(torch.rand(angle.shape, generator=generator) < 0.05, 10.0, 0.05)
    maps = torch.cat([amplitude.log(), angle.cos(), angle.sin()], dim=1)
    strong = (amplitude > 1).repeat(1, 2, 1, 1)
    right_where_strong, right_where_weak = maps.clone(), maps.clone()
    right_where_strong[:, 3:] *= torch.where(strong, 1.0, -1.0)
    right_where_weak[:, 3:] *= torch.where(strong, -1.0, 1.0)
    assert phase_error(maps, maps) == 0
    assert torch.isclose(
        phase_error(maps * torch.tensor([1.0] * 3 + [0.0] * 6)[:, None, None], maps), torch.tensor(1.0)
    )
    # unweighted, it is the other way round: 95 % of the bins are weak
    assert phase_error(right_where_strong, maps) < 0.5 < 3 < phase_error(right_where_weak, maps)


def test_shrinkage_is_its_formula_and_what_the_records_allow():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((7, 3)) @ rng.standard_normal((3, 3))
    centred, n = x - x.mean(0), len(x)
    covariance = np.cov(x.T)
    above, below = 0.0, 0.0
    for i in range(3):
        for j in set(range(3)) - {i}:
            w = centred[:, i] * centred[:, j]
            above += n / (n - 1) ** 3 * ((w - w.mean()) ** 2).sum()
            below += covariance[i, j] ** 2
    share = min(1, above / below)
    assert 0.01 < share < 0.99
    expected = (1 - share) * covariance + share * np.diag(np.diag(covariance))
    assert np.allclose(shrunk_covariance(torch.from_numpy(x)), expected)
    few = torch.from_numpy(rng.standard_normal((40, 256)) * np.geomspace(0.1, 3, 256))
    assert (
        torch.linalg.eigvalsh(torch.cov(few.T)).min()
        < 1e-10
        < 1e-3
        < torch.linalg.eigvalsh(shrunk_covariance(few)).min()
    )
    assert torch.equal(shrunk_covariance(few[:1]), torch.zeros(256, 256, dtype=few.dtype))
    root = rng.standard_normal((4, 4))
    many = torch.from_numpy(rng.standard_normal((100_000, 4)) @ root.T)
    assert np.allclose(shrunk_covariance(many), root @ root.T, atol=0.05 * np.trace(root @ root.T))


def test_station_gaussian_is_that_of_its_records_and_the_sampler_draws_it(model):
    records = noise_records()
    mean, ln_variance = model.posterior(records.select(station="X.B"))
    fitted = model.sampler["X.B"]
    assert torch.allclose(fitted["mean"], mean.mean(0), atol=1e-6)
    total = mean.var(0) + ln_variance.exp().mean(0)  # law of total variance
    assert torch.allclose(fitted["covariance"].diagonal(), total, rtol=1e-4)
    fitted["covariance"] = fitted["covariance"] + 0.5  # correlated, so that a transposed root would show
    z = model.sample_latents("X.B", 100_000, np.random.default_rng(0))
    assert torch.allclose(z.mean(0), fitted["mean"], atol=0.02)
    assert torch.allclose(torch.cov(z.T), fitted["covariance"], atol=0.03)


def test_samples_have_the_scale_of_the_record_that_they_name_and_follow_the_seed(model):
    records = noise_records()
    waveforms, made_from, rate = model.sample("X.A", 9, seed=3)
    assert waveforms.shape == (9, 3, TINY.n_samples) and waveforms.dtype == np.float32 and rate == RATE_IN_HZ
    assert len(set(made_from)) > 1
    for waveform, event in zip(waveforms, made_from, strict=True):
        own = records.select(event=event)
        assert own.stations == ["X.A"]
        assert np.allclose(waveform.std(1), own.waveforms[0].std(1), rtol=1e-3)
    again, other = model.sample("X.A", 9, seed=3), model.sample("X.A", 9, seed=4)
    assert np.array_equal(again[0], waveforms) and again[1] == made_from
    assert not np.allclose(other[0], waveforms)
    with pytest.raises(ValueError, match=r"X\.C.*X\.A, X\.B"):
        model.sample("X.C", 1, seed=0)


def test_the_station_changes_what_is_decoded_and_counts_in_phase_1_only(model):
    z = torch.randn(1, TINY.latent, generator=torch.Generator().manual_seed(0)).expand(3, -1)
    first, second, none = model.decode(z, torch.tensor([0, 1, -1]))
    assert (first - second).abs().max() > 0.01 and (first - none).abs().max() > 0.01
    untrained = SpectrogramCVAE(TINY)
    # one at a time: in one batch a processor may round the rows differently
    assert torch.equal(untrained.decode(z[:1], torch.tensor([0])), untrained.decode(z[:1], torch.tensor([-1])))
    records = noise_records()
    for phase, learns in ((0, False), (1, True)):
        model.zero_grad()
        model.loss(model.training_arrays(records), phase, 1.0, TRAINING).backward()
        assert bool(model.embedding.weight.grad.abs().max() > 0) is learns


def test_beta_rises_linearly_and_stays(model):
    model.settings = replace(TINY, beta=2.0, warm_up_share=0.5)
    batch = model.training_arrays(noise_records())

    def loss(phase, progress):
        torch.manual_seed(0)
        return model.loss(batch, phase, progress, TRAINING).item()

    full = loss(0, 0.5) - loss(0, 0.0)
    assert full == pytest.approx(
        2 * kl(*model.encode(model.spectrogram.analyse(batch[0]))).sum(1).mean().item() / 8, rel=1e-3
    )
    assert loss(0, 0.25) - loss(0, 0.0) == pytest.approx(full / 2, rel=1e-3)
    assert loss(0, 1.0) == loss(0, 0.5)
    model.settings = replace(model.settings, beta=0.0)
    without = loss(1, 0.0)
    model.settings = replace(model.settings, beta=2.0)
    assert loss(1, 0.0) - without == pytest.approx(full, rel=1e-3)


def test_a_record_is_reconstructed_the_same_whatever_its_batch(model):
    records = noise_records(40)
    records = records_of(records.waveforms + np.arange(3, dtype=np.float32)[:, None], records.table["station"])
    together = model.reconstruct(records)
    assert together.shape == records.waveforms.shape
    for i in (0, 7, 39):
        alone = model.reconstruct(records.take([i]))[0]
        assert np.abs(alone - together[i]).max() < 1e-4 * alone.std()
    assert np.allclose(together.std(2), records.waveforms.std(2), rtol=1e-3)
    assert np.allclose(together.mean(2), records.waveforms.mean(2), atol=1e-4)
    elsewhere = model.reconstruct(records.with_columns(station="X.C"))
    assert not np.allclose(elsewhere, together)
    with pytest.raises(ValueError, match=r"100 samples.*256"):
        model.reconstruct(records_of(np.ones((1, 3, 100), np.float32), ["X.A"]))


def test_a_checkpoint_without_pickles_samples_the_same(model):
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    loaded = SpectrogramCVAE(TINY)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    loaded.stations = model.stations
    waveforms, made_from, rate = loaded.sample("X.B", 3, seed=0)
    expected = model.sample("X.B", 3, seed=0)
    assert np.array_equal(waveforms, expected[0]) and (made_from, rate) == expected[1:]


def test_fit_learns_planted_tones_and_generates_stations_from_them(tmp_path):
    rng = np.random.default_rng(0)
    planted_in_hz = np.array([4.0, 7.0, 11.0, 16.0])
    tone_in_hz = np.tile(planted_in_hz, 8)
    time_in_s = np.arange(TINY.n_samples) / RATE_IN_HZ
    phase = rng.uniform(0, 2 * np.pi, (32, 3, 1))
    tones = 30 * np.sin(2 * np.pi * tone_in_hz[:, None, None] * time_in_s + phase)
    waveforms = (tones + 3 * rng.standard_normal(tones.shape)).astype(np.float32)
    records = records_of(waveforms, [f"X.{int(f):02d}" for f in tone_in_hz])
    torch.manual_seed(0)
    model = SpectrogramCVAE(replace(TINY, n_stations=4))
    settings = TrainingSettings(4, 12, 6, 3e-3, 3e-3)
    history = trainer.fit(model, records, records, settings, tmp_path).table
    losses = history.groupby("phase")["training_loss"]
    assert losses.last()[1] < 0.4 * losses.first()[0]

    def loudest_in_hz(waves):
        power = (np.abs(np.fft.rfft(standardise(torch.tensor(waves), -1)[0].numpy())) ** 2).sum(1)
        return np.fft.rfftfreq(TINY.n_samples, 1 / RATE_IN_HZ)[power.argmax(1)]

    bin_in_hz = RATE_IN_HZ / TINY.n_fft
    reconstructed = generate.reconstruct(model, records)
    assert np.abs(loudest_in_hz(reconstructed.waveforms) - tone_in_hz).max() <= bin_in_hz
    generated = generate.sample(model, n=10, seed=0)
    named_in_hz = generated.table["station"].str[2:].astype(float)
    assert (np.abs(loudest_in_hz(generated.waveforms) - named_in_hz) <= bin_in_hz).mean() > 0.8  # by chance 0.25
    loaded, _ = trainer.load(SpectrogramCVAE(model.settings), tmp_path)
    assert np.array_equal(generate.sample(loaded, n=2, seed=5).waveforms, generate.sample(model, n=2, seed=5).waveforms)
