"""Redraw figures of a run from what it left: ``python -m tsgen.figures matrix_timesnet --profile quick``."""

import sys

import matplotlib

from tsgen import figures
from tsgen.one_sentence import OneSentence
from tsgen.study import Study


def main(arguments=None):
    parser = OneSentence(prog="python -m tsgen.figures", description=__doc__)
    parser.add_argument("names", nargs="*", help="figures to draw; none draws all")
    parser.add_argument("--list", action="store_true", help="list the figures and what they show")
    parser.ask_for_a_study()
    given = parser.parse_args(arguments)
    if given.list:
        print("\n".join(f"{name:24s} {text.split('. ')[0]}" for name, text in figures.CAPTIONS.items()))
        return 0
    matplotlib.use("Agg")
    try:
        study = Study(given.profile, given.records, given.stations, given.seed, unit=given.unit)
        for name in given.names or figures.FIGURES:
            print(figures.draw(study, name, pdf=True))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
