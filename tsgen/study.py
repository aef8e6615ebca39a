"""The spine: ``Study`` hands out records, models, generated and fresh records and their measures, and keeps findings.

It knows no evidence: whoever judges asks it for records and measures, and hands it the findings to keep. Each stage is
built when missing (``store.Stage``); what it leaves stands in the run's folder and is loaded the next time.
"""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from tsgen import carrier, features, findings, generate, hvsr, measures, metrics, simulate, store, timesnet, trainer
from tsgen.cgm import CGMGM
from tsgen.cvae import SpectrogramCVAE
from tsgen.dataset import Dataset
from tsgen.evolve import Evolve
from tsgen.measures import SCENARIO
from tsgen.needs import scenario_known
from tsgen.records import Records
from tsgen.regression import SpectrogramRegression
from tsgen.stochastic import StochasticMethod

if "OMP_NUM_THREADS" not in os.environ:
    # models of the quick profile gain little from a second thread, and where another process holds a core the threads
    # wait for each other: measured 5 s against 99 s for the same 20 steps (set the variable for large models on a CPU)
    torch.set_num_threads(1)


class Mix(NamedTuple):
    """A generator that mixes: which model encodes and decodes, with what weights, and which one-hots it is told."""

    model: str
    weights: str = "equal"
    told: object = None  # stations in their order -> those that the one-hots are taken for; None: their own


MODELS = {"timesnet": timesnet.TimesNetGen, "cvae": SpectrogramCVAE, "cgm": CGMGM}
PAPER_MODELS = ("timesnet", "cvae")  # what the paper compares, and notebooks 01 to 07 judge
MIXES = {
    "timesnet": Mix("timesnet"),
    "control_average": Mix("control_average"),
    "timesnet_energy": Mix("timesnet", "energy"),
    "timesnet_dirichlet": Mix("timesnet", "dirichlet"),
    "timesnet_next_station": Mix("timesnet", told=lambda stations: stations[-1:] + stations[:-1]),
    "timesnet_no_station": Mix("timesnet", told=lambda stations: ()),
    "control_average_dirichlet": Mix("control_average", "dirichlet"),
}
LAWS = {"control_regression": SpectrogramRegression, "control_stochastic": StochasticMethod}
FITTED = {"evolve": Evolve} | LAWS  # not trained
CONTROLS = ("control_bootstrap", "control_average", "control_phase", "control_renoised", *LAWS, "control_other")
# beside the recordings, in the order of tables
JUDGED = ("timesnet", "timesnet_energy", "cvae", "cgm", "evolve", *CONTROLS)
RECORDINGS = ("training", "held_out", "background", "targets")
SHIFTED = "control_shift"  # a control without records: features alone
CONDITIONED = ("cgm", *FITTED)  # take a magnitude and a distance
N_GIVEN = 4  # records at the scenario of each held-out recording
FINDINGS = "findings.json"  # what a stage that says something leaves
VERSION = "0.2.0"


def _mixed(name, of):
    """Recipe of the generator ``name`` that mixes as ``of``, a Mix, says."""

    def recipe(study, n):
        k, mixer = study.settings.mixed_records, study.mixer(of.model)
        mixer = mixer if of.told is None else mixer.told(of.told(mixer.stations))
        mixed = generate.mix(mixer, study.training, n, k, of.weights, seed=study.seed)
        return mixed if name == of.model else mixed.with_columns(source=name)

    return recipe


def _sampled(name):
    """Recipe of a model that is sampled, or of a law that is fitted anew each time: it takes a second."""
    kind = FITTED.get(name)

    def recipe(study, n):
        law = study.fitted(kind) if kind else study.model(name)
        return generate.sample(law, study.stations, n=n, seed=study.seed)

    return recipe


