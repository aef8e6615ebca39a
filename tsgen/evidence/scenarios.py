"""Motion for a magnitude and a distance: is what CGM-GM generates for a scenario what the truth gives (notebook 08)?

On the simulated default the truth is drawn again at the same scenarios; recorded stations are compared with held-out
recordings alone. Natural logarithms of generated less reference, judged given magnitude, distance and station.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from tsgen import findings, generate, ground_motion, intensity, measures, residuals, simulate
from tsgen.findings import Sample, finding
from tsgen.measures import AMPLITUDE, ENERGY, FOURIER, NEEDED, SCENARIO, SPECTRAL, keys_of
from tsgen.needs import scenario_known

GENERATOR = "cgm"
JUDGED = (*AMPLITUDE, *ENERGY, *SPECTRAL, *(name for name in FOURIER if not name.startswith("fourier_z")))
SLOPES = ("pga", *(SPECTRAL[i] for i in (3, 8, 11, 14, 19)))  # PSA at 0.09, 0.28, 0.53, 1.0 and 3.0 s
N_UNSEEN = 20  # stations that no model has seen
REFERENCE_MAGNITUDE, REFERENCE_DISTANCE_IN_KM = 5.5, 30.0  # of the two sweeps: the middle of the training records
ASKED = (6.0, 20.0)  # magnitude and distance (km) of the waves shown: within what the default's training reached
SWEPT = {"magnitude": np.arange(4.0, 7.51, 0.5)}
SWEPT |= {"distance_in_km": np.array([8.0, 12.0, 18.0, 30.0, 45.0, 70.0, 110.0, 160.0])}
DEPTH_IN_KM = 8.0  # of the sweeps: shallower than any of their distances
GRID_HALF_WIDTH_IN_KM, GRID_POINTS, GRID_DEPTH_IN_KM, GRID_MAGNITUDE, GRID_REPEATS = 60.0, 9, 10.0, 6.0, 4
GRID_FREQUENCIES_IN_HZ = (1.0, 3.0, 10.0)
PLAIN_VS30 = 400.0  # m/s, where none is known


def scenarios(study, which):
    """DataFrame of SCENARIO, one row a record to generate. which: "training" (the training records' scenarios),
    "unseen" (at stations that no model has seen), "sweep" (SWEPT, at the first target station). ValueError where none
    is known."""
    s = study.settings
    if which == "sweep":
        rows = pd.concat([pd.DataFrame({name: values}) for name, values in SWEPT.items()], ignore_index=True)
        rows = rows.fillna({"magnitude": REFERENCE_MAGNITUDE, "distance_in_km": REFERENCE_DISTANCE_IN_KM})
        rows["depth_in_km"] = np.minimum(DEPTH_IN_KM, 0.8 * rows["distance_in_km"])
        rows = rows.assign(station=study.stations[0], vs30_in_m_per_s=vs30_of(study, study.stations[0]))[SCENARIO]
        return rows.loc[rows.index.repeat(max(4, s.n_generated // 3))]
    own = study.training.take(scenario_known(study.training)).table.reindex(columns=SCENARIO)
    if not len(own):
        raise ValueError("no record has a magnitude and a distance: there is no scenario to generate")
    parts = [study.repeated(own[own["station"] == name], s.n_fresh // 4) for name in own["station"].unique()]
    if which == "training":
        return pd.concat(parts, ignore_index=True)
    sites = simulate.stations(_with_unseen(study), study.seed).iloc[-N_UNSEEN:]
    each = max(2, s.n_generated // 5)
    rows = own.iloc[np.random.default_rng(study.seed).integers(len(own), size=each * len(sites))]
    sites = sites.loc[sites.index.repeat(each), ["station", "vs30_in_m_per_s"]].reset_index(drop=True)
    return rows.reset_index(drop=True).assign(**sites)


def one_scenario(study, *asked):
    """One row of SCENARIO: magnitude and distance in km (ASKED) at the first target station."""
    row = dict(zip(NEEDED, asked or ASKED, strict=True)) | {"station": study.stations[0]}
    return pd.DataFrame([row | {"depth_in_km": DEPTH_IN_KM, "vs30_in_m_per_s": vs30_of(study, study.stations[0])}])


def vs30_of(study, station):
    """Vs30 in m/s of a station, NaN where its records do not say."""
    table = study.records.table
    return float(table.loc[table["station"] == station].get("vs30_in_m_per_s", pd.Series([np.nan])).iloc[0])


def _with_unseen(study):
    """Simulation settings with N_UNSEEN more background stations; those of the study stay as they are."""
    simulation = study.settings.simulation
    return replace(simulation, n_background_stations=simulation.n_background_stations + N_UNSEEN)


def reach(study):
    """{"magnitude": (least, most), "distance_in_km": …} of the records the model was trained on."""
    table = pd.concat([study.training.table, study.background.table]).reindex(columns=NEEDED).dropna()
    return {name: (float(table[name].min()), float(table[name].max())) for name in NEEDED}


def generated(study, rows, n=1):
    """Records of CGM-GM for scenario rows, ``n`` realisations each."""
    return generate.sample(study.model(GENERATOR), scenarios=rows[SCENARIO], n=n, seed=study.seed)


def truth(study, rows):
    """Fresh truth at scenario rows (simulated default alone), drawn apart from ``Study.fresh``."""
    depth = np.minimum(rows["depth_in_km"].to_numpy(float), 0.99 * rows["distance_in_km"].to_numpy(float))
    of = (rows["station"], rows["magnitude"], rows["distance_in_km"], depth)
    return simulate.fresh(_with_unseen(study), *of, 1002 + 2 * study.seed, study.seed)


def frame(study, which, of="generated"):
    """DataFrame of one row a record: measures.IDENTITY, measures.COLUMNS and, of unseen and held-out scenarios, p_onset
    and s_onset in s; built once. which: see ``scenarios``, or "held_out", the records of ``Study.given``; of:
    "generated" or "truth"."""
    given = f"given-{GENERATOR if of == 'generated' else 'fresh'}"

    def make():
        if which == "held_out":
            some, values = study.some(given), study.measures(given)
        else:
            some = (generated if of == "generated" else truth)(study, scenarios(study, which))
            values = measures.measures(some, study.settings.window.before_p_in_s)
            values = pd.concat([some.table[measures.IDENTITY].reset_index(drop=True), values], axis=1)
        if which in ("unseen", "held_out"):
            values[["p_onset", "s_onset"]] = intensity.onsets(some)
        return values

    inputs = [study.stage("records")] + ([study.stage("model", GENERATOR)] if of == "generated" else [])
    inputs = [study.stage("measured", given)] if which == "held_out" else inputs
    return study.keep_table(f"scenario-{which}-{of}", make, inputs)


def sites(study):
    """Sites around an earthquake: SCENARIO, with the nearest station's Vs30, east_in_km and north_in_km of its
    epicentre, and the median Fourier amplitude generated at GRID_FREQUENCIES_IN_HZ (cm/s, horizontals), columns "… Hz";
    built once."""

    def make():
        table = study.records.table.drop_duplicates("station")
        places = ["station_latitude", "station_longitude", "vs30_in_m_per_s"]
        there = table.reindex(columns=places).dropna().to_numpy(float)
        centre = study.targets.table.reindex(columns=places[:2]).to_numpy(float).mean(axis=0)
        steps = np.linspace(-GRID_HALF_WIDTH_IN_KM, GRID_HALF_WIDTH_IN_KM, GRID_POINTS)
        north, east = (each.ravel() for each in np.meshgrid(steps, steps, indexing="ij"))
        vs30 = np.full(len(east), PLAIN_VS30)
        if len(there) and np.isfinite(centre).all():
            offset = 111.2 * (there[:, :2] - centre) * [1.0, np.cos(np.radians(centre[0]))]  # km to the north and east
            vs30 = there[np.hypot(north[:, None] - offset[:, 0], east[:, None] - offset[:, 1]).argmin(axis=1), 2]
        values = {"magnitude": GRID_MAGNITUDE, "depth_in_km": GRID_DEPTH_IN_KM, "vs30_in_m_per_s": vs30}
        values |= {"distance_in_km": np.sqrt(east**2 + north**2 + GRID_DEPTH_IN_KM**2)}
        grid = pd.DataFrame({"station": [f"GRID.{i:03d}" for i in range(len(east))]} | values)
        amplitude = intensity.fourier_amplitude(generated(study, grid, GRID_REPEATS), GRID_FREQUENCIES_IN_HZ)[:, :2]
        ln = np.log(amplitude.clip(1e-9)).mean(axis=1).reshape(len(grid), GRID_REPEATS, -1)
        grid[[f"{f:g} Hz" for f in GRID_FREQUENCIES_IN_HZ]] = np.exp(np.median(ln, axis=1))
        return grid.assign(east_in_km=east, north_in_km=north)

    return study.keep_table("scenario-sites", make, [study.stage("model", GENERATOR)])


def moved(study, sweep, columns):
    """(place on a sweep, value) of the first target station's held-out recordings, moved to the sweep's scenario by the
    training recordings' own scaling: the mean of columns of the measures. Two empty arrays where none is known."""
    training, held_out = (study.measures(which).dropna(subset=NEEDED) for which in ("training", "held_out"))
    known, own = training[columns].mean(axis=1), held_out[held_out["station"] == study.stations[0]]
    if not np.isfinite(known).any():
        return np.array([]), np.array([])
    of_magnitude, of_distance = residuals.Scaling.fit(known.to_numpy()[:, None], training).coefficients[-2:, 0]
    shift = of_distance * np.log(REFERENCE_DISTANCE_IN_KM / own["distance_in_km"])
    shift = shift if sweep == "magnitude" else of_magnitude * (REFERENCE_MAGNITUDE - own["magnitude"])
    return own[sweep].to_numpy(), np.exp(own[columns].mean(axis=1) + shift).to_numpy()


def expected(study, sweep, period_in_s):
    """{ground-motion model: (magnitude or distance, median in cm/s², ln standard deviation)} along a sweep."""
    vs30 = vs30_of(study, study.stations[0])
    at = {"magnitude": REFERENCE_MAGNITUDE, "distance_in_km": REFERENCE_DISTANCE_IN_KM}
    x = {"magnitude": np.linspace(*ground_motion.MAGNITUDES, 13), "distance_in_km": np.geomspace(9.0, 160.0, 13)}[sweep]
    at[sweep] = x
    near = ground_motion.joyner_boore(at["distance_in_km"], DEPTH_IN_KM)
    site = (vs30 if np.isfinite(vs30) else PLAIN_VS30, [period_in_s], "turkey", DEPTH_IN_KM)
    predicted = {model: ground_motion.prediction(model, at["magnitude"], near, *site) for model in ground_motion.MODELS}
    return {model: (x, median[:, 0], ln_std[:, 0]) for model, (median, ln_std) in predicted.items()}


def pairs(study):
    """{against: (frame of generated records, of the reference)} at the same scenarios: "fresh", if simulated,
    "held_out"."""
    simulated = study.kind == "simulated"
    fresh = {"fresh": (frame(study, "training"), study.measures("fresh-single"))} if simulated else {}
    return fresh | {"held_out": (frame(study, "held_out"), study.measures("held_out").dropna(subset=NEEDED))}


def scenario(study):
    """Findings of notebook 08 (protocol "scenario"): medians and spreads of JUDGED and slopes of SLOPES, of CGM-GM and
    of the recordings that it learned from ("training"); by station; at stations no model has seen ("unseen", interval
    over stations); beyond what training reached (``set``); onsets. A part without enough records is left out."""
    simulated = study.kind == "simulated"
    names = ("training", "held_out", *(("background", "fresh-single") if simulated else ()))
    inputs = [study.stage("model", GENERATOR), *(study.stage("measured", which) for which in names)]

    def build():
        rows, compared = [], list(pairs(study).items())
        for against, sides in compared:
            rows += _medians(study, GENERATOR, against, *sides) + _trends(study, GENERATOR, against, *sides)
        against, sides = compared[0]
        rows += _by_station(study, GENERATOR, against, *sides)
        if simulated:
            fresh, own = study.measures("fresh-single"), study.measures("training")
            learned = pd.concat([own, study.measures("background")], ignore_index=True)
            rows += _medians(study, "training", "fresh", own, fresh)
            rows += _trends(study, "training", "fresh", learned, fresh)
            rows += _by_station(study, "training", "fresh", own, fresh)
            sides = [frame(study, "unseen", of) for of in ("generated", "truth")]
            rows += _medians(study, GENERATOR, "fresh", *(s.assign(event=s["station"]) for s in sides), "unseen")
            rows += _beyond(study) + _onsets(study)
        return rows

    return study.keep_findings("scenario", build, inputs)


def _medians(study, subject, against, ours, theirs, protocol="scenario"):
    how = {"pooled": {"psa": (SPECTRAL, findings.BOUNDS)}, "protocol": protocol}
    return residuals.differences(subject, against, JUDGED, ours, theirs, keys_of, study.seed, **how)


def _trends(study, subject, against, ours, theirs):
    found = residuals.trends(SLOPES, ours, theirs, study.seed)
    return findings.tell(subject, against, found, keys_of, protocol="scenario")


def _by_station(study, subject, against, ours, theirs):
    rows = []
    for station in study.stations:
        sides = [side[side["station"] == station] for side in (ours, theirs)]
        if min(map(len, sides)) >= 3:
            of = {"protocol": "scenario", "station": station}
            rows += residuals.differences(subject, against, SLOPES, *sides, keys_of, study.seed, **of)
    return rows


def _beyond(study):
    """ln ratio of generated to true median PGA and PSA at 1 s along the sweeps; ``set`` says where."""
    ours, theirs = (frame(study, "sweep", of) for of in ("generated", "truth"))
    limits, rows, first = reach(study), [], 0
    n = len(ours) // sum(map(len, SWEPT.values()))
    for sweep, values in SWEPT.items():
        for at in values:
            a, b = (side.iloc[first : first + n] for side in (ours, theirs))
            inside = "inside" if limits[sweep][0] <= at <= limits[sweep][1] else "beyond"
            for name in ("pga", SPECTRAL[14]):
                sides = (Sample.of(side[name], side) for side in (a, b))
                estimate = findings.difference("median", *sides)
                of = keys_of(name) | {"protocol": f"{inside} training", "set": f"{sweep} {at:g}"}
                rows.append(finding(GENERATOR, "fresh", statistic="median", estimate=estimate, n=n, n_against=n, **of))
            first += n
    return rows


def _onsets(study):
    """Seconds from planted to found onset in fresh truth and in generated records: median and 5 to 95 %."""
    rows, before = [], study.settings.window.before_p_in_s
    for subject, of in (("fresh", "truth"), (GENERATOR, "generated")):
        some = frame(study, "unseen", of)
        for wave, lag in (("p", 0.0), ("s", some["distance_in_km"].to_numpy() * s_less_p_per_km())):
            late = (some[f"{wave}_onset"] - before - lag).to_numpy()
            late = late[np.isfinite(late)]
            estimate = findings.interval(late, np.median(late)) if len(late) else np.nan
            rows.append(finding(subject, "planted", f"{wave}_onset", "median", estimate, len(late), protocol="unseen"))
    return rows


def s_less_p_per_km():
    """Seconds that S is later than P, a km, in the simulator's crust."""
    return 1 / simulate.VELOCITY["S"] - 1 / simulate.VELOCITY["P"]


def bins(study, name):
    """(mean difference, its standard error) (magnitude, distance), and the edges of both. ln of generated less
    reference given magnitude, distance and station, averaged within bins of both; NaN of fewer than three records."""
    sides = next(iter(pairs(study).values()))
    edges = [np.quantile(sides[0][column], [0, 0.25, 0.5, 0.75, 1]) for column in NEEDED]
    mean, variance = np.full((2, 2, 4, 4), np.nan)
    for k, (side, left) in enumerate(zip(sides, residuals.given_scenario([name], sides[1], *sides), strict=True)):
        place = [np.clip(np.searchsorted(e, side[c], "right") - 1, 0, 3) for e, c in zip(edges, NEEDED, strict=True)]
        for cell, own in left[name].groupby(place):
            if own.count() > 2:
                mean[k][cell], variance[k][cell] = own.mean(), own.var() / own.count()
    return mean[0] - mean[1], np.sqrt(variance.sum(axis=0)), edges
