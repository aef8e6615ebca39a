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
from tsgen.carrier import Carrier
from tsgen.needs import scenario_known
from tsgen.oscillator import true_waveforms

BEFORE_P_IN_S = 5.0  # in what is generated, and in a record that does not say where P is
S_MINUS_P_IN_S_PER_KM = 1 / 8.3  # of crustal rock
SHARES = (0.75, 0.95)  # of the horizontals' energy: until then and from there on, time behind S is stretched
SHORTEST_IN_S = 0.6  # of what is stretched
N_TIMES = len(SHARES)
MOST_BACKGROUND = 2000  # records: more cost memory and tell little more
KERNEL = (0.5, 0.4)  # standard deviation of a lender's magnitude and ln distance about those asked for
BLENDED = (0.7, 0.5)  # shares of B and W that are averaged over shifts: a site's peak may stand anywhere
SHIFT_IN_DECADES = 0.5  # the largest, either way
LAST = 1000.0  # times as long as the last stretch, and s before P: beyond any record
N_CALIBRATED = 250  # records
BATCH = 64  # records at once


class Evolve:
    """The generator, fitted to the targets' training records and the background.

    settings: sampling_rate_in_hz, n_samples and n_fft, as config.CGMSettings has them; stations: names to serve, by
    default the training's; one without records there has n = 0, the prior of all stations.
    """

    name = "evolve"

    def __init__(self, settings, background, training, stations=None):
        self.settings, self.stations = settings, tuple(training.stations if stations is None else stations)
        self.carrier = Carrier(settings.n_samples, settings.sampling_rate_in_hz)
        known = scenario_known(training).any() or (not len(training) and scenario_known(background).any())
        self.conditions = scenario.NEEDED if known else ()
        few = background.take(np.linspace(0, len(background) - 1, min(len(background), MOST_BACKGROUND)))
        parts = [part for part in (training, few) if len(part)]
        names = ["station", *(scenario.COLUMN_OF.get(name, name) for name in self.conditions)]
        self.bank = pd.concat([part.table.reindex(columns=names) for part in parts], ignore_index=True)
        asked = scenario.conditions(self.bank, self.conditions)
        self.centre, self.scale = (of(asked, axis=0) for of in (np.nanmean, np.nanstd))
        read = [self._read(batch) for part in parts for batch in part.batches(BATCH)]
        self.power, self.arrivals, self.y = (np.concatenate(each) for each in zip(*read, strict=True))
        self._fit()
        self._calibrate()

    # ---- from records to shapes and numbers ----

    def _arrivals(self, table):
        """(n, 2) s of P, where a table says or as usual, and of S, by distance (where it is unknown, soon after P)."""
        rate = self.settings.sampling_rate_in_hz
        p = table.get("p_arrival_sample", pd.Series(np.nan, table.index)).to_numpy(float) / rate
        return self._with_s(np.where(np.isfinite(p), p, BEFORE_P_IN_S), table)

    def _with_s(self, p, table):
        distance = np.zeros(len(table))
        if self.conditions:
            distance = np.exp(self._conditions(table)[:, 1])
        travel = np.maximum(S_MINUS_P_IN_S_PER_KM * distance, SHORTEST_IN_S)
        return np.column_stack([np.broadcast_to(p, len(table)), p + travel])

    def _conditions(self, table):
        asked = scenario.conditions(table, self.conditions)
        return np.where(np.isfinite(asked), asked, self.centre)

    def _read(self, records):
        """ln power (n, 3, bin, frame), ``_arrivals`` and y (n, 2 + 3 f) of Records: ln s from S to each of SHARES, ln
        smoothed Fourier power; frames in the padding are as the record's last."""
        x, table = true_waveforms(records), records.table
        arrivals = self._arrivals(table)
        power, y = self._measured(torch.from_numpy(x).float(), arrivals[:, 1])
        last = np.maximum(table["samples"].to_numpy(int) - self.carrier.n_fft // 2, 0) // self.carrier.hop
        frame = np.minimum(np.arange(power.shape[3]), last[:, None])[:, None, None]
        return np.take_along_axis(power, frame, axis=3), arrivals, y

    def _measured(self, x, s):
        energy = x[:, :2].double().square().sum(1).cumsum(1)
        at = [(energy < share * energy[:, -1:]).sum(1).numpy() / self.settings.sampling_rate_in_hz for share in SHARES]
        power, spectrum = (of(x).add(spectrogram.FLOOR).log() for of in (self.carrier.coarse, self.carrier.fine))
        times = np.log(np.maximum(np.diff([s, *at], axis=0), SHORTEST_IN_S)).T
        return power.numpy(), np.column_stack([times, spectrum.flatten(1).numpy()])

    # ---- the law ----

    def _design(self, table):
        """X (n, k): 1, M, ln R, their squares and product, standardised; what is unknown counts as the mean."""
        z = (self._conditions(table) - self.centre) / np.where(self.scale > 0, self.scale, 1)
        squares = [z[:, i] * z[:, j] for i in range(z.shape[1]) for j in range(i + 1)]
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
        several = n >= min(5, n.max())
        between = np.cov(mean[several].T) - within * (1 / n[several]).mean()
        between, within = (self._blended(*each) for each in zip((between, within), BLENDED, strict=True))
        self.between, self.within = _positive(between), within + 1e-6 * np.diag(within).mean() * np.eye(len(within))
        terms = {name: (mean[i], n[i]) for i, name in enumerate(names) if name in self.stations}
        self.terms = {name: self._posterior(*terms.get(name, (mean[0], 0))) for name in self.stations}
        self.prior = self._posterior(mean[0], 0)
        self.lender = np.flatnonzero(n[code] > 1)  # a deviation from the mean of n is too small by (1 - 1/n)
        self.own = (own * np.sqrt(n / np.maximum(n - 1, 1))[code, None])[self.lender]

    def _blended(self, covariance, share):
        """The covariance, ``share`` of it averaged over shifts of all spectra in ln f (beyond an end, as at the end)."""
        n = len(self.carrier.frequency_in_hz)
        most, total, shifts = round(SHIFT_IN_DECADES / self._decades_a_step), 0, 0
        for shift in range(-most, most + 1, 2):
            place = (np.arange(n) + shift).clip(0, n - 1)
            rows = np.concatenate([range(N_TIMES), *(N_TIMES + n * component + place for component in range(3))])
            total, shifts = total + covariance[np.ix_(rows, rows)], shifts + 1
        return (1 - share) * covariance + share * total / shifts

    @property
    def _decades_a_step(self):
        return np.log10(self.carrier.frequency_in_hz[1] / self.carrier.frequency_in_hz[0])

    def _posterior(self, mean, n):
        """(mean, root of the covariance) of a station's term from the mean residual of its n records."""
        return posterior(self.between, self.within, mean, n)

    def _calibrate(self):
        """Take away what lending, stretching and carrying add in the mean, as found at the records' own scenarios."""
        rows = np.linspace(0, len(self.bank) - 1, min(len(self.bank), N_CALIBRATED)).astype(int)
        table = self.bank.iloc[rows].assign(station="").reset_index(drop=True)
        generators, found, asked = spectrogram.generators(("calibration", i) for i in rows), [], []
        for part in np.array_split(np.arange(len(rows)), max(1, -(-len(rows) // BATCH))):
            y, waves = self._made(table.iloc[part], [generators[i] for i in part])
            found.append(self._measured(waves, self._with_s(BEFORE_P_IN_S, table.iloc[part])[:, 1])[1])
            asked.append(y)
        added = np.concatenate(found) - np.concatenate(asked)
        self.coefficients -= np.linalg.pinv(self._design(table), 1e-10) @ added

    # ---- records ----

    def _made(self, table, generators):
        """y (n, p) and waves (n, 3, t) tensor of scenarios, all their chance from the generators, one a row."""
        normal = spectrogram.normal(generators, self.y.shape[1]).double().numpy()
        terms = [self.terms.get(name, self.prior) for name in table["station"]]
        term = [mean + root @ own for (mean, root), own in zip(terms, normal, strict=True)]
        lent = self._lenders(table, torch.cat([torch.rand(1, generator=each) for each in generators]).numpy())
        y = self._design(table) @ self.coefficients + np.array(term) + self.own[lent]
        source = self.lender[lent]
        coarse = self._stretched(source, self._with_s(BEFORE_P_IN_S, table), y[:, :N_TIMES])
        fine = torch.from_numpy(y[:, N_TIMES:].reshape(len(y), 3, -1)).exp().float()
        return y, self.carrier.waves(torch.from_numpy(coarse).exp(), fine, generators)

    def _lenders(self, table, uniform):
        """Rows of ``lender``, drawn for each scenario with a Gaussian kernel about its magnitude and ln distance."""
        if not self.conditions:
            return (uniform * len(self.lender)).astype(int)
        there = self._conditions(self.bank.iloc[self.lender])
        off = (self._conditions(table)[:, None] - there) / KERNEL
        far = (off**2).sum(axis=2) / 2
        share = np.exp(far.min(axis=1, keepdims=True) - far).cumsum(axis=1)
        return (share < uniform[:, None] * share[:, -1:]).sum(axis=1)

    def _stretched(self, rows, arrivals, ln_times):
        """ln power (n, 3, bin, frame) of records ``rows``: P and S moved to ``arrivals`` and what follows stretched."""
        seconds, n = self.carrier.hop / self.settings.sampling_rate_in_hz, self.power.shape[3]
        out = np.empty((len(rows), *self.power.shape[1:]), np.float32)
        for each, row, here, times in zip(out, rows, arrivals, np.exp(ln_times), strict=True):
            there, own = self.arrivals[row], np.exp(self.y[row, :N_TIMES])
            ends = times[-1] * LAST, own[-1] * LAST
            knots = [
                np.concatenate([[first[0] - LAST], first, first[1] + np.append(steps, end).cumsum()])
                for first, steps, end in zip((here, there), (times, own), ends, strict=True)
            ]
            place = (np.interp(np.arange(n) * seconds, *knots) / seconds).clip(0, n - 1)
            low = np.minimum(place.astype(int), n - 2)
            share = (place - low).astype(np.float32)
            each[:] = self.power[row][..., low] * (1 - share) + self.power[row][..., low + 1] * share
        return out

    def scenarios_of(self, station, n, seed=0):
        """DataFrame of ``n`` scenarios drawn with replacement from a station's training records, or without any there
        from all records."""
        own = self.bank[self.bank["station"] == station]
        own = own if len(own) else self.bank
        drawn = np.random.default_rng([seed, self.stations.index(station)]).integers(len(own), size=n)
        return own.iloc[drawn].assign(station=station)

    def sample(self, scenarios, n=1, seed=0):
        """(waveforms (rows, 3, t) in cm/s², scenarios by row): ``n`` realisations of every scenario, in its order.

        A realisation follows from (seed, number of its scenario, its own number) alone. ValueError for a station that
        is not served, and for a scenario without magnitude or distance where the training records have them.
        """
        order = [(seed, i, k) for i in range(len(scenarios)) for k in range(n)]
        scenarios = scenario.completed(scenarios, self.conditions, self.stations, None)
        table = scenarios.iloc[[i for _, i, _ in order]].reset_index(drop=True)
        waveforms = np.empty((len(table), 3, self.settings.n_samples), np.float32)
        for rows in np.array_split(np.arange(len(table)), max(1, -(-len(table) // BATCH))):
            generators = spectrogram.generators(order[i] for i in rows)
            waveforms[rows] = self._made(table.iloc[rows], generators)[1].numpy()
        return waveforms, table


def posterior(between, within, mean, n):
    """Mean (p,) and root (p, p) of the covariance of a station's term, from the mean residual of its ``n`` records."""
    gain = between @ np.linalg.inv(between + within / n) if n else np.zeros_like(between)
    values, vectors = np.linalg.eigh(_symmetric(between - gain @ between))
    return gain @ mean, vectors * np.sqrt(values.clip(0))


def _symmetric(matrix):
    return (matrix + matrix.T) / 2


def _positive(matrix):
    """The matrix without its negative eigenvalues, which moments give where there are few stations."""
    values, vectors = np.linalg.eigh(_symmetric(matrix))
    return (vectors * values.clip(0)) @ vectors.T
