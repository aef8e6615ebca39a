"""TimesNet-Gen against a plain implementation, against itself in other batches, and against what the formulas say."""

import argparse
from dataclasses import replace

import numpy as np
import pandas as pd
import plain_timesnet as plain
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tsgen import config, timesnet
from tsgen.records import Records

SMALL = config.TimesNetSettings(n_samples=192, d_model=8, d_ff=12, n_kernels=4, n_blocks=2)
CLOSE = 1e-5  # relative to the largest value: float32 sums in another order differ by some 1e-6


@pytest.fixture(autouse=True)
def one_thread():
    """Threads cost more than they give at these sizes, the more so beside other tests."""
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n)


def build(settings=SMALL, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return timesnet.TimesNetGen(settings).eval()


def shaking(n, n_samples, seed=0):
    """x (n, n_samples, 3): noise, each record of its own colour and strength, so that periods differ."""
    rng = np.random.default_rng(seed)
    frequency = np.fft.rfftfreq(n_samples)[:, None]
    centre, strength = rng.uniform(0.02, 0.4, n), 10 ** rng.uniform(0, 3, n)
    records = []
    for c, s in zip(centre, strength, strict=True):
        spectrum = np.fft.rfft(rng.standard_normal((n_samples, 3)), axis=0) / (1 + ((frequency - c) / 0.02) ** 2)
        records.append(s * np.fft.irfft(spectrum, n_samples, axis=0))
    return torch.tensor(np.stack(records), dtype=torch.float32)


def records_of(x, stations=("SIM.01",)):
    n = len(x)
    table = pd.DataFrame({"station": np.resize(stations, n), "event": [f"e{i}" for i in range(n)]})
    table = table.assign(kind="simulated", source="test", samples=x.shape[1], native_sampling_rate_in_hz=50.0)
    table = table.assign(usable_from_hz=0.1, usable_to_hz=20.0)
    return Records(x.transpose(1, 2).contiguous().numpy(), 50.0, table)


def deviation(found, expected):
    return float((found - expected).detach().abs().max() / expected.detach().abs().max())


def test_paper_setting_has_the_released_number_of_parameters():
    settings = config.profile("paper").timesnet
    assert timesnet.parameter_count(settings) == 38_260_355
    with torch.device("meta"):
        model = timesnet.TimesNetGen(settings)
    assert sum(parameter.numel() for parameter in model.parameters()) == 38_260_355


@pytest.mark.parametrize("settings", [SMALL, replace(SMALL, n_stations=5, n_blocks=3, n_kernels=1)])
def test_parameter_count_is_predicted(settings):
    assert sum(p.numel() for p in build(settings).parameters()) == timesnet.parameter_count(settings)


@pytest.mark.parametrize("shape", [(20, 30), (96, 2), (1, 50), (64, 3), (5, 5), (1, 1)])
def test_fused_inception_equals_one_convolution_per_kernel(shape):
    torch.manual_seed(1)
    block = timesnet.InceptionBlock(6, 7, 6)
    for kernel in block.kernels:
        torch.nn.init.normal_(kernel.bias)
    maps = torch.randn(3, 6, *shape)
    expected = plain.inception(block, maps)
    assert deviation(block(maps), expected) < CLOSE
    upstream = torch.randn_like(expected)
    ours = torch.autograd.grad(block(maps), block.parameters(), upstream)
    theirs = torch.autograd.grad(expected, block.parameters(), upstream)
    for found, wanted in zip(ours, theirs, strict=True):
        assert deviation(found, wanted) < CLOSE or wanted.abs().max() < 1e-6  # taps that never meet the map


def test_paper_setting_equals_the_plain_implementation():
    torch.set_num_threads(2)
    model = build(config.profile("paper").timesnet)
    x = shaking(2, 6000)
    with torch.no_grad():
        z, mean, std = model.encode(x, shared=True)
        wanted_z, wanted_mean, wanted_std = plain.encode(model, x)
        assert deviation(z, wanted_z) < CLOSE
        assert deviation(model.decode(z, mean, std), plain.decode(model, wanted_z, wanted_mean, wanted_std)) < CLOSE


def test_outputs_and_gradients_equal_the_plain_implementation():
    model = build(replace(SMALL, n_stations=3, dropout=0.0)).train()
    x, station = shaking(6, 192, seed=3), torch.tensor([0, 1, 2, -1, 2, 0])
    onehot = torch.nn.functional.one_hot(station.clamp(min=0), 3) * (station >= 0)[:, None]
    found, wanted = model.encode(x, station)[0], plain.encode(model, x, onehot.float())[0]
    assert deviation(found, wanted) < CLOSE
    upstream = torch.randn_like(wanted)
    parameters = [p for name, p in model.named_parameters() if not name.startswith("projection")]
    ours, theirs = (torch.autograd.grad(z, parameters, upstream) for z in (found, wanted))
    largest = max(gradient.abs().max() for gradient in theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine - other).abs().max() < 1e-4 * other.abs().max() + 1e-6 * largest


@pytest.mark.parametrize("n_stations", [0, 4])
def test_encoding_does_not_depend_on_the_batch(n_stations):
    model = build(replace(SMALL, n_stations=n_stations))
    x = shaking(32, 192)
    station = torch.arange(32) % 5 - 1 if n_stations else None
    order = torch.randperm(32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = model.encode(x, station)[0]
        shuffled = model.encode(x[order], None if station is None else station[order])[0]
        alone = torch.cat([model.encode(x[[i]], None if station is None else station[[i]])[0] for i in range(32)])
        published = model.encode(x, station, shared=True)[0]
    assert deviation(together, alone) < CLOSE
    assert deviation(shuffled, alone[order]) < CLOSE
    assert deviation(published, alone) > 0.01  # the batch mean does fold these records otherwise


def test_planted_periods_are_found():
    block = build().model[0]
    time = torch.arange(192.0)[:, None].expand(-1, 8)
    wave = 2 * torch.sin(2 * torch.pi * time / 16) + torch.cos(2 * torch.pi * time / 6) + 9
    other = torch.sin(2 * torch.pi * time / 12) + 2 * torch.cos(2 * torch.pi * time / 24)
    periods, weight = block.periods(torch.stack([wave, other]), shared=False)
    assert periods.tolist() == [[16, 6], [24, 12]]
    assert torch.allclose(weight.sum(1), torch.ones(2)) and (weight[:, 0] > 0.99).all()
    shared, _ = block.periods(torch.stack([3 * wave, other]), shared=True)
    assert shared.tolist() == [[16, 6], [16, 6]]


def test_equal_periods_are_one_branch(monkeypatch):
    block = build().model[0]
    time = torch.arange(192.0)[None, :, None].expand(2, -1, 8)
    x = (torch.sin(2 * torch.pi * 70 * time / 192) + torch.sin(2 * torch.pi * 74 * time / 192)) / 100  # 192 // f = 2
    x = x + torch.randn(x.shape, generator=torch.Generator().manual_seed(0)) / 3000
    assert block.periods(x, shared=True)[0].unique().tolist() == [2]
    calls = []
    branch = block.branch
    monkeypatch.setattr(block, "branch", lambda *a: calls.append(a[2]) or branch(*a))
    with torch.no_grad():
        assert deviation(block(x, shared=True) - x, plain.times_block(block, x) - x) < CLOSE
    assert calls == [2]


def test_station_changes_the_output_and_none_is_zero():
    model = build(replace(SMALL, n_stations=3))
    x = shaking(4, 192)
    with torch.no_grad():
        first, second = (model.encode(x, torch.full((4,), i))[0] for i in (0, 1))
        none, zero = model.encode(x)[0], model.encode(x, torch.full((4,), -1))[0]
    assert deviation(first, second) > 1e-2
    assert deviation(zero, none) < CLOSE
    bare = build(SMALL)
    state = {name: tensor for name, tensor in model.state_dict().items()}
    for name, tensor in bare.state_dict().items():
        state[name] = state[name][:, : tensor.shape[1]] if ".conv.0." in name and tensor.ndim == 4 else state[name]
    bare.load_state_dict(state)
    with torch.no_grad():
        assert deviation(bare.encode(x)[0], none) < CLOSE


@pytest.mark.parametrize("name", ["smoke", "quick"])
def test_the_latent_is_as_much_larger_than_its_record_as_said(name):
    settings = config.profile(name).timesnet
    x = shaking(2, settings.n_samples)
    with torch.no_grad():
        z, _, _ = build(settings).encode(x)
    assert timesnet.latent_and_record_size(settings) == (z[0].numel(), x[0].numel())


def test_mixing_commutes_with_the_linear_head():
    model = build()
    x = shaking(5, 192)
    with torch.no_grad():
        z, mean, std = model.encode(x)
        mixed = model.decode(z.mean(0, keepdim=True), mean.mean(0), std.mean(0))[0]
        standardised = (model.decode(z, mean, std) - mean) / std
    expected = standardised.mean(0) * std.mean(0) + mean.mean(0)
    assert deviation(mixed, expected) < CLOSE


def test_losses_differ_by_the_records_variance():
    model, settings = build(), config.profile("smoke").training
    x = shaking(3, 192)
    with torch.no_grad():
        z, mean, std = model.encode(x)
        error = model.decode(z, mean, std) - x
        batch = (x, torch.full((3,), -1))
        raw = model.loss(batch, 0, 0.0, replace(settings, loss="raw"))
        standardised = model.loss(batch, 0, 0.0, settings)
    assert raw.item() == pytest.approx(error.square().mean().item(), rel=1e-4)
    assert standardised.item() == pytest.approx((error / std).square().mean().item(), rel=1e-4)
    assert raw > 10 * standardised


def test_mixed_precision_is_close_and_differentiable():
    """The path that CUDA takes in training, here on the CPU: the FFT has no bfloat16 and must not see it."""
    model, settings = build(replace(SMALL, dropout=0.0)).train(), config.profile("smoke").training
    batch = (shaking(6, 192), torch.full((6,), -1))
    exact = model.loss(batch, 0, 0.0, settings).item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model.loss(batch, 0, 0.0, settings)
    loss.backward()
    assert loss.item() != exact and loss.item() == pytest.approx(exact, rel=0.02)
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_noise_of_phase_one_is_the_latents_spread():
    model, settings = build(), replace(config.profile("smoke").training, batch_size=4)
    records = records_of(shaking(10, 192))
    model.end_of_phase(0, records, settings)
    means = np.stack([z.numpy().mean(0) for z in model.encode_records(records)[0]])
    assert np.allclose(model.latent_std, means.std(0), rtol=1e-4)
    batch = model.training_arrays(records)
    quiet = model.loss(batch, 1, 0.0, settings).item()
    model.train()
    model.enc_embedding.dropout.p = 0.0
    model.latent_std.fill_(1.0)
    with torch.no_grad():
        noisy = np.mean([model.loss(batch, 1, 0.0, settings).item() for _ in range(20)])
        folded = model.loss(batch, 0, 0.0, settings).item()
        added = model.projection.weight.square().sum(1).mean().item()  # variance of the head's answer to unit noise
    assert noisy - folded == pytest.approx(added, rel=0.1)
    assert quiet > 0


def test_records_through_the_model_and_back():
    model = build(replace(SMALL, n_stations=2))
    model.stations = ("SIM.01", "SIM.02")
    x = shaking(7, 192)
    records = records_of(x, ("SIM.02", "SIM.01", "SIM.09"))
    assert model.station_index(records).tolist() == [1, 0, -1, 1, 0, -1, 1]
    model.train()
    z, mean, std = model.encode_records(records, batch_size=3)
    waveforms = model.reconstruct(records, batch_size=7)
    assert model.training
    model.eval()
    with torch.no_grad():
        expected = model.decode(*model.encode(x, torch.tensor([1, 0, -1, 1, 0, -1, 1])))
        assert deviation(model.decode(z, mean, std), expected) < CLOSE
    assert waveforms.shape == (7, 3, 192) and waveforms.dtype == np.float32
    assert deviation(torch.from_numpy(waveforms).transpose(1, 2), expected) < CLOSE
    weights = model.branch_weights(x)
    assert weights.shape == (2, 7, 2) and torch.allclose(weights.sum(-1), torch.ones(2, 7))


@pytest.mark.parametrize("shape", [(2, 191, 3), (2, 3, 192), (192, 3)])
def test_records_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(batch, 192, 3\) expected"):
        build().encode(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"\(batch, 192, 8\) expected, not \(1, 192, 9\)"):
        build().decode(torch.zeros(1, 192, 9), torch.zeros(1, 3), torch.ones(1, 3))


# --- the authors' files


def released_state(seed=0):
    """A state dict under the released names, of no model of ours: T 192, d 8, d_ff 12, 2 blocks, 4 kernels."""
    torch.manual_seed(seed)
    state = {
        "enc_embedding.value_embedding.weight": torch.randn(8, 3),
        "enc_embedding.value_embedding.bias": torch.randn(8),
        "enc_embedding.position_embedding": torch.randn(1, 192, 8),
        "layer_norm.weight": torch.randn(8),
        "layer_norm.bias": torch.randn(8),
        "projection.weight": torch.randn(3, 8),
        "projection.bias": torch.randn(3),
    }
    for block in range(2):
        for part, shape in ((0, (12, 8)), (2, (8, 12))):
            for j in range(4):
                name = f"model.{block}.conv.{part}.kernels.{j}"
                state[f"{name}.weight"] = torch.randn(*shape, 2 * j + 1, 2 * j + 1) / 10
                state[f"{name}.bias"] = torch.randn(shape[0])
    return state


def released_file(folder, state, **more):
    path = folder / "released.pth"
    torch.save({"model_state_dict": state, "epoch": 49, **more}, path)
    return path


def test_released_checkpoint_loads_tensor_by_tensor(tmp_path):
    state = released_state()
    model = timesnet.load_released(released_file(tmp_path, state, optimizer_state_dict={"state": {}}), top_k=3)
    assert model.settings == replace(SMALL, top_k=3)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.named_parameters())
    x = shaking(2, 192)
    with torch.no_grad():
        z, mean, std = model.encode(x, shared=True)
        assert deviation(model.decode(z, mean, std), plain.decode(model, *plain.encode(model, x))) < CLOSE


def test_conditioned_checkpoint_shows_its_stations(tmp_path):
    model = build(replace(SMALL, n_stations=5))
    found = timesnet.load_released(released_file(tmp_path, model.state_dict()))
    assert found.settings == model.settings


def test_every_name_that_does_not_fit_is_listed(tmp_path):
    state = released_state()
    del state["layer_norm.bias"], state["model.1.conv.2.kernels.3.weight"]
    state["head.scale"] = torch.zeros(4)
    state["projection.weight"] = torch.zeros(3, 9)
    state["model.0.conv.0.kernels.1.weight"] = torch.zeros(12, 8, 5, 5)
    with pytest.raises(ValueError) as error:
        timesnet.load_released(released_file(tmp_path, state))
    missing, unexpected, *misshapen = str(error.value).splitlines()[1:]
    assert "Missing" in missing and "layer_norm.bias" in missing and "model.1.conv.2.kernels.3.weight" in missing
    assert "Unexpected" in unexpected and "head.scale" in unexpected
    assert ["12, 8, 5, 5" in line and "12, 8, 3, 3" in line for line in misshapen] == [True, False]
    assert "projection.weight" in misshapen[1] and "[3, 9]" in misshapen[1] and "[3, 8]" in misshapen[1]


def test_one_odd_table_does_not_decide_the_sizes(tmp_path):
    state = released_state() | {"enc_embedding.position_embedding": torch.randn(1, 192, 7)}
    with pytest.raises(ValueError, match=r"position_embedding.*\[1, 192, 7\].*\[1, 192, 8\]") as error:
        timesnet.load_released(released_file(tmp_path, state))
    assert len(str(error.value).splitlines()) == 2


def test_refused_objects_are_named_with_the_remedy(tmp_path):
    path = released_file(tmp_path, released_state(), args=argparse.Namespace(top_k=2))
    with pytest.raises(ValueError, match=r"argparse.Namespace.*safe_globals"):
        timesnet.load_released(path)
    with torch.serialization.safe_globals([argparse.Namespace]):
        assert timesnet.load_released(path).settings == SMALL


def test_file_without_state_is_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="no model_state_dict of tensors; it holds: weights"):
        timesnet.load_released(path)


