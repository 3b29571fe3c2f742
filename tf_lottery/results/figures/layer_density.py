"""Where the weights stay: the density of every layer, round by round."""

import math
from collections import defaultdict
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from tf_lottery.results.figures.style import look, new_axes, say_nothing_recorded, styled
from tf_lottery.results.statistics.values import Row, number, spread
from tf_lottery.results.tables.formats import density_percent

MOST_LINES = 7
LADDER = (1.0, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001)
LONGEST_NAME = 34


def layer_density(layers: Sequence[Row]) -> Figure:
    """Density of each layer of the ticket against the round, on a logarithmic axis.

    Up to seven layers are lines, more are a heat map with a row per layer. Replicates are averaged. A layer without
    weights left has no logarithm: its line ends, and the legend says in which round it was emptied.

    Args:
        layers: dictionaries with replicate, round, variant, layer (the weight's path), kept and total.
    """
    density = _densities(layers)
    with styled():
        if len(density) > MOST_LINES:
            return _heat_map(density)
        figure, axes = new_axes(title="Density of each layer, by round")
        if not density:
            say_nothing_recorded(axes, "layer densities were")
            return figure
        for position, (name, values) in enumerate(density.items()):
            rounds = sorted(values)
            points = [values[index] if values[index] > 0 else math.nan for index in rounds]
            axes.plot(rounds, points, label=_layer_label(name, values), **look(position))
        axes.set_yscale("log")
        _set_density_ticks(axes, [value for values in density.values() for value in values.values()])
        _set_round_axis(axes)
        axes.set_ylabel("Weights remaining in the layer (%)")
        axes.legend(loc="lower left")
        return figure


def _heat_map(density: dict[str, dict[int, float]]) -> Figure:
    """A row per layer and a column per round; lighter is sparser, and an emptied layer is left white."""
    rounds = sorted({index for values in density.values() for index in values})
    grid = np.array([[values.get(index, math.nan) for index in rounds] for values in density.values()])
    positive = grid[np.isfinite(grid) & (grid > 0)]
    low = float(positive.min()) if positive.size else 0.1
    height = min(1.8 + 0.26 * len(density), 24.0)
    figure, axes = new_axes(title="Density of each layer, by round", width=8.4, height=height)
    image = axes.imshow(
        np.ma.masked_where(~(grid > 0), grid),
        aspect="auto",
        interpolation="nearest",
        cmap=matplotlib.colormaps["viridis_r"],
        norm=LogNorm(vmin=min(low, 0.9), vmax=1.0),
        extent=(-0.5, len(rounds) - 0.5, len(density) - 0.5, -0.5),
    )
    axes.grid(False)
    step = -(-len(rounds) // 18)
    axes.set_xticks(range(0, len(rounds), step), [str(index) for index in rounds[::step]])
    # Rows are at least 0.2 inch high up to some hundred layers; beyond that every n-th name is written.
    every = -(-len(density) // 110)
    names = [_layer_label(name, values) for name, values in density.items()]
    axes.set_yticks(range(0, len(names), every), names[::every], fontsize=8.5)
    axes.set_xlabel("Round")
    bar = figure.colorbar(image, ax=axes, label="Weights remaining (%)", fraction=0.05, pad=0.02, aspect=45)
    bar.ax.yaxis.set_major_locator(FixedLocator([tick for tick in LADDER if tick >= min(low, 0.9) * 0.999]))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: density_percent(value)))
    return figure


def _densities(layers: Sequence[Row]) -> dict[str, dict[int, float]]:
    """For each layer, in the order of the model, its mean density in each round of the ticket."""
    groups: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in layers:
        kept, total = number(row.get("kept")), number(row.get("total"))
        if row["variant"] == "ticket" and kept is not None and total:
            groups[str(row["layer"])][int(row["round"])].append(kept / total)
    return {
        name: {index: mean.mean for index, group in rounds.items() if (mean := spread(group)) is not None}
        for name, rounds in groups.items()
    }


def _layer_label(name: str, values: dict[int, float]) -> str:
    """The layer's name, cut in the middle if it is long, and the round in which it was emptied."""
    half = (LONGEST_NAME - 3) // 2
    short = name if len(name) <= LONGEST_NAME else f"{name[:half]}...{name[-half:]}"
    emptied = [index for index, value in values.items() if value == 0]
    # matplotlib keeps labels that begin with an underscore out of legends.
    short = f" {short}" if short.startswith("_") else short
    return f"{short} (empty from round {min(emptied)})" if emptied else short


def _set_density_ticks(axes: Axes, values: Sequence[float]) -> None:
    """Ticks at 100, 70, 50, 30, 20, 10, ... percent, as far down as the data go."""
    low = min((value for value in values if value > 0), default=1.0)
    bottom = min(low / 1.15, 0.45)
    axes.set_ylim(bottom, 1.12)
    ticks = [tick for tick in LADDER if tick >= bottom]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: density_percent(value)))


def _set_round_axis(axes: Axes) -> None:
    """Whole rounds from 0; a run of one round still has an axis."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=14, min_n_ticks=1))
    left, right = axes.get_xlim()
    if right - left < 1:
        axes.set_xlim(left - 0.5, right + 0.5)
    axes.set_xlabel("Round")
