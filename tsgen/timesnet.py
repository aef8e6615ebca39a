"""TimesNet-Gen (arXiv 2512.04694): a record as two-dimensional maps of its own periods, and a latent of every sample.

Shapes: B records, T samples, d = d_model, k = top_k, S stations. TimesBlocks (Wu et al., ICLR 2023) encode, the latent
z (B, T, d) being the last one's output; a linear head decodes. Parameters are named as in the released checkpoint.
"""

import pickle
import re

import numpy as np
import torch
import torch.nn.functional as F
from torch import distributed, nn

from tsgen.config import TimesNetSettings
from tsgen.model import StationModel, evaluation, gathered, joined, standardise, waveforms_of

NEGLIGIBLE = torch.finfo(torch.float32).eps ** 2  # a branch of less weight changes no digit of the sum: left out

KINDS = ("latents", "means", "stdev")  # arrays of a station in the released bank


class InceptionBlock(nn.Module):
    """Mean of n_kernels 'same' convolutions of sizes 1, 3, …, computed as one of zero-padded kernels: exact."""

    def __init__(self, n_in, n_out, n_kernels):
        super().__init__()
        self.kernels = nn.ModuleList(nn.Conv2d(n_in, n_out, 2 * j + 1) for j in range(n_kernels))
        for kernel in self.kernels:
            nn.init.kaiming_normal_(kernel.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(kernel.bias)

    def fused(self):
        """Weight (out, in, K, K) and bias (out,) of the one convolution: at six kernels 121 taps instead of 286."""
        n = len(self.kernels)
        weight = sum(F.pad(kernel.weight, (n - 1 - j,) * 4) for j, kernel in enumerate(self.kernels))
        return weight / n, sum(kernel.bias for kernel in self.kernels) / n

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
        self.top_k, d, d_ff, kernels = settings.top_k, settings.d_model, settings.d_ff, settings.n_kernels
        first = InceptionBlock(d + settings.n_stations, d_ff, kernels)
        self.conv = nn.Sequential(first, nn.GELU(), InceptionBlock(d_ff, d, kernels))

    def periods(self, x, shared):
        """Periods in samples and softmax weights, both (B, k), of x (B, T, d). ``shared``: one choice from the mean
        amplitude of the batch, over all processes, as published; else each record's own, in float64: rounding tips no
        tie."""
        spectrum = torch.fft.rfft(x.float() if shared else x.double(), dim=1)  # (B, T // 2 + 1, d)
        amplitude = spectrum.abs().mean(-1)  # (B, T // 2 + 1)
        ranked = amplitude.detach().clone()
        ranked[:, 0] = 0.0
        if shared:
            total = torch.cat([ranked.sum(0), ranked.new_tensor([len(x)])])
            if joined():
                distributed.all_reduce(total)
            ranked = (total[:-1] / total[-1]).expand(len(x), -1)
        frequency = ranked.topk(self.top_k, dim=1).indices.clamp(min=1)  # (B, k)
        return x.shape[1] // frequency, amplitude.gather(1, frequency).softmax(1).to(x.dtype)

    def forward(self, x, onehot=None, shared=False):
        """x (B, T, d), onehot (B, S) or None for zeros -> (B, T, d)."""
        periods, weight = self.periods(x, shared)
        fused, total = (self.conv[0].fused(), self.conv[2].fused()), x
        for period in periods.unique().tolist():  # a repeated period is one branch with both weights: exact
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
        return (maps.transpose(1, 2) if aside else maps).reshape(n, n_rows * period, d)[:, :n_samples]


class Embedding(nn.Module):
    """Linear 3 -> d plus a learned position table (1, T, d), drawn from N(0, 1)."""

    def __init__(self, settings):
        super().__init__()
        self.value_embedding = nn.Linear(3, settings.d_model)
        self.position_embedding = nn.Parameter(torch.randn(1, settings.n_samples, settings.d_model))
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x):
        return self.dropout(self.value_embedding(x) + self.position_embedding)


