"""OpenEEW's archive of MEMS accelerometers (described in github.com/openeew/openeew, data): five minutes a file, listed
as S3 lists; earthquakes from an FDSN event service. Only the lines of an earthquake's window are kept, unchanged."""

import json
from xml.etree import ElementTree

import pandas as pd
from tqdm import tqdm

from tsgen.download.fdsn import EVENTS, address
from tsgen.download.plan import Planned, pairs, window
from tsgen.download.polite import NothingThere, ServerTrouble, WrongAnswer, xml

NAME = "OpenEEW"
SERVER = "https://grillo-openeew.s3.amazonaws.com"
DEFAULTS = {"network": "mx", "begin": "2017-12-01", "min_magnitude": 4.5, "max_distance_in_km": 200.0}
LICENCE = """OpenEEW (https://registry.opendata.aws/grillo-openeew): CC BY-SA 4.0,
https://creativecommons.org/licenses/by-sa/4.0/. The files hold those lines of the archive's that fall into an
earthquake's window, in the order of time. Earthquakes: the catalogue named in events_*.xml."""
BUCKET = "5min"  # a file
DEVICE = {"country_code", "device_id", "latitude", "longitude", "effective_from", "effective_to", "vertical_axis"}


def plan(wish, web):
    """One Planned a device and event within reach for which the archive has all files of the window."""
    server = wish.server or SERVER
    path = f"{server}/devices/country_code={wish.network}/devices.jsonl"
    try:
        devices = pd.DataFrame(list(web.get(path, check=_lines).values()))
    except NothingThere:
        return [], {}
    if lacking := ", ".join(sorted(DEVICE - set(devices))):
        raise ServerTrouble(f"{path} lacks {lacking}: its form has changed; tell the authors of tsgen")
    wanted = devices["device_id"].isin(wish.stations or devices["device_id"])
    devices = devices[wanted & (devices["vertical_axis"] == "x")]  # as our reader takes it
    if devices.empty:
        return [], {}
    devices = devices.rename(columns={name: f"station_{name}" for name in ("latitude", "longitude")})
    pairs_of_all, beside = pairs(devices, wish, web, [address(wish.events) if wish.events else EVENTS])
    found = []
    for device, quake in pairs_of_all:  # where the device stood at this place then
        if device["effective_from"] <= pd.Timestamp(quake["origin_time"]).timestamp() <= device["effective_to"]:
            found.append((device, quake))
    wish.limited(len(found))  # each costs a request only to see whether there are files
    planned, listed = [], {}
    for device, quake in tqdm(found, unit="record", desc="looking", disable=None):
        start, end = window(quake, web.settings)
        folder = f"records/country_code={device['country_code']}/device_id={device['device_id']}"
        times = pd.date_range(start.floor(BUCKET), end, freq=BUCKET)
        files = [f"{folder}/{time:year=%Y/month=%m/day=%d/hour=%H/%M}.jsonl" for time in times]
        for hour in {file.rpartition("/")[0] for file in files} - listed.keys():
            answer = web.get(f"{server}/", check=xml("ListBucketResult"), list_type=2, prefix=f"{hour}/")
            listed[hour] = {key.text for key in ElementTree.fromstring(answer).findall(".//{*}Key")}
        if all(file in listed[file.rpartition("/")[0]] for file in files):
            row = {name: device[name] for name in ("station_latitude", "station_longitude")} | quake
            row |= {"station": f"OEEW{wish.network.upper()}.{device['device_id']}", "licence": "CC BY-SA 4.0"}
            planned.append(Planned(row, {"files": files, "window": (start.timestamp(), end.timestamp())}))
    return planned, beside


def fetch(planned, wish, web):
    """The archive's lines of one window, by the clock that our reader goes by: the device's where it has one."""
    lines, (start, end) = {}, planned.ask["window"]
    for file in planned.ask["files"]:
        lines |= web.get(f"{wish.server or SERVER}/{file}", check=_lines)
    inside = {line: it for line, it in lines.items() if start <= it.get("cloud_t", 0) <= end}
    clock = "device_t" if all(isinstance(it.get("device_t"), (int, float)) for it in inside.values()) else "cloud_t"
    if not inside:
        raise NothingThere(planned.key)
    station, event = planned.key
    name = f"{station}/{station}.{event}.jsonl"
    return {name: b"\n".join(sorted(inside, key=lambda line: inside[line][clock])) + b"\n"}, {"file": name}


def _lines(content):
    """{line: the dict that it is in JSON}."""
    try:
        lines = {line: json.loads(line) for line in content.splitlines() if line.strip()}
    except ValueError as error:
        raise WrongAnswer(f"it sends no lines of JSON ({error})") from None
    if not lines or not all(isinstance(it, dict) for it in lines.values()):
        raise WrongAnswer("it sends no lines of JSON")
    return lines
