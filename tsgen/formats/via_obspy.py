"""Through ObsPy: MiniSEED, corrected by StationXML or in a unit that the caller states, and K-NET and KiK-net ASCII."""

import functools
import io
import re
import warnings

import numpy as np

from tsgen.collection import utc
from tsgen.formats.peer import derivative
from tsgen.formats.recording import Damaged, Recording, equal, finite, in_order, number, obspy_or, scale_of, turned

NIED_NETWORK = "BO"  # FDSN code of NIED's strong-motion networks, as ObsPy gives it
JST_IN_HOURS = 9
LARGEST_XML_IN_BYTES = 64 * 2**20
LARGEST_IN_SAMPLES = 20_000_000  # three components of nine hours at 200 Hz; headers can promise more than there is
SLOWEST_IN_HZ = 0.01  # a seismometer's response falls to zero at 0 Hz: below, noise would be blown up
LARGEST_GAIN_DIFFERENCE = 0.05  # of the sensitivity: where evalresp warns
_ACCELERATION = ("M/S*", "M/(S*", "M/S/S", "M/SEC*", "M/(SEC*", "M/S^", "M/S2")  # how StationXML may begin it
TAPER_IN_RATES = (0.43, 0.48)  # above, the digitiser's own filter has left nothing to correct; 0.4 is the usable end
# direction in a channel code, or the whole of NIED's
_LETTERS = {"EW": "E", "NS": "N", "UD": "Z", "E": "E", "N": "N", "Z": "Z", "1": "N", "2": "E", "3": "Z"}
# a channel code (HNE, BH1, EW2) that stands alone in a file name
_CHANNEL = re.compile(r"(?<![A-Z0-9])(?:[A-Z]{2}[ENZ123]|(?:EW|NS|UD)[12]?)(?![A-Z0-9])")
# STATION and origin minute in Japanese local time: NIED's naming, kept by those who convert its files
_NIED_NAME = re.compile(r"^([A-Z]{3}[A-Z0-9]\d{2})(\d{10})\.")
_NIED_COLUMNS = {"magnitude": "Mag.", "depth_in_km": "Depth. (km)"}
_NIED_COLUMNS |= {"event_latitude": "Lat.", "event_longitude": "Long."}
_NIED_COLUMNS |= {"station_latitude": "Station Lat.", "station_longitude": "Station Long."}
_FULL_SCALE = re.compile(r"([\d.]+)\s*\(gal\)\s*/\s*([\d.]+)")


def miniseed_key(name):
    """What the names of a record's three component files share; the name itself where it holds no channel code."""
    codes = list(_CHANNEL.finditer(name.upper(), name.rfind("/") + 1))
    return name[: codes[-1].start()] + _direction(codes[-1][0])[0] + name[codes[-1].end() :] if codes else name


def _direction(channel):
    """(channel code without its direction, component letter): HN?, E of HNE, and ??2, E of NIED's EW2."""
    if channel[:2] in _LETTERS:
        return "??" + channel[2:], _LETTERS[channel[:2]]
    return channel[:-1] + "?", _LETTERS.get(channel[-1:], "?")


def read_miniseed(content, failure):
    """ObsPy's Stream; raises Damaged, beginning with ``failure``, where the bytes are none, too many or cut short."""
    from obspy import read
    from obspy.io.mseed import InternalMSEEDWarning

    with obspy_or(failure):
        warnings.simplefilter("error", InternalMSEEDWarning)  # a file cut short is only worth a warning to ObsPy
        head = read(io.BytesIO(content), format="MSEED", headonly=True)
        if sum(trace.stats.npts for trace in head) > LARGEST_IN_SAMPLES:
            raise Damaged(f"it promises more than {LARGEST_IN_SAMPLES} samples", "split it")
        return read(io.BytesIO(content), format="MSEED")


def decode_miniseed(source, names, unit):
    """A Recording for each sensor in the files, or Damaged in its place where one is incomplete."""
    from obspy import Stream

    inventory = _inventory(source, names[0])
    sensors, found = {}, []  # by NET.STA.LOC and the channel without its direction
    for name in names:
        for trace in read_miniseed(source.read(name), f"{name.rsplit('/', 1)[-1]}: ObsPy cannot read it as MiniSEED"):
            if trace.data.dtype.kind not in "iuf":
                raise Damaged(f"channel {trace.id} holds text, not samples")
            trace.data = finite(trace.data)
            sensor = trace.id.rpartition(".")[0], _direction(trace.stats.channel)[0]
            sensors.setdefault(sensor, Stream()).append(trace)
    for stream in sensors.values():
        try:
            found.append(_recording(stream, inventory, unit, names[0].rsplit("/", 1)[-1].upper()))
        except Damaged as error:
            found.append(error)
    if all(isinstance(one, Damaged) for one in found):
        raise found[0] if found else Damaged("it holds no samples")
    return found


