"""Figures of the models at work: folding, losses, latents (notebooks 03, 04 and 05)."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch

from tsgen.figures.data import example_row
from tsgen.figures.style import ROLES, SIMILARITY_MAP, kind_note
from tsgen.records import COMPONENTS
from tsgen.study import PAPER_MODELS


def fold(study):
    """One record folded at the two strongest periods of its spectrum: along a row one cycle, down the rows time."""
    one = study.training.take([example_row(study)])
    wave = one.waveforms[0, 0].astype(float)
    rate, n = one.sampling_rate_in_hz, one.n_samples
    amplitude = np.abs(np.fft.rfft(wave))
    amplitude[0] = 0
    strongest = np.argsort(amplitude)[::-1][:2]
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), width_ratios=(1.4, 1, 1))
    axes[0].plot(np.arange(n) / rate, wave, color="black", linewidth=0.5)
    axes[0].set(xlabel="time (s)", ylabel="acceleration, E (cm/s²)", title="a record")
    limit = np.abs(wave).max()
    for ax, frequency in zip(axes[1:], strongest, strict=True):
        period = n // frequency
        rows = -(-n // period)
        folded = np.pad(wave, (0, rows * period - n)).reshape(rows, period)
        image = ax.imshow(folded, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        ax.set(xlabel="sample within the period", ylabel="period number")
        ax.set_title(f"folded at {period} samples ({period / rate:.2f} s)")
    figure.colorbar(image, ax=axes[2], label="cm/s²")
    return figure


def _training(study, name):
    losses = study.history(name).frame
    phases = sorted(losses["phase"].unique())
    figure, axes = plt.subplots(1, len(phases), figsize=(4.2 * len(phases), 3), squeeze=False)
    titles = {0: "phase 0: background", 1: "phase 1: fine-tuning"}
    for ax, phase in zip(axes[0], phases, strict=True):
        part = losses[losses["phase"] == phase]
        ax.plot(part["epoch"] + 1, part["training_loss"], "o-", color=ROLES[name].color, label="training")
        if part["validation_loss"].notna().any():
            ax.plot(part["epoch"] + 1, part["validation_loss"], "s--", color="black", markersize=4, label="diagnostics")
        ax.set(xlabel="epoch", ylabel="loss", title=titles[phase], ylim=(0, None))
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend()
    return figure


def training_timesnet(study):
    """TimesNet-Gen's loss by epoch in both phases, on the records trained on and on those kept for diagnostics."""
    return _training(study, "timesnet")


def training_cvae(study):
    """The VAE baseline's loss by epoch in both phases; the weight of its Kullback-Leibler term rises in phase 0."""
    return _training(study, "cvae")


def spectrogram_cvae(study):
    """A recording's amplitude spectrograms and the VAE's reconstruction of them, three components."""
    row = example_row(study)
    transform = study.model("cvae").spectrogram
    figure, axes = plt.subplots(2, 3, figsize=(9.5, 4.6), sharex=True, sharey=True)
    rate, n = study.training.sampling_rate_in_hz, study.training.n_samples
    for line, (some, text) in zip(
        axes, ((study.training, "recording"), (study.reconstructed("cvae"), "VAE, reconstructed")), strict=True
    ):
        wave = torch.from_numpy(np.array(some.take([row]).waveforms))
        standardised = (wave - wave.mean(2, keepdim=True)) / wave.std(2, keepdim=True)
        maps = transform.analyse(standardised)[0, :3].numpy()  # ln amplitude (3, F, M)
        for ax, picture, name in zip(line, maps, COMPONENTS, strict=True):
            extent = (0, n / rate, 0, rate / 2)
            image = ax.imshow(
                picture, origin="lower", aspect="auto", extent=extent, vmin=-5, vmax=2, cmap=SIMILARITY_MAP
            )
            ax.set_title(f"{text}, {name}", fontsize=9)
        line[0].set_ylabel("frequency (Hz)")
    for ax in axes[-1]:
        ax.set_xlabel("time (s)")
    figure.colorbar(image, ax=axes, label="ln amplitude of the standardised record")
    return figure


