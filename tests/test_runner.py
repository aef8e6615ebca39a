"""Running notebooks and models side by side, and publishing: against small notebooks with known faults."""

import json
import os
import subprocess
import sys
import time

import nbformat
import pandas as pd
import publish
import pytest
from conftest import ROOT
from nbformat import v4
from test_records import made

from tsgen import store
from tsgen.running import environment, report, runner

OWN = {"PROFILE": "quick", "RECORDS": "", "STATIONS": "", "SEED": 0}
PARAMETERS_CELL = 'PROFILE = "quick"\nRECORDS = ""  # a folder\nSTATIONS = ""\nSEED = 0'


def notebook(folder, name, *sources, parameters=PARAMETERS_CELL):
    cells = [v4.new_markdown_cell(f"# {name} · A title\n\n$x_0$")]
    cells += [v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    cells += [v4.new_code_cell(source) for source in sources]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.ipynb"
    nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def printed(path):
    cells = nbformat.read(path, as_version=4).cells
    return "".join(out.text for cell in cells for out in cell.get("outputs", ()) if out.output_type == "stream")


def test_parameters_arrive_and_the_default_run_has_no_injected_cell(tmp_path):
    source = "import sys\nprint(sys.executable, PROFILE, RECORDS, SEED)"
    path = notebook(tmp_path / "notebooks", "01-one", source)
    runner.run([path], tmp_path / "default", OWN)
    executed = nbformat.read(tmp_path / "default" / "notebooks" / path.name, as_version=4)
    assert publish.sources(executed) == publish.sources(nbformat.read(path, as_version=4))
    assert [cell.execution_count for cell in executed.cells[1:]] == [1, 2]

    runner.run([path], tmp_path / "other", OWN | {"PROFILE": "smoke", "RECORDS": "/a folder", "SEED": 3})
    interpreter, rest = printed(tmp_path / "other" / "notebooks" / path.name).split(" ", 1)
    assert rest == "smoke /a folder 3\n"
    assert interpreter == sys.executable


def test_a_notebook_without_a_parameter_is_refused_by_name(tmp_path):
    path = notebook(tmp_path, "02-two", parameters='PROFILE = "quick"\nRECORDS = ""\nSTATIONS = ""')
    with pytest.raises(ValueError, match=r"02-two\.ipynb.*SEED"):
        runner.changed_parameters(path, OWN)


def test_a_failing_notebook_is_named_with_its_end_and_the_run_goes_on(tmp_path, capfd):
    folder = tmp_path / "notebooks"
    sources = {"01-one": "1 / 0", "02-two": "print('reached')", "03-three": "import os\nos._exit(9)"}
    paths = [notebook(folder, name, source) for name, source in sources.items()]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "index.html").write_text("of an earlier run")
    (tmp_path / "run" / "run.json").write_text('{"09-nine": {"seconds": 1.0, "code": ""}}')
    done = runner.run(paths, tmp_path / "run", OWN)
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == done
    assert sorted(done) == ["01-one", "02-two", "03-three", "09-nine"]
    assert done["01-one"]["error"].startswith("cell [2]\n")
    assert "ZeroDivisionError: division by zero" in done["01-one"]["error"]
    assert "DeadKernelError" in done["03-three"]["error"]
    assert len(done["01-one"]["error"].splitlines()) <= 1 + runner.LINES_OF_A_TRACEBACK
    assert done["02-two"]["code"] == runner.code_key()
    assert printed(tmp_path / "run" / "notebooks" / "02-two.ipynb") == "reached\n"
    assert not (tmp_path / "run" / "index.html").exists()
    said = capfd.readouterr()
    assert "ZeroDivisionError" in said.out
    assert "IPKernelApp" not in said.out + said.err


def test_only_chooses_by_number(tmp_path):
    for name in ("01-one", "02-two", "05-five"):
        notebook(tmp_path, name)
    assert [path.stem for path in environment.choose("5,01", tmp_path)] == ["01-one", "05-five"]
    assert len(environment.choose(None, tmp_path)) == 3
    with pytest.raises(ValueError, match=r"07.*05-five"):
        environment.choose("07", tmp_path)


