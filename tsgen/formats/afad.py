"""AFAD's formats: .mat (EQ.anEQ), .asc (DYNA header, ESM's too), the old text of three columns N-S, E-W, U-D."""

import re

import numpy as np

from tsgen.collection import utc
from tsgen.formats import mat5
from tsgen.formats.recording import Damaged, Recording, equal, floats, in_order, number, plausible, scale_of

NETWORK = "TK"  # FDSN code of AFAD's strong-motion network
_NAME = re.compile(r"(\d{14})_(\w+)\.")
_DEGREES = re.compile(r"([\d.]+)([NS])-([\d.]+)([EW])")  # 36.91980N-27.44350E
_PLACES = ("event_latitude", "event_longitude", "station_latitude", "station_longitude")
_HEADER_LINES = 40
# 20230206011732_3126_ap_Acc_E.asc, and HI.ARS1..HNE.D.20190728.160908.C.ACC.ASC
_COMPONENT_IN_NAME = re.compile(r"(?<=_)[ENUZ](?=\.\w+$)|(?<=\.[A-Z]{2})[ENZ](?=\.)", re.IGNORECASE)
_DYNA_START = "DATE_TIME_FIRST_SAMPLE_YYYYMMDD_HHMMSS"
_DYNA_COLUMNS = {"depth_in_km": "EVENT_DEPTH_KM", "distance_in_km": "EPICENTRAL_DISTANCE_KM"}
_DYNA_COLUMNS |= {"vs30_in_m_per_s": "VS30_M/S"} | {name: f"{name.upper()}_DEGREE" for name in _PLACES}


def decode_mat(source, names, unit):
    """One Recording from EQ.anEQ: Accel (samples, 3) in cm/s², columns N, E, U; sampling is the interval in s.
    ``date`` is an opaque MATLAB object: the origin time comes from the file name (20160203212508_4614.mat), the start
    time is unknown. statID 208 is station 0208; Vs30 0 is unknown; depth is in metres."""
    equake = mat5.load(source.read(names[0], mat5.LARGEST_IN_BYTES)).get("EQ")
    fields = equake.get("anEQ") if isinstance(equake, dict) else None
    if not isinstance(fields, dict):
        raise Damaged("it holds no struct EQ.anEQ, hence is not AFAD's .mat", "give AFAD's own file")
    samples, unit_in_file, station = (fields.get(name) for name in ("Accel", "pgaUnit", "statID"))
    if not isinstance(samples, np.ndarray) or samples.ndim != 2 or samples.shape[1] != 3:
        raise Damaged("EQ.anEQ.Accel is not an array of three columns", "give AFAD's own file")
    if isinstance(unit_in_file, str) and unit_in_file.strip().lower() not in ("gal", "cm/s^2", "cm/s2"):
        raise Damaged(f"its pgaUnit is {unit_in_file[:20]!r}, not gal", "give AFAD's own file")
    # AFAD's own files are in gal and hold the station's number; older ones do not name the unit
    stated = isinstance(unit_in_file, str) or np.isfinite(number(station))
    scale = 1.0 if stated else scale_of(unit)
    named = _NAME.search(names[0].rsplit("/", 1)[-1])
    stamp, code = named.groups() if named else ("", "")
    origin, rate = utc(stamp, "%Y%m%d%H%M%S"), 1 / (number(fields.get("sampling")) or np.nan)
    pairs = [fields.get("epicenter"), fields.get("statco")]
    known = [pair.ravel() if isinstance(pair, np.ndarray) and pair.size == 2 else (np.nan, np.nan) for pair in pairs]
    columns = dict(zip(_PLACES, np.concatenate(known), strict=True)) | {"origin_time": origin}
    columns |= {"event": f"afad_{stamp}" if origin else "", "depth_in_km": number(fields.get("depth")) / 1000}
    columns |= {"magnitude": fields.get("magnitudeval"), "vs30_in_m_per_s": fields.get("Vs30")}
    for wave in "ps":  # Ptime and Stime, where 0 is "not picked"
        columns[f"{wave}_arrival_sample"] = (number(fields.get(f"{wave.upper()}time")) or np.nan) * rate
    if 0 < (digits := number(station)) < 1e6 and digits == int(digits):
        code = str(int(digits))
    elif not (code := (station.strip() if isinstance(station, str) else "") or code):
        raise Damaged("the station is named neither in the file nor in its name", "name the file TIME_STATION.mat")
    code = code.zfill(4)  # AFAD numbers stations by province, with leading zeros
    return [Recording(samples[:, [1, 0, 2]].T * scale, rate, NETWORK, code, "none said in the file", 0.0, columns)]


