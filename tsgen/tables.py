"""The one table: every model and control by every measure, with interval, ceiling, chance level and sizes.

Takes a Study. A cell reads value (5 to 95 %), and a sign where there is a bound: = equivalent, ≠ different,
? undecided. A difference of logarithms of 0.1 is 10 %.
"""

import numpy as np
import pandas as pd

from tsgen import equivalence, evidence
from tsgen.measured import AMPLITUDE, ENERGY, SANITY

SIGNS = {"equivalent": " =", "different": " ≠", "undecided": " ?"}
WORDS = {
    "rms": "RMS",
    "pga": "PGA",
    "pgv": "PGV",
    "arias": "Arias intensity",
    "cav": "CAV",
    "d5_75": "D5-75",
    "d5_95": "D5-95",
    "drift": "drift after double integration",
    "quiet": "quiet before P",
    "p_lead": "lead of P (s)",
    "vertical": "vertical over horizontal",
}
LABELS = {
    "training": "recordings",
    "timesnet": "TimesNet-Gen",
    "timesnet_energy": "TimesNet-Gen, energy",
    "cvae": "VAE",
    "cgm": "CGM-GM",
    "evolve": "our generator",
    "control_bootstrap": "bootstrap",
    "control_average": "plain average",
    "control_phase": "random phase",
    "control_other": "other station",
}
CEILING = "recordings (ceiling)"


def everything(study):
    """DataFrame of text: one row a measure, one column a generator; recordings judged alike are the ceiling.

    Rows with "bias" and "spread" compare ln values given magnitude and distance with fresh truth: medians within
    ± 0.10, standard deviations within 15 %. For recorded stations they compare with held-out recordings, unsigned.
    """
    names = evidence.generators(study)
    found = {name: evidence.summary(study.evidence(name)) for name in evidence.names(study)}
    forms = study.averaging()["forms"]["value low high".split()]
    columns = {CEILING: _ceiling(study, found["training"])}
    for name in names:
        scores, row = study.scores(name), {}
        for protocol in ("held_out", "in_sample"):
            row["score, " + protocol.replace("_", "-")] = text(scores[protocol])
        row |= _column(found[name])
        row["loss of mixing, ln std"] = _loss(forms, name)
        row["records averaged"] = _averaged(study.generated(name).table)
        row["generated, reference"] = f"{found[name]['n']}, {found[name]['n_reference']}"
        columns[LABELS.get(name, name)] = row
    frame = pd.DataFrame(columns)
    order = ["score, held-out", "score, in-sample", "loss of mixing, ln std"]
    rest = [name for name in columns[LABELS.get(names[0], names[0])] if name not in order]
    frame = frame.reindex([*order, *rest]).fillna("")
    frame["chance, or bound"] = pd.Series(_chance(study, names[0])).reindex(frame.index).fillna("")
    return frame.rename_axis("measure")


def text(estimate, digits=2):
    """value (low to high) and the sign of the verdict, of a dict; "–" without a value."""
    value = estimate.get("value")
    if value is None or value != value:
        return "–"
    numbers = _number(value, digits)
    low, high = estimate.get("low"), estimate.get("high")
    if low is not None and low == low:
        numbers += f" ({_number(low, digits)} to {_number(high, digits)})"
    return numbers + SIGNS.get(estimate.get("verdict"), "")


