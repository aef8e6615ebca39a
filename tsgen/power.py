"""What the energy distances can tell at the sizes used: their mean and level under one law, how often an interval
covers a planted difference, and how small a difference is seen."""

import numpy as np

from tsgen import distance, findings
from tsgen.findings import Sample, finding

PLANTED = {"shift 0.5": (1.0, 0.5), "shift 1": (1.0, 1.0), "scatter × 0.5": (0.5, 0.0)}  # factor, shift: ``changed``
SHIFTS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0)  # of every feature, in units of its scatter within stations


def drawn_rows(pool, stations, n_held_out, n_generated, rng):
    """Rows of a Sample of one law to take for generated and for held-out ones: events are held out whole, in random
    order, until every station has n_held_out, as a split does; then n_generated records of other events a station, of
    which no two stations have one, since a generator draws each record by itself."""
    names, code = np.unique(pool.event, return_inverse=True)
    place, generated, held_out = rng.permutation(len(names))[code], [], []
    for station in stations:
        own = np.flatnonzero(pool.station == station)
        held_out.append(own[np.argsort(place[own])][:n_held_out])
    free = place > max(place[rows].max() for rows in held_out)
    for station in stations:
        generated.append(rng.choice(np.flatnonzero((pool.station == station) & free), n_generated, replace=False))
        free &= ~np.isin(code, code[generated[-1]])
    return np.concatenate(generated), np.concatenate(held_out)


def changed(pool, factor, shift):
    """The Sample with every station's values drawn towards their mean by ``factor`` and all features moved by ``shift``
    of the scatter within stations (whitened features of p columns scatter by 1 / √p each), each record an event: as if
    it were generated."""
    values = np.array(pool.values)
    for station in np.unique(pool.station):
        own = pool.station == station
        mean = values[own].mean(axis=0)
        values[own] = mean + factor * (values[own] - mean)
    singly = np.array([f"generated {i}" for i in range(len(values))], object)
    return Sample(values + shift / np.sqrt(values.shape[1]), singly, pool.station)


def power_of(measure, pool, stations, n_held_out, n_generated, n_draws, seed=0):
    """Findings on a Sample of whitened features of many records of one law, see ``experiments.power``."""
    rng, same, rejected, covered, seen = np.random.default_rng(seed), [], [], {}, {}
    planted = {name: changed(pool, *how) for name, how in PLANTED.items()}
    truth = {name: distance.estimate(each, pool, stations, n_draws=0).value for name, each in planted.items()}
    moved = {shift: changed(pool, 1.0, shift) for shift in (0.0, *SHIFTS)}
    for draw in range(n_draws):
        fake, real = drawn_rows(pool, stations, n_held_out, n_generated, rng)
        y = pool.take(real)
        for shift in moved if draw < n_draws // 4 else (0.0,):
            x = moved[shift].take(fake)
            value = distance.estimate(x, y, stations, n_draws=0).value
            beyond = value > distance.of_one_law(x, y, stations, seed=draw).high
            if shift:
                seen.setdefault(shift, []).append(beyond)
            else:
                same.append(value)
                rejected.append(beyond)
        for name, each in planted.items():
            found = distance.estimate(each.take(fake), y, stations, seed=draw)
            covered.setdefault(name, []).append(found.low <= truth[name] <= found.high)
    of = {"n": n_generated * len(stations), "n_against": n_held_out * len(stations)}
    rows = [finding("truth", "truth", measure, "mean under one law", findings.over(same), **of)]
    shares = {"level at 0.05": rejected} | {f"coverage, {name}": each for name, each in covered.items()}
    shares |= {f"power, shift {shift:g}": each for shift, each in seen.items()}
    return rows + [
        finding("truth", "truth", measure, name, findings.share(each), **of) for name, each in shares.items()
    ]
