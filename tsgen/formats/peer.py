"""PEER NGA files (one component a file): .AT2 in g, .VT2 in cm/s, which is differentiated."""

import re

import numpy as np

from tsgen.formats.recording import GRAVITY_IN_CM_S2, Damaged, Recording, equal, floats, in_order, number, turned

# "NPTS=  12927, DT= .0125 SEC", and "33750    0.0040    NPTS, DT" of the first generation
_LENGTH = re.compile(r"NPTS\s*=\s*(\d+)\s*,?\s*DT\s*=\s*([\d.E+-]+)|(\d+)\s+([\d.E+-]+)\s+NPTS\s*,\s*DT")
# RSN10590_ComalTX11-10-20_IU.CCM.BH1.00, RSN8383_BEARCTY_CICWCHHE, RSN763_LOMAP_GIL067, RSN6_IMPVALL.I_I-ELC-UP,
# RSN1616_DUZCE_362-E, RSN1633_MANJIL_ABBAR--L, RSN4843_CHUETSU_65006EW
_SEED_DOTS = re.compile(r"_(?P<network>\w{2})\.(?P<station>\w+)\.\w\w(?P<component>[ENZ12])\.\w*$")
_SEED_JOINED = re.compile(r"_(?P<network>[A-Z]{2})(?P<station>[A-Z0-9]{2,5})[BHE][HNLG](?P<component>[ENZ12])$")
_NAMED = re.compile(
    r"_(?P<station>[^_/]+?)(?:(?P<component>\d{3}|EW|NS)|[-_.]*(?P<up>UP|UD|DWN|DN|DOWN|VERT?|V)|[-_.]+(?P<other>[ENLT]))$"
)
_TITLE = re.compile(r"(.+?)[\s,]+(\d{1,2})/(\d{1,2})/(\d{4}|\d\d)\b")
_LETTERS = {"E": "E", "EW": "E", "2": "E", "T": "E", "N": "N", "NS": "N", "1": "N", "L": "N"}  # all others are vertical


def key(name):
    """What the names of a record's three component files share; the name itself where it tells no component."""
    stem, _, end = name.rpartition(".")
    if not (found := _parts(name)):
        return name
    start, after = found.span(found.lastgroup)
    return f"{stem[:start].rstrip('-_.')}?{stem[after:]}.{end.upper()}"


def _parts(name):
    """Match of network, station and, in the last group, the component: a label of _LETTERS, an azimuth, UP…; or None"""
    stem = name.rpartition(".")[0].upper()
    return _SEED_DOTS.search(stem) or _SEED_JOINED.search(stem) or _NAMED.search(stem)


def decode(source, names, unit):
    """One Recording; azimuths are turned to east and north, components 1 and 2 are taken as they are."""
    samples, intervals, kinds, titles = zip(*(_component(source.text(name)) for name in names), strict=True)
    interval, kind = equal(intervals, "sampling interval"), equal(kinds, "quantity")
    said = [_parts(name) for name in names]
    if not all(said):
        raise Damaged("its name does not tell the component", "name it as PEER does: …-E, …-N, …-UP, or by azimuth")
    labels = [each[each.lastgroup] for each in said]
    if len(named := dict(zip(labels, samples, strict=True))) < len(names):
        raise Damaged(f"components {', '.join(labels)} name one twice", "keep the three files of one record")
    waveform, note = _oriented(named)
    processing, event = "processed by PEER", ""
    if kind == "velocity":
        waveform = derivative(waveform, interval)
        processing += " as velocity, differentiated to acceleration"
    # Loma Prieta, 10/18/1989, Gilroy; in the first generation LOMA PRIETA 10/18/89 00:05, GILROY
    if found := _TITLE.match(titles[0].strip()):
        year = found[4] if len(found[4]) == 4 else f"19{found[4]}"
        event = f"peer_{year}{int(found[2]):02d}{int(found[3]):02d}_{re.sub(r'[^A-Za-z0-9-]+', '_', found[1])[:40]}"
    network, station = said[0].groupdict().get("network") or "PEER", said[0]["station"]
    return [Recording(waveform, 1 / interval, network, station, processing + note, 0.0, {"event": event})]


def _component(text):
    """(samples in cm/s² or cm/s, interval in s, quantity, title line) of one file."""
    lines = text.replace("\r", "").split("\n", 4)
    if len(lines) < 5 or not re.search("PEER|PACIFIC ENGINEERING", lines[0].upper()):
        raise Damaged("it does not start with PEER's header of four lines")
    if re.search(r"ACCELERATION.*UNITS OF G\b", lines[2].upper()):
        kind, scale = "acceleration", GRAVITY_IN_CM_S2
    elif re.search(r"VELOCITY.*UNITS OF CM/S", lines[2].upper()):
        kind, scale = "velocity", 1.0
    else:
        raise Damaged(f"the unit is unknown: {lines[2].strip()[:60]!r}", "only g (.AT2) and cm/s (.VT2) are read")
    length = _LENGTH.search(lines[3].upper())
    promised, interval = (number(value) for value in length.groups() if value) if length else (0, 0)
    if not 1e-4 <= interval <= 1:
        raise Damaged(f"the header does not give NPTS and DT: {lines[3].strip()[:60]!r}")
    return floats(lines[4], promised) * scale, interval, kind, lines[1]


def _oriented(named):
    """((3, samples) E, N, Z, note) of components by label; one that points down changes its sign."""
    named = {label: -samples if label in ("DWN", "DN", "DOWN") else samples for label, samples in named.items()}
    azimuths = [label for label in named if label.isdigit() and len(label) == 3]
    vertical = [label for label in named if label not in _LETTERS and label not in azimuths]
    if len(azimuths) == 2 and len(vertical) <= 1:
        trio, note = in_order(named, [*azimuths, *(vertical or "Z")])
        trio, told = turned(trio, azimuths)
        return trio, told + note
    letters = {_LETTERS.get(label, "Z"): samples for label, samples in named.items()}
    if azimuths or len(letters) < len(named):
        told = "lack a horizontal" if azimuths else "name one twice"
        raise Damaged(f"components {', '.join(named)} {told}", "put the three files of one record side by side")
    trio, note = in_order(letters)
    if nameless := sorted(label for label in named if label in "12LT"):
        note += f"; horizontals are the file's {' and '.join(nameless)}, not necessarily north and east"
    return trio, note


def derivative(waveform, interval_in_s):
    """Exact derivative per s of (…, samples), band-limited, by FFT: central differences lose 77 % at 0.4 of the rate.
    The line between the ends is taken off first and its slope added back; what is left is continued as an odd
    function, so that no step arises at the ends."""
    if (n := waveform.shape[-1]) < 3:
        raise Damaged(f"it holds {n} samples")
    slope = (waveform[..., -1:] - waveform[..., :1]) / (n - 1)
    rest = waveform - waveform[..., :1] - slope * np.arange(n)
    odd = np.concatenate([rest, -rest[..., -2:0:-1]], axis=-1)
    spectrum = np.fft.rfft(odd, axis=-1) * (2j * np.pi * np.fft.rfftfreq(odd.shape[-1], interval_in_s))
    return np.fft.irfft(spectrum, odd.shape[-1], axis=-1)[..., :n] + slope / interval_in_s
