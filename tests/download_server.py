"""A server on this machine that speaks as the services' documentation has it: FDSN event, station and dataselect (their
specification 1.2), ESM's eventdata and dataset-selection (query-options), OpenEEW's archive (its README) and S3's
ListObjectsV2. A parameter that the documentation does not list is answered by 400. It holds simulated records."""

import io
import json
import os
import threading
import time
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import numpy as np
from obspy import Stream, Trace, UTCDateTime
from obspy.core.event import Catalog, Event, Magnitude, Origin, ResourceIdentifier
from obspy.core.inventory import Channel, Inventory, Network, Response, Site, Station
from obspy.geodetics import gps2dist_azimuth
from scipy.signal import resample_poly

from tsgen import config, simulate
from tsgen.download import __main__ as command
from tsgen.download.polite import Web

RATE_IN_HZ, N_EVENTS = 50.0, 6
GAIN, SEISMOMETER_GAIN = 4e5, 5e9  # counts per m/s², and per m/s
CORNER_IN_RAD_PER_S, DAMPING = 2 * np.pi / 120, 0.7  # of the seismometer
CODES = ("0205", "1716")  # the two stations: an accelerometer, a seismometer
DEVICES = ("001", "002")

# what asks for all that the server holds, of each source
WORDS = {"esm": ["--network", "TK", "--stations", "0205,TK.1716"], "fdsn": ["--network", "TK", "--velocity"]}
WORDS["openeew"] = ["--from", "1999-12-31"]

TIME, CODE = "starttime endtime format nodata", "network station location channel"
CIRCLE = "minlatitude maxlatitude minlongitude maxlongitude latitude longitude minradius maxradius updatedafter"
EVENT = f"{TIME} {CIRCLE} mindepth maxdepth minmagnitude maxmagnitude magnitudetype eventtype includeallorigins eventid"
EVENT += " includeallmagnitudes includearrivals limit offset orderby catalog contributor"
STATION = f"{TIME} {CODE} {CIRCLE} level startbefore startafter endbefore endafter includerestricted"
STATION += " includeavailability matchtimeseries"
DATASET = "eventid starttime endtime minmag maxdist network station instrument unprocessed discarded automatic manual"
DATASET += " standard ebasco processing-filter-logic format offset limit indent"
DOCUMENTED = {
    "/fdsnws/event/1/query": EVENT,
    "/fdsnws/station/1/query": STATION,
    "/fdsnws/dataselect/1/query": f"{TIME} {CODE} quality minimumlength longestonly",
    "/esmws/dataset-selection/1/query": DATASET,
    "/esmws/eventdata/1/query": f"eventid catalog {CODE} processing-type data-type format add-xml add-auxiliary-data",
    "/": "list-type prefix delimiter max-keys continuation-token start-after",
}
DOCUMENTED = {path: frozenset(names.split()) for path, names in DOCUMENTED.items()}


def planted():
    """Six strong records at each of two stations, without what lies above 0.4 of the rate, which nobody could read."""
    two = {"n_target_records": (15, 15), "target_f0_in_hz": (2.6, 6.4), "f0_ln_scatter": (0.1, 0.1)}
    two |= {"without": config.INGREDIENTS}  # near and strong enough, every one
    settings = replace(config.profile("smoke").simulation, **two, n_background_stations=0)
    records = simulate.network(settings, seed=3)
    peaks = np.abs(records.waveforms).max(axis=(1, 2))
    large = records.table["magnitude"] >= 4.6  # than which each source asks for by itself
    rows = [i for name in records.stations for i in np.flatnonzero((records.table["station"] == name) & large)]
    strong = [i for name in records.stations for i in _strongest(rows, peaks, records.table["station"] == name)]
    records = records.take(strong)
    spectrum = np.fft.rfft(records.waveforms)
    spectrum[..., np.fft.rfftfreq(records.n_samples, 1 / RATE_IN_HZ) > 0.4 * RATE_IN_HZ] = 0
    spectrum[..., 0] = 0
    return type(records)(np.fft.irfft(spectrum, records.n_samples), RATE_IN_HZ, records.table)


