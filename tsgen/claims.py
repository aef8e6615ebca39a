"""The claims of the paper and of the study: each with its number, its interval, and a verdict that follows by rule.

The numbers come from results.json and from stored experiments, results/NAME.json. None of a finding is typed here:
only bounds, and what a claim says.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from tsgen import equivalence, evidence, experiments, scaling
from tsgen.rules import (
    FAILS,
    HOLDS,
    LOSS_BOUND,
    UNTESTED,
    above,
    above_chance,
    all_of_n,
    around,
    at_theory,
    below,
    both,
    flattered,
    grows,
    in_every_row,
    inside,
    never,
    outside,
    score_stays,
)

SCORE_BOUND = 0.05  # a gap in score below it is no gap: half the width of a score's interval at quick
STACK_BOUND = 0.05  # of R²: unseen recordings differ by less
ALL_RECORDINGS = "control_average, all recordings"
STORED = ("evidence", "recorded", "recorded-folds", "cgm_networks")


@dataclass(frozen=True)
class Claim:
    """One sentence, whose it is ("paper" or "study"), what its number is, the rule, the notebook that shows it."""

    text: str
    of: str
    number: str
    rule: Callable
    notebook: str


# ---- the claims ----

BIAS, SPREAD = equivalence.MEDIAN_BOUND, equivalence.SPREAD_BOUND
GAPS = ("negative_controls", "gaps")
SCENARIO = ("scenario", "scaling")
OURS, MENDED = ("evidence", "timesnet"), ("evidence", "timesnet_energy")

CLAIMS = (
    Claim(
        "TimesNet-Gen's records are specific to their station: its S × S score is above chance.",
        "paper", "S × S score, held-out", above_chance("timesnet"), "06",
    ),
    Claim(
        "TimesNet-Gen is more specific to the station than the spectrogram VAE.",
        "paper", "difference of S × S scores", above(0, *GAPS, "timesnet less cvae"), "06",
    ),
    Claim(
        "At every station the median f0 of TimesNet-Gen's records is that of held-out recordings.",
        "paper", "largest ln ratio", inside(BIAS, *OURS, "f0_largest"), "07",
    ),
    Claim(
        "On five AFAD stations the 3S × 3S scores are 0.93 for TimesNet-Gen and 0.81 for the VAE.",
        "paper", "3S × 3S score", never("needs AFAD's recordings; the stations here are others"), "06",
    ),
    Claim(
        "No generator can be expected to score 1: recordings score less against recordings.",
        "study", "ceiling of S × S",
        below(1 - SCORE_BOUND / 2, "scores", "control_average", "held_out", "ceiling"), "07",
    ),
    Claim(
        "Records of the wrong station score at chance in S × S, yet well in the interleaved 2S × 2S.",
        "study", "2S × 2S score", flattered("control_other"), "07",
    ),
    Claim(
        "A plain average of five recordings, with no network, scores no lower than TimesNet-Gen.",
        "study", "TimesNet-Gen less plain average", below(SCORE_BOUND, *GAPS, "timesnet less control_average"), "07",
    ),
    Claim(
        "Recordings drawn again, which is copying, score no lower than TimesNet-Gen.",
        "study", "TimesNet-Gen less bootstrap", below(SCORE_BOUND, *GAPS, "timesnet less control_bootstrap"), "07",
    ),
    Claim(
        "The score does not see how many records are averaged.",
        "study", "largest move, k = 1 to 10", score_stays("control_average"), "07",
    ),
    Claim(
        "A mix of five standardised records loses ½ ln Σw² of amplitude.",
        "study", "ln std", at_theory("averaging", "forms", "control_average, without replacement"), "07",
    ),
    Claim(
        "TimesNet-Gen loses as much, though its mixing is of latents.",
        "study", "ln std", at_theory("averaging", "forms", "timesnet, without replacement"), "07",
    ),
    Claim(
        "The more records are averaged, the longer the motion.",
        "study", "ln D5-95 at k = 10", grows("control_average", "ln_d5_95"), "07",
    ),
    Claim(
        "Given magnitude and distance, the PGA of TimesNet-Gen's records is biased.",
        "study", "ln ratio to fresh truth", outside(BIAS, *OURS, "pga_median"), "07",
    ),
    Claim(
        "Given magnitude and distance, their PGA scatters too little.",
        "study", "ln ratio of standard deviations", below(-SPREAD, *OURS, "pga_spread"), "07",
    ),
    Claim(
        "Given magnitude and distance, their significant duration is too long.",
        "study", "ln ratio of D5-95", above(BIAS, *OURS, "d5_95_median"), "07",
    ),
    Claim(
        "TimesNet-Gen's records are stacks of training records.",
        "study", "R², less that of held-out", above(STACK_BOUND, *OURS, "r2"), "07",
    ),
    Claim(
        "Energy-preserving weights mend the loss of amplitude in the standardised mix.",
        "study", "ln std", inside(BIAS, "averaging", "forms", "timesnet, energy"), "07",
    ),
    Claim(
        "They mend neither the duration nor the stacking.",
        "study", "ln ratio of D5-95",
        both(above(BIAS, *MENDED, "d5_95_median"), above(STACK_BOUND, *MENDED, "r2")), "07",
    ),
    Claim(
        "The VAE's records, too, are nearer to training records than unseen recordings are.",
        "study", "R², less that of held-out", above(STACK_BOUND, "evidence", "cvae", "r2"), "07",
    ),
    Claim(
        "The median duration of the VAE's records is right, given magnitude and distance.",
        "study", "ln ratio of D5-95", inside(BIAS, "evidence", "cvae", "d5_95_median"), "07",
    ),
    Claim(
        "The duration of the VAE's records scatters too much.",
        "study", "ln ratio of standard deviations", above(SPREAD, "evidence", "cvae", "d5_95_spread"), "07",
    ),
    Claim(
        "Negative control: TimesNet-Gen's records resemble their own station more than the others, at every station.",
        "study", "stations", all_of_n(*OURS, "stations_told_apart"), "07",
    ),
    Claim(
        "Negative control: where station names are shuffled, the score falls to chance.",
        "study", "S × S score", around(0, "negative_controls", "shuffled"), "07",
    ),
    Claim(
        "Positive control: recordings drawn again have the true PGA, given magnitude and distance.",
        "study", "ln ratio to fresh truth", inside(BIAS, "evidence", "control_bootstrap", "pga_median"), "07",
    ),
    Claim(
        "Positive control: fresh truth is not taken for a stack.",
        "study", "R², less that of held-out", below(STACK_BOUND, "evidence", evidence.TRUTH, "r2"), "07",
    ),
    Claim(
        "Over five training seeds TimesNet-Gen's duration stays too long.",
        "study", "ln ratio of D5-95",
        in_every_row("evidence", "d5_95_median low", lambda v: v > BIAS, generator="timesnet"), "07",
    ),
    Claim(
        "Over five training seeds its records stay stacks.",
        "study", "R², less that of held-out",
        in_every_row("evidence", "r2 low", lambda v: v > STACK_BOUND, generator="timesnet"), "07",
    ),
    Claim(
        "Over five training seeds it never outscores the plain average by more than the bound.",
        "study", "TimesNet-Gen less plain average",
        in_every_row("evidence", "gap to control_average", lambda v: v < SCORE_BOUND, generator="timesnet"), "07",
    ),
    Claim(
        "Plain averages of five recorded accelerograms lose ½ ln Σw² too (OpenEEW).",
        "study", "ln std less theory",
        in_every_row("recorded", "loss less theory", lambda v: abs(v) < LOSS_BOUND, generator=ALL_RECORDINGS), "07",
    ),
    Claim(
        "On recorded stations, by five folds, TimesNet-Gen does not outscore the plain average (OpenEEW).",
        "study", "TimesNet-Gen less plain average",
        in_every_row("recorded-folds", "gap to control_average", lambda v: v < SCORE_BOUND, generator="timesnet"), "07",
    ),
    Claim(
        "On recorded stations, too, TimesNet-Gen's records are stacks (OpenEEW, five folds).",
        "study", "R², less that of held-out",
        in_every_row("recorded-folds", "r2 low", lambda v: v > STACK_BOUND, generator="timesnet"), "07",
    ),
    Claim(
        "Given magnitude, distance and station, the PGA of CGM-GM's records is unbiased.",
        "study", "ln ratio to fresh truth", inside(BIAS, *SCENARIO, "fresh_pga_median"), "08",
    ),
    Claim(
        "Given magnitude, distance and station, their PGA scatters as the truth does.",
        "study", "ln ratio of standard deviations", inside(SPREAD, *SCENARIO, "fresh_pga_spread"), "08",
    ),
    Claim(
        "At every period their response spectra are unbiased.",
        "study", "periods", all_of_n(*SCENARIO, "fresh_periods_median"), "08",
    ),
    Claim(
        "At every period their response spectra scatter as the truth does.",
        "study", "periods", all_of_n(*SCENARIO, "fresh_periods_spread"), "08",
    ),
    Claim(
        "The bias of CGM-GM's PGA has no trend with magnitude.",
        "study", "slope a magnitude unit", inside(BIAS, *SCENARIO, "fresh_pga_slope_magnitude"), "08",
    ),
    Claim(
        "The bias of CGM-GM's PGA has no trend with distance.",
        "study", "slope a unit of ln distance", inside(BIAS, *SCENARIO, "fresh_pga_slope_ln_distance"), "08",
    ),
    Claim(
        "The recordings that CGM-GM learned from fix the trend with magnitude to within the bound.",
        "study", "slope a magnitude unit", inside(BIAS, *SCENARIO, "recorded_pga_slope_magnitude"), "08",
    ),
    Claim(
        "On each of eight other networks the bias of CGM-GM's PGA is below the bound.",
        "study", "ln ratio to fresh truth", in_every_row("cgm_networks", "PGA median", lambda v: abs(v) < BIAS), "08",
    ),
    Claim(
        "Structures respond to CGM-GM's motion as to true motion, within 15 % in every median.",
        "study", "medians", all_of_n("scenario", "structure", "fresh_medians"), "09",
    ),
    Claim(
        "Structural response scatters as under true motion, within 15 % in every measure.",
        "study", "spreads", all_of_n("scenario", "structure", "fresh_spreads"), "09",
    ),
)  # fmt: skip


# ---- the table ----


def gathered(study):
    """The run's results with all that the claims need, built where missing, and stored experiments under "stored"."""
    for name in ("training", evidence.TRUTH, *evidence.generators(study)):
        if name != evidence.TRUTH or study.kind == "simulated":
            study.evidence(name)
    for name in evidence.generators(study):
        study.scores(name)
    study.averaging()
    study.negative_controls()
    if scaling.possible(study):
        study.scaling()
        study.structure()
    return study.results | {"stored": stored()}


