"""Which records are held out, as a text that a Study takes and that enters every key.

"events" (the default): a share of each target station's events; "seed N": the same with another seed; "fold I of N":
events spread evenly over N folds; "without EVENT": one event; "records": as many records as "events" holds out, drawn
singly, so that an earthquake stands on both sides (a fault of public code, kept to measure it).
"""

import hashlib
import re

import numpy as np
import pandas as pd

from tsgen import records

FOLDS = 5


def held_out_rows(some, stations, split, share, seed):
    """Mask (n,) of the records of ``some`` whose event is held out; stations: the targets, share: of their events.

    Raises ValueError for a split that is none of the above, an unknown event or fold, or a station with too few events.
    """
    event, at_target = records.event_groups(some.table), some.table["station"].isin(stations).to_numpy()
    pairs = event[at_target], some.table["station"][at_target]
    if split == "records":
        return _singly(some.table, held_out_rows(some, stations, "events", share, seed) & at_target, seed)
    if split == "events":
        out = records.events_to_hold_out(*pairs, share, seed)
    elif named := re.fullmatch(r"seed (\d+)", split):
        out = records.events_to_hold_out(*pairs, share, f"split {named[1]}")
    elif named := re.fullmatch(r"fold (\d+) of (\d+)", split):
        fold, n_folds = (int(number) for number in named.groups())
        if fold >= n_folds:
            raise ValueError(f"no {split!r}: folds count from 0")
        out = {name for name, place in folds(*pairs, n_folds, seed).items() if place == fold}
    elif named := re.fullmatch(r"without (.+)", split):
        out = set(event[some.table["event"] == named[1]])
        if not out:
            raise ValueError(f"no record of event {named[1]}, which was to be held out")
    else:
        raise ValueError(f"unknown split {split!r}: events, seed N, fold I of N, without EVENT, or records")
    return event.isin(out).to_numpy()


def folds(event, station, n_folds=FOLDS, seed=0):
    """{event: fold}, each station's events spread evenly over the folds; the same on every machine."""
    pairs = pd.DataFrame({"event": event, "station": station}).drop_duplicates()
    stations_of = pairs.groupby("event")["station"].apply(list).to_dict()
    taken = {name: np.zeros(n_folds, int) for name in pairs["station"]}
    total, found = np.zeros(n_folds, int), {}
    for name in sorted(stations_of, key=lambda name: hashlib.sha256(f"fold {seed}:{name}".encode()).hexdigest()):
        here = sum(taken[station] for station in stations_of[name])
        fold = int(np.lexsort((total, here))[0])
        found[name] = fold
        total[fold] += 1
        for station in stations_of[name]:
            taken[station][fold] += 1
    return found


def _singly(table, by_event, seed):
    outside, rng = np.zeros(len(table), bool), np.random.default_rng(seed)
    for station, n in table["station"][by_event].value_counts().items():
        outside[rng.choice(np.flatnonzero(table["station"] == station), n, replace=False)] = True
    return outside