def _strongest(rows, peaks, mask):
    return sorted(sorted((i for i in rows if mask[i]), key=lambda i: -peaks[i])[:N_EVENTS])


class Holdings:
    """What the server holds: rows of the planted table with their waveforms, under each service's names."""

    def __init__(self):
        records = planted()
        own = records.table["event"].str.replace("SIM.", "QUAKE.")  # the simulated background keeps its names
        self.records = records.with_columns(event=own)
        self.rows = self.records.table.to_dict("records")
        self.codes = dict(zip(self.records.stations, CODES, strict=True))
        self.devices = dict(zip(self.records.stations, DEVICES, strict=True))
        self.events = {row["event"]: row for row in self.rows}
        self.files = self._buckets()

    def stations(self):
        return {row["station"]: row for row in self.rows}

    # ---- FDSN

    def quakeml(self, asked):
        catalogue = Catalog()
        for row in self.events.values():
            place = row["event_latitude"], row["event_longitude"]
            centre = float(asked.get("latitude", 0)), float(asked.get("longitude", 0))
            degrees = gps2dist_azimuth(*centre, *place)[0] / 111_195
            near = degrees <= float(asked.get("maxradius", 180)) and row["magnitude"] >= float(asked["minmagnitude"])
            if near and asked["starttime"] <= row["origin_time"] <= asked.get("endtime", "3"):
                origin = Origin(time=UTCDateTime(row["origin_time"]), latitude=place[0], longitude=place[1])
                origin.depth = row["depth_in_km"] * 1000
                name = ResourceIdentifier(f"smi:local.test/fdsnws/event/1/query?eventid={row['event']}")
                size = Magnitude(mag=row["magnitude"], magnitude_type="Mw")
                catalogue.append(Event(resource_id=name, origins=[origin], magnitudes=[size]))
        return _written(catalogue, "QUAKEML") if len(catalogue) else None

    def inventory(self):
        network = Network("TK", stations=[])
        for name, row in self.stations().items():
            place = row["station_latitude"], row["station_longitude"], 0.0
            station = Station(self.codes[name], *place, site=Site("test"), creation_date=UTCDateTime(1990, 1, 1))
            for band in _bands(self.codes[name]):
                for letter, azimuth, dip in (("E", 90, 0), ("N", 0, 0), ("Z", 0, -90)):
                    channel = Channel(f"{band}{letter}", "00" if band == "HN" else "", *place, 0.0, azimuth, dip)
                    channel.sample_rate, channel.start_date = RATE_IN_HZ, UTCDateTime(1990, 1, 1)
                    channel.response = _response(band)
                    station.channels.append(channel)
            network.stations.append(station)
        return Inventory([network], source="test")

    def station(self, asked):
        chosen = Inventory([], source="test")
        for code in asked.get("station", "*").split(","):
            for channel in asked.get("channel", "*").split(","):
                chosen += self.inventory().select(network=asked.get("network"), station=code, channel=channel)
        if not len(chosen.networks):
            return None
        return _text(chosen) if asked.get("format") == "text" else _written(chosen, "STATIONXML")

    def dataselect(self, asked):
        start, end = UTCDateTime(asked["starttime"]), UTCDateTime(asked["endtime"])
        for row, wave in zip(self.rows, self.records.waveforms, strict=True):
            code, first = self.codes[row["station"]], UTCDateTime(row["start_time"])
            if code == asked["station"] and start < first and first + self.records.duration_in_s < end:
                band = asked["channel"][:2]
                n, at = int((end - start) * RATE_IN_HZ), round((first - start) * RATE_IN_HZ)
                if band not in _bands(code) or asked["location"] != ("00" if band == "HN" else "--"):
                    return None
                motion = np.zeros((3, n))
                motion[:, at : at + wave.shape[1]] = wave / 100
                counts = motion * GAIN if band == "HN" else _seismometer(motion)
                noise = np.random.default_rng(at).integers(-2, 3, counts.shape)
                counts = (counts.round() + noise).astype(np.int32)
                place = {"network": "TK", "station": code, "location": asked["location"].strip("-")}
                head = place | {"sampling_rate": RATE_IN_HZ, "starttime": first - at / RATE_IN_HZ}
                parts = zip("ENZ", counts, strict=True)
                traces = Stream([Trace(data, head | {"channel": f"{band}{letter}"}) for letter, data in parts])
                return _written(traces, "MSEED", encoding="STEIM2", reclen=512)
        return None

    # ---- ESM

    def dataset(self, asked):
        rows = []
        for row in self.rows:
            inside = row["magnitude"] >= float(asked.get("minmag", 0)) and row["origin_time"] <= asked.get(
                "endtime", "3"
            )
            if asked["station"] in ("*", self.codes[row["station"]]) and inside:
                one = {"event_id": row["event"], "event_time": row["origin_time"], "net_name": "TK"}
                one |= {"station_code": self.codes[row["station"]], "location_code": "", "instr_code": "HN"}
                rows += [one | {"processing_type": kind, "class": "GOOD"} for kind in ("cv", "mp")]
        return json.dumps(rows).encode() if rows else None

    def eventdata(self, asked):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for row, wave in zip(self.rows, self.records.waveforms, strict=True):
                if (row["event"], self.codes[row["station"]]) == (asked["eventid"], asked["station"]):
                    for letter, samples in zip("ENZ", wave, strict=True):
                        kind = asked["processing-type"]
                        name = f"TK.{asked['station']}..HN{letter}.D.{row['event']}.ACC.{kind}.ASC"
                        archive.writestr(name, _dyna(row, asked["station"], f"HN{letter}", samples))
        return packed.getvalue()

    # ---- OpenEEW

    def device_lines(self):
        for name, row in self.stations().items():
            one = {"country_code": "mx", "device_id": self.devices[name], "latitude": row["station_latitude"]}
            one |= {"longitude": row["station_longitude"], "is_current_row": True, "horizontal_axes": ["y", "z"]}
            yield json.dumps(one | {"effective_from": 0, "effective_to": 253402300799, "vertical_axis": "x"})
        yield json.dumps(one | {"device_id": "099", "effective_from": 0, "effective_to": 9e9, "vertical_axis": "z"})

    def _buckets(self):
        """{path: lines} of all files in the archive: a packet of 32 samples a line, out of order."""
        files, rng = {}, np.random.default_rng(0)
        for row, wave in zip(self.rows, self.records.waveforms, strict=True):
            slow = resample_poly(wave, 5, 8, axis=1)  # 31.25 Hz
            first = UTCDateTime(row["start_time"]).timestamp
            lead, n = round(200 * 31.25), round(500 * 31.25) // 32 * 32
            gal = rng.normal(0, 0.02, (3, n))
            gal[:, lead : lead + slow.shape[1]] += slow
            for i in range(0, n, 32):
                last = first + (i + 31 - lead) / 31.25
                east, north, up = gal[:, i : i + 32].round(2).tolist()
                packet = {"country_code": "mx", "device_id": self.devices[row["station"]]}
                packet |= {
                    "x": up,
                    "y": east,
                    "z": north,
                    "device_t": round(last, 3),
                    "cloud_t": round(last + 0.1, 3),
                    "sr": 31.25,
                }
                moment = datetime.fromtimestamp(last + 0.1, UTC)
                path = f"country_code=mx/device_id={packet['device_id']}/{moment:year=%Y/month=%m/day=%d/hour=%H}"
                file = f"records/{path}/{moment.minute // 5 * 5:02d}.jsonl"
                files.setdefault(file, []).append(json.dumps(packet))
        return {path: [*lines[5:], *lines[:5]] for path, lines in files.items()}


