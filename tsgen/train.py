"""One training loop for all models: phase 0 on the background, phase 1 the fine-tuning; checkpoints and resume.

    python -m tsgen.train --model timesnet --profile paper [--records FOLDER] [--stations A,B] [--seed N]
    torchrun --nproc-per-node=N -m tsgen.train …        the same on N processes (gloo on the CPU, nccl on GPUs)

A checkpoint is written after each epoch. The random numbers of an epoch follow from (seed, phase, epoch, process)
alone, so a run that was killed continues to the weights of an uninterrupted one: on a CPU, bit for bit.
"""

import argparse
import hashlib
import math
import os
import sys
import time
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from tsgen.records import Records

COLUMNS = ["phase", "epoch", "learning_rate", "training_loss", "validation_loss", "seconds"]


class TrainingError(RuntimeError):
    """The loss or its gradient is no longer a finite number."""


class History:
    """What each epoch left: one row an epoch, columns COLUMNS; validation_loss is NaN where nothing was set aside."""

    def __init__(self, rows=()):
        self.rows = list(rows)

    @property
    def frame(self):
        return pd.DataFrame(self.rows, columns=COLUMNS)

    def save(self, path):
        """Write as CSV, moved into place whole."""
        _write(path, lambda temporary: self.frame.to_csv(temporary, index=False))

    @staticmethod
    def judged(row):
        """The loss that says which epoch of a phase is the best."""
        return row["training_loss"] if math.isnan(row["validation_loss"]) else row["validation_loss"]


@dataclass
class Phase:
    """One phase's data and recipe; ``validation`` is None where every record is trained on."""

    number: int
    training: Records
    validation: Records | None
    epochs: int
    learning_rate: float


def fit(model, background, targets, settings, folder):
    """Train ``model`` in place and return its History.

    background, targets: Records of phase 0 and of phase 1 (form "paper"; in the form "released" phase 1 continues on
    the background; with keeps_background it takes both, where both are simulated or both recorded); settings:
    TrainingSettings; folder: gets last.pt, best.pt and history.csv. A run of the same model, settings and records that
    stands there is resumed, a finished one is returned at once; another one is overwritten, which is said. Raises
    TrainingError when the loss or its gradient is not finite.
    """
    folder = Path(folder)
    _name_stations(model, targets)
    phases = _phases(background, targets, settings)
    plan = [(phase, epoch) for phase in phases for epoch in range(phase.epochs)]
    key = _key(model, settings, background, targets)
    state = _resumable(folder, key)
    device = _device()
    model.to(device)
    history = History(state["history"] if state else ())
    if state:
        _put(model, state)
    begun = state["position"] if state else 0
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        for position in range(begun, len(plan)):
            phase, epoch = plan[position]
            if position == begun or epoch == 0:
                run = PhaseRun(model, phase, settings, device)
                if epoch > 0:
                    run.optimiser.load_state_dict(state["optimiser"])
                    run.scheduler.load_state_dict(state["scheduler"])
            history.rows.append(run.epoch(epoch, folder))
            if epoch == phase.epochs - 1:
                _seed(settings.seed, phase.number, "end")
                model.end_of_phase(phase.number, phase.training, settings)
            if rank() == 0:
                _save(folder, model, run, key, position + 1, history)
    model.eval()
    return history


