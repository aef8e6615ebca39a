"""The embedded default: a network of simulated stations whose site response is known.

The stochastic method (Boore 2003, Pure Appl. Geophys. 160, 635): a Brune source with random stress drop, geometrical
spreading, Q(f) and kappa shape windowed white noise into P and S motion with coda on the half space's outcrop, which a
damped layered site (SH for the horizontals, P for the vertical) filters. Stations follow from the settings; the seed
draws earthquakes, paths and noise, each record from a random stream of its own.
"""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from tsgen.records import EARTH_RADIUS_IN_KM, Records, epicentral_distance_in_km

NETWORK_CENTRE = (38.0, 38.3)  # latitude, longitude: a crustal region of moderate and strong shallow earthquakes
LARGEST_DISTANCE_IN_KM, DEEPEST_IN_KM = 120.0, 25.0
FIRST_ORIGIN_TIME = datetime(2000, 1, 1)
FIRST_FRESH_TIME = datetime(2050, 1, 1)  # after every catalogue, so that no fresh event meets another
BEFORE_P_IN_S = 5.0  # what Records.window keeps: it leaves these records in place

# crust and attenuation: Boore 2003 (constants), Raoof et al. 1999 (California: spreading, Q)
SHEAR_VELOCITY_IN_KM_PER_S, P_VELOCITY_IN_KM_PER_S = 3.5, 6.06
VELOCITY = {"P": P_VELOCITY_IN_KM_PER_S, "S": SHEAR_VELOCITY_IN_KM_PER_S}
CRUST_DENSITY = 2.8  # g/cm^3
QUALITY_AT_1_HZ, QUALITY_EXPONENT = 180.0, 0.45
SPREADING_BEND_IN_KM = 40.0  # 1/R to here, 1/sqrt(R) of guided waves beyond
KAPPA_IN_S, FREE_SURFACE = 0.03, 2.0
PATH_DURATION = (0, 7, 45, 125, 175), (0, 2.4, 8.4, 10.9, 17.4)  # km, s: Boore and Thompson 2014, active crust
RADIATION = {"P": 0.52, "S": 0.55}  # root mean square over the focal sphere
PARTITION = {"P": (0.3, 0.3, 0.9), "S": (0.707, 0.707, 0.45)}  # E, N, Z: rays arrive steeply
P_CORNER_RATIO = 1.5  # the P corner lies above the S corner
DENSITIES = (1.9, 2.4)  # g/cm^3, layer and half space
LOW_CUT_IN_HZ = 0.1  # as a processed accelerogram: integrates to displacement without drift

MEDIAN_STRESS_DROP_IN_BAR, STRESS_DROP_LN_SCATTER = 100.0, 0.4
PATH_LN_SCATTER = 0.2  # event-to-station amplitude about the median path
NOISE_DENSITY = 0.002  # cm/s^2 per root Hz: a good accelerograph in a town
NOISE_LN_SCATTER = 0.4
CODA_SHARE = 0.3  # against the window's peak: gives the D5-95 of Afshari and Stewart 2016 within a third
CHUNK_IN_SAMPLES = 400_000  # of one component at a time: larger gains nothing and costs memory

SITE, EVENT, CHOICE, PAIR, FRESH = range(5)  # first in every SeedSequence: no two kinds of draw share a stream
EVENT_COLUMNS = ["event_latitude", "event_longitude", "stress_drop_in_bar", "time"]
COLUMNS = ["station", "event", "magnitude", "depth_in_km", "distance_in_km", "vs30_in_m_per_s"]
COLUMNS += ["station_latitude", "station_longitude", "event_latitude", "event_longitude"]
COLUMNS += ["stress_drop_in_bar", "site_f0_in_hz", "record_f0_in_hz"]


def site_amplification(
    frequency_in_hz, thickness_in_m, velocity_in_m_per_s, density, damping, half_space_velocity, half_space_density
):
    """Complex transfer function of a layered site: motion of its surface over motion of the half space's outcrop.

    Vertically incident waves, Haskell-Thomson propagator from the free surface down, (..., layers) to (..., frequency).
    Damping enters as complex modulus G (1 + 2iD). velocity is Vs for the horizontals, Vp for the vertical.
    """
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


