"""CGM-GM: ground motion for a scenario, a sequential variational autoencoder on log-amplitude spectrograms.

After Ren, Nakata, Lacour et al., Nature Communications 2026 (doi 10.1038/s41467-026-70719-2, arXiv 2407.15089), in our
own code. Published: one velocity component, a latent a frame, a mean spectrogram. Ours: three components of
acceleration at absolute amplitude, a latent a record, the spread about the mean. ``published`` gives the former.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import nn

from tsgen import gaussian, objectives, scenario, spectrogram
from tsgen.config import CGMSettings
from tsgen.gaussian import RecordPrior, bounded, kl

LOWEST_AMPLITUDE = 1e-3  # cm/s^2, below any accelerograph's noise: keeps the log of zeros finite
OPTIONS = {
    "residual": ("learned", "none"),
    "carrier": ("griffin_lim", "noise"),
    "scaling": ("standard", "min_max"),
    "record_prior": ("full", "diagonal"),
}
FAULTS = ("window", "std", "prior")
LEVEL_DRAWS = 8  # of the prior, for each record that the level is fitted to


class CGMGM(nn.Module):
    """Posterior and prior recurrent networks on frames, one decoder for a frame; the conditions enter all three.

    ValueError for an unknown option or fault in the settings.
    """

    name = "cgm"

    def __init__(self, settings):
        super().__init__()
        _check(settings)
        s = self.settings = settings
        self.stations = ()
        self.n_bins, self.n_frames = s.n_fft // 2 + 1, s.n_samples // s.hop + 1
        width = s.n_components * self.n_bins
        told = s.condition + s.record_latent  # what prior and decoder are told of the record
        state = s.posterior_hidden + s.condition
        self.condition_mlp = _mlp(len(s.conditions), s.hidden, s.hidden, s.condition)
        if s.linear:
            self.condition_linear = nn.Linear(len(s.conditions), s.condition, bias=False)
        self.posterior_rnn = nn.GRU(width + s.condition, state, batch_first=True)
        self.posterior_norm = nn.BatchNorm1d(state)
        self.posterior_heads = nn.ModuleList(_mlp(state, s.head_hidden, s.latent) for _ in range(2))
        self.prior_rnn = nn.GRU(s.latent + told, s.hidden, batch_first=True)
        self.prior_heads = nn.ModuleList(nn.Linear(s.hidden, s.latent) for _ in range(2))
        self.decoder = _mlp(s.latent + told + 2 * s.clock, s.decoder_hidden, s.decoder_hidden, width)
        if s.record_latent:
            self.record_posterior = _mlp(width + state, s.head_hidden, 2 * s.record_latent)
            self.record_spectrum = nn.Linear(told, width, bias=False)
            self.record_prior = RecordPrior(
                _mlp(s.condition, s.hidden, 2 * s.record_latent), s.condition, s.record_latent, s.record_prior == "full"
            )
        if s.residual == "learned":
            self.residual_log_std = nn.Parameter(torch.zeros(s.n_components, self.n_bins, 1))
        if s.n_stations:
            self.station_embedding = nn.Parameter(torch.zeros(s.n_stations, s.condition))
            # beside the embedding: a peak of 0.3 Hz width is learned at once, not through the decoder
            self.station_spectrum = nn.Parameter(torch.zeros(s.n_stations, width))
        for name, shape in (("amplitude", (s.n_components, self.n_bins, 1)), ("condition", (len(s.conditions),))):
            self.register_buffer(f"{name}_shift", torch.zeros(shape))
            self.register_buffer(f"{name}_scale", torch.ones(shape))
        self.register_buffer("scaling_fitted", torch.tensor(False))
        self.register_buffer("level_correction", torch.zeros(s.n_components, self.n_bins, 1))
        octaves = 2.0 ** torch.arange(s.clock) * torch.pi * torch.arange(self.n_frames)[:, None] / self.n_frames
        self.register_buffer("clock", torch.cat([octaves.sin(), octaves.cos()], 1), persistent=False)  # (frame, 2k)
        self.bank = torch.zeros(0, 1 + len(s.conditions), dtype=torch.float64)  # scenarios of the training records

    # ---- the network ----

    def log_amplitude(self, waveforms):
        """(batch, component, bin, frame) ln of the spectrogram's amplitude in cm/s²; waveforms (batch, 3, time)."""
        s = self.settings
        window = "mismatched" if "window" in s.faults else "hann"
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
        return c + self._of_station("station_embedding", station) if self.settings.n_stations else c

    def _of_station(self, name, station):
        """Rows of a table by station, zero for a station that was not trained on."""
        return getattr(self, name)[station.clamp_min(0)] * (station >= 0)[:, None]

    def posterior(self, frames, c, valid):
        """((mean, log variance) a frame, the same a record); valid (batch, frame) marks frames inside the record."""
        told = c[:, None].expand(-1, self.n_frames, -1)
        state = self.posterior_rnn(torch.cat([frames, told], 2))[0]  # (batch, frame, hidden)
        state = self.posterior_norm(state.transpose(1, 2)).transpose(1, 2)
        frame = tuple(head(state) for head in self.posterior_heads)
        record = torch.zeros(2, len(c), 0, device=c.device)
        if self.settings.record_latent:
            mean = (torch.cat([frames, state], 2) * valid[..., None]).sum(1) / valid.sum(1, keepdim=True)
            record = self.record_posterior(mean).chunk(2, 1)
        return bounded(frame), bounded(record)

    def draw_record(self, c, noise):
        """Record's latent (batch, u) from its prior; noise (batch, u) standard normal."""
        return self.record_prior.draw(c, noise, self.draw) if self.settings.record_latent else noise

    def record_divergence(self, record, c):
        """(batch,) KL of a record's posterior (mean, log variance) from its prior."""
        return self.record_prior.divergence(*record, c) if self.settings.record_latent else torch.zeros_like(c[:, 0])

    def prior(self, z, told):
        """(mean, log variance) a frame given the frames before it: one call over a known sequence z."""
        before = torch.cat([torch.zeros_like(z[:, :1]), z[:, :-1]], 1)
        state = self.prior_rnn(torch.cat([before, told[:, None].expand(-1, self.n_frames, -1)], 2))[0]
        return bounded(tuple(head(state) for head in self.prior_heads))

    def roll_prior(self, told, noise):
        """(z, (mean, log variance)) of the prior on its own samples; noise (batch, frame, z) standard normal."""
        z, state, found = torch.zeros_like(noise[:, 0]), None, []
        for now in noise.unbind(1):
            output, state = self.prior_rnn(torch.cat([z, told], 1)[:, None], state)
            mean, log_variance = bounded(tuple(head(output[:, 0]) for head in self.prior_heads))
            z = self.draw(mean, log_variance, now)
            found.append((z, mean, log_variance))
        z, mean, log_variance = (torch.stack(part, 1) for part in zip(*found, strict=True))
        return z, (mean, log_variance)

    def decode(self, z, told, station):
        """Mean ln amplitude (batch, component, bin, frame), ln cm/s²; z (batch, frame, z), told (batch, c + u)."""
        clock = self.clock.expand(len(z), -1, -1)
        frames = self.decoder(torch.cat([z, told[:, None].expand(-1, self.n_frames, -1), clock], 2))
        if self.settings.record_latent:
            frames = frames + self.record_spectrum(told)[:, None]
        if self.settings.n_stations:
            frames = frames + self._of_station("station_spectrum", station)[:, None]
        shape = (len(z), self.settings.n_components, self.n_bins, self.n_frames)
        return frames.transpose(1, 2).reshape(shape) * self.amplitude_scale + self.amplitude_shift

    def draw(self, mean, log_variance, noise):
        """A sample; the fault "std" takes half the variance for the standard deviation, as the public code does."""
        if "std" in self.settings.faults:
            return mean + 0.5 * log_variance.exp() * noise
        return gaussian.draw(mean, log_variance, noise)

    # ---- training (the protocol of train.fit) ----

    def station_index(self, records):
        """Long tensor (n,), -1 where a station is not one of ``stations``."""
        return self.index(records.table["station"])

    def index(self, names):
        """Long tensor of station names' places in ``stations``, -1 for others."""
        known = {name: i for i, name in enumerate(self.stations)}
        return torch.tensor([known.get(name, -1) for name in names], dtype=torch.long)

    def training_arrays(self, records):
        """(waveforms, conditions, station, valid frames) of the records whose magnitude and distance are known.

        The first records that come here (the background's training part) fit the scaling. ValueError if none is left.
        """
        conditions = self._conditions(records)
        known = self._known(conditions)
        if not known.any():
            raise ValueError(f"none of {len(records)} records has a magnitude and a distance, which cgm learns from")
        records, conditions = records.take(known.numpy()), conditions[known]
        waveforms = torch.from_numpy(np.ascontiguousarray(records.waveforms))
        if not self.scaling_fitted:
            self.fit_scaling(waveforms, conditions)
        return waveforms, conditions.float(), self.station_index(records), self._valid(records)

    def _conditions(self, records):
        return torch.from_numpy(scenario.conditions(records.table, self.settings.conditions))

    def _known(self, conditions):
        """Mask (n,) of the records whose magnitude and distance are known, as far as the model asks for them."""
        return conditions[:, [name in scenario.NEEDED for name in self.settings.conditions]].isfinite().all(1)

    def _valid(self, records):
        samples = torch.from_numpy(records.table["samples"].to_numpy(float))
        return torch.arange(self.n_frames) * self.settings.hop < samples[:, None]

    def fit_scaling(self, waveforms, conditions):
        """Shift and scale of ln amplitude and conditions; on training events alone, unless a caller wants the leak."""
        parts = [self.log_amplitude(part.to(self.amplitude_shift.device)) for part in waveforms.split(scenario.BATCH)]
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
        mean = conditions.nanmean(0).nan_to_num(0.0)
        std = (conditions - mean).square().nanmean(0).sqrt().nan_to_num(1.0)
        self.condition_shift.copy_(mean)
        self.condition_scale.copy_(torch.where(std > 1e-6, std, 1.0))
        self.scaling_fitted.fill_(True)

    def loss(self, batch, phase, progress, training_settings):
        """Evidence lower bound a value, and the weighted terms of ``terms``."""
        return sum(self.terms(batch).values())

    def terms(self, batch):
        """{name: weighted scalar}: error, divergence, and spectral, envelope, duration where they have a weight."""
        s = self.settings
        waveforms, conditions, station, valid = batch
        truth = self.log_amplitude(waveforms)
        c = self.embed(conditions, station)
        frame, record = self.posterior(self.frames(truth), c, valid)
        told = torch.cat([c, self.draw(*record, torch.randn_like(record[0]))], 1)
        z = self.draw(*frame, torch.randn_like(frame[0]))
        prior = self.roll_prior(told, torch.randn_like(z))[1] if "prior" in s.faults else self.prior(z, told)
        found = self.decode(z, told, station)
        mask = valid[:, None, None]
        count = valid.sum() * s.n_components * self.n_bins
        divergence = s.beta * (kl(*frame, *prior).sum(2) * valid).sum()
        divergence = divergence + s.record_beta * self.record_divergence(record, c).sum()
        terms = {"error": self._error(found, truth, mask) / count, "divergence": divergence / count}
        power = (2 * (found - spectrogram.ln_mean(self.n_bins, found.device))).exp() * mask
        seconds = s.hop / s.sampling_rate_in_hz
        for name in ("spectral", "envelope", "duration"):
            weight = getattr(s, f"{name}_weight")
            if weight:
                terms[name] = weight * getattr(objectives, name)(power, (2 * truth).exp() * mask, seconds)
        return terms

    def _error(self, found, truth, mask):
        """Sum of squared scaled errors (published), or minus log likelihood under the learned spread."""
        error = (found - truth) / self.amplitude_scale
        if self.settings.residual == "none":
            return (error.square() * mask).sum()
        log_std = self.residual_log_std
        return ((0.5 * (error * (-log_std).exp()).square() + log_std) * mask).sum()

    @torch.no_grad()
    def end_of_phase(self, phase, records, training_settings):
        """Keep the scenarios of the target records, what ``sample`` draws from for a station; fit the level."""
        if phase == 1:
            index, conditions = self.station_index(records), self._conditions(records)
            known = (index >= 0) & self._known(conditions)
            self.bank = torch.cat([index[:, None].double(), conditions], 1)[known]
            if self.settings.corrected:
                self.fit_level(records)

    @torch.no_grad()
    def fit_level(self, records):
        """Correction of the level of generated records, a component and bin: what is added to their power, ln units.

        Power within an octave, in two parts. Decoding and inverting add at the lowest bins, where windows smear a steep
        spectrum (+0.4 at 0 Hz, +0.1 at 0.3 Hz). Latents of the prior take away: they lie beside the posterior's, their
        spectra are smoother, and less stands in the peaks that rule a band.
        """
        self.eval()
        self.level_correction.zero_()
        found = []
        for x, names, (c, station, frame, record) in self._encoded(records):
            level = self.decode(frame[0], torch.cat([c, record[0]], 1), station)
            inverted = torch.from_numpy(self.waves(level, [spectrogram.generator(*name) for name in names]))
            change = self._ln_power(self.log_amplitude(inverted.to(x.device)))
            change -= self._ln_power(self.log_amplitude(x))
            for k in range(LEVEL_DRAWS):
                drawn = self.generate_level(c, station, [spectrogram.generator("level", k, *name) for name in names])
                change += (self._ln_power(drawn) - self._ln_power(level)) / LEVEL_DRAWS
            found.append(change)
        self.level_correction.copy_(0.5 * torch.cat(found).mean(0)[..., None])

    def _ln_power(self, log_amplitude):
        """(batch, component, bin) ln of the power over all frames and an octave about the bin."""
        place = torch.arange(self.n_bins, device=log_amplitude.device).clamp_min(0.5)
        octave = ((place / place[:, None]).log2().abs() <= 0.5).float()
        return ((2 * log_amplitude).logsumexp(3)[:, :, None] + octave.log()).logsumexp(3)

    @torch.no_grad()
    def information(self, records):
        """{"frame", "record"}: nats that the posterior of a frame, or of a record, tells beyond the prior; mean."""
        self.eval()
        found = []
        for _, _, (c, _, frame, record) in self._encoded(records):
            prior = self.prior(frame[0], torch.cat([c, record[0]], 1))
            found.append(torch.stack([kl(*frame, *prior).sum(2).mean(1), self.record_divergence(record, c)]))
        return dict(zip(("frame", "record"), torch.cat(found, 1).mean(1).tolist(), strict=True))

    def get_extra_state(self):
        return {"bank": self.bank}

    def set_extra_state(self, state):
        self.bank = state["bank"]

    # ---- records ----

    def _encoded(self, records):
        """Yield (waveforms, names, (c, station, posterior a frame, posterior a record)) of records, BATCH at once."""
        for rows in scenario.batches(len(records)):
            part = records.take(rows)
            x = torch.from_numpy(np.ascontiguousarray(part.waveforms)).to(self.clock.device)
            station = self.station_index(part).to(x.device)
            c = self.embed(self._conditions(part).to(x), station)
            found = self.posterior(self.frames(self.log_amplitude(x)), c, self._valid(part).to(x.device))
            yield x, list(zip(part.table["station"], part.table["event"], strict=True)), (c, station, *found)

    @torch.no_grad()
    def reconstruct(self, records):
        """Waveforms (n, 3, t) in cm/s²: posterior means decoded, with a phase that follows from the record's name."""
        self.eval()
        out = []
        for _, names, (c, station, frame, record) in self._encoded(records):
            level = self.decode(frame[0], torch.cat([c, record[0]], 1), station)
            out.append(self.waves(level, [spectrogram.generator(*name) for name in names], spread=False))
        return np.concatenate(out)

    def generate_level(self, c, station, generators):
        """Mean ln amplitude (batch, component, bin, frame), ln cm/s², of latents drawn from both priors; corrected."""
        u_noise = spectrogram.normal(generators, self.settings.record_latent).to(c.device)
        z_noise = spectrogram.normal(generators, self.n_frames, self.settings.latent).to(c.device)
        told = torch.cat([c, self.draw_record(c, u_noise)], 1)
        level = self.decode(self.roll_prior(told, z_noise)[0], told, station)
        return level - self.level_correction

    def waves(self, level, generators, spread=True):
        """(n, 3, t) float32 motion whose mean ln amplitude is ``level`` (n, component, bin, frame).

        White noise is shaped: its spectrogram's amplitude times that of the level, corrected for the mean of the ln of
        noise. spread adds what the residual varies beyond noise. Absent components are zero.
        """
        s, device = self.settings, level.device
        level = level - spectrogram.ln_mean(self.n_bins, device)
        if spread and s.residual == "learned":
            variance = (self.residual_log_std.exp() * self.amplitude_scale).square()  # (component, bin, 1)
            beyond = (variance - spectrogram.ln_std(self.n_bins, device).square()).clamp_min(0).sqrt()
            level = level + beyond * spectrogram.normal(generators, *level.shape[1:]).to(device)
        noise = spectrogram.normal(generators, s.n_components, s.n_samples).to(device)
        shaped = spectrogram.transform(noise, s.n_fft, s.hop) * level.exp()
        if s.carrier == "noise":
            x = spectrogram.inverse(shaped, s.n_fft, s.hop, s.n_samples)
        else:
            x = spectrogram.griffin_lim(shaped.abs(), shaped, s.n_fft, s.hop, s.n_samples, s.iterations)
        x = nn.functional.pad(x, (0, 0, 0, 3 - s.n_components))
        return x.cpu().numpy()

    def sample(self, station=None, n=1, seed=0, scenarios=None):
        """``scenario.sample``: Records for scenarios, (waveforms, made_from, sampling rate) for a station's own."""
        if scenarios is not None:
            return scenario.sample(self, scenarios, n, seed)
        records = scenario.sample(self, scenario.draw(self, station, n, seed), 1, seed)
        return records.waveforms, [""] * n, records.sampling_rate_in_hz


