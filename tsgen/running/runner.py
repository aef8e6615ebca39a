"""Runs the study: models are trained and notebooks executed side by side, and the run ends with its page.

    python -m tsgen.running.runner quick    fills the default run's folder with its records and models, no more

Only what differs from a notebook's own parameters is handed over: the default run's notebooks have no injected cell and
can be committed. ``--unit`` travels as $TSGEN_UNIT. Processes wait in the store for a stage that another one builds."""

import ast
import fcntl
import hashlib
import io
import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stdout
from pathlib import Path

import nbformat
import papermill
from ipykernel.kernelspec import write_kernel_spec

from tsgen import store
from tsgen.needs import LEFT_OUT, Lacking
from tsgen.running.environment import LOCK, ROOT

PARAMETERS = ("PROFILE", "RECORDS", "STATIONS", "SEED")
WITHOUT_CGM = ("03", "04", "05", "01", "02")  # at work while the last model is trained
LONGEST_FIRST = ("07", "08", "09", "10")  # the other notebooks follow in their order
ERROR_MARKER = "papermill-error-cell-tag"  # of the cells in which papermill tells of a failure
TERMINAL_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
LINES_OF_A_TRACEBACK = 8  # of a notebook that failed, as printed and on the page; the notebook has them all


def say(name, seconds, rest=""):
    """Print one line of progress, over what a progress bar has left on a terminal."""
    print("\r\x1b[K" * sys.stdout.isatty() + f"{name:<28}{seconds:8.1f} s  {rest}".rstrip(), flush=True)


def side_by_side(work, tasks, *arguments, **environ):
    """Yield (task, seconds, text) as each ``work(task, *arguments)`` ends, in as many processes as cores, with
    ``environ`` set. text: what ``work`` returns ("" for nothing), its error or its process's end in a sentence.
    What is at work is ended when the caller stops."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(cores, len(tasks)) or 1, spawn, initializer=_as_worker, initargs=(environ,))
    try:
        waiting = {pool.submit(_timed, work, task, *arguments): task for task in tasks}
        for done in as_completed(waiting):
            lost = done.exception()
            yield waiting[done], *((0.0, f"its process ended: {lost}") if lost else done.result())
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _as_worker(environ):
    """Leave Ctrl-C to the process that started this one, and end with it."""
    os.environ.update(environ)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _timed(work, *arguments):
    begun = time.monotonic()
    try:
        text = work(*arguments) or ""
    except Exception as error:  # one task's trouble is one sentence and stops no other
        name = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "  # not meant for readers
        text = name + " ".join(str(error).split())
    return time.monotonic() - begun, text


def open_study(profile, records="", stations="", seed=0, unit=None, fresh=False):
    """The Study of a run, alone in its folder until this process ends, its records read and split. What cannot be had
    ends the program with one sentence, and leaves no folder behind."""
    from tsgen.formats.recording import scale_of  # with Study: seconds, which executing alone can do without
    from tsgen.study import Study

    begun, new = time.monotonic(), None
    try:
        if unit:
            scale_of(unit)
            os.environ["TSGEN_UNIT"] = unit
        study = Study(profile, records or None, stations or None, seed)
        new = None if study.folder.exists() else study.folder
        study.folder.mkdir(parents=True, exist_ok=True)
        file = os.open(study.folder / ".running", os.O_RDWR | os.O_CREAT)  # left open: the lock ends with the process
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in study.folder.iterdir() if fresh else ():
            if path.name != ".running":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        _ = study.training  # reads or simulates the records: what is wrong with them ends here, before any notebook
    except BlockingIOError:
        sys.exit(f"another run is at work in {study.folder}: wait for it, or choose another --seed")
    except (ValueError, OSError) as error:  # UnreadableRecord and Damaged among them
        told = " ".join(str(error).split())
        if new:
            shutil.rmtree(new, ignore_errors=True)
        if (report := getattr(error, "report", None)) is not None:
            kept = study.folder.with_name(f"{study.folder.name}-refused.csv")
            store.write_atomically(kept, lambda path: report.to_csv(path, index=False))
            told += f"; every file's reason: {kept}"
        sys.exit(told)
    say("records", time.monotonic() - begun)
    return study


def _do(task, folder, values):
    """Execute a notebook (its path), or train a model (its name)."""
    if isinstance(task, Path):
        return execute(task, folder, values)
    from tsgen.study import Study

    with redirect_stdout(io.StringIO()):  # what a study says of its records was said once
        Study(values["PROFILE"], values["RECORDS"] or None, values["STATIONS"] or None, values["SEED"]).model(task)


def changed_parameters(notebook, values):
    """What of ``values`` {name: value} differs from the notebook's parameters cell; ValueError where that lacks one."""
    own = papermill.inspect_notebook(str(notebook))
    if missing := [name for name in values if name not in own]:
        raise ValueError(f"{notebook.name}: its parameters cell lacks {', '.join(missing)}")
    return {name: value for name, value in values.items() if ast.literal_eval(own[name]["default"]) != value}


