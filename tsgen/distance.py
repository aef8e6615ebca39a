"""How far one set of records lies from another: energy distances of their features, station by station.

The distance (Székely and Rizzo 2013, J. Stat. Plan. Inference 143, 1249) is 0 for one law alone, and a generator that
draws from the true law has the least expected one (proper: Gneiting and Raftery 2007, J. Am. Stat. Assoc. 102, 359).
Features are whitened by what scatters within stations, so that a distance is in units of that scatter.
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from scipy import stats
from scipy.spatial.distance import cdist

from tsgen import findings, metrics
from tsgen.findings import Estimate, Sample, interval

N_PERMUTATIONS = 500
FEWEST_SHARED = 4  # events of two stations that a distance covariance can be estimated from
SHRUNK, FREEDOM = 0.1, 100  # share of a covariance's off-diagonal taken away; below so many degrees of freedom, more


@dataclass(frozen=True)
class Whitening:
    """columns (p) of a frame, and the matrix (p, p) that makes their within-station covariance the identity over p."""

    columns: tuple[str, ...]
    matrix: np.ndarray

    @classmethod
    def fit(cls, frame, columns):
        """From recordings: a frame with station and columns. ValueError with fewer than two records of any station."""
        known = frame[["station", *columns]].dropna()
        left = known[list(columns)] - known.groupby("station")[list(columns)].transform("mean")
        freedom = len(known) - known["station"].nunique()
        if freedom < 1:
            raise ValueError("no station has two recordings that show the features: their scatter is unknown")
        covariance = left.to_numpy().T @ left.to_numpy() / freedom
        shrunk = 1 - (1 - SHRUNK) * min(1.0, freedom / FREEDOM)
        covariance = (1 - shrunk) * covariance + shrunk * np.diag(np.diag(covariance))
        covariance += 1e-12 * np.eye(len(covariance))
        return cls(tuple(columns), np.linalg.inv(np.linalg.cholesky(covariance)).T / np.sqrt(len(columns)))

    def sample(self, frame):
        """findings.Sample of whitened features (n, p); a row that does not show them all is left out."""
        values = frame[list(self.columns)].to_numpy(float) @ self.matrix
        return Sample.of(values, frame).take(np.isfinite(values).all(axis=1))


@dataclass(frozen=True)
class Pairs:
    """Distances of all pairs of records of one station, of x then of y, and which rows of x and y they are."""

    station: str
    between: np.ndarray
    rows: tuple[np.ndarray, np.ndarray]

    def drawn(self, x_weights, y_weights):
        """Energy distances (draws,) where the records of x and y count weights (draws, n) and (draws, m) times."""
        first, second = (w[:, rows] for w, rows in zip((x_weights, y_weights), self.rows, strict=True))
        apart = [np.zeros_like(each) for each in (first, second)]
        return metrics.drawn_energy(self.between, np.hstack([first, apart[1]]), np.hstack([apart[0], second]))


def pairs(x, y, stations):
    """[Pairs] of Samples x and y at each of the stations where both have two records or more."""
    found = []
    for station in stations:
        rows = tuple(np.flatnonzero(side.station == station) for side in (x, y))
        if min(map(len, rows)) > 1:
            both = np.concatenate([side.values[own] for side, own in zip((x, y), rows, strict=True)])
            found.append(Pairs(station, cdist(both, both), rows))
    return found


def drawn(found, weights):
    """Mean over stations (draws,) of the energy distances of ``pairs`` under the weights of x and of y, (draws, …); a
    station that a draw leaves out is not in its mean."""
    each = np.array([part.drawn(*weights) for part in found]).reshape(len(found), len(weights[0]))
    return findings.mean_of_known(each)


def expanded(draws, y):
    """Estimate of draws (1 + draws,) by a bootstrap over the events of recordings y, widened for their small number.
    Drawing n events again gives too little scatter by the root of (n - 1) / n, and as a normal law would have where
    Student's holds (Hesterberg 2015, Am. Stat. 69, 371): at 4 events bars are made 1.65 times as wide, at 18 1.09."""
    n = max(2, len(set(y.event)))
    factor = np.sqrt(n / (n - 1)) * stats.t.ppf(0.95, n - 1) / stats.norm.ppf(0.95)
    return interval(draws[0] + factor * (draws - draws[0]))


