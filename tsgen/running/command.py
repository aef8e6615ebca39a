"""The words of run_all.sh: run the study at a profile, publish, lab, test. Options are read with the standard library
alone, so that a wrong one ends before the environment is set up."""

import argparse
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from tsgen import config
from tsgen.one_sentence import OneSentence
from tsgen.running.environment import ROOT, choose

WORDS = {
    "publish": "copy the quick default run to notebooks/, figures/ and results/quick.json",
    "lab": "open JupyterLab in the study's environment",
    "test": "ruff, pytest, and the committed notebooks from an empty run folder; with --fast the notebooks at smoke",
}
# strict: outputs are compared, and tests/teeth.py changes some to see it noticed; the driver's warnings are not ours
NBVAL = ("--nbval", "--nbval-current-env", "-p", "teeth", "-W", "default")


def given(text):
    """``text`` unless it holds nothing: an unset shell variable must not run something else."""
    if not text.strip(" ,"):
        raise argparse.ArgumentTypeError("nothing is given (an empty variable?)")
    return text


def folder(text):
    """Absolute path of an existing folder, resolved against the caller's."""
    path = Path(given(text)).expanduser().resolve()
    if not path.is_dir():
        what = "is a file: give the folder that holds it" if path.exists() else "no such folder"
        raise argparse.ArgumentTypeError(f"{text}: {what}")
    return str(path)


def whole(text, lowest=0):
    if not text.isdecimal() or not lowest <= int(text) < 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {lowest} to {2**32 - 1}")
    return int(text)


def options(arguments):
    """What the command line asks for; ends with one sentence and code 2 where it cannot be meant."""
    about = f"Run every notebook of the study at a profile ({', '.join(config.PROFILES)}; quick unless told otherwise)"
    about = "\n".join([about + ", or:\n", *(f"  {word:<10} {meaning}" for word, meaning in WORDS.items())])
    parser = OneSentence(prog="./run_all.sh", description=about, allow_abbrev=False)
    parser.add_argument("word", nargs="?", default="quick", help="a profile or one of the above")
    parser.add_argument("--records", type=folder, metavar="FOLDER", help="your own; without it a simulated network")
    parser.add_argument("--stations", type=given, metavar="A,B", help="target stations, NETWORK.CODE")
    parser.add_argument("--unit", type=given, metavar="U", help="unit of files that do not state one, as cm/s^2 or g")
    parser.add_argument("--seed", type=whole, default=0, metavar="N")
    parser.add_argument("--background", type=partial(whole, lowest=1), metavar="N", help="background records at most")
    parser.add_argument("--only", type=given, metavar="03[,05]", help="these notebooks instead of all")
    parser.add_argument("--fresh", action="store_true", help="delete the run's folder first")
    parser.add_argument("--fast", action="store_true", help="with test: about seven minutes")
    asked = parser.parse_args(arguments)
    if asked.word not in (known := [*config.PROFILES, *WORDS]):
        parser.error(f"unknown profile or word {asked.word!r}: known are {', '.join(known)}")
    for name, value in vars(asked).items():
        belongs = asked.word == "test" if name == "fast" else asked.word in config.PROFILES
        if name != "word" and not belongs and value != parser.get_default(name):
            parser.error(f"--{name} does not go with {asked.word}")
    asked.records, asked.stations = asked.records or "", asked.stations or ""  # as the notebooks' parameters have it
    asked.word += f"-{asked.background}" if asked.background else ""
    try:
        asked.notebooks = choose(asked.only)
    except ValueError as error:
        parser.error(str(error))
    return asked


def main(arguments):
    check = arguments[:1] == ["--check"]
    asked = options(arguments[check:])
    if check:
        return
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel, not one of the same name in the home
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # several threads wait for each other where a core is taken
    if runs := os.environ.get("TSGEN_RUNS"):
        os.environ["TSGEN_RUNS"] = os.path.abspath(runs)  # notebooks run in a folder of their own
    if asked.word == "test":
        sys.exit(test(asked.fast))
    if asked.word == "publish":
        os.execv(sys.executable, [sys.executable, str(ROOT / "tests" / "publish.py")])
    if asked.word == "lab":
        lab = ["-m", "jupyterlab", f"--ServerApp.root_dir={ROOT}", "--LabApp.default_url=/lab/tree/notebooks"]
        lab += ["--allow-root"] if os.geteuid() == 0 else []  # as in containers; Jupyter refuses it otherwise
        os.execv(sys.executable, [sys.executable, *lab])
    from tsgen.running import runner

    try:
        runner.main(asked)
    except (KeyboardInterrupt, OSError) as error:  # OSError: a full disk, a folder that may not be written
        sys.exit(f"{str(error) or 'stopped'}; what is finished stands, and the next run goes on from there")


def test(fast):
    """Exit code of the first check that fails, else 0. Strict nbval meets a run folder that was empty, into which
    another process trains the models meanwhile."""
    from tsgen.running import runner

    run = [sys.executable, "-m"]
    # in their order: else the files with most tests begin, and a long one of few ends alone
    pytest = [*run, "pytest", "--rootdir", str(ROOT), "-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder"]
    steps = [[*run, "ruff", "check", "."], [*run, "ruff", "format", "--check", "."], [*pytest, "tests"]]
    steps[-1] += ["-m", "not slow"] if fast else []
    strict = [*pytest, *NBVAL, *map(str, runner.in_order(choose(), models=True))]
    steps += [[*run, "tsgen.running.command", "smoke"] if fast else strict]
    # what is ended half-way may still write: not to clean up after it is no failure
    with tempfile.TemporaryDirectory(prefix="tsgen-runs-", ignore_cleanup_errors=True) as runs:
        path = os.pathsep.join((str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")))
        environ = os.environ | {"TSGEN_RUNS": runs, "TSGEN_STATIC": "1", "PYTHONPATH": path}
        training = None if fast else subprocess.Popen([*run, "tsgen.running.runner", "quick"], cwd=ROOT, env=environ)
        try:
            for step in steps:
                print("\n" + " ".join(["$ python", *step[1:]]), flush=True)
                if code := subprocess.run(step, cwd=ROOT, env=environ).returncode:
                    return code
            return training.wait() if training else 0
        finally:
            if training:
                training.terminate()
                training.wait()


if __name__ == "__main__":
    main(sys.argv[1:])
