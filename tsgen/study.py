"""The spine: ``Study`` hands out records, models, generated records and results; each stage is built when missing.

Notebooks, run_all.sh and the figures' command line all go through it. A stage is a few lines that call the module
that does the work; what it leaves stands in the run's folder and is loaded the next time.
"""

import hashlib
import json
import os
import re
import sys
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from tsgen import (
    cgm,
    config,
    controls,
    cvae,
    evaluation,
    evidence,
    formats,
    gaussian,
    generate,
    hvsr,
    metrics,
    objectives,
    quality,
    records,
    scaling,
    scenario,
    simulate,
    spectrogram,
    store,
    structure,
    timesnet,
    train,
)
from tsgen.records import Records

if "OMP_NUM_THREADS" not in os.environ:
    # models of the quick profile gain little from a second thread, and where another process holds a core the threads
    # wait for each other: measured 5 s against 99 s for the same 20 steps (set the variable for large models on a CPU)
    torch.set_num_threads(1)

MODELS = {"timesnet": timesnet.TimesNetGen, "cvae": cvae.SpectrogramCVAE, "cgm": cgm.CGMGM}
PARTS = {"cgm": (gaussian, scenario, spectrogram, objectives)}  # modules that a model rests on beside its own
PAPER_MODELS = ("timesnet", "cvae")  # what the paper compares, and notebooks 01 to 07 judge
CONTROLS = ("control_bootstrap", "control_average", "control_phase", "control_other")
NAMES = (*MODELS, *CONTROLS)
VARIANTS = {"timesnet_energy": ("timesnet", "energy")}  # name -> the model that mixes, and its weights
FEWEST_EVENTS = 8  # a station needs them to be chosen as a target by itself
NOT_READ = ("refused", "left out")  # outcomes of formats.read_folder
N_TARGETS = 5  # as many as in the paper


