"""Two controls without a network rest on least squares: here what they share, and the first, a regressed spectrogram.

The law is a ground-motion model's (Joyner and Boore 1981, BSSA 71, 2011; Boore et al. 2014, Earthquake Spectra 30,
1057), for many numbers of a record at once, with the principal components of its residuals drawn as Gaussians.
"""

import numpy as np
import pandas as pd
import torch

from tsgen import scenario, spectrogram
from tsgen.model import waveforms_of
from tsgen.needs import scenario_known
from tsgen.scenario import BATCH


class ScenarioLaw:
    """Values (n, p) = station term + terms in M, ln R, M², (ln R)², M ln R and R + principal components of the rest.
    table: station and, where known, magnitude and distance_in_km; what is unknown counts as the mean of the others."""

    def __init__(self, values, table, n_components):
        self.stations = np.unique(table["station"])
        known = pd.DataFrame(scenario.conditions(table, scenario.NEEDED))
        self.shift, self.scale = known.mean().fillna(0).to_numpy(), known.std().replace(0, np.nan).fillna(1).to_numpy()
        design = self._design(table)
        inverse = np.linalg.pinv(design, 1e-10)  # the constant of R, and M where unknown, add nothing to the stations'
        freedom = max(1, len(design) - np.linalg.matrix_rank(design, rtol=1e-10))
        self.coefficients = inverse.astype(values.dtype) @ values  # (stations + 6, p)
        left = values - self.mean(table)
        direction = np.linalg.eigh((left @ left.T).astype(float))[1][:, : -n_components - 1 : -1]  # (n, components)
        # else the processor chooses the sign, as it would of the sum: residuals about stations' means add up to 0
        direction *= np.where((direction**3).sum(axis=0) < 0, -1, 1)
        self.components = (direction.T / np.sqrt(freedom)).astype(values.dtype) @ left  # each as long as it scatters

    def _design(self, table):
        m, ln_r = np.nan_to_num((scenario.conditions(table, scenario.NEEDED) - self.shift) / self.scale).T
        terms = table["station"].to_numpy()[:, None] == self.stations
        # the last, R over its geometric mean: arrivals move with it; without it ln D5-95 scatters 2.9 times the truth's
        return np.column_stack([terms, m, ln_r, m**2, ln_r**2, m * ln_r, np.exp(self.scale[1] * ln_r)])

    def mean(self, table):
        """(n, p) at the scenarios of a table, all of stations that the law was fitted to."""
        return self._design(table).astype(self.coefficients.dtype) @ self.coefficients

    def draw(self, table, normal):
        """(n, p) about the mean; normal (n, components) standard normal."""
        return self.mean(table) + normal.astype(self.components.dtype) @ self.components


class LawControl(scenario.Conditional):
    """A ``ScenarioLaw`` of numbers that a subclass reads off records (``read``) and turns into waves (``waves``).
    settings: as config.CGMSettings. Fitted to the targets' training records and the background; by station alone where
    no training record has magnitude and distance."""

    n_components = 8  # 16 draw noise as well: at quick the station score falls from 0.89 to 0.84

    def __init__(self, settings, background, training):
        self.settings, self.stations = settings, tuple(training.stations)
        self.conditions = scenario.NEEDED if scenario_known(training).any() else ()
        parts = scenario.learned_from(training, background)
        table = pd.concat([part.table for part in parts], ignore_index=True)
        table = table.reindex(columns=scenario.columns(self.conditions))
        self.law = ScenarioLaw(self.read(parts), table, self.n_components)
        mean = {"magnitude": self.law.shift[0], "distance_in_km": np.exp(self.law.shift[1])}
        self.bank = table[: len(training)].fillna(mean)

    def waves_of(self, scenarios, generators):
        normal = spectrogram.normal(generators, len(self.law.components)).numpy()
        return self.waves(self.law.draw(scenarios, normal), scenarios["station"], generators)


class SpectrogramRegression(LawControl):
    """Control: the law of the ln spectrogram of three components, and CGM-GM's carrier, noise by Griffin and Lim."""

    name = "control_regression"

    def read(self, parts):
        """(n, component · bin · frame) float32, ln cm/s²; frames in the padding are as the record's last."""
        s, values = self.settings, []
        for batch in (batch for part in parts for batch in part.batches(BATCH)):
            level = spectrogram.transform(waveforms_of(batch), s.n_fft, s.hop).abs().clamp_min(spectrogram.FLOOR**0.5)
            last = (torch.tensor(batch.table["samples"].tolist()) - s.n_fft // 2).clamp_min(0) // s.hop
            frame = torch.arange(level.shape[3]).minimum(last[:, None])[:, None, None].expand(level.shape)
            values.append(level.gather(3, frame).log().flatten(1))
        return torch.cat(values).numpy()

    def waves(self, values, stations, generators):
        """(n, 3, t) cm/s²: noise whose spectrogram has the mean ln amplitude ``values``, as ``read`` gives it."""
        s = self.settings
        level = torch.from_numpy(values).unflatten(1, (3, s.n_fft // 2 + 1, -1))
        return spectrogram.shaped_noise(level, generators, s.n_fft, s.hop, s.n_samples, s.iterations).numpy()
