"""The study given as a course: ``python -m tsgen.course student|teacher FOLDER [--run FOLDER]``.

Copies of the notebooks go to FOLDER, which must be new or empty. A student's copy asks for the answers that the
notebooks' solution cells give, and lets ``check`` judge them; a teacher's shows the solutions. Every other output is
kept: the text speaks of these numbers, and a student's own run is compared with them. Beside the copies a zip of the
records and trained models of a finished run (--run; the quick default's): unpacked in the study's folder it spares each
notebook the training, and what else it needs is made in seconds.
"""

import sys
import zipfile
from copy import deepcopy
from pathlib import Path

import nbformat
import pandas as pd

from tsgen.one_sentence import OneSentence
from tsgen.running.environment import choose
from tsgen.study import Study

EXERCISES = pd.read_csv(Path(__file__).with_name("exercises.csv"), dtype={"exercise": str})
SOLUTION, CHECK = "solution", "check"  # tags of an exercise's cells
ASKED = "answer = ...  # yours"
WITHOUT_TRAINING = ("records", "model-*")  # stages of a run that the others follow from in seconds


def check(exercise, answer, study=None):
    """Print what a right answer teaches; AssertionError with the likely mistake for a wrong one (exercises.csv).

    answer: one number; None where the records cannot tell; ... where none is given yet. study: given where the target
    is that of the simulated default at quick alone. ValueError for an exercise that there is not.
    """
    rows = EXERCISES[EXERCISES["exercise"] == exercise]
    if rows.empty:
        raise ValueError(f"no exercise {exercise!r}: there are {', '.join(EXERCISES['exercise'].unique())}")
    if answer is ...:
        print(f"{exercise}: no answer yet")
    elif answer is None:
        print("not checked here: these records lack what the exercise needs")
    elif study is not None and not study.is_default:
        print("not checked here: the target is that of the simulated default at quick")
    else:
        low, high, right = rows.iloc[0][["low", "high", "says"]]
        try:
            number = float(answer)
        except (TypeError, ValueError):
            raise AssertionError(f"{exercise}: the answer is one number, not {type(answer).__name__}") from None
        fits = rows.loc[(rows["low"] <= number) & (number <= rows["high"]), "says"].tolist()
        if fits[:1] != [right]:
            mistake = f"not right: {fits[0]}" if fits else f"not between {low} and {high}"
            raise AssertionError(f"{exercise}: {number:.4g} is {mistake}")
        print(f"{exercise} is right: {right}")  # without the number, whose last digits are the processor's


def copied(notebook, kind):
    """The notebook as a "student" or a "teacher" gets it."""
    notebook = deepcopy(notebook)
    for cell in notebook.cells:
        tags = set(cell.metadata.get("tags", ()))
        if SOLUTION in tags:
            cell.metadata.pop("jupyter", None)  # which collapses it
            cell.source = ASKED if kind == "student" else cell.source
        if kind == "student" and tags & {SOLUTION, CHECK}:
            cell.outputs, cell.execution_count = [], None
    return notebook


def zip_run(run, path):
    """Write the records and models of the run in folder ``run`` to the zip at ``path``, as runs/NAME/…"""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for stage in (stage for pattern in WITHOUT_TRAINING for stage in sorted(run.glob(pattern))):
            for file in sorted(file for file in stage.rglob("*") if file.is_file()):
                archive.write(file, Path("runs", run.name, file.relative_to(run)))


def main(arguments=None):
    """Exit code: 0, or 2 where no copies can be made."""
    parser = OneSentence(prog="python -m tsgen.course", description=__doc__)
    parser.add_argument("kind", choices=("student", "teacher"), help="whose copies")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where they go: new, or empty")
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="a finished run to zip (the quick default's)")
    asked = parser.parse_args(arguments)
    run = (asked.run or Study("quick").folder).resolve()
    finished, zipped = (run / "index.html").exists(), asked.folder / f"run-{run.name}.zip"
    try:
        if asked.run and not finished:
            raise OSError(f"--run {asked.run}: no finished run there, index.html is missing: give runs/NAME")
        if asked.folder.exists() and not (asked.folder.is_dir() and not any(asked.folder.iterdir())):
            raise OSError(f"{asked.folder} is no empty folder, and what students wrote stays: give a new one")
        asked.folder.mkdir(parents=True, exist_ok=True)
        for path in choose():
            made = copied(nbformat.read(path, as_version=4), asked.kind)
            nbformat.write(made, asked.folder / path.name)
            print(asked.folder / path.name)
        if finished:
            zip_run(run, zipped)
            size_in_mb = zipped.stat().st_size / 1e6
            print(f"{zipped}  {size_in_mb:.0f} MB: unpack it in the study's folder, and no notebook trains")
        else:
            print(f"no finished run stands in {run}, so none is zipped: ./run_all.sh quick makes it, in minutes")
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
