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

from tsgen import coherence, config, figures, findings, generate, paper, station_term, store, trainer, variability
from tsgen.dataset import FEWEST_TO_SPLIT, N_TARGETS, runs_folder
from tsgen.evidence import averaging, bias, copying, distances, scenarios, scored, scores, structures
from tsgen.evidence import few as few_records
from tsgen.findings import finding, over
from tsgen.measures import SPECTRAL, keys_of
from tsgen.needs import scenario_known
from tsgen.power import power_of
from tsgen.study import CONTROLS, LAWS, SHIFTED, VERSION, Study
from tsgen.trials import TRIAL_NETWORK, TRIALS, trials_of

RESULTS = Path(__file__).resolve().parents[1] / "results"
N_TRAININGS, N_NETWORKS, N_SPLITS, N_TRANSFERS = 5, 4, 20, 3
N_ROUGH, N_ABLATED, N_REGRESSED = 12, 2, 8  # networks of ``roughness`` and ``regressed``
POWER_NETWORK = 21  # seed of a network that nothing else uses
N_FEW, N_CHOICES = 3, {"simulated": 10, "recorded": 4}  # networks of ``few``, and choices of the few records in each
POOLED = (1001, 1002, 1003, 1004)  # networks that nothing else uses: what the ideal of ``few`` knows
N_POOL, N_POWER = 600, 400  # records a station and draws of ``power``
UNTRAINED = ("evolve", "control_average", "control_bootstrap", "control_phase", "control_renoised", *LAWS)
RECORDED_FIGURES = "station_hvsr distances scores k_sweep own_station intensity_bias response_bias stacks".split()
SHORT = ("score", "similarity", "f0", "pga", "pgv", "d5_75", "d5_95", "arias", "r2", "active_records")  # if repeated
BRIEF = ("pga", "d5_95", "psa", "structural response")  # what experiments keep of scenarios


@dataclass(frozen=True)
class Variants:
    """Studies of an experiment, one folder each that no other experiment, profile or set of records has."""

    name: str
    settings: config.Profile
    records: str | None
    stations: str | None
    total: float = np.inf  # minutes of ``paper``'s training over several calls

    def study(self, variant, settings=None, seed=0, split="events", stations=None, **given):
        own = f"-{store.key_of(str(Path(self.records).resolve()), self.stations)}" if self.records else ""
        folder = runs_folder() / "experiments" / f"{self.name}-{self.settings.name}{own}-{variant}"
        chosen = stations or self.stations
        return Study(settings or self.settings, self.records, chosen, seed, folder, split=split, **given)

    def changed(self, variant, part, of, seed=0, stations=None):
        """The study with fields of one part of the settings changed to those of ``of``."""
        return self.study(variant, config.changed(self.settings, part, of), seed, stations=stations)

    def players(self, needs=()):
        """Five background stations that may play targets: those with most records (of known magnitude and distance
        where a model ``needs`` these), as the split needs them."""
        some = self.study("whole", seed=0 if self.records else TRIAL_NETWORK).background
        some = some.take(scenario_known(some)) if "magnitudes" in needs else some
        counts = some.table.groupby("station")["event"].nunique().sort_index()
        counts = counts[counts >= FEWEST_TO_SPLIT].sort_values(ascending=False, kind="stable")
        return sorted(counts.index[:N_TARGETS])

    def trainings(self):
        """(training seed, Study) on the same records and split."""
        return ((seed, self.changed(seed, "training", {"seed": seed})) for seed in range(N_TRAININGS))


def trainings(variants):
    """Five trainings of every model on the same records and split: distances, scores, bias and copying."""
    for seed, study in variants.trainings():
        models = [name for name in study.judged if name not in CONTROLS]
        yield {"training": seed}, distances.comparisons(study), scores.gaps(study), *_judged(study, models)
    yield {}, scores.recordings(study), *_judged(study, ("training", *CONTROLS))


def networks(variants):
    """Every generator on four other simulated networks (seeds 1 to 4: other sites, earthquakes, paths and starting
    weights; recorded stations: four splits), and CGM-GM given magnitude and distance."""
    for seed in range(1, N_NETWORKS + 1):
        study = variants.study(seed, seed=seed)
        felt = findings.select(structures.structures(study, "cgm"), against=bias.reference_of(study))
        rows = [distances.comparisons(study), distances.scenario(study), scores.recordings(study), brief(study)]
        yield {"network": seed}, *rows, felt[felt["statistic"].str.contains("farthest")], *_judged(study)


def _judged(study, names=None):
    """Findings on generators (default: all, "training" and control_shift, as far as these can be judged)."""
    for name in names or ("training", *study.judged, SHIFTED):
        yield distances.distances(study, name)
        if name != SHIFTED:
            told = bias.bias(study, name)  # by period alone it is ten times as long
            yield told[told["measure"].isin(SHORT)]
        if name not in ("training", SHIFTED):
            yield from (scores.scores(study, name), copying.copying(study, name))


