"""Collections in the SeisBench layout (metadata.csv, waveforms.hdf5; Woollam et al. 2022, 10.1785/0220210324)."""

import functools
import re

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
    try:
        with h5py.File(folder / FILES[1]) as file:
            stated = file.get("data_format/unit")
            stated = stated[()] if isinstance(stated, h5py.Dataset) and stated.shape == () else None
    except (OSError, KeyError, RuntimeError, ValueError) as error:  # as h5py tells damage
        raise Damaged(f"{FILES[1]} cannot be opened ({str(error)[:80]})") from None
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
    name = row.pop("trace_name")
    try:
        waveform = np.asarray(read(i))
    except (OSError, KeyError, RuntimeError, ValueError, IndexError, TypeError) as error:  # as h5py tells damage
        raise Damaged(f"{FILES[1]} holds no such trace ({type(error).__name__}: {str(error)[:80]})") from None
    if waveform.ndim != 2:
        raise Damaged(f"the trace has {waveform.ndim} dimensions, not 2", "correct waveforms.hdf5")
    inside = re.search(r"\$\d+,:\d*,:(\d+)$", name)  # SeisBench pads the traces of a bucket to one length
    waveform = waveform[:, : int(inside[1])] if inside else waveform
    declared = row.get("samples")
    if declared is not None and np.isfinite(declared):
        if declared > waveform.shape[-1]:
            raise Damaged(f"metadata.csv promises {declared:g} samples, the trace holds {waveform.shape[-1]}")
        waveform = waveform[:, : int(declared)]
    waveform = checked_waveform(waveform * scale, remove_mean=False)
    row |= {"file": f"{FILES[1]}/{name}", "samples": waveform.shape[1]}
    row.setdefault("processing", _text(row.pop("processing_note", "")))
    row["event"] = _text(row.get("event"))
    row["event_inferred"] = bool(row.get("event_inferred", False)) or row["event"] == ""
    if row["event"] == "":
        row["event"] = inferred_event(_text(row.get("start_time")), name)
    return waveform, float(rates[i]), row


def _text(value):
    return "" if value is None or pd.isna(value) else str(value)