class PhaseRun:
    """The state of one phase: arrays, a new AdamW, a cosine over the phase's epochs."""

    def __init__(self, model, phase, settings, device):
        self.model, self.phase, self.settings, self.device = model, phase, settings, device
        self.arrays = model.training_arrays(phase.training)
        self.validation = model.training_arrays(phase.validation) if phase.validation is not None else None
        self.optimiser = torch.optim.AdamW(
            model.parameters(), lr=phase.learning_rate, weight_decay=settings.weight_decay
        )
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, T_max=phase.epochs)
        self.loss = _Loss(model)
        if world_size() > 1:
            devices = [device.index] if device.type == "cuda" else None
            # a phase may leave parameters unused, such as a station's embedding before the fine-tuning
            self.loss = DistributedDataParallel(self.loss, device_ids=devices, find_unused_parameters=True)

    def epoch(self, epoch, folder):
        """Train one epoch and return its row of the history."""
        started, rate = time.perf_counter(), self.scheduler.get_last_lr()[0]
        batches = self.batches(epoch)
        _seed(self.settings.seed, self.phase.number, epoch, rank())
        self.model.train()
        total = 0.0
        label = f"{self.model.name}, phase {self.phase.number}, epoch {epoch + 1}/{self.phase.epochs}"
        bar = tqdm(batches, desc=label, leave=False, disable=None if rank() == 0 else True)  # None: only in a terminal
        for step, rows in enumerate(bar):
            total += self.step(rows, (epoch + step / len(batches)) / self.phase.epochs, f"{label}, step {step}", folder)
        self.scheduler.step()
        row = {
            "phase": self.phase.number,
            "epoch": epoch,
            "learning_rate": rate,
            "training_loss": _sum_over_processes(total, self.device) / len(self.arrays[0]),
            "validation_loss": self.validate((epoch + 1) / self.phase.epochs),
            "seconds": time.perf_counter() - started,
        }
        if not math.isfinite(History.judged(row)):
            raise _not_finite("validation loss", label, rate, folder)
        return row

    def batches(self, epoch):
        """Row numbers, one tensor a step: a seeded shuffle in nearly equal parts of at most batch_size records."""
        n = len(self.arrays[0])
        n_batches = math.ceil(n / self.settings.batch_size)
        if n // n_batches < world_size():
            raise ValueError(
                f"{n} records in batches of {self.settings.batch_size} do not feed {world_size()} processes"
            )
        generator = torch.Generator().manual_seed(_number(self.settings.seed, self.phase.number, epoch, "order"))
        return torch.tensor_split(torch.randperm(n, generator=generator), n_batches)

    def step(self, rows, progress, where, folder):
        """One step on this process's share of ``rows``; returns the loss times its number of records."""
        own = rows[rank() :: world_size()]
        with _precision(self.model, self.device):
            loss = self.loss(_batch(self.arrays, own, self.device), self.phase.number, progress, self.settings)
        self.optimiser.zero_grad(set_to_none=True)
        # the processes' gradients are averaged: unequal shares of a batch weigh by their records
        (loss * (len(own) * world_size() / len(rows))).backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.gradient_clip)
        value = loss.item()
        if not (math.isfinite(value) and math.isfinite(norm.item())):
            what = "gradient" if math.isfinite(value) else "training loss"
            raise _not_finite(what, where, self.scheduler.get_last_lr()[0], folder)
        self.optimiser.step()
        return value * len(own)

    def validate(self, progress):
        """Mean loss in evaluation mode over the records set aside, NaN where there are none."""
        if self.validation is None:
            return math.nan
        n, total = len(self.validation[0]), 0.0
        _seed(self.settings.seed, self.phase.number, "validation", rank())
        self.model.eval()
        with torch.no_grad():
            for rows in torch.arange(rank(), n, world_size()).split(self.settings.batch_size):
                batch = _batch(self.validation, rows, self.device)
                total += self.model.loss(batch, self.phase.number, progress, self.settings).item() * len(rows)
        return _sum_over_processes(total, self.device) / n


class _Loss(nn.Module):
    """The model's loss as a forward pass, which is where PyTorch's distributed engine hooks in."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *arguments):
        return self.model.loss(*arguments)


def _phases(background, targets, settings):
    generator = np.random.default_rng(_number(settings.seed, "validation rows"))
    order = generator.permutation(len(background))
    n_validation = round(settings.validation_share * len(background))
    validation = background.take(np.sort(order[:n_validation])) if n_validation else None
    training = background.take(np.sort(order[n_validation:]))
    second = (targets, None) if settings.form == "paper" else (training, validation)
    one_kind = set(background.table["kind"]) == set(targets.table["kind"])  # simulated ones may serve recorded stations
    if settings.form == "paper" and settings.keeps_background and one_kind:
        second = (Records.concatenate([training, targets]), None)
    return [
        Phase(0, training, validation, settings.epochs_phase_0, settings.learning_rate_phase_0),
        Phase(1, *second, settings.epochs_phase_1, settings.learning_rate_phase_1),
    ]


def _name_stations(model, targets):
    n = model.settings.n_stations
    model.stations = tuple(targets.stations) if n else ()
    if len(model.stations) != n:
        raise ValueError(f"settings.n_stations is {n}, but the targets have {len(targets.stations)} stations")


def _batch(arrays, rows, device):
    return tuple(array[rows].to(device, non_blocking=True) for array in arrays)


def _precision(model, device):
    """bf16 autocast on CUDA for models that ask for it (``mixed_precision``), nothing elsewhere."""
    if device.type == "cuda" and getattr(model, "mixed_precision", False):
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


def _not_finite(what, where, rate, folder):
    return TrainingError(
        f"the {what} is not a finite number in {where}, at learning rate {rate:.3g}. Lower the learning rate or the "
        f"gradient clip, or look for records with huge or constant samples; the last good epoch is in {folder}"
    )


# --- checkpoints


def load(model, folder, which="last"):
    """(model, History) of a run in ``folder``: the weights of its last (or "best") epoch are put into ``model``.

    Raises FileNotFoundError without a checkpoint, and ValueError where it belongs to another model or other settings.
    """
    path = Path(folder) / f"{which}.pt"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: no training has left an epoch there")
    state = torch.load(path, map_location="cpu", weights_only=True)
    wanted = {"model": model.name, "model settings": asdict(model.settings)}
    if differing := _differences(wanted, state["key"]):
        raise ValueError(f"{path} does not fit the model: {differing}")
    _put(model, state)
    return model.to(_device()).eval(), History(state["history"])


def _put(model, state):
    model.load_state_dict(state["model"])
    model.stations = tuple(state["stations"])


def _save(folder, model, run, key, position, history):
    folder.mkdir(parents=True, exist_ok=True)
    state = {"model": model.state_dict(), "stations": model.stations, "key": key, "history": history.rows}
    row = history.rows[-1]
    if History.judged(row) <= min(History.judged(old) for old in history.rows if old["phase"] == row["phase"]):
        _write(folder / "best.pt", lambda temporary: torch.save(state, temporary))
    state |= {"position": position, "optimiser": run.optimiser.state_dict(), "scheduler": run.scheduler.state_dict()}
    _write(folder / "last.pt", lambda temporary: torch.save(state, temporary))
    history.save(folder / "history.csv")


def _resumable(folder, key):
    """The state of last.pt if it is of this very run, else None; another run is announced, not touched."""
    if not (folder / "last.pt").exists():
        return None
    state = torch.load(folder / "last.pt", map_location="cpu", weights_only=True)
    differing = _differences(key, state["key"])
    if differing and rank() == 0:
        print(f"{folder} holds another training ({differing}): starting anew", file=sys.stderr)
    return None if differing else state


def _key(model, settings, background, targets):
    """What a run depends on, except for the first weights, which are the caller's."""
    return {
        "model": model.name,
        "model settings": asdict(model.settings),
        "training settings": asdict(settings),
        "background": _fingerprint(background),
        "targets": _fingerprint(targets),
    }


