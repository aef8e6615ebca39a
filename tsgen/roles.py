"""The one table of who is who: how each set of records is called and drawn, in every table and figure of the study.

Colours are Okabe and Ito's (2008), told apart by the colour-blind; the line pattern says the same without colour.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Role:
    """label: in tables and legends; described: in a sentence of its own, where a reader meets it first."""

    label: str
    color: str
    linestyle: object = "-"
    described: str = ""
    linewidth: float = 1.4

    @property
    def line(self):
        return {"color": self.color, "linestyle": self.linestyle, "linewidth": self.linewidth}


ROLES = {
    "training": Role("recordings (training)", "#000000", "-", "recordings: training against held-out", 2.0),
    "held_out": Role("recordings (held out)", "#7a7a7a", (0, (1, 1)), linewidth=1.8),
    "fresh": Role("fresh truth", "#000000", (0, (1, 1))),
    "reconstructed-timesnet": Role("TimesNet-Gen, reconstructed", "#56B4E9", (0, (6, 2))),
    "timesnet": Role("TimesNet-Gen", "#0072B2", "-"),
    "timesnet_energy": Role("TimesNet-Gen, energy weights", "#56B4E9", (0, (5, 1, 1, 1, 1, 1))),
    "timesnet_dirichlet": Role("TimesNet-Gen, Dirichlet weights", "#0072B2", (0, (2, 1))),
    "timesnet_next_station": Role("TimesNet-Gen, told the next station", "#0072B2", (0, (5, 2))),
    "timesnet_no_station": Role("TimesNet-Gen, told no station", "#0072B2", (0, (1, 1))),
    "reconstructed-cvae": Role("VAE, reconstructed", "#E69F00", (0, (6, 2, 1, 2))),
    "cvae": Role("VAE", "#D55E00", (0, (4, 1.5)), "conditional VAE (our reconstruction)"),
    "cgm": Role("CGM-GM", "#8B1A4A", (0, (7, 1.5))),
    "evolve": Role("evolve (ours)", "#E69F00", "-", "our generator, evolve", 2.0),
    "control_average": Role(
        "plain average", "#009E73", (0, (3, 1, 1, 1)), "control: plain average of five recordings, no network"
    ),
    "control_average_dirichlet": Role("plain average, Dirichlet weights", "#009E73", (0, (2, 1))),
    "control_bootstrap": Role("bootstrap of recordings", "#CC79A7", (0, (2, 2)), "control: recordings drawn again"),
    "control_phase": Role(
        "random phase", "#B59F00", (0, (1, 2)), "control: noise with the station's mean spectrum and envelope"
    ),
    "control_renoised": Role(
        "re-noised recordings",
        "#117733",
        (0, (9, 1.5, 1, 1.5)),
        "control: re-noised recordings, whose shape new noise takes",
    ),
    "control_regression": Role(
        "regressed spectrogram", "#7F4F24", (0, (8, 2, 2, 2)), "control: regression of the spectrogram, no network"
    ),
    "control_stochastic": Role(
        "stochastic method", "#332288", (0, (1, 3)), "control: stochastic method with the station's fitted spectrum"
    ),
    "control_shift": Role(
        "shifted background",
        "#E66100",
        (0, (1, 1, 4, 1)),
        "control: shifted background, station's mean, others' scatter",
    ),
    "control_other": Role("another station's generator", "#999999", "-.", "control: another station's generator"),
    "gmm": Role("ground-motion model, the region's bias", "#777777", (0, (2, 4))),
    "gmm_station": Role("ground-motion model with a station term", "#777777", (0, (6, 1, 1, 1))),
    "ideal": Role("who knows the true covariances", "#000000", (0, (1, 1))),
}


def role(name):
    """The Role of a subject; one that is not in the table is called by its own name and drawn grey."""
    return ROLES.get(name, Role(name, "#555555"))


def label(name):
    return role(name).label


def described(name):
    return role(name).described or role(name).label
