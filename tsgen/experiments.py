"""Experiments that take longer than a run: named variants of a study, each told by the same findings as a run.

python -m tsgen.experiments --list | NAME [--profile quick] [--records FOLDER --stations A,B]

Each leaves results/NAME.json (recordings: results/recorded-NAME.json): the findings of every variant, which the keys
set, training, network and fold tell apart. Notebooks show them as stored."""

import argparse
import json
import os
import shutil
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from tsgen import coherence, config, dataset, figures, findings, generate, metrics, store, variability
from tsgen.dataset import runs_folder
from tsgen.evidence import averaging, bias, copying, scenarios, scores, structures
from tsgen.findings import finding, over
from tsgen.measures import SPECTRAL, keys_of
from tsgen.study import CONTROLS, JUDGED, LAWS, PAPER_MODELS, VERSION, Study

RESULTS = Path(__file__).resolve().parents[1] / "results"
N_TRAININGS, N_NETWORKS, N_SPLITS = 5, 8, 20
N_ROUGH, N_ABLATED = 12, 2  # networks of ``roughness``
ABLATED_NETWORKS = (2, 3, 4, 5)
UNTRAINED = ("control_average", "control_bootstrap", "control_phase", "control_renoised", *LAWS)
RECORDED_FIGURES = ("station_hvsr", "scores", "k_sweep", "own_station", "intensity_bias", "response_bias", "stacks")
BRIEF = ("pga", "d5_95", "psa", "structural response")  # what experiments keep of scenarios


@dataclass(frozen=True)
class Variants:
    """Studies of an experiment, one folder each that no other experiment, profile or set of records has."""

    name: str
    settings: config.Profile
    records: str | None
    stations: str | None

    def study(self, variant, settings=None, seed=0, split="events"):
        own = f"-{store.key_of(str(Path(self.records).resolve()), self.stations)}" if self.records else ""
        folder = runs_folder() / "experiments" / f"{self.name}-{self.settings.name}{own}-{variant}"
        return Study(settings or self.settings, self.records, self.stations, seed, folder, split=split)

    def changed(self, variant, part, of, seed=0):
        """The study with fields of one part of the settings changed to those of ``of``."""
        return self.study(variant, replace(self.settings, **{part: replace(getattr(self.settings, part), **of)}), seed)

    def trainings(self):
        """(training seed, Study) on the same records and split."""
        return ((seed, self.changed(seed, "training", {"seed": seed})) for seed in range(N_TRAININGS))


def forms(variants):
    """Both forms and both losses of TimesNet-Gen: the standardised error of training recordings, and the scores."""
    for form in ("paper", "released"):
        for loss in ("standardised", "raw"):
            study = variants.changed(f"{form}-{loss}", "training", {"form": form, "loss": loss})
            real, back = study.training.waveforms, study.reconstructed("timesnet").waveforms
            error = ((real - back) ** 2).mean(2) / np.maximum(real.var(axis=2), 1e-12)  # (n, 3)
            peak = np.abs(real).max(axis=(1, 2))
            parts = {"median": error, "median of the strongest tenth": error[peak >= np.quantile(peak, 0.9)]}
            rows = [finding("timesnet", "training", "standardised error", k, np.median(v)) for k, v in parts.items()]
            yield {"set": f"{form} form, {loss} loss"}, findings.table(rows), scores.scores(study, "timesnet")


def seeds(variants):
    """Five trainings of both models of the paper, on the same records and split, with the controls' scores."""
    for seed, study in variants.trainings():
        yield {"training": seed}, *(scores.scores(study, name) for name in PAPER_MODELS)
    yield {}, scores.recordings(study), *(scores.scores(study, name) for name in UNTRAINED[:2])


VAE_TRIALS = {
    "as chosen": {}, "TimesNet-Gen's epochs and rates": {"epochs": (6, 4), "learning_rates": (3e-3, 1e-3)},
    "n_fft 128": {"n_fft": 128, "hop": 64}, "n_fft 512": {"n_fft": 512, "hop": 256}, "beta 0.05": {"beta": 0.05},
}  # fmt: skip


