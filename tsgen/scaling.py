"""Motion for a magnitude and a distance: is what CGM-GM generates for a scenario what the truth gives (notebook 08)?

Takes a Study. On the simulated default the truth is drawn again at the same scenarios; recorded stations are compared
with held-out recordings alone. Everything is a natural logarithm, judged given magnitude, distance and station;
differences are generated less reference. Records without magnitude or distance are left out.
"""

import json
import sys
from dataclasses import replace

import numpy as np
import pandas as pd

from tsgen import arrivals, equivalence, evidence, generate, intensity, measured, residuals, simulate, store
from tsgen.equivalence import Sample
from tsgen.measured import AMPLITUDE, ENERGY, FOURIER, SPECTRAL

GENERATOR = "cgm"
CODE = (*evidence.CODE, arrivals)
SCENARIO = ["station", "magnitude", "distance_in_km", "depth_in_km", "vs30_in_m_per_s"]
NEEDED = ["magnitude", "distance_in_km"]
JUDGED = (*AMPLITUDE, *ENERGY, *SPECTRAL, *(name for name in FOURIER if not name.startswith("fourier_z")))
SLOPES = ("pga", *(SPECTRAL[i] for i in (3, 8, 11, 14, 19)))  # PSA at 0.09, 0.28, 0.53, 1.0 and 3.0 s
N_DRAWS = 400
N_UNSEEN = 20  # stations that no model has seen
REFERENCE_MAGNITUDE, REFERENCE_DISTANCE_IN_KM = 5.5, 30.0  # of the two sweeps: the middle of the training records
SWEPT_MAGNITUDES = np.arange(4.0, 7.51, 0.5)
SWEPT_DISTANCES_IN_KM = np.array([8.0, 12.0, 18.0, 30.0, 45.0, 70.0, 110.0, 160.0])
DEPTH_IN_KM = 8.0  # of the sweeps: shallower than any of their distances
GRID_HALF_WIDTH_IN_KM, GRID_POINTS, GRID_DEPTH_IN_KM, GRID_MAGNITUDE, GRID_REPEATS = 60.0, 9, 10.0, 6.5, 4
GRID_FREQUENCIES_IN_HZ = (1.0, 3.0, 10.0)
PLAIN_VS30 = 400.0  # m/s, where none is known


# ---- scenarios ----


