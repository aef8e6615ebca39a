"""The claims of the paper and of the study: each with its number, its interval, and a verdict that follows by rule.

A rule reads results.json, or a stored experiment's results/NAME.json, and compares an interval with a bound. No number
of a finding is typed here: only bounds, and what a claim says.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from tsgen import equivalence, evidence, experiments

HOLDS, FAILS, UNTESTED = "holds", "does not hold", "cannot be tested here"
SCORE_BOUND = 0.05  # a gap in score below it is no gap: half the width of a score's interval at quick
STACK_BOUND = 0.05  # of R²: unseen recordings differ by less
LOSS_BOUND = 0.05  # ln units about the theory of averaging
STORED = ("seeds", "evidence", "recorded", "recorded-folds")


@dataclass(frozen=True)
class Finding:
    """What a rule found: a number with its interval (None where there is none), a verdict and its reason."""

    value: float | None
    low: float | None
    high: float | None
    verdict: str
    why: str = ""


@dataclass(frozen=True)
class Claim:
    """One sentence, whose it is ("paper" or "study"), what its number is, the rule, the notebook that shows it."""

    text: str
    of: str
    number: str
    rule: Callable
    notebook: str


# ---- rules: each takes the results and gives a Finding ----


def above(bound, *path):
    """Holds where the whole interval lies above the bound, fails where it lies below."""
    return _by_interval(path, lambda low, high: (low > bound, high < bound), f"the interval contains {bound:g}")


def below(bound, *path):
    return _by_interval(path, lambda low, high: (high < bound, low > bound), f"the interval contains {bound:g}")


def inside(bound, *path):
    """Holds where the interval lies inside ± bound (equivalence), fails where it lies outside."""
    why = f"the interval reaches over ± {bound:g}"
    return _by_interval(path, lambda low, high: (-bound < low and high < bound, low > bound or high < -bound), why)


def outside(bound, *path):
    why = f"the interval reaches over ± {bound:g}"
    return _by_interval(path, lambda low, high: (low > bound or high < -bound, -bound < low and high < bound), why)


def around(value, *path):
    """Holds where the interval contains the value."""
    return _by_interval(path, lambda low, high: (low <= value <= high, not low <= value <= high), "")


def at_theory(*path):
    """Holds where the interval of a loss lies within LOSS_BOUND of its "theory", fails where it lies outside."""

    def rule(results):
        entry = find(results, path)
        if not _has_interval(entry):
            return missing(path)
        low, high = (entry[end] - entry["theory"] for end in ("low", "high"))
        good, bad = max(-low, high) < LOSS_BOUND, low > LOSS_BOUND or high < -LOSS_BOUND
        return _finding(entry, good, bad, f"the interval reaches over {entry['theory']:.2f} ± {LOSS_BOUND:g}")

    return rule


def all_of_n(*path):
    """Holds where a count reaches its n."""

    def rule(results):
        entry = find(results, path)
        if not entry or entry.get("value") is None:
            return missing(path)
        return Finding(entry["value"], None, None, HOLDS if entry["value"] == entry["n"] else FAILS, f"of {entry['n']}")

    return rule


def above_chance(name, protocol="held_out"):
    """Holds where a score's interval lies above the range of its chance level."""

    def rule(results):
        path = ("scores", name, protocol)
        entry = find(results, path)
        if not _has_interval(entry):
            return missing(path)
        chance = entry["chance"]
        why = f"chance reaches {chance['high']:.2f}"
        return _finding(entry, entry["low"] > chance["high"], entry["high"] < chance["high"], why)

    return rule


def score_stays(name):
    """Holds where the scores of k = 2 to 10 lie in the interval of k = 1; the number is the largest move from it."""

    def rule(results):
        rows = {k: find(results, ("averaging", "sweep", f"{name}, {k}")) for k in range(1, 11)}
        if any(row is None or row.get("score") is None for row in rows.values()):
            return missing(("averaging", "sweep", name))
        first = rows[1]
        moved = max((row["score"] - first["score"] for row in rows.values()), key=abs)
        low, high = (first[f"score_{end}"] - first["score"] for end in ("low", "high"))
        return Finding(moved, low, high, HOLDS if low <= moved <= high else FAILS, "interval: that of k = 1")

    return rule


def grows(name, measure):
    """Holds where a measure's interval at k = 10 lies above that at k = 1."""

    def rule(results):
        first, last = (find(results, ("averaging", "sweep", f"{name}, {k}")) for k in (1, 10))
        if not first or not last or last.get(measure) is None:
            return missing(("averaging", "sweep", name))
        good = last[f"{measure}_low"] > first[f"{measure}_high"]
        bad = last[f"{measure}_high"] < first[f"{measure}_low"]
        entry = {"value": last[measure], "low": last[f"{measure}_low"], "high": last[f"{measure}_high"]}
        return _finding(entry, good, bad, "the intervals at k = 1 and 10 meet")

    return rule


