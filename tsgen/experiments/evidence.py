"""What the score does not see: over training seeds, over folds of few events, on recorded stations."""

import shutil

from tsgen import controls, evidence, figures, splits
from tsgen.experiments.common import scores_row, seed_studies, study_of
from tsgen.study import CONTROLS

RECORDED_FIGURES = ("station_hvsr", "scores", "k_sweep", "own_station", "intensity_bias", "response_bias", "stacks")


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
        row |= scores_row(study, name)
    if name in evidence.generators(study) and len(study.stations) > 1:
        groups = (study.held_out, study.generated(name), study.generated("control_average"))
        gap = controls.score_gap(study, *(study.f0(some) for some in groups))
        row |= {"gap to control_average": gap["value"]}
        row |= {f"gap to control_average {end}": gap[end] for end in ("low", "high")}
    return row


def evidence_over_seeds(settings, given):
    """Five training seeds of every model on the same records and split: do the conclusions of notebook 07 hold?"""
    rows = []
    for seed, study in seed_studies(settings, given):
        names = evidence.generators(study)
        for name in (*(n for n in names if not n.startswith("control")), *(CONTROLS if seed == 0 else ())):
            rows.append({"training seed": None if name in CONTROLS else seed, **_evidence_row(study, name)})
    return rows


def folds(settings, given):
    """Few events a station: five folds of events, models fitted in each, held-out comparisons pooled; 20 splits."""
    study = study_of("folds", "whole", settings, given)
    studies = list(splits.fold_studies(study, study.folder.parent / f"{study.folder.name}-folds"))
    rows = splits.pooled(studies) + splits.over_splits(study, study.folder / "splits")
    return [*rows, splits.loss_of_averaging(study)]


def recorded(settings, given):
    """Recorded stations, one split: scores and evidence of every generator against held-out recordings."""
    if not given["records"]:
        raise ValueError("the experiment `recorded` needs recordings: --records FOLDER --stations A,B")
    study = study_of("recorded", "whole", settings, given)
    rows = [_evidence_row(study, name) for name in evidence.names(study)]
    return [*rows, splits.loss_of_averaging(study)]


def draw_recorded(settings, given, folder):
    """The figures of ``recorded`` as PNG in ``folder``: aggregates, and no recorded waveform."""
    study = study_of("recorded", "whole", settings, given)
    folder.mkdir(parents=True, exist_ok=True)
    for name in RECORDED_FIGURES if len(study.stations) > 1 else RECORDED_FIGURES[:1]:
        shutil.copy(figures.draw(study, name), folder)
