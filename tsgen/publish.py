"""Copies the quick default run to where it is committed: notebooks/, figures/, results/, the README's table.

Nothing else writes there. A run that is incomplete, or made by other code than what stands now, is refused.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat

from tsgen import summary
from tsgen.environment import ROOT
from tsgen.runner import choose, code_key
from tsgen.study import Study

AGAIN = "`./run_all.sh quick` makes it anew"


class NotPublishable(ValueError):
    """The run is missing, incomplete, made by other code, or names the machine it was made on."""


def cleaned(notebook):
    """The executed ``notebook`` as it is committed: without timings, papermill's notes and the kernel's version."""
    for cell in notebook.cells:
        for note in ("papermill", "execution"):
            cell.metadata.pop(note, None)
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]  # papermill adds empty ones
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    return notebook


def sources(notebook):
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def check_notebook(executed, source, name):
    """Raise NotPublishable unless ``executed`` is ``source`` run from top to bottom."""
    if sources(executed) != sources(source):
        raise NotPublishable(f"{name}: the notebook has changed since the run, or ran with parameters; {AGAIN}")
    counts = [cell.execution_count for cell in executed.cells if cell.cell_type == "code"]
    if counts != list(range(1, len(counts) + 1)):
        raise NotPublishable(f"{name}: its execution counts are {counts}; {AGAIN}")
    outputs = [output for cell in executed.cells for output in cell.get("outputs", ())]
    if any(output.get("name") == "stderr" for output in outputs):  # a warning, or the store on what it built anew
        raise NotPublishable(f"{name} wrote to stderr, which another run would not: `./run_all.sh quick --fresh`")


def check_paths(text, name, root=ROOT):
    """Raise NotPublishable if ``text`` names a folder of this machine."""
    for folder in (root, root.parent, Path.home(), Path(tempfile.gettempdir())):
        if f"{folder}/" in text:
            raise NotPublishable(f"{name} names {folder}/, a folder of this machine: print names, not paths")


def publish(run, root=ROOT):
    """Copy the run in folder ``run`` into the project at ``root``; returns the paths written."""
    if not (run / "index.html").exists():
        raise NotPublishable(f"no complete quick run in {run.parent}: {AGAIN}")
    done = json.loads((run / "run.json").read_text())
    texts, key = {}, code_key()
    for path in choose(None, root / "notebooks"):
        if done.get(path.stem, {}).get("code") != key:
            raise NotPublishable(f"{path.stem} was not run since the package changed; {AGAIN}")
        executed = nbformat.read(run / "notebooks" / path.name, as_version=4)
        check_notebook(executed, nbformat.read(path, as_version=4), path.stem)
        texts[path] = nbformat.writes(cleaned(executed)) + "\n"
    results = (run / "results.json").read_text()
    texts[root / "results" / "quick.json"] = results
    readme = root / "README.md"
    if readme.exists():
        texts[readme] = summary.of_project(root, json.loads(results))
    for path, text in texts.items():
        check_paths(text, path.name, root)
    for path, text in texts.items():  # only now, so that a refusal leaves all as it was
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    figures = root / "figures"
    for old in figures.glob("*.png"):
        old.unlink()
    figures.mkdir(exist_ok=True)
    copies = [Path(shutil.copy(figure, figures)) for figure in sorted((run / "figures").glob("*.png"))]
    return [*texts, *copies]


def main(asked):
    """What ./run_all.sh publish does."""
    try:
        written = publish(Study("quick").folder)
    except NotPublishable as error:
        sys.exit(str(error))
    print("\n".join(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1000:.0f} kB" for path in written))