def vae(variants):
    """The VAE's settings, one varied at a time: error of the log spectrogram of background records kept aside, of the
    stations' median HVSR (mean absolute ln, generated against training recordings), and the in-sample score."""
    for number, (trial, changed) in enumerate(VAE_TRIALS.items()):
        study = variants.changed(number, "cvae", changed)
        ln_hvsr = []
        for some in (study.training, study.generated("cvae")):
            whole, station = study.hvsr(some), some.table["station"].to_numpy()
            ln_hvsr.append(np.log([whole.take(station == name).median for name in study.stations]))
        error = np.nanmean(np.abs(ln_hvsr[1] - ln_hvsr[0]))
        error = finding("cvae", "training", "ln HVSR", "mean absolute difference", error)
        yield {"set": trial}, findings.table([_validation_loss(study, "cvae"), error]), scores.scores(study, "cvae")


def _validation_loss(study, name):
    last = study.history(name).table.query("phase == 0")["validation_loss"].iloc[-1]
    return finding(name, "background", "validation loss", "mean", last)


def evidence(variants):
    """Five trainings of every model on the same records and split: do the conclusions of notebook 07 hold?"""
    for seed, study in variants.trainings():
        yield {"training": seed}, scores.gaps(study), *_judged(study, [n for n in JUDGED if n not in CONTROLS])
    yield {}, scores.recordings(study), bias.bias(study, "training"), *_judged(study, CONTROLS)


def _judged(study, names):
    for name in names:
        yield from (scores.scores(study, name), bias.bias(study, name), copying.copying(study, name))


def folds(variants):
    """Few events a station: five folds of events, models fitted in each and judged inside it; 20 splits of what needs
    no training."""
    whole = variants.study("whole")
    for fold in range(dataset.FOLDS):
        study = whole.with_split(f"fold {fold} of {dataset.FOLDS}")
        yield {"fold": fold}, scores.recordings(study), scores.gaps(study), *_judged(study, JUDGED)
    tables, rows = [findings.table([])], []  # held-out S × S, mean and 5 to 95 % over N_SPLITS splits
    for study in map(whole.with_split, (f"seed {number}" for number in range(N_SPLITS * (len(whole.stations) > 1)))):
        tables += [scores.recordings(study), *(scores.scores(study, name) for name in UNTRAINED)]
    found = findings.select(pd.concat(tables), against="held_out", statistic="S × S")
    for name, values in found.groupby("subject", sort=False)["value"]:
        mean, named = findings.interval(values, np.mean(values)), {"protocol": "held_out", "set": f"{N_SPLITS} splits"}
        rows.append(finding(name, "held_out", "score", "S × S", mean, mean.n, **named))
    yield {}, findings.table([*rows, *_loss_of_all(whole)])


def recorded(variants):
    """Recorded stations, one split: scores and evidence of every generator against held-out recordings."""
    if not variants.records:
        raise ValueError("the experiment `recorded` needs recordings: --records FOLDER --stations A,B")
    study = variants.study("whole")
    yield {}, scores.recordings(study), scores.gaps(study), bias.bias(study, "training"), *_judged(study, JUDGED)
    yield {}, *(averaging.averaging(study, name) for name in averaging.SWEPT), findings.table(_loss_of_all(study))
    folder = RESULTS.parent / "figures" / "recorded"  # aggregates, and no recorded waveform
    folder.mkdir(parents=True, exist_ok=True)
    for name in RECORDED_FIGURES[: None if len(study.stations) > 1 else 1]:
        shutil.copy(figures.draw(study, name), folder)


def _loss_of_all(study):
    """What plain averages of k recordings of all events lose in ln std, less theory."""
    found = averaging.losses(generate.PlainAverage(), study.targets, study.settings.mixed_records, study.seed)
    estimate, theory = found["without replacement"]
    for against, loss in {"": estimate, "theory": estimate.less(theory)}.items():
        yield finding("control_average", against, "ln std", "loss", loss, len(study.targets), set="all recordings")


