"""Our own generator: what can be said of the motion of a station from few records, or from none.

A record is the shape of its power in time and frequency, and numbers y: its Fourier spectrum, and how long it lasts
after S. y = Xβ + δ + ε: X of magnitude and distance, δ the station's term, ε the record's own. From n records of mean
residual t̄, δ has the mean A t̄ and the covariance B - AB with A = B (B + W/n)⁻¹; B and W are the covariances between
and within stations. It is a ground-motion model's station term (Al Atik et al. 2010, Seismol. Res. Lett. 81, 794), for
a whole record: a recording of any station lends its shape and its ε, and noise of its own carries both (``carrier``).
"""

import numpy as np
import pandas as pd
import torch

from tsgen import scenario, spectrogram
from tsgen.carrier import STEPS_A_DECADE, Carrier
from tsgen.config import EvolveSettings
from tsgen.needs import scenario_known
from tsgen.oscillator import true_waveforms
from tsgen.scenario import BATCH

BEFORE_P_IN_S = 5.0  # in what is generated, and in a record that does not say where P is
S_MINUS_P_IN_S_PER_KM = 1 / 8.3  # of crustal rock
SHARES = (0.75, 0.95)  # of the horizontals' energy: until then and from there on, time behind S is stretched
N_TIMES = len(SHARES)
SHORTEST_IN_S = 0.6  # of what is stretched
FEWEST = 5  # records of a station that tells of B; where none has as many, those with most
SHIFT_IN_DECADES = 0.5  # the largest, either way
N_CALIBRATED = 250  # records


