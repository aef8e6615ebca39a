"""One training loop for all models: phase 0 on the background, phase 1 the fine-tuning; checkpoints and resume.

A checkpoint is written after each epoch and, on one process, every SAVE_EVERY_S within one, with the state of the
random numbers: a killed run continues to the same weights, bit for bit on a CPU. An epoch's numbers follow from (seed,
phase, epoch, process) alone. ``model.StationModel`` says what is asked of a model.
"""

import hashlib
import math
import os
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from tsgen.model import joined
from tsgen.records import Records
from tsgen.store import write_atomically

COLUMNS = ["phase", "epoch", "learning_rate", "training_loss", "validation_loss", "seconds"]
SAVE_EVERY_S = 600.0  # within an epoch; then progress is told, too
MEMORY_SHARE = 0.8  # of a GPU's free memory that the activations of one step may take
_ends_at = [math.inf]  # ``until``


class TrainingError(RuntimeError):
    """The loss or its gradient is no longer a finite number."""


class OutOfTime(RuntimeError):
    """The time given by ``until`` is over; what was trained is kept, and the next call goes on from there."""


@contextmanager
def until(seconds):
    """Training within ends after so many seconds with OutOfTime."""
    before, _ends_at[0] = _ends_at[0], time.monotonic() + seconds
    try:
        yield
    finally:
        _ends_at[0] = before


class History(NamedTuple):
    """What each epoch left: one row an epoch, columns COLUMNS; validation_loss is NaN where nothing was set aside."""

    rows: list

    @property
    def table(self):
        return pd.DataFrame(self.rows, columns=COLUMNS)


class Phase(NamedTuple):
    number: int
    training: Records
    validation: Records | None  # None: every record is trained on
    epochs: int
    learning_rate: float


def fit(model, background, targets, settings, folder):
    """Train ``model`` in place and return its History; folder gets last.pt and history.csv. background,
    targets: Records of phase 0 and 1 (see ``_phases``). A run of the same model, settings and records in folder is
    resumed, another overwritten. TrainingError: a loss or gradient is not finite."""
    folder, n_stations = Path(folder), model.settings.n_stations
    model.stations = tuple(targets.stations) if n_stations else ()
    if len(model.stations) != n_stations:
        raise ValueError(f"settings.n_stations is {n_stations}, but the targets have {len(targets.stations)} stations")
    plan = [(phase, epoch) for phase in _phases(background, targets, settings) for epoch in range(phase.epochs)]
    # what a run depends on, except for the first weights, which are the caller's
    key = {"model": model.name, "model settings": asdict(model.settings), "training settings": asdict(settings)}
    key |= {"background": _fingerprint(background), "targets": _fingerprint(targets)}
    state, device = None, _device()
    if (folder / "last.pt").exists():
        state = torch.load(folder / "last.pt", map_location="cpu", weights_only=True)
        if differing := _differences(key, state["key"]):
            state = None
            if rank() == 0:
                print(f"{folder} holds another training ({differing}): starting anew", file=sys.stderr)
    model.to(device)
    begun, history = (state["position"], _put(model, state)) if state else (0, History([]))
    watch = Watch(sum(len(phase.training) for phase, _ in plan[begun:]))
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        for position in range(begun, len(plan)):
            phase, epoch = plan[position]
            within = state.get("within") if state and position == begun else None
            if position == begun or epoch == 0:
                run = PhaseRun(model, phase, settings, device, folder)
                if epoch > 0 or within:
                    run.optimiser.load_state_dict(state["optimiser"])
                    run.scheduler.load_state_dict(state["scheduler"])

            def pause(within, run=run, position=position):
                _save(folder, model, run, key, position, history, within)

            history.rows.append(run.epoch(epoch, within, watch, pause))
            if epoch == phase.epochs - 1:
                torch.manual_seed(_number(settings.seed, phase.number, "end"))
                model.end_of_phase(phase.number, phase.training, settings)
            if rank() == 0:
                _save(folder, model, run, key, position + 1, history)
            if watch.over and world_size() == 1 and position + 1 < len(plan):
                raise OutOfTime(f"{model.name}, phase {phase.number}: epoch {epoch + 1} saved; the next call goes on")
    model.eval()
    return history


