"""Scenarios: an earthquake of some magnitude at some distance from a site, as rows of a table and as numbers; and what
generators share that take them.

A row: station, magnitude, distance_in_km and, where known, depth_in_km, vs30_in_m_per_s and a model's other conditions.
"""

import numpy as np
import pandas as pd

from tsgen import spectrogram

BATCH = 64  # records at once
MOST_BACKGROUND = 2000  # records that a law is fitted to: more cost memory and tell little more
NEEDED = ("magnitude", "ln_distance")
COLUMN_OF = {"ln_distance": "distance_in_km", "ln_vs30": "vs30_in_m_per_s"}  # other conditions are columns themselves


def columns(names):
    """A table's columns that hold the station and the conditions ``names``."""
    return ["station", *(COLUMN_OF.get(name, name) for name in names)]


def conditions(table, names):
    """(n, len(names)) float64 array of a table's conditions, NaN where unknown; ln_distance and ln_vs30 are logs."""
    values = np.array(table.reindex(columns=columns(names)[1:]), float, order="C")
    logs = np.isin(names, list(COLUMN_OF))
    values[:, logs] = np.log(np.where(values[:, logs] > 0, values[:, logs], np.nan))
    return values


def learned_from(training, background):
    """The Records that a law is fitted to: the training ones, and MOST_BACKGROUND at most of the background."""
    few = background.take(np.linspace(0, len(background) - 1, min(len(background), MOST_BACKGROUND)))
    return [part for part in (training, few) if len(part)]


class Conditional:
    """A generator that takes scenarios: ``stations`` that it serves, the names of its ``conditions``, the ``bank``, a
    table of the scenarios of its training records, and waves_of(scenarios, a torch.Generator each) -> (n, 3, t)."""

    def scenarios_of(self, station, n, seed=0):
        """DataFrame of ``n`` scenarios drawn with replacement from a station's training records, or without any there
        from all records."""
        own = self.bank[self.bank["station"] == station]
        own = own if len(own) else self.bank
        drawn = np.random.default_rng([seed, self.stations.index(station)]).integers(len(own), size=n)
        return own.iloc[drawn].assign(station=station)

    def sample(self, scenarios, n=1, seed=0):
        """(waveforms (rows, 3, t) float32 in cm/s², scenarios by row): ``n`` realisations of every scenario, in its
        order, each from (seed, number of its scenario, its own number) alone. ValueError for one without magnitude or
        distance where the training records have them, and for a station that is not served, unless its Vs30 is given to
        a generator that knows Vs30."""
        scenarios = self._completed(scenarios)
        names = [(seed, i, k) for i in range(len(scenarios)) for k in range(n)]
        rows = scenarios.iloc[[i for _, i, _ in names]].reset_index(drop=True)
        parts = np.array_split(np.arange(len(rows)), max(1, -(-len(rows) // BATCH)))
        waves = [self.waves_of(rows.iloc[part], spectrogram.generators(names[i] for i in part)) for part in parts]
        return np.concatenate(waves).astype(np.float32), rows

    def _completed(self, scenarios):
        """The scenarios with the Vs30 of known stations."""
        needed = columns(name for name in self.conditions if name in NEEDED)
        if missing := [name for name in needed if name not in scenarios]:
            raise ValueError(f"scenarios lack the columns {', '.join(missing)}")
        distance = scenarios.get("distance_in_km", 1.0)
        if not (np.isfinite(scenarios[needed[1:]].to_numpy(float)).all() and np.all(distance > 0)):
            raise ValueError("every scenario needs a magnitude and a distance above 0 km")
        unseen = ~scenarios["station"].isin(self.stations)
        if "ln_vs30" in self.conditions:
            trained = self.bank.groupby("station")["vs30_in_m_per_s"].last()
            vs30 = scenarios.get("vs30_in_m_per_s", pd.Series(np.nan, scenarios.index))
            vs30 = vs30.fillna(scenarios["station"].where(~unseen).map(trained)).astype(float)
            scenarios, unseen = scenarios.assign(vs30_in_m_per_s=vs30), unseen & vs30.isna()
        if self.stations and unseen.any():
            new = ", ".join(sorted(set(scenarios.loc[unseen, "station"])))
            advice = f"give vs30_in_m_per_s to a model whose conditions have ln_vs30, or use {', '.join(self.stations)}"
            raise ValueError(f"the model was not trained on {new}: {advice}")
        return scenarios
