"""Earthquakes that lie beside the records: QuakeML, and the table records.csv that ``tsgen.download`` leaves."""

import functools
import io
import math
import re
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import pandas as pd

from tsgen.collection import utc
from tsgen.formats.discovery import Archive, Folder, suffix
from tsgen.formats.recording import PLAUSIBLE, Damaged, obspy_or, plausible
from tsgen.records import epicentral_distance_in_km

TABLE = "records.csv"
LARGEST_IN_BYTES = 64 * 2**20
LONGEST_TRAVEL_TIME_IN_S = 1300.0  # of the first P on its way through the whole earth, rounded up
KM_PER_DEGREE = 111.195


class Earthquake(NamedTuple):
    """One of a catalogue; p_picks {station: ISO time of the P picked there}."""

    event: str
    origin_time: str
    magnitude: float
    event_latitude: float
    event_longitude: float
    depth_in_km: float
    p_picks: dict


def earthquakes(content):
    """List of Earthquake from the bytes of QuakeML, by preferred origins and magnitudes, else the first; an event
    without an origin is left out. Raises Damaged."""
    from obspy import read_events

    if b"<!ENTITY" in content or b"<!DOCTYPE" in content:
        raise Damaged("it declares entities, which QuakeML never does", "do not trust this file")
    with obspy_or("it cannot be read as QuakeML"):
        events, known = read_events(io.BytesIO(content), format="QUAKEML"), []
    for event in events:
        origin = event.preferred_origin() or next(iter(event.origins), None)
        magnitude = event.preferred_magnitude() or next(iter(event.magnitudes), None)
        if not origin or not origin.time or origin.latitude is None or origin.longitude is None:
            continue
        depth = (origin.depth or 0.0) / 1000
        phases = {str(arrival.pick_id): arrival.phase for each in event.origins for arrival in each.arrivals}
        picks = {}
        for pick in event.picks:
            if (phases.get(str(pick.resource_id)) or pick.phase_hint) in ("P", "Pg", "Pn", "p") and pick.waveform_id:
                station = f"{pick.waveform_id.network_code}.{pick.waveform_id.station_code}"
                picks[station] = min(str(pick.time), picks.get(station, "9"))
        of = str(origin.time), magnitude.mag if magnitude else math.nan, origin.latitude, origin.longitude
        known.append(Earthquake(short_id(str(event.resource_id)), *of, depth, picks))
    return known


def short_id(resource_id):
    """What follows eventid= in a QuakeML identifier (as most services write it), else its last part."""
    asked = {key.lower(): values for key, values in parse_qs(urlsplit(resource_id).query).items()}
    name = asked["eventid"][0] if "eventid" in asked else re.split(r"[/=]", resource_id.rstrip("/"))[-1]
    return re.sub(r"[^\w.-]", "_", name)


@functools.lru_cache(maxsize=1)
def _earth():
    from obspy.taup import TauPyModel

    return TauPyModel("iasp91")


def first_p_in_s(distance_in_km, depth_in_km):
    """Travel time of the first P in iasp91 (ObsPy's TauP), from an event's depth to the surface."""
    arrivals = _earth().get_travel_times(max(0.0, depth_in_km), distance_in_km / KM_PER_DEGREE, ["ttp"])
    return min((arrival.time for arrival in arrivals), default=math.nan)


class Catalogue:
    """What the catalogues at and below ``path``, a folder or zip archive, say of the records beside or below them.
    ``files`` {name: (outcome, reason)} for the report; a damaged catalogue is refused there and read no further."""

    def __init__(self, path):
        source = Archive(path) if path.is_file() else Folder(path)
        self.files, self._rows, self._earthquakes = {}, {}, {}
        for name in source.names():
            read = self._table if PurePosixPath(name).name == TABLE else self._quakeml
            if read == self._table or suffix(name) in (".xml", ".quakeml", ".qml"):
                try:
                    read(PurePosixPath(name), source.read(name, LARGEST_IN_BYTES))
                except Damaged as error:
                    self.files[name] = ("refused", str(error))
                except (ValueError, OSError) as error:
                    self.files[name] = ("refused", f"{error}; correct it or delete it")

    def _table(self, name, content):
        table = pd.read_csv(io.BytesIO(content), dtype=str).fillna("")
        if "file" in table:
            self._rows |= {str(name.parent / row["file"]): row for row in table.to_dict("records")}
            self.files[str(name)] = ("companion", f"the catalogue of {len(table)} records")

    def _quakeml(self, name, content):
        if b"quakeml" in content[:2000].lower():
            known = earthquakes(content)
            at = self._earthquakes.setdefault(name.parent, {})
            at |= {each.event: (pd.Timestamp(utc(each.origin_time)), each) for each in known}
            self.files[str(name)] = ("companion", f"the catalogue of {len(known)} earthquakes")

    def complete(self, row, sampling_rate_in_hz, files):
        """Fill what a record's own header leaves unknown in ``row``, in place; the text for the report where no
        earthquake, or more than one, can be the record's."""
        told, known = "", next((self._rows[file] for file in files if file in self._rows), None)
        nearby, start = {}, row.get("start_time")
        for folder in PurePosixPath(files[0]).parents:
            nearby |= self._earthquakes.get(folder, {})
        if known is None and nearby and row.get("event_inferred") and start:
            known, told = _by_arrival(row, sampling_rate_in_hz, nearby)
        if known:
            _fill(row, known)
        picks = nearby[row["event"]][1].p_picks if row.get("event") in nearby and start else {}
        if not math.isfinite(row.get("p_arrival_sample", math.nan)) and (pick := picks.get(row["station"])):
            sample = (pd.Timestamp(pick) - pd.Timestamp(start)).total_seconds() * sampling_rate_in_hz
            row["p_arrival_sample"] = sample if 0 <= sample < row["samples"] else math.nan
        return told


def _by_arrival(row, rate, nearby):
    """(fields of the one earthquake whose first P falls into the record, ""), or (None, why there is none)."""
    if not math.isfinite(row.get("station_latitude", math.nan) + row.get("station_longitude", math.nan)):
        return None, "the catalogue cannot tell its earthquake: the station's coordinates are unknown"
    start = pd.Timestamp(row["start_time"])
    seconds, fitting = row["samples"] / rate, []
    for origin, quake in nearby.values():
        # first by time alone, which costs nothing
        if -seconds <= (before := (start - origin).total_seconds()) <= LONGEST_TRAVEL_TIME_IN_S:
            travel_in_s = first_p_in_s(float(epicentral_distance_in_km(row | quake._asdict())), quake.depth_in_km)
            fitting += [quake] if 0 <= travel_in_s - before <= seconds else []
    if len(fitting) == 1:
        return fitting[0]._asdict(), ""
    names = ", ".join(sorted(quake.event for quake in fitting))
    return None, f"several earthquakes have their P in it: {names}" if names else "no earthquake has its P in it"


def _fill(row, known):
    for name in PLAUSIBLE:
        if not math.isfinite(row.get(name, math.nan)):
            row[name] = plausible(name, known.get(name))
    if row.get("event_inferred") and known.get("event"):
        row["event"], row["event_inferred"] = known["event"], False
    row["origin_time"] = row.get("origin_time") or utc(known.get("origin_time", ""))
    if not math.isfinite(row["distance_in_km"]):
        row["distance_in_km"] = float(epicentral_distance_in_km(row))
    if known.get("kind") == "generated":  # stays so; and MiniSEED cuts networks to two letters
        row["kind"], row["station"] = "generated", known.get("station") or row["station"]