class Study:
    """One run: a profile on one set of records with one seed.

    profile: name or config.Profile; records: folder of recordings, None for the simulated default; stations: target
    stations (list or comma-separated text, a bare code where it is unique); unit: of files that do not state one;
    folder: where the run leaves its artefacts. Raises ValueError for an unknown profile or station, and
    formats.UnreadableRecord for a folder without readable records.
    """

    models = MODELS  # name -> class, those that reconstruct
    judged = PAPER_MODELS  # models that ``evidence`` sets beside the controls
    variants, controls = VARIANTS, CONTROLS

    def __init__(self, profile="quick", records=None, stations=None, seed=0, folder=None, unit=None):
        self.settings = profile if isinstance(profile, config.Profile) else config.profile(profile)
        self.records_folder = Path(records).resolve() if records else None
        if self.records_folder and not self.records_folder.is_dir():
            raise ValueError(f"--records {records}: no such folder")
        if isinstance(stations, str):
            stations = [name.strip() for name in stations.split(",") if name.strip()]
        self._wanted = list(stations or [])
        self.seed, self.unit = int(seed), unit or os.environ.get("TSGEN_UNIT") or None
        self.folder = Path(folder) if folder else runs_folder() / self._run_name()
        self.store = store.Store(self.folder)
        self._hvsr = {}

    def __repr__(self):
        return f"Study({self.settings.name}; {self.records!r}; targets {', '.join(self.stations)}; seed {self.seed})"

    def describe(self):
        """Print what this run is: settings, and records by use."""
        s, source = self.settings, self.records_folder.name if self.records_folder else "the simulated default"
        print(
            f"profile {s.name}: {s.n_samples} samples at {s.sampling_rate_in_hz:g} Hz, {s.duration_in_s:.2f} s a record"
        )
        print(f"{self.kind} records from {source}; seed {self.seed}")
        print(f"targets {', '.join(self.stations)}")
        print(f"{len(self.training)} training and {len(self.held_out)} held-out target records", end=", ")
        print(f"{len(self.background)} background records")

    def _run_name(self):
        name = self.settings.name
        if self.records_folder or self._wanted:
            stem = self.records_folder.name if self.records_folder else "simulated"
            stem = re.sub(r"[^A-Za-z0-9_-]+", "_", stem)
            text = f"{self.records_folder}|{','.join(self._wanted)}|{self.unit}"
            name += f"-{stem}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
        return name + (f"-seed{self.seed}" if self.seed else "")

    @property
    def is_default(self):
        """Whether this is the committed run: simulated records, quick profile, no own stations, seed 0."""
        known = self.settings == config.PROFILES["quick"]
        return known and not self.records_folder and not self._wanted and self.seed == 0

    @property
    def kind(self):
        return "recorded" if self.records_folder else "simulated"

    # ---- records ----

    @cached_property
    def _records_key(self):
        s = self.settings
        if self.records_folder is None:
            return store.key_of(s.simulation, self.seed, modules=(simulate, records))
        parts = (s.sampling_rate_in_hz, s.n_samples, s.window, s.quality, self.unit)
        return store.key_of(parts, store.folder_key(self.records_folder), modules=(formats, quality, records))

    @cached_property
    def _everything(self):
        """All records that were read or simulated, and the report of what was not used."""

        def build(folder):
            if self.records_folder is None:
                found = simulate.network(self.settings.simulation, self.seed)
                report = pd.DataFrame(columns=["file", "outcome", "reason"])
            else:
                s = self.settings
                found, report = formats.read_folder(
                    self.records_folder,
                    s.sampling_rate_in_hz,
                    s.duration_in_s,
                    self.unit,
                    quality=s.quality,
                    window=s.window,
                )
            self._resolve(found)  # an unknown station ends here, before anything is left behind
            found.save(folder)
            report.to_csv(folder / "report.csv", index=False)

        def load(folder):
            return Records.load(folder), pd.read_csv(folder / "report.csv", keep_default_na=False)

        return self.store.cached("records", self._records_key, build, load)

    @cached_property
    def records(self):
        """The records in use: those without a remark on their quality, at the profile's rate and length."""
        found = self._everything[0]
        if "quality" not in found.table:
            return found
        good = (found.table["quality"] == "").to_numpy()
        if not good.all():
            print(f"{(~good).sum()} of {len(found)} records left out for their quality (Study.not_used says why)")
        return found.take(good)

    @cached_property
    def not_used(self):
        """DataFrame (file, station, event, reason): every file and record that the study leaves out."""
        found, report = self._everything
        table = found.table
        poor = table[table["quality"] != ""] if "quality" in table else table.iloc[:0]
        left = report[report["outcome"].isin(NOT_READ)].assign(station="", event="")
        poor = poor.reindex(columns=["file", "station", "event", "quality"]).rename(columns={"quality": "reason"})
        columns = ["file", "station", "event", "reason"]
        return pd.concat([left[columns], poor[columns]], ignore_index=True).fillna("")

    def _resolve(self, found):
        """Names of the wanted stations as they stand in the table; the fullest ones where none is named."""
        events = found.table.assign(event=records.event_groups(found.table)).groupby("station")["event"].nunique()
        if not self._wanted:
            if self.records_folder is None:
                return self._simulated_targets()
            full = events[events >= FEWEST_EVENTS].sort_index().sort_values(ascending=False, kind="stable")
            if full.empty:
                raise ValueError(
                    f"no station of {self.records_folder.name} has {FEWEST_EVENTS} events; "
                    f"the fullest, {events.idxmax()}, has {events.max()}: name the targets with --stations"
                )
            return sorted(full.index[:N_TARGETS])
        names = []
        for wanted in self._wanted:
            fits = [name for name in events.index if name == wanted or records.split_station(name)[1] == wanted]
            if wanted in events.index:
                fits = [wanted]
            if len(fits) != 1:
                problem = "is ambiguous: " + ", ".join(fits) if fits else "is not among the records"
                known = ", ".join(events.sort_values(ascending=False, kind="stable").index[:10])
                raise ValueError(f"station {wanted} {problem}; the stations with most events: {known}")
            names += fits
        return sorted(set(names))

    @cached_property
    def stations(self):
        """Names of the target stations, sorted."""
        return self._resolve(self.records)

    @cached_property
    def targets(self):
        return self.records.select(station=self.stations)

    @cached_property
    def _split(self):
        return self.records.split(self.settings.held_out_share, self.seed, self.stations)

    @cached_property
    def training(self):
        """Target records that models may see."""
        return self._split[0].select(station=self.stations)

    @cached_property
    def held_out(self):
        """Target records of events that no model sees."""
        return self._split[1].select(station=self.stations)

    @cached_property
    def background(self):
        """Records of the other stations, without held-out events; the simulated background where they are few."""
        own = self._split[0].take(~self._split[0].table["station"].isin(self.stations).to_numpy())
        if self.records_folder is None or len(own) >= self.settings.fewest_background:
            return own
        print(f"{len(own)} background records are fewer than {self.settings.fewest_background}: simulated ones serve")
        simulated = simulate.network(self.settings.simulation, self.seed)
        return simulated.take(~simulated.table["station"].isin(self._simulated_targets()).to_numpy())

    def _simulated_targets(self):
        names = simulate.stations(self.settings.simulation)["station"]
        return list(names[: len(self.settings.simulation.target_f0_in_hz)])

    # ---- models ----

    def model(self, name):
        """The trained model ``name``; trained now if it is missing, resumed if its training was interrupted."""
        return self._models(name)[0]

    def history(self, name):
        """train.History of a model: losses by phase and epoch."""
        return self._models(name)[1]

    def _model_key(self, name):
        modules = (train, sys.modules[MODELS[name].__module__], *PARTS.get(name, ()))
        settings = (self._model_settings(name), self._training_settings(name))
        return store.key_of(
            settings, self.settings.held_out_share, self._records_key, self.stations, self.seed, modules=modules
        )

    def _model_settings(self, name):
        conditioned = self.settings.training.form == "paper"
        return replace(getattr(self.settings, name), n_stations=len(self.stations) if conditioned else 0)

    def _training_settings(self, name):
        settings = replace(self.settings.training, seed=self.settings.training.seed + self.seed)
        own = getattr(self.settings, name)
        return own.recipe(settings) if hasattr(own, "recipe") else settings

    def untrained(self, name):
        """The model ``name`` as it is before training: its weights follow from the seed."""
        if name not in MODELS:
            raise ValueError(f"unknown model {name!r}; known: {', '.join(MODELS)}")
        with torch.random.fork_rng():
            torch.manual_seed(self._training_settings(name).seed)
            return MODELS[name](self._model_settings(name))

    def training_folder(self, name):
        """Where the training of ``name`` goes on if it was interrupted."""
        return self.store.building(f"model-{name}", self._model_key(name))

    def train(self, name, folder):
        """Train ``name`` into ``folder`` (resuming there); every process of a distributed run calls it."""
        return train.fit(self.untrained(name), self.background, self.training, self._training_settings(name), folder)

    def _models(self, name):
        if name not in MODELS:
            raise ValueError(f"unknown model {name!r}; known: {', '.join(MODELS)}")
        kept = self.__dict__.setdefault("_trained", {})
        if name not in kept:
            kept[name] = self.store.cached(
                f"model-{name}",
                self._model_key(name),
                lambda folder: self.train(name, folder),
                lambda folder: train.load(self.untrained(name), folder),
                resumable=True,
            )
        return kept[name]

    # ---- reconstructed and generated records ----

    def reconstructed(self, name):
        """Training recordings of the targets through model ``name`` and back."""
        key = store.key_of("reconstructed", self._model_key(name), modules=(generate, records))

        def build(folder):
            generate.reconstruct(self.model(name), self.training).save(folder)

        return self._kept(f"reconstructed-{name}", key, build)

    def generated(self, name, n_per_station=None):
        """Generated records of every target station, by a model or a control (see NAMES)."""
        if name not in (*NAMES, *VARIANTS):
            raise ValueError(f"unknown generator {name!r}; known: {', '.join((*NAMES, *VARIANTS))}")
        n = n_per_station or self.settings.n_generated
        source = self._source(name)
        depends = self._model_key(source) if source in MODELS else (self._records_key, self.stations)
        key = store.key_of("generated", depends, n, self.settings.mixed_records, self.seed, modules=(generate, records))
        stage = f"generated-{name}" + (f"-{n}" if n_per_station else "")
        return self._kept(stage, key, lambda folder: self._generate(name, n).save(folder))

    def _generate(self, name, n):
        if name == "control_other":
            return generate.other_station(self.generated("timesnet", n))
        if name == "control_bootstrap":
            return generate.bootstrap(self.training, n, self.seed)
        if name == "control_phase":
            return generate.random_phase(self.training, n, self.seed)
        if name == "cvae":
            return generate.sample(self.model(name), self.stations, n=n, seed=self.seed)
        if name == "cgm":
            drawn = [scenario.draw(self.model(name), station, n, self.seed) for station in self.stations]
            return generate.sample(self.model(name), scenarios=pd.concat(drawn), seed=self.seed)
        mixer, weights = VARIANTS.get(name, (name, "equal"))
        model = generate.PlainAverage() if name == "control_average" else self.model(mixer)
        mixed = generate.mix(model, self.training, n, self.settings.mixed_records, weights, seed=self.seed)
        return mixed if name == mixer else mixed.with_columns(source=name)

    def _kept(self, stage, key, build):
        kept = self.__dict__.setdefault("_generated", {})
        if (stage, key) not in kept:
            kept[stage, key] = self.store.cached(stage, key, build, Records.load)
        return kept[stage, key]

    # ---- HVSR and scores ----

    def hvsr(self, some):
        """hvsr.HVSR of ``some`` Records, computed once per object."""
        if id(some) not in self._hvsr:
            self._hvsr[id(some)] = (some, hvsr.hvsr(some, self.settings.hvsr))  # kept with it: an id alone can return
        return self._hvsr[id(some)][1]

    def f0(self, some):
        """{station: f0 in Hz} of ``some`` Records, records without an f0 left out."""
        f0 = metrics.f0_by_station(some.table, self.hvsr(some).f0_in_hz, self.stations)
        return {station: values[np.isfinite(values)] for station, values in f0.items()}

    def matrix(self, *groups):
        """Station matrix of (source name, Records) pairs; the first is "real"."""
        return metrics.station_matrix({name: self.f0(some) for name, some in groups}, settings=self.settings.f0)

    def scores(self, name):
        """Scores of a generator with ceiling, chance and interval, in-sample and held-out; kept in results.json."""
        key = store.key_of(
            "scores", self.generated_key(name), self.settings, modules=(hvsr, metrics, evaluation, records, generate)
        )
        stage = f"scores-{name}"

        def build(folder):
            store.write_json(folder / "scores.json", evaluation.scores(self, name))

        scores = self.store.cached(stage, key, build, lambda folder: json.loads((folder / "scores.json").read_text()))
        self._note("scores", name, scores)
        return scores

    def generated_key(self, name):
        """Key of what the records that ``name`` generates depend on."""
        source = self._source(name)
        return self._model_key(source) if source in MODELS else (name, self._records_key, self.stations, self.seed)

    @staticmethod
    def _source(name):
        """The model behind a generator, or its own name."""
        return "timesnet" if name == "control_other" else VARIANTS.get(name, (name,))[0]

    # ---- evidence ----

    def evidence(self, name):
        """What is said of a generator beyond its score (``evidence.judged``); its summary stands in results.json."""
        found = evidence.judged(self, name)
        self._note("evidence", name, evidence.summary(found))
        return found

    def averaging(self):
        """The sweep over k and the loss of each way of weighing (``controls.averaging``); kept in results.json."""
        found = controls.averaging(self)
        for part, frame in found.items():
            rows = {f"{name}, {row}": values.to_dict() for (name, row), values in frame.iterrows()}
            self._note("averaging", part, rows)
        return found

    def negative_controls(self):
        """A shuffled table's score and gaps between scores (``controls.negative``); kept in results.json."""
        found = controls.negative(self)
        for part, value in found.items():
            self._note("negative_controls", part, value)
        return found

    # ---- scenarios ----

    def scaling(self):
        """Generated against true motion of a magnitude and a distance (``scaling.judged``); kept in results.json."""
        found = scaling.judged(self)
        self._note("scenario", "scaling", scaling.summary(found))
        return found

    def structure(self):
        """Structural response to recorded, generated and true motion (``structure.judged``); kept in results.json."""
        found, counts = structure.judged(self), {}
        for against, table in found.items():
            rows = structure.fifteen_percent(table)
            entries = {f"{kind}, {name}": row.to_dict() for (kind, name), row in rows.iterrows()}
            self._note("structure", against, entries)
            for statistic, part in rows.groupby(level="statistic"):
                whole, by_value, n = part[["whole interval within", "within by value", "of"]].sum().tolist()
                counts[f"{against}_{statistic}s"] = {"value": whole, "by value": by_value, "n": n}
        self._note("scenario", "structure", counts)
        return found

    # ---- results ----

    @property
    def results(self):
        """What the stages have found so far, as results.json holds it."""
        path = self.folder / "results.json"
        found = json.loads(path.read_text()) if path.exists() else {}
        found["run"] = {"profile": self.settings.name, "kind": self.kind, "seed": self.seed, "stations": self.stations}
        found["records"] = {
            "in use": len(self.records),
            "background": len(self.background),
            "training": len(self.training),
            "held out": len(self.held_out),
            "not used": len(self.not_used),
        }
        return found

    def _note(self, section, name, value):
        path = self.folder / "results.json"
        found = self.results
        found.setdefault(section, {})[name] = value
        store.write_json(path, found)

    def station_table(self):
        """DataFrame by station: records, median f0 (Hz), spread of ln f0, planted f0 where the truth is known."""
        frame = evaluation.station_table(self)
        self._note("stations", "table", frame.to_dict("index"))
        return frame

    def score_table(self, names=(*PAPER_MODELS, *CONTROLS)):
        """DataFrame of the scores of ``names``, one row a generator and protocol (see evaluation.score_table)."""
        return evaluation.score_table({name: self.scores(name) for name in names})

    def expect(self, name, value, low, high):
        """Print ``value`` and check it against [low, high]: raises AssertionError on the committed run only."""
        if not self.is_default:
            print(f"{name}: {value:.3f} (not checked: bounds are for the simulated default at quick)")
            return
        print(f"{name}: {value:.3f}, expected between {low:g} and {high:g}")
        if not low <= value <= high:
            raise AssertionError(f"{name} is {value:.4g}, outside [{low:g}, {high:g}]")

    @property
    def figures_folder(self):
        return self.folder / "figures"


def runs_folder():
    """Where runs go: $TSGEN_RUNS, else runs/ in the project."""
    named = os.environ.get("TSGEN_RUNS")
    return Path(named).resolve() if named else Path(__file__).resolve().parents[1] / "runs"
