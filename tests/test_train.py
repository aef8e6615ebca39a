"""The training loop: it learns, repeats itself, survives a kill, divides among processes, and fails loudly."""

import math
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT

from tsgen import config, timesnet, train, trainer
from tsgen.records import Records

SMALL = config.TimesNetSettings(n_samples=128, d_model=6, d_ff=8, n_kernels=2, n_blocks=1, n_stations=2)
RECIPE = config.TrainingSettings(
    batch_size=6, epochs_phase_0=3, epochs_phase_1=2, learning_rate_phase_0=1e-2, learning_rate_phase_1=3e-3
)

# run in processes of their own: python -c SETUP + one of the ends below
SETUP = f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); from test_train import *; torch.set_num_threads(1)\n"


def planted(n, stations, seed=0):
    """n records of sines of one of several periods, of random phase and strength, and a little noise.

    There are more periods than branches, so that halves of a batch alone would be folded otherwise than the whole.
    """
    rng = np.random.default_rng(seed)
    time_in_samples = np.arange(SMALL.n_samples)
    phase, period = rng.uniform(0, 2 * np.pi, (n, 3, 1)), rng.choice([6, 8, 11, 16, 25], (n, 1, 1))
    strength = 10 ** rng.uniform(0, 2, (n, 1, 1))
    waveforms = np.sin(2 * np.pi * time_in_samples / period + phase) + 0.05 * rng.standard_normal((n, 3, 128))
    table = pd.DataFrame({"station": np.resize(stations, n), "event": [f"e{i}" for i in range(n)]})
    table = table.assign(kind="simulated", source="test", samples=128, native_sampling_rate_in_hz=50.0)
    table = table.assign(usable_from_hz=0.1, usable_to_hz=20.0)
    return Records((strength * waveforms).astype(np.float32), 50.0, table)


@pytest.fixture(autouse=True)
def one_thread():
    """Threads cost more than they give at these sizes, the more so beside other tests."""
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n)


BACKGROUND = planted(40, ["SIM.11", "SIM.12"])
TARGETS = planted(14, ["SIM.01", "SIM.02"], seed=1)


