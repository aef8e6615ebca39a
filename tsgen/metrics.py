"""How alike the f0 distributions of stations are: Jensen-Shannon similarity, station matrices, the station-specificity
score, and what it is worth. f0 comes as {station: f0 array in Hz}, or, to be drawn by event, as findings.Sample."""

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from tsgen.config import F0Settings
from tsgen.findings import interval

DEFAULT = F0Settings()


def f0_by_station(table, f0_in_hz, stations=None):
    """{station: f0 array} of a records table (n rows) and its f0 (n,), in the order of stations (default: sorted)."""
    names, f0_in_hz = np.asarray(table["station"], dtype=object), np.asarray(f0_in_hz)
    stations = sorted(set(names)) if stations is None else stations
    return {station: f0_in_hz[names == station] for station in stations}


def f0_histogram(f0_in_hz, settings=DEFAULT):
    """Shares (n_bins,) of f0 in equal bins, sum 1. NaN and values outside the bins are ignored; NaN if none is left."""
    f0_in_hz = np.asarray(f0_in_hz, dtype=float)
    band = (settings.lowest_in_hz, settings.highest_in_hz)
    counts = np.histogram(f0_in_hz[np.isfinite(f0_in_hz)], bins=settings.n_bins, range=band)[0]
    return counts / counts.sum() if counts.any() else np.full(settings.n_bins, np.nan)


def js_similarity(p, q, settings=DEFAULT):
    """1 less the Jensen-Shannon distance (root of the divergence, base 2): 1 for equal histograms, 0 disjoint, or NaN.
    p and q (..., bins) broadcast; settings.floor is added to each bin and the sum made 1 again, as published."""
    p, q = (np.asarray(each, dtype=float) + settings.floor for each in (p, q))
    p, q = (each / each.sum(axis=-1, keepdims=True) for each in (p, q))
    middle = (p + q) / 2
    divergence = (p * np.log2(p / middle) + q * np.log2(q / middle)).sum(axis=-1) / 2
    return 1 - np.sqrt(np.clip(divergence, 0.0, 1.0))  # rounding leaves -1e-17 for equal histograms


def station_matrix(groups, rows=None, columns=None, settings=DEFAULT):
    """Similarity of f0 distributions of groups {source: {station: f0 array}}: a DataFrame whose row and column
    MultiIndex is (station, source), interleaved. rows and columns name one source or several (default: all). ValueError
    for an unknown source, or one whose stations differ."""
    stations = list(next(iter(groups.values())))
    for source, values in groups.items():
        if set(values) != set(stations):
            raise ValueError(f"source {source!r} has stations {sorted(values)}, not {sorted(stations)}")
    axes, sides = [], []
    for chosen in (rows, columns):
        chosen = list(groups) if chosen is None else [chosen] if isinstance(chosen, str) else list(chosen)
        for source in chosen:
            if source not in groups:
                raise ValueError(f"unknown source {source!r}; known: {', '.join(groups)}")
        axes.append(pd.MultiIndex.from_product([stations, chosen], names=["station", "source"]))
        sides.append([groups[source][station] for station, source in axes[-1]])
    return pd.DataFrame(_similarities(*sides, settings), index=axes[0], columns=axes[1])


def station_score(frame):
    """Station-specificity score: Pearson correlation, over all cells, of a station matrix with the ideal one (1 within
    a station, else 0). NaN where a cell is NaN or all are equal; ValueError with a single station."""
    return _correlation(frame.to_numpy(dtype=float), _same_station(frame))


def off_diagonal(frame):
    """Mean similarity between different stations: how hard they are to tell apart."""
    return float(frame.to_numpy(dtype=float)[~_same_station(frame)].mean())


