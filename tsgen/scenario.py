"""Scenarios of a model such as CGM-GM: an earthquake of some magnitude at some distance from a site, and its records.

A scenario is a row of a DataFrame: station, magnitude, distance_in_km and, where known, depth_in_km, vs30_in_m_per_s
and further conditions of the model.
"""

import numpy as np
import pandas as pd
import torch

from tsgen import spectrogram
from tsgen.records import Records

BATCH = 64  # records at once
NEEDED = ("magnitude", "ln_distance")
UNITS_OF = {"ln_distance": "distance_in_km", "ln_vs30": "vs30_in_m_per_s"}  # other conditions are columns themselves


def conditions(table, names):
    """(n, len(names)) float64 array of a table's conditions, NaN where unknown; ln_distance and ln_vs30 are logs."""
    columns = np.full((len(table), len(names)), np.nan)
    for values, name in zip(columns.T, names, strict=True):
        column = UNITS_OF.get(name, name)
        if column in table:
            values[:] = table[column].to_numpy(float)
        if name in UNITS_OF:
            values[:] = np.log(np.where(values > 0, values, np.nan))
    return columns


def draw(model, station, n, seed=0):
    """DataFrame of ``n`` scenarios drawn with replacement from the training records of ``station``.

    ValueError for a station of which the model keeps none.
    """
    bank = model.bank.cpu().numpy()
    own = bank[bank[:, 0] == (model.stations.index(station) if station in model.stations else -1), 1:]
    if not len(own):
        known = ", ".join(model.stations) or "none"
        raise ValueError(f"no scenarios are kept for station {station}; the model was trained on {known}")
    rows = own[np.random.default_rng([seed, model.stations.index(station)]).integers(len(own), size=n)]
    values = {}
    for name, column in zip(model.settings.conditions, rows.T, strict=True):
        values[UNITS_OF.get(name, name)] = np.exp(column) if name in UNITS_OF else column
    return pd.DataFrame({"station": station, **values})


@torch.no_grad()
def sample(model, scenarios, n=1, seed=0):
    """Records of kind "generated": ``n`` realisations of every scenario, in its order, in one call.

    A realisation depends on (seed, number of its scenario, its own number) alone. ValueError for a scenario without
    magnitude or distance, and for a station that was not trained on unless its Vs30 is given to a model that knows
    Vs30.
    """
    model.eval()
    s, device = model.settings, model.clock.device
    scenarios = complete(model, scenarios.reset_index(drop=True))
    order = [(i, k) for i in range(len(scenarios)) for k in range(n)]
    table = scenarios.iloc[[i for i, _ in order]].reset_index(drop=True)
    given = torch.from_numpy(conditions(table, s.conditions)).float().to(device)
    station = model.index(table["station"]).to(device)
    waveforms = np.empty((len(table), 3, s.n_samples), np.float32)
    for part in batches(len(table)):
        generators = [spectrogram.generator(seed, *order[i]) for i in part]
        c = model.embed(given[part], station[part])
        waveforms[part] = model.waves(model.generate_level(c, station[part], generators), generators)
    return Records(waveforms, s.sampling_rate_in_hz, _table(model, table, seed))


def complete(model, scenarios):
    """The scenarios with what is known of their stations; raises what ``sample`` says it raises."""
    scenarios = scenarios.copy()
    needed = [UNITS_OF.get(name, name) for name in model.settings.conditions if name in NEEDED]
    if missing := [name for name in ("station", *needed) if name not in scenarios]:
        raise ValueError(f"scenarios lack the columns {', '.join(missing)}")
    if not (np.isfinite(scenarios[needed].to_numpy(float)).all() and (scenarios.get("distance_in_km", 1.0) > 0).all()):
        raise ValueError("every scenario needs a magnitude and a distance above 0 km")
    if "ln_vs30" in model.settings.conditions:
        given = scenarios["vs30_in_m_per_s"] if "vs30_in_m_per_s" in scenarios else pd.Series(np.nan, scenarios.index)
        scenarios["vs30_in_m_per_s"] = given.fillna(scenarios["station"].map(_trained_vs30(model))).astype(float)
    unseen = ~scenarios["station"].isin(model.stations)
    if "ln_vs30" in model.settings.conditions:
        unseen &= scenarios["vs30_in_m_per_s"].isna()
    if model.stations and unseen.any():
        names = ", ".join(sorted(set(scenarios.loc[unseen, "station"])))
        raise ValueError(
            f"{model.name} was not trained on {names}: give vs30_in_m_per_s to a model whose conditions have ln_vs30, "
            f"or use {', '.join(model.stations)}"
        )
    return scenarios


def _trained_vs30(model):
    """{station: Vs30 in m/s} of the stations that the model was trained on."""
    bank = model.bank.cpu().numpy()
    column = bank[:, 1 + model.settings.conditions.index("ln_vs30")]
    known = np.isfinite(column)
    return {model.stations[int(i)]: np.exp(v) for i, v in zip(bank[known, 0], column[known], strict=True)}


def batches(n):
    """Row numbers of n records in parts of at most BATCH."""
    return np.array_split(np.arange(n), max(1, -(-n // BATCH)))


def _table(model, scenarios, seed):
    rate = model.settings.sampling_rate_in_hz
    return scenarios.assign(
        event=[f"{model.name}:{name}:{seed}:{i:05d}" for i, name in enumerate(scenarios["station"])],
        kind="generated",
        source=model.name,
        samples=model.settings.n_samples,
        native_sampling_rate_in_hz=rate,
        usable_from_hz=rate / model.settings.n_fft,  # the first bin above 0
        usable_to_hz=0.4 * rate,
        made_from="",
        weights="",
        seed=seed,
    )