def build(settings=SMALL, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return timesnet.TimesNetGen(settings)


def fitted(folder, settings=RECIPE, model=None, background=BACKGROUND, targets=TARGETS):
    model = model or build()
    return model, train.fit(model, background, targets, settings, folder)


def same_weights(one, other):
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


class Bowl(torch.nn.Module):
    """The smallest model of the protocol: its loss is the distance of one number from each record's station index."""

    name = "bowl"

    def __init__(self, n_stations=2):
        super().__init__()
        self.settings = replace(SMALL, n_stations=n_stations)
        self.stations = ()
        self.place = torch.nn.Parameter(torch.tensor(3.0))
        self.seen, self.ended = [], []

    def training_arrays(self, records):
        return torch.arange(len(records)), torch.tensor(records.table["station"].isin(self.stations).to_numpy())

    def loss(self, batch, phase, progress, settings):
        if self.training:
            self.seen.append((phase, progress, batch[0].tolist()))
        return (self.place - batch[1].float()).square().mean()

    def end_of_phase(self, phase, records, settings):
        self.ended.append((phase, len(records)))


def test_phases_epochs_and_batches_follow_the_recipe(tmp_path):
    model, history = fitted(tmp_path, model=Bowl())
    table = history.table
    assert list(table.columns) == trainer.COLUMNS
    assert table["phase"].tolist() == [0, 0, 0, 1, 1] and table["epoch"].tolist() == [0, 1, 2, 0, 1]
    assert table["learning_rate"].tolist() == pytest.approx([1e-2, 7.5e-3, 2.5e-3, 3e-3, 1.5e-3])  # a cosine each
    assert model.ended == [(0, 32), (1, 14)]  # four fifths of the background, all targets
    assert model.stations == ("SIM.01", "SIM.02")
    assert table["validation_loss"].isna().tolist() == [False] * 3 + [True] * 2
    for phase, n, n_batches, epochs in ((0, 32, 6, 3), (1, 14, 3, 2)):
        steps = [step for step in model.seen if step[0] == phase]
        orders = np.array([row for _, _, rows in steps for row in rows]).reshape(epochs, n).tolist()
        assert all(sorted(order) == list(range(n)) for order in orders) and orders[0] != orders[1]
        assert len(steps) == epochs * n_batches and {len(rows) for _, _, rows in steps} <= {4, 5, 6}
        assert [progress for _, progress, _ in steps] == pytest.approx(np.arange(len(steps)) / len(steps))
    saved = pd.read_csv(tmp_path / "history.csv")
    pd.testing.assert_frame_equal(saved, table)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.csv", "last.pt"]


def test_released_form_stays_on_the_background(tmp_path):
    model, history = fitted(tmp_path, replace(RECIPE, form="released"), Bowl(0))
    assert model.ended == [(0, 32), (1, 32)] and model.stations == ()
    assert history.table["validation_loss"].notna().all()


def test_first_losses_are_those_of_adamw_by_hand(tmp_path):
    settings = replace(RECIPE, epochs_phase_0=1, epochs_phase_1=0, batch_size=32, weight_decay=0.5)
    model, history = fitted(tmp_path, settings, Bowl())
    assert history.table["training_loss"].tolist() == [9.0]
    # AdamW's first step is the learning rate, after the decay: 3 − 0.01·0.5·3 − 0.01
    assert model.place.item() == pytest.approx(3 - 0.015 - 0.01, abs=1e-6)
    assert history.table["validation_loss"].item() == pytest.approx(2.975**2, rel=1e-6)


def test_planted_records_are_learned(tmp_path):
    settings = replace(RECIPE, epochs_phase_0=20, epochs_phase_1=4)
    model, history = fitted(tmp_path, settings)
    losses = history.table.set_index(["phase", "epoch"])["training_loss"]
    assert losses[0, 0] > 0.5 and losses[0, 19] < 0.2
    waveforms = TARGETS.waveforms
    error = (model.reconstruct(TARGETS) - waveforms) / waveforms.std(2, keepdims=True)
    assert np.square(error).mean() < 0.2  # 1 where nothing is learned
    assert (model.latent_std > 0).all()


def test_same_seed_gives_the_same_weights(tmp_path):
    before = torch.get_rng_state()
    first, history = fitted(tmp_path / "first")
    assert torch.equal(torch.get_rng_state(), before)  # the caller's random numbers are left alone
    torch.manual_seed(99)
    second, again = fitted(tmp_path / "second")
    assert same_weights(first, second)
    columns = ["training_loss", "validation_loss"]
    pd.testing.assert_frame_equal(history.table[columns], again.table[columns], check_exact=True)
    other, _ = fitted(tmp_path / "other", replace(RECIPE, seed=1))
    assert not same_weights(first, other)


def wait_for_last_epoch(folder, process, deadline_in_s=60):
    """Wait until a first epoch stands, then a moment, so that the kill falls into a later epoch."""
    end = time.monotonic() + deadline_in_s
    while not (folder / "last.pt").exists():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.05)


@pytest.mark.slow
def test_killed_training_resumes_to_identical_weights(tmp_path):
    settings = replace(RECIPE, epochs_phase_0=4, epochs_phase_1=3)
    body = """
        class Slow(timesnet.TimesNetGen):
            def loss(self, *arguments):
                time.sleep(0.05 if "slow" in sys.argv else 0)
                return super().loss(*arguments)
        model = Slow(SMALL)
        model.load_state_dict(build().state_dict())
        settings = replace(RECIPE, epochs_phase_0=4, epochs_phase_1=3)
        history = train.fit(model, BACKGROUND, TARGETS, settings, sys.argv[1])
        torch.save(model.state_dict(), sys.argv[1] + "/final.pt")
    """
    script = SETUP + textwrap.dedent(body)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([sys.executable, "-c", script, str(whole)], check=True, cwd=ROOT, timeout=120)
    process = subprocess.Popen([sys.executable, "-c", script, str(killed), "slow"], cwd=ROOT)
    wait_for_last_epoch(killed, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    stopped_at = torch.load(killed / "last.pt", weights_only=True)["position"]
    assert 1 <= stopped_at < 7
    subprocess.run([sys.executable, "-c", script, str(killed)], check=True, cwd=ROOT, timeout=120)
    weights, expected = (torch.load(folder / "final.pt", weights_only=True) for folder in (killed, whole))
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())
    losses = [pd.read_csv(folder / "history.csv")[["training_loss", "validation_loss"]] for folder in (killed, whole)]
    pd.testing.assert_frame_equal(*losses, check_exact=True)
    assert len(losses[0]) == settings.epochs_phase_0 + settings.epochs_phase_1


@pytest.mark.parametrize("stop_after", [1, 3, 4])
def test_interrupted_between_any_epochs_resumes(tmp_path, monkeypatch, stop_after):
    whole, _ = fitted(tmp_path / "whole")
    save, saved = trainer._save, []

    def save_and_stop(*arguments):
        save(*arguments)
        saved.append(None)
        if len(saved) == stop_after:
            raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "_save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "part")
    monkeypatch.setattr(trainer, "_save", save)
    resumed, history = fitted(tmp_path / "part", model=build(seed=5))  # first weights come from the checkpoint
    assert same_weights(whole, resumed) and len(history.rows) == 5
    assert resumed.stations == ("SIM.01", "SIM.02")


