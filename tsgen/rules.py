"""Rules that turn results into verdicts: an interval against a bound, nothing else.

A rule is a function of the results (results.json, with the stored experiments under "stored") that gives a Finding.
``above(bound, *path)`` and the others make one.
"""

from dataclasses import dataclass

HOLDS, FAILS, UNTESTED = "holds", "does not hold", "cannot be tested here"
LOSS_BOUND = 0.05  # ln units about the theory of averaging


@dataclass(frozen=True)
class Finding:
    """What a rule found: a number with its interval (None where there is none), a verdict and its reason."""

    value: float | None
    low: float | None
    high: float | None
    verdict: str
    why: str = ""


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


def _text(found):
    if found.value is None:
        return "no number"
    return f"{found.value:.2f}" + ("" if found.low is None else f" ({found.low:.2f} to {found.high:.2f})")