def stored(folder=experiments.RESULTS):
    """{name: content} of the stored experiments that stand."""
    paths = {name: folder / f"{name}.json" for name in STORED}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def table(results, claims=CLAIMS):
    """DataFrame of one row a claim: claim, of, number (what it is), value, interval, verdict, why, notebook."""
    rows = []
    for claim in claims:
        found = claim.rule(results)
        interval = "" if found.low is None else f"{found.low:.2f} to {found.high:.2f}"
        value = "" if found.value is None else f"{found.value:.2f}"
        if isinstance(found.value, int):
            value = str(found.value)
        rows.append((claim.text, claim.of, claim.number, value, interval, found.verdict, found.why, claim.notebook))
    columns = ["claim", "of", "number", "value", "5 to 95 %", "verdict", "why", "notebook"]
    frame = pd.DataFrame(rows, columns=columns, index=pd.RangeIndex(1, len(rows) + 1))
    return frame.map(lambda text: text.replace("-0.00", "0.00").replace("-", "−") if _is_number(text) else text)


def _is_number(text):
    return any(c.isdigit() for c in text) and not any(c.isalpha() for c in text.replace("to", ""))


def found(frame):
    """Markdown: how many claims hold, do not hold and cannot be tested here, and which of the paper's do not hold."""
    counts = frame["verdict"].value_counts()
    words = {HOLDS: "hold", FAILS: "do not hold", UNTESTED: "cannot be tested here"}
    parts = [f"{counts[verdict]} {word}" for verdict, word in words.items() if verdict in counts]
    against = frame[(frame["of"] == "paper") & (frame["verdict"] == FAILS)]["claim"]
    text = f"**What was found.** Of {len(frame)} claims: {', '.join(parts)}."
    return text + (f" Of the paper's, these do not hold here: {' '.join(against)}" if len(against) else "")
