"""The committed notebooks: executed, clean, and checked by something that can fail.

Strict nbval over notebooks/ is a step of its own in ``./run_all.sh test``. The tests marked teeth follow it on the
run folder that it has filled ($TSGEN_RUNS): they plant faults in copies and require that nbval finds each of them.
"""

import ast
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import nbformat
import pytest

from tsgen import command, publish, runner
from tsgen.study import Study

NOTEBOOKS = runner.choose(None)
UNCHECKED = {"nbval-ignore-output", "nbval-skip", "raises-exception", "nbval-raises-exception"}
MOST_CODE_LINES = 140
LARGEST_IN_KB = 600

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook):
    """The code cells in order; nbval's "Cell n" is the n-th of them, from 0."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def is_checked(cell):
    return not UNCHECKED & set(cell.metadata.get("tags", ()))


def test_there_are_notebooks():
    assert [path.name[:2] for path in NOTEBOOKS[:3]] == ["01", "02", "03"]


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
    assert sum(len(cell.source.splitlines()) for cell in code_cells(notebook)) <= MOST_CODE_LINES
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


def change_digit(cell):
    """Change the last digit of the cell's first output that has one; False where there is none to change."""
    for output in cell.outputs:
        texts = output if "text" in output else output.get("data", {})
        for name, text in texts.items():
            if (name == "text" or name.startswith("text/")) and (digits := list(re.finditer(r"\d", text))):
                place = digits[-1].start()
                texts[name] = text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]
                return True
    return False


class Tighten(ast.NodeTransformer):
    """Shrinks the bounds of every ``….expect(name, value, low, high)`` to one point inside them."""

    found = False

    def visit_Call(self, call):
        self.generic_visit(call)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "expect":
            self.found = True
            bounds = call.args[2:] + [keyword.value for keyword in call.keywords]
            low, high = (f"({ast.unparse(bound)})" for bound in bounds)
            point = ast.parse(f"{low} + 0.0123456789 * ({high} - {low})", mode="eval").body
            call.args, call.keywords = [*call.args[:2], point, point], []
        return call


def tighten(cell):
    """Tighten the expectations of the cell; False where there is none."""
    transformer = Tighten()
    tree = transformer.visit(ast.parse(cell.source))
    if transformer.found:
        cell.source = ast.unparse(ast.fix_missing_locations(tree))
    return transformer.found


def failed_cells(path):
    """(numbers of the cells that fail under strict nbval, what pytest said)."""
    outcome = path.with_suffix(".xml")
    arguments = ["--rootdir", path.parent, "-p", "no:cacheprovider", "--junitxml", outcome, path]
    call = [sys.executable, "-m", "pytest", *command.NBVAL, *arguments]
    environ = os.environ | {"PYTHONPATH": str(command.ROOT)}  # the copies lie elsewhere and import this tsgen
    run = subprocess.run(call, env=environ, capture_output=True, text=True)
    assert run.returncode in (0, 1), run.stdout
    cases = ElementTree.parse(outcome).iter("testcase")
    return {int(case.get("name").removeprefix("Cell ")) for case in cases if len(case)}, run.stdout


@pytest.mark.teeth
@each_notebook
def test_exactly_the_cells_with_a_planted_fault_fail(path, tmp_path):
    """One digit changed in checked outputs, never in two neighbours; every expectation tightened; the rest passes."""
    notebook = nbformat.read(path, as_version=4)
    cells = code_cells(notebook)
    expecting = {number for number, cell in enumerate(cells) if tighten(cell)}
    changed = set()
    for number, cell in enumerate(cells):
        if is_checked(cell) and number not in expecting and number - 1 not in changed and change_digit(cell):
            changed.add(number)
    assert changed, f"{path.name} has no checked output with a number in it"
    nbformat.write(notebook, tmp_path / path.name)
    failed, said = failed_cells(tmp_path / path.name)
    assert failed == changed | expecting, said


def test_an_expectation_has_teeth_on_the_committed_run_alone(tmp_path, capsys):
    committed = Study("quick", folder=tmp_path)
    committed.expect("a score", 0.9, 0.8, 1.0)
    for outside in (0.79, 1.01, float("nan")):
        with pytest.raises(AssertionError, match="a score"):
            committed.expect("a score", outside, 0.8, 1.0)
    Study("smoke", folder=tmp_path).expect("a score", 0.1, 0.8, 1.0)
    assert "not checked" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
