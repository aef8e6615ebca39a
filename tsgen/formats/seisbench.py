"""Collections in the SeisBench layout (metadata.csv, waveforms.hdf5; Woollam et al. 2022, 10.1785/0220210324)."""

import functools
import re

import h5py
import numpy as np
import pandas as pd

from tsgen.formats.recording import (
    PLAUSIBLE,
    Damaged,
    checked_rate,
    checked_waveform,
    inferred_event,
    number,
    plausible,
    scale_of,
    utc,
)
from tsgen.records import SAMPLE_COLUMNS, open_collection

FILES = ("metadata.csv", "waveforms.hdf5")
LONGEST_IN_SAMPLES = 7_000_000  # ten hours at 200 Hz
LARGEST_TABLE_IN_BYTES = 512 * 2**20  # a million records


def opened(folder):
    """What records.open_collection gives, kept while metadata.csv stays the same: it is asked for once a trace."""
    stat = (folder / FILES[0]).stat()
    if stat.st_size > LARGEST_TABLE_IN_BYTES:
        raise Damaged(f"{FILES[0]} is larger than {LARGEST_TABLE_IN_BYTES / 2**20:.0f} MB", "split the collection")
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


def _check_size(folder, trace_name):
    """Raise Damaged for a trace whose declared shape is no accelerogram's: HDF5 would allocate it."""
    block, inside, _ = trace_name.partition("$")
    with h5py.File(folder / FILES[1]) as file:
        shape = file["data"][block].shape
    shape = shape[1:] if inside else shape
    if len(shape) != 2 or min(shape) != 3 or max(shape) > LONGEST_IN_SAMPLES:
        raise Damaged(f"the trace has shape {shape}, not (3, samples)", "correct waveforms.hdf5")


def decode_row(folder, i, unit=None):
    """(waveform float32 (3, samples) in cm/s², native rate, row of the table as a dict) of trace ``i``."""
    table, rates, read = opened(folder)
    row = table.iloc[i].to_dict()
    stated = row.pop("trace_unit", None)
    stated = stated if isinstance(stated, str) and stated else unit_of(folder)
    scale = scale_of(stated or unit)
    name = row.pop("trace_name")
    try:
        _check_size(folder, name)
        waveform = np.asarray(read(i))
    except Damaged:
        raise
    except (OSError, KeyError, RuntimeError, ValueError, IndexError, TypeError) as error:  # as h5py tells damage
        raise Damaged(f"{FILES[1]} holds no such trace ({type(error).__name__}: {str(error)[:80]})") from None
    inside = re.search(r"\$\d+,:\d*,:(\d+)$", name)  # SeisBench pads the traces of a bucket to one length
    waveform = waveform[:, : int(inside[1])] if inside else waveform
    declared = number(row.get("samples"), waveform.shape[1])
    if declared > waveform.shape[1]:
        raise Damaged(f"metadata.csv promises {declared:g} samples, the trace holds {waveform.shape[1]}")
    rate = checked_rate(rates[i], declared)
    waveform = checked_waveform(waveform[:, : max(0, int(declared))], remove_mean=False, scale=scale)
    return waveform, rate, _completed(row, rate, name) | {"samples": waveform.shape[1]}


def _completed(row, rate, name):
    """The row with numbers where numbers belong (one damaged line makes text of a column), and what is missing."""
    row |= {column: plausible(column, row[column]) for column in PLAUSIBLE if column in row}
    row |= {column: number(row[column]) for column in SAMPLE_COLUMNS if column in row}
    defaults = {"native_sampling_rate_in_hz": rate, "usable_from_hz": 0.0, "usable_to_hz": 0.4 * rate}
    row |= {column: number(row.get(column), value) for column, value in defaults.items()}
    row.setdefault("processing", _text(row.pop("processing_note", "")))
    # a time that is none, or of no instrument, counts as unknown
    row |= {
        column: row[column] if utc(row[column]) else "" for column in ("origin_time", "start_time") if column in row
    }
    inferred = str(row.get("event_inferred", "")) == "True" or _text(row.get("event")) == ""
    event = _text(row.get("event")) or inferred_event(_text(row.get("start_time")), name)
    return row | {"event": event, "event_inferred": inferred}


def _text(value):
    return "" if value is None or pd.isna(value) else str(value)