def meet(name, folder):
    """Wait for the others in ``folder``: only tasks at work at the same time get through."""
    (folder / name).touch()
    while not {"a", "b"} <= {path.name for path in folder.iterdir()}:
        time.sleep(0.01)
    if name == "b":
        raise ValueError("too few\nrecords")
    return ""


def lost(name):
    os._exit(3)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: nothing is side by side")
def test_tasks_are_at_work_side_by_side_and_one_failure_is_one_sentence(tmp_path):
    ended = {name: text for name, _, text in runner.side_by_side(meet, ["a", "b"], tmp_path)}
    assert ended == {"a": "", "b": "too few records"}
    assert "process ended" in next(runner.side_by_side(lost, ["a"]))[2]


def test_models_are_trained_into_the_run_s_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TSGEN_RUNS", str(tmp_path))
    monkeypatch.delenv("TSGEN_UNIT", raising=False)
    study = runner.open_study("smoke")
    assert runner.run([], study.folder, OWN | {"PROFILE": "smoke"}, ["timesnet", "cvae", "no_such"]) == {}
    said = capsys.readouterr().out
    assert {"model-timesnet", "model-cvae"} <= {folder.name for folder in store.standing(study.folder)}
    assert "no_such" in said
    assert "unknown" in said
    # alone in the folder: another process is told so, in one sentence
    call = [sys.executable, "-c", "from tsgen.running import runner; runner.open_study('smoke', fresh=True)"]
    other = subprocess.run(call, cwd=ROOT, capture_output=True, text=True)
    assert other.returncode == 1
    assert len(other.stderr.splitlines()) == 1
    assert "another run is at work" in other.stderr
    assert store.standing(study.folder)


def test_fresh_empties_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TSGEN_RUNS", str(tmp_path))
    (tmp_path / "smoke" / "model-timesnet").mkdir(parents=True)
    (tmp_path / "smoke" / "results.json").write_text("{}")
    runner.open_study("smoke", fresh=True)
    assert [path.name for path in sorted((tmp_path / "smoke").iterdir())] == [".locks", ".running", "records"]


def test_an_unknown_unit_ends_with_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TSGEN_RUNS", str(tmp_path))
    with pytest.raises(SystemExit, match=r"furlong.*cm/s"):
        runner.open_study("smoke", unit="furlong")
    assert not list(tmp_path.iterdir())


# ---- publishing ----


def test_a_folder_with_nothing_to_use_ends_with_its_reasons_and_a_report(tmp_path, monkeypatch):
    monkeypatch.setenv("TSGEN_RUNS", str(tmp_path / "runs"))
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("a.smc", "b.smc", "c.sac"):
        (folder / name).write_text("x")
    with pytest.raises(SystemExit, match=r"a\.smc and 1 more: unsupported .*c\.sac: unsupported .*refused\.csv") as end:
        runner.open_study("smoke", str(folder))
    assert "\n" not in str(end.value)
    rows = pd.read_csv(str(end.value).rpartition(": ")[2])
    assert list(rows["file"]) == ["a.smc", "b.smc", "c.sac"] and set(rows["outcome"]) == {"refused"}
    poor = made(n=4, t=1024, stations=1)
    poor.with_columns(quality="weak: peak 0.2 cm/s²").save(tmp_path / "poor")
    with pytest.raises(SystemExit, match=r"all 4 records are poor; the first: weak.*refused\.csv"):
        runner.open_study("smoke", str(tmp_path / "poor"))


