"""What is said of a run's generators: scores under both protocols with ceiling and chance, and the tables of them.

Takes a Study; every number carries its interval and its sample sizes.
"""

from dataclasses import asdict

import numpy as np
import pandas as pd

from tsgen import metrics

PROTOCOLS = {"in_sample": "training", "held_out": "held_out"}  # protocol -> the Study's records to compare with


def scores(study, name):
    """Dict of generator ``name``: S × S under both protocols, and the interleaved 2S × 2S (3S × 3S for a model)."""
    generated = study.generated(name)
    fake = study.f0(generated)
    found = {protocol: compare(study, study.f0(getattr(study, some)), fake) for protocol, some in PROTOCOLS.items()}
    sources = [("real", study.training), ("generated", generated)]
    found["score_2s"] = score(study, study.matrix(*sources))
    if name in study.models:
        sources.insert(1, ("reconstructed", study.reconstructed(name)))
        found["score_3s"] = score(study, study.matrix(*sources))
    return found


def compare(study, real, fake):
    """One protocol: S × S score of {station: f0}, its interval, its ceiling at these sample sizes, its chance level."""
    n = {"n_real": sum(map(len, real.values())), "n_generated": sum(map(len, fake.values()))}
    if len(study.stations) < 2:
        return n | {"value": None, "remark": "one station has no station score"}
    repeat = {"seed": study.seed, "settings": study.settings.f0}
    draws = study.settings.n_halves
    sizes = {station: len(values) for station, values in fake.items()}
    measured = metrics.score_interval(real, fake, n_draws=draws, **repeat)
    ceiling = metrics.held_out_ceiling(study.f0(study.held_out), study.f0(study.training), sizes, draws, **repeat)
    return n | {
        "value": measured.value,
        "low": measured.low,
        "high": measured.high,
        "ceiling": asdict(ceiling),
        "halves": asdict(metrics.ceiling(real, n_halves=draws, **repeat)),
        "chance": asdict(metrics.chance(real, fake, draws, **repeat)),
    }


def score(study, frame):
    """Station-specificity score of a matrix, None with a single station."""
    return metrics.station_score(frame) if len(study.stations) > 1 else None


def station_table(study):
    """DataFrame by station: records, held-out records, median f0 (Hz), standard deviation of ln f0, planted f0 (Hz)."""
    rows = {}
    f0, out = study.f0(study.targets), study.held_out.table["station"].value_counts()
    for station in study.stations:
        table = study.targets.table[study.targets.table["station"] == station]
        values = f0[station]
        rows[station] = {
            "records": len(table),
            "held_out": int(out.get(station, 0)),
            "f0_median_in_hz": float(np.median(values)) if len(values) else np.nan,
            "f0_ln_std": float(np.log(values).std(ddof=1)) if len(values) > 1 else np.nan,
        }
        if "site_f0_in_hz" in table:
            rows[station]["planted_f0_in_hz"] = float(table["site_f0_in_hz"].iloc[0])
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("station")


def score_table(found):
    """DataFrame of {generator: scores(...)}: value, interval, ceiling, chance and sizes of each protocol, 2S and 3S."""
    rows = {}
    for name, one in found.items():
        for protocol in PROTOCOLS:
            part = one[protocol]
            row = {"S × S": part["value"], "low": part.get("low"), "high": part.get("high")}
            for level in ("ceiling", "chance"):
                row[level] = part[level]["value"] if level in part else None
            row |= {"recorded": part["n_real"], "generated": part["n_generated"]}
            if protocol == "in_sample":  # the interleaved matrices are the paper's, which is in-sample
                row |= {"2S × 2S": one["score_2s"], "3S × 3S": one.get("score_3s")}
            rows[name, protocol.replace("_", "-")] = row
    frame = pd.DataFrame.from_dict(rows, orient="index").astype(float)
    return frame.rename_axis(["generator", "protocol"])


def summary(study):
    """Markdown: which of the paper's two models scores higher here, by how much, and against what."""
    if len(study.stations) < 2:
        return "**What was found.** With one station there is no station score."
    found = {name: study.scores(name) for name in ("timesnet", "cvae", "control_average")}
    lines = []
    for protocol in PROTOCOLS:
        ours, vae, plain = (found[name][protocol] for name in found)
        gap = ours["value"] - vae["value"]
        lines.append(
            f"{protocol.replace('_', '-').capitalize()}, TimesNet-Gen scores {ours['value']:.2f} ({ours['low']:.2f} to "
            f"{ours['high']:.2f}), the VAE {vae['value']:.2f} ({vae['low']:.2f} to {vae['high']:.2f}): "
            f"{'TimesNet-Gen' if gap > 0 else 'the VAE'} is ahead by {abs(gap):.2f}. A plain average of five "
            f"recordings, with no network, scores {plain['value']:.2f}; the ceiling is {ours['ceiling']['value']:.2f}, "
            f"chance {ours['chance']['value']:.2f}"
        )
    return f"**What was found** ({study.kind} records). " + ". ".join(lines) + "."