def published():
    """Settings of the published model: 173,009 parameters, one component at 100 Hz, and its public code's faults."""
    place = ("event_latitude", "event_longitude", "depth_in_km", "station_latitude", "station_longitude")
    return CGMSettings(
        6000,
        100.0,
        n_components=1,
        conditions=("magnitude", *place),
        record_latent=0,
        linear=False,
        corrected=False,
        clock=0,
        residual="none",
        scaling="min_max",
        faults=FAULTS,
        beta=0.2,
        iterations=500,
    )


def parameter_count(settings):
    """Number of trained values, from the layers' sizes alone."""
    s = settings
    width, told = s.n_components * (s.n_fft // 2 + 1), s.condition + s.record_latent
    state = s.posterior_hidden + s.condition
    count = _mlp_count(len(s.conditions), s.hidden, s.hidden, s.condition)
    count += s.linear * len(s.conditions) * s.condition
    count += 3 * state * (width + s.condition + state + 2) + 2 * state  # three gates, two biases; batch norm
    count += 2 * _mlp_count(state, s.head_hidden, s.latent)
    count += 3 * s.hidden * (s.latent + told + s.hidden + 2) + 2 * _mlp_count(s.hidden, s.latent)
    count += _mlp_count(s.latent + told + 2 * s.clock, s.decoder_hidden, s.decoder_hidden, width)
    if s.record_latent:
        count += _mlp_count(width + state, s.head_hidden, 2 * s.record_latent) + told * width
        count += _mlp_count(s.condition, s.hidden, 2 * s.record_latent)
        pairs = s.record_latent * (s.record_latent - 1) // 2
        count += (s.record_prior == "full") * (s.condition + 1) * pairs
    return count + (s.residual == "learned") * width + s.n_stations * (s.condition + width)


def _mlp(*sizes):
    layers = [nn.Linear(sizes[0], sizes[1])]
    for a, b in pairwise(sizes[1:]):
        layers += [nn.ReLU(), nn.Linear(a, b)]
    return nn.Sequential(*layers)


def _mlp_count(*sizes):
    return sum((a + 1) * b for a, b in pairwise(sizes))


def _check(settings):
    for name, known in OPTIONS.items():
        if getattr(settings, name) not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, not {getattr(settings, name)!r}")
    if unknown := sorted(set(settings.faults) - set(FAULTS)):
        raise ValueError(f"unknown faults {', '.join(unknown)}; known: {', '.join(FAULTS)}")
    if settings.n_components not in (1, 3):
        raise ValueError(f"n_components must be 1 or 3, not {settings.n_components}")
