"""Horizontal-to-vertical spectral ratio (HVSR) of earthquake records, and its peak frequency f0.
The chain is the one of TimesNet-Gen (arXiv 2512.04694), its smoothing a product with one matrix for all records."""

import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft, signal

from tsgen.config import HVSRSettings

DEFAULT = HVSRSettings()
BYTES_AT_ONCE = 2**23  # of padded waveforms in one FFT: small enough for the cache
RECORDS_AT_ONCE = 512  # in one product with the smoothing matrix: memory stays below 0.2 GB at 60 s and 100 Hz
WINDOWS = {
    "konno_ohmachi": lambda log10_ratio, b: np.sinc(b / np.pi * log10_ratio) ** 4,
    "gaussian": lambda log10_ratio, b: np.exp(-b * (np.log(10.0) * log10_ratio) ** 2),
}


@dataclass(frozen=True)
class HVSR:
    """Curves (n, f) over frequency_in_hz (f,), NaN outside a record's usable band; f0_in_hz (n,), NaN without one."""

    frequency_in_hz: np.ndarray
    curves: np.ndarray
    f0_in_hz: np.ndarray

    def take(self, rows):
        """The HVSR of some records: integer rows or a boolean mask."""
        return HVSR(self.frequency_in_hz, self.curves[rows], self.f0_in_hz[rows])

    @property
    def median(self):
        """Median curve (f,) of the records that show a frequency; NaN where none does."""
        with warnings.catch_warnings(action="ignore"):
            return np.nanmedian(self.curves, axis=0)


def konno_ohmachi(frequency_in_hz, centre_in_hz, b=40.0, window="konno_ohmachi"):
    """Smoothing matrix (centre, frequency) whose rows sum to 1. window "konno_ohmachi": [sin(x) / x]^4 with
    x = b log10(f / fc) (Konno and Ohmachi 1998), not cut: its side lobes hold 0.3 % of the sum. "gaussian":
    exp(-b ln(f / fc)^2), what the released TimesNet-Gen code computes, 2.3 times as wide at half height and b = 40.
    ValueError for a centre that is not positive or that no frequency is near."""
    frequency, centre = np.asarray(frequency_in_hz, float), np.asarray(centre_in_hz, float)
    if window not in WINDOWS:
        raise ValueError(f"window must be 'konno_ohmachi' or 'gaussian', not {window!r}")
    if not (centre > 0).all():
        raise ValueError("centre frequencies must be positive")
    weights = np.zeros((len(centre), len(frequency)))
    log10_ratio = np.log10(frequency[frequency > 0]) - np.log10(centre)[:, None]  # (centre, frequency)
    weights[:, frequency > 0] = WINDOWS[window](log10_ratio, b)
    total = weights.sum(axis=1, keepdims=True)
    if not (total > 0).all():
        raise ValueError(f"no frequency lies within the window of {centre[total[:, 0] == 0][0]:g} Hz")
    return weights / total


def hvsr(records, settings=DEFAULT):
    """HVSR of each record: linear detrend over the true samples, zero-phase Butterworth high pass, amplitude of the
    FFT, geometric mean of E and N, Konno-Ohmachi smoothing of it and of Z, ratio. NaN outside the record's usable band,
    above 0.4 times the sampling rate, and all over where a component is dead or non-finite; f0 is where the rest is
    largest. The high pass acts on the spectrum, as the squared gain of one pass: filtering forwards and backwards with
    the padding kept (Boore 2005). All is float32, as the records are: their own rounding is as large as the FFT's."""
    rate = float(records.sampling_rate_in_hz)
    n_fft = fft.next_fast_len(records.n_samples + 2 * round(settings.padding_in_s * rate), real=True)
    frequency_in_hz = np.linspace(settings.lowest_in_hz, settings.highest_in_hz, settings.n_frequencies)
    gain, matrix = _gain_and_matrix(rate, n_fft, settings)
    curves = np.full((len(records), settings.n_frequencies), np.nan)
    for i, part in enumerate(records.batches(RECORDS_AT_ONCE) if matrix.size else ()):
        smooth = _spectra(part, n_fft, gain).reshape(-1, len(matrix)) @ matrix  # one product for both
        smooth[~(smooth > 0)] = np.nan  # a component is dead
        first = i * RECORDS_AT_ONCE
        curves[first : first + len(part), : matrix.shape[1]] = np.divide(*smooth.reshape(2, -1, matrix.shape[1]))
    curves[~in_band(records, frequency_in_hz)] = np.nan
    return HVSR(frequency_in_hz, curves, _peaks(frequency_in_hz, curves)[0])


