"""The authors' published f0 and HVSR, drawn and scored as notebook 06 does: ``python -m tsgen.published FOLDER``.

FOLDER holds hvsr_f0_station_CODE.npz from the repository of TimesNet-Gen's authors, one a station: f0 of recordings and
of what both models reconstruct, median HVSR. Written into --out: f0.png, hvsr.png, published.json (scores as findings).
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from tsgen import findings, metrics
from tsgen.figures import paper, style
from tsgen.findings import finding
from tsgen.one_sentence import OneSentence
from tsgen.roles import role

FILES = "hvsr_f0_station_*.npz"
ROLES = {"real": "training", "timesnet": "reconstructed-timesnet", "vae": "reconstructed-cvae"}  # by array: who it is


def read(folder):
    """({role: {station: f0 (n,) in Hz}}, {station: (frequencies (f,), {role: median curve (f,)})}) of a folder;
    ValueError in one sentence where it has no such files, or one is not what was published."""
    f0, hvsr = {name: {} for name in ROLES.values()}, {}
    for path in sorted(Path(folder).glob(FILES)):
        station = path.stem.rpartition("_")[2]
        try:
            with np.load(path, allow_pickle=False) as arrays:
                for name, own in ROLES.items():
                    f0[own][station] = arrays[f"f0_{name}"]
                curves = {ROLES[name]: arrays[f"hvsr_median_{name}"] for name in ("real", "timesnet")}
                hvsr[station] = arrays["hvsr_freq_real"], curves
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(f"{path} is not as the authors published it ({error}): download it again") from error
    if len(hvsr) < 2:
        raise ValueError(f"{folder} has fewer than two files {FILES}: give the folder of the authors' published arrays")
    return f0, hvsr


def scores(f0):
    """Findings (rows): S × S and 2S × 2S of what each model reconstructs, S × S of recordings and of their halves."""
    real, rows = f0["training"], []

    def add(name, statistic, score):
        rows.append(finding(name, "training", "score", statistic, score, protocol="in_sample", set="published f0"))

    for name in list(ROLES.values())[1:]:
        groups = {"real": real, "reconstructed": f0[name]}
        add(name, "S × S", metrics.station_score(metrics.station_matrix(groups, "real", "reconstructed")))
        add(name, "2S × 2S", metrics.station_score(metrics.station_matrix(groups)))
    add("training", "S × S, with themselves", metrics.station_score(metrics.station_matrix({"real": real})))
    add("training", "S × S, halves", metrics.ceiling(real))
    return rows


def draw(f0, hvsr, out):
    """f0.png and hvsr.png in folder ``out``, in the look of figures stations_f0 and stations_hvsr."""
    theirs, known = SimpleNamespace(stations=list(hvsr)), {name: role(name) for name in ROLES.values()}
    with style.styled():
        legend = {look.label: look.line for look in known.values()}
        drawn, panels = style.station_axes(theirs, legend, xlabel="f0 (Hz)", ylabel="share of records")
        for ax, station in zip(panels, hvsr, strict=True):
            paper.f0_panel(ax, station, {name: f0[name][station] for name in known}, list(known)[1:])
        drawn.suptitle("f0 as the authors published it", fontsize=10)
        drawn.savefig(out / "f0.png")
        legend.pop(role("reconstructed-cvae").label)
        drawn, panels = style.station_axes(theirs, legend, ylabel="H/V")
        for ax, (station, (frequency, curves)) in zip(panels, hvsr.items(), strict=True):
            paper.hvsr_panel(ax, station, frequency, curves, list(curves)[1:])
        drawn.suptitle("median HVSR as the authors published it", fontsize=10)
        drawn.savefig(out / "hvsr.png")


def main(arguments=None):
    parser = OneSentence(prog="python -m tsgen.published", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=Path("published"), metavar="FOLDER")
    asked = parser.parse_args(arguments)
    try:
        f0, hvsr = read(asked.folder)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    asked.out.mkdir(parents=True, exist_ok=True)
    draw(f0, hvsr, asked.out)
    found = scores(f0)
    run = {"experiment": "The authors' published f0 of five AFAD stations, scored by this study's code."}
    run |= {"profile": "in-sample", "records": "f0 of the authors", "command": "python -m tsgen.published FOLDER"}
    run |= {"attribution": "TimesNet-Gen's authors, MIT licence", "date": f"{datetime.now(UTC):%Y-%m-%d}"}
    findings.write(asked.out / "published.json", run, found)
    print(findings.pivot(found, "statistic", "subject", digits=3).to_string())
    print(f"f0.png, hvsr.png and published.json are in {asked.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