CGM_TRIALS = {
    "as chosen": {}, "spectral term": {"spectral_weight": 0.1},
    "envelope term": {"envelope_weight": 0.1}, "duration term": {"duration_weight": 0.1},
    "all three terms": {"spectral_weight": 0.1, "envelope_weight": 0.1, "duration_weight": 0.1},
    "three times the epochs": None,
    "no latent of the record": {"record_latent": 0},
    "record's divergence at weight 1": {"record_beta": 1.0}, "no linear path": {"linear": False},
    "level not corrected": {"corrected": False}, "no learned spread": {"residual": "none"},
    "no clock": {"clock": 0}, "phase 1 with the background": {"keeps_background": True},
    "fault: window": {"faults": ("window",)}, "fault: standard deviation": {"faults": ("std",)},
    "fault: prior on its own samples": {"faults": ("prior",)}, "fault: one scale for all bins": {"scaling": "min_max"},
}  # fmt: skip
ABLATIONS = ("as chosen", "no latent of the record", "record's latent uncorrelated", "no learned spread")


def _with_cgm(variants, variant, trial, seed):
    longer = {"epochs": tuple(3 * n for n in variants.settings.cgm.epochs)}
    return variants.changed(variant, "cgm", longer if CGM_TRIALS[trial] is None else CGM_TRIALS[trial], seed)


def cgm_objectives(variants):
    """CGM-GM with one thing changed at a time: the objectives beside the bound, a longer training, our additions taken
    away, the public code's faults put back. Bias and spread are ln ratios to fresh truth (recorded stations: to
    held-out recordings) given magnitude, distance and station; slopes are those of the bias. Losses with the spread,
    the scaling or a term changed are not comparable. The network is not that of the notebooks (seed 1), so that
    nothing chosen here has seen their truth."""
    for number, trial in enumerate(CGM_TRIALS):
        study = _with_cgm(variants, number, trial, 1)
        yield {"set": trial}, findings.table([_validation_loss(study, "cgm")]), brief(study)


def cgm_ablations(variants):
    """What we added to CGM-GM, taken away on four networks (seeds 2 to 5): one network cannot tell an addition from
    chance. Bias and spread as in ``cgm_objectives``."""
    for seed in ABLATED_NETWORKS:
        for number, trial in enumerate(ABLATIONS):
            yield {"set": trial, "network": seed}, brief(_with_cgm(variants, f"{seed}-{number}", trial, seed))


def cgm_networks(variants):
    """CGM-GM on eight simulated networks (seeds 1 to 8, not the notebooks' 0: other earthquakes, paths and starting
    weights); recorded stations: eight splits. Bias and spread as in ``cgm_objectives``; "recordings": what the
    training recordings themselves differ by from fresh truth."""
    for seed in range(1, N_NETWORKS + 1):
        study = variants.study(seed, seed=seed)
        felt = findings.select(structures.structures(study), against=bias.reference_of(study))
        yield {"network": seed}, brief(study), felt[felt["statistic"].str.contains("farthest")]


def brief(study):
    """What experiments keep of ``scenarios.scenario``: pooled, some periods; and at how many it is equivalent."""
    against, counts = bias.reference_of(study), []
    rows = findings.select(scenarios.scenario(study), measure=BRIEF, station="", against=against)
    rows = rows[~rows["protocol"].str.contains("training")]
    for statistic, bound in findings.BOUNDS.items():
        part = findings.select(rows, subject="cgm", measure="psa", protocol="scenario", statistic=statistic)
        n = int(((part["low"] > -bound) & (part["high"] < bound)).sum())
        name = f"{statistic}, equivalent periods"
        counts.append(finding("cgm", against, "psa", name, n, len(part), protocol="scenario"))
    kept = {keys_of(name).get("period_in_s") for name in (*scenarios.SLOPES, *SPECTRAL[-1:])}
    return pd.concat([rows[rows["period_in_s"].isna() | rows["period_in_s"].isin(kept)], findings.table(counts)])


