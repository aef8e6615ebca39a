"""Onset of P and S in a record, by the variance criterion of Maeda (1985, Zisin 38, 365)."""

import numpy as np

from tsgen.oscillator import true_waveforms

LEAD_IN_S = 0.4  # S is sought so much after P
P_SHARE, S_SHARE = 0.05, 0.4  # of the vertical's and of the horizontals' energy: by then the wave has come
SHORTEST_IN_S = 0.3  # of either side of an onset


def onsets(records):
    """Seconds (n, 2) from a record's start to P on the vertical and S on the horizontals, NaN where none is found.

    Each splits a stretch of the record into a quiet and a strong part such that k ln var(before) + (n - k) ln
    var(after) is least. P's stretch ends where the vertical has P_SHARE of its energy, S's where the horizontals have
    S_SHARE of theirs.
    """
    rate = records.sampling_rate_in_hz
    found = np.full((len(records), 2), np.nan)
    for i, wave in enumerate(true_waveforms(records)):
        vertical, horizontal = np.cumsum(wave[2] ** 2), np.cumsum((wave[:2] ** 2).sum(axis=0))
        if not (vertical[-1] > 0 and horizontal[-1] > 0):
            continue
        ends = [np.searchsorted(c, share * c[-1]) for c, share in ((vertical, P_SHARE), (horizontal, S_SHARE))]
        p = _split(vertical, 0, ends[0] + round(rate), round(SHORTEST_IN_S * rate))
        first = (p if p else ends[0]) + round(LEAD_IN_S * rate)
        s = _split(horizontal, first, ends[1], round(SHORTEST_IN_S * rate))
        found[i] = [np.nan if each is None else each / rate for each in (p, s)]
    return found


def _split(energy, first, last, shortest):
    """Sample at which the stretch [first, last) of a running energy (t,) turns from quiet to strong, or None."""
    energy = energy[first:last] - (energy[first - 1] if first else 0.0)
    n = len(energy)
    if n < 2 * shortest + 1 or not energy[-1] > 0:
        return None
    k = np.arange(shortest, n - shortest)
    floor = 1e-12 * energy[-1]
    before, after = np.maximum(energy[k - 1], floor), np.maximum(energy[-1] - energy[k - 1], floor)
    return first + k[np.argmin(k * np.log(before / k) + (n - k) * np.log(after / (n - k)))]
