"""Any data centre with FDSN web services (fdsn.org/webservices): StationXML, MiniSEED and QuakeML, kept as they come.
ObsPy knows the centres' addresses and reads what comes; its client is not used, as it hides Retry-After."""

import io

import pandas as pd

from tsgen.download.plan import Planned, pairs, window
from tsgen.download.polite import NothingThere, ServerTrouble, WrongAnswer, xml
from tsgen.formats.recording import Damaged
from tsgen.formats.via_obspy import read_miniseed

NAME = "FDSN"
DEFAULTS = {"begin": "1990-01-01", "min_magnitude": 4.0, "max_distance_in_km": 200.0}
LICENCE = """FDSN data centres: each network has its own terms and citation; they stand at
https://www.fdsn.org/networks/detail/NETWORK/ for the network codes in records.csv. Cite the networks' DOIs and the
catalogue's authors."""
EVENTS = "https://earthquake.usgs.gov"  # where the data centre has no catalogue of its own
BANDS, VELOCITY = ("HN", "BN", "HG"), ("HH", "BH")  # accelerometers, and seismometers if asked for, best first


def address(text):
    """Base address of a data centre: an URL as it is, or ObsPy's key for it; raises ServerTrouble for another."""
    from obspy.clients.fdsn.header import URL_MAPPINGS

    if text.startswith(("http://", "https://")):
        return text.rstrip("/")
    if text.upper() not in URL_MAPPINGS:
        raise ServerTrouble(f"no data centre {text!r}: give its URL, or one of {', '.join(sorted(URL_MAPPINGS))}")
    return URL_MAPPINGS[text.upper()]


def plan(wish, web):
    """One Planned an event and station within reach that had a sensor of three components then."""
    if not wish.server:
        raise ServerTrouble("name the data centre with --server: a key as EARTHSCOPE, INGV, KOERI, GEONET, or an URL")
    server, bands = address(wish.server), BANDS + VELOCITY * wish.velocity
    asked = {"network": wish.network, "station": ",".join(wish.stations), "level": "channel", "format": "text"}
    asked |= {"channel": ",".join(f"{band}?" for band in bands), "starttime": wish.begin, "endtime": wish.end}
    try:
        channels = web.get(f"{server}/fdsnws/station/1/query", check=_channels, **asked)
    except NothingThere:
        return [], {}
    stations = channels.groupby("station", as_index=False)[["station_latitude", "station_longitude"]].first()
    events = [address(wish.events)] if wish.events else [server, EVENTS]
    found, beside = pairs(stations, wish, web, events)
    planned = []
    for station, quake in found:
        if sensor := _sensor(channels[channels["station"] == station["station"]], quake["origin_time"], bands):
            own = {"source": f"{NAME} {server}", "licence": f"of network {station['station'].split('.')[0]}"}
            planned.append(Planned(station.to_dict() | quake | own, sensor))
    return planned, beside


def _channels(content):
    """Table of the service's text: station (NETWORK.CODE), location, channel, coordinates, start and end."""
    try:
        table = pd.read_csv(io.BytesIO(content), sep="|", dtype=str, keep_default_na=False)
        table = table.rename(columns=lambda name: name.strip("# ").lower())
        table["station"] = table["network"].str.strip() + "." + table["station"].str.strip()
        for name in ("latitude", "longitude"):
            table[f"station_{name}"] = table[name].astype(float)
        return table.astype(dict.fromkeys(("location", "channel", "starttime", "endtime"), str))
    except (ValueError, KeyError, AttributeError) as error:
        raise WrongAnswer(f"it sends no table of channels ({str(error)[:80]})") from None


def _sensor(channels, time, bands):
    """{"location", "band"} of the first sensor that had three components at ``time``, or None."""
    then = channels[(channels["starttime"] <= time) & ((channels["endtime"] > time) | (channels["endtime"] == ""))]
    sensors = then.groupby([then["location"], then["channel"].str[:2]])["channel"].nunique()
    whole = [(bands.index(band), location) for (location, band), n in sensors.items() if n >= 3 and band in bands]
    return {"location": min(whole)[1], "band": bands[min(whole)[0]]} if whole else None


def fetch(planned, wish, web):
    """MiniSEED of one record, and the station's StationXML where the folder has none yet."""
    server, (station, event), ask = address(wish.server), planned.key, planned.ask
    asked = dict(zip(("network", "station"), station.split(".", 1), strict=True))
    files, inventory = {}, f"{station}/{station}.xml"
    if not (wish.folder / inventory).exists():
        level = {"channel": ",".join(f"{band}?" for band in BANDS + VELOCITY), "level": "response"}
        files[inventory] = web.get(f"{server}/fdsnws/station/1/query", check=xml("FDSNStationXML"), **asked, **level)
    start, end = (f"{time:%Y-%m-%dT%H:%M:%S.%f}"[:-3] for time in window(planned.row, web.settings))
    asked |= {"location": ask["location"] or "--", "channel": ask["band"] + "?", "starttime": start, "endtime": end}
    name = f"{station}/{station}.{ask['location']}.{ask['band']}.{event}.mseed"
    files[name] = web.get(f"{server}/fdsnws/dataselect/1/query", check=_miniseed, **asked)
    return files, {"file": name}


def _miniseed(content):
    """The bytes, if ObsPy reads them to their end."""
    try:
        read_miniseed(content, "it sends no MiniSEED, or half of it")
        return content
    except Damaged as error:
        raise WrongAnswer(error.reason) from None
