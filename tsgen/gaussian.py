"""Gaussian latents: draws, divergences, and the prior of what holds for a whole record.

A Gaussian is a pair (mean, log variance) of diagonal ones unless a mixing says how its numbers correlate.
"""

import torch
from torch import nn

LOG_VARIANCE = (-8.0, 4.0)  # bounds, so that no exponential overflows


def bounded(gaussian):
    """The pair with its log variance within LOG_VARIANCE."""
    mean, log_variance = gaussian
    return mean, log_variance.clamp(*LOG_VARIANCE)


def draw(mean, log_variance, noise):
    """A sample; noise standard normal."""
    return mean + (0.5 * log_variance).exp() * noise


def kl(mean, log_variance, prior_mean, prior_log_variance):
    """Kullback-Leibler divergence of two diagonal Gaussians, one value a dimension."""
    ratio = (log_variance - prior_log_variance).exp()
    distance = (mean - prior_mean).square() * (-prior_log_variance).exp()
    return 0.5 * (ratio + distance - 1 - (log_variance - prior_log_variance))


class RecordPrior(nn.Module):
    """Gaussian of the record's latent (u numbers) under a condition c: mean + mixing · independent draws.

    network: c to mean and log variance, 2 u values. Mixing is unit lower triangular and depends on c, as the variances
    do: what varies from record to record differs between stations. correlated=False: mixing is the identity.
    """

    def __init__(self, network, condition, size, correlated):
        super().__init__()
        self.network, self.size = network, size
        self.entries = None
        if correlated:
            self.entries = nn.Linear(condition, size * (size - 1) // 2)
            nn.init.zeros_(self.entries.weight)
            nn.init.zeros_(self.entries.bias)

    def forward(self, c):
        """(mean, log variance, mixing) of c (batch, c): (batch, u) twice, and (batch, u, u)."""
        mean, log_variance = bounded(self.network(c).chunk(2, 1))
        mixing = torch.eye(self.size, device=c.device).repeat(len(c), 1, 1)
        if self.entries is not None:
            row, column = torch.tril_indices(self.size, self.size, -1)
            mixing[:, row, column] = self.entries(c)
        return mean, log_variance, mixing

    def draw(self, c, noise, of=draw):
        """A sample (batch, u); noise (batch, u) standard normal, of: how an independent number is drawn."""
        mean, log_variance, mixing = self(c)
        independent = of(torch.zeros_like(mean), log_variance, noise)
        return mean + (mixing @ independent[..., None])[..., 0]

    def divergence(self, mean, log_variance, c):
        """(batch,) KL of the diagonal Gaussian (mean, log variance) from the prior N(mean, mixing · D · mixingᵀ)."""
        prior_mean, prior_log_variance, mixing = self(c)
        unmixed = torch.linalg.solve_triangular(mixing, (mean - prior_mean)[..., None], upper=False)[..., 0]
        back = torch.linalg.solve_triangular(mixing, torch.eye(self.size, device=c.device), upper=False)
        square = unmixed.square() + (back.square() @ log_variance.exp()[..., None])[..., 0]
        return 0.5 * (square * (-prior_log_variance).exp() - 1 + prior_log_variance - log_variance).sum(1)
