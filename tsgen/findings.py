"""The one table of what is said: a finding is what one set of records shows less what another shows, as a row.

Columns: subject (whose records), against (what they are compared with, or ""), measure, statistic, value, low, high, n
and n_against (records behind it); and, where they apply, the KEYS. Natural logarithms or plain numbers, as the measure
says; low and high are the 5 to 95 % of a bootstrap over events, drawn whole, or of what the row says.
"""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from tsgen import store
from tsgen.roles import label

KEYS = ("station", "period_in_s", "protocol", "network", "training", "fold", "set")
COLUMNS = ("subject", "against", "measure", "statistic", *KEYS, "value", "low", "high", "n", "n_against")
IDENTITY = COLUMNS[:-5]
NUMBERS = ("period_in_s", "network", "training", "fold", "value", "low", "high", "n", "n_against")

MEDIAN_BOUND = 0.1  # in ln units: 10 %
SPREAD_BOUND = float(np.log(1.15))  # a spread within 15 %
BOUNDS = {"median": MEDIAN_BOUND, "spread": SPREAD_BOUND}
HOLDS, FAILS, UNDECIDED, UNTESTED = "holds", "does not hold", "undecided", "cannot be tested here"
SIGNS = {HOLDS: " =", FAILS: " ≠", UNDECIDED: " ?", UNTESTED: ""}
FEWEST_EVENTS = 3  # of a side: fewer, drawn again, would tell of themselves alone, and nothing of the next one
N_DRAWS = 400  # of each bootstrap: the 5 % point of 400 is good to a fortieth of the interval's width
LEAST_SPREAD = 1e-4  # ln units: less is one value and its rounding (a station where k is all of the records)


@dataclass(frozen=True)
class Estimate:
    """A number with the 5 to 95 % range of its n repetitions."""

    value: float
    low: float
    high: float
    n: int

    def less(self, number):
        return Estimate(self.value - number, self.low - number, self.high - number, self.n)


def interval(drawn, value=None, centred=False):
    """Estimate of draws (1 + draws,): the first, with 5 to 95 % of the others; value: in its place. centred: the range
    is moved so that its median is the value, for what drawing again shifts (a spread, an absolute difference)."""
    drawn = np.asarray(drawn, float)
    value, drawn = (drawn[0], drawn[1:]) if value is None else (value, drawn)
    drawn, low, high = drawn[np.isfinite(drawn)], np.nan, np.nan
    if len(drawn):
        low, high = np.quantile(drawn, [0.05, 0.95]) + (value - np.median(drawn) if centred else 0.0)
    return Estimate(float(value), float(low), float(high), len(drawn))


