"""Learning curves: validation accuracy or loss against the training step, one line per round."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tf_lottery.experiment.controls import CONTROLS
from tf_lottery.experiment.rewind_point import starts_trained
from tf_lottery.results.figures.style import say_nothing_recorded, set_percent_axis, styled
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
# These train on after the end of another training, so their steps are no measure of how fast they learn.
GOING_ON = tuple(name for name, control in CONTROLS.items() if control.continues_previous_round)
# These start at step 0 with untrained weights, whatever the ticket starts from.
ANEW = ("random_reinit", "same_sign_reinit", "constant_sign_reinit", "reshuffled_weights", "small_dense")
# The y axis is fitted to the last half of the training, with as much room again on the bad side: the first steps climb
# so steeply that with them on the axis all rounds look the same.
SETTLED = 0.5
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
    curves = [row for row in without_searches(curves) if str(row["variant"]) not in GOING_ON]
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
        colours = round_colours(shown)
        means = {name: mean_curves([row for row in curves if row["variant"] == name], column) for name in panels}
        for axes, name in zip(grid.flat, panels, strict=False):
            draw(axes, means[name], shown, colours)
            axes.set_title(f"Learning curves: {name.replace('_', ' ')}", loc="left")
            axes.set_xlabel("Training step")
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        set_range(grid[0, 0], means, shown, accuracy=column.endswith("accuracy"))
        for axes in grid[:, 0]:
            axes.set_ylabel(NAMES[column])
        add_legend(figure, shown, colours, ticket_densities(rows))
        return figure


def untimed(rewind: str, variants: Sequence[str]) -> list[str]:
    """The variants whose early-stop step does not tell how fast they learn, as they start from trained weights.

    Example:
        >>> untimed("lr", ["ticket", "random_reinit", "dense_longer"]), untimed("init", ["ticket", "dense_longer"])
        (['ticket', 'dense_longer'], ['dense_longer'])
    """
    trained = starts_trained(rewind)
    return [name for name in variants if name in GOING_ON or (trained and name not in ANEW)]


def draw(
    axes: Axes, means: Mapping[int, list[tuple[float, float]]], shown: Sequence[int], colours: Mapping[int, object]
) -> None:
    """One line per shown round."""
    for index in shown:
        if index in means:
            steps, values = zip(*means[index], strict=True)
            axes.plot(steps, values, color=colours[index], linewidth=1.6, marker="." if len(steps) < 3 else None)
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter("{x:,.0f}")


def mean_curves(rows: Sequence[Row], column: str) -> dict[int, list[tuple[float, float]]]:
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


def round_colours(shown: Sequence[int]) -> dict[int, tuple[float, ...]]:
    """Dark for dense to light for sparse, on a map that stays ordered in grey and for colour-blind readers."""
    colormap = matplotlib.colormaps["viridis"]
    # The last tenth is a yellow that vanishes on white.
    return {index: colormap(0.88 * place / max(len(shown) - 1, 1)) for place, index in enumerate(shown)}


def set_range(
    axes: Axes, means: Mapping[str, Mapping[int, list[tuple[float, float]]]], shown: Sequence[int], *, accuracy: bool
) -> None:
    """Fit the y axis to the settled values; the panels share it."""
    last = max(step for lines in means.values() for line in lines.values() for step, _ in line)
    everything, settled = [], []
    for lines in means.values():
        for index in shown:
            for step, value in lines.get(index, ()):
                everything.append(value)
                if step >= SETTLED * last:
                    settled.append(value)
    low, high = min(settled or everything), max(settled or everything)
    # Not less than a point of accuracy: a lone dense round would show nothing but its noise.
    room = max(high - low, 0.01 if accuracy else 0.02 * abs(high)) or 0.02
    # The good end keeps every value on the axis, also an early one.
    if accuracy:
        axes.set_ylim(max(low - room, min(everything) - 0.06 * room), max(everything) + 0.06 * room)
        set_percent_axis(axes)
    else:
        axes.set_ylim(min(everything) - 0.06 * room, min(high + room, max(everything) + 0.06 * room))


def add_legend(
    figure: Figure, shown: Sequence[int], colours: Mapping[int, object], density: Mapping[int, float]
) -> None:
    """One legend beside the panels: round and, where known, percent of weights left."""
    handles, labels = [], []
    for index in shown:
        handles.append(Line2D([], [], color=colours[index], linewidth=2.4))  # type: ignore[arg-type]
        labels.append(f"{index}  ({density_percent(density[index])} %)" if index in density else f"{index}")
    figure.legend(handles, labels, loc="outside right center", title="Round (weights left)" if density else "Round")
