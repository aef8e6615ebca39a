"""The ground under a station: two layers on a half space, the upper soft; what they amplify, and how its waves go."""

import numpy as np

DENSITIES = (1.9, 2.4)  # g/cm^3, layers and half space
CRUST = 2.8, 3.5  # g/cm^3 and km/s at the source
SHEAR_VELOCITY_IN_M_PER_S, VELOCITY_LN_SCATTER = 220.0, 0.5  # of the layer at f0 1 Hz; its scatter is the site's own
VELOCITY_EXPONENT = 0.25  # of f0: deeper basins are somewhat softer on average
DOUBLE_SHARE = 0.25  # of background sites that stand on a second, deeper layer
DEEPER = (2.0, 8.0)  # times as deep is its base, log-uniform
EDGE_IN_KM = (2.0, 14.0)  # from a basin's edge to the station


def site_amplification(
    frequency_in_hz, thickness_in_m, velocity_in_m_per_s, density, damping, half_space_velocity, half_space_density
):
    """Complex transfer function of a layered site: motion of its surface over motion of the half space's outcrop.
    Vertically incident waves, Haskell-Thomson propagator from the free surface down, (..., layers) to (..., frequency),
    damping as complex modulus G (1 + 2iD). velocity is Vs for the horizontals, Vp for the vertical."""
    omega = 2 * np.pi * np.asarray(frequency_in_hz, float)
    layers = (np.asarray(a, float) for a in (thickness_in_m, velocity_in_m_per_s, density, damping))
    layers = np.broadcast_arrays(*layers)
    displacement, stress = 1.0, 0.0  # stress is over i omega, so that it stays finite at 0 Hz
    for i in range(layers[0].shape[-1]):
        thickness, velocity, rho, ratio = (a[..., i, None] for a in layers)
        velocity = velocity * np.sqrt(1 + 2j * ratio)
        impedance, phase = rho * velocity, omega * (thickness / velocity)
        cosine, sine, above = np.cos(phase), np.sin(phase), displacement
        displacement = cosine * above + 1j * sine * stress / impedance
        stress = 1j * impedance * sine * above + cosine * stress
    half_space = np.asarray(half_space_velocity, float) * half_space_density
    return 1 / (displacement + stress / half_space[..., None])


def drawn(rng, f0_in_hz, contrast, target, without):
    """What a site has beside place and f0: a dict. contrast: impedance of the half space over the upper layer's."""
    own, double, deeper, edge, azimuth = rng.standard_normal(), *rng.uniform(size=4)
    own = 0.0 if "vs30" in without else own
    velocity = SHEAR_VELOCITY_IN_M_PER_S * f0_in_hz**VELOCITY_EXPONENT * np.exp(VELOCITY_LN_SCATTER * own)
    half_space = velocity * contrast * DENSITIES[0] / DENSITIES[1]
    thickness = velocity / (4 * f0_in_hz)
    site = {"velocity_in_m_per_s": velocity, "thickness_in_m": thickness, "half_space_velocity_in_m_per_s": half_space}
    # a single layer stands on another that is the half space already, in all but name
    site |= {"second_velocity_in_m_per_s": half_space * DENSITIES[1] / DENSITIES[0], "second_thickness_in_m": 1.0}
    if not target and double < DOUBLE_SHARE and "layers" not in without:
        middle = velocity * np.sqrt(contrast)  # shared by both interfaces
        depth = thickness * DEEPER[0] * (DEEPER[1] / DEEPER[0]) ** deeper
        site |= {"second_velocity_in_m_per_s": middle, "second_thickness_in_m": depth * middle / velocity}
    low, high = EDGE_IN_KM
    site |= {"edge_in_km": low + (high - low) * edge, "edge_azimuth": 2 * np.pi * azimuth}
    return site | {"vs30_in_m_per_s": vs30(site)}


def vs30(site):
    """Mean shear velocity of the upper 30 m by travel time, m/s."""
    left, time = 30.0, 0.0
    for layer in ("", "second_"):
        part = min(left, site[f"{layer}thickness_in_m"])
        time, left = time + part / site[f"{layer}velocity_in_m_per_s"], left - part
    return 30 / (time + left / site["half_space_velocity_in_m_per_s"])


def response(settings, frequency_in_hz, rows):
    """(n, 3, f) complex: SH for E and N, P for Z; the profile's stiffness follows the record's own f0."""
    scale, ratio = (rows["record_f0_in_hz"] / rows["site_f0_in_hz"]).to_numpy(), settings.vp_over_vs
    factor = np.stack([scale * rows["east"], scale * rows["north"], scale * ratio], axis=1)[..., None]
    layers = [rows[[name, f"second_{name}"]].to_numpy()[:, None] for name in ("thickness_in_m", "velocity_in_m_per_s")]
    half_space = rows["half_space_velocity_in_m_per_s"].to_numpy()[:, None] * np.array([1, 1, ratio])
    of = layers[0], layers[1] * factor, DENSITIES[0], settings.damping, half_space, DENSITIES[1]
    return site_amplification(frequency_in_hz, *of).astype(np.complex64)


def gain_of_the_crust(frequency_in_hz, half_space_velocity_in_m_per_s):
    """(n, f) from the source's depth to the half space: impedance's root at high frequency, none at low."""
    impedance = DENSITIES[1] * np.asarray(half_space_velocity_in_m_per_s)[:, None] / 1000
    gain = np.sqrt(CRUST[0] * CRUST[1] / impedance)
    return 1 + (gain - 1) * frequency_in_hz / (1 + frequency_in_hz)