def folds(variants):
    """Few events a station: five folds of events, models fitted in each and judged inside it, energy distances over all
    recordings by the fold that has not seen them; scores of what needs no training over 20 splits."""
    whole = variants.study("whole")
    for fold, study in enumerate(each := whole.folds()):
        found = pd.concat([scores.recordings(study), scores.gaps(study), *_judged(study, study.judged)])
        yield {"fold": fold}, found[found["measure"].isin(SHORT)]
    yield {}, findings.table(distances.pooled(each, ("training", *whole.judged, SHIFTED)))
    tables, rows = [findings.table([])], []  # held-out S × S, mean and 5 to 95 % over N_SPLITS splits
    for number in range(N_SPLITS * (len(whole.stations) > 1)):
        study = whole.with_split(f"seed {number}")
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
    yield {}, scores.recordings(study), scores.gaps(study), distances.comparisons(study), distances.scenario(study)
    yield (
        {},
        *_judged(study),
        *(averaging.averaging(study, name) for name in averaging.SWEPT),
        findings.table(_loss_of_all(study)),
    )
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
    """The public code's split by record put back, with events on both sides. Loss: minus the lower bound of the log
    likelihood, per value (ln amplitude, ln cm/s²), over training and over held-out target records; a leak would show as
    a held-out loss nearer to the training one."""
    for number, (trial, split) in enumerate({"as chosen": "events", "fault: split by record": "records"}.items()):
        study = variants.study(number, seed=1, split=split)
        inside, outside = (_loss(study.model("cgm"), some) for some in (study.training, study.held_out))
        rows = [finding("cgm", "training", "loss", "mean", inside), finding("cgm", "held_out", "loss", "mean", outside)]
        rows.append(finding("cgm", "held_out", "loss", "mean less training", outside - inside))
        yield {"set": trial}, findings.table(rows)


@torch.no_grad()
def _loss(model, some):
    """Mean loss per value over records, with the same draws of the latents for every model of one size."""
    model.eval()
    arrays = model.training_arrays(some)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        losses = [model.loss(arrays, 1, 1.0, None).item() for _ in range(4)]
    return float(np.mean(losses) + model.amplitude_scale.log().mean())


def onehot(variants):
    """What the station one-hot does: mixes of the same recordings told their own station, the next one and none, with
    the share of their variance that this changes; and a model trained without it. Five trainings on one split."""
    others = ("timesnet_next_station", "timesnet_no_station")
    for seed, study in variants.trainings():
        rows = [averaging.changed(name, "timesnet", *map(study.generated, ("timesnet", name))) for name in others]
        yield {"training": seed}, findings.table(rows), *scored(study, "timesnet", *others)
        without = variants.changed(f"without-{seed}", "training", {"seed": seed, "form": "unconditioned"})
        yield {"training": seed, "set": "trained without"}, *scored(without, "timesnet")
    yield {}, *scored(study, "training", "control_average")


def transfer(variants):
    """The paper's third version: TimesNet-Gen without one-hot and fine-tuning mixes recordings of stations with
    Dirichlet weights, trained on the background of their own network (simulated: in a stable region), of another
    network of a stable region, or of one of an active region; beside it the plain average. Three networks or splits."""
    settings = config.changed(variants.settings, "training", {"form": "released"})
    regions = {name: config.changed(settings, "simulation", {"region": name}) for name in config.REGIONS}
    own = replace(regions["stable"], fewest_background=1)
    for seed in range(1, N_TRANSFERS + 1):
        home = variants.study(f"own-{seed}", own, seed)
        studies = {"own network": home}
        for region, simulated in regions.items():
            there = Variants(variants.name, simulated, None, None).study(f"{region}-{seed}", seed=N_TRANSFERS + seed)
            moved = variants.study(f"from-{region}-{seed}", own, seed, whole=home, models_of=there)
            studies[f"another network, {region} region"] = moved
        for name, study in studies.items():
            lost = averaging.changed("timesnet", "training", study.training, study.reconstructed("timesnet"))
            yield {"network": seed, "set": name}, findings.table([lost]), *scored(study, "timesnet_dirichlet")
        yield {"network": seed}, *scored(home, "training", "control_average_dirichlet")


def roughness(variants):
    """How simulated networks vary: between-event, site-to-site and within terms over twelve networks, over two with
    each ingredient of the simulation switched off; recordings: the same of their collection."""
    if variants.records:
        yield {}, _rough(variants.study("whole"))
        return
    given = [("as it is", (), N_ROUGH), *((f"without {name}", (name,), N_ABLATED) for name in config.INGREDIENTS)]
    for number, (what, without, n) in enumerate(given):
        for seed in range(n):
            study = variants.changed(f"{number}-{seed}", "simulation", {"without": without}, seed)
            yield {"set": what, "network": seed}, _rough(study)


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
    return findings.table(rows)


