"""Accelerograms: windowed noise of P, S and coda, components that move together, and waves of the basin behind S."""

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from tsgen.simulate import site
from tsgen.simulate.crust import focusing
from tsgen.simulate.region import REGIONS
from tsgen.simulate.source import P_VELOCITY_IN_KM_PER_S, VELOCITY, corner_frequency, mechanism, source_spectrum

BEFORE_P_IN_S = 5.0  # what Records.window keeps: it leaves these records in place
PARTITION = {"P": (0.3, 0.3, 0.9), "S": (0.707, 0.707, 0.45)}  # E, N, Z: rays arrive steeply
CODA_SHARE = 0.3  # against the window's peak: gives the D5-95 of Afshari and Stewart 2016 within a third
CODA_EXPONENT = 0.5  # of broadening: where a path scatters more, more of it is coda
NOISE_DENSITY = 0.002  # cm/s^2 per root Hz: a good accelerograph in a town
NOISE_LN_SCATTER = 0.4
LOW_CUT_IN_HZ = 0.1  # as a processed accelerogram: integrates to displacement without drift
CHUNK_IN_SAMPLES = 400_000  # of one component at a time: larger gains nothing and costs memory

POLARISED = {"P": 0.3, "S": 0.2}  # share of the horizontals' energy in one direction (Penzien and Watabe 1975)
CONVERTED = 0.25  # share of the vertical's S energy: SV converted at the layer's base (as of P in Langston 1979)
SURFACE_SHARE = 2.0  # of S's Fourier amplitude at long periods: waves of the basin's edge (Joyner 2000)
SURFACE_CORNER_IN_HZ, SURFACE_QUALITY = 0.8, 30.0
PHASE_VELOCITY_IN_KM_PER_S = {"radial": (0.6, 2.4), "transverse": (0.7, 2.9)}  # at short and at long periods
DISPERSION_IN_HZ = 0.35  # where it lies half-way
ELLIPTICITY = 0.8  # vertical over radial, a quarter of a period apart
EXCITED_IN_KM = 20.0  # a source this deep excites 1/e of what one at the surface does


def waveforms(settings, rows, draws):
    """(n, 3, t) acceleration in cm/s^2: P, S and ground noise as spectra, through the site; then the basin's waves."""
    rate, n = settings.sampling_rate_in_hz, settings.n_samples
    n_fft = next_fast_len(2 * n, real=True)  # room for the filters' tails
    frequency = rfftfreq(n_fft, 1 / rate)
    normal = np.stack([rng.standard_normal(7 * n + 3 * n_fft, np.float32) for rng in draws])
    body, first = 0, 0
    for wave, count in (("P", 3), ("S", 4)):
        white = normal[:, first * n : (first + count) * n].reshape(-1, count, n)
        first += count
        noise = rfft(white * envelope(settings, rows, wave, n_fft)[:, None, :], n_fft)
        noise = together(wave, noise, rows, settings.without) * np.reshape(PARTITION[wave], (3, 1)).astype(np.float32)
        amplitude = radiated(frequency, rows, wave, settings)
        body = body + (rate * amplitude).astype(np.float32)[:, None] * noise  # rate: from the integral to the sum
    crust = site.gain_of_the_crust(frequency, rows["half_space_velocity_in_m_per_s"]).astype(np.float32)[:, None]
    # ground noise, unit density above 3 Hz, in form near Peterson's (1993) new high-noise model
    octaves, town = np.log2(np.maximum(frequency, 1e-3) / 0.2), frequency**2 / (frequency**2 + 9)
    shape = (np.sqrt(rate / 2) * (0.3 + 0.7 * town + 0.35 * np.exp(-(octaves**2)))).astype(np.float32)
    ground = rows["noise"].to_numpy(np.float32)[:, None, None] * shape
    ground = ground * rfft(normal[:, first * n :].reshape(-1, 3, n_fft))
    spectrum = (body * crust + ground) * site.response(settings, frequency, rows)
    if "surface waves" not in settings.without:
        spectrum += (rate * basin_waves(frequency, rows, settings) * crust).astype(np.complex64)
    ratio = (frequency / LOW_CUT_IN_HZ) ** 4
    return irfft(spectrum * (ratio / np.hypot(1, ratio)).astype(np.float32), n_fft)[..., :n]


def radiated(frequency, rows, wave, settings):
    """(n, f) Fourier amplitude of one wave at the half space, in cm/s."""
    earthquake = rows["magnitude"] + rows["magnitude_off"], rows["stress_drop_in_bar"], rows["distance_in_km"]
    of = rows["corner_ratio"], rows["loss"], rows["kappa_in_s"], REGIONS[settings.region]
    amplitude = source_spectrum(frequency, *earthquake, wave, *of)
    if "focusing" not in settings.without:
        amplitude = amplitude * focusing(frequency, rows["focused_low"], rows["focused_high"])
    if wave == "P" or "mechanism" in settings.without:
        return amplitude
    return amplitude * mechanism(frequency, rows["radiation"])