def test_interrupted_within_every_epoch_resumes(tmp_path, capsys):
    """Each call ends after one step, as a GPU does that is lent for minutes; dropout and noise go on as they were."""
    whole, one = fitted(tmp_path / "whole")
    for calls in range(99):
        try:
            with trainer.until(0):
                again, other = fitted(tmp_path / "part", model=build(seed=calls))
            break
        except trainer.OutOfTime as rest:
            assert re.search(r"epoch \d/\d, step \d of \d: saved|epoch \d saved", str(rest))
    assert calls == 3 * 6 + 2 * 3 - 1 and same_weights(whole, again)
    columns = ["training_loss", "validation_loss"]
    pd.testing.assert_frame_equal(one.table[columns], other.table[columns], check_exact=True)
    assert (other.table["seconds"] > 0).all() and "records a second, about 0 min left; saved" in capsys.readouterr().err


@pytest.mark.parametrize("at_once", [4, 1])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(tmp_path, monkeypatch, at_once):
    """Bowl's loss is a mean over records, so parts must weigh by their number: 6 is 4 and 2, or six times 1."""
    weights = []
    for size in (6, at_once):
        monkeypatch.setattr(trainer, "records_at_once", lambda *of, size=size: size)
        model, history = fitted(tmp_path / str(size), model=Bowl())
        weights.append((model.place.item(), *history.table["training_loss"]))
    assert weights[0] == pytest.approx(weights[1], rel=1e-6)


def test_a_small_card_takes_a_batch_in_parts(monkeypatch, capsys):
    model, card = build(), torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3.5 * model.activation_bytes(2) / 0.8, 0))
    assert trainer.records_at_once(model, 6, card) == 3
    assert "a batch of 6 is taken in 2 parts" in capsys.readouterr().err
    assert trainer.records_at_once(model, 2, card) == 2 and trainer.records_at_once(Bowl(), 6, card) == 6
    assert trainer.records_at_once(model, 6, torch.device("cpu")) == 6


