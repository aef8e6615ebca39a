"""What an engineer measures of an accelerogram: peaks, energy, duration, Fourier and response spectra.

Only a record's true samples count, never the zero padding after them. Spectra are given at every period or frequency
asked for; ``in_band`` tells which of them the record can show.
"""

import numpy as np
import pandas as pd
from scipy import fft, signal

from tsgen.config import HVSRSettings
from tsgen.hvsr import detrended, konno_ohmachi
from tsgen.oscillator import batches_of_rows, cut, responses, true_waveforms

G_IN_CM_S2 = 980.665
DEFAULT = HVSRSettings()  # its high pass is the study's one low cut
ANGLES = np.deg2rad(np.arange(180.0))  # Boore (2010): non-redundant rotations, one degree apart
COLUMNS = (
    *(f"pga_{name}_in_cm_s2" for name in ("e", "n", "z", "rotd50", "rotd100")),
    *(f"pgv_{name}_in_cm_s" for name in ("e", "n", "z", "rotd50", "rotd100")),
    *("arias_in_cm_s", "d5_75_in_s", "d5_95_in_s", "cav_in_cm_s", "rms_in_cm_s2"),
)


def measures(records):
    """Intensity measures, a DataFrame of one row a record and the columns COLUMNS.

    PGA and PGV of each component, and RotD50 and RotD100 of the horizontals (Boore 2010); PGV after ``velocities``.
    Arias intensity pi / 2g times the integral of a², summed over both horizontals (Arias 1970: the sum does not
    depend on their orientation); D5-75 and D5-95 from that sum, NaN for a record without energy; cumulative absolute
    velocity, the integral of |a|, geometric mean of the horizontals; RMS acceleration of both horizontals over the
    record's length. Acceleration is taken as it is: no mean is removed from it.
    """
    rate = records.sampling_rate_in_hz
    values = np.full((len(records), len(COLUMNS)), np.nan)
    for rows in batches_of_rows(len(records), 3 * records.n_samples):
        part = records.take(rows)
        x, speed = true_waveforms(part), velocities(part)
        energy, share = _arias(x, rate)
        horizontal = np.abs(x[:, :2]).sum(axis=2) / rate
        duration = part.table["samples"].to_numpy(float) / rate
        values[rows] = np.column_stack(
            [
                *(*np.abs(x).max(axis=2).T, *_rotd(x[:, :2], (50, 100))),
                *(*np.abs(speed).max(axis=2).T, *_rotd(speed[:, :2], (50, 100))),
                energy * np.pi / (2 * G_IN_CM_S2),
                _duration(share, rate, 0.05, 0.75),
                _duration(share, rate, 0.05, 0.95),
                np.sqrt(horizontal[:, 0] * horizontal[:, 1]),
                np.sqrt(energy / (2 * duration)),
            ]
        )
    return pd.DataFrame(values, columns=list(COLUMNS))


def in_band(records, frequency_in_hz):
    """Mask (n, f): the frequency lies in the record's usable band (a limit that is NaN does not bind)."""
    low, high = records.table["usable_from_hz"].to_numpy(float), records.table["usable_to_hz"].to_numpy(float)
    frequency = np.asarray(frequency_in_hz, float) * np.ones((len(records), 1))
    tolerance = 1 + 1e-9
    return (frequency * tolerance >= np.nan_to_num(low)[:, None]) & (
        frequency <= np.nan_to_num(high, nan=np.inf)[:, None] * tolerance
    )


def velocities(records, settings=DEFAULT):
    """Velocity (n, 3, t) in cm/s, zero after each record's end.

    Linear detrend over the true samples, second-order Butterworth high pass at 0.05 Hz forwards and backwards with
    60 s of zeros a side (Boore 2005), and integration, both on the spectrum: times the squared gain, over i omega.
    """
    rate, n = records.sampling_rate_in_hz, records.n_samples
    n_fft = fft.next_fast_len(n + 2 * round(settings.padding_in_s * rate), real=True)
    frequency = fft.rfftfreq(n_fft, 1 / rate)
    sos = signal.butter(settings.high_pass_order, settings.high_pass_in_hz, "highpass", fs=rate, output="sos")
    response = np.abs(signal.freqz_sos(sos, frequency, fs=rate)[1]) ** 2
    response = np.divide(response, 2j * np.pi * frequency, out=np.zeros(len(frequency), complex), where=frequency > 0)
    samples = records.table["samples"].to_numpy()
    spectrum = fft.rfft(detrended(records.waveforms, samples), n_fft)
    return cut(fft.irfft(spectrum * response, n_fft)[..., :n], samples)


def husid(records):
    """Husid curve (n, t): share of the Arias intensity of both horizontals reached by the end of each sample."""
    return _arias(true_waveforms(records), records.sampling_rate_in_hz)[1]


