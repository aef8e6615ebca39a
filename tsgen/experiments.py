"""Experiments that take longer than a run; each leaves results/NAME.json, which the notebooks show as stored.

python -m tsgen.experiments --list
python -m tsgen.experiments NAME [--profile quick] [--records FOLDER --stations A,B]
"""

import argparse
import json
import os
import shutil
import sys
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats

from tsgen import config, controls, evidence, figures, residuals, scaling, splits, store, structure
from tsgen.records import split_station
from tsgen.study import CONTROLS, PAPER_MODELS, Study, runs_folder

RESULTS = Path(__file__).resolve().parents[1] / "results"
ATTRIBUTIONS = {"OEEWMX": "OpenEEW, CC BY-SA 4.0"}  # network: whose recordings they are, on what terms
RECORDED_FIGURES = ("station_hvsr", "scores", "k_sweep", "own_station", "intensity_bias", "response_bias", "stacks")
N_SEEDS = 5
N_NETWORKS = 8


def _study(name, variant, settings, given, seed=0, kind=Study):
    """Study (of a ``kind``) of one variant, in a folder that no other experiment, profile or set of records has."""
    records, stations = given["records"], given["stations"]
    whose = f"-{store.key_of(str(Path(records).resolve()), stations)}" if records or stations else ""
    folder = runs_folder() / "experiments" / f"{name}-{settings.name}{whose}-{variant}"
    return kind(settings, records, stations, seed, folder=folder)


def _scores_row(study, name):
    found = study.scores(name)
    row = {f"{protocol} S × S": found[protocol]["value"] for protocol in ("in_sample", "held_out")}
    return row | {"3S × 3S": found.get("score_3s"), "2S × 2S": found["score_2s"]}


def forms(settings, given):
    """Both forms and both losses of TimesNet-Gen: the standardised error of training recordings, and the scores."""
    rows = []
    for form in ("paper", "released"):
        for loss in ("standardised", "raw"):
            variant = replace(settings, training=replace(settings.training, form=form, loss=loss))
            study = _study("forms", f"{form}-{loss}", variant, given)
            real, back = study.training.waveforms, study.reconstructed("timesnet").waveforms
            error = ((real - back) ** 2).mean(2) / np.maximum(real.var(axis=2), 1e-12)  # (n, 3)
            strong = np.abs(real).max(axis=(1, 2)) >= np.quantile(np.abs(real).max(axis=(1, 2)), 0.9)
            rows.append(
                {
                    "form": form,
                    "loss": loss,
                    "standardised error, median": np.median(error),
                    "of the strongest tenth": np.median(error[strong]),
                    **_scores_row(study, "timesnet"),
                }
            )
    return rows


def seeds(settings, given):
    """Five training seeds of both models of the paper, on the same records and split, with the controls' scores."""
    rows = []
    for seed in range(N_SEEDS):
        variant = replace(settings, training=replace(settings.training, seed=seed))
        study = _study("seeds", seed, variant, given)
        for name in PAPER_MODELS:
            rows.append({"generator": name, "training seed": seed, **_scores_row(study, name)})
    for name in ("control_average", "control_bootstrap"):
        rows.append({"generator": name, "training seed": None, **_scores_row(study, name)})
    halves = study.scores("control_average")
    for level in ("ceiling", "chance"):
        row = {f"{p} S × S": halves[p][level]["value"] for p in ("in_sample", "held_out")}
        rows.append({"generator": level, "training seed": None, **row})
    return rows


VAE_TRIALS = {
    "as chosen": {},
    "TimesNet-Gen's epochs and rates": {"epochs": (6, 4), "learning_rates": (3e-3, 1e-3)},
    "n_fft 128": {"n_fft": 128, "hop": 64},
    "n_fft 512": {"n_fft": 512, "hop": 256},
    "beta 0.05": {"beta": 0.05},
}


def vae(settings, given):
    """The VAE's settings, one varied at a time: error of the log spectrogram of background records kept aside, of the
    stations' median HVSR (mean absolute ln, generated against training recordings), and the in-sample score."""
    rows = []
    for trial, changed in VAE_TRIALS.items():
        variant = replace(settings, cvae=replace(settings.cvae, **changed))
        study = _study("vae", str(list(VAE_TRIALS).index(trial)), variant, given)
        generated, curves = study.generated("cvae"), {}
        for some in (study.training, generated):
            whole = study.hvsr(some)
            parts = [whole.take((some.table["station"] == station).to_numpy()).median for station in study.stations]
            curves[len(curves)] = np.log(np.array(parts))
        losses = study.history("cvae").frame
        rows.append(
            {
                "setting": trial,
                "diagnostics loss": losses[losses["phase"] == 0]["validation_loss"].iloc[-1],
                "ln HVSR error": np.nanmean(np.abs(curves[1] - curves[0])),
                "in_sample S × S": study.scores("cvae")["in_sample"]["value"],
            }
        )
    return rows


