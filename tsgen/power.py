"""What the energy distances can tell at the sizes used: their mean and level under one law, how often an interval
covers a planted difference, and how small a difference is seen."""

import numpy as np

from tsgen import distance, findings
from tsgen.findings import Sample, finding

PLANTED = {"scatter × 0.75": (0.75, 0.0), "shift 0.5": (1.0, 0.5)}  # factor about the station's mean, shift of all
SHIFTS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0)  # of every feature, in units of its scatter within stations


def drawn_sides(pool, stations, n_held_out, n_generated, rng):
    """(generated, held-out) Samples of one law: events held out whole, in random order, until every station has
    n_held_out, as a split does, and n_generated records of the other events a station."""
    order = rng.permutation(np.unique(pool.event))
    place = np.argsort(order)[np.searchsorted(np.sort(order), pool.event)]
    sides = [], []
    for station in stations:
        own = np.flatnonzero(pool.station == station)
        own = own[np.argsort(place[own])]
        sides[1].append(own[:n_held_out])
    last = max(place[rows].max() for rows in sides[1])
    for station in stations:
        rest = np.flatnonzero((pool.station == station) & (place > last))
        sides[0].append(rng.choice(rest, n_generated, replace=False))
    generated, held_out = (pool.take(np.concatenate(rows)) for rows in sides)
    singly = np.array([f"generated {i}" for i in range(len(generated.values))], object)  # as generated records are
    return Sample(generated.values, singly, generated.station), held_out


def changed(sample, factor, shift):
    """The Sample with every station's values drawn towards their mean by ``factor`` and all features moved by ``shift``
    of the scatter within stations (whitened features of p columns scatter by 1 / √p each)."""
    values = np.array(sample.values)
    for station in np.unique(sample.station):
        own = sample.station == station
        mean = values[own].mean(axis=0)
        values[own] = mean + factor * (values[own] - mean)
    return Sample(values + shift / np.sqrt(values.shape[1]), sample.event, sample.station)


def power_of(measure, pool, stations, n_held_out, n_generated, n_draws, seed=0):
    """Findings on a Sample of whitened features of many records of one law, see ``experiments.power``."""
    rng, same, rejected, covered, seen = np.random.default_rng(seed), [], [], {}, {}
    truth = {name: changed(pool, *how) for name, how in PLANTED.items()}
    truth = {name: distance.estimate(each, pool, stations, 0).value for name, each in truth.items()}
    for draw in range(n_draws):
        x, y = drawn_sides(pool, stations, n_held_out, n_generated, rng)
        same.append(distance.estimate(x, y, stations, 0).value)
        rejected.append(same[-1] > distance.of_one_law(x, y, stations, seed=draw).high)
        for name, how in PLANTED.items():
            found = distance.estimate(changed(x, *how), y, stations, seed=draw)
            covered.setdefault(name, []).append(found.low <= truth[name] <= found.high)
        for shift in SHIFTS if draw < n_draws // 4 else ():
            moved = changed(x, 1.0, shift)
            beyond = (
                distance.estimate(moved, y, stations, 0).value > distance.of_one_law(moved, y, stations, seed=draw).high
            )
            seen.setdefault(shift, []).append(beyond)
    of = {"n": n_generated * len(stations), "n_against": n_held_out * len(stations)}
    rows = [finding("truth", "truth", measure, "mean under one law", findings.over(same), **of)]
    shares = {"level at 0.05": rejected} | {f"coverage, {name}": each for name, each in covered.items()}
    shares |= {f"power, shift {shift:g}": each for shift, each in seen.items()}
    return rows + [
        finding("truth", "truth", measure, name, findings.share(each), **of) for name, each in shares.items()
    ]
