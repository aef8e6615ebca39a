"""What is asked of generated records, one question a file; none imports another. ``everything`` asks them all."""

from tsgen.evidence import averaging, bias, copying, scenarios, scores, structures
from tsgen.study import JUDGED


def everything(study):
    """All findings of a run, built where missing: a table (``findings.table``). What the run's records cannot tell is
    left out: see ``Dataset.lacking``."""
    scores.stations(study)
    scores.recordings(study)
    scores.gaps(study)
    for name in JUDGED:
        scores.scores(study, name)
    if not study.lacking("held-out recordings"):
        for name in ("training", *JUDGED):
            bias.bias(study, name)
        for name in (*JUDGED, *(["fresh-single"] if study.kind == "simulated" else [])):
            copying.copying(study, name)
        for name in averaging.SWEPT:
            averaging.averaging(study, name)
        structures.every(study)
    if not study.lacking("held-out recordings", "magnitudes"):
        scenarios.scenario(study)
    return study.findings