def _evidence_row(study, name):
    """The summary of a generator's evidence as one flat row, with its scores and its gap to the plain average."""
    row = {"generator": name, "reference": None}
    for measure, found in evidence.summary(study.evidence(name)).items():
        if not isinstance(found, dict):
            row[measure] = found
            continue
        row[measure] = found["value"]
        row |= {f"{measure} {part}": value for part, value in found.items() if part != "value"}
    if name in evidence.generators(study):
        row |= _scores_row(study, name)
    if name in evidence.generators(study) and len(study.stations) > 1:
        groups = (study.held_out, study.generated(name), study.generated("control_average"))
        gap = controls.score_gap(study, *(study.f0(some) for some in groups))
        row |= {"gap to control_average": gap["value"]}
        row |= {f"gap to control_average {end}": gap[end] for end in ("low", "high")}
    return row


def evidence_over_seeds(settings, given):
    """Five training seeds of every model on the same records and split: do the conclusions of notebook 07 hold?"""
    rows = []
    for seed in range(N_SEEDS):
        variant = replace(settings, training=replace(settings.training, seed=seed))
        study = _study("seeds", seed, variant, given)
        names = evidence.generators(study)
        for name in (*(n for n in names if not n.startswith("control")), *(CONTROLS if seed == 0 else ())):
            rows.append({"training seed": None if name in CONTROLS else seed, **_evidence_row(study, name)})
    return rows


def folds(settings, given):
    """Few events a station: five folds of events, models fitted in each, held-out comparisons pooled; 20 splits."""
    study = _study("folds", "whole", settings, given)
    studies = list(splits.fold_studies(study, study.folder.parent / f"{study.folder.name}-folds"))
    rows = splits.pooled(studies) + splits.over_splits(study, study.folder / "splits")
    return [*rows, splits.loss_of_averaging(study)]


def recorded(settings, given):
    """Recorded stations, one split: scores and evidence of every generator against held-out recordings."""
    if not given["records"]:
        raise ValueError("the experiment `recorded` needs recordings: --records FOLDER --stations A,B")
    study = _study("recorded", "whole", settings, given)
    rows = [_evidence_row(study, name) for name in evidence.names(study)]
    return [*rows, splits.loss_of_averaging(study)]


CGM_TRIALS = {
    "as chosen": {},
    "spectral term": {"spectral_weight": 0.1},
    "envelope term": {"envelope_weight": 0.1},
    "duration term": {"duration_weight": 0.1},
    "all three terms": {"spectral_weight": 0.1, "envelope_weight": 0.1, "duration_weight": 0.1},
    "three times the epochs": None,
    "no latent of the record": {"record_latent": 0},
    "record's latent uncorrelated": {"record_prior": "diagonal"},
    "record's divergence at weight 1": {"record_beta": 1.0},
    "no linear path": {"linear": False},
    "level not corrected": {"corrected": False},
    "no learned spread": {"residual": "none"},
    "no clock": {"clock": 0},
    "phase 1 with the background": {"keeps_background": True},
    "fault: window": {"faults": ("window",)},
    "fault: standard deviation": {"faults": ("std",)},
    "fault: prior on its own samples": {"faults": ("prior",)},
    "fault: one scale for all bins": {"scaling": "min_max"},
}
SCENARIO_MEASURES = {"PGA": "pga", "PSA 1 s": scaling.SLOPES[-2], "PSA 3 s": scaling.SLOPES[-1], "D5-95": "d5_95"}


