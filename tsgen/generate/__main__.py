"""Generate records of a station, or of a site without records: ``python -m tsgen.generate --model M --out FOLDER …``.

    --model timesnet --station TK.0205 -n 50                                 mixes of the station's recordings
    --model cgm --station TK.0205 --magnitude 6.2 --distance 25 -n 50        a scenario
    --model evolve --vs30 450 --magnitude 6.2 --distance 25 -n 50            a site that no model has seen

The model is trained if the run (--profile, --records) has not left it. In --out: MiniSEED in cm/s², or with --seisbench
one collection; records.csv with what each is; and README.txt with the terms.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from tsgen import generate
from tsgen.collection import fitting
from tsgen.evidence import scenarios
from tsgen.one_sentence import OneSentence
from tsgen.study import FITTED, LAWS, MODELS, Study

NEW = "XX.NEW"  # a site without records
NOT_FOR_DESIGN = "Generated, not recorded. Not for design without review."


def options(arguments):
    """What the command line asks for; ends with one sentence and code 2 where it cannot be meant."""
    parser = OneSentence(prog="python -m tsgen.generate", description=__doc__)
    models = [*MODELS, *FITTED]
    parser.add_argument("--model", required=True, choices=models, metavar="M", help=", ".join(models))
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--station", metavar="S", help="NETWORK.CODE, or a code alone, of a target station")
    where.add_argument("--vs30", type=float, metavar="V", help="m/s, of a site that no model has seen")
    parser.add_argument("--magnitude", type=float, metavar="M")
    parser.add_argument("--distance", type=float, metavar="R", help="hypocentral, km")
    parser.add_argument("--depth", type=float, metavar="D", help="km")
    parser.add_argument("-n", type=int, default=10, help="records (10)")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--seisbench", action="store_true", help="one collection in place of MiniSEED files")
    parser.ask_for_a_study()
    return parser.parse_args(arguments)


def records_of(study, asked):
    """Generated Records, and sentences on what the model had to reach for."""
    conditional = hasattr((MODELS | FITTED)[asked.model], "scenarios_of")
    given, more = (asked.magnitude, asked.distance), (asked.depth, asked.vs30)
    if not conditional and any(each is not None for each in (*given, *more)):
        words = "takes no magnitude, distance or Vs30: it makes records of a station as its earthquakes come"
        raise ValueError(f"{asked.model} {words}; cgm and {', '.join(FITTED)} take them")
    if None in given and any(each is not None for each in (*given, *more)):
        raise ValueError("a scenario needs both --magnitude and --distance (km)")
    if asked.vs30 and asked.model in LAWS:
        raise ValueError(f"{asked.model} knows the stations it was fitted to alone; cgm and evolve take --vs30")
    if asked.n < 1:
        raise ValueError("-n must be 1 or more")
    station = NEW if asked.vs30 else _station(study, asked.station)
    if not conditional:
        model = study.model(asked.model)
        if asked.model == "timesnet":
            own, k = study.training.select(station=station), study.settings.mixed_records
            return generate.mix(model, own, asked.n, k, seed=asked.seed), []
        return generate.sample(model, [station], n=asked.n, seed=asked.seed), []
    law = study.model(asked.model) if asked.model in MODELS else study.fitted(FITTED[asked.model])
    if None in given:
        return generate.sample(law, [station], n=asked.n, seed=asked.seed), []
    row = {"station": station, "magnitude": asked.magnitude, "distance_in_km": asked.distance}
    row |= {"depth_in_km": asked.depth or np.nan, "vs30_in_m_per_s": asked.vs30 or scenarios.vs30_of(study, station)}
    reach, notes = scenarios.reach(study), []
    for name, value in (("magnitude", asked.magnitude), ("distance_in_km", asked.distance)):
        low, high = reach[name]
        if not low <= value <= high:
            outside = f"{name.replace('_', ' ')} {value:g} lies outside what was learned from"
            notes.append(f"{outside} ({low:.3g} to {high:.3g}): extrapolated.")
    return generate.sample(law, scenarios=pd.DataFrame([row]), n=asked.n, seed=asked.seed), notes


def _station(study, name):
    if len(same := fitting(name, study.stations)) != 1:
        known = ", ".join(study.stations)
        raise ValueError(f"{name} is none of the target stations {known}: name it in --stations")
    return same[0]


def main(arguments=None):
    """Exit code: 0, or 2 where what was asked cannot be had."""
    asked = options(arguments)
    try:
        stations = asked.stations or (asked.station if asked.records else None)
        study = Study(asked.profile, asked.records, stations, unit=asked.unit)
        if asked.model == "cgm" and (lacking := study.lacking("magnitudes")):
            raise ValueError(lacking)
        made, notes = records_of(study, asked)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    made = made.with_columns(model=asked.model, note=" ".join([NOT_FOR_DESIGN, *notes]))
    asked.out.mkdir(parents=True, exist_ok=True)
    made.save(asked.out) if asked.seisbench else made.save_miniseed(asked.out)
    source = study.records_folder.name if study.records_folder else "the study's simulated default"
    terms = f"Learned from {source}" + (f" ({study.attribution}), whose terms hold." if study.attribution else ".")
    (asked.out / "README.txt").write_text("\n".join([NOT_FOR_DESIGN, terms, *notes]) + "\n")
    print(f"{len(made)} records of {made.stations[0]} by {asked.model}")
    print(terms, NOT_FOR_DESIGN, *notes, asked.out, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
