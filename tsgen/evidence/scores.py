"""Are generated records specific to their station? Scores of f0, what they can be, and where they are off.

The paper's score leads here as the paper has it: S × S (recordings by generated records), in-sample and against
held-out recordings, with chance, with recordings judged as generated, and the interleaved 2S × 2S and 3S × 3S.
"""

import numpy as np
import pandas as pd

from tsgen import findings, generate, hvsr, metrics
from tsgen.findings import finding, interval
from tsgen.study import MODELS

PROTOCOLS = {"in_sample": "training", "held_out": "held_out"}  # protocol -> the recordings to compare with
SCATTERS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)  # of ln f0, in units of the true one: ``improper``
GAPS = (("timesnet", "control_average"), ("timesnet", "control_bootstrap"), ("timesnet", "cvae"))


def protocols(study):
    """PROTOCOLS without those that there are no recordings for."""
    return {protocol: against for protocol, against in PROTOCOLS.items() if len(study.some(against))}


def scores(study, name):
    """Findings on generator ``name``: S × S by protocol with chance, 2S × 2S, 3S × 3S; own station less the others."""
    inputs = [study.stage("f0", which) for which in ("targets", "training", "held_out", name)]
    inputs += [study.stage("f0", f"reconstructed-{name}")] if name in MODELS else []
    return study.keep_findings(f"scores-{name}", lambda: _scores(study, name) + _own_station(study, name), inputs)


def _scores(study, name):
    if len(study.stations) < 2:
        return []
    s, fake, rows = study.settings, study.f0_sample(name), []
    for protocol, against in protocols(study).items():
        real = study.f0_sample(against)
        of = {"protocol": protocol, "n": len(fake.values), "n_against": len(real.values)}
        score = interval(_drawn_scores(study, real, fake), centred=True)
        chance = metrics.chance(study.f0(against), study.f0(name), s.n_halves, study.seed, s.f0)
        above = findings.Estimate(score.value - chance.value, score.low - chance.high, score.high - chance.low, score.n)
        for statistic, estimate in (("S × S", score), ("S × S, chance", chance), ("S × S less chance", above)):
            rows.append(finding(name, against, "score", statistic, estimate, **of))
    sources, of = [("real", "training"), ("generated", name)], {"protocol": "in_sample"}
    pair = metrics.station_score(study.matrix(*sources))
    rows.append(finding(name, "training", "score", "2S × 2S", pair, **of))
    plain = findings.one(findings.table(rows), statistic="S × S", protocol="in_sample")
    flattery = findings.Estimate(pair - plain["value"], pair - plain["high"], pair - plain["low"], 0)
    rows.append(finding(name, "training", "score", "2S × 2S less S × S", flattery, **of))
    if name in MODELS:
        sources.insert(1, ("reconstructed", f"reconstructed-{name}"))
        rows.append(finding(name, "training", "score", "3S × 3S", metrics.station_score(study.matrix(*sources)), **of))
    return rows


def _drawn_scores(study, real, fake, weights=None):
    """S × S scores (1 + draws,) of two Samples of f0 under a bootstrap over events."""
    if weights is None:
        weights = findings.event_weights(real, fake, seed=study.seed)
    return metrics.drawn_scores(real, fake, weights, study.stations, study.settings.f0)


def _own_station(study, name):
    """Similarity of f0 with the own station's held-out recordings and with the others': by station, and the least gap;
    ln ratio of median f0 by station, and the farthest."""
    real, fake = study.f0_sample("held_out"), study.f0_sample(name)
    if not len(real.values):
        return []
    weights = findings.event_weights(real, fake, seed=study.seed)
    cells = metrics.drawn_matrices(real, fake, weights, study.stations, study.settings.f0)  # (draws, S, S)
    own = np.diagonal(cells, axis1=1, axis2=2)
    others = (cells.sum(axis=1) - own) / max(1, len(study.stations) - 1)
    rows, ratios, nulls, recorded = [], [], [], study.f0_sample("targets")
    for i, station in enumerate(study.stations):
        sides = [sample.take(sample.station == station) for sample in (fake, real)]
        of = {"station": station, "n": len(sides[0].values), "n_against": len(sides[1].values)}
        if len(study.stations) > 1:
            gap = interval((own - others)[:, i], centred=True)
            for statistic, value in (("own", own[0, i]), ("others", others[0, i]), ("own less others", gap)):
                rows.append(finding(name, "held_out", "similarity", statistic, value, **of))
        if not all(len(side.values) for side in sides):
            continue
        times = weights[1][:, fake.station == station], weights[0][:, real.station == station]
        medians = (findings.drawn_median(np.log(side.values), w) for side, w in zip(sides, times, strict=True))
        drawn = np.subtract(*medians)
        rows.append(finding(name, "held_out", "f0", "median", interval(drawn), **of))
        rows.append(finding(name, "", "f0", "level", float(np.median(sides[0].values)), station=station, n=of["n"]))
        ratios.append({"column": station, "statistic": "median", "estimate": interval(drawn), "drawn": drawn})
        rng, truth = np.random.default_rng(study.seed), np.log(recorded.values[recorded.station == station])
        same_law = (np.median(rng.choice(truth, (findings.N_DRAWS, of[n])), axis=1) for n in ("n", "n_against"))
        nulls.append(np.subtract(*same_law))  # medians of two sets of the sizes compared, of one law
    if len(study.stations) > 1:
        least = interval((own - others).min(axis=1), centred=True)
        rows.append(finding(name, "held_out", "similarity", "own less others, least station", least))
    if ratios:
        pooled = findings.farthest(ratios, [row["column"] for row in ratios], "median")
        beyond = findings.beyond(pooled, np.abs(nulls).max(axis=0), findings.MEDIAN_BOUND)
        rows.append(finding(name, "held_out", "f0", "median, farthest station", pooled))
        rows.append(finding(name, "held_out", "f0", "median, farthest station, beyond truth's", beyond))
    return rows


