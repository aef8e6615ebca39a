"""Stages: built once, built anew when what they rest on changes or is damaged, never half there."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from conftest import ROOT

from tsgen import config, hvsr, store
from tsgen.config import HVSRSettings
from tsgen.store import Stage, folder_key, key_of, write_json


def counted(run, name="stage", settings=(), inputs=(), built=None):
    """A stage that leaves how often it was built, in this process."""
    built = [] if built is None else built

    def build(folder):
        built.append(name)
        (folder / "value").write_text(str(len(built)))

    def load(folder):
        return (folder / "value").read_text()

    return Stage(run, name, build, load, settings, inputs)


def test_an_artefact_is_built_once_and_anew_for_another_key(tmp_path, capsys):
    built = []
    found = [counted(tmp_path, settings=(key,), built=built).value for key in ("a", "a", "b")]
    assert found == ["1", "1", "2"]
    assert capsys.readouterr().err == "stage: settings, inputs or code have changed, building it anew\n"


def test_another_input_is_another_key_and_a_stale_input_makes_what_rests_on_it_stale(tmp_path):
    first, second = (counted(tmp_path, "first", (s,)) for s in "ab")
    above = [counted(tmp_path, "second", inputs=(each,)) for each in (first, second)]
    assert above[0].key != above[1].key
    assert first.value and above[0].value
    assert [path.name for path in store.standing(tmp_path)] == ["first", "second"]
    assert second.value  # the first is another one now
    assert [path.name for path in store.standing(tmp_path)] == ["first"]


def test_an_input_that_the_build_does_not_ask_for_stands_too(tmp_path):
    above = counted(tmp_path, "second", inputs=(counted(tmp_path, "first"),))
    assert above.value and [path.name for path in store.standing(tmp_path)] == ["first", "second"]


def test_a_failed_build_leaves_the_last_good_artefact_and_nothing_else(tmp_path):
    def fail(folder):
        (folder / "half").write_text("")
        raise RuntimeError("interrupted")

    def names(folder):
        return sorted(path.name for path in folder.iterdir())

    with pytest.raises(RuntimeError):
        _ = Stage(tmp_path, "stage", fail, str, ("a",)).value
    assert names(tmp_path) == [".locks"]
    good = Stage(tmp_path, "stage", lambda folder: (folder / "good").write_text(""), names, ("a",))
    assert good.value == ["artefact.json", "good"]
    with pytest.raises(RuntimeError):
        _ = Stage(tmp_path, "stage", fail, str, ("b",)).value
    assert names(tmp_path) == [".locks", "stage"] and names(tmp_path / "stage") == good.value


def test_a_resumable_build_finds_its_files_again(tmp_path):
    def build(folder):
        if not (folder / "epoch1").exists():
            (folder / "epoch1").write_text("")
            raise KeyboardInterrupt
        (folder / "epoch2").write_text("")

    def load(folder):
        return {path.name for path in folder.iterdir()}

    with pytest.raises(KeyboardInterrupt):
        _ = Stage(tmp_path, "model", build, load, resumable=True).value
    assert Stage(tmp_path, "model", build, load, resumable=True).value == {"epoch1", "epoch2", "artefact.json"}


@pytest.mark.parametrize("harm", ["changed", "truncated", "missing", "added"])
def test_a_file_that_is_not_as_it_was_left_is_noticed_and_the_stage_built_anew(tmp_path, capsys, harm):
    built = []
    assert counted(tmp_path, built=built).value == "1"
    path = tmp_path / "stage" / "value"
    {
        "changed": lambda: path.write_text("7"),  # as long as it was
        "truncated": lambda: path.write_text(""),
        "missing": path.unlink,
        "added": lambda: (tmp_path / "stage" / "more").write_text(""),
    }[harm]()
    assert counted(tmp_path, built=built).value == "2"
    assert capsys.readouterr().err == "stage: a file of it was changed or is missing, building it anew\n"


def test_what_cannot_be_loaded_is_built_anew_once(tmp_path, capsys):
    built = []

    def load(folder):
        if len(built) < 2:
            raise OSError("truncated")
        return (folder / "value").read_text()

    counted(tmp_path, built=built)._make()
    stage = counted(tmp_path, built=built)
    assert Stage(tmp_path, "stage", stage.build, load).value == "2"
    assert "it cannot be loaded (OSError), building it anew" in capsys.readouterr().err


def test_two_processes_that_ask_for_the_same_stage_build_it_once(tmp_path):
    script = """
        import sys, time
        from pathlib import Path
        from tsgen.store import Stage

        def build(folder):
            with open(Path(sys.argv[1]) / "builds", "a") as file:
                file.write("built\\n")
            time.sleep(1.0)  # while the other comes
            (folder / "value").write_text("whole")

        def load(folder):
            return (folder / "value").read_text()

        print(Stage(Path(sys.argv[1]) / "run", "stage", build, load).value)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), tmp_path]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=100)[0] for process in both] == ["whole\n"] * 2
    assert (tmp_path / "builds").read_text() == "built\n"


