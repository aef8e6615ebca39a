"""What can be said of the motion of a station from n of its records? Quality against n, for all who are given the same.

Each station that is judged gives n training records, all others' records are the background (``new_station``). Who
takes a magnitude and a distance is scored given those of recordings that nothing has seen, others on the station's law.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from tsgen import distance, findings, metrics
from tsgen.evidence import distances, new_station
from tsgen.evidence.distances import energy_scores
from tsgen.evidence.new_station import ERGODIC, IDEAL, MEASURED, MEMORY, MODEL, OURS, everyone
from tsgen.features import FEATURES
from tsgen.findings import Sample, finding
from tsgen.study import N_GIVEN

SCORE, LESS, LARGEST = "energy score", "energy score less its", "energy distance, largest of four differences"


class Judged:
    """Sample y of recordings or fresh truth, by scenario (station and event), drawn again by event jointly over
    stations."""

    def __init__(self, y, seed):
        self.n, self.index = len(y), pd.MultiIndex.from_arrays([y.station, y.event])
        self.keys = self.index.unique().sort_values()
        station, event = (self.keys.get_level_values(i).to_numpy(object) for i in (0, 1))
        self.sample = Sample(np.zeros(len(self.keys)), event, station)
        (self.weights,) = findings.event_weights(self.sample, seed=seed)
        self.stations, spread = sorted(set(station)), []
        for name in self.stations:
            own, rows = station == name, y.station == name
            of = (y.event[rows] == event[own][:, None]).astype(float)
            of /= of.sum(axis=1, keepdims=True)
            between = of @ cdist(y.values[rows], y.values[rows]) @ of.T  # of pairs of scenarios
            np.fill_diagonal(between, 0)
            spread.append(metrics.drawn_spread(between, self.weights[:, own]))
        self.spread = np.array(spread)

    def by_station(self, values):
        """(stations, 1 + draws) mean by scenario, then over scenarios, of values (n,) of the rows of y."""
        each = pd.Series(values, self.index).groupby(level=[0, 1]).mean().reindex(self.keys).to_numpy()
        return distances.by_station(replace(self.sample, values=each), self.weights, distances.weighted_mean)

    def told(self, each):
        """Estimate of each [(stations, 1 + draws) a choice of records]; see ``drawn``."""
        return distance.expanded(drawn(each), self.sample)


def drawn(each):
    """(1 + draws,) mean over stations and choices of each [(stations, 1 + draws) a choice]; choices are drawn again,
    too. A station that a draw leaves out is not in its mean."""
    values = np.array([findings.mean_of_known(part) for part in each])  # (choices, 1 + draws)
    again = np.random.default_rng(0).integers(len(values), size=(len(values), values.shape[1]))
    again[:, 0] = np.arange(len(values))
    return np.take_along_axis(values, again, axis=0).mean(axis=0)


def told(studies, names=None, choices=(0,), pool=None):
    """Findings (protocol "few", ``set`` the n) over choices of records: energy distances and site skill, to fresh truth
    at the held-out scenarios and to held-out recordings; against the first that there is, each less rivals', and, given
    the scenario, the energy score of ln PSA (root mean square over periods) and the bias of MEASURED; memorisation.
    studies: one, or the folds of events; names: who makes waves, all of new_station.WHOLE unless told otherwise."""
    first, whole, cases, names = studies[0], len(studies) > 1, {}, names or new_station.WHOLE
    for choice in choices:
        for fold, study in enumerate(studies):
            for of, part in everyone(study, choice, names, whole, pool).groupby(["set", "subject"], sort=False):
                cases.setdefault(of, {}).setdefault(choice, {})[fold] = part
    cases = {of: [[*parts.values()] for parts in each.values()] for of, each in cases.items()}  # (n, subject): x
    rows = _memory({of[0]: cases.pop(of) for of in [*cases] if of[1] == "held_out"}, cases)
    for place, against in enumerate(("fresh", "held_out")[first.kind == "recorded" :]):
        truths = [_truth(study, against) for study in studies]
        rows += _distances(first, cases, truths, against, paired=place == 0)
        rows += _given(first, cases, truths, against) if place == 0 else []
    return [row | {"protocol": "few"} for row in rows]


def brief(study):
    """Generators of new_station.BRIEF that can be had on these records."""
    return [name for name in new_station.BRIEF if name != new_station.UNSEEN or name in study.models]


def few(study):
    """``told`` of a run: one choice of records, and the generators of new_station.BRIEF."""
    names = brief(study)
    inputs = [study.stage("measured", "given-fresh")] * (study.kind == "simulated") + distances.inputs_of(study)
    return study.keep_findings("few", lambda: told([study], names), inputs)


def _truth(study, against):
    if against == "held_out":
        return new_station.frame(study, "held_out")
    return new_station.frame(study, "given-fresh").assign(
        event=new_station.scenarios(study, False)["event"].repeat(N_GIVEN).to_numpy()
    )


def _distances(study, cases, truths, against, paired):
    rows, largest = [], {}
    recordings = pd.concat([new_station.frame(study, which) for which in ("training", "held_out")])
    for measure, whitening in distances.whitenings(study).items():
        ys = [whitening.sample(truth) for truth in truths]
        y = Sample.concatenate(ys)
        judged, scale, values = Judged(y, study.seed), 1.0, {}
        if measure == "site":
            scale = distances.scale(*[whitening.sample(recordings)] * 2, study.stations)
        for (of, subject), choices in cases.items():
            each = [np.concatenate([*map(energy_scores, map(whitening.sample, xs), ys)]) for xs in choices]
            values[of, subject] = each = [2 * judged.by_station(part) - judged.spread for part in each]
            named = {"set": of, "n": sum(map(len, choices[0])), "n_against": judged.n}
            rows.append(finding(subject, against, measure, distances.DISTANCE, judged.told(each), **named))
            if measure == "site":
                skill = judged.told([1 - part / scale for part in each])
                rows.append(finding(subject, against, measure, "skill", skill, **named))
            for i, station in enumerate(judged.stations if (subject, measure, paired) == (OURS, "site", True) else ()):
                own = judged.told([part[i : i + 1] for part in each])
                rows.append(finding(subject, against, measure, distances.DISTANCE, own, station=station, **named))
        for of, rival, less in _pairs(values) if paired else ():
            rows.append(finding(OURS, rival, measure, distances.DISTANCE, judged.told(less), set=of))
            if measure == "site":
                skill = judged.told([-part / scale for part in less])
                rows.append(finding(OURS, rival, measure, "skill", skill, set=of))
            largest.setdefault((of, rival), []).append(drawn(less))
    for (of, rival), less in largest.items():
        if len(less) == len(FEATURES) and np.isfinite(less).all():
            worst = findings.interval(np.max(less, axis=0), centred=True)
            rows.append(finding(OURS, rival, "all", LARGEST, worst, set=of))
    return rows


def _pairs(values):
    """(n, rival, OURS less the rival a choice) of all who have values {(n, subject): [a choice]} beside OURS."""
    for (of, rival), theirs in values.items():
        if rival != OURS and (of, OURS) in values:
            yield of, rival, [a - b for a, b in zip(values[of, OURS], theirs, strict=True)]


def _given(study, cases, truths, against):
    """Findings given the scenario, where a generator takes one; the bias of who takes none is its station's."""
    columns, rows, values = new_station.spectral(study), [], {}
    truths = [truth.dropna(subset=columns) for truth in truths]
    whole = pd.concat(truths)
    judged = Judged(Sample.of(whole[columns], whole), study.seed)
    for (of, subject), choices in cases.items():
        asked = (set(zip(x["station"], x["event"], strict=True)) for x in choices[0])
        if all(events >= {*_at(truth)} for events, truth in zip(asked, truths, strict=True)):
            each = [np.concatenate([*map(_scored, xs, truths, [columns] * len(xs))]) for xs in choices]
            values[of, subject] = each = [judged.by_station(part) for part in each]
            rows.append(finding(subject, against, "psa", SCORE, judged.told(each), set=of, n=len(whole)))
        if subject in (MODEL, ERGODIC, IDEAL):
            continue
        for name in MEASURED:
            each = [np.concatenate([*map(_beyond, xs, truths, [name] * len(xs))]) for xs in choices]
            bias = judged.told([judged.by_station(part) for part in each])
            rows.append(finding(subject, against, name, "bias", bias, set=of, n=len(whole)))
    for of, rival, less in _pairs(values):
        rows.append(finding(OURS, rival, "psa", LESS, judged.told(less), set=of))
    return rows


