"""How the settings of the models were chosen: one thing changed at a time, ranked by the energy distances."""

from dataclasses import replace

import pandas as pd

from tsgen import distance, findings
from tsgen.config import changed
from tsgen.evidence import bias, distances, new_station
from tsgen.evidence.new_station import OURS
from tsgen.findings import finding
from tsgen.study import MODELS

N_FEW, N_CHOICES = 2, 10  # records of a station that OURS is given, and choices of them
TRIAL_NETWORK = 20  # seed of a simulated network that nothing else uses
BEFORE = {  # model: settings from which its trials began, where a trial has changed them since
    "timesnet": ("training", {"epochs_phase_0": 6, "epochs_phase_1": 4}), "cvae": ("cvae", {"epochs": (24, 16)}),
}  # fmt: skip
TRIALS = {  # model: {trial: (part of the settings, fields changed)}
    "timesnet": {
        "as before": ("training", {}), "raw loss": ("training", {"loss": "raw"}),
        "released form": ("training", {"form": "released"}), "rate 1e-3": ("training", {"learning_rate_phase_0": 1e-3}),
        "rate 3e-3 in phase 1": ("training", {"learning_rate_phase_1": 3e-3}),
        "4 and 8 epochs": ("training", {"epochs_phase_0": 4, "epochs_phase_1": 8}),
        "12 and 8 epochs": ("training", {"epochs_phase_0": 12, "epochs_phase_1": 8}),
        "batch 16": ("training", {"batch_size": 16}), "no dropout": ("timesnet", {"dropout": 0.0}),
        "three periods": ("timesnet", {"top_k": 3}), "one block": ("timesnet", {"n_blocks": 1}),
        "half as wide": ("timesnet", {"d_model": 8, "d_ff": 16}),
    },
    "cvae": {
        "as before": ("cvae", {}), "n_fft 128": ("cvae", {"n_fft": 128, "hop": 64}),
        "n_fft 512": ("cvae", {"n_fft": 512, "hop": 256}), "beta 0.05": ("cvae", {"beta": 0.05}),
        "beta 0.0005": ("cvae", {"beta": 0.0005}), "latent 32": ("cvae", {"latent": 32}),
        "latent 128": ("cvae", {"latent": 128}), "half the epochs": ("cvae", {"epochs": (12, 8)}),
        "twice the epochs": ("cvae", {"epochs": (48, 32)}), "rates 3e-3": ("cvae", {"learning_rates": (3e-3, 3e-3)}),
        "phase weight 0.5": ("cvae", {"phase_weight": 0.5}), "half as wide": ("cvae", {"channels": (16, 32, 64)}),
    },
    "cgm": {
        "as before": ("cgm", {}), "half the epochs": ("cgm", {"epochs": (15, 20)}),
        "twice the epochs": ("cgm", {"epochs": (60, 80)}),
        "rates 3e-3, 1e-3": ("cgm", {"learning_rates": (3e-3, 1e-3)}),
        "no latent of the record": ("cgm", {"record_latent": 0}),
        "record's divergence at weight 1": ("cgm", {"record_beta": 1.0}), "no linear path": ("cgm", {"linear": False}),
        "level not corrected": ("cgm", {"corrected": False}), "no learned spread": ("cgm", {"residual": "none"}),
        "no clock": ("cgm", {"clock": 0}), "phase 1 with the background": ("cgm", {"keeps_background": True}),
        "spectral term": ("cgm", {"spectral_weight": 0.1}), "envelope term": ("cgm", {"envelope_weight": 0.1}),
        "duration term": ("cgm", {"duration_weight": 0.1}), "fault: window": ("cgm", {"faults": ("window",)}),
        "fault: standard deviation": ("cgm", {"faults": ("std",)}),
        "fault: one scale for all bins": ("cgm", {"scaling": "min_max"}),
    },
    "evolve": {
        "as it is": ("evolve", {}), "calibrated": ("evolve", {"calibrated": True}),
        "no covariance blended": ("evolve", {"blended_between": 0.0, "blended_within": 0.0}),
        "all of B blended": ("evolve", {"blended_between": 1.0}), "W not blended": ("evolve", {"blended_within": 0.0}),
        "Gaussian draws": ("evolve", {"draws": "gaussian"}),
        "without Vs30": ("evolve", {"conditions": ("magnitude", "ln_distance")}),
        "lenders nearer": ("evolve", {"stretched_by": 0.15}),
        "lenders from anywhere": ("evolve", {"stretched_by": 9.0}),
    },
}  # fmt: skip


def _of_few(study):
    """[features of what OURS makes from N_FEW records of each station], by choice of these."""
    made = (new_station.waves(study, choice, (OURS,), False) for choice in range(N_CHOICES))
    return [each[(each["set"] == f"n = {N_FEW}") & (each["subject"] == OURS)] for each in made]


def trials_of(model):
    """The experiment that tries the settings of a model."""

    def trials(variants):
        """A model's settings, one changed at a time: five background stations play targets (another network than the
        notebooks', seed 20), energy distances to fresh truth there (recorded stations: to their held-out records), and
        the trials' mean rank over the distances. Chosen by that alone. Our generator is given two records of each
        station, by ten choices of them, and asked for the held-out records' magnitudes and distances."""
        tried, (part, before) = variants, BEFORE.get(model, (model, {}))
        tried = replace(variants, settings=changed(variants.settings, part, before))
        stations = variants.players(getattr(MODELS.get(model), "needs", ()))
        seed = 0 if variants.records else TRIAL_NETWORK
        truth = variants.study("truth", seed=seed, stations=stations)
        against = bias.reference_of(truth)
        of_held_out, of_training = ("given-fresh", "fresh-single") if against == "fresh" else (against, against)
        known, y = distances.whitenings(truth), truth.features(of_held_out if model == OURS else of_training)
        values = {}
        for number, (trial, (part, fields)) in enumerate(TRIALS[model].items()):
            study, rows = tried.changed(f"{model}-{number}", part, fields, seed, stations), []
            made = _of_few(study) if model == OURS else [study.features(model)]
            for measure, whitening in known.items():
                xs, of_law = [*map(whitening.sample, made)], whitening.sample(y)
                each = [distance.estimate(x, of_law, stations, study.seed) for x in xs]
                found = findings.over([one.value for one in each]) if len(each) > 1 else each[0]
                of = len(xs[0]), len(of_law)
                rows.append(finding(model, against, measure, distances.DISTANCE, found, *of, protocol="held_out"))
                values[measure, trial] = found.value
            yield {"set": trial}, findings.table(rows)
        ranks = pd.Series(values).unstack().rank(axis=1).mean()  # by trial, over measures
        for trial in TRIALS[model]:
            row = finding(model, against, "rank", "mean over distances", ranks[trial], len(known))
            yield {"set": trial}, findings.table([row])

    trials.__name__ = f"{model}_trials"
    return trials
