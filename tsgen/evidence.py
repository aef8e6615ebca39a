"""What the score does not see: every generator and control judged by held-out recordings, fresh truth and controls.

Takes a Study. On the simulated default the truth can be drawn again: bias and spread of ln intensities are judged
against it, given magnitude and distance, by equivalence (a 90 % interval inside a stated bound). Held-out recordings
are too few for that; they are shown with their intervals. Recorded stations have no fresh truth.
"""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd

from tsgen import (
    equivalence,
    generate,
    hvsr,
    intensity,
    measured,
    memorisation,
    metrics,
    mixing,
    oscillator,
    records,
    residuals,
    simulate,
    store,
)
from tsgen.equivalence import Sample
from tsgen.measured import COLUMNS, SPECTRAL

N_DRAWS = 400  # of each bootstrap: the 5 % point of 400 is good to a fortieth of the interval's width
KS = tuple(range(1, 11))
SWEPT = ("control_average", "timesnet")
RECORDINGS = ("training", "held_out")
TRUTH = "fresh"  # as a name: fresh truth judged as if it were a generator, the ceiling of memorisation
CODE = (equivalence, generate, hvsr, intensity, measured, memorisation, metrics, mixing, oscillator, residuals)
IDENTITY = ["station", "event", "magnitude", "distance_in_km"]


def names(study):
    """Everything that is judged, in the order of the table; the training recordings first, as the ceiling."""
    return ("training", *generators(study))


def generators(study):
    """Names of the models, their variants and the controls."""
    return (*study.models, *study.variants, *study.controls)


# ---- what is measured ----


def measured_frame(study, which):
    """DataFrame of one row a record: IDENTITY and ``measured.COLUMNS``; built once.

    which: "training", "held_out", a generator, or "fresh-single" and "fresh-mixed" (see ``fresh``).
    """

    def build(folder):
        _measure(study, which).to_csv(folder / "measures.csv", index=False)

    def load(folder):
        return pd.read_csv(folder / "measures.csv", dtype={"station": str, "event": str}, keep_default_na=True)

    return study.kept(f"measured-{which}", _key(study, which), build, load)


def fresh(study, scenarios):
    """Yield fresh truth, station by station: records whose law is that of the simulated network, none seen before.

    scenarios "single": magnitude and distance of training recordings; "mixed": those that the mixes of k recordings
    state. Half of ``settings.n_fresh`` a station each, so that ``settings.n_fresh`` are drawn in all.
    """
    table = study.generated("control_average").table if scenarios == "mixed" else study.training.table
    n = study.settings.n_fresh // 2
    for number, station in enumerate(study.stations):
        own = table[table["station"] == station]
        rows = own.iloc[np.random.default_rng([study.seed, number]).permutation(np.arange(n) % len(own))]
        seed = 2 * study.seed + (scenarios == "mixed")
        yield simulate.fresh(
            study.settings.simulation, rows["station"], rows["magnitude"], rows["distance_in_km"], seed=seed
        )


def _measure(study, which):
    if which.startswith("fresh-"):
        return pd.concat([_frame(study, part) for part in fresh(study, which.split("-")[1])], ignore_index=True)
    return _frame(study, records_of(study, which))


def _frame(study, some):
    found = measured.measures(some, study.settings.window.before_p_in_s)
    return pd.concat([with_scenarios(study, some.table)[IDENTITY].reset_index(drop=True), found], axis=1)


def records_of(study, which):
    """Records of "training", "held_out" or a generator."""
    return getattr(study, which) if which in RECORDINGS else study.generated(which)


def with_scenarios(study, table):
    """The table with magnitude and distance; where a generator states none, those of the recording it took size from.

    NaN where neither is known, or where a record was made from several.
    """
    known = study.training.table.drop_duplicates(["station", "event"]).set_index(["station", "event"])
    source = pd.MultiIndex.from_arrays([table["station"], table.get("made_from", pd.Series("", table.index))])
    found = {}
    for name in ("magnitude", "distance_in_km"):
        column = known[name] if name in known else pd.Series(dtype=float)
        looked_up = column.reindex(source).to_numpy(float) if len(column) else np.full(len(table), np.nan)
        found[name] = table[name].fillna(pd.Series(looked_up, table.index)) if name in table else looked_up
    return table.assign(**found)


