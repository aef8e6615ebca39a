"""What every reader hands over: one recording, decoded, in E, N, Z and cm/s², with what its header says."""

import contextlib
import math
import re
import warnings
from dataclasses import dataclass, field

import numpy as np

from tsgen.records import SAMPLE_COLUMNS, epicentral_distance_in_km

GRAVITY_IN_CM_S2 = 980.665
UNITS_IN_CM_S2 = {"cm/s^2": 1.0, "gal": 1.0, "m/s^2": 100.0, "g": GRAVITY_IN_CM_S2}
_SPELLINGS = re.compile(r"(ps|/s(ec)?(\^|\*\*)?)2$|/s/s$")  # cmps2, m/s2, m/s**2, cm/sec^2, m/s/s

HIGHEST_PEAK_IN_CM_S2 = 1e6  # a thousand g: no ground moves so, hence damaged numbers or another unit
LARGEST_NUMBER = 1e30  # in any unit: squares and sums of such numbers still are finite
LOWEST_RATE_IN_HZ, HIGHEST_RATE_IN_HZ = 1.0, 10_000.0  # outside, the header is damaged
LONGEST_IN_S = 86_400.0  # resampling a longer one would take gigabytes
LARGEST_TEXT_IN_BYTES = 64 * 2**20  # text takes some ten times its size while it is parsed

# numbers outside are placeholders (-999, 0) or damage, and count as unknown
PLAUSIBLE = {"magnitude": (-3.0, 10.0), "depth_in_km": (-10.0, 1000.0), "distance_in_km": (0.0, 20_100.0)}
PLAUSIBLE |= {"vs30_in_m_per_s": (10.0, 6000.0)}
PLAUSIBLE |= {"station_latitude": (-90.0, 90.0), "station_longitude": (-180.0, 180.0)}
PLAUSIBLE |= {"event_latitude": (-90.0, 90.0), "event_longitude": (-180.0, 180.0)}


class UnreadableRecord(ValueError):
    """A file that cannot be read: attributes path, reason, remedy; the message holds all three."""

    def __init__(self, path, reason, remedy):
        super().__init__(path, reason, remedy)
        self.path, self.reason, self.remedy = str(path), reason, remedy

    def __str__(self):
        return f"{self.path}: {self.reason}; {self.remedy}"


class Damaged(ValueError):
    """Raised inside a reader, which does not know the path; the message holds reason and remedy."""

    def __init__(self, reason, remedy="download the file again"):
        super().__init__(reason, remedy)
        self.reason, self.remedy = reason, remedy

    def __str__(self):
        return f"{self.reason}; {self.remedy}"


@dataclass
class Recording:
    """Waveform (3, samples) in E, N, Z and cm/s² at the native rate, and the table's columns that the file knows.
    remarks: reasons why it is poor that only its reader sees; counts: (3, samples) before a response was removed."""

    waveform: np.ndarray
    sampling_rate_in_hz: float
    network: str
    code: str
    processing: str
    usable_from_hz: float = 0.0
    columns: dict = field(default_factory=dict)
    remarks: tuple = ()
    counts: np.ndarray | None = None

    def settled(self, file):
        """(waveform float32, its mean removed, native rate, row of the table); raises Damaged for the meaningless."""
        if not self.code:
            raise Damaged("the header names no station")
        waveform, rate = checked(self.waveform, self.sampling_rate_in_hz, remove_mean=True)
        row = {name: plausible(name, self.columns.get(name)) for name in PLAUSIBLE}
        row |= {name: str(self.columns.get(name) or "") for name in ("origin_time", "start_time", "event")}
        for name in SAMPLE_COLUMNS:
            arrival = number(self.columns.get(name))
            row[name] = arrival if 0 <= arrival < waveform.shape[1] else math.nan
        if math.isnan(row["distance_in_km"]):
            row["distance_in_km"] = float(epicentral_distance_in_km(row))
        row |= {"station": f"{self.network}.{self.code}" if self.network else self.code, "kind": "recorded"}
        row |= {"source": self.network, "file": file, "processing": self.processing + "; mean removed"}
        row |= {"samples": waveform.shape[1], "native_sampling_rate_in_hz": rate}
        row |= {"usable_from_hz": max(0.0, number(self.usable_from_hz, 0.0)), "usable_to_hz": 0.4 * rate}
        row |= {"event_inferred": row["event"] == "", "remarks": self.remarks, "counts": self.counts}
        row["event"] = row["event"] or inferred_event(row["start_time"], file)
        return waveform, rate, row


