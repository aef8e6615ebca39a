"""What an engineer measures of an accelerogram: peaks, energy, duration, onsets, Fourier and response spectra.
Only a record's true samples count, never the zero padding after them; a vertical that is not there gives NaN. Spectra
are given at every period or frequency asked for; ``hvsr.in_band`` tells which of them the record can show."""

import numpy as np
import pandas as pd
from scipy import fft

from tsgen import onset
from tsgen.hvsr import DEFAULT, detrended, high_pass_gain, konno_ohmachi
from tsgen.oscillator import batches_of_rows, cut, responses, true_waveforms

G_IN_CM_S2 = 980.665
ANGLES = np.deg2rad(np.arange(180.0))  # Boore (2010): non-redundant rotations, one degree apart
PEAKS = ("pga_{}_in_cm_s2", "pgv_{}_in_cm_s")
COLUMNS = [name.format(of) for name in PEAKS for of in ("e", "n", "z", "rotd50", "rotd100")]
COLUMNS += ["arias_in_cm_s", "d5_75_in_s", "d5_95_in_s", "cav_in_cm_s", "rms_in_cm_s2"]


def measures(records):
    """Intensity measures, a DataFrame of one row a record and COLUMNS: PGA and PGV (after ``velocities``) of each
    component, RotD50 and RotD100 of the horizontals (Boore 2010); of both horizontals' sum of squares the Arias
    intensity, pi / 2g times its integral (Arias 1970), D5-75 and D5-95 (NaN without energy) and RMS over the record's
    length; cumulative absolute velocity, the integral of |a|, their geometric mean. No mean is removed from
    acceleration."""
    rate = records.sampling_rate_in_hz
    values = np.full((len(records), len(COLUMNS)), np.nan)
    for rows in batches_of_rows(len(records), 3 * records.n_samples):
        part = records.take(rows)
        x, speed = true_waveforms(part), velocities(part)
        running = np.cumsum((x[:, :2] ** 2).sum(axis=1), axis=1) / rate
        energy = running[:, -1]
        horizontal = np.abs(x[:, :2]).sum(axis=2) / rate
        duration = part.table["samples"].to_numpy(float) / rate
        peaks = [each for y in (x, speed) for each in (*np.abs(y).max(axis=2).T, *_rotd(y[:, :2], (50, 100)))]
        cav, rms = np.sqrt(horizontal[:, 0] * horizontal[:, 1]), np.sqrt(energy / (2 * duration))
        values[rows] = np.column_stack([*peaks, energy * np.pi / (2 * G_IN_CM_S2), *durations(running, rate), cav, rms])
    table = pd.DataFrame(values, columns=COLUMNS)
    table.loc[without_vertical(records), ["pga_z_in_cm_s2", "pgv_z_in_cm_s"]] = np.nan
    return table


def durations(running, rate):
    """D5-75 and D5-95 (2, n) in s of the running energy (n, t) of records, in any unit; NaN without energy."""
    total, time = running[:, -1:], np.arange(running.shape[1] + 1) / rate
    share = np.divide(running, total, out=np.full_like(running, np.nan), where=total > 0)
    # shares are reached linearly within a sample
    reached = np.array([np.interp((0.05, 0.75, 0.95), np.append(0.0, row), time) for row in share]).reshape(-1, 3)
    return np.where(np.isfinite(share[:, -1:]), reached[:, 1:] - reached[:, :1], np.nan).T


def without_vertical(records):
    """Mask (n,) of records of two horizontals, whose vertical is zeros (column ``components``)."""
    return (records.table.get("components", pd.Series("", records.table.index)) == "EN").to_numpy()


def velocities(records):
    """Velocity (n, 3, t) in cm/s, zero after each record's end: linear detrend over the true samples, second-order
    Butterworth high pass at 0.05 Hz forwards and backwards with 60 s of zeros a side (Boore 2005), and integration,
    both on the spectrum: times the squared gain, over i omega."""
    rate, n, samples = records.sampling_rate_in_hz, records.n_samples, records.table["samples"]
    n_fft = fft.next_fast_len(n + 2 * round(DEFAULT.padding_in_s * rate), real=True)
    frequency = fft.rfftfreq(n_fft, 1 / rate)
    response = np.zeros(len(frequency), complex)
    response[1:] = high_pass_gain(frequency, rate)[1:] / (2j * np.pi * frequency[1:])
    spectrum = fft.rfft(detrended(records.waveforms, samples), n_fft)
    return cut(fft.irfft(spectrum * response, n_fft)[..., :n], samples)


