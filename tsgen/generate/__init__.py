"""New records: mixing, reconstruction, sampling, and the controls that a generator must beat.

All are ``Records`` of kind "generated", unique event ids, columns made_from (events between ";"), weights, seed.
"""

import numpy as np
import pandas as pd
import torch

from tsgen.model import standardise, waveforms_of
from tsgen.records import Records

WEIGHTS = ("equal", "dirichlet", "energy")


class PlainAverage:
    """The control without a network: a record's latent is the standardised record itself."""

    name = "control_average"

    def encode_records(self, records):
        """(z (n, t, 3), mean (n, 1, 3), std (n, 1, 3)) tensors."""
        return standardise(waveforms_of(records).transpose(1, 2).contiguous(), 1)

    def decode(self, z, mean, std):
        return z * std + mean


def mix(model, records, n_per_station, k=5, weights="equal", replace=False, seed=0):
    """Average the latents of ``k`` records of a station, or all there are, and decode: TimesNet-Gen's generator.
    weights: "equal", "dirichlet" (concentration 1) or "energy" (equal, scaled so that incoherent records keep
    variance)."""
    if weights not in WEIGHTS:
        raise ValueError(f"unknown weights {weights!r}; known: {', '.join(WEIGHTS)}")

    def mixed(own, generator):
        chosen = weight_matrix(generator, n_per_station, len(own), k, weights, replace)
        return decode_mixture(model, *model.encode_records(own), chosen, weights), chosen

    return by_station(records, model.name, seed, mixed)


def mix_bank(model, bank, sampling_rate_in_hz, n_per_station, k=5, seed=0):
    """``mix`` from a released latent bank (timesnet.ReleasedBank), with replacement as the released sampler draws."""
    parts = []
    for number, station in enumerate(bank.stations):
        z, mean, std = bank.latents(station)
        chosen = weight_matrix(np.random.default_rng([seed, number]), n_per_station, len(z), k, replace=True)
        waveforms = decode_mixture(model, z, mean, std, chosen, "equal")
        names = np.array([f"{station}[{i}]" for i in range(len(z))])
        name, origin = station if "." in station else f"TK.{station}", _origin(names, chosen)
        parts.append(_generated(waveforms, model.name, name, seed, sampling_rate_in_hz, **origin))
    return Records.concatenate(parts)


def weight_matrix(generator, n, n_records, k, weights="equal", replace=False):
    """(n, n_records) weights, rows summing to 1; with replacement a record drawn twice counts twice."""
    k, matrix = k if replace else min(k, n_records), np.zeros((n, n_records))
    for row in matrix:
        drawn = generator.choice(n_records, k, replace=replace)
        np.add.at(row, drawn, generator.dirichlet(np.ones(k)) if weights == "dirichlet" else 1 / k)
    return matrix


@torch.no_grad()
def decode_mixture(model, z, mean, std, matrix, weights):
    """(n, 3, t) float32 cm/s²: decode weighted sums of latents z (m, t, d), mean and std (m, 1, 3)."""
    matrix = torch.as_tensor(matrix, dtype=z.dtype, device=z.device)  # (n, m)
    out = []
    for rows in matrix.split(16):
        scale = rows.pow(2).sum(1).sqrt()[:, None, None] if weights == "energy" else 1.0
        mixed = [torch.einsum("nm,mtd->ntd", rows, values) for values in (z, mean, std)]  # (n, t, d), (n, 1, 3) twice
        out.append(model.decode(mixed[0], mixed[1], mixed[2] / scale).float().cpu())
    return torch.cat(out).transpose(1, 2).contiguous().numpy()


def reconstruct(model, records):
    """Each record through the model and back, without noise; same table, ``made_from`` names the recording."""
    table = records.table.assign(made_from=records.table["event"], weights="1", seed=0)
    table = table.assign(event=f"{model.name}:reconstruction:" + table["station"] + ":" + table["event"])
    table = table.assign(kind="generated", source=model.name)
    return Records(model.reconstruct(records), records.sampling_rate_in_hz, table)


def bootstrap(records, n_per_station, seed=0):
    """Control: recordings of the station drawn with replacement. A score that rewards it rewards copying."""

    def drawn_again(own, generator):
        drawn = generator.integers(len(own), size=n_per_station)
        return own.waveforms[drawn], np.eye(len(own))[drawn]

    return by_station(records, "control_bootstrap", seed, drawn_again)


