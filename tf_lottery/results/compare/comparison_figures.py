"""The figures of a comparison: a line per run."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from tf_lottery.experiment.directory import TICKET
from tf_lottery.results.figures.bands import MOST_INSIDE, Line, LinePoints, draw_lines
from tf_lottery.results.figures.density_lines import WIDE, WIDTH, density_points, draw_over_density, finish_axes
from tf_lottery.results.figures.style import look, say_nothing_recorded, spaced_densities, styled
from tf_lottery.results.statistics.intervals import CONFIDENCE, LEAST, Interval, band
from tf_lottery.results.statistics.learning_speed import EARLY_STOP
from tf_lottery.results.statistics.values import Row, Spread, has_values, number, select, ticket_densities
from tf_lottery.results.tables.formats import column_kind, column_words, density_percent

COSTS = {
    "steps": ("total training steps", "Training steps to get the ticket, all trainings together"),
    "seconds": ("total training time", "Seconds to get the ticket, all trainings together"),
}
"""What a ticket cost: the words of the title and of the axis, by the column of `cost.cost_table`."""


def score_by_density(runs: Mapping[str, Sequence[Row]], column: str) -> Figure:
    """The tickets' score against density, a line per run; the dotted line is the first run's dense network.

    Args:
        runs: result rows by name.
        column: the score, e.g. "test_accuracy".
    """
    name = column_words(column, capital=True)
    dense = band(row.get(column) for row in select(next(iter(runs.values())), TICKET, 0))
    return draw_over_density(
        _lines(runs, column),
        title=f"{name} of the tickets, by density",
        label=name,
        kind=column_kind(column),
        level=None if dense is None else ("dense", dense.mean),
        densities=_densities(runs),
    )


def early_stop_by_density(runs: Mapping[str, Sequence[Row]], *, without: Collection[str] = ()) -> Figure:
    """The tickets' step of least validation loss against density, a line per run.

    Args:
        runs: result rows by name.
        without: the runs whose tickets start from trained weights: their steps do not show how fast they learn.
    """
    timed = any(has_values(rows, EARLY_STOP) for name, rows in runs.items() if name not in without)
    return draw_over_density(
        _lines(runs, EARLY_STOP, without=without) if timed else [],
        title="Early-stop step of the tickets, by density",
        label="Step of least validation loss",
        kind="count",
        densities=_densities(runs) if timed else (),
        missing="early-stop step",
    )


def _lines(runs: Mapping[str, Sequence[Row]], column: str, *, without: Collection[str] = ()) -> list[Line]:
    """A line per run; a run looks the same in all figures."""
    return [
        Line(name, look(place), density_points(rows, column))
        for place, (name, rows) in enumerate(runs.items())
        if name not in without
    ]


def _densities(runs: Mapping[str, Sequence[Row]]) -> list[float]:
    return [density for rows in runs.values() for density in ticket_densities(rows).values()]


def score_by_cost(table: Sequence[Mapping[str, Any]], column: str, *, cost: str = "steps") -> Figure:
    """Score and density of the tickets against all that it took to get them, a line per run.

    Args:
        table: of `cost.cost_table`.
        column: the score.
        cost: "steps" or "seconds". Rounds whose time is not known are left out.
    """
    title, label = COSTS[cost]
    with styled():
        names = list(dict.fromkeys(str(line["run"]) for line in table))  # a run looks the same in all figures
        table = [line for line in table if line[cost]]
        figure = Figure(figsize=(WIDTH if len(names) < MOST_INSIDE else WIDE, 6.6))
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        above.set_title(f"Score and density, by {title}", loc="left")
        if not table:
            say_nothing_recorded(above, f"training {cost} were")
            below.set_axis_off()
            return figure
        lines = [Line(name, look(place), _cost_points(table, name, column, cost)) for place, name in enumerate(names)]
        draw_lines(above, lines)
        for name, line in zip(names, lines, strict=True):
            own = [entry for entry in table if entry["run"] == name]
            below.plot([entry[cost] for entry in own], [entry["density"] for entry in own], **line.look)
        finish_axes(above, lines, label=column_words(column, capital=True), kind=column_kind(column))
        _set_cost_axis(below, [entry[cost] for entry in table], label)
        _set_density_scale(below, [entry["density"] for entry in table])
        return figure


def _cost_points(table: Sequence[Mapping[str, Any]], name: str, column: str, cost: str) -> LinePoints:
    """(cost, score with its band) of each round of a run."""
    points: list[tuple[float, Interval | Spread]] = []
    for entry in table:
        mean, low, high = (number(entry[f"{column}_{end}"]) for end in ("mean", "low", "high"))
        if entry["run"] == name and mean is not None and low is not None and high is not None:
            count = int(entry["replicates"])
            value = Interval(mean, low, high, count, CONFIDENCE) if count >= LEAST else Spread(mean, low, high, count)
            points.append((float(entry[cost]), value))
    return points


def _set_cost_axis(axes: Axes, costs: Sequence[float], label: str) -> None:
    """Set a logarithmic axis of steps or seconds, labeled at 1, 2 and 5 times powers of ten."""
    axes.set_xscale("log")
    low, high = min(costs), max(costs)
    margin = max((high / low) ** 0.04, 1.05)
    axes.set_xlim(low / margin, high * margin)
    ticks = [factor * 10.0**power for power in range(-3, 13) for factor in (1, 2, 5)]
    inside = [tick for tick in ticks if low / margin <= tick <= high * margin]
    axes.xaxis.set_major_locator(FixedLocator(inside if len(inside) > 1 else sorted({low, high})))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 10 else f"{value:.2g}"))
    axes.set_xlabel(label)


def _set_density_scale(axes: Axes, densities: Sequence[float]) -> None:
    """Set a logarithmic y axis, labeled at densities that are there."""
    positive = [density for density in densities if density > 0]
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator(spaced_densities(positive, most=5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: density_percent(value)))
    axes.margins(y=0.08)
    axes.set_ylabel("Weights remaining (%)")