def regressed(variants):
    """Is the simulated truth rough enough that a law fitted in a second fails on it? Energy distance of the fitted
    controls' spectra and durations to fresh truth at the same scenarios, and of the training recordings', over eight
    networks; in units of the scatter within stations (whitened by it, a tenth shrunk to its diagonal)."""
    for seed in range(1, N_REGRESSED + 1):
        study, rows = variants.study(seed, seed=seed), []
        for measure, whitening in distances.whitenings(study).items():
            for name in (*LAWS, "training"):
                sides = (whitening.sample(study.features(which)) for which in (name, "fresh-single"))
                rows.append(distances.between(name, "fresh", measure, *sides, study.stations, seed))
        yield {"network": seed}, findings.table(rows)


def power(variants):
    """What the energy distances can tell: mean and level over draws of two sets of one law, how often the interval
    covers a planted difference, and how often a shift of all features is seen, at 18 and at 4 held-out records a
    station; from 600 records a station of the simulated law, of another network than the notebooks' (seed 21)."""
    study = variants.changed("pool", "simulation", {"n_target_records": (N_POOL,) * 5}, POWER_NETWORK)
    pools = {measure: each.sample(study.features("targets")) for measure, each in distances.whitenings(study).items()}
    for n_held_out in (18, 4):
        for measure, pool in pools.items():
            rows = power_of(measure, pool, study.stations, n_held_out, variants.settings.n_generated, N_POWER)
            yield {"set": f"{n_held_out} held out"}, findings.table(rows)


def few(variants):
    """Motion of a station from n of its records, everyone given the same: three other networks, ten choices of the
    records in each; recordings: stations left out one by one, five folds of events, four choices."""
    whole = variants.study("whole")
    choices = range(N_CHOICES[whole.kind])
    if variants.records:
        yield {}, findings.table(few_records.told(whole.folds(), choices=choices))
        return
    known = whole.keep_table("pool", lambda: station_term.simulated(whole.settings.simulation, POOLED), settings=POOLED)
    for seed in range(1, N_FEW + 1):
        study = variants.study(seed, seed=seed)
        yield {"network": seed}, findings.table(few_records.told([study], choices=choices, pool=known))


EXPERIMENTS = (power, *map(trials_of, TRIALS), trainings, networks, folds, recorded, onehot, transfer)
EXPERIMENTS += (roughness, regressed, few, cgm_leaks, paper.paper)
EXPERIMENTS = {experiment.__name__: experiment for experiment in EXPERIMENTS}


def run(name, profile="quick", records=None, stations=None, folder=None, total=np.inf):
    """Run experiment ``name`` and write ``folder``/NAME.json (of ``records``: recorded-NAME.json); returns its path.
    trainer.OutOfTime (see ``trainer.until``) leaves the file as it was, or of `paper` with what stands."""
    if name not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {name!r}; known: {', '.join(EXPERIMENTS)}")
    path = Path(folder or RESULTS) / f"{'recorded-' if records and name != 'recorded' else ''}{name}.json"
    variants, rows, rest = Variants(name, config.profile(profile), records, stations, total), [], None
    try:
        for keys, *tables in EXPERIMENTS[name](variants):
            rows += pd.concat(tables).assign(**keys).to_dict("records")
    except trainer.OutOfTime as error:
        if name != "paper":
            raise
        rest = error
    of = Path(records).name if records else "simulated default"
    given = {"profile": profile != "quick" and profile, "records": records and of, "stations": records and stations}
    given["total"] = total < np.inf and f"{total:g}"
    command = f"python -m tsgen.experiments {name}" + "".join(f" --{key} {v}" for key, v in given.items() if v)
    about = {"experiment": " ".join(EXPERIMENTS[name].__doc__.split()), "profile": profile, "records": of}
    about["attribution"] = variants.study("whole").attribution if records else ""
    about |= {"device": paper.device()} if name == "paper" else {}
    about |= {"command": command, "date": datetime.now(UTC).date().isoformat(), "version": VERSION}
    # what is repeated is told of all stations together: a station by itself is for a run
    rows = [{key: v for key, v in row.items() if v != "" and v == v} for row in rows if not row["station"]]
    findings.write(path, about, rows)
    if rest:
        raise rest
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
    add = parser.add_argument
    add("name", nargs="?")
    add("--list", action="store_true", help="list the experiments")
    add("--profile", help="quick unless told otherwise; of `paper`: paper")
    add("--minutes", type=float, default=np.inf, help="end by then; the same command goes on from there")
    add("--total", type=float, default=np.inf, help="of `paper`: minutes for its training over all calls")
    add("--background", type=int, metavar="N", help="background records at most")
    add("--records", help="folder of recordings; without it the simulated default")
    add("--stations", help="target stations, comma-separated")
    given = parser.parse_args(arguments)
    try:
        if given.list or not given.name:
            print("\n".join(f"{name:16s} {' '.join(f.__doc__.split())}" for name, f in EXPERIMENTS.items()))
        else:
            profile = given.profile or ("paper" if given.name == "paper" else "quick")
            profile += f"-{given.background}" if given.background else ""
            with trainer.until(60 * given.minutes):
                print(os.path.relpath(run(given.name, profile, given.records, given.stations, total=given.total)))
    except trainer.OutOfTime as rest:
        print(rest, file=sys.stderr)
        return 3
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
