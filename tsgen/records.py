"""``Records``: three-component accelerograms and the table that describes them: files that were read, records that were
simulated or generated. On disk it is the SeisBench layout (``collection``), which opens as a memory map."""

import hashlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_list_like
from scipy.signal import resample_poly
from scipy.signal.windows import tukey

from tsgen import collection, onset
from tsgen.collection import COMPONENTS, filled, split_station
from tsgen.config import WindowSettings
from tsgen.store import write_atomically

REQUIRED_COLUMNS = ("station", "event", "kind", "source", "samples")
REQUIRED_COLUMNS += ("native_sampling_rate_in_hz", "usable_from_hz", "usable_to_hz")
SAMPLE_COLUMNS = ("p_arrival_sample", "s_arrival_sample")
SAME_EVENT_IN_S = 60.0  # two ids that start within a minute are one event in two catalogues
EARTH_RADIUS_IN_KM = 6371.0


class Records:
    """waveforms: (n, 3, t) float32 array or memory map, E, N, Z, cm/s²; table: DataFrame of n rows with at least
    REQUIRED_COLUMNS. Raises ValueError for shapes that do not fit, missing columns or non-finite samples."""

    def __init__(self, waveforms, sampling_rate_in_hz, table, *, rows=None):
        n = len(waveforms) if rows is None else len(rows)
        if waveforms.ndim != 3 or waveforms.shape[1] != 3:
            raise ValueError(f"waveforms must have shape (n, 3, t), not {waveforms.shape}")
        if len(table) != n:
            raise ValueError(f"{n} waveforms, but {len(table)} rows in the table")
        if missing := [name for name in REQUIRED_COLUMNS if name not in table.columns]:
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
        size = f"{self.duration_in_s:g} s at {self.sampling_rate_in_hz:g} Hz"
        return f"Records({kinds or 'none'}; {len(self.stations)} stations; {size})"

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

    def p_arrival(self, otherwise_in_s=np.nan):
        """Sample (n,) of P, where a record does not say it as of ``otherwise_in_s`` from its start."""
        p = self.table.reindex(columns=["p_arrival_sample"]).to_numpy(float)[:, 0]
        return np.where(np.isfinite(p), p, otherwise_in_s * self.sampling_rate_in_hz)

    def take(self, rows):
        """The records at integer positions or where a boolean mask is true; copies no waveform."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(int)
        stored = rows if self._rows is None else self._rows[rows]
        return Records(self._stored, self.sampling_rate_in_hz, self.table.iloc[rows], rows=stored)

    def select(self, **columns):
        """The records whose columns have the given value, or one of the given list of values."""
        if unknown := [name for name in columns if name not in self.table.columns]:
            raise KeyError(f"no column {', '.join(unknown)}; there are {', '.join(self.table.columns)}")
        keep = np.ones(len(self), bool)
        for name, wanted in columns.items():
            keep &= self.table[name].isin(list(wanted) if is_list_like(wanted) else [wanted]).to_numpy()
        return self.take(keep)

    def with_columns(self, **columns):
        """The same waveforms with table columns added or replaced."""
        return Records(self._stored, self.sampling_rate_in_hz, self.table.assign(**columns), rows=self._rows)

    @staticmethod
    def concatenate(parts):
        """One Records from several of equal sampling rate and length; columns that one lacks are empty there."""
        parts = list(parts)
        rates, lengths = {part.sampling_rate_in_hz for part in parts}, {part.n_samples for part in parts}
        if len(rates) != 1 or len(lengths) != 1:
            raise ValueError(f"cannot join records of rates {sorted(rates)} Hz and lengths {sorted(lengths)} samples")
        table = pd.concat([part.table for part in parts if len(part)] or [parts[0].table], ignore_index=True)
        return Records(np.concatenate([part.waveforms for part in parts]), rates.pop(), filled(table))

    def batches(self, size=256):
        """Views of at most ``size`` records, in order: to go through a collection larger than memory."""
        for first in range(0, len(self), size):
            yield self.take(np.arange(first, min(first + size, len(self))))

    def split(self, held_out=0.3, seed=0, stations=None):
        """(training, held_out): no event on both sides; the same on every machine. Events, ordered by SHA-256 of (seed,
        event), are held out until each of ``stations`` (default: all) has its share: at least 2, with at least 3 left
        for training. Two ids that start within a minute are one event. ValueError names a station that has too few."""
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
        """Cut or zero-pad each record to ``n_samples``, from 5 s before P as known; else as picked, if that keeps half
        of the energy; else before 5 % of the Arias intensity: column ``window_from``. The mean is removed, both ends
        are tapered. ``energy_in_window``: share of the energy that is kept (0 to 1), ``samples``: length before
        padding."""
        rate = self.sampling_rate_in_hz
        out = np.zeros((len(self), 3, n_samples), np.float32)
        table = self.table.copy()
        p_known, (starts, lengths, shares), origins = self.p_arrival(), np.zeros((3, len(self))), []
        for i, (wave, n) in enumerate(zip(self.waveforms, table["samples"], strict=True)):
            wave = wave[:, : int(n)].astype(float)
            wave = wave - wave.mean(axis=1, keepdims=True)
            energy = np.cumsum((wave**2).sum(axis=0))
            first, origin = _window_start(wave[2], energy, p_known[i], n_samples, rate, settings)
            start = int(min(max(0, np.floor(first - settings.before_p_in_s * rate)), wave.shape[1] - 1))
            origins.append(origin)
            cut = wave[:, start : start + n_samples]
            shares[i] = (cut**2).sum() / energy[-1] if energy[-1] > 0 else 1.0
            share_tapered = min(1.0, 2 * settings.taper_in_s * rate / cut.shape[1])
            out[i, :, : cut.shape[1]] = cut * tukey(cut.shape[1], share_tapered)
            starts[i], lengths[i] = start, cut.shape[1]
        for name in table.columns.intersection(list(SAMPLE_COLUMNS)):
            table[name] = table[name] - starts
        if "start_time" in table:
            later = [pd.Timedelta(seconds=start / rate) for start in starts]
            times = zip(table["start_time"], later, strict=True)
            table["start_time"] = [(pd.Timestamp(text) + by).isoformat() if text else "" for text, by in times]
        table = table.assign(samples=lengths.astype(int), energy_in_window=shares, window_from=origins)
        return Records(out, rate, table)

    def to_stream(self):
        """ObsPy Stream of 3 n traces (channels HNE, HNN, HNZ; cm/s²), the padding left out."""
        from obspy import Stream, Trace, UTCDateTime

        stream = Stream()
        for wave, row in zip(self.waveforms, self.table.to_dict("records"), strict=True):
            network, code = split_station(row["station"])
            for component, samples in zip(COMPONENTS, wave[:, : int(row["samples"])], strict=True):
                header = {"network": network[:2], "station": code[:5], "channel": f"HN{component}"}
                header |= {"location": "SY"} if row["kind"] == "generated" else {}  # synthetic
                trace = Trace(np.array(samples), header | {"sampling_rate": self.sampling_rate_in_hz})
                if row.get("start_time"):
                    trace.stats.starttime = UTCDateTime(row["start_time"])
                trace.stats.tsgen = {name: value for name, value in row.items() if value == value}
                stream.append(trace)
        return stream

    def save_miniseed(self, folder):
        """One MiniSEED file a record (FLOAT32, cm/s²) and records.csv beside them: MiniSEED holds no model or seed.
        What is generated says so in its file's name, and by location code SY."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        rows = enumerate(self.table[["kind", "station"]].to_numpy())
        names = [f"{'generated_' * (kind == 'generated')}{i:05d}_{station}.mseed" for i, (kind, station) in rows]
        for i, name in enumerate(names):
            self.take([i]).to_stream().write(str(folder / name), format="MSEED", encoding="FLOAT32")
        write_atomically(folder / "records.csv", lambda path: self.table.assign(file=names).to_csv(path, index=False))

    def save(self, folder):
        """Write metadata.csv and waveforms.hdf5 (SeisBench layout) into ``folder``, each moved into place whole."""
        table, waveforms = (Path(folder) / name for name in collection.FILES)
        rate, shape = self.sampling_rate_in_hz, (len(self), 3, self.n_samples)
        batches = (batch.waveforms for batch in self.batches())
        write_atomically(waveforms, lambda path: collection.write_waveforms(path, batches, shape, rate))
        write_atomically(table, lambda path: collection.write_table(path, self.table, self.n_samples, rate))

    @classmethod
    def load(cls, folder, sampling_rate_in_hz=None):
        """Records from a folder in the SeisBench layout; what ``save`` wrote opens as a memory map. FileNotFoundError
        where a file is missing; ``sampling_rate_in_hz`` None is the native rate: ValueError where rates differ."""
        found = collection.opened(folder)
        table, rates, block = found.table.drop(columns="trace_name"), found.rates_in_hz, found.block()
        if block is not None and sampling_rate_in_hz in (None, rates[0]):
            return cls(block, rates[0], filled(table))
        return assemble((found.read(i) for i in range(len(table))), rates, table, sampling_rate_in_hz)