def _key(study, which):
    if which in RECORDINGS:
        depends = (which, study.settings.held_out_share)
    elif which.startswith("fresh-"):
        depends = (which, study.settings.n_fresh, study.settings.mixed_records, study.settings.n_generated)
    else:
        depends = (study.generated_key(which), study.settings.n_generated, study.settings.mixed_records)
    return store.key_of("measured", depends, study.generated_key("control_average"), modules=(*CODE, records, simulate))


# ---- one generator against the truth ----


def judged(study, name):
    """All that is said of generator ``name`` (or "training", "fresh"): a dict of DataFrames, built once.

    "fresh": medians and spreads of ``measured.COLUMNS`` against fresh truth (``equivalence.compare``; empty for
    recorded stations); "held_out": the same against held-out recordings; "memorisation": ``memorisation.summary``;
    "correlation": interperiod correlation (difference and, in row "same", what sameness shows); "f0": median f0 by
    station; "own": similarity with the own station and with the others.
    """
    from tsgen import evidence  # this module: its source is part of the key

    key = store.key_of("evidence", _key(study, name), study.settings, modules=(*CODE, records, simulate, evidence))

    def build(folder):
        found = {part: frame.to_dict("index") for part, frame in _judge(study, name).items()}
        store.write_json(folder / "evidence.json", found)

    def load(folder):
        found = json.loads((folder / "evidence.json").read_text())
        return {part: _restored(rows) for part, rows in found.items()}

    return study.kept(f"evidence-{name}", key, build, load)


def _restored(rows):
    frame = pd.DataFrame.from_dict(rows, orient="index")
    for column in frame:
        if not column.endswith("verdict"):
            frame[column] = frame[column].astype(float)
    return frame


def _judge(study, name):
    if name == TRUTH:
        return {"memorisation": _memorisation(study, name)}
    frame = measured_frame(study, name)
    references = {"held_out": measured_frame(study, "held_out")}
    if study.kind == "simulated":
        references[TRUTH] = measured_frame(study, f"fresh-{'mixed' if _is_mixed(study, name) else 'single'}")
    scaling_from = references.get(TRUTH)
    if scaling_from is None:
        scaling_from = pd.concat([measured_frame(study, which) for which in RECORDINGS], ignore_index=True)
    found = {}
    for against, reference in references.items():
        ours, theirs = given_magnitude_and_distance(scaling_from, frame, reference)
        found[against] = equivalence.compare(
            ours, theirs, frame, reference, by_station=True, n_draws=N_DRAWS, seed=study.seed
        )
    found["correlation"] = _correlation(study, scaling_from, frame, references.get(TRUTH, references["held_out"]))
    if name != "training":  # against themselves they are copies
        found["memorisation"] = _memorisation(study, name)
    found |= {"f0": _f0(study, name), "own": own_station(study, name)}
    return {part: table for part, table in found.items() if len(table)}


def _is_mixed(study, name):
    made_from = records_of(study, name).table.get("made_from")
    return made_from is not None and made_from.str.contains(";").any()


def given_magnitude_and_distance(scaling_from, *frames):
    """Residuals of each frame given magnitude, distance and station, by a scaling fitted to another frame.

    Where a frame's magnitudes or distances are unknown, all come back as they are. A measure that no record shows
    stays NaN.
    """
    columns = list(COLUMNS)
    known = [np.isfinite(f[["magnitude", "distance_in_km"]].to_numpy(float)).all() for f in (scaling_from, *frames)]
    if not all(known):
        return [frame[columns] for frame in frames]
    shown = [name for name in columns if np.isfinite(scaling_from[name]).any()]
    scaling = residuals.Scaling.fit(scaling_from[shown], scaling_from)
    left = [pd.DataFrame(scaling.residuals(frame[shown], frame), frame.index, shown) for frame in frames]
    return [frame.reindex(columns=columns) for frame in left]


