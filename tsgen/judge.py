"""Judge anyone's generated records against recordings: ``python -m tsgen.judge GENERATED --records FOLDER``.

Both are folders in any format that the study reads, with station names that match. Where most records of both state a
magnitude and a distance, motion is compared given these, else as what the station shows. The recordings should be such
as the generator has not seen. Written into --out: the page index.html, and judged.json with every number.
"""

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from tsgen import config, dataset, features, findings, formats, generate, measures, residuals, store, timesnet
from tsgen.collection import fitting, split_station
from tsgen.distance import Whitening
from tsgen.evidence import bias, copying, distances
from tsgen.findings import finding
from tsgen.needs import scenario_known
from tsgen.one_sentence import OneSentence
from tsgen.records import event_groups
from tsgen.running import report
from tsgen.study import VERSION

FEWEST = 5  # records a station on either side, and earthquakes recorded: of fewer hardly any difference would be seen
COPY = 0.9  # largest correlation with a recording: other records of a station stay far below
LED = ("pga", "d5_95", *measures.SPECTRAL[4:20:5])  # whose median and spread say what is off, beside f0
SCALED = (*LED, *measures.SPECTRAL, *features.FEATURES["duration"], *features.WAVE)  # by magnitude and distance
NULLS = (distances.DISTANCE, distances.ONE_LAW)
APART, SAME = "told apart", "not told apart"
GENERATED, RECORDED = NAMES = "generated", "recordings"
WORDS = (
    "Site: ln HVSR, 1 to 20 Hz. Spectra: ln PSA, 0.05 to 3 s. Duration: ln D5-75, D5-95, Arias intensity. Wave: "
    "coherence, vertical over horizontal, arrival of energy. 0 is one law; the unit is the scatter within a station. "
    "The verdict rests on permutations of which record is whose: one in twenty is told apart by chance. The interval, "
    "of events drawn again, is wider."
)


class CannotJudge(ValueError):
    """What was given cannot be judged: one sentence with the remedy."""


def read(folder, profile, unit=None):
    """(Records at the profile's rate and length, notes) of the files below a folder. UnreadableRecord where none is."""
    how = {"quality": profile.quality, "window": profile.window}
    some, files = formats.read_folder(folder, profile.sampling_rate_in_hz, profile.duration_in_s, unit, **how)
    refused = files[files["outcome"] == "refused"]
    told = f"{len(refused)} files below {folder.name} are refused, the first of them"
    return some, [f"{told} {file}: {why}." for file, _, why in refused.to_numpy()[:1]]


def of_bank(bank, checkpoint, profile):
    """Records that TimesNet-Gen's authors' latent bank and weights give: mixes of five, n_generated a station."""
    model = timesnet.load_released(checkpoint)
    if (n := model.settings.n_samples) != profile.n_samples:
        words = f"{checkpoint} makes records of {n} samples, profile {profile.name} has {profile.n_samples}"
        raise CannotJudge(f"{words}: the authors' go with --profile paper")
    bank = timesnet.ReleasedBank(bank)
    return generate.mix_bank(model, bank, profile.sampling_rate_in_hz, profile.n_generated)


def matched(generated, recorded, wanted=()):
    """(generated records with the recordings' station names, recordings of these, notes): by NETWORK.CODE, or by a bare
    CODE that is unique. wanted: stations to judge, default all. CannotJudge where none of them is on both sides."""
    known = recorded.stations

    def same(name):
        return fitting(name, known) or fitting(split_station(name)[1], known)

    for name in wanted:
        if len(found := same(name)) != 1:
            what = f"fits {' and '.join(found)}" if found else f"has no recordings, but {listed(known)}"
            raise CannotJudge(f"--stations: {name} {what}; name them as NETWORK.CODE")
    kept = {same(name)[0] for name in wanted} if wanted else set(known)
    names = {name: found[0] for name in generated.stations if len(found := same(name)) == 1 and found[0] in kept}
    if not names:
        told = f"no station of the generated records ({listed(generated.stations)}) has recordings"
        raise CannotJudge(f"{told} ({listed(known)}): name stations alike, as NETWORK.CODE")
    left = {"Without recordings of the same name, and left out": [n for n in generated.stations if len(same(n)) != 1]}
    left["Recorded, but with no generated records to judge"] = sorted(kept - set(names.values()))
    generated = generated.select(station=list(names))
    generated = generated.with_columns(station=generated.table["station"].map(names).to_numpy())
    notes = [f"{words}: {listed(those)}." for words, those in left.items() if those]
    return generated, recorded.select(station=sorted(set(names.values()))), notes


