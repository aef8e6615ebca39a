"""Figures that a reader moves: sliders in a live notebook, elsewhere pictures at three values side by side.

A function under ``moving`` takes a Study and gives a title, ``draw(axes, **values)``, and {what a slider sets: (all its
values, the three that are drawn where nothing moves)}.
"""

import importlib.util
import os
from dataclasses import replace
from functools import partial, wraps

import matplotlib.pyplot as plt
import numpy as np

from tsgen import generate, hvsr, intensity
from tsgen.evidence import scenarios
from tsgen.figures import style
from tsgen.figures.data import example_row
from tsgen.figures.scenario import NEEDS
from tsgen.ground_motion import joyner_boore, prediction
from tsgen.measures import PERIODS_IN_S
from tsgen.model import standardise, waveforms_of
from tsgen.records import Records
from tsgen.roles import role

SLIDERS = {}  # name: function that takes a Study and shows the figure with its sliders
BANDWIDTHS = (5, 10, 15, 20, 30, 40, 60, 80, 120, 160)
N_MIXES = 40  # whose amplitude and duration are shown
N_WAVES = 12  # generated at one scenario
MAGNITUDES, DISTANCES_IN_KM = (4.5, 5.0, 5.5, 6.0, 6.5, 7.0), (10, 15, 20, 30, 45, 70, 110, 160)


def is_live():
    """Whether sliders help: in a notebook that someone reads, not in one that a run or a test executes."""
    bare = os.environ.get("TSGEN_STATIC") or importlib.util.find_spec("ipywidgets") is None
    return not bare and _in_kernel()


def _in_kernel():
    from IPython import get_ipython  # which a machine that only trains need not have

    return hasattr(get_ipython(), "kernel")


def moving(function=None, *, rows=1, share="row", needs=()):
    """Register a figure of ``rows`` panels, whose axes the pictures share ("row" or "none"); needs: as style.figure."""
    if function is None:
        return partial(moving, rows=rows, share=share, needs=needs)

    def drawn(study, title, draw, several):
        size = {"figsize": (10 if len(several) > 1 else 6, 1.0 + 2.2 * rows), "squeeze": False}
        made, axes = plt.subplots(rows, len(several), sharex=share, sharey=share, **size)
        for column, values in zip(axes.T, several, strict=True):
            draw(column, **values)
            column[0].set_title(", ".join(f"{name} {value:g}" for name, value in values.items()))
        for ax in axes[:, 1:].flat if share == "row" else ():
            ax.set_ylabel("")
        named = axes[-1, 0] if axes[-1, 0].get_legend_handles_labels()[0] else None
        return style.finish(made, study, title, named)

    @wraps(function)
    def still(study):
        title, draw, choices = function(study)
        three = zip(*(few for _, few in choices.values()), strict=True)
        return drawn(study, title, draw, [dict(zip(choices, values, strict=True)) for values in three])

    def sliders(study):
        from IPython.display import display
        from ipywidgets import SelectionSlider, interact

        study.require(*needs)
        title, draw, choices = function(study)

        def redraw(**values):
            with style.styled():
                made = drawn(study, title, draw, [values])
                display(made)
                plt.close(made)

        look = {"continuous_update": False, "style": {"description_width": "initial"}}
        given = choices.items()
        interact(redraw, **{name: SelectionSlider(options=every, value=few[1], **look) for name, (every, few) in given})

    SLIDERS[function.__name__] = sliders
    style.figure(still, needs=needs)
    return function


