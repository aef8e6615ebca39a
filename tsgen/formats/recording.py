"""What every reader hands over: one recording, decoded, in E, N, Z and cm/s², with what its header says."""

import math
import re
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

GRAVITY_IN_CM_S2 = 980.665
UNITS_IN_CM_S2 = {"cm/s^2": 1.0, "gal": 1.0, "m/s^2": 100.0, "g": GRAVITY_IN_CM_S2}
_SPELLINGS = {"cmps2": "cm/s^2", "mps2": "m/s^2"} | dict.fromkeys(("cm/s/s", "cm/s2", "cm/s**2", "cm/sec^2"), "cm/s^2")
_SPELLINGS |= dict.fromkeys(("m/s/s", "m/s2", "m/s**2", "m/sec^2"), "m/s^2")

HIGHEST_PEAK_IN_CM_S2 = 1e6  # a thousand g: no ground moves so, hence damaged numbers or another unit
LARGEST_NUMBER = 1e30  # in any unit: squares and sums of such numbers still are finite
LOWEST_RATE_IN_HZ, HIGHEST_RATE_IN_HZ = 1.0, 10_000.0  # outside, the header is damaged
LONGEST_IN_S = 86_400.0  # resampling a longer one would take gigabytes
FEWEST_SAMPLES = 2

# numbers outside are placeholders (-999, 0) or damage, and count as unknown
PLAUSIBLE = {
    "magnitude": (-3.0, 10.0),
    "depth_in_km": (-10.0, 1000.0),
    "distance_in_km": (0.0, 20_100.0),
    "vs30_in_m_per_s": (10.0, 6000.0),
    "station_latitude": (-90.0, 90.0),
    "station_longitude": (-180.0, 180.0),
    "event_latitude": (-90.0, 90.0),
    "event_longitude": (-180.0, 180.0),
}
TEXTS = ("origin_time", "start_time", "event")


class UnreadableRecord(ValueError):
    """A file that cannot be read: attributes path, reason, remedy; the message holds all three."""

    def __init__(self, path, reason, remedy):
        super().__init__(path, reason, remedy)
        self.path, self.reason, self.remedy = str(path), reason, remedy

    def __str__(self):
        return f"{self.path}: {self.reason}; {self.remedy}"


class Damaged(ValueError):
    """Raised inside a reader, which does not know the path: reason and remedy."""

    def __init__(self, reason, remedy="download the file again"):
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


@dataclass
class Recording:
    """Waveform (3, samples) in E, N, Z and cm/s² at the native rate, and the table's columns that the file knows."""

    waveform: np.ndarray
    sampling_rate_in_hz: float
    network: str
    code: str
    processing: str
    usable_from_hz: float = 0.0
    columns: dict = field(default_factory=dict)

    def settled(self, file, remove_mean=True):
        """(waveform float32, native rate, row of the table); raises Damaged for what has no meaning."""
        rate = checked_rate(self.sampling_rate_in_hz, np.shape(self.waveform)[-1])
        waveform = checked_waveform(self.waveform, remove_mean)
        row = {name: plausible(name, self.columns.get(name)) for name in PLAUSIBLE}
        row |= {name: str(self.columns.get(name) or "") for name in TEXTS}
        for name in ("p_arrival_sample", "s_arrival_sample"):
            arrival = number(self.columns.get(name))
            row[name] = arrival if 0 <= arrival < waveform.shape[1] else math.nan
        if math.isnan(row["distance_in_km"]):
            row["distance_in_km"] = epicentral_distance_in_km(row)
        station = f"{self.network}.{self.code}" if self.network else self.code
        row |= {"station": station, "kind": "recorded", "source": self.network, "file": file}
        row |= {"processing": self.processing + ("; mean removed" if remove_mean else "")}
        row |= {"samples": waveform.shape[1], "native_sampling_rate_in_hz": rate}
        row |= {"usable_from_hz": max(0.0, number(self.usable_from_hz, 0.0)), "usable_to_hz": 0.4 * rate}
        row["event_inferred"] = row["event"] == ""
        if row["event_inferred"]:
            row["event"] = inferred_event(row["start_time"], file)
        return waveform, rate, row


def checked_rate(rate_in_hz, n_samples):
    """The rate as a float; raises Damaged if no instrument has it, or if the record would last days."""
    rate = float(rate_in_hz)
    if not LOWEST_RATE_IN_HZ <= rate <= HIGHEST_RATE_IN_HZ:  # also catches NaN
        raise Damaged(f"a sampling rate of {rate:g} Hz is impossible")
    if n_samples > LONGEST_IN_S * rate:
        raise Damaged(f"it lasts {n_samples / rate / 3600:.0f} hours", "cut out the stretch with the earthquake")
    return rate


