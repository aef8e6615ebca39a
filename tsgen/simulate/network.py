"""A network of simulated stations: its sites and its crust, its earthquakes, and their records."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from tsgen.records import EARTH_RADIUS_IN_KM, Records, epicentral_distance_in_km
from tsgen.simulate import crust, motion, site, source

NETWORK_CENTRE = (38.0, 38.3)  # latitude, longitude: a crustal region of moderate and strong shallow earthquakes
LARGEST_DISTANCE_IN_KM, DEEPEST_IN_KM = 120.0, 25.0
FIRST_ORIGIN_TIME = datetime(2000, 1, 1)
FIRST_FRESH_TIME = datetime(2050, 1, 1)  # after every catalogue, so that no fresh event meets another
SITE, EVENT, CHOICE, PAIR, FRESH, CRUST = range(6)  # first in every SeedSequence: no two kinds of draw share a stream
PLACE = ["station_latitude", "station_longitude", "event_latitude", "event_longitude"]
COLUMNS = ["station", "event", "magnitude", "depth_in_km", "distance_in_km", "vs30_in_m_per_s", *PLACE]
COLUMNS += ["stress_drop_in_bar", "site_f0_in_hz", "record_f0_in_hz"]


def stations(settings, seed=0):
    """The network's stations, a DataFrame: targets SIM.01..., then background SIM.B001...; the seed draws their ground,
    the targets' f0 stay as published. Columns: station, number, station_latitude, station_longitude, site_f0_in_hz,
    f0_ln_scatter (event to event), and what ``site.drawn`` gives."""
    s, rows = settings, []
    # counted apart: a sixth target would not move the background
    counts = {True: len(s.target_f0_in_hz), False: s.n_background_stations}
    for target, own in ((target, own) for target, count in counts.items() for own in range(count)):
        rng = _stream(SITE, seed, target, own)
        if target:
            f0, scatter, contrast = s.target_f0_in_hz[own], s.f0_ln_scatter[own], s.impedance_contrast
        else:
            f0, scatter = np.exp(rng.uniform(*np.log(s.background_f0_in_hz))), s.background_f0_ln_scatter
            contrast = rng.uniform(*s.background_contrast)
        distance = largest_distance(settings) / 3 * np.sqrt(rng.uniform())
        latitude, longitude = _destination(*NETWORK_CENTRE, distance, rng.uniform(0, 2 * np.pi))
        name, number = (f"SIM.{own + 1:02d}", own) if target else (f"SIM.B{own + 1:03d}", 1000 + own)
        row = {"station": name, "number": number, "station_latitude": latitude, "station_longitude": longitude}
        row |= {"site_f0_in_hz": f0, "f0_ln_scatter": scatter}
        rows.append(row | site.drawn(rng, f0, contrast, target, settings.without))
    return pd.DataFrame(rows)


def catalogue(settings, seed):
    """Earthquakes of ``network(settings, seed)``: event, magnitude, depth, place, time and ``source.drawn``."""
    rows, reach = [], largest_distance(settings)
    radius = np.sqrt(reach**2 - DEEPEST_IN_KM**2) - reach / 3  # no station is further than reach from any of them
    for i in range(4 * max(*settings.n_target_records, settings.n_background_records)):
        rng = _stream(EVENT, seed, i)
        magnitude = 4.0 - np.log(1 - rng.uniform() * (1 - np.exp(-2.5)))  # b = 0.43: stronger ones are kept more often
        depth = np.clip(10 * np.exp(0.4 * rng.standard_normal()), 4, DEEPEST_IN_KM)
        latitude, longitude = _destination(*NETWORK_CENTRE, radius * np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi))
        time = FIRST_ORIGIN_TIME + timedelta(days=7 * i)
        row = {"event": f"SIM.E{i + 1:04d}", "event_number": i, "magnitude": round(magnitude, 1)}
        row |= {"depth_in_km": round(depth, 1), "event_latitude": latitude, "event_longitude": longitude}
        row |= source.drawn(rng, settings)
        rows.append(row | {"time": time + timedelta(seconds=int(rng.integers(86400)))})
    return pd.DataFrame(rows)


def network(settings, seed):
    """The simulated network as Records: every target and background station with its number of records, of one
    catalogue's earthquakes strong enough for their distance. site_f0_in_hz is planted, record_f0_in_hz perturbed by
    event, distance_in_km hypocentral. Same seed, same bytes."""
    events = catalogue(settings, seed)
    counts = [*settings.n_target_records, *[settings.n_background_records] * settings.n_background_stations]
    rows = []
    for (_, station), count in zip(stations(settings, seed).iterrows(), counts, strict=True):
        pairs = events.assign(**station)
        distance = np.hypot(epicentral_distance_in_km(pairs), pairs["depth_in_km"])
        # a trigger on magnitude and distance alone: scaling given both is not biased by it
        missed = np.maximum(0, np.log10(distance / 30) - 0.5 * (pairs["magnitude"] - 4))
        order = np.lexsort((_stream(CHOICE, seed, station["number"]).uniform(size=len(pairs)), missed))
        rows.append(pairs.assign(distance_in_km=distance).iloc[np.sort(order[:count])])
    rows = pd.concat(rows, ignore_index=True)
    streams = [(PAIR, seed, row.number, row.event_number) for row in rows.itertuples()]
    return _simulate(settings, rows, streams, seed)


def fresh(settings, station, magnitude, distance_in_km, depth_in_km=None, seed=0, network_seed=0):
    """New truth: one record for each scenario, of new earthquakes and paths, at the sites and in the crust of
    ``network(settings, network_seed)``. The arguments are single values or sequences of one length; distance is
    hypocentral, depth None is 10 km (less where the earthquake is nearer). ValueError for an unknown station, or a
    depth beyond the distance."""
    depth = np.minimum(10.0, 0.8 * np.asarray(distance_in_km, float)) if depth_in_km is None else depth_in_km
    columns = np.broadcast_arrays(np.atleast_1d(station).astype(object), magnitude, distance_in_km, depth)
    names = ("station", "magnitude", "distance_in_km", "depth_in_km")
    rows = pd.DataFrame(dict(zip(names, columns, strict=True))).astype(dict.fromkeys(names[1:], float))
    sites = stations(settings, network_seed)
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
        own = {"event": f"SIM.F{seed}-{row.station.split('.')[1]}-{row.event_number + 1:04d}"}
        own |= {"event_latitude": latitude, "event_longitude": longitude} | source.drawn(rng, settings)
        events.append(own | {"time": FIRST_FRESH_TIME + timedelta(minutes=2 * (5000 * row.number + row.event_number))})
    streams = [(FRESH, seed, row.number, row.event_number, 1) for row in rows.itertuples()]
    return _simulate(settings, pd.concat([rows, pd.DataFrame(events)], axis=1), streams, network_seed)


def largest_distance(settings):
    """Hypocentral distance in km within which S arrives in the first 60 % of a record, 120 km at most."""
    s_minus_p = 1 / source.SHEAR_VELOCITY_IN_KM_PER_S - 1 / source.P_VELOCITY_IN_KM_PER_S  # s per km
    duration = settings.n_samples / settings.sampling_rate_in_hz
    return min(LARGEST_DISTANCE_IN_KM, (0.6 * duration - motion.BEFORE_P_IN_S) / s_minus_p)


def _simulate(settings, rows, streams, network_seed):
    rate, n = settings.sampling_rate_in_hz, settings.n_samples
    draws = [_stream(*stream) for stream in streams]
    shift, east, north, noise, low, high = np.array([rng.standard_normal(6) for rng in draws]).reshape(-1, 6).T
    between = settings.f0_ln_scatter_between_horizontals / np.sqrt(2)
    drawn = {"record_f0_in_hz": rows["site_f0_in_hz"] * np.exp(rows["f0_ln_scatter"] * shift)}
    drawn |= {"east": np.exp(between * east), "north": np.exp(between * north), "focused_low": low}
    drawn |= {"focused_high": high, "noise": motion.NOISE_DENSITY * np.exp(motion.NOISE_LN_SCATTER * noise)}
    rows = rows.assign(**drawn, **_between(settings, rows, network_seed))
    waveforms, size = np.empty((len(rows), 3, n), np.float32), max(1, motion.CHUNK_IN_SAMPLES // n)
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        waveforms[part] = motion.waveforms(settings, rows.iloc[part], draws[part])
    p_travel, s_travel = (rows["distance_in_km"] / source.VELOCITY[wave] for wave in "PS")
    after = p_travel - motion.BEFORE_P_IN_S
    start = [t + timedelta(seconds=seconds) for t, seconds in zip(rows["time"], after, strict=True)]
    own = {"kind": "simulated", "source": "SIM", "samples": n, "native_sampling_rate_in_hz": rate}
    own |= {"usable_from_hz": motion.LOW_CUT_IN_HZ, "usable_to_hz": 0.4 * rate}
    for name, times in (("origin_time", rows["time"]), ("start_time", start)):
        own[name] = [f"{time.isoformat()}Z" for time in times]
    own["p_arrival_sample"] = motion.BEFORE_P_IN_S * rate
    own["s_arrival_sample"] = (motion.BEFORE_P_IN_S + s_travel - p_travel) * rate
    return Records(waveforms, rate, rows[COLUMNS].assign(**own, quality=""))


def _between(settings, rows, network_seed):
    """What lies between earthquakes and sites: azimuth, radiation towards the site, directivity, the crust's terms."""
    ends = [_in_km(rows[f"{end}_latitude"], rows[f"{end}_longitude"]) for end in ("event", "station")]
    fields = [crust.Field.drawn(_stream(CRUST, network_seed, i)) for i in range(2)]
    azimuth = np.arctan2(*(ends[1] - ends[0]).T)
    take_off = np.pi - np.arccos(np.clip(rows["depth_in_km"] / rows["distance_in_km"], 0, 1).to_numpy())  # upwards
    sv, sh = source.s_radiation(*(rows[name].to_numpy() for name in ("strike", "dip", "rake")), azimuth, take_off)
    rupture = (rows[name].to_numpy() for name in ("rupture_toward", "rupture_speed", "one_way"))
    ratio = source.directivity(*rupture, azimuth) if "directivity" not in settings.without else np.ones(len(rows))
    between = {"azimuth": azimuth, "radiation": np.hypot(sv, sh), "polarisation": np.arctan2(sh, sv)}
    return between | {"corner_ratio": ratio} | crust.terms(*fields, *ends, settings)


def _in_km(latitude, longitude):
    """(n, 2) km to the east and north of the network's centre."""
    north = np.radians(latitude - NETWORK_CENTRE[0]) * EARTH_RADIUS_IN_KM
    east = np.radians(longitude - NETWORK_CENTRE[1]) * EARTH_RADIUS_IN_KM * np.cos(np.radians(NETWORK_CENTRE[0]))
    return np.stack([east, north], axis=-1)


def _stream(*numbers):
    return np.random.default_rng(np.random.SeedSequence([int(number) for number in numbers]))


def _destination(latitude, longitude, distance_in_km, azimuth):
    angle, phi = distance_in_km / EARTH_RADIUS_IN_KM, np.radians(latitude)
    reached = np.arcsin(np.sin(phi) * np.cos(angle) + np.cos(phi) * np.sin(angle) * np.cos(azimuth))
    east = np.sin(azimuth) * np.sin(angle) * np.cos(phi)
    turned = np.arctan2(east, np.cos(angle) - np.sin(phi) * np.sin(reached))
    return np.degrees(reached), longitude + np.degrees(turned)