def listed(names, most=6):
    """Names in a sentence, the first few of many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def enough(generated, recorded, names):
    """(generated, recordings, notes) of those stations with FEWEST records on either side. CannotJudge without one."""
    events, made = recorded.table.groupby("station")["event"].nunique(), generated.table["station"].value_counts()
    few = {}
    for name in names:
        if min(counts := (made.get(name, 0), events.get(name, 0))) < FEWEST:
            told = "has {} generated records and recordings of {} earthquakes".format(*counts)
            few[name] = f"{name} {told}: fewer than {FEWEST} tell no law"
    if not (stations := [name for name in names if name not in few]):
        raise CannotJudge(f"too few records: {few[names[0]]}; give more of either")
    notes = [f"{told}, and it is left out." for told in few.values()]
    return generated.select(station=stations), recorded.select(station=stations), notes


def singly(generated):
    """Generated records with an event of their own each, since they are drawn singly; a mix of several recordings has
    no scenario, whatever mean its table states."""
    table = generated.table
    mixed = table.get("made_from", pd.Series("", table.index)).astype(str).str.contains(";")
    scenario = {name: table[name].where(~mixed) for name in measures.NEEDED if name in table}
    return generated.with_columns(event=[f"{GENERATED} {i}" for i in range(len(table))], **scenario)


def compared(name, x, y, given):
    """Findings on frames of ``features.everything``, ``name`` against recordings: energy distance by measure, over the
    stations and by station, with what one law gives; medians and spreads of LED. The unit and the scaling by magnitude
    and distance (``given``) come from both sides, blind to which is which: from the recordings alone, a few dozen, they
    would fit these best, and a true law would be told apart in up to half of all cases."""
    stations, rows, protocol = sorted(y["station"].unique()), [], "scenario" if given else "station"
    if given:
        scaled = list(dict.fromkeys(SCALED))
        left = residuals.given_scenario(scaled, pd.concat([x, y], ignore_index=True), x, y)
        x, y = (side.assign(**values) for side, values in zip((x, y), left, strict=True))
    both = pd.concat([x, y], ignore_index=True)
    for measure, columns in features.FEATURES.items():
        columns = [each for each in columns if all(features.shown(side, [each], stations) for side in (x, y))]
        if not columns:
            continue
        whitening = Whitening.fit(both, columns)
        sides = [whitening.sample(side) for side in (x, y)]
        for group in (stations, *([each] for each in stations if len(stations) > 1)):
            own = [side.take(np.isin(side.station, group)) for side in sides]
            found = findings.select(distances.told(name, measure, *own, group, against=RECORDED), station="")
            of = {"station": group[0]} if len(group) == 1 else {}
            rows += [row | of | {"protocol": protocol} for row in found.dropna(axis=1).to_dict("records")]
        if measure == "site" and len(stations) > 1:
            apart = distances.scale(sides[1], sides[1], stations)
            whole = next(row["value"] for row in rows if row["measure"] == "site" and not row.get("station"))
            rows.append(finding(name, RECORDED, "site", "skill", 1 - whole / apart, protocol=protocol))
    led = [column for column in (*LED, "f0") if min(np.isfinite(side[column]).sum() for side in (x, y)) >= FEWEST]
    off = findings.compare(x[led], y[led], x, y)
    return findings.with_value(rows + findings.tell(name, RECORDED, off, measures.keys_of, protocol=protocol))


def judge(generated, recorded, profile, wanted=()):
    """(findings, notes) on generated Records against recorded ones: "generated" against recordings, and the recordings'
    halves, split by earthquake, against each other. notes: sentences on what cannot be judged. CannotJudge."""
    odd, poor = (side.table.get("quality", pd.Series("", side.table.index)) != "" for side in (generated, recorded))
    if poor.all():
        raise CannotJudge(f"all {len(recorded)} recordings are poor; the first: {recorded.table['quality'].iloc[0]}")
    notes = [f"{poor.sum()} of {len(recorded)} recordings are poor and left out."] * bool(poor.any())
    for remark in generated.table["quality"][odd].head(1) if odd.any() else ():
        notes.append(f"{odd.sum()} generated records bear a remark and are judged all the same; the first: {remark}.")
    recorded = recorded.take(~poor.to_numpy())
    recorded = recorded.with_columns(event=event_groups(recorded.table).to_numpy())
    generated, recorded, told = matched(singly(generated), recorded, wanted)
    stations = recorded.stations
    known = [scenario_known(side) for side in (generated, recorded)]
    given = all(each.mean() > 0.5 for each in known)
    if given:
        generated, recorded = (side.take(each) for side, each in zip((generated, recorded), known, strict=True))
        without = [f"{(~each).sum()} of the {name}" for name, each in zip(NAMES, known, strict=True) if not each.all()]
        notes += [f"Left out, as they state no magnitude or distance: {each}." for each in without]
    else:
        told.append(
            "Magnitude and distance are not stated on both sides: spectra, duration and wave are those of a station's "
            "earthquakes as they come, and may differ because the earthquakes do."
        )
    generated, recorded, few = enough(generated, recorded, stations)
    notes += told + few
    known = ["station", "event", *measures.NEEDED]
    x, y = (
        side.table.reindex(columns=known).reset_index(drop=True).join(features.everything(side, profile))
        for side in (generated, recorded)
    )
    rows = compared(GENERATED, x, y, given)
    copied = copying.largest_correlation(generated, recorded)["largest_correlation"] > COPY
    share = f"share above {COPY:g}", float(copied.mean()), len(x)
    rows.append(finding(GENERATED, RECORDED, "largest_correlation", *share))
    events = y.groupby("station")["event"].nunique()
    several = y[y["station"].isin(events.index[events >= 2 * FEWEST])]
    if len(several):
        first = several["event"].map(dataset.folds(several["event"], several["station"], n_folds=2)) == 0
        rows += compared(RECORDED, *(several[part].reset_index(drop=True) for part in (first, ~first)), given)
    return rows, notes + _limits(rows, copied.sum(), len(x), events)


def _limits(rows, n_copies, n, events):
    """Sentences on what these records do not tell."""
    notes = []
    if len(events) == 1:
        notes.append("One station: whether the motion is its own rather than another's (site skill) cannot be said.")
    if n_copies:
        told = f"{n_copies} of {n} generated records are copies of these recordings (correlation above {COPY:g})"
        notes.append(f"{told}: such pass every distance and are nothing new.")
    shown = set(findings.select(rows, statistic=distances.DISTANCE, subject=GENERATED)["measure"])
    absent = [name.capitalize() for name in features.FEATURES if name not in shown]
    notes += [f"{name} is left out: usable bands, or missing verticals, do not show it." for name in absent]
    if few := list(events.index[events < 2 * FEWEST]):
        notes.append(f"Recordings half against half need {2 * FEWEST} earthquakes a station; fewer: {listed(few)}.")
    return notes


def table(rows):
    """DataFrame of text, a row a distance and station: value with interval, what one law gives at most (one in twenty
    exceeds it), verdict, and the same of recordings, half against half."""
    rows, lines = findings.table(rows), []
    for row in findings.select(rows, statistic=distances.DISTANCE, subject=GENERATED).to_dict("records"):
        of = {"measure": row["measure"], "station": row["station"]}
        most = findings.one(rows, subject=GENERATED, statistic=distances.ONE_LAW, **of)["high"]
        half, at_most = (findings.maybe(rows, subject=RECORDED, statistic=statistic, **of) for statistic in NULLS)
        line = {"distance": row["measure"], "station": row["station"] or "all", "generated": findings.text(row)}
        line |= {"one law, at most": findings.number(most), "verdict": APART if row["value"] > most else SAME}
        line["recordings, half by half"] = findings.text(half)
        lines.append(line | {"at most": findings.text({"value": at_most["high"]})})
    return pd.DataFrame(lines)


def conclusion(lines):
    """One sentence on the distances over all stations of ``table``."""
    whole = lines[lines["station"] == "all"] if (lines["station"] == "all").any() else lines
    apart = list(whole.loc[whole["verdict"] == APART, "distance"])
    if apart:
        return f"Told apart from recordings by {listed(apart)}; the medians and spreads say what is off."
    told = f"Not told apart from recordings by {listed(list(whole['distance']))}"
    return f"{told}: with so many records, one below what one law gives at most would not be seen."


def off(rows):
    """DataFrame of text: medians and spreads of what is generated less what is recorded."""
    found = findings.select(rows, statistic=("median", "spread"), subject=GENERATED)
    found = found.assign(measure=[bias.WORDS.get(measure, measure) for measure in found["measure"]])
    wide = findings.pivot(found, ["measure", "period_in_s"], "statistic").reset_index()
    return wide.rename(columns=readable)


def readable(name):
    """A name of a finding as the page shows it."""
    return re.sub(r"_in_(hz|s|km)\b", r" (\1)", str(name)).replace("(hz)", "(Hz)").replace("_", " ").strip(", ")


def write(folder, run, rows, notes):
    """Write judged.json and index.html, a page that needs no other file, into ``folder``; returns the page's path."""
    findings.write(folder / "judged.json", run | {"notes": notes}, rows)
    less = "Generated less recorded, natural logarithms (0.1 is 10 %), mean over stations."
    tables = [("Distances", WORDS, table(rows)), ("What is off", less, off(rows))]
    tables = [(title, words, frame.to_html(**report.HTML)) for title, words, frame in tables]
    facts = report.facts(run) | {"Compared given": run["given"]}
    content = {"facts": facts, "notes": notes, "lead": conclusion(table(rows)), "tables": tables}
    page = report.template().render(title="Generated records, judged", **content)
    store.write_atomically(folder / "index.html", lambda path: path.write_text(page))
    return folder / "index.html"


