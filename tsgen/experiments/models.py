"""The models of the paper: their forms, training seeds and settings."""

from dataclasses import replace

import numpy as np

from tsgen.experiments.common import scores_row, seed_studies, study_of
from tsgen.study import PAPER_MODELS


def forms(settings, given):
    """Both forms and both losses of TimesNet-Gen: the standardised error of training recordings, and the scores."""
    rows = []
    for form in ("paper", "released"):
        for loss in ("standardised", "raw"):
            variant = replace(settings, training=replace(settings.training, form=form, loss=loss))
            study = study_of("forms", f"{form}-{loss}", variant, given)
            real, back = study.training.waveforms, study.reconstructed("timesnet").waveforms
            error = ((real - back) ** 2).mean(2) / np.maximum(real.var(axis=2), 1e-12)  # (n, 3)
            strong = np.abs(real).max(axis=(1, 2)) >= np.quantile(np.abs(real).max(axis=(1, 2)), 0.9)
            rows.append(
                {
                    "form": form,
                    "loss": loss,
                    "standardised error, median": np.median(error),
                    "of the strongest tenth": np.median(error[strong]),
                    **scores_row(study, "timesnet"),
                }
            )
    return rows


def seeds(settings, given):
    """Five training seeds of both models of the paper, on the same records and split, with the controls' scores."""
    rows = []
    for seed, study in seed_studies(settings, given):
        for name in PAPER_MODELS:
            rows.append({"generator": name, "training seed": seed, **scores_row(study, name)})
    for name in ("control_average", "control_bootstrap"):
        rows.append({"generator": name, "training seed": None, **scores_row(study, name)})
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
        study = study_of("vae", str(list(VAE_TRIALS).index(trial)), variant, given)
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
