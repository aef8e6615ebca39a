"""The conditional VAE on amplitude and phase spectrograms, the baseline that TimesNet-Gen is compared with.

A reconstruction. Published (METU master's thesis of B. D. Cilgin, 2025; arXiv 2512.04694) are the idea, the two phases
of training, the station identity as only condition, and a score; no code and no layer sizes. Sizes, loss weights and
the sampler here are ours, chosen by reconstruction of background records at the quick profile (notebook 04).

Each component of a record is standardised and becomes a Hann STFT: log amplitude, and the phase as (cos, sin).
"""

import hashlib

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

STANDARD_EPSILON = 1e-5  # inside the root of the standard deviation, as in TimesNet-Gen
BATCH = 32  # records at once where no gradient is needed


class SpectrogramCVAE(nn.Module):
    """Strided 2-D convolutions to a Gaussian posterior, mirrored back; the station joins at the decoder's input."""

    name = "cvae"

    def __init__(self, settings):
        super().__init__()
        self.settings = settings
        self.stations = ()
        self.sampler = {}
        s = settings
        sizes = [(s.n_fft // 2 + 1, s.n_samples // s.hop + 1)]  # (frequency, frame), halved, rounding up, a layer
        for _ in s.channels:
            sizes.append(tuple((size + 1) // 2 for size in sizes[-1]))
        self.sizes = sizes
        k = s.kernel
        channels = (CHANNELS, *s.channels)
        self.down = nn.ModuleList(nn.Conv2d(a, b, k, 2, k // 2) for a, b in zip(channels, channels[1:], strict=False))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(b, a, k, 2, k // 2) for a, b in zip(channels, channels[1:], strict=False)
        )
        self.down_norm = nn.ModuleList(nn.GroupNorm(1, b) if s.norm else nn.Identity() for b in channels[1:])
        self.up_norm = nn.ModuleList(nn.GroupNorm(1, b) if s.norm else nn.Identity() for b in channels[1:-1])
        flat = channels[-1] * sizes[-1][0] * sizes[-1][1]
        self.posterior_head = nn.Linear(flat, 2 * s.latent)
        self.embedding = nn.Embedding(max(1, s.n_stations), s.station_embedding)
        nn.init.zeros_(self.embedding.weight)
        self.decoder_head = nn.Linear(s.latent + s.station_embedding, flat)
        self.bias = nn.Parameter(torch.zeros(CHANNELS, sizes[0][0], 1))
        self.register_buffer("window", torch.hann_window(s.n_fft), persistent=False)
        k = torch.arange(sizes[0][0])[:, None]
        m = torch.arange(sizes[0][1])[None]
        turn = 2 * torch.pi * (((k * (m * s.hop - s.n_fft // 2)) % s.n_fft) / s.n_fft)
        if s.reference == "centre":
            turn = 2 * torch.pi * (((k * (s.n_fft // 2)) % s.n_fft) / s.n_fft) * torch.ones_like(m)
            turn = -turn
        elif s.reference == "start":
            turn = torch.zeros_like(turn)
        self.register_buffer("turn", torch.polar(torch.ones_like(turn), -turn), persistent=False)

    def analyse(self, x):
        s = self.settings
        z = torch.stft(x.reshape(-1, x.shape[-1]), s.n_fft, s.hop, window=self.window, center=True, pad_mode="constant",
                       return_complex=True)
        z = (z * self.turn).reshape(len(x), 3, *z.shape[1:]) / self.window.square().sum().sqrt()
        a = z.abs()
        u = torch.where(a > 0, z / a.clamp_min(1e-30), 1.0)
        return torch.cat([torch.log(a + s.floor), u.real, u.imag], 1)  # (b, 9, f, m)

    def synthesise(self, c):
        s = self.settings
        a = (c[:, :3].exp() - s.floor).clamp_min(0)
        u = torch.complex(c[:, 3:6], c[:, 6:])
        u = u / u.abs().clamp_min(1e-12)
        z = a * u * self.turn.conj() * self.window.square().sum().sqrt()
        x = torch.istft(z.flatten(0, 1), s.n_fft, s.hop, window=self.window, center=True, length=s.n_samples)
        return x.reshape(len(c), 3, -1)

    def encode(self, c):
        s = self.settings
        h = torch.cat([(c[:, :3] + 3) / 2, c[:, 3:]], 1)
        for conv, norm in zip(self.down, self.down_norm, strict=True):
            h = F.silu(norm(conv(h)))
        mean, logvar = self.posterior_head(h.flatten(1)).chunk(2, 1)
        return mean, logvar.clamp(-12, 6)

    def decode(self, z, station):
        known = (station >= 0)[:, None]
        e = self.embedding(station.clamp_min(0)) * known
        h = self.decoder_head(torch.cat([z, e], 1))
        h = h.reshape(len(z), -1, *self.sizes[-1])
        for i in reversed(range(len(self.up))):
            h = self.up[i](F.silu(h) , output_size=self.sizes[i])
            if i: h = self.up_norm[i-1](h)
        h = h + self.bias
        return torch.cat([h[:, :3] * 2 - 3, h[:, 3:]], 1)

    def loss(self, batch, phase, progress, training_settings=None, parts=False):
        x, station = batch
        s = self.settings
        with torch.no_grad():
            c = self.analyse(x)
        mean, logvar = self.encode(c)
        z = mean + (0.5 * logvar).exp() * torch.randn_like(mean)
        d = self.decode(z, station if phase else torch.full_like(station, -1))
        amp = (d[:, :3] - c[:, :3]).square().mean()
        w = (c[:, :3].exp()) ** s.phase_power
        w = w / w.mean((2, 3), keepdim=True)
        ph = (w * ((d[:, 3:6] - c[:, 3:6]).square() + (d[:, 6:] - c[:, 6:]).square())).mean()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        beta = s.beta if phase else s.beta * min(1.0, progress / s.warm_up_share)
        if parts: return amp, ph, kl
        return amp + s.phase_weight * ph + beta * kl

CHANNELS = 9
