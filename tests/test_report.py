"""The page of a run, from folders made by hand: whole ones, and ones with any part missing."""

import json
import math
import re

import nbformat
import publish
import pytest
from conftest import ROOT
from nbformat import v4

from tsgen import findings
from tsgen.running import front, report

FINDINGS = [
    {"subject": "timesnet", "against": "held_out", "measure": "score", "statistic": "S × S", "protocol": "held_out"}
    | {"value": 0.898, "low": 0.85, "high": 0.93, "n": 250, "n_against": 90},
    {"subject": "cvae", "against": "held_out", "measure": "score", "statistic": "S × S", "protocol": "held_out"}
    | {"value": 0.8, "low": None, "high": math.nan, "n": 250, "n_against": 90},
    {"subject": "timesnet", "against": "fresh", "measure": "pga", "statistic": "median"}
    | {"value": -0.861, "low": -0.9, "high": -0.83, "n": 250, "n_against": 1500},
    {"subject": "timesnet", "against": "fresh", "measure": "psa", "statistic": "spread", "period_in_s": 0.05}
    | {"value": -0.2, "low": -0.3, "high": -0.1, "n": 250, "n_against": 1500},
    {"subject": "cgm", "against": "fresh", "measure": "psa", "statistic": "spread", "period_in_s": 0.05}
    | {"protocol": "scenario", "value": 0.11, "low": 0.05, "high": 0.2, "n": 250, "n_against": 1500},
    {"subject": "training", "against": "", "measure": "f0", "statistic": "median", "station": "SIM.01"}
    | {"value": 2.48, "low": 2.4, "high": 2.6, "n": 42, "n_against": 0},
    {"subject": "<script>", "against": "held_out", "measure": "r2", "value": None},
    {"subject": None, "against": None, "measure": None, "statistic": None, "value": math.nan},
]
RUN = {"profile": "smoke", "kind": "recorded", "seed": 7, "stations": ["SIM.01"], "records": {"in use": 348}}


def tables(rows):
    return {title: html for title, _, html in report.sections(rows)}


def test_findings_become_a_section_for_each_kind_and_none_is_lost():
    found = tables(FINDINGS)
    assert list(found) == ["Scores", "Bias and spread", "Memorisation", "Scenario", "Records and levels"]
    assert "0.90 (0.85 to 0.93)" in found["Scores"]
    assert ">0.80<" in found["Scores"]  # no interval
    assert "TimesNet-Gen" in found["Scores"]
    assert "−0.86 (−0.90 to −0.83)" in found["Bias and spread"]
    assert "0.05" in found["Bias and spread"]  # the period
    assert "CGM-GM" in found["Scenario"]
    assert "–" in found["Memorisation"]
    assert "&lt;script&gt;" in found["Memorisation"]
    assert "2.48" in found["Records and levels"]


def test_a_pivot_has_subjects_as_rows_and_measures_as_columns():
    rows = [
        {"subject": name, "against": "fresh", "measure": measure, "statistic": "median", "value": 0.5, "station": None}
        for name in ("timesnet", "cvae")
        for measure in ("pga", "d5_95")
    ]
    table = report.pivot(rows)
    assert list(table.columns) == ["", "pga, median", "d5 95, median"]  # what all rows share is no column
    assert list(table[""]) == ["TimesNet-Gen", "VAE"]


@pytest.mark.parametrize("drop", [(), ("value",), ("subject",), ("measure",), ("value", "low", "high", "against")])
def test_any_value_may_be_missing(drop):
    for row in FINDINGS:
        less = {name: value for name, value in row.items() if name not in drop}
        assert report.sections([less]) and report.sections([less, row])


def test_formulas_are_drawn_and_what_cannot_be_drawn_stays_readable():
    assert "data:image/svg+xml" in report.formula(r"\frac{a}{b}")
    assert report.formula(r"\nosuchcommand{a}") == r'<code class="tex">\nosuchcommand{a}</code>'


