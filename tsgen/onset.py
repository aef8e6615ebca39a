"""Where P and S begin in an accelerogram, found from the motion alone.
Both are change points: the sample k that splits a stretch of n samples into a quiet and a strong part such that
k ln var(before) + (n - k) ln var(after) is least (Maeda 1985, Zisin 38, 365)."""

import math
from typing import NamedTuple

import numpy as np
from scipy import signal

from tsgen.config import OnsetSettings

DEFAULT = OnsetSettings()
S_ENERGY_SHARE = 0.4  # of the horizontals' energy: by then S has come
S_AFTER_P_IN_S = 0.4  # S is sought so much later than P


class Rise(NamedTuple):
    """A change point: its sample, and the variances before and after it, summed over components."""

    sample: int
    before: float
    after: float


def p_onset(vertical, sampling_rate_in_hz, settings=DEFAULT):
    """Seconds from the start of ``vertical`` (t,) in cm/s² to P, NaN where none can be had. The vertical is freed of
    long periods. The first change point lies before its strongest second; it may be S, so the stretch before it is
    split again and again, as long as the motion rises by ``least_rise`` and is not dwarfed by what follows. NaN where
    nothing rises so, or where the part before it is motion already: the record starts after P."""
    rate = float(sampling_rate_in_hz)
    corner = min(settings.high_pass_in_hz, 0.2 * rate)
    sos = signal.butter(2, corner, "highpass", fs=rate, output="sos")
    z = signal.sosfilt(sos, np.asarray(vertical, float) - vertical[0])[None]  # one way: nothing may move before P
    one_second, best = max(1, round(rate)), None
    running = np.cumsum(z[0] ** 2)
    if len(running) <= one_second:
        return math.nan
    end = int(np.argmax(running[one_second:] - running[:-one_second])) + one_second
    while rise := change_point(z, 0, end, round(settings.quiet_in_s * rate), round(settings.shortest_in_s * rate)):
        if rise.after < settings.least_rise * rise.before:
            break
        if best and (rise.after < settings.least_share * best.after or rise.before < settings.quietest_in_cm_s2**2):
            break
        best, end = rise, rise.sample
    if best is None:
        return math.nan
    loudest = max(settings.loudest_in_cm_s2, settings.loudest_share * np.abs(z).max())
    return math.nan if math.sqrt(best.before) > loudest else best.sample / rate


def s_onset(horizontals, sampling_rate_in_hz, p_in_s=math.nan):
    """Seconds from the start of ``horizontals`` (2, t) to S, sought after P (NaN: from the start); NaN without one."""
    x, rate = np.asarray(horizontals, float), float(sampling_rate_in_hz)
    energy = np.cumsum((x**2).sum(axis=0))
    first = round((np.nan_to_num(p_in_s) + S_AFTER_P_IN_S) * rate)
    shortest = round(DEFAULT.shortest_in_s * rate)
    rise = change_point(x, first, int(np.searchsorted(energy, S_ENERGY_SHARE * energy[-1])), shortest, shortest)
    return rise.sample / rate if rise else math.nan


def change_point(x, first, last, before, after):
    """The Rise of ``x`` (components, t) within the samples [first, last), at least ``before`` samples from the one end
    and ``after`` from the other; None where the stretch is too short or nothing moves in it."""
    x, n = x[:, first:last], last - first
    if n < before + after + 1:
        return None
    k = np.arange(max(1, before), n - after)
    total, squares = np.cumsum(x, axis=1), np.cumsum(x**2, axis=1)
    quiet = (squares[:, k - 1] / k - (total[:, k - 1] / k) ** 2).sum(axis=0)
    rest = (total[:, -1:] - total[:, k - 1]) / (n - k)
    strong = ((squares[:, -1:] - squares[:, k - 1]) / (n - k) - rest**2).sum(axis=0)
    if not (largest := max(quiet.max(), strong.max())) > 0:
        return None
    quiet, strong = (np.maximum(variance, 1e-12 * largest) for variance in (quiet, strong))
    best = int(np.argmin(k * np.log(quiet) + (n - k) * np.log(strong)))
    return Rise(first + int(k[best]), float(quiet[best]), float(strong[best]))
