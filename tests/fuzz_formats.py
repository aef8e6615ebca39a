"""Damage sample files at random and read them: each must give finite data or raise UnreadableRecord.

    python tests/fuzz_formats.py --seed 0 --n 10000

Each variant is read in a child process with a time limit and a limit on its memory; what the child does not survive
is a failure, as is every exception other than UnreadableRecord. Prints one JSON object; exit status 1 on failures.
"""

import argparse
import collections
import io
import json
import multiprocessing
import os
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
SAMPLES = ROOT.parent / "shared" / "records" / "formats"
NUMBERS = (b"0", b"-1", b"1e308", b"nan", b"inf", b"999999999999", b"1e-308", b"4294967295", b"x", b"")


def truncated(data, rng):
    return data[: rng.integers(len(data) + 1)]


def flipped(data, rng):
    out = np.frombuffer(data, np.uint8).copy()
    if len(out):
        # half of the time near the start, where the header is
        end = len(out) if rng.random() < 0.5 else min(len(out), 2000)
        at = rng.integers(0, end, int(rng.integers(1, 20)))
        out[at] = rng.integers(0, 256, len(at))
    return out.tobytes()


def line_dropped(data, rng):
    lines = data.split(b"\n")
    at = int(rng.integers(len(lines) if rng.random() < 0.5 else min(len(lines), 60)))
    return b"\n".join(lines[:at] + lines[at + 1 :])


def line_doubled(data, rng):
    lines = data.split(b"\n")
    at = int(rng.integers(len(lines) if rng.random() < 0.5 else min(len(lines), 60)))
    return b"\n".join([*lines[: at + 1], *lines[at:]])


def field_emptied(data, rng):
    lines = data.split(b"\n")
    at = int(rng.integers(min(len(lines), 60)))
    for mark in (b":", b"=", b"   "):
        if mark in lines[at]:
            lines[at] = lines[at].partition(mark)[0] + mark
            break
    return b"\n".join(lines)


def number_replaced(data, rng):
    """Any run of digits in the first part, or anywhere, becomes another number."""
    end = min(len(data), 3000) if rng.random() < 0.8 else len(data)
    places = [i for i in range(end) if data[i : i + 1].isdigit() and not data[max(0, i - 1) : i].isdigit()]
    if not places:
        return data
    start = places[int(rng.integers(len(places)))]
    stop = start
    while stop < len(data) and (data[stop : stop + 1].isdigit() or data[stop : stop + 1] == b"."):
        stop += 1
    return data[:start] + NUMBERS[int(rng.integers(len(NUMBERS)))] + data[stop:]


def recoded(data, rng):
    text = data[:400_000].decode("latin-1")
    return text.encode(("utf-16", "utf-32", "utf-8-sig", "cp500")[int(rng.integers(4))])


def block_zeroed(data, rng):
    at = int(rng.integers(len(data) + 1))
    return data[:at] + bytes(min(512, len(data) - at)) + data[at + 512 :]


def block_inserted(data, rng):
    at = int(rng.integers(len(data) + 1))
    return data[:at] + rng.bytes(int(rng.integers(1, 600))) + data[at:]


def block_repeated(data, rng):
    at = int(rng.integers(len(data) + 1))
    return data[:at] + data[max(0, at - 4096) : at] * int(rng.integers(1, 4)) + data[at:]


def mat_inside(data, rng):
    """Damage below the compression of a MATLAB 5 file, so that the damage is met by the parser and not by zlib."""
    out, at = data[:128], 128
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<II", data, at)
        body = data[at + 8 : at + 8 + size]
        if kind == 15:
            body = zlib.compress(flipped(zlib.decompress(body), rng), 1)
        out += struct.pack("<II", kind, len(body)) + body
        at += 8 + size
    return out


DAMAGES = (truncated, flipped, line_dropped, line_doubled, field_emptied, number_replaced, recoded, block_zeroed)
DAMAGES += (block_inserted, block_repeated)


