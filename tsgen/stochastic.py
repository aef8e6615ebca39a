"""A control as seismology has it: the stochastic method with each station's fitted spectrum and duration.

White noise under a window, shaped in frequency (Boore 2003, Pure Appl. Geophys. 160, 635); horizontals and vertical
apart. The spectrum is level · (2πf)² / (1 + (f/fc)²) · exp(-πκf), Brune's (1970, J. Geophys. Res. 75, 4997) with kappa
(Anderson and Hough 1984, BSSA 74, 1969), times the site term: what the station's records have beyond it.
"""

import numpy as np
from scipy import fft
from scipy.stats import gamma

from tsgen import spectrogram
from tsgen.hvsr import konno_ohmachi
from tsgen.oscillator import true_waveforms
from tsgen.regression import LawControl
from tsgen.scenario import BATCH

N_FREQUENCIES, HIGHEST = 60, 0.4  # logarithmic from one cycle in n_fft samples to this share of the sampling rate
CORNERS_IN_HZ = np.geomspace(0.1, 15.0, 60)
# Saragoni and Hart's window, the peak at a fifth and 5 % left at the end (Boore 2003); its square is a gamma density
SHAPE = 1 - 2 * 0.2 * np.log(0.05) / (1 + 0.2 * (np.log(0.2) - 1))
START, END = gamma.ppf((0.05, 0.95), SHAPE)


class StochasticMethod(LawControl):
    """Control: level, ln corner, kappa, ln time of 5 % of the energy and ln D5-95 follow a law of the scenario."""

    name, n_components = "control_stochastic", 10  # all

    def read(self, parts):
        """(n, 10): level, ln corner (Hz), kappa (s), ln time of 5 % and ln D5-95 (s) of the horizontals, then of the
        vertical. Fits the stations' site terms, ``site``: {station: (2, f)}."""
        rate = self.settings.sampling_rate_in_hz
        self.frequency_in_hz = np.geomspace(rate / self.settings.n_fft, HIGHEST * rate, N_FREQUENCIES)
        waves = (true_waveforms(batch) for part in parts for batch in part.batches(BATCH))
        pairs = [(ln_spectra(x, rate, self.frequency_in_hz), ln_times(x, rate)) for x in waves]
        spectra, times = map(np.concatenate, zip(*pairs, strict=True))
        stations = np.concatenate([part.table["station"] for part in parts])
        self.site, known = {}, np.zeros_like(spectra)
        for _ in range(2):  # again without the site's resonances: at quick PSA spreads fit at 17 periods of 20, not 5
            parameters = fitted(spectra - known, self.frequency_in_hz)
            beyond = np.exp(spectra - brune(parameters, self.frequency_in_hz))
            for name in np.unique(stations):
                self.site[name] = known[stations == name] = np.log(beyond[stations == name].mean(axis=0))
        return np.concatenate([parameters, times], axis=2).reshape(len(spectra), -1)

    def waves(self, values, stations, generators):
        """(n, 3, t) cm/s²: noise of the parameters ``values``, as ``read`` gives them; E and N differ by chance."""
        parameters, rate, n = values.reshape(-1, 2, 5), self.settings.sampling_rate_in_hz, self.settings.n_samples
        first, duration = np.exp(parameters[..., 3:, None]).swapaxes(0, 2)  # each (2, n, 1)
        scale = duration / (END - START)
        power = gamma.pdf(np.arange(n) / rate, SHAPE, first - START * scale, scale).swapaxes(0, 1)  # (n, 2, t)
        window = np.sqrt(power / power.sum(axis=2, keepdims=True).clip(1e-30))  # unit energy
        n_fft = fft.next_fast_len(2 * n, real=True)
        frequency = fft.rfftfreq(n_fft, 1 / rate)[1:]
        at, known = np.log(frequency), np.log(self.frequency_in_hz)
        amplification = [[np.interp(at, known, site) for site in self.site[name]] for name in stations]
        amplitude = rate * np.exp(brune(parameters, frequency) + amplification)  # of the discrete transform
        noise = spectrogram.normal(generators, 3, n).numpy()
        spectrum = fft.rfft(noise * window[:, [0, 0, 1]], n_fft)
        spectrum[..., 0], spectrum[..., 1:] = 0, spectrum[..., 1:] * amplitude[:, [0, 0, 1]]
        return fft.irfft(spectrum, n_fft)[..., :n]


def ln_spectra(x, rate, frequency_in_hz):
    """ln Fourier amplitude (n, 2, f) in cm/s of E and N, and of Z, of waveforms x (n, 3, t). It is the logarithm that
    is smoothed: of noise its mean lies a known step below the root mean square, be there few frequencies or many."""
    n_fft = fft.next_fast_len(2 * x.shape[2], real=True)
    smoothing = konno_ohmachi(fft.rfftfreq(n_fft, 1 / rate), frequency_in_hz).T
    values = np.log(np.abs(fft.rfft(x, n_fft)).clip(1e-6) / rate) @ smoothing - spectrogram.RAYLEIGH_LN[0]
    return np.stack([values[:, :2].mean(axis=1), values[:, 2]], axis=1)


def ln_times(x, rate):
    """(n, 2, 2) ln seconds to 5 % of the energy and from there to 95 %, of E and N and of Z, of x (n, 3, t)."""
    energy = np.stack([(x[:, :2] ** 2).sum(axis=1), x[:, 2] ** 2], axis=1).cumsum(axis=2)
    first, last = ((energy < share * energy[..., -1:]).sum(axis=2) for share in (0.05, 0.95))
    return np.log(np.stack([first, last - first], axis=2).clip(1) / rate)


def brune(parameters, frequency_in_hz):
    """ln Fourier amplitude (..., f) in cm/s by level, ln corner (Hz) and kappa (s), the first of (..., parameters)."""
    level, ln_corner, kappa = np.moveaxis(parameters[..., :3, None], -2, 0)
    f = frequency_in_hz
    return level + 2 * np.log(2 * np.pi * f) - np.log1p((f / np.exp(ln_corner)) ** 2) - np.pi * kappa * f


def fitted(ln_amplitude, frequency_in_hz):
    """(..., 3) level, ln corner and kappa that fit ln amplitudes (..., f) best in least squares over CORNERS_IN_HZ."""
    straight = np.column_stack([np.ones_like(frequency_in_hz), -np.pi * frequency_in_hz])
    inverse, best, least = np.linalg.pinv(straight).T, np.zeros((*ln_amplitude.shape[:-1], 3)), np.inf
    for ln_corner in np.log(CORNERS_IN_HZ):
        tried = np.zeros_like(best)
        tried[..., 1] = ln_corner
        tried[..., ::2] = (ln_amplitude - brune(tried, frequency_in_hz)) @ inverse
        error = ((ln_amplitude - brune(tried, frequency_in_hz)) ** 2).sum(axis=-1, keepdims=True)
        best, least = np.where(error < least, tried, best), np.minimum(least, error)
    return best