def together(wave, noise, rows, without):
    """(n, 3, f) of unit power from independent noise: E and N share a direction, the vertical moves with the radial.
    noise: (n, 3, f) of P, whose vertical the horizontals follow; (n, 4, f) of S, the last for what they share."""
    if "converted" in without:
        return noise[:, :3]
    share, azimuth = POLARISED[wave], rows["azimuth"].to_numpy()
    direction = azimuth if wave == "P" else azimuth + rows["polarisation"].to_numpy()
    common = noise[:, 2] if wave == "P" else noise[:, 3]
    towards = np.sqrt(2 * share) * np.stack([np.sin(direction), np.cos(direction)], axis=1).astype(np.float32)
    horizontal = np.sqrt(1 - share, dtype=np.float32) * noise[:, :2] + towards[..., None] * common[:, None]
    if wave == "P":
        return np.concatenate([horizontal, noise[:, 2:]], axis=1)
    ray = np.stack([np.sin(azimuth), np.cos(azimuth)], axis=1).astype(np.float32)[..., None]
    radial = (horizontal * ray).sum(axis=1)
    up = np.sqrt(1 - CONVERTED, dtype=np.float32) * noise[:, 2] + np.sqrt(CONVERTED, dtype=np.float32) * radial
    return np.concatenate([horizontal, up[:, None]], axis=1)


def envelope(settings, rows, wave, n_fft):
    """Window (n, t) of one wave, unit energy over twice the record's time: Saragoni and Hart's as in Boore 2003."""
    rate, distance = settings.sampling_rate_in_hz, rows["distance_in_km"].to_numpy()[:, None]
    travel = distance / VELOCITY[wave]
    arrival = BEFORE_P_IN_S + travel - distance / P_VELOCITY_IN_KM_PER_S
    corner = corner_frequency(rows["magnitude"].to_numpy(), rows["stress_drop_in_bar"].to_numpy())[:, None]
    broadening = rows["broadening"].to_numpy()[:, None]
    source = 1 / (corner * rows["corner_ratio"].to_numpy()[:, None])
    length = 2 * (source + broadening * np.interp(distance, *REGIONS[settings.region].path_duration))
    since, peak = np.maximum(0, np.arange(n_fft) / rate - arrival), 0.2  # of length; down to 5 % at its end
    power = -peak * np.log(0.05) / (1 + peak * (np.log(peak) - 1))
    relative = since / (peak * length)
    # falls as one over the time since the origin
    coda = CODA_SHARE * broadening**CODA_EXPONENT * -np.expm1(-relative) / (1 + since / travel)
    shape = np.hypot((relative * np.exp(1 - relative)) ** power, coda)
    return (shape / np.sqrt((shape**2).sum(1, keepdims=True)))[:, : settings.n_samples].astype(np.float32)


def basin_waves(frequency, rows, settings):
    """(n, 3, f) complex, cm/s: Rayleigh and Love waves from the basin's edge, set off by S and dispersed on their way,
    which alone decides their phase."""
    distance, depth = (rows[name].to_numpy()[:, None] for name in ("distance_in_km", "depth_in_km"))
    arrival = BEFORE_P_IN_S + distance * (1 / VELOCITY["S"] - 1 / VELOCITY["P"])
    edge = rows["edge_in_km"].to_numpy()[:, None]
    size = SURFACE_SHARE * np.exp(-depth / EXCITED_IN_KM) * radiated(frequency, rows, "S", settings)
    size = size * np.exp(-((frequency / SURFACE_CORNER_IN_HZ) ** 2))
    waves = {}
    for name, (slow, fast) in PHASE_VELOCITY_IN_KM_PER_S.items():
        velocity = slow + (fast - slow) / (1 + (frequency / DISPERSION_IN_HZ) ** 2)
        late = arrival + edge / velocity
        lost = np.exp(-np.pi * frequency * edge / (SURFACE_QUALITY * velocity))
        waves[name] = size * lost * np.exp(-2j * np.pi * frequency * late)
    sin, cos = (of(rows["edge_azimuth"].to_numpy())[:, None] for of in (np.sin, np.cos))
    east = waves["radial"] * sin - waves["transverse"] * cos
    north = waves["radial"] * cos + waves["transverse"] * sin
    return np.stack([east, north, 1j * ELLIPTICITY * waves["radial"]], axis=1)
