"""What averaging does to records: the amplitude that a standardised mix loses, against the theory ½ ln Σw².

A mix of standardised records with weights w has the variance wᵀ C w, C their covariance over time; over random draws
its mean is s d + (1 - s) c: s the mean of Σw², d the mean variance of one record, c the mean covariance of two, 0 if
incoherent. This holds for every linear decoder, TimesNet-Gen's included, of reconstructions; the loss is against d.
"""

from functools import cache
from types import SimpleNamespace

import numpy as np
import torch

from tsgen import findings, generate, hvsr, intensity, metrics
from tsgen.findings import Sample, event_weights, finding, interval
from tsgen.study import MODELS

KS = tuple(range(1, 11))
SWEPT = ("control_average", "timesnet")  # generators that mix

FORMS = ("without replacement", "with replacement", "dirichlet", "energy")


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


def ln_loss(found, squares, weights):
    """ln of the root mean variance of standardised mixes over that of single records: an Estimate, components and
    stations pooled. found: ``covariances``; squares: mean of Σw², a number or one a station; weights: ``_weights``."""
    mixed, single = 0.0, 0.0
    for covariance, s, times in zip(found, np.broadcast_to(squares, len(found)), weights, strict=True):
        matrix, n = covariance.mean(axis=0), times.sum(axis=1)
        alone = times @ np.diag(matrix) / np.maximum(n, 1)
        pairs = np.maximum(n**2 - (times**2).sum(axis=1), 1)
        both = (np.einsum("dn,nm,dm->d", times, matrix, times) - times**2 @ np.diag(matrix)) / pairs
        mixed = mixed + s * alone + (1 - s) * both
        single = single + alone
    return interval(0.5 * np.log(np.maximum(mixed, 1e-12) / np.maximum(single, 1e-12)), centred=True)


def _weights(records, seed):
    """(1 + draws, n) a station: how often each of its records counts under a bootstrap over events."""
    sample = Sample.of(np.zeros(len(records)), records.table)
    (times,) = event_weights(sample, seed=seed)
    return [times[:, sample.station == station].astype(float) for station in records.stations]


def mean_square(form, k, n):
    """Mean of Σw² of mixes of k of n records, one of ``FORMS`` (else ValueError). Without replacement 1/k, k at most n;
    with it 1/k + (k - 1)/(kn), since repeats add up; Dirichlet weights of concentration 1 2/(k + 1)."""
    if form not in FORMS:
        raise ValueError(f"unknown form {form!r}; known: {', '.join(FORMS)}")
    if form == "with replacement":
        return 1 / k + (k - 1) / (k * n)
    k = min(k, n)
    return 2 / (k + 1) if form == "dirichlet" else 1 / k


def losses(model, records, k, seed=0):
    """{form: (Estimate, theory)} of FORMS: what mixes of k records lose in ln std against single records.
    Energy-preserving weights divide the std by the root of Σw², so their theory is 0."""
    found, weights = covariances(model, records), _weights(records, seed)
    rows = {}
    for form in FORMS:
        squares = np.array([mean_square(form, k, c.shape[1]) for c in found])
        whole = 0.5 * np.log(squares.mean())
        mended = whole if form == "energy" else 0.0
        rows[form] = ln_loss(found, squares, weights).less(mended), float(whole - mended)
    return rows


