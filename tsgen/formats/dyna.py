"""AFAD and ESM ASCII with the DYNA header (one component a file): 64 lines of NAME: value, then one sample a line."""

import re

import numpy as np

from tsgen.collection import utc
from tsgen.formats.recording import Damaged, Recording, equal, floats, header_of, in_order, number, plausible, scale_of

# 20230206011732_3126_ap_Acc_E.asc, and HI.ARS1..HNE.D.20190728.160908.C.ACC.ASC
_COMPONENT_IN_NAME = re.compile(r"(?<=_)[ENUZ](?=\.\w+$)|(?<=\.[A-Z]{2})[ENZ](?=\.)", re.IGNORECASE)
_START = "DATE_TIME_FIRST_SAMPLE_YYYYMMDD_HHMMSS"
_COLUMNS = {"depth_in_km": "EVENT_DEPTH_KM", "distance_in_km": "EPICENTRAL_DISTANCE_KM", "vs30_in_m_per_s": "VS30_M/S"}
_COLUMNS |= {name: f"{name.upper()}_DEGREE" for name in ("station_latitude", "station_longitude")}
_COLUMNS |= {name: f"{name.upper()}_DEGREE" for name in ("event_latitude", "event_longitude")}


def family(name):
    """(what the three component files of a record share, component) from the file name, or None."""
    places = list(_COMPONENT_IN_NAME.finditer(name, name.rfind("/") + 1))
    return (name[: places[-1].start()] + "?" + name[places[-1].end() :], places[-1][0].upper()) if places else None


def decode(source, names, unit):
    """One Recording from component files; header times are UTC."""
    parts = [_component(source.text(name)) for name in names]
    headers = [header for _, _, header in parts]
    waveform, note = in_order({component: samples for component, samples, _ in parts})
    interval = equal([number(header.get("SAMPLING_INTERVAL_S")) for header in headers], "sampling interval")
    told = {"NETWORK": "network", "STATION_CODE": "station", _START: "start time"}
    network, code, start = (equal([header.get(key, "") for header in headers], told[key]) for key in told)
    header, start = headers[0], re.sub(r"[^\d.]", "", start)
    low_cut = max(number(header.get("LOW_CUT_FREQUENCY_HZ"), 0.0) for header in headers)
    processing = f"{header.get('BASELINE_CORRECTION', '')}; {header.get('PROCESSING', '')}".strip("; ")
    if low_cut:
        processing += f"; band pass {low_cut:g} to {header.get('HIGH_CUT_FREQUENCY_HZ') or '?'} Hz"
    times = (header.get(key, "").split(".")[0] for key in ("EVENT_DATE_YYYYMMDD", "EVENT_TIME_HHMMSS"))
    stamp = re.sub(r"\D", "", "".join(times))
    origin, magnitude = utc(stamp, "%Y%m%d%H%M%S"), plausible("magnitude", header.get("MAGNITUDE_W"))
    # AFAD's own files are named by the origin time, so that its three formats agree on the event
    by_time = network == "TK" and origin
    columns = {name: header.get(key) for name, key in _COLUMNS.items()} | {"origin_time": origin}
    columns["event"] = f"afad_{stamp}" if by_time else header.get("EVENT_ID") or header.get("EVENT_NAME", "")
    columns["start_time"] = utc(start, "%Y%m%d%H%M%S.%f") or utc(start, "%Y%m%d%H%M%S")
    columns["magnitude"] = magnitude if np.isfinite(magnitude) else header.get("MAGNITUDE_L")
    rate = 1 / (interval or np.nan)
    return [Recording(waveform, rate, network, code, (processing or "none") + note, low_cut, columns)]


def _component(text):
    """(component letter, samples in cm/s², header) of one file."""
    lines = text.split("\n")
    n = next((i for i, line in enumerate(lines) if ":" not in line), len(lines))
    header = header_of(lines[:n])
    if "STREAM" not in header or "SAMPLING_INTERVAL_S" not in header:
        raise Damaged("the DYNA header lacks STREAM or SAMPLING_INTERVAL_S")
    kind = header.get("DATA_TYPE", "").lower()
    if kind and kind != "acceleration":
        raise Damaged(f"it holds {kind[:40]}, not acceleration", "download the acceleration file (ACC)")
    samples = floats("\n".join(lines[n:]), number(header.get("NDATA")))
    return header["STREAM"][-1:].upper().replace("U", "Z"), samples * scale_of(header.get("UNITS")), header