def bank_file(path, model, x, stations=("0205", "4628"), **more):
    """A bank under the released names, made by ``model``: every second record of x belongs to the second station."""
    arrays = {}
    with torch.no_grad():
        for i, station in enumerate(stations):
            latents = model.encode(x[i::2])
            for kind, array in zip(("latents", "means", "stdev"), latents, strict=True):
                arrays[f"{kind}_{station}"] = array.numpy()
    np.savez(path, **(arrays | more))
    return path


def test_released_bank_gives_back_what_was_banked(tmp_path):
    model, x = build(), shaking(7, 192)
    bank = timesnet.ReleasedBank(bank_file(tmp_path / "bank.npz", model, x))
    assert bank.stations == ["0205", "4628"]
    with torch.no_grad():
        z, mean, std = model.encode(x[1::2])
    for found, expected in zip(bank.latents("4628"), (z, mean, std), strict=True):
        assert torch.equal(found, expected)
    assert [len(array) for array in bank.latents("0205")] == [4, 4, 4]


def test_bank_of_flat_means_is_read(tmp_path):
    model, x = build(), shaking(4, 192)
    flat = {"means_0205": np.ones((2, 3)), "stdev_0205": np.ones((2, 3))}
    z, mean, std = timesnet.ReleasedBank(bank_file(tmp_path / "bank.npz", model, x, **flat)).latents("0205")
    assert z.shape == (2, 192, 8) and mean.shape == std.shape == (2, 1, 3) and mean.dtype == torch.float32