def cgm_leaks(variants):
    """The public code's split by record put back, with events on both sides. Loss: minus log likelihood bound a value,
    ln amplitude in ln cm/s², over training and over held-out target records; a leak would show as a held-out loss
    nearer to the training one."""
    for number, (trial, split) in enumerate({"as chosen": "events", "fault: split by record": "records"}.items()):
        study = variants.study(number, seed=1, split=split)
        inside, outside = (_loss(study.model("cgm"), some) for some in (study.training, study.held_out))
        told = [("training", "mean", inside), ("held_out", "mean", outside)]
        told.append(("held_out", "mean less training", outside - inside))
        yield {"set": trial}, findings.table(finding("cgm", side, "loss", *rest) for side, *rest in told)


@torch.no_grad()
def _loss(model, some, n_draws=4):
    """Mean bound a value over records, with the same draws of the latents for every model of one size."""
    model.eval()
    arrays = model.training_arrays(some)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        losses = [model.loss(arrays, 1, 1.0, None).item() for _ in range(n_draws)]
    return float(np.mean(losses) + model.amplitude_scale.log().mean())


def roughness(variants):
    """How simulated networks vary: between-event, site-to-site and within terms over twelve networks, over two with
    each ingredient of the simulation switched off; recordings: the same of their collection."""
    if variants.records:
        yield {}, _rough(variants.study("whole"))
        return
    given = [("as it is", (), N_ROUGH), *((f"without {name}", (name,), N_ABLATED) for name in config.INGREDIENTS)]
    for number, (what, without, n) in enumerate(given):
        for seed in range(n):
            yield (
                {"set": what, "network": seed},
                _rough(variants.changed(f"{number}-{seed}", "simulation", {"without": without}, seed)),
            )


def _rough(study):
    """Findings on all records of a study: ``variability.decomposition``, Vs30 against f0, and locked components."""
    table, rows = variability.decomposition(study.records), []
    for measure, row in table.iterrows():
        kept = (*variability.TERMS, "correlation")
        rows += [finding("records", "", measure, name, row[name], int(row["records"])) for name in kept]
    correlation, scatter, n = variability.vs30_and_f0(study.records, study.hvsr(study.records).f0_in_hz)
    locked = coherence.locked(study.records)
    rows += [finding("records", "", "ln f0 and ln Vs30", "correlation", correlation, n)]
    rows += [finding("records", "", "ln f0 given ln Vs30", "spread", scatter, n)]
    rows += [finding("records", "", "locked components", "mean", np.nanmean(locked), int(np.isfinite(locked).sum()))]
    return findings.table([row for row in rows if "value" in row])


def regressed(variants):
    """Is the simulated truth rough enough that a law fitted in a second fails on it? Energy distance of the fitted
    controls' spectra and durations to fresh truth at the same scenarios, and of the training recordings', over eight
    networks; in units of the scatter within stations (whitened by it, a tenth shrunk to its diagonal)."""
    for seed in range(1, N_NETWORKS + 1):
        study = variants.study(seed, seed=seed)
        rows = [row for measure, columns in FEATURES.items() for row in _distances(study, measure, list(columns))]
        yield {"network": seed}, findings.table(rows)


FEATURES = {"spectra": SPECTRAL, "duration": ("d5_75", "d5_95", "arias")}