def test_finished_run_returns_at_once_and_another_starts_anew(tmp_path, monkeypatch, capsys):
    first, history = fitted(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(trainer.PhaseRun, "epoch", None)  # would raise if an epoch were run
        again, same = fitted(tmp_path, model=build(seed=7))
    assert same_weights(first, again)
    pd.testing.assert_frame_equal(same.table, history.table)
    assert capsys.readouterr().err == ""
    other, _ = fitted(tmp_path, replace(RECIPE, batch_size=7))
    assert "batch_size is 6 there, 7 here): starting anew" in capsys.readouterr().err
    assert not same_weights(first, other)
    fitted(tmp_path, replace(RECIPE, batch_size=7), targets=planted(14, ["SIM.01", "SIM.02"], seed=2))
    assert "targets is 14 records" in capsys.readouterr().err


def test_the_last_epoch_is_kept(tmp_path):
    model, history = fitted(tmp_path, replace(RECIPE, form="released"), Bowl(0))
    last, loaded = trainer.load(Bowl(0), tmp_path)
    assert last.place.item() == model.place.item() and not last.training
    pd.testing.assert_frame_equal(loaded.table, history.table)


def test_load_says_what_is_missing_or_does_not_fit(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"last.pt is missing"):
        trainer.load(build(), tmp_path)
    fitted(tmp_path, replace(RECIPE, epochs_phase_0=1, epochs_phase_1=0))
    with pytest.raises(ValueError, match="d_model is 6 there, 7 here; n_blocks is 1 there, 2 here"):
        trainer.load(build(replace(SMALL, d_model=7, n_blocks=2)), tmp_path)


def test_nan_stops_at_once_and_leaves_the_last_good_epoch(tmp_path):
    class Breaks(Bowl):
        def loss(self, batch, phase, progress, settings):
            return super().loss(batch, phase, progress, settings) * (math.nan if progress > 0.5 else 1.0)

    with pytest.raises(trainer.TrainingError, match=r"training loss .* phase 0, epoch 2/3, step 4, .*learning rate"):
        fitted(tmp_path, model=Breaks())
    assert issubclass(trainer.TrainingError, RuntimeError)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["position"] == 1


def test_gradient_without_a_number_stops_too(tmp_path):
    class Steep(Bowl):
        def loss(self, batch, phase, progress, settings):
            return (self.place - self.place.detach()).abs().sqrt() + super().loss(batch, phase, progress, settings)

    with pytest.raises(trainer.TrainingError, match="the gradient is not a finite number in bowl, phase 0, epoch 1/3"):
        fitted(tmp_path, model=Steep())
    assert not any(tmp_path.iterdir())


def test_stations_must_match_the_settings(tmp_path):
    with pytest.raises(ValueError, match="n_stations is 3, but the targets have 2"):
        fitted(tmp_path, model=Bowl(3))


TOGETHER = """
    with trainer.processes():
        model = build(replace(SMALL, dropout=0.0), seed=trainer.rank())  # process 0's first weights are everyone's
        model.end_of_phase = lambda *_: None  # leaves the noise of phase 1 at zero
        train.fit(model, BACKGROUND, TARGETS, RECIPE, sys.argv[1])
        print(trainer.rank(), trainer.world_size(), sum(p.double().sum().item() for p in model.parameters()))
"""


def together(tmp_path, body):
    """Histories of the same training in one process and in two, which must end with one set of weights."""
    script = tmp_path / "together.py"
    script.write_text(SETUP + textwrap.dedent(body))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    arguments = {"cwd": ROOT, "env": environment, "capture_output": True, "text": True, "timeout": 180}
    alone = subprocess.run([sys.executable, script, tmp_path / "one"], **arguments)
    assert alone.returncode == 0, alone.stderr
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    both = subprocess.run([*torchrun, script, tmp_path / "two"], **arguments)
    assert both.returncode == 0, both.stderr
    said = sorted(line.split() for line in both.stdout.splitlines())
    assert [line[:2] for line in said] == [["0", "2"], ["1", "2"]] and said[0][2] == said[1][2]
    return [pd.read_csv(tmp_path / name / "history.csv") for name in ("one", "two")]


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(tmp_path):
    one, two = together(tmp_path, TOGETHER)
    for column in ("training_loss", "validation_loss"):
        np.testing.assert_allclose(two[column], one[column], rtol=1e-4)
    assert one["training_loss"].iloc[2] < 0.8 * one["training_loss"].iloc[0]


CGM_TOGETHER = """
    import test_cgm
    with trainer.processes():
        torch.manual_seed(trainer.rank())
        model = test_cgm.cgm.CGMGM(replace(test_cgm.SMALL, n_stations=2, iterations=2))
        settings = config.TrainingSettings(8, 6, 6, 6e-3, 3e-3, keeps_background=True)
        sets = test_cgm.planted(64, seed=1, stations=("SIM.B1",)), test_cgm.planted(32, seed=2)
        train.fit(model, *sets, settings, sys.argv[1])
        print(trainer.rank(), trainer.world_size(), sum(p.double().sum().item() for p in model.parameters()))
"""


@pytest.mark.slow
def test_cgm_trains_in_two_processes_as_in_one(tmp_path):
    """To 0.03 of a loss that falls by 0.4: a process draws its own latents and normalises its own half of a batch."""
    one, two = together(tmp_path, CGM_TOGETHER)
    for column in ("training_loss", "validation_loss"):
        np.testing.assert_allclose(two[column], one[column], atol=0.03)
    assert one["training_loss"].iloc[-1] < one["training_loss"].iloc[0] - 0.3


@pytest.mark.parametrize("kind", ["simulated", "recorded"])
def test_second_phase_keeps_a_background_of_its_own_kind(kind):
    background = BACKGROUND.with_columns(kind=kind)
    phases = trainer._phases(background, TARGETS, replace(RECIPE, keeps_background=True))
    own = len(phases[0].training) if kind == "simulated" else 0
    assert len(phases[1].training) == own + len(TARGETS) and phases[1].validation is None
    assert not set(phases[1].training.table["event"]) & set(phases[0].validation.table["event"]) - set(
        TARGETS.table["event"]
    )
    assert len(trainer._phases(background, TARGETS, RECIPE)[1].training) == len(TARGETS)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "oracle", "--profile", "smoke"], "unknown model 'oracle'"),
        (["--model", "timesnet", "--profile", "vast"], "unknown profile 'vast'"),
        (["--model", "timesnet", "--profile", "smoke", "--records", "/nowhere"], "no such folder"),
    ],
)
def test_command_line_ends_with_one_sentence(arguments, sentence, monkeypatch, tmp_path):
    monkeypatch.setenv("TSGEN_RUNS", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        train.main(arguments)
    assert sentence in str(ended.value) and "\n" not in str(ended.value)
    assert not any(tmp_path.iterdir())