def test_bank_that_does_not_fit_is_refused(tmp_path):
    model, x = build(), shaking(4, 192)
    bank = timesnet.ReleasedBank(bank_file(tmp_path / "bank.npz", model, x, means_0205=np.zeros((5, 3))))
    with pytest.raises(ValueError, match=r"\(2, 192, 8\), \(5, 3\), \(2, 1, 3\)"):
        bank.latents("0205")
    with pytest.raises(ValueError, match=r"'0206' is not in .*0205, 4628"):
        bank.latents("0206")
    objects = bank_file(tmp_path / "objects.npz", model, x, latents_0205=np.array([{}, None], dtype=object))
    with pytest.raises(ValueError, match=r"objects\.npz, 0205: .*save it again as plain float arrays"):
        timesnet.ReleasedBank(objects).latents("0205")
    np.savez(tmp_path / "half.npz", latents_0205=np.zeros((1, 192, 8)), means_0205=np.zeros((1, 3)))
    with pytest.raises(ValueError, match="lacks stdev_0205"):
        timesnet.ReleasedBank(tmp_path / "half.npz")
    np.savez(tmp_path / "other.npz", f0=np.zeros(3))
    with pytest.raises(ValueError, match=r"no latent bank.*f0"):
        timesnet.ReleasedBank(tmp_path / "other.npz")


