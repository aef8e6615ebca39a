"""``read`` and ``read_folder``: decode, check, resample, cut, mark, and account for every file."""

import multiprocessing
import os
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from functools import partial
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

REPORT = ["file", "outcome", "reason"]
LARGEST_IN_BYTES = 16 * 2**30  # of the waveforms returned; Records.load opens larger collections as memory maps
NO_VERTICAL = "horizontals alone: HVSR and the models need a vertical"  # quality where components is EN
CHUNK = 16  # jobs given to a worker at a time
MOST_REASONS = 5  # in one sentence; the report has all
FEWEST_JOBS_FOR_WORKERS = 48  # below it, starting processes costs more than it saves


def read(path, sampling_rate_in_hz=None, unit=None):
    """Records of one file, with its sibling components where the format has one component a file; a folder in the
    SeisBench layout (or one of its two files) is read whole. ``sampling_rate_in_hz`` None keeps the native rate, which
    must then be one. ``unit`` ("cm/s^2", "gal", "m/s^2", "g"): where the file does not say. Raises UnreadableRecord."""
    path = Path(path)
    for folder in (path, path.parent) if path.name in seisbench.FILES else (path,):
        if seisbench.is_collection(folder):
            return read_folder(folder, sampling_rate_in_hz, unit=unit)[0]
    if path.is_dir() or suffix(path.name) == ".zip":
        raise UnreadableRecord(path, "it is a folder or an archive", "use formats.read_folder for these")
    if not path.is_file():
        raise UnreadableRecord(path, "there is no such file", "check the path")
    wanted = _wanted(path, unit, sampling_rate_in_hz, None)
    try:
        found, refusals = _work(job_of(path), wanted)
        if not found:
            raise refusals[0][1]
    except Damaged as error:
        raise UnreadableRecord(path, error.reason, error.remedy) from None
    return _joined(path, found, wanted)


def read_folder(path, sampling_rate_in_hz=100.0, duration_in_s=None, unit=None, **settings):
    """(Records, report) of every record below ``path``, a folder or a zip archive, in any mix of supported formats.
    Each is resampled to ``sampling_rate_in_hz`` (None: the native rate, which must then be one) and cut to
    ``duration_in_s`` (Records.window), else zero-padded to the longest. Of a folder in the SeisBench layout the
    collection alone is read, not what lies below it. What headers leave unknown (event, magnitude, distance, P) comes
    from a catalogue beside or above the file. ``settings``: quality and window (QualitySettings, WindowSettings).

    The report has a row a file, or trace of a collection: file, outcome, reason. Outcomes: "read" (the reason is the
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
        lines += [(file, "refused", str(error)) for file, error in refusals]
    if not found:
        raise _nothing_readable(path, lines)
    unknown = [row.pop("event_note", "") for *_, row, _ in found]
    records, reasons = _joined(path, found, wanted), {}
    notes = quality.event_notes(records.table)
    for (*_, files), *texts in zip(found, records.table["quality"], notes, unknown, strict=True):
        for file in files:
            reasons.setdefault(file, {}).update(dict.fromkeys(filter(None, texts)))
    rows = [(file, what, "; ".join(reasons[file]) if what == "read" else why) for file, what, why in lines]
    return records, pd.DataFrame(rows, columns=REPORT).sort_values("file", kind="stable", ignore_index=True)


def _nothing_readable(path, lines):
    """UnreadableRecord with the report of all files; its sentence has each reason once, with the first file."""
    reasons = {}
    for file, outcome, reason in lines:
        if outcome == "refused":
            reasons.setdefault(reason.removesuffix(f"; {SUPPORTED}"), []).append(file)
    told = [f"; {files[0]}{f' and {len(files) - 1} more' * (len(files) > 1)}: {why}" for why, files in reasons.items()]
    told[MOST_REASONS:] = [f"; and {len(told) - MOST_REASONS} reasons more"] * (len(told) > MOST_REASONS)
    error = UnreadableRecord(path, f"none of its {len(lines)} files can be read{''.join(told)}", SUPPORTED)
    error.report = pd.DataFrame(lines, columns=REPORT)
    return error


def _wanted(path, unit, rate_in_hz, duration_in_s, quality=QualitySettings(), window=WindowSettings()):  # noqa: B008
    """What the caller asked for; raises ValueError for an impossible size, UnreadableRecord for an unknown unit."""
    sizes = {"sampling_rate_in_hz": rate_in_hz, "duration_in_s": duration_in_s}
    if wrong := [name for name, value in sizes.items() if value is not None and not 0 < value < np.inf]:
        raise ValueError(f"{wrong[0]} must be above 0, not {sizes[wrong[0]]}")
    try:
        scale_of(unit or "gal")
    except Damaged as error:
        raise UnreadableRecord(path, error.reason, error.remedy) from None
    return SimpleNamespace(unit=unit, quality=quality, window=window, catalogue=None, **sizes)


def _work(job, wanted):
    """([(waveform, rate, row, files)], [(file, Damaged)]) of one job; never raises."""
    found, errors = [], []
    try:
        for one in job.decode(wanted.unit):
            try:
                found.append((*_prepared(one, wanted, job.files), job.files))
            except Damaged as error:
                errors.append(error)
    except Exception as error:  # the last line of defence: one damaged file must not end the reading of a folder
        told = f"it cannot be decoded ({type(error).__name__}: {str(error)[:120]})"
        found, errors = [], [error if isinstance(error, Damaged) else Damaged(told)]
    return found, [(file, error) for error in errors for file in (job.files[:1] if found else job.files)]


def _prepared(one, wanted, files):
    """(waveform, rate, row) of what a reader gave, checked at the native rate, then at the wanted rate and length."""
    if isinstance(one, Damaged):
        raise one
    waveform, rate, row = one if isinstance(one, tuple) else one.settled(files[0])
    if wanted.catalogue and (told := wanted.catalogue.complete(row, rate, files)):
        row["event_note"] = told
    remarks, counts = row.pop("remarks", ()), row.pop("counts", None)
    whole = bool(waveform[2].any())  # readers fill a missing vertical with zeros
    row["components"], here = ("ENZ", slice(3)) if whole else ("EN", slice(2))
    counts = counts if counts is None else counts[here]
    told = quality.faults(waveform[here], rate, row.get("p_arrival_sample", np.nan), wanted.quality, counts)
    row["quality"] = row.get("quality") or "; ".join([*[NO_VERTICAL] * (not whole), *remarks, *told])
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
    done = 0
    with ProcessPoolExecutor(cores(), multiprocessing.get_context("fork")) as pool:
        try:
            for result in pool.map(partial(_work, wanted=wanted), jobs, chunksize=CHUNK):
                yield result
                done += 1
        except BrokenProcessPool:  # one job, not known which, has ended a worker, and with it all others
            yield from (_alone(job, wanted) for job in jobs[done:])


def cores():
    """Number of workers: forked ones, which need neither a guarded main module nor a second import, else 1."""
    if multiprocessing.current_process().daemon or not hasattr(os, "sched_getaffinity"):
        return 1
    return len(os.sched_getaffinity(0))


def _alone(job, wanted):
    """``_work`` in a process of its own."""
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
            return pool.submit(_work, job, wanted).result()
    except BrokenProcessPool:
        return [], [(file, Damaged("reading it ended the process")) for file in job.files]