def flattered(name, by=0.3):
    """Holds where a generator's interleaved 2S × 2S score exceeds the top of its S × S interval by ``by``."""

    def rule(results):
        entry = find(results, ("scores", name))
        if not entry or entry.get("score_2s") is None:
            return missing(("scores", name))
        plain = entry["in_sample"]
        good = entry["score_2s"] > plain["high"] + by
        return Finding(entry["score_2s"], None, None, HOLDS if good else FAILS, f"S × S: {plain['value']:.2f}")

    return rule


def both(first, second):
    """Two rules that must hold; the number is the first one's."""

    def rule(results):
        one, other = first(results), second(results)
        verdicts = {one.verdict, other.verdict}
        verdict = FAILS if FAILS in verdicts else UNTESTED if UNTESTED in verdicts else HOLDS
        also = f"also {_text(other)}: {other.verdict}"
        return Finding(one.value, one.low, one.high, verdict, "; ".join(filter(None, (one.why, also))))

    return rule


def in_every_row(name, column, test, **where):
    """Holds where ``test`` is true of a column in every row (chosen by ``where``) of results/NAME.json.

    The number is the mean over rows, the interval their range.
    """

    def rule(results):
        content = results.get("stored", {}).get(name)
        if content is None:
            return Finding(None, None, None, UNTESTED, f"results/{name}.json is missing")
        rows = [row for row in content["rows"] if all(row.get(key) == value for key, value in where.items())]
        values = [row.get(column) for row in rows]
        if not values or any(value is None for value in values):
            return missing((f"results/{name}.json", column))
        verdict = HOLDS if all(test(value) for value in values) else FAILS
        return Finding(sum(values) / len(values), min(values), max(values), verdict, f"range of {len(values)}")

    return rule


def never(why):
    """A claim that needs what is not here."""
    return lambda results: Finding(None, None, None, UNTESTED, why)


def _by_interval(path, judge, why):
    def rule(results):
        entry = find(results, path)
        if not _has_interval(entry):
            return missing(path)
        if path[0] == "evidence" and path[-1].endswith(("_median", "_spread")) and "verdict" not in entry:
            return Finding(entry["value"], entry["low"], entry["high"], UNTESTED, "no fresh truth of recorded stations")
        return _finding(entry, *judge(entry["low"], entry["high"]), why)

    return rule


def _finding(entry, good, bad, why):
    verdict = HOLDS if good else FAILS if bad else UNTESTED
    return Finding(entry["value"], entry["low"], entry["high"], verdict, "" if verdict != UNTESTED else why)


def _has_interval(entry):
    return bool(entry) and all(entry.get(part) is not None for part in ("value", "low", "high"))


def missing(path):
    return Finding(None, None, None, UNTESTED, f"no number in {' > '.join(map(str, path))}")


def find(results, path):
    """The entry of nested results at ``path``; None where there is none."""
    for name in path:
        if not isinstance(results, dict) or name not in results:
            return None
        results = results[name]
    return results


# ---- the claims ----

BIAS, SPREAD = equivalence.MEDIAN_BOUND, equivalence.SPREAD_BOUND
GAPS = ("negative_controls", "gaps")
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
        "paper", "3S × 3S score", never("needs AFAD's recordings and the published training; here the stations differ"), "06",
    ),
    Claim(
        "At five target stations no generator can be expected to score 1: recordings score less against recordings.",
        "study", "ceiling of S × S", below(1 - SCORE_BOUND / 2, "scores", "control_average", "held_out", "ceiling"), "07",
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
        "The VAE's records are no stacks of training records.",
        "study", "R², less that of held-out", below(STACK_BOUND, "evidence", "cvae", "r2"), "07",
    ),
    Claim(
        "The VAE's records last too long.",
        "study", "ln ratio of D5-95", above(BIAS, "evidence", "cvae", "d5_95_median"), "07",
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
        "study", "ln ratio of D5-95", in_every_row("evidence", "d5_95_median low", lambda v: v > BIAS, generator="timesnet"), "07",
    ),
    Claim(
        "Over five training seeds its records stay stacks.",
        "study", "R², less that of held-out", in_every_row("evidence", "r2 low", lambda v: v > STACK_BOUND, generator="timesnet"), "07",
    ),
    Claim(
        "Over five training seeds it never outscores the plain average by more than the bound.",
        "study", "TimesNet-Gen less plain average",
        in_every_row("evidence", "gap to control_average", lambda v: v < SCORE_BOUND, generator="timesnet"), "07",
    ),
    Claim(
        "Plain averages of five recorded accelerograms lose ½ ln Σw² too (OpenEEW).",
        "study", "ln std less theory",
        in_every_row("recorded", "loss less theory", lambda v: abs(v) < LOSS_BOUND, generator="control_average"), "07",
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
)  # fmt: skip


# ---- the table ----


def gathered(study):
    """The run's results with all that the claims need, built where missing, and the stored experiments under "stored"."""
    for name in ("training", evidence.TRUTH, *evidence.generators(study)):
        if name != evidence.TRUTH or study.kind == "simulated":
            study.evidence(name)
    for name in evidence.generators(study):
        study.scores(name)
    study.averaging()
    study.negative_controls()
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


def _text(found):
    if found.value is None:
        return "no number"
    return f"{found.value:.2f}" + ("" if found.low is None else f" ({found.low:.2f} to {found.high:.2f})")
