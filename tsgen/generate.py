"""New records: mixing, reconstruction, sampling, and the controls that a generator must beat.

Every function gives ``Records`` of kind "generated" with unique event ids and the columns made_from (events,
separated by ";"), weights and seed.
"""

import numpy as np
import pandas as pd
import torch

from tsgen.records import Records, split_station

WEIGHTS = ("equal", "dirichlet", "energy")
STANDARD_EPSILON = 1e-5  # inside the root of the standard deviation, as in TimesNet-Gen


class PlainAverage:
    """The control without a network: a record's latent is the standardised record itself."""

    name = "control_average"

    def encode_records(self, records):
        """(z (n, t, 3), mean (n, 1, 3), std (n, 1, 3)) tensors."""
        x = torch.from_numpy(np.ascontiguousarray(records.waveforms.transpose(0, 2, 1)))
        mean = x.mean(1, keepdim=True)
        std = torch.sqrt(x.var(1, keepdim=True, unbiased=False) + STANDARD_EPSILON)
        return (x - mean) / std, mean, std

    def decode(self, z, mean, std):
        return z * std + mean


def mix(model, records, n_per_station, k=5, weights="equal", replace=False, seed=0):
    """Average the latents of ``k`` records of a station and decode: TimesNet-Gen's generator (arXiv 2512.04694).

    model: has encode_records and decode; records: what to draw from, every station of it is generated;
    n_per_station: number of generated records a station. weights: "equal", "dirichlet" (concentration 1) or "energy"
    (equal, divided by the root of the sum of squared weights, so that incoherent records keep their variance).
    Where k exceeds a station's records, k is all of them. Raises ValueError for unknown weights.
    """
    if weights not in WEIGHTS:
        raise ValueError(f"unknown weights {weights!r}; known: {', '.join(WEIGHTS)}")
    parts = []
    for number, station in enumerate(records.stations):
        own = records.select(station=station)
        generator = np.random.default_rng([seed, number])
        chosen = weight_matrix(generator, n_per_station, len(own), k, weights, replace)
        waveforms = decode_mixture(model, *model.encode_records(own), chosen, weights)
        table = _mixed_table(own.table, chosen, model.name, station, seed, records)
        parts.append(Records(waveforms, records.sampling_rate_in_hz, table))
    return Records.concatenate(parts)


def mix_bank(model, bank, sampling_rate_in_hz, n_per_station, k=5, replace=True, seed=0):
    """``mix`` from a released latent bank (timesnet.ReleasedBank), with replacement as the released sampler draws."""
    parts = []
    for number, station in enumerate(bank.stations):
        z, mean, std = bank.latents(station)
        generator = np.random.default_rng([seed, number])
        chosen = weight_matrix(generator, n_per_station, len(z), k, "equal", replace)
        waveforms = decode_mixture(model, z, mean, std, chosen, "equal")
        name = f"TK.{station}" if "." not in station else station
        table = _generated_table(n_per_station, model.name, name, seed, sampling_rate_in_hz, waveforms.shape[2])
        made = [_joined([f"{station}[{i}]" for i in np.flatnonzero(row)]) for row in chosen]
        parts.append(Records(waveforms, sampling_rate_in_hz, _with_origin(table, made, chosen)))
    return Records.concatenate(parts)


def weight_matrix(generator, n, n_records, k, weights="equal", replace=False):
    """(n, n_records) weights, rows summing to 1; with replacement a record drawn twice counts twice."""
    k = k if replace else min(k, n_records)
    matrix = np.zeros((n, n_records))
    for row in matrix:
        drawn = generator.choice(n_records, k, replace=replace)
        share = generator.dirichlet(np.ones(k)) if weights == "dirichlet" else np.full(k, 1 / k)
        np.add.at(row, drawn, share)
    return matrix


@torch.no_grad()
def decode_mixture(model, z, mean, std, matrix, weights, batch=16):
    """(n, 3, t) float32 cm/s²: decode weighted sums of latents z (m, t, d), mean and std (m, 1, 3)."""
    matrix = torch.as_tensor(matrix, dtype=z.dtype, device=z.device)  # (n, m)
    out = []
    for rows in matrix.split(batch):
        scale = rows.pow(2).sum(1).sqrt()[:, None, None] if weights == "energy" else 1.0
        mixed = torch.einsum("nm,mtd->ntd", rows, z)  # (n, t, d)
        mean_mixed = torch.einsum("nm,mtc->ntc", rows, mean)  # (n, 1, 3)
        std_mixed = torch.einsum("nm,mtc->ntc", rows, std) / scale  # (n, 1, 3)
        out.append(model.decode(mixed, mean_mixed, std_mixed).float().cpu())
    return torch.cat(out).transpose(1, 2).contiguous().numpy()


def reconstruct(model, records):
    """Each record through the model and back, without noise; same table, ``made_from`` names the recording."""
    table = records.table.copy()
    table["made_from"], table["weights"], table["seed"] = table["event"], "1", 0
    table["event"] = [f"{model.name}:reconstruction:{s}:{e}" for s, e in zip(table.station, table.event, strict=True)]
    table["kind"], table["source"] = "generated", model.name
    return Records(model.reconstruct(records), records.sampling_rate_in_hz, table)


