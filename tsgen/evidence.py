"""What the score does not see: every generator and control judged by held-out recordings, fresh truth and controls.

Takes a Study. On the simulated default the truth can be drawn again: bias and spread of ln intensities are judged
against it, given magnitude and distance, by equivalence (a 90 % interval inside a stated bound). Held-out recordings
are too few for that; they are shown with their intervals. Recorded stations have no fresh truth.
"""

import json
import sys
from dataclasses import asdict

import numpy as np
import pandas as pd

from tsgen import (
    controls,
    equivalence,
    generate,
    hvsr,
    intensity,
    measured,
    memorisation,
    metrics,
    oscillator,
    records,
    residuals,
    simulate,
    store,
)
from tsgen.equivalence import Sample
from tsgen.measured import AMPLITUDE, COLUMNS, ENERGY, SANITY, SPECTRAL

N_DRAWS = 400  # of each bootstrap: the 5 % point of 400 is good to a fortieth of the interval's width
RECORDINGS = ("training", "held_out")
TRUTH = "fresh"  # as a name: fresh truth judged as if it were a generator, the ceiling of memorisation
CODE = (equivalence, generate, hvsr, intensity, measured, memorisation, metrics, oscillator, residuals)
IDENTITY = ["station", "event", "magnitude", "distance_in_km"]


def names(study):
    """Everything that is judged, in the order of the table; the training recordings first, as the ceiling."""
    return ("training", *generators(study))


def generators(study):
    """Names of the models that are judged, each followed by its variants, and of the controls."""
    variants = {name: [v for v, (model, _) in study.variants.items() if model == name] for name in study.judged}
    return (*(each for name in study.judged for each in (name, *variants[name])), *study.controls)


# ---- what is measured ----


def measured_frame(study, which):
    """DataFrame of one row a record: IDENTITY and ``measured.COLUMNS``; built once.

    which: "training", "held_out", a generator, or "fresh-single" and "fresh-mixed" (see ``fresh``).
    """

    def build(folder):
        _measure(study, which).to_csv(folder / "measures.csv", index=False)

    def load(folder):
        return pd.read_csv(folder / "measures.csv", dtype={"station": str, "event": str}, keep_default_na=True)

    return study.store.cached(f"measured-{which}", measured_key(study, which), build, load)


