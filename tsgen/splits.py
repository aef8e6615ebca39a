"""Few events a station: five folds of events, models fitted in each, what is held out pooled over them.

What needs no training is averaged over twenty other splits besides.
"""

import hashlib
from dataclasses import asdict

import numpy as np
import pandas as pd

from tsgen import controls, equivalence, evidence, generate, memorisation, metrics, mixing, records, store
from tsgen.equivalence import Sample
from tsgen.measured import AMPLITUDE, COLUMNS, ENERGY
from tsgen.study import Study

N_FOLDS = 5
N_SPLITS = 20
N_DRAWS = 400
UNTRAINED = ("control_average", "control_bootstrap", "control_phase")


class SplitStudy(Study):
    """A Study of the same records as ``whole`` with other events held out; label names the split in every key."""

    def __init__(self, whole, label, held_out_events, folder):
        stations = whole.stations if whole._wanted else None
        super().__init__(whole.settings, whole.records_folder, stations, whole.seed, folder, whole.unit)
        self._label = label
        self.__dict__ |= {"_everything": whole._everything, "records": whole.records}  # read once
        event = records.event_groups(self.records.table)
        outside = event.isin(held_out_events).to_numpy()
        self.__dict__["_split"] = (self.records.take(~outside), self.records.take(outside))

    @property
    def _records_key(self):
        return store.key_of(Study._records_key.func(self), self._label, self.stations)

    def f0_of(self, name):
        """f0 of what a control that needs no training generates from this split; nothing is kept."""
        return self.f0(self._generate(name, self.settings.n_generated))


def fold_of(table, n_folds=N_FOLDS, seed=0):
    """{event: fold} of a table's events, each station's spread evenly over the folds; the same on every machine."""
    pairs = pd.DataFrame({"event": records.event_groups(table), "station": table["station"]}).drop_duplicates()
    stations_of = pairs.groupby("event")["station"].apply(list).to_dict()
    taken = {station: np.zeros(n_folds, int) for station in pairs["station"]}
    total, found = np.zeros(n_folds, int), {}
    for event in sorted(stations_of, key=lambda name: hashlib.sha256(f"fold {seed}:{name}".encode()).hexdigest()):
        here = sum(taken[station] for station in stations_of[event])
        fold = int(np.lexsort((total, here))[0])
        found[event] = fold
        total[fold] += 1
        for station in stations_of[event]:
            taken[station][fold] += 1
    return found


def fold_studies(whole, folder):
    """N_FOLDS Studies, in each of which one fold of the targets' events is held out."""
    folds = fold_of(whole.targets.table, N_FOLDS, whole.seed)
    for number in range(N_FOLDS):
        held_out = {event for event, fold in folds.items() if fold == number}
        yield SplitStudy(whole, f"fold {number} of {N_FOLDS}", held_out, folder / f"fold{number}")


def pooled(studies):
    """Rows of dicts, one a generator: held-out comparisons pooled over the folds, each with 5 and 95 %.

    S × S score with its chance level and its gap to the plain average; medians of ln measures against held-out
    recordings (given magnitude and distance where known); memorisation against each fold's own training records.
    """
    whole = studies[0]
    names = evidence.generators(whole)
    real = _pooled_f0(studies, "held_out")
    fakes = {name: _pooled_f0(studies, name) for name in names}
    recorded = evidence.measured_frame(whole, "training"), evidence.measured_frame(whole, "held_out")
    every = pd.concat(recorded, ignore_index=True)
    held_out = _pooled_frame(studies, "held_out")
    copied = _pooled_memory(studies, "held_out")
    rows = []
    for name in names:
        row = {"generator": name} | _score(whole, real, fakes[name])
        if "control_average" in names and len(whole.stations) > 1:
            gap = controls.score_gap(whole, real, fakes[name], fakes["control_average"])
            row |= _flat("gap to control_average", gap)
        frame = _pooled_frame(studies, name)
        ours, theirs = evidence.given_magnitude_and_distance(every, frame, held_out)
        shown = [*AMPLITUDE, *ENERGY]
        found = equivalence.compare(ours[shown], theirs[shown], frame, held_out, by_station=True, n_draws=N_DRAWS)
        for measure, values in found.iterrows():
            row |= {f"{measure}_median": values["median"]}
            row |= {f"{measure}_median {end}": values[f"median_{end}"] for end in ("low", "high")}
        row |= _memory(_pooled_memory(studies, name), copied)
        rows.append(row | {"n_held_out": len(held_out), "n_generated": len(frame)})
    return rows


