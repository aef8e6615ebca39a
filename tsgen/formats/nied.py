"""K-NET and KiK-net ASCII (NIED, one component a file), through ObsPy; the surface sensor only."""

import io
import re

import numpy as np

from tsgen.collection import utc
from tsgen.formats.recording import Damaged, Recording, equal, finite, in_order, number, obspy_or

NETWORK = "BO"  # FDSN code of NIED's strong-motion networks, as ObsPy gives it
JST_IN_HOURS = 9
_COMPONENTS = {"EW": "E", "NS": "N", "UD": "Z"}
_COLUMNS = {"magnitude": "Mag.", "depth_in_km": "Depth. (km)", "event_latitude": "Lat.", "event_longitude": "Long."}
_COLUMNS |= {"station_latitude": "Station Lat.", "station_longitude": "Station Long."}
_FULL_SCALE = re.compile(r"([\d.]+)\s*\(gal\)\s*/\s*([\d.]+)")


def family(name):
    """(what the three component files of a record share, component): AICH040010061330.EW2 and its siblings."""
    stem, _, end = name.rpartition(".")
    return f"{stem}.{end[2:]}", _COMPONENTS[end[:2].upper()]


def decode(source, names, unit):
    """One Recording: counts x scale factor; header times are Japanese local time, made UTC.

    NIED names files by the origin minute and gives the origin time in each header: both name the event.
    """
    parts = {family(name)[1]: _component(source.text(name)) for name in names}
    waveform, note = in_order({component: samples for component, (samples, _, _) in parts.items()})
    _, traces, headers = zip(*parts.values(), strict=True)
    rate = equal([trace.stats.sampling_rate for trace in traces], "sampling rate")
    start = equal([str(trace.stats.starttime) for trace in traces], "start time")
    code = equal([header.get("Station Code", "") for header in headers], "station")
    origin = headers[0].get("Origin Time", "")
    origin_time = utc(origin, "%Y/%m/%d %H:%M:%S", JST_IN_HOURS)
    columns = {name: headers[0].get(key) for name, key in _COLUMNS.items()}
    columns |= {"start_time": start, "origin_time": origin_time}
    columns["event"] = "nied_" + re.sub(r"\D", "", origin)[2:12] if origin_time else ""
    return [Recording(waveform, rate, NETWORK, code, "counts x scale factor" + note, 0.0, columns)]


def _component(text):
    """(samples in cm/s², ObsPy trace, header) of one file."""
    from obspy import read

    header = {line[:18].strip(): line[18:].strip() for line in text[:4000].split("\n")[:17]}
    scale = _FULL_SCALE.fullmatch(header.get("Scale Factor", ""))
    counts_to_gal = number(scale[1]) / (number(scale[2]) or np.nan) if scale else np.nan
    rate = number(header.get("Sampling Freq(Hz)", "").removesuffix("Hz"))
    if not 1e-12 < counts_to_gal < 1e3:
        raise Damaged("the header's scale factor is not of the form 2000(gal)/8388608")
    if not 1 <= rate <= 10_000:
        raise Damaged("the header has no sampling frequency")
    with obspy_or("ObsPy cannot read it as K-NET ASCII"):
        trace = read(io.BytesIO(text.encode("latin-1")), format="KNET")[0]
    promised = number(header.get("Duration Time(s)")) * rate
    if not abs(trace.stats.npts - promised) <= rate:  # the duration is given in whole seconds
        raise Damaged(f"the header promises {promised:g} samples, the file holds {trace.stats.npts}")
    return finite(trace.data) * counts_to_gal, trace, header
