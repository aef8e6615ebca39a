"""Runs the notebooks with papermill into a run's folder, and ends with its page.

Only what differs from a notebook's own parameters is handed over, so the default run has no injected cell and its
notebooks can be committed as they are. The unit of ``--unit`` travels as $TSGEN_UNIT, which Study reads.
"""

import ast
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import papermill
from ipykernel.kernelspec import write_kernel_spec

from tsgen import report, store
from tsgen.command import NOTEBOOKS
from tsgen.formats import UnreadableRecord
from tsgen.study import Study

PARAMETERS = ("PROFILE", "RECORDS", "STATIONS", "SEED")
TERMINAL_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class NotebookFailed(RuntimeError):
    """A notebook stopped with an error; the message holds its name, cell and traceback."""


def open_study(asked):
    """The Study of the options ``asked``, its records read and split; user errors end with their sentence alone."""
    if asked.unit:
        os.environ["TSGEN_UNIT"] = asked.unit
    folder = None
    try:
        study = Study(asked.word, asked.records or None, asked.stations or None, asked.seed)
        folder = None if study.folder.exists() else study.folder
        if asked.fresh:
            shutil.rmtree(study.folder, ignore_errors=True)
        begun = time.monotonic()
        _ = study.training  # reads or simulates the records: what is wrong with them ends here, before any notebook
        print(f"{'records':<28}{time.monotonic() - begun:8.1f} s")
    except (ValueError, OSError, UnreadableRecord) as error:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        sys.exit(" ".join(str(error).split()))
    return study


def choose(only, folder=NOTEBOOKS):
    """Paths of the notebooks in ``folder``, all of them or those with the numbers in ``only`` ("03,05")."""
    paths = sorted(folder.glob("[0-9][0-9]-*.ipynb"))
    if not only:
        return paths
    wanted = {number.strip().zfill(2) for number in only.split(",")}
    if unknown := wanted - {path.name[:2] for path in paths}:
        there = ", ".join(path.stem for path in paths)
        raise ValueError(f"--only {only}: no notebook {', '.join(sorted(unknown))} among {there}")
    return [path for path in paths if path.name[:2] in wanted]


def changed_parameters(notebook, values):
    """The part of ``values`` (name to value) that differs from the notebook's own parameters cell.

    Raises ValueError where the notebook lacks one of them: papermill itself would only warn.
    """
    own = papermill.inspect_notebook(str(notebook))
    if missing := [name for name in values if name not in own]:
        raise ValueError(f"{notebook.name}: its parameters cell lacks {', '.join(missing)}")
    return {name: value for name, value in values.items() if ast.literal_eval(own[name]["default"]) != value}


@contextmanager
def own_kernel():
    """Make "python3" the interpreter that runs this, whatever kernels the machine's user has installed."""
    before = os.environ.get("JUPYTER_PATH")
    with tempfile.TemporaryDirectory() as folder:
        write_kernel_spec(Path(folder) / "kernels" / "python3", extra_arguments=["--log-level=ERROR"])
        os.environ["JUPYTER_PATH"] = folder
        try:
            yield
        finally:
            os.environ.pop("JUPYTER_PATH")
            if before is not None:
                os.environ["JUPYTER_PATH"] = before


def code_key():
    """Hash of what every notebook rests on: the package and its pins."""
    digest = hashlib.sha256()
    for path in (*sorted(Path(__file__).parent.rglob("*.py")), Path(__file__).parents[1] / "requirements.lock"):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def execute(notebook, folder, values):
    """Execute one notebook into ``folder``/notebooks; returns its seconds, raises NotebookFailed."""
    output = folder / "notebooks" / notebook.name
    output.parent.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    try:
        papermill.execute_notebook(
            notebook,
            output,
            parameters=changed_parameters(notebook, values),
            cwd=notebook.parent,
            kernel_name="python3",
            progress_bar=False,
        )
    except papermill.PapermillExecutionError as error:
        traceback = TERMINAL_COLOURS.sub("", "\n".join(error.traceback))
        raise NotebookFailed(f"{notebook.stem} failed in cell [{error.exec_count}]\n{traceback}") from None
    return time.monotonic() - begun


def run(notebooks, folder, values):
    """Execute ``notebooks`` in order; prints a line for each, and notes its seconds and code key in run.json."""
    note = folder / "run.json"
    done = json.loads(note.read_text()) if note.exists() else {}
    (folder / "index.html").unlink(missing_ok=True)  # a page stands only for a run that went to its end
    with own_kernel():
        for notebook in notebooks:
            done.pop(notebook.stem, None)
            store.write_json(note, done)
            print(f"{notebook.stem:<28}", end="", flush=True)
            try:
                seconds = execute(notebook, folder, values)
            except NotebookFailed:
                print("  failed")
                raise
            print(f"{seconds:8.1f} s", flush=True)
            done[notebook.stem] = {"seconds": round(seconds, 1), "code": code_key()}
            store.write_json(note, done)
    return done


def main(asked):
    """What ./run_all.sh <profile> does, after the environment stands."""
    try:
        notebooks = choose(asked.only)
    except ValueError as error:
        sys.exit(str(error))
    begun = time.monotonic()
    study = open_study(asked)
    values = dict(zip(PARAMETERS, (asked.word, asked.records, asked.stations, asked.seed), strict=True))
    try:
        done = run(notebooks, study.folder, values)
    except NotebookFailed as error:
        sys.exit(str(error))
    page = report.write(study)
    print("\n" + "\n".join(f"{name:<28}{entry['seconds']:8.1f} s" for name, entry in sorted(done.items())))
    print(f"{'the whole run just now':<28}{time.monotonic() - begun:8.1f} s\n\n{page}")