def _window_start(vertical, energy, p_known, n_samples, rate, settings):
    """(sample before which a window starts, what it is) from the vertical (t,) and the running energy (t,)."""
    if np.isfinite(p_known):
        return p_known, "P known"
    if np.isfinite(picked := onset.p_onset(vertical, rate, settings.onset) * rate):
        first = max(0, int(picked - settings.before_p_in_s * rate))
        kept = energy[min(first + n_samples, len(energy)) - 1] - energy[first]
        if kept >= settings.least_energy_share * energy[-1]:
            return picked, "P picked"
    share = settings.arias_onset_share
    return np.searchsorted(energy, share * energy[-1]), f"{100 * share:g} % of Arias intensity"


def event_groups(table):
    """Series: one event id a row, equal for ids whose origins (else record starts) lie within a minute."""
    times = pd.Series(pd.NaT, table.index, dtype="datetime64[us, UTC]")
    for column in (name for name in ("origin_time", "start_time") if name in table):
        parsed = pd.to_datetime(table[column], utc=True, errors="coerce", format="ISO8601")
        times = times.fillna(parsed.astype("datetime64[us, UTC]"))
    first = times.groupby(table["event"]).min().dropna().sort_values()
    leader, head = {}, None
    for event, time in first.items():
        if head is None or (time - first[head]).total_seconds() > SAME_EVENT_IN_S:
            head = event
        leader[event] = head
    return table["event"].map(lambda event: leader.get(event, event))


