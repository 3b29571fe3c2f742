"""Learning curves: validation accuracy or loss against the training step, one line per round."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tf_lottery.results.figures.style import say_nothing_recorded, set_percent_axis, styled
from tf_lottery.results.statistics.learning_speed import CONTINUING
from tf_lottery.results.statistics.values import (
    Row,
    first_recorded,
    number,
    spread,
    ticket_densities,
    variants,
    without_searches,
)
from tf_lottery.results.tables.formats import density_percent

MOST_LINES = 7
# The y axis is fitted to the last half of the training, with as much room again on the bad side: the first steps climb
# so steeply that with them on the axis all rounds look the same.
FITTED_PART = 0.5
NAMES = {
    "val_accuracy": "Validation accuracy (%)",
    "val_loss": "Validation loss",
    "train_accuracy": "Training accuracy (%)",
    "train_loss": "Training loss",
}


def learning_curves(curves: Sequence[Row], rows: Sequence[Row] = ()) -> Figure:
    """Validation accuracy (without one: loss) against step, a panel per variant, a line per round.

    Of many rounds seven are shown, evenly spread, the first and the last among them. A line is the mean over
    replicates. Controls that train on after the end of another training are left out. The y axis is fitted to the
    second half of the training, so the steep first steps are cut off.

    Args:
        curves: dictionaries with replicate, round, variant, step and the metrics at that step.
        rows: result rows, for the densities in the legend; without them rounds are numbered only.
    """
    # What trains on after the end of another training has steps far to the right of all others.
    curves = [row for row in without_searches(curves) if str(row["variant"]) not in CONTINUING]
    column = first_recorded(curves, tuple(NAMES))
    with styled():
        if column is None:
            figure = Figure(figsize=(7.0, 4.3))
            axes = figure.add_subplot()
            axes.set_title("Learning curves", loc="left")
            say_nothing_recorded(axes, "learning curves were")
            return figure
        panels = variants(curves)
        across = min(len(panels), 3 if len(panels) <= 6 else 4)
        wide, high = (5.2, 4.3) if across <= 3 else (4.0, 3.3)
        down = -(-len(panels) // across)
        figure = Figure(figsize=(wide * across + 1.9, high * down))
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        shown = spread_rounds([int(row["round"]) for row in curves])
        colors = _round_colors(shown)
        means = {name: _mean_curves([row for row in curves if row["variant"] == name], column) for name in panels}
        for axes, name in zip(grid.flat, panels, strict=False):
            _draw(axes, means[name], shown, colors)
            axes.set_title(f"Learning curves: {name.replace('_', ' ')}", loc="left")
            axes.set_xlabel("Training step")
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        _fit_range(grid[0, 0], means, shown, accuracy=column.endswith("accuracy"))
        for axes in grid[:, 0]:
            axes.set_ylabel(NAMES[column])
        _add_legend(figure, shown, colors, ticket_densities(rows))
        return figure


def _draw(
    axes: Axes, means: Mapping[int, list[tuple[float, float]]], shown: Sequence[int], colors: Mapping[int, object]
) -> None:
    """One line per shown round."""
    for index in shown:
        if index in means:
            steps, values = zip(*means[index], strict=True)
            axes.plot(steps, values, color=colors[index], linewidth=1.6, marker="." if len(steps) < 3 else None)
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter("{x:,.0f}")


def _mean_curves(rows: Sequence[Row], column: str) -> dict[int, list[tuple[float, float]]]:
    """For each round the (step, mean over replicates) pairs, by step."""
    values: dict[int, dict[float, list[object]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        step = number(row.get("step"))
        if step is not None:
            values[int(row["round"])][step].append(row.get(column))
    result = {}
    for index, steps in values.items():
        line = [(step, mean.mean) for step in sorted(steps) if (mean := spread(steps[step])) is not None]
        if line:
            result[index] = line
    return result


def spread_rounds(rounds: Sequence[int], *, most: int = MOST_LINES) -> list[int]:
    """At most `most` of the rounds, evenly spread, with the first and the last.

    Args:
        rounds: rounds, in any order, with repetitions.
        most: how many, at least 2.

    Example:
        >>> spread_rounds(range(36))
        [0, 6, 12, 18, 23, 29, 35]
    """
    distinct = sorted(set(rounds))
    if len(distinct) <= most:
        return distinct
    # Half a position is rounded up, in whole numbers: `round` would go to even and leave uneven gaps.
    last = len(distinct) - 1
    return [distinct[(2 * position * last + most - 1) // (2 * (most - 1))] for position in range(most)]


def _round_colors(shown: Sequence[int]) -> dict[int, tuple[float, ...]]:
    """Dark for dense to light for sparse, on a map that stays ordered in grey and for color-blind readers."""
    colormap = matplotlib.colormaps["viridis"]
    # The last tenth is a yellow that vanishes on white.
    return {index: colormap(0.88 * place / max(len(shown) - 1, 1)) for place, index in enumerate(shown)}


def _fit_range(
    axes: Axes, means: Mapping[str, Mapping[int, list[tuple[float, float]]]], shown: Sequence[int], *, accuracy: bool
) -> None:
    """Fit the y axis to the values of the second half; the panels share it."""
    last = max(step for lines in means.values() for line in lines.values() for step, _ in line)
    everything, late = [], []
    for lines in means.values():
        for index in shown:
            for step, value in lines.get(index, ()):
                everything.append(value)
                if step >= FITTED_PART * last:
                    late.append(value)
    low, high = min(late or everything), max(late or everything)
    # Not less than a point of accuracy: a lone dense round would show nothing but its noise.
    room = max(high - low, 0.01 if accuracy else 0.02 * abs(high)) or 0.02
    # The good end keeps every value on the axis, also an early one.
    if accuracy:
        axes.set_ylim(max(low - room, min(everything) - 0.06 * room), max(everything) + 0.06 * room)
        set_percent_axis(axes)
    else:
        axes.set_ylim(min(everything) - 0.06 * room, min(high + room, max(everything) + 0.06 * room))


def _add_legend(
    figure: Figure, shown: Sequence[int], colors: Mapping[int, object], density: Mapping[int, float]
) -> None:
    """One legend beside the panels: round and, where known, percent of weights left."""
    handles, labels = [], []
    for index in shown:
        handles.append(Line2D([], [], color=colors[index], linewidth=2.4))  # type: ignore[arg-type]
        labels.append(f"{index}  ({density_percent(density[index])} %)" if index in density else f"{index}")
    figure.legend(handles, labels, loc="outside right center", title="Round (weights left)" if density else "Round")
