"""The crust between earthquakes and sites: its attenuation and its scattering differ from place to place.
Two random fields over the map, drawn with the network's seed, are felt at the earthquake, along the way and under the
site: as cell-specific attenuation is found to be (Kuehn, Abrahamson and Walling 2019, 10.1785/0120180287), and as
envelopes broaden by inhomogeneities (Saito, Sato and Ohtake 2002, 10.1029/2001JB000264)."""

from typing import NamedTuple

import numpy as np

from tsgen.simulate.region import REGIONS

CORRELATION_LENGTH_IN_KM = 10.0
N_WAVES, N_POINTS = 96, 16  # of a field, and along a path
ON_THE_WAY = 0.2, 0.9  # share of the way that is neither the source's surroundings nor the site's
ATTENUATION_LN_SCATTER = 0.6  # of 1/Q at a place
KAPPA_LN_SCATTER = {"site": 0.45, "source": 0.5}  # Van Houtte et al. 2011; source: Purvance and Anderson 2003
SCATTERING = {"source": 0.0, "path": 1.45, "site": 0.42}  # of ln duration by ln scattering at or along these
FOCUSING_LN_SCATTER = 0.25  # of a path's amplitude: what no parameter here explains
FOCUSING_DIVIDED_AT_IN_HZ = 4.0  # long and short waves are focused by bodies of other sizes


class Field(NamedTuple):
    """A stationary Gaussian field of mean 0 and variance 1: a sum of plane waves with random phase."""

    wavenumbers: np.ndarray  # (N_WAVES, 2) radians a km, east and north
    phases: np.ndarray

    @classmethod
    def drawn(cls, rng):
        return cls(rng.standard_normal((N_WAVES, 2)) / CORRELATION_LENGTH_IN_KM, rng.uniform(0, 2 * np.pi, N_WAVES))

    def at(self, east_in_km, north_in_km):
        place = np.stack([east_in_km, north_in_km], axis=-1)
        return np.sqrt(2 / N_WAVES) * np.cos(place @ self.wavenumbers.T + self.phases).sum(axis=-1)

    def between(self, source, site):
        """{"source", "path", "site"}: values (n,) at both ends, and the mean on the way. Ends are (n, 2) in km."""
        share = np.array([0, *np.linspace(*ON_THE_WAY, N_POINTS), 1])[:, None, None]
        along = self.at(*np.moveaxis(source + share * (site - source), -1, 0))  # (N_POINTS + 2, n)
        return {"source": along[0], "path": along[1:-1].mean(axis=0), "site": along[-1]}


def focusing(frequency_in_hz, low, high):
    """Gain (n, frequency) of paths with standard normal terms (n,) for long and for short waves."""
    share = 1 / (1 + np.asarray(frequency_in_hz) / FOCUSING_DIVIDED_AT_IN_HZ)
    low, high = (np.asarray(each, float)[:, None] for each in (low, high))
    return np.exp(FOCUSING_LN_SCATTER * (share * low + (1 - share) * high) / np.hypot(share, 1 - share))


def terms(attenuation, scattering, source, site, settings):
    """{"loss" of 1/Q, "kappa_in_s", "broadening" of the duration} (n,) of paths between places (n, 2) in km."""
    lost, broad = attenuation.between(source, site), scattering.between(source, site)
    # what is switched off is 0 times as strong
    lossy, kappa, wide = (name not in settings.without for name in ("attenuation", "kappa", "scattering"))
    region = REGIONS[settings.region]
    medians = {"site": region.site_kappa_in_s, "source": region.source_kappa_in_s}
    kappas = (median * np.exp(kappa * KAPPA_LN_SCATTER[name] * lost[name]) for name, median in medians.items())
    found = {"loss": np.exp(lossy * ATTENUATION_LN_SCATTER * lost["path"]), "kappa_in_s": sum(kappas)}
    return found | {"broadening": np.exp(wide * sum(SCATTERING[name] * broad[name] for name in SCATTERING))}
