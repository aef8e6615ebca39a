"""``read`` and ``read_folder``: decode, check, resample, cut, mark, and account for every file."""

import multiprocessing
import os
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from tqdm import tqdm

from tsgen.config import QualitySettings, WindowSettings
from tsgen.formats import quality, seisbench
from tsgen.formats.catalogue import Catalogue
from tsgen.formats.discovery import SUPPORTED, job_of, jobs_below, suffix
from tsgen.formats.recording import Damaged, UnreadableRecord, scale_of
from tsgen.records import assemble

LARGEST_IN_BYTES = 16 * 2**30  # of the waveforms returned; Records.load opens larger collections as memory maps
NO_VERTICAL = "horizontals alone: HVSR and the models need a vertical"  # quality where components is EN
CHUNK = 16  # jobs given to a worker at a time
MOST_REASONS = 5  # in one sentence; the report has all
FEWEST_JOBS_FOR_WORKERS = 48  # below it, starting processes costs more than it saves


def read(path, sampling_rate_in_hz=None, unit=None):
    """Records of one file, with its sibling components where the format has one component a file.
    A folder in the SeisBench layout (or one of its two files) is read whole. ``sampling_rate_in_hz`` None keeps the
    native rate, which must then be one. ``unit`` ("cm/s^2", "gal", "m/s^2", "g") is what samples are where the file
    does not say. Raises UnreadableRecord."""
    path = Path(path)
    if path.name in seisbench.FILES and seisbench.is_collection(path.parent):
        path = path.parent
    if seisbench.is_collection(path):
        return read_folder(path, sampling_rate_in_hz, unit=unit)[0]
    if path.is_dir() or suffix(path.name) == ".zip":
        raise UnreadableRecord(path, "it is a folder or an archive", "use formats.read_folder for these")
    if not path.is_file():
        raise UnreadableRecord(path, "there is no such file", "check the path")
    wanted = _wanted(path, unit, sampling_rate_in_hz, None)
    try:
        found, refusals = _work(job_of(path), wanted)
    except Damaged as error:
        raise UnreadableRecord(path, error.reason, error.remedy) from None
    if not found:
        raise UnreadableRecord(path, *refusals[0][1:])
    return _joined(path, found, wanted)


def read_folder(path, sampling_rate_in_hz=100.0, duration_in_s=None, unit=None, **settings):
    """(Records, report) of every record below ``path``, a folder or a zip archive, in any mix of supported formats.
    Each record is filtered and resampled to ``sampling_rate_in_hz`` (None: the native rate, which must then be one),
    and cut to ``duration_in_s`` (Records.window), else zero-padded to the longest. A folder that holds metadata.csv and
    waveforms.hdf5 is one collection: it alone is read, not what lies below it. Zip archives are read in place.
    What headers leave unknown (event, magnitude, distance, P) comes from a catalogue beside or above the file.
    ``settings``: quality (config.QualitySettings), window (config.WindowSettings).

    The report has one row a file or trace of a collection: file, outcome, reason. Outcomes: "read" (the reason is the
    quality text, "" if fine), "companion" (serves other files, as StationXML does), "refused" (why, and what to do),
    "left out" (no record, or not needed). Raises UnreadableRecord if ``path`` is missing, empty or all refused."""
    path = Path(path)
    if not path.exists():
        raise UnreadableRecord(path, "there is no such folder", "check the path")
    if path.is_file() and suffix(path.name) != ".zip":
        raise UnreadableRecord(path, "it is a file, not a folder", "use formats.read for one file")
    jobs, lines = jobs_below(path)
    if not jobs and not lines:
        raise UnreadableRecord(path, "the folder is empty", SUPPORTED)
    wanted = _wanted(path, unit, sampling_rate_in_hz, duration_in_s, **settings)
    if jobs:
        wanted.catalogue = Catalogue(path)
        lines = [(line[0], *wanted.catalogue.files.get(line[0], line[1:])) for line in lines]
    found, results = [], tqdm(_results(jobs, wanted), total=len(jobs), unit="file", desc="reading", disable=None)
    for job, (decoded, refusals) in zip(jobs, results, strict=True):
        found += decoded
        # a file of several stations may be read in part: then it has a row for each part
        lines += [(file, "read", "") for file in job.files] * bool(decoded)
        lines += [(file, "refused", f"{reason}; {remedy}") for file, reason, remedy in refusals]
    if not found:
        raise _nothing_readable(path, lines)
    unknown = [row.pop("event_note", "") for *_, row, _ in found]
    records, reasons = _joined(path, found, wanted), {}
    notes = quality.event_notes(records.table)
    for (*_, files), *texts in zip(found, records.table["quality"], notes, unknown, strict=True):
        for file in files:
            reasons.setdefault(file, {}).update(dict.fromkeys(filter(None, texts)))
    rows = [(*line[:2], "; ".join(reasons[line[0]]) if line[1] == "read" else line[2]) for line in lines]
    report = pd.DataFrame(rows, columns=["file", "outcome", "reason"])
    return records, report.sort_values("file", kind="stable", ignore_index=True)


def _nothing_readable(path, lines):
    """UnreadableRecord with the report of all files; its sentence has each reason once, with the first file."""
    reasons = {}
    for file, outcome, reason in lines:
        if outcome == "refused":
            reasons.setdefault(reason.removesuffix(f"; {SUPPORTED}"), []).append(file)
    told = [f"; {files[0]}{f' and {len(files) - 1} more' * (len(files) > 1)}: {why}" for why, files in reasons.items()]
    more = f"; and {len(told) - MOST_REASONS} reasons more" * (len(told) > MOST_REASONS)
    text = f"none of its {len(lines)} files can be read{''.join(told[:MOST_REASONS])}{more}"
    error = UnreadableRecord(path, text, SUPPORTED)
    error.report = pd.DataFrame(lines, columns=["file", "outcome", "reason"])
    return error