def scenarios(study, which):
    """DataFrame of SCENARIO, one row a record to generate.

    which: "training" (scenarios of the training records, settings.n_fresh / 4 a station), "held_out" (those of the
    held-out recordings, several times), "unseen" (training scenarios at stations that no model has seen), "sweep"
    (magnitudes at one distance, then distances at one magnitude, at the first target station).
    """
    s = study.settings
    if which == "held_out":
        return _known(study.held_out.table).loc[lambda t: t.index.repeat(max(1, s.n_generated // 10))]
    if which == "sweep":
        return _sweep(study).loc[lambda t: t.index.repeat(max(4, s.n_generated // 2))]
    own = _known(study.training.table)
    n = s.n_fresh // 4
    parts = [evidence.repeated(study, own[own["station"] == name], n) for name in own["station"].unique()]
    if which == "training":
        return pd.concat(parts, ignore_index=True)
    sites = unseen_sites(study)
    each = max(2, s.n_generated // 5)
    rows = own.iloc[np.random.default_rng(study.seed).integers(len(own), size=each * len(sites))]
    sites = sites.loc[sites.index.repeat(each), ["station", "vs30_in_m_per_s"]].reset_index(drop=True)
    return rows.reset_index(drop=True).assign(**sites)


def possible(study):
    """Whether there is a record with magnitude and distance to train on, and one to compare with."""
    tables = (some.table.reindex(columns=NEEDED) for some in (study.training, study.held_out))
    return all(np.isfinite(table.to_numpy(float)).all(axis=1).any() for table in tables)


def _known(table):
    """SCENARIO of the rows with magnitude and distance; ValueError where there are none."""
    table = table.reindex(columns=SCENARIO)
    table = table[np.isfinite(table[NEEDED].to_numpy(float)).all(axis=1)].reset_index(drop=True)
    if not len(table):
        raise ValueError("no record has a magnitude and a distance: there is no scenario to generate")
    return table


def _sweep(study):
    station = study.stations[0]
    vs30 = vs30_of(study, station)
    n = len(SWEPT_MAGNITUDES), len(SWEPT_DISTANCES_IN_KM)
    return pd.DataFrame(
        {
            "station": station,
            "magnitude": [*SWEPT_MAGNITUDES, *[REFERENCE_MAGNITUDE] * n[1]],
            "distance_in_km": [*[REFERENCE_DISTANCE_IN_KM] * n[0], *SWEPT_DISTANCES_IN_KM],
            "depth_in_km": np.minimum(
                DEPTH_IN_KM, 0.8 * np.array([*[REFERENCE_DISTANCE_IN_KM] * n[0], *SWEPT_DISTANCES_IN_KM])
            ),
            "vs30_in_m_per_s": vs30,
        }
    )


def one_scenario(study, magnitude, distance_in_km):
    """One row of SCENARIO at the first target station."""
    row = {"station": study.stations[0], "magnitude": magnitude, "distance_in_km": distance_in_km}
    row |= {"depth_in_km": DEPTH_IN_KM, "vs30_in_m_per_s": vs30_of(study, study.stations[0])}
    return pd.DataFrame([row])


def vs30_of(study, station):
    """Vs30 in m/s of a station, NaN where its records do not say."""
    table = study.records.table
    return float(table.loc[table["station"] == station].get("vs30_in_m_per_s", pd.Series([np.nan])).iloc[0])


def with_unseen(study):
    """Simulation settings with N_UNSEEN more background stations; those of the study stay as they are."""
    simulation = study.settings.simulation
    return replace(simulation, n_background_stations=simulation.n_background_stations + N_UNSEEN)


def unseen_sites(study):
    """Stations of ``simulate.stations`` beyond those of the study."""
    return simulate.stations(with_unseen(study)).iloc[-N_UNSEEN:]


def grid(study):
    """Sites around an earthquake: SCENARIO, and east_in_km and north_in_km of its epicentre.

    Each has the Vs30 of the nearest station with a known one, the epicentre being amid the target stations.
    """
    table = study.records.table.drop_duplicates("station")
    places = ["station_latitude", "station_longitude", "vs30_in_m_per_s"]
    known = table.reindex(columns=places).dropna().to_numpy(float)
    centre = study.targets.table.reindex(columns=places[:2]).to_numpy(float).mean(axis=0)
    steps = np.linspace(-GRID_HALF_WIDTH_IN_KM, GRID_HALF_WIDTH_IN_KM, GRID_POINTS)
    north, east = (each.ravel() for each in np.meshgrid(steps, steps, indexing="ij"))
    vs30 = np.full(len(east), PLAIN_VS30)
    if len(known) and np.isfinite(centre).all():
        offset = 111.2 * (known[:, :2] - centre) * [1.0, np.cos(np.radians(centre[0]))]  # km to the north and east
        vs30 = known[np.hypot(north[:, None] - offset[:, 0], east[:, None] - offset[:, 1]).argmin(axis=1), 2]
    values = {"magnitude": GRID_MAGNITUDE, "depth_in_km": GRID_DEPTH_IN_KM, "vs30_in_m_per_s": vs30}
    distance = np.sqrt(east**2 + north**2 + GRID_DEPTH_IN_KM**2)
    names = [f"GRID.{i:03d}" for i in range(len(east))]
    return pd.DataFrame(
        {"station": names, "distance_in_km": distance, "east_in_km": east, "north_in_km": north} | values
    )


# ---- what is measured ----


def generated(study, rows, n=1):
    """Records of CGM-GM for scenario rows, ``n`` realisations each."""
    return generate.sample(study.model(GENERATOR), scenarios=rows[SCENARIO], n=n, seed=study.seed)


def truth(study, rows, seed_offset=2):
    """Fresh truth at scenario rows (simulated default alone), drawn apart from that of ``evidence``."""
    settings = with_unseen(study)
    depth = np.minimum(rows["depth_in_km"].to_numpy(float), 0.99 * rows["distance_in_km"].to_numpy(float))
    seed = 1000 + 2 * study.seed + seed_offset
    return simulate.fresh(settings, rows["station"], rows["magnitude"], rows["distance_in_km"], depth, seed)


def frame(study, which, of="generated"):
    """DataFrame of one row a record: SCENARIO, event, ``measured.COLUMNS``, p_onset and s_onset in s; built once.

    which: see ``scenarios``; of: "generated" or "truth".
    """

    def build(folder):
        rows = scenarios(study, which)
        some = generated(study, rows) if of == "generated" else truth(study, rows)
        found = _measured(study, some)
        found[["p_onset", "s_onset"]] = arrivals.onsets(some)
        found.to_csv(folder / "measures.csv", index=False)

    return study.store.cached(f"scaling-{which}-{of}", _key(study, which, of), build, _load)


def learned(study):
    """``evidence.measured_frame`` of all that CGM-GM learns from: training recordings and the background's."""

    def build(folder):
        _measured(study, study.background).to_csv(folder / "measures.csv", index=False)

    background = study.store.cached("scaling-background", _key(study, "background", "recorded"), build, _load)
    return pd.concat([evidence.measured_frame(study, "training"), background], ignore_index=True)


def _measured(study, some):
    identity = some.table[[*SCENARIO, "event"]].reset_index(drop=True)
    return pd.concat([identity, measured.measures(some, study.settings.window.before_p_in_s)], axis=1)


def grid_frame(study):
    """``grid`` with the median Fourier amplitude at GRID_FREQUENCIES_IN_HZ (cm/s, horizontals), columns "… Hz"."""

    def build(folder):
        sites = grid(study)
        some = generated(study, sites, GRID_REPEATS)
        amplitude = np.log(intensity.fourier_amplitude(some, GRID_FREQUENCIES_IN_HZ)[:, :2].clip(1e-9)).mean(axis=1)
        amplitude = np.exp(np.median(amplitude.reshape(len(sites), GRID_REPEATS, -1), axis=1))
        sites[[f"{f:g} Hz" for f in GRID_FREQUENCIES_IN_HZ]] = amplitude
        sites.to_csv(folder / "measures.csv", index=False)

    return study.store.cached("scaling-grid", _key(study, "grid", "generated"), build, _load)


def _load(folder):
    return pd.read_csv(folder / "measures.csv", dtype={"station": str, "event": str})


def _key(study, which, of):
    depends = (which, of, study.settings, study.generated_key(GENERATOR))
    return store.key_of("scaling", depends, modules=(*CODE, evidence, simulate, sys.modules[__name__]))


# ---- generated against reference ----


def judged(study):
    """All that notebook 08 says in numbers: a dict of DataFrames, built once.

    "fresh" and "held_out": medians and spreads of JUDGED (``equivalence.compare``) against fresh truth at the training
    records' scenarios, and against held-out recordings at theirs; "recorded": the training recordings against fresh
    truth, so what a generator that followed them exactly would be off by; "slopes": trends of all three differences
    with magnitude and ln distance; "stations": by station; "unseen": at stations no model has seen, where the site is
    told by Vs30 alone (interval over stations); "beyond": the sweep by scenario, and whether training reached it;
    "onsets". Recorded stations have "held_out", "slopes" and "stations" alone. A part without enough records is left
    out.
    """

    def build(folder):
        found = {part: table.reset_index().to_dict("records") for part, table in _judge(study).items()}
        store.write_json(folder / "scaling.json", found)

    def load(folder):
        found = json.loads((folder / "scaling.json").read_text())
        return {part: pd.DataFrame(rows).set_index(INDEX.get(part, "index")) for part, rows in found.items()}

    return study.store.cached("scaling", _key(study, "judged", ""), build, load)


def reference(study):
    """{"difference": ``compare``, "slopes": ``trends``} against fresh truth; recorded stations: held-out recordings."""
    ours, theirs = _pairs(study)
    slopes = residuals.trends(SLOPES, ours, theirs, N_DRAWS, study.seed)
    return {"difference": compare(study, ours, theirs), "slopes": slopes}


def _pairs(study):
    """Frames of generated records and of what they are judged by, at the same scenarios."""
    if study.kind == "simulated":
        return frame(study, "training"), evidence.measured_frame(study, "fresh-single")
    return frame(study, "held_out"), evidence.measured_frame(study, "held_out").dropna(subset=NEEDED)


INDEX = {"slopes": ["of", "measure"], "stations": ["station", "measure"], "beyond": ["sweep", "at"]}


def _judge(study):
    held_out = evidence.measured_frame(study, "held_out").dropna(subset=NEEDED)
    at_held_out, pairs = frame(study, "held_out"), {}
    if study.kind == "simulated":
        pairs["fresh"] = frame(study, "training"), evidence.measured_frame(study, "fresh-single")
    pairs["held_out"] = at_held_out, held_out
    found = {name: compare(study, *pair) for name, pair in pairs.items()}
    found["stations"] = by_station(study, *next(iter(pairs.values())))
    if study.kind == "simulated":
        fresh, own = pairs["fresh"][1], evidence.measured_frame(study, "training")
        found["recorded"] = compare(study, own, fresh)
        beside = by_station(study, own, fresh)[["median", "spread"]].add_prefix("recorded_")
        found["stations"] = found["stations"].join(beside)
        pairs["recorded"] = learned(study), fresh
    slopes = {name: residuals.trends(SLOPES, *pair, N_DRAWS, study.seed) for name, pair in pairs.items()}
    rows = {(name, measure): row.to_dict() for name, each in slopes.items() for measure, row in each.iterrows()}
    found["slopes"] = _indexed(rows, "slopes")
    if study.kind == "simulated":
        found["unseen"] = unseen(study)
        found["beyond"] = beyond(study)
        found["onsets"] = onsets(study)
    return {part: table for part, table in found.items() if len(table)}


def _indexed(rows, part):
    """DataFrame of {key: row}, its index named after what ``part`` is listed by."""
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return frame.rename_axis(INDEX[part]) if rows else frame


def compare(study, ours, theirs):
    """``equivalence.compare`` of JUDGED, given magnitude, distance and station; stations count alike."""
    names = [name for name in JUDGED if np.isfinite(theirs[name]).any() and np.isfinite(ours[name]).any()]
    left = residuals.given_scenario(names, ours, theirs)
    return equivalence.compare(*left, ours, theirs, by_station=True, n_draws=N_DRAWS, seed=study.seed)


def unseen(study):
    """``compare`` with the truth at stations that no model has seen; the interval is over stations."""
    sides = [frame(study, "unseen", of) for of in ("generated", "truth")]
    return compare(study, *(side.assign(event=side["station"]) for side in sides))


def by_station(study, ours, theirs):
    """DataFrame by station and measure: ln ratio of medians and of spreads, given magnitude and distance."""
    rows = {}
    for station in study.stations:
        sides = [side[side["station"] == station] for side in (ours, theirs)]
        if min(map(len, sides)) < 3:
            continue
        found = compare(study, *sides)
        rows |= {(station, name): found.loc[name].to_dict() for name in SLOPES if name in found.index}
    return _indexed(rows, "stations")


def beyond(study):
    """DataFrame by sweep and its value: ln ratio of generated to true median PGA and PSA at 1 s; inside training?"""
    ours, theirs = (frame(study, "sweep", of) for of in ("generated", "truth"))
    limits = reach(study)
    names, n = ("pga", SPECTRAL[14]), len(ours) // (len(SWEPT_MAGNITUDES) + len(SWEPT_DISTANCES_IN_KM))
    rows = {}
    for i in range(0, len(ours), n):
        a, b = ours.iloc[i : i + n], theirs.iloc[i : i + n]
        sweep = "magnitude" if i < n * len(SWEPT_MAGNITUDES) else "distance_in_km"
        at = a[sweep].iloc[0]
        row = {"inside": bool(limits[sweep][0] <= at <= limits[sweep][1])}
        for name in names:
            found = equivalence.difference_of_medians(Sample.of(a[name], a), Sample.of(b[name], b), n_draws=N_DRAWS)
            row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        rows[sweep, at] = row | {"n": n}
    return _indexed(rows, "beyond")


def reach(study):
    """{"magnitude": (least, most), "distance_in_km": …} of the records the model was trained on."""
    table = pd.concat([study.training.table, study.background.table]).reindex(columns=NEEDED)
    table = table[table.notna().all(axis=1)]
    return {name: (float(table[name].min()), float(table[name].max())) for name in NEEDED}


def onsets(study):
    """DataFrame by wave: seconds from planted to found onset in fresh truth and in generated records, 5 to 95 %."""
    rows, before = {}, study.settings.window.before_p_in_s
    for of in ("truth", "generated"):
        some = frame(study, "unseen", of)
        planted = {"P": np.zeros(len(some)), "S": some["distance_in_km"].to_numpy() * s_less_p_per_km()}
        for wave, lag in planted.items():
            late = (some[f"{wave.lower()}_onset"] - before - lag).to_numpy()
            low, middle, high = np.nanquantile(late, [0.05, 0.5, 0.95])
            rows[f"{wave}, {of}"] = {"late": middle, "low": low, "high": high, "n": int(np.isfinite(late).sum())}
    return pd.DataFrame.from_dict(rows, orient="index")


def s_less_p_per_km():
    """Seconds that S is later than P, a km, in the simulator's crust."""
    return 1 / simulate.SHEAR_VELOCITY_IN_KM_PER_S - 1 / simulate.P_VELOCITY_IN_KM_PER_S


def bins(study, name):
    """(mean difference, its standard error, number generated) (magnitude, distance), and the edges of both.

    ln of generated less reference given magnitude, distance and station, averaged within bins of both.
    """
    ours, theirs = _pairs(study)
    sides = ours, theirs
    edges = [np.quantile(ours[column], [0, 0.25, 0.5, 0.75, 1]) for column in NEEDED]
    mean, variance, count = np.zeros((3, 2, 4, 4))
    for k, (side, left) in enumerate(zip(sides, residuals.given_scenario([name], *sides), strict=True)):
        left = left[name].to_numpy()
        place = [np.clip(np.searchsorted(e, side[c], "right") - 1, 0, 3) for e, c in zip(edges, NEEDED, strict=True)]
        for i, j in np.ndindex(4, 4):
            own = left[(place[0] == i) & (place[1] == j) & np.isfinite(left)]
            count[k, i, j] = len(own)
            mean[k, i, j] = own.mean() if len(own) > 2 else np.nan
            variance[k, i, j] = own.var(ddof=1) / len(own) if len(own) > 2 else np.nan
    return mean[0] - mean[1], np.sqrt(variance.sum(axis=0)), count[0].astype(int), edges


def summary(found):
    """Flat dict of ``judged`` for results.json: verdicts counted, and the entries of PGA and the worst period."""
    row = {}
    for part in ("fresh", "held_out", "unseen", "recorded"):
        if part not in found:
            continue
        table, signed = found[part], part in ("fresh", "recorded")
        spectral = table.loc[[name for name in SPECTRAL if name in table.index]].dropna(subset=["median"])
        for statistic in ("median", "spread"):
            row[f"{part}_pga_{statistic}"] = entry(table.loc["pga"], statistic, signed)
            good = int((spectral[f"{statistic}_verdict"] == "equivalent").sum())
            if signed:
                row[f"{part}_periods_{statistic}"] = {"value": good, "n": len(spectral)}
            if len(spectral):
                worst = spectral.loc[spectral[statistic].abs().idxmax()]
                row[f"{part}_worst_period_{statistic}"] = entry(worst, statistic, signed) | {"measure": worst.name}
        row[f"{part}_d5_95_median"] = entry(table.loc["d5_95"], "median", signed)
    for (of, name), values in found["slopes"].iterrows() if "slopes" in found else ():
        for part in residuals.PREDICTORS:
            row[f"{of}_{name}_slope_{part}"] = entry(values, part, of != "held_out")
    return row


def entry(row, statistic, signed=True):
    """Value, interval and (where signed) verdict of one row of ``compare``, as ``tables.text`` takes them."""
    found = {"value": row[statistic], "low": row[f"{statistic}_low"], "high": row[f"{statistic}_high"]}
    return found | ({"verdict": row[f"{statistic}_verdict"]} if signed else {})