def test_a_notebook_that_lacks_something_is_left_out_and_the_page_says_why(tmp_path):
    (tmp_path / "run").mkdir()
    lacks = "from tsgen.needs import Lacking\nraise Lacking('left out here, for lack of two target stations')"
    paths = [
        notebook(tmp_path / "a", "01-a", lacks, "1 / 0"),
        notebook(tmp_path / "a", "02-b", "print('left out here, for lack of more')"),
    ]
    done = runner.run(paths, tmp_path / "run", OWN)
    assert done["01-a"]["left out"] == {"two target stations": "all"} and "error" not in done["01-a"]
    assert done["02-b"]["left out"] == {"more": "parts"}
    executed = nbformat.read(tmp_path / "run" / "notebooks" / "01-a.ipynb", as_version=4)
    assert "exception" not in "".join(cell.source for cell in executed.cells).lower()
    page = report.write(tmp_path / "run").read_text()
    assert "for lack of two target stations: all of 01-a" in page and 'class="failed"' not in page


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A project with one notebook, and its complete run."""
    monkeypatch.setattr(runner, "code_key", lambda: "as now")
    monkeypatch.setattr(publish, "code_key", lambda: "as now")
    project, run = tmp_path / "project", tmp_path / "runs" / "quick"
    path = notebook(project / "notebooks", "01-one", "print(2)")
    executed = nbformat.read(path, as_version=4)
    executed.metadata["papermill"] = {"duration": 1.0}
    for count, cell in enumerate(executed.cells[1:], 1):
        cell.execution_count = count
        cell.metadata["papermill"] = {"duration": 0.1}
        cell.metadata["execution"] = {"shell.execute_reply": "now"}
    executed.cells[2].outputs = [v4.new_output("stream", text="2\n")]
    executed.cells[2].metadata["tags"] = []
    (run / "notebooks").mkdir(parents=True)
    (run / "figures").mkdir()
    nbformat.write(executed, run / "notebooks" / path.name)
    (run / "figures" / "new.png").write_bytes(b"png")
    (run / "index.html").write_text("page")
    (run / "results.json").write_text('{"score": 0.9}\n')
    (run / "run.json").write_text(json.dumps({"01-one": {"seconds": 1, "code": "as now"}}))
    (project / "figures").mkdir()
    (project / "figures" / "old.png").write_bytes(b"stale")
    return project, run


def change(run, edit):
    path = run / "notebooks" / "01-one.ipynb"
    executed = nbformat.read(path, as_version=4)
    edit(executed)
    nbformat.write(executed, path)


def test_publish_copies_the_run_without_its_timings(finished):
    project, run = finished
    publish.publish(run, project)
    text = (project / "notebooks" / "01-one.ipynb").read_text()
    assert "papermill" not in text
    assert "shell.execute_reply" not in text
    committed = nbformat.reads(text, as_version=4)
    assert committed.cells[2].outputs[0].text == "2\n"
    assert committed.cells[1].metadata == {"tags": ["parameters"]}
    assert committed.cells[2].metadata == {}
    assert [path.name for path in (project / "figures").iterdir()] == ["new.png"]
    assert json.loads((project / "results" / "quick.json").read_text()) == {"score": 0.9}
    publish.publish(run, project)  # publishing makes no run stale


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda nb: nb.cells[2].update(source="print(3)"), "has changed"),
        (lambda nb: nb.cells.insert(2, v4.new_code_cell("SEED = 1", execution_count=2)), "has changed"),
        (lambda nb: nb.cells[2].update(execution_count=7), "execution counts"),
        (lambda nb: nb.cells[2].outputs[0].update(name="stderr"), "stderr"),
        (lambda nb: nb.cells[2].outputs[0].update(text=f"{publish.Path.home()}/records"), "folder of this machine"),
    ],
)
def test_publish_refuses_what_does_not_fit(finished, edit, reason):
    project, run = finished
    change(run, edit)
    before = (project / "notebooks" / "01-one.ipynb").read_text()
    with pytest.raises(publish.NotPublishable, match=reason):
        publish.publish(run, project)
    assert (project / "notebooks" / "01-one.ipynb").read_text() == before
    assert (project / "figures" / "old.png").exists()


def test_publish_refuses_an_incomplete_and_an_older_run(finished, monkeypatch):
    project, run = finished
    monkeypatch.setattr(publish, "code_key", lambda: "changed since")
    with pytest.raises(publish.NotPublishable, match=r"since the package changed.*run_all\.sh quick"):
        publish.publish(run, project)
    (run / "run.json").write_text(json.dumps({"01-one": {"seconds": 1, "error": "ZeroDivisionError"}}))
    with pytest.raises(publish.NotPublishable, match="01-one failed"):
        publish.publish(run, project)
    (run / "index.html").unlink()
    with pytest.raises(publish.NotPublishable, match="no complete quick run"):
        publish.publish(run, project)
