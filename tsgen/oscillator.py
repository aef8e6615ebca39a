"""Oscillators of one degree of freedom under an accelerogram: elastic by exact recursion, and bilinear."""

import numpy as np
from scipy import fft, signal
from scipy.linalg import expm

STEPS_PER_PERIOD = 40  # at least; 20 lose 1 % of a response spectrum (peaks and load between steps), 40 lose 0.25 %
VALUES_AT_ONCE = 2**22  # of one batch's upsampled waveforms: 32 MB, whatever the number of records


def inelastic_displacement(records, periods_in_s, strength_factors, hardening=0.05, damping=0.05, over_elastic=False):
    """Largest displacement (n, 2, periods, factors) in cm of bilinear oscillators under E and N. Yield displacement:
    the largest elastic one of the same record over ``strength_factors``, so that 1 just stays elastic. hardening:
    stiffness after yielding over the elastic one (kinematic). The damping coefficient stays the elastic oscillator's.
    ValueError for a period that is not positive."""
    periods = np.asarray(periods_in_s, float)
    if periods.min() <= 0:
        raise ValueError(f"an oscillator's period must be positive, and one is {periods.min():g} s")
    elastic = np.empty((len(records), 2, len(periods)))
    for rows, place, response in responses(records, periods, damping, 2):
        elastic[rows, :, place] = np.abs(response).max(axis=2) / (2 * np.pi / periods[place]) ** 2
    strength = elastic[..., None] / np.asarray(strength_factors, float)
    inelastic = np.empty(strength.shape)
    for places, rows, load, last, step in loads(records, periods):
        at = np.ix_(rows, [0, 1], places)
        inelastic[at] = _yielding(load, last, periods[places], strength[at], hardening, damping, step)
    return inelastic / elastic[..., None] if over_elastic else inelastic


def inelastic_displacement_ratio(records, periods_in_s, strength_factors, hardening=0.05, damping=0.05):
    """Inelastic over elastic largest displacement (n, 2, periods, factors); see ``inelastic_displacement``."""
    return inelastic_displacement(records, periods_in_s, strength_factors, hardening, damping, over_elastic=True)


def responses(records, periods_in_s, damping, n_components):
    """Yield (rows, place of the period, pseudo-acceleration (rows, components, time)), zero after each record's end.
    The first n_components of E, N, Z. omega² times the relative displacement, in cm/s² (the load itself at period 0),
    at a fortieth of the period or less: 1, 1/2, 1/4, … of the records' step. ValueError for a negative period."""
    if np.min(periods_in_s) < 0:
        raise ValueError(f"periods must not be negative, and one is {np.min(periods_in_s):g} s")
    for places, rows, load, last, step in loads(records, periods_in_s, n_components):
        for place in places:
            response = _filtered(load, periods_in_s[place], damping, step) if periods_in_s[place] else load.copy()
            yield rows, place, cut(response, last + 1)


def loads(records, periods_in_s, n_components=2, steps=None):
    """Yield (places of periods, rows, load (rows, components, time), last sample (rows,), step in s), in batches. The
    load is upsampled by a power of two (few of them: each costs one FFT of all records) to the steps a period."""
    rate = records.sampling_rate_in_hz
    needed = [(steps or STEPS_PER_PERIOD) / (rate * period) if period > 0 else 1.0 for period in periods_in_s]
    factors = 2 ** np.maximum(0, np.ceil(np.log2(needed) - 1e-9)).astype(int)
    for factor in np.unique(factors):
        for rows in batches_of_rows(len(records), n_components * records.n_samples * factor):
            part = records.take(rows)
            load = upsampled(true_waveforms(part)[:, :n_components], factor)
            last = (part.table["samples"].to_numpy(int) - 1) * factor
            yield np.flatnonzero(factors == factor), rows, load, last, 1 / (rate * factor)


def recursion(period_in_s, damping, step_in_s):
    """(a (2, 2), b (2, 2)) of one exact step: state' = a @ state + b @ (load, load'), state (displacement, velocity).
    The load is ground acceleration, linear over the step. From the matrix exponential of state, load and slope: the
    closed form of Nigam and Jennings (1969) loses digits where the step is a small part of the period."""
    omega = 2 * np.pi / period_in_s
    system = np.zeros((4, 4))
    system[0, 1] = system[2, 3] = 1.0
    system[1, :3] = -(omega**2), -2 * damping * omega, -1.0
    step = expm(system * step_in_s)
    slope = step[:2, 3] / step_in_s
    return step[:2, :2], np.column_stack([step[:2, 2] - slope, slope])


def upsampled(x, factor):
    """(…, t) at ``factor`` times the rate, (…, factor t), by FFT; every factor-th value is one of x."""
    if factor == 1:
        return x
    n = x.shape[-1]
    padded = fft.next_fast_len(n + 256, real=True)  # zeros between the end and the start, which meet in an FFT
    x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, padded - n)])
    return signal.resample(x, padded * factor, axis=-1)[..., : n * factor]


def true_waveforms(records):
    """Waveforms (n, 3, t) as float64, zero after each record's ``samples``."""
    return cut(np.array(records.waveforms, dtype=np.float64), records.table["samples"])


def batches_of_rows(n, values_a_record):
    size = max(1, VALUES_AT_ONCE // max(1, values_a_record))
    return [np.arange(first, min(first + size, n)) for first in range(0, n, size)]


def cut(x, ends):
    """x (n, c, t) with zeros after the end (n,) of each record, in place."""
    for wave, end in zip(x, ends, strict=True):
        wave[:, int(end) :] = 0.0
    return x


def _filtered(load, period_in_s, damping, step_in_s):
    """Pseudo-acceleration (…, t) under load (…, t), at rest at the first sample: ``recursion`` with the velocity
    eliminated, a digital filter of second order."""
    a, b = recursion(period_in_s, damping, step_in_s)
    (now, later), (now_v, later_v) = b
    zeros = np.array([later, now - a[1, 1] * later + a[0, 1] * later_v, a[0, 1] * now_v - a[1, 1] * now])
    poles = 1.0, -np.trace(a), np.linalg.det(a)
    rest = np.array([-later, now - zeros[1]])
    omega2 = (2 * np.pi / period_in_s) ** 2
    return signal.lfilter(omega2 * zeros, poles, load, zi=omega2 * rest * load[..., :1])[0]


def _yielding(load, last, periods, strength, hardening, damping, step_in_s):
    """Largest displacement (n, 2, p, r) under load (n, 2, t) with yield displacement ``strength`` (n, 2, p, r).
    Plastic displacement p acts as a load on the elastic oscillator: u'' + 2 zeta omega u' + omega² u =
    -a + (1 - hardening) omega² p. With p linear over a step, as a is, the elastic recursion stays exact, and the p that
    brings the force back to the yield surface is linear in the overshoot: no iteration, no stability limit."""
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
        u, before = trial - b[0, 1] * force * flow, after
        np.maximum(peak, np.abs(u), out=peak, where=i <= ends)
    return np.moveaxis(peak, -1, 0).reshape(strength.shape)
