"""``Records``: three-component accelerograms and the table that describes them.

Everything that shakes is a ``Records``: files that were read, records that were simulated, records that a model
generated. Waveforms are (n, 3, t) float32 in cm/s², component order E, N, Z, one sampling rate; the table has one
row a record. On disk it is the SeisBench layout (metadata.csv and waveforms.hdf5; Woollam et al. 2022,
doi 10.1785/0220210324), written as one contiguous block, so that it opens as a memory map.
"""

import hashlib
import os
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from scipy.signal import resample_poly
from scipy.signal.windows import tukey

from tsgen.config import WindowSettings

COMPONENTS = "ENZ"
REQUIRED_COLUMNS = (
    "station",
    "event",
    "kind",
    "source",
    "samples",
    "native_sampling_rate_in_hz",
    "usable_from_hz",
    "usable_to_hz",
)
# our name -> SeisBench's; every other column keeps its name on disk
KNOWN_COLUMNS = {
    "event": "source_id",
    "origin_time": "source_origin_time",
    "magnitude": "source_magnitude",
    "depth_in_km": "source_depth_km",
    "event_latitude": "source_latitude_deg",
    "event_longitude": "source_longitude_deg",
    "distance_in_km": "source_distance_km",
    "station_latitude": "station_latitude_deg",
    "station_longitude": "station_longitude_deg",
    "vs30_in_m_per_s": "station_vs30_mps",
    "start_time": "trace_start_time",
    "samples": "trace_npts",
    "p_arrival_sample": "trace_p_arrival_sample",
    "s_arrival_sample": "trace_s_arrival_sample",
}
TEXT_COLUMNS = {
    *("station", "event", "kind", "source", "origin_time", "start_time", "quality", "processing", "file"),
    *("made_from", "weights", "trace_name", "station_network_code", "station_code", "trace_component_order"),
}
SAMPLE_COLUMNS = ("p_arrival_sample", "s_arrival_sample")
SAME_EVENT_IN_S = 60.0  # two ids that start within a minute are one event in two catalogues


