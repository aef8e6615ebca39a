"""Figures that teach an idea before a result needs it: what a picture cannot tell, the stochastic method, two
histograms, a folded sine, and how the two models of the paper are built (notebooks 00 to 04)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from tsgen import findings, ground_motion, metrics
from tsgen.figures import style
from tsgen.figures.data import example_row
from tsgen.figures.style import BLUE, GREY, ORANGE, arrow, boxes, figure, finish
from tsgen.simulate import motion, site, source

QUIZ = ("control_average", "training", "control_phase", "control_renoised", "held_out", "control_regression")
EXAMPLE = {"magnitude": 5.5, "stress_drop_in_bar": 150.0, "distance_in_km": 30.0}
EXAMPLE |= {"corner_ratio": 1.0, "broadening": 1.0}
SINE_PERIOD, WRONG_PERIOD, SINE_ROWS = 16, 17, 24  # samples, samples, rows shown
MAGNITUDE_BINS = ((4.4, 4.7), (5.2, 5.8), (6.1, 6.5))
USUAL_VS30_IN_M_PER_S = 400.0  # where the records do not say it


@figure
def quiz(study):
    """Six accelerograms of one station, east, each over its peak, two recorded and four made."""
    drawn, axes = plt.subplots(3, 2, figsize=(10, 4.6), sharex=True, sharey=True)
    for letter, name, ax in zip("ABCDEF", QUIZ, axes.flat, strict=True):
        own = study.some(name if len(study.some(name)) else "training")  # nothing may be held out
        wave = own.waveforms[example_row(own, study.stations[0]), 0].astype(float)
        ax.plot(style.times(own), wave / np.abs(wave).max(), color="black", linewidth=0.5)
        ax.text(0.985, 0.92, letter, transform=ax.transAxes, ha="right", va="top", fontsize=13, fontweight="bold")
        ax.set(xlim=(0, own.duration_in_s), ylim=(-1.05, 1.05))
        ax.label_outer()
    for ax in axes[-1]:
        ax.set_xlabel("time (s)")
    drawn.supylabel("acceleration over its peak", fontsize=9)
    return finish(drawn, study, f"{study.stations[0]}: two are recordings, four are made")


@figure
def stochastic_method(study):
    """Boore's stochastic method: source times path times site is the spectrum that windowed noise takes."""
    s = study.settings.simulation
    f0, rate, n = s.target_f0_in_hz[0], s.sampling_rate_in_hz, s.n_samples
    frequency = np.fft.rfftfreq(n, 1 / rate)[1:]
    shown = frequency >= 0.1
    of = EXAMPLE["magnitude"], EXAMPLE["stress_drop_in_bar"]
    at_source = source.source_spectrum(frequency, *of, 1.0, loss=0.0, kappa_in_s=0.0)[0]  # at 1 km, nothing lost
    path = source.source_spectrum(frequency, *of, EXAMPLE["distance_in_km"])[0] / at_source
    soft = site.SHEAR_VELOCITY_IN_M_PER_S * f0**site.VELOCITY_EXPONENT
    rock = soft * s.impedance_contrast * site.DENSITIES[0] / site.DENSITIES[1]
    layer = soft / (4 * f0), np.array([soft]), site.DENSITIES[0], s.damping
    gain = np.abs(site.site_amplification(frequency, *layer, rock, site.DENSITIES[1]))
    noise = np.random.default_rng(2).standard_normal(n)
    windowed = noise * motion.envelope(s, pd.DataFrame([EXAMPLE]), "S", 2 * n)[0]
    spectrum = np.fft.rfft(windowed)
    spectrum[1:] *= rate * at_source * path * gain  # the window has unit energy
    spectrum[0] = 0
    drawn, axes = plt.subplots(2, 4, figsize=(11.5, 4.8))
    corner = source.corner_frequency(*of)
    parts = {f"source: M {of[0]:g}, corner {corner:.2f} Hz": (at_source, "amplitude (cm/s)")}
    parts |= {f"path: {EXAMPLE['distance_in_km']:g} km": (path, "factor")}
    parts |= {f"site: a soft layer, f0 {f0:g} Hz": (gain, "factor")}
    parts |= {"source × path × site": (at_source * path * gain, "amplitude (cm/s)")}
    for ax, (title, (values, unit)) in zip(axes[0], parts.items(), strict=True):
        ax.loglog(frequency[shown], values[shown], color=ORANGE if ax is axes[0, 3] else "black")
        ax.set(title=title, ylabel=unit)
    axes[0, 0].axvline(corner, color=GREY, linestyle=":")
    axes[0, 2].axvline(f0, color=GREY, linestyle=":")
    time = np.arange(n) / rate
    axes[1, 0].plot(time, noise, color=BLUE, linewidth=0.4)
    axes[1, 1].plot(time, windowed, color=BLUE, linewidth=0.4)
    axes[1, 2].loglog(frequency[shown], np.abs(np.fft.rfft(windowed))[1:][shown], color=BLUE, linewidth=0.5)
    axes[1, 3].plot(time, np.fft.irfft(spectrum, n), color=ORANGE, linewidth=0.5)
    titles = "white noise", "… in the window of S", "… its spectrum, level on average", "… times the product: a record"
    for ax, title in zip(axes[1], titles, strict=True):
        ax.set(title=title, xlabel="time (s)")
    axes[1, 3].set_ylabel("acceleration (cm/s²)")
    for ax in (*axes[0], axes[1, 2]):
        style.frequency_axis(ax, (0.1, 1, 10))
        ax.set_xlim(0.1, rate / 2)
    drawn.suptitle("the stochastic method, S waves of one simulated record", fontsize=10)
    return drawn