def _inventory(source, name):
    """All StationXML in the same folder as one ObsPy Inventory, or None; other .xml files are passed over."""
    from obspy import Inventory

    found = None
    for other in (other for other in source.beside(name) if other.lower().endswith(".xml")):
        content = source.read(other, LARGEST_XML_IN_BYTES)
        if b"<!ENTITY" in content or b"<!DOCTYPE" in content:
            raise Damaged(f"{other} declares entities, which StationXML never does", "do not trust this file")
        if b"FDSNStationXML" in content[:2000]:
            with obspy_or(f"the StationXML {other} cannot be read"):
                found = (found or Inventory()) + _parsed(content)
    return found


@functools.lru_cache(maxsize=4)
def _parsed(content):
    """An Inventory from StationXML, kept: all records of a station ask for the same one, which takes seconds."""
    from obspy import read_inventory

    return read_inventory(io.BytesIO(content), format="STATIONXML")


def _recording(stream, inventory, unit, file_name):
    """One sensor's Recording from its traces; horizontals 1 and 2 are turned where StationXML tells their azimuths."""
    letters = {trace.stats.channel: _direction(trace.stats.channel)[1] for trace in stream}
    if any(code[:2] in _LETTERS and code[2:] == "1" for code in letters):
        raise Damaged("it is KiK-net's borehole sensor", "give the surface sensor's files, EW2 NS2 UD2")
    if len(set(letters.values())) < len(letters):
        raise Damaged(f"channels {', '.join(sorted(letters))} name a component twice", "keep one sensor's three files")
    in_order({letter: [] for letter in letters.values()})  # before the work: is one missing?
    rate = equal([trace.stats.sampling_rate for trace in stream], "sampling rate")
    for *code, before, _, _, samples in stream.get_gaps():
        told = f"channel {'.'.join(code)} has {'a gap' if samples > 0 else 'an overlap'} of {abs(samples)} samples"
        raise Damaged(f"{told} at {before}", "cut the stretch you need")
    stream.merge()  # the packets of a channel into one trace
    counts = stream.copy()
    note, usable_from_hz, remarks = _to_acceleration(stream, inventory, unit)
    start, end = max(trace.stats.starttime for trace in stream), min(trace.stats.endtime for trace in stream)
    if end <= start:
        raise Damaged("the components do not overlap in time")
    parts = [part.trim(start, end, nearest_sample=True) for part in (stream, counts)]
    by_letter = [{letters[trace.stats.channel]: trace for trace in part} for part in parts]
    waveform, counts = (in_order({key: trace.data for key, trace in part.items()})[0] for part in by_letter)
    traces = by_letter[0]
    if any(code[-1] in "12" and code[:2] not in _LETTERS for code in letters):
        azimuths = [(_said(inventory, "orientation", traces[letter]) or {}).get("azimuth") for letter in "NE"]
        if any(azimuth is None for azimuth in azimuths):
            note += "; horizontals are the file's 1 and 2, not necessarily north and east"
        else:
            waveform, told = turned(waveform[[1, 0, 2]], azimuths)
            note += told
    trace = traces.get("Z", traces["E"])
    stats, place = trace.stats, _said(inventory, "coordinates", trace) or {}
    columns = {f"station_{name}": value for name, value in place.items()} | {"start_time": start.isoformat() + "Z"}
    named, code = _NIED_NAME.match(file_name), stats.station
    if code and named and named[1].startswith(code):
        code = named[1]  # MiniSEED has room for five characters, NIED's stations have six
        columns |= {"event": "nied_" + named[2], "origin_time": utc(named[2], "%y%m%d%H%M", JST_IN_HOURS)}
    return Recording(waveform, rate, stats.network, code, note, usable_from_hz, columns, remarks, counts)


def _said(inventory, what, trace):
    """The response, coordinates or orientation of the trace's channel at its start, or None."""
    try:
        return getattr(inventory, f"get_{what}")(trace.id, trace.stats.starttime)
    except Exception:  # there is no inventory, or ObsPy raises a bare Exception where it holds no such channel
        return None