@pytest.mark.parametrize("n_stations", [0, 5])
def test_memory_of_a_step_is_what_autograd_keeps(n_stations):
    """Storages that a loss leaves for its gradient; estimated for all branches at work, and maps without padding."""
    settings = replace(config.profile("quick").timesnet, n_stations=n_stations, n_samples=1024)
    model, kept = timesnet.TimesNetGen(settings).train(), {}

    def keep(tensor):
        if not isinstance(tensor, torch.nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes(), tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        batch = torch.randn(4, 1024, 3), torch.arange(4) % 5
        loss = model.loss(batch, 1, 0.0, config.profile("quick").training)
    assert loss.requires_grad
    measured = sum(n for n, _ in kept.values()) / 4
    assert 0.9 * measured < model.activation_bytes() < 1.6 * measured
    parts = timesnet.memory(model, 4, 100, 60, False)
    assert parts["activations of a batch of 4"] == 4 * model.activation_bytes()
    assert timesnet.memory(model, 4, 100, 60, True)["activations of a batch of 4"] < 4 * model.activation_bytes()


def test_operations_are_those_that_torch_counts():
    """Of folds that divide the record and hold the kernels, with two periods at work."""
    settings = replace(config.profile("quick").timesnet, n_samples=2400, dropout=0.0)
    block = timesnet.TimesNetGen(settings).model[0]
    t = torch.arange(2400.0)
    x = sum(torch.sin(2 * torch.pi * t / period) for period in (100, 40)).expand(1, 16, -1).transpose(1, 2)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        block(x)
    one_block = timesnet.operations(settings) / settings.n_blocks
    assert counter.get_total_flops() == pytest.approx(one_block, rel=0.01)
    assert timesnet.operations(config.profile("paper").timesnet) == pytest.approx(0.38e12, rel=0.01)
