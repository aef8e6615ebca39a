"""TimesNet-Gen (arXiv 2512.04694): a record as two-dimensional maps of its own periods, and a latent of every sample.

Shapes: B records, T samples, d = d_model, k = top_k, S stations. The encoder standardises, embeds and runs TimesBlocks
(Wu et al., ICLR 2023); the latent z (B, T, d) is the last block's output; the decoder is one linear head. Parameter
names are those of the authors' released checkpoint, so its tensors load as they are.
"""

import pickle
import re
from collections import Counter
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import distributed, nn

from tsgen.config import TimesNetSettings

EPSILON = 1e-5  # inside the root of the standardisation, as released
NEGLIGIBLE = torch.finfo(torch.float32).eps ** 2  # a branch of less weight changes no digit of the sum: left out


class InceptionBlock(nn.Module):
    """Mean of n_kernels convolutions of sizes 1, 3, … with 'same' padding, computed as one convolution.

    A mean of convolutions is the convolution with the mean of the zero-padded kernels: exact, and 121 taps instead of
    286 at six kernels. Parameters stay per kernel, as released.
    """

    def __init__(self, n_in, n_out, n_kernels):
        super().__init__()
        self.kernels = nn.ModuleList(nn.Conv2d(n_in, n_out, 2 * j + 1) for j in range(n_kernels))
        for kernel in self.kernels:
            nn.init.kaiming_normal_(kernel.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(kernel.bias)

    def fused(self):
        """Weight (out, in, K, K) and bias (out,) of the one convolution."""
        reach = len(self.kernels) - 1
        padded = [F.pad(kernel.weight, (reach - j,) * 4) for j, kernel in enumerate(self.kernels)]
        return sum(padded) / len(padded), sum(kernel.bias for kernel in self.kernels) / len(padded)

    def forward(self, maps, fused=None):
        """(B, in, H, W) -> (B, out, H, W); ``fused`` spares the summing where several maps share the block."""
        weight, bias = fused or self.fused()
        reach = weight.shape[-1] // 2
        # rows and columns of the kernel that lie outside the map for every output only ever meet zeros
        high, wide = (min(reach, size - 1) for size in maps.shape[-2:])
        rows, columns = slice(reach - high, reach + high + 1), slice(reach - wide, reach + wide + 1)
        return F.conv2d(maps, weight[:, : maps.shape[1], rows, columns], bias, padding=(high, wide))


class TimesBlock(nn.Module):
    """Fold T samples at their k strongest periods, convolve the maps, unfold, add by softmax weight, add the input."""

    def __init__(self, settings):
        super().__init__()
        self.top_k = settings.top_k
        d, d_ff, kernels = settings.d_model, settings.d_ff, settings.n_kernels
        self.conv = nn.Sequential(
            InceptionBlock(d + settings.n_stations, d_ff, kernels), nn.GELU(), InceptionBlock(d_ff, d, kernels)
        )

    def periods(self, x, shared):
        """Periods in samples and softmax weights, both (B, k), of x (B, T, d).

        ``shared``: one choice from the mean amplitude of the batch (over all processes of a distributed run), as
        published; else each record's own. The latter in float64, so that no neighbour's rounding tips a near tie.
        """
        spectrum = torch.fft.rfft(x.float() if shared else x.double(), dim=1)  # (B, T // 2 + 1, d)
        amplitude = spectrum.abs().mean(-1)  # (B, T // 2 + 1)
        ranked = amplitude.detach().clone()
        ranked[:, 0] = 0.0
        if shared:
            ranked = _mean_over_processes(ranked).expand(len(x), -1)
        frequency = ranked.topk(self.top_k, dim=1).indices.clamp(min=1)  # (B, k)
        weight = amplitude.gather(1, frequency).softmax(1).to(x.dtype)
        return x.shape[1] // frequency, weight

    def forward(self, x, onehot=None, shared=False):
        """x (B, T, d), onehot (B, S) or None for zeros -> (B, T, d)."""
        periods, weight = self.periods(x, shared)
        fused = self.conv[0].fused(), self.conv[2].fused()
        total = x
        for period in periods.unique().tolist():  # a period found twice is one branch with both weights: exact
            share = (weight * (periods == period)).sum(1)[:, None, None]  # (B, 1, 1)
            rows = (share[:, 0, 0] > NEGLIGIBLE).nonzero()[:, 0]
            if len(rows) == len(x):
                total = total + share * self.branch(x, onehot, period, fused)
            elif len(rows):
                part = self.branch(x.index_select(0, rows), None if onehot is None else onehot[rows], period, fused)
                total = total.index_add(0, rows, share[rows] * part)
        return total

    def branch(self, x, onehot, period, fused):
        """The two inception blocks on the maps of one period: (B, T, d) -> (B, T, d)."""
        n, n_samples, d = x.shape
        n_rows = -(-n_samples // period)
        maps = F.pad(x, (0, 0, 0, n_rows * period - n_samples)).reshape(n, n_rows, period, d)
        # A map of few columns starves the convolution's inner loop: lay it on its side (measured 2 to 4 times faster)
        aside = period < fused[0][0].shape[-1] and period < n_rows
        first, second = (((w.transpose(2, 3) if aside else w), b) for w, b in fused)
        if aside:
            maps = maps.transpose(1, 2).contiguous()  # (B, period, rows, d)
        if onehot is not None:
            maps = torch.cat([maps, onehot[:, None, None, :].expand(*maps.shape[:3], -1)], dim=3)
        maps = maps.permute(0, 3, 1, 2)  # (B, d + S, rows, period): channels-last in memory, so nothing is copied
        maps = self.conv[2](self.conv[1](self.conv[0](maps, first)), second).permute(0, 2, 3, 1)
        if aside:
            maps = maps.transpose(1, 2)
        return maps.reshape(n, n_rows * period, d)[:, :n_samples]


def _mean_over_processes(amplitude):
    """Mean (1, F) of the rows of all processes' amplitudes (B, F), so that two half batches fold like one whole."""
    total = torch.cat([amplitude.sum(0), amplitude.new_tensor([len(amplitude)])])
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(total)
    return (total[:-1] / total[-1])[None]


class Embedding(nn.Module):
    """Linear 3 -> d plus a learned position table (1, T, d), drawn from N(0, 1)."""

    def __init__(self, settings):
        super().__init__()
        self.value_embedding = nn.Linear(3, settings.d_model)
        self.position_embedding = nn.Parameter(torch.randn(1, settings.n_samples, settings.d_model))
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x):
        return self.dropout(self.value_embedding(x) + self.position_embedding)


class TimesNetGen(nn.Module):
    """The generator's encoder and decoder. ``settings.n_stations`` = 0 is the released, unconditioned form."""

    name = "timesnet"
    mixed_precision = True  # bf16 autocast in training on CUDA; the FFT and the standardisation stay in float32

    def __init__(self, settings):
        super().__init__()
        self.settings = settings
        self.stations = ()  # names in one-hot order
        self.enc_embedding = Embedding(settings)
        self.model = nn.ModuleList(TimesBlock(settings) for _ in range(settings.n_blocks))
        self.layer_norm = nn.LayerNorm(settings.d_model)
        self.projection = nn.Linear(settings.d_model, 3)
        self.register_buffer("latent_std", torch.zeros(settings.d_model))  # set after phase 0

    def encode(self, x, station=None, shared=None):
        """x (B, T, 3) in cm/s² -> z (B, T, d), mean (B, 1, 3), std (B, 1, 3).

        ``station``: long (B,), -1 for none; None is none for all. ``shared``: periods of the batch mean, as published;
        default in training mode. Otherwise each record is folded at its own periods and gets what it gets alone.
        """
        if x.ndim != 3 or x.shape[1:] != (self.settings.n_samples, 3):
            raise ValueError(f"records of shape (batch, {self.settings.n_samples}, 3) expected, not {tuple(x.shape)}")
        shared = self.training if shared is None else shared
        onehot = self._onehot(station, x.dtype)
        standardised, mean, std = standardise(x)
        z = self.enc_embedding(standardised)
        for block in self.model:
            z = self.layer_norm(block(z, onehot, shared))
        return z, mean, std

    def decode(self, z, mean, std):
        """z (B, T, d), mean and std (B, 1, 3) or (B, 3) -> (B, T, 3) in cm/s²."""
        expected = (self.settings.n_samples, self.settings.d_model)
        if z.shape[1:] != expected:
            raise ValueError(f"latents of shape (batch, {expected[0]}, {expected[1]}) expected, not {tuple(z.shape)}")
        return self.projection(z) * std.reshape(-1, 1, 3) + mean.reshape(-1, 1, 3)

    def _onehot(self, station, dtype):
        if station is None or self.settings.n_stations == 0:
            return None
        return (station[:, None] == torch.arange(self.settings.n_stations, device=station.device)).to(dtype)

    def branch_weights(self, x, station=None):
        """Softmax weights (n_blocks, B, k) of each record's branches; near 1 where one period decides alone."""
        onehot, weights = self._onehot(station, x.dtype), []
        with evaluation(self):
            z = self.enc_embedding(standardise(x)[0])
            for block in self.model:
                weights.append(block.periods(z, shared=False)[1])
                z = self.layer_norm(block(z, onehot))
        return torch.stack(weights)

    # --- what train.fit asks of a model

    def station_index(self, records):
        """Position (n,) of each record's station in ``stations``, -1 where it is none of them."""
        order = {station: i for i, station in enumerate(self.stations)}
        return torch.tensor([order.get(station, -1) for station in records.table["station"]], dtype=torch.long)

    def training_arrays(self, records):
        """x (n, T, 3) float32, a view of one (n, 3, T) copy, and station (n,) long."""
        waveforms = torch.from_numpy(np.array(records.waveforms, dtype=np.float32))
        return waveforms.transpose(1, 2), self.station_index(records)

    def loss(self, batch, phase, progress, settings):
        """Mean squared reconstruction error, of the standardised record or ("raw", as released) in (cm/s²)²."""
        x, station = batch
        z, _, std = self.encode(x, station if phase == 1 else None)
        if phase == 1 and self.training:
            z = z + self.latent_std * torch.randn_like(z)
        error = self.projection(z) - standardise(x)[0]
        return (error * std if settings.loss == "raw" else error).square().mean()

    def end_of_phase(self, phase, records, settings):
        """After phase 0: the standard deviation over records of the time-mean of z, (d,)."""
        if phase == 0:
            means = torch.cat([z.mean(1) for z, _, _ in self._encoded(records, settings.batch_size)])
            self.latent_std.copy_(means.std(0, correction=0))

    def encode_records(self, records, batch_size=32):
        """z (n, T, d), mean (n, 1, 3), std (n, 1, 3) of Records, on the CPU; the same whatever the batch."""
        parts = [[part.cpu() for part in encoded] for encoded in self._encoded(records, batch_size)]
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))

    def reconstruct(self, records, batch_size=32):
        """Waveforms (n, 3, T) float32 in cm/s²: every record encoded and decoded."""
        with torch.no_grad():
            parts = [self.decode(*encoded).cpu() for encoded in self._encoded(records, batch_size)]
        return torch.cat(parts).transpose(1, 2).contiguous().numpy()

    def _encoded(self, records, batch_size):
        """(z, mean, std) of one batch after another, in evaluation mode and without gradient."""
        device, stations = self.layer_norm.weight.device, self.station_index(records)
        for start in range(0, len(records), batch_size):
            rows = np.arange(start, min(start + batch_size, len(records)))
            x = torch.from_numpy(np.array(records.take(rows).waveforms, dtype=np.float32)).transpose(1, 2)
            with evaluation(self):
                encoded = self.encode(x.to(device), stations[rows].to(device))
            yield encoded