def estimate(x, y, stations, seed=0, n_draws=None):
    """Energy distance of Samples x and y, the mean over stations: an Estimate, its 5 to 95 % by a bootstrap over events
    jointly over stations, ``expanded``. NaN where no station has two records on both sides.
    Near 0 it is wider than it need be, since a degenerate statistic drawn again has three times its variance: whether
    there is a difference is for ``of_one_law`` to say."""
    return expanded(drawn(pairs(x, y, stations), findings.event_weights(x, y, n_draws=n_draws, seed=seed)), y)


def of_one_law(x, y, stations, seed=0):
    """What the distance is when x and y are of one law: an Estimate of permutations of the labels, value their mean;
    one above ``high`` is no chance (at 5 %). Each event keeps its place in the order at every station, so that records
    of one event change sides together.
    Generated records are singles, while an earthquake is recorded at several stations: permuted, both sides hold some
    of either, and the stations' distances vary together less than they do. The draws are spread to make up for it."""
    found = pairs(x, y, stations)
    if not found:
        return Estimate(np.nan, np.nan, np.nan, 0)
    names = np.concatenate([np.char.add(side, s.event.astype(str)) for side, s in (("x", x), ("y", y))])
    code = np.unique(names, return_inverse=True)[1]
    order = np.random.default_rng(seed).random((N_PERMUTATIONS, code.max() + 1))[:, code]  # (draws, n + m)
    values = []
    for part in found:
        first, second = part.rows
        keys = order[:, np.concatenate([first, len(x.values) + second])]
        as_y = keys.argsort(axis=1).argsort(axis=1) < len(second)
        values.append(metrics.drawn_energy(part.between, ~as_y, as_y))
    null = np.mean(values, axis=0)
    singly = np.var(values, axis=1).sum() / len(found) ** 2
    variance = singly + sum(_together(*two, (x.event, y.event)) for two in permutations(found, 2)) / len(found) ** 2
    spread = np.sqrt(max(1.0, variance / null.var())) if null.var() > 0 else 1.0  # 0: all records are alike
    return interval(null.mean() + spread * (null - null.mean()), null.mean())


def _together(one, other, events):
    """Covariance of the distances of two ``pairs`` of one law, by the events (of x, of y) that both recorded.
    It is the squared distance covariance of the two stations' records of an event, estimated without bias (Székely and
    Rizzo 2014, Ann. Stat. 42, 2382) on the side with more such events, times what pairs of events count at both."""
    shared, places = [], []
    for side, event in enumerate(events):
        both = np.intersect1d(event[one.rows[side]], event[other.rows[side]], return_indices=True)[1:]
        shared.append(len(both[0]))
        places.append([at + side * len(part.rows[0]) for at, part in zip(both, (one, other), strict=True)])
    if max(shared) < FEWEST_SHARED:
        return 0.0
    first, second = (
        _centred(part.between[np.ix_(at, at)])
        for at, part in zip(places[int(shared[1] >= shared[0])], (one, other), strict=True)
    )
    covariance = (first * second).sum() / (len(first) * (len(first) - 3))
    n, m = (np.array([len(part.rows[side]) for part in (one, other)], float) for side in (0, 1))
    within = sum(2 * k * (k - 1) / (size * (size - 1)).prod() for k, size in zip(shared, (n, m), strict=True))
    return covariance * (within + 4 * shared[0] * shared[1] / (n * m).prod())


def _centred(between):
    """Distances (n, n) less what their rows and columns have in common, so that products of two have no bias."""
    n = len(between)
    rows = between.sum(axis=1) / (n - 2)
    centred = between - rows - rows[:, None] + between.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(centred, 0.0)
    return centred