def decode_text(source, names, unit):
    """One Recording from the old text file: a header of NAME : value lines, then N-S, E-W, U-D in gal."""
    text = source.text(names[0])
    if "STRONG GROUND MOTION RECORDS" not in text[:200]:
        raise Damaged("it is no AFAD text record", "only .txt files with AFAD's header are records")
    lines = text.split("\n")
    titles = [i for i, line in enumerate(lines[:_HEADER_LINES]) if line.split() == ["N-S", "E-W", "U-D"]]
    if not titles:
        raise Damaged("the line N-S E-W U-D above the columns is missing")
    header = _header(lines[: titles[0]])
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


def _header(lines):
    """{NAME in capitals: value} of lines NAME : value."""
    parts = (line.partition(":") for line in lines)
    return {key.strip().upper(): value.strip() for key, colon, value in parts if colon}


def dyna_key(name):
    """What the names of a record's three component files share; the name itself where it tells no component."""
    places = list(_COMPONENT_IN_NAME.finditer(name, name.rfind("/") + 1))
    return f"{name[: places[-1].start()]}?{name[places[-1].end() :]}" if places else name


def decode_dyna(source, names, unit):
    """One Recording from component files of 64 lines NAME: value, then one sample a line; times are UTC."""
    letters, samples, headers = zip(*(_dyna_component(source.text(name)) for name in names), strict=True)
    waveform, note = in_order(dict(zip(letters, samples, strict=True)))
    interval = equal([number(header.get("SAMPLING_INTERVAL_S")) for header in headers], "sampling interval")
    told = {"NETWORK": "network", "STATION_CODE": "station", _DYNA_START: "start time"}
    network, code, start = (equal([header.get(key, "") for header in headers], told[key]) for key in told)
    header, start = headers[0], re.sub(r"[^\d.]", "", start)
    low_cut = max(number(header.get("LOW_CUT_FREQUENCY_HZ"), 0.0) for header in headers)
    processing = f"{header.get('BASELINE_CORRECTION', '')}; {header.get('PROCESSING', '')}".strip("; ")
    if low_cut:
        processing += f"; band pass {low_cut:g} to {header.get('HIGH_CUT_FREQUENCY_HZ') or '?'} Hz"
    times = (header.get(key, "").split(".")[0] for key in ("EVENT_DATE_YYYYMMDD", "EVENT_TIME_HHMMSS"))
    stamp = re.sub(r"\D", "", "".join(times))
    origin, magnitude = utc(stamp, "%Y%m%d%H%M%S"), plausible("magnitude", header.get("MAGNITUDE_W"))
    columns = {name: header.get(key) for name, key in _DYNA_COLUMNS.items()} | {"origin_time": origin}
    columns["event"] = header.get("EVENT_ID") or header.get("EVENT_NAME", "")
    if network == NETWORK and origin:  # AFAD names its own files so, and its three formats agree on the event
        columns["event"] = f"afad_{stamp}"
    columns["start_time"] = utc(start, "%Y%m%d%H%M%S.%f") or utc(start, "%Y%m%d%H%M%S")
    columns["magnitude"] = magnitude if np.isfinite(magnitude) else header.get("MAGNITUDE_L")
    processing, rate = (processing or "none") + note, 1 / (interval or np.nan)
    return [Recording(waveform, rate, network, code, processing, low_cut, columns)]


def _dyna_component(text):
    """(component letter, samples in cm/s², header) of one file."""
    lines = text.split("\n")
    n = next((i for i, line in enumerate(lines) if ":" not in line), len(lines))
    header = _header(lines[:n])
    if "STREAM" not in header or "SAMPLING_INTERVAL_S" not in header:
        raise Damaged("the DYNA header lacks STREAM or SAMPLING_INTERVAL_S")
    if (kind := header.get("DATA_TYPE", "").lower()) not in ("", "acceleration"):
        raise Damaged(f"it holds {kind[:40]}, not acceleration", "download the acceleration file (ACC)")
    samples = floats("\n".join(lines[n:]), number(header.get("NDATA")))
    return header["STREAM"][-1:].upper().replace("U", "Z"), samples * scale_of(header.get("UNITS")), header
