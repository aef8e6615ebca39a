"""Artefacts of a run: a stage leaves one folder, built once, and built anew when what it rests on changes.

A stage's key follows from its settings (by value), its inputs' keys and the source of its modules (``modules_of``).
What is left is checksummed, so that a damaged file is not believed, and moved into place whole: an interrupted run
leaves the last good artefact, and a second process that wants the same waits for it.
"""

import ast
import fcntl
import hashlib
import inspect
import json
import os
import shutil
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache, cached_property
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

PACKAGE = Path(__file__).resolve().parent
# what a stage does not rest on as code: the study hands things out; settings enter the key by value
BY_VALUE = {"study", "dataset", "config"}
MANIFEST = "artefact.json"


@dataclass(frozen=True, eq=False)
class Stage:
    """One artefact under ``folder``: what ``build(folder)`` leaves, as ``load(folder)`` gives it. settings: what JSON
    can hold, and dataclasses. resumable: an interrupted build finds its own files again; others leave none behind."""

    run: Path
    name: str
    build: object
    load: object
    settings: tuple = ()
    inputs: tuple = ()
    resumable: bool = False

    @property
    def folder(self):
        return self.run / self.name

    @cached_property
    def key(self):
        """Twelve hexadecimal digits that change with what the stage rests on."""
        return key_of(self.name, self.settings, [each.key for each in self.inputs], code_of(modules_of(self.build)))

    @property
    def building(self):
        """Folder in which the stage is built, and from which a resumable one goes on."""
        return self.run / f".building-{self.name}-{self.key}"

    @cached_property
    def value(self):
        """The artefact, built now if it is missing, of another key, or damaged; whoever else wants it waits."""
        if (problem := self.problem()) is None:
            try:
                return self.load(self.folder)
            except Exception as error:
                problem = f"it cannot be loaded ({type(error).__name__})"
        with alone(self.run, self.name):
            if self.problem() is not None or problem.startswith("it cannot"):
                if self.folder.exists():
                    print(f"{self.name}: {problem}, building it anew", file=sys.stderr)
                self._make()
        return self.load(self.folder)

    def problem(self):
        """Why what stands cannot be used, None where it can."""
        manifest = _manifest(self.folder)
        if manifest.get("key") == self.key:
            return None if manifest["files"] == checksums(self.folder) else "a file of it was changed or is missing"
        return "settings, inputs or code have changed" if manifest else "it is not complete"

    def _make(self):
        for each in self.inputs:  # also one that the build does not ask for: without it this stage would count as stale
            _ = each.value if each.problem() is not None else None
        begun, place, modules = time.monotonic(), self.building, modules_of(self.build)
        if place.exists() and not self.resumable:
            shutil.rmtree(place)
        place.mkdir(parents=True, exist_ok=True)
        try:
            self.build(place)
        except BaseException:
            if not self.resumable:
                shutil.rmtree(place, ignore_errors=True)
            raise
        manifest = {"key": self.key, "seconds": round(time.monotonic() - begun, 1), "files": checksums(place)}
        manifest |= {"inputs": {os.path.relpath(each.folder, self.run): each.key for each in self.inputs}}
        manifest |= {"settings": [key_of(part) for part in self.settings], "modules": modules, "code": code_of(modules)}
        write_json(place / MANIFEST, manifest)
        shutil.rmtree(self.folder, ignore_errors=True)
        os.replace(place, self.folder)


@contextmanager
def alone(run, name):
    """What happens inside is done by one process at a time, of those that work in the folder of a run."""
    locks = run / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    with open(locks / name, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _manifest(folder):
    """Content of the manifest in ``folder``, {} where there is none that can be read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        return manifest if manifest.keys() >= {"key", "files", "inputs", "settings", "modules", "code"} else {}
    except (OSError, ValueError, AttributeError):
        return {}


def standing(run):
    """{folder: manifest} of a run's valid artefacts: made by the code that stands now, from inputs that are valid."""
    manifests, valid, code_now = {}, {}, cache(code_of)  # many stages rest on the same modules

    def is_valid(folder):
        if folder not in valid:
            made = manifests[folder] = _manifest(folder)
            valid[folder] = bool(made) and made["code"] == code_now(tuple(made["modules"]))
            for path, key in made["inputs"].items() if valid[folder] else ():
                other = Path(os.path.normpath(run / path))
                valid[folder] &= is_valid(other) and manifests[other]["key"] == key
        return valid[folder]

    folders = (path.parent for path in sorted(run.glob(f"[!.]*/{MANIFEST}")))
    return {folder: manifests[folder] for folder in folders if is_valid(folder)}


def key_of(*parts):
    """Twelve hexadecimal digits of SHA-256 over settings."""
    text = json.dumps([plain(part) for part in parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def folder_key(folder):
    """Key of a folder of input files: names, sizes and times of change."""
    paths = (path for path in sorted(Path(folder).rglob("*")) if path.is_file())
    return key_of([(str(p.relative_to(folder)), p.stat().st_size, p.stat().st_mtime_ns) for p in paths])


def checksums(folder):
    """{file: checksum} of an artefact's files, the manifest left out."""
    files = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST]
    return {str(path.relative_to(folder)): _checksum(path, now.st_size, now.st_mtime_ns) for path, now in files}


@cache
def _checksum(path, _size, _modified):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:16]


def modules_of(build):
    """Names, sorted, of the package's modules that a function rests on: its own, those that names in its body (also in
    a closure) stand for or come from, and all that these import, inside functions as well; BY_VALUE left out."""
    reached, left = set(), {build.__module__, *_named(build)}
    while left:
        name = left.pop()
        package, _, rest = name.partition(".")
        if package == "tsgen" and name not in reached and rest not in BY_VALUE:
            reached.add(name)
            left |= _imports(name)
    return sorted(reached)


def code_of(modules):
    """Digest of the source of modules, given by name; another where one no longer exists."""
    digest = hashlib.sha256()
    for name in modules:
        digest.update(name.encode() + _source(name))
    return digest.hexdigest()[:12]


def _named(build):
    """Modules of what the body of a function, and functions inside it, name."""
    outside = inspect.getclosurevars(build).nonlocals
    names, codes = set(), [build.__code__]
    for code in codes:  # which grows by the functions inside
        names |= set(code.co_names) | set(code.co_freevars)
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    for value in (outside.get(name, build.__globals__.get(name)) for name in names):
        if isinstance(value, ModuleType):
            yield value.__name__
        elif isinstance(value, (FunctionType, type)):
            yield value.__module__
            if isinstance(value, FunctionType) and value.__module__ == build.__module__ and value is not build:
                yield from _named(value)


def _path(name):
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _source(name):
    path = _path(name)
    return path.read_bytes() if path.exists() else b""


@cache
def _imports(name):
    """Names of the package's modules that a module imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(_source(name))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {each for each in found if each.split(".")[0] == "tsgen" and _path(each).exists()}


def write_atomically(path, write):
    """``write(temporary path)``, then move into place: a kill leaves the old file or the new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path, value):
    """Write JSON, moved into place whole; NaN becomes null."""
    write_atomically(path, lambda temporary: temporary.write_text(json.dumps(plain(value), indent=1) + "\n"))


def plain(value):
    """``value`` as JSON holds it: dataclasses as dicts with their type, arrays as lists, NaN as None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {"type": type(value).__name__} | plain(asdict(value))
    if isinstance(value, dict):
        return {str(name): plain(inner) for name, inner in value.items()}
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and value != value else value