def _scenario_row(study):
    """Loss of background records kept aside, and how generated motion lies against the reference."""
    losses = study.history("cgm").frame
    found = scaling.reference(study)
    difference, slopes = found["difference"], found["slopes"]
    row = {"diagnostics loss": losses[losses["phase"] == 0]["validation_loss"].iloc[-1]}
    for word, measure in SCENARIO_MEASURES.items():
        for statistic in ("median", "spread"):
            row[f"{word} {statistic}"] = difference.loc[measure, statistic]
    periods = difference.loc[[name for name in scaling.SPECTRAL if name in difference.index]].dropna(subset=["median"])
    for statistic in ("median", "spread"):
        row[f"periods with an equivalent {statistic}"] = (periods[f"{statistic}_verdict"] == "equivalent").sum()
    for word, measure in (("PGA", "pga"), ("PSA 1 s", scaling.SLOPES[-2])):
        for part in residuals.PREDICTORS if measure in slopes.index else ():
            row[f"{word} slope, {part}"] = slopes.loc[measure, part]
    if study.kind == "simulated":
        row["PGA median, unseen stations"] = scaling.unseen(study).loc["pga", "median"]
    return row


def _recordings_row(study):
    """The same of the recordings that CGM-GM learned from: what a generator that followed them would be off by."""
    found = scaling.judged(study)
    row = {}
    for word, measure in SCENARIO_MEASURES.items():
        for statistic in ("median", "spread"):
            row[f"{word} {statistic}, recordings"] = found["recorded"].loc[measure, statistic]
    for word, measure in (("PGA", "pga"), ("PSA 1 s", scaling.SLOPES[-2])):
        for part in residuals.PREDICTORS:
            row[f"{word} slope, {part}, recordings"] = found["slopes"].loc[("recorded", measure), part]
    return row


def _structure_row(study):
    """Shares within 15 % by value, and single measures, of structural response against the reference."""
    found = structure.judged(study)
    found = found["fresh" if "fresh" in found else "held_out"]
    table = structure.fifteen_percent(found)
    row = {}
    for statistic in ("median", "spread"):
        part = table.xs(statistic, level="statistic")
        row[f"structural {statistic}s within 15 %"] = part["within by value"].sum() / part["of"].sum()
    row["inelastic ratio, R = 4, 1 s, median"] = found.loc["ratio_4_1", "median"]
    for statistic in ("median", "spread"):
        row[f"capacity, moderate, {statistic}"] = found.loc["capacity_moderate", statistic]
    return row


def cgm_objectives(settings, given):
    """CGM-GM with one thing changed at a time: the objectives beside the bound, a longer training, our additions taken
    away, the public code's faults put back. Bias and spread are ln ratios to fresh truth (recorded stations: to
    held-out recordings) given magnitude, distance and station; slopes are those of the bias. Losses with the spread,
    the scaling or a term changed are not comparable. The network is not that of the notebooks (seed 1), so that
    nothing chosen here has seen their truth."""
    rows = []
    for number, (trial, changed) in enumerate(CGM_TRIALS.items()):
        changed = {"epochs": tuple(3 * n for n in settings.cgm.epochs)} if changed is None else changed
        variant = replace(settings, cgm=replace(settings.cgm, **changed))
        study = _study("cgm-objectives", str(number), variant, given, seed=1)
        rows.append({"setting": trial, **_scenario_row(study)})
    return rows


def cgm_networks(settings, given):
    """CGM-GM on eight simulated networks (seeds 1 to 8, not the notebooks' 0: other earthquakes, paths and starting
    weights); recorded stations: eight splits. Bias and spread as in ``cgm_objectives``; "recordings": what the
    training recordings themselves differ by from fresh truth."""
    rows = []
    for seed in range(1, N_NETWORKS + 1):
        study = _study("cgm-networks", str(seed), settings, given, seed)
        row = {"seed": seed, **_scenario_row(study)}
        row |= _recordings_row(study) if study.kind == "simulated" else {}
        rows.append(row | _structure_row(study))
    return rows


class _SplitByRecord(Study):
    """As many target records held out as by event, drawn singly: an earthquake stands on both sides."""

    @property
    def _records_key(self):
        return store.key_of(super()._records_key, "split by record")

    @cached_property
    def _split(self):
        outside, rng = np.zeros(len(self.records), bool), np.random.default_rng(self.seed)
        for station, n in super()._split[1].table["station"].value_counts().items():
            if station in self.stations:
                outside[rng.choice(np.flatnonzero(self.records.table["station"] == station), n, replace=False)] = True
        return self.records.take(~outside), self.records.take(outside)


class _ScaledOnAll(Study):
    """CGM-GM's scaling comes from all records, the held-out ones with them."""

    @property
    def _records_key(self):
        return store.key_of(super()._records_key, "scaled on all records")

    def untrained(self, name):
        model = super().untrained(name)
        if name == "cgm":
            model.training_arrays(self.records)  # the first records that it meets
        return model


