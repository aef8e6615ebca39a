"""Two controls without a network stand on least squares; here what they share, and the first: a regressed spectrogram.

``ScenarioLaw``: numbers of a record, linear in magnitude, ln distance, their squares and the station, with the principal
components of what is left drawn as Gaussians, as in a ground-motion model (Joyner and Boore 1981, BSSA 71, 2011).
"""

import numpy as np
import pandas as pd
import torch

from tsgen import scenario, spectrogram
from tsgen.model import waveforms_of
from tsgen.needs import scenario_known

MOST_BACKGROUND = 2000  # records: more would cost memory and tell no more of slopes and components
BATCH = 64  # records at once


class ScenarioLaw:
    """Values (n, p) = station term + slopes on M, ln R, M² and (ln R)² + n_components principal components.

    table: station and, where known, magnitude and distance_in_km; one that is unknown counts as the mean of all.
    """

    def __init__(self, values, table, n_components):
        self.stations = sorted(table["station"].unique())
        known = pd.DataFrame(scenario.conditions(table, scenario.NEEDED))
        self.shift, self.scale = known.mean().fillna(0.0).to_numpy(), known.std().replace(0.0, np.nan).fillna(1.0)
        design = self._design(table)
        self.coefficients = (np.linalg.pinv(design) @ values).astype(values.dtype)  # (stations + 4, p)
        left = values - (design @ self.coefficients).astype(values.dtype)
        freedom = max(1, len(values) - np.linalg.matrix_rank(design))
        direction = np.linalg.eigh((left @ left.T).astype(float))[1][:, : -n_components - 1 : -1]  # (n, components)
        self.components = (direction.T / np.sqrt(freedom)).astype(values.dtype) @ left  # as long as their deviation

    def _design(self, table):
        x = scenario.conditions(table, scenario.NEEDED)
        x = np.nan_to_num((x - self.shift) / self.scale.to_numpy())
        return np.column_stack([table["station"].to_numpy()[:, None] == np.array(self.stations), x, x**2]).astype(float)

    def mean(self, table):
        """(n, p) at the scenarios of a table; ValueError for a station that the law has not met."""
        if unknown := sorted(set(table["station"]) - set(self.stations)):
            raise ValueError(f"no station term for {', '.join(unknown)}; there are {', '.join(self.stations)}")
        return (self._design(table) @ self.coefficients).astype(self.coefficients.dtype)

    def draw(self, table, normal):
        """(n, p) about the mean; normal (n, components) standard normal."""
        return self.mean(table) + normal.astype(self.components.dtype) @ self.components


class LawControl:
    """A ``ScenarioLaw`` of numbers that a subclass reads off records (``read``) and turns into waves (``waves``).

    settings: sampling_rate_in_hz, n_samples, n_fft, hop and iterations, as config.CGMSettings has them. Fitted to the
    training records of the targets and to the background; on stations alone where no training record has a magnitude.
    """

    n_components = 8

    def __init__(self, settings, background, training):
        self.settings, self.stations = settings, tuple(training.stations)
        rows = np.linspace(0, len(background) - 1, min(len(background), MOST_BACKGROUND)).astype(int)
        table = pd.concat([training.table, background.table.iloc[rows]], ignore_index=True)
        names = ["station", *(scenario.COLUMN_OF.get(name, name) for name in scenario.NEEDED)]
        table = table[names] if scenario_known(training).any() else table[names[:1]]
        self.law = ScenarioLaw(self.read((training, background.take(rows))), table, self.n_components)
        self.bank = table.iloc[: len(training)]  # whose magnitudes and distances are asked for

    def scenarios_of(self, station, n, seed=0):
        """DataFrame of ``n`` scenarios drawn with replacement from a station's training records."""
        own = self.bank[self.bank["station"] == station]
        drawn = np.random.default_rng([seed, self.stations.index(station)]).integers(len(own), size=n)
        return own.iloc[drawn].reset_index(drop=True)

    def sample(self, scenarios, n=1, seed=0):
        """(waveforms (rows, 3, t) in cm/s², scenarios by row): ``n`` realisations of every scenario, in its order.

        A realisation follows from (seed, number of its scenario, its own number) alone.
        """
        order = [(seed, i, k) for i in range(len(scenarios)) for k in range(n)]
        table = scenarios.iloc[[i for _, i, _ in order]].reset_index(drop=True)
        waveforms = np.empty((len(table), 3, self.settings.n_samples), np.float32)
        for rows in np.array_split(np.arange(len(table)), max(1, -(-len(table) // BATCH))):
            generators = spectrogram.generators(order[i] for i in rows)
            drawn = spectrogram.normal(generators, len(self.law.components)).numpy()
            values = self.law.draw(table.iloc[rows], drawn)
            waveforms[rows] = self.waves(values, table["station"].iloc[rows], generators)
        return waveforms, table


class SpectrogramRegression(LawControl):
    """Control: the law of the ln spectrogram of three components, and a noise carrier as CGM-GM has it."""

    name = "control_regression"

    def read(self, parts):
        """(n, component · bin · frame) float32 ln amplitude; frames in the padding are as the record's last."""
        s, values = self.settings, []
        for batch in (batch for part in parts for batch in part.batches(BATCH)):
            z = spectrogram.transform(waveforms_of(batch), s.n_fft, s.hop).abs()  # (n, 3, bin, frame)
            last = (torch.from_numpy(batch.table["samples"].to_numpy(int, copy=True)) - s.n_fft // 2).clamp_min(0) // s.hop
            frame = torch.arange(z.shape[3]).minimum(last[:, None])[:, None, None].expand(z.shape)
            values.append(z.gather(3, frame).clamp_min(spectrogram.FLOOR**0.5).log().flatten(1))
        return torch.cat(values).numpy()

    def waves(self, values, stations, generators):
        s = self.settings
        level = torch.from_numpy(values).unflatten(1, (3, s.n_fft // 2 + 1, -1))
        return spectrogram.shaped_noise(level, generators, s.n_fft, s.hop, s.n_samples, s.iterations).numpy()
