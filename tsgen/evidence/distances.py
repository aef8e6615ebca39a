"""How far is generated motion from recordings that nothing has seen? Energy distances of site, spectra, duration, wave.

They lead in every table: 0 for the recordings' own law, in units of the scatter within stations. Beside each stands
its interval (bootstrap over held-out events) and what one law gives at these sizes (permutations). Generators that take
a magnitude and a distance are also asked for each held-out recording's, and scored given them.
"""

from itertools import permutations

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from tsgen import distance, findings, metrics
from tsgen.distance import Whitening
from tsgen.features import FEATURES, shown
from tsgen.findings import Estimate, Sample, finding
from tsgen.roles import label
from tsgen.study import CONDITIONED, N_GIVEN, SHIFTED

N_DRAWS = 400  # of each bootstrap over events
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
    found = {}
    for measure, columns in FEATURES.items():
        if columns := shown(recorded, columns, study.stations):
            found[measure] = Whitening.fit(seen, columns)
    return found


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
                rows += _skill(study, name, scale(training, y, study.stations), rows)
        return rows

    return study.keep_findings(f"distances-{name}", build, inputs_of(study, name))


def told(name, measure, x, y, stations, seed=0, against="held_out"):
    """Findings on Samples of whitened features, of ``name`` and of recordings: ``distances`` of one measure, without
    skill."""
    of = {"protocol": "held_out", "n": len(x.values), "n_against": len(y.values)}
    whole = distance.estimate(x, y, stations, N_DRAWS, seed)
    null = distance.of_one_law(x, y, stations, seed=seed)
    estimates = {DISTANCE: whole, ONE_LAW: null, BEYOND: whole.less(null.high)}
    rows = [finding(name, against, measure, statistic, found, **of) for statistic, found in estimates.items()]
    for station in stations if len(stations) > 1 else ():
        sides = [side.take(side.station == station) for side in (x, y)]
        of |= {"station": station, "n": len(sides[0].values), "n_against": len(sides[1].values)}
        own = distance.estimate(*sides, [station], N_DRAWS, seed)
        rows.append(finding(name, against, measure, DISTANCE, own, **of))
    return [row for row in rows if "value" in row]


def _skill(study, name, scale, rows):
    """1 less the site distance over that between recordings of different stations (scale): 1 the station's own law, 0
    another's."""
    whole = findings.one(rows, measure="site", station="", statistic=DISTANCE)
    skill = Estimate(*(1 - whole[part] / scale for part in ("value", "high", "low")), 0)
    of = {"protocol": "held_out", "n": whole["n"], "n_against": whole["n_against"]}
    rows = [finding(name, "held_out", "site", "skill", skill, **of)]
    return rows + [finding("training", "held_out", "site", "scale", scale, **of)] * (name == "training")


def scale(x, y, stations):
    """Mean energy distance of Samples x and y over pairs of different stations: the unit of site skill; NaN where no
    pair has two records on both sides."""
    found = []
    for first, second in permutations(stations, 2):
        sides = x.values[x.station == first], y.values[y.station == second]
        if min(map(len, sides)) > 1:
            found.append(metrics.energy_distance(*sides))
    return float(np.mean(found)) if found else np.nan


