"""Is a generated record a copy, or a stack, of records that its model was trained on?

Each component is brought to mean 0 and energy 1, so that E, N and Z count alike and no scaling hides a copy. Records
are compared with the training records of their own station; recordings that no model has seen show what is normal.
"""

import numpy as np
import pandas as pd
from scipy import fft
from scipy.optimize import nnls

from tsgen import findings
from tsgen.findings import Sample, finding
from tsgen.oscillator import true_waveforms

ACTIVE_ERRORS = 3.0  # standard errors; a hundred records would yield one false one in ten
ROUNDING = 1e-3  # of the largest weight: float32 and the solver's tolerance leave less
MEASURES = ("largest_correlation", "r2", "active_records")


def largest_correlation(records, training):
    """Largest normalised cross-correlation with any training record of the station, a row a record: DataFrame of
    largest_correlation (1 for a copy, shifted or upside down), training_row and lag_in_s (positive where the record
    comes later). ValueError for another rate, length or station than the training records have."""
    largest, which, lag = np.empty(len(records)), *np.empty((2, len(records)), int)
    n, n_fft = records.n_samples, fft.next_fast_len(2 * records.n_samples - 1, real=True)
    for rows, places in _by_station(records, training):
        known = np.conj(fft.rfft(_unit(training.take(places)), n_fft))  # (m, 3, f)
        for row, wave in zip(rows, fft.rfft(_unit(records.take(rows)), n_fft), strict=True):
            correlation = np.abs(fft.irfft((wave * known).sum(axis=1), n_fft)) / 3  # (m, lag)
            place, lag[row] = np.unravel_index(correlation.argmax(), correlation.shape)
            largest[row], which[row] = correlation[place, lag[row]], places[place]
    lag = np.where(lag < n, lag, lag - n_fft) / records.sampling_rate_in_hz
    return pd.DataFrame({"largest_correlation": largest, "training_row": which, "lag_in_s": lag})


def regression(records, training):
    """Non-negative least squares of each record on those of its station, a component at a time and without lag:
    DataFrame of r2 (over three components; it grows with n_training), active_records and n_training. A weight, the mean
    of three, is active beyond ACTIVE_ERRORS times what chance gives: an unrelated remainder of energy e meets a record
    with a standard deviation of sqrt(e) times the root mean square correlation between two records of the station."""
    r2, active, n_training = np.empty(len(records)), *np.empty((2, len(records)), int)
    for rows, places in _by_station(records, training):
        known = _unit(training.take(places)).swapaxes(0, 1)  # (3, m, t)
        bases = [np.linalg.qr(component.T) for component in known]
        others = ~np.eye(len(places), dtype=bool)
        between = (known @ known.swapaxes(1, 2))[:, others]
        chance = (between**2).sum(axis=1) / max(1, others.sum())  # mean square correlation of two records (3,)
        for row, wave in zip(rows, _unit(records.take(rows)), strict=True):
            weights, explained = (np.array(each) for each in zip(*map(_fit, bases, wave), strict=True))
            energy = (wave**2).sum(axis=1)
            error = np.sqrt((np.maximum(energy - explained, 0) * chance).sum()) / 3  # of the mean of three weights
            weights = weights.mean(axis=0)
            active[row] = (weights > max(ACTIVE_ERRORS * error, ROUNDING * weights.max())).sum()
            r2[row], n_training[row] = explained.sum() / max(energy.sum(), 1e-30), len(places)
    return pd.DataFrame({"r2": r2, "active_records": active, "n_training": n_training})


def memorisation(records, training):
    """Both measures of each record: a DataFrame with the columns of ``largest_correlation`` and ``regression``."""
    return pd.concat([largest_correlation(records, training), regression(records, training)], axis=1)


def memory(study, which):
    """``memorisation`` of records by name (see ``Study.some``), with station and event; built once. Of "fresh-single"
    as many a station as a generator makes: fresh truth judged as if it were generated."""

    def make():
        some = study.some(which)
        if which.startswith("fresh"):
            places = some.table.groupby("station").cumcount().to_numpy()
            some = some.take(places < min(study.settings.n_generated, study.settings.n_fresh // 2))
        frame = some.table[["station", "event"]].reset_index(drop=True)
        return pd.concat([frame, memorisation(some, study.training)], axis=1)

    return study.keep_table(f"memory-{which}", make, [study.stage("records"), study.stage_of(which)])


def copying(study, name):
    """Findings on a generator, or "fresh-single": median of each of MEASURES, and less that of held-out recordings."""
    inputs = [study.stage("records"), study.stage_of(name)]

    def build():
        sides, rows = [memory(study, which) for which in (name, "held_out")], []
        subject = name.removesuffix("-single")
        for measure in MEASURES:
            samples = [Sample.of(side[measure], side) for side in sides]
            difference = findings.difference("median", *samples, seed=study.seed)
            rows.append(finding(subject, "held_out", measure, "median", difference, *map(len, sides)))
            rows.append(finding(subject, "", measure, "level", float(np.median(samples[0].values)), len(sides[0])))
        return rows

    return study.keep_findings(f"copying-{name}", build, inputs)


def _by_station(records, training):
    """Yield (rows of the records, rows of the training records) of each station."""
    ours, theirs = ((r.sampling_rate_in_hz, r.n_samples) for r in (records, training))
    if ours != theirs:
        raise ValueError(f"records have (rate in Hz, samples) {ours}, the training records {theirs}")
    station, known = (r.table["station"].to_numpy(object) for r in (records, training))
    for name in records.stations:
        places = np.flatnonzero(known == name)
        if not len(places):
            raise ValueError(f"no training record of station {name}")
        yield np.flatnonzero(station == name), places


def _unit(records):
    """Waveforms (n, 3, t), each component with mean 0 over the record's true samples and energy 1; a dead one 0."""
    x = true_waveforms(records)
    for wave, n in zip(x, records.table["samples"], strict=True):
        wave[:, : int(n)] -= wave[:, : int(n)].mean(axis=1, keepdims=True)
    norm = np.sqrt((x**2).sum(axis=2, keepdims=True))
    return x / np.where(norm > 0, norm, 1.0)


def _fit(basis, target):
    """Weights and the energy they explain; a QR factorisation turns t equations into as many as there are records."""
    q, r = basis
    projected = q.T @ target
    weights, misfit = nnls(r, projected, maxiter=100 * r.shape[1])
    return weights, projected @ projected - misfit**2