def recordings(study):
    """Findings on recordings judged as if they were generated: training against held-out at the size of generated
    records, and random halves of either against each other."""

    def build():
        if len(study.stations) < 2 or not len(study.held_out):
            return []
        training, held_out = study.f0_sample("training"), study.f0_sample("held_out")
        drawn, resampled = _recordings_drawn(study, held_out, training)
        value = interval(resampled, float(np.median(drawn)), centred=True)
        n = study.settings.n_generated * len(study.stations)
        rows = [finding("training", "held_out", "score", "S × S", value, n, len(held_out.values), protocol="held_out")]
        for protocol, which in PROTOCOLS.items():
            halves = metrics.ceiling(study.f0(which), study.settings.n_halves, study.seed, study.settings.f0)
            of = {"protocol": protocol, "n": len(study.f0_sample(which).values)}
            rows.append(finding(which, which, "score", "S × S, halves", halves, **of))
        return rows + _own_station(study, "training")

    inputs = [study.stage("f0", which) for which in ("targets", "training", "held_out")]
    return study.keep_findings("scores-recordings", build, inputs)


def _recordings_drawn(study, held_out, training):
    """Scores (draws,) of n_generated training recordings a station drawn with replacement, against the held-out ones;
    and the same with the events of both drawn again first."""
    rng, n = np.random.default_rng(study.seed), findings.N_DRAWS
    weights = findings.event_weights(held_out, training, seed=study.seed)
    plain, again = np.zeros((2, n, len(training.values)), int)
    for station in study.stations:
        own = np.flatnonzero(training.station == station)
        for out, times in ((plain, np.ones((n, len(own)))), (again, weights[1][1:, own])):
            share = times / np.maximum(times.sum(axis=1, keepdims=True), 1)
            out[:, own] = [rng.multinomial(study.settings.n_generated, p) if p.any() else 0 * own for p in share]
    ones = np.ones((n, len(held_out.values)), int)
    return (_drawn_scores(study, held_out, training, w) for w in ((ones, plain), (weights[0][1:], again)))


def gaps(study):
    """Findings on pairs of generators (GAPS): held-out S × S of the first less that of the second, recordings drawn
    once for both; and the score where station names are shuffled in the training table, by which it must fall."""

    def build():
        if len(study.stations) < 2 or not len(study.held_out):
            return []
        real, rows = study.f0_sample("held_out"), []
        for first, second in GAPS:
            sides = [study.f0_sample(name) for name in (first, second)]
            weights = findings.event_weights(real, *sides, seed=study.seed)
            drawn = [_drawn_scores(study, real, s, (weights[0], w)) for s, w in zip(sides, weights[1:], strict=True)]
            estimate = interval(drawn[0] - drawn[1], centred=True)
            of = {"protocol": "held_out", "n": len(sides[0].values), "n_against": len(sides[1].values)}
            rows.append(finding(first, second, "score", "S × S", estimate, **of))
        return rows + _shuffled(study)

    inputs = [study.stage("f0", name) for name in ("held_out", "training", *sorted({*sum(GAPS, ())}))]
    return study.keep_findings("scores-gaps", build, inputs)


def _shuffled(study):
    s, rng = study.settings, np.random.default_rng(study.seed)
    real, own, drawn = study.f0("held_out"), study.f0("training"), []
    pool, ends = np.concatenate(list(own.values())), np.cumsum([len(values) for values in own.values()])[:-1]
    for _ in range(s.n_halves):
        wrong = dict(zip(own, np.split(rng.permutation(pool), ends), strict=True))
        fake = {station: rng.choice(values, s.n_generated) for station, values in wrong.items()}
        drawn.append(metrics.s_by_s(real, fake, s.f0))
    table = study.training.with_columns(station=rng.permutation(study.training.table["station"].to_numpy()))
    mixed = generate.mix(generate.PlainAverage(), table, s.n_generated, s.mixed_records, seed=study.seed)
    mixed_f0 = metrics.f0_by_station(mixed.table, hvsr.hvsr(mixed, s.hvsr).f0_in_hz, study.stations)
    of = {"protocol": "held_out", "set": "station names shuffled", "n": sum(map(len, fake.values()))}
    return [
        finding("control_bootstrap", "held_out", "score", "S × S", interval(drawn, np.median(drawn)), **of),
        finding("control_average", "held_out", "score", "S × S", metrics.s_by_s(real, mixed_f0, s.f0), **of),
    ]