class Watch:
    """Says when to save within an epoch, and tells how fast a training goes and how long it has yet to go."""

    def __init__(self, n_records):
        self.begun = self.saved = time.monotonic()
        self.n_records, self.n_done = n_records, 0

    def due(self, label):
        """Whether to save; OutOfTime is for the caller to raise, once that is done."""
        now = time.monotonic()
        if now - self.saved < SAVE_EVERY_S and not self.over:
            return False
        rate, self.saved = self.n_done / (now - self.begun), now
        left = (self.n_records - self.n_done) / rate / 60
        print(f"{label}: {rate:.3g} records a second, about {left:.0f} min left; saved", file=sys.stderr)
        return True

    @property
    def over(self):
        return time.monotonic() > _ends_at[0]


class PhaseRun:
    """The state of one phase: arrays, a new AdamW, a cosine over the phase's epochs."""

    def __init__(self, model, phase, settings, device, folder):
        self.model, self.phase, self.settings, self.device, self.folder = model, phase, settings, device, folder
        self.arrays = model.training_arrays(phase.training)
        self.validation = model.training_arrays(phase.validation) if phase.validation is not None else None
        self.at_once = records_at_once(model, settings.batch_size, device)
        self.optimiser = torch.optim.AdamW(model.parameters(), phase.learning_rate, weight_decay=settings.weight_decay)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, T_max=phase.epochs)
        self.loss = model.loss
        if world_size() > 1:
            devices = [device.index] if device.type == "cuda" else None
            # a phase may leave parameters unused, such as a station's embedding before the fine-tuning
            self.loss = DistributedDataParallel(model, device_ids=devices, find_unused_parameters=True)

    def epoch(self, epoch, within, watch, pause):
        """Train one epoch, from where ``within`` (what ``pause`` was given) left it, and return its row of the history.
        When the ``watch`` says so, pause(state of the epoch) saves it."""
        started, total, n = time.perf_counter(), 0.0, len(self.arrays[0])
        n_batches = math.ceil(n / (size := self.settings.batch_size))
        if n // n_batches < world_size():
            raise ValueError(f"{n} records in batches of {size} do not feed {world_size()} processes")
        generator = torch.Generator().manual_seed(_number(self.settings.seed, self.phase.number, epoch, "order"))
        batches = torch.tensor_split(torch.randperm(n, generator=generator), n_batches)  # of nearly equal size
        torch.manual_seed(_number(self.settings.seed, self.phase.number, epoch, rank()))
        first = 0
        if within:
            first, total, started = within["step"], within["total"], started - within["seconds"]
            torch.set_rng_state(within["random"])
            torch.cuda.set_rng_state_all(within["random on gpus"][: torch.cuda.device_count()])
        self.model.train()
        label = f"{self.model.name}, phase {self.phase.number}, epoch {epoch + 1}/{self.phase.epochs}"
        hidden = None if rank() == 0 else True  # None: only in a terminal
        bar = tqdm(batches[first:], desc=label, leave=False, disable=hidden, total=n_batches, initial=first)
        for step, rows in enumerate(bar, first):
            total += self.step(rows, (epoch + step / n_batches) / self.phase.epochs, f"{label}, step {step}")
            done = f"{label}, step {step + 1} of {n_batches}"
            watch.n_done += len(rows)
            # at its end the epoch is saved by itself; of several processes each would end at a time of its own
            if step + 1 < n_batches and world_size() == 1 and watch.due(done):
                state = {"random": torch.get_rng_state(), "random on gpus": torch.cuda.get_rng_state_all()}
                pause(state | {"step": step + 1, "total": total, "seconds": time.perf_counter() - started})
                if watch.over:
                    raise OutOfTime(f"{done}: saved; the next call goes on from there")
        losses = _sum_over_processes(total, self.device) / n, self.validate((epoch + 1) / self.phase.epochs)
        row = self.phase.number, epoch, self.scheduler.get_last_lr()[0], *losses, time.perf_counter() - started
        self.demand_finite(losses[0 if self.validation is None else 1], "validation loss", label)
        self.scheduler.step()
        return dict(zip(COLUMNS, row, strict=True))

    def demand_finite(self, value, what, where):
        if not math.isfinite(value):
            rate = self.scheduler.get_last_lr()[0]
            failed = f"the {what} is not a finite number in {where}, at learning rate {rate:.3g}"
            advice = "Lower it or the gradient clip, or look for records with huge or constant samples"
            raise TrainingError(f"{failed}. {advice}; the last good epoch is in {self.folder}")

    def step(self, rows, progress, where):
        """One step on this process's share of ``rows``; returns the loss times its number of records."""
        own = rows[rank() :: world_size()]
        mixed = self.device.type == "cuda" and getattr(self.model, "mixed_precision", False)
        self.optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for part in own.split(self.at_once):  # whose gradients add up
            with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
                loss = self.loss_of(self.loss, self.arrays, part, progress)
            # the processes' gradients are averaged: unequal shares of a batch weigh by their records
            (loss * (len(part) * world_size() / len(rows))).backward()
            total += loss.item() * len(part)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.gradient_clip)
        self.demand_finite(total, "training loss", where)
        self.demand_finite(norm.item(), "gradient", where)
        self.optimiser.step()
        return total

    def loss_of(self, loss, arrays, rows, progress):
        batch = tuple(array[rows].to(self.device, non_blocking=True) for array in arrays)
        return loss(batch, self.phase.number, progress, self.settings)

    def validate(self, progress):
        if self.validation is None:
            return math.nan
        n, total = len(self.validation[0]), 0.0
        torch.manual_seed(_number(self.settings.seed, self.phase.number, "validation", rank()))
        self.model.eval()
        with torch.no_grad():
            for rows in torch.arange(rank(), n, world_size()).split(self.settings.batch_size):
                total += self.loss_of(self.model.loss, self.validation, rows, progress).item() * len(rows)
        return _sum_over_processes(total, self.device) / n


