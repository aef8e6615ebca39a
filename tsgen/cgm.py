"""CGM-GM: ground motion for a scenario, a sequential variational autoencoder on log-amplitude spectrograms.

After Ren, Nakata, Lacour et al., Nature Communications 2026 (doi 10.1038/s41467-026-70719-2, arXiv 2407.15089), whose
model is ``published``. Ours has three components at absolute amplitude, a latent a record, the spread about the mean.
"""

from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch import nn

from tsgen import model, scenario, spectrogram
from tsgen.config import CGM_FAULTS, CGMSettings
from tsgen.model import RecordPrior, bounded, evaluation, kl, waveforms_of
from tsgen.needs import scenario_known
from tsgen.scenario import BATCH

LOWEST_AMPLITUDE = 1e-3  # cm/s^2, below any accelerograph's noise: keeps the log of zeros finite
LEVEL_DRAWS = 8  # of the prior, for each record that the level is fitted to
LEAST_FREEDOM = 0.1  # of the records, that the linear law leaves: a single one leaves none
POOLED = 18  # records of all stations that count beside a station's own: at 42 of these a weight of 0.7 predicts best


class CGMGM(scenario.Conditional, model.StationModel):
    """Posterior and prior recurrent networks on frames, one decoder for a frame; the conditions enter all three."""

    name = "cgm"
    needs = ("magnitudes",)  # of the records it is trained on: see needs.NEEDS

    def __init__(self, settings):
        super().__init__(settings)
        s = settings
        self.conditions, self.bank = s.conditions, pd.DataFrame(columns=scenario.columns(s.conditions))
        self.n_bins, self.n_frames = s.n_fft // 2 + 1, s.n_samples // s.hop + 1
        bins, width = (s.n_components, self.n_bins, 1), s.n_components * self.n_bins
        context, state = s.condition + s.record_latent, s.posterior_hidden + s.condition
        self.condition_mlp = _mlp(len(s.conditions), s.hidden, s.hidden, s.condition)
        if s.linear:
            self.condition_linear = nn.Linear(len(s.conditions), s.condition, bias=False)
        self.posterior_rnn = nn.GRU(width + s.condition, state, batch_first=True)
        self.posterior_norm = nn.BatchNorm1d(state)
        self.posterior_heads = nn.ModuleList(_mlp(state, s.head_hidden, s.latent) for _ in range(2))
        self.prior_rnn = nn.GRU(s.latent + context, s.hidden, batch_first=True)
        self.prior_heads = nn.ModuleList(nn.Linear(s.hidden, s.latent) for _ in range(2))
        self.decoder = _mlp(s.latent + context + 2 * s.clock, s.decoder_hidden, s.decoder_hidden, width)
        if s.record_latent:
            self.record_posterior = _mlp(width + state, s.head_hidden, 2 * s.record_latent)
            self.record_spectrum = nn.Linear(context, width, bias=False)
            network = _mlp(s.condition, s.hidden, 2 * s.record_latent)
            self.record_prior = RecordPrior(network, s.condition, s.record_latent)
            self.register_buffer("record_mean", torch.zeros(s.condition + 1, s.record_latent))
            self.register_buffer("record_scale", torch.eye(s.record_latent).repeat(s.n_stations + 1, 1, 1))
        if s.residual == "learned":
            self.residual_log_std = nn.Parameter(torch.zeros(bins))
        if s.n_stations:
            self.station_embedding = nn.Parameter(torch.zeros(s.n_stations, s.condition))
            # beside the embedding: a peak of 0.3 Hz width is learned at once, not through the decoder
            self.station_spectrum = nn.Parameter(torch.zeros(s.n_stations, width))
        for name, shape in (("amplitude", bins), ("condition", (len(s.conditions),))):
            self.register_buffer(f"{name}_shift", torch.zeros(shape))
            self.register_buffer(f"{name}_scale", torch.ones(shape))
        self.register_buffer("scaling_fitted", torch.tensor(False))
        self.register_buffer("level_correction", torch.zeros(s.n_stations + 1, *bins))  # the last: any other station
        octaves = 2.0 ** torch.arange(s.clock) * torch.pi * torch.arange(self.n_frames)[:, None] / self.n_frames
        self.register_buffer("clock", torch.cat([octaves.sin(), octaves.cos()], 1), persistent=False)  # (frame, 2k)

    def log_amplitude(self, waveforms):
        """(batch, component, bin, frame) ln of the spectrogram's amplitude in cm/s²; waveforms (batch, 3, time)."""
        s, window = self.settings, "mismatched" if "window" in self.settings.faults else "hann"
        z = spectrogram.transform(waveforms[:, : s.n_components], s.n_fft, s.hop, window)
        return z.abs().clamp_min(LOWEST_AMPLITUDE).log()

    def frames(self, log_amplitude):
        """Scaled, one row a frame: (batch, frame, component · bin)."""
        return ((log_amplitude - self.amplitude_shift) / self.amplitude_scale).flatten(1, 2).transpose(1, 2)

    def embed(self, conditions, station):
        """(batch, c) from conditions (batch, k) in their units and station (batch,); NaN counts as the mean."""
        scaled = ((conditions - self.condition_shift) / self.condition_scale).nan_to_num(0.0)
        c = self.condition_mlp(scaled)
        if self.settings.linear:
            c = c + self.condition_linear(scaled)
        return c + _of_station(self.station_embedding, station) if self.settings.n_stations else c

    def posterior(self, frames, c, valid):
        """((mean, log variance) a frame, the same a record); valid (batch, frame) marks frames inside the record."""
        state = self.posterior_rnn(torch.cat([frames, self._every_frame(c)], 2))[0]  # (batch, frame, hidden)
        state = self.posterior_norm(state.transpose(1, 2)).transpose(1, 2)
        frame, record = [head(state) for head in self.posterior_heads], torch.zeros(2, len(c), 0, device=c.device)
        if self.settings.record_latent:
            mean = (torch.cat([frames, state], 2) * valid[..., None]).sum(1) / valid.sum(1, keepdim=True)
            record = self.record_posterior(mean).chunk(2, 1)
        return bounded(frame), bounded(record)

    def _every_frame(self, context):
        return context[:, None].expand(-1, self.n_frames, -1)

    def record_divergence(self, record, c):
        return self.record_prior.divergence(*record, c) if self.settings.record_latent else torch.zeros_like(c[:, 0])

    def prior(self, z, context):
        """(mean, log variance) a frame given the frames before it: one call over a known sequence z."""
        before = torch.cat([torch.zeros_like(z[:, :1]), z[:, :-1]], 1)
        state = self.prior_rnn(torch.cat([before, self._every_frame(context)], 2))[0]
        return bounded([head(state) for head in self.prior_heads])

    def roll_prior(self, context, noise):
        """(z, (mean, log variance)) of the prior on its own samples; noise (batch, frame, z) standard normal."""
        z, state, steps = torch.zeros_like(noise[:, 0]), None, []
        for now in noise.unbind(1):
            output, state = self.prior_rnn(torch.cat([z, context], 1)[:, None], state)
            gaussian = bounded([head(output[:, 0]) for head in self.prior_heads])
            z = self.draw(*gaussian, now)
            steps.append((z, *gaussian))
        z, mean, log_variance = (torch.stack(part, 1) for part in zip(*steps, strict=True))
        return z, (mean, log_variance)

    def decode(self, z, context, station):
        """Mean ln amplitude (batch, component, bin, frame), ln cm/s²; z (batch, frame, z), context (batch, c + u)."""
        frames = self.decoder(torch.cat([z, self._every_frame(context), self.clock.expand(len(z), -1, -1)], 2))
        if self.settings.record_latent:
            frames = frames + self.record_spectrum(context)[:, None]
        if self.settings.n_stations:
            frames = frames + _of_station(self.station_spectrum, station)[:, None]
        level = frames.transpose(1, 2).reshape(len(z), -1, self.n_bins, self.n_frames)
        return level * self.amplitude_scale + self.amplitude_shift

    def draw(self, mean, log_variance, noise):
        """A sample; the fault "std" takes half the variance for the standard deviation, as the public code does."""
        fault = "std" in self.settings.faults
        return mean + 0.5 * log_variance.exp() * noise if fault else model.draw(mean, log_variance, noise)

    def training_arrays(self, records):
        """(waveforms, conditions, station, valid frames) of records with magnitude and distance, else ValueError."""
        if not (known := scenario_known(records)).any():
            raise ValueError(f"none of {len(records)} records has a magnitude and a distance, which cgm learns from")
        records = records.take(known)
        waveforms, conditions = waveforms_of(records), self._conditions(records.table)
        if not self.scaling_fitted:  # by the first records that come here, the background's training part
            self.fit_scaling(waveforms, conditions)
        return waveforms, conditions.float(), self.station_index(records), self._valid(records)

    def _conditions(self, table):
        return torch.from_numpy(scenario.conditions(table, self.conditions))

    def _valid(self, records):
        samples = torch.from_numpy(records.table["samples"].to_numpy(float))[:, None]
        return torch.arange(self.n_frames) * self.settings.hop < samples

    def fit_scaling(self, waveforms, conditions):
        """Shift and scale of ln amplitude and conditions, from training events alone."""
        parts = [self.log_amplitude(part.to(self.device)) for part in waveforms.split(BATCH)]
        if self.settings.scaling == "min_max":
            low, high = min(part.min() for part in parts), max(part.max() for part in parts)
            self.amplitude_shift.fill_(low)
            self.amplitude_scale.fill_(high - low)
        else:
            count = len(waveforms) * self.n_frames
            mean = sum(part.sum((0, 3)) for part in parts)[..., None] / count
            square = sum((part - mean).square().sum((0, 3)) for part in parts)[..., None] / count
            self.amplitude_shift.copy_(mean)
            self.amplitude_scale.copy_(square.sqrt().clamp_min(0.1))
        self.condition_shift.copy_(mean := conditions.nanmean(0).nan_to_num(0.0))
        std = (conditions - mean).square().nanmean(0).sqrt().nan_to_num(1.0)
        self.condition_scale.copy_(torch.where(std > 1e-6, std, 1.0))
        self.scaling_fitted.fill_(True)

    def loss(self, batch, phase, progress, training_settings):
        """Evidence lower bound a value, and the weighted terms of ``terms``."""
        return sum(self.terms(batch).values())

    def terms(self, batch):
        """{name: weighted scalar}: error, divergence, and spectral, envelope, duration where they have a weight."""
        s, (waveforms, conditions, station, valid) = self.settings, batch
        truth, c = self.log_amplitude(waveforms), self.embed(conditions, station)
        frame, record = self.posterior(self.frames(truth), c, valid)
        context = torch.cat([c, self.draw(*record, torch.randn_like(record[0]))], 1)
        z = self.draw(*frame, torch.randn_like(frame[0]))
        prior = self.roll_prior(context, torch.randn_like(z))[1] if "prior" in s.faults else self.prior(z, context)
        decoded = self.decode(z, context, station)
        mask, count = valid[:, None, None], valid.sum() * s.n_components * self.n_bins
        divergence = s.beta * (kl(*frame, *prior).sum(2) * valid).sum()
        divergence = divergence + s.record_beta * self.record_divergence(record, c).sum()
        error = (decoded - truth) / self.amplitude_scale
        if s.residual == "learned":  # minus log likelihood under the learned spread, instead of the published square
            error = 0.5 * (error * (-self.residual_log_std).exp()).square() + self.residual_log_std
        else:
            error = error.square()
        terms = {"error": (error * mask).sum() / count, "divergence": divergence / count}
        power = (2 * (decoded - spectrogram.ln_of_noise(self.n_bins, self.device)[0])).exp() * mask
        powers, seconds = (power, (2 * truth).exp() * mask), s.hop / s.sampling_rate_in_hz
        for name in spectrogram.TERMS:
            if weight := getattr(s, f"{name}_weight"):
                terms[name] = weight * spectrogram.difference(name, *powers, seconds)
        return terms

    @torch.no_grad()
    def end_of_phase(self, phase, records, training_settings):
        """Keep the scenarios of the target records, what ``sample`` draws from for a station; fit prior and level."""
        if phase == 1:
            own = records.take(scenario_known(records)).select(station=self.stations)
            self.bank = own.table.reindex(columns=scenario.columns(self.conditions))
            if self.settings.record_latent:
                self.fit_record_law(records)
            if self.settings.corrected:
                self.fit_level(records)

    def fit_record_law(self, records):
        """The Gaussian that a record's latent is drawn from: mean linear in c (ridge), a covariance a station, both of
        the posteriors. The prior network lags behind these: its draws put resonances 10 to 50 % too low; trained on
        alone, it shrinks the scatter (ln 0.16 of planted 0.30)."""
        with evaluation(self):
            encoded = [(c, station, *record) for _, _, c, station, _, record in self._encoded(records)]
        c, station, mean, log_variance = map(torch.cat, zip(*encoded, strict=True))
        design, n = _with_one(c), len(c)
        gram, penalty = design.T @ design, torch.diag(design.var(0, correction=min(1, n - 1)) + 1e-6)
        self.record_mean.copy_(torch.linalg.solve(gram + penalty, design.T @ mean))
        left, share = mean - design @ self.record_mean, 1 - torch.linalg.solve(gram + penalty, gram).trace() / n
        share = share.clamp_min(LEAST_FREEDOM)

        def covariance(rows):
            return left[rows].T @ left[rows] / (share * rows.sum()) + torch.diag(log_variance[rows].exp().mean(0))

        pooled = covariance(station == station)
        self.record_scale[:] = torch.linalg.cholesky(pooled)
        for number in station[station >= 0].unique():
            own = station == number
            weight = own.sum() / (own.sum() + POOLED)
            self.record_scale[number] = torch.linalg.cholesky(weight * covariance(own) + (1 - weight) * pooled)

    def fit_level(self, records):
        """Correction of the level of generated records, a station, component and bin: half the ln of what power is off
        by. Inverting adds where windows smear a steep spectrum (+0.4 at 0 Hz); latents of the prior lower the peaks."""
        self.level_correction.zero_()
        changes, stations, power = [], [], spectrogram.ln_band_power
        with evaluation(self):
            for x, names, c, station, frame, record in self._encoded(records):
                level = self.decode(frame[0], torch.cat([c, record[0]], 1), station)
                inverted = torch.from_numpy(self.waves(level, spectrogram.generators(names)))
                change = power(self.log_amplitude(inverted.to(x.device))) - power(self.log_amplitude(x))
                for k in range(LEVEL_DRAWS):
                    generators = spectrogram.generators(("level", k, *name) for name in names)
                    change += (power(self.generate_level(c, station, generators)) - power(level)) / LEVEL_DRAWS
                changes.append(0.5 * change[..., None])
                stations.append(station)
        changes, stations = torch.cat(changes), torch.cat(stations)
        self.level_correction[:] = changes.mean(0)
        for station in stations[stations >= 0].unique():
            self.level_correction[station] = changes[stations == station].mean(0)

    def information(self, records):
        """{"frame", "record"}: nats that the posterior of a frame, or of a record, tells beyond the prior; mean."""
        nats = []
        with evaluation(self):
            for _, _, c, _, frame, record in self._encoded(records):
                prior = self.prior(frame[0], torch.cat([c, record[0]], 1))
                nats.append(torch.stack([kl(*frame, *prior).sum(2).mean(1), self.record_divergence(record, c)]))
        return dict(zip(("frame", "record"), torch.cat(nats, 1).mean(1).tolist(), strict=True))

    def get_extra_state(self):
        return {"bank": self.bank.to_dict("list")}

    def set_extra_state(self, state):
        self.bank = pd.DataFrame(state["bank"])

    def _encoded(self, records):
        """Yield (x (B, 3, t), names of the random numbers, c, station, posterior a frame, the same a record)."""
        for part, x, station in self.batches(records, BATCH):
            c = self.embed(self._conditions(part.table).to(x), station)
            frame, record = self.posterior(self.frames(self.log_amplitude(x)), c, self._valid(part).to(x.device))
            yield x, list(zip(part.table["station"], part.table["event"], strict=True)), c, station, frame, record

    def reconstruct(self, records):
        """Waveforms (n, 3, t) in cm/s²: posterior means decoded, with a phase that follows from the record's name."""
        out = []
        with evaluation(self):
            for _, names, c, station, frame, record in self._encoded(records):
                level = self.decode(frame[0], torch.cat([c, record[0]], 1), station)
                out.append(self.waves(level, spectrogram.generators(names), spread=False))
        return np.concatenate(out)

    def draw_record(self, c, station, noise):
        """Latents of records (batch, u) by the law that training ended with; noise (batch, u) standard normal."""
        return _with_one(c) @ self.record_mean + (self.record_scale[station] @ noise[..., None])[..., 0]

    def generate_level(self, c, station, generators):
        """Mean ln amplitude (batch, component, bin, frame), ln cm/s², of latents that are drawn; corrected."""
        s, n_frames = self.settings, self.n_frames
        u, z = (spectrogram.normal(generators, *n).to(c.device) for n in ((s.record_latent,), (n_frames, s.latent)))
        context = torch.cat([c, self.draw_record(c, station, u) if s.record_latent else u], 1)
        correction = self.level_correction[station]  # -1 is the last
        return self.decode(self.roll_prior(context, z)[0], context, station) - correction

    def waves(self, level, generators, spread=True):
        """(n, 3, t) float32: noise shaped to mean ln amplitude ``level`` (n, component, bin, frame); absent ones 0."""
        s, device = self.settings, level.device
        if spread and s.residual == "learned":
            ln_std = spectrogram.ln_of_noise(self.n_bins, device)[1]
            variance = (self.residual_log_std.exp() * self.amplitude_scale).square() - ln_std.square()  # beyond noise
            level = level + variance.clamp_min(0).sqrt() * spectrogram.normal(generators, *level.shape[1:]).to(device)
        x = spectrogram.shaped_noise(level, generators, s.n_fft, s.hop, s.n_samples, s.iterations)
        return nn.functional.pad(x, (0, 0, 0, 3 - s.n_components)).cpu().numpy()

    def waves_of(self, scenarios, generators):
        station = self.numbers(scenarios["station"]).to(self.device)
        with evaluation(self):
            asked = self._conditions(scenarios).float().to(self.device)
            return self.waves(self.generate_level(self.embed(asked, station), station, generators), generators)


