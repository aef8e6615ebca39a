"""Collections in the SeisBench layout (metadata.csv, waveforms.hdf5; Woollam et al. 2022, 10.1785/0220210324)."""

import functools

import h5py
import numpy as np
import pandas as pd

from tsgen.formats.recording import Damaged, checked_waveform, inferred_event, scale_of
from tsgen.records import open_collection

FILES = ("metadata.csv", "waveforms.hdf5")


def opened(folder):
    """What records.open_collection gives, kept while metadata.csv stays the same: it is asked for once a trace."""
    stat = (folder / FILES[0]).stat()
    return _opened(folder, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=2)
def _opened(folder, _time, _size):
    return open_collection(folder)


def is_collection(folder):
    return all((folder / name).is_file() for name in FILES)


def unit_of(folder):
    """The unit that waveforms.hdf5 states for all traces, or None."""
    with h5py.File(folder / FILES[1]) as file:
        stated = file.get("data_format/unit")
        stated = stated[()] if isinstance(stated, h5py.Dataset) and stated.shape == () else None
    return stated.decode("latin-1") if isinstance(stated, bytes) else stated


def decode_row(folder, i, unit=None):
    """(waveform float32 (3, samples) in cm/s², native rate, row of the table as a dict) of trace ``i``."""
    table, rates, read = opened(folder)
    row = table.iloc[i].to_dict()
    stated = row.pop("trace_unit", None)
    stated = stated if isinstance(stated, str) and stated else unit_of(folder)
    scale = scale_of(stated or unit)
    if not (np.isfinite(rates[i]) and 1 <= rates[i] <= 10_000):
        raise Damaged(f"a sampling rate of {rates[i]:g} Hz is impossible", "correct metadata.csv")
    waveform = np.asarray(read(i))
    declared = row.get("samples")
    if declared is not None and np.isfinite(declared):
        if declared > waveform.shape[-1]:
            raise Damaged(f"metadata.csv promises {declared:g} samples, the trace holds {waveform.shape[-1]}")
        waveform = waveform[:, : int(declared)]
    waveform = checked_waveform(waveform * scale, remove_mean=False)
    name = row.pop("trace_name")
    row |= {"file": f"{FILES[1]}/{name}", "samples": waveform.shape[1]}
    row.setdefault("processing", _text(row.pop("processing_note", "")))
    row["event"] = _text(row.get("event"))
    row["event_inferred"] = bool(row.get("event_inferred", False)) or row["event"] == ""
    if row["event"] == "":
        row["event"] = inferred_event(_text(row.get("start_time")), name)
    return waveform, float(rates[i]), row


def _text(value):
    return "" if value is None or pd.isna(value) else str(value)