RECIPES = {name: _mixed(name, of) for name, of in MIXES.items()}  # generator: (study, number a station) -> Records
RECIPES |= {name: _sampled(name) for name in ("cvae", "cgm", *FITTED)}
RECIPES |= {
    "control_bootstrap": lambda study, n: generate.bootstrap(study.training, n, study.seed),
    "control_phase": lambda study, n: generate.random_phase(study.training, n, study.seed),
    "control_renoised": lambda study, n: carrier.renoised(study.training, n, study.seed),
    "control_other": lambda study, n: generate.other_station(study.generated("timesnet", n)),
}


class Study(Dataset):
    """One run: a profile on one set of records with one seed and one split.
    profile: name or config.Profile; records: folder of recordings, None for the simulated default; stations: target
    stations (list or comma-separated text, a bare code where it is unique); unit: of files that do not state one;
    folder: where the run leaves its artefacts; split: what is held out (``held_out_rows``); models_of: another Study
    whose trained models serve here. Raises ValueError for an unknown profile, station or split, and
    formats.UnreadableRecord for a folder without readable records."""

    def __init__(self, *given, models_of=None, **named):
        super().__init__(*given, **named)
        self.models_of, self._told = models_of, False

    @property
    def models(self):
        """{name: class} of the models that can be trained on these records."""
        return {name: kind for name, kind in MODELS.items() if not self.lacking(*getattr(kind, "needs", ()))}

    @property
    def judged(self):
        """JUDGED without models that cannot be trained on these records."""
        return tuple(name for name in JUDGED if name not in MODELS or name in self.models)

    def keep(self, name, build, load, inputs=(), settings=()):
        """What ``build(folder)`` left in stage ``name``, as ``load(folder)`` gives it. It rests on inputs (Stages),
        profile and split by value, further settings, and the code that ``build`` names."""
        if name not in self._stages:
            self._stages[name] = self._stage(name, build, load, (self.settings, self._divided, settings), inputs)
        return self._stages[name].value

    def keep_table(self, name, make, inputs=(), settings=()):
        """The DataFrame that ``make()`` gives, kept as ``keep`` does."""
        return self.keep(name, _into_csv(make), _from_csv, inputs, settings)

    def keep_findings(self, name, make, inputs=()):
        """Table of the findings that ``make()`` gives (rows), kept as ``keep`` does; results.json is the union of what
        stands, written where there are new ones, and once by each Study."""

        def build(folder):
            store.write_json(folder / FINDINGS, findings.with_value(make()))
            self._told = False

        def load(folder):
            return findings.table(json.loads((folder / FINDINGS).read_text()))

        rows = self.keep(name, build, load, inputs)
        if not self._told:
            with store.alone(self.folder, "results"):  # so that none leaves out what another has just kept
                findings.write(self.folder / "results.json", *self.results.values())
            self._told = True
        return rows

    def model(self, name):
        """The trained model ``name``; trained now if it is missing, resumed if its training was interrupted."""
        return self.stage("model", name).value[0]

    def history(self, name):
        """trainer.History of a model: losses by phase and epoch."""
        return self.stage("model", name).value[1]

    def mixer(self, name):
        """What ``generate.mix`` takes: the model ``name``, or the plain average, which needs no network."""
        return generate.PlainAverage() if name == "control_average" else self.model(name)

    def untrained(self, name):
        """The model ``name`` as it is before training: its weights follow from the seed."""
        return _new(*self._model_parts(name))

    def memory(self):
        """One sentence: the memory that training TimesNet-Gen and mixing need, as estimated beforehand."""
        n_mixed = int(self.training.table["station"].value_counts().max())
        given = self.settings.training.batch_size, len(self.background), n_mixed, torch.cuda.is_available()
        parts = timesnet.memory(self.untrained("timesnet"), *given)
        return "TimesNet-Gen needs about " + ", ".join(f"{n / 1e9:.2g} GB for {what}" for what, n in parts.items())

    def fitted(self, kind):
        """One of the classes in FITTED, fitted to the training and the background records."""
        more = {"law": self.settings.evolve} if kind is Evolve else {}
        return kind(self.settings.cgm, self.background, self.training, **more)

    def _sources(self, name):
        """Stages that a model, or a generator in FITTED, rests on: records, and the simulated background if it may be
        another one; of any other generator the records."""
        more = ["simulated"] * (bool(self.records_folder) and name in (*MODELS, *FITTED))
        return [self.stage(kind) for kind in ("records", *more)]

    def _law(self, name):
        return (self.settings.cgm, self.settings.evolve) if name in FITTED else None

    def _model_parts(self, name):
        """Class, settings and training settings of model ``name``; ValueError for an unknown one."""
        if name not in MODELS:
            raise ValueError(f"unknown model {name!r}; known: {', '.join(MODELS)}")
        s, own = self.settings, getattr(self.settings, name)
        training = replace(s.training, seed=s.training.seed + self.seed)
        own = replace(own, n_stations=len(self.stations) if s.training.form == "paper" else 0)
        return MODELS[name], own, own.recipe(training) if hasattr(own, "recipe") else training

    def _model_stage(self, name):
        if self.models_of is not None:
            return self.models_of.stage("model", name)
        kind, own, training = self._model_parts(name)

        def build(folder):
            trainer.fit(_new(kind, own, training), self.background, self.training, training, folder)

        def load(folder):
            return trainer.load(_new(kind, own, training), folder)

        settings = (own, training, self._divided)
        return self._stage(f"model-{name}", build, load, settings, self._sources(name), resumable=True)

    def reconstructed(self, name):
        """Training recordings of the targets through model ``name`` and back."""
        return self.stage("reconstructed", name).value

    def generated(self, name, n_per_station=None):
        """Generated records of every target station, by a model, a variant or a control (see RECIPES)."""
        return self.stage("generated", name, n_per_station or self.settings.n_generated).value

    def _reconstructed_stage(self, name):
        def build(folder):
            generate.reconstruct(self.model(name), self.training).save(folder)

        inputs = [self.stage("records"), self.stage("model", name)]
        return self._stage(f"reconstructed-{name}", build, settings=(self._divided,), inputs=inputs)

    def _generated_stage(self, name, n):
        if name not in RECIPES:
            raise ValueError(f"unknown generator {name!r}; known: {', '.join(RECIPES)}")
        recipe, source = RECIPES[name], "timesnet" if name == "control_other" else MIXES.get(name, Mix(name)).model
        inputs = self._sources(name) + ([self.stage("model", source)] if source in MODELS else [])
        stage = f"generated-{name}" + (f"-{n}" if n != self.settings.n_generated else "")
        settings = (n, self.settings.mixed_records, self._divided, self._law(name))
        return self._stage(stage, lambda folder: recipe(self, n).save(folder), settings=settings, inputs=inputs)

    def some(self, which):
        """Records by name: one of RECORDINGS, "reconstructed-MODEL", "fresh-SCENARIOS", or a generator."""
        return getattr(self, which) if which in RECORDINGS else self.stage_of(which).value

    def stage_of(self, which):
        """The Stage that the records of that name come from."""
        if which in RECORDINGS:
            return self.stage("records")
        kind, dash, name = which.partition("-")
        return self.stage(kind, name) if dash else self.stage("generated", which, self.settings.n_generated)

    def fresh(self, scenarios):
        """Fresh truth by the law of the simulated network (simulated default alone), settings.n_fresh // 2 a station.
        scenarios: whose magnitudes and distances, "single" of training recordings, "mixed" of mixes of k of them."""
        return self.stage("fresh", scenarios).value

    def _fresh_stage(self, scenarios):
        def build(folder):
            table = self.generated("control_average").table if scenarios == "mixed" else self.training.table
            s, seed, parts = self.settings, 2 * self.seed + (scenarios == "mixed"), []
            for station in self.stations:
                rows = self.repeated(table[table["station"] == station], s.n_fresh // 2)
                of = (rows[name] for name in ("station", "magnitude", "distance_in_km"))
                parts.append(simulate.fresh(s.simulation, *of, seed=seed, network_seed=self.seed))
            Records.concatenate(parts).save(folder)

        inputs = [self.stage("records")] + ([self.stage_of("control_average")] if scenarios == "mixed" else [])
        settings = (self.settings.n_fresh, self.settings.simulation, self._divided)
        return self._stage(f"fresh-{scenarios}", build, settings=settings, inputs=inputs)

    def repeated(self, own, n):
        """``n`` rows of a station's table in random order, each as often as any other, or once more."""
        rng = np.random.default_rng([self.seed, self.stations.index(own["station"].iloc[0])])
        return own.iloc[rng.permutation(np.arange(n) % len(own))]

    def given(self, name):
        """N_GIVEN records at the scenario of each held-out recording that has one (in their order), by one of
        CONDITIONED, or "fresh" truth (simulated default alone)."""
        return self.stage("given", name).value

    def _given_stage(self, name):
        kind = FITTED.get(name)

        def build(folder):
            held_out = self.held_out.take(scenario_known(self.held_out))
            rows, s = held_out.table.reindex(columns=SCENARIO).reset_index(drop=True), self.settings
            if name != "fresh":
                law = self.fitted(kind) if kind else self.model(name)
                generate.sample(law, scenarios=rows, n=N_GIVEN, seed=self.seed).save(folder)
                return
            rows = rows.loc[rows.index.repeat(N_GIVEN)]
            depth = np.minimum(rows["depth_in_km"].to_numpy(float), 0.99 * rows["distance_in_km"].to_numpy(float))
            of = (rows["station"], rows["magnitude"], rows["distance_in_km"], depth)
            simulate.fresh(s.simulation, *of, 1003 + 2 * self.seed, self.seed).save(folder)

        if name not in (*CONDITIONED, "fresh"):
            raise ValueError(f"{name!r} takes no scenario; these do: {', '.join(CONDITIONED)}")
        inputs = [self.stage("model", name)] if name in MODELS else self._sources(name)
        settings = (N_GIVEN, self._divided, self._law(name) or self.settings.simulation)
        return self._stage(f"given-{name}", build, settings=settings, inputs=inputs)

    def features(self, which):
        """DataFrame of one row a record: station, event and the columns of features.FEATURES; which: see ``some``, or
        control_shift, which has features alone."""
        if which == SHIFTED:
            sides = (self.features(side) for side in ("training", "background"))
            return features.shifted(*sides, self.stations, self.settings.n_generated, self.seed)
        measured, sites = self.stage("measured", which).value, self.stage("f0", which).value
        columns = [name for names in features.FEATURES.values() for name in names]
        both = pd.concat([measured, sites[list(features.SITE)]], axis=1)
        return both[["station", "event", *columns]]

    def measures(self, which):
        """DataFrame of one row a record: measures.IDENTITY and measures.COLUMNS (natural logarithms); see ``some``."""
        return self.stage("measured", which).value

    def _measured_stage(self, which):
        def make():
            known = with_scenarios(self.some(which).table, self.training.table)
            known = known.reindex(columns=measures.IDENTITY).reset_index(drop=True)
            how = self.some(which), self.settings.window.before_p_in_s
            return pd.concat([known, measures.measures(*how), features.wave(*how)], axis=1)

        inputs, settings = [self.stage("records"), self.stage_of(which)], (self.settings.window, self._divided)
        return self._stage(f"measured-{which}", _into_csv(make), _from_csv, settings, inputs)

    def f0(self, some):
        """{station: f0 in Hz} of Records, or of a name that ``some`` takes, records without an f0 left out."""
        sample = self.f0_sample(some)
        return metrics.f0_by_station({"station": sample.station}, sample.values, self.stations)

    def f0_sample(self, some):
        """findings.Sample of f0 in Hz of Records, or of a name that ``some`` takes, records without an f0 left out."""
        given = isinstance(some, Records)
        table = some.table if given else self.stage("f0", some).value
        values = self.hvsr(some).f0_in_hz if given else table["f0_in_hz"].to_numpy(float)
        return findings.Sample.of(values, table).take(np.isfinite(values))

    def _f0_stage(self, which):
        def make():
            some = self.some(which)
            found = hvsr.hvsr(some, self.settings.hvsr)
            frame = some.table[["station", "event"]].reset_index(drop=True).assign(f0_in_hz=found.f0_in_hz)
            return pd.concat([frame, features.site(found)], axis=1)

        inputs, settings = [self.stage("records"), self.stage_of(which)], (self.settings.hvsr, self._divided)
        return self._stage(f"f0-{which}", _into_csv(make), _from_csv, settings, inputs)

    def hvsr(self, some):
        """hvsr.HVSR of ``some`` Records, computed once per object."""
        if id(some) not in self._hvsr:
            self._hvsr[id(some)] = (some, hvsr.hvsr(some, self.settings.hvsr))  # kept with it: an id alone can return
        return self._hvsr[id(some)][1]

    def matrix(self, *groups):
        """Station matrix of (source name, Records or name) pairs; the first is "real"."""
        return metrics.station_matrix({name: self.f0(some) for name, some in groups}, settings=self.settings.f0)

    @property
    def results(self):
        """{"run": …, "findings": rows}: the union of the valid stages in the run's folder, as results.json holds it."""
        rows, now = [], [store.key_of(part) for part in (self.settings, self._divided)]
        for folder, manifest in store.standing(self.folder).items():
            if (folder / FINDINGS).exists() and manifest["settings"][:2] == now:
                rows += json.loads((folder / FINDINGS).read_text())
        counts = {"in use": len(self.records), "not used": len(self.not_used)}
        counts |= {name: len(getattr(self, name)) for name in ("background", "training", "held_out")}
        run = {"profile": self.settings.name, "kind": self.kind, "seed": self.seed, "split": self.split}
        run |= {"stations": self.stations, "records": counts, "attribution": self.attribution}
        return {"run": run | {"date": datetime.now(UTC).date().isoformat(), "version": VERSION}, "findings": rows}

    @property
    def findings(self):
        """Table of all findings that stand (``results``)."""
        return findings.table(self.results["findings"])

    def expect(self, name, value, low, high):
        """Print ``value`` and check it against [low, high]: raises AssertionError on the committed run only."""
        unchecked = " (not checked: bounds are for the simulated default at quick)"
        value_text = f"{value:.3f}" if value == value else "these records do not tell"
        print(f"{name}: {value_text}" + (f", expected between {low:g} and {high:g}" if self.is_default else unchecked))
        if self.is_default and not low <= value <= high:
            raise AssertionError(f"{name} is {value:.4g}, outside [{low:g}, {high:g}]")


def with_scenarios(table, recordings):
    """The table with magnitude and distance; where a generator states none, those of the recording it took size from.
    NaN where neither is known, or where a record was made from several. recordings: the training recordings' table."""
    known = recordings.drop_duplicates(["station", "event"]).set_index(["station", "event"])
    source = pd.MultiIndex.from_arrays([table["station"], table.get("made_from", pd.Series("", table.index))])
    looked_up = known.reindex(columns=measures.NEEDED).reindex(source).set_index(table.index).astype(float)
    return table.assign(**table.reindex(columns=measures.NEEDED).astype(float).fillna(looked_up))


def _new(kind, own, training):
    with torch.random.fork_rng():
        torch.manual_seed(training.seed)
        return kind(own)


def _into_csv(make):
    return lambda folder: make().to_csv(folder / "table.csv", index=False)


def _from_csv(folder):
    return pd.read_csv(folder / "table.csv", dtype={"station": str, "event": str})
