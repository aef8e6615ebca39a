"""What can be said of the motion of a station from n of its records? Quality against n, for all who are given the same.

Each station that is judged gives n training records, all others' records are the background; whoever takes a magnitude
and a distance is asked for those of recordings that nothing has seen, the others are scored on the law of the station.
Unlike the other questions this one asks theirs again for each n, so it alone imports them.
"""

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from tsgen import carrier, distance, features, findings, generate, hvsr, intensity, metrics, station_term
from tsgen.evidence import copying, distances
from tsgen.evolve import Evolve
from tsgen.features import FEATURES
from tsgen.findings import Sample, finding
from tsgen.measures import PERIODS_IN_S, SCENARIO, SPECTRAL
from tsgen.needs import scenario_known
from tsgen.records import Records
from tsgen.station_term import SpectralLaw
from tsgen.study import LAWS, N_GIVEN, SHIFTED

OURS, OTHER, UNSEEN = "evolve", "control_other", "cgm"
MODEL, ERGODIC, IDEAL = "gmm_station", "gmm", "ideal"  # response spectra alone, in closed form
ALL = "all"
NUMBERS = {"simulated": (0, 1, 2, 5, 10, ALL), "recorded": (0, 1, 2, 4)}  # of a station's records
FITTED = {OURS: Evolve} | LAWS  # take a scenario
MIXED = {  # take none
    "control_renoised": carrier.renoised,
    "control_average": lambda own, n, seed: generate.mix(generate.PlainAverage(), own, n, seed=seed),
    "control_phase": generate.random_phase,
}
BRIEF = (OURS, UNSEEN, "control_renoised")  # whose waves a run makes
WHOLE = (OURS, *MIXED, *LAWS)  # and the stored experiment
RIVALS = (SHIFTED, "control_bootstrap", *MIXED, *LAWS, OTHER)
N_ASKED = 2  # realisations of a scenario; the energy score needs two
N_DRAWN = 60  # records a station of whoever takes no scenario
N_CLOSED = 10  # draws a scenario in closed form
N_DRAWS = 400  # of each bootstrap
POOLED = (1001, 1002, 1003, 1004)  # seeds of networks that nothing else uses: what the ideal knows
MEASURED = ("pga", "d5_95")  # whose bias is told
COLUMNS = tuple(dict.fromkeys((*(name for names in FEATURES.values() for name in names), *MEASURED)))
MEMORY = ("largest_correlation", "r2")
SCORE, LESS, LARGEST = "energy score", "energy score less its", "energy distance, largest of four differences"


# ---- what everyone makes of n records ----


def frame(study, which):
    """DataFrame of one row a record: station, event, SCENARIO and COLUMNS; see ``Study.features``."""
    return study.features(which).join(study.measures(which)[[*SCENARIO[1:], "pga"]])


def read(study, some):
    """DataFrame (n, COLUMNS) of Records."""
    found, before = intensity.measures(some), study.settings.window.before_p_in_s
    table = found[["arias_in_cm_s", "d5_75_in_s", "d5_95_in_s", "pga_rotd50_in_cm_s2"]]
    table = table.set_axis(["arias", "d5_75", "d5_95", "pga"], axis=1)
    spectra = np.where(hvsr.in_band(some, 1 / PERIODS_IN_S), intensity.rotd(some, PERIODS_IN_S, (50,))[0], np.nan)
    table = np.log(table.where(table > 0)).join(pd.DataFrame(np.log(spectra), columns=list(SPECTRAL)))
    sites = features.site(hvsr.hvsr(some, study.settings.hvsr))
    return pd.concat([table, features.wave(some, before), sites], axis=1)[list(COLUMNS)]


def numbers(study, choice=0):
    """The n that every target station can give; n of which there is no choice, only in the first."""
    fewest = study.training.table["station"].value_counts().min()
    known = [n for n in NUMBERS[study.kind] if n == ALL or n <= fewest]
    return [n for n in known if not choice or n not in (0, ALL)]


def chosen(study, choice, n):
    """Positions in the training records of n of each station's, by chance; those of a smaller n are among those of a
    larger."""
    station, rng = study.training.table["station"].to_numpy(), np.random.default_rng([study.seed, choice])
    order = [rng.permutation(np.flatnonzero(station == name)) for name in study.stations]
    return np.sort(np.concatenate([own[: None if n == ALL else n] for own in order]))