def comparisons(study, only=""):
    """Findings on pairs: each of COMPARED (or ``only`` one) less each of RIVALS and the other models, the same held-out
    events drawn again for both; below 0 the first is nearer to the recordings."""
    models = [only] if only else [name for name in COMPARED if name in study.judged]
    couples = [(first, second) for first in models for second in RIVALS]
    couples += [(first, second) for i, first in enumerate(models) for second in models[i + 1 :]]
    names = sorted({*sum(couples, ())})

    def build():
        rows = []
        for measure, whitening in whitenings(study).items():
            y = whitening.sample(study.features("held_out"))
            drawn = {}
            for name in names:
                x = whitening.sample(study.features(name))
                (times,) = findings.event_weights(y, n_draws=N_DRAWS, seed=study.seed)
                (own,) = findings.event_weights(x, n_draws=N_DRAWS, seed=study.seed + 1)
                found = distance.pairs(x, y, study.stations)
                drawn[name] = distance.drawn(found, (own, times)) if found else np.full(1 + N_DRAWS, np.nan)
            for first, second in couples:
                less = distance.expanded(drawn[first] - drawn[second], y)
                of = {"protocol": "held_out", "n": len(x.values), "n_against": len(y.values)}
                rows.append(finding(first, second, measure, DISTANCE, less, **of))
        return [row for row in rows if "value" in row]

    return study.keep_findings(f"distances-compared{only and '-' + only}", build, inputs_of(study, *names))


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
        parts = ([getattr(side, part) for side in sides] for part in ("values", "event", "station"))
        y = Sample(*map(np.concatenate, parts))
        (weights,) = findings.event_weights(y, n_draws=N_DRAWS, seed=folds[0].seed)
        weights, drawn = weights.astype(float), {}
        spread = by_station(y, weights, lambda own, times: metrics.drawn_spread(cdist(own, own), times))
        for name in names:
            fakes = [whitening.sample(study.features(name)) for study in folds]
            scores = np.concatenate([_scores(*each) for each in zip(fakes, sides, strict=True)])
            drawn[name] = 2 * by_station(Sample(scores, y.event, y.station), weights, weighted_mean) - spread
            of = {
                "protocol": "held_out",
                "set": "folds",
                "n": sum(len(x.values) for x in fakes),
                "n_against": len(y.values),
            }
            whole = distance.expanded(np.nanmean(drawn[name], axis=0), y)
            rows.append(finding(name, "held_out", measure, DISTANCE, whole, **of))
        for first in (name for name in COMPARED if name in names):
            for second in (name for name in (*RIVALS, *COMPARED) if name in names and name != first):
                less = distance.expanded(np.nanmean(drawn[first] - drawn[second], axis=0), y)
                rows.append(finding(first, second, measure, DISTANCE, less, **of))
    return [row for row in rows if "value" in row]


def _scores(x, y):
    """Energy scores (n,) of each row of Sample y by the rows of x at its station."""
    scores = np.full(len(y.values), np.nan)
    for station in set(x.station) & set(y.station):
        own, there = x.values[x.station == station], y.station == station
        if len(own) > 1:
            scores[there] = cdist(y.values[there], own).mean(axis=1) - cdist(own, own).sum() / (
                2 * len(own) * (len(own) - 1)
            )
    return scores


def by_station(sample, weights, mean):
    """(stations, draws) of ``mean(values, weights)`` over the rows of each station."""
    rows = (sample.station == station for station in sorted(set(sample.station)))
    return np.array([mean(sample.values[own], weights[:, own]) for own in rows])


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


def scenario(study, only=""):
    """Findings (protocol "scenario") on the generators that take a magnitude and a distance (CONDITIONED), or ``only``
    one beside control_regression, asked for those of each held-out recording: their energy score, each less
    control_regression's, and, where the truth can be drawn again, twice what it exceeds the truth's own score by: an
    energy distance given the scenario."""
    names = [only, RIVALS[0]] if only else [name for name in CONDITIONED if name in study.judged]
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
            of = {"protocol": "scenario", "n": int(there.sum()) * N_GIVEN, "n_against": int(there.sum())}
            for name in names:
                of_name = {"energy score": ("held_out", scores[name])}
                if name not in ("fresh", RIVALS[0]):
                    of_name["energy score less its"] = (RIVALS[0], scores[name] - scores[RIVALS[0]])
                if name != "fresh" and "fresh" in scores:
                    of_name[DISTANCE] = ("held_out", 2 * (scores[name] - scores["fresh"]))
                for statistic, (against, values) in of_name.items():
                    mean = _mean(values[there], sample, study.seed)
                    rows.append(finding(name, against, measure, statistic, mean, **of))
        return [row for row in rows if "value" in row]

    return study.keep_findings(f"distances-scenario{only and '-' + only}", build, inputs)


def _mean(values, sample, seed):
    """Mean over stations of the stations' mean values (n,), by a bootstrap over events: an Estimate."""
    (weights,) = findings.event_weights(sample, n_draws=N_DRAWS, seed=seed)
    each = by_station(Sample(values, sample.event, sample.station), weights.astype(float), weighted_mean)
    return distance.expanded(np.nanmean(each, axis=0), sample) if len(each) else Estimate(np.nan, np.nan, np.nan, 0)


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