def improper(study):
    """Findings on generators that are right but for the scatter of f0 (``set``: times SCATTERS), against recordings of
    the true law, at the sizes used: the paper's score and the energy distance of ln f0 (in units of its scatter), means
    with 5 to 95 % of draws; and in what share half the scatter gets the better of the true one. The law of a station
    is lognormal, with its recordings' median and scatter."""

    def build():
        f0, rng, n = study.f0("targets"), np.random.default_rng(study.seed), study.settings.n_generated
        sizes = study.held_out.table["station"].value_counts()
        laws = {
            s: (np.log(v).mean(), np.log(v).std(ddof=1)) for s, v in f0.items() if len(v) > 2 and sizes.get(s, 0) > 1
        }
        if len(laws) < 2:
            return []
        drawn = {(measure, factor): [] for factor in SCATTERS for measure in ("score", "f0")}
        for _ in range(study.settings.n_halves):
            real = {s: rng.normal(*law, sizes[s]) for s, law in laws.items()}
            for factor in SCATTERS:
                fake = {s: rng.normal(mean, factor * scatter, n) for s, (mean, scatter) in laws.items()}
                sides = ({s: np.exp(v) for s, v in each.items()} for each in (real, fake))
                drawn["score", factor].append(metrics.s_by_s(*sides, study.settings.f0))
                apart = [metrics.energy_distance(*(v[s][:, None] / laws[s][1] for v in (fake, real))) for s in laws]
                drawn["f0", factor].append(np.mean(apart))
        names = {"score": "S × S", "f0": "energy distance"}
        rows = []
        for (measure, factor), values in drawn.items():
            of = {"set": f"scatter × {factor:g}", "n": n * len(laws), "n_against": int(sizes[list(laws)].sum())}
            rows.append(finding("law", "law", measure, names[measure], interval(values, np.mean(values)), **of))
        for measure, sign in (("score", 1), ("f0", -1)):
            better = findings.share(sign * np.subtract(drawn[measure, 0.5], drawn[measure, 1.0]) > 0)
            rows.append(finding("law", "law", measure, "draws in which half the scatter is better", better, better.n))
        return rows

    inputs = [study.stage("f0", "targets"), study.stage("f0", "held_out")]
    return study.keep_findings("scores-improper", build, inputs)


def stations(study):
    """Findings on the target stations: records and held-out records, median f0 (Hz), its spread, planted f0 (Hz)."""

    def build():
        rows, f0 = [], study.f0("targets")
        for station in study.stations:
            table = study.targets.table[study.targets.table["station"] == station]
            values, held_out = f0[station], int((study.held_out.table["station"] == station).sum())
            entries = {("records", "count"): len(table), ("held-out records", "count"): held_out}
            entries["f0", "level"] = float(np.median(values)) if len(values) else np.nan
            entries["f0", "spread"] = float(np.log(values).std(ddof=1)) if len(values) > 1 else np.nan
            if "site_f0_in_hz" in table:
                entries["f0", "planted"] = float(table["site_f0_in_hz"].iloc[0])
            for (measure, statistic), value in entries.items():
                rows.append(finding("targets", "", measure, statistic, value, station=station, n=len(table)))
        return rows

    return study.keep_findings("stations", build, [study.stage("f0", "targets")])


STATION_COLUMNS = {("records", "count"): "records", ("held-out records", "count"): "held out"}
STATION_COLUMNS |= {("f0", "level"): "median f0 (Hz)", ("f0", "spread"): "standard deviation of ln f0"}
STATION_COLUMNS |= {("f0", "planted"): "planted f0 (Hz)"}


def station_table(study):
    """DataFrame by station of the numbers of ``stations``."""
    wide = stations(study).pivot(index="station", columns=["measure", "statistic"], values="value")
    wide = wide.reindex(columns=list(STATION_COLUMNS)).dropna(axis=1, how="all")
    wide = wide.set_axis([STATION_COLUMNS[key] for key in wide], axis=1)
    return wide.astype({"records": int, "held out": int}, errors="ignore")


def score_table(study, names=None):
    """DataFrame of text by generator (default: all that are judged): S × S by protocol with chance, 2S × 2S, 3S × 3S;
    recordings as if generated."""
    names = study.judged if names is None else names
    rows = pd.concat([recordings(study), *(scores(study, name) for name in names)])
    rows = findings.select(rows, measure="score", statistic=("S × S", "S × S, chance", "2S × 2S", "3S × 3S"))
    table = findings.pivot(rows, "subject", ["statistic", "protocol"])
    return table.set_axis([", ".join(names).replace("_", "-") for names in table.columns], axis=1)
