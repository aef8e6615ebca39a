"""Log-amplitude spectrograms and the way back: short-time Fourier transform, and waves for an amplitude without phase.

A wave that fits a given amplitude is found by Griffin and Lim's iteration (1984, IEEE ASSP 32, 236) with the momentum
of Perraudin et al. (2013, WASPAA). Amplitudes are normalised so that white noise of standard deviation s has power s².
"""

import hashlib
import math

import torch

# ln of a Rayleigh amplitude of unit power, as any bin of noise has: its mean and its standard deviation
RAYLEIGH_LN_MEAN = -0.5772156649015329 / 2
RAYLEIGH_LN_STD = math.pi / math.sqrt(24)
# the first and the last bin are real: ln |N(0, 1)|
REAL_LN_MEAN = RAYLEIGH_LN_MEAN - math.log(2) / 2
REAL_LN_STD = math.pi / math.sqrt(8)


def transform(x, n_fft, hop, window="hann"):
    """Complex spectrogram (..., bins, frames) of x (..., time); zeros outside, frame m centred on sample m · hop.

    window="mismatched" is the public CGM-GM code's analysis: no window, though the inversion assumes Hann's.
    ValueError for another window.
    """
    if window not in ("hann", "mismatched"):
        raise ValueError(f"window must be 'hann' or 'mismatched', not {window!r}")
    hann = torch.hann_window(n_fft, device=x.device)
    own = hann if window == "hann" else torch.ones_like(hann)
    flat = x.reshape(-1, x.shape[-1])
    z = torch.stft(flat, n_fft, hop, window=own, center=True, pad_mode="constant", return_complex=True)
    return z.reshape(*x.shape[:-1], *z.shape[1:]) / hann.square().sum().sqrt()


def inverse(z, n_fft, hop, n_samples):
    """Wave (..., time) whose Hann spectrogram is nearest to z (..., bins, frames) in least squares."""
    hann = torch.hann_window(n_fft, device=z.device)
    flat = z.reshape(-1, *z.shape[-2:]) * hann.square().sum().sqrt()
    x = torch.istft(flat, n_fft, hop, window=hann, center=True, length=n_samples)
    return x.reshape(*z.shape[:-2], n_samples)


def griffin_lim(amplitude, start, n_fft, hop, n_samples, iterations=32, momentum=0.5):
    """Wave (..., time) whose spectrogram has nearly ``amplitude`` (..., bins, frames); all waves at once.

    start: complex (..., bins, frames), of which only the phase is used; the same start gives the same wave.
    """
    current = torch.polar(amplitude, start.angle())
    previous = torch.zeros_like(current)
    for _ in range(iterations):
        found = transform(inverse(current, n_fft, hop, n_samples), n_fft, hop)
        ahead = found - momentum / (1 + momentum) * previous
        current, previous = torch.polar(amplitude, ahead.angle()), found
    return inverse(current, n_fft, hop, n_samples)


def ln_mean(n_bins, device=None):
    """(bins, 1): mean of ln amplitude of noise of unit power, by which a mean log amplitude underrates the power."""
    return _by_bin(n_bins, RAYLEIGH_LN_MEAN, REAL_LN_MEAN, device)


def ln_std(n_bins, device=None):
    """(bins, 1): standard deviation of ln amplitude of noise."""
    return _by_bin(n_bins, RAYLEIGH_LN_STD, REAL_LN_STD, device)


def generator(*parts):
    """torch.Generator of one record: follows from ``parts`` alone, so that the batch around it does not matter."""
    digest = hashlib.blake2b("|".join(map(str, parts)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)


def normal(generators, *shape):
    """Standard normal numbers (len(generators), *shape), each row from its own generator."""
    return torch.stack([torch.randn(shape, generator=own) for own in generators])


def _by_bin(n_bins, inner, outer, device):
    values = torch.full((n_bins, 1), inner, device=device)
    values[0] = values[-1] = outer
    return values
