"""Do the components of a record move together? P moves the vertical with the radial, surface waves go in ellipses, so
the phases of two components are locked (Samson 1973, Geophys. J. R. astr. Soc. 34, 403). Generators that draw each
component from noise of its own keep spectra and envelopes, and lose this."""

from itertools import combinations

import numpy as np

from tsgen.oscillator import true_waveforms

SEGMENT_IN_S, BAND_IN_HZ = 2.56, (0.5, 8.0)  # of Welch's method, half overlapping; band: what most recordings show


def coherence(x, y, sampling_rate_in_hz, bands_in_hz=(BAND_IN_HZ,)):
    """Mean squared coherence (n, bands) of two components (n, t): over segments that each weigh the same."""
    n = round(SEGMENT_IN_S * sampling_rate_in_hz)
    window, frequency = np.hanning(n), np.fft.rfftfreq(n, 1 / sampling_rate_in_hz)
    inside = np.array([(frequency >= low) & (frequency <= high) for low, high in bands_in_hz])  # (bands, f)
    spectra = []
    for wave in (x, y):
        segments = np.lib.stride_tricks.sliding_window_view(wave, n, axis=1)[:, :: n // 2] * window
        spectrum = np.fft.rfft(segments)  # (n, segment, f)
        power = ((np.abs(spectrum) ** 2) * inside.any(axis=0)).mean(axis=2, keepdims=True)
        spectra.append(spectrum / np.sqrt(np.where(power > 0, power, 1.0)))
    cross = np.abs((spectra[0] * spectra[1].conj()).sum(axis=1)) ** 2
    auto = [(np.abs(spectrum) ** 2).sum(axis=1) for spectrum in spectra]
    return (cross / np.maximum(auto[0] * auto[1], 1e-30)) @ inside.T / inside.sum(axis=1)


def locked(records):
    """Mean squared coherence (n,) of a record's components, less that of components from different records of its
    station: 0 on average for components drawn apart. NaN at a station with one record."""
    x, rate = true_waveforms(records).astype(float), records.sampling_rate_in_hz
    station = records.table["station"].to_numpy()
    own, apart = np.zeros((2, len(records)))
    other = np.arange(len(records))
    for name in records.stations:
        rows = np.flatnonzero(station == name)
        other[rows] = np.roll(rows, 1)
    for i, j in (pairs := list(combinations(range(3), 2))):
        own += coherence(x[:, i], x[:, j], rate)[:, 0] / len(pairs)
        apart += coherence(x[:, i], x[other, j], rate)[:, 0] / len(pairs)
    return np.where(other == np.arange(len(records)), np.nan, own - apart)
