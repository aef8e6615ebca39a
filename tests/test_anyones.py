"""Anyone's records: every notebook at smoke on small folders of each kind ends, and what it cannot say it leaves out.

The cells run here in one process, since ten kernels a folder would take minutes; test_runner.py takes a notebook that
lacks something through the runner to the page."""

import re

import nbformat
import numpy as np
import pytest
from conftest import few_draws
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.figure import Figure
from PIL import Image as Picture

from tsgen import config, simulate
from tsgen.needs import LEFT_OUT, Lacking
from tsgen.records import Records
from tsgen.running import environment, runner

NOTEBOOKS = environment.choose()


@pytest.fixture(scope="module")
def network():
    """Simulated records, which a reader takes for recordings once they are files."""
    return simulate.network(config.profile("smoke").simulation, seed=5)


def some_of(network, counts):
    """The first records of target stations: counts, one a station."""
    rows = [np.flatnonzero(network.table["station"] == f"SIM.{i + 1:02d}")[:n] for i, n in enumerate(counts)]
    return network.take(np.concatenate(rows))


KINDS = {  # kind: (records a station, columns taken away, what is left out)
    "no magnitudes": ((9, 8), ["magnitude", "distance_in_km"], {"magnitudes and distances"}),
    "one station": ((9,), [], {"two target stations"}),
    "one record": ((1,), [], {"two target stations", "recordings held out"}),
    "two downloaded stations of five events": ((), [], set()),
    "few records, none fit to be a target": ((2, 1, 1), ["magnitude"], {"recordings held out", "magnitudes"}),
}


def folder_of(network, kind, folder):
    counts, columns, _ = KINDS[kind]
    some = some_of(network, counts)
    table = some.table.drop(columns=[*columns, "site_f0_in_hz"]).assign(kind="recorded", source="own")
    for name in ("station", "event"):
        table[name] = table[name].str.replace("SIM.", "OWN.")
    Records(some.waveforms, some.sampling_rate_in_hz, table).save(folder)
    return folder


def executed(path, values, capsys):
    """What a notebook prints, its cells run one after another with these parameters; ends where it lacks something."""
    shell = InteractiveShell()
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        source = cell.source
        if "parameters" in cell.metadata.get("tags", ()):
            source = "\n".join(f"{name} = {value!r}" for name, value in values.items())
        result = shell.run_cell(source)
        error = result.error_before_exec or result.error_in_exec
        if isinstance(error, Lacking):
            print(error)
            break
        assert result.success, f"{path.stem}: {source}"
    return capsys.readouterr().out


FAST = "one record"  # the others take minutes together


@pytest.fixture
def not_rendered(monkeypatch):
    """Figures are drawn and laid out, but no pixel is painted: that is most of the time."""

    def savefig(drawn, path, **how):
        drawn.draw_without_rendering()
        Picture.new("RGB", (8, 8)).save(path)

    monkeypatch.setattr(Figure, "savefig", savefig)


@pytest.mark.usefixtures("not_rendered")
@pytest.mark.parametrize(
    "kind", [kind if kind == FAST else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_every_notebook_ends_on_a_folder_of_each_kind(kind, network, tmp_path, monkeypatch, capsys, request):
    monkeypatch.setenv("TSGEN_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    downloaded = kind == "two downloaded stations of five events"
    folder = request.getfixturevalue("downloaded_folder") if downloaded else folder_of(network, kind, tmp_path / "own")
    values = dict(zip(runner.PARAMETERS, ("smoke", str(folder), "", 0), strict=True))
    with few_draws(STEPS_PER_PERIOD=8):
        printed = "\n".join(executed(path, values, capsys) for path in NOTEBOOKS)
    sentences = {line for line in printed.splitlines() if line.startswith(LEFT_OUT)}
    for need in KINDS[kind][2]:
        assert any(need in sentence for sentence in sentences), sentences
    assert KINDS[kind][2] or not sentences
    assert not re.search(r"\bnan\b", printed), [line for line in printed.splitlines() if "nan" in line]
