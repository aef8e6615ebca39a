"""What the models share: records standardised and in batches, stations by number, Gaussians (mean, log variance)."""

from contextlib import contextmanager
from copy import copy

import numpy as np
import torch
from torch import distributed, nn

EPSILON = 1e-5  # inside the root of the standardisation, as TimesNet-Gen was released
LOG_VARIANCE = (-8.0, 4.0)  # bounds, so that no exponential overflows
ZERO = torch.zeros(())


def standardise(x, dim, epsilon=EPSILON):
    """(x - mean) / std, mean and std over time of each record and channel; ``dim`` is time's place, kept as 1."""
    mean = x.mean(dim, keepdim=True)
    std = (x.var(dim, keepdim=True, correction=0) + epsilon).sqrt()
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


def joined():
    return distributed.is_available() and distributed.is_initialized()  # one of several processes that train together


def waveforms_of(records):
    """Tensor (n, 3, T) float32 in cm/s², a copy of what the records hold."""
    return torch.from_numpy(np.array(records.waveforms, dtype=np.float32))


def gathered(parts):
    """One tuple of tensors on the CPU from tuples of the tensors of one batch after another."""
    parts = [[tensor.cpu() for tensor in part] for part in parts]
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))


class StationModel(nn.Module):
    """Base of the models: their settings, and the target stations, whose order gives them numbers. ``trainer.fit``
    needs training_arrays(records) -> tensors, one row a record; loss(batch of those, phase, progress in it, training
    settings) -> scalar; end_of_phase(phase, records, training settings)."""

    def __init__(self, settings):
        super().__init__()
        self.settings, self.stations = settings, ()

    def forward(self, *arguments):
        """The loss: PyTorch's distributed engine hooks into the forward pass."""
        return self.loss(*arguments)

    @property
    def device(self):
        return next(self.parameters()).device

    def station_index(self, records):
        return self.numbers(records.table["station"])

    def numbers(self, names):
        """Long tensor of the numbers of station ``names``, -1 for those that are none of ``stations``."""
        order = {station: i for i, station in enumerate(self.stations)}
        return torch.tensor([order.get(station, -1) for station in names], dtype=torch.long)

    def told(self, stations):
        """This model, weights and all, with other ``stations``: a name counts as the one whose place it takes."""
        other = copy(self)
        other.stations = tuple(stations)
        return other

    def batches(self, records, size=32):
        """Yield (records, waveforms (B, 3, T), station (B,)), ``size`` records at most; tensors where the model is."""
        for part in records.batches(size):
            yield part, waveforms_of(part).to(self.device), self.station_index(part).to(self.device)


def bounded(gaussian, limits=LOG_VARIANCE):
    return gaussian[0], gaussian[1].clamp(*limits)


def draw(mean, log_variance, noise):
    """A sample; noise standard normal."""
    return mean + (0.5 * log_variance).exp() * noise


def kl(mean, log_variance, prior_mean=ZERO, prior_log_variance=ZERO):
    """Kullback-Leibler divergence of two diagonal Gaussians in nats, one value a dimension; prior else N(0, 1)."""
    ratio = (log_variance - prior_log_variance).exp()
    distance = (mean - prior_mean).square() * (-prior_log_variance).exp()
    return 0.5 * (ratio + distance - 1 - (log_variance - prior_log_variance))


class RecordPrior(nn.Module):
    """Gaussian of the record's latent (u numbers) under a condition c: mean + mixing · independent draws. network: c to
    mean and log variance. Mixing (unit lower triangular) follows c: what varies differs by station."""

    def __init__(self, network, condition, size):
        super().__init__()
        self.network, self.size = network, size
        self.entries = nn.Linear(condition, size * (size - 1) // 2)
        for values in self.entries.parameters():
            nn.init.zeros_(values)

    def forward(self, c):
        """(mean, log variance, mixing) of c (batch, c): (batch, u) twice, and (batch, u, u)."""
        mean, log_variance = bounded(self.network(c).chunk(2, 1))
        mixing = torch.eye(self.size, device=c.device).repeat(len(c), 1, 1)
        row, column = torch.tril_indices(self.size, self.size, -1)
        mixing[:, row, column] = self.entries(c)
        return mean, log_variance, mixing

    def divergence(self, mean, log_variance, c):
        """(batch,) KL of the diagonal Gaussian (mean, log variance) from the prior N(mean, mixing · D · mixingᵀ)."""
        prior_mean, prior_log_variance, mixing = self(c)
        unmixed = torch.linalg.solve_triangular(mixing, (mean - prior_mean)[..., None], upper=False)[..., 0]
        back = torch.linalg.solve_triangular(mixing, torch.eye(self.size, device=c.device), upper=False)
        square = unmixed.square() + (back.square() @ log_variance.exp()[..., None])[..., 0]
        return 0.5 * (square * (-prior_log_variance).exp() - 1 + prior_log_variance - log_variance).sum(1)
