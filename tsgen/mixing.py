"""What averaging does to records: the amplitude that a standardised mix loses, against the theory ½ ln Σw².

A mix of standardised records r with weights w has the variance wᵀ C w, where C is the covariance of the records over
time. Over random draws its mean is s d + (1 - s) c: s the mean of Σw², d the mean variance of one record, c the mean
covariance of two. Incoherent records have c = 0, so ln std loses ½ ln s. This holds for every generator with a
linear decoder, TimesNet-Gen's included, r then being its standardised reconstructions; the loss is taken against d.
"""

import numpy as np
import torch

from tsgen import equivalence, generate

FORMS = ("without replacement", "with replacement", "dirichlet", "energy")


class KeptLatents:
    """A model whose latents are computed once a station, for many mixes of the same records."""

    def __init__(self, model):
        self.model, self.name, self._kept = model, model.name, {}

    @torch.no_grad()
    def encode_records(self, records):
        station = records.stations[0]
        if station not in self._kept:
            self._kept[station] = self.model.encode_records(records)
        return self._kept[station]

    def decode(self, z, mean, std):
        return self.model.decode(z, mean, std)


@torch.no_grad()
def covariances(model, records):
    """[(3, n, n) of each station]: covariance over time of the standardised records as ``model`` decodes them."""
    found = []
    for station in records.stations:
        z, mean, std = model.encode_records(records.select(station=station))
        r = torch.cat([model.decode(part, 0 * mean[:1], 0 * std[:1] + 1) for part in z.split(16)])  # (n, t, 3)
        r = (r - r.mean(1, keepdim=True)).double()
        found.append((torch.einsum("ntc,mtc->cnm", r, r) / r.shape[1]).cpu().numpy())
    return found


def ln_loss(found, squares, n_draws=400, seed=0):
    """ln of the root mean variance of standardised mixes over that of single records: a metrics.Estimate.

    found: ``covariances``; squares: mean of Σw², a number or one a station; components and stations are pooled. The
    interval is a bootstrap over each station's events; a pair of draws of one record is left out: no mix holds it.
    """
    rng = np.random.default_rng(seed)
    squares = np.broadcast_to(squares, len(found))
    mixed, single = np.zeros((2, 1 + n_draws))
    for covariance, s in zip(found, squares, strict=True):
        n = covariance.shape[1]
        times = np.concatenate([np.ones((1, n)), rng.multinomial(n, np.full(n, 1 / n), size=n_draws)])  # (draws, n)
        matrix = covariance.mean(axis=0)
        alone = times @ np.diag(matrix) / n
        pairs = np.maximum(n**2 - (times**2).sum(axis=1), 1)
        both = (np.einsum("dn,nm,dm->d", times, matrix, times) - times**2 @ np.diag(matrix)) / pairs
        mixed += s * alone + (1 - s) * both
        single += alone
    return equivalence.estimate_of(0.5 * np.log(np.maximum(mixed, 1e-12) / np.maximum(single, 1e-12)), centred=True)


def ln_std_single(found):
    """ln of the root mean variance of the standardised records themselves: 0 but for what the decoder loses."""
    return float(0.5 * np.log(np.mean([np.trace(c, axis1=1, axis2=2).mean() / c.shape[1] for c in found])))


def mean_squares(form, k, sizes):
    """Mean of Σw² a station (stations,) of ``FORMS``; sizes: records a station; k is at most a station's records."""
    if form not in FORMS:
        raise ValueError(f"unknown form {form!r}; known: {', '.join(FORMS)}")
    sizes = np.asarray(sizes)
    if form == "with replacement":
        return np.exp(2 * np.array([equivalence.ln_loss_of_mixing(k, int(n), n_draws=2)[1] for n in sizes]))
    most = np.minimum(k, sizes)
    weights = "dirichlet" if form == "dirichlet" else "equal"
    return np.exp(2 * np.array([equivalence.ln_loss_of_mixing(int(m), weights=weights, n_draws=2)[1] for m in most]))


def losses(model, records, k):
    """{form: dict of theory, value, low, high, single, n} of FORMS: what mixes of k records lose in ln std.

    Against single records, whose ln std is "single". Energy-preserving weights divide the std by the root of Σw², so
    their theory is 0.
    """
    found = covariances(model, records)
    sizes = [c.shape[1] for c in found]
    rows = {}
    for form in FORMS:
        squares = mean_squares(form, k, sizes)
        whole = 0.5 * np.log(squares.mean())
        estimate = ln_loss(found, squares)
        mended = whole if form == "energy" else 0.0
        rows[form] = {
            "theory": float(whole - mended),
            "value": float(estimate.value - mended),
            "low": float(estimate.low - mended),
            "high": float(estimate.high - mended),
            "single": ln_std_single(found),
            "n": int(sum(sizes)),
        }
    return rows


def sweep(model, records, ks, n_per_station, seed=0):
    """Yield (k, generated Records, ``ln_loss``, theory) for each k: equal weights, drawn without replacement."""
    kept, found = KeptLatents(model), covariances(model, records)
    sizes = [c.shape[1] for c in found]
    for k in ks:
        squares = mean_squares("without replacement", k, sizes)
        yield (
            k,
            generate.mix(kept, records, n_per_station, k, seed=seed),
            ln_loss(found, squares),
            float(0.5 * np.log(squares.mean())),
        )