class Records:
    """Accelerograms with their table.

    waveforms: (n, 3, t) float32 array or memory map, E, N, Z, cm/s²; table: DataFrame of n rows with at least
    REQUIRED_COLUMNS. Raises ValueError for shapes that do not fit, missing columns or non-finite samples.
    """

    def __init__(self, waveforms, sampling_rate_in_hz, table, *, rows=None):
        n = len(waveforms) if rows is None else len(rows)
        if waveforms.ndim != 3 or waveforms.shape[1] != 3:
            raise ValueError(f"waveforms must have shape (n, 3, t), not {waveforms.shape}")
        if len(table) != n:
            raise ValueError(f"{n} waveforms, but {len(table)} rows in the table")
        missing = [name for name in REQUIRED_COLUMNS if name not in table.columns]
        if missing:
            raise ValueError(f"the table lacks the columns {', '.join(missing)}")
        # a memory map is checked where it is written: reading it whole here would defeat it
        if not isinstance(waveforms, np.memmap) and rows is None:
            waveforms = np.ascontiguousarray(waveforms, dtype=np.float32)
            if not np.isfinite(waveforms).all():
                raise ValueError("waveforms hold values that are not finite")
        self._stored, self._rows = waveforms, rows
        self.sampling_rate_in_hz = float(sampling_rate_in_hz)
        self.table = table.reset_index(drop=True)

    def __len__(self):
        return len(self.table)

    def __repr__(self):
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.table["kind"].value_counts().items())
        return (
            f"Records({kinds or 'none'}; {len(self.stations)} stations; "
            f"{self.duration_in_s:g} s at {self.sampling_rate_in_hz:g} Hz)"
        )

    @property
    def waveforms(self):
        """(n, 3, t) float32; a selection is copied from its source here and not before."""
        return self._stored if self._rows is None else np.asarray(self._stored[self._rows])

    @property
    def n_samples(self):
        return self._stored.shape[2]

    @property
    def duration_in_s(self):
        return self.n_samples / self.sampling_rate_in_hz

    @property
    def stations(self):
        return sorted(self.table["station"].unique())

    def take(self, rows):
        """The records at integer positions or where a boolean mask is true; copies no waveform."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(int)
        stored = rows if self._rows is None else self._rows[rows]
        return Records(self._stored, self.sampling_rate_in_hz, self.table.iloc[rows], rows=stored)

    def select(self, **columns):
        """The records whose columns have the given value, or one of the given list of values."""
        unknown = [name for name in columns if name not in self.table.columns]
        if unknown:
            raise KeyError(f"no column {', '.join(unknown)}; there are {', '.join(self.table.columns)}")
        keep = np.ones(len(self), bool)
        for name, wanted in columns.items():
            if isinstance(wanted, (list, tuple, set, np.ndarray, pd.Series)):
                keep &= self.table[name].isin(list(wanted)).to_numpy()
            else:
                keep &= (self.table[name] == wanted).to_numpy(bool)
        return self.take(keep)

    def with_columns(self, **columns):
        """The same waveforms with table columns added or replaced."""
        return Records(self._stored, self.sampling_rate_in_hz, self.table.assign(**columns), rows=self._rows)

    @staticmethod
    def concatenate(parts):
        """One Records from several of equal sampling rate and length; columns that one lacks are empty there."""
        parts = list(parts)
        rates = {part.sampling_rate_in_hz for part in parts}
        lengths = {part.n_samples for part in parts}
        if len(rates) != 1 or len(lengths) != 1:
            raise ValueError(f"cannot join records of rates {sorted(rates)} Hz and lengths {sorted(lengths)} samples")
        table = pd.concat([part.table for part in parts if len(part)] or [parts[0].table], ignore_index=True)
        return Records(np.concatenate([part.waveforms for part in parts]), rates.pop(), _filled(table))

    def batches(self, size=256):
        """Views of at most ``size`` records, in order: to go through a collection larger than memory."""
        for first in range(0, len(self), size):
            yield self.take(np.arange(first, min(first + size, len(self))))

    def split(self, held_out=0.3, seed=0, stations=None):
        """(training, held_out): no event on both sides; the same on every machine.

        Events, ordered by SHA-256 of (seed, event), are held out until each of ``stations`` (default: all) has its
        share of events: at least 2, with at least 3 left for training. Two ids that start within a minute count as
        one event. Raises ValueError naming a station that has too few.
        """
        event = event_groups(self.table)
        wanted = self.table["station"].isin(self.stations if stations is None else stations)
        out = events_to_hold_out(event[wanted], self.table["station"][wanted], held_out, seed)
        outside = event.isin(out).to_numpy()
        return self.take(~outside), self.take(outside)

    def resample(self, sampling_rate_in_hz):
        """The records at another rate, filtered against aliasing; the usable band shrinks to 0.4 of it."""
        if sampling_rate_in_hz == self.sampling_rate_in_hz:
            return self
        traces = [wave[:, :n] for wave, n in zip(self.waveforms, self.table["samples"], strict=True)]
        return assemble(traces, [self.sampling_rate_in_hz] * len(self), self.table, sampling_rate_in_hz)

    def window(self, n_samples, settings=WindowSettings()):  # noqa: B008 (frozen)
        """Cut or zero-pad each record to ``n_samples``, from 5 s before P, else before 5 % of the Arias intensity.

        The mean is removed and both ends are tapered. Column ``energy_in_window`` gives the share of the record's
        energy that the window keeps (0 to 1), ``samples`` the length before padding.
        """
        rate = self.sampling_rate_in_hz
        out = np.zeros((len(self), 3, n_samples), np.float32)
        table = self.table.copy()
        p_known = table.get("p_arrival_sample", pd.Series(np.nan, table.index)).to_numpy(float)
        starts, lengths, shares = np.zeros((3, len(self)))
        for i, (wave, n) in enumerate(zip(self.waveforms, table["samples"], strict=True)):
            wave = wave[:, : int(n)].astype(float)
            wave = wave - wave.mean(axis=1, keepdims=True)
            energy = np.cumsum((wave**2).sum(axis=0))
            onset = p_known[i] if np.isfinite(p_known[i]) else arias_onset_sample(energy, settings.arias_onset_share)
            start = int(min(max(0, np.floor(onset - settings.before_p_in_s * rate)), wave.shape[1] - 1))
            cut = wave[:, start : start + n_samples]
            shares[i] = (cut**2).sum() / energy[-1] if energy[-1] > 0 else 1.0
            share_tapered = min(1.0, 2 * settings.taper_in_s * rate / cut.shape[1])
            out[i, :, : cut.shape[1]] = cut * tukey(cut.shape[1], share_tapered)
            starts[i], lengths[i] = start, cut.shape[1]
        for name in SAMPLE_COLUMNS:
            if name in table:
                table[name] = table[name] - starts
        if "start_time" in table:
            table["start_time"] = [
                _later(text, start / rate) for text, start in zip(table["start_time"], starts, strict=True)
            ]
        table = table.assign(samples=lengths.astype(int), energy_in_window=shares)
        return Records(out, rate, table)

    def to_stream(self):
        """ObsPy Stream of 3 n traces (channels HNE, HNN, HNZ; cm/s²), the padding left out."""
        from obspy import Stream, Trace, UTCDateTime

        stream = Stream()
        for wave, row in zip(self.waveforms, self.table.to_dict("records"), strict=True):
            network, code = split_station(row["station"])
            for component, samples in zip(COMPONENTS, wave[:, : int(row["samples"])], strict=True):
                header = {"network": network[:2], "station": code[:5], "channel": f"HN{component}"}
                trace = Trace(np.array(samples), header | {"sampling_rate": self.sampling_rate_in_hz})
                if row.get("start_time"):
                    trace.stats.starttime = UTCDateTime(row["start_time"])
                trace.stats.tsgen = {name: value for name, value in row.items() if value == value}
                stream.append(trace)
        return stream

    def save_miniseed(self, folder):
        """One MiniSEED file a record (FLOAT32, cm/s²) and records.csv beside them: MiniSEED holds no model or seed."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        names = [f"{i:05d}_{station}.mseed" for i, station in enumerate(self.table["station"])]
        for i, name in enumerate(names):
            self.take([i]).to_stream().write(str(folder / name), format="MSEED", encoding="FLOAT32")
        write_atomically(folder / "records.csv", lambda path: self.table.assign(file=names).to_csv(path, index=False))

    def save(self, folder):
        """Write metadata.csv and waveforms.hdf5 (SeisBench layout) into ``folder``, each moved into place whole."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "waveforms.hdf5", self._write_hdf5)
        table = self.table.rename(columns=KNOWN_COLUMNS).drop(columns=["trace_name"], errors="ignore")
        parts = [split_station(name) for name in self.table["station"]]
        table = table.drop(columns="station").assign(
            trace_name=[f"bucket0${i},:3,:{self.n_samples}" for i in range(len(self))],
            station_network_code=[network for network, _ in parts],
            station_code=[code for _, code in parts],
            trace_sampling_rate_hz=self.sampling_rate_in_hz,
            trace_component_order=COMPONENTS,
        )
        write_atomically(folder / "metadata.csv", lambda path: table.to_csv(path, index=False))

    def _write_hdf5(self, path):
        with h5py.File(path, "w") as file:
            form = {"dimension_order": "CW", "component_order": COMPONENTS, "measurement": "acceleration"}
            for name, value in (form | {"unit": "cm/s^2", "sampling_rate": self.sampling_rate_in_hz}).items():
                file[f"data_format/{name}"] = value
            block = file.create_dataset("data/bucket0", (len(self), 3, self.n_samples), np.float32)
            first = 0
            for batch in self.batches():
                waveforms = batch.waveforms
                if not np.isfinite(waveforms).all():
                    raise ValueError("waveforms hold values that are not finite; nothing was saved")
                block[first : first + len(batch)] = waveforms
                first += len(batch)

    @classmethod
    def load(cls, folder, sampling_rate_in_hz=None):
        """Records from a folder in the SeisBench layout; what ``save`` wrote opens as a memory map.

        ``sampling_rate_in_hz`` None keeps the native rate and raises ValueError where rates differ. Raises
        FileNotFoundError where metadata.csv or waveforms.hdf5 is missing.
        """
        table, rates, read = open_collection(folder)
        whole = _whole_block(Path(folder), table)
        if whole is not None and sampling_rate_in_hz in (None, rates[0]):
            return cls(whole, rates[0], _filled(table.drop(columns="trace_name")))
        traces = (read(i) for i in range(len(table)))
        return assemble(traces, rates, table.drop(columns="trace_name"), sampling_rate_in_hz)


def split_station(station):
    """(network, code) of a station named NETWORK.CODE; a bare code has the network ''."""
    network, dot, code = station.partition(".")
    return (network, code) if dot else ("", station)


def event_groups(table):
    """Series: one event id a row, equal for ids whose origins (else record starts) lie within a minute."""
    times = pd.Series(pd.NaT, table.index, dtype="datetime64[us, UTC]")
    for column in ("origin_time", "start_time"):
        if column in table:
            parsed = pd.to_datetime(table[column], utc=True, errors="coerce", format="ISO8601")
            times = times.fillna(parsed.astype("datetime64[us, UTC]"))
    first = times.groupby(table["event"]).min().dropna().sort_values()
    leader = {}
    head, head_time = None, None
    for event, time in first.items():
        if head is None or (time - head_time).total_seconds() > SAME_EVENT_IN_S:
            head, head_time = event, time
        leader[event] = head
    return table["event"].map(lambda event: leader.get(event, event))


def events_to_hold_out(event, station, share, seed):
    """The set of events to hold out, so that every station has ``share`` of its events in it (see Records.split)."""
    pairs = pd.DataFrame({"event": event, "station": station}).drop_duplicates()
    count = pairs.groupby("station").size()
    few = count[count < 5]
    if len(few):
        listed = ", ".join(f"{name} ({n})" for name, n in few.items())
        raise ValueError(f"too few events to hold out 2 and train on 3: {listed}; choose other stations")
    need = np.clip(np.round(share * count), 2, count - 3).astype(int).to_dict()
    most = (count - 3).to_dict()
    stations_of = pairs.groupby("event")["station"].apply(list).to_dict()
    order = sorted(stations_of, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())
    held = dict.fromkeys(need, 0)
    out = set()
    # first the events that overshoot nowhere; an event shared with a full station only where nothing else is left
    for enough in (all, any):
        for name in order:
            here = stations_of[name]
            wanted = enough(held[s] < need[s] for s in here)
            if name not in out and wanted and all(held[s] < most[s] for s in here):
                out.add(name)
                for s in here:
                    held[s] += 1
    short = [name for name in need if held[name] < 2]
    if short:
        raise ValueError(f"no 2 events can be held out at {', '.join(short)}: its events are shared with full stations")
    return out


def resample_waveform(waveform, from_hz, to_hz):
    """(…, samples) at another rate by a polyphase filter with zero phase; cut-off at the lower Nyquist frequency."""
    ratio = Fraction(to_hz / from_hz).limit_denominator(2000)  # off by less than 1e-6: 40 µs in 40 s
    if ratio == 1:
        return waveform
    return resample_poly(waveform, ratio.numerator, ratio.denominator, axis=-1)


def assemble(traces, rates_in_hz, table, sampling_rate_in_hz=None):
    """One Records from traces (3, samples) of unequal length and rate; shorter ones are zero-padded at the end.

    ``sampling_rate_in_hz`` None keeps the native rate and raises ValueError, naming the argument, if rates differ.
    """
    rates = np.asarray(rates_in_hz, float)
    if sampling_rate_in_hz is None:
        if len(np.unique(rates)) > 1:
            raise ValueError(
                f"the records have {len(np.unique(rates))} sampling rates, {rates.min():g} to {rates.max():g} Hz: "
                "give sampling_rate_in_hz to bring them to one"
            )
        sampling_rate_in_hz = rates[0]
    done = [resample_waveform(trace, rate, sampling_rate_in_hz) for trace, rate in zip(traces, rates, strict=True)]
    lengths = np.array([trace.shape[1] for trace in done])
    waveforms = np.zeros((len(done), 3, lengths.max()), np.float32)
    for wave, trace in zip(waveforms, done, strict=True):
        wave[:, : trace.shape[1]] = trace
    table = _filled(table).assign(samples=lengths)
    table["usable_to_hz"] = table["usable_to_hz"].clip(upper=0.4 * sampling_rate_in_hz)
    for name in SAMPLE_COLUMNS:
        if name in table:
            table[name] = table[name] * sampling_rate_in_hz / rates
    return Records(waveforms, sampling_rate_in_hz, table)


def arias_onset_sample(cumulative_energy, share):
    """First sample where the cumulative squared acceleration reaches ``share`` of its end."""
    return int(np.searchsorted(cumulative_energy, share * cumulative_energy[-1]))


def open_collection(folder):
    """(table with our column names and trace_name, rates in Hz, read(i) -> (3, samples) in E, N, Z) of SeisBench data.

    Columns that SeisBench does not ask for are filled: kind "recorded", source the network, the usable band from the
    native rate. Raises FileNotFoundError or ValueError naming the file.
    """
    folder = Path(folder)
    for name in ("metadata.csv", "waveforms.hdf5"):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder / name} is missing: a SeisBench folder holds metadata.csv, waveforms.hdf5"
            )
    text = dict.fromkeys(TEXT_COLUMNS | {KNOWN_COLUMNS[n] for n in TEXT_COLUMNS & set(KNOWN_COLUMNS)}, str)
    raw = pd.read_csv(folder / "metadata.csv", dtype=text)
    for name in raw.columns.intersection(list(text)):
        raw[name] = raw[name].fillna("").astype("str")
    needed = {"trace_name", "trace_sampling_rate_hz", "station_code", "source_id"} - set(raw.columns)
    if needed:
        raise ValueError(f"{folder / 'metadata.csv'}: no column {', '.join(sorted(needed))}")
    rates = raw["trace_sampling_rate_hz"].to_numpy(float)
    network = raw.get("station_network_code", pd.Series("", raw.index))
    table = raw.rename(columns={theirs: ours for ours, theirs in KNOWN_COLUMNS.items()})
    table["station"] = [f"{n}.{c}" if n else c for n, c in zip(network, raw["station_code"], strict=True)]
    for name in table.columns.intersection(["start_time", "origin_time"]):
        table[name] = table[name].map(utc_text)
    made = ["station_network_code", "station_code", "trace_sampling_rate_hz", "trace_component_order"]
    table = table.drop(columns=made, errors="ignore")
    order = raw.get("trace_component_order", pd.Series(COMPONENTS, raw.index))
    for name, value in {"kind": "recorded", "source": network, "native_sampling_rate_in_hz": rates}.items():
        if name not in table:
            table[name] = value
    if "usable_to_hz" not in table:
        table = table.assign(usable_from_hz=0.0, usable_to_hz=0.4 * rates)

    def read(i):
        with h5py.File(folder / "waveforms.hdf5") as file:
            block, _, where = table["trace_name"][i].partition("$")
            trace = file["data"][block]
            if where:  # "row,:3,:samples", as SeisBench writes blocks of traces
                row, _, samples = where.split(",")
                trace = trace[int(row)][:, : int(samples.strip(": "))]
            else:
                trace = trace[()]
        return trace[[order[i].index(component) for component in COMPONENTS]]

    return table, rates, read


def _whole_block(folder, table):
    """Memory map of the one contiguous block that ``Records.save`` writes, else None."""
    names = table["trace_name"]
    if len(names) == 0 or names.iloc[0].split("$")[0] != "bucket0":
        return None
    with h5py.File(folder / "waveforms.hdf5") as file:
        block = file["data/bucket0"]
        offset, shape, plain = block.id.get_offset(), block.shape, block.dtype == np.float32
    expected = [f"bucket0${i},:3,:{shape[2]}" for i in range(len(names))] if len(shape) == 3 else []
    if offset is None or not plain or shape[0] != len(names) or list(names) != expected:
        return None
    return np.memmap(folder / "waveforms.hdf5", np.float32, "r", offset, shape)


def _filled(table):
    """The table with '' where text is missing."""
    table = table.copy()
    for name in table.columns.intersection(list(TEXT_COLUMNS)):
        table[name] = table[name].fillna("").astype("str")
    return table


def utc_text(text):
    """ISO 8601 text in UTC of a time as written; Japanese local time (2016 04 14 21 26 20 JST) is converted."""
    if text.endswith("JST"):
        local = pd.to_datetime(text, format="%Y %m %d %H %M %S JST", errors="coerce")
        return "" if local is pd.NaT else (local - pd.Timedelta(hours=9)).isoformat() + "Z"
    return "" if pd.to_datetime(text, utc=True, errors="coerce", format="ISO8601") is pd.NaT else text


def _later(text, seconds):
    return (pd.Timestamp(text) + pd.Timedelta(seconds=seconds)).isoformat() if text else ""


def write_atomically(path, write):
    """Call ``write(temporary path)`` and move the file to ``path``: an interruption leaves the last good one."""
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