def code_key():
    """Hash of what every notebook rests on: the package and its pins."""
    paths = *sorted((ROOT / "tsgen").rglob("*.py")), LOCK
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:12]


def execute(notebook, folder, values):
    """Execute one notebook into ``folder``/notebooks; returns the end of its traceback, if it has one. One that
    ends because the records lack what it needs has not failed."""
    into, changed = folder / "notebooks" / notebook.name, changed_parameters(notebook, values)
    options = {"cwd": notebook.parent, "kernel_name": "python3", "progress_bar": False}
    try:
        papermill.execute_notebook(notebook, into, parameters=changed, **options)
    except papermill.PapermillExecutionError as error:
        if error.ename != Lacking.__name__:
            lines = TERMINAL_COLOURS.sub("", "\n".join(error.traceback)).splitlines()
            return "\n".join([f"cell [{error.exec_count}]", *lines[-LINES_OF_A_TRACEBACK:]])
        executed = nbformat.read(into, as_version=4)  # without papermill's notes of a failure
        executed.cells = [cell for cell in executed.cells if ERROR_MARKER not in cell.metadata.get("tags", ())]
        nbformat.write(executed, into)


def left_out(path):
    """{what these records lack: "parts" or "all"} of what the executed notebook at ``path`` says that it left out."""
    lacking = {}
    for cell in nbformat.read(path, as_version=4).cells if path.exists() else ():
        for output in cell.get("outputs", ()):
            whole = output.get("ename") == Lacking.__name__
            for line in (output["evalue"] if whole else output.get("text", "")).splitlines():
                if line.startswith(LEFT_OUT):
                    lacking[line.removeprefix(LEFT_OUT)] = "all" if whole else "parts"
    return lacking


def in_order(notebooks, models):
    """Paths of notebooks in the order in which they keep every core at work, while ``models`` are trained or not."""
    first = (*WITHOUT_CGM, *LONGEST_FIRST) if models else LONGEST_FIRST
    return sorted(notebooks, key=lambda path: (*first, path.name[:2]).index(path.name[:2]))


def run(notebooks, folder, values, models=()):
    """Train ``models`` and execute ``notebooks`` side by side, a line for each as it ends; returns run.json's content:
    {notebook: {"seconds", "code" (code_key) or "error" (the end of its traceback), and "left out" (``left_out``)}}."""
    note, key = folder / "run.json", code_key()
    done = json.loads(note.read_text()) if note.exists() else {}
    for path in notebooks:
        done.pop(path.stem, None)
    store.write_json(note, done)
    (folder / "index.html").unlink(missing_ok=True)  # a page stands only for a run that went to its end
    (folder / "notebooks").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as jupyter:  # "python3" is what runs this, whatever the user has installed
        # a failing cell is told by papermill: the kernel's own account of it would be noise
        write_kernel_spec(Path(jupyter) / "kernels" / "python3", extra_arguments=["--log-level=CRITICAL"])
        environ = {"JUPYTER_PATH": jupyter, "TSGEN_STATIC": "1"}  # a picture where a reader gets sliders
        for path, seconds, error in side_by_side(
            _do, [*models, *in_order(notebooks, models)], folder, values, **environ
        ):
            if path in models:
                say(f"model {path}", seconds, error)
                continue
            done[path.stem] = {"seconds": round(seconds, 1)} | ({"error": error} if error else {"code": key})
            lacking = left_out(folder / "notebooks" / path.name)
            done[path.stem] |= {"left out": lacking} if lacking else {}
            store.write_json(note, done)
            told = [f"failed in {error}"] if error else [f"left out {of}: no {what}" for what, of in lacking.items()]
            say(path.stem, seconds, "  ".join(told))
    return done


def main(asked):
    begun = time.monotonic()
    given = asked.word, asked.records, asked.stations, asked.seed
    study = open_study(*given, asked.unit, asked.fresh)
    models = [] if asked.only else list(study.models)  # a notebook builds what it lacks; all of them need every model
    if models:
        print(study.memory(), flush=True)
    done = run(asked.notebooks, study.folder, dict(zip(PARAMETERS, given, strict=True)), models)

    from tsgen.figures import CAPTIONS
    from tsgen.running import report

    page = report.write(study.folder, CAPTIONS)
    print()
    for name, entry in sorted(done.items()):
        say(name, entry["seconds"], "failed" if "error" in entry else "")
    say("the whole run just now", time.monotonic() - begun)
    print(f"\n{page}")
    sys.exit(any("error" in entry for entry in done.values()))


if __name__ == "__main__":
    filled = open_study(sys.argv[1])
    run([], filled.folder, dict(zip(PARAMETERS, (sys.argv[1], "", "", 0), strict=True)), list(filled.models))
