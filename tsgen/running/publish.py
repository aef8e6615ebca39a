"""Copies the quick default run to where it is committed: notebooks/, figures/, results/, the README's table.
Nothing else writes there. A run that is incomplete, or made by other code than what stands now, is refused."""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat

from tsgen.running import readme
from tsgen.running.environment import ROOT, choose
from tsgen.running.runner import code_key
from tsgen.study import Study

AGAIN = "`./run_all.sh quick` makes it anew"


class NotPublishable(ValueError):
    """The run is missing, incomplete, made by other code, or names the machine it was made on."""


def cleaned(notebook):
    """The executed ``notebook`` as it is committed: without timings, papermill's notes and the kernel's version."""
    for cell in notebook.cells:
        for note in ("papermill", "execution", *(() if cell.metadata.get("tags") else ("tags",))):  # or empty tags
            cell.metadata.pop(note, None)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    return notebook


def sources(notebook):
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def check_paths(text, name, root=ROOT):
    for folder in (root, root.parent, Path.home(), Path(tempfile.gettempdir())):
        if f"{folder}/" in text:
            raise NotPublishable(f"{name} names {folder}/, a folder of this machine: print names, not paths")


def publish(run, root=ROOT):
    """Copy the run in folder ``run`` into the project at ``root``; returns the paths written."""
    if not (run / "index.html").exists() or not (run / "results.json").exists():
        raise NotPublishable(f"no complete quick run in {run.parent}: {AGAIN}")
    done = json.loads((run / "run.json").read_text())
    texts, key = {}, code_key()
    for path in choose(None, root / "notebooks"):
        name = path.stem
        if (entry := done.get(name, {})).get("code") != key:
            why = "failed" if "error" in entry else "was not run since the package changed"
            raise NotPublishable(f"{name} {why}; {AGAIN}")
        executed = nbformat.read(run / "notebooks" / path.name, as_version=4)
        if sources(executed) != sources(nbformat.read(path, as_version=4)):
            raise NotPublishable(f"{name}: the notebook has changed since the run, or ran with parameters; {AGAIN}")
        counts = [cell.execution_count for cell in executed.cells if cell.cell_type == "code"]
        if counts != list(range(1, len(counts) + 1)):
            raise NotPublishable(f"{name}: its execution counts are {counts}; {AGAIN}")
        outputs = [output for cell in executed.cells for output in cell.get("outputs", ())]
        if any(output.get("name") == "stderr" for output in outputs):  # a warning, or the store on what it built anew
            raise NotPublishable(f"{name} wrote to stderr, which another run would not: `./run_all.sh quick --fresh`")
        texts[path] = nbformat.writes(cleaned(executed)) + "\n"
    results = (run / "results.json").read_text()
    texts[root / "results" / "quick.json"] = results
    if (root / "README.md").exists():
        texts[root / "README.md"] = readme.of_project(root, json.loads(results))
    for path, text in texts.items():
        check_paths(text, path.name, root)
    for path, text in texts.items():  # only now, so that a refusal leaves all as it was
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (root / "figures").mkdir(exist_ok=True)
    for old in (root / "figures").glob("*.png"):
        old.unlink()
    return [*texts, *(Path(shutil.copy(path, root / "figures")) for path in sorted((run / "figures").glob("*.png")))]


def main(_):
    try:
        written = publish(Study("quick").folder)
    except NotPublishable as error:
        sys.exit(str(error))
    print("\n".join(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1000:.0f} kB" for path in written))