def events_to_hold_out(event, station, share, seed):
    """The set of events to hold out, so that every station has ``share`` of its events in it (see Records.split)."""
    pairs = pd.DataFrame({"event": event, "station": station}).drop_duplicates()
    count = pairs.groupby("station").size()
    if len(few := count[count < 5]):
        listed = ", ".join(f"{name} ({n})" for name, n in few.items())
        raise ValueError(f"too few events to hold out 2 and train on 3: {listed}; choose other stations")
    need, most = np.clip(np.round(share * count), 2, count - 3).astype(int).to_dict(), (count - 3).to_dict()
    stations_of = pairs.groupby("event")["station"].apply(list).to_dict()
    order = sorted(stations_of, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())
    held, out = dict.fromkeys(need, 0), set()
    # first the events that overshoot nowhere; an event shared with a full station only where nothing else is left
    for enough in (all, any):
        for name in order:
            here = stations_of[name]
            wanted = name not in out and enough(held[s] < need[s] for s in here)
            if wanted and all(held[s] < most[s] for s in here):
                out.add(name)
                for s in here:
                    held[s] += 1
    if short := [name for name in need if held[name] < 2]:
        raise ValueError(f"no 2 events can be held out at {', '.join(short)}: its events are shared with full stations")
    return out


def epicentral_distance_in_km(table):
    """Great-circle distance of station and event (haversine) in a table, or in one row as a dict; NaN if unknown."""
    phi, theta = np.radians(table["station_latitude"]), np.radians(table["event_latitude"])
    turn = np.radians(table["event_longitude"] - table["station_longitude"])
    h = np.sin((theta - phi) / 2) ** 2 + np.cos(phi) * np.cos(theta) * np.sin(turn / 2) ** 2
    return 2 * EARTH_RADIUS_IN_KM * np.arcsin(np.sqrt(np.minimum(h, 1.0)))


def assemble(traces, rates_in_hz, table, sampling_rate_in_hz=None):
    """One Records from traces (3, samples) of unequal length and rate, zero-padded at the end, resampled by a polyphase
    filter with zero phase, cut off at the lower Nyquist frequency. ``sampling_rate_in_hz`` None keeps the native rate;
    ValueError, naming the argument, if rates differ."""
    rates = np.asarray(rates_in_hz, float)
    if sampling_rate_in_hz is None:
        if len(set(rates)) > 1:
            told = f"the records have {len(set(rates))} sampling rates, {rates.min():g} to {rates.max():g} Hz"
            raise ValueError(f"{told}: give sampling_rate_in_hz to bring them to one")
        sampling_rate_in_hz = rates[0]
    done = []
    for trace, rate in zip(traces, rates, strict=True):
        ratio = Fraction(sampling_rate_in_hz / rate).limit_denominator(2000)  # off by less than 1e-6: 40 µs in 40 s
        done.append(trace if ratio == 1 else resample_poly(trace, *ratio.as_integer_ratio(), axis=-1))
    lengths = np.array([trace.shape[1] for trace in done])
    waveforms = np.zeros((len(done), 3, lengths.max()), np.float32)
    for wave, trace in zip(waveforms, done, strict=True):
        wave[:, : trace.shape[1]] = trace
    table = filled(table).assign(samples=lengths)
    table["usable_to_hz"] = table["usable_to_hz"].clip(upper=0.4 * sampling_rate_in_hz)
    for name in table.columns.intersection(list(SAMPLE_COLUMNS)):
        table[name] = table[name] * sampling_rate_in_hz / rates
    return Records(waveforms, sampling_rate_in_hz, table)
