"""What several tests need: the development data beside the project, one thread a process, one smoke study."""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tsgen import evidence, findings, oscillator
from tsgen.evidence import new_station
from tsgen.study import Study

ROOT = Path(__file__).resolve().parents[1]

torch.set_num_threads(1)  # several test processes share the cores


def pytest_collection_modifyitems(items):
    """Files with slow tests begin: else one of them ends alone, while other processes have nothing to do."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def shared(path):
    """Path of development data in ../shared; skips without it, and fails where CI promises it."""
    found = ROOT.parent / "shared" / path
    if not found.exists():
        message = f"development data ../shared/{path} is not beside the project"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """Folder of the smoke run that all tests share, those of pytest-xdist's other processes too (stages have locks)."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "runs" / "smoke"


@pytest.fixture(scope="session")
def study(smoke):
    """The simulated default at smoke; stages are built when first asked for. Not to be changed."""
    return Study("smoke", folder=smoke)


@pytest.fixture(scope="session")
def downloaded_folder(tmp_path_factory):
    """Folder of two stations, TK.0205 and TK.1716, as ``tsgen.download fdsn`` leaves it: of five events each, as few as
    a split takes."""
    import download_server  # ObsPy: only for those who ask

    folder, holdings = tmp_path_factory.mktemp("downloaded") / "records", download_server.Holdings()
    for event in holdings.records.table.groupby("station")["event"].first():
        del holdings.events[event]  # the catalogue's sixth of each
    with download_server.serving(holdings) as server:
        assert download_server.fetch(server, "fdsn", folder) == 0
    return folder


@contextmanager
def few_draws(**also):
    """Bootstraps, and sets of records, small enough for findings of which only the shape is looked at; also: of the
    module oscillator."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(findings, "N_DRAWS", 40)
        patch.setattr(new_station, "N_DRAWN", 8)
        for name, value in also.items():
            patch.setattr(oscillator, name, value)
        yield


@pytest.fixture(scope="session")
def smoke_findings(study):
    """All findings of the smoke run: a table."""
    with few_draws():
        return evidence.everything(study)
