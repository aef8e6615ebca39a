"""The pins, the environment written from them, and what run_all.sh answers."""

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import publish
import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from write_lock import RESOLVED_FOR

from tsgen.running import command, environment

LOCK = environment.LOCK.read_text()


def test_torch_is_pinned_exactly_once():
    assert re.findall(r"^torch\b.*$", LOCK, re.MULTILINE) == ["torch==2.13.0"]


def test_every_line_of_the_lock_is_one_plain_pin_and_no_package_has_two():
    lines = [line for line in LOCK.splitlines() if line and not line.startswith("#")]
    assert len(lines) > 100  # what the direct pins need is there too
    for line in lines:  # no range, no option, no URL, no local version; a system after the semicolon
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*( ; [\w.*'() <>!=]+)?", line), line
        assert not re.match("nvidia|cuda|triton", line)
    assert len({line.partition("==")[0] for line in lines}) == len(lines)


def needed_by(names):
    """{package: version} of all that the installed packages ``names`` depend on, themselves left out."""
    needed, seen, waiting = {}, set(), [(name, "") for name in names]
    while waiting:
        seen.add(at := waiting.pop())
        for requirement in map(Requirement, metadata.requires(at[0]) or ()):
            child, marker = canonicalize_name(requirement.name), requirement.marker
            of_torch = re.match("nvidia|cuda|triton", child)
            if not of_torch and (marker is None or marker.evaluate({"extra": at[1]})):
                needed[child] = metadata.version(child).split("+")[0]
                waiting += {(child, extra) for extra in ("", *requirement.extras)} - seen
    return {name: needed[name] for name in sorted(needed) if name not in names}


def test_the_rest_of_the_lock_is_what_the_direct_pins_need_here():
    rest = [Requirement(line) for line in LOCK.partition(environment.NEEDED)[2].splitlines()]
    wanted = {each.name: str(each.specifier)[2:] for each in rest if each.marker is None or each.marker.evaluate()}
    if environment.differences(wanted):
        pytest.skip("this environment holds other versions of indirect packages than the lock")
    assert wanted == needed_by(list(environment.direct_pins(LOCK)))


def test_every_pin_accepts_every_python_of_the_lock():
    refused = []
    for pin in (Requirement(line) for line in LOCK.splitlines() if line and not line.startswith("#")):
        for installed in metadata.distributions(name=pin.name):
            pythons = SpecifierSet(installed.metadata.get("Requires-Python", ""))
            for python in RESOLVED_FOR if installed.version in pin.specifier else ():
                full = {"python_full_version": python if python.count(".") == 2 else f"{python}.0"}
                wanted = pin.marker is None or pin.marker.evaluate(full)
                refused += [f"{pin} on {python}"] if wanted and python not in pythons else []
    assert not refused


def test_the_pythons_are_the_same_wherever_they_are_written():
    asked = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"])
    lowest, beyond = (".".join(map(str, each)) for each in (environment.LOWEST, environment.BEYOND))
    assert asked == SpecifierSet(f">={lowest},<{beyond}")
    assert all(python in asked for python in RESOLVED_FOR)
    assert RESOLVED_FOR[0] == lowest
    script = (ROOT / "run_all.sh").read_text()
    assert f"{environment.LOWEST} <= sys.version_info[:3] < {environment.BEYOND}" in script
    assert "Python 3.11.2 to 3.13 " in script and lowest == "3.11.2" and beyond == "3.14"


def test_environment_yml_holds_the_pins_of_the_lock():
    written = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, under_pip = written["dependencies"]
    lines = [line for line in LOCK.splitlines() if line and not line.startswith("#")]
    assert (python, pip, under_pip) == ("python=3.11", "pip", {"pip": lines})


def test_differences_accept_a_local_version_and_name_what_is_missing():
    torch = metadata.version("torch").split("+")[0]
    assert environment.differences({"torch": torch}) == []
    assert len(environment.differences({"torch": torch + "1"})) == 1
    assert "none is installed" in environment.differences({"no-such-package-here": "1.0"})[0]


def test_no_committed_text_names_a_machine_or_a_registry():
    places = "|".join(("home", "root", "Users", "work"))
    forbidden = re.compile(rf"(?<![\w.)}}-])/({places})/\w|--(extra-)?index-" + r"url|--find-" + "links")
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if names.returncode:
        pytest.skip("not a git checkout: what is committed is unknown")
    for name in names.stdout.splitlines():
        path = ROOT / name
        if path.suffix in {".py", ".ipynb", ".md", ".json", ".toml", ".lock", ".yml", ".sh", ".cfg"} and path.exists():
            found = forbidden.search(path.read_text())
            assert not found, f"{name}: {found.group(0)}"


# ---- run_all.sh ----


def run_all(*words, runs, folder=ROOT, script=ROOT / "run_all.sh", path=None):
    environ = os.environ | {"TSGEN_RUNS": str(runs)}
    environ["PATH"] = path or f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    return subprocess.run([script, *words], cwd=folder, env=environ, capture_output=True, text=True, timeout=300)


def assert_one_sentence(finished, *parts):
    assert finished.returncode != 0
    lines = finished.stderr.strip().splitlines()
    assert len(lines) == 1, finished.stderr
    assert "Traceback" not in finished.stdout
    for part in parts:
        assert part in lines[0]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["bogus"], "bogus"),
        (["--no-such-option"], "--no-such-option"),
        (["smoke", "--seed", "x"], "--seed"),
        (["smoke", "--seed", "-1"], "--seed"),
        (["smoke", "--seed", "99999999999"], "--seed"),
        (["lab", "--seed", "1"], "--seed"),
        (["smoke", "--fast"], "--fast"),
        (["smoke", "--records", "no-such-folder"], "no-such-folder"),
        (["smoke", "--records", "README.md"], "is a file"),
        (["smoke", "--records", ""], "--records"),
        (["smoke", "--stations", ",,"], "--stations"),
        (["smoke", "--unit", "furlong"], "furlong"),
        (["smoke", "--only", "99"], "99"),
        (["smoke", "--stations", "SIM.99"], "SIM.99"),
    ],
)
def test_what_cannot_be_meant_ends_with_one_sentence_and_leaves_nothing(words, part, tmp_path):
    assert_one_sentence(run_all(*words, runs=tmp_path / "runs"), part)
    assert not list(tmp_path.rglob("*.*"))


