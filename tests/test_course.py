"""The course: every listed answer through its check, every exercise in a notebook, the copies, and what moves."""

import re
import zipfile

import nbformat
import numpy as np
import pytest
from nbformat import v4

from tsgen import course, figures
from tsgen.figures import moving
from tsgen.running import environment
from tsgen.study import Study

ROWS = course.EXERCISES
NOTEBOOKS = {path.name[:2]: nbformat.read(path, as_version=4) for path in environment.choose()}
NAMES = list(ROWS["exercise"].unique())
FORM = [("markdown", "exercise"), ("code", course.SOLUTION), ("code", course.CHECK)]


def tagged(cell, tag):
    return tag in cell.metadata.get("tags", ())


def exercises(notebook):
    """{exercise: its three cells} of a notebook, found by their checks."""
    cells = notebook.cells
    places = [i for i, cell in enumerate(cells) if tagged(cell, course.CHECK)]
    return {re.match(r'check\("(\w+)"', cells[i].source)[1]: cells[i - 2 : i + 1] for i in places}


def rows_of(name):
    return ROWS[ROWS["exercise"] == name]


# ---- answers ----


@pytest.mark.parametrize("name", NAMES)
def test_right_answers_pass_and_each_wrong_one_is_told_its_mistake(name, capsys):
    rows = rows_of(name)
    assert (rows["low"] <= rows["high"]).all() and (rows["says"].str.len() > 10).all()
    right, wrong = rows.iloc[0], rows.iloc[1:]
    for answer in (right["low"], (right["low"] + right["high"]) / 2, right["high"]):
        course.check(name, answer)
        assert right["says"] in capsys.readouterr().out
    for row in wrong.to_dict("records"):
        assert row["high"] < right["low"] or row["low"] > right["high"], "a wrong range that a right answer is in"
        with pytest.raises(AssertionError, match=re.escape(row["says"])):
            course.check(name, (row["low"] + row["high"]) / 2)
    with pytest.raises(AssertionError, match=r"not (right|between)"):
        course.check(name, float("nan"))


def test_an_answer_that_is_none_is_no_error_and_one_that_is_no_number_is(tmp_path, capsys):
    name = NAMES[0]
    for answer, said in ((..., "no answer yet"), (None, "not checked here: these records")):
        course.check(name, answer)
        assert said in capsys.readouterr().out
    course.check(name, 1e9, Study("smoke", folder=tmp_path))
    assert capsys.readouterr().out == "not checked here: the target is that of the simulated default at quick\n"
    for answer in ("half", [1, 2], np.zeros(3)):
        with pytest.raises(AssertionError, match="one number"):
            course.check(name, answer)
    with pytest.raises(AssertionError, match="not between"):
        course.check(name, 1e9, Study("quick", folder=tmp_path))
    with pytest.raises(ValueError, match=f"no exercise '99z': there are {name}"):
        course.check("99z", 1.0)


# ---- exercises in notebooks ----


def test_every_listed_exercise_stands_in_a_notebook_and_every_one_there_is_listed():
    there = [name for notebook in NOTEBOOKS.values() for name in exercises(notebook)]
    assert sorted(there) == sorted(NAMES)


@pytest.mark.parametrize("number", list(NOTEBOOKS))
def test_an_exercise_is_a_question_a_collapsed_solution_and_its_check(number):
    notebook = NOTEBOOKS[number]
    found = exercises(notebook)
    assert len(found) >= 2, "at least two a notebook"
    for tag in {tag for _, tag in FORM}:
        assert sum(tagged(cell, tag) for cell in notebook.cells) == len(found)
    for name, cells in found.items():
        assert [(cell.cell_type, tag) for cell, (_, tag) in zip(cells, FORM, strict=True) if tagged(cell, tag)] == FORM
        question, solution, check = cells
        assert name[:2] == number
        assert question.source.startswith(f"**Exercise {int(number)}{name[2:]} · ")
        assert check.source in (f'check("{name}", answer)', f'check("{name}", answer, study)')
        assert solution.metadata.get("jupyter", {}).get("source_hidden") is True
        assert re.search(r"^ *answer = ", solution.source, re.MULTILINE)
        assert 1 <= len(solution.source.splitlines()) <= 12


@pytest.mark.parametrize("number", list(NOTEBOOKS))
def test_every_committed_solution_is_right(number):
    for name, (*_, check) in exercises(NOTEBOOKS[number]).items():
        said = "".join(output.get("text", "") for output in check.outputs)
        assert rows_of(name)["says"].iloc[0] in said