def scenarios(study, whole):
    """DataFrame of SCENARIO and event of the recordings whose scenarios are asked for: the held-out ones or, where
    folds hold out few at once (whole), all of the targets."""
    some = study.targets if whole else study.held_out
    table = some.take(scenario_known(some)).table
    return table.reindex(columns=[*SCENARIO, "event"]).reset_index(drop=True)


def left_out(study):
    """[stations that are new at once]: recorded ones one by one, since few others have several records."""
    return [[name] for name in study.stations] if study.kind == "recorded" else [study.stations]


def waves(study, choice, names, whole):
    """DataFrame of one row a record that the generators ``names`` make: subject, set ("n = 2"), station, event (whose
    scenario it has; "" without) and COLUMNS; of OURS MEMORY of the n records, and the held-out recordings'. Built once.
    """

    def make():
        parts = []
        for out in left_out(study):
            rest = study.training.take(~study.training.table["station"].isin(out).to_numpy())
            others = Records.concatenate([study.background, rest]) if len(rest) else study.background
            asked = scenarios(study, whole).query("station in @out").reset_index(drop=True)
            held_out = study.held_out.select(station=out)
            for n in numbers(study, choice):
                own, of = study.training.take(chosen(study, choice, n)).select(station=out), {"set": f"n = {n}"}
                for name in (name for name in names if (name in (OURS, UNSEEN) if n == 0 else name != UNSEEN)):
                    made = _made(study, name, others, own, asked, study.seed + 1000 * choice)
                    part = read(study, made).assign(subject=name, station=made.table["station"], **of)
                    part["event"] = "" if name in MIXED else asked["event"].repeat(N_ASKED).to_numpy()
                    if name == OURS and n != 0:
                        part = part.join(copying.memorisation(made, own)[list(MEMORY)])
                        seen = copying.memorisation(held_out, own)[list(MEMORY)].assign(subject="held_out", **of)
                        parts.append(seen.join(held_out.table[["station", "event"]]))
                    parts.append(part)
        return pd.concat(parts, ignore_index=True)

    inputs = distances.inputs_of(study) + ([study.stage("model", UNSEEN)] if UNSEEN in names else [])
    return study.keep_table(f"few-{choice}", make, inputs, (names, whole, study.settings.cgm)).fillna({"event": ""})


def _made(study, name, others, own, asked, seed):
    """Records that a generator makes of the stations' ``own`` records and those of ``others``."""
    if name in MIXED:
        return MIXED[name](own, N_DRAWN, seed)
    if name == UNSEEN:  # by Vs30: under this name it knows no station
        asked = asked.assign(station="NEW." + asked["station"]).fillna({"vs30_in_m_per_s": station_term.PLAIN_VS30})
        made = generate.sample(study.model(UNSEEN), scenarios=asked[SCENARIO], n=N_ASKED, seed=seed)
        return made.with_columns(station=made.table["station"].str.removeprefix("NEW."))
    served = {"stations": sorted(set(asked["station"]))} if name == OURS else {}
    law = FITTED[name](study.settings.cgm, others, own, **served)
    return generate.sample(law, scenarios=asked[SCENARIO], n=N_ASKED, seed=seed)


def everyone(study, choice, names, whole, pool=None):
    """``waves``, and what takes no waves: OURS of another station, recordings drawn again, the background's scatter
    about the mean of n records, all training recordings as if generated; and, response spectra alone, BSSA14 with the
    region's bias and variances, with and without the station's term, and the ideal (pool: the frame that it knows)."""
    made, known, asked = waves(study, choice, names, whole), frame(study, "training"), scenarios(study, whole)
    follows = dict(zip(study.stations, study.stations[1:] + study.stations[:1], strict=True))
    ours = made[made["subject"] == OURS]
    parts = [made, known.assign(subject="training", set=f"n = {ALL}")]
    parts += [ours.assign(subject=OTHER, station=ours["station"].map(follows))] * (len(follows) > 1)
    columns, rng = distances.whitenings(study)["spectra"].columns, np.random.default_rng([study.seed, choice])
    for out in left_out(study):
        others = pd.concat([frame(study, "background"), known.query("station not in @out")], ignore_index=True)
        region = SpectralLaw.fit(others, columns, station_term.bssa14(columns))
        laws = {MODEL: region, ERGODIC: region}
        if pool is not None:
            laws[IDEAL] = SpectralLaw.fit(pool, columns, station_term.regressed(pool, columns))
        for n in numbers(study, choice):
            own = known.iloc[chosen(study, choice, n)].query("station in @out")
            of = {"set": f"n = {n}"}
            if n != 0:
                again = own.groupby("station").sample(N_DRAWN, replace=True, random_state=rng)
                sides = (side[["station", "event", *COLUMNS]] for side in (own, others))
                shifted = features.shifted(*sides, out, N_DRAWN, choice)
                again = again.assign(subject="control_bootstrap", event="", **of)  # a record drawn twice counts twice
                parts += [again, shifted.assign(subject=SHIFTED, **of)]
            for station in out:
                rows, mine = asked[asked["station"] == station], own[own["station"] == station]
                named = rows[["station", "event"]].loc[rows.index.repeat(N_CLOSED)].reset_index(drop=True)
                for name, law in laws.items():
                    drawn = law.drawn(mine[:0] if name == ERGODIC else mine, rows, N_CLOSED, rng)
                    parts.append(named.join(drawn).assign(subject=name, **of))
    table = pd.concat(parts, ignore_index=True)
    table["event"] = table["event"].where(table["event"] != "", "drawn " + table.index.astype(str))
    return table