def latents(study):
    """TimesNet-Gen's latents: histogram against the normal, correlation of channels, and two principal components."""
    z = study.model("timesnet").encode_records(study.training)[0]
    means = z.mean(1).numpy()  # (n, d)
    values = z.reshape(-1, z.shape[2]).numpy()
    standard = ((values - values.mean(0)) / values.std(0)).ravel()
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4))
    edges = np.linspace(-5, 5, 81)
    axes[0].hist(standard, edges, density=True, histtype="step", color=ROLES["timesnet"].color, label="latents")
    axes[0].plot(edges, np.exp(-(edges**2) / 2) / np.sqrt(2 * np.pi), "--", color="black", label="normal")
    axes[0].set(xlabel="latent, standardised by channel", ylabel="density", ylim=(0, None))
    axes[0].legend(loc="upper right")
    sns.heatmap(
        np.corrcoef(means.T), ax=axes[1], vmin=-1, vmax=1, cmap="RdBu_r", square=True, xticklabels=4, yticklabels=4
    )
    axes[1].set(xlabel="channel", ylabel="channel", title="correlation of time-mean latents")
    axes[1].collections[0].colorbar.set_label("correlation")
    left, size, _ = np.linalg.svd(means - means.mean(0), full_matrices=False)
    share = size**2 / (size**2).sum()
    for station, marker in zip(study.stations, "o^sDvP*XhH", strict=False):
        own = (study.training.table["station"] == station).to_numpy()
        axes[2].scatter(*(left[own, :2] * size[:2]).T, s=16, marker=marker, alpha=0.8, label=station)
    axes[2].set(xlabel=f"component 1 ({share[0]:.0%})", ylabel=f"component 2 ({share[1]:.0%})")
    axes[2].set_title("principal components by station")
    axes[2].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def mixing(study):
    """A generated record and the recordings whose latents it averages, all standardised: the average is smoother."""
    generated = study.generated("timesnet")
    row = int(np.flatnonzero(generated.table["station"] == study.stations[0])[0])
    made_from = generated.table["made_from"][row].split(";")
    parts = study.training.select(station=study.stations[0], event=made_from)
    time = np.arange(generated.n_samples) / generated.sampling_rate_in_hz
    figure, axes = plt.subplots(len(parts) + 1, 1, figsize=(8, 1.0 * len(parts) + 1.6), sharex=True, sharey=True)
    waves = [*parts.waveforms[:, 0], generated.waveforms[row, 0]]
    mean_std = np.mean([wave.std() for wave in waves[:-1]])
    scales = [wave.std() for wave in waves[:-1]] + [mean_std]
    for ax, wave, scale in zip(axes, waves, scales, strict=True):
        last = ax is axes[-1]
        ax.plot(time, wave / scale, color=ROLES["timesnet" if last else "recorded"].color, linewidth=0.5)
        rms = np.sqrt(np.mean((wave / scale) ** 2))
        ax.set_ylabel("generated" if last else "recorded", fontsize=8)
        ax.text(0.995, 0.9, f"RMS {rms:.2f}", transform=ax.transAxes, ha="right", va="top", fontsize=8)
    axes[-1].set(xlabel="time (s)", xlim=(0, time[-1]))
    figure.suptitle(f"{study.stations[0]}, east, each over its own std; the mix over the mean std", fontsize=10)
    return figure


def waveforms(study):
    """A generated record beside a recording of the same station, three components, with their Fourier spectra."""
    names = [name for name in ("timesnet", "cvae") if name in PAPER_MODELS]
    shown = [("recorded", study.training)] + [(name, study.generated(name)) for name in names]
    station = study.stations[0]
    figure, axes = plt.subplots(3, len(shown) + 1, figsize=(3.1 * (len(shown) + 1), 4.8), squeeze=False)
    frequency = None
    for column, (role, some) in enumerate(shown):
        own = some.select(station=station)
        peaks = np.abs(own.waveforms).max(axis=(1, 2))
        one = own.waveforms[np.argsort(peaks)[len(own) // 2]].astype(float)
        frequency = np.fft.rfftfreq(own.n_samples, 1 / own.sampling_rate_in_hz)
        band = (frequency >= 0.2) & (frequency <= own.table["usable_to_hz"].min())
        time = np.arange(own.n_samples) / own.sampling_rate_in_hz
        for row in range(3):
            axes[row, column].plot(time, one[row], color=ROLES[role].color, linewidth=0.5)
            if column:
                axes[row, column].sharey(axes[row, 0])
            spectrum = np.abs(np.fft.rfft(one[row])) / own.sampling_rate_in_hz
            axes[row, -1].loglog(
                frequency[band], _smoothed(spectrum)[band], label=ROLES[role].label, **ROLES[role].line
            )
        axes[0, column].set_title(ROLES[role].label, fontsize=9)
        axes[-1, column].set_xlabel("time (s)")
    for row in range(3):
        axes[row, 0].set_ylabel(f"{COMPONENTS[row]} (cm/s²)")
        axes[row, -1].set_ylabel("amplitude (cm/s)")
    axes[-1, -1].set_xlabel("frequency (Hz)")
    axes[0, -1].set_title("Fourier amplitude", fontsize=9)
    figure.legend(*axes[0, -1].get_legend_handles_labels(), loc="outside lower center", ncols=len(shown))
    figure.suptitle(f"{station}, the record of median peak of each ({kind_note(study)})", fontsize=10)
    return figure


def _smoothed(spectrum, half=6):
    return np.convolve(spectrum, np.hanning(2 * half + 1) / np.hanning(2 * half + 1).sum(), "same")


def branch_weights(study):
    """How the weight of TimesNet-Gen's branches is shared: the larger softmax weight of each record and block."""
    model = study.model("timesnet")
    index = model.station_index(study.training)
    x = model.training_arrays(study.training)[0]
    with torch.no_grad():
        weights = torch.cat([model.branch_weights(*part) for part in zip(x.split(64), index.split(64), strict=True)], 1)
    largest = weights.max(-1).values.numpy()  # (blocks, n)
    figure, ax = plt.subplots(figsize=(6, 3))
    edges = np.linspace(1 / model.settings.top_k, 1, 26)
    for block, (values, style) in enumerate(zip(largest, ("-", "--", ":", "-.", "-", "--"), strict=False)):
        text = f"block {block + 1}: above 0.99 in {np.mean(values > 0.99):.0%}"
        ax.hist(values, edges, histtype="step", linestyle=style, label=text)
    ax.set(xlabel="largest branch weight of a record", ylabel="records")
    ax.legend(loc="best")
    return figure


FIGURES = {
    function.__name__: function
    for function in (
        fold,
        training_timesnet,
        training_cvae,
        spectrogram_cvae,
        latents,
        branch_weights,
        mixing,
        waveforms,
    )
}
