"""Every figure at smoke, on the simulated default and on records that lack what figures ask for."""

import matplotlib.figure
import numpy as np
import pytest
from conftest import ROOT, few_draws
from test_records import made

from tsgen import figures
from tsgen import study as study_module
from tsgen.figures import lessons
from tsgen.figures.__main__ import main as figures_main
from tsgen.needs import Lacking
from tsgen.study import Study


@pytest.fixture(scope="module", autouse=True)
def short():
    with few_draws():
        yield


@pytest.fixture(scope="module")
def poor(tmp_path_factory):
    """One station of 20 records without magnitudes, places and arrivals."""
    folder = tmp_path_factory.mktemp("poor")
    made(n=20, t=1024, stations=1, magnitude=np.nan, p_arrival_sample=np.nan, usable_to_hz=12.0).save(folder / "set")
    return Study("smoke", folder / "set", stations="TK.0000", folder=folder / "run")


def words_of(figure):
    text = [ax.get_xlabel() + ax.get_ylabel() + ax.get_title() for ax in figure.axes]
    return " ".join([*text, figure.get_suptitle()])


def drawn(study, name):
    with figures.styled():
        figure = figures.FIGURES[name](study)
        figure.canvas.draw()
    assert isinstance(figure, matplotlib.figure.Figure)
    matplotlib.pyplot.close(figure)
    return figure


@pytest.mark.parametrize("name", list(figures.FIGURES))
def test_every_figure_draws_without_warnings_and_labels_its_axes(study, name):
    text = words_of(drawn(study, name))
    assert text.strip() or name == "architecture"
    assert "needs" not in text
    assert figures.CAPTIONS[name].endswith(".")


@pytest.mark.parametrize("name", list(figures.FIGURES))
def test_a_figure_says_what_the_records_lack(poor, name):
    alone = ("score_ceiling", "score_improper", "own_station", "scores", "two_histograms")
    asked = dict.fromkeys(alone, "two target stations") | dict.fromkeys(
        ("magnitude_distance", "pga_distance"), "magnitudes"
    )
    if wanted := "magnitudes" if name.startswith(("scenario", "few")) else asked.get(name):
        with pytest.raises(Lacking, match=f"lack of .*{wanted}"):
            figures.draw(poor, name)
        return
    text = words_of(drawn(poor, name))
    within = {"stations": "coordinates", "period_correlation": "magnitudes"}
    within |= dict.fromkeys(("k_sweep", "matrix_pairs"), "two stations")
    wanted = within.get(name, "")
    assert wanted in text and ("needs" in text) == bool(wanted or name.startswith("matrix"))


def test_a_notebook_is_told_in_one_sentence_what_a_figure_lacks(poor, capsys):
    assert figures.show(poor, "scenario_map") is None
    assert capsys.readouterr().out.count("\n") == 1


def test_the_figure_of_the_score_draws_what_notebook_02_prints(study):
    from tsgen import metrics

    real, n = study.f0(study.targets), study.settings.n_halves
    with figures.styled():
        figure = figures.FIGURES["score_ceiling"](study)
    shown = {text.get_text() for text in figure.axes[0].texts}
    assert f"{metrics.ceiling(real, n_halves=n).value:.2f}" in shown
    assert f"{metrics.chance(real, real, n).value:.2f}" in shown
    matplotlib.pyplot.close(figure)


def test_the_quiz_has_the_answer_that_notebook_00_gives():
    recorded = [letter for letter, name in zip("ABCDEF", lessons.QUIZ, strict=True) if name in study_module.RECORDINGS]
    text = (ROOT / "notebooks" / "00-prologue.ipynb").read_text()
    assert f"**{' and '.join(recorded)}** are recordings" in text and len(recorded) == 2


def test_one_figure_from_the_command_line(study, monkeypatch, capsys):
    monkeypatch.setattr(study_module.Study, "_run_name", lambda self: "smoke")
    monkeypatch.setenv("TSGEN_RUNS", str(study.folder.parent))
    assert figures_main(["station_hvsr", "--profile", "smoke"]) == 0
    path = study.folder / "figures" / "station_hvsr.png"
    assert path.stat().st_size > 10_000 and path.with_suffix(".pdf").exists()
    assert figures_main(["nonsense", "--profile", "smoke"]) == 2
    assert "unknown figure 'nonsense'" in capsys.readouterr().err
    assert figures_main(["--list"]) == 0
