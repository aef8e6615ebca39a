"""How run_all.sh finds a Python and makes .venv: in a copy of the project, stand-ins for pip and uv, no network."""

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import ROOT
from test_project import assert_one_sentence, run_all

from tsgen.running import environment

BASE = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
PYTHONS = ("python", "python3", "python3.13", "python3.12", "python3.11")

# installs by writing that it has; an installed package of another version stays, as in a .venv that is past mending
PIP = """
import os, pathlib, sys
words = sys.argv[1:]
with open(os.environ["CALLS"], "a") as calls:
    print("pip", *words, file=calls)
if "uv" in words or "-r" in words and "OFFLINE" in os.environ:
    sys.exit("WARNING: Retrying after connection broken by a test\\nERROR: No matching distribution found")
site = next(pathlib.Path(sys.prefix).glob("lib/python*/site-packages"))
for line in open(words[words.index("-r") + 1]) if "-r" in words else ():
    name, _, version = line.split("#")[0].split(";")[0].strip().replace("-", "_").partition("==")
    if version and not list(site.glob(f"{name}-*.dist-info")):
        (site / f"{name}-{version}.dist-info").mkdir()
        (site / f"{name}-{version}.dist-info" / "METADATA").write_text(f"Name: {name}\\nVersion: {version}\\n")
"""
# the real one without pip, whose unpacking takes seconds
VENV = """
import sys
sys.path = [path for path in sys.path if not path.endswith("modules")]
del sys.modules["venv"]
import venv
venv.create(sys.argv[-1], clear=True, symlinks=True)
"""
LAB = "import sys; print(sys.prefix)"
UV = """#!/bin/sh
echo uv "$@" >>"$CALLS"
case "$*" in *--dry-run*) exit 0 ;; esac
CALLS=/dev/null exec "$4" -m pip "$@"
"""
FAILING_UV = """#!/bin/sh
echo uv "$@" >>"$CALLS"
echo "error: Request failed" "  cause: Failed to fetch: a test" | sed "s/  /\\n  /" >&2
exit 2
"""


