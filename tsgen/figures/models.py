"""Figures of the models at work: folding, losses, latents (notebooks 03, 04 and 05)."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch

from tsgen.figures.data import example_row
from tsgen.figures.style import SAME, SIMILARITY_MAP, figure, finish, times
from tsgen.model import standardise
from tsgen.records import COMPONENTS
from tsgen.roles import role
from tsgen.study import PAPER_MODELS

PHASES = ("phase 0: background", "phase 1: fine-tuning")


@figure
def fold(study):
    """The strong part of one record folded at its strongest period and at the next one of another length: along a row
    one cycle, down the rows time."""
    one = study.training.take([example_row(study.training, study.stations[0])])
    wave, rate, n = one.waveforms[0, 0].astype(float), one.sampling_rate_in_hz, one.n_samples
    strongest = 1 + np.argsort(np.abs(np.fft.rfft(wave))[1:])[::-1]
    other = next(f for f in strongest if not 0.5 < f / strongest[0] < 2)  # near-equal periods look alike
    energy = np.cumsum(wave**2)
    first, last = np.searchsorted(energy, (0.05 * energy[-1], 0.95 * energy[-1]))
    drawn, axes = plt.subplots(1, 3, figsize=(10, 3.2), width_ratios=(1.4, 1, 1))
    axes[0].plot(times(one), wave, color="black", linewidth=0.5)
    axes[0].axvspan(first / rate, last / rate, color=SAME, zorder=0, label="5 to 95 % of its energy")
    axes[0].set(xlabel="time (s)", ylabel="acceleration, E (cm/s²)", title="a record")
    axes[0].legend(loc="lower right")
    look = {"aspect": "auto", "cmap": "RdBu_r", "vmin": -np.abs(wave).max(), "vmax": np.abs(wave).max()}
    for ax, frequency in zip(axes[1:], (strongest[0], other), strict=True):
        period, rows = n // frequency, -(-n // (n // frequency))
        folded = np.pad(wave, (0, rows * period - n)).reshape(rows, period)
        start, end = first // period, last // period + 1
        image = ax.imshow(folded[start:end], interpolation="nearest", extent=(0, period, end, start), **look)
        ax.set(xlabel="sample within the period", ylabel="period number")
        ax.set_title(f"folded at {period} samples ({period / rate:.2f} s)")
    drawn.colorbar(image, ax=axes[2], label="cm/s²")
    return finish(drawn, study, f"{study.stations[0]}, folded")


def _training(study, name):
    losses = study.history(name).table
    phases = sorted(losses["phase"].unique())
    drawn, axes = plt.subplots(1, len(phases), figsize=(4.2 * len(phases), 3), squeeze=False)
    for ax, phase in zip(axes[0], phases, strict=True):
        part = losses[losses["phase"] == phase]
        ax.plot(part["epoch"] + 1, part["training_loss"], "o-", color=role(name).color, label="training")
        if part["validation_loss"].notna().any():
            ax.plot(part["epoch"] + 1, part["validation_loss"], "s--", color="black", markersize=4, label="validation")
        ax.set(xlabel="epoch", ylabel="loss", ylim=(0, None), title=PHASES[phase])
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend()
    return finish(drawn, study, f"{role(name).label}, loss")


@figure
def training_timesnet(study):
    """TimesNet-Gen's loss by epoch in both phases, on the records trained on and on those kept aside for validation."""
    return _training(study, "timesnet")


@figure
def training_cvae(study):
    """The VAE baseline's loss by epoch in both phases; the weight of its Kullback-Leibler term rises in phase 0."""
    return _training(study, "cvae")


@figure
def spectrogram_cvae(study):
    """A recording's amplitude spectrograms and the VAE's reconstruction of them, three components."""
    row, transform = example_row(study.training, study.stations[0]), study.model("cvae").spectrogram
    drawn, axes = plt.subplots(2, 3, figsize=(9.5, 4.6), sharex=True, sharey=True)
    rate, n = study.training.sampling_rate_in_hz, study.training.n_samples
    look = {"origin": "lower", "aspect": "auto", "vmin": -5, "vmax": 2, "cmap": SIMILARITY_MAP}
    sets = (study.training, "recording"), (study.reconstructed("cvae"), "VAE, reconstructed")
    for line, (some, text) in zip(axes, sets, strict=True):
        wave = torch.from_numpy(np.array(some.take([row]).waveforms))
        maps = transform.analyse(standardise(wave, 2)[0])[0, :3].numpy()  # ln amplitude (3, F, M)
        for ax, picture, name in zip(line, maps, COMPONENTS, strict=True):
            image = ax.imshow(picture, extent=(0, n / rate, 0, rate / 2), **look)
            ax.set_title(f"{text}, {name}", fontsize=9)
            ax.set(xlabel="time (s)", ylabel="frequency (Hz)")
            ax.label_outer()
    drawn.colorbar(image, ax=axes, label="ln amplitude of the standardised record")
    return finish(drawn, study, f"{study.stations[0]}, one record")