class TimesNetGen(StationModel):
    """The generator's encoder and decoder. ``settings.n_stations`` = 0 is the released, unconditioned form."""

    name = "timesnet"
    mixed_precision = True  # bf16 autocast in training on CUDA; the FFT and the standardisation stay in float32

    def __init__(self, settings):
        super().__init__(settings)
        self.enc_embedding = Embedding(settings)
        self.model = nn.ModuleList(TimesBlock(settings) for _ in range(settings.n_blocks))
        self.layer_norm = nn.LayerNorm(settings.d_model)
        self.projection = nn.Linear(settings.d_model, 3)
        self.register_buffer("latent_std", torch.zeros(settings.d_model))  # set after phase 0

    def encode(self, x, station=None, shared=None):
        """x (B, T, 3) in cm/s² -> z (B, T, d), mean (B, 1, 3), std (B, 1, 3). ``station``: long (B,), -1 for none; None
        is none for all. ``shared``: see ``TimesBlock.periods``; default in training mode."""
        self._expect("records", x, 3)
        onehot, (standardised, mean, std) = self._onehot(station, x.dtype), standardise(x, 1)
        z = self.enc_embedding(standardised)
        for block in self.model:
            z = self.layer_norm(block(z, onehot, self.training if shared is None else shared))
        return z, mean, std

    def decode(self, z, mean, std):
        """z (B, T, d), mean and std (B, 1, 3) or (B, 3) -> (B, T, 3) in cm/s²."""
        self._expect("latents", z, self.settings.d_model)
        return self.projection(z) * std.reshape(-1, 1, 3) + mean.reshape(-1, 1, 3)

    def _expect(self, what, x, width):
        if x.ndim != 3 or x.shape[1:] != (self.settings.n_samples, width):
            shape = f"(batch, {self.settings.n_samples}, {width})"
            raise ValueError(f"{what} of shape {shape} expected, not {tuple(x.shape)}")

    def _onehot(self, station, dtype):
        if station is None or self.settings.n_stations == 0:
            return None
        return (station[:, None] == torch.arange(self.settings.n_stations, device=station.device)).to(dtype)

    def branch_weights(self, x, station=None):
        """Softmax weights (n_blocks, B, k) of each record's branches; near 1 where one period decides alone."""
        onehot, weights = self._onehot(station, x.dtype), []
        with evaluation(self):
            z = self.enc_embedding(standardise(x, 1)[0])
            for block in self.model:
                weights.append(block.periods(z, shared=False)[1])
                z = self.layer_norm(block(z, onehot))
        return torch.stack(weights)

    def activation_bytes(self, bytes_a_number=4):
        """Bytes that a training step keeps for one record: of the maps of all branches, which are bfloat16 (2) under
        autocast, and of what stays float32 around them."""
        s, branches = self.settings, self.settings.n_blocks * self.settings.top_k
        around = 6 + s.d_model * (2 + 3 * s.n_blocks + branches)
        return s.n_samples * (4 * around + bytes_a_number * branches * (s.d_model + s.n_stations + 2 * s.d_ff))

    def training_arrays(self, records):
        """x (n, T, 3) float32, a view of one (n, 3, T) copy, and station (n,) long."""
        return waveforms_of(records).transpose(1, 2), self.station_index(records)

    def loss(self, batch, phase, progress, settings):
        """Mean squared reconstruction error, of the standardised record or ("raw", as released) in (cm/s²)²."""
        x, station = batch
        z, _, std = self.encode(x, station if phase == 1 else None)
        if phase == 1 and self.training:
            z = z + self.latent_std * torch.randn_like(z)
        error = self.projection(z) - standardise(x, 1)[0]
        return (error * std if settings.loss == "raw" else error).square().mean()

    def end_of_phase(self, phase, records, settings):
        """After phase 0: the standard deviation over records of the time-mean of z, (d,)."""
        if phase == 0:
            means = torch.cat([z.mean(1) for z, _, _ in self._encoded(records, settings.batch_size)])
            self.latent_std.copy_(means.std(0, correction=0))

    def encode_records(self, records, batch_size=32):
        """z (n, T, d), mean (n, 1, 3), std (n, 1, 3) of Records, on the CPU; the same whatever the batch."""
        return gathered(self._encoded(records, batch_size))

    def reconstruct(self, records, batch_size=32):
        """Waveforms (n, 3, T) float32 in cm/s²: every record encoded and decoded."""
        with torch.no_grad():
            x = torch.cat([self.decode(*encoded).cpu() for encoded in self._encoded(records, batch_size)])
        return x.transpose(1, 2).contiguous().numpy()

    def _encoded(self, records, batch_size):
        for _, waveforms, station in self.batches(records, batch_size):
            with evaluation(self):
                encoded = self.encode(waveforms.transpose(1, 2), station)
            yield encoded


def parameter_count(settings):
    """Number of parameters that ``settings`` give, by hand: 38,260,355 for the released form at the paper setting."""
    s, d = settings, settings.d_model
    taps = sum((2 * j + 1) ** 2 for j in range(s.n_kernels))
    block = taps * (2 * d + s.n_stations) * s.d_ff + s.n_kernels * (s.d_ff + d)
    return (4 + s.n_samples) * d + s.n_blocks * block + 2 * d + 3 * (d + 1)


def latent_and_record_size(settings):
    """How many numbers a record's latent z holds, T d, and the record itself, 3 T: no bottleneck where d exceeds 3."""
    return settings.n_samples * settings.d_model, settings.n_samples * 3