def _text(inventory):
    """The specification's text at level=channel."""
    head = "Network|Station|Location|Channel|Latitude|Longitude|Elevation|Depth|Azimuth|Dip|SensorDescription|Scale"
    lines = [f"#{head}|ScaleFreq|ScaleUnits|SampleRate|StartTime|EndTime"]
    for station in (station for network in inventory for station in network):
        for it in station:
            place = f"{it.latitude}|{it.longitude}|0.0|0.0|{it.azimuth}|{it.dip}"
            what = f"a sensor|{GAIN}|1.0|M/S|{RATE_IN_HZ}|{it.start_date.strftime('%Y-%m-%dT%H:%M:%S')}|"
            lines.append(f"TK|{station.code}|{it.location_code}|{it.code}|{place}|{what}")
    return "\n".join([*lines, ""]).encode()


def _bands(code):
    return ("HN", "HH") if code == CODES[0] else ("HH",)


def _response(band):
    if band == "HN":
        return Response.from_paz([], [], GAIN, 1.0, "M/S**2", "COUNTS")
    pole = CORNER_IN_RAD_PER_S * complex(-DAMPING, np.sqrt(1 - DAMPING**2))
    paz = {"zeros": [0, 0], "poles": [pole, pole.conjugate()], "stage_gain": SEISMOMETER_GAIN}
    return Response.from_paz(**paz, stage_gain_frequency=1.0, input_units="M/S", output_units="COUNTS")