@moving(rows=2, share="none")
def fold_period(study):
    """A sine and a record folded at the period where the record is strongest, one sample off, and at its double. What
    repeats lines up as vertical stripes; the share of the variance that the mean cycle holds says the same."""
    wave = study.training.take([example_row(study.training, study.stations[0])]).waveforms[0, 0].astype(float)
    best = len(wave) // int(1 + np.abs(np.fft.rfft(wave))[1:].argmax())
    series = {f"a sine of {best} samples": np.sin(2 * np.pi * np.arange(len(wave)) / best), "a record, E": wave}

    def draw(axes, period):
        for ax, (name, values) in zip(axes, series.items(), strict=True):
            folded = values[: len(values) // period * period].reshape(-1, period)  # (cycles, samples of one)
            held, most = folded.mean(axis=0).var() / folded.var(), np.abs(values).max()
            ax.imshow(folded, aspect="auto", interpolation="nearest", cmap="RdBu_r", vmin=-most, vmax=most)
            ax.set(xlabel="sample within the period", ylabel="period number")
            said = f"{name}: the mean cycle holds {held:.0%}"
            ax.text(0.02, 0.03, said, transform=ax.transAxes, fontsize=7, bbox={"color": "white", "pad": 2})

    choices = {"period": (range(2, 3 * best + 1), (best, best + 1, 2 * best))}
    return "a sine and a record, folded at a period in samples", draw, choices


@moving
def smoothing_bandwidth(study):
    """HVSR of one record and the median of its station, smoothed with a wide, the usual and a narrow window of Konno
    and Ohmachi. A wide window (small b) moves and flattens the peak, a narrow one lets noise choose it."""
    own, settings = study.training.select(station=study.stations[0]), study.settings.hvsr
    row = example_row(own, study.stations[0])

    def draw(axes, b):
        found = hvsr.hvsr(own, replace(settings, bandwidth=float(b)))
        shown = {"one record": (found.curves[row], {"color": style.GREY, "linewidth": 0.8})}
        shown[f"median of {len(own)} records"] = found.median, role("training").line
        for label, (curve, look) in shown.items():
            axes[0].plot(found.frequency_in_hz, curve, label=label, **look)
        axes[0].axvline(np.nanmedian(found.f0_in_hz), color=style.ORANGE, linestyle="--", label="median f0")
        style.frequency_axis(axes[0])
        axes[0].set(yscale="log", ylabel="HVSR")

    return f"{study.stations[0]}, smoothing by b", draw, {"b": (BANDWIDTHS, (10, 40, 160))}


@moving(rows=3)
def mixed_k(study):
    """Averages of k standardised recordings of one station: a waveform, and over k the amplitude and the duration that
    are left. Amplitude falls as theory says of incoherent records, −½ ln k, and the motion lasts longer."""
    own = study.training.select(station=study.stations[0])
    standard = Records(standardise(waveforms_of(own), 2)[0].numpy(), own.sampling_rate_in_hz, own.table)
    ks = range(1, min(12, len(own)) + 1)
    mixes = {k: generate.mix(generate.PlainAverage(), standard, N_MIXES, k, seed=study.seed) for k in ks}
    ln_std = [0.5 * np.log(some.waveforms.var(axis=2).mean()) for some in mixes.values()]
    duration = [intensity.measures(some)["d5_95_in_s"].median() for some in mixes.values()]
    look = role("control_average")

    def draw(axes, k):
        axes[0].plot(style.times(own), mixes[k].waveforms[0, 0], color=look.color, linewidth=0.5)
        axes[0].set(xlabel="time (s)", ylabel="E, in std of a record")
        for ax, values, words in zip(axes[1:], (ln_std, duration), ("ln std", "D5-95 (s), median"), strict=True):
            ax.plot(ks, values, label="plain average of k recordings", **look.line)
            ax.plot(k, values[k - 1], "o", color=look.color)
            ax.set(xlabel="k", ylabel=words)
        axes[1].plot(ks, -0.5 * np.log(ks), color="black", linestyle=":")
        axes[2].plot([], [], color="black", linestyle=":", label="theory, −½ ln k")

    return f"{study.stations[0]}, k recordings averaged", draw, {"k": (ks, [min(k, len(own)) for k in (1, 5, 12)])}


@moving(needs=NEEDS)
def scenario_spectrum(study):
    """Response spectra that CGM-GM generates for a magnitude and a distance, beside the ground-motion model BSSA14 and,
    on the simulated default, fresh truth: medians, bands from 16 to 84 %."""
    vs30, depth = scenarios.vs30_of(study, study.stations[0]), scenarios.DEPTH_IN_KM
    limits = scenarios.reach(study)
    site = vs30 if np.isfinite(vs30) else scenarios.PLAIN_VS30, PERIODS_IN_S, "turkey", depth

    def draw(axes, magnitude, distance):
        row = scenarios.one_scenario(study, magnitude, distance)
        sets = {"cgm": scenarios.generated(study, row, N_WAVES)}
        if study.kind == "simulated":
            sets["fresh"] = scenarios.truth(study, row.loc[row.index.repeat(N_WAVES)])
        for which, some in sets.items():
            low, middle, high = np.percentile(intensity.rotd(some, PERIODS_IN_S, (50,))[0], (16, 50, 84), axis=0)
            axes[0].plot(PERIODS_IN_S, middle, label=role(which).label, **role(which).line)
            axes[0].fill_between(PERIODS_IN_S, low, high, color=role(which).color, alpha=0.15, linewidth=0)
        median, ln_std = (each[0] for each in prediction("BSSA14", magnitude, joyner_boore(distance, depth), *site))
        look = role("control_average").line
        axes[0].plot(PERIODS_IN_S, median, label="BSSA14, Turkey, ± sigma", **look)
        for sign in (-1, 1):
            axes[0].plot(PERIODS_IN_S, median * np.exp(sign * ln_std), **look | {"linewidth": 0.6})
        style.period_axis(axes[0])
        axes[0].set(yscale="log", ylabel="PSA, RotD50 (cm/s²)")
        asked = zip((magnitude, distance), (limits["magnitude"], limits["distance_in_km"]), strict=True)
        if not all(low <= value <= high for value, (low, high) in asked):
            axes[0].text(0.03, 0.05, "beyond what was trained on", transform=axes[0].transAxes, fontsize=8)

    choices = {"magnitude": (MAGNITUDES, (5.0, 5.5, 6.0)), "distance": (DISTANCES_IN_KM, (20, 30, 70))}
    return f"{study.stations[0]}, a magnitude and a distance in km", draw, choices
