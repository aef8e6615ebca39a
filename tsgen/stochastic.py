"""A control of seismology's own: the stochastic method with each station's fitted spectrum and duration.

Boore (2003, Pure Appl. Geophys. 160, 635): white noise under a window, shaped in frequency. The spectrum of a record is
level · (2πf)² / (1 + (f/fc)²) · exp(-πκf), Brune's (1970, J. Geophys. Res. 75, 4997) with kappa (Anderson and Hough
1984, BSSA 74, 1969), horizontals and vertical apart; what it leaves on average is the site term of the station.
"""

import numpy as np
from scipy import fft
from scipy.stats import gamma

from tsgen import spectrogram
from tsgen.hvsr import konno_ohmachi
from tsgen.oscillator import true_waveforms
from tsgen.regression import LawControl

CORNERS_IN_HZ = np.geomspace(0.1, 15.0, 60)
N_FREQUENCIES, HIGHEST = 60, 0.4  # of the sampling rate
BANDWIDTH = 20.0  # Konno-Ohmachi b: of ln amplitudes, so that a resonance keeps its form
# Saragoni and Hart's window with the peak at a fifth and 5 % at the end (Boore 2003): its square is a gamma density
SHAPE = 1 - 2 * 0.2 * np.log(0.05) / (1 + 0.2 * (np.log(0.2) - 1))
START, END = gamma.ppf((0.05, 0.95), SHAPE)


class StochasticMethod(LawControl):
    """Control: level, ln corner, kappa, ln time of 5 % of the energy and ln D5-95 follow a law of the scenario."""

    name, n_components = "control_stochastic", 10

    def read(self, parts):
        """(n, 10): level, ln corner, kappa, ln t5, ln D5-95 of the horizontals, then of the vertical; fits ``site``."""
        s = self.settings
        rate, n_fft = s.sampling_rate_in_hz, fft.next_fast_len(2 * s.n_samples, real=True)
        self.frequency_in_hz = np.geomspace(rate / s.n_fft, HIGHEST * rate, N_FREQUENCIES)
        smoothing = konno_ohmachi(fft.rfftfreq(n_fft, 1 / rate), self.frequency_in_hz, BANDWIDTH).T
        spectra, times, stations = [], [], np.concatenate([part.table["station"] for part in parts])
        for x in (true_waveforms(batch) for part in parts for batch in part.batches(64)):
            amplitude = np.log(np.abs(fft.rfft(x, n_fft)).clip(1e-6) / rate) @ smoothing - spectrogram.RAYLEIGH_LN[0]
            spectra.append(np.stack([amplitude[:, :2].mean(axis=1), amplitude[:, 2]], axis=1))  # (n, 2, f)
            power = np.stack([(x[:, :2] ** 2).sum(axis=1), x[:, 2] ** 2], axis=1).cumsum(axis=2)
            reached = [(power <= share * power[..., -1:]).sum(axis=2) for share in (0.05, 0.95)]
            times.append(np.stack([reached[0], reached[1] - reached[0]], axis=2).clip(1) / rate)
        spectra, self.site = np.concatenate(spectra), dict.fromkeys(stations, 0.0)
        for _ in range(2):  # once more without what the site does
            parameters = fitted(spectra - np.array([np.broadcast_to(self.site[name], spectra.shape[1:]) for name in stations]), self.frequency_in_hz)
            left = spectra - ln_spectrum(parameters, self.frequency_in_hz)
            self.site = {name: left[stations == name].mean(axis=0) for name in self.site}
        return np.concatenate([parameters, np.log(np.concatenate(times))], axis=2).reshape(len(spectra), -1)

    def waves(self, values, stations, generators):
        s, parameters = self.settings, values.reshape(len(values), 2, 5)
        rate, n_fft = s.sampling_rate_in_hz, fft.next_fast_len(2 * s.n_samples, real=True)
        first, duration = np.exp(parameters[..., 3:]).transpose(2, 0, 1)[..., None]
        scale = duration / (END - START)
        power = gamma.pdf(np.arange(s.n_samples) / rate, SHAPE, first - START * scale, scale)  # (n, 2, t)
        window = np.sqrt(power / power.sum(axis=2, keepdims=True))
        frequency = fft.rfftfreq(n_fft, 1 / rate)[1:]
        shape = ln_spectrum(parameters, frequency)
        for own, name in zip(shape, stations, strict=True):
            own += [np.interp(np.log(frequency), np.log(self.frequency_in_hz), site) for site in self.site[name]]
        noise = spectrogram.normal(generators, 3, s.n_samples).numpy()
        spectrum = fft.rfft(noise * window[:, [0, 0, 1]], n_fft)
        spectrum[..., 0], spectrum[..., 1:] = 0, spectrum[..., 1:] * rate * np.exp(shape[:, [0, 0, 1]])
        return fft.irfft(spectrum, n_fft)[..., : s.n_samples]


def ln_spectrum(parameters, frequency_in_hz):
    """ln Fourier amplitude (..., f) of acceleration, cm/s, from level, ln corner (Hz) and kappa (s) in (..., 3)."""
    level, ln_corner, kappa = np.moveaxis(parameters[..., :3, None], -2, 0)
    f = frequency_in_hz
    return level + 2 * np.log(2 * np.pi * f) - np.log1p((f / np.exp(ln_corner)) ** 2) - np.pi * kappa * f


def fitted(ln_amplitude, frequency_in_hz):
    """(..., 3) level, ln corner and kappa that fit ln amplitudes (..., f) in least squares; corners of CORNERS_IN_HZ."""
    f = frequency_in_hz
    inverse = np.linalg.pinv(np.column_stack([np.ones_like(f), -np.pi * f])).T  # (f, 2)
    best, parameters = np.full(ln_amplitude.shape[:-1], np.inf), np.empty((*ln_amplitude.shape[:-1], 3))
    for corner in CORNERS_IN_HZ:
        left = ln_amplitude - ln_spectrum(np.array([0.0, np.log(corner), 0.0]), f)
        level, kappa = np.moveaxis(left @ inverse, -1, 0)
        tried = np.stack([level, np.full_like(level, np.log(corner)), kappa], axis=-1)
        error = ((ln_amplitude - ln_spectrum(tried, f)) ** 2).sum(axis=-1)
        parameters[error < best], best = tried[error < best], np.minimum(best, error)
    return parameters