def bootstrap(records, n_per_station, seed=0):
    """Control: recordings of the station drawn with replacement. A score that rewards it rewards copying."""
    parts = []
    for number, station in enumerate(records.stations):
        own = records.select(station=station)
        drawn = np.random.default_rng([seed, number]).integers(len(own), size=n_per_station)
        matrix = np.eye(len(own))[drawn]
        table = _mixed_table(own.table, matrix, "control_bootstrap", station, seed, records)
        parts.append(Records(own.waveforms[drawn], records.sampling_rate_in_hz, table))
    return Records.concatenate(parts)


def random_phase(records, n_per_station, seed=0):
    """Control: noise with the station's mean Fourier spectrum and mean envelope, and the energy of one recording.

    The mean is the root mean square over the station's standardised recordings, so neither is any one record's.
    """
    parts = []
    for number, station in enumerate(records.stations):
        own = records.select(station=station)
        generator = np.random.default_rng([seed, number])
        drawn = generator.integers(len(own), size=n_per_station)
        waveforms = own.waveforms.astype(float)
        rms = np.sqrt((waveforms**2).mean(axis=(1, 2), keepdims=True))  # (m, 1, 1): V/H ratio and f0 stay
        standard = waveforms / np.maximum(rms, 1e-12)
        spectrum = np.sqrt((np.abs(np.fft.rfft(standard)) ** 2).mean(axis=0))  # (3, f)
        envelope = np.sqrt((standard**2).mean(axis=(0, 1)))  # (t,)
        noise = generator.standard_normal((n_per_station, 3, waveforms.shape[2])) * envelope
        phase = np.exp(1j * np.angle(np.fft.rfft(noise)))
        shaped = np.fft.irfft(phase * spectrum, waveforms.shape[2]) * rms[drawn]
        table = _mixed_table(own.table, np.eye(len(own))[drawn], "control_phase", station, seed, records)
        parts.append(Records(shaped.astype(np.float32), records.sampling_rate_in_hz, table))
    return Records.concatenate(parts)


def other_station(generated):
    """Control: each station gets the records that were generated for the next one. It must score low."""
    stations = generated.stations
    following = dict(zip(stations, stations[1:] + stations[:1], strict=True))
    table = generated.table.copy()
    table["station"] = table["station"].map({right: wrong for wrong, right in following.items()})
    table["source"] = "control_other"
    table["event"] = "control_other:" + table["event"]
    order = np.argsort(table["station"].to_numpy(), kind="stable")
    return Records(generated.waveforms, generated.sampling_rate_in_hz, table).take(order)


def sample(model, stations=None, scenarios=None, n=1, seed=0):
    """Draw ``n`` records a station (or a scenario) from a model that has a prior.

    stations: names, default all that the model was trained on; scenarios: DataFrame of conditions for a model that
    takes them (cgm). Raises ValueError for a model without a sampler or a station that it does not know.
    """
    if not hasattr(model, "sample"):
        raise ValueError(f"{model.name} has no prior to sample from; use generate.mix")
    if scenarios is not None:
        return model.sample(scenarios=scenarios, n=n, seed=seed)
    stations = list(model.stations) if stations is None else list(stations)
    unknown = sorted(set(stations) - set(model.stations))
    if unknown:
        raise ValueError(f"{model.name} was not trained on {', '.join(unknown)}; it knows {', '.join(model.stations)}")
    parts = []
    for station in stations:
        waveforms, made_from, rate = model.sample(station, n, seed + 1000 * model.stations.index(station))
        table = _generated_table(n, model.name, station, seed, rate, waveforms.shape[2])
        parts.append(Records(waveforms, rate, table.assign(made_from=list(made_from), weights="", seed=seed)))
    return Records.concatenate(parts)


def _mixed_table(own, matrix, source, station, seed, records):
    """Table of generated rows: magnitude, distance and arrivals are the weighted means of what was mixed."""
    table = _generated_table(len(matrix), source, station, seed, records.sampling_rate_in_hz, records.n_samples)
    active = matrix > 0
    for name in ("magnitude", "depth_in_km", "p_arrival_sample", "s_arrival_sample"):
        if name in own:
            table[name] = _weighted_means(matrix, own[name].to_numpy(float))
    if "distance_in_km" in own:
        table["distance_in_km"] = np.exp(_weighted_means(matrix, np.log(own["distance_in_km"].to_numpy(float))))
    table["usable_from_hz"] = [own["usable_from_hz"].to_numpy()[row].max() for row in active]
    table["usable_to_hz"] = [own["usable_to_hz"].to_numpy()[row].min() for row in active]
    table["native_sampling_rate_in_hz"] = [own["native_sampling_rate_in_hz"].to_numpy()[row].min() for row in active]
    made = [_joined(own["event"].to_numpy()[row]) for row in active]
    return _with_origin(table, made, matrix)


def _weighted_means(matrix, values):
    """Row by row over the mixed records alone: a value that is unknown elsewhere must not spread."""
    return [row[row > 0] @ values[row > 0] for row in matrix]


def _generated_table(n, source, station, seed, rate, n_samples):
    network, code = split_station(station)
    return pd.DataFrame(
        {
            "station": station,
            "event": [f"{source}:{network}.{code}:{seed}:{i:05d}" for i in range(n)],
            "kind": "generated",
            "source": source,
            "samples": n_samples,
            "native_sampling_rate_in_hz": rate,
            "usable_from_hz": 0.0,
            "usable_to_hz": 0.4 * rate,
            "seed": seed,
        }
    )


def _with_origin(table, made_from, matrix):
    return table.assign(made_from=made_from, weights=[_joined(f"{w:.6g}" for w in row[row > 0]) for row in matrix])


def _joined(values):
    return ";".join(values)
