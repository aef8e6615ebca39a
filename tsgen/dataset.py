"""One set of records for a run: what was read or simulated, which stations are the targets, what is held out."""

import hashlib
import os
import re
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from tsgen import config, formats, records, simulate, store
from tsgen.collection import fitting, split_station
from tsgen.needs import LEFT_OUT, NEEDS, Lacking
from tsgen.records import Records

FEWEST_EVENTS = 8  # a station with as many is chosen before others as a target
FEWEST_TO_SPLIT = 5  # events of a station: 2 to hold out and 3 to train on
N_TARGETS = 5  # as many as in the paper
FOLDS = 5  # of events, over which a small set of records is judged
NOT_READ = ("refused", "left out")  # outcomes of formats.read_folder
ATTRIBUTIONS = {"OEEWMX": "OpenEEW, CC BY-SA 4.0"}  # network: whose recordings they are, on what terms


class Dataset:
    """Records of a folder, or the simulated default, at a profile's rate and length, split by event (see ``Study``)."""

    def __init__(
        self, profile="quick", records=None, stations=None, seed=0, folder=None, unit=None, split="events", whole=None
    ):
        self.settings = profile if isinstance(profile, config.Profile) else config.profile(profile)
        self.records_folder = Path(records).resolve() if records else None
        self.kind = "recorded" if self.records_folder else "simulated"
        if self.records_folder and not self.records_folder.is_dir():
            raise ValueError(f"--records {records}: no such folder")
        if isinstance(stations, str):
            stations = [name.strip() for name in stations.split(",") if name.strip()]
        self.wanted = list(stations or [])
        self.seed, self.unit, self.split = int(seed), unit or os.environ.get("TSGEN_UNIT") or None, split
        self.folder = Path(folder) if folder else runs_folder() / self._run_name()
        self.figures_folder = self.folder / "figures"
        self._whole, self._stages, self._hvsr = whole, {}, {}

    def __repr__(self):
        return f"Study({self.settings.name}; {self.records!r}; targets {', '.join(self.stations)}; seed {self.seed})"

    def describe(self):
        """Print what this run is: settings, and records by use."""
        s, source = self.settings, self.records_folder.name if self.records_folder else "the simulated default"
        n_background = len(self.background)  # first, for what it says of itself
        length = f"{s.n_samples} samples at {s.sampling_rate_in_hz:g} Hz"
        print(f"profile {s.name}: {length}, {s.duration_in_s:.2f} s a record")
        print(f"{self.kind} records from {source}; seed {self.seed}")
        print(f"targets {', '.join(self.stations)}")
        print(f"{len(self.training)} training and {len(self.held_out)} held-out target records", end=", ")
        print(f"{n_background} background records")

    def has(self, *needs):
        """Whether the records have what is needed (keys of needs.NEEDS); where not, that is printed in one sentence."""
        if lacking := self.lacking(*needs):
            print(lacking)
        return not lacking

    def require(self, *needs):
        """Lacking, which ends a notebook without failing it, unless the records have what is needed."""
        if lacking := self.lacking(*needs):
            raise Lacking(lacking)

    def lacking(self, *needs):
        """One sentence on what of ``needs`` these records do not have, "" if they have all."""
        missing = [words for words, there in (NEEDS[need] for need in needs) if not there(self)]
        return LEFT_OUT + " and ".join(missing) if missing else ""

    def _run_name(self):
        name = self.settings.name
        if self.records_folder or self.wanted:
            stem = re.sub(r"[^A-Za-z0-9_-]+", "_", self.records_folder.name if self.records_folder else "simulated")
            text = f"{self.records_folder}|{','.join(self.wanted)}|{self.unit}"
            name += f"-{stem}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
        name += f"-seed{self.seed}" if self.seed else ""
        return name + (f"-{re.sub('[^A-Za-z0-9]+', '_', self.split)}" if self.split != "events" else "")

    @property
    def is_default(self):
        """Whether this is the committed run: simulated records, quick profile, no own stations, seed 0."""
        known = self.settings == config.PROFILES["quick"] and self.split == "events"
        return known and not self.records_folder and not self.wanted and self.seed == 0

    def with_split(self, split):
        """The same records with another split, in a folder beside this one's; they are read once."""
        folder = self.folder.with_name(f"{self.folder.name}-{re.sub('[^A-Za-z0-9]+', '_', split)}")
        stations = self.stations if self.wanted else None
        return type(self)(self.settings, self.records_folder, stations, self.seed, folder, self.unit, split, self)

    def folds(self):
        """The same records with each of FOLDS of events held out in turn."""
        return [self.with_split(f"fold {fold} of {FOLDS}") for fold in range(FOLDS)]

    def stage(self, kind, *of):
        """The Stage of what a Study hands out ("records", "model", …): an input of what is kept and rests on it."""
        if (kind, *of) not in self._stages:
            self._stages[kind, *of] = getattr(self, f"_{kind}_stage")(*of)
        return self._stages[kind, *of]

    def _stage(self, name, build, load=Records.load, settings=(), inputs=(), resumable=False):
        return store.Stage(self.folder, name, build, load, settings, tuple(inputs), resumable)

    @property
    def _divided(self):
        """What decides which records are training, held out and background, beside the records themselves."""
        out = hashlib.sha256(self._outside.tobytes()).hexdigest()[:12]
        return self.split, out, self.stations, self.seed, self.settings.fewest_background, self.settings.most_background

    def _simulated_stage(self):
        if self._whole is not None:
            return self._whole.stage("simulated")

        name, of = "simulated" if self.records_folder else "records", (self.settings.simulation, self.seed)
        return self._stage(name, lambda folder: simulate.network(*of).save(folder), settings=of)

    def _records_stage(self):
        s = self.settings

        def build(folder):
            rate, how = s.sampling_rate_in_hz, {"quality": s.quality, "window": s.window}
            some, report = formats.read_folder(self.records_folder, rate, s.duration_in_s, self.unit, **how)
            self._resolve(some)  # an unknown station ends here, before anything is left behind
            some.save(folder)
            report.to_csv(folder / "report.csv", index=False)

        if self._whole is not None:
            return self._whole.stage("records")
        if self.records_folder is None:
            return self.stage("simulated")
        parts = (s.sampling_rate_in_hz, s.n_samples, s.window, s.quality, self.unit)
        return self._stage("records", build, settings=(parts, store.folder_key(self.records_folder)))

    @cached_property
    def _everything(self):
        """All records that were read or simulated, and the report of what was not used."""
        if self._whole is not None:
            return self._whole._everything
        report, some = pd.DataFrame(columns=["file", "outcome", "reason"]), self.stage("records").value
        if self.records_folder:
            report = pd.read_csv(self.stage("records").folder / "report.csv", keep_default_na=False)
        return some, report

    @cached_property
    def records(self):
        """The records in use: those without a remark on their quality, at the profile's rate and length."""
        some = self._everything[0]
        if "quality" not in some.table:
            return some
        good = (some.table["quality"] == "").to_numpy()
        if not good.any():
            error = ValueError(f"all {len(some)} records are poor; the first: {some.table['quality'].iloc[0]}")
            error.report = self.not_used
            raise error
        if not good.all():
            print(f"{(~good).sum()} of {len(some)} records left out for their quality (Study.not_used says why)")
        return some.take(good)

    @cached_property
    def not_used(self):
        """DataFrame (file, station, event, reason): every file and record that the study leaves out."""
        (some, report), columns = self._everything, ["file", "station", "event", "reason"]
        left = report[report["outcome"].isin(NOT_READ)].assign(station="", event="")
        poor = some.table[some.table["quality"] != ""] if "quality" in some.table else some.table.iloc[:0]
        poor = poor.rename(columns={"quality": "reason"}).reindex(columns=columns)
        return pd.concat([left[columns], poor], ignore_index=True).fillna("")

    def _resolve(self, some):
        """Names of the wanted stations as they stand in the table; the fullest ones where none is named."""
        fit = (some.table["quality"] == "").to_numpy() if "quality" in some.table else np.ones(len(some), bool)
        events = _events_by_station(some.take(fit))
        if not self.wanted:
            if self.records_folder is None:
                return self._simulated_targets()
            fullest = events.sort_index().sort_values(ascending=False, kind="stable")
            enough = (fullest[fullest >= n] for n in (FEWEST_EVENTS, FEWEST_TO_SPLIT, 1))
            return sorted(next((some for some in enough if len(some)), events).index[:N_TARGETS])
        names = []
        for wanted in self.wanted:
            fits = fitting(wanted, events.index)
            if len(fits) != 1:
                unfit = "has poor records alone" if wanted in some.stations else "is not among the records"
                problem = "is ambiguous: " + ", ".join(fits) if fits else unfit
                known = ", ".join(events.sort_values(ascending=False, kind="stable").index[:10])
                raise ValueError(f"station {wanted} {problem}; the stations with most events: {known}")
            names += fits
        return sorted(set(names))

    def _simulated_targets(self):
        s = self.settings.simulation
        return list(simulate.stations(s)["station"][: len(s.target_f0_in_hz)])

    @cached_property
    def stations(self):
        """Names of the target stations, sorted."""
        return self._resolve(self.records)

    @cached_property
    def targets(self):
        return self.records.select(station=self.stations)

    @cached_property
    def _outside(self):
        """Mask of the records in use whose event is held out; none where no target has enough events."""
        if self.split == "events" and _events_by_station(self.targets).max() < FEWEST_TO_SPLIT:
            print(f"no target station has {FEWEST_TO_SPLIT} events: nothing is held out, models may see all")
            return np.zeros(len(self.records), bool)
        return held_out_rows(self.records, self.stations, self.split, self.settings.held_out_share, self.seed)

    @cached_property
    def training(self):
        """Target records that models may see."""
        return self.records.take(~self._outside).select(station=self.stations)

    @cached_property
    def held_out(self):
        """Target records of events that no model sees."""
        return self.records.take(self._outside).select(station=self.stations)

    @cached_property
    def background(self):
        """Records of the other stations, without held-out events; the simulated background where they are few."""
        inside, most = self.records.take(~self._outside), self.settings.most_background
        own = inside.take(~inside.table["station"].isin(self.stations).to_numpy())
        if self.records_folder is None or len(own) >= min(self.settings.fewest_background, most or np.inf):
            return own.take(np.linspace(0, len(own) - 1, most).astype(int)) if 0 < most < len(own) else own
        print(f"{len(own)} background records are fewer than {self.settings.fewest_background}: simulated ones serve")
        simulated = self.stage("simulated").value
        return simulated.take(~simulated.table["station"].isin(self._simulated_targets()).to_numpy())

    @property
    def attribution(self):
        """Whose recordings the target stations' are; "" where it is not known here."""
        networks = sorted({split_station(station)[0] for station in self.stations})
        return "; ".join(ATTRIBUTIONS[network] for network in networks if network in ATTRIBUTIONS)