def checked(waveform, rate_in_hz, scale=1.0, remove_mean=False):
    """(waveform times ``scale`` as float32, rate as a float); raises Damaged for what no instrument records."""
    waveform, rate = np.asarray(waveform), float(rate_in_hz)
    if waveform.ndim != 2 or waveform.shape[0] != 3:
        raise Damaged(f"three components are needed, found an array of shape {waveform.shape}")
    if not LOWEST_RATE_IN_HZ <= rate <= HIGHEST_RATE_IN_HZ:  # also catches NaN
        raise Damaged(f"a sampling rate of {rate:g} Hz is impossible")
    if (n := waveform.shape[1]) > LONGEST_IN_S * rate:
        raise Damaged(f"it lasts {n / rate / 3600:.0f} hours", "cut out the stretch with the earthquake")
    if n < 2:
        raise Damaged(f"it holds {n} samples")
    waveform = finite(waveform) * scale
    if remove_mean:
        waveform = waveform - waveform.mean(axis=1, keepdims=True)
    if (peak := np.abs(waveform).max()) > HIGHEST_PEAK_IN_CM_S2:
        raise Damaged(f"a peak of {peak:.3g} cm/s² is impossible", "check the unit, or download the file again")
    return waveform.astype(np.float32), rate


def scale_of(unit):
    """Factor from ``unit`` to cm/s²; raises Damaged for a unit that is not one of acceleration."""
    name = _SPELLINGS.sub("/s^2", re.sub(r"\s", "", str(unit or "")).lower())
    if name not in UNITS_IN_CM_S2:
        told = f"the unit {str(unit)[:40]!r} is unknown" if name else "no unit is given"
        raise Damaged(told, f"give unit= one of {', '.join(UNITS_IN_CM_S2)}")
    return UNITS_IN_CM_S2[name]


def number(text, missing=math.nan):
    """A float of header text or a MATLAB scalar; ``missing`` where it is none."""
    try:
        value = float(text.reshape(-1)[0] if isinstance(text, np.ndarray) else text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return missing
    return value if math.isfinite(value) else missing


def plausible(name, value):
    """The number, or NaN where it is missing or outside PLAUSIBLE[name]."""
    (low, high), value = PLAUSIBLE[name], number(value)
    return value if low <= value <= high else math.nan


def inferred_event(start_time, file):
    """One id a minute of record start; without a start time the file is its own event."""
    return "inferred_" + (re.sub(r"\D", "", start_time)[:12] if start_time else file)


def in_order(components, names="ENZ"):
    """((3, samples) of {"E": …, "N": …, "Z": …}, note); raises Damaged naming what is missing. Components of one start
    that differ in length are cut to the shortest, and the note says so. Only a vertical may be missing: it is zeros."""
    missing = [name for name in names if name not in components]
    if missing == ["Z"]:
        components = components | {"Z": np.zeros(max(map(len, components.values())))}
    elif missing:
        told = f"{' and '.join(missing)} is missing (found {' and '.join(sorted(components)) or 'none'})"
        raise Damaged(f"component {told}", "put the three component files side by side")
    lengths = [len(components[name]) for name in names]
    note = "; cut to the common length" if min(lengths) < max(lengths) else ""
    return np.stack([components[name][: min(lengths)] for name in names]), note


def turned(waveform, azimuths):
    """((3, samples) E, N, Z, note) of two horizontals, at ``azimuths`` in degrees, and Z; raises Damaged where they do
    not stand at right angles."""
    from obspy.signal.rotate import rotate2zne

    (one, two, up), (first, second) = waveform, map(float, azimuths)
    if not abs(math.cos(math.radians(first - second))) < 0.02:
        raise Damaged(f"its horizontals are not at right angles: azimuths {first:g} and {second:g}")
    _, north, east = rotate2zne(up, 0, -90, one, first, 0, two, second, 0)
    return np.stack([east, north, up]), f"; horizontals at {first:g} and {second:g} degrees turned to north and east"


def equal(values, what):
    """The one value of ``values``; raises Damaged if the components disagree."""
    if len(found := sorted(set(values))) != 1:
        raise Damaged(f"the components differ in {what}: {', '.join(map(str, found))}")
    return found[0]


def floats(text, promised):
    """1-D float64 array of the ``promised`` number of numbers; raises Damaged for more, fewer, or what is no number."""
    try:
        samples = np.array(text.split(), dtype=np.float64)
    except ValueError as error:
        raise Damaged(f"the samples are not all numbers ({str(error)[:80]})") from None
    if len(samples) != promised:
        raise Damaged(f"the header promises {promised:.0f} samples, the file holds {len(samples)}")
    return finite(samples)


def finite(samples):
    """The samples as float64; raises Damaged where one is not finite, or so large that arithmetic would overflow."""
    with np.errstate(invalid="ignore"):  # a signalling NaN would be told twice
        samples = np.asarray(samples, np.float64)
    if not (np.abs(samples) < LARGEST_NUMBER).all():  # also false for NaN
        raise Damaged("it holds values that are not finite, or that no instrument records")
    return samples


@contextlib.contextmanager
def obspy_or(failure, remedy="download the file again"):
    """Run ObsPy, which raises whatever its parsing stumbles over, and make Damaged of that."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    except Damaged:
        raise
    except Exception as error:
        raise Damaged(f"{failure} ({type(error).__name__}: {str(error)[:80]})", remedy) from None
