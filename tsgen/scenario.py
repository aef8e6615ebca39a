"""Scenarios: an earthquake of some magnitude at some distance from a site, as rows of a table and as numbers.

A row: station, magnitude, distance_in_km and, where known, depth_in_km, vs30_in_m_per_s and a model's other conditions.
"""

import numpy as np
import pandas as pd

from tsgen import spectrogram

BATCH = 64  # records at once
NEEDED = ("magnitude", "ln_distance")
COLUMN_OF = {"ln_distance": "distance_in_km", "ln_vs30": "vs30_in_m_per_s"}  # other conditions are columns themselves


def conditions(table, names):
    """(n, len(names)) float64 array of a table's conditions, NaN where unknown; ln_distance and ln_vs30 are logs."""
    columns = np.full((len(table), len(names)), np.nan)
    for values, name in zip(columns.T, names, strict=True):
        column = COLUMN_OF.get(name, name)
        if column in table:
            values[:] = table[column].to_numpy(float)
        if name in COLUMN_OF:
            values[:] = np.log(np.where(values > 0, values, np.nan))
    return columns


def table(station, rows, names):
    """DataFrame of scenarios at ``station`` from conditions (n, len(names)): the way back from ``conditions``."""
    values = {name: np.exp(column) if name in COLUMN_OF else column for name, column in zip(names, rows.T, strict=True)}
    return pd.DataFrame({"station": station, **values}).rename(columns=COLUMN_OF)


def completed(scenarios, names, stations, bank):
    """The scenarios with the Vs30 of known stations, for a model with the conditions ``names``. bank (n, 1 +
    len(names)): its training records' station number and conditions. ValueError as of ``CGMGM.sample``."""
    needed = [COLUMN_OF.get(name, name) for name in names if name in NEEDED]
    if missing := [name for name in ("station", *needed) if name not in scenarios]:
        raise ValueError(f"scenarios lack the columns {', '.join(missing)}")
    distance = scenarios.get("distance_in_km", 1.0)
    if not (np.isfinite(scenarios[needed].to_numpy(float)).all() and np.all(distance > 0)):
        raise ValueError("every scenario needs a magnitude and a distance above 0 km")
    unseen = ~scenarios["station"].isin(stations)
    if "ln_vs30" in names:
        pairs = bank[:, [0, 1 + names.index("ln_vs30")]]
        trained = {stations[int(i)]: np.exp(ln_vs30) for i, ln_vs30 in pairs if np.isfinite(ln_vs30)}
        vs30 = scenarios.get("vs30_in_m_per_s", pd.Series(np.nan, scenarios.index))
        vs30 = vs30.fillna(scenarios["station"].map(trained)).astype(float)
        scenarios, unseen = scenarios.assign(vs30_in_m_per_s=vs30), unseen & vs30.isna()
    if len(stations) and unseen.any():
        new = ", ".join(sorted(set(scenarios.loc[unseen, "station"])))
        advice = f"give vs30_in_m_per_s to a model whose conditions have ln_vs30, or use {', '.join(stations)}"
        raise ValueError(f"the model was not trained on {new}: {advice}")
    return scenarios


def realised(scenarios, n, seed, make):
    """(waveforms (rows, 3, t) float32 in cm/s², scenarios by row): ``n`` realisations of every scenario, in its order,
    by make(rows, a generator each): each follows from (seed, number of its scenario, its own number)."""
    names = [(seed, i, k) for i in range(len(scenarios)) for k in range(n)]
    rows = scenarios.iloc[[i for _, i, _ in names]].reset_index(drop=True)
    parts = np.array_split(np.arange(len(rows)), max(1, -(-len(rows) // BATCH)))
    waves = [make(rows.iloc[part], spectrogram.generators(names[i] for i in part)) for part in parts]
    return np.concatenate(waves).astype(np.float32), rows