def test_folders_without_a_readable_record_end_with_one_sentence(tmp_path):
    empty, damaged = tmp_path / "empty", tmp_path / "damaged"
    empty.mkdir()
    damaged.mkdir()
    (damaged / "a.mseed").write_bytes(b"\x00\x01 not a record")
    for name in ("empty", "damaged"):  # resolved against the caller's folder
        assert_one_sentence(run_all("smoke", "--records", name, runs=tmp_path / "runs", folder=tmp_path), name)
    assert [path.name[-12:] for path in (tmp_path / "runs").iterdir()] == ["-refused.csv"]  # the report of the damaged


def test_it_runs_through_a_link_and_by_sh(tmp_path):
    (tmp_path / "linked.sh").symlink_to(ROOT / "run_all.sh")
    assert_one_sentence(run_all("bogus", runs=tmp_path / "runs", script=tmp_path / "linked.sh"), "bogus")
    assert_one_sentence(run_all(str(ROOT / "run_all.sh"), "bogus", runs=tmp_path / "runs", script="sh"), "bogus")


def test_help_names_every_word():
    said = subprocess.run(
        [sys.executable, "-m", "tsgen.running.command", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert said.returncode == 0
    for word in (*command.WORDS, *command.config.PROFILES, "--records", "--fresh"):
        assert word in said.stdout


def test_the_readme_s_numbers_are_those_of_the_committed_run():
    if not (ROOT / "results" / "quick.json").exists():
        pytest.fail("results/quick.json is missing: ./run_all.sh quick, then ./run_all.sh publish")
    assert publish.readme(ROOT) == (ROOT / "README.md").read_text()


def test_the_citation_names_this_version_licence_and_both_papers():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    assert {each.get("doi", each.get("url", ""))[-10:] for each in cited["references"]} == {
        "2512.04694",
        "026-70719-2"[-10:],
    }
