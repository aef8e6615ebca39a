"""How far is generated motion from recordings that nothing has seen? Energy distances of site, spectra, duration, wave.

They lead in every table: 0 for the recordings' own law, in units of the scatter within stations. Beside each stands
its interval (bootstrap over held-out events) and what one law gives at these sizes (permutations). Generators that take
a magnitude and a distance are also asked for each held-out recording's, and scored given them.
"""

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from tsgen import distance, findings, metrics
from tsgen.distance import Whitening
from tsgen.features import FEATURES, shown
from tsgen.findings import Estimate, Sample, finding
from tsgen.roles import label
from tsgen.study import CONDITIONED, N_GIVEN, SHIFTED

DISTANCE, ONE_LAW, BEYOND = "energy distance", "energy distance, if of one law", "energy distance, beyond one law's"
RIVALS = ("control_regression", "control_average", "control_renoised", "control_bootstrap")  # what a model should beat
FEWEST_FREEDOM = 50  # of the background's scatter within stations
COMPARED = ("timesnet", "cvae", "cgm", "evolve")


def whitenings(study):
    """{measure: Whitening} by the background's recordings, of the columns that the targets' recordings show; a measure
    of which they show none is left out.
    No side of a comparison is among them: a few dozen recordings would seem to scatter less than others of their law,
    by what they have lent the unit. Where the background is simulated for recorded targets, or has few stations of
    several records, the training recordings serve, too."""
    recorded = pd.concat([study.features(which) for which in ("training", "held_out")], ignore_index=True)
    background = study.background.table
    seen = study.features("background")
    if set(background["kind"]) != set(study.training.table["kind"]):
        seen = study.features("training")
    elif len(background) - background["station"].nunique() < FEWEST_FREEDOM:
        seen = pd.concat([seen, study.features("training")], ignore_index=True)
    seen_of = {measure: shown(recorded, columns, study.stations) for measure, columns in FEATURES.items()}
    return {measure: Whitening.fit(seen, columns) for measure, columns in seen_of.items() if columns}


def inputs_of(study, *names):
    """The Stages that the features of some records rest on."""
    names = {"training", "held_out", "background", *names} - {SHIFTED}
    return [study.stage(kind, name) for name in sorted(names) for kind in ("measured", "f0")]


def distances(study, name):
    """Findings on a generator, on control_shift or on "training" (recordings judged as if they were generated), by
    measure: energy distance to held-out recordings, over stations and by station; what one law gives at these sizes,
    and the distance less its critical value (5 %); the site skill, and the distance between stations that is its scale.
    """

    def build():
        rows = []
        for measure, whitening in whitenings(study).items():
            x, y = (whitening.sample(study.features(which)) for which in (name, "held_out"))
            rows += told(name, measure, x, y, study.stations, study.seed)
            if measure == "site" and len(study.stations) > 1:
                training = whitening.sample(study.features("training"))
                rows += _skill(name, scale(training, y, study.stations), rows)
        return rows

    return study.keep_findings(f"distances-{name}", build, inputs_of(study, name))


def told(name, measure, x, y, stations, seed=0, against="held_out"):
    """Findings on Samples of whitened features, of ``name`` and of recordings: ``distances`` of one measure, without
    skill."""
    of = name, against, measure
    whole, null = distance.estimate(x, y, stations, seed), distance.of_one_law(x, y, stations, seed)
    estimates = {DISTANCE: whole, ONE_LAW: null, BEYOND: whole.less(null.high)}
    rows = [finding(*of, kind, found, len(x), len(y), protocol="held_out") for kind, found in estimates.items()]
    for station in stations if len(stations) > 1 else ():
        rows.append(between(*of, x.at(station), y.at(station), [station], seed, station=station))
    return rows


def between(name, against, measure, x, y, stations, seed, **keys):
    """Finding: the energy distance of Samples of whitened features, the mean over stations."""
    found = distance.estimate(x, y, stations, seed)
    return finding(name, against, measure, DISTANCE, found, len(x), len(y), protocol="held_out", **keys)


def _skill(name, scale, rows):
    """1 less the site distance over that between recordings of different stations (scale): 1 the station's own law, 0
    another's."""
    whole = findings.one(rows, measure="site", station="", statistic=DISTANCE)
    skill = Estimate(*(1 - whole[part] / scale for part in ("value", "high", "low")), 0)
    told = {"skill": skill} | ({"scale": scale} if name == "training" else {})
    of = whole["n"], whole["n_against"]
    return [finding(name, "held_out", "site", *each, *of, protocol="held_out") for each in told.items()]