def averaging(study, name):
    """Findings on mixes of a generator of SWEPT: what each of FORMS loses at the study's k; for k of KS (``set``)
    score, loss and ln D5-95; from k = 1 to 10; how far a network's mixes are from plain averages of the same
    records."""

    def build():
        model, k, n = study.mixer(name), study.settings.mixed_records, len(study.training)
        traces = [np.trace(c, axis1=1, axis2=2).mean() / c.shape[1] for c in covariances(model, study.training)]
        single = float(0.5 * np.log(np.mean(traces)))  # 0 but for what the decoder loses
        rows = [finding(name, "", "ln std", "single record", single, n)]
        for form, (estimate, theory) in losses(model, study.training, k, study.seed).items():
            rows.append(finding(name, "", "ln std", "loss", estimate, n, set=form))
            rows.append(finding("theory", "", "ln std", f"loss of {name}", theory, set=form))
            rows.append(finding(name, "theory", "ln std", "loss", estimate.less(theory), n, set=form))
        if name in MODELS:
            rows.append(changed(name, "control_average", *map(study.generated, ("control_average", name)), study.seed))
        return rows + _sweep(study, name, model)

    inputs = [study.stage(of, which) for of, which in (("f0", "held_out"), ("measured", "training"))]
    inputs += [study.stage_of(which) for which in ("control_average", name)] if name in MODELS else []
    return study.keep_findings(f"averaging-{name}", build, inputs)


def changed(name, against, some, other, seed=0):
    """Finding: share of the variance of Records that others, of the same recordings row by row, differ by; the
    median."""
    difference, variance = ((other.waveforms - some.waveforms) ** 2).mean(axis=(1, 2)), some.waveforms.var(axis=2)
    share = Sample.of(difference / np.maximum(variance.mean(axis=1), 1e-12), other.table)
    (weights,) = event_weights(share, seed=seed)
    drawn = interval(findings.drawn_median(share.values, weights))
    return finding(name, against, "waveform", "share of variance changed", drawn, len(some))


def _sweep(study, name, model):
    s, rows, score_draws, first = study.settings, [], [], None
    found, weights = covariances(model, study.training), _weights(study.training, study.seed)
    latents = cache(lambda station: model.encode_records(study.training.select(station=station)))  # once for all k
    kept = SimpleNamespace(name=model.name, decode=model.decode, encode_records=lambda own: latents(own.stations[0]))
    recorded, real = Sample.of(study.measures("training")["d5_95"], study.training.table), study.f0_sample("held_out")
    for k in KS:
        squares = np.array([mean_square("without replacement", k, c.shape[1]) for c in found])
        mixed = generate.mix(kept, study.training, s.n_generated, k, seed=study.seed)
        f0 = Sample.of(hvsr.hvsr(mixed, s.hvsr).f0_in_hz, mixed.table)
        f0 = f0.take(np.isfinite(f0.values))
        running = np.cumsum((mixed.waveforms[:, :2].astype(float) ** 2).sum(axis=1), axis=1)
        duration = Sample.of(np.log(intensity.durations(running, mixed.sampling_rate_in_hz)[1]), mixed.table)
        longer = findings.difference("median", duration, recorded, by_station=True, seed=study.seed)
        of = {"n": len(mixed), "set": f"k = {k}"}
        rows.append(finding(name, "", "ln std", "loss", ln_loss(found, squares, weights), **of))
        rows.append(finding("theory", "", "ln std", f"loss of {name}", 0.5 * np.log(squares.mean()), set=of["set"]))
        rows.append(finding(name, "training", "d5_95", "median", longer, n_against=len(recorded.values), **of))
        if len(study.stations) > 1:
            times = event_weights(real, f0, seed=study.seed)
            score_draws.append(metrics.drawn_scores(real, f0, times, study.stations, s.f0))
            of |= {"protocol": "held_out", "n_against": len(real.values)}
            rows.append(finding(name, "held_out", "score", "S × S", interval(score_draws[-1], centred=True), **of))
        first = first or duration
    of = {"n": len(mixed), "set": f"k = {KS[-1]}"}
    grown = findings.difference("median", duration, first, by_station=True, seed=study.seed)
    rows.append(finding(name, "k = 1", "d5_95", "median", grown, **of))
    if score_draws:
        farthest = interval(np.abs(np.array(score_draws[1:]) - score_draws[0]).max(axis=0), centred=True)
        rows.append(finding(name, "k = 1", "score", "S × S, farthest", farthest, **of))
    return rows