@figure(needs=["magnitudes"])
def pga_distance(study):
    """PGA of the target stations' records against distance in three bins of magnitude; line and band: what a
    ground-motion model of other records (BSSA14) predicts, median and one standard deviation."""
    frame = study.measures("targets")
    vs30 = frame["vs30_in_m_per_s"].median()
    vs30 = vs30 if np.isfinite(vs30) else USUAL_VS30_IN_M_PER_S
    drawn, axes = plt.subplots(1, 3, figsize=(10, 3.3), sharex=True, sharey=True)
    distance = np.geomspace(11, 150, 30)
    near = ground_motion.joyner_boore(distance, 10.0)
    for ax, (low, high) in zip(axes, MAGNITUDE_BINS, strict=True):
        some = frame[frame["magnitude"].between(low, high)]
        middle = max((low + high) / 2, ground_motion.MAGNITUDES[0])
        median, ln_std = ground_motion.prediction("BSSA14", middle, near, vs30, [0.0])
        for factor in (-1, 1):
            ax.plot(distance, median * np.exp(factor * ln_std), color=GREY, linewidth=0.8)
        ax.plot(distance, median, color="black", label=f"BSSA14, M {middle:g}, Vs30 {vs30:.0f} m/s")
        ax.plot(some["distance_in_km"], np.exp(some["pga"]), ".", color=BLUE, markersize=4, label="records")
        ax.set(xscale="log", yscale="log", xlabel="distance (km)", title=f"M {low:g} to {high:g}")
        style.plain_ticks(ax.xaxis, (10, 20, 50, 100))
        ax.legend(loc="upper right")
    axes[0].set_ylabel("PGA, RotD50 (cm/s²)")
    return finish(drawn, study, "how strong records are, beside a ground-motion model")


@figure(needs=["two stations"])
def two_histograms(study):
    """The f0 histograms of the two most alike target stations, and what each bin adds to their divergence."""
    f0, s = study.f0("targets"), study.settings.f0
    alike = np.nan_to_num(metrics.station_matrix({"real": f0}, settings=s).to_numpy(), nan=-1.0)
    pair = np.unravel_index(np.argmax(alike - 2 * np.eye(len(alike))), alike.shape)
    names = [study.stations[i] for i in sorted(pair)]
    p, q = (metrics.f0_histogram(f0[name], s) for name in names)
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = sum(np.nan_to_num(side * np.log2(side / middle)) for side in (p, q)) / 2
    edges = np.linspace(s.lowest_in_hz, s.highest_in_hz, s.n_bins + 1)
    drawn, (left, right) = plt.subplots(1, 2, figsize=(10, 3.3), sharex=True)
    left.stairs(middle, edges, fill=True, color="#e4e4e4", label="m, their mean")
    for name, side, letter, (color, line) in zip(names, (p, q), "pq", ((BLUE, "-"), (ORANGE, "--")), strict=True):
        left.stairs(side, edges, color=color, linestyle=line, linewidth=1.6, label=f"{letter}, {name}")
    right.stairs(terms, edges, fill=True, color="#555555")
    shown = np.flatnonzero(middle > 0).max(initial=0) + 3
    left.set(xlabel="f0 (Hz)", ylabel="share of records", xlim=(edges[0], edges[min(shown, s.n_bins)]))
    left.legend()
    similarity = float(metrics.js_similarity(p, q, s))
    sums = f"sum {findings.number((1 - similarity) ** 2)} bits: similarity 1 − √ of it = {findings.number(similarity)}"
    right.set(xlabel="f0 (Hz)", ylabel="½ (p log₂ p/m + q log₂ q/m)", title=sums)
    return finish(drawn, study, "f0 of the two target stations that are most alike")


