"""Experiments that take longer than a run; each leaves results/NAME.json, which the notebooks show as stored.

python -m tsgen.experiments --list
python -m tsgen.experiments NAME [--profile quick] [--records FOLDER --stations A,B]
"""

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from tsgen import config, store
from tsgen.experiments.evidence import draw_recorded, evidence_over_seeds, folds, recorded
from tsgen.experiments.models import forms, mean_and_spread, seeds, vae, winner
from tsgen.experiments.scenario import (
    by_setting,
    cgm_ablations,
    cgm_leaks,
    cgm_networks,
    cgm_objectives,
    over_networks,
)
from tsgen.records import split_station

__all__ = [
    "EXPERIMENTS",
    "RESULTS",
    "attribution",
    "by_setting",
    "mean_and_spread",
    "over_networks",
    "run",
    "stored",
    "winner",
]
RESULTS = Path(__file__).resolve().parents[2] / "results"
ATTRIBUTIONS = {"OEEWMX": "OpenEEW, CC BY-SA 4.0"}  # network: whose recordings they are, on what terms

EXPERIMENTS = {
    function.__name__: function
    for function in (forms, seeds, vae, folds, recorded, cgm_objectives, cgm_ablations, cgm_networks, cgm_leaks)
}
EXPERIMENTS |= {"evidence": evidence_over_seeds}


def run(name, profile="quick", records=None, stations=None, folder=RESULTS):
    """Run experiment ``name`` and write ``folder``/NAME.json (with ``records``: recorded-NAME.json); returns its path.

    Raises ValueError for an unknown name.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {name!r}; known: {', '.join(EXPERIMENTS)}")
    settings, given = config.profile(profile), {"records": records, "stations": stations}
    rows = EXPERIMENTS[name](settings, given)
    command = f"python -m tsgen.experiments {name}" + (f" --profile {profile}" if profile != "quick" else "")
    content = {
        "experiment": " ".join(EXPERIMENTS[name].__doc__.split()),
        "date": datetime.now(UTC).date().isoformat(),
        "profile": profile,
        "records": Path(records).name if records else "simulated default",
        "rows": rows,
    }
    folder, prefix = Path(folder), ""
    if records:
        command += f" --records {Path(records).name}" + (f" --stations {stations}" if stations else "")
        content |= {"settings": settings, "attribution": attribution(stations)}
        prefix = "" if name == "recorded" else "recorded-"
    if name == "recorded":
        draw_recorded(settings, given, folder.parent / "figures" / "recorded")
    path = folder / f"{prefix}{name}.json"
    store.write_json(path, content | {"command": command})
    return path


def attribution(stations):
    """Whose recordings the stations' are; text, "" where it is not known here."""
    networks = {split_station(station.strip())[0] for station in (stations or "").split(",")}
    return "; ".join(ATTRIBUTIONS[network] for network in sorted(networks) if network in ATTRIBUTIONS)


def stored(name):
    """The rows of results/NAME.json as a DataFrame, after a printed line that says what it is, when and how made."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        experiment, own = name.removeprefix("recorded-"), name.startswith("recorded")
        command = f"{experiment} --records FOLDER --stations A,B" if own else experiment
        print(f"results/{name}.json is missing: python -m tsgen.experiments {command} makes it")
        return None
    content = json.loads(path.read_text())
    print(f"stored, {content['date']}, {content['profile']}, {content['records']}: {content['command']}")
    print("\n".join(filter(None, (content["experiment"], content.get("attribution")))))
    return pd.DataFrame(content["rows"]).round(3)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tsgen.experiments", description=__doc__.split("\n")[0])
    parser.add_argument("name", nargs="?")
    parser.add_argument("--list", action="store_true", help="list the experiments")
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--records", help="folder of recordings; without it the simulated default")
    parser.add_argument("--stations", help="target stations, comma-separated")
    given = parser.parse_args(arguments)
    if given.list or not given.name:
        print("\n".join(f"{name:16s} {' '.join(f.__doc__.split())}" for name, f in EXPERIMENTS.items()))
        return 0
    try:
        path = run(given.name, given.profile, given.records, given.stations)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(os.path.relpath(path))
    return 0
