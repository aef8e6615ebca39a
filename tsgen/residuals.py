"""What magnitude, distance and station leave of ln intensity: residuals, their trends, and how periods correlate."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tsgen import findings
from tsgen.findings import Sample, event_weights, interval
from tsgen.scenario import NEEDED, conditions


@dataclass(frozen=True)
class Scaling:
    """ln y = station term + c_M M + c_R ln R, by least squares: one column of coefficients a measure."""

    stations: tuple[str, ...]
    coefficients: np.ndarray  # (stations + 2, m): station terms at M 0 and R 1 km, then c_M, c_R

    @classmethod
    def fit(cls, ln_values, table):
        """From ln values (n, m) and a table with magnitude and distance_in_km; a record without them is left out.
        ValueError where no record is left for a column."""
        stations, slopes = tuple(sorted(set(table["station"]))), conditions(table, NEEDED)
        code = pd.Index(stations).get_indexer(table["station"])
        design = np.column_stack([code[:, None] == np.arange(len(stations)), slopes])
        ln_values = np.asarray(ln_values, float)
        coefficients = np.empty((design.shape[1], ln_values.shape[1]))
        for i, column in enumerate(ln_values.T):
            known = np.isfinite(slopes).all(axis=1) & np.isfinite(column)
            if not known.any():
                raise ValueError(f"no record has a magnitude, a distance and a value in column {i}")
            coefficients[:, i] = np.linalg.lstsq(design[known], column[known])[0]
            coefficients[np.setdiff1d(np.arange(len(stations)), code[known]), i] = np.nan  # stations not seen
        return cls(stations, coefficients)

    def residuals(self, ln_values, table):
        """ln values (n, m) less their prediction, NaN where it has none; ValueError for a station not in the fit."""
        if new := sorted(set(table["station"]) - set(self.stations)):
            raise ValueError(f"no station term for {', '.join(new)}; there are {', '.join(self.stations)}")
        terms = self.coefficients[pd.Index(self.stations).get_indexer(table["station"])]
        return np.asarray(ln_values, float) - terms - conditions(table, NEEDED) @ self.coefficients[-2:]


def given_scenario(names, scaling_from, *frames):
    """Residuals of each frame given magnitude, distance and station, by a scaling fitted to ``scaling_from``, and to
    the frames for stations it lacks; all as they are where most magnitudes or distances of a frame are unknown."""
    names = list(names)
    if not known_scenarios(scaling_from, *frames):
        return [frame[names] for frame in frames]
    rest = [frame[~frame["station"].isin(scaling_from["station"])] for frame in frames]
    whole = pd.concat([scaling_from, *(each for each in rest if len(each))], ignore_index=True)
    usable = whole[np.isfinite(conditions(whole, NEEDED)).all(axis=1)]
    shown = [name for name in names if np.isfinite(usable[name]).any()]
    scaling = Scaling.fit(whole[shown], whole)
    left = [pd.DataFrame(scaling.residuals(frame[shown], frame), frame.index, shown) for frame in frames]
    return [frame.reindex(columns=names) for frame in left]


def known_scenarios(*frames):
    """Whether most records of each frame have a magnitude and a distance; the others are then left out."""
    known = (np.isfinite(frame[["magnitude", "distance_in_km"]].to_numpy(float)).all(axis=1) for frame in frames)
    return all(len(each) and each.mean() > 0.5 for each in known)


def differences(subject, against, names, ours, theirs, keys, seed, scaling_from=None, fewest=1, pooled=None, **more):
    """Findings: median and spread of columns ``names`` of frame ``ours`` less ``theirs``, ``given_scenario`` (scaling:
    of theirs unless another frame is given), those with fewer than ``fewest`` values on a side left out; pooled:
    {measure: (columns, bounds)} whose farthest is told, too (``findings.pooled``); keys, more: of ``findings.tell``."""
    names = [name for name in names if min(np.isfinite(side[name]).sum() for side in (ours, theirs)) >= fewest]
    left = given_scenario(names, theirs if scaling_from is None else scaling_from, ours, theirs)
    compared = findings.compare(*left, ours, theirs, seed)
    rows = findings.tell(subject, against, compared, keys, **more)
    for measure, (columns, bounds) in (pooled or {}).items():
        rows += findings.pooled(subject, against, compared, columns, measure, left[1], theirs, seed, bounds, **more)
    return rows


def trends(names, ours, theirs, seed=0):
    """Slopes of ln(ours / theirs) per magnitude unit and per unit of ln distance, beside station terms: rows as of
    ``findings.compare``. Measures with ten values or fewer on a side are left out."""
    rows = []
    for name in names:
        sides = [side[np.isfinite(side[name].to_numpy(float))] for side in (ours, theirs)]
        if min(map(len, sides)) <= 10:
            continue
        samples = [Sample.of(side[name], side) for side in sides]
        weights = event_weights(*samples, seed=seed)
        first, second = (_slopes(s.values, side, w) for s, side, w in zip(samples, sides, weights, strict=True))
        for i, part in enumerate(NEEDED):
            row = {"column": name, "statistic": f"slope_{part}", "estimate": interval(first[:, i] - second[:, i])}
            rows.append(row | {"n": len(sides[0]), "n_against": len(sides[1])})
    return rows


def _slopes(values, table, weights):
    """(draws, 2) slopes with magnitude and ln distance, by least squares under each row of the weights (draws, n)."""
    terms = table["station"].to_numpy()[:, None] == np.unique(table["station"])
    design = np.column_stack([terms, table["magnitude"] - 5.0, np.log(table["distance_in_km"] / 30.0)]).astype(float)
    left = np.einsum("dn,ni,nj->dij", weights.astype(float), design, design, optimize=True)
    right = weights @ (design * values[:, None])
    left += 1e-9 * np.eye(design.shape[1])  # a draw may miss a small station: its own term is then 0
    return np.linalg.solve(left, right[..., None])[:, -2:, 0]


def interperiod_correlation(residuals, weights=None):
    """Correlation (P, P) of ln residuals (n, P) between periods (Baker and Jayaram 2008), over rows that hold both.
    weights (n,): how often each row counts, default once. NaN for periods that fewer than two rows hold."""
    return pd.DataFrame(residuals if weights is None else np.repeat(residuals, weights, axis=0)).corr().to_numpy()


def correlation_difference(a, b, seed=0):
    """Mean absolute difference over period pairs of the interperiod correlations of Samples a and b (residuals (n, P)),
    and what two sets of these sizes of one law show (events shuffled, residuals standardised): two Estimates."""
    n_draws = findings.N_DRAWS // 2
    weights = zip(*event_weights(a, b, seed=seed, n_draws=n_draws), strict=True)
    drawn = [_mean_absolute(*map(interperiod_correlation, (a.values, b.values), pair)) for pair in weights]
    rng = np.random.default_rng(seed)
    frames = [pd.DataFrame(side.values) for side in (a, b)]
    both = pd.concat([(frame - frame.mean()) / frame.std(ddof=0) for frame in frames]).to_numpy()
    names = np.concatenate([np.char.add(side, s.event.astype(str)) for side, s in (("a", a), ("b", b))])
    names, code = np.unique(names, return_inverse=True)
    n_first, same = len(np.unique(a.event.astype(str))), []
    for _ in range(n_draws):
        first = np.isin(code, rng.permutation(len(names))[:n_first])
        same.append(_mean_absolute(*map(interperiod_correlation, (both[first], both[~first]))))
    return interval(drawn, centred=True), interval(same, np.median(same))


def _mean_absolute(first, second):
    """Mean absolute difference of two correlation matrices (P, P) over pairs of periods."""
    return findings.mean_of_known(np.abs((first - second)[np.triu_indices(len(first), 1)]))
