"""Where the project lies, whether the active Python holds requirements.lock, and the making of .venv. Standard library
alone, for run_all.sh asks before anything is installed.

    python -m tsgen.running.environment          ends with 0 if it holds the lock, else says what differs
    python -m tsgen.running.environment make     .venv with the packages of the lock, made anew or mended
"""

import fcntl
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
LOCK = ROOT / "requirements.lock"
LOWEST, BEYOND = (3, 11, 2), (3, 14)  # the Pythons that the lock serves; pyproject.toml and run_all.sh say the same
NEEDED = "# What these need, written by `python tests/write_lock.py`\n"
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = VENV / "set-up.log"
UNFINISHED = VENV / "unfinished"  # there while packages are installed, and after a kill
# seconds, and only until all is known to be there: pip stands by
IMPATIENT = {"UV_HTTP_RETRIES": "1", "UV_HTTP_CONNECT_TIMEOUT": "10", "UV_HTTP_TIMEOUT": "20"}


def choose(only=None, folder=NOTEBOOKS):
    """Paths of the notebooks in ``folder``: all, or those with the numbers in ``only`` ("03,05"), else ValueError."""
    paths = {path.name[:2]: path for path in sorted(folder.glob("[0-9][0-9]-*.ipynb"))}
    wanted = {number.strip().zfill(2) for number in only.split(",")} if only else {*paths}
    if unknown := wanted - {*paths}:
        there = ", ".join(path.stem for path in paths.values())
        raise ValueError(f"--only {only}: no notebook {', '.join(sorted(unknown))} among {there}")
    return [paths[number] for number in sorted(wanted)]


def pins(text):
    """{package: version} of a lock's lines ``package==version``, whichever systems they are for (``; …``)."""
    lines = (line.split("#")[0].split(";")[0].strip() for line in text.splitlines())
    return dict(line.split("==") for line in lines if line)


def direct_pins(text):
    """The pins that the study itself asks for: those above the line that opens what they need in turn."""
    return pins(text.partition(NEEDED)[0])


def differences(wanted):
    """One sentence a package of ``wanted`` that is missing or of another version; torch 2.13.0+cpu is 2.13.0."""
    unlike = []
    for name, version in wanted.items():
        try:
            installed = metadata.version(name).split("+")[0]
        except metadata.PackageNotFoundError:
            installed = "none"
        if installed != version:
            unlike.append(f"{name} {version} is asked for, {installed} is installed")
    return unlike


def unfit():
    """What keeps the study from running with the active Python: sentences, none where it can run."""
    unlike = differences(direct_pins(LOCK.read_text()))
    if not LOWEST <= sys.version_info[:3] < BEYOND:
        unlike.insert(0, f"Python 3.11.2 to 3.13 is asked for, this is {sys.version.split()[0]}")
    if Path(sys.prefix, UNFINISHED.name).exists():
        unlike.insert(0, f"an installation into {sys.prefix} was broken off")
    return unlike


# ---- making .venv ----


def succeeds(*command, **environ):
    """Whether a command ends with 0. What it says goes to the log."""
    with LOG.open("a") as log:
        print("\n$", *command, file=log, flush=True)
        return not subprocess.run(command, stdout=log, stderr=log, env=os.environ | environ).returncode


def complaint():
    """(what the last command said, the line that says most about its failure: uv's first cause, else the last error)"""
    said = LOG.read_text(errors="replace").rpartition("\n$ ")[2]
    lines = [line.strip() for line in said.splitlines()]
    causes = [line.removeprefix("cause: ") for line in lines if line.startswith("cause:")]
    errors = [line for line in lines if line.lower().startswith("error:")]
    return said, (causes[:1] or errors[-1:] or lines[-1:] or [""])[0]


def begin():
    """An environment with pip alone, in place of whatever stands there."""
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], capture_output=True, text=True)
    if made.returncode:
        sys.exit(f"{VENV} cannot be made: {(made.stderr or made.stdout).strip().splitlines()[-1]}")


def stands():
    """Whether an environment stands there that can be installed into: its Python starts, nothing was broken off."""
    check = f"import pip, sys; sys.exit(not {LOWEST} <= sys.version_info[:3] < {BEYOND})"
    try:
        return not UNFINISHED.exists() and succeeds(PYTHON, "-c", check)
    except OSError:
        return False


def lacks():
    """What .venv differs in from the lock, in one sentence; "" where it holds it."""
    said = subprocess.run([PYTHON, "-m", "tsgen.running.environment"], capture_output=True, text=True)
    return (said.stderr.strip().splitlines() or ["it does not say why"])[0] if said.returncode else ""


def install():
    """Install the lock's packages and the project itself; ends with one sentence where that cannot be.
    uv's back-end "auto" is PyTorch's CPU build without a GPU, else the build that the driver can run, both from
    PyTorch's own index. Where that or uv is out of reach, pip takes the PyTorch that it finds. A torch of the pinned
    version that is there already stays, whatever its build."""
    UNFINISHED.touch()
    pip = (PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar=off")
    uv = shutil.which("uv")
    if not uv and succeeds(*pip, "--retries=1", "uv"):
        uv = VENV / "bin" / "uv"
    torch = f"lib/python*/site-packages/torch-{direct_pins(LOCK.read_text())['torch']}*.dist-info"
    build = [] if [*VENV.glob(torch)] else ["--torch-backend=auto"]
    # bytecode as pip writes it: else each process compiles its own where none may be written
    by_uv = (uv, "pip", "install", "--python", PYTHON, *build, "--compile-bytecode", "-r", LOCK)
    done = uv and succeeds(*by_uv, "--dry-run", **IMPATIENT) and succeeds(*by_uv)
    if not done:
        print(f"uv cannot ({complaint()[1]}): pip does it, with the PyTorch that it finds", file=sys.stderr, flush=True)
        done = succeeds(*pip, "-r", LOCK)
    if not (done and succeeds(*pip, "--no-deps", "--no-build-isolation", "-e", ROOT)):
        said, why = complaint()
        if "connection broken by" in said and "No matching distribution" in why:
            sys.exit("No package index can be reached: connect to the network or tell pip of one, then run this again.")
        if (free_in_gb := shutil.disk_usage(VENV).free / 1e9) < 1:
            sys.exit(f"The disk is full ({free_in_gb:.1f} GB left): {VENV} takes 2 GB, 6 GB with PyTorch's CUDA build.")
        sys.exit(f"The packages cannot be installed ({why}): {LOG} holds all that pip said.")
    UNFINISHED.unlink()


def make():
    """Make .venv, or mend the one there, so that it holds the lock; ends with one sentence where that cannot be."""
    fcntl.flock(os.open(ROOT, os.O_RDONLY), fcntl.LOCK_EX)  # a second set-up waits for the first
    kept = stands()
    if kept and not lacks():
        return
    told = "Setting up .venv with the packages of requirements.lock (once, minutes)"
    print(f"{told}; .venv/set-up.log tells how far it is", file=sys.stderr, flush=True)
    if not kept:
        begin()
    install()
    if kept and lacks():
        begin()
        install()
    if different := lacks():
        sys.exit(f"After the installation {different}: {LOG} holds all that was said.")


def main(word=""):
    try:
        if word == "make":
            make()
        elif unlike := unfit():
            sys.exit("\n".join(unlike))
    except OSError as error:  # a full disk, a folder that may not be written to
        sys.exit(f"The set-up cannot go on: {error}")
    except KeyboardInterrupt:
        sys.exit("The set-up was stopped; the next call begins it again")


if __name__ == "__main__":
    main(*sys.argv[1:])