def standardise(x):
    """(x - mean) / std, mean (B, 1, 3) and std (B, 1, 3) over time of each record and channel of x (B, T, 3)."""
    mean = x.mean(1, keepdim=True)
    std = (x.var(1, keepdim=True, correction=0) + EPSILON).sqrt()
    return (x - mean) / std, mean, std


@contextmanager
def evaluation(model):
    """Evaluation mode without gradient, and full float32 convolutions on CUDA; the mode before returns after."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield model
    finally:
        model.train(training)


def parameter_count(settings):
    """Number of parameters that ``settings`` give, by hand: 38,260,355 for the released form at the paper setting."""
    d, d_ff, n = settings.d_model, settings.d_ff, settings.n_kernels
    taps = sum((2 * j + 1) ** 2 for j in range(n))
    first = taps * (d + settings.n_stations) * d_ff + n * d_ff
    second = taps * d_ff * d + n * d
    embedding = 3 * d + d + settings.n_samples * d
    return embedding + settings.n_blocks * (first + second) + 2 * d + 3 * d + 3


# --- what the authors released


def load_released(checkpoint, top_k=2):
    """TimesNetGen with the weights of a released checkpoint; every size is read from the tensors' shapes.

    ``top_k`` is not in the file. Raises ValueError that lists every missing, unexpected and misshapen name, or names
    the objects that ``weights_only=True`` refuses and what to do about them.
    """
    state = _read_checkpoint(checkpoint)
    settings = _sizes(state, top_k)
    model = TimesNetGen(settings)
    expected = {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items() if name != "latent_std"}
    problems = [f"missing: {name} {shape}" for name, shape in expected.items() if name not in found]
    problems += [f"unexpected: {name} {shape}" for name, shape in found.items() if name not in expected]
    problems += [
        f"misshapen: {name} is {found[name]}, expected {shape}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    if problems:
        raise ValueError(f"{checkpoint} does not fit TimesNet-Gen ({settings}):\n  " + "\n  ".join(problems))
    model.load_state_dict({"latent_std": model.latent_std} | state)
    return model.eval()


def _read_checkpoint(checkpoint):
    """The dict name -> tensor under ``model_state_dict``."""
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = ", ".join(torch.serialization.get_unsafe_globals_in_checkpoint(checkpoint))
        raise ValueError(
            f"{checkpoint} holds objects other than tensors ({refused or error}), which weights_only=True refuses. "
            "If you trust the file, allow them: with torch.serialization.safe_globals([...]): load_released(...); or "
            "save its model_state_dict alone: torch.save({'model_state_dict': torch.load(path, weights_only=False)"
            "['model_state_dict']}, new_path)"
        ) from error
    state = content.get("model_state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        keys = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{checkpoint} has no model_state_dict of tensors; it holds: {keys}")
    return state


def _sizes(state, top_k):
    """TimesNetSettings by majority over all tensors that show a size, so that one odd tensor is named, not obeyed."""
    votes = {size: Counter() for size in ("n_samples", "d_model", "d_ff", "n_in")}
    blocks, kernels = {0}, {0}

    def vote(tensor, *sizes):
        if tensor.ndim >= len(sizes):
            for size, value in zip(sizes, tensor.shape, strict=False):
                if size:
                    votes[size][value] += 1

    for name, tensor in state.items():
        if found := re.fullmatch(r"model\.(\d+)\.conv\.([02])\.kernels\.(\d+)\.weight", name):
            blocks.add(int(found[1]))
            kernels.add(int(found[3]))
            vote(tensor, *(("d_ff", "n_in") if found[2] == "0" else ("d_model", "d_ff")))
        elif name == "enc_embedding.position_embedding":
            vote(tensor, None, "n_samples", "d_model")
        elif name in ("enc_embedding.value_embedding.weight", "layer_norm.weight"):
            vote(tensor, "d_model")
    best = {size: count.most_common(1)[0][0] if count else 1 for size, count in votes.items()}
    n_stations = max(best.pop("n_in") - best["d_model"], 0)
    return TimesNetSettings(
        **best, n_kernels=max(kernels) + 1, n_blocks=max(blocks) + 1, top_k=top_k, n_stations=n_stations
    )


class ReleasedBank:
    """The authors' latent bank (npz: latents_, means_ and stdev_{station}), one station in memory at a time."""

    def __init__(self, path):
        self.path = path
        self._station, self._arrays = None, None
        with np.load(path, allow_pickle=False) as bank:
            names = set(bank.files)
        self.stations = sorted(name.removeprefix("latents_") for name in names if name.startswith("latents_"))
        if not self.stations:
            raise ValueError(f"{path} is no latent bank: no array latents_STATION among {', '.join(sorted(names))}")
        wanted = {f"{kind}_{station}" for kind in ("means", "stdev") for station in self.stations}
        if missing := sorted(wanted - names):
            raise ValueError(f"{path} lacks {', '.join(missing)}")

    def latents(self, station):
        """Latents (n, T, d), means (n, 1, 3) and stds (n, 1, 3) of one station, float32 tensors."""
        if station not in self.stations:
            raise ValueError(f"station {station!r} is not in {self.path}; it has {', '.join(self.stations)}")
        if station != self._station:
            with np.load(self.path, allow_pickle=False) as bank:
                arrays = [self._array(bank, f"{kind}_{station}") for kind in ("latents", "means", "stdev")]
            z, *scales = arrays
            if z.ndim != 3 or any(scale.size != 3 * len(z) for scale in scales):
                shapes = ", ".join(str(array.shape) for array in arrays)
                raise ValueError(f"{self.path}, {station}: (n, T, d), (n, 3), (n, 3) expected, found {shapes}")
            arrays = [z, *(scale.reshape(-1, 1, 3) for scale in scales)]
            self._station, self._arrays = station, [torch.from_numpy(np.asarray(a, np.float32)) for a in arrays]
        return self._arrays

    def _array(self, bank, name):
        try:
            return bank[name]
        except ValueError as error:
            raise ValueError(
                f"{self.path}: {name} holds Python objects, which are not loaded; save it again as plain float arrays"
            ) from error

    def draw(self, station, indices):
        """Latents, means and stds of the records ``indices`` (any order, repeats allowed) of one station."""
        indices = torch.as_tensor(indices, dtype=torch.long)
        return tuple(array[indices] for array in self.latents(station))