@figure(needs=["three recordings"])
def latents(study):
    """TimesNet-Gen's latents: histogram against the normal, correlation of channels, and two principal components."""
    z = study.model("timesnet").encode_records(study.training)[0]
    means, values = z.mean(1).numpy(), z.flatten(0, 1).numpy()  # (n, d), (n t, d)
    standard = ((values - values.mean(0)) / values.std(0)).ravel()
    drawn, axes = plt.subplots(1, 3, figsize=(11, 3.4))
    edges = np.linspace(-5, 5, 81)
    axes[0].hist(standard, edges, density=True, histtype="step", color=role("timesnet").color, label="latents")
    axes[0].plot(edges, np.exp(-(edges**2) / 2) / np.sqrt(2 * np.pi), "--", color="black", label="normal")
    axes[0].set(xlabel="latent, standardised by channel", ylabel="density", ylim=(0, None))
    axes[0].legend(loc="upper right")
    look = {"vmin": -1, "vmax": 1, "cmap": "RdBu_r", "square": True, "xticklabels": 4, "yticklabels": 4}
    sns.heatmap(np.corrcoef(means.T), ax=axes[1], **look)
    axes[1].set(xlabel="channel", ylabel="channel", title="correlation of time-mean latents")
    axes[1].collections[0].colorbar.set_label("correlation")
    left, size, _ = np.linalg.svd(means - means.mean(0), full_matrices=False)
    share = size**2 / (size**2).sum()
    for station, marker in zip(study.stations, "o^sDvP*XhH", strict=False):
        own = (study.training.table["station"] == station).to_numpy()
        axes[2].scatter(*(left[own, :2] * size[:2]).T, s=16, marker=marker, alpha=0.8, label=station)
    axes[2].set(xlabel=f"component 1 ({share[0]:.0%})", ylabel=f"component 2 ({share[1]:.0%})", title="by station")
    axes[2].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return finish(drawn, study, "latents of the training records")


@figure
def mixing(study):
    """A generated record and the recordings whose latents it averages, all standardised: the average is smoother."""
    generated = study.generated("timesnet")
    row = int(np.flatnonzero(generated.table["station"] == study.stations[0])[0])
    parts = study.training.select(station=study.stations[0], event=generated.table["made_from"][row].split(";"))
    drawn, axes = plt.subplots(len(parts) + 1, 1, figsize=(8, 1.0 * len(parts) + 1.6), sharex=True, sharey=True)
    waves = [*parts.waveforms[:, 0], generated.waveforms[row, 0]]
    scales = [wave.std() for wave in waves[:-1]]
    for ax, wave, scale in zip(axes, waves, [*scales, np.mean(scales)], strict=True):
        name, words = ("timesnet", "generated") if ax is axes[-1] else ("training", "recorded")
        ax.plot(times(generated), wave / scale, color=role(name).color, linewidth=0.5)
        ax.set_ylabel(words, fontsize=8)
        text = f"RMS {np.sqrt(np.mean((wave / scale) ** 2)):.2f}"
        ax.text(0.995, 0.9, text, transform=ax.transAxes, ha="right", va="top", fontsize=8)
    axes[-1].set(xlabel="time (s)", xlim=(0, times(generated)[-1]))
    return finish(
        drawn, study, f"{study.stations[0]}, east, each over its own standard deviation; the mix over their mean"
    )


@figure
def waveforms(study):
    """A generated record beside a recording of the same station, three components, with their Fourier spectra."""
    shown, station = ("training", *PAPER_MODELS), study.stations[0]
    drawn, axes = plt.subplots(3, len(shown) + 1, figsize=(3.1 * (len(shown) + 1), 4.8))
    window = np.hanning(13) / np.hanning(13).sum()
    for line, spectra, component, i in zip(axes[:, :-1], axes[:, -1], COMPONENTS, range(3), strict=True):
        for ax, name in zip(line, shown, strict=True):
            some, look = study.some(name), role(name)
            wave = some.waveforms[example_row(some, station), i].astype(float)
            ax.plot(times(some), wave, color=look.color, linewidth=0.5)
            ax.sharey(line[0]) if ax is not line[0] else ax.set_ylabel(f"{component} (cm/s²)")
            frequency = np.fft.rfftfreq(some.n_samples, 1 / some.sampling_rate_in_hz)
            band = (frequency >= 0.2) & (frequency <= some.select(station=station).table["usable_to_hz"].min())
            spectrum = np.convolve(np.abs(np.fft.rfft(wave)) / some.sampling_rate_in_hz, window, "same")
            spectra.loglog(frequency[band], spectrum[band], label=look.label, **look.line)
        spectra.set_ylabel("amplitude (cm/s)")
    titles = {role(name).label: "time (s)" for name in shown} | {"Fourier amplitude": "frequency (Hz)"}
    for ax, last, (title, words) in zip(axes[0], axes[-1], titles.items(), strict=True):
        ax.set_title(title, fontsize=9)
        last.set_xlabel(words)
    return finish(drawn, study, f"{station}, the record of median peak of each", axes[0, -1])


@figure
def branch_weights(study):
    """How the weight of TimesNet-Gen's branches is shared: the larger softmax weight of each record and block."""
    model = study.model("timesnet")
    parts = (part.split(64) for part in model.training_arrays(study.training))  # waveforms and stations
    with torch.no_grad():
        weights = torch.cat([model.branch_weights(*part) for part in zip(*parts, strict=True)], 1)
    largest = weights.max(-1).values.numpy()  # (blocks, n)
    drawn, ax = plt.subplots(figsize=(6, 3))
    edges = np.linspace(1 / model.settings.top_k, 1, 26)
    for block, (values, style) in enumerate(zip(largest, ("-", "--", ":", "-.", "-", "--"), strict=False)):
        text = f"block {block + 1}: above 0.99 in {np.mean(values > 0.99):.0%}"
        ax.hist(values, edges, histtype="step", linestyle=style, label=text)
    ax.set(xlabel="largest branch weight of a record", ylabel="records")
    ax.legend(loc="best")
    return finish(drawn, study, "branch weights of the training records")
