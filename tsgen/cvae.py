"""The conditional VAE on amplitude and phase spectrograms: the baseline that TimesNet-Gen is compared with.

Published (METU thesis of B. D. Cilgin, 2025; arXiv 2512.04694) are the idea, the phases of training, the station as the
only condition; sizes, weights and sampler are ours. Shapes: B records, T samples, F frequencies, M frames, L latent.
"""

import math
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tsgen import spectrogram
from tsgen.model import StationModel, bounded, draw, evaluation, gathered, kl, standardise, waveforms_of

CHANNELS = 9  # three components of ln amplitude, cos and sin
LN_CENTRE, LN_SCALE = -3.0, 2.0  # about the mean and spread of ln amplitude, so that the network meets numbers near 1
LN_VARIANCE_RANGE = (-12.0, 6.0)  # of the posterior: its exponential stays finite in the first steps


class Spectrogram(nn.Module):
    """Hann STFT of standardised components as ln amplitude and phase, and back, exact to 1e-5. White noise has
    amplitude 1 (root mean square). Phases are against time zero: a steady tone has a steady phase."""

    def __init__(self, settings):
        super().__init__()
        self.n_samples, self.n_fft, self.hop = settings.n_samples, settings.n_fft, settings.hop
        self.floor = settings.amplitude_floor  # added before the logarithm
        self.shape = (self.n_fft // 2 + 1, self.n_samples // self.hop + 1)  # F, M
        frequency, frame = torch.arange(self.shape[0])[:, None], torch.arange(self.shape[1])
        turned = frequency * (frame * self.hop - self.n_fft // 2) % self.n_fft  # whole numbers: exact
        self.register_buffer("turn", 2 * torch.pi * turned / self.n_fft, persistent=False)  # (F, M), radians

    def analyse(self, x):
        """(B, 3, T) standardised -> (B, 9, F, M): ln(amplitude + floor), cos, sin, each E, N, Z."""
        if x.shape[-1] != self.n_samples:
            raise ValueError(f"records of {x.shape[-1]} samples, but the model is for {self.n_samples}")
        turned = torch.polar(torch.ones_like(self.turn), -self.turn)
        z = spectrogram.transform(x, self.n_fft, self.hop) * turned  # (B, 3, F, M)
        amplitude = z.abs()
        phase = torch.where(amplitude > 0, z / amplitude, torch.ones_like(z))
        return torch.cat([torch.log(amplitude + self.floor), phase.real, phase.imag], dim=1)

    def synthesise(self, maps):
        """(B, 9, F, M) -> (B, 3, T); (cos, sin) of any length count as a direction."""
        ln_amplitude, cosine, sine = maps.chunk(3, dim=1)  # (B, 3, F, M) each
        amplitude = (ln_amplitude.exp() - self.floor).clamp_min(0) * spectrogram.unit(self.n_fft, maps.device)
        z = torch.polar(amplitude, torch.atan2(sine, cosine) + self.turn)
        return spectrogram.inverse(z, self.n_fft, self.hop, self.n_samples, scale=1.0)


class SpectrogramCVAE(StationModel):
    """Strided 2-D convolutions to a Gaussian posterior and mirrored back; the station joins the latent."""

    name = "cvae"

    def __init__(self, settings):
        super().__init__(settings)
        self.sampler = {}  # station -> mean (L,), covariance (L, L), std (n, 3) in cm/s² and event of its records
        self.sampling_rate_in_hz = float("nan")
        self.spectrogram = Spectrogram(settings)
        self.shapes = [self.spectrogram.shape]  # of the maps after each layer: halved, rounding up
        for _ in settings.channels:
            self.shapes.append(tuple((size + 1) // 2 for size in self.shapes[-1]))
        pairs = list(pairwise((CHANNELS, *settings.channels)))
        self.down = nn.ModuleList(nn.Conv2d(n, m, 3, stride=2, padding=1) for n, m in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose2d(m, n, 3, stride=2, padding=1) for n, m in pairs)
        # one group: the norm of a record's own maps, so that no record depends on its batch
        self.down_norm = nn.ModuleList(nn.GroupNorm(1, m) for _, m in pairs)
        self.up_norm = nn.ModuleList(nn.GroupNorm(1, n) for n, _ in pairs[1:])
        flat = pairs[-1][1] * math.prod(self.shapes[-1])
        self.to_posterior = nn.Linear(flat, 2 * settings.latent)
        self.from_latent = nn.Linear(settings.latent + settings.station_embedding, flat)
        self.embedding = nn.Embedding(max(1, settings.n_stations), settings.station_embedding)
        nn.init.zeros_(self.embedding.weight)  # phase 1 starts where phase 0 ended
        self.offset = nn.Parameter(torch.zeros(CHANNELS, self.shapes[0][0], 1))  # what all records share a frequency

    def encode(self, maps):
        """Spectrogram maps (B, 9, F, M) -> mean and ln variance of the posterior, (B, L) each."""
        h = torch.cat([(maps[:, :3] - LN_CENTRE) / LN_SCALE, maps[:, 3:]], dim=1)
        for layer, norm in zip(self.down, self.down_norm, strict=True):
            h = F.silu(norm(layer(h)))  # (B, C, F/2, M/2)
        return bounded(self.to_posterior(h.flatten(1)).chunk(2, dim=1), LN_VARIANCE_RANGE)

    def decode(self, z, station):
        """Latents (B, L) and stations (B,) long, -1 for none, -> spectrogram maps (B, 9, F, M)."""
        embedded = self.embedding(station.clamp_min(0)) * (station >= 0)[:, None]  # (B, E), zero where none is given
        h = self.from_latent(torch.cat([z, embedded], dim=1)).unflatten(1, (-1, *self.shapes[-1]))
        for i in reversed(range(len(self.up))):
            h = self.up[i](F.silu(h), output_size=self.shapes[i])
            h = self.up_norm[i - 1](h) if i else h + self.offset
        return torch.cat([h[:, :3] * LN_SCALE + LN_CENTRE, h[:, 3:]], dim=1)

    def loss(self, batch, phase, progress, settings):
        """Spectrogram error (ln²) + phase_weight × phase error + β × divergence (nats a latent dimension), all means. β
        rises linearly over the first warm_up_share of phase 0. The station counts in phase 1 only."""
        x, station = batch  # (B, 3, T), (B,)
        maps = self.spectrogram.analyse(x)
        mean, ln_variance = self.encode(maps)
        z = draw(mean, ln_variance, torch.randn_like(mean))
        decoded = self.decode(z, station if phase == 1 else torch.full_like(station, -1))
        error = F.mse_loss(decoded[:, :3], maps[:, :3]) + self.settings.phase_weight * phase_error(decoded, maps)
        beta = self.settings.beta * (1.0 if phase else min(1.0, progress / self.settings.warm_up_share))
        return error + beta * (kl(mean, ln_variance).sum(1).mean() / self.settings.latent)

    def end_of_phase(self, phase, records, settings):
        """After phase 1: each station's Gaussian of latents, and the stds of its records, for ``sample``."""
        if phase != 1:
            return
        self.sampling_rate_in_hz, self.sampler = records.sampling_rate_in_hz, {}
        (mean, ln_variance), std = self.posterior(records), standardise(waveforms_of(records), -1)[2][..., 0]  # (n, 3)
        for i, station in enumerate(self.stations):
            own = self.station_index(records) == i
            covariance = shrunk_covariance(mean[own]) + torch.diag(ln_variance[own].exp().mean(0))
            self.sampler[station] = {"mean": mean[own].mean(0), "covariance": covariance, "std": std[own]}
            self.sampler[station]["event"] = [str(event) for event in records.table["event"][own.numpy()]]

    def posterior(self, records):
        """Mean and ln variance (n, L) of each record's latent, on the CPU; the same whatever the batch."""
        return gathered(part[:2] for part in self._encoded(records))

    def reconstruct(self, records):
        """Waveforms (n, 3, T) float32 in cm/s²: posterior mean, station where known, the record's own mean and std."""
        parts = self._encoded(records)
        return gathered([self._standard_waveforms(z, at) * std + mean] for z, _, at, mean, std in parts)[0].numpy()

    def sample(self, station, n, seed):
        """Waveforms (n, 3, T) float32 in cm/s², made_from (n events), rate in Hz; ValueError: not fine-tuned on it."""
        generator, number = np.random.default_rng(seed), self.numbers([station]).to(self.device)
        z = self.sample_latents(station, n, generator).to(self.device)
        standard = torch.cat([self._standard_waveforms(part, number.expand(len(part))) for part in z.split(32)])
        std, events = self.sampler[station]["std"], self.sampler[station]["event"]
        chosen = generator.integers(len(events), size=n)
        return (standard.cpu() * std[chosen][..., None]).numpy(), [events[i] for i in chosen], self.sampling_rate_in_hz

    def sample_latents(self, station, n, generator):
        if station not in self.sampler:
            raise ValueError(f"no latents of station {station!r}; there are {', '.join(self.sampler) or 'none'}")
        root = np.linalg.cholesky(self.sampler[station]["covariance"].double().numpy())
        drawn = generator.standard_normal((n, self.settings.latent)) @ root.T
        return self.sampler[station]["mean"] + torch.from_numpy(drawn).float()

    def training_arrays(self, records):
        """Standardised waveforms (n, 3, T) and station (n,) long."""
        return standardise(waveforms_of(records), -1)[0], self.station_index(records)

    def get_extra_state(self):
        return {"sampler": self.sampler, "sampling_rate_in_hz": self.sampling_rate_in_hz}

    def set_extra_state(self, state):
        vars(self).update(state)

    def _encoded(self, records):
        for _, waveforms, station in self.batches(records):
            x, mean, std = standardise(waveforms, -1)
            with evaluation(self):
                posterior = self.encode(self.spectrogram.analyse(x))
            yield *posterior, station, mean, std

    def _standard_waveforms(self, z, station):
        """(B, 3, T) of mean 0 and std 1: phases that do not fit together lose amplitude, which this gives back."""
        with evaluation(self):
            return standardise(self.spectrogram.synthesise(self.decode(z, station)), -1, epsilon=1e-12)[0]


def phase_error(decoded, maps):
    """Mean squared distance of (cos, sin), weighted by true amplitude: else weak bins' noise draws all to zero."""
    weight = maps[:, :3].exp()  # (B, 3, F, M)
    cosine, sine = (decoded[:, 3:] - maps[:, 3:]).square().chunk(2, dim=1)  # (B, 3, F, M) each
    return (weight / weight.mean((2, 3), keepdim=True) * (cosine + sine)).mean()


def shrunk_covariance(x):
    """(1 - λ) S + λ diag(S) of x (n, L), λ = Σ var(s_ij) / Σ s_ij² over i ≠ j, at most 1 (Schäfer and Strimmer 2005,
    target D): regular also of fewer records than dimensions. Zero for a single record."""
    if (n := len(x)) < 2:
        return x.new_zeros(x.shape[1], x.shape[1])
    centred = x - x.mean(0)
    product = centred.T @ centred / n
    covariance = product * n / (n - 1)
    deviation = centred.square().T @ centred.square() / n - product.square()  # mean square, of the products
    variance = deviation * n**2 / (n - 1) ** 3
    between = ~torch.eye(x.shape[1], dtype=torch.bool)
    total = covariance[between].square().sum()
    share = (variance[between].sum() / total).clamp(0, 1) if total > 0 else 1.0
    return (1 - share) * covariance + share * torch.diag(covariance.diagonal())
