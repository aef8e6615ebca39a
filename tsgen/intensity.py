"""What an engineer measures of an accelerogram: peaks, energy, duration, Fourier and response spectra, oscillators.

Only a record's true samples count, never the zero padding after them. Spectra are given at every period or frequency
asked for; ``in_band`` tells which of them the record can show.
"""

import numpy as np
import pandas as pd
from scipy import fft, signal
from scipy.linalg import expm

from tsgen.config import HVSRSettings
from tsgen.hvsr import detrended, konno_ohmachi

G_IN_CM_S2 = 980.665
DEFAULT = HVSRSettings()  # its high pass is the study's one low cut
STEPS_PER_PERIOD = 20  # Nigam and Jennings (1969): a coarser step misses peaks of load and response
STEPS_PER_PERIOD_BILINEAR = 40  # the instant of yielding falls between steps: 1 % of displacement at 20, 0.3 % at 40
VALUES_AT_ONCE = 2**22  # of one batch's upsampled waveforms: 32 MB, whatever the number of records
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
    for rows in _batches(len(records), 3 * records.n_samples):
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


def true_waveforms(records):
    """Waveforms (n, 3, t) as float64, zero after each record's ``samples``."""
    x = np.array(records.waveforms, dtype=np.float64)
    x[(np.arange(x.shape[2]) >= records.table["samples"].to_numpy()[:, None])[:, None].repeat(3, axis=1)] = 0.0
    return x


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
    return _cut(fft.irfft(spectrum * response, n_fft)[..., :n], samples)


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
    for rows in _batches(len(records), 3 * n_fft):
        amplitude[rows] = np.abs(fft.rfft(true_waveforms(records.take(rows)), n_fft)) @ smoothing / rate
    return amplitude


def response_spectra(records, periods_in_s, damping=0.05):
    """Pseudo-spectral acceleration (n, 3, periods) in cm/s²: omega² times the largest relative displacement.

    Exact recursion for a load that is linear between samples (Nigam and Jennings 1969, BSSA 59, 909), as a digital
    filter; records are first upsampled by FFT to a step of at most a twentieth of the period. Period 0 is the peak
    acceleration. The largest value is sought until the record ends. ValueError for a negative period.
    """
    spectra = np.empty((len(records), 3, len(periods_in_s)))
    for rows, place, response in _oscillate(records, periods_in_s, damping, 3, STEPS_PER_PERIOD):
        spectra[rows, :, place] = np.abs(response).max(axis=2)
    return spectra


def rotd(records, periods_in_s, percentiles=(50, 100), damping=0.05):
    """RotD spectra (percentiles, n, periods) in cm/s² of the horizontals (Boore 2010, BSSA 100, 1830).

    Percentiles over 180 rotations of the largest pseudo-spectral acceleration; otherwise as ``response_spectra``.
    """
    spectra = np.empty((len(percentiles), len(records), len(periods_in_s)))
    for rows, place, response in _oscillate(records, periods_in_s, damping, 2, STEPS_PER_PERIOD):
        spectra[:, rows, place] = _rotd(response, percentiles)
    return spectra


def inelastic_displacement(records, periods_in_s, strength_factors, hardening=0.05, damping=0.05):
    """Largest displacement (n, 2, periods, factors) in cm of bilinear oscillators under E and N.

    strength_factors R: the yield displacement is the largest elastic displacement of the same record over R, so that
    R = 1 just stays elastic. hardening: stiffness after yielding over the elastic one (kinematic). The damping
    coefficient stays that of the elastic oscillator. ValueError for a period that is not positive.
    """
    return _bilinear(records, periods_in_s, strength_factors, hardening, damping)[0]


def inelastic_displacement_ratio(records, periods_in_s, strength_factors, hardening=0.05, damping=0.05):
    """Inelastic over elastic largest displacement (n, 2, periods, factors); see ``inelastic_displacement``."""
    inelastic, elastic = _bilinear(records, periods_in_s, strength_factors, hardening, damping)
    return inelastic / elastic[..., None]