@figure
def fold_sine(study):
    """A sine folded at its own period stands in vertical stripes; folded one sample wrong, the stripes lean."""
    wave = np.sin(2 * np.pi * np.arange(SINE_ROWS * WRONG_PERIOD) / SINE_PERIOD)
    drawn, axes = plt.subplots(1, 3, figsize=(10, 3), width_ratios=(1.4, 1, 1))
    axes[0].plot(wave[: 8 * SINE_PERIOD], color="black", linewidth=0.9)
    axes[0].set(xlabel="sample", ylabel="amplitude", title=f"a sine of {SINE_PERIOD} samples, its first 8 cycles")
    for ax, period, words in zip(axes[1:], (SINE_PERIOD, WRONG_PERIOD), ("right", "one too long"), strict=True):
        folded = wave[: SINE_ROWS * period].reshape(SINE_ROWS, period)
        image = ax.imshow(folded, interpolation="nearest", aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1)
        ax.set(xlabel="sample within the period", ylabel="row", title=f"folded at {period}: {words}")
    drawn.colorbar(image, ax=axes[2], label="amplitude")
    drawn.suptitle("folding (a computed sine, no record)", fontsize=10)
    return drawn


@figure
def times_block(study):
    """Inside a TimesBlock: spectrum, strongest periods, folding, convolution, unfolding, weighted sum, and the input
    added."""
    s = study.settings.timesnet
    k, d, n = s.top_k, s.d_model, s.n_samples
    texts = [f"x\n(T, d)\nT = {n}, d = {d}", f"amplitude\nspectrum\nits {k} strongest\nfrequencies f"]
    texts += ["fold at p = T / f\n(T, d) →\n(rows, p, d)"]
    texts += [f"inception\n{d} → {s.d_ff}, GELU,\ninception\n{s.d_ff} → {d}", "unfold\n(rows, p, d) →\n(T, d)"]
    texts += [f"sum of the\n{k} branches\nby weight", "+", "norm\nnext block\nor z"]
    drawn, ax, x = boxes(texts, (10.5, 3.2), (-1.4, 1.8))
    arrow(ax, (x[2], 1.42), (x[2], 1.06), f"{k} branches: one a period, each with its own map", (x[3], 1.55))
    ax.plot([x[1], x[1], x[5]], [-0.05, -0.5, -0.5], color=ORANGE, linewidth=1)
    words = "weights: softmax of the amplitudes at the chosen frequencies"
    arrow(ax, (x[5], -0.5), (x[5], -0.06), words, (x[3], -0.68))
    ax.plot([x[0], x[0], x[6]], [-0.05, -1.0, -1.0], color="#7a7a7a", linestyle="--", linewidth=1)
    arrow(ax, (x[6], -1.0), (x[6], -0.06), "the input as it was (residual)", (x[3], -1.17), "#555555")
    drawn.suptitle("one TimesBlock of this run's TimesNet-Gen", fontsize=10)
    return drawn


@figure
def cvae_architecture(study):
    """The conditional VAE of this run: encoder to a posterior, a draw from it, and the mirrored decoder."""
    s, model = study.settings.cvae, study.untrained("cvae")
    first, last = model.shapes[0], model.shapes[-1]
    widths, smallest = ", ".join(map(str, s.channels)), f"{last[0]} × {last[1]}\n× {s.channels[-1]} numbers"
    texts = [f"9 maps\nln |STFT|, cos, sin\nof E, N, Z\n{first[0]} × {first[1]}"]
    texts += [f"encoder\n{len(s.channels)} convolutions\nstride 2\nwidths {widths}", smallest]
    texts += [f"posterior\nmean μ, ln σ²\n{s.latent} each", f"latent\nz = μ + σ ε\n{s.latent} numbers", smallest]
    texts += ["decoder\nthe same, mirrored", "9 maps\nback to a record"]
    drawn, ax, x = boxes(texts, (10.5, 3.0), (-0.95, 2.25), width=1.25)
    noise = "training: ε ~ N(0, 1)\ngeneration: z drawn from\nthe station's Gaussian"
    arrow(ax, (x[4], 1.4), (x[4], 1.06), noise, (x[4], 1.78))
    given = f"station, an embedding of {s.station_embedding}\n(phase 1)"
    arrow(ax, (x[5], -0.35), (x[5], -0.06), given, (x[5], -0.6))
    arrow(ax, (x[3], -0.06), (x[3], -0.35), "KL to N(0, 1)\ntimes β", (x[3], -0.6), "#555555")
    drawn.suptitle("the conditional VAE of this run", fontsize=10)
    return drawn