def _seismometer(motion):
    """Counts of acceleration in m/s²: its integral through s² / (s² + 2 h w s + w²)."""
    n = motion.shape[1]
    s = 2j * np.pi * np.fft.rfftfreq(2 * n, 1 / RATE_IN_HZ)
    through = s / (s**2 + 2 * DAMPING * CORNER_IN_RAD_PER_S * s + CORNER_IN_RAD_PER_S**2)
    return SEISMOMETER_GAIN * np.fft.irfft(np.fft.rfft(motion, 2 * n) * through, 2 * n)[:, :n]


def _written(what, form, **options):
    content = io.BytesIO()
    what.write(content, format=form, **options)
    return content.getvalue()


def _dyna(row, code, stream, samples):
    origin, start = UTCDateTime(row["origin_time"]), UTCDateTime(row["start_time"])
    head = {"EVENT_NAME": "TEST", "EVENT_ID": row["event"], "EVENT_DATE_YYYYMMDD": origin.strftime("%Y%m%d")}
    head |= {"EVENT_TIME_HHMMSS": origin.strftime("%H%M%S"), "EVENT_DEPTH_KM": row["depth_in_km"]}
    head |= {f"{name.upper()}_DEGREE": row[name] for name in ("event_latitude", "event_longitude")}
    head |= {f"{name.upper()}_DEGREE": row[name] for name in ("station_latitude", "station_longitude")}
    distance = gps2dist_azimuth(*(row[f"{a}_{b}"] for a in ("event", "station") for b in ("latitude", "longitude")))[0]
    head |= {"MAGNITUDE_W": row["magnitude"], "NETWORK": "TK", "STATION_CODE": code, "STREAM": stream}
    head |= {"EPICENTRAL_DISTANCE_KM": round(distance / 1000, 1), "UNITS": "cm/s^2", "DATA_TYPE": "ACCELERATION"}
    head |= {"DATE_TIME_FIRST_SAMPLE_YYYYMMDD_HHMMSS": start.strftime("%Y%m%d_%H%M%S.%f")[:-3]}
    head |= {"SAMPLING_INTERVAL_S": 1 / RATE_IN_HZ, "NDATA": len(samples)}
    head |= {"DATA_LICENSE": "D (network default license)"}
    lines = [f"{name}: {value}" for name, value in head.items()]
    return "\n".join([*lines, *(f"{sample:.6f}" for sample in samples)]) + "\n"