def scale(x, y, stations):
    """Mean energy distance of Samples x and y over pairs of different stations: the unit of site skill; NaN where no
    pair has two records on both sides."""
    couples = ((x.at(first).values, y.at(second).values) for first, second in permutations(stations, 2))
    found = [metrics.energy_distance(*sides) for sides in couples if min(map(len, sides)) > 1]
    return float(np.mean(found)) if found else np.nan


def comparisons(study):
    """Findings on pairs: each of COMPARED less each of RIVALS and the other models, the same held-out events drawn
    again for both; below 0 the first is nearer to the recordings."""
    models = [name for name in COMPARED if name in study.judged]
    couples = [(first, second) for first in models for second in RIVALS]
    couples += [(first, second) for i, first in enumerate(models) for second in models[i + 1 :]]
    names = sorted({*sum(couples, ())})

    def build():
        rows = []
        for measure, whitening in whitenings(study).items():
            y, drawn = whitening.sample(study.features("held_out")), {}
            for name in names:
                x = whitening.sample(study.features(name))
                weights = [findings.event_weights(side, seed=study.seed + i)[0] for side, i in ((x, 1), (y, 0))]
                drawn[name] = distance.drawn(distance.pairs(x, y, study.stations), weights)
            for pair in couples:
                less = distance.expanded(np.subtract(*(drawn[name] for name in pair)), y)
                rows.append(finding(*pair, measure, DISTANCE, less, len(x), len(y), protocol="held_out"))
        return rows

    return study.keep_findings("distances-compared", build, inputs_of(study, *names))


# ---- few events: folds ----


def pooled(folds, names):
    """Findings on generators and on "training", each fitted in every one of ``folds`` (Studies that each hold out a
    part of the events), by measure: energy distance, and of COMPARED less RIVALS, over all recordings.
    A recording is scored by the fold that has not seen it, S = E|x − y| − ½ E|x − x'|, and the distance is twice the
    mean of S less E|y − y'| of the station's recordings: nothing else is pooled, so no fold judges what another
    learned. Bootstrap over events jointly over stations. Features are whitened by the first fold's recordings."""
    rows = []
    for measure, whitening in whitenings(folds[0]).items():
        sides = [whitening.sample(study.features("held_out")) for study in folds]
        y, drawn, n = Sample.concatenate(sides), {}, {}
        (weights,) = findings.event_weights(y, seed=folds[0].seed)
        spread = by_station(y, weights, lambda own, times: metrics.drawn_spread(cdist(own, own), times))
        for name in names:
            fakes = [whitening.sample(study.features(name)) for study in folds]
            scores = np.concatenate([*map(energy_scores, fakes, sides)])
            drawn[name] = 2 * by_station(replace(y, values=scores), weights, weighted_mean) - spread
            n[name] = sum(map(len, fakes))
        pairs = [(name, "held_out", drawn[name]) for name in names]
        models = [name for name in COMPARED if name in names]
        couples = product(models, [*(name for name in RIVALS if name in names), *models])
        pairs += [(first, second, drawn[first] - drawn[second]) for first, second in couples if first != second]
        for first, second, each in pairs:
            found = distance.expanded(findings.mean_of_known(each), y)
            of = {"protocol": "held_out", "set": "folds"}
            rows.append(finding(first, second, measure, DISTANCE, found, n[first], len(y), **of))
    return rows


def energy_scores(x, y):
    """Energy scores (n,) of each row of Sample y by the rows of Sample x at its station, E|x − y| − ½ E|x − x'|, over
    pairs of different events: records of one scenario are nearer to each other than a new one's. NaN without."""
    found = np.full(len(y), np.nan)
    for station in sorted(set(x.station) & set(y.station)):
        own, there = x.at(station), y.station == station
        apart, to = own.event[:, None] != own.event, own.event[:, None] != y.event[there]
        if apart.any() and to.any(axis=0).all():
            spread = cdist(own.values, own.values)[apart].mean()
            found[there] = (cdist(own.values, y.values[there]) * to).sum(axis=0) / to.sum(axis=0) - spread / 2
    return found


