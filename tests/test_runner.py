"""Running notebooks, the page of a run, and publishing: against small notebooks with known faults."""

import json
import re
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat import v4

from tsgen import config, page, publish, report, runner

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
    assert interpreter == runner.sys.executable


def test_a_notebook_without_a_parameter_is_refused_by_name(tmp_path):
    path = notebook(tmp_path, "02-two", parameters='PROFILE = "quick"\nRECORDS = ""\nSTATIONS = ""')
    with pytest.raises(ValueError, match=r"02-two\.ipynb.*SEED"):
        runner.changed_parameters(path, OWN)


def test_a_run_stops_at_the_first_failure_and_leaves_no_page(tmp_path, capsys):
    folder = tmp_path / "notebooks"
    paths = [notebook(folder, "01-one", "1 / 0"), notebook(folder, "02-two", "print('never')")]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "index.html").write_text("of an earlier run")
    with pytest.raises(runner.NotebookFailed, match=r"(?s)01-one.*ZeroDivisionError"):
        runner.run(paths, tmp_path / "run", OWN)
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == {}
    assert not (tmp_path / "run" / "index.html").exists()
    assert not (tmp_path / "run" / "notebooks" / "02-two.ipynb").exists()


def test_only_chooses_by_number(tmp_path):
    for name in ("01-one", "02-two", "05-five"):
        notebook(tmp_path, name)
    assert [path.stem for path in runner.choose("5,01", tmp_path)] == ["01-one", "05-five"]
    assert len(runner.choose(None, tmp_path)) == 3
    with pytest.raises(ValueError, match=r"07.*05-five"):
        runner.choose("07", tmp_path)


# ---- publishing ----


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
    (run / "index.html").unlink()
    with pytest.raises(publish.NotPublishable, match="no complete quick run"):
        publish.publish(run, project)


# ---- the page ----


def test_results_become_rows_with_intervals():
    found = {
        "timesnet": {
            "score_2s": 0.9,
            "held_out": {
                "value": 0.81234,
                "low": 0.7,
                "high": 0.9,
                "ceiling": {"value": 0.95, "low": 0.9, "high": 1.0},
            },
        },
        "many": list(range(100)),
        "missing": None,
    }
    rows = dict(report.rows_of(found))
    assert rows["timesnet", "score_2s"] == {"value": 0.9}
    assert report.text_of(rows["timesnet", "held_out"]["value"]) == "0.812 (0.700 to 0.900)"
    assert report.text_of(rows["timesnet", "held_out"]["ceiling"]) == "0.950 (0.900 to 1.000)"
    assert report.text_of(rows[("many",)]["value"]) == "100 values"
    assert report.text_of(rows[("missing",)]["value"]) == "–"
    assert "<script>" not in report.results_table({"a": {"b": "<script>"}})


def test_formulas_are_drawn_and_what_cannot_be_drawn_stays_readable():
    assert "data:image/svg+xml" in page.formula(r"\frac{a}{b}")
    assert page.formula(r"\nosuchcommand{a}") == r"<code>\nosuchcommand{a}</code>"


class Background:
    table = pd.DataFrame({"kind": ["simulated"]})

    def __len__(self):
        return 1


def a_study(folder, kind):
    table = pd.DataFrame({"kind": [kind] * 4})
    return SimpleNamespace(
        folder=folder,
        figures_folder=folder / "figures",
        settings=config.profile("smoke"),
        kind=kind,
        seed=7,
        stations=["SIM.01"],
        records_folder=folder / "secret" / "my records",
        targets=table,
        background=Background(),
        not_used=pd.DataFrame({"file": ["a<b>.mseed"], "reason": ["damaged"]}),
        results={"scores": {"timesnet": {"value": np.pi}}, "run": {}},
    )


@pytest.mark.parametrize("kind", ["recorded", "simulated"])
def test_the_page_shows_the_run_and_needs_nothing_from_the_network(tmp_path, kind):
    path = notebook(tmp_path / "notebooks", "01-one")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "record.png").write_bytes(b"\x89PNG")
    (tmp_path / "run.json").write_text(json.dumps({path.stem: {"seconds": 12.3, "code": ""}}))
    study = a_study(tmp_path, kind)
    text = report.write(study, {"record": "One record & its <arrivals>."}).read_text()
    for part in (
        "3.142",
        "12.3 s",
        "notebooks/01-one.html",
        "One record &amp; its &lt;arrivals&gt;.",
        f"<b>{kind}</b>",
    ):
        assert part in text
    assert "secret" not in text  # a folder's name, not where it lies
    for html in (text, (tmp_path / "notebooks" / "01-one.html").read_text()):
        assert not re.findall(
            r'(?:src|href)="(?!data:|notebooks/|figures/|results\.json|\.\./index\.html|#)[^"]*', html
        )
        assert "<script" not in html
        assert "@import" not in html