def _number(value, digits):
    """With a minus sign where it is below 0 as written: "-0.00" would depend on the machine's last digit."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def _column(found):
    row = {}
    if "stations_told_apart" in found:
        row["stations told apart"] = "{value} of {n}".format(**found["stations_told_apart"])
    row["median f0, largest ln ratio"] = text(found["f0_largest"])
    for measure in (*AMPLITUDE, *ENERGY):
        row[f"{WORDS[measure]}, bias"] = text(found[f"{measure}_median"])
        row[f"{WORDS[measure]}, spread"] = text(found[f"{measure}_spread"])
    for statistic, word in (("median", "bias"), ("spread", "spread")):
        if f"sa_equivalent_{statistic}" in found:
            entry = "{value} of {n}".format(**found[f"sa_equivalent_{statistic}"])
            row[f"spectral periods within bounds, {word}"] = entry
        if f"sa_largest_{statistic}" in found:
            row[f"spectral period farthest off, {word}"] = text(found[f"sa_largest_{statistic}"])
    if "correlation" in found:
        row["interperiod correlation, difference"] = text(found["correlation"])
    for measure, word in (("r2", "R² of a stack"), ("active_records", "records in the stack")):
        if measure in found:
            generated, held_out = found[measure]["generated"], found[measure]["held_out"]
            row[f"{word}: generated, held-out"] = f"{generated:.2f}, {held_out:.2f}"
            row[f"{word}, difference"] = text(found[measure])
    if "largest_correlation" in found:
        row["largest cross-correlation, difference"] = text(found["largest_correlation"])
    for measure in SANITY:
        row[WORDS[measure]] = text({k: v for k, v in found[f"{measure}_median"].items() if k != "verdict"})
    return row


def _averaged(table):
    """How many recordings each record was mixed from; fewer where a station has no more, and then its mixes are one."""
    counts = table["made_from"].str.count(";") + 1
    fewer = counts.groupby(table["station"]).max()
    fewer = fewer[fewer < counts.max()]
    text = str(counts.max()) if counts.max() > 1 else ""
    return text + (f" ({', '.join(f'{n} at {station}' for station, n in fewer.items())})" if len(fewer) else "")


def _ceiling(study, found):
    """The training recordings judged as a generator is; fresh truth for memorisation, where they are copies."""
    row = _column(found)
    scores = study.scores("control_average")
    for protocol in ("held_out", "in_sample"):
        row["score, " + protocol.replace("_", "-")] = text(scores[protocol].get("ceiling", {}))
    row["loss of mixing, ln std"] = "0.00"
    if study.kind == "simulated":
        truth = evidence.summary(study.evidence(evidence.TRUTH))
        row |= {name: value for name, value in _column_of_memorisation(truth).items()}
    row["generated, reference"] = f"{found['n']}, {found['n_reference']}"
    return row


def _column_of_memorisation(found):
    return {name: value for name, value in _column(_filled(found)).items() if "stack" in name or "cross" in name}


def _filled(found):
    empty = {"value": np.nan}
    names = [f"{m}_{s}" for m in (*AMPLITUDE, *ENERGY, *SANITY) for s in ("median", "spread")]
    return dict.fromkeys((*names, "f0_largest"), empty) | found


def _loss(forms, name):
    mixer, form = ("timesnet", "energy") if name == "timesnet_energy" else (name, "without replacement")
    return text(forms.loc[(mixer, form)].to_dict()) if (mixer, form) in forms.index else ""


def _chance(study, name):
    found = study.scores(name)
    row = {}
    for protocol in ("held_out", "in_sample"):
        row["score, " + protocol.replace("_", "-")] = text(found[protocol].get("chance", {}))
    correlation = evidence.summary(study.evidence(name)).get("correlation")
    if correlation:
        row["interperiod correlation, difference"] = f"{correlation['most']:.2f} or less if the same"
    if study.kind == "simulated":
        for measure in (*AMPLITUDE, *ENERGY):
            row[f"{WORDS[measure]}, bias"] = f"± {equivalence.MEDIAN_BOUND:.2f}"
            row[f"{WORDS[measure]}, spread"] = f"± {equivalence.SPREAD_BOUND:.2f}"
    return row


# ---- what experiments stored ----

BRIEFLY = {
    "held_out S × S": "score",
    "S × S": "score",
    "gap to control_average": "score less plain average",
    "loss": "loss of mixing, ln std",
    "rms_median": "RMS, bias",
    "pga_median": "PGA, bias",
    "pga_spread": "PGA, spread",
    "d5_95_median": "D5-95, bias",
    "r2": "R² of a stack, difference",
    "active_records generated": "records in the stack",
}


def stored_seeds(frame):
    """Mean over training seeds (least to most) of what BRIEFLY names, by generator; None without a stored frame."""
    if frame is None:
        return None
    columns = [name for name in BRIEFLY if name in frame]
    rows = {}
    for name, group in frame.groupby("generator", sort=False):
        spans = {column: group[column].dropna().astype(float) for column in columns}
        rows[LABELS.get(name, name)] = {"trainings": len(group)} | {
            BRIEFLY[column]: text({"value": v.mean(), "low": v.min(), "high": v.max()}) if len(v) else ""
            for column, v in spans.items()
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def stored_recorded(frame):
    """Values with their intervals of what BRIEFLY names, by generator; None without a stored frame."""
    if frame is None:
        return None
    columns = [name for name in BRIEFLY if name in frame]
    rows = []
    for _, row in frame.iterrows():
        cells = {
            BRIEFLY[c]: text({"value": row[c], "low": row.get(f"{c} low"), "high": row.get(f"{c} high")})
            for c in columns
        }
        name, comma, which = row["generator"].partition(",")
        rows.append({"generator": LABELS.get(name, name) + comma + which} | cells)
    return pd.DataFrame(rows).set_index("generator").replace("–", "")


def found(study):
    """Markdown: what notebook 07 found, in numbers of this run."""
    ours, mended, plain = (
        evidence.summary(study.evidence(name)) for name in ("timesnet", "timesnet_energy", "control_average")
    )
    forms = study.averaging()["forms"]
    against = "fresh truth" if ours["reference"] == evidence.TRUTH else "held-out recordings"
    lines = []
    if len(study.stations) > 1:
        gap = study.negative_controls()["gaps"]["timesnet less control_average"]
        scores = [study.scores(name)["held_out"] for name in ("timesnet", "control_average")]
        lines.append(
            f"held out, TimesNet-Gen scores {scores[0]['value']:.2f} and a plain average of recordings "
            f"{scores[1]['value']:.2f} (gap {text(gap)}; ceiling {text(scores[0]['ceiling'])})"
        )
    losses = [text(forms.loc[(name, "without replacement")].to_dict()) for name in ("timesnet", "control_average")]
    theory = forms.loc[("control_average", "without replacement"), "theory"]
    lines += [
        f"the standardised mix loses {losses[0]} ln units in TimesNet-Gen and {losses[1]} in the plain average, "
        f"theory {text({'value': theory})}",
        f"against {against}, its ln PGA is off by {text(ours['pga_median'])}, ln D5-95 by {text(ours['d5_95_median'])}",
        f"the median R² on training records is {ours['r2']['generated']:.2f} "
        f"(plain average {plain['r2']['generated']:.2f}, held-out recordings {ours['r2']['held_out']:.2f})",
        f"energy-preserving weights bring PGA to {text(mended['pga_median'])} and leave D5-95 at "
        f"{text(mended['d5_95_median'])} and R² at {mended['r2']['generated']:.2f}",
    ]
    return f"**What was found** ({study.kind} records). " + "; ".join(lines) + "."