def _fingerprint(records):
    digest = hashlib.blake2b("|".join(records.table["station"]).encode(), digest_size=8)
    for start in range(0, len(records), 1000):  # a memory map is read piece by piece
        digest.update(np.ascontiguousarray(records.take(np.arange(start, min(start + 1000, len(records)))).waveforms))
    return f"{len(records)} records, {digest.hexdigest()}"


def _differences(wanted, found):
    """One clause a name whose value differs, "" where none does."""
    clauses = []
    for name, value in wanted.items():
        other = found.get(name)
        if isinstance(value, dict) and isinstance(other, dict):
            clauses.append(_differences(value, other))
        elif value != other:
            clauses.append(f"{name} is {other} there, {value} here")
    return "; ".join(clause for clause in clauses if clause)


def _write(path, write):
    """``write(temporary)``, then move into place: a kill leaves the old file or the new one."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


# --- random numbers and processes


def _number(*parts):
    """A seed below 2⁶³ that follows from ``parts`` alone."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()) >> 1


def _seed(*parts):
    torch.manual_seed(_number(*parts))


def rank():
    """Number of this process, 0 in a run of one."""
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


def world_size():
    """Number of processes that share each batch."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def _device():
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def _sum_over_processes(value, device):
    if world_size() == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return total.item()


@contextmanager
def processes():
    """Join the processes that torchrun started, if it did: nccl on GPUs, gloo elsewhere."""
    if "WORLD_SIZE" not in os.environ:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tsgen.train", description="Train one model of a study.")
    parser.add_argument("--model", required=True)
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--records", help="folder of recordings; without it the simulated default")
    parser.add_argument("--stations", help="target stations, separated by commas")
    parser.add_argument("--unit", help="of files that do not state one")
    parser.add_argument("--seed", type=int, default=0)
    options = vars(parser.parse_args(arguments))
    name = options.pop("model")
    from tsgen.study import MODELS, Study  # the study imports this module

    try:
        if name not in MODELS:
            raise ValueError(f"unknown model {name!r}; known: {', '.join(MODELS)}")
        study = Study(**options)
        with processes():
            if world_size() > 1:
                _train_together(study, name)
        if int(os.environ.get("RANK", 0)) == 0:
            study.model(name)  # a run of several processes is finished by now: it is moved into its place
            print(study.history(name).frame.to_string(index=False))
    except (ValueError, OSError, TrainingError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


def _train_together(study, name):
    """Train in all processes, in the folder where the study resumes; process 0 prepares the records for the others."""
    for turn in (0, 1):
        if min(rank(), 1) == turn:
            study.background, study.training  # noqa: B018 (read, or simulated and kept)
        distributed.barrier()
    folder = study.training_folder(name)
    finished = study.store.manifest().get(f"model-{name}", {}).get("key")
    if finished is None or not folder.name.endswith(finished):
        study.train(name, folder)


if __name__ == "__main__":
    main()