def over(values):
    """Estimate of the mean over networks, trainings or folds (n,), with its 90 % interval (Student)."""
    values = np.array([value for value in np.asarray(values, float) if np.isfinite(value)])
    n = len(values)
    half = stats.t.ppf(0.95, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    mean = float(values.mean()) if n else np.nan
    return Estimate(mean, mean - half, mean + half, n)


def share(seen):
    """Estimate of how often something holds, from booleans (n,), with its 90 % interval (Wilson)."""
    low, high = stats.binomtest(int(np.sum(seen)), len(seen)).proportion_ci(0.9, method="wilson")
    return Estimate(float(np.mean(seen)), float(low), float(high), len(seen))


# ---- rows ----


def finding(subject, against, measure, statistic, estimate, n=None, n_against=None, **keys):
    """One row, a dict. estimate: an Estimate, or a number that has no interval. ValueError for an unknown key."""
    if unknown := set(keys) - set(KEYS):
        raise ValueError(f"a finding has no key {', '.join(sorted(unknown))}; there are {', '.join(KEYS)}")
    if not isinstance(estimate, Estimate):
        estimate = Estimate(estimate, np.nan, np.nan, 0)
    row = {"subject": subject, "against": against, "measure": measure, "statistic": statistic} | keys
    row |= {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": n, "n_against": n_against}
    return {name: v for name, v in row.items() if v is not None and not (name in NUMBERS and v != v)}


def write(path, run, rows):
    """JSON of {"run": …, "findings": rows}, moved into place whole: a row with a value a line, six digits a number."""
    rows = [{name: _brief(value) for name, value in row.items()} for row in with_value(rows)]
    head = json.dumps(store.plain(run), indent=1)
    text = f'{{"run": {head}, "findings": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]}\n"
    store.write_atomically(path, lambda temporary: temporary.write_text(text))


def _brief(value):
    """A finding's value as JSON has it: six digits of a number, None for NaN."""
    value = value if isinstance(value, str | float) else store.plain(value)
    if not isinstance(value, float):
        return value
    return float(f"{value:.6g}") if value == value else None


def with_value(rows):
    return [row for row in rows if "value" in row]


def table(rows):
    """DataFrame of COLUMNS from rows (dicts or a DataFrame); text "" and numbers NaN where a row has none."""
    frame = pd.DataFrame(rows).reindex(columns=COLUMNS).astype(dict.fromkeys(NUMBERS, float))
    words = frame.columns.difference(NUMBERS)
    return frame.assign(**frame[words].astype(object).where(frame[words].notna(), ""))


def select(rows, **columns):
    """The rows of a table whose columns have the given value, or one of a given tuple of values."""
    rows = rows if isinstance(rows, pd.DataFrame) else table(rows)
    keep = np.ones(len(rows), bool)
    for name, wanted in columns.items():
        keep &= rows[name].isin(wanted if isinstance(wanted, tuple) else (wanted,)).to_numpy()
    return rows[keep]


def one(rows, **columns):
    """The one row (a Series) that ``select`` leaves; KeyError where there is none, or more than one."""
    chosen = select(rows, **columns)
    if len(chosen) != 1:
        raise KeyError(f"{len(chosen)} findings, not one, have {columns}")
    return chosen.iloc[0]


def maybe(rows, **columns):
    """As ``one``; where there is no such finding, one without a value, which ``text`` shows as "–"."""
    return one(rows, **columns) if len(select(rows, **columns)) else table([{}]).iloc[0]


def pivot(rows, index, columns, digits=2, bounds=None):
    """DataFrame of text, value (low to high), a finding a cell; rows and columns in the order of their first finding.
    bounds {statistic: bound}: each cell ends with the sign of its verdict, = within, ≠ beyond, ? undecided."""
    rows, bounds = table(rows), bounds or {}
    cells = rows.assign(text=[text(row, digits, bounds.get(row["statistic"])) for row in rows.to_dict("records")])
    for name in ("subject", "against"):
        cells[name] = cells[name].map(label)
    for name in NUMBERS[:4]:  # pandas would leave rows without a key out
        cells[name] = [f"{value:g}" if value == value else "" for value in cells[name]]
    wide = cells.pivot_table(index=index, columns=columns, values="text", aggfunc="first", sort=False).fillna("")
    wide.columns.names = [None] * wide.columns.nlevels
    return wide


def verdict(low, high, region):
    """HOLDS where the interval lies in the region (low, high), FAILS where beyond, else UNDECIDED; UNTESTED if NaN."""
    if low is None or low != low:
        return UNTESTED
    if region[0] < low and high < region[1]:
        return HOLDS
    return FAILS if low > region[1] or high < region[0] else UNDECIDED


def text(row, digits=2, bound=None):
    """value (low to high) of a finding or Estimate; with a bound the sign of its verdict; "–" without a value."""
    row = vars(row) if isinstance(row, Estimate) else row
    value, low, high = (row.get(name) for name in ("value", "low", "high"))
    if value is None or value != value:
        return "–"
    whole = float(value).is_integer() and (low is None or low != low) and abs(value) >= 10
    words = number(value, 0 if whole else digits)
    if low is not None and low == low:
        words += f" ({number(low, digits)} to {number(high, digits)})"
    return words + ("" if bound is None else SIGNS[verdict(low, high, (-bound, bound))])


def number(value, digits=2):
    """With a minus sign where it is below 0 as written: "-0.00" would depend on the machine's last digit."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


# ---- the bootstrap over events ----


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

    def __len__(self):
        return len(self.values)

    def take(self, rows):
        return Sample(self.values[rows], self.event[rows], self.station[rows])

    def at(self, station):
        return self.take(self.station == station)

    @classmethod
    def concatenate(cls, samples):
        return cls(*(np.concatenate([getattr(each, of) for each in samples]) for of in ("values", "event", "station")))


def event_weights(*samples, seed, n_draws=None):
    """How often each record counts in each draw: integers (1 + n_draws, n) for each Sample (default: N_DRAWS); row 0 is
    ones, the others 0 where a side has fewer than FEWEST_EVENTS. Sides of the same events as the first are drawn with
    it, as pairs."""
    rng, n_draws = np.random.default_rng(seed), N_DRAWS if n_draws is None else n_draws
    sides = [np.unique(sample.event.astype(str), return_inverse=True) for sample in samples]
    weights, first = [], None
    for names, code in sides:
        if first is None or not np.array_equal(names, sides[0][0]):
            even = np.full(len(names), 1 / max(1, len(names)))
            times = rng.multinomial(len(names), even, size=n_draws) if len(names) else np.zeros((n_draws, 0), int)
            first = times if first is None else first
        else:
            times = first
        weights.append(np.concatenate([np.ones((1, len(code)), int), times[:, code]]))
    if min(len(names) for names, _ in sides) < FEWEST_EVENTS:
        for times in weights:
            times[1:] = 0
    return weights


def drawn_median(values, weights):
    """Median (draws,) of values (n,) that count weights (draws, n) times; NaN where nothing counts."""
    if not len(values):
        return np.full(len(weights), np.nan)
    order = np.argsort(values)
    reached = np.cumsum(weights[:, order], axis=1)
    n = reached[:, -1:]
    middle = [(reached <= place).sum(axis=1) for place in ((n - 1) // 2, n // 2)]
    low, high = (values[order][np.minimum(each, len(values) - 1)] for each in middle)
    return np.where(n[:, 0] > 0, (low + high) / 2, np.nan)


def drawn_ln_std(values, weights):
    """ln of the standard deviation (draws,) of values (n,) that count weights (draws, n) times; NaN where it is 0."""
    x = values - values.mean() if len(values) else values
    n = weights.sum(axis=1)
    variance = (weights @ x**2 - (weights @ x) ** 2 / np.maximum(n, 1)) / np.maximum(n - 1, 1)
    positive = variance > max(LEAST_SPREAD**2, 1e-12 * np.max(x**2, initial=0.0))
    return np.where(positive, 0.5 * np.log(np.where(positive, variance, 1.0)), np.nan)


def mean_of_known(each):
    """Mean over the first axis of what is finite; NaN where nothing is."""
    there = np.isfinite(each)
    n, total = there.sum(axis=0), np.where(there, each, 0.0).sum(axis=0)
    return np.divide(total, n, np.full(n.shape, np.nan), where=n > 0)


STATISTICS = {"median": (drawn_median, False), "spread": (drawn_ln_std, True)}  # and whether drawing again shifts it


def difference(statistic, a, b, by_station=False, seed=0):
    """Median, or ln standard deviation ("spread"), of Sample ``a`` (values (n,)) less that of ``b``: an Estimate, NaN
    without values on either side. by_station: the mean of the differences within each station, however many records."""
    parts = _parts(a, b, event_weights(a, b, seed=seed), by_station)
    return interval(_drawn(statistic, a.values, b.values, parts), centred=STATISTICS[statistic][1])


def _parts(a, b, weights, by_station):
    """[(rows, their weights (draws, rows)) of a and of b] by station, or of all records: cut once for many columns."""
    stations = (sorted(set(a.station) & set(b.station)) or [""]) if by_station else [None]
    parts = []
    for station in stations:
        rows = (np.flatnonzero((s.station == station) | (station is None)) for s in (a, b))
        parts.append([(own, w[:, own].astype(float)) for own, w in zip(rows, weights, strict=True)])
    return parts


def _drawn(statistic, a, b, parts):
    """(draws,) ``difference`` of values a (n,) and b (m,): the mean over the parts that have a value."""
    of, each = STATISTICS[statistic][0], []
    for part in parts:
        sides = []
        for values, (rows, weights) in zip((a, b), part, strict=True):
            known = np.isfinite(values[rows])
            sides.append(of(values[rows][known], weights if known.all() else weights[:, known]))
        each.append(sides[0] - sides[1])
    return mean_of_known(np.array(each))


def compare(ours, theirs, ours_table, theirs_table, seed=0):
    """Median and spread, by station, of each column of ln values (DataFrame) less those of a reference's: dicts of
    column, statistic, estimate, n, n_against, drawn (1 + N_DRAWS,). ours_table, theirs_table: of the Records behind."""
    a, b = Sample.of(ours, ours_table), Sample.of(theirs[ours.columns], theirs_table)
    parts, rows = _parts(a, b, event_weights(a, b, seed=seed), by_station=True), []
    for column, *sides in zip(ours.columns, a.values.T, b.values.T, strict=True):
        n, n_against = (int(np.isfinite(side).sum()) for side in sides)
        for statistic, (_, centred) in STATISTICS.items():
            drawn = _drawn(statistic, *sides, parts)
            row = {"column": column, "statistic": statistic, "estimate": interval(drawn, centred=centred)}
            rows.append(row | {"n": n, "n_against": n_against, "drawn": drawn})
    return rows


def farthest(compared, columns, statistic):
    """The largest absolute difference over columns of ``compare``: an Estimate of one pooled finding. The largest of
    many differences is far from 0 without any bias, so its bound comes from truth against truth."""
    rows = [row["drawn"] for row in compared if row["column"] in columns and row["statistic"] == statistic]
    drawn = np.array([drawn for drawn in rows if np.isfinite(drawn[0])])
    return interval(np.abs(drawn).max(axis=0) if len(drawn) else [np.nan], centred=True)


def beyond_truth(compared, columns, statistic, truth, truth_table, bound, seed=0):
    """``farthest`` less what may pass (``beyond``); truth: DataFrame of ln values, of the Records of truth_table. Half
    of N_DRAWS pairs of samples of the sizes compared are both drawn from truth, by event."""
    sample, rng = Sample.of(truth[list(columns)], truth_table), np.random.default_rng(seed)
    names, code = np.unique(sample.event.astype(str), return_inverse=True)
    share = max(row["n"] for row in compared) / len(code)
    sizes, even = (max(1, round(share * len(names))), len(names)), np.full(len(names), 1 / len(names))
    weights = [rng.multinomial(size, even, size=N_DRAWS // 2)[:, code] for size in sizes]
    parts, largest = _parts(sample, sample, weights, by_station=True), np.zeros(N_DRAWS // 2)
    for values in sample.values.T:
        largest = np.fmax(largest, np.abs(_drawn(statistic, values, values, parts)))
    return beyond(farthest(compared, columns, statistic), largest, bound)


def beyond(pooled, largest, bound):
    """An Estimate of the farthest of many less what may pass, below 0 where all agree: ``bound``, or, where sampling
    alone exceeds it, what 95 % of truth against truth, ``largest`` (draws,), stay below with their interval."""
    return pooled.less(max(bound, np.nanquantile(largest, 0.95) + pooled.high - pooled.value))


def tell(subject, against, compared, keys, **more):
    """Findings of what ``compare`` (or ``residuals.trends``) found; keys(column) gives the measure and its period."""
    names = ("statistic", "estimate", "n", "n_against")
    of = (keys(row["column"]) | {name: row[name] for name in names} | more for row in compared)
    return [finding(subject, against, **each) for each in of]


def pooled(subject, against, compared, columns, measure, truth, truth_table, seed, bounds, **keys):
    """Findings on the farthest of several columns, median and spread, and what it lies beyond truth against truth."""
    rows, known = [], [name for name in columns if name in truth and truth[name].notna().any()]
    for statistic, bound in bounds.items() if known else ():
        whole = farthest(compared, known, statistic)
        rows.append(finding(subject, against, measure, f"{statistic}, farthest", whole, **keys))
        excess = beyond_truth(compared, known, statistic, truth, truth_table, bound, seed)
        rows.append(finding(subject, against, measure, f"{statistic}, farthest, beyond truth's", excess, **keys))
    return rows
