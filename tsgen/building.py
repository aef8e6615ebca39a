"""A small shear frame that yields: storeys of equal mass and stiffness under an accelerogram."""

from dataclasses import dataclass

import numpy as np

from tsgen.oscillator import loads

STEPS_PER_SHORTEST_PERIOD = 29  # at least: capacities are 0.1 % off; 32 would double evidence.structures' sampling rate


@dataclass(frozen=True)
class ShearFrame:
    """A frame's sizes; a storey's shear is bilinear in its drift."""

    n_storeys: int = 3
    period_in_s: float = 0.6  # of the first mode, elastic: a bare frame of reinforced concrete, 0.2 s a storey
    storey_height_in_m: float = 3.0
    yield_drift: float = 0.005  # displacement of a storey over its height
    hardening: float = 0.05  # stiffness after yielding over the elastic one
    damping: float = 0.05  # of every mode, elastic

    @property
    def stiffness(self):
        """Storey stiffness over storey mass, 1/s²."""
        return (np.pi / self.period_in_s / np.sin(np.pi / (4 * self.n_storeys + 2))) ** 2

    @property
    def yield_acceleration_in_cm_s2(self):
        """Base shear at yielding over the frame's weight, as an acceleration."""
        return self.stiffness * 100 * self.storey_height_in_m * self.yield_drift / self.n_storeys


def modes(frame):
    """(periods in s (m,), shapes (storey, m)) of the elastic frame, longest first; shapes of unit length."""
    n = frame.n_storeys
    matrix = frame.stiffness * (2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1))
    matrix[-1, -1] = frame.stiffness  # nothing above the roof
    squares, shapes = np.linalg.eigh(matrix)
    return 2 * np.pi / np.sqrt(squares), shapes


def largest_drift(frame, records, scale=1.0):
    """Largest drift of any storey over its height (n, 2, s), under E and N times ``scale``, (n, 2, s) or a number.
    Central differences, damping implicit; sought until the record ends."""
    n, k, hard, height = frame.n_storeys, frame.stiffness, frame.hardening, 100 * frame.storey_height_in_m  # in cm
    limit = height * frame.yield_drift
    periods, shapes = modes(frame)
    damping = shapes @ np.diag(4 * np.pi * frame.damping / periods) @ shapes.T  # over mass
    scale = np.ones((len(records), 2, 1)) * scale
    largest = np.empty(scale.shape)
    for _, rows, load, last, step in loads(records, periods[-1:], 2, STEPS_PER_SHORTEST_PERIOD):
        forward = np.linalg.inv(np.eye(n) / step**2 + damping / (2 * step))
        backward = np.eye(n) / step**2 - damping / (2 * step)
        load = load.reshape(-1, load.shape[2]).T  # (t, 2n)
        factor = scale[rows].reshape(load.shape[1], -1)  # (2n, s)
        now, before, plastic, peak = np.zeros((4, n, factor.size))  # (storey, 2n · s)
        last = np.repeat(last, 2 * factor.shape[1])
        for i, ground in enumerate(load):
            drift = np.diff(now, axis=0, prepend=0.0)
            np.maximum(peak, np.abs(drift), out=peak, where=i <= last)
            plastic += (drift - plastic) - np.clip(drift - plastic, -limit, limit)
            shear = k * (hard * drift + (1 - hard) * (drift - plastic))
            force = -(ground[:, None] * factor).ravel() - shear
            force[:-1] += shear[1:]
            now, before = forward @ (force + 2 / step**2 * now - backward @ before), now
        largest[rows] = peak.max(axis=0).reshape(-1, 2, factor.shape[1])
    return largest / height


def capacity(frame, records, spectral_in_cm_s2, levels_in_cm_s2, limits):
    """ln of the spectral acceleration (n, 2, limits) at which the frame's largest drift reaches each limit, E and N:
    scaled from spectral_in_cm_s2 (n, 2) to the rising levels (s,), the first crossing between levels on logarithms. NaN
    where no level reaches the limit, or the lowest one exceeds it."""
    levels = np.log(np.asarray(levels_in_cm_s2, float))
    drift = largest_drift(frame, records, np.exp(levels) / spectral_in_cm_s2[..., None])
    drift = np.log(np.maximum.accumulate(drift, axis=2))
    found = np.full((*drift.shape[:2], len(limits)), np.nan)
    for *place, i in np.ndindex(found.shape):
        row, limit = drift[tuple(place)], np.log(limits[i])
        after = int(np.argmax(row >= limit))
        if row[-1] >= limit and after > 0:
            share = (limit - row[after - 1]) / (row[after] - row[after - 1])
            found[(*place, i)] = levels[after - 1] + share * (levels[after] - levels[after - 1])
    return found
