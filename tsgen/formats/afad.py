"""AFAD's other two formats: .mat (EQ.anEQ) and the old text file of three columns N-S, E-W, U-D."""

import re

import numpy as np

from tsgen.collection import utc
from tsgen.formats import mat5
from tsgen.formats.recording import Damaged, Recording, floats, header_of, number

NETWORK = "TK"  # FDSN code of AFAD's strong-motion network
_NAME = re.compile(r"(\d{14})_(\w+)\.")
_DEGREES = re.compile(r"([\d.]+)([NS])-([\d.]+)([EW])")  # 36.91980N-27.44350E
_PLACES = ("event_latitude", "event_longitude", "station_latitude", "station_longitude")
_HEADER_LINES = 40


def decode_mat(source, names, unit):
    """One Recording from EQ.anEQ: Accel (samples, 3) in cm/s², columns N, E, U; sampling is the interval in s.

    ``date`` is an opaque MATLAB object, so the origin time comes from the file name (20160203212508_4614.mat), and
    the start time is unknown. statID 208 is station 0208; Vs30 0 is unknown; depth is in metres.
    """
    equake = mat5.load(source.read(names[0], mat5.LARGEST_IN_BYTES)).get("EQ")
    fields = equake.get("anEQ") if isinstance(equake, dict) else None
    if not isinstance(fields, dict):
        raise Damaged("it holds no struct EQ.anEQ, hence is not AFAD's .mat", "give AFAD's own file")
    samples, unit_in_file = fields.get("Accel"), fields.get("pgaUnit")
    if not isinstance(samples, np.ndarray) or samples.ndim != 2 or samples.shape[1] != 3:
        raise Damaged("EQ.anEQ.Accel is not an array of three columns", "give AFAD's own file")
    if isinstance(unit_in_file, str) and unit_in_file.strip().lower() not in ("gal", "cm/s^2", "cm/s2"):
        raise Damaged(f"its pgaUnit is {unit_in_file[:20]!r}, not gal", "give AFAD's own file")
    named = _NAME.search(names[0].rsplit("/", 1)[-1])
    stamp, code = named.groups() if named else ("", "")
    origin, rate = utc(stamp, "%Y%m%d%H%M%S"), 1 / (number(fields.get("sampling")) or np.nan)
    pairs = [fields.get("epicenter"), fields.get("statco")]
    known = [pair.ravel() if isinstance(pair, np.ndarray) and pair.size == 2 else (np.nan, np.nan) for pair in pairs]
    columns = dict(zip(_PLACES, np.concatenate(known), strict=True))
    columns |= {"event": f"afad_{stamp}" if origin else "", "origin_time": origin}
    columns |= {"magnitude": fields.get("magnitudeval"), "vs30_in_m_per_s": fields.get("Vs30")}
    columns["depth_in_km"] = number(fields.get("depth")) / 1000
    for wave in "ps":  # Ptime and Stime, where 0 is "not picked"
        columns[f"{wave}_arrival_sample"] = (number(fields.get(f"{wave.upper()}time")) or np.nan) * rate
    code = _station(fields.get("statID"), code)
    return [Recording(samples[:, [1, 0, 2]].T, rate, NETWORK, code, "none said in the file", 0.0, columns)]


def _station(value, from_name):
    """Four-digit code with its leading zeros; AFAD numbers stations by province."""
    code = number(value)
    if 0 < code < 1e6 and code == int(code):
        return f"{int(code):04d}"
    text = (value.strip() if isinstance(value, str) else "") or from_name
    if not text:
        raise Damaged("the station is named neither in the file nor in its name", "name the file TIME_STATION.mat")
    return text.zfill(4)


def decode_text(source, names, unit):
    """One Recording from the old text file: a header of NAME : value lines, then N-S, E-W, U-D in gal."""
    text = source.text(names[0])
    if "STRONG GROUND MOTION RECORDS" not in text[:200]:
        raise Damaged("it is no AFAD text record", "only .txt files with AFAD's header are records")
    lines = text.split("\n")
    titles = [i for i, line in enumerate(lines[:_HEADER_LINES]) if line.split() == ["N-S", "E-W", "U-D"]]
    if not titles:
        raise Damaged("the line N-S E-W U-D above the columns is missing")
    header = header_of(lines[: titles[0]])
    if "RAW PGA VALUES (GAL)" not in header:
        raise Damaged("the header does not say that the unit is gal")
    samples = floats("\n".join(lines[titles[0] + 1 :]), 3 * number(header.get("NUMBER OF DATA")))
    rate = 1 / (number(header.get("SAMPLING INTERVAL (SEC)")) or np.nan)
    origin, start = (header.get(key, "").partition("(")[0].strip() for key in ("EARTHQUAKE DATE", "RECORD TIME"))
    origin_time = utc(origin, "%Y/%m/%d %H:%M:%S")
    columns = {"origin_time": origin_time, "start_time": utc(start, "%d/%m/%Y %H:%M:%S.%f")}
    columns["event"] = "afad_" + re.sub(r"\D", "", origin) if origin_time else ""
    columns["magnitude"] = header.get("EARTHQUAKE MAGNITUDE", "").split(" ")[0]
    columns["depth_in_km"] = header.get("EARTHQUAKE DEPTH (KM)")
    found = [_DEGREES.fullmatch(header.get(f"{what} COORDINATES", "")) for what in ("EPICENTER", "STATION")]
    degrees = [number(part[i]) * (1 if part[i + 1] in "NE" else -1) if part else None for part in found for i in (1, 3)]
    columns |= zip(_PLACES, degrees, strict=True)
    waveform, code = samples.reshape(-1, 3)[:, [1, 0, 2]].T, header.get("STATION ID", "")
    return [Recording(waveform, rate, NETWORK, code and code.zfill(4), "raw", 0.0, columns)]
