"""What n records tell of a station's response spectra, in closed form: median + the station's term + the rest.

With a ground-motion model's median this is the regional model with a station term (Al Atik et al. 2010,
10.1785/gssrl.81.5.794); with the true median and covariances it is the best that anyone can say under a Gaussian law.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tsgen import ground_motion, intensity, simulate
from tsgen.measures import PERIODS_IN_S, SCENARIO, SPECTRAL

PLAIN_VS30, PLAIN_DEPTH_IN_KM = 400.0, 8.0  # where none is known


@dataclass(frozen=True)
class StationTerms:
    """Residual (p,) of a record = mean + δ + ε: δ ~ N(0, between) is its station's term, ε ~ N(0, within) its own."""

    mean: np.ndarray
    between: np.ndarray
    within: np.ndarray

    @classmethod
    def fit(cls, left, station):
        """By moments, from residuals left (n, p) and the station (n,) of each: within is pooled, between what stations'
        means scatter beyond it, negative eigenvalues clipped. ValueError without two records of any station."""
        _, code, n = np.unique(np.asarray(station, str), return_inverse=True, return_counts=True)
        if len(n) < 2 or n.max() < 2:
            raise ValueError("station terms need two stations, and two records of one of them")
        own, mean = np.array([left[code == i].mean(axis=0) for i in range(len(n))]), left.mean(axis=0)
        within = (left - own[code]).T @ (left - own[code]) / (len(left) - len(n))
        spread = (own - mean).T * n @ (own - mean) / (len(n) - 1)
        size, direction = np.linalg.eigh((spread - within) * (len(n) - 1) / (len(left) - (n**2).sum() / len(left)))
        return cls(mean, direction * size.clip(0) @ direction.T, within)

    def posterior(self, left):
        """(mean (p,), covariance (p, p)) of the station's term given the residuals left (n, p) of its records: A times
        their mean, and B − A B, where A = B (B + W/n)⁻¹; of none, the prior."""
        if not len(left):
            return np.zeros(len(self.mean)), self.between
        gain = self.between @ np.linalg.pinv(self.between + self.within / len(left), hermitian=True)
        return gain @ (left.mean(axis=0) - self.mean), self.between - gain @ self.between


@dataclass(frozen=True)
class SpectralLaw:
    """ln PSA at ``columns`` (of measures.SPECTRAL) of a scenario: a median, function of a table, and terms."""

    columns: tuple
    median: object
    terms: StationTerms

    @classmethod
    def fit(cls, frame, columns, median):
        """From a DataFrame with station, scenario and ln PSA; a record that lacks any is left out."""
        known = frame.dropna(subset=[*SCENARIO[:3], *columns])
        left = known[list(columns)].to_numpy(float) - median(known)
        return cls(tuple(columns), median, StationTerms.fit(left, known["station"]))

    def residuals(self, frame):
        """(n, p) of the records of a frame that show everything."""
        known = frame.dropna(subset=[*SCENARIO[1:3], *self.columns])
        return known[list(self.columns)].to_numpy(float) - self.median(known) if len(known) else np.empty((0, 0))

    def drawn(self, frame, asked, n, rng):
        """DataFrame of ``n`` draws of ln PSA for each row of the table asked, at a station whose records are ``frame``.
        The station's term is drawn anew each time: what is not known of it adds to the scatter."""
        term, doubt = self.terms.posterior(self.residuals(frame))
        centre = (self.terms.mean + term + self.median(asked)).repeat(n, axis=0)
        noise = rng.multivariate_normal(np.zeros(len(term)), doubt + self.terms.within, len(centre), method="eigh")
        return pd.DataFrame(centre + noise, columns=list(self.columns))


def bssa14(columns):
    """Median for ``SpectralLaw``: ln RotD50 (n, p) in cm/s² by Boore et al. (2014), 10.1193/070113EQS184M."""
    periods = [PERIODS_IN_S[SPECTRAL.index(name)] for name in columns]

    def median(table):
        plain = {"depth_in_km": PLAIN_DEPTH_IN_KM, "vs30_in_m_per_s": PLAIN_VS30}
        m, r, depth, vs30 = table.reindex(columns=SCENARIO[1:]).astype(float).fillna(plain).to_numpy().T
        near = ground_motion.joyner_boore(r, depth)
        with warnings.catch_warnings(action="ignore"):  # a recording beyond the model's reach is a residual, too
            return np.log(ground_motion.prediction("BSSA14", m, near, vs30, periods, depth_in_km=depth)[0])

    return median


def regressed(frame, columns):
    """Median for ``SpectralLaw``: least squares on a frame, in M, M², ln R, (ln R)², M ln R and R."""

    def design(table):
        m, r = (table[name].to_numpy(float) for name in ("magnitude", "distance_in_km"))
        return np.column_stack([m**0, m, m**2, np.log(r), np.log(r) ** 2, m * np.log(r), r])

    coefficients = np.linalg.lstsq(design(frame), frame[list(columns)].to_numpy(float))[0]
    return lambda table: design(table) @ coefficients


def simulated(settings, seeds):
    """DataFrame of station, scenario and ln PSA of all records of the networks of these seeds."""
    parts = []
    for seed in seeds:
        some = simulate.network(settings, seed)
        spectra = np.log(intensity.rotd(some, PERIODS_IN_S, (50,))[0])
        named = some.table[SCENARIO].assign(station=f"{seed}:" + some.table["station"])
        parts.append(named.join(pd.DataFrame(spectra, columns=list(SPECTRAL))))
    return pd.concat(parts, ignore_index=True)