def checked_waveform(waveform, remove_mean, scale=1.0):
    """The waveform times ``scale`` as float32; raises Damaged if it is empty, not finite or no ground motion."""
    waveform = np.asarray(waveform)
    if waveform.ndim != 2 or waveform.shape[0] != 3:
        raise Damaged(f"three components are needed, found an array of shape {waveform.shape}")
    if waveform.shape[1] < FEWEST_SAMPLES:
        raise Damaged(f"it holds {waveform.shape[1]} samples")
    with np.errstate(invalid="ignore"):  # a signalling NaN would be told twice
        waveform = waveform.astype(np.float64)
    waveform = finite(waveform) * scale
    if remove_mean:
        waveform = waveform - waveform.mean(axis=1, keepdims=True)
    peak = np.abs(waveform).max()
    if peak > HIGHEST_PEAK_IN_CM_S2:
        raise Damaged(f"a peak of {peak:.3g} cm/s² is impossible", "check the unit, or download the file again")
    return waveform.astype(np.float32)


def scale_of(unit):
    """Factor from ``unit`` to cm/s²; raises Damaged for a unit that is not one of acceleration."""
    name = re.sub(r"\s", "", str(unit or "")).lower()
    name = _SPELLINGS.get(name, name)
    if name not in UNITS_IN_CM_S2:
        told = f"the unit {str(unit)[:40]!r} is unknown" if name else "no unit is given"
        raise Damaged(told, f"give unit= one of {', '.join(UNITS_IN_CM_S2)}")
    return UNITS_IN_CM_S2[name]


def number(text, missing=math.nan):
    """A float of header text or a MATLAB scalar; ``missing`` where it is none."""
    try:
        value = float(np.asarray(text).reshape(-1)[0]) if isinstance(text, np.ndarray) else float(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return missing
    return value if math.isfinite(value) else missing


def plausible(name, value):
    """The number, or NaN where it is missing or outside PLAUSIBLE[name]."""
    low, high = PLAUSIBLE[name]
    value = number(value)
    return value if low <= value <= high else math.nan


def utc(text, form="ISO8601", hours=0):
    """ISO 8601 text in UTC of ``text``, which is ``hours`` ahead of UTC; "" where it is no time of an instrument."""
    time = pd.to_datetime(str(text).strip(), format=form, errors="coerce", utc=True)
    if time is pd.NaT or not 1900 <= time.year < 2100:
        return ""
    return (time - pd.Timedelta(hours=hours)).tz_localize(None).isoformat() + "Z"


def inferred_event(start_time, file):
    """One id a minute of record start; without a start time the file is its own event."""
    if start_time:
        return "inferred_" + re.sub(r"\D", "", start_time)[:12]
    return f"inferred_{file}"


def epicentral_distance_in_km(row):
    """Great-circle distance from the coordinates of a row of the table; NaN where one is unknown."""
    names = ("event_latitude", "event_longitude", "station_latitude", "station_longitude")
    latitude, longitude, station_latitude, station_longitude = (math.radians(row[name]) for name in names)
    half = math.sin((latitude - station_latitude) / 2) ** 2
    across = math.sin((longitude - station_longitude) / 2) ** 2
    half += math.cos(latitude) * math.cos(station_latitude) * across
    return 6371.0 * 2 * math.asin(min(1.0, math.sqrt(half))) if math.isfinite(half) else math.nan


def in_order(components, names="ENZ"):
    """((3, samples) of {"E": …, "N": …, "Z": …}, note); raises Damaged naming what is missing.

    Components of one start that differ in length are cut to the shortest, and the note says so.
    """
    missing = [name for name in names if name not in components]
    if missing:
        found = " and ".join(sorted(components)) or "none"
        told = f"component {' and '.join(missing)} is missing (found {found})"
        raise Damaged(told, "put the three component files side by side")
    lengths = [len(components[name]) for name in names]
    note = "; cut to the common length" if min(lengths) < max(lengths) else ""
    return np.stack([components[name][: min(lengths)] for name in names]), note


def equal(values, what):
    """The one value of ``values``; raises Damaged if the components disagree."""
    found = sorted(set(values))
    if len(found) != 1:
        raise Damaged(f"the components differ in {what}: {', '.join(str(value) for value in found)}")
    return found[0]


def floats(text):
    """1-D float64 array of whitespace-separated numbers; raises Damaged where one is none, or not finite."""
    try:
        return finite(np.array(text.split(), dtype=np.float64))
    except Damaged:
        raise
    except ValueError as error:
        raise Damaged(f"the samples are not all numbers ({str(error)[:80]})") from None


def finite(samples):
    """The samples; raises Damaged where one is not finite, or so large that arithmetic would overflow."""
    if not (np.abs(samples) < LARGEST_NUMBER).all():  # also false for NaN
        raise Damaged("it holds values that are not finite, or that no instrument records")
    return samples
