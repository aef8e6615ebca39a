"""The earthquake: a Brune source with its own stress drop, mechanism and direction of rupture."""

import numpy as np

from tsgen.simulate.region import ACTIVE, REGIONS

SHEAR_VELOCITY_IN_KM_PER_S, P_VELOCITY_IN_KM_PER_S = 3.5, 6.06
VELOCITY = {"P": P_VELOCITY_IN_KM_PER_S, "S": SHEAR_VELOCITY_IN_KM_PER_S}
CRUST_DENSITY = 2.8  # g/cm^3
KAPPA_IN_S, FREE_SURFACE = 0.03, 2.0
RADIATION = {"P": 0.52, "S": 0.55}  # root mean square over the focal sphere
P_CORNER_RATIO = 1.5  # the P corner lies above the S corner

STRESS_DROP_LN_SCATTER = {"stress": 0.6, "": 0.4}  # between events: 0.5 to 0.9 in ln (Cotton et al. 2013; Oth 2013)
MAGNITUDE_ERROR = 0.05  # of a catalogue's moment magnitude
RUPTURE_SPEED = (0.1, 0.4)  # of the shear velocity; of which a share from a half to all runs one way (Boatwright 2007)
WEAKEST_RADIATION = 0.3  # of the mean: scattering fills the nodes
ISOTROPIC_ABOVE_IN_HZ = 3.0  # scattering hides the mechanism at higher frequencies (Takemura et al. 2009)


def drawn(rng, settings):
    """What an earthquake has beside place and size: a dict of floats. Each draw is taken, switched off or not, so that
    an ablation leaves all others as they are."""
    stress, error = rng.standard_normal(2).tolist()
    strike, dip, rake, toward, speed, one_way = rng.uniform(size=6).tolist()
    scatter = STRESS_DROP_LN_SCATTER["" if "stress" in settings.without else "stress"]
    return {
        "stress_drop_in_bar": REGIONS[settings.region].stress_drop_in_bar * np.exp(scatter * stress),
        "magnitude_off": 0.0 if "magnitude error" in settings.without else MAGNITUDE_ERROR * error,
        "strike": 2 * np.pi * strike,
        "dip": np.arccos(1 - 0.9 * dip),  # any plane but the flattest
        "rake": 2 * np.pi * rake,
        "rupture_toward": 2 * np.pi * toward,
        "rupture_speed": RUPTURE_SPEED[0] + (RUPTURE_SPEED[1] - RUPTURE_SPEED[0]) * speed,
        "one_way": 0.5 + 0.5 * one_way,
    }


def s_radiation(strike, dip, rake, azimuth, take_off):
    """(SV, SH) amplitudes (n,) of a double couple over the sphere's root mean square (Aki and Richards 2002, 4.90 and
    4.91); angles in radians, azimuth from north, take-off from straight down."""
    phi = azimuth - strike
    sin, cos = np.sin, np.cos
    sv = sin(rake) * cos(2 * dip) * cos(2 * take_off) * sin(phi) - cos(rake) * cos(dip) * cos(2 * take_off) * cos(phi)
    sv += 0.5 * cos(rake) * sin(dip) * sin(2 * take_off) * sin(2 * phi)
    sv -= 0.5 * sin(rake) * sin(2 * dip) * sin(2 * take_off) * (1 + sin(phi) ** 2)
    sh = cos(rake) * cos(dip) * cos(take_off) * sin(phi) + cos(rake) * sin(dip) * sin(take_off) * cos(2 * phi)
    sh += sin(rake) * cos(2 * dip) * cos(take_off) * cos(phi)
    sh -= 0.5 * sin(rake) * sin(2 * dip) * sin(take_off) * sin(2 * phi)
    return sv / np.sqrt(2 / 5), sh / np.sqrt(2 / 5)


def mechanism(frequency_in_hz, radiation):
    """Gain (n, frequency) of the S waves by the mechanism: radiation (n,), its pattern over the root mean square."""
    seen = 1 / (1 + (np.asarray(frequency_in_hz) / ISOTROPIC_ABOVE_IN_HZ) ** 2)
    return np.maximum(np.asarray(radiation), WEAKEST_RADIATION)[:, None] ** seen


def directivity(rupture_toward, rupture_speed, one_way, azimuth):
    """How much higher the corner and shorter the source is (n,) towards where it runs: Boatwright 2007's factor for a
    rupture of which a share runs one way and the rest the other, over its mean of both directions."""
    toward, back = rupture_speed * np.cos(azimuth - rupture_toward), 1 - one_way
    return np.sqrt(one_way**2 / (1 - toward) ** 2 + back**2 / (1 + toward) ** 2) / np.hypot(one_way, back)


def corner_frequency(magnitude, stress_drop_in_bar):
    """Corner of the Brune S spectrum in Hz, 4.9e6 beta (stress drop / M0)^(1/3); magnitude is moment magnitude."""
    return 4.9e6 * SHEAR_VELOCITY_IN_KM_PER_S * (stress_drop_in_bar / 10 ** (1.5 * magnitude + 16.05)) ** (1 / 3)


def source_spectrum(
    frequency_in_hz, magnitude, stress_drop_in_bar, distance_in_km, wave="S", corner_ratio=1.0, loss=1.0,
    kappa_in_s=KAPPA_IN_S, region=ACTIVE,
):  # fmt: skip
    """Fourier amplitude (n, frequency) of acceleration on the half space's outcrop, cm/s, before partition onto
    components: C M0 (2 pi f)^2 / (1 + (f/fc)^2) G(R) exp(-pi f R / (Q(f) v)) exp(-pi kappa f), C = radiation x free
    surface / (4 pi rho v^3), Boore 2003. The first argument is (frequency,), the others (n,). corner_ratio: of the
    corner to Brune's; loss: of 1/Q to the region's."""
    f, velocity = np.asarray(frequency_in_hz, float), VELOCITY[wave]
    columns = (magnitude, stress_drop_in_bar, distance_in_km, corner_ratio, loss, kappa_in_s)
    columns = (np.atleast_1d(np.asarray(column, float))[:, None] for column in columns)
    magnitude, stress_drop, distance, ratio, loss, kappa = columns
    moment = 10 ** (1.5 * magnitude + 16.05)  # dyne cm
    corner = corner_frequency(magnitude, stress_drop) * ratio * (P_CORNER_RATIO if wave == "P" else 1)
    constant = 1e-20 * RADIATION[wave] * FREE_SURFACE / (4 * np.pi * CRUST_DENSITY * velocity**3)
    near, beyond = np.minimum(distance, region.spreading_bend_in_km), region.spreading_beyond
    spreading = 1 / np.sqrt(distance ** (2 * beyond) * near ** (2 - 2 * beyond))
    exponent = loss * f ** (1 - region.quality_exponent) * distance / (region.quality_at_1_hz * velocity) + kappa * f
    shape = (2 * np.pi * f) ** 2 / (1 + (f / corner) ** 2)
    return constant * moment * spreading * shape * np.exp(-np.pi * exponent)