def by_station(sample, weights, mean):
    """(stations, draws) of ``mean(values, weights)`` over the rows of each station."""
    rows = (sample.station == station for station in sorted(set(sample.station)))
    return np.array([mean(sample.values[own], weights[:, own]) for own in rows]).reshape(-1, len(weights))


def weighted_mean(values, weights):
    n = weights.sum(axis=1)
    return np.divide(weights @ values, n, np.full(len(n), np.nan), where=n > 0)


# ---- given magnitude and distance ----


def scores_of(drawn, held_out):
    """Energy scores (n,): E|x − y| − ½ E|x − x'| of each held-out row y (n, p) and the draws x (n, k, p) made for it;
    least in expectation for the true law (Gneiting and Raftery 2007). NaN where y or a draw is not known."""
    k = drawn.shape[1]
    first = np.sqrt(((drawn - held_out[:, None]) ** 2).sum(axis=2)).mean(axis=1)
    spread = np.array([cdist(x, x).sum() if np.isfinite(x).all() else np.nan for x in drawn]) / (k * (k - 1))
    return first - spread / 2


def scenario(study):
    """Findings (protocol "scenario") on the generators that take a magnitude and a distance (CONDITIONED), asked for
    those of each held-out recording: their energy score, each less control_regression's, and, where the truth can be
    drawn again, twice what it exceeds the truth's own score by: an energy distance given the scenario."""
    names = [name for name in CONDITIONED if name in study.judged]
    names += ["fresh"] if study.kind == "simulated" else []
    inputs = inputs_of(study, *(f"given-{name}" for name in names))

    def build():
        rows, held_out = [], study.features("held_out")
        known = study.measures("held_out")[["magnitude", "distance_in_km"]].notna().all(axis=1).to_numpy()
        for measure, whitening in whitenings(study).items():
            y = held_out.loc[known, list(whitening.columns)].to_numpy(float) @ whitening.matrix
            scores = {}
            for name in names:
                x = study.features(f"given-{name}")[list(whitening.columns)].to_numpy(float) @ whitening.matrix
                scores[name] = scores_of(x.reshape(len(y), N_GIVEN, -1), y)
            there = np.isfinite(list(scores.values())).all(axis=0)
            sample = Sample.of(np.zeros(len(y)), held_out[known]).take(there)
            (weights,) = findings.event_weights(sample, seed=study.seed)
            for name in names:
                of_name = {"energy score": ("held_out", scores[name])}
                if name not in ("fresh", RIVALS[0]):
                    of_name["energy score less its"] = (RIVALS[0], scores[name] - scores[RIVALS[0]])
                if name != "fresh" and "fresh" in scores:
                    of_name[DISTANCE] = ("held_out", 2 * (scores[name] - scores["fresh"]))
                for statistic, (against, values) in of_name.items():
                    each = by_station(replace(sample, values=values[there]), weights, weighted_mean)
                    mean = distance.expanded(findings.mean_of_known(each), sample)
                    of = {"n": N_GIVEN * len(sample), "n_against": len(sample), "protocol": "scenario"}
                    rows.append(finding(name, against, measure, statistic, mean, **of))
        return rows

    return study.keep_findings("distances-scenario", build, inputs)


def text(rows, measure):
    """A generator's energy distance with its interval as text, from its findings over stations; ends with "=" where
    one law gives as much at these sizes (5 %); "" where there is none."""
    of_measure = findings.select(rows, measure=measure, station="")
    there, beyond = (findings.select(of_measure, statistic=statistic) for statistic in (DISTANCE, BEYOND))
    if len(there) != 1:
        return ""
    return findings.text(there.iloc[0]) + findings.SIGNS[findings.HOLDS] * bool((beyond["value"] <= 0).any())


def table(study, names=None):
    """DataFrame of ``text`` by generator (default: recordings, all that are judged, control_shift) and measure, and of
    the site skill."""
    names = ("training", *study.judged, SHIFTED) if names is None else names
    lines = {}
    for name in names:
        rows = distances(study, name)
        cells = {measure: text(rows, measure) for measure in FEATURES if len(findings.select(rows, measure=measure))}
        skill = findings.select(rows, statistic="skill")
        lines[label(name)] = cells | ({"site skill": findings.text(skill.iloc[0])} if len(skill) else {})
    return pd.DataFrame.from_dict(lines, orient="index").fillna("").rename_axis("generated by")