def _to_acceleration(stream, inventory, unit):
    """Turn the traces into cm/s² in place; (text for column processing, low end of the band, remarks on quality)."""
    responses = [_said(inventory, "response", trace) for trace in stream]
    if not all(response and response.instrument_sensitivity for response in responses):
        if not unit:
            told = "the StationXML lacks this channel or time" if inventory else "there is no StationXML beside it"
            raise Damaged(told, 'put the StationXML beside it, or give unit="cm/s^2" if the samples are in that unit')
        for trace in stream:
            trace.data = trace.data * scale_of(unit)
        return f"unit {unit} as stated by the caller", 0.0, ()
    units = [str(response.instrument_sensitivity.input_units or "").upper() for response in responses]
    accelerometers, remarks = [unit.startswith(_ACCELERATION) for unit in units], []
    staged = all(response.response_stages for response in responses)
    if not staged and not all(accelerometers):
        raise Damaged("its StationXML gives a seismometer no response", "download the StationXML at level=response")
    for trace, accelerometer, response in zip(stream, accelerometers, responses, strict=True):
        if not staged:
            with obspy_or(f"the sensitivity of {trace.id} is no number", "check the StationXML"):
                trace.data = trace.data / float(response.instrument_sensitivity.value) * 100.0
            continue
        # negative corners: an accelerometer sees 0 Hz, so that nothing is filtered there
        low = (-2.0, -1.0) if accelerometer else (SLOWEST_IN_HZ / 2, SLOWEST_IN_HZ)
        high = tuple(share * trace.stats.sampling_rate for share in TAPER_IN_RATES)
        with obspy_or(f"the response of {trace.id} cannot be removed", "check the StationXML"):
            stated = response.instrument_sensitivity
            hertz = stated.frequency or 1.0
            gain = abs(response.get_evalresp_response_for_frequencies([hertz], output="DEF")[0])
            # the stages and the sensitivity are two statements of one gain
            if not abs(gain - abs(stated.value)) <= LARGEST_GAIN_DIFFERENCE * abs(stated.value):
                told = f"its stages multiply to {gain:.4g} at {hertz:g} Hz, its sensitivity is {stated.value:.4g}"
                remarks.append(f"gain of {trace.stats.channel}: the StationXML contradicts itself ({told})")
            # a water level would distort what is not in the sensor's own quantity (ObsPy issue 3136): pre_filt serves
            quantity = "ACC" if accelerometer else "VEL"
            trace.remove_response(inventory, quantity, water_level=None, pre_filt=low + high, taper=False)
        samples = finite(trace.data) if accelerometer else derivative(finite(trace.data), trace.stats.delta)
        trace.data = samples * 100.0
    if not staged:
        return "divided by the sensitivity, as its StationXML gives no response (level=channel)", 0.0, ()
    if all(accelerometers):
        return "instrument response removed", 0.0, tuple(remarks)
    return "instrument response removed to velocity, then differentiated", SLOWEST_IN_HZ, tuple(remarks)


def nied_key(name):
    """What the names of a record's three component files share: AICH040010061330.2 of .EW2, .NS2, .UD2."""
    stem, _, end = name.rpartition(".")
    return f"{stem}.{end[2:]}"


def decode_nied(source, names, unit):
    """One Recording of the surface sensor: counts x scale factor; times are Japanese local time, made UTC.
    NIED names files by the origin minute and gives the origin time in each header: both name the event."""
    letters = [_LETTERS[name.rpartition(".")[2][:2].upper()] for name in names]
    samples, traces, headers = zip(*(_nied_component(source.text(name)) for name in names), strict=True)
    waveform, note = in_order(dict(zip(letters, samples, strict=True)))
    rate = equal([trace.stats.sampling_rate for trace in traces], "sampling rate")
    start = equal([str(trace.stats.starttime) for trace in traces], "start time")
    code, origin = equal([h.get("Station Code", "") for h in headers], "station"), headers[0].get("Origin Time", "")
    columns = {name: headers[0].get(key) for name, key in _NIED_COLUMNS.items()} | {"start_time": start}
    columns["origin_time"] = origin_time = utc(origin, "%Y/%m/%d %H:%M:%S", JST_IN_HOURS)
    columns["event"] = "nied_" + re.sub(r"\D", "", origin)[2:12] if origin_time else ""
    return [Recording(waveform, rate, NIED_NETWORK, code, "counts x scale factor" + note, 0.0, columns)]


def _nied_component(text):
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
