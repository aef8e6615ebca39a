"""AFAD and ESM ASCII with the DYNA header (one component a file): 64 lines of NAME: value, then one sample a line."""

import re

import numpy as np

from tsgen.formats.recording import Damaged, Recording, equal, floats, in_order, number, plausible, scale_of, utc
from tsgen.formats.source import LARGEST_TEXT_IN_BYTES, text_of

# 20230206011732_3126_ap_Acc_E.asc, and HI.ARS1..HNE.D.20190728.160908.C.ACC.ASC
_COMPONENT_IN_NAME = re.compile(r"(?<=_)[ENUZ](?=\.\w+$)|(?<=\.[A-Z]{2})[ENZ](?=\.)", re.IGNORECASE)


def family(name):
    """(what the three component files of a record share, component) from the file name, or None."""
    places = list(_COMPONENT_IN_NAME.finditer(name, name.rfind("/") + 1))
    return (name[: places[-1].start()] + "?" + name[places[-1].end() :], places[-1][0].upper()) if places else None


def decode(source, names, unit=None):
    """One Recording from component files; header times are UTC."""
    parts = [_component(text_of(source.read(name, LARGEST_TEXT_IN_BYTES))) for name in names]
    waveform, note = in_order({component: samples for component, samples, _ in parts})
    headers = [header for _, _, header in parts]
    interval = equal([number(header.get("SAMPLING_INTERVAL_S")) for header in headers], "sampling interval")
    network, code = (equal([header.get(key, "") for header in headers], key) for key in ("NETWORK", "STATION_CODE"))
    equal([header.get("DATE_TIME_FIRST_SAMPLE_YYYYMMDD_HHMMSS", "") for header in headers], "start time")
    if not code:
        raise Damaged("the header has no STATION_CODE")
    low_cut = max(number(header.get("LOW_CUT_FREQUENCY_HZ"), 0.0) for header in headers)
    processing = f"{headers[0].get('BASELINE_CORRECTION', '')}; {headers[0].get('PROCESSING', '')}".strip("; ")
    if low_cut:
        processing += f"; band pass {low_cut:g} to {headers[0].get('HIGH_CUT_FREQUENCY_HZ') or '?'} Hz"
    rate = 1 / interval if interval else np.nan
    return [Recording(waveform, rate, network, code, (processing or "none") + note, low_cut, _columns(headers[0]))]


def _component(text):
    """(component letter, samples in cm/s², header) of one file."""
    header, rest = {}, text
    while True:
        line, newline, after = rest.partition("\n")
        key, colon, value = line.partition(":")
        if not colon:
            break
        header[key.strip().upper()] = value.strip()
        rest = after
        if not newline:
            break
    if "STREAM" not in header or "SAMPLING_INTERVAL_S" not in header:
        raise Damaged("the DYNA header lacks STREAM or SAMPLING_INTERVAL_S")
    kind = header.get("DATA_TYPE", "").lower()
    if kind and kind != "acceleration":
        raise Damaged(f"it holds {kind[:40]}, not acceleration", "download the acceleration file (ACC)")
    samples = floats(rest)
    declared = number(header.get("NDATA"))
    if len(samples) != declared:
        raise Damaged(f"the header promises {declared:g} samples, the file holds {len(samples)}")
    component = header["STREAM"][-1:].upper().replace("U", "Z")
    return component, samples * scale_of(header.get("UNITS")), header


def _columns(header):
    date, time = (re.sub(r"\D", "", header.get(f"EVENT_{key}", "").split(".")[0]) for key in _EVENT_TIME)
    origin = utc(date + time, "%Y%m%d%H%M%S")
    # AFAD's own files are named by the origin time, so that its three formats agree on the event
    by_time = header.get("NETWORK") == "TK" and origin
    start = re.sub(r"[^\d.]", "", header.get("DATE_TIME_FIRST_SAMPLE_YYYYMMDD_HHMMSS", ""))
    magnitude = plausible("magnitude", header.get("MAGNITUDE_W"))
    return {
        "event": f"afad_{date}{time}" if by_time else header.get("EVENT_ID", "") or header.get("EVENT_NAME", ""),
        "origin_time": origin,
        "start_time": utc(start, "%Y%m%d%H%M%S.%f") or utc(start, "%Y%m%d%H%M%S"),
        "magnitude": magnitude if np.isfinite(magnitude) else header.get("MAGNITUDE_L"),
        "depth_in_km": header.get("EVENT_DEPTH_KM"),
        "distance_in_km": header.get("EPICENTRAL_DISTANCE_KM"),
        "vs30_in_m_per_s": header.get("VS30_M/S"),
        "station_latitude": header.get("STATION_LATITUDE_DEGREE"),
        "station_longitude": header.get("STATION_LONGITUDE_DEGREE"),
        "event_latitude": header.get("EVENT_LATITUDE_DEGREE"),
        "event_longitude": header.get("EVENT_LONGITUDE_DEGREE"),
    }


_EVENT_TIME = ("DATE_YYYYMMDD", "TIME_HHMMSS")
