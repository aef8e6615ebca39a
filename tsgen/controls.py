"""Controls that must fail, and what averaging alone does: the wrong station, a shuffled table, k = 1 to 10.

Takes a Study. Scores are S × S against held-out recordings; intervals are bootstraps over events.
"""

import json
import sys
from dataclasses import asdict

import numpy as np
import pandas as pd

from tsgen import equivalence, generate, hvsr, intensity, metrics, mixing, records, store
from tsgen.equivalence import Sample

N_DRAWS = 400  # of a bootstrap
KS = tuple(range(1, 11))
SWEPT = ("control_average", "timesnet")  # generators that mix
GAPS = (("timesnet", "control_average"), ("timesnet", "control_bootstrap"), ("timesnet", "cvae"))


def own_station(study, some):
    """By station, similarity of the f0 of ``some`` Records with its own held-out recordings and with the others'.

    A DataFrame of own, others (mean), difference with low and high, n, n_held_out; empty with one station.
    """
    if len(study.stations) < 2:
        return pd.DataFrame()
    real, fake = study.f0(study.held_out), study.f0(some)
    rng = np.random.default_rng(study.seed)
    draws = [_own_and_others(study, real, fake)]
    for _ in range(study.settings.n_halves):
        draws.append(_own_and_others(study, _drawn_again(real, rng), _drawn_again(fake, rng)))
    draws = np.array(draws)  # (1 + draws, 2, stations)
    rows = {}
    for i, station in enumerate(study.stations):
        found = equivalence.estimate_of(draws[:, 0, i] - draws[:, 1, i], centred=True)
        rows[station] = {"own": draws[0, 0, i], "others": draws[0, 1, i], "difference": found.value}
        sizes = {"n": len(fake[station]), "n_held_out": len(real[station])}
        rows[station] |= {"low": found.low, "high": found.high} | sizes
    return pd.DataFrame.from_dict(rows, orient="index")


def score_gap(study, real, first, second):
    """S × S score of generated f0 ``first`` less that of ``second``, against the same recordings' f0 ``real``: a dict.

    Each {station: f0}. In the bootstrap over events the recordings are drawn once for both.
    """
    rng = np.random.default_rng(study.seed)
    gaps = [_gap(study, real, (first, second))]
    for _ in range(study.settings.n_halves):
        gaps.append(_gap(study, _drawn_again(real, rng), [_drawn_again(fake, rng) for fake in (first, second)]))
    return asdict(equivalence.estimate_of(np.array(gaps), centred=True)) | _sizes(real, first)


def shuffled(study):
    """S × S score where the training table's station names are shuffled, by which it must fall to chance: a dict.

    value, low, high: median and 5 to 95 % of n shuffles, recordings drawn again from each shuffled table; average:
    plain averages made from one of these tables, mixed and measured as always.
    """
    s, rng = study.settings, np.random.default_rng(study.seed)
    real, own = study.f0(study.held_out), study.f0(study.training)
    pool, ends = np.concatenate(list(own.values())), np.cumsum([len(values) for values in own.values()])[:-1]
    scores = []
    for _ in range(s.n_halves):
        wrong = dict(zip(own, np.split(rng.permutation(pool), ends), strict=True))
        fake = {station: rng.choice(values, s.n_generated) for station, values in wrong.items()}
        scores.append(metrics.station_score(_cells(study, real, fake)))
    names = rng.permutation(study.training.table["station"].to_numpy())
    table = study.training.with_columns(station=names)
    mixed = generate.mix(generate.PlainAverage(), table, s.n_generated, s.mixed_records, seed=study.seed)
    average = metrics.station_score(_cells(study, real, study.f0(mixed)))
    found = asdict(equivalence.estimate_of(np.array([np.median(scores), *scores])))
    return found | {"average": average} | _sizes(real, fake)