def _wadl(path):
    """The description by which clients learn what a service takes."""
    params = "".join(f'<param name="{name}" style="query" type="xs:string"/>' for name in sorted(DOCUMENTED[path]))
    method = f'<method id="query" name="GET"><request>{params}</request></method>'
    base = f"http://127.0.0.1{path.removesuffix('query')}"
    tree = f'<resources base="{base}"><resource path="query">{method}</resource></resources>'
    return f'<?xml version="1.0"?><application xmlns="http://wadl.dev.java.net/2009/02">{tree}</application>'.encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, url = self.server, urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        server.requests.append((url.path, asked))
        fault = next((f for f in server.faults if f["in"] in self.path and f["times"] > 0), None)
        status, content, head = 200, b"", {}
        if unknown := asked.keys() - DOCUMENTED.get(url.path, asked.keys()):
            status, content = 400, f"Error 400: unknown parameter {sorted(unknown)}".encode()
        elif fault and "status" in fault:
            status, content, head = fault["status"], b"Error\nsorry", fault.get("head", {})
        else:
            status, content = server.answer(url.path, asked)
        if fault:
            fault["times"] -= 1
            content = fault.get("content", content)
            if "wait" in fault:
                time.sleep(fault["wait"])
        cut = len(content) // 2 + 7 if fault and fault.get("cut") else len(content)
        self.send_response(status)
        for name, value in head.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if not (fault and fault.get("honest")) else cut))
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):  # who asked has gone
            self.wfile.write(content[:cut])
        if cut < len(content):
            self.close_connection = True

    def log_message(self, *words):
        pass


class Server(ThreadingHTTPServer):
    """``requests``: (path, parameters) as they come. ``faults``: dicts of ``in`` (part of the address), ``times``, and
    what goes wrong: status (with head), content, cut (the half, then the connection closes; honest: with the length of
    the half), wait (seconds)."""

    daemon_threads = True

    def __init__(self, holdings):
        super().__init__(("127.0.0.1", 0), Handler)
        self.holdings, self.requests, self.faults = holdings, [], []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def answer(self, path, asked):
        held = self.holdings
        services = {"/fdsnws/event/1/query": held.quakeml, "/fdsnws/station/1/query": held.station}
        services |= {"/fdsnws/dataselect/1/query": held.dataselect, "/esmws/eventdata/1/query": held.eventdata}
        services |= {"/esmws/dataset-selection/1/query": held.dataset}
        if path in services:
            content = services[path](asked)
            return (204, b"") if content is None else (200, content)
        if path.endswith("/application.wadl"):
            return 200, _wadl(path.replace("application.wadl", "query"))
        if path.endswith("/version"):
            return 200, b"1.2.0"
        if path == "/devices/country_code=mx/devices.jsonl":
            return 200, "\n".join(held.device_lines()).encode()
        if path == "/" and asked.get("list-type") == "2":
            keys = sorted(key for key in held.files if key.startswith(asked.get("prefix", "")))
            inner = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in keys)
            tree = f"<IsTruncated>false</IsTruncated>{inner}"
            return (
                200,
                f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{tree}</ListBucketResult>'.encode(),
            )
        lines = held.files.get(path.lstrip("/"))
        return (200, "\n".join(lines).encode()) if lines else (404, b"<Error><Code>NoSuchKey</Code></Error>")


@contextmanager
def serving(holdings):
    without_proxy = {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    with Server(holdings) as server, mock.patch.dict(os.environ, without_proxy):
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


def fetch(server, source, folder, *more, web=None, words=None):
    """Exit code of the command against ``server``; its waits take no time."""
    words = [source, "--out", str(folder), "--server", server.url, *(words or WORDS[source]), *more]
    words += ["--events", server.url] if source == "openeew" else []
    return command.main(words, web or Web(wait=lambda seconds: None))