def stations(settings):
    """The network's stations, a DataFrame: targets SIM.01..., then background SIM.B001...; no seed enters.

    Columns: station, number, station_latitude, station_longitude, site_f0_in_hz, f0_ln_scatter (event to event),
    velocity_in_m_per_s and thickness_in_m of the layer, half_space_velocity_in_m_per_s, vs30_in_m_per_s.
    """
    rows, n_targets = [], len(settings.target_f0_in_hz)
    for i in range(n_targets + settings.n_background_stations):
        target = i < n_targets
        own = i if target else i - n_targets  # counted apart: a sixth target would not move the background
        rng = _stream(SITE, target, own)
        if target:
            f0, scatter = settings.target_f0_in_hz[own], settings.f0_ln_scatter[own]
            contrast = settings.impedance_contrast
        else:
            f0, scatter = np.exp(rng.uniform(*np.log(settings.background_f0_in_hz))), settings.background_f0_ln_scatter
            contrast = rng.uniform(*settings.background_contrast)
        distance = largest_distance(settings) / 3 * np.sqrt(rng.uniform())
        latitude, longitude = _destination(*NETWORK_CENTRE, distance, rng.uniform(0, 2 * np.pi))
        velocity = 200 * f0**0.25  # deeper basins are somewhat softer on average
        half_space = velocity * contrast * DENSITIES[0] / DENSITIES[1]
        name, number = (f"SIM.{own + 1:02d}", own) if target else (f"SIM.B{own + 1:03d}", 1000 + own)
        rows.append((name, number, latitude, longitude, f0, scatter, velocity, half_space))
    names = ["station", "number", "station_latitude", "station_longitude", "site_f0_in_hz", "f0_ln_scatter"]
    table = pd.DataFrame(rows, columns=[*names, "velocity_in_m_per_s", "half_space_velocity_in_m_per_s"])
    table.insert(7, "thickness_in_m", table["velocity_in_m_per_s"] / (4 * table["site_f0_in_hz"]))
    layer = table["thickness_in_m"].clip(upper=30)
    time = layer / table["velocity_in_m_per_s"] + (30 - layer) / table["half_space_velocity_in_m_per_s"]
    return table.assign(vs30_in_m_per_s=30 / time)


def catalogue(settings, seed):
    """Earthquakes of ``network(settings, seed)``: event, magnitude, depth, stress drop, place and time; a DataFrame."""
    rows, reach = [], largest_distance(settings)
    radius = np.sqrt(reach**2 - DEEPEST_IN_KM**2) - reach / 3  # no station is further than reach from any of them
    for i in range(4 * max(*settings.n_target_records, settings.n_background_records)):
        rng = _stream(EVENT, seed, i)
        magnitude = 4.0 - np.log(1 - rng.uniform() * (1 - np.exp(-2.5)))  # b = 0.43: stronger ones are kept more often
        depth = np.clip(10 * np.exp(0.4 * rng.standard_normal()), 4, DEEPEST_IN_KM)
        latitude, longitude = _destination(*NETWORK_CENTRE, radius * np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi))
        time = FIRST_ORIGIN_TIME + timedelta(days=7 * i)
        own = f"SIM.E{i + 1:04d}", i, round(magnitude, 1), round(depth, 1), latitude, longitude, _stress_drop(rng)
        rows.append((*own, time + timedelta(seconds=int(rng.integers(86400)))))
    return pd.DataFrame(rows, columns=["event", "event_number", "magnitude", "depth_in_km", *EVENT_COLUMNS])


def network(settings, seed):
    """The simulated network as Records: every target and background station with its number of records.

    Stations share one catalogue; each records a random choice of the earthquakes strong enough for their distance.
    site_f0_in_hz is planted, record_f0_in_hz perturbed by event, distance_in_km hypocentral. Same seed, same bytes.
    """
    events = catalogue(settings, seed)
    counts = [*settings.n_target_records, *[settings.n_background_records] * settings.n_background_stations]
    rows = []
    for (_, site), count in zip(stations(settings).iterrows(), counts, strict=True):
        pairs = events.assign(**site)
        distance = np.hypot(epicentral_distance_in_km(pairs), pairs["depth_in_km"])
        # a trigger on magnitude and distance alone: scaling given both is not biased by it
        missed = np.maximum(0, np.log10(distance / 30) - 0.5 * (pairs["magnitude"] - 4))
        order = np.lexsort((_stream(CHOICE, seed, site["number"]).uniform(size=len(pairs)), missed))
        rows.append(pairs.assign(distance_in_km=distance).iloc[np.sort(order[:count])])
    rows = pd.concat(rows, ignore_index=True)
    return _simulate(settings, rows, [(PAIR, seed, row.number, row.event_number) for row in rows.itertuples()])


