"""Engineering Strong Motion database (esm-db.eu): which records there are from its service dataset-selection, the files
in DYNA form from eventdata, as documented; the names of dataset-selection's fields are known from programs that use
it."""

import io
import json
import re
import zipfile
import zlib
from types import SimpleNamespace

from tsgen.download.plan import Planned
from tsgen.download.polite import NothingThere, ServerTrouble, WrongAnswer
from tsgen.formats import afad
from tsgen.formats.recording import Damaged

NAME = "ESM"
SERVER = "https://esm-db.eu"
DEFAULTS = {}
LICENCE = """ESM (https://esm-db.eu): each record keeps the licence of its network, which stands in its header
(DATA_LICENSE, DATA_CITATION) and in records.csv. Cite the Engineering Strong Motion database, Luzi et al. (2020),
doi 10.13127/ESM.2, and the networks."""
PROCESSING = ("MP", "AP", "CV")  # by hand, automatic, converted to cm/s² only: the first that there is
SENSORS = ("HN", "HG", "HL", "BN")  # accelerometers, the commonest first
LARGEST_IN_BYTES = 256 * 2**20  # of an unpacked answer; a record of three components takes one


def plan(wish, web):
    """One Planned a station and event: of its best processing and first sensor."""
    server, best = wish.server or SERVER, {}
    for station in wish.stations or ("*",):
        asked = {"eventid": "*", "network": wish.network or "*", "station": station, "format": "json", "limit": 0}
        asked |= {"starttime": wish.begin, "endtime": wish.end, "minmag": wish.min_magnitude}
        asked |= {"maxdist": wish.max_distance_in_km, "processing_filter_logic": "available", "discarded": "false"}
        try:
            rows = web.get(f"{server}/esmws/dataset-selection/1/query", check=_rows, **asked)
        except NothingThere:
            continue
        for row in rows:
            row["processing_type"] = str(row.get("processing_type") or "").upper()
            sensor = str(row["instr_code"])[:2].upper()
            if row["processing_type"] in PROCESSING and sensor in SENSORS:
                rank = PROCESSING.index(row["processing_type"]), SENSORS.index(sensor), str(row["location_code"] or "")
                key = f"{row['net_name']}.{row['station_code']}", row["event_id"]
                best[key] = min(best.get(key, (rank, row)), (rank, row), key=lambda pair: pair[0])
    return [Planned({"station": key[0], "event": key[1]}, row) for key, (_, row) in sorted(best.items())], {}


def _rows(content):
    """The rows of an answer in JSON: a list, or the one list in it."""
    try:
        rows = json.loads(content)
    except ValueError:
        raise WrongAnswer(f"it sends no JSON but {content[:30]!r}") from None
    if isinstance(rows, dict):
        rows = next((value for value in rows.values() if isinstance(value, list)), [])
    needed = {"event_id", "net_name", "station_code", "location_code", "instr_code", "processing_type"}
    for row in rows:
        if lacking := needed - set(row if isinstance(row, dict) else ()):
            told = f"ESM's list of records has changed: it lacks {', '.join(sorted(lacking))}"
            raise ServerTrouble(f"{told}; download by hand, and tell the authors of tsgen")
    return rows


def fetch(planned, wish, web):
    """({path: bytes} of the three .ASC files, fields of the table as their header has them)."""
    row, station = planned.ask, planned.row["station"]
    asked = {"eventid": row["event_id"], "catalog": "ESM", "network": row["net_name"], "station": row["station_code"]}
    asked |= {"location": row["location_code"], "channel": str(row["instr_code"])[:2] + "?", "format": "ascii"}
    asked |= {"processing_type": row["processing_type"], "data_type": "ACC"}
    members = web.get(f"{wish.server or SERVER}/esmws/eventdata/1/query", check=_unpacked, **asked)
    records = {}
    for name in sorted(members):
        records.setdefault(afad.dyna_key(name), []).append(name)
    names = max(records.values(), key=len)  # the first of the most complete
    names = names if len(names) > 2 else sorted(members)
    fields = _said({name: members[name].decode("latin-1") for name in names}, names)
    fields |= {"file": f"{station}/{names[0]}", "event": planned.row["event"]}
    return {f"{station}/{name}": members[name] for name in names}, fields


def _unpacked(content):
    """{file name: bytes} of the .ASC files in a zip archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST_IN_BYTES:
                raise ServerTrouble("ESM sends an archive that is too large for one record")
            names = [name for name in archive.namelist() if name.lower().endswith(".asc")]
            members = {name.rsplit("/", 1)[-1]: archive.read(name) for name in names}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise WrongAnswer(f"it sends no zip archive, or half of one ({error})") from None
    if not members:
        raise NothingThere("an archive without .ASC files")
    return members


def _said(texts, names):
    """Fields of the table from the headers, by our reader; {} where it refuses them (read_folder will say why)."""
    try:
        columns = afad.decode_dyna(SimpleNamespace(text=texts.get), names, None)[0].columns
    except Damaged:
        return {}
    licence = re.search(r"^DATA_LICENSE:(.*)$", texts[names[0]], re.MULTILINE)
    return columns | {"licence": licence[1].strip() if licence else ""}