def fresh(study, scenarios):
    """Yield fresh truth, station by station: records whose law is that of the simulated network, none seen before.

    scenarios "single": magnitude and distance of training recordings; "mixed": those that the mixes of k recordings
    state. Half of ``settings.n_fresh`` a station each, so that ``settings.n_fresh`` are drawn in all.
    """
    table = study.generated("control_average").table if scenarios == "mixed" else study.training.table
    for station in study.stations:
        rows = repeated(study, table[table["station"] == station], study.settings.n_fresh // 2)
        seed = 2 * study.seed + (scenarios == "mixed")
        yield simulate.fresh(
            study.settings.simulation, rows["station"], rows["magnitude"], rows["distance_in_km"], seed=seed
        )


def repeated(study, own, n):
    """``n`` rows of a station's table in random order, each as often as any other, or once more."""
    generator = np.random.default_rng([study.seed, study.stations.index(own["station"].iloc[0])])
    return own.iloc[generator.permutation(np.arange(n) % len(own))]


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


def measured_key(study, which):
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
    modules = (*CODE, controls, records, simulate, sys.modules[__name__])
    key = store.key_of("evidence", measured_key(study, name), study.settings, modules=modules)

    def build(folder):
        found = {part: frame.to_dict("index") for part, frame in _judge(study, name).items()}
        store.write_json(folder / "evidence.json", found)

    def load(folder):
        found = json.loads((folder / "evidence.json").read_text())
        return {part: _restored(rows) for part, rows in found.items()}

    return study.store.cached(f"evidence-{name}", key, build, load)


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
    found |= {"f0": _f0(study, name), "own": controls.own_station(study, records_of(study, name))}
    return {part: table for part, table in found.items() if len(table)}


def _is_mixed(study, name):
    made_from = records_of(study, name).table.get("made_from")
    return made_from is not None and made_from.str.contains(";").any()


def given_magnitude_and_distance(scaling_from, *frames):
    """Residuals of each frame given magnitude, distance and station, by a scaling fitted to another frame.

    Where most magnitudes or distances of a frame are unknown, all come back as they are. A measure that no record shows
    stays NaN.
    """
    columns = list(COLUMNS)
    if not _scenarios_known(scaling_from, *frames):
        return [frame[columns] for frame in frames]
    shown = [name for name in columns if np.isfinite(scaling_from[name]).any()]
    scaling = residuals.Scaling.fit(scaling_from[shown], scaling_from)
    left = [pd.DataFrame(scaling.residuals(frame[shown], frame), frame.index, shown) for frame in frames]
    return [frame.reindex(columns=columns) for frame in left]


def _scenarios_known(*frames):
    """Whether most records of each frame have a magnitude and a distance; the others are then left out."""
    known = (np.isfinite(frame[["magnitude", "distance_in_km"]].to_numpy(float)).all(axis=1) for frame in frames)
    return all(each.mean() > 0.5 for each in known)


def _correlation(study, scaling_from, frame, reference):
    """Interperiod correlation of ln residuals against the reference's; empty where M and R are unknown."""
    spectral = list(SPECTRAL)
    if not _scenarios_known(scaling_from, frame, reference):
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


# ---- in brief ----


def summary(found):
    """Flat dict of what ``judged`` found, each a measure with its interval: what results.json holds of a generator.

    "reference": what bias and spread are against, "fresh" or "held_out"; verdicts of the latter are not given, since
    held-out recordings are too few to stand on.
    """
    row = {}
    if "held_out" in found:
        reference = TRUTH if TRUTH in found else "held_out"
        table = found[reference]
        row = {"reference": reference, "n": int(table["n"].max()), "n_reference": int(table["n_reference"].max())}
        for measure in (*AMPLITUDE, *ENERGY, *SANITY):
            for statistic in ("median", "spread") if measure not in SANITY else ("median",):
                row[f"{measure}_{statistic}"] = _entry(table.loc[measure], statistic, reference)
        row |= _of_spectra(table, reference)
    if "correlation" in found:
        difference, same = (found["correlation"].loc[name] for name in ("difference", "same"))
        row["correlation"] = difference[["value", "low", "high"]].to_dict() | {
            "same": same["value"],
            "most": same["high"],
        }
    for measure, values in found["memorisation"].iterrows() if "memorisation" in found else ():
        row[measure] = {"value": values["difference"]} | values[["low", "high", "generated", "held_out"]].to_dict()
    if "own" in found:
        above = (found["own"]["low"] > 0).sum()
        row["stations_told_apart"] = {"value": int(above), "n": len(found["own"])}
    if "f0" in found:
        worst = found["f0"].loc[found["f0"]["ln_ratio"].abs().fillna(0).idxmax()]
        row["f0_largest"] = {"value": worst["ln_ratio"], "low": worst["low"], "high": worst["high"]}
    return row


def _entry(row, statistic, reference):
    entry = {"value": row[statistic], "low": row[f"{statistic}_low"], "high": row[f"{statistic}_high"]}
    return entry | ({"verdict": row[f"{statistic}_verdict"]} if reference == TRUTH else {})


def _of_spectra(table, reference):
    """Of the response spectrum's periods that records show: how many are equivalent, and the worst one."""
    shown = table.loc[list(SPECTRAL)].dropna(subset=["median"])
    row = {}
    for statistic in ("median", "spread") if len(shown) else ():
        worst = shown.loc[shown[statistic].abs().idxmax()]
        row[f"sa_largest_{statistic}"] = _entry(worst, statistic, reference) | {"period": worst.name}
        if reference == TRUTH:
            good = int((shown[f"{statistic}_verdict"] == "equivalent").sum())
            row[f"sa_equivalent_{statistic}"] = {"value": good, "n": len(shown)}
    return row