# ---- how near it lies ----


def scores(x, y):
    """Energy scores (n,) of each row of Sample y by the rows of Sample x at its station, E|x − y| − ½ E|x − x'|, over
    pairs of different events: records of one scenario are nearer to each other than a new one's. NaN without."""
    found = np.full(len(y.values), np.nan)
    for station in sorted(set(x.station) & set(y.station)):
        own, there = x.take(x.station == station), y.station == station
        apart, to = own.event[:, None] != own.event, own.event[:, None] != y.event[there]
        if apart.any() and to.any(axis=0).all():
            spread = cdist(own.values, own.values)[apart].mean()
            found[there] = (cdist(own.values, y.values[there]) * to).sum(axis=0) / to.sum(axis=0) - spread / 2
    return found


class Judged:
    """Sample y of recordings or fresh truth, by scenario (station and event), drawn again by event jointly over
    stations."""

    def __init__(self, y, seed):
        self.n, self.index = len(y.values), pd.MultiIndex.from_arrays([y.station, y.event])
        self.keys = self.index.unique().sort_values()
        station, event = (self.keys.get_level_values(i).to_numpy(object) for i in (0, 1))
        self.sample = Sample(np.zeros(len(self.keys)), event, station)
        (weights,) = findings.event_weights(self.sample, n_draws=N_DRAWS, seed=seed)
        self.weights, spread = weights.astype(float), []
        for name in sorted(set(station)):
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
        each = Sample(each, self.sample.event, self.sample.station)
        return distances.by_station(each, self.weights, distances.weighted_mean)

    def told(self, each, choices=1):
        """Estimate of each [(stations, 1 + draws) a choice of records]; see ``drawn``."""
        return distance.expanded(drawn(each), self.sample)


def drawn(each):
    """(1 + draws,) mean over stations and choices of each [(stations, 1 + draws) a choice]; choices are drawn again,
    too. A station without a value in all choices is left out."""
    each = np.array(each)
    each = each[:, np.isfinite(each).any(axis=(0, 2))]
    if not each.size:
        return np.full(1 + N_DRAWS, np.nan)
    values = np.nanmean(each, axis=1)  # (choices, 1 + draws)
    again = np.random.default_rng(0).integers(len(values), size=(len(values), values.shape[1]))
    again[:, 0] = np.arange(len(values))
    return np.take_along_axis(values, again, axis=0).mean(axis=0)


def told(studies, names=WHOLE, choices=(0,), pool=None):
    """Findings (protocol "few", ``set`` the n) over choices of records: energy distances and site skill, to fresh truth
    at the held-out scenarios and to held-out recordings; against the first that there is, each less rivals', and, given
    the scenario, the energy score of ln PSA (root mean square over periods) and the bias of MEASURED; memorisation.
    studies: one, or the folds of events."""
    first, whole, cases = studies[0], len(studies) > 1, {}
    for choice in choices:
        for fold, study in enumerate(studies):
            for of, part in everyone(study, choice, names, whole, pool).groupby(["set", "subject"], sort=False):
                cases.setdefault(of, {}).setdefault(choice, {})[fold] = part
    cases = {of: [[*parts.values()] for parts in each.values()] for of, each in cases.items()}  # (n, subject): x
    rows = _memory({of[0]: cases.pop(of) for of in [*cases] if of[1] == "held_out"}, cases)
    for place, against in enumerate(("fresh", "held_out")[first.kind == "recorded" :]):
        truths = [_truth(study, against) for study in studies]
        rows += _distances(first, cases, truths, against, paired=place == 0)
        rows += _given(first, cases, pd.concat(truths), against) if place == 0 else []
    return [row | {"protocol": "few"} for row in rows if "value" in row]


