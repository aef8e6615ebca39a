"""MiniSEED, through ObsPy: corrected by the StationXML beside it, or in a unit that the caller states."""

import io
import itertools
import re
import warnings

import numpy as np

from tsgen.formats.nied import JST_IN_HOURS
from tsgen.formats.recording import Damaged, Recording, finite, in_order, scale_of, utc

LARGEST_XML_IN_BYTES = 64 * 2**20
LARGEST_IN_SAMPLES = 20_000_000  # three components of nine hours at 200 Hz; headers can promise more than there is
HIGHEST_GAP_IN_SAMPLES = 1.5  # between the end of one packet and the start of the next
SLOWEST_IN_HZ = 0.01  # a seismometer's response falls to zero at 0 Hz: below, noise would be blown up
TAPER_IN_RATES = (0.43, 0.48)  # above, the digitiser's own filter has left nothing to correct; 0.4 is the usable end
# direction in a channel code, or the whole of NIED's
_LETTERS = {"EW": "E", "NS": "N", "UD": "Z", "E": "E", "N": "N", "Z": "Z", "1": "N", "2": "E", "3": "Z"}
# a channel code (HNE, BH1, EW2) that stands alone in a file name
_CHANNEL = re.compile(r"(?<![A-Z0-9])(?:[A-Z]{2}[ENZ123]|(?:EW|NS|UD)[12]?)(?![A-Z0-9])")
# STATION and origin minute in Japanese local time: NIED's naming, kept by those who convert its files
_NIED_NAME = re.compile(r"^([A-Z]{3}[A-Z0-9]\d{2})(\d{10})\.")


def family(name):
    """(the file name without its component, component), or None where the name holds no channel code."""
    inside = name.rfind("/") + 1
    codes = list(_CHANNEL.finditer(name.upper(), inside))
    if not codes:
        return None
    code, start, end = codes[-1][0], codes[-1].start(), codes[-1].end()
    letter = code[:2] if code[:2] in _LETTERS else code[-1]
    return name[:start] + _without_direction(code) + name[end:], _LETTERS[letter]


def _without_direction(channel):
    return "??" + channel[2:] if channel[:2] in _LETTERS else channel[:-1] + "?"


def decode(source, names, unit=None):
    """A Recording for each sensor in the files, or Damaged in its place where one is incomplete."""
    stream = _stream(source, names)
    inventory = _inventory(source, names[0])
    sensors = {}
    for trace in stream:
        sensors.setdefault(_sensor(trace), []).append(trace)
    found = []
    for traces in sensors.values():
        try:
            found.append(_recording(traces, inventory, unit, names[0].rsplit("/", 1)[-1].upper()))
        except Damaged as error:
            found.append(error)
    if not any(isinstance(one, Recording) for one in found):
        raise found[0] if found else Damaged("it holds no samples")
    return found


def _sensor(trace):
    """What the components of one sensor share: NET.STA.LOC and the channel without its direction."""
    return f"{trace.id.rpartition('.')[0]}.{_without_direction(trace.stats.channel)}"