def over_splits(whole, folder):
    """Rows of dicts: ceiling and untrained controls over N_SPLITS splits, mean S × S score held-out and its range."""
    scores = {name: [] for name in ("ceiling", *UNTRAINED)}
    for seed in range(N_SPLITS if len(whole.stations) > 1 else 0):
        table = whole.records.table
        event, wanted = records.event_groups(table), table["station"].isin(whole.stations)
        share = whole.settings.held_out_share
        out = records.events_to_hold_out(event[wanted], table["station"][wanted], share, f"split {seed}")
        study = SplitStudy(whole, f"split {seed}", out, folder / "splits")
        real = study.f0(study.held_out)
        fakes = {name: study.f0_of(name) for name in UNTRAINED} | {"ceiling": study.f0(study.training)}
        for name, fake in fakes.items():
            cells = metrics.station_matrix({"real": real, "generated": fake}, "real", "generated", study.settings.f0)
            scores[name].append(metrics.station_score(cells))
    rows = []
    for name, values in scores.items():
        if values:
            low, high = np.quantile(values, [0.05, 0.95])
            row = {"S × S": np.mean(values), "S × S low": low, "S × S high": high, "n_splits": len(values)}
            rows.append({"generator": f"{name}, {N_SPLITS} splits"} | row)
    return rows


def loss_of_averaging(study):
    """One row: what plain averages of k recordings of all events lose in ln std, against theory."""
    losses = mixing.losses(generate.PlainAverage(), study.targets, study.settings.mixed_records)
    found = losses["without replacement"]
    row = {"generator": "control_average, all recordings"} | _flat("loss", found)
    return row | {"theory": found["theory"], "loss less theory": found["value"] - found["theory"], "loss n": found["n"]}


def _score(study, real, fake):
    if len(study.stations) < 2:
        return {"S × S": None}
    s = study.settings
    found = metrics.score_interval(real, fake, n_draws=s.n_halves, seed=study.seed, settings=s.f0)
    chance = metrics.chance(real, fake, s.n_halves, study.seed, s.f0)
    halves = metrics.ceiling(real, n_halves=s.n_halves, seed=study.seed, settings=s.f0)
    row = _flat("S × S", asdict(found)) | {"chance high": chance.high}
    return row | {"halves": halves.value, "halves low": halves.low, "halves high": halves.high}


def _flat(name, found):
    return {name: found["value"], f"{name} low": found["low"], f"{name} high": found["high"]}


def _pooled_f0(studies, which):
    parts = [study.f0(evidence.records_of(study, which)) for study in studies]
    return {station: np.concatenate([part[station] for part in parts]) for station in studies[0].stations}


def _pooled_frame(studies, which):
    """Measures of all folds; a generated event gets its fold's number, so that events of two folds stay two."""
    frames = []
    for number, study in enumerate(studies):
        frame = evidence.measured_frame(study, which)
        frames.append(frame if which == "held_out" else frame.assign(event=f"{number}:" + frame["event"]))
    return pd.concat(frames, ignore_index=True)[[*evidence.IDENTITY, *COLUMNS]]


def _pooled_memory(studies, which):
    frames = []
    for number, study in enumerate(studies):
        some = evidence.records_of(study, which)
        table = some.table[["station", "event"]].reset_index(drop=True).assign(fold=number)
        frames.append(pd.concat([memorisation.memorisation(some, study.training), table], axis=1))
    return pd.concat(frames, ignore_index=True)


def _memory(ours, theirs):
    row = {}
    for measure in memorisation.MEASURES:
        sides = []
        for frame, prefix in ((ours, "generated "), (theirs, "")):
            event = prefix + frame["fold"].astype(str) + ":" + frame["event"]
            sides.append(Sample.of(frame[measure], frame.assign(event=event)))
        row |= _flat(measure, asdict(equivalence.difference_of_medians(*sides, n_draws=N_DRAWS)))
        row |= {f"{measure} generated": ours[measure].median(), f"{measure} held_out": theirs[measure].median()}
    return row
