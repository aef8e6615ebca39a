"""The paper's setting, measured on a GPU that is lent for minutes: what ``experiments paper`` does, call by call."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from tsgen import config, findings, timesnet
from tsgen.evidence import scored
from tsgen.findings import finding
from tsgen.model import evaluation

CHECKED = config.TimesNetSettings(1024, 16, 32, 4, 2, n_stations=5)  # small enough for any machine
JUDGED = ("training", "timesnet", "control_average", "control_bootstrap", "control_regression")
ON_CPU = 2, 1  # records in a measured step, and steps of each kind after the first: at the paper's sizes a minute each
SHORTENED = 0.8  # of the time for training, that epochs are chosen for: the rate is measured on one kind of record


def paper(variants):
    """TimesNet-Gen at the paper's layer sizes, in calls of a few minutes (--minutes) that go on from where the last one
    ended: on the simulated default, equality of the device with the CPU; a training step against the plain
    implementation, in float32 and bfloat16, and its share of the device's matrix rate; as many of the epochs as the
    time for training (--total) holds; 250 records a station, judged. Beside it controls on the same records."""
    study, total = variants.study("measured"), variants.total
    yield {}, study.keep_findings("equality", equality), study.keep_findings("rates", lambda: rates(variants.settings))
    epochs = study.keep_table("epochs", lambda: pd.DataFrame([_plan(study, total)]), settings=total)
    study = variants.changed("trained", "training", epochs.to_dict("records")[0])
    yield {}, findings.table(trained(study))
    for name in JUDGED:
        yield {}, *scored(study, name)


def device():
    """Words for what computes: the card's name, or "cpu"."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def equality():
    """Findings: largest difference between the device's and the CPU's latents, in units of these latents' standard
    deviation, in float32 and, on a GPU, under the autocast of training."""
    torch.manual_seed(0)
    model, x = timesnet.TimesNetGen(CHECKED), torch.randn(8, CHECKED.n_samples, 3)
    station = torch.arange(8) % CHECKED.n_stations
    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with evaluation(model):
        expected = model.encode(x, station)[0]
        model.to(where)
        rows, modes = [], {"float32": False} | ({"bfloat16": True} if where.type == "cuda" else {})
        for name, mixed in modes.items():
            with torch.autocast(where.type, torch.bfloat16, enabled=mixed):
                found = model.encode(x.to(where), station.to(where))[0].float().cpu()
            apart = ((found - expected).abs().max() / expected.std()).item()
            rows.append(finding("timesnet", "cpu", "latents", "largest difference", apart, len(x), set=name))
    return rows


def rates(settings):
    """Findings on a training step at the recipe's batch (without a GPU: ON_CPU): seconds, as a ratio to the plain
    implementation's (which lives with the tests), and as a share of the matrix rate measured beside it."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    bench = importlib.import_module("bench_timesnet")
    batch, n_rounds = (settings.training.batch_size, 5) if torch.cuda.is_available() else ON_CPU
    found, rows = bench.rates(replace(settings.timesnet, dropout=0.0), batch, n_rounds), []
    for name, (seconds, rate) in found.items():
        what, kind = name.split(", ")
        product = what == "matrix product"
        told = {} if product else {"seconds": seconds, "records a second": batch / seconds}
        told |= {"seconds, plain over ours": found["plain, float32"][0] / seconds} if what == "ours" else {}
        told |= {"operations a second": rate}
        told |= {} if product else {"share of the matrix rate": rate / found[f"matrix product, {kind}"][1]}
        subject = "timesnet" if what == "ours" else what
        rows += [finding(subject, "", "training step", each, value, batch, set=kind) for each, value in told.items()]
    return rows


def _plan(study, minutes):
    """{field of the training: number of epochs}: the recipe's, or in its proportion as many as ``minutes`` hold."""
    s, steps = study.settings.training, findings.select(study.findings, measure="training step", subject="timesnet")
    rate = findings.select(steps, statistic="records a second")["value"].max()
    n, n_targets = round((1 - s.validation_share) * len(study.background)), len(study.training)
    needed = (n * s.epochs_phase_0 + n_targets * s.epochs_phase_1) / rate / 60
    share = min(1.0, SHORTENED * minutes / needed)
    epochs = [max(1, round(share * epochs)) for epochs in (s.epochs_phase_0, s.epochs_phase_1)]
    print(f"{epochs[0]} and {epochs[1]} of {s.epochs_phase_0} and {s.epochs_phase_1} epochs: {needed:.3g} min for all")
    return dict(zip(("epochs_phase_0", "epochs_phase_1"), epochs, strict=True))


def trained(study):
    """Findings on the training, made now: by phase epochs, records, seconds, and the loss that it ended with."""
    s, table, rows = study.settings.training, study.history("timesnet").table, []
    sizes = round((1 - s.validation_share) * len(study.background)), len(study.training)
    for phase, own in table.groupby("phase"):
        n, seconds = sizes[phase], own["seconds"].sum()
        told = {"epochs": len(own), "seconds": seconds, "records a second": n * len(own) / seconds}
        told |= {"loss": own["training_loss"].iloc[-1]}
        of = {"set": f"phase {phase}", "n": n}
        rows += [finding("timesnet", "", "training", name, value, **of) for name, value in told.items()]
    return rows