def operations(settings):
    """Floating-point operations of encoding one record, of all its convolutions on maps that their kernels fit into:
    0.38 · 10¹² at the paper setting. A training step takes three times as many."""
    s = settings
    taps = (2 * s.n_kernels - 1) ** 2
    return 2 * taps * s.n_samples * s.n_blocks * s.top_k * (2 * s.d_model + s.n_stations) * s.d_ff


def memory(model, batch_size, n_records, n_mixed, mixed_precision):
    """{what: bytes} of a training of TimesNetGen and of mixing: an estimate."""
    s, weights = model.settings, sum(p.numel() for p in model.parameters())
    kernels = s.n_blocks * (2 * s.d_model + s.n_stations) * s.d_ff * (2 * s.n_kernels - 1) ** 2
    return {
        "weights, gradients and AdamW": 16 * weights + 8 * kernels,  # with the fused kernels and their gradients
        f"activations of a batch of {batch_size}": batch_size * model.activation_bytes(2 if mixed_precision else 4),
        f"{n_records} records, on the host": 12 * s.n_samples * n_records,
        f"latents of a station's {n_mixed} records": 4 * (s.n_samples * s.d_model + 6) * n_mixed,
    }


def load_released(checkpoint, top_k=2):
    """TimesNetGen with the weights of a released checkpoint; every size is read from the tensors' shapes. ``top_k`` is
    not in the file. ValueError: what is missing, unexpected or misshapen, or refused by weights_only=True."""
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = ", ".join(torch.serialization.get_unsafe_globals_in_checkpoint(checkpoint))
        raise ValueError(
            f"{checkpoint} holds objects other than tensors ({refused or error}), which weights_only=True refuses. "
            "If you trust the file, allow them: with torch.serialization.safe_globals([...]): load_released(...)"
        ) from error
    state = content.get("model_state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        keys = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{checkpoint} has no model_state_dict of tensors; it holds: {keys}")
    model = TimesNetGen(_sizes(state, top_k))
    try:
        model.load_state_dict({"latent_std": model.latent_std} | state)
    except RuntimeError as error:  # which lists every name, and where sizes differ both shapes
        raise ValueError(f"{checkpoint} does not fit TimesNet-Gen ({model.settings}): {error}") from error
    return model.eval()


def _sizes(state, top_k):
    """TimesNetSettings as one tensor for each size and the kernels' names show them; 1 where it is missing."""

    def size(name, axis):
        return state[name].shape[axis] if name in state and state[name].ndim > axis else 1

    first = "model.0.conv.0.kernels.0.weight"
    d_model, d_ff, n_in = size("layer_norm.weight", 0), size(first, 0), size(first, 1)
    numbers = re.findall(r"^model\.(\d+)\.conv\.[02]\.kernels\.(\d+)\.weight$", "\n".join(state), re.MULTILINE)
    n_blocks, n_kernels = (np.array(numbers, int).reshape(-1, 2).max(0, initial=0) + 1).tolist()
    n_samples = size("enc_embedding.position_embedding", 1)
    return TimesNetSettings(n_samples, d_model, d_ff, n_kernels, n_blocks, top_k, max(n_in - d_model, 0))


class ReleasedBank:
    """The authors' latent bank (npz: latents_, means_ and stdev_{station}), one station in memory at a time."""

    def __init__(self, path):
        self.path = path
        with np.load(path, allow_pickle=False) as bank:
            names = set(bank.files)
        self.stations = sorted(name.removeprefix("latents_") for name in names if name.startswith("latents_"))
        if not self.stations:
            raise ValueError(f"{path} is no latent bank: no array latents_STATION among {', '.join(sorted(names))}")
        if missing := sorted({f"{kind}_{station}" for kind in KINDS for station in self.stations} - names):
            raise ValueError(f"{path} lacks {', '.join(missing)}")

    def latents(self, station):
        """Latents (n, T, d), means (n, 1, 3) and stds (n, 1, 3) of one station, float32 tensors."""
        if station not in self.stations:
            raise ValueError(f"station {station!r} is not in {self.path}; it has {', '.join(self.stations)}")
        with np.load(self.path, allow_pickle=False) as bank:
            try:
                arrays = [bank[f"{kind}_{station}"] for kind in KINDS]
            except ValueError as error:  # Python objects, which are not loaded
                raise ValueError(f"{self.path}, {station}: {error}; save it again as plain float arrays") from error
        z, *scales = arrays
        if z.ndim != 3 or any(scale.size != 3 * len(z) for scale in scales):
            shapes = ", ".join(str(array.shape) for array in arrays)
            raise ValueError(f"{self.path}, {station}: (n, T, d), (n, 3), (n, 3) expected, found {shapes}")
        arrays = [z, *(scale.reshape(-1, 1, 3) for scale in scales)]
        return [torch.from_numpy(np.asarray(array, np.float32)) for array in arrays]
