"""Collections in the SeisBench layout that others made: units, damage and what metadata.csv leaves out."""

import functools

import h5py
import pandas as pd

from tsgen import collection
from tsgen.collection import FILES
from tsgen.formats.recording import PLAUSIBLE, Damaged, checked, inferred_event, number, plausible, scale_of
from tsgen.records import SAMPLE_COLUMNS

LARGEST_TABLE_IN_BYTES = 512 * 2**20  # a million records
DAMAGE = (OSError, KeyError, RuntimeError, ValueError, IndexError, TypeError)  # as h5py tells it


def is_collection(folder):
    return all((folder / name).is_file() for name in FILES)


def opened(folder):
    """(Collection, its unit or None), kept while its files stay the same: it is asked for once a trace."""
    stats = [(folder / name).stat() for name in FILES]
    if stats[0].st_size > LARGEST_TABLE_IN_BYTES:
        raise Damaged(f"{FILES[0]} is larger than {LARGEST_TABLE_IN_BYTES / 2**20:.0f} MB", "split the collection")
    return _opened(folder, tuple((stat.st_mtime_ns, stat.st_size) for stat in stats))


@functools.lru_cache(maxsize=2)
def _opened(folder, _stamps):
    found = collection.opened(folder)
    try:
        with h5py.File(folder / FILES[1]) as file:
            stated = file.get("data_format/unit")
            stated = stated[()] if isinstance(stated, h5py.Dataset) and stated.shape == () else None
    except DAMAGE as error:
        raise Damaged(f"{FILES[1]} cannot be opened ({str(error)[:80]})") from None
    return found, stated.decode("latin-1") if isinstance(stated, bytes) else stated


def decode_row(folder, i, file, unit):
    """[(waveform float32 (3, samples) in cm/s², native rate, row of the table as a dict)] of trace ``i``."""
    found, unit_of_all = opened(folder)
    row = found.table.iloc[i].to_dict()
    scale = scale_of(_text(row.pop("trace_unit", "")) or unit_of_all or unit)
    try:
        waveform = found.read(i)
    except ValueError as error:
        raise Damaged(str(error)[:300], "correct the collection, or give another") from None
    except DAMAGE as error:
        raise Damaged(f"{FILES[1]} holds no such trace ({type(error).__name__}: {str(error)[:120]})") from None
    if (declared := number(row.get("samples"), waveform.shape[1])) > waveform.shape[1]:
        raise Damaged(f"metadata.csv promises {declared:g} samples, the trace holds {waveform.shape[1]}")
    waveform, rate = checked(waveform[:, : max(0, int(declared))], found.rates_in_hz[i], scale)
    # numbers where numbers belong (one damaged line makes text of a column), and what is missing
    name = row.pop("trace_name")
    row |= {column: plausible(column, row[column]) for column in PLAUSIBLE if column in row}
    row |= {column: number(row[column]) for column in SAMPLE_COLUMNS if column in row}
    defaults = {"native_sampling_rate_in_hz": rate, "usable_from_hz": 0.0, "usable_to_hz": 0.4 * rate}
    row |= {column: number(row.get(column), value) for column, value in defaults.items()}
    row.setdefault("processing", _text(row.pop("processing_note", "")))
    if not isinstance(found.orders[i], str):  # ESM's flatfile has the components in this order
        row["processing"] += "; ESM25's u, v, w taken as east, north and up"
    inferred = str(row.get("event_inferred", "")) == "True" or row["event"] == ""
    row["event"] = row["event"] or inferred_event(row.get("start_time", ""), name)
    return [(waveform, rate, row | {"event_inferred": inferred, "samples": waveform.shape[1], "file": file})]


def _text(value):
    return "" if pd.isna(value) else str(value)
