"""The look shared by all figures: style, colors, markers, and the density axis of the literature."""

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from tf_lottery.experiment.controls import CONTROLS
from tf_lottery.results.tables.formats import density_percent

# Okabe & Ito's palette, which people with the common color-vision deficiencies can distinguish; and each variant has a
# marker and a dash of its own, for print in grey. After seven the colors repeat, with hollow markers.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h", "<", ">", "p", "*", "d", "8", "x", "H")
Dash = str | tuple[float, tuple[float, ...]]
DASHES: tuple[Dash, ...] = (
    *("-", "--", "-.", ":", "-", "--", "-."),
    *((0, (6, 1, 1, 1, 1, 1)), (0, (3, 1)), (0, (1, 2)), (0, (8, 2)), (0, (2, 2)), (0, (5, 1, 2, 1)), (0, (1, 1))),
    *((0, (4, 3)), (0, (7, 1, 2, 1))),
)
GREY = "#5f6570"
STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#8a8f99",
    "axes.grid": True,
    "axes.labelsize": 11,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 12,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.09,
    "figure.constrained_layout.w_pad": 0.09,
    "figure.dpi": 100,
    "font.size": 10.5,
    "grid.color": "#e4e6ea",
    "grid.linewidth": 0.8,
    "legend.fontsize": 9.5,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "#d5d8de",
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
    "savefig.dpi": 150,
    # Names of layers are text, also when they hold dollar signs.
    "text.parse_math": False,
    # Ids inside an SVG are hashed with this, instead of being random.
    "svg.hashsalt": "tf_lottery",
}


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Draw or save with the look of this library, whatever the user's matplotlib settings are, and put those back."""
    with matplotlib.style.context(STYLE, after_reset=True):
        yield


def look(position: int) -> dict[str, Any]:
    """Color, marker and dash of the line at `position`: sixteen that differ, then the same again."""
    color = COLORS[position % len(COLORS)]
    index = position % len(MARKERS)
    hollow = {"markerfacecolor": "white", "markeredgewidth": 1.3} if index >= len(COLORS) else {}
    return {"color": color, "marker": MARKERS[index], "linestyle": DASHES[index], **hollow}


def variant_look(variant: str) -> dict[str, Any]:
    """The look of a variant, the same in every figure and run, whichever others there are."""
    names = ("ticket", *CONTROLS)
    return look(names.index(variant) if variant in names else len(names))


def new_axes(*, title: str, width: float = 7.0, height: float = 4.3) -> tuple[Figure, Axes]:
    """A figure with one pair of axes.

    Args:
        title: above the axes.
        width: in inches.
        height: in inches.
    """
    figure = Figure(figsize=(width, height))
    axes = figure.add_subplot()
    axes.set_title(title, loc="left")
    return figure, axes


def say_nothing_recorded(axes: Axes, what: str) -> None:
    """Fill axes that have no data with a sentence: an empty frame would look like a fault.

    Args:
        axes: the axes.
        what: what is missing, to end "No ... recorded", e.g. "early-stop step".
    """
    axes.set_axis_off()
    axes.text(0.5, 0.5, f"No {what} recorded.", ha="center", va="center", transform=axes.transAxes, color=GREY)


def spaced_densities(densities: Sequence[float], *, most: int = 9) -> list[float]:
    """The densities to label on a logarithmic axis: real ones, so far apart that the labels do not touch.

    The densest and the sparsest are always among them.

    Args:
        densities: the densities of a run, fractions.
        most: how many labels fit.

    Example:
        >>> spaced_densities([1.0, 0.8, 0.64, 0.1], most=3)
        [1.0, 0.1]
    """
    descending = sorted({density for density in densities if density > 0}, reverse=True)
    if len(descending) <= 1:
        return descending
    gap = math.log(descending[0] / descending[-1]) / most
    chosen = [descending[0]]
    for density in descending[1:-1]:
        if math.log(chosen[-1] / density) >= gap and math.log(density / descending[-1]) >= gap:
            chosen.append(density)
    return [*chosen, descending[-1]]


def set_density_axis(axes: Axes, densities: Sequence[float]) -> None:
    """Set a logarithmic x axis from dense (left) to sparse (right), labeled in percent at densities of the run.

    Args:
        axes: the axes.
        densities: the densities of the run, fractions.
    """
    positive = [density for density in densities if density > 0]
    axes.set_xscale("log")
    high, low = max(positive, default=1.0), min(positive, default=1.0)
    # A margin of 4 % of the length on each side; a run of one round still needs an axis of some length.
    margin = max((high / low) ** 0.04, 1.02)
    axes.set_xlim(high * margin, low / margin)
    axes.xaxis.set_major_locator(FixedLocator(spaced_densities(positive)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: density_percent(value)))
    axes.set_xlabel("Weights remaining (%)")


def set_percent_axis(axes: Axes) -> None:
    """Set a y axis of fractions without room above 100 %, in percent with as many decimals as its ticks need."""
    low, high = axes.get_ylim()
    # matplotlib gives a single value a range of its own size; two points around it are what a reader expects.
    if len({round(float(y), 12) for line in axes.get_lines() for y in np.ravel(line.get_ydata())}) == 1:
        low, high = max((low + high) / 2 - 0.02, 0.0), (low + high) / 2 + 0.02
    axes.set_ylim(low, min(high, 1.0 + 0.03 * (1.0 - low)) if low < 1.0 else high)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 2.5, 5, 10]))
    ticks = [tick for tick in axes.get_yticks() if math.isfinite(tick)]
    step = 100 * min((b - a for a, b in itertools.pairwise(ticks)), default=1.0)
    digits = next((n for n in range(4) if abs(round(step, n) - step) < 1e-9), 4)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.{digits}f}"))