def command(folder, name, text):
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A copy of the project without .venv; on its PATH Pythons that do not start, as well as this machine's own."""
    project = tmp_path / "project"
    shutil.copytree(ROOT / "tsgen", project / "tsgen", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("run_all.sh", "requirements.lock"):
        shutil.copy(ROOT / name, project)
    (tmp_path / "bin").mkdir()
    for name in PYTHONS:
        command(tmp_path / "bin", name, "#!/bin/sh\nexit 1\n")
    for name, text in {"pip": PIP, "venv": VENV, "jupyterlab": LAB}.items():
        (tmp_path / "modules" / name).mkdir(parents=True)
        (tmp_path / "modules" / name / "__init__.py").touch()
        (tmp_path / "modules" / name / "__main__.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return project


def call(clone, *words):
    path = f"{clone.parent / 'bin'}:/usr/bin:/bin"
    return run_all(*words, runs=clone / "runs", folder=clone, script=clone / "run_all.sh", path=path)


def real_python(clone):
    (clone.parent / "bin" / "python3").unlink()
    (clone.parent / "bin" / "python3").symlink_to(BASE)


def lab(clone):
    """(what was said, what pip and uv were called with) of a command that sets up and then opens the lab's stand-in."""
    (clone.parent / "calls").write_text("")
    finished = call(clone, "lab")
    assert (finished.returncode, finished.stdout) == (0, f"{clone / '.venv'}\n"), finished.stderr
    return finished.stderr.splitlines(), (clone.parent / "calls").read_text().splitlines()


def replace_package(clone, name, version):
    """Let .venv say that it holds another version."""
    old = next((clone / ".venv").glob(f"lib/python*/site-packages/{name}-*.dist-info"))
    new = old.with_name(f"{name}-{version}.dist-info")
    old.rename(new)
    (new / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    return new


def test_without_a_python_that_serves_the_remedy_is_named(clone):
    assert_one_sentence(call(clone, "smoke"), "3.11.2 to 3.13", "none that starts", "apt install", "environment.yml")
    of_2022 = '#!/bin/sh\ncase "$2" in *platform*) echo 3.10.12 ;; *) exit 1 ;; esac\n'
    command(clone.parent / "bin", "python3", of_2022)
    assert_one_sentence(call(clone, "smoke"), "here is 3.10.12:", "apt install")
    without = f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; *) exec {BASE} "$@" ;; esac\n'
    command(clone.parent / "bin", "python3", without)
    assert_one_sentence(call(clone, "smoke"), "without venv", "python3-venv")
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize("words", [["bogus"], ["smoke", "--only", "99"], ["smoke", "--records", "nowhere"]])
def test_what_is_wrong_ends_before_the_environment_is_set_up(clone, words):
    real_python(clone)
    assert_one_sentence(call(clone, *words), words[-1])
    assert not (clone / ".venv").exists()


def test_uv_installs_where_it_is_and_what_differs_is_mended(clone):
    real_python(clone)
    command(clone.parent / "bin", "uv", UV)
    said, calls = lab(clone)
    assert len(said) == 1 and "Setting up .venv" in said[0]
    tried, by_uv, project = calls
    assert tried == by_uv + " --dry-run"  # whether it can reach all, before anything is downloaded
    assert by_uv.startswith("uv pip install") and "--torch-backend=auto" in by_uv and "requirements.lock" in by_uv
    assert project.startswith("pip") and "--no-deps" in project
    assert lab(clone) == ([], [])  # it holds the pins: used as it is

    torch = replace_package(clone, "torch", f"{environment.direct_pins(environment.LOCK.read_text())['torch']}+cu999")
    assert lab(clone) == ([], [])  # a local version is as good
    shutil.rmtree(next((clone / ".venv").glob("lib/python*/site-packages/scipy-*.dist-info")))
    said, calls = lab(clone)
    assert "torch-backend" not in calls[0]
    assert torch.exists()

    replace_package(clone, "scipy", "0.1")  # the stand-in leaves that: past mending, so .venv is made anew
    assert [line.split()[0] for line in lab(clone)[1]] == ["uv", "uv", "pip"] * 2
    assert not torch.exists()


def test_a_second_set_up_waits_for_the_first_and_uses_what_it_made(clone):
    real_python(clone)
    command(clone.parent / "bin", "uv", UV.replace("CALLS=/dev", "sleep 2\nCALLS=/dev"))  # time to meet
    with ThreadPoolExecutor() as pool:
        ended = list(pool.map(lambda word: call(clone, word), ["lab", "lab"]))
    assert [each.returncode for each in ended] == [0, 0]
    assert [line.split()[0] for line in (clone.parent / "calls").read_text().splitlines()] == ["uv", "uv", "pip"]


def test_pip_installs_where_uv_fails_and_what_was_broken_off_is_made_anew(clone):
    real_python(clone)
    said, calls = lab(clone)
    assert [line.split()[0] for line in calls] == ["pip"] * 3
    assert calls[0].endswith(" uv")  # asked for, not to be had
    assert len(said) == 2 and "No matching distribution" in said[1]

    command(clone.parent / "bin", "uv", FAILING_UV)
    broken = clone / ".venv" / "bin" / "python"
    broken.unlink()
    broken.symlink_to(clone / "python-of-another-machine")
    said, calls = lab(clone)
    assert [line.split()[0] for line in calls] == ["uv", "pip", "pip"]
    assert said[1] == "uv cannot (Failed to fetch: a test): pip does it, with the PyTorch that it finds"

    leftover = clone / ".venv" / "leftover"
    leftover.touch()
    (clone / ".venv" / environment.UNFINISHED.name).touch()  # all packages are there, yet it was killed at work
    assert len(lab(clone)[1]) == 3
    assert not leftover.exists()


def test_without_a_network_it_ends_with_one_sentence(clone, monkeypatch):
    real_python(clone)
    monkeypatch.setenv("OFFLINE", "yes")
    finished = call(clone, "smoke")
    assert finished.returncode == 1
    *_, last = lines = finished.stderr.splitlines()
    assert len(lines) == 3 and last.startswith("No package index can be reached")
    monkeypatch.delenv("OFFLINE")
    lab(clone)  # and the next call begins again
