"""What the experiments share: a Study of one variant, and its scores as a row."""

from dataclasses import replace
from pathlib import Path

from tsgen import store
from tsgen.study import Study, runs_folder

N_SEEDS = 5  # training seeds


def study_of(name, variant, settings, given, seed=0, kind=Study):
    """Study (of a ``kind``) of one variant, in a folder that no other experiment, profile or set of records has."""
    records, stations = given["records"], given["stations"]
    whose = f"-{store.key_of(str(Path(records).resolve()), stations)}" if records or stations else ""
    folder = runs_folder() / "experiments" / f"{name}-{settings.name}{whose}-{variant}"
    return kind(settings, records, stations, seed, folder=folder)


def seed_studies(settings, given):
    """Yield (training seed, Study) of N_SEEDS training seeds on the same records and split."""
    for seed in range(N_SEEDS):
        variant = replace(settings, training=replace(settings.training, seed=seed))
        yield seed, study_of("seeds", seed, variant, given)


def scores_row(study, name):
    """{score: value} of a generator: S × S by protocol, 3S × 3S and 2S × 2S."""
    found = study.scores(name)
    row = {f"{protocol} S × S": found[protocol]["value"] for protocol in ("in_sample", "held_out")}
    return row | {"3S × 3S": found.get("score_3s"), "2S × 2S": found["score_2s"]}
