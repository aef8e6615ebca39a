"""The SeisBench layout on disk: metadata.csv and waveforms.hdf5 (Woollam et al. 2022, doi 10.1785/0220210324).
``write_waveforms`` leaves one contiguous block, which opens as a memory map. ``records.Records`` stands on top."""

import re
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pandas as pd

FILES = ("metadata.csv", "waveforms.hdf5")
COMPONENTS = "ENZ"
# our name -> SeisBench's; every other column keeps its name on disk
KNOWN_COLUMNS = {"event": "source_id", "origin_time": "source_origin_time", "magnitude": "source_magnitude"}
KNOWN_COLUMNS |= {"event_latitude": "source_latitude_deg", "event_longitude": "source_longitude_deg"}
KNOWN_COLUMNS |= {"depth_in_km": "source_depth_km", "distance_in_km": "source_distance_km"}
KNOWN_COLUMNS |= {"station_latitude": "station_latitude_deg", "station_longitude": "station_longitude_deg"}
KNOWN_COLUMNS |= {"vs30_in_m_per_s": "station_vs30_mps", "start_time": "trace_start_time", "samples": "trace_npts"}
KNOWN_COLUMNS |= {name: f"trace_{name}" for name in ("p_arrival_sample", "s_arrival_sample")}
TEXT_COLUMNS = {"station", "event", "kind", "source", "origin_time", "start_time", "quality", "processing", "file"}
TEXT_COLUMNS |= {"made_from", "weights", "window_from", "components"}
TEXT_COLUMNS |= {"trace_name", "station_network_code", "station_code", "trace_component_order"}
ON_DISK_ONLY = ["station_network_code", "station_code", "trace_sampling_rate_hz", "trace_component_order"]
LONGEST_IN_SAMPLES = 7_000_000  # ten hours at 200 Hz
# ESM25's names of east, north and up acceleration, processed before merely converted ones
_ESM25 = [tuple(f"acc_{kind}_{axis}" for axis in "uvw") for kind in ("mp", "ap", "cv")]


class Collection(NamedTuple):
    """What ``opened`` gives: the table with our column names and trace_name, and where the waveforms are."""

    folder: Path
    table: pd.DataFrame
    rates_in_hz: np.ndarray  # (n,)
    orders: list  # component order of each trace: letters, or names where SeisBench has more than three channels

    def read(self, i):
        """(3, samples) of trace ``i`` in E, N, Z; ValueError for another shape, before memory is taken, or without
        these three among its components."""
        order = self.orders[i]
        named = next((names for names in (COMPONENTS, *_ESM25) if set(names) <= set(order)), None)
        if named is None:
            told = f"its components {', '.join(order)} hold no acceleration to the east, to the north and up"
            raise ValueError(told)
        name, _, where = self.table["trace_name"][i].partition("$")
        with h5py.File(self.folder / FILES[1]) as file:
            trace = file["data"][name]
            shape = trace.shape[1:] if where else trace.shape
            if len(shape) != 2 or shape[0] != len(order) or shape[1] > LONGEST_IN_SAMPLES:
                raise ValueError(f"the trace {name} has shape {shape}, not ({len(order)}, samples)")
            if where:  # "row,:3,:samples", as SeisBench writes blocks of traces
                row, _, samples = where.split(",")
            trace = trace[int(row)][:, : int(samples.strip(": "))] if where else trace[()]
        return trace[[list(order).index(component) for component in named]]

    def block(self):
        """Memory map (n, 3, t) of the one contiguous block that ``write_waveforms`` leaves, else None."""
        names = list(self.table["trace_name"])
        if not names or names[0].split("$")[0] != "bucket0":
            return None
        with h5py.File(self.folder / FILES[1]) as file:
            block = file["data/bucket0"]
            offset, shape, plain = block.id.get_offset(), block.shape, block.dtype == np.float32
        if offset is None or not plain or len(shape) != 3 or names != _trace_names(shape[0], shape[2]):
            return None
        return np.memmap(self.folder / FILES[1], np.float32, "r", offset, shape)