def _stream(source, names):
    """ObsPy Stream of all files, packets joined; raises Damaged at gaps and damage."""
    from obspy import Stream, read
    from obspy.io.mseed import InternalMSEEDWarning

    stream = Stream()
    for name in names:
        content = source.read(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", InternalMSEEDWarning)  # a file cut short is only worth a warning to ObsPy
            try:
                head = read(io.BytesIO(content), format="MSEED", headonly=True)
                if sum(trace.stats.npts for trace in head) > LARGEST_IN_SAMPLES:
                    raise Damaged(f"it promises more than {LARGEST_IN_SAMPLES} samples", "split it")
                stream += read(io.BytesIO(content), format="MSEED")
            except Damaged:
                raise
            except Exception as error:  # ObsPy raises whatever its parsing stumbles over
                told = f"{type(error).__name__}: {str(error)[:80]}"
                raise Damaged(f"{name.rsplit('/', 1)[-1]}: ObsPy cannot read it as MiniSEED ({told})") from None
    for trace in stream:
        if trace.data.dtype.kind not in "iuf":
            raise Damaged(f"channel {trace.id} holds text, not samples")
        with np.errstate(invalid="ignore"):  # a signalling NaN would be told twice
            trace.data = finite(trace.data.astype(np.float64))
    return stream


def _inventory(source, name):
    """All StationXML in the same folder as one ObsPy Inventory, or None; other .xml files are passed over."""
    from obspy import Inventory, read_inventory

    found = None
    for other in source.beside(name):
        if not other.lower().endswith(".xml"):
            continue
        content = source.read(other, LARGEST_XML_IN_BYTES)
        if b"<!ENTITY" in content or b"<!DOCTYPE" in content:
            raise Damaged(f"{other} declares entities, which StationXML never does", "do not trust this file")
        if b"FDSNStationXML" not in content[:2000]:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = (found or Inventory()) + read_inventory(io.BytesIO(content), format="STATIONXML")
            except Exception as error:  # ObsPy raises whatever its parsing stumbles over
                raise Damaged(f"the StationXML {other} cannot be read ({type(error).__name__})") from None
    return found


def _recording(traces, inventory, unit, file_name):
    """One sensor's Recording from its traces."""
    components = {}
    for trace in traces:
        components.setdefault(trace.stats.channel, []).append(trace)
    if any(code[:2] in _LETTERS and code[2:] == "1" for code in components):
        raise Damaged("it is KiK-net's borehole sensor", "give the surface sensor's files, EW2 NS2 UD2")
    letters = {code: _LETTERS.get(code[:2]) or _LETTERS.get(code[-1:], "?") for code in components}
    if len(set(letters.values())) < len(letters):
        raise Damaged(f"channels {', '.join(sorted(letters))} name a component twice", "keep one sensor's three files")
    if set(letters.values()) != set("ENZ"):
        in_order({letter: [] for letter in letters.values()})
    single = {letters[code]: _joined(packets) for code, packets in components.items()}
    rates = {trace.stats.sampling_rate for trace in single.values()}
    if len(rates) > 1:
        raise Damaged(f"the components differ in sampling rate: {', '.join(f'{rate:g} Hz' for rate in sorted(rates))}")
    note, usable_from_hz = _to_acceleration(single, inventory, unit)
    if any(code[-1] in "12" and code[:2] not in _LETTERS for code in components):
        note += _turned(single, inventory)
    start = max(trace.stats.starttime for trace in single.values())
    end = min(trace.stats.endtime for trace in single.values())
    if end <= start:
        raise Damaged("the components do not overlap in time")
    for trace in single.values():
        trace.trim(start, end, nearest_sample=True)
    waveform, _ = in_order({letter: trace.data for letter, trace in single.items()})
    stats = single["Z"].stats
    columns = {"start_time": start.isoformat() + "Z"} | _place(single["Z"], inventory)
    named = _NIED_NAME.match(file_name)
    code = stats.station
    if named and named[1].startswith(code):
        code = named[1]  # MiniSEED has room for five characters, NIED's stations have six
        columns |= {"event": "nied_" + named[2], "origin_time": utc(named[2], "%y%m%d%H%M", JST_IN_HOURS)}
    if not code:
        raise Damaged("the station has no name")
    return Recording(waveform, stats.sampling_rate, stats.network, code, note, usable_from_hz, columns)


def _joined(packets):
    """One trace from the packets of a channel; raises Damaged at a gap or an overlap."""
    packets = sorted(packets, key=lambda trace: trace.stats.starttime)
    for before, after in itertools.pairwise(packets):
        if after.stats.sampling_rate != before.stats.sampling_rate:
            raise Damaged(f"channel {before.id} changes its sampling rate")
        step = (after.stats.starttime - before.stats.endtime) * before.stats.sampling_rate
        if not 0 < step <= HIGHEST_GAP_IN_SAMPLES:
            kind = "a gap" if step > 0 else "an overlap"
            told = f"channel {before.id} has {kind} of {abs(step - 1):.0f} samples at {before.stats.endtime}"
            raise Damaged(told, "cut the stretch you need")
    whole = packets[0].copy()
    whole.data = np.concatenate([trace.data for trace in packets])
    return whole


def _to_acceleration(single, inventory, unit):
    """Turn the traces into cm/s² in place; gives the text for column processing and the low end of the band."""
    known = inventory is not None and all(_response(inventory, trace) for trace in single.values())
    if not known and not unit:
        why = "there is no StationXML beside it" if inventory is None else "the StationXML lacks this channel or time"
        raise Damaged(why, 'put the StationXML beside it, or give unit="cm/s^2" if the samples are in that unit')
    if not known:
        for trace in single.values():
            trace.data = trace.data * scale_of(unit)
        return f"unit {unit} as stated by the caller", 0.0
    accelerometers = [_is_accelerometer(_response(inventory, trace)) for trace in single.values()]
    for trace, accelerometer in zip(single.values(), accelerometers, strict=True):
        # negative corners: an accelerometer sees 0 Hz, so that nothing is filtered there
        low = (-2.0, -1.0) if accelerometer else (SLOWEST_IN_HZ / 2, SLOWEST_IN_HZ)
        high = tuple(share * trace.stats.sampling_rate for share in TAPER_IN_RATES)
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                trace.remove_response(inventory, "ACC", water_level=60, pre_filt=low + high, taper=False)
        except Exception as error:  # ObsPy raises whatever its parsing stumbles over
            told = f"{type(error).__name__}: {str(error)[:80]}"
            raise Damaged(f"the response of {trace.id} cannot be removed ({told})", "check the StationXML") from None
        trace.data = trace.data * 100.0
    return "instrument response removed", 0.0 if all(accelerometers) else SLOWEST_IN_HZ


def _is_accelerometer(response):
    return str(response.instrument_sensitivity.input_units or "").upper().startswith("M/S*")


def _response(inventory, trace):
    """Response of the trace's channel at its start, or None."""
    try:
        response = inventory.get_response(trace.id, trace.stats.starttime)
    except Exception:  # ObsPy raises a bare Exception where it finds none
        return None
    return response if response.instrument_sensitivity else None


def _turned(single, inventory):
    """Rotate horizontals named 1 and 2 to north and east where StationXML tells their azimuths."""
    azimuths = []
    for letter in "NE":
        try:
            azimuths.append(inventory.get_orientation(single[letter].id, single[letter].stats.starttime)["azimuth"])
        except Exception:  # no inventory, no such channel, no azimuth in it
            return "; horizontals are the file's 1 and 2, not necessarily north and east"
    first, second = np.radians(np.asarray(azimuths, float))
    if not abs(np.cos(first - second)) < 0.02:
        raise Damaged(f"its horizontals are not at right angles: azimuths {azimuths[0]} and {azimuths[1]}")
    one, two = (single[letter].data for letter in "NE")
    n = min(len(one), len(two))
    single["N"].data = one[:n] * np.cos(first) + two[:n] * np.cos(second)
    single["E"].data = one[:n] * np.sin(first) + two[:n] * np.sin(second)
    return f"; horizontals at {azimuths[0]:g} and {azimuths[1]:g} degrees turned to north and east"


def _place(trace, inventory):
    """Station coordinates from the inventory."""
    try:
        place = inventory.get_coordinates(trace.id, trace.stats.starttime)
    except Exception:  # no inventory, or no such channel in it
        return {}
    return {"station_latitude": place["latitude"], "station_longitude": place["longitude"]}