def _at(truth):
    return pd.MultiIndex.from_frame(truth[["station", "event"]])


def _scored(x, truth, columns):
    """(n,) energy scores of the rows of truth by what was made for the scenario of each."""
    made = {of: part.to_numpy(float) for of, part in x.groupby(["station", "event"])[columns]}
    unit = len(columns) ** 0.5
    return distances.scores_of(np.stack([made[of] for of in _at(truth)]) / unit, truth[columns].to_numpy() / unit)


def _beyond(x, truth, name):
    """(n,) mean of x for the scenario of each row of truth, or for its station where x has no scenario, less truth."""
    given = x.groupby(["station", "event"])[name].mean().reindex(_at(truth)).to_numpy()
    plain = x.groupby("station")[name].mean().reindex(truth["station"]).to_numpy()
    return np.where(np.isfinite(given), given, plain) - truth[name].to_numpy()


def _memory(seen, cases):
    """Findings on how much of OURS its n records explain, less what they explain of held-out recordings."""
    rows = []
    for of, theirs in seen.items():
        sides = [pd.concat([x for xs in choices for x in xs]) for choices in (cases[of, OURS], theirs)]
        for measure in MEMORY:
            samples = [Sample.of(side[measure], side) for side in sides]
            less = findings.difference("median", *samples)
            rows.append(finding(OURS, "held_out", measure, "median", less, *map(len, sides), set=of))
    return rows
