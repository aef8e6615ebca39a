"""The words of run_all.sh: run the study at a profile, publish, lab, test.

Options are read with the standard library alone, so that a wrong one ends before the environment is set up.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tsgen import config
from tsgen.environment import ROOT

NOTEBOOKS = ROOT / "notebooks"
WORDS = {
    "publish": "copy the quick default run to notebooks/, figures/ and results/quick.json",
    "lab": "open JupyterLab in the study's environment",
    "test": "ruff, pytest, and the committed notebooks from an empty run folder; with --fast the notebooks at smoke",
}
NBVAL = ("--nbval", "--nbval-current-env", "-W", "default")  # warnings of the driver are not ours to mend


class OneSentence(argparse.ArgumentParser):
    """A parser whose errors are one sentence."""

    def error(self, message):
        self.exit(2, f"{message}; ./run_all.sh --help lists what there is\n")


def options(arguments):
    """What the command line asks for; ends with one sentence and code 2 where it cannot be meant."""
    profiles = f"a profile ({', '.join(config.PROFILES)}; quick unless told otherwise)"
    words = "\n".join(f"  {word:<10} {meaning}" for word, meaning in WORDS.items())
    parser = OneSentence(
        prog="./run_all.sh",
        description=f"Run every notebook of the study at {profiles}, or:\n\n{words}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("word", nargs="?", default="quick", help="a profile or one of the above")
    parser.add_argument("--records", metavar="FOLDER", help="your own records; without it a simulated network")
    parser.add_argument("--stations", default="", metavar="A,B", help="target stations, NETWORK.CODE")
    parser.add_argument("--unit", metavar="U", help="unit of files that do not state one, as cm/s^2 or g")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--only", metavar="03[,05]", help="these notebooks instead of all")
    parser.add_argument("--fresh", action="store_true", help="delete the run's folder first")
    parser.add_argument("--fast", action="store_true", help="with test: under five minutes")
    asked = parser.parse_args(arguments)
    known = [*config.PROFILES, *WORDS]
    if asked.word not in known:
        parser.error(f"unknown profile or word {asked.word!r}: known are {', '.join(known)}")
    for name, value in vars(asked).items():
        belongs = asked.word == "test" if name == "fast" else asked.word in config.PROFILES
        if name != "word" and not belongs and value != parser.get_default(name):
            parser.error(f"--{name} does not go with {asked.word}")
    asked.records = str(Path(asked.records).expanduser().resolve()) if asked.records else ""
    return asked


def main(arguments):
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel, not one of the same name in the home
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # several threads wait for each other where a core is taken
    if runs := os.environ.get("TSGEN_RUNS"):
        os.environ["TSGEN_RUNS"] = os.path.abspath(runs)  # notebooks run in a folder of their own
    if arguments[:1] == ["--check"]:
        options(arguments[1:])
        return
    asked = options(arguments)
    if asked.word == "lab":
        lab = ["-m", "jupyterlab", f"--ServerApp.root_dir={ROOT}", "--LabApp.default_url=/lab/tree/notebooks"]
        os.execv(sys.executable, [sys.executable, *lab])
    if asked.word == "test":
        sys.exit(test(asked.fast))
    # from here on the pinned packages are there
    if asked.word == "publish":
        from tsgen.publish import main as todo
    else:
        from tsgen.runner import main as todo
    try:
        todo(asked)
    except KeyboardInterrupt:
        sys.exit("stopped; what is finished stands, and the next run goes on from there")


def test(fast):
    """Run the checks one after the other; the exit code of the first that fails, else 0.

    Strict nbval meets an empty run folder; the tests marked teeth then find it filled. --fast leaves both out and
    runs the notebooks at smoke.
    """
    run = [sys.executable, "-m"]
    pytest = [*run, "pytest", "--rootdir", str(ROOT)]
    steps = [
        [*run, "ruff", "check", "."],
        [*run, "ruff", "format", "--check", "."],
        [*pytest, "-n", "auto", "--dist", "loadfile", "tests"],
    ]
    if fast:
        steps += [[*run, "tsgen.command", "smoke"]]
    else:
        steps += [[*pytest, *NBVAL, "notebooks"], [*pytest, "-m", "teeth", "tests/test_notebooks.py"]]
    with tempfile.TemporaryDirectory(prefix="tsgen-runs-") as runs:
        for step in steps:
            print("\n" + " ".join(["$ python", *step[1:]]), flush=True)
            code = subprocess.run(step, cwd=ROOT, env=os.environ | {"TSGEN_RUNS": runs}).returncode
            if code:
                return code
    return 0


if __name__ == "__main__":
    main(sys.argv[1:])