def random_phase(records, n_per_station, seed=0):
    """Control: noise with the station's mean (RMS) Fourier spectrum and envelope, and the energy of one recording."""

    def shaped_noise(own, generator):
        drawn = generator.integers(len(own), size=n_per_station)
        waveforms = own.waveforms.astype(float)
        rms = np.sqrt((waveforms**2).mean(axis=(1, 2), keepdims=True))  # (m, 1, 1): V/H ratio and f0 stay
        standard, n_samples = waveforms / np.maximum(rms, 1e-12), waveforms.shape[2]
        spectrum = np.sqrt((np.abs(np.fft.rfft(standard)) ** 2).mean(axis=0))  # (3, f)
        envelope = np.sqrt((standard**2).mean(axis=(0, 1)))  # (t,)
        noise = np.fft.rfft(generator.standard_normal((n_per_station, 3, n_samples)) * envelope)
        shaped = np.fft.irfft(np.exp(1j * np.angle(noise)) * spectrum, n_samples) * rms[drawn]
        return shaped.astype(np.float32), np.eye(len(own))[drawn]

    return by_station(records, "control_phase", seed, shaped_noise)


def other_station(generated):
    """Control: each station gets the records that were generated for the next one. It must score low."""
    stations, table = generated.stations, generated.table
    wrong = table["station"].map(dict(zip(stations[1:] + stations[:1], stations, strict=True)))
    other = generated.with_columns(station=wrong, source="control_other", event="control_other:" + table["event"])
    return other.take(np.argsort(wrong.to_numpy(), kind="stable"))


def sample(model, stations=None, scenarios=None, n=1, seed=0):
    """Draw ``n`` records a station of a model that has a prior, or a row of scenarios (see ``scenario``) of one that
    takes them. stations: default all. ValueError without a sampler, for unknown stations and unusable scenarios."""
    if not hasattr(model, "sample"):
        raise ValueError(f"{model.name} has no prior to sample from; use generate.mix")
    takes_scenarios = hasattr(model, "scenarios_of")
    if scenarios is not None and not takes_scenarios:
        raise ValueError(f"{model.name} takes no scenarios; name the stations")
    if scenarios is None:
        stations, known = list(model.stations if stations is None else stations), ", ".join(model.stations)
        if unknown := sorted(set(stations) - set(model.stations)):
            raise ValueError(f"{model.name} was not trained on {', '.join(unknown)}; it knows {known}")
    if takes_scenarios:
        if scenarios is None:
            scenarios, n = pd.concat([model.scenarios_of(name, n, seed) for name in stations]), 1
        waveforms, table = model.sample(scenarios, n, seed)
        rate = model.settings.sampling_rate_in_hz
        more = {"made_from": "", "weights": "", "usable_from_hz": rate / model.settings.n_fft}  # the first bin above 0
        made = _generated(waveforms, model.name, table["station"], seed, rate, **more)
        return Records(waveforms, rate, table.assign(**made.table))
    parts = []
    for station in stations:
        waveforms, made_from, rate = model.sample(station, n, seed + 1000 * model.stations.index(station))
        parts.append(_generated(waveforms, model.name, station, seed, rate, made_from=list(made_from), weights=""))
    return Records.concatenate(parts)


def by_station(records, source, seed, make):
    """Records a station: make(own records, random generator) gives waveforms (n, 3, t) and weights (n, own records)."""
    parts, rate = [], records.sampling_rate_in_hz
    for number, station in enumerate(records.stations):
        own = records.select(station=station)
        waveforms, matrix = make(own, np.random.default_rng([seed, number]))
        kept, averaged = own.table, ("magnitude", "depth_in_km", "p_arrival_sample", "s_arrival_sample")
        columns = {name: _weighted_means(matrix, kept[name].to_numpy(float)) for name in averaged if name in kept}
        if "distance_in_km" in kept:
            columns["distance_in_km"] = np.exp(_weighted_means(matrix, np.log(kept["distance_in_km"].to_numpy(float))))
        for name, limit in (("usable_from_hz", max), ("usable_to_hz", min), ("native_sampling_rate_in_hz", min)):
            columns[name] = [limit(kept[name].to_numpy()[row]) for row in matrix > 0]
        columns |= _origin(kept["event"].to_numpy(), matrix)
        parts.append(_generated(waveforms, source, station, seed, rate, **columns))
    return Records.concatenate(parts)


def _weighted_means(matrix, values):
    return [row[row > 0] @ values[row > 0] for row in matrix]  # a value unknown in another record must not spread


def _origin(names, matrix):
    weights = [";".join(f"{w:.6g}" for w in row[row > 0]) for row in matrix]
    return {"made_from": [";".join(names[row > 0]) for row in matrix], "weights": weights}


def _generated(waveforms, source, stations, seed, rate, **more):  # stations: one name, or one a row
    table = pd.DataFrame({"station": stations}, index=range(len(waveforms)))
    usual = {"samples": waveforms.shape[2], "native_sampling_rate_in_hz": rate}
    usual |= {"usable_from_hz": 0.0, "usable_to_hz": 0.4 * rate, "seed": seed}
    events = [f"{source}:{station}:{seed}:{i:05d}" for i, station in enumerate(table["station"])]
    return Records(waveforms, rate, table.assign(event=events, kind="generated", source=source, **usual | more))