def _distances(study, measure, columns):
    known = pd.concat([study.measures("training"), study.measures("background")], ignore_index=True)
    covariance = (known[columns] - known.groupby("station")[columns].transform("mean")).cov().to_numpy()
    covariance = 0.9 * covariance + 0.1 * np.diag(np.diag(covariance))
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T / np.sqrt(len(columns))
    truth, found = study.measures("fresh-single"), []
    for name in (*LAWS, "training"):
        sides, each = (study.measures(name), truth), []
        for station in study.stations:
            own = (side.loc[side["station"] == station, columns].to_numpy() @ whitening for side in sides)
            each.append(metrics.energy_distance(*own))
        found.append(finding(name, "fresh", measure, "energy distance", np.mean(each), *map(len, sides)))
    return found


_ALL = (
    roughness,
    regressed,
    forms,
    seeds,
    vae,
    evidence,
    folds,
    recorded,
    cgm_objectives,
    cgm_ablations,
    cgm_networks,
    cgm_leaks,
)
EXPERIMENTS = {experiment.__name__: experiment for experiment in _ALL}


def run(name, profile="quick", records=None, stations=None, folder=RESULTS):
    """Run experiment ``name`` and write ``folder``/NAME.json (of ``records``: recorded-NAME.json); returns its path."""
    if name not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {name!r}; known: {', '.join(EXPERIMENTS)}")
    variants, rows = Variants(name, config.profile(profile), records, stations), []
    for keys, *tables in EXPERIMENTS[name](variants):
        rows += pd.concat(tables).assign(**keys).to_dict("records")
    of = Path(records).name if records else "simulated default"
    given = {"profile": profile != "quick" and profile, "records": records and of, "stations": records and stations}
    command = f"python -m tsgen.experiments {name}" + "".join(f" --{key} {v}" for key, v in given.items() if v)
    about = {"experiment": " ".join(EXPERIMENTS[name].__doc__.split()), "profile": profile, "records": of}
    about["attribution"] = variants.study("whole").attribution if records else ""
    about |= {"command": command, "date": datetime.now(UTC).date().isoformat(), "version": VERSION}
    path = Path(folder) / f"{'recorded-' if records and name != 'recorded' else ''}{name}.json"
    rows = [{key: v for key, v in row.items() if v != "" and v == v} for row in rows]
    store.write_json(path, {"run": about, "findings": rows})
    return path


def stored(name):
    """The findings of results/NAME.json as a table, after a printed line that says what it is, when and how made."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        command = name.removeprefix("recorded-") + " --records FOLDER --stations A,B" * name.startswith("recorded")
        print(f"results/{name}.json is missing: python -m tsgen.experiments {command} makes it")
        return findings.table([])
    content = json.loads(path.read_text())
    head = "stored, {date}, {profile}, {records}: {command}".format(**content["run"])
    print(*filter(None, (head, content["run"]["experiment"], content["run"]["attribution"])), sep="\n")
    return findings.table(content["findings"])


def sources(study_findings):
    """{"run": findings, experiment: its stored findings}: what ``claims.table`` takes."""
    texts = {path.stem: path.read_text() for path in sorted(RESULTS.glob("*.json")) if path.stem != "quick"}
    return {"run": study_findings} | {n: findings.table(json.loads(text)["findings"]) for n, text in texts.items()}


def spread(rows, key="training"):
    """Table of findings: the mean over trainings, networks or folds with its 90 % interval (Student), n of them."""
    of = [name for name in findings.IDENTITY if name != key]
    groups = rows.dropna(subset=[key]).groupby(of, sort=False, dropna=False)["value"]
    return findings.table([dict(zip(of, names, strict=True)) | vars(over(values)) for names, values in groups])


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tsgen.experiments", description=__doc__.split("\n")[0])
    parser.add_argument("name", nargs="?")
    parser.add_argument("--list", action="store_true", help="list the experiments")
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--records", help="folder of recordings; without it the simulated default")
    parser.add_argument("--stations", help="target stations, comma-separated")
    given = parser.parse_args(arguments)
    try:
        if given.list or not given.name:
            print("\n".join(f"{name:16s} {' '.join(f.__doc__.split())}" for name, f in EXPERIMENTS.items()))
        else:
            print(os.path.relpath(run(given.name, given.profile, given.records, given.stations)))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
