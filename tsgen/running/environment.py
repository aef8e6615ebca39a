"""Where the project lies, what requirements.lock asks for, and whether the active Python holds it.

    python -m tsgen.running.environment          ends with 0 if it does, else says what differs
    python -m tsgen.running.environment write    the rest of the lock from the direct pins installed; environment.yml

Only the standard library is imported, for run_all.sh asks before anything is installed."""

import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
LOCK = ROOT / "requirements.lock"
PYTHON = (3, 11)
NEEDED = "# What these need, written by `python -m tsgen.running.environment write`\n"
YML = """# Written from requirements.lock by `python -m tsgen.running.environment write`: change the lock alone
name: tsgen
channels:
  - conda-forge
dependencies:
  - python={}.{}
  - pip
  - pip:
"""
LEFT_TO_TORCH = ("nvidia", "cuda", "triton")  # its Linux build names their versions itself, other builds need none


def choose(only=None, folder=NOTEBOOKS):
    """Paths of the notebooks in ``folder``: all, or those with the numbers in ``only`` ("03,05"), else ValueError."""
    paths = {path.name[:2]: path for path in sorted(folder.glob("[0-9][0-9]-*.ipynb"))}
    wanted = {number.strip().zfill(2) for number in only.split(",")} if only else {*paths}
    if unknown := wanted - {*paths}:
        there = ", ".join(path.stem for path in paths.values())
        raise ValueError(f"--only {only}: no notebook {', '.join(sorted(unknown))} among {there}")
    return [paths[number] for number in sorted(wanted)]


def pins(text):
    """{package: version} of a lock's lines ``package==version``; comments and blank lines do not count."""
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return dict(line.split("==") for line in lines if line)


def direct_pins(text):
    """The pins that the study itself asks for: those above the line that opens what they need in turn."""
    return pins(text.partition(NEEDED)[0])


def differences(wanted):
    """One sentence a package of ``wanted`` that is missing or of another version; torch 2.13.0+cpu is 2.13.0."""
    found = []
    for name, version in wanted.items():
        try:
            installed = metadata.version(name).split("+")[0]
        except metadata.PackageNotFoundError:
            installed = "none"
        if installed != version:
            found.append(f"{name} {version} is asked for, {installed} is installed")
    return found


def needed_by(names):
    """{package: version} of all that the installed packages ``names`` depend on, themselves left out."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    needed, seen, waiting = {}, set(), [(name, "") for name in names]
    while waiting:
        seen.add(at := waiting.pop())
        for requirement in map(Requirement, metadata.requires(at[0]) or ()):
            child, marker = canonicalize_name(requirement.name), requirement.marker
            if not child.startswith(LEFT_TO_TORCH) and (marker is None or marker.evaluate({"extra": at[1]})):
                needed[child] = metadata.version(child).split("+")[0]
                waiting += {(child, extra) for extra in ("", *requirement.extras)} - seen
    return {name: needed[name] for name in sorted(needed) if name not in names}


def write():
    """Write the lock's lower part from what is installed, and environment.yml, for conda resolves ``-r`` wrongly."""
    head = LOCK.read_text().partition(NEEDED)[0]
    needed = needed_by(list(pins(head)))
    text = head + NEEDED + "".join(f"{name}=={version}\n" for name, version in needed.items())
    LOCK.write_text(text)
    lines = "".join(f"      - {name}=={version}\n" for name, version in pins(text).items())
    (ROOT / "environment.yml").write_text(YML.format(*PYTHON) + lines)


def main():
    found = differences(direct_pins(LOCK.read_text()))
    if sys.version_info[:2] != PYTHON:
        found.insert(0, f"Python {PYTHON[0]}.{PYTHON[1]} is asked for, this is {sys.version.split()[0]}")
    if found:
        sys.exit("\n".join(found))
    if sys.argv[1:] == ["write"]:
        write()


if __name__ == "__main__":
    main()