def _correlation(study, scaling_from, frame, reference):
    """Interperiod correlation of ln residuals against the reference's; empty where M and R are unknown."""
    spectral = list(SPECTRAL)
    if not all(np.isfinite(f["magnitude"]).all() for f in (scaling_from, frame, reference)):
        return pd.DataFrame()
    sides = [
        Sample.of(values[spectral], some)
        for values, some in zip(
            given_magnitude_and_distance(scaling_from, frame, reference), (frame, reference), strict=True
        )
    ]
    difference, same = residuals.correlation_difference(*sides, n_draws=N_DRAWS // 2, seed=study.seed)
    sizes = {"n_records": len(frame), "n_reference": len(reference)}
    return pd.DataFrame({"difference": asdict(difference) | sizes, "same": asdict(same) | sizes}).T


def _memorisation(study, name):
    if name == TRUTH:
        n = min(study.settings.n_generated, study.settings.n_fresh // 2)
        some = records.Records.concatenate([part.take(np.arange(n)) for part in fresh(study, "single")])
    else:
        some = study.generated(name)
    return memorisation.summary(some, study.held_out, study.training, N_DRAWS, study.seed)


def _f0(study, name):
    """Median f0 by station: generated, held out, planted where known; their ln ratio with its interval."""
    some, held_out = study.f0(records_of(study, name)), study.f0(study.held_out)
    rows = {}
    for station in study.stations:
        sides = [
            Sample(np.log(values), np.arange(len(values)).astype(str).astype(object), np.full(len(values), station))
            for values in (some[station], held_out[station])
        ]
        sides[0] = Sample(sides[0].values, np.array([f"g{i}" for i in sides[0].event], object), sides[0].station)
        found = equivalence.difference_of_medians(*sides, n_draws=N_DRAWS, seed=study.seed)
        medians = [float(np.exp(np.median(side.values))) if len(side.values) else np.nan for side in sides]
        rows[station] = {"median_in_hz": medians[0], "held_out_in_hz": medians[1]}
        rows[station] |= {"ln_ratio": found.value, "low": found.low, "high": found.high}
        rows[station] |= {"n": len(some[station]), "n_held_out": len(held_out[station])}
    return pd.DataFrame.from_dict(rows, orient="index")


# ---- controls that must fail ----


def own_station(study, name):
    """By station, similarity of its generated f0 with its own held-out recordings less the mean with the others'.

    A DataFrame of own, others, difference, low, high, n, n_held_out; empty with one station.
    """
    if len(study.stations) < 2:
        return pd.DataFrame()
    real, fake = study.f0(study.held_out), study.f0(records_of(study, name))
    rng = np.random.default_rng(study.seed)
    draws = [_own_and_others(study, real, fake)]
    for _ in range(study.settings.n_halves):
        draws.append(_own_and_others(study, _drawn_again(real, rng), _drawn_again(fake, rng)))
    draws = np.array(draws)  # (1 + draws, 2, stations)
    rows = {}
    for i, station in enumerate(study.stations):
        found = equivalence.estimate_of(draws[:, 0, i] - draws[:, 1, i], centred=True)
        rows[station] = {"own": draws[0, 0, i], "others": draws[0, 1, i], "difference": found.value}
        rows[station] |= {"low": found.low, "high": found.high, "n": len(fake[station]), "n_held_out": len(real[station])}
    return pd.DataFrame.from_dict(rows, orient="index")


def _own_and_others(study, real, fake):
    cells = metrics.station_matrix({"real": real, "generated": fake}, "real", "generated", study.settings.f0).to_numpy()
    own = np.diag(cells)
    return own, (cells.sum(axis=0) - own) / (len(own) - 1)


def _drawn_again(f0, rng):
    return {station: values[rng.integers(len(values), size=len(values))] for station, values in f0.items()}


def score_gap(study, first, second):
    """S × S score of one generator less another's, both against the same held-out recordings: dict of an Estimate.

    Bootstrap over events: the recordings are drawn once for both.
    """
    if len(study.stations) < 2:
        return {"value": None}
    real, *fakes = (study.f0(records_of(study, name)) for name in ("held_out", first, second))
    rng = np.random.default_rng(study.seed)
    gaps = [_gap(study, real, *fakes)]
    for _ in range(study.settings.n_halves):
        gaps.append(_gap(study, _drawn_again(real, rng), *(_drawn_again(fake, rng) for fake in fakes)))
    n = {"n_real": sum(map(len, real.values())), "n_generated": sum(map(len, fakes[0].values()))}
    return asdict(equivalence.estimate_of(np.array(gaps), centred=True)) | n


def _gap(study, real, *fakes):
    scores = [
        metrics.station_score(
            metrics.station_matrix({"real": real, "generated": fake}, "real", "generated", study.settings.f0)
        )
        for fake in fakes
    ]
    return scores[0] - scores[1]


def shuffled(study):
    """Score of plain averages made from a table whose station names are shuffled: dict with its chance level."""
    if len(study.stations) < 2:
        return {"value": None}
    names = np.random.default_rng(study.seed).permutation(study.training.table["station"].to_numpy())
    wrong = study.training.with_columns(station=names)
    mixed = generate.mix(
        generate.PlainAverage(), wrong, study.settings.n_generated, study.settings.mixed_records, seed=study.seed
    )
    real, fake = study.f0(study.held_out), study.f0(mixed)
    repeat = {"seed": study.seed, "settings": study.settings.f0}
    found = asdict(metrics.score_interval(real, fake, n_draws=study.settings.n_halves, **repeat))
    sizes = {"n_real": sum(map(len, real.values())), "n_generated": sum(map(len, fake.values()))}
    return found | sizes | {"chance": asdict(metrics.chance(real, fake, study.settings.n_halves, **repeat))}


# ---- averaging ----


def sweep(study, name):
    """DataFrame by k (1 to 10): score, ln std of the standardised mix with its theory, ln ratio of D5-95 to recorded.

    Each with low and high; against held-out recordings (score) and training recordings (duration); name: a generator
    that mixes.
    """
    model = generate.PlainAverage() if name == "control_average" else study.model(name)
    recorded = Sample.of(np.log(intensity.measures(study.training)["d5_95_in_s"]), study.training.table)
    real = study.f0(study.held_out)
    rows = {}
    for k, mixed, amplitude, theory in mixing.sweep(
        model, study.training, KS, study.settings.n_generated, study.seed
    ):
        duration = equivalence.difference_of_medians(
            Sample.of(np.log(intensity.measures(mixed)["d5_95_in_s"]), mixed.table),
            recorded,
            by_station=True,
            n_draws=N_DRAWS,
            seed=study.seed,
        )
        row = {"ln_std_theory": theory}
        estimates = {"ln_std": amplitude, "ln_d5_95": duration}
        if len(study.stations) > 1:
            fake = study.f0(mixed)
            repeat = {"n_draws": study.settings.n_halves, "seed": study.seed, "settings": study.settings.f0}
            estimates["score"] = metrics.score_interval(real, fake, **repeat)
        for part, found in estimates.items():
            row |= {part: found.value, f"{part}_low": found.low, f"{part}_high": found.high}
        rows[str(k)] = row | {"n": len(mixed), "n_held_out": len(study.held_out), "n_training": len(study.training)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("k")


def averaging(study):
    """{"sweep": DataFrame by (generator, k), "forms": DataFrame by (generator, way of weighing)}, built once."""
    key = store.key_of("averaging", [_key(study, name) for name in SWEPT], study.settings, modules=CODE)

    def build(folder):
        sweeps = pd.concat({name: sweep(study, name) for name in SWEPT}, names=["generator"])
        forms = {}
        for name in SWEPT:
            model = generate.PlainAverage() if name == "control_average" else study.model(name)
            for form, row in mixing.losses(model, study.training, study.settings.mixed_records).items():
                forms[name, form] = row
        forms = pd.DataFrame.from_dict(forms, orient="index").rename_axis(["generator", "weights"])
        sweeps.to_csv(folder / "sweep.csv")
        forms.to_csv(folder / "forms.csv")

    def load(folder):
        return {part: pd.read_csv(folder / f"{part}.csv", index_col=[0, 1]) for part in ("sweep", "forms")}

    return study.kept("averaging", key, build, load)
