"""What is asked for, what of it lies in the folder already, and how the rest gets there whole, with its table.
A source is a module with NAME, LICENCE, DEFAULTS, ``plan(wish, web)`` -> ([Planned], files to keep beside the records)
and ``fetch(planned, wish, web)`` -> (files, fields of the table), files being {path below the folder: bytes}."""

import hashlib
import shlex
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from tsgen.download.polite import NothingThere, Refused, ServerTrouble, xml
from tsgen.formats.catalogue import KM_PER_DEGREE, TABLE, earthquakes
from tsgen.formats.recording import Damaged
from tsgen.records import epicentral_distance_in_km
from tsgen.store import write_atomically

COLUMNS = ["station", "event", "magnitude", "distance_in_km", "origin_time", "event_latitude", "event_longitude"]
COLUMNS += ["depth_in_km", "station_latitude", "station_longitude", "source", "licence", "fetched", "file"]
NOTHING = "nothing_there.csv"  # records of which the server says that it has none: not asked for again
N_TARGETS = 5  # that the study takes


class Wish(NamedTuple):
    """What is asked for; None is no limit. stations: codes; begin, end: ISO times; server, events: base addresses."""

    folder: Path
    network: str | None = None
    stations: tuple = ()
    begin: str | None = None
    end: str | None = None
    min_magnitude: float | None = None
    max_distance_in_km: float | None = None
    most: int = 500
    server: str | None = None
    events: str | None = None
    velocity: bool = False

    def limited(self, n):
        """Raises ServerTrouble where ``n`` records are more than were allowed."""
        if n > self.most:
            told = "narrow it with --stations, --from, --to, --min-magnitude or --max-distance-km"
            raise ServerTrouble(f"{n} records are more than {self.most}: {told}, or allow them with --most {n}")


class Planned(NamedTuple):
    """A record to fetch: what the table will say of it, and what its source needs to ask for it."""

    row: dict
    ask: dict

    @property
    def key(self):
        return self.row["station"], self.row["event"]


def download(source, wish, web):
    """Fetch what ``wish`` asks of ``source`` and the folder lacks; ({station: records there}, [text of each failure]).
    Raises ServerTrouble where nothing fits, where it is too much, or where the server fails several times in a row."""
    planned, beside = source.plan(wish, web)
    if not planned:
        raise ServerTrouble(f"{source.NAME} has no record of this; ask for more stations, time or distance")
    here = table_of(wish.folder)
    there = set(zip(here["station"], here["event"], strict=True))
    nothing = wish.folder / NOTHING
    none = nothing.read_text().splitlines() if nothing.exists() else ()
    lacking = [each for each in planned if each.key not in there and ",".join(each.key) not in none]
    print(f"{len(planned)} records, {len(lacking)} to fetch:")
    counts, left = (Counter(each.row["station"] for each in some) for some in (planned, lacking))
    for station in sorted(counts):
        print(f"  {station:12s} {counts[station]:5d} records, {left[station]} to fetch")
    wish.limited(len(planned))
    _add_text(wish.folder / "LICENSE.txt", source.LICENCE + "\n")
    for name, content in beside.items() if lacking else ():  # what stays the same keeps the study's stages valid
        put(wish.folder / name, content)
    failures, in_a_row = [], 0
    for each in tqdm(lacking, unit="record", desc="fetching", disable=None):
        try:
            files, fields = source.fetch(each, wish, web)
        except NothingThere:
            _add_text(nothing, ",".join(each.key) + "\n")
            continue
        except ServerTrouble as error:
            failures.append(f"{' '.join(each.key)}: {error}")
            in_a_row += not isinstance(error, Refused)  # a record that is not public is no trouble
            if in_a_row == web.settings.failures_in_a_row:
                told = f"{in_a_row} records in a row failed, the last: {failures[-1]}"
                raise ServerTrouble(f"{told}; what is fetched stands, and the same command goes on") from None
            continue
        in_a_row = 0
        for name, content in files.items():
            if not (wish.folder / name).resolve().is_relative_to(wish.folder.resolve()):
                raise ServerTrouble(f"{source.NAME} names a file outside {wish.folder}: {name}; do not trust it")
            put(wish.folder / name, content)
        row = {"source": source.NAME, "fetched": f"{pd.Timestamp.now('UTC'):%Y-%m-%dT%H:%M:%SZ}"} | each.row | fields
        here.loc[len(here)] = ["" if pd.isna(row.get(name)) else str(row[name]) for name in COLUMNS]
        put(wish.folder / TABLE, here.to_csv(index=False).encode())
    return here["station"][here["station"].isin(list(counts))].value_counts().to_dict(), failures