class Evolve(scenario.Conditional):
    """The generator, fitted to the targets' training records and the background.

    settings: sampling_rate_in_hz, n_samples and n_fft, as config.CGMSettings has them; stations: names to serve, by
    default the training's; one without records there has n = 0, the prior at its scenarios' Vs30. By station alone
    where no record has magnitude and distance.
    """

    name = "evolve"

    def __init__(self, settings, background, training, stations=None, law=EvolveSettings()):  # noqa: B008 (frozen)
        self.law, self.settings = law, settings
        self.stations = tuple(training.stations if stations is None else stations)
        self.carrier = Carrier(settings.n_samples, settings.sampling_rate_in_hz)
        bins = np.arange(self.carrier.n_fft // 2 + 1) * settings.sampling_rate_in_hz / self.carrier.n_fft
        fine = self.carrier.frequency_in_hz
        self._at_bins = np.array([np.interp(bins.clip(fine[0]), fine, row) for row in np.eye(len(fine))])  # (f, bin)
        parts = scenario.learned_from(training, background)
        table = pd.concat([part.table for part in parts], ignore_index=True)
        known = np.isfinite(scenario.conditions(table, law.conditions)).any(axis=0)
        if not scenario_known(parts[0]).any():
            known &= np.isin(law.conditions, scenario.NEEDED, invert=True)
        self.conditions = tuple(name for name, there in zip(law.conditions, known, strict=True) if there)
        self.bank = table.reindex(columns=scenario.columns(self.conditions))
        asked = scenario.conditions(table, self.conditions)
        self.centre, self.scale = np.nanmean(asked, axis=0), np.nanstd(asked, axis=0)
        read = [self._read(batch) for part in parts for batch in part.batches(BATCH)]
        self.power, self.arrivals, self.last, self.y = (np.concatenate(each) for each in zip(*read, strict=True))
        self._fit()
        if law.calibrated:
            self._calibrate()

    # ---- from records to shapes and numbers ----

    def _arrivals(self, table, p_in_s=BEFORE_P_IN_S):
        """(n, 2) s of P, and of S by the table's distance (where it is unknown, soon after P)."""
        at = [name == "ln_distance" for name in self.conditions]
        distance = np.exp(self._conditions(table)[:, at]).sum(axis=1)  # 0 where no record has one
        travel = np.maximum(S_MINUS_P_IN_S_PER_KM * distance, SHORTEST_IN_S)
        return np.column_stack([np.broadcast_to(p_in_s, len(table)), p_in_s + travel])

    def _conditions(self, table):
        asked = scenario.conditions(table, self.conditions)
        return np.where(np.isfinite(asked), asked, self.centre)

    def _read(self, records):
        """ln power (n, 3, bin, frame), ``_arrivals``, the last frame and y (n, 2 + 3 f) of Records: ln s from S to each
        of SHARES, ln smoothed Fourier power."""
        arrivals = self._arrivals(records.table, records.p_arrival(BEFORE_P_IN_S) / records.sampling_rate_in_hz)
        power, y = self._measured(torch.from_numpy(true_waveforms(records)).float(), arrivals[:, 1])
        last = np.maximum(records.table["samples"].to_numpy(int) - self.carrier.n_fft // 2, 0) // self.carrier.hop
        return power, arrivals, last, y

    def _measured(self, x, s):
        energy = x[:, :2].double().square().sum(1).cumsum(1)
        at = [(energy < share * energy[:, -1:]).sum(1).numpy() / self.settings.sampling_rate_in_hz for share in SHARES]
        power, spectrum = (of(x).add(spectrogram.FLOOR).log() for of in (self.carrier.coarse, self.carrier.fine))
        times = np.log(np.maximum(np.diff([s, *at], axis=0), SHORTEST_IN_S)).T
        return power.numpy(), np.column_stack([times, spectrum.flatten(1).numpy()])

    # ---- the law ----

    def _design(self, table):
        """X (n, k): 1, M, ln R, ln Vs30, squares and product of M and ln R, standardised; the mean if unknown."""
        z = (self._conditions(table) - self.centre) / np.where(self.scale > 0, self.scale, 1)
        of = z[:, np.isin(self.conditions, scenario.NEEDED)]
        squares = [of[:, i] * of[:, j] for i in range(of.shape[1]) for j in range(i + 1)]
        return np.column_stack([np.ones(len(table)), z, *squares])

    def _fit(self):
        design = self._design(self.bank)
        self.coefficients = np.linalg.pinv(design, 1e-10) @ self.y
        left = self.y - design @ self.coefficients
        names, code, n = np.unique(self.bank["station"], return_inverse=True, return_counts=True)
        mean = np.zeros((len(names), left.shape[1]))
        np.add.at(mean, code, left)
        mean /= n[:, None]
        own = left - mean[code]
        within = own.T @ own / max(1, len(own) - len(names))
        several = n >= min(FEWEST, n.max())
        if several.sum() < 2 or n.max() < 2:
            raise ValueError("evolve needs two stations of two records or more: between them it finds how sites differ")
        between = np.cov(mean[several].T) - within * (1 / n[several]).mean()
        between = self._blended(between, self.law.blended_between)
        within = self._blended(within, self.law.blended_within)
        root = _root(between)
        self.between, self.within = root @ root.T, within + 1e-6 * np.diag(within).mean() * np.eye(len(within))
        terms = {name: (mean[i], n[i]) for i, name in enumerate(names) if name in self.stations}
        self.terms = {name: posterior(self.between, self.within, *terms[name]) for name in terms}
        self.prior = posterior(self.between, self.within, mean[0], 0)
        self.lender = np.flatnonzero(n[code] > 1)  # a deviation from the mean of n is too small by (1 - 1/n)
        self.usual = _steps(self.y - own, self.arrivals)[self.lender]
        self.own = (own * np.sqrt(n / np.maximum(n - 1, 1))[code, None])[self.lender]

    def _blended(self, covariance, share):
        """The covariance, ``share`` of it averaged over shifts of the spectra in ln f (beyond an end as at the end)."""
        n, total, shifts = len(self.carrier.frequency_in_hz), 0, 0
        most = round(SHIFT_IN_DECADES * STEPS_A_DECADE)
        for shift in range(-most, most + 1, 2):
            place = (np.arange(n) + shift).clip(0, n - 1)
            rows = np.concatenate([range(N_TIMES), *(N_TIMES + n * component + place for component in range(3))])
            total, shifts = total + covariance[np.ix_(rows, rows)], shifts + 1
        return (1 - share) * covariance + share * total / shifts

    def _calibrate(self):
        """Take away what lending, stretching and carrying add in the mean, as found at the records' own scenarios."""
        rows = np.linspace(0, len(self.bank) - 1, min(len(self.bank), N_CALIBRATED)).astype(int)
        table, added = self.bank.iloc[rows].assign(station=""), []
        for part in np.array_split(np.arange(len(rows)), max(1, -(-len(rows) // BATCH))):
            some, generators = table.iloc[part], spectrogram.generators(("calibration", i) for i in rows[part])
            y, waves = self._made(some, generators)
            added.append(self._measured(waves, self._arrivals(some)[:, 1])[1] - y)
        self.coefficients -= np.linalg.pinv(self._design(table), 1e-10) @ np.concatenate(added)

    # ---- records ----

    def waves_of(self, scenarios, generators):
        return self._made(scenarios, generators)[1].numpy()

    def _made(self, table, generators):
        """y (n, p) and waves (n, 3, t) tensor of scenarios, all their chance from the generators, one a row."""
        p = self.y.shape[1]
        terms = (self.terms.get(name, self.prior) for name in table["station"])
        normal = spectrogram.normal(generators, p).double().numpy()
        term = np.array([mean + root @ own for (mean, root), own in zip(terms, normal, strict=True)])
        usual, arrivals = self._design(table) @ self.coefficients + term, self._arrivals(table)
        lent = self._lenders(_steps(usual, arrivals), torch.cat([torch.rand(1, generator=own) for own in generators]))
        own = self.own[lent]
        if self.law.draws == "gaussian":
            own = spectrogram.normal(generators, p).double().numpy() @ _root(self.within).T
        y = usual + own
        coarse = torch.from_numpy(self._lent(self.lender[lent], arrivals, y))
        fine = torch.from_numpy(y[:, N_TIMES:].reshape(len(y), 3, -1)).float()
        return y, self.carrier.waves(coarse.exp(), fine.exp(), generators)

    def _lenders(self, steps, uniform):
        """Rows of ``lender`` for usual ``steps`` asked for, drawn by what they would have to be stretched by."""
        far = (((steps[:, None] - self.usual) / self.law.stretched_by) ** 2).sum(axis=2) / 2
        share = np.exp(far.min(axis=1, keepdims=True) - far).cumsum(axis=1)
        return (share < uniform.numpy()[:, None] * share[:, -1:]).sum(axis=1)

    def _lent(self, rows, arrivals, y):
        """ln power (n, 3, bin, frame) of the records ``rows`` with the spectra of y; P and S moved to ``arrivals``, and
        what follows stretched so that it lasts as y says."""
        seconds, frame = self.carrier.hop / self.settings.sampling_rate_in_hz, np.arange(self.power.shape[3])
        louder = (y - self.y[rows])[:, N_TIMES:].reshape(len(rows), 3, -1) @ self._at_bins
        power = self.power[rows] + louder[..., None].astype(np.float32)
        known = zip(arrivals, self.arrivals[rows], np.exp(y[:, :N_TIMES]), self.last[rows], strict=True)
        for each, (begun, begun_there, steps, last) in zip(power, known, strict=True):
            energy = np.exp(each[:2, :, : last + 1]).sum(axis=(0, 1)).cumsum()
            ends_there = np.interp(SHARES, energy / energy[-1], frame[: last + 1]) * seconds
            here = _knots([*begun, *(begun[1] + steps.cumsum())], frame[-1] * seconds)
            there = _knots([*begun_there, *ends_there], last * seconds)
            place = np.interp(frame * seconds, here, there) / seconds
            kept = np.log(np.gradient(place)).astype(np.float32)  # the energy of what is stretched
            low = np.minimum(place.astype(int), max(0, last - 1))
            share = (place - low).astype(np.float32)
            each[:] = each[..., low] * (1 - share) + each[..., low + 1] * share + kept
        return power


def posterior(between, within, mean, n):
    """Mean (p,) and root (p, p) of the covariance of a station's term, from the mean residual of its ``n`` records."""
    gain = between @ np.linalg.inv(between + within / n) if n else np.zeros_like(between)
    return gain @ mean, _root(between - gain @ between)


def _steps(y, arrivals):
    """(n, 1 + N_TIMES) ln s from P to S and on to each of SHARES."""
    return np.column_stack([np.log(np.diff(arrivals, axis=1)), y[:, :N_TIMES]])


def _knots(times, end):
    """0, s of P, of S and of each of SHARES, and the end, in this order and none too near to the next."""
    times = [0.0, *times, end]
    for i in range(1, len(times)):
        times[i] = max(times[i], times[i - 1] + SHORTEST_IN_S)
    for i in range(len(times) - 1, 0, -1):
        times[i] = min(times[i], end - (len(times) - 1 - i) * SHORTEST_IN_S)
    return times


def _root(matrix):
    """A root (p, p) of a covariance, without negative eigenvalues: moments of few stations give them."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return vectors * np.sqrt(values.clip(0))