def sample_sets():
    """[(name, {file name: bytes}, unit)] of the sample records, a zip archive of one and a small collection."""
    from tsgen import formats

    sets = []
    for folder in sorted(path for path in SAMPLES.iterdir() if path.is_dir() and path.name != "unsupported"):
        unit = "cm/s^2" if folder.name == "miniseed_kiknet_processed" else None
        sets.append((folder.name, {path.name: path.read_bytes() for path in sorted(folder.iterdir())}, unit))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sets[0][1].items():
            archive.writestr(name, content)
    sets.append(("zip", {"records.zip": packed.getvalue()}, None))
    with tempfile.TemporaryDirectory() as folder:
        records = formats.read(SAMPLES / "afad_mat" / "20160203212508_4614.mat")
        records.take([0, 0]).save(folder)
        sets.append(("seisbench", {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}, None))
    return sets


def variant(sets, seed, i):
    """(name of the set, damage, {file: bytes}, unit) of variant ``i``, the same on every machine."""
    rng = np.random.default_rng([seed, i])
    name, files, unit = sets[i % len(sets)]
    files = dict(files)
    victim = sorted(files)[int(rng.integers(len(files)))]
    damage = DAMAGES[int(rng.integers(len(DAMAGES)))]
    if victim.endswith(".mat") and rng.random() < 0.5:
        damage = mat_inside
    files[victim] = damage(files[victim], rng)
    if rng.random() < 0.1:  # and a second wound
        files[victim] = flipped(files[victim], rng)
    return name, damage.__name__, files, unit


def read_variant(files, unit, folder):
    """What came of it: "read" or "refused: REASON"; anything else is an exception."""
    from tsgen import formats

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    try:
        records, _ = formats.read_folder(folder, sampling_rate_in_hz=50.0, duration_in_s=20.0, unit=unit)
    except formats.UnreadableRecord as error:
        return f"refused: {error}"
    if not np.isfinite(records.waveforms).all():
        raise ValueError("what was read is not finite")
    return "read"


def child(pipe, sets, seed, numbers, seconds, memory_in_mb):
    """Read variants until the numbers are done; SIGALRM's default action ends a child that hangs, even in C."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory_in_mb * 2**20,) * 2)
    with tempfile.TemporaryDirectory() as folder:
        for i in numbers:
            name, damage, files, unit = variant(sets, seed, i)
            pipe.send(("begun", i, name, damage, ""))
            signal.setitimer(signal.ITIMER_REAL, seconds)
            begun = time.monotonic()
            try:
                outcome = read_variant(files, unit, Path(folder) / "variant")
            except Exception as error:
                outcome = f"escaped: {type(error).__name__}: {error}"
            signal.setitimer(signal.ITIMER_REAL, 0)
            pipe.send(("done", i, name, damage, outcome, time.monotonic() - begun))
    pipe.close()


def run(seed, n, seconds=20.0, memory_in_mb=1500, first=0):
    """{"read": …, "refused": …, "failures": […], …} of variants ``first`` to ``first + n``."""
    sets = sample_sets()
    context = multiprocessing.get_context("fork")
    counts, unforeseen, failures = collections.Counter(), collections.Counter(), []
    slowest, at = 0.0, first
    while at < first + n:
        ours, theirs = context.Pipe(duplex=False)
        worker = context.Process(target=child, args=(theirs, sets, seed, range(at, first + n), seconds, memory_in_mb))
        worker.start()
        theirs.close()
        message = None
        try:
            while True:
                message = ours.recv()
                if message[0] == "done":
                    _, i, name, damage, outcome, took = message
                    at, slowest = i + 1, max(slowest, took)
                    counts[outcome.partition(":")[0]] += 1
                    if outcome.startswith("escaped"):
                        failures.append([i, name, damage, outcome])
                    if "cannot be decoded (" in outcome:
                        unforeseen[name + ": " + outcome.partition("cannot be decoded (")[2][:100]] += 1
        except EOFError:
            worker.join()
        if message and message[0] == "begun":  # the child died while reading it
            failures.append([*message[1:4], f"the process ended with {worker.exitcode}"])
            at = message[1] + 1
    return dict(counts) | {
        "variants": n,
        "seed": seed,
        "failures": failures,
        "unforeseen": dict(unforeseen.most_common(30)),
        "slowest_in_s": round(slowest, 2),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=20.0, help="a variant that takes longer hangs")
    parser.add_argument("--memory-in-mb", type=int, default=1500, help="beyond what the process takes at start")
    told = parser.parse_args()
    result = run(told.seed, told.n, told.seconds, told.memory_in_mb, told.first)
    print(json.dumps(result, indent=1))
    sys.stdout.flush()
    os._exit(1 if result["failures"] else 0)


if __name__ == "__main__":
    main()