def test_the_lecturer_s_page_lists_every_exercise():
    page = (environment.ROOT / "COURSE.md").read_text()
    for notebook in NOTEBOOKS.values():
        for question, *_ in exercises(notebook).values():
            number, title = re.match(r"\*\*Exercise (\w+) · (.+?)\.?\*\*", question.source).groups()
            assert f"{number} {title}" in page


# ---- copies ----


def answered():
    """A notebook with one exercise, as it is committed: executed, its solution collapsed."""
    hidden = {"tags": [course.SOLUTION], "jupyter": {"source_hidden": True}}
    output = [v4.new_output("stream", text="12\n")]
    of = {"outputs": output, "execution_count": 1}
    cells = [v4.new_code_cell("from tsgen.course import check\nprint(12)", **of)]
    cells.append(v4.new_markdown_cell("**Exercise 7a · one.**", metadata={"tags": ["exercise"]}))
    cells.append(v4.new_code_cell("secret = -0.55\nanswer = secret\nprint(12)", metadata=hidden, **of))
    cells.append(v4.new_code_cell('check("07a", answer)', metadata={"tags": [course.CHECK]}, **of))
    return v4.new_notebook(cells=cells)


def test_a_student_s_copy_asks_and_runs_and_a_teacher_s_shows(capsys):
    whole = answered()
    student, teacher = (course.copied(whole, kind) for kind in ("student", "teacher"))
    assert "secret" not in nbformat.writes(student)
    assert [len(cell.outputs) for cell in student.cells if cell.cell_type == "code"] == [1, 0, 0]
    assert teacher.cells[2].source == whole.cells[2].source
    assert not [cell for made in (student, teacher) for cell in made.cells if "jupyter" in cell.metadata]
    assert whole.cells[2].metadata["jupyter"] == {"source_hidden": True}, "the original stays"
    executed(student)
    assert capsys.readouterr().out == "12\n07a: no answer yet\n"
    student.cells[2].source = "answer = -0.55"
    for made in (student, teacher):
        executed(made)
        assert "is right" in capsys.readouterr().out


def executed(notebook):
    exec("\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code"), {})


@pytest.fixture
def run(tmp_path):
    """Folder of a run that has ended."""
    folder = tmp_path / "runs" / "quick"
    for name in ("records/waveforms.hdf5", "model-cgm/last.pt", "generated-cgm/waveforms.hdf5", "index.html"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


@pytest.mark.parametrize("kind", ["student", "teacher"])
def test_the_command_writes_copies_and_what_spares_the_training(kind, run, tmp_path, capsys):
    into = tmp_path / "made" / kind
    assert course.main([kind, str(into), "--run", str(run)]) == 0
    assert sorted(path.name for path in into.glob("*.ipynb")) == [path.name for path in environment.choose()]
    for path in environment.choose():
        written, original = (nbformat.read(file, as_version=4) for file in (into / path.name, path))
        kept = [cell.source for cell in original.cells if kind == "teacher" or not tagged(cell, course.SOLUTION)]
        assert [cell.source for cell in written.cells if cell.source != course.ASKED] == kept
    with zipfile.ZipFile(into / "run-quick.zip") as archive:
        names = {"runs/quick/records/waveforms.hdf5", "runs/quick/model-cgm/last.pt"}
        assert set(archive.namelist()) == names
    assert "MB: unpack it" in capsys.readouterr().out.splitlines()[-1]


def test_what_cannot_be_copied_is_refused_in_one_sentence(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TSGEN_RUNS", str(tmp_path / "none"))
    (tmp_path / "file").touch()
    new = str(tmp_path / "new")
    for words in (["student", str(tmp_path / "file")], ["student", str(run)], ["teacher", new, "--run", str(tmp_path)]):
        assert course.main(words) == 2
        said = capsys.readouterr()
        assert (said.out, said.err.count("\n")) == ("", 1)
    with pytest.raises(SystemExit, match="2"):
        course.main(["pupil", new])
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "new").exists()
    assert course.main(["teacher", new]) == 0
    assert "no finished run stands" in capsys.readouterr().out.splitlines()[-1]
    assert not list((tmp_path / "new").glob("*.zip"))


# ---- what moves ----


def test_a_figure_has_sliders_for_a_reader_and_is_a_picture_in_a_run(study, monkeypatch, capsys):
    monkeypatch.setattr(moving, "_in_kernel", lambda: True)
    monkeypatch.setenv("TSGEN_STATIC", "1")
    assert figures.show(study, "fold_period").format == "png"
    monkeypatch.delenv("TSGEN_STATIC")
    assert figures.show(study, "fold_period") is None
    assert "SelectionSlider(" in capsys.readouterr().out