def few(study):
    """``told`` of a run: one choice of records, and the generators of BRIEF."""
    names = [name for name in BRIEF if name != UNSEEN or name in study.models]
    inputs = [study.stage("measured", "given-fresh")] * (study.kind == "simulated") + distances.inputs_of(study)
    return study.keep_findings("few", lambda: told([study], names), inputs)


def _truth(study, against):
    if against == "held_out":
        return frame(study, "held_out")
    return frame(study, "given-fresh").assign(event=scenarios(study, False)["event"].repeat(N_GIVEN).to_numpy())


def _distances(study, cases, truths, against, paired):
    rows, largest = [], {}
    recordings = pd.concat([frame(study, which) for which in ("training", "held_out")])
    for measure, whitening in distances.whitenings(study).items():
        ys = [whitening.sample(truth) for truth in truths]
        y = Sample(*(np.concatenate([getattr(each, part) for each in ys]) for part in ("values", "event", "station")))
        judged, scale, values = Judged(y, study.seed), 1.0, {}
        if measure == "site":
            scale = distances.scale(*[whitening.sample(recordings)] * 2, study.stations)
        for (of, subject), choices in cases.items():
            each = [np.concatenate([*map(scores, map(whitening.sample, xs), ys)]) for xs in choices]
            values[of, subject] = each = [2 * judged.by_station(part) - judged.spread for part in each]
            named = {"set": of, "n": sum(map(len, choices[0])), "n_against": judged.n}
            rows.append(finding(subject, against, measure, distances.DISTANCE, judged.told(each), **named))
            if measure == "site":
                skill = judged.told([1 - part / scale for part in each])
                rows.append(finding(subject, against, measure, "skill", skill, **named))
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


def _given(study, cases, truth, against):
    """Findings given the scenario, where a generator takes one; the bias of who takes none is its station's."""
    columns, rows, values = list(distances.whitenings(study)["spectra"].columns), [], {}
    truth = truth.dropna(subset=columns)
    judged = Judged(Sample.of(truth[columns], truth), study.seed)
    at = pd.MultiIndex.from_frame(truth[["station", "event"]])
    for (of, subject), choices in cases.items():
        found = [pd.concat(xs).groupby(["station", "event"])[[*columns]] for xs in choices]
        if set(at) <= set(found[0].groups):
            unit, each = len(columns) ** 0.5, []
            for groups in found:
                x = {key: part.to_numpy(float) for key, part in groups}
                x = np.stack([x[key] for key in at]) / unit
                each.append(judged.by_station(distances.scores_of(x, truth[columns].to_numpy() / unit)))
            values[of, subject] = each
            rows.append(finding(subject, against, "psa", SCORE, judged.told(each), set=of, n=len(at)))
        if subject in (MODEL, ERGODIC, IDEAL):
            continue
        for name in MEASURED:
            each = []
            for xs in choices:
                x = pd.concat(xs)
                there = x.groupby(["station", "event"])[name].mean().reindex(at).to_numpy()
                plain = x.groupby("station")[name].mean().reindex(truth["station"]).to_numpy()
                each.append(judged.by_station(np.where(np.isfinite(there), there, plain) - truth[name].to_numpy()))
            rows.append(finding(subject, against, name, "bias", judged.told(each), set=of, n=len(at)))
    for of, rival, less in _pairs(values):
        rows.append(finding(OURS, rival, "psa", LESS, judged.told(less), set=of))
    return rows


def _memory(seen, cases):
    """Findings on how much of OURS its n records explain, less what they explain of held-out recordings."""
    rows = []
    for of, theirs in seen.items():
        sides = [pd.concat([x for xs in choices for x in xs]) for choices in (cases[of, OURS], theirs)]
        for measure in MEMORY:
            samples = [Sample.of(side[measure], side) for side in sides]
            less = findings.difference("median", *samples, n_draws=N_DRAWS)
            rows.append(finding(OURS, "held_out", measure, "median", less, *map(len, sides), set=of))
    return rows