def detrended(waveforms, samples):
    """Waveforms (n, 3, t) less the least-squares line over the first samples (n,) of each, and 0 after them; float32
    stays float32. A component that is constant but for rounding comes out as exactly 0."""
    x = np.array(waveforms, dtype=np.result_type(waveforms, np.float32))
    n_samples = x.shape[-1]
    true = np.clip(np.asarray(samples, dtype=np.float64), 1, n_samples)[:, None, None]
    inside = np.arange(n_samples) < true  # (n, 1, t)
    from_middle = ((np.arange(n_samples) - (true - 1) / 2) * inside).astype(x.dtype)
    moment = np.maximum((true**3 - true) / 12, 1).astype(x.dtype)  # sum of from_middle squared; 1 for a single sample
    with np.errstate(invalid="ignore", over="ignore"):  # values that are not finite: the record gets NaN
        x *= inside
        rounding = 16 * np.finfo(x.dtype).eps * np.abs(x).max(axis=-1, keepdims=True)
        x -= x.sum(axis=-1, keepdims=True) / true.astype(x.dtype)
        x -= np.einsum("nct,nt->nc", x, from_middle[:, 0])[..., None] / moment * from_middle
        x *= inside
        x *= np.abs(x).max(axis=-1, keepdims=True) > rounding
    return x


def high_pass_gain(frequency_in_hz, rate, settings=DEFAULT):
    """Gain (f,) of the Butterworth high pass run forwards and backwards."""
    sos = signal.butter(settings.high_pass_order, settings.high_pass_in_hz, "highpass", fs=rate, output="sos")
    return np.abs(signal.freqz_sos(sos, frequency_in_hz, fs=rate)[1]) ** 2


def clarity(hvsr):
    """The peak of an HVSR's median curve, a dict: f0_in_hz, and amplitude, which tells how clear it is."""
    (f0,), (amplitude,) = _peaks(hvsr.frequency_in_hz, hvsr.median[None])
    return {"f0_in_hz": float(f0), "amplitude": float(amplitude)}


def in_band(records, frequency_in_hz):
    """Mask (n, f): the frequency lies in the record's usable band; a limit that is NaN does not bind."""
    low, high = (records.table[name].to_numpy(float)[:, None] for name in ("usable_from_hz", "usable_to_hz"))
    frequency = np.asarray(frequency_in_hz, float)
    return (frequency >= np.nan_to_num(low) * (1 - 1e-9)) & (frequency <= np.nan_to_num(high, nan=np.inf) * (1 + 1e-9))


@lru_cache(maxsize=4)
def _gain_and_matrix(rate, n_fft, settings):
    """Gain (f,) of the high pass run both ways, and the smoothing matrix (f, centres up to 0.4 times the rate)."""
    frequency_in_hz = fft.rfftfreq(n_fft, 1 / rate)
    centre_in_hz = np.linspace(settings.lowest_in_hz, settings.highest_in_hz, settings.n_frequencies)
    centre_in_hz = centre_in_hz[centre_in_hz <= 0.4 * rate * (1 + 1e-9)]
    matrix = konno_ohmachi(frequency_in_hz, centre_in_hz, settings.bandwidth, settings.window).T
    gain = high_pass_gain(frequency_in_hz, rate, settings).astype(np.float32)
    return gain, np.ascontiguousarray(matrix, dtype=np.float32)


def _spectra(records, n_fft, gain):
    """Amplitude spectra (2, n, f): geometric mean of the horizontals, and the vertical."""
    parts = []
    for part in records.batches(max(1, BYTES_AT_ONCE // (3 * 4 * n_fft))):
        spectrum = fft.rfft(detrended(part.waveforms, part.table["samples"]), n_fft, workers=-1)  # (n, 3, f)
        east, north, vertical = np.moveaxis(np.sqrt(spectrum.real**2 + spectrum.imag**2) * gain, 1, 0)
        parts.append([np.sqrt(east * north), vertical])
    return np.concatenate(parts, axis=1)


def _peaks(frequency_in_hz, curves):
    """Frequency (n,) of each curve's largest value, and that value (n,); NaN for a curve without values."""
    filled = np.where(np.isfinite(curves), curves, -np.inf)
    place, value = filled.argmax(axis=-1), filled.max(axis=-1)
    found = np.isfinite(value)
    return np.where(found, frequency_in_hz[place], np.nan), np.where(found, value, np.nan)