def runs_folder():
    """Where runs go: $TSGEN_RUNS, else runs/ in the project."""
    named = os.environ.get("TSGEN_RUNS")
    return Path(named).resolve() if named else Path(__file__).resolve().parents[1] / "runs"


def _events_by_station(some):
    """Series: number of events of each station of ``some`` Records."""
    return some.table.assign(event=records.event_groups(some.table)).groupby("station")["event"].nunique()


def held_out_rows(some, stations, split, share, seed):
    """Mask (n,) of the records of ``some`` whose event is held out; stations: the targets, share: of their events.
    split: "events", a share of each target's events; "seed N", with another seed; "fold I of N", events spread evenly
    over N folds; "without EVENT"; "records", as many as "events" holds out but drawn singly, so that an earthquake
    stands on both sides (a fault of public code, kept to measure it). Raises ValueError for any other, an unknown event
    or fold, or a station with too few events."""
    event, at_target = records.event_groups(some.table), some.table["station"].isin(stations).to_numpy()
    pairs = event[at_target], some.table["station"][at_target]
    if split == "records":
        by_event = held_out_rows(some, stations, "events", share, seed) & at_target
        outside, rng = np.zeros(len(some.table), bool), np.random.default_rng(seed)
        for station, n in some.table["station"][by_event].value_counts().items():
            outside[rng.choice(np.flatnonzero(some.table["station"] == station), n, replace=False)] = True
        return outside
    if split == "events":
        out = records.events_to_hold_out(*pairs, share, seed)
    elif named := re.fullmatch(r"seed (\d+)", split):
        out = records.events_to_hold_out(*pairs, share, f"split {named[1]}")
    elif named := re.fullmatch(r"fold (\d+) of (\d+)", split):
        fold, n_folds = (int(number) for number in named.groups())
        if fold >= n_folds:
            raise ValueError(f"no {split!r}: folds count from 0")
        out = {name for name, place in folds(*pairs, n_folds, seed).items() if place == fold}
    elif named := re.fullmatch(r"without (.+)", split):
        out = set(event[some.table["event"] == named[1]])
        if not out:
            raise ValueError(f"no record of event {named[1]}, which was to be held out")
    else:
        raise ValueError(f"unknown split {split!r}: events, seed N, fold I of N, without EVENT, or records")
    return event.isin(out).to_numpy()


def folds(event, station, n_folds=FOLDS, seed=0):
    """{event: fold}, each station's events spread evenly over the folds; the same on every machine."""
    pairs = pd.DataFrame({"event": event, "station": station}).drop_duplicates()
    stations_of = pairs.groupby("event")["station"].apply(list).to_dict()
    taken = {name: np.zeros(n_folds, int) for name in pairs["station"]}
    total, found = np.zeros(n_folds, int), {}
    for name in sorted(stations_of, key=lambda name: hashlib.sha256(f"fold {seed}:{name}".encode()).hexdigest()):
        here = sum(taken[station] for station in stations_of[name])
        found[name] = fold = int(np.lexsort((total, here))[0])
        total[fold] += 1
        for station in stations_of[name]:
            taken[station][fold] += 1
    return found
