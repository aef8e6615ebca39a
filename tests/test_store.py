"""Store: built once, rebuilt when the key changes, never half there."""

import json

import pytest

from tsgen import store as store_module
from tsgen.config import HVSRSettings
from tsgen.store import Store, folder_key, key_of, write_json


def test_an_artefact_is_built_once_and_anew_for_another_key(tmp_path, capsys):
    store, built = Store(tmp_path / "run"), []

    def build(folder):
        built.append(folder)
        (folder / "value").write_text(str(len(built)))

    def load(folder):
        return (folder / "value").read_text()

    assert [store.cached("stage", key, build, load) for key in ("a", "a", "b")] == ["1", "1", "2"]
    assert "building it anew" in capsys.readouterr().err
    assert store.manifest()["stage"]["key"] == "b"


def test_a_failed_build_leaves_the_last_good_artefact_and_nothing_else(tmp_path):
    store = Store(tmp_path / "run")

    def fail(folder):
        (folder / "half").write_text("")
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError):
        store.cached("stage", "a", fail, str)
    assert not (tmp_path / "run").exists()
    store.cached("stage", "a", lambda folder: (folder / "good").write_text(""), str)
    with pytest.raises(RuntimeError):
        store.cached("stage", "b", fail, str)
    assert store.cached("stage", "a", fail, lambda folder: sorted(p.name for p in folder.iterdir())) == [
        "artefact.json",
        "good",
    ]


def test_a_resumable_build_finds_its_files_again(tmp_path):
    store = Store(tmp_path)

    def build(folder):
        if not (folder / "epoch1").exists():
            (folder / "epoch1").write_text("")
            raise KeyboardInterrupt
        (folder / "epoch2").write_text("")

    with pytest.raises(KeyboardInterrupt):
        store.cached("model", "k", build, str, resumable=True)
    found = store.cached("model", "k", build, lambda folder: {p.name for p in folder.iterdir()}, resumable=True)
    assert found == {"epoch1", "epoch2", "artefact.json"}


def test_keys_follow_settings_inputs_and_code(tmp_path):
    assert key_of(HVSRSettings()) == key_of(HVSRSettings()) != key_of(HVSRSettings(bandwidth=20))
    assert key_of("x") != key_of("x", modules=(store_module,))
    (tmp_path / "a").write_text("1")
    before = folder_key(tmp_path)
    (tmp_path / "b").write_text("1")
    assert folder_key(tmp_path) != before


def test_not_a_number_is_null_in_json(tmp_path):
    write_json(tmp_path / "deep" / "x.json", {"a": float("nan"), "b": [1.5]})
    assert json.loads((tmp_path / "deep" / "x.json").read_text()) == {"a": None, "b": [1.5]}