def fresh(settings, station, magnitude, distance_in_km, depth_in_km=None, seed=0):
    """New truth: one record for each scenario at the sites, and by the law, of ``network(settings, any seed)``.

    The arguments are single values or sequences of one length; distance is hypocentral, depth None is 10 km (less where
    the earthquake is nearer). ValueError for a station that the settings do not have, or a depth beyond the distance.
    """
    depth = np.minimum(10.0, 0.8 * np.asarray(distance_in_km, float)) if depth_in_km is None else depth_in_km
    columns = np.broadcast_arrays(np.atleast_1d(station).astype(object), magnitude, distance_in_km, depth)
    names = ("station", "magnitude", "distance_in_km", "depth_in_km")
    rows = pd.DataFrame(dict(zip(names, columns, strict=True))).astype(dict.fromkeys(names[1:], float))
    sites = stations(settings)
    if unknown := sorted(set(rows["station"]) - set(sites["station"])):
        raise ValueError(f"no simulated station {', '.join(unknown)}; there are {', '.join(sites['station'])}")
    if (rows["depth_in_km"] > rows["distance_in_km"]).any():
        raise ValueError("depth_in_km must not be larger than distance_in_km, which is hypocentral")
    rows, events = rows.merge(sites, on="station", how="left", validate="many_to_one"), []
    rows["event_number"] = rows.groupby("station").cumcount()
    for row in rows.itertuples():
        rng = _stream(FRESH, seed, row.number, row.event_number)
        epicentral = np.sqrt(row.distance_in_km**2 - row.depth_in_km**2)
        place = row.station_latitude, row.station_longitude
        latitude, longitude = _destination(*place, epicentral, rng.uniform(0, 2 * np.pi))
        event = f"SIM.F{seed}-{row.station.split('.')[1]}-{row.event_number + 1:04d}"
        time = FIRST_FRESH_TIME + timedelta(minutes=2 * (5000 * row.number + row.event_number))
        events.append((event, latitude, longitude, _stress_drop(rng), time))
    streams = [(FRESH, seed, row.number, row.event_number, 1) for row in rows.itertuples()]
    events = pd.DataFrame(events, columns=["event", *EVENT_COLUMNS])
    return _simulate(settings, pd.concat([rows, events], axis=1), streams)


def largest_distance(settings):
    """Hypocentral distance in km within which S arrives in the first 60 % of a record, 120 km at most."""
    s_minus_p = 1 / SHEAR_VELOCITY_IN_KM_PER_S - 1 / P_VELOCITY_IN_KM_PER_S  # s per km
    duration = settings.n_samples / settings.sampling_rate_in_hz
    return min(LARGEST_DISTANCE_IN_KM, (0.6 * duration - BEFORE_P_IN_S) / s_minus_p)


def source_spectrum(frequency_in_hz, magnitude, stress_drop_in_bar, distance_in_km, wave="S"):
    """Fourier amplitude of acceleration on the half space's outcrop, cm/s, before partition onto components.

    C M0 (2 pi f)^2 / (1 + (f/fc)^2) G(R) exp(-pi f R / (Q(f) v)) exp(-pi kappa f), C = radiation x free surface /
    (4 pi rho v^3), Boore 2003. The first argument has the shape (frequency,), the others (n,); returns (n, frequency).
    """
    f, velocity = np.asarray(frequency_in_hz, float), VELOCITY[wave]
    columns = (magnitude, stress_drop_in_bar, distance_in_km)
    magnitude, stress_drop, distance = (np.asarray(column, float)[:, None] for column in columns)
    moment = 10 ** (1.5 * magnitude + 16.05)  # dyne cm
    corner = corner_frequency(magnitude, stress_drop) * (P_CORNER_RATIO if wave == "P" else 1)
    constant = 1e-20 * RADIATION[wave] * FREE_SURFACE / (4 * np.pi * CRUST_DENSITY * velocity**3)
    spreading = 1 / np.sqrt(distance * np.minimum(distance, SPREADING_BEND_IN_KM))
    exponent = f ** (1 - QUALITY_EXPONENT) * distance / (QUALITY_AT_1_HZ * velocity) + KAPPA_IN_S * f
    shape = (2 * np.pi * f) ** 2 / (1 + (f / corner) ** 2)
    return constant * moment * spreading * shape * np.exp(-np.pi * exponent)


