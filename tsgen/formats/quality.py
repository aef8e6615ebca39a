"""Quality control: readable records that are poor get a text that says why; thresholds in config.QualitySettings.
The rules look at the native rate (``formats`` does so): resampling rings at spikes and smooths flat tops away."""

from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import correlate
from scipy.spatial import cKDTree

from tsgen.config import QualitySettings
from tsgen.records import event_groups

DEFAULT = QualitySettings()
NEIGHBOURS = 8  # samples a side that a spike is compared with: at 100 Hz the motion itself has no time to change
STEPS_OF_MOTION = 3  # digitiser steps: less is the flicker of a quiet record on a coarse instrument
LEAST_MOTION = 1e-4  # of the peak: less is the end of a taper before zero padding


def faults(waveform, sampling_rate_in_hz, p_arrival_sample=np.nan, settings=DEFAULT, counts=None):
    """List of reasons why one record, (3, samples) in cm/s² without padding ((2, samples) without a vertical), is poor.
    counts: the same before the instrument's response was removed, which rounds flat tops off, or None."""
    wave = np.asarray(waveform, float)
    wave = wave - wave.mean(axis=1, keepdims=True)
    peak, duration_in_s, found = float(np.abs(wave).max()), wave.shape[1] / sampling_rate_in_hz, []
    if peak < settings.lowest_peak_in_cm_s2:
        found.append(f"weak: peak {peak:.2g} cm/s² below {settings.lowest_peak_in_cm_s2:g}")
    if peak > settings.highest_peak_in_cm_s2:
        found.append(f"impossible: peak {peak:.3g} cm/s² above {settings.highest_peak_in_cm_s2:g}: wrong gain or unit")
    if duration_in_s < settings.shortest_in_s:
        found.append(f"too short: {duration_in_s:.1f} s of {settings.shortest_in_s:g}")
    raw = wave if counts is None else counts - counts.mean(axis=1, keepdims=True)
    for name, x, x_raw in zip("ENZ"[: len(wave)], wave, raw, strict=True):
        if clipped := clipped_samples(x_raw, peak if counts is None else np.abs(x_raw).max(), settings):
            found.append(f"clipped: {clipped} samples at the extreme value of {name}")
        if (dead_in_s := longest_dead_stretch(x, peak) / sampling_rate_in_hz) >= settings.dead_in_s:
            found.append(f"dead: {name} does not move for {dead_in_s:.1f} s")
        at, size = largest_spike(x, settings)
        if at is not None:
            found.append(f"spike: one sample of {name} at {at / sampling_rate_in_hz:.2f} s is {size:.2g} cm/s² off")
    # the mean of a component before the event, else at the start
    before = min(settings.drift_window_in_s * sampling_rate_in_hz, wave.shape[1] / 4)
    if np.isfinite(p_arrival_sample) and p_arrival_sample >= sampling_rate_in_hz:
        before = min(before, p_arrival_sample)
    drift = float(np.abs(wave[:, : max(1, int(before))].mean(axis=1)).max())
    if peak > 0 and drift / peak > settings.drift_share:
        found.append(f"drift: the pre-event level is {drift / peak:.0%} of the peak")
    return found


def clipped_samples(x, peak, settings):
    """Number of samples at an extreme value that more share than the shape of a peak explains, else 0: fewer lie at a
    peak's top than in the 10 % (at least five digitiser steps) below it; where the instrument's range ends, samples
    pile up."""
    steps = np.abs(np.diff(x))
    steps = steps[steps > 1e-7 * peak]
    least_band = 5.5 * steps.min() if len(steps) else 0.0
    for side in (x, -x):
        top = side.max()
        at_top, near_top = (int((side >= top - band).sum()) for band in (1e-6 * peak, max(0.1 * top, least_band)))
        if settings.clipped_samples <= at_top < len(x) and at_top >= settings.clipped_share * near_top:
            return at_top
    return 0


def longest_dead_stretch(x, peak):
    """Samples of the longest constant stretch that is the whole trace or begins or ends out of motion: the three
    samples before it (at the record's start the one after it) move by more than a quiet record of a coarse instrument
    flickers, or a taper before zero padding."""
    steps = np.abs(np.diff(x))
    moving = steps[steps > 1e-7 * peak]
    if not len(moving):
        return len(x)
    least = max(STEPS_OF_MOTION * moving.min(), LEAST_MOTION * peak)
    bounds, longest = [0, *(np.flatnonzero(steps > 0) + 1), len(x)], 0
    for start, end in pairwise(bounds):
        if end - start > max(longest, 2):
            beside = x[max(0, start - 3) : start] if start else x[end : end + 1]
            if len(beside) and np.abs(beside - x[start]).max() > least:
                longest = int(end - start)
    return longest


def largest_spike(x, settings):
    """(sample, size in cm/s²) of the largest spike, or (None, 0): one sample off the line between its neighbours by
    spike_ratio times as much as any of the NEIGHBOURS on either side, and by spike_share of the trace's peak."""
    bend = np.zeros(len(x))
    bend[1:-1] = np.abs(x[1:-1] - (x[:-2] + x[2:]) / 2)
    around = np.pad(bend, NEIGHBOURS + 1)
    largest = sliding_window_view(around, NEIGHBOURS).max(axis=1)
    # windows that end two samples before and begin two samples after: the neighbours themselves feel the spike
    others = np.maximum(largest[: len(x)], largest[NEIGHBOURS + 3 : NEIGHBOURS + 3 + len(x)])
    is_spike = (bend > settings.spike_share * np.abs(x).max()) & (bend > settings.spike_ratio * others)
    spikes = np.where(is_spike, bend, 0.0)
    at = int(spikes.argmax())
    return (at, float(bend[at])) if spikes[at] > 0 else (None, 0.0)


def duplicates(records, settings=DEFAULT):
    """List of texts, one a record: "duplicate of …" where an earlier record has equal peaks in all three components,
    and a correlation that reaches duplicate_correlation at a lag common to the three (windows differ)."""
    texts = [""] * len(records)
    peaks = np.array([np.abs(wave).max(axis=1) for part in records.batches() for wave in part.waveforms])
    moving = np.flatnonzero((peaks > 0).all(axis=1))
    if len(moving) < 2:
        return texts
    pairs = cKDTree(np.log(peaks[moving])).query_pairs(settings.duplicate_peak_difference)
    names = records.table.get("file", records.table["event"])
    for i, j in sorted((min(pair), max(pair)) for pair in pairs):
        first, second = int(moving[i]), int(moving[j])
        if not texts[first] and not texts[second]:
            one, two = (records.take([row]).waveforms[0].astype(float) for row in (first, second))
            at_lags = sum(correlate(a, b, method="fft") for a, b in zip(one, two, strict=True))
            if at_lags.max() / np.sqrt((one**2).sum() * (two**2).sum()) >= settings.duplicate_correlation:
                texts[second] = f"duplicate of {names.iloc[first]}"
    return texts


def event_notes(table):
    """List of texts, one a row: the other ids of an event that starts within a minute of this row's."""
    groups = event_groups(table)
    ids = table["event"].groupby(groups).unique()
    others = [", ".join(sorted(set(ids[group]) - {event})) for event, group in zip(table["event"], groups, strict=True)]
    told = "event {} is also {} (within a minute: one event)"
    return [told.format(event, other) if other else "" for event, other in zip(table["event"], others, strict=True)]
