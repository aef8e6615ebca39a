"""The committed notebooks: executed, clean, and checked by something that can fail.

Strict nbval over notebooks/ is a step of its own in ``./run_all.sh test``, with teeth.py as a plugin: it plants faults
in what every cell is compared with. Here a small notebook shows that nbval and the plugin find each kind of fault.
"""

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import nbformat
import publish
import pytest
import teeth
from conftest import ROOT
from nbformat import v4

from tsgen import course
from tsgen.running import command, environment, runner
from tsgen.study import Study

NOTEBOOKS = environment.choose()
UNCHECKED = {"nbval-ignore-output", "nbval-skip", "raises-exception", "nbval-raises-exception"}
OF_EXERCISES = {course.SOLUTION, course.CHECK}  # tags of cells that are no part of a notebook's own code
MOST_CODE_LINES, MOST_CELL_LINES = 140, 25
LARGEST_IN_KB = 600

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook):
    """The code cells in order; nbval's "Cell n" is the n-th of them, from 0."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def is_checked(cell):
    return not UNCHECKED & set(cell.metadata.get("tags", ()))


def test_there_are_notebooks():
    assert [path.name[:2] for path in NOTEBOOKS[:3]] == ["00", "01", "02"]


@each_notebook
def test_it_is_committed_as_executed_from_top_to_bottom(path):
    cells = code_cells(nbformat.read(path, as_version=4))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]


@each_notebook
def test_it_has_the_parameters_and_their_defaults(path):
    notebook = nbformat.read(path, as_version=4)
    assert [cell for cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", ())] == [
        code_cells(notebook)[0]
    ]
    defaults = dict(zip(runner.PARAMETERS, ("quick", "", "", 0), strict=True))
    assert runner.changed_parameters(path, defaults) == {}


@each_notebook
def test_it_is_short_light_and_of_no_machine(path):
    notebook = nbformat.read(path, as_version=4)
    own = [cell for cell in code_cells(notebook) if not OF_EXERCISES & set(cell.metadata.get("tags", ()))]
    lines = [len(cell.source.splitlines()) for cell in own]
    assert sum(lines) <= MOST_CODE_LINES and max(lines) <= MOST_CELL_LINES
    assert path.stat().st_size < 1000 * LARGEST_IN_KB
    publish.check_paths(path.read_text(), path.name)
    assert "papermill" not in notebook.metadata
    assert not [cell for cell in notebook.cells if {"papermill", "execution"} & cell.metadata.keys()]


@each_notebook
def test_every_cell_that_nbval_ignores_and_that_trains_is_bounded(path):
    """A result cell is compared as text, or ends in a check: it may not be ignored and unchecked."""
    for cell in code_cells(nbformat.read(path, as_version=4)):
        if "result" in cell.metadata.get("tags", ()) and not is_checked(cell):
            assert ".expect(" in cell.source or "assert " in cell.source, cell.source


# ---- teeth ----

EXPECT = "from tsgen.study import Study\nstudy = Study('quick', folder='empty')\nstudy.expect('a score', 0.9, {}, 1.0)"
ignored = {"tags": ["nbval-ignore-output"]}
CELLS = {  # name: (source, what it is committed with, tags)
    "sound": ("print('12 records')", "12 records\n", {}),
    "changed": ("print('12 records')", "13 records\n", {}),
    "ignored": ("print('12 records')", "13 records\n", ignored),
    "raises": ("1 / 0", "1\n", ignored),
    "expected": (EXPECT.format(0.8), "", ignored),
    "outside": (EXPECT.format(0.95), "", ignored),
    "never reached": ("if False:\n    study.expect('a score', 0.9, 0.8, 1.0)", "", ignored),
}


def test_nbval_finds_exactly_the_cells_with_a_fault(tmp_path):
    cells = []
    for source, text, metadata in CELLS.values():
        outputs = [v4.new_output("stream", text=text)] if text else []
        cells.append(v4.new_code_cell(source, outputs=outputs, metadata=metadata, execution_count=len(cells) + 1))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), tmp_path / "small.ipynb")
    outcome = tmp_path / "small.xml"
    call = [sys.executable, "-m", "pytest", *command.NBVAL, "-p", "no:cacheprovider", f"--junitxml={outcome}"]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}
    run = subprocess.run([*call, "--rootdir", tmp_path, tmp_path], env=environ, capture_output=True, text=True)
    cases = list(ElementTree.parse(outcome).iter("testcase"))
    failed = {int(case.get("name").removeprefix("Cell ")) for case in cases if len(case)}
    assert {[*CELLS][number] for number in failed} == {"changed", "raises", "outside", "never reached"}, run.stdout
    assert len(cases) == len(CELLS)


@each_notebook
def test_there_are_numbers_that_a_fault_can_be_planted_in(path):
    checked = [cell for cell in code_cells(nbformat.read(path, as_version=4)) if is_checked(cell)]
    assert any(True for cell in checked for _ in teeth.faults(cell.outputs))


def test_an_expectation_has_teeth_on_the_committed_run_alone(tmp_path, capsys):
    committed = Study("quick", folder=tmp_path)
    committed.expect("a score", 0.9, 0.8, 1.0)
    for outside in (0.79, 1.01, float("nan")):
        with pytest.raises(AssertionError, match="a score"):
            committed.expect("a score", outside, 0.8, 1.0)
    Study("smoke", folder=tmp_path).expect("a score", 0.1, 0.8, 1.0)
    assert "not checked" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
