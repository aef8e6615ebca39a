"""What the figures share: register, Matplotlib's settings, axes, one way to draw findings (roles: tsgen.roles)."""

from functools import partial, wraps

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch

FIGURES, CAPTIONS = {}, {}  # name: function that takes a Study, and its docstring; ``figure`` fills them
BLUE, ORANGE, GREY, SAME = "#0072B2", "#D55E00", "#aaaaaa", "#cfe3d4"  # SAME: what counts as no difference
SIMILARITY_MAP = "cividis"  # even in lightness, so that it prints in grey
STATISTICS = {"median": "bias (ln ratio of medians)", "spread": "spread (ln ratio of standard deviations)"}
SETTINGS = {"figure.dpi": 100, "savefig.dpi": 110, "figure.constrained_layout.use": True, "font.size": 9}
SETTINGS |= {"axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False}
SETTINGS |= {"legend.frameon": False, "legend.fontsize": 8, "svg.hashsalt": "tsgen"}  # salt: same figure, same bytes


def figure(function=None, *, needs=()):
    """Register a function as the figure of its name, its docstring as the caption. needs: keys of needs.NEEDS; where
    the records lack one, drawing the figure raises needs.Lacking."""
    if function is None:
        return partial(figure, needs=needs)

    @wraps(function)
    def drawn(study):
        study.require(*needs)
        return function(study)

    FIGURES[function.__name__] = drawn
    CAPTIONS[function.__name__] = " ".join(function.__doc__.split())
    return drawn


def styled():
    """A context with the study's Matplotlib settings."""
    return plt.rc_context(SETTINGS)


def finish(drawn, study, title, legend=None, where="outside lower center", ncols=3):
    """The figure with its title, which says whether the records are real, and with one legend of some of its axes."""
    kind = "simulated records" if study.kind == "simulated" else f"recordings: {study.records_folder.name}"
    drawn.suptitle(f"{title} ({kind})", fontsize=10)
    if legend is not None:
        drawn.legend(*known_lines(legend), loc=where, ncols=ncols)
    return drawn


def known_lines(axes):
    """(handles, labels) of all lines that one or more axes name, each once."""
    named = (zip(*ax.get_legend_handles_labels(), strict=True) for ax in np.ravel(axes))
    lines = {label: handle for some in named for handle, label in some}
    return lines.values(), lines.keys()


def plain_ticks(axis, ticks):
    """These ticks alone, with plain numbers: for a logarithmic axis (ax.xaxis or ax.yaxis)."""
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_minor_locator(plt.NullLocator())


def frequency_axis(ax, ticks=(1, 2, 5, 10, 20), label="frequency (Hz)"):
    """Logarithmic axis from the first to the last tick."""
    ax.set(xscale="log", xlim=(ticks[0], ticks[-1]), xlabel=label)
    plain_ticks(ax.xaxis, ticks)


def period_axis(ax, ticks=(0.05, 0.1, 0.2, 0.5, 1, 2, 3)):
    frequency_axis(ax, ticks, "period (s)")
    ax.set_xlim(0.93 * ticks[0], 1.08 * ticks[-1])


def times(records):
    """Seconds (t,) from the start of records."""
    return np.arange(records.n_samples) / records.sampling_rate_in_hz


def station_axes(study, legend, **labels):
    """A figure with a panel over frequency for each target station, and the panels; legend: {text: line}."""
    n, columns = len(study.stations), min(3, len(study.stations))
    rows = -(-(n + 1) // columns)
    drawn, axes = plt.subplots(rows, columns, figsize=(3.3 * columns, 2.4 * rows + 0.4), squeeze=False)
    for ax, station in zip(axes.flat, study.stations, strict=False):
        frequency_axis(ax)
        ax.set(title=station, **labels)
    for ax in axes.flat[n:]:
        ax.set_axis_off()
    lines = [Line2D([], [], label=text, **line) for text, line in legend.items()]
    axes.flat[n].legend(handles=lines, loc="center")  # in a panel of its own it hides no curve
    return drawn, axes.flat[:n]


def similarity(ax, values, colorbar):
    """A matrix of similarities from 0 to 1."""
    sns.heatmap(values, ax=ax, vmin=0, vmax=1, cmap=SIMILARITY_MAP, square=True, cbar=colorbar)
    if colorbar:
        ax.collections[0].colorbar.set_label("similarity of f0")


def draw_findings(ax, rows, x, look, label=None, marker=None, band=True, sideways=False, **style):
    """Findings (a table) over x, in the look of a Role: a line with its intervals as a band, or markers with bars. x:
    one number a row, or the name of a column. sideways: x upwards, values to the right. style: of the errorbar."""
    if not len(rows):
        return
    x = rows[x] if isinstance(x, str) else x
    value, low, high = (rows[name].to_numpy(float) for name in ("value", "low", "high"))
    label = label or look.label
    if marker is None:
        ax.plot(x, value, label=label, **look.line)
        if band:
            ax.fill_between(x, low, high, color=look.color, alpha=0.15, linewidth=0)
        return
    bars = {"xerr" if sideways else "yerr": np.abs([value - low, high - value])}
    style = {"color": look.color, "linestyle": "none", "markersize": 4} | style
    ax.errorbar(*((value, x) if sideways else (x, value)), marker=marker, label=label, **bars, **style)


def no_difference(ax, bound=None, sideways=False):
    """A line at 0, and in green what counts as the same."""
    line, span = (ax.axvline, ax.axvspan) if sideways else (ax.axhline, ax.axhspan)
    line(0, color="black", linewidth=0.6)
    if bound is not None:
        span(-bound, bound, color=SAME, zorder=0)


def draw_score(ax, row, y, **bar):
    """One finding as a dot with its interval, its value above it."""
    value, low, high = (float(row[name]) for name in ("value", "low", "high"))
    ax.errorbar(value, y, xerr=np.abs([[value - low], [high - value]]), marker="o", elinewidth=2, **bar)
    beside = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center", "fontsize": 8}
    ax.annotate(f"{value:.2f}", (value, y), **beside)


def boxes(texts, size, limits, width=1.2):
    """(figure, axes, x of their middles) of boxes in a row, an arrow from each to the next; limits: of y."""
    drawn, ax = plt.subplots(figsize=size)
    look = {"boxstyle": "round,pad=0.04", "facecolor": "#eef3f8", "edgecolor": BLUE}
    left = 1.5 * np.arange(len(texts))
    for x, text in zip(left, texts, strict=True):
        ax.add_patch(FancyBboxPatch((x, 0), width, 1, **look))
        ax.text(x + width / 2, 0.5, text, ha="center", va="center", fontsize=8)
        if x:
            arrow(ax, (x - 1.5 + width + 0.05, 0.5), (x - 0.05, 0.5), color="black")
    ax.set(xlim=(-0.2, left[-1] + width / 2 + 0.8), ylim=limits)
    ax.axis("off")
    return drawn, ax, left + width / 2


def arrow(ax, tail, tip, text="", where=(0, 0), color=ORANGE):
    ax.annotate("", tip, tail, arrowprops={"arrowstyle": "->", "color": color})
    ax.text(*where, text, ha="center", va="center", fontsize=8, color=color)
