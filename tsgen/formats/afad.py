"""AFAD's other two formats: .mat (EQ.anEQ) and the old text file of three columns N-S, E-W, U-D."""

import re

import numpy as np

from tsgen.formats import mat5
from tsgen.formats.recording import Damaged, Recording, floats, number, utc
from tsgen.formats.source import LARGEST_TEXT_IN_BYTES, text_of

NETWORK = "TK"  # FDSN code of AFAD's strong-motion network
_NAME = re.compile(r"(\d{14})_(\w+)\.")
_HEADER_LINES = 40


def decode_mat(source, names, unit=None):
    """One Recording from EQ.anEQ: Accel (samples, 3) in cm/s², columns N, E, U; sampling is the interval in s.

    ``date`` is an opaque MATLAB object, so the origin time comes from the file name (20160203212508_4614.mat), and
    the start time is unknown. statID 208 is station 0208; Vs30 0 is unknown; depth is in metres.
    """
    name = names[0]
    equake = mat5.load(source.read(name, mat5.LARGEST_IN_BYTES)).get("EQ")
    fields = equake.get("anEQ") if isinstance(equake, dict) else None
    if not isinstance(fields, dict):
        raise Damaged("it holds no struct EQ.anEQ, hence is not AFAD's .mat", "give AFAD's own file")
    samples = fields.get("Accel")
    if not isinstance(samples, np.ndarray) or samples.ndim != 2 or samples.shape[1] != 3:
        raise Damaged("EQ.anEQ.Accel is not an array of three columns", "give AFAD's own file")
    unit_in_file = fields.get("pgaUnit")
    if isinstance(unit_in_file, str) and unit_in_file.strip().lower() not in ("gal", "cm/s^2", "cm/s2"):
        raise Damaged(f"its pgaUnit is {unit_in_file[:20]!r}, not gal", "give AFAD's own file")
    interval = number(fields.get("sampling"))
    rate = 1 / interval if interval > 0 else np.nan
    named = _NAME.search(name.rsplit("/", 1)[-1])
    columns = _mat_columns(fields, rate, named[1] if named else "")
    waveform = samples[:, [1, 0, 2]].T
    code = _station(fields.get("statID"), named[2] if named else "")
    return [Recording(waveform, rate, NETWORK, code, "none said in the file", 0.0, columns)]


def _mat_columns(fields, rate, stamp):
    origin = utc(stamp, "%Y%m%d%H%M%S")
    event_latitude, event_longitude = _pair(fields.get("epicenter"))
    latitude, longitude = _pair(fields.get("statco"))
    return {
        "event": f"afad_{stamp}" if origin else "",
        "origin_time": origin,
        "magnitude": fields.get("magnitudeval"),
        "depth_in_km": number(fields.get("depth")) / 1000,
        "vs30_in_m_per_s": fields.get("Vs30"),
        "event_latitude": event_latitude,
        "event_longitude": event_longitude,
        "station_latitude": latitude,
        "station_longitude": longitude,
        "p_arrival_sample": (number(fields.get("Ptime")) or np.nan) * rate,  # 0 is "not picked"
        "s_arrival_sample": (number(fields.get("Stime")) or np.nan) * rate,
    }


def _station(value, from_name):
    """Four-digit code with its leading zeros; AFAD numbers stations by province."""
    code = number(value)
    if np.isfinite(code) and code == int(code) and 0 < code < 1e6:
        return f"{int(code):04d}"
    text = value.strip() if isinstance(value, str) else ""
    if not (text or from_name):
        raise Damaged("the station is named neither in the file nor in its name", "name the file TIME_STATION.mat")
    return (text or from_name).zfill(4)


def _pair(value):
    if isinstance(value, np.ndarray) and value.size == 2:
        return value.ravel()[0], value.ravel()[1]
    return np.nan, np.nan


def decode_text(source, names, unit=None):
    """One Recording from the old text file: a header of NAME : value lines, then N-S, E-W, U-D in gal."""
    text = text_of(source.read(names[0], LARGEST_TEXT_IN_BYTES))
    if "STRONG GROUND MOTION RECORDS" not in text[:200]:
        raise Damaged("it is no AFAD text record", "only .txt files with AFAD's header are records")
    lines = text.split("\n")
    titles = [i for i, line in enumerate(lines[:_HEADER_LINES]) if line.split() == ["N-S", "E-W", "U-D"]]
    if not titles:
        raise Damaged("the line N-S E-W U-D above the columns is missing")
    pairs = (line.partition(":") for line in lines[: titles[0]])
    header = {key.strip().upper(): value.strip() for key, colon, value in pairs if colon}
    if "RAW PGA VALUES (GAL)" not in header:
        raise Damaged("the header does not say that the unit is gal")
    samples = floats("\n".join(lines[titles[0] + 1 :]))
    declared = number(header.get("NUMBER OF DATA"))
    if len(samples) != 3 * declared:
        raise Damaged(f"the header promises {declared:g} rows of three, the file holds {len(samples) / 3:g}")
    interval = number(header.get("SAMPLING INTERVAL (SEC)"))
    code = header.get("STATION ID", "")
    if not code:
        raise Damaged("the header has no STATION ID")
    waveform = samples.reshape(-1, 3)[:, [1, 0, 2]].T
    rate = 1 / interval if interval > 0 else np.nan
    return [Recording(waveform, rate, NETWORK, code.zfill(4), "raw", 0.0, _text_columns(header))]


def _text_columns(header):
    origin = header.get("EARTHQUAKE DATE", "").partition("(")[0].strip()
    start = header.get("RECORD TIME", "").partition("(")[0].strip()
    event_latitude, event_longitude = _degrees(header.get("EPICENTER COORDINATES", ""))
    latitude, longitude = _degrees(header.get("STATION COORDINATES", ""))
    origin_time = utc(origin, "%Y/%m/%d %H:%M:%S")
    return {
        "event": "afad_" + re.sub(r"\D", "", origin) if origin_time else "",
        "origin_time": origin_time,
        "start_time": utc(start, "%d/%m/%Y %H:%M:%S.%f"),
        "magnitude": header.get("EARTHQUAKE MAGNITUDE", "").split(" ")[0],
        "depth_in_km": header.get("EARTHQUAKE DEPTH (KM)"),
        "event_latitude": event_latitude,
        "event_longitude": event_longitude,
        "station_latitude": latitude,
        "station_longitude": longitude,
    }


def _degrees(text):
    """(latitude, longitude) of 36.91980N-27.44350E; NaN where it is not so written."""
    found = re.fullmatch(r"([\d.]+)([NS])-([\d.]+)([EW])", text)
    if not found:
        return np.nan, np.nan
    return (number(found[1]) * (1 if found[2] == "N" else -1), number(found[3]) * (1 if found[4] == "E" else -1))
