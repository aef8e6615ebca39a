"""Write the rest of requirements.lock from its direct pins, by uv, and environment.yml with the same lines.

    python tests/write_lock.py

One version a package serves all Pythons and systems; conda resolves ``-r`` wrongly, hence the lines in environment.yml.
Fails unless every pin but one has a wheel for each Python here.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tsgen.running.environment import LOCK, NEEDED, direct_pins, pins  # noqa: E402

RESOLVED_FOR = ("3.11.2", "3.12", "3.13")
YML = """# Written from requirements.lock by `python tests/write_lock.py`: change the lock alone
name: tsgen
channels:
  - conda-forge
dependencies:
  - python=3.11
  - pip
  - pip:
"""
LEFT_TO_TORCH = ("nvidia", "cuda", "triton")  # its Linux build names their versions itself, other builds need none
WITHOUT_WHEEL = "eqsig"  # plain Python, published as source alone


def run_uv(*words):
    """Run uv pip; where it fails, end with its exit code after its own words."""
    uv = shutil.which("uv") or sys.exit("The lock is written by uv: pip install uv")
    if code := subprocess.run([uv, "pip", *words]).returncode:
        sys.exit(code)


def main():
    head = LOCK.read_text().partition(NEEDED)[0]
    with tempfile.TemporaryDirectory() as folder:
        asked, resolved = Path(folder, "asked.in"), Path(folder, "resolved.txt")
        asked.write_text(head)
        shutil.copy(LOCK, resolved)  # what it says stays as far as it can
        bare = ("--no-header", "--no-annotate", "--fork-strategy=fewest")
        run_uv("compile", "-q", "--universal", "--python-version", RESOLVED_FOR[0], *bare, "-o", resolved, asked)
        lines = [line for line in resolved.read_text().splitlines() if pins(line).keys() - direct_pins(head).keys()]
        text = head + NEEDED + "".join(f"{line}\n" for line in lines if not line.startswith(LEFT_TO_TORCH))
        resolved.write_text(text)
        for python in RESOLVED_FOR:
            wheels = ("--only-binary=:all:", f"--no-binary={WITHOUT_WHEEL}", "--python-version", python)
            run_uv("install", "-q", "--dry-run", "--no-deps", "--target", folder, *wheels, "-r", resolved)
    LOCK.write_text(text)
    lines = [line for line in text.splitlines() if pins(line)]
    (ROOT / "environment.yml").write_text(YML + "".join(f"      - {line}\n" for line in lines))


if __name__ == "__main__":
    main()