def test_the_front_page_has_the_readme_s_table_and_sentences_that_its_findings_fill():
    stored = json.loads((ROOT / "results" / "quick.json").read_text())
    rows = findings.table(stored["findings"])
    table = front.table(rows)
    lines = ["| " + " | ".join(line) + " |" for line in table.to_numpy()]
    shown = publish.distance_table(rows).splitlines()[2:]
    assert set(shown) <= set(lines) and len(shown) > 5
    said = front.abstract(rows, stored["run"])
    assert len(said) == 2 + len(front.SENTENCES)
    (bias,) = (text for text in said if "ln PGA" in text)
    own = findings.one(rows, subject="timesnet", against="fresh", protocol="", **front.OFF)
    assert f"TimesNet-Gen {findings.number(own['value'])}," in bias
    without = findings.table([row for row in stored["findings"] if row["measure"] != "score"])
    assert len(front.abstract(without, stored["run"])) == len(said) - 1
    assert len(front.abstract(findings.table([]), {})) == 1 and not len(front.table(findings.table([])))


def test_a_notebook_s_page_shows_no_solution_and_links_to_pages(tmp_path):
    cells = [v4.new_markdown_cell("# One\n\n**What?** [two](02-two.ipynb#here), [site](https://a.b/c.ipynb)")]
    cells += [v4.new_code_cell(text, metadata={"tags": [tag]}) for tag, text in (("solution", "9"), ("check", "8"))]
    nbformat.write(v4.new_notebook(cells=cells), tmp_path / "01-one.ipynb")
    assert report.notebook_page(tmp_path / "01-one.ipynb", "", "02-two") == ("One", "What?")
    page = (tmp_path / "01-one.html").read_text()
    assert 'href="02-two.html#here"' in page and 'href="https://a.b/c.ipynb"' in page and 'href="02-two.html"' in page
    assert "input_area" not in page.partition("<main>")[2]


@pytest.fixture
def whole(tmp_path):
    """The folder of a run: one notebook went well, one failed, one left nothing."""
    for name in ("notebooks", "figures", "records"):
        (tmp_path / name).mkdir()
    for name in ("01-one", "02-two"):
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        cells = [v4.new_markdown_cell("# A <title> of it\n\n$x_0$ and $$\\frac{a}{b}$$"), v4.new_code_cell("1 + 1")]
        made = v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
        nbformat.write(made, tmp_path / "notebooks" / f"{name}.ipynb")
    for name in ("other", "record"):
        (tmp_path / "figures" / f"{name}.png").write_bytes(b"\x89PNG")
    done = {
        "01-one": {"seconds": 12.3, "code": "key"},
        "02-two": {"seconds": 1.0, "error": "cell [2]\nZeroDivisionError: <b>"},
        "03-three": {"seconds": 0.0, "error": "its process ended"},
    }
    (tmp_path / "run.json").write_text(json.dumps(done))
    (tmp_path / "results.json").write_text(json.dumps({"run": RUN, "findings": FINDINGS}))
    (tmp_path / "records" / "report.csv").write_text("file,outcome,reason\na<b>.mseed,refused,damaged\nb,read,\n")
    return tmp_path


def test_the_page_shows_the_run_and_needs_nothing_from_the_network(whole):
    page = report.write(whole, {"record": "One record & its <arrivals>.", "not drawn": "never"}).read_text()
    for part in (
        "0.90 (0.85 to 0.93)",
        "12.3 s",
        "notebooks/01-one.html",
        "One record &amp; its &lt;arrivals&gt;.",
        "<b>recorded</b>",
        "in use 348",
        "50 Hz",
        "a&lt;b&gt;.mseed",
        "<b>02-two</b> failed",
        "ZeroDivisionError: &lt;b&gt;",
    ):
        assert part in page
    assert page.index("figures/record.png") < page.index("figures/other.png")
    assert "never</figcaption>" not in page
    one = (whole / "notebooks" / "01-one.html").read_text()
    assert one.count("data:image/svg+xml") == 2
    for html in (page, one):
        local = r"data:|notebooks/|figures/|results\.json|\.\./index\.html|0[12]-\w+\.html|#"
        assert not re.findall(rf'(?:src|href)="(?!{local})[^"]*', html)
        assert "<script" not in html
        assert "@import" not in html


@pytest.mark.parametrize("missing", ["results.json", "run.json", "figures", "notebooks", "records", "all"])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_page_is_written_whatever_is_missing_or_damaged(whole, missing, damaged):
    for path in [*whole.iterdir()] if missing == "all" else [whole / missing]:
        for file in [*path.iterdir()] if path.is_dir() else [path]:
            if damaged:
                file.write_text("[half")
            else:
                file.unlink()
    assert "Site-specific" in report.write(whole).read_text()