def fourier_amplitude(records, frequency_in_hz, bandwidth=40.0):
    """Fourier amplitude (n, 3, f) in cm/s, smoothed with Konno and Ohmachi's window.

    ValueError for a frequency above the Nyquist frequency.
    """
    rate = records.sampling_rate_in_hz
    if np.max(frequency_in_hz) > rate / 2:
        raise ValueError(f"{np.max(frequency_in_hz):g} Hz lies above the Nyquist frequency of {rate:g} Hz records")
    n_fft = fft.next_fast_len(2 * records.n_samples, real=True)
    smoothing = konno_ohmachi(fft.rfftfreq(n_fft, 1 / rate), frequency_in_hz, bandwidth).T
    amplitude = np.empty((len(records), 3, len(frequency_in_hz)))
    for rows in batches_of_rows(len(records), 3 * n_fft):
        amplitude[rows] = np.abs(fft.rfft(true_waveforms(records.take(rows)), n_fft)) @ smoothing / rate
    return amplitude


def response_spectra(records, periods_in_s, damping=0.05):
    """Pseudo-spectral acceleration (n, 3, periods) in cm/s²: omega² times the largest relative displacement.

    Exact recursion for a load that is linear between samples (Nigam and Jennings 1969, BSSA 59, 909), as a digital
    filter; records are first upsampled by FFT to a step of at most a fortieth of the period. Period 0 is the peak
    acceleration. The largest value is sought until the record ends. ValueError for a negative period.
    """
    spectra = np.empty((len(records), 3, len(periods_in_s)))
    for rows, place, response in responses(records, periods_in_s, damping, 3):
        spectra[rows, :, place] = np.abs(response).max(axis=2)
    return spectra


def rotd(records, periods_in_s, percentiles=(50, 100), damping=0.05):
    """RotD spectra (percentiles, n, periods) in cm/s² of the horizontals (Boore 2010, BSSA 100, 1830).

    Percentiles over 180 rotations of the largest pseudo-spectral acceleration; otherwise as ``response_spectra``.
    """
    spectra = np.empty((len(percentiles), len(records), len(periods_in_s)))
    for rows, place, response in responses(records, periods_in_s, damping, 2):
        spectra[:, rows, place] = _rotd(response, percentiles)
    return spectra


def _arias(x, rate):
    """Integral (n,) of E² + N² over time, and its running share (n, t); NaN shares without energy."""
    running = np.cumsum((x[:, :2] ** 2).sum(axis=1), axis=1) / rate
    total = running[:, -1:]
    return total[:, 0], np.divide(running, total, out=np.full_like(running, np.nan), where=total > 0)


def _duration(share, rate, low, high):
    """Time (n,) between two shares of the energy, linear within a sample."""
    time = np.arange(share.shape[1] + 1) / rate
    crossed = np.array([np.interp((low, high), np.append(0.0, row), time) for row in share]).reshape(-1, 2)
    return np.where(np.isfinite(share[:, -1]), crossed[:, 1] - crossed[:, 0], np.nan)


def _rotd(x, percentiles):
    """Percentiles (percentiles, n) over ANGLES of the largest value of x (n, 2, t) turned by that angle."""
    turned = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)])
    outer = _outer(x)
    peaks = np.array([np.abs(turned @ wave[:, keep]).max(axis=1) for wave, keep in zip(x, outer, strict=True)])
    return np.percentile(peaks.reshape(-1, len(ANGLES)), percentiles, axis=1)


def _outer(x):
    """Mask (n, t) of the points that can be the farthest in some direction; x (n, 2, t).

    Points of the path and their mirror images span a polygon; a point nearer to the origin than its nearest edge is
    nowhere the farthest. Leaves a few points in a hundred, and the result exact. Corners: the farthest points of every
    fourth sample in eight directions.
    """
    angle = np.pi * np.arange(8) / 8
    some = x[..., ::4]
    along = np.column_stack([np.cos(angle), np.sin(angle)]) @ some  # (n, direction, t / 4)
    place = np.abs(along).argmax(axis=2)
    sign = np.sign(np.take_along_axis(along, place[..., None], axis=2)[..., 0])
    corner = np.take_along_axis(some, place[:, None], axis=2) * sign[:, None]  # (n, 2, corner)
    following = np.concatenate([corner[..., 1:], -corner[..., :1]], axis=2)
    area = corner[:, 0] * following[:, 1] - corner[:, 1] * following[:, 0]
    edge = ((following - corner) ** 2).sum(axis=1)  # squared length
    nearest = np.divide(area**2, edge, out=np.full_like(area, np.inf), where=edge > 0).min(axis=1)
    nearest[np.isinf(nearest)] = 0.0  # nothing moves
    return (x**2).sum(axis=1) >= nearest[:, None] * (1 - 1e-9)
