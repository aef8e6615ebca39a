"""What is asked of generated records, one question a file. None imports another, but few records ask
what all the others ask. ``everything`` asks them all."""

from tsgen.evidence import averaging, bias, copying, distances, few, scenarios, scores, structures
from tsgen.study import SHIFTED


def scored(study, *names):
    """Findings, energy distances and scores, on generators, and on "training" as if it were generated."""
    for name in names:
        yield distances.distances(study, name)
        yield scores.recordings(study) if name == "training" else scores.scores(study, name)


def everything(study):
    """All findings of a run, built where missing: a table (``findings.table``). What the run's records cannot tell is
    left out: see ``Dataset.lacking``."""
    scores.stations(study)
    scores.recordings(study)
    scores.gaps(study)
    scores.improper(study)
    for name in study.judged:
        scores.scores(study, name)
    if not study.lacking("held-out recordings"):
        for name in ("training", *study.judged, SHIFTED):
            distances.distances(study, name)
        distances.comparisons(study)
        for name in ("training", *study.judged):
            bias.bias(study, name)
        for name in (*study.judged, *(["fresh-single"] if study.kind == "simulated" else [])):
            copying.copying(study, name)
        for name in averaging.SWEPT:
            averaging.averaging(study, name)
        structures.every(study)
    if not study.lacking("held-out recordings", "magnitudes"):
        distances.scenario(study)
        scenarios.scenario(study)
        few.few(study)
    return study.findings