def _phases(background, targets, settings):
    order = np.random.default_rng(_number(settings.seed, "validation rows")).permutation(len(background))
    n_validation = round(settings.validation_share * len(background))
    validation = background.take(np.sort(order[:n_validation])) if n_validation else None
    training, second = background.take(np.sort(order[n_validation:])), (targets, None)
    if settings.form == "released":
        second = training, validation
    elif settings.keeps_background and set(background.table["kind"]) == set(targets.table["kind"]):
        second = Records.concatenate([training, targets]), None  # simulated ones may serve recorded stations: not kept
    first = Phase(0, training, validation, settings.epochs_phase_0, settings.learning_rate_phase_0)
    return [first, Phase(1, *second, settings.epochs_phase_1, settings.learning_rate_phase_1)]


def load(model, folder):
    """(model, History) of a run's last epoch; FileNotFoundError, or ValueError if of another model."""
    path = Path(folder) / "last.pt"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: no training has left an epoch there")
    state = torch.load(path, map_location="cpu", weights_only=True)
    if differing := _differences({"model": model.name, "model settings": asdict(model.settings)}, state["key"]):
        raise ValueError(f"{path} does not fit the model: {differing}")
    history = _put(model, state)
    return model.to(_device()).eval(), history


def _put(model, state):
    model.load_state_dict(state["model"])
    model.stations = tuple(state["stations"])
    return History(state["history"])


def records_at_once(model, batch_size, device):
    """How many records of a batch a step takes at once: all, or on a GPU as many as its free memory holds."""
    if device.type != "cuda" or not hasattr(model, "activation_bytes"):
        return batch_size
    free = torch.cuda.mem_get_info(device)[0]
    fitting = max(1, int(MEMORY_SHARE * free / model.activation_bytes(2)))
    if fitting < batch_size:
        parts = math.ceil(batch_size / fitting)
        print(f"{free / 1e9:.1f} GB are free: a batch of {batch_size} is taken in {parts} parts", file=sys.stderr)
    return min(batch_size, fitting)


def _save(folder, model, run, key, position, history, within=None):
    folder.mkdir(parents=True, exist_ok=True)
    state = {"model": model.state_dict(), "stations": model.stations, "key": key, "history": history.rows}
    state |= {"optimiser": run.optimiser.state_dict(), "scheduler": run.scheduler.state_dict()}
    state |= {"position": position, "within": within}
    write_atomically(folder / "last.pt", lambda temporary: torch.save(state, temporary))
    write_atomically(folder / "history.csv", lambda temporary: history.table.to_csv(temporary, index=False))


def _fingerprint(records):
    digest = hashlib.blake2b("|".join(records.table["station"]).encode(), digest_size=8)
    for part in records.batches(1000):  # a memory map is read piece by piece
        digest.update(np.ascontiguousarray(part.waveforms))
    return f"{len(records)} records, {digest.hexdigest()}"


def _differences(here, there):
    clauses = []  # one a name whose value differs
    for name, value in here.items():
        other = there.get(name)
        if value != other:
            nested = isinstance(value, dict) and isinstance(other, dict)
            clauses.append(_differences(value, other) if nested else f"{name} is {other} there, {value} here")
    return "; ".join(filter(None, clauses))


def _number(*parts):
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()) >> 1  # a seed below 2⁶³


def rank():
    return distributed.get_rank() if joined() else 0


def world_size():
    return distributed.get_world_size() if joined() else 1


def _device():
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def _sum_over_processes(value, device):
    total = torch.tensor(value, dtype=torch.float64, device=device)
    if joined():
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
