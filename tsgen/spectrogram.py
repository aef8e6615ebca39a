"""Log-amplitude spectrograms and the way back: short-time Fourier transform, and waves for an amplitude without phase.

A wave that fits a given amplitude is found by Griffin and Lim's iteration (1984, IEEE ASSP 32, 236) with the momentum
of Perraudin et al. (2013, WASPAA). Amplitudes are normalised so that white noise of standard deviation s has power s².
"""

import hashlib
import math

import torch

# mean and standard deviation of the ln of a Rayleigh amplitude of unit power, as any bin of noise has
RAYLEIGH_LN = -0.5772156649015329 / 2, math.pi / math.sqrt(24)
REAL_LN = RAYLEIGH_LN[0] - math.log(2) / 2, math.pi / math.sqrt(8)  # ln |N(0, 1)|: the first and the last bin
WINDOWS = {"hann": torch.hann_window, "mismatched": torch.ones}  # the public CGM-GM code has none, but inverts Hann's
FLOOR = 1e-6  # (cm/s²)², of a power before its logarithm is taken


def unit(n_fft, device=None):
    """Amplitude that white noise of standard deviation 1 has (root mean square) under the Hann window."""
    return torch.hann_window(n_fft, device=device).norm()


def transform(x, n_fft, hop, window="hann"):
    """Complex spectrogram (..., bins, frames) of x (..., time); zeros outside, frame m centred on sample m · hop."""
    own = WINDOWS[window](n_fft, device=x.device)
    z = torch.stft(x.reshape(-1, x.shape[-1]), n_fft, hop, window=own, pad_mode="constant", return_complex=True)
    return z.reshape(*x.shape[:-1], *z.shape[1:]) / unit(n_fft, x.device)


def inverse(z, n_fft, hop, n_samples, scale=None):
    """Wave (..., time) whose Hann spectrogram is nearest to z (..., bins, frames) in least squares; scale else unit."""
    hann = torch.hann_window(n_fft, device=z.device)
    z = z * (hann.norm() if scale is None else scale)
    x = torch.istft(z.reshape(-1, *z.shape[-2:]), n_fft, hop, window=hann, length=n_samples)
    return x.reshape(*z.shape[:-2], n_samples)


def griffin_lim(amplitude, start, n_fft, hop, n_samples, iterations):
    """Wave (..., time) whose spectrogram has nearly ``amplitude`` (..., bins, frames), begun at ``start``'s phase."""
    current = amplitude * start.sgn()
    previous = torch.zeros_like(current)
    for _ in range(iterations):
        consistent = transform(inverse(current, n_fft, hop, n_samples), n_fft, hop)
        ahead = consistent - 0.5 / (1 + 0.5) * previous  # momentum 0.5
        current, previous = amplitude * ahead.sgn(), consistent
    return inverse(current, n_fft, hop, n_samples)


def ln_of_noise(n_bins, device=None):
    """(mean, standard deviation) of ln amplitude of noise of unit power, (bins, 1) each."""
    values = torch.tensor(RAYLEIGH_LN, device=device).repeat(n_bins, 1)
    values[0] = values[-1] = torch.tensor(REAL_LN, device=device)
    return values.split(1, 1)


def shaped_noise(level, generators, n_fft, hop, n_samples, iterations):
    """Noise (n, component, time) with mean ln amplitude ``level`` (n, component, bin, frame), ln cm/s². iterations: of
    ``griffin_lim``; 0 leaves the shaped noise itself, whose windows blur a second time."""
    amplitude = (level - ln_of_noise(level.shape[2], level.device)[0]).exp()
    noise = normal(generators, level.shape[1], n_samples).to(level.device)
    shaped = transform(noise, n_fft, hop) * amplitude
    return griffin_lim(shaped.abs(), shaped, n_fft, hop, n_samples, iterations)


def ln_band_power(log_amplitude):
    """(batch, component, bin) ln of the mean power of a bin and its neighbours, over all frames of (…, bin, frame)."""
    place = torch.arange(log_amplitude.shape[2], device=log_amplitude.device)
    near = ((place - place[:, None]).abs() <= 1).float()
    return ((2 * log_amplitude).logsumexp(3)[:, :, None] + (near / near.sum(1, keepdim=True)).log()).logsumexp(3)


def generators(names):
    """A torch.Generator for each name (tuple): it follows from that alone, so that no record depends on its batch."""
    digests = (hashlib.blake2b("|".join(map(str, name)).encode(), digest_size=8).digest() for name in names)
    return [torch.Generator().manual_seed(int.from_bytes(digest) >> 1) for digest in digests]


def normal(generators, *shape):
    """Standard normal numbers (len(generators), *shape), each row from its own generator."""
    return torch.stack([torch.randn(shape, generator=own) for own in generators])


def significant(power, seconds):
    """(batch,) seconds between 5 % and 95 % of the energy of the horizontals (or of one component alone); linear
    within a frame, so it has a gradient."""
    energy, reached = power[:, :2].sum((1, 2)), []  # (batch, frame)
    share = energy.cumsum(1) / energy.sum(1, keepdim=True)
    for level in (0.05, 0.95):
        after = (share < level).sum(1, keepdim=True).clamp(1, share.shape[1] - 1)
        above, below = share.gather(1, after), share.gather(1, after - 1)
        reached.append((after + (level - above) / (above - below).clamp_min(1e-9)).squeeze(1))
    return (reached[1] - reached[0]) * seconds


TERMS = {  # of power (batch, component, bin, frame), seconds a frame: Fourier spectrum, modulation, D5-95
    "spectral": lambda power, seconds: power.sum(3) * seconds,
    "envelope": lambda power, seconds: power.sum(2) * seconds,
    "duration": significant,
}


def difference(term, power, truth, seconds):
    """Mean squared difference of the logarithms of one of TERMS."""
    value, true = ((TERMS[term](each, seconds) + FLOOR).log() for each in (power, truth))
    return (value - true).square().mean()