def options(arguments):
    """What the command line asks for; ends with one sentence and code 2 where it cannot be meant."""
    parser = OneSentence(prog="python -m tsgen.judge", description=__doc__)
    parser.add_argument("generated", type=Path, metavar="GENERATED", help="folder of the generated records")
    told = "TimesNet-Gen's released weights: GENERATED is then its latent bank (.npz), which is mixed"
    parser.add_argument("--released", type=Path, metavar="CHECKPOINT", help=told)
    parser.add_argument("--records", type=Path, required=True, metavar="FOLDER", help="their stations' recordings")
    parser.add_argument("--stations", default="", metavar="A,B", help="judge these alone, NETWORK.CODE or CODE")
    parser.add_argument("--out", type=Path, default=Path("judged"), metavar="FOLDER", help="for the page (./judged)")
    parser.add_argument("--profile", choices=config.PROFILES, default="quick", help="sampling rate and length (quick)")
    parser.add_argument("--unit", metavar="U", help="unit of files that do not state one, as cm/s^2 or g")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Exit code: 0 where the records could be judged, whatever the verdict; 2 where not."""
    asked = options(arguments)
    profile = config.profile(asked.profile)
    wanted = [name.strip() for name in asked.stations.split(",") if name.strip()]
    try:
        if asked.generated.resolve() == asked.records.resolve():
            raise CannotJudge(f"{asked.records} is given as both: records compared with themselves tell nothing")
        if asked.released:
            generated, told = of_bank(asked.generated, asked.released, profile), []
        else:
            generated, told = read(asked.generated, profile, asked.unit)
        recorded, refused = read(asked.records, profile, asked.unit)
        rows, notes = judge(generated, recorded, profile, wanted)
    except (ValueError, OSError) as error:  # UnreadableRecord and CannotJudge among them
        print(error, file=sys.stderr)
        return 2
    released = f" --released {asked.released}" if asked.released else ""
    command = f"python -m tsgen.judge {asked.generated}{released} --records {asked.records}"
    run = {"profile": profile.name, "command": command, "records": {GENERATED: len(generated), RECORDED: len(recorded)}}
    run |= {"stations": sorted({row["station"] for row in rows if row.get("station")})}
    given = any(row.get("protocol") == "scenario" for row in rows)
    run |= {"given": "magnitude, distance and station" if given else "the station"}
    run |= {"settings": {"window": profile.window, "hvsr": profile.hvsr, "quality": profile.quality}}
    run |= {"date": datetime.now(UTC).date().isoformat(), "version": VERSION}
    notes = [*told, *refused, *notes]
    page = write(asked.out, run, rows, notes)
    for frame in (table(rows), off(rows)):
        print(frame.to_string(index=False) + "\n")
    print(f"Compared given {run['given']}.", *notes, conclusion(table(rows)), page, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