def opened(folder):
    """The Collection in ``folder``; raises FileNotFoundError or ValueError naming the file. Columns that SeisBench does
    not ask for are filled: kind "recorded", source the network, the usable band from the native rate."""
    folder = Path(folder)
    if gone := [name for name in FILES if not (folder / name).is_file()]:
        raise FileNotFoundError(f"{folder / gone[0]} is missing: a SeisBench folder holds {' and '.join(FILES)}")
    text = TEXT_COLUMNS | {KNOWN_COLUMNS[name] for name in TEXT_COLUMNS & KNOWN_COLUMNS.keys()}
    raw = pd.read_csv(folder / FILES[0], dtype=dict.fromkeys(text, str))
    if needed := {"trace_name", "trace_sampling_rate_hz", "station_code", "source_id"} - set(raw.columns):
        raise ValueError(f"{folder / FILES[0]}: no column {', '.join(sorted(needed))}")
    raw = filled(raw.rename(columns={theirs: ours for ours, theirs in KNOWN_COLUMNS.items()}))
    rates = raw["trace_sampling_rate_hz"].to_numpy(float)
    network = raw.get("station_network_code", pd.Series("", raw.index))
    table = raw.drop(columns=ON_DISK_ONLY, errors="ignore")
    table["station"] = [f"{n}.{c}" if n else c for n, c in zip(network, raw["station_code"], strict=True)]
    for name in table.columns.intersection(["start_time", "origin_time"]):
        table[name] = table[name].map(_time)
    defaults = {"kind": "recorded", "source": network, "native_sampling_rate_in_hz": rates}
    defaults |= {"usable_from_hz": 0.0, "usable_to_hz": 0.4 * rates} if "usable_to_hz" not in table else {}
    table = table.assign(**{name: value for name, value in defaults.items() if name not in table})
    return Collection(folder, table, rates, _orders(folder, raw))


def _orders(folder, raw):
    """Component order of each trace by the table, else by the waveforms' file, else E, N, Z: letters ("ZNE"), or a
    tuple where components have names ("('acc_mp_u', …)")."""
    texts = raw.get("trace_component_order")
    if texts is None:
        with h5py.File(folder / FILES[1]) as file:
            stated = file["data_format/component_order"][()] if "data_format/component_order" in file else COMPONENTS
        stated = [stated] if isinstance(stated, (bytes, str)) else list(stated)
        stated = [name.decode("latin-1") if isinstance(name, bytes) else name for name in stated]
        texts = [" ".join(stated)] * len(raw)
    words = (re.findall(r"\w+", text) for text in texts)
    return [each[0] if len(each) == 1 else tuple(each) for each in words]


def write_waveforms(path, batches, shape, sampling_rate_in_hz):
    """Write batches (m, 3, t) in cm/s² that make up ``shape``; raises ValueError where a sample is not finite."""
    with h5py.File(path, "w") as file:
        form = {"dimension_order": "CW", "component_order": COMPONENTS, "measurement": "acceleration"}
        for name, value in (form | {"unit": "cm/s^2", "sampling_rate": sampling_rate_in_hz}).items():
            file[f"data_format/{name}"] = value
        block, done = file.create_dataset("data/bucket0", shape, np.float32), 0
        for waveforms in batches:
            if not np.isfinite(waveforms).all():
                raise ValueError("waveforms hold values that are not finite; nothing was saved")
            block[done : (done := done + len(waveforms))] = waveforms


def write_table(path, table, n_samples, sampling_rate_in_hz):
    networks, codes = ([split_station(name)[i] for name in table["station"]] for i in (0, 1))
    table = table.rename(columns=KNOWN_COLUMNS).drop(columns=["trace_name", "station"], errors="ignore")
    own = {"trace_name": _trace_names(len(table), n_samples), "station_network_code": networks, "station_code": codes}
    own |= {"trace_sampling_rate_hz": sampling_rate_in_hz, "trace_component_order": COMPONENTS}
    table.assign(**own).to_csv(path, index=False)


def _trace_names(n, n_samples):
    return [f"bucket0${i},:3,:{n_samples}" for i in range(n)]


def split_station(station):
    """(network, code) of a station named NETWORK.CODE; a bare code has the network ''."""
    return tuple(station.split(".", 1)) if "." in station else ("", station)


def fitting(wanted, stations):
    """The names among ``stations`` that ``wanted`` fits, in any case: in full, else those with this code alone."""
    names = {name: name.upper() for name in stations}
    code = [name for name in names if split_station(names[name])[1] == wanted.upper()]
    return [name for name in names if names[name] == wanted.upper()] or code


def filled(table):
    """The table with '' where text is missing."""
    present = table.columns.intersection(list(TEXT_COLUMNS))
    return table.assign(**{name: table[name].fillna("").astype("str") for name in present})


def utc(text, form="ISO8601", hours=0):
    """ISO 8601 text in UTC of ``text``, which is ``hours`` ahead of UTC; "" where it is no time of an instrument."""
    time = pd.to_datetime(str(text).strip(), format=form, errors="coerce", utc=True)
    if time is pd.NaT or not 1900 <= time.year < 2100:
        return ""
    return (time - pd.Timedelta(hours=hours)).tz_localize(None).isoformat() + "Z"


def _time(text):
    """The text of a time as it is, or in UTC where it is Japanese local time (2016 04 14 21 26 20 JST), else ""."""
    if text.endswith("JST"):
        return utc(text, "%Y %m %d %H %M %S JST", hours=9)
    return text if utc(text) else ""
