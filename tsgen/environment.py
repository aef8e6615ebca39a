"""The pinned environment: what requirements.lock asks for, and whether the active Python holds it.

    python -m tsgen.environment          ends with 0 if it does, else says what differs
    python -m tsgen.environment write    after a change of the direct pins and their installation: writes the rest
                                         of the lock, and environment.yml from the lock

Only the standard library is imported, for run_all.sh asks before anything is installed.
"""

import re
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
PYTHON = (3, 11)
NEEDED = "# What these need, written by `python -m tsgen.environment write`\n"
LEFT_TO_TORCH = ("nvidia", "cuda", "triton")  # its Linux build names their versions itself, other builds need none


def canonical(name):
    """The name of a package as the registries compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text):
    """{package: version} of a lock's lines ``package==version``; comments and blank lines do not count."""
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return {canonical(name): version for name, version in (line.split("==") for line in lines if line)}


def direct_pins(text):
    """The pins that the study itself asks for: those above the line that opens what they need in turn."""
    return pins(text.partition(NEEDED)[0])


def differences(wanted):
    """One sentence a package of ``wanted`` that the active Python lacks or holds in another version.

    A local version counts as its public one: torch 2.13.0+cpu is 2.13.0.
    """
    found = []
    for name, version in wanted.items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed = None
        if installed is None or installed.split("+")[0] != version:
            found.append(f"{name} {version} is asked for, {installed or 'none'} is installed")
    return found


def needed_by(names):
    """{package: version} of all that the installed packages ``names`` depend on, themselves left out."""
    from packaging.requirements import Requirement

    needed, waiting = {}, [(name, "") for name in names]
    seen = set(waiting)
    while waiting:
        name, extra = waiting.pop()
        for line in metadata.requires(name) or ():
            requirement = Requirement(line)
            child = canonical(requirement.name)
            if child.startswith(LEFT_TO_TORCH):
                continue
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                needed[child] = metadata.version(child).split("+")[0]
                new = {(child, ""), *((child, wanted) for wanted in requirement.extras)} - seen
                seen |= new
                waiting += new
    return {name: needed[name] for name in sorted(needed) if name not in names}


def environment_yml(text):
    """environment.yml for conda users: the lock's pins spelled out, since conda tools resolve ``-r`` wrongly."""
    head = "# Written from requirements.lock by `python -m tsgen.environment write`: change the lock, not this file\n"
    head += f"name: tsgen\nchannels:\n  - conda-forge\ndependencies:\n  - python={PYTHON[0]}.{PYTHON[1]}\n  - pip\n"
    return head + "  - pip:\n" + "".join(f"      - {name}=={version}\n" for name, version in pins(text).items())


def write():
    """Write the lock's lower part from what is installed, and environment.yml from the lock."""
    head = LOCK.read_text().partition(NEEDED)[0]
    needed = needed_by(list(direct_pins(head)))
    text = head + NEEDED + "".join(f"{name}=={version}\n" for name, version in needed.items())
    LOCK.write_text(text)
    (ROOT / "environment.yml").write_text(environment_yml(text))


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