def fourier_amplitude(records, frequency_in_hz):
    """Fourier amplitude (n, 3, f) in cm/s, smoothed as HVSR is; ValueError for a frequency above the Nyquist one."""
    rate = records.sampling_rate_in_hz
    if np.max(frequency_in_hz) > rate / 2:
        raise ValueError(f"{np.max(frequency_in_hz):g} Hz lies above the Nyquist frequency of {rate:g} Hz records")
    n_fft = fft.next_fast_len(2 * records.n_samples, real=True)
    smoothing = konno_ohmachi(fft.rfftfreq(n_fft, 1 / rate), frequency_in_hz).T
    amplitude = np.empty((len(records), 3, len(frequency_in_hz)))
    for rows in batches_of_rows(len(records), 3 * n_fft):
        amplitude[rows] = np.abs(fft.rfft(true_waveforms(records.take(rows)), n_fft)) @ smoothing / rate
    amplitude[without_vertical(records), 2] = np.nan
    return amplitude


def response_spectra(records, periods_in_s, damping=0.05):
    """Pseudo-spectral acceleration (n, 3, periods) in cm/s²: omega² times the largest relative displacement until the
    record ends, by the exact recursion for a load linear between samples (Nigam and Jennings 1969, BSSA 59, 909), after
    upsampling to a fortieth of the period or less. Period 0 is the peak acceleration. ValueError for a negative one."""
    spectra = np.empty((len(records), 3, len(periods_in_s)))
    for rows, place, response in responses(records, periods_in_s, damping, 3):
        spectra[rows, :, place] = np.abs(response).max(axis=2)
    spectra[without_vertical(records), 2] = np.nan
    return spectra


def rotd(records, periods_in_s, percentiles=(50, 100)):
    """RotD spectra (percentiles, n, periods) in cm/s² of the horizontals (Boore 2010, BSSA 100, 1830): percentiles
    over 180 rotations of the largest pseudo-spectral acceleration; otherwise as ``response_spectra``."""
    spectra = np.empty((len(percentiles), len(records), len(periods_in_s)))
    for rows, place, response in responses(records, periods_in_s, 0.05, 2):
        spectra[:, rows, place] = _rotd(response, percentiles)
    return spectra


def onsets(records):
    """Seconds (n, 2) from a record's start to P on the vertical and S on the horizontals, NaN where none is found: as
    ``onset`` picks them."""
    rate, picked = records.sampling_rate_in_hz, np.full((len(records), 2), np.nan)
    for i, wave in enumerate(true_waveforms(records)):
        picked[i, 0] = onset.p_onset(wave[2], rate)
        picked[i, 1] = onset.s_onset(wave[:2], rate, picked[i, 0])
    return picked


def _rotd(x, percentiles):
    """Percentiles (percentiles, n) over ANGLES of the largest value of x (n, 2, t) turned by that angle."""
    turned = np.stack([np.cos(ANGLES), np.sin(ANGLES)])
    row, place = np.divmod(np.flatnonzero(_outer(x)), x.shape[2])
    each = np.split(x[row, :, place], np.searchsorted(row, np.arange(1, len(x))))  # (points, 2) a record
    peaks = np.array([np.abs(points @ turned).max(axis=0) for points in each])
    return np.percentile(peaks, percentiles, axis=1)


def _outer(x):
    """Mask (n, t) of the points of x (n, 2, t) that can be the farthest in some direction. The path and its mirror
    image span a polygon (corners: the farthest of every eighth sample in eight directions); a point nearer to the
    origin than the polygon's nearest edge is nowhere the farthest. Few are left."""
    angle = np.pi * np.arange(8) / 8
    some = x[..., ::8]
    along = np.column_stack([np.cos(angle), np.sin(angle)]) @ some  # (n, direction, t / 8)
    place = np.abs(along).argmax(axis=2)
    sign = np.sign(np.take_along_axis(along, place[..., None], axis=2)[..., 0])
    corner = np.take_along_axis(some, place[:, None], axis=2) * sign[:, None]  # (n, 2, corner)
    following = np.concatenate([corner[..., 1:], -corner[..., :1]], axis=2)
    area = corner[:, 0] * following[:, 1] - corner[:, 1] * following[:, 0]
    edge = ((following - corner) ** 2).sum(axis=1)  # squared length
    nearest = np.divide(area**2, edge, out=np.full_like(area, np.inf), where=edge > 0).min(axis=1)
    nearest[np.isinf(nearest)] = 0.0  # nothing moves
    return np.einsum("nct,nct->nt", x, x) >= nearest[:, None] * (1 - 1e-9)
