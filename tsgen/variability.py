"""How ground motion varies: what of ln intensity is the earthquake's, what the site's, and what is left.
ln y = f(M, R) + event + station + rest, with standard deviations tau, phi_s2s and phi (Al Atik et al. 2010,
10.1785/gssrl.81.5.794), f linear in 1, M, M², ln R, M ln R and R, all by restricted maximum likelihood."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from tsgen import hvsr, intensity
from tsgen.records import event_groups

FEWEST_RECORDS = 30  # five times the coefficients of f
LARGEST_MAGNITUDE, LARGEST_DISTANCE_IN_KM = 6.4, 110.0  # the window in which networks are compared
PERIODS_IN_S = (0.05, 0.15, 0.3, 0.75, 2.0)
SHORTEST = "PSA 0.05 s"  # what the residuals of other periods are correlated with
TERMS, COUNTS = ("tau", "phi_s2s", "phi"), ("given_station", "records", "events", "stations")
# TERMS of 1,402 crustal records of New Zealand's strong-motion database in the same window, by the same f
NEW_ZEALAND = {"PGA": (0.51, 0.41, 0.45), "PSA 0.3 s": (0.46, 0.48, 0.48), "PSA 0.75 s": (0.35, 0.55, 0.43)}
NEW_ZEALAND |= {"D5-95": (0.21, 0.26, 0.32)}


class Components(NamedTuple):
    """Standard deviations in ln units, and the residuals within events and stations (n,) of the rows that were used."""

    tau: float
    phi_s2s: float
    phi: float
    within: np.ndarray
    n_events: int
    n_stations: int


def components(ln_y, magnitude, distance_in_km, event, station):
    """Components of ln intensities (n,), by restricted maximum likelihood (Patterson and Thompson 1971) over crossed
    events and stations. ValueError for fewer than FEWEST_RECORDS, or unknown magnitudes, distances or values."""
    y, m, r = (np.asarray(values, float) for values in (ln_y, magnitude, distance_in_km))
    if len(y) < FEWEST_RECORDS or not all(np.isfinite(values).all() for values in (y, m, np.log(r))):
        raise ValueError(f"{len(y)} records: a decomposition needs {FEWEST_RECORDS} with magnitude, distance and value")
    fixed, _ = np.linalg.qr(np.column_stack([np.ones(len(y)), m, m**2, np.log(r), m * np.log(r), r]))
    codes = [np.unique(np.asarray(names, str), return_inverse=True) for names in (event, station)]
    sizes = [len(names) for names, _ in codes]
    z = np.concatenate([code[:, None] == np.arange(size) for (_, code), size in zip(codes, sizes, strict=True)], axis=1)
    z = z.astype(float)
    zz, zx, zy, xx, xy = z.T @ z, z.T @ fixed, z.T @ y, fixed.T @ fixed, fixed.T @ y
    n = len(y) - fixed.shape[1]

    def solved(ratio):
        """(coefficients of f, random effects, quadratic form, ln determinants) at tau/phi and phi_s2s/phi."""
        root = np.repeat(ratio, sizes)
        factor = cho_factor(np.eye(len(root)) + root[:, None] * zz * root)
        inner = [root[:, None] * cho_solve(factor, root[:, None] * part.reshape(len(root), -1)) for part in (zx, zy)]
        left, right = xx - zx.T @ inner[0], xy - zx.T @ inner[1][:, 0]
        beta = np.linalg.solve(left, right)
        quadratic = y @ y - zy @ inner[1][:, 0] - right @ beta
        effects = (inner[1] - inner[0] @ beta[:, None])[:, 0]
        return beta, effects, quadratic, 2 * np.log(np.diag(factor[0])).sum() + np.linalg.slogdet(left)[1]

    def deviance(ratio):
        _, _, quadratic, determinants = solved(ratio)
        return n * np.log(quadratic) + determinants

    best = minimize(deviance, (1.0, 1.0), bounds=[(0.0, 20.0)] * 2, method="L-BFGS-B").x
    beta, effects, quadratic, _ = solved(best)
    phi = float(np.sqrt(quadratic / n))
    return Components(*(float(ratio) * phi for ratio in best), phi, y - fixed @ beta - z @ effects, *sizes)


def decomposition(records):
    """DataFrame by measure of any Records: TERMS; given_station, the root of tau² + phi²; correlation, of the residuals
    within with those of SHORTEST; records, events, stations. Records with magnitude and distance in the window of
    LARGEST_MAGNITUDE and LARGEST_DISTANCE_IN_KM count; a measure that fewer than FEWEST_RECORDS show is left out."""
    magnitude, distance = records.table.reindex(columns=["magnitude", "distance_in_km"]).to_numpy(float).T
    inside = (magnitude <= LARGEST_MAGNITUDE) & (distance <= LARGEST_DISTANCE_IN_KM) & (distance > 0)
    some, columns = records.take(inside), (magnitude[inside], distance[inside])
    columns += event_groups(some.table), some.table["station"]
    rows, within = {}, pd.DataFrame(index=some.table.index)
    for name, values in ln_values(some).items() if inside.sum() >= FEWEST_RECORDS else ():
        shown = np.isfinite(values.to_numpy())
        if shown.sum() >= FEWEST_RECORDS:
            parts = components(values[shown], *(column[shown] for column in columns))
            within.loc[shown, name] = parts.within
            rows[name] = *parts[:3], np.hypot(parts.tau, parts.phi), int(shown.sum()), parts.n_events, parts.n_stations
    table = pd.DataFrame.from_dict(rows, orient="index", columns=[*TERMS, *COUNTS])
    return table.assign(correlation=within.corr().get(SHORTEST, pd.Series(dtype=float)))


def ln_values(records):
    """DataFrame (n, measures): ln PGA, PSA at PERIODS_IN_S (RotD50, NaN outside the usable band), D5-75 and D5-95."""
    measured, band = intensity.measures(records), hvsr.in_band(records, 1 / np.array(PERIODS_IN_S))
    spectra = np.where(band, intensity.rotd(records, PERIODS_IN_S, (50,))[0], np.nan)
    frame = pd.DataFrame({"PGA": measured["pga_rotd50_in_cm_s2"]})
    frame[[f"PSA {period:g} s" for period in PERIODS_IN_S]] = spectra
    frame[["D5-75", "D5-95"]] = measured[["d5_75_in_s", "d5_95_in_s"]]
    return np.log(frame.where(frame > 0))


def vs30_and_f0(records, f0_in_hz):
    """(correlation of ln Vs30 with the station's median ln f0, standard deviation of ln f0 given ln Vs30, stations) of
    records and their f0 (n,); NaN for fewer than three stations whose Vs30 is known."""
    table = pd.DataFrame({"station": records.table["station"], "f0": np.log(f0_in_hz)})
    table["vs30"] = np.log(records.table.get("vs30_in_m_per_s", np.nan))
    by_station = table.groupby("station").median().dropna()
    if len(by_station) < 3:
        return np.nan, np.nan, len(by_station)
    correlation = float(by_station.corr().loc["f0", "vs30"])
    return correlation, float(by_station["f0"].std() * np.sqrt(1 - correlation**2)), len(by_station)


def compared(**tables):
    """DataFrame of TERMS by measure, side by side: a table of ``decomposition`` for each keyword, and New Zealand's."""
    parts = {name.replace("_", " "): table[list(TERMS)] for name, table in tables.items() if len(table)}
    parts["New Zealand"] = pd.DataFrame.from_dict(NEW_ZEALAND, orient="index", columns=list(TERMS))
    return pd.concat(parts, axis=1)