def negative(study):
    """{"shuffled": ``shuffled``, "gaps": {"a less b": ``score_gap``}}, built once; empty with one station."""
    keys = [study.generated_key(name) for name in study.judged]
    key = store.key_of("negative", keys, study.settings, modules=(generate, hvsr, metrics, records, _this()))

    def build(folder):
        found = {}
        if len(study.stations) > 1:
            known = {*study.judged, *study.controls}
            pairs = [(a, b) for a, b in GAPS if {a, b} <= known]
            real, f0 = study.f0(study.held_out), {name: study.f0(study.generated(name)) for name in {*sum(pairs, ())}}
            gaps = {f"{a} less {b}": score_gap(study, real, f0[a], f0[b]) for a, b in pairs}
            found = {"shuffled": shuffled(study), "gaps": gaps}
        store.write_json(folder / "negative.json", found)

    return study.store.cached("negative", key, build, lambda folder: json.loads((folder / "negative.json").read_text()))


# ---- averaging ----


def averaging(study):
    """{"sweep": DataFrame by (generator, k), "forms": DataFrame by (generator, way of weighing)}, built once."""
    keys = [study.generated_key(name) for name in SWEPT]
    modules = (equivalence, generate, hvsr, intensity, metrics, mixing, records, _this())
    key = store.key_of("averaging", keys, study.settings, modules=modules)

    def build(folder):
        sweeps, forms = {}, {}
        for name in SWEPT:
            model = generate.PlainAverage() if name == "control_average" else study.model(name)
            sweeps[name] = sweep(study, model)
            losses = mixing.losses(model, study.training, study.settings.mixed_records)
            forms[name] = pd.DataFrame.from_dict(losses, orient="index").rename_axis("weights")
        pd.concat(sweeps, names=["generator"]).to_csv(folder / "sweep.csv")
        pd.concat(forms, names=["generator"]).to_csv(folder / "forms.csv")

    def load(folder):
        return {part: pd.read_csv(folder / f"{part}.csv", index_col=[0, 1]) for part in ("sweep", "forms")}

    return study.store.cached("averaging", key, build, load)


def sweep(study, model):
    """DataFrame by k (1 to 10): score, ``mixing.ln_loss`` with its theory, ln ratio of D5-95 to recorded.

    Each with low and high; against held-out recordings (score) and training recordings (duration).
    """
    recorded = Sample.of(_ln_duration(study.training), study.training.table)
    real, s, repeat = study.f0(study.held_out), study.settings, {"seed": study.seed}
    rows = {}
    for k, mixed, amplitude, theory in mixing.sweep(model, study.training, KS, s.n_generated, study.seed):
        ours = Sample.of(_ln_duration(mixed), mixed.table)
        duration = equivalence.difference_of_medians(ours, recorded, by_station=True, n_draws=N_DRAWS, **repeat)
        estimates = {"ln_loss": amplitude, "ln_d5_95": duration}
        if len(study.stations) > 1:
            fake = study.f0(mixed)
            estimates["score"] = metrics.score_interval(real, fake, n_draws=s.n_halves, settings=s.f0, **repeat)
        row = {"theory": theory}
        for part, found in estimates.items():
            row |= {part: found.value, f"{part}_low": found.low, f"{part}_high": found.high}
        rows[k] = row | {"n": len(mixed), "n_held_out": len(study.held_out), "n_training": len(study.training)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("k")


def _ln_duration(some):
    return np.log(intensity.measures(some)["d5_95_in_s"])


# ---- parts ----


def _own_and_others(study, real, fake):
    cells = _cells(study, real, fake).to_numpy()
    own = np.diag(cells)
    return own, (cells.sum(axis=0) - own) / (len(own) - 1)


def _gap(study, real, fakes):
    first, second = (metrics.station_score(_cells(study, real, fake)) for fake in fakes)
    return first - second


def _cells(study, real, fake):
    return metrics.station_matrix({"real": real, "generated": fake}, "real", "generated", study.settings.f0)


def _drawn_again(f0, rng):
    return {station: values[rng.integers(len(values), size=len(values))] for station, values in f0.items()}


def _sizes(real, fake):
    return {"n_real": sum(map(len, real.values())), "n_generated": sum(map(len, fake.values()))}


def _this():
    return sys.modules[__name__]