def ceiling(real, n_halves=200, seed=0, settings=DEFAULT):
    """S x S score of random halves of the same records against each other: an Estimate, value the median."""
    rng, scores = np.random.default_rng(seed), []
    for _ in range(n_halves):
        shuffled = {station: rng.permutation(values) for station, values in real.items()}
        first = {station: values[: len(values) // 2] for station, values in shuffled.items()}
        second = {station: values[len(values) // 2 :] for station, values in shuffled.items()}
        scores.append(s_by_s(first, second, settings))
    return interval(scores, np.median(scores))


def chance(real, generated, n_permutations=200, seed=0, settings=DEFAULT):
    """S x S score with the generated records permuted over stations, real ones fixed: an Estimate, value the median."""
    rng = np.random.default_rng(seed)
    pool = np.concatenate([generated[station] for station in real])
    ends = np.cumsum([len(generated[station]) for station in real])[:-1]
    permuted = (np.split(rng.permutation(pool), ends) for _ in range(n_permutations))
    scores = [s_by_s(real, dict(zip(real, parts, strict=True)), settings) for parts in permuted]
    return interval(scores, np.median(scores))


def drawn_matrices(real, generated, weights, stations, settings=DEFAULT):
    """S x S matrices (draws, stations, stations) of Samples of f0, whose records count weights (draws, n) times."""
    sides = []
    for sample, times in zip((real, generated), weights, strict=True):
        edges = np.linspace(settings.lowest_in_hz, settings.highest_in_hz, settings.n_bins + 1)
        bins = np.digitize(sample.values, edges)
        bins = np.where(sample.values == settings.highest_in_hz, settings.n_bins, bins)  # the last bin is closed
        place = bins[:, None, None] == np.arange(1, settings.n_bins + 1)
        place = place & (sample.station[:, None] == np.array(stations, object))[..., None]  # (n, stations, bins)
        counts = (times @ place.reshape(len(times[0]), -1)).reshape(len(times), len(stations), -1).astype(float)
        total = counts.sum(axis=2, keepdims=True)
        sides.append(np.where(total > 0, counts / np.where(total > 0, total, 1.0), np.nan))
    return js_similarity(sides[0][:, :, None], sides[1][:, None], settings)


def drawn_scores(real, generated, weights, stations, settings=DEFAULT):
    """S x S scores (draws,) of ``drawn_matrices``."""
    matrices, ideal = drawn_matrices(real, generated, weights, stations, settings), np.eye(len(stations), dtype=bool)
    return np.array([_correlation(each, ideal) for each in matrices])


def energy_distance(x, y, x_weights=None, y_weights=None):
    """Energy distance 2 E|x−y| − E|x−x'| − E|y−y'| of rows x (n, d) and y (m, d) that count weights (n,), (m,) times.
    Unbiased: pairs of a row with itself are left out, so one law has expectation 0 (Székely and Rizzo 2013)."""
    both = np.concatenate([np.asarray(side, float) for side in (x, y)])
    weights = np.zeros((2, 1, len(both)))
    weights[0, :, : len(x)] = 1 if x_weights is None else x_weights
    weights[1, :, len(x) :] = 1 if y_weights is None else y_weights
    return float(drawn_energy(cdist(both, both), *weights)[0])


def drawn_energy(between, x_weights, y_weights):
    """Energy distances (draws,) from the distances (n, n) between rows that count x_weights and y_weights (draws, n)
    times on either side; NaN where a side counts fewer than two."""
    x, y = (np.asarray(each, float) for each in (x_weights, y_weights))
    apart = _mean(between, x, y, x.sum(axis=1) * y.sum(axis=1))
    return 2 * apart - drawn_spread(between, x) - drawn_spread(between, y)


def drawn_spread(between, weights):
    """Mean distances (draws,) between two different rows of n that count weights (draws, n) times."""
    return _mean(between, weights, weights, weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1))


def _mean(between, first, second, pairs):
    total = (first @ between * second).sum(axis=1)
    return np.divide(total, pairs, np.full(len(total), np.nan), where=pairs > 0)


def s_by_s(rows, columns, settings=DEFAULT):
    """S x S score of two {station: f0}."""
    similarity = _similarities(list(rows.values()), [columns[station] for station in rows], settings)
    return _correlation(similarity, np.eye(len(rows), dtype=bool))


def _similarities(rows, columns, settings):
    """Similarity (r, c) of each f0 array of rows with each of columns."""
    rows, columns = (np.array([f0_histogram(values, settings) for values in side]) for side in (rows, columns))
    return js_similarity(rows[:, None], columns, settings)


def _same_station(frame):
    rows, columns = (np.asarray(axis.get_level_values("station")) for axis in (frame.index, frame.columns))
    return rows[:, None] == columns


def _correlation(similarity, ideal):
    if ideal.all() or not ideal.any():
        raise ValueError("a station score needs two stations or more: with one, the ideal matrix is constant")
    x, y = similarity - similarity.mean(), ideal - ideal.mean()
    spread = np.sqrt((x**2).sum() * (y**2).sum())
    return float((x * y).sum() / spread) if spread > 1e-12 else float("nan")  # equal cells differ by rounding