def _wanted(path, unit, rate_in_hz, duration_in_s, quality=QualitySettings(), window=WindowSettings()):  # noqa: B008
    """What the caller asked for; raises ValueError for an impossible size, UnreadableRecord for an unknown unit."""
    sizes = {"sampling_rate_in_hz": rate_in_hz, "duration_in_s": duration_in_s}
    for name, value in sizes.items():
        if value is not None and not 0 < value < np.inf:
            raise ValueError(f"{name} must be above 0, not {value}")
    try:
        scale_of(unit or "gal")
    except Damaged as error:
        raise UnreadableRecord(path, error.reason, error.remedy) from None
    return SimpleNamespace(unit=unit, quality=quality, window=window, catalogue=None, **sizes)


def _work(job, wanted):
    """([(waveform, rate, row, files)], [(file, reason, remedy)]) of one job; never raises."""
    try:
        decoded = job.decode(wanted.unit)
        found = [(*_prepared(*one, wanted, job.files), job.files) for one in decoded if not isinstance(one, Damaged)]
        errors = [one for one in decoded if isinstance(one, Damaged)]
    except Exception as error:  # the last line of defence: one damaged file must not end the reading of a folder
        told = f"it cannot be decoded ({type(error).__name__}: {str(error)[:120]})"
        found, errors = [], [error if isinstance(error, Damaged) else Damaged(told)]
    files = job.files[:1] if found else job.files
    return found, [(file, error.reason, error.remedy) for error in errors for file in files]


def _prepared(waveform, rate, row, wanted, files):
    """(waveform, rate, row) checked at its native rate, then brought to the wanted rate and length."""
    if wanted.catalogue and (told := wanted.catalogue.complete(row, rate, files)):
        row["event_note"] = told
    remarks, counts = row.pop("remarks", ()), row.pop("counts", None)
    row["components"] = "ENZ" if waveform[2].any() else "EN"  # readers fill a missing vertical with zeros
    here = slice(len(row["components"]))
    counts = counts if counts is None else counts[here]
    told = quality.faults(waveform[here], rate, row.get("p_arrival_sample", np.nan), wanted.quality, counts)
    absent = () if row["components"] == "ENZ" else (NO_VERTICAL,)
    row["quality"] = row.get("quality") or "; ".join([*absent, *remarks, *told])
    records = assemble([waveform], [rate], pd.DataFrame([row]), wanted.sampling_rate_in_hz)
    if wanted.duration_in_s:
        records = records.window(max(1, round(wanted.duration_in_s * records.sampling_rate_in_hz)), wanted.window)
    return records.waveforms[0], records.sampling_rate_in_hz, records.table.iloc[0].to_dict()


def _joined(path, found, wanted):
    """One Records of what the jobs gave; raises UnreadableRecord if the rates differ, or if it would be too large."""
    waveforms, rates, rows, _ = zip(*found, strict=True)
    low, high, longest = min(rates), max(rates), max(waveform.shape[1] for waveform in waveforms)
    if low < high:
        told = f"the records have {len(set(rates))} sampling rates, {low:g} to {high:g} Hz"
        raise UnreadableRecord(path, told, "give sampling_rate_in_hz to bring them to one")
    if 12 * len(found) * longest > LARGEST_IN_BYTES:
        told = f"{len(found)} records as long as the longest ({longest / high:.0f} s) take too much memory"
        raise UnreadableRecord(path, told, "give duration_in_s, or save them in parts")
    table = pd.DataFrame(list(rows))
    records = assemble(waveforms, rates, table).with_columns(samples=table["samples"].astype(int))
    texts = zip(records.table["quality"], quality.duplicates(records, wanted.quality), strict=True)
    return records.with_columns(quality=["; ".join(filter(None, pair)) for pair in texts])


def _results(jobs, wanted):
    """What ``_work`` gives for each job, in order; by processes where that pays and is safe."""
    if len(jobs) < FEWEST_JOBS_FOR_WORKERS or cores() < 2:
        yield from (_work(job, wanted) for job in jobs)
        return
    chunks = [jobs[i : i + CHUNK] for i in range(0, len(jobs), CHUNK)]
    with ProcessPoolExecutor(cores(), multiprocessing.get_context("fork")) as pool:
        futures = [pool.submit(_work_all, chunk, wanted) for chunk in chunks]
        for chunk, future in zip(chunks, futures, strict=True):
            try:
                yield from future.result()
            except BrokenProcessPool:
                yield from _again(chunk, wanted)


def cores():
    """Number of workers: forked ones, which need neither a guarded main module nor a second import, else 1."""
    if multiprocessing.current_process().daemon or not hasattr(os, "sched_getaffinity"):
        return 1
    return len(os.sched_getaffinity(0))


def _work_all(jobs, wanted):
    return [_work(job, wanted) for job in jobs]


def _again(jobs, wanted):
    """``_work_all`` in a process of its own, after one job (not known which) has ended a worker and all futures."""
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
            return pool.submit(_work_all, jobs, wanted).result()
    except BrokenProcessPool:
        if len(jobs) > 1:
            return [_again([job], wanted)[0] for job in jobs]
        return [([], [(file, "reading it ended the process", "download the file again") for file in jobs[0].files])]
