"""The figures of a comparison: a line per run."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from tf_lottery.results.figures.bands import MOST_INSIDE, Line, add_legend, draw_lines
from tf_lottery.results.figures.run_figures import by_density, words
from tf_lottery.results.figures.style import (
    GREY,
    look,
    new_axes,
    say_nothing_recorded,
    set_density_axis,
    set_percent_axis,
    spaced_densities,
    styled,
)
from tf_lottery.results.statistics.intervals import CONFIDENCE, LEAST, Interval, band
from tf_lottery.results.statistics.values import Row, Spread, has_values, number, select, ticket_densities
from tf_lottery.results.tables.formats import density_percent


def score_by_density(runs: Mapping[str, Sequence[Row]], column: str) -> Figure:
    """The tickets' score against density, a line per run; the dotted line is the first run's dense network.

    Args:
        runs: result rows by name.
        column: the score, e.g. "test_accuracy".
    """
    with styled():
        figure, axes = new_axes(title=f"{words(column)} of the tickets, by density", width=width(runs))
        first = next(iter(runs.values()))
        dense = band(row.get(column) for row in select(first, "ticket", 0))
        if dense is not None:
            axes.axhline(dense.mean, color=GREY, linestyle=(0, (1, 1.5)), linewidth=1.3, label="dense", zorder=1.5)
        draw(axes, runs, column)
        axes.set_ylabel(f"{words(column)} (%)" if column.endswith("accuracy") else words(column))
        if column.endswith("accuracy"):
            set_percent_axis(axes)
        return figure


def early_stop_by_density(runs: Mapping[str, Sequence[Row]], *, without: Collection[str] = ()) -> Figure:
    """The tickets' step of least validation loss against density, a line per run.

    Args:
        runs: result rows by name.
        without: the runs whose tickets start from trained weights: their steps do not tell how fast they learn.
    """
    with styled():
        figure, axes = new_axes(title="Early-stop step of the tickets, by density", width=width(runs))
        if not any(has_values(rows, "early_stop_step") for name, rows in runs.items() if name not in without):
            say_nothing_recorded(axes, "early-stop step")
            return figure
        draw(axes, runs, "early_stop_step", without=without)
        axes.set_ylim(bottom=0.0)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.set_ylabel("Step of least validation loss")
        return figure


def draw(axes: Axes, runs: Mapping[str, Sequence[Row]], column: str, *, without: Collection[str] = ()) -> None:
    """A line per run with bands, and the density axis over all of them; a run looks the same in all figures."""
    lines = [
        Line(name, look(place), by_density(rows, column))
        for place, (name, rows) in enumerate(runs.items())
        if name not in without
    ]
    draw_lines(axes, lines)
    set_density_axis(axes, [density for rows in runs.values() for density in ticket_densities(rows).values()])
    axes.margins(y=0.08)
    add_legend(axes, lines)


def cost(table: Sequence[Mapping[str, Any]], column: str) -> Figure:
    """Score and density of the tickets against all the training steps that it took to get them, a line per run.

    Args:
        table: of `cost.cost_table`.
        column: the score.
    """
    with styled():
        names = list(dict.fromkeys(str(line["run"]) for line in table))
        figure = Figure(figsize=(9.4 if len(names) > MOST_INSIDE - 1 else 7.0, 6.6))
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        above.set_title("Score and density, by total training steps", loc="left")
        if not table:
            say_nothing_recorded(above, "training steps were")
            below.set_axis_off()
            return figure
        lines = [Line(name, look(place), points(table, name, column)) for place, name in enumerate(names)]
        draw_lines(above, lines)
        for name, line in zip(names, lines, strict=True):
            own = [entry for entry in table if entry["run"] == name]
            below.plot([entry["steps"] for entry in own], [entry["density"] for entry in own], **line.look)
        add_legend(above, lines)
        above.set_ylabel(f"{words(column)} (%)" if column.endswith("accuracy") else words(column))
        above.margins(y=0.08)
        if column.endswith("accuracy"):
            set_percent_axis(above)
        set_steps_axis(below, [entry["steps"] for entry in table])
        set_density_scale(below, [entry["density"] for entry in table])
        return figure


def points(table: Sequence[Mapping[str, Any]], name: str, column: str) -> list[tuple[float, Interval | Spread]]:
    """(steps, score with its band) of each round of a run."""
    found: list[tuple[float, Interval | Spread]] = []
    for entry in table:
        mean, low, high = (number(entry[f"{column}_{end}"]) for end in ("mean", "low", "high"))
        if entry["run"] == name and mean is not None and low is not None and high is not None:
            count = int(entry["replicates"])
            value = Interval(mean, low, high, count, CONFIDENCE) if count >= LEAST else Spread(mean, low, high, count)
            found.append((float(entry["steps"]), value))
    return found


def set_steps_axis(axes: Axes, steps: Sequence[float]) -> None:
    """A logarithmic axis of steps, labelled at 1, 2 and 5 times powers of ten."""
    axes.set_xscale("log")
    low, high = min(steps), max(steps)
    margin = max((high / low) ** 0.04, 1.05)
    axes.set_xlim(low / margin, high * margin)
    ticks = [factor * 10.0**power for power in range(13) for factor in (1, 2, 5)]
    inside = [tick for tick in ticks if low / margin <= tick <= high * margin]
    axes.xaxis.set_major_locator(FixedLocator(inside if len(inside) > 1 else sorted({low, high})))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("Training steps to get the ticket, all trainings together")


def set_density_scale(axes: Axes, densities: Sequence[float]) -> None:
    """A logarithmic y axis, labelled at densities that are there."""
    positive = [density for density in densities if density > 0]
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator(spaced_densities(positive, most=5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: density_percent(value)))
    axes.margins(y=0.08)
    axes.set_ylabel("Weights remaining (%)")


def width(runs: Mapping[str, Sequence[Row]]) -> float:
    """Inches, with room for a legend beside the axes where there are many runs."""
    return 7.0 if len(runs) < MOST_INSIDE else 9.4
