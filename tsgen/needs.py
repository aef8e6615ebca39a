"""What a part of the study needs of the records, asked in one way (``Study.has``, ``Study.require``) and, where they do
not have it, answered in one sentence."""

import numpy as np

LEFT_OUT = "left out here, for lack of "  # begins each such sentence; the page of a run collects them


def scenario_known(some):
    """Mask (n,) of the Records whose magnitude and distance are known."""
    return np.isfinite(some.table.reindex(columns=["magnitude", "distance_in_km"]).to_numpy(float)).all(axis=1)


def _magnitudes(study):
    return all(scenario_known(some).any() for some in (study.training, study.held_out) if len(some))


NEEDS = {  # need: in words, and whether a Study has it
    "two stations": ("two target stations", lambda study: len(study.stations) > 1),
    "three recordings": ("three training recordings", lambda study: len(study.training) > 2),
    "held-out recordings": ("recordings held out (a target station of five events)", lambda study: len(study.held_out)),
    "magnitudes": ("magnitudes and distances", _magnitudes),
}


class Lacking(ValueError):
    """A need that these records do not meet. Jupyter shows the sentence alone; a run goes on to the next notebook."""

    def _render_traceback_(self):
        return [str(self)]