def recursion(period_in_s, damping, step_in_s):
    """(a (2, 2), b (2, 2)) of one exact step: state' = a @ state + b @ (load, load'), state (displacement, velocity).

    The load is ground acceleration, linear over the step. From the matrix exponential of state, load and slope: the
    closed form of Nigam and Jennings (1969) loses digits where the step is a small part of the period.
    """
    omega = 2 * np.pi / period_in_s
    system = np.zeros((4, 4))
    system[0, 1] = system[2, 3] = 1.0
    system[1, :3] = -(omega**2), -2 * damping * omega, -1.0
    step = expm(system * step_in_s)
    slope = step[:2, 3] / step_in_s
    return step[:2, :2], np.column_stack([step[:2, 2] - slope, slope])


def upsampled(x, factor):
    """(…, t) at ``factor`` times the rate, (…, factor t), by FFT; zeros after the end keep it from meeting the start."""
    n = x.shape[-1]
    padded = fft.next_fast_len(n + 256, real=True)
    if factor == 1:
        return x
    x = np.concatenate([x, np.zeros((*x.shape[:-1], padded - n))], axis=-1)
    return signal.resample(x, padded * factor, axis=-1)[..., : n * factor]


def _batches(n, values_a_record):
    """Integer rows of each batch."""
    size = max(1, VALUES_AT_ONCE // max(1, values_a_record))
    for first in range(0, n, size):
        yield np.arange(first, min(first + size, n))


def _cut(x, ends):
    """x (n, c, t) with zeros after the end (n,) of each record, in place."""
    for wave, end in zip(x, ends, strict=True):
        wave[:, int(end) :] = 0.0
    return x


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

    The farthest points in eight directions and their mirror images span a polygon; what lies inside is nowhere the
    farthest. Leaves a hundredth of the points, and the result exact.
    """
    angle = np.pi * np.arange(8) / 8
    along = np.column_stack([np.cos(angle), np.sin(angle)]) @ x  # (n, direction, t)
    place = np.abs(along).argmax(axis=2)
    sign = np.sign(np.take_along_axis(along, place[..., None], axis=2)[..., 0])
    corner = np.take_along_axis(x, place[:, None], axis=2) * sign[:, None]  # (n, 2, corner)
    following = np.concatenate([corner[..., 1:], -corner[..., :1]], axis=2)
    normal = (following - corner)[:, ::-1] * np.array([1.0, -1.0])[:, None]
    offset = (normal * corner).sum(axis=1)
    beyond = np.abs(normal.swapaxes(1, 2) @ x) >= (offset * (1 - 1e-9))[..., None]
    keep = (beyond & (np.abs(normal).max(axis=1) > 0)[..., None]).any(axis=1)
    np.put_along_axis(keep, place, True, axis=1)
    return keep


def _factors(periods_in_s, rate, steps):
    """Upsampling factor of each period, a power of two (few of them: each costs one FFT of all records)."""
    needed = [steps / (rate * period) if period > 0 else 1.0 for period in periods_in_s]
    return np.array([2 ** max(0, int(np.ceil(np.log2(each) - 1e-9))) for each in needed])


def _oscillate(records, periods_in_s, damping, n_components, steps):
    """Yield (rows, place of the period, pseudo-acceleration (rows, components, time)), zero after each record's end."""
    if np.min(periods_in_s) < 0:
        raise ValueError(f"periods must not be negative, and one is {np.min(periods_in_s):g} s")
    rate = records.sampling_rate_in_hz
    factors = _factors(periods_in_s, rate, steps)
    for rows in _batches(len(records), n_components * records.n_samples * factors.max()):
        part = records.take(rows)
        x, last = true_waveforms(part)[:, :n_components], part.table["samples"].to_numpy() - 1
        for factor in np.unique(factors):
            fine = upsampled(x, factor)
            for place in np.flatnonzero(factors == factor):
                response = _filtered(fine, periods_in_s[place], damping, 1 / (rate * factor))
                yield rows, place, _cut(response, last * factor + 1)


def _filtered(load, period_in_s, damping, step_in_s):
    """Pseudo-acceleration (…, t) under the load, at rest at the first sample: ``recursion`` with velocity eliminated."""
    if period_in_s == 0:
        return load.copy()
    a, b = recursion(period_in_s, damping, step_in_s)
    (now, later), (now_v, later_v) = b
    zeros = later, now - a[1, 1] * later + a[0, 1] * later_v, a[0, 1] * now_v - a[1, 1] * now
    poles = 1.0, -np.trace(a), np.linalg.det(a)
    rest = load[..., :1] * np.array([-later, now - zeros[1]])
    return signal.lfilter(np.array(zeros) * (2 * np.pi / period_in_s) ** 2, poles, load, zi=rest * (2 * np.pi / period_in_s) ** 2)[0]


def _bilinear(records, periods_in_s, strength_factors, hardening, damping):
    """Largest inelastic (n, 2, periods, factors) and elastic (n, 2, periods) displacement in cm."""
    periods = np.asarray(periods_in_s, float)
    if periods.min() <= 0:
        raise ValueError(f"an oscillator's period must be positive, and one is {periods.min():g} s")
    rate, steps = records.sampling_rate_in_hz, STEPS_PER_PERIOD_BILINEAR
    elastic = np.empty((len(records), 2, len(periods)))
    for rows, place, response in _oscillate(records, periods, damping, 2, steps):
        elastic[rows, :, place] = np.abs(response).max(axis=2) / (2 * np.pi / periods[place]) ** 2
    inelastic = np.empty((*elastic.shape, len(strength_factors)))
    factors = _factors(periods, rate, steps)
    for factor in np.unique(factors):
        places = np.flatnonzero(factors == factor)
        for rows in _batches(len(records), 2 * records.n_samples * factor):
            part = records.take(rows)
            load = upsampled(true_waveforms(part)[:, :2], factor)
            last = (part.table["samples"].to_numpy() - 1) * factor
            strength = elastic[rows][..., places, None] / np.asarray(strength_factors, float)
            peak = _yielding(load, last, periods[places], strength, hardening, damping, 1 / (rate * factor))
            inelastic[np.ix_(rows, [0, 1], places)] = peak
    return inelastic, elastic


def _yielding(load, last, periods, strength, hardening, damping, step_in_s):
    """Largest displacement (n, 2, p, r) under load (n, 2, t) with yield displacement ``strength`` (n, 2, p, r).

    Plastic displacement p acts as a load on the elastic oscillator: u'' + 2 zeta omega u' + omega² u =
    -a + (1 - hardening) omega² p. With p linear over a step, as a is, the elastic recursion stays exact, and the p
    that brings the force back to the yield surface at the step's end is linear in the overshoot: no iteration, no
    stability limit, and without yielding the elastic response to rounding.
    """
    a, b = (np.array(each) for each in zip(*(recursion(period, damping, step_in_s) for period in periods), strict=True))
    a, b = (np.moveaxis(each, 0, -1)[..., None, None] for each in (a, b))  # (2, 2, p, 1, 1)
    force = (1 - hardening) * (2 * np.pi / periods[:, None, None]) ** 2
    share = 1 / (1 + b[0, 1] * force)
    bound = np.ascontiguousarray(np.moveaxis(strength.reshape(-1, *strength.shape[2:]), 0, -1))  # (p, r, records)
    load = np.ascontiguousarray(load.reshape(-1, load.shape[2]).T)  # (t, records)
    ends = np.repeat(last, 2)
    u, v, plastic, peak = np.zeros((4, *bound.shape))
    before = load[0] + u
    for i in range(1, len(load)):
        after = load[i] - force * plastic
        trial = a[0, 0] * u + a[0, 1] * v + b[0, 0] * before + b[0, 1] * after
        stretch = trial - plastic
        flow = (stretch - np.clip(stretch, -bound, bound)) * share
        plastic += flow
        after -= force * flow
        v = a[1, 0] * u + a[1, 1] * v + b[1, 0] * before + b[1, 1] * after
        u = trial - b[0, 1] * force * flow
        before = after
        np.maximum(peak, np.abs(u), out=peak, where=i <= ends)
    return np.moveaxis(peak, -1, 0).reshape(strength.shape)
