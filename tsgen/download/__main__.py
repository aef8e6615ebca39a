"""Fetch public strong-motion records, with their catalogue, for ``./run_all.sh --records FOLDER``.

    esm      Engineering Strong Motion database: Europe and the Middle East, AFAD's network TK among it
    fdsn     a data centre with FDSN services: --server EARTHSCOPE, INGV, KOERI, GEONET, or its URL
    openeew  OpenEEW's sensors in Mexico (--network mx) and other countries

Stopped half-way, the same command goes on where it stopped."""

import argparse
import re
import sys
from pathlib import Path

import pandas as pd

from tsgen.download import esm, fdsn, openeew
from tsgen.download.plan import Wish, call, download
from tsgen.download.polite import ServerTrouble, Web
from tsgen.one_sentence import OneSentence

SOURCES = {"esm": esm, "fdsn": fdsn, "openeew": openeew}


def wish_of(arguments):
    """(source, Wish); ends with one sentence and code 2 where it cannot be meant."""
    parser = OneSentence(prog="python -m tsgen.download", description=__doc__)
    parser.add_argument("source", choices=SOURCES)
    parser.add_argument("--out", dest="folder", required=True, type=Path, metavar="FOLDER", help="where records go")
    parser.add_argument("--network", metavar="N", help="network code (TK, IT, CI); with openeew the country (mx)")
    parser.add_argument("--stations", default="", metavar="A,B", help="station codes")
    parser.add_argument("--from", dest="begin", type=date, metavar="DATE", help="first day, as 2015-01-31")
    parser.add_argument("--to", dest="end", type=date, metavar="DATE", help="last day")
    parser.add_argument("--min-magnitude", type=float, metavar="M", help="smallest magnitude (fdsn 4, openeew 4.5)")
    distance = {"dest": "max_distance_in_km", "type": float, "metavar": "R"}
    parser.add_argument("--max-distance-km", help="largest distance (fdsn and openeew 200)", **distance)
    parser.add_argument("--most", type=int, default=500, metavar="N", help="refuse more records than this (500)")
    server = {"type": lambda text: text.rstrip("/"), "metavar": "URL"}
    parser.add_argument("--server", help="another address of the service; with fdsn a data centre's name", **server)
    parser.add_argument("--events", metavar="URL", help="FDSN service that knows the earthquakes (fdsn, openeew)")
    parser.add_argument("--velocity", action="store_true", help="fdsn: seismometers too, where no accelerometer stands")
    given = vars(parser.parse_args(arguments))
    source = SOURCES[given.pop("source")]
    codes = [part.strip().rpartition(".") for part in given.pop("stations").split(",") if part.strip()]
    given["stations"] = tuple(code for _, _, code in codes)
    networks = {network for network, _, _ in codes if network}
    given["network"] = given["network"] or (networks.pop() if len(networks) == 1 else None)
    given |= {name: value for name, value in source.DEFAULTS.items() if given[name] is None}
    if not given["network"] and not given["stations"]:
        parser.error("name a network or stations: --network TK, --stations 0205,1716")
    return source, Wish(**given)


def date(text):
    if not re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d)?", text) or pd.isna(pd.to_datetime(text, errors="coerce")):
        raise argparse.ArgumentTypeError(f"{text!r} is no date as 2015-01-31")
    return text if "T" in text else f"{text}T00:00:00"


def main(arguments=None, web=None):
    """Exit code: 0, 1 where some records could not be fetched or nothing could, 130 where it was stopped."""
    source, wish = wish_of(arguments)
    try:
        there, failures = download(source, wish, web or Web())
    except (ServerTrouble, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what is fetched stands, and the same command goes on", file=sys.stderr)
        return 130
    for failure in failures:
        print(f"not fetched: {failure}", file=sys.stderr)
    if not there:
        print("nothing is there: the service has none of these records", file=sys.stderr)
        return 1
    print(f"{sum(there.values())} records of {len(there)} stations in {wish.folder}; the study of them:")
    print(f"  {call(wish.folder, there, wish.stations)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
