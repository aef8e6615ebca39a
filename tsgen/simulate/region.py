"""Regions by name: how strong a source is, and how its waves fade and lengthen on their way to the site: an active
crust and the stable continent, by point-source terms of western and eastern North America (Campbell 2003, BSSA 93,
1012). Velocity and density differ by 3 % and are those of the active crust in both."""

from typing import NamedTuple


class Region(NamedTuple):
    """One region's terms, by default the active crust's."""

    stress_drop_in_bar: float = 150.0  # median
    quality_at_1_hz: float = 180.0  # Raoof et al. 1999 (California)
    quality_exponent: float = 0.45
    spreading_bend_in_km: float = 40.0  # 1/R to here
    spreading_beyond: float = 0.5  # exponent of 1/R from there on: 1/sqrt(R) of guided waves
    path_duration: tuple = (0, 7, 45, 125, 175), (0, 2.4, 8.4, 10.9, 17.4)  # km, s: Boore and Thompson 2014
    site_kappa_in_s: float = 0.024  # medians; with their scatter the means make up 0.03
    source_kappa_in_s: float = 0.004


ACTIVE = Region()
STABLE = Region(
    stress_drop_in_bar=280.0,  # up to M 5: Atkinson and Boore 2011, BSSA 101, 1121
    quality_at_1_hz=680.0,  # this and what follows: Atkinson and Boore 1995, BSSA 85, 17, as in Campbell 2003
    quality_exponent=0.36,
    spreading_bend_in_km=70.0,
    spreading_beyond=0.0,  # to 130 km, farther than any station: waves reflected at the crust's base make up for it
    path_duration=((0, 10, 70, 130), (0, 0, 9.6, 7.8)),
    site_kappa_in_s=0.0048,  # hard rock: a mean of 0.006, divided as in the active crust
    source_kappa_in_s=0.0008,
)
REGIONS = {"active": ACTIVE, "stable": STABLE}