def published():
    """Settings of the published model: 173,009 parameters, one component at 100 Hz, and its public code's faults."""
    place = ("event_latitude", "event_longitude", "depth_in_km", "station_latitude", "station_longitude")
    left_out = {"record_latent": 0, "linear": False, "corrected": False, "clock": 0, "residual": "none"}
    other = {"n_components": 1, "scaling": "min_max", "faults": CGM_FAULTS, "beta": 0.2, "iterations": 500}
    return CGMSettings(6000, 100.0, conditions=("magnitude", *place), **left_out, **other)


def parameter_count(settings):
    """Number of trained values, from the layers' sizes alone."""
    s, u = settings, settings.record_latent
    width, context, state = s.n_components * (s.n_fft // 2 + 1), s.condition + u, s.posterior_hidden + s.condition
    count = _mlp_count(len(s.conditions), s.hidden, s.hidden, s.condition) + s.linear * len(s.conditions) * s.condition
    count += 3 * state * (width + s.condition + state + 2) + 2 * state  # three gates, two biases; batch norm
    count += 2 * _mlp_count(state, s.head_hidden, s.latent)
    count += 3 * s.hidden * (s.latent + context + s.hidden + 2) + 2 * _mlp_count(s.hidden, s.latent)
    count += _mlp_count(s.latent + context + 2 * s.clock, s.decoder_hidden, s.decoder_hidden, width)
    if u:
        count += _mlp_count(width + state, s.head_hidden, 2 * u) + _mlp_count(s.condition, s.hidden, 2 * u)
        count += context * width + (s.condition + 1) * (u * (u - 1) // 2)
    return count + (s.residual == "learned") * width + s.n_stations * (s.condition + width)


def _with_one(c):
    return torch.cat([torch.ones_like(c[:, :1]), c], 1)


def _of_station(rows, station):
    """Rows (batch, …) of a table by station, zero for a station that was not trained on."""
    return rows[station.clamp_min(0)] * (station >= 0)[:, None]


def _mlp(*sizes):
    layers = [nn.Linear(sizes[0], sizes[1])]
    for a, b in pairwise(sizes[1:]):
        layers += [nn.ReLU(), nn.Linear(a, b)]
    return nn.Sequential(*layers)


def _mlp_count(*sizes):
    return sum((a + 1) * b for a, b in pairwise(sizes))
