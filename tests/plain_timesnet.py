"""TimesNet-Gen written the plain way: the oracle of test_timesnet.py and the rival of bench_timesnet.py.

One convolution per kernel, every one of the k branches computed whether or not it repeats another, periods from the
batch mean, a Python loop over the records for softmax and weighting. It borrows the weights of a TimesNetGen, so both
compute with, and differentiate, the same parameters.
"""

import torch
import torch.nn.functional as F


def inception(block, maps):
    """Mean over the kernels' convolutions of (B, in, H, W)."""
    return torch.stack(
        [F.conv2d(maps, kernel.weight, kernel.bias, padding=j) for j, kernel in enumerate(block.kernels)]
    ).mean(0)


def times_block(block, x, onehot=None):
    n, n_samples, d = x.shape
    amplitude = torch.fft.rfft(x, dim=1).abs()  # (B, F, d)
    mean = amplitude.detach().mean(0).mean(-1)
    mean[0] = 0
    frequencies = mean.topk(block.top_k).indices
    branches = []
    for frequency in frequencies.tolist():
        period = n_samples // frequency
        n_rows = -(-n_samples // period)
        padded = torch.cat([x, x.new_zeros(n, n_rows * period - n_samples, d)], dim=1)
        maps = padded.reshape(n, n_rows, period, d).permute(0, 3, 1, 2).contiguous()
        if onehot is not None:
            maps = torch.cat([maps, onehot[:, :, None, None].expand(-1, -1, n_rows, period)], dim=1)
        maps = inception(block.conv[2], F.gelu(inception(block.conv[0], maps)))
        branches.append(maps.permute(0, 2, 3, 1).reshape(n, -1, d)[:, :n_samples])
    strength = amplitude.mean(-1)[:, frequencies]  # (B, k)
    results = []
    for i in range(n):
        weight = strength[i].softmax(0)
        results.append(sum(weight[j] * branch[i] for j, branch in enumerate(branches)) + x[i])
    return torch.stack(results)


def encode(model, x, onehot=None):
    """(z, mean, std) of x (B, T, 3); dropout as the model's mode says."""
    mean = x.mean(1, keepdim=True)
    x = x - mean
    std = torch.sqrt(x.var(1, keepdim=True, unbiased=False) + 1e-5)
    z = model.enc_embedding.value_embedding(x / std) + model.enc_embedding.position_embedding
    z = model.enc_embedding.dropout(z)
    for block in model.model:
        z = model.layer_norm(times_block(block, z, onehot))
    return z, mean, std


def decode(model, z, mean, std):
    return model.projection(z) * std + mean


def loss(model, x):
    """Standardised reconstruction error."""
    z, mean, std = encode(model, x)
    return ((decode(model, z, mean, std) - x) / std).square().mean()
