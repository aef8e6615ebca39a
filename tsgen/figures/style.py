"""One table of visual roles: what is drawn in which colour and line, in every figure of the study.

Colours are Okabe and Ito's (2008), told apart by the colour-blind; the line pattern says the same without colour.
"""

from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib.pyplot as plt


@dataclass(frozen=True)
class Role:
    """How one kind of record is drawn."""

    label: str
    color: str
    linestyle: object = "-"
    linewidth: float = 1.4

    @property
    def line(self):
        return {"color": self.color, "linestyle": self.linestyle, "linewidth": self.linewidth}


ROLES = {
    "recorded": Role("recordings (training)", "#000000", "-", 2.0),
    "held_out": Role("recordings (held out)", "#7a7a7a", (0, (1, 1)), 1.8),
    "fresh": Role("fresh truth", "#000000", (0, (1, 1)), 1.4),
    "timesnet_reconstructed": Role("TimesNet-Gen, reconstructed", "#56B4E9", (0, (6, 2))),
    "timesnet": Role("TimesNet-Gen, generated", "#0072B2", "-"),
    "timesnet_energy": Role("TimesNet-Gen, energy weights", "#56B4E9", (0, (5, 1, 1, 1, 1, 1))),
    "cvae_reconstructed": Role("VAE, reconstructed", "#E69F00", (0, (6, 2, 1, 2))),
    "cvae": Role("VAE, generated", "#D55E00", (0, (4, 1.5))),
    "cgm": Role("CGM-GM, generated", "#8B1A4A", (0, (7, 1.5))),
    "control_average": Role("plain average", "#009E73", (0, (3, 1, 1, 1))),
    "control_bootstrap": Role("bootstrap of recordings", "#CC79A7", (0, (2, 2))),
    "control_phase": Role("random phase", "#B59F00", (0, (1, 2))),
    "control_other": Role("another station's generator", "#999999", "-."),
}
SIMILARITY_MAP = "cividis"  # even in lightness, so that it prints in grey
SETTINGS = {
    "figure.dpi": 100,
    "savefig.dpi": 110,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "tsgen",  # same figure, same bytes
}


@contextmanager
def styled():
    """Matplotlib settings of the study, for the time of one figure."""
    with plt.rc_context(SETTINGS):
        yield


def kind_note(study):
    """Text for a figure's title that says whether the records are real."""
    return "simulated records" if study.kind == "simulated" else f"recordings: {study.records_folder.name}"


def frequency_axis(ax, label=True):
    """Logarithmic frequency axis from 1 to 20 Hz with plain numbers."""
    ax.set_xscale("log")
    ax.set_xlim(1, 20)
    ax.set_xticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    ax.minorticks_off()
    if label:
        ax.set_xlabel("frequency (Hz)")