LEAKS = {"as chosen": Study, "fault: split by record": _SplitByRecord, "fault: scaled on all records": _ScaledOnAll}


def cgm_leaks(settings, given):
    """The public code's two leaks put back: events on both sides of the split, and held-out records in the scaling.
    Loss: minus log likelihood bound a value, ln amplitude in ln cm/s², over training and over held-out target
    records; a leak would show as a held-out loss nearer to the training one."""
    rows = []
    for number, (trial, kind) in enumerate(LEAKS.items()):
        study = _study("cgm-leaks", str(number), settings, given, seed=1, kind=kind)
        model = study.model("cgm")
        row = {f"{side} loss": _loss(model, getattr(study, side)) for side in ("training", "held_out")}
        rows.append({"setting": trial, **row, "gap": row["held_out loss"] - row["training loss"]})
    return rows


@torch.no_grad()
def _loss(model, some, n_draws=4):
    """Mean bound a value over records, with the same draws of the latents for every model of one size."""
    model.eval()
    arrays = model.training_arrays(some)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        losses = [model.loss(arrays, 1, 1.0, None).item() for _ in range(n_draws)]
    return float(np.mean(losses) + model.amplitude_scale.log().mean())


def over_networks(rows):
    """DataFrame by measure of the rows of ``cgm_networks``: mean with its 90 % interval (Student), standard deviation,
    and the range in which one more network should fall (mean ± 3 standard deviations). Beside each measure that the
    recordings have too, generated less recordings, network by network."""
    values = rows.drop(columns="seed")
    for name in [name for name in values if f"{name}, recordings" in values]:
        values[f"{name}, less recordings"] = values[name] - values[f"{name}, recordings"]
    n, mean, std = values.count(), values.mean(), values.std()
    half = stats.t.ppf(0.95, n - 1) * std / np.sqrt(n)
    columns = {"mean": mean, "low": mean - half, "high": mean + half, "std": std}
    return pd.DataFrame(columns | {"least": mean - 3 * std, "most": mean + 3 * std, "n": n})


def draw_recorded(settings, given, folder):
    """The figures of ``recorded`` as PNG in ``folder``: aggregates, and no recorded waveform."""
    study = _study("recorded", "whole", settings, given)
    folder.mkdir(parents=True, exist_ok=True)
    for name in RECORDED_FIGURES if len(study.stations) > 1 else RECORDED_FIGURES[:1]:
        shutil.copy(figures.draw(study, name), folder)


EXPERIMENTS = {
    function.__name__: function
    for function in (forms, seeds, vae, folds, recorded, cgm_objectives, cgm_networks, cgm_leaks)
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
        print(f"results/{name}.json is missing: python -m tsgen.experiments {name} makes it")
        return None
    content = json.loads(path.read_text())
    print(f"stored, {content['date']}, {content['profile']}, {content['records']}: {content['command']}")
    print("\n".join(filter(None, (content["experiment"], content.get("attribution")))))
    return pd.DataFrame(content["rows"]).round(3)


def mean_and_spread(rows):
    """Mean and standard deviation over training seeds of each generator's scores in the rows of ``seeds``."""
    scores = [name for name in rows.columns if "S × " in name]
    frame = rows.groupby("generator", sort=False)[scores].agg(["mean", "std"])
    return frame.round(3)


def winner(rows):
    """One sentence on the rows of ``seeds``: which of the paper's two models scores higher, and by how much."""
    sentences = []
    for score in ("held_out S × S", "in_sample S × S", "3S × 3S"):
        ours, theirs = (rows[rows["generator"] == name].set_index("training seed")[score] for name in PAPER_MODELS)
        gap = ours - theirs
        ahead = "TimesNet-Gen" if gap.mean() > 0 else "the VAE"
        sentences.append(
            f"{score.replace('_', '-')}: {ahead} is ahead by {abs(gap.mean()):.3f} in the mean of {len(gap)} seeds "
            f"(TimesNet-Gen {ours.mean():.3f} ± {ours.std():.3f}, VAE {theirs.mean():.3f} ± {theirs.std():.3f}; "
            f"the same sign in {max((gap > 0).sum(), (gap < 0).sum())} of {len(gap)})"
        )
    return ". ".join(sentences) + "."


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


if __name__ == "__main__":
    sys.exit(main())