def corner_frequency(magnitude, stress_drop_in_bar):
    """Corner of the Brune S spectrum in Hz, 4.9e6 beta (stress drop / M0)^(1/3); magnitude is moment magnitude."""
    return 4.9e6 * SHEAR_VELOCITY_IN_KM_PER_S * (stress_drop_in_bar / 10 ** (1.5 * magnitude + 16.05)) ** (1 / 3)


def _simulate(settings, rows, streams):
    rate, n = settings.sampling_rate_in_hz, settings.n_samples
    draws = [_stream(*stream) for stream in streams]
    shift, east, north, path, noise = np.array([rng.standard_normal(5) for rng in draws]).reshape(-1, 5).T
    between = settings.f0_ln_scatter_between_horizontals / np.sqrt(2)
    rows = rows.assign(record_f0_in_hz=rows["site_f0_in_hz"] * np.exp(rows["f0_ln_scatter"] * shift))
    rows = rows.assign(east=np.exp(between * east), north=np.exp(between * north))
    rows = rows.assign(path=np.exp(PATH_LN_SCATTER * path), noise=NOISE_DENSITY * np.exp(NOISE_LN_SCATTER * noise))
    waveforms, size = np.empty((len(rows), 3, n), np.float32), max(1, CHUNK_IN_SAMPLES // n)
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        waveforms[part] = _waveforms(settings, rows.iloc[part], draws[part])
    p_travel, s_travel = (rows["distance_in_km"] / VELOCITY[wave] for wave in "PS")
    start = [t + timedelta(seconds=after - BEFORE_P_IN_S) for t, after in zip(rows["time"], p_travel, strict=True)]
    own = {"kind": "simulated", "source": "SIM", "samples": n, "native_sampling_rate_in_hz": rate}
    own |= {"usable_from_hz": LOW_CUT_IN_HZ, "usable_to_hz": 0.4 * rate}
    for name, times in (("origin_time", rows["time"]), ("start_time", start)):
        own[name] = [f"{time.isoformat()}Z" for time in times]
    own["p_arrival_sample"] = BEFORE_P_IN_S * rate
    own["s_arrival_sample"] = (BEFORE_P_IN_S + s_travel - p_travel) * rate
    return Records(waveforms, rate, rows[COLUMNS].assign(**own, quality=""))


def _waveforms(settings, rows, draws):
    """(n, 3, t) acceleration in cm/s^2: shaped noise of P, S and ground, summed as spectra, through the site."""
    rate, n = settings.sampling_rate_in_hz, settings.n_samples
    n_fft = next_fast_len(2 * n, real=True)  # room for the filters' tails
    frequency = rfftfreq(n_fft, 1 / rate)
    normal = np.stack([rng.standard_normal(6 * n + 3 * n_fft, np.float32) for rng in draws])
    spectrum = 0
    for i, wave in enumerate("PS"):
        white = normal[:, 3 * n * i : 3 * n * (i + 1)].reshape(-1, 3, n)
        motion = source_spectrum(frequency, rows["magnitude"], rows["stress_drop_in_bar"], rows["distance_in_km"], wave)
        motion = rate * motion * rows["path"].to_numpy()[:, None]  # rate: from the integral to the discrete transform
        amplitude = (motion[:, None] * np.reshape(PARTITION[wave], (3, 1))).astype(np.float32)
        spectrum = spectrum + amplitude * rfft(white * _envelope(settings, rows, wave, n_fft)[:, None, :], n_fft)
    # gain from the source's depth to the half space: impedance's root at high frequency, none at low
    impedance = DENSITIES[1] * rows["half_space_velocity_in_m_per_s"].to_numpy()[:, None] / 1000
    gain = np.sqrt(CRUST_DENSITY * SHEAR_VELOCITY_IN_KM_PER_S / impedance)
    spectrum *= (1 + (gain - 1) * frequency / (1 + frequency)).astype(np.float32)[:, None]
    # ground noise, unit density above 3 Hz, in form near Peterson's (1993) new high-noise model
    octaves, town = np.log2(np.maximum(frequency, 1e-3) / 0.2), frequency**2 / (frequency**2 + 9)
    shape = (np.sqrt(rate / 2) * (0.3 + 0.7 * town + 0.35 * np.exp(-(octaves**2)))).astype(np.float32)
    ground = rfft(normal[:, 6 * n :].reshape(-1, 3, n_fft))
    spectrum += rows["noise"].to_numpy(np.float32)[:, None, None] * shape * ground
    spectrum *= _site_response(settings, frequency, rows)
    ratio = (frequency / LOW_CUT_IN_HZ) ** 4
    return irfft(spectrum * (ratio / np.hypot(1, ratio)).astype(np.float32), n_fft)[..., :n]


def _envelope(settings, rows, wave, n_fft):
    """Window (n, t) of one wave, unit energy over twice the record's time: Saragoni and Hart's as in Boore 2003."""
    rate, distance = settings.sampling_rate_in_hz, rows["distance_in_km"].to_numpy()[:, None]
    travel = distance / VELOCITY[wave]
    arrival = BEFORE_P_IN_S + travel - distance / P_VELOCITY_IN_KM_PER_S
    corner = corner_frequency(rows["magnitude"].to_numpy(), rows["stress_drop_in_bar"].to_numpy())[:, None]
    length = 2 * (1 / corner + np.interp(distance, *PATH_DURATION))
    since, peak = np.maximum(0, np.arange(n_fft) / rate - arrival), 0.2  # of length; down to 5 % at its end
    power = -peak * np.log(0.05) / (1 + peak * (np.log(peak) - 1))
    relative = since / (peak * length)
    coda = CODA_SHARE * -np.expm1(-relative) / (1 + since / travel)  # falls as one over the time since the origin
    envelope = np.hypot((relative * np.exp(1 - relative)) ** power, coda)
    return (envelope / np.sqrt((envelope**2).sum(1, keepdims=True)))[:, : settings.n_samples].astype(np.float32)


def _site_response(settings, frequency_in_hz, rows):
    """(n, 3, f) complex: SH for E and N, P for Z; the profile's stiffness follows the record's own f0."""
    scale, ratio = (rows["record_f0_in_hz"] / rows["site_f0_in_hz"]).to_numpy(), settings.vp_over_vs
    factor = np.stack([scale * rows["east"], scale * rows["north"], scale * ratio], axis=1)
    velocity = rows["velocity_in_m_per_s"].to_numpy()[:, None] * factor
    half_space = rows["half_space_velocity_in_m_per_s"].to_numpy()[:, None] * np.array([1, 1, ratio])
    layer = rows["thickness_in_m"].to_numpy()[:, None, None], velocity[..., None], DENSITIES[0], settings.damping
    return site_amplification(frequency_in_hz, *layer, half_space, DENSITIES[1]).astype(np.complex64)


def _stream(*numbers):
    return np.random.default_rng(np.random.SeedSequence([int(number) for number in numbers]))


def _stress_drop(rng):
    return MEDIAN_STRESS_DROP_IN_BAR * np.exp(STRESS_DROP_LN_SCATTER * rng.standard_normal())


def _destination(latitude, longitude, distance_in_km, azimuth):
    angle, phi = distance_in_km / EARTH_RADIUS_IN_KM, np.radians(latitude)
    reached = np.arcsin(np.sin(phi) * np.cos(angle) + np.cos(phi) * np.sin(angle) * np.cos(azimuth))
    east = np.sin(azimuth) * np.sin(angle) * np.cos(phi)
    turned = np.arctan2(east, np.cos(angle) - np.sin(phi) * np.sin(reached))
    return np.degrees(reached), longitude + np.degrees(turned)
