"""Artefacts of a run: each stage leaves one folder, built once and rebuilt when what it depends on changes.

A stage's key is a hash of its settings, its inputs' keys and the source of the modules that make it. It is built in
a folder of its own and moved into place whole, so an interrupted run leaves the last good artefact; the half-built
folder stays where the builder can resume from it.
"""

import hashlib
import inspect
import json
import os
import shutil
import sys
import time
from dataclasses import asdict, is_dataclass
from pathlib import Path


class Store:
    """Artefacts under ``folder``; nothing is created before the first one is built."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def cached(self, stage, key, build, load, resumable=False):
        """``load(folder)`` of stage ``stage``, after ``build(folder)`` if what stands there has another key.

        With ``resumable`` an interrupted build finds its own files again; else it starts from an empty folder and
        leaves none behind on failure.
        """
        place = self.folder / stage
        found = self._key(stage)
        if found != key:
            if found is not None:
                print(f"{stage}: settings, inputs or code have changed, building it anew", file=sys.stderr)
            begun = time.monotonic()
            building = self.building(stage, key)
            if building.exists() and not resumable:
                shutil.rmtree(building)
            building.mkdir(parents=True, exist_ok=True)
            try:
                build(building)
            except BaseException:
                if not resumable:
                    shutil.rmtree(building, ignore_errors=True)
                    self._remove_if_empty()
                raise
            write_json(building / "artefact.json", {"key": key, "seconds": round(time.monotonic() - begun, 1)})
            if place.exists():
                shutil.rmtree(place)
            os.replace(building, place)
        return load(place)

    def building(self, stage, key):
        """Folder in which a stage is built, and from which a resumable one goes on."""
        return self.folder / f".building-{stage}-{key}"

    def manifest(self):
        """{stage: {"key", "seconds"}} of what stands."""
        return {
            path.parent.name: json.loads(path.read_text())
            for path in sorted(self.folder.glob("*/artefact.json"))
            if not path.parent.name.startswith(".")
        }

    def _key(self, stage):
        try:
            return json.loads((self.folder / stage / "artefact.json").read_text())["key"]
        except (FileNotFoundError, json.JSONDecodeError, KeyError):
            return None

    def _remove_if_empty(self):
        try:
            self.folder.rmdir()
        except OSError:
            return


def key_of(*parts, modules=()):
    """Twelve hexadecimal digits of SHA-256 over settings and the source of modules or packages."""
    digest = hashlib.sha256(json.dumps([_plain(part) for part in parts], sort_keys=True, default=str).encode())
    for module in modules:
        file = Path(inspect.getfile(module))
        files = sorted(file.parent.glob("*.py")) if hasattr(module, "__path__") else [file]
        for each in files:
            digest.update(each.read_bytes())
    return digest.hexdigest()[:12]


def folder_key(folder):
    """Key of a folder of input files: names, sizes and times of change."""
    entries = []
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            stat = path.stat()
            entries.append((str(path.relative_to(folder)), stat.st_size, stat.st_mtime_ns))
    return key_of(entries)


def write_json(path, value):
    """Write JSON, moved into place whole; NaN becomes null."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    temporary.write_text(json.dumps(_plain(value), indent=1) + "\n")
    os.replace(temporary, path)


def _plain(value):
    if is_dataclass(value) and not isinstance(value, type):
        return {"type": type(value).__name__} | _plain(asdict(value))
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and value != value:
        return None
    return value
