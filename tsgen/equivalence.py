"""Are two sets of records alike? Differences with intervals, judged against a stated bound.

Intervals are the 5 to 95 % range of a bootstrap over events: all records of an event are drawn together, since they
share its source. Two sets count as equivalent where that interval lies inside the bound (two one-sided tests at 5 %,
Schuirmann 1987); a test that finds no difference proves nothing.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tsgen.metrics import Estimate

MEDIAN_BOUND = 0.1  # in ln units: 10 %
SPREAD_BOUND = float(np.log(1.15))  # a spread within 15 %
LEAST_SPREAD = 1e-4  # ln units: less is one value and its rounding (a station where k is all of the records)


@dataclass(frozen=True)
class Sample:
    """values (n,) or (n, m) with the event (n,) and the station (n,) of each row."""

    values: np.ndarray
    event: np.ndarray
    station: np.ndarray

    @classmethod
    def of(cls, values, table):
        """From values (n, …) and the table of the Records they were measured on."""
        values = np.asarray(values, float)
        if len(values) != len(table):
            raise ValueError(f"{len(values)} values, but {len(table)} records")
        return cls(values, table["event"].to_numpy(object), table["station"].to_numpy(object))


def event_weights(a, b, n_draws, seed):
    """How often each record counts in each draw: integers (1 + n_draws, n) for Samples a and b; row 0 is all ones.

    As many events as there are, drawn with replacement, for either side by itself; where both hold the same events
    (records and their reconstructions), they are drawn for both at once, so that the interval is that of pairs.
    """
    rng = np.random.default_rng(seed)
    sides = [np.unique(sample.event.astype(str), return_inverse=True) for sample in (a, b)]
    together = np.array_equal(sides[0][0], sides[1][0])
    weights, times = [], None
    for names, code in sides:
        if times is None or not together:
            even = np.full(len(names), 1 / max(1, len(names)))
            times = rng.multinomial(len(names), even, size=n_draws) if len(names) else np.zeros((n_draws, 0), int)
        weights.append(np.concatenate([np.ones((1, len(code)), int), times[:, code]]))
    return weights


def difference_of_medians(a, b, by_station=False, n_draws=1000, seed=0):
    """Median of Sample ``a`` less median of ``b`` (values (n,), in ln units a ratio): an Estimate.

    by_station: the mean over stations of the differences within each, so that unequal numbers of records a station
    do not matter; else stations are pooled. NaN without values on either side.
    """
    return estimate_of(_differences(_median, a, b, event_weights(a, b, n_draws, seed), by_station))


def ln_ratio_of_spreads(a, b, by_station=False, n_draws=1000, seed=0):
    """ln of the standard deviation of Sample ``a`` over that of ``b``: an Estimate; see ``difference_of_medians``.

    Drawing events again narrows a set, a small one more: the interval is moved so that its median is the value.
    """
    return estimate_of(_differences(_ln_std, a, b, event_weights(a, b, n_draws, seed), by_station), centred=True)


def verdict(estimate, bound):
    """Whether the interval of an Estimate lies inside ± bound.

    "equivalent" where it does, "different" where all of it lies outside, "undecided" otherwise.
    """
    if -bound <= estimate.low and estimate.high <= bound:
        return "equivalent"
    return "different" if estimate.low > bound or estimate.high < -bound else "undecided"


def compare(ln_values, reference, table, reference_table, by_station=False, n_draws=1000, seed=0):
    """Median and spread of each column of ln values (DataFrame) against the same columns of a reference.

    table and reference_table: of the Records behind them. Returns a DataFrame of one row a column: median, median_low,
    median_high, median_verdict (MEDIAN_BOUND), the same four for spread (ln ratio, SPREAD_BOUND), n and n_reference
    (finite values). by_station: see ``difference_of_medians``.
    """
    a, b = Sample.of(ln_values, table), Sample.of(reference[ln_values.columns], reference_table)
    weights = event_weights(a, b, n_draws, seed)
    rows = []
    for i in range(len(ln_values.columns)):
        known = [np.isfinite(sample.values[:, i]) for sample in (a, b)]
        sides = [Sample(s.values[k, i], s.event[k], s.station[k]) for s, k in zip((a, b), known, strict=True)]
        drawn = [each[:, k] for each, k in zip(weights, known, strict=True)]
        found = {
            "median": (estimate_of(_differences(_median, *sides, drawn, by_station)), MEDIAN_BOUND),
            "spread": (estimate_of(_differences(_ln_std, *sides, drawn, by_station), centred=True), SPREAD_BOUND),
        }
        row = {}
        for name, (estimate, bound) in found.items():
            row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
            row[f"{name}_verdict"] = verdict(estimate, bound)
        rows.append(row | {"n": int(known[0].sum()), "n_reference": int(known[1].sum())})
    return pd.DataFrame(rows, index=ln_values.columns)


def ln_loss_of_mixing(k, n=None, weights="equal", concentration=1.0, n_draws=100_000, seed=0):
    """ln amplitude that a weighted mean of k incoherent standardised records loses: (mean of ½ ln Σw², ½ ln mean Σw²).

    weights "equal": n None, drawn without replacement, ½ ln(1/k); n, drawn with replacement from n records, whose
    repeats add up: second value ½ ln(1/k + (k - 1)/(kn)). "dirichlet": second value ½ ln((c + 1)/(kc + 1)) for
    concentration c. The first, which a mean of ln standard deviations meets, is lower by Jensen's inequality and is
    the mean over n_draws drawn weights (standard error below 0.001). ValueError for other weights.
    """
    rng = np.random.default_rng(seed)
    if weights == "equal" and n is None:
        return 0.5 * np.log(1 / k), 0.5 * np.log(1 / k)
    if weights == "equal":
        chosen = rng.integers(n, size=(n_draws, k))
        squares = (chosen[:, :, None] == chosen[:, None]).mean(axis=(1, 2))  # Σw²: share of pairs that are one record
        mean_square = 1 / k + (k - 1) / (k * n)
    elif weights == "dirichlet":
        squares = (rng.dirichlet(np.full(k, concentration), size=n_draws) ** 2).sum(axis=1)
        mean_square = (concentration + 1) / (k * concentration + 1)
    else:
        raise ValueError(f"weights must be 'equal' or 'dirichlet', not {weights!r}")
    return float(0.5 * np.log(squares).mean()), 0.5 * np.log(mean_square)


def ln_loss(weights):
    """½ ln Σw² (…,) of mixing weights (…, k) of distinct records: ln RMS of the mix of incoherent standard records."""
    return 0.5 * np.log((np.asarray(weights, float) ** 2).sum(axis=-1))


def _differences(statistic, a, b, weights, by_station):
    """Statistic of a less that of b under each row of the weights (draws,); NaN where it has no value."""
    stations = sorted(set(a.station) & set(b.station)) if by_station else [None]
    each = []
    for station in stations:
        rows = [np.ones(len(s.values), bool) if station is None else s.station == station for s in (a, b)]
        first, second = (statistic(s.values[r], w[:, r]) for s, r, w in zip((a, b), rows, weights, strict=True))
        each.append(first - second)
    each = np.array(each).reshape(-1, len(weights[0]))
    n = np.isfinite(each).sum(axis=0)
    return np.where(n > 0, np.where(np.isfinite(each), each, 0.0).sum(axis=0) / np.maximum(n, 1), np.nan)


def _median(values, weights):
    """Median (draws,) of values (n,) that count weights (draws, n) times; NaN where nothing counts."""
    if not len(values):
        return np.full(len(weights), np.nan)
    order = np.argsort(values)
    reached = np.cumsum(weights[:, order], axis=1)
    n = reached[:, -1:]
    middle = [(reached <= place).sum(axis=1) for place in ((n - 1) // 2, n // 2)]
    low, high = (values[order][np.minimum(each, len(values) - 1)] for each in middle)
    return np.where(n[:, 0] > 0, (low + high) / 2, np.nan)


def _ln_std(values, weights):
    """ln of the standard deviation (draws,) of values (n,) that count weights (draws, n) times; NaN where it is 0."""
    x = values - values.mean() if len(values) else values
    n = weights.sum(axis=1)
    variance = (weights @ x**2 - (weights @ x) ** 2 / np.maximum(n, 1)) / np.maximum(n - 1, 1)
    positive = variance > max(LEAST_SPREAD**2, 1e-12 * np.max(x**2, initial=0.0))
    return np.where(positive, 0.5 * np.log(np.where(positive, variance, 1.0)), np.nan)


def estimate_of(drawn, centred=False):
    """The first of the drawn values, and 5 to 95 % of the others that could be computed; NaN where none could."""
    value, drawn = drawn[0], drawn[1:][np.isfinite(drawn[1:])]
    if not len(drawn):
        return Estimate(float(value), float("nan"), float("nan"), 0)
    low, high = np.quantile(drawn, [0.05, 0.95]) + (value - np.median(drawn) if centred else 0.0)
    return Estimate(float(value), float(low), float(high), len(drawn))