def table_of(folder):
    """records.csv of a folder, only rows whose file is still there. Raises ServerTrouble where it is none of ours."""
    if not (folder / TABLE).exists():
        return pd.DataFrame(columns=COLUMNS, dtype=str)
    table = pd.read_csv(folder / TABLE, dtype=str, keep_default_na=False)
    if list(table) != COLUMNS:
        raise ServerTrouble(f"{folder / TABLE} is not a table of this command; give another --out")
    return table[[(folder / name).is_file() for name in table["file"]]].reset_index(drop=True)


def put(path, content):
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def _add_text(path, text):
    before = path.read_text() if path.exists() else ""
    if text not in before:
        put(path, (before + text).encode())


def call(folder, n_there, asked):
    """The command that runs the study on what lies in the folder: on the stations asked for, else on the fullest."""
    full = sorted(n_there, key=lambda name: (-n_there[name], name))[: None if asked else N_TARGETS]
    return f"./run_all.sh quick --records {shlex.quote(str(folder))} --stations {','.join(sorted(full))}"


# ---- what sources of continuous recordings share: earthquakes around stations, and the window of each


def pairs(stations, wish, web, servers):
    """([(row of ``stations``, fields of an earthquake with its distance)] within the wish's limits, {file name: QuakeML
    as it came}). stations: DataFrame with coordinates; servers: asked in turn until one has events."""
    phi, theta = np.radians(stations["station_latitude"]), np.radians(stations["station_longitude"])
    x, y, z = (part.mean() for part in (np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi)))
    latitude, longitude = np.degrees([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)]).round(4)
    centre = {"event_latitude": latitude, "event_longitude": longitude}
    reach = float(epicentral_distance_in_km(stations.assign(**centre)).max()) + wish.max_distance_in_km + 2
    circle = {"latitude": latitude, "longitude": longitude, "maxradius": round(min(180.0, reach / KM_PER_DEGREE), 2)}
    span = {"starttime": wish.begin, "endtime": wish.end, "minmagnitude": wish.min_magnitude}
    for server in servers:
        try:
            content = web.get(f"{server}/fdsnws/event/1/query", check=xml("quakeml"), **span, **circle)
            known, found = [quake._asdict() for quake in earthquakes(content)], []
            break
        except NothingThere:
            continue
        except Damaged as error:
            raise ServerTrouble(f"{server} sends a catalogue that cannot be read ({error.reason})") from None
    else:
        return [], {}
    for quake in known:
        distances = epicentral_distance_in_km(stations.assign(**{name: quake[name] for name in centre}))
        for i in np.flatnonzero(distances <= wish.max_distance_in_km):
            fields = {name: value for name, value in quake.items() if name != "p_picks"}
            found.append((stations.iloc[i], fields | {"distance_in_km": round(float(distances.iloc[i]), 2)}))
    query = hashlib.sha256(f"{server} {span} {circle}".encode()).hexdigest()
    return found, {f"events_{query[:8]}.xml": content}


def window(quake, settings):
    """(start, end) as UTC timestamps: from well before P to the end of the coda."""
    origin, way_in_km = pd.Timestamp(quake["origin_time"]), np.hypot(quake["distance_in_km"], quake["depth_in_km"])
    first = way_in_km / settings.p_velocity_in_km_per_s - settings.before_p_in_s
    last = way_in_km / settings.s_velocity_in_km_per_s + settings.coda_in_s
    return origin + pd.Timedelta(seconds=first), origin + pd.Timedelta(seconds=last)