# ---- keys ----


def test_keys_follow_settings_by_value():
    assert key_of(HVSRSettings()) == key_of(HVSRSettings()) != key_of(HVSRSettings(bandwidth=20))
    assert key_of(np.float64(0.5), (1, 2)) == key_of(0.5, [1, 2]) != key_of(0.5, [2, 1])


def test_a_folder_s_key_follows_its_files(tmp_path):
    (tmp_path / "a").write_text("1")
    keys = {folder_key(tmp_path)}
    (tmp_path / "b").write_text("1")
    keys.add(folder_key(tmp_path))
    (tmp_path / "b").write_text("12")
    assert len(keys | {folder_key(tmp_path)}) == 3


def test_a_build_rests_on_what_it_names_and_on_what_that_imports():
    def plain(folder):
        folder.mkdir()

    def direct(folder):
        hvsr.hvsr(folder)

    def inside(folder):
        def deeper():
            return hvsr.hvsr(folder)

        return deeper()

    held = hvsr.hvsr

    def closure(folder):
        held(folder)

    assert store.modules_of(plain) == []
    for build in (direct, inside, closure):
        found = store.modules_of(build)
        assert {"tsgen.hvsr"} | store._imports("tsgen.hvsr") - {"tsgen.config"} <= set(found)
        assert "tsgen.config" not in found  # which hvsr imports: it counts by value

    def named(folder):
        config.profile("smoke")

    assert store.modules_of(named) == []


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package tree of its own: upper reaches lower through middle, inside a function."""
    (tmp_path / "tsgen").mkdir()
    sources = {
        "upper": "from tsgen import middle\n",
        "middle": "def f():\n    from tsgen.lower import g\n    return g\n",
        "lower": "def g(): return 1\n",
        "other": "",
        "config": "",
        "__init__": "",
    }
    for name, text in sources.items():
        (tmp_path / "tsgen" / f"{name}.py").write_text(text)
    monkeypatch.setattr(store, "PACKAGE", tmp_path / "tsgen")
    store._imports.cache_clear()
    yield tmp_path / "tsgen"
    store._imports.cache_clear()


def test_editing_a_module_that_is_reached_through_another_changes_the_code(package):
    def build(folder):
        pass

    build.__module__ = "tsgen.upper"
    modules = store.modules_of(build)
    assert {"tsgen.upper", "tsgen.middle", "tsgen.lower"} <= set(modules) and "tsgen.other" not in modules
    before = store.code_of(modules)
    for name, changes in (("other", False), ("config", False), ("lower", True)):
        (package / f"{name}.py").write_text("def g(): return 'another'\n")
        assert (store.code_of(modules) != before) == changes
    (package / "lower.py").unlink()
    assert store.code_of(modules) != before


# ---- writing ----


def test_not_a_number_is_null_in_json(tmp_path):
    write_json(tmp_path / "deep" / "x.json", {"a": float("nan"), "b": [1.5], "c": np.array([1.0, np.nan])})
    assert json.loads((tmp_path / "deep" / "x.json").read_text()) == {"a": None, "b": [1.5], "c": [1.0, None]}


def test_an_interrupted_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, 1)

    def half(temporary):
        temporary.write_text("ha")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write_atomically(path, half)
    assert path.read_text() == "1\n" and [each.name for each in tmp_path.iterdir()] == ["x.json"]
