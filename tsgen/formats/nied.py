"""K-NET and KiK-net ASCII (NIED, one component a file), through ObsPy; the surface sensor only."""

import io
import re

import numpy as np

from tsgen.formats.recording import Damaged, Recording, equal, finite, in_order, number, utc
from tsgen.formats.source import LARGEST_TEXT_IN_BYTES, text_of

NETWORK = "BO"  # FDSN code of NIED's strong-motion networks, as ObsPy gives it
JST_IN_HOURS = 9
_COMPONENTS = {"EW": "E", "NS": "N", "UD": "Z"}
_FULL_SCALE = re.compile(r"([\d.]+)\s*\(gal\)\s*/\s*([\d.]+)")


def family(name):
    """(what the three component files of a record share, component): AICH040010061330.EW2 and its siblings."""
    stem, _, end = name.rpartition(".")
    return f"{stem}.{end[2:]}", _COMPONENTS[end[:2].upper()]


def decode(source, names, unit=None):
    """One Recording: counts x scale factor; header times are Japanese local time, made UTC.

    NIED names files by the origin minute and gives the origin time in each header: both name the event.
    """
    parts = {}
    for name in names:
        parts[family(name)[1]] = _component(source.read(name, LARGEST_TEXT_IN_BYTES))
    waveform, note = in_order({component: samples for component, (samples, _, _) in parts.items()})
    headers = [header for _, _, header in parts.values()]
    rate = equal([trace.stats.sampling_rate for _, trace, _ in parts.values()], "sampling rate")
    start = equal([str(trace.stats.starttime) for _, trace, _ in parts.values()], "start time")
    code = equal([header.get("Station Code", "") for header in headers], "station")
    if not code:
        raise Damaged("the header has no station code")
    header = headers[0]
    origin = header.get("Origin Time", "")
    origin_time = utc(origin, "%Y/%m/%d %H:%M:%S", JST_IN_HOURS)
    columns = {
        "event": "nied_" + re.sub(r"\D", "", origin)[2:12] if origin_time else "",
        "origin_time": origin_time,
        "start_time": start,
        "magnitude": header.get("Mag."),
        "depth_in_km": header.get("Depth. (km)"),
        "event_latitude": header.get("Lat."),
        "event_longitude": header.get("Long."),
        "station_latitude": header.get("Station Lat."),
        "station_longitude": header.get("Station Long."),
    }
    return [Recording(waveform, rate, NETWORK, code, "counts x scale factor" + note, 0.0, columns)]


def _component(content):
    """(samples in cm/s², ObsPy trace, header) of one file."""
    from obspy import read

    head = text_of(content[:4000]).split("\n")[:17]
    header = {line[:18].strip(): line[18:].strip() for line in head}
    scale = _FULL_SCALE.fullmatch(header.get("Scale Factor", ""))
    counts_to_gal = number(scale[1]) / (number(scale[2]) or np.nan) if scale else np.nan
    if not 1e-12 < counts_to_gal < 1e3:
        raise Damaged("the header's scale factor is not of the form 2000(gal)/8388608")
    rate = number(header.get("Sampling Freq(Hz)", "").removesuffix("Hz"))
    if not 1 <= rate <= 10_000:
        raise Damaged("the header has no sampling frequency")
    try:
        trace = read(io.BytesIO(content), format="KNET")[0]
    except Exception as error:  # ObsPy raises whatever its parsing stumbles over
        raise Damaged(f"ObsPy cannot read it as K-NET ASCII ({type(error).__name__}: {str(error)[:80]})") from None
    promised = number(header.get("Duration Time(s)")) * rate
    if not abs(trace.stats.npts - promised) <= rate:  # the duration is given in whole seconds
        raise Damaged(f"the header promises {promised:g} samples, the file holds {trace.stats.npts}")
    return finite(trace.data) * counts_to_gal, trace, header
