"""Figures that studies share: lines with bands over density, or over any other number."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from matplotlib.figure import Figure

from tf_lottery.results.figures.bands import MOST_INSIDE, Line, draw_lines
from tf_lottery.results.figures.density_lines import draw_over_density, finish_axes
from tf_lottery.results.figures.learning_curves import spread_rounds
from tf_lottery.results.figures.style import look, set_density_axis, styled
from tf_lottery.results.statistics.values import spread
from tf_lottery.results.tables.formats import density_percent

LEGEND_INCHES = 2.0
# Figures and tables of rounds side by side show at most so many of them.
MOST_ROUNDS = 6
# The values of the replicates by position on the x axis; None for a missing one.
ValuesByX: TypeAlias = Mapping[float, Sequence[float | None]]


def plot_by_density(
    lines: Mapping[str, ValuesByX],
    *,
    title: str,
    ylabel: str,
    percent: bool = False,
    level: tuple[str, float] | None = None,
    from_zero: bool = False,
) -> Figure:
    """Plot a line per name over density, dense on the left: the mean over replicates, with their range as a band.

    Args:
        lines: for each name, the values of the replicates by density; missing ones are None.
        title: the title of the figure.
        ylabel: the label of the y axis, with its unit.
        percent: whether values are fractions, shown in percent.
        level: the label and the value of a horizontal line, e.g. ("stable", 0.02).
        from_zero: whether the y axis begins at 0.
    """
    return draw_over_density(
        _lines(lines),
        title=title,
        label=ylabel,
        kind="percent" if percent else "loss",
        level=level,
        from_zero=from_zero,
        legend=len(lines) > 1 or level is not None,
    )


def plot_panels(
    panels: Mapping[str, Mapping[str, ValuesByX]],
    *,
    xlabel: str,
    ylabel: str,
    percent: bool = False,
    density: bool = False,
    columns: int = 2,
    one_scale: bool = True,
) -> Figure:
    """Plot a panel per title with a line per name in it; all panels share their y axis.

    Args:
        panels: for each title, for each name, the values of the replicates by position on the x axis.
        xlabel: the label of the x axis.
        ylabel: the label of the y axis, with its unit.
        percent: whether values are fractions, shown in percent.
        density: whether the x axis is of densities.
        columns: the most panels side by side.
        one_scale: whether the panels share their x axis, too.
    """
    with styled():
        across = min(columns, max(len(panels), 1))
        down = max(-(-len(panels) // across), 1)
        names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
        beside = LEGEND_INCHES if len(names) > MOST_INSIDE else 0.0
        figure = Figure(figsize=(4.7 * across + 0.6 + beside, 3.7 * down + 0.2))
        grid = figure.subplots(down, across, sharex=one_scale, sharey=True, squeeze=False)
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_axis_off()
        shown = list(grid.flat)[: len(panels)]
        drawn = [_lines(lines, order=names) for lines in panels.values()]
        for axes, title, lines in zip(shown, panels, drawn, strict=True):
            axes.set_title(title, loc="left")
            draw_lines(axes, lines)
        if density:
            xs = [x for lines in panels.values() for points in lines.values() for x in points]
            for axes in shown:
                set_density_axis(axes, xs)
        for position, (axes, lines) in enumerate(zip(shown, drawn, strict=True)):
            finish_axes(
                axes,
                lines,
                label=ylabel if position % across == 0 else "",
                kind="percent" if percent else "loss",
                legend=position == 0 and len(lines) > 1,
            )
            if not density:
                axes.set_xlabel(xlabel)
            # Shared axes hide these on all rows but the last, which may be shorter.
            axes.xaxis.set_tick_params(labelbottom=True)
        return figure


def _lines(lines: Mapping[str, ValuesByX], *, order: Sequence[str] = ()) -> list[Line]:
    """Lines of means with their ranges; the look of a name is its place in `order`."""
    names = list(order) or list(lines)
    return [
        Line(
            name,
            look(names.index(name)),
            [(x, value) for x, values in sorted(points.items()) if (value := spread(values)) is not None],
        )
        for name, points in lines.items()
    ]


def round_labels(densities: Mapping[int, float]) -> dict[int, str]:
    """Return the labels of the rounds that a figure shows, e.g. `round 3 (51.3 %)`, by round.

    Args:
        densities: the density of each round, a fraction, in order of rounds.
    """
    shown = spread_rounds(list(densities), most=MOST_ROUNDS)
    return {number: f"round {number} ({density_percent(densities[number])} %)" for number in shown}


def values_by_x(rows: Sequence[Mapping[str, Any]], *, x: str, y: str, **where: Any) -> dict[float, list[float | None]]:
    """Return the values of one column by those of another one, for a line of a figure.

    Args:
        rows: table rows; rows without a value of `x` are left out.
        x: the column of the position on the x axis.
        y: the column of the values.
        **where: values of other columns that a row must have.

    Example:
        >>> rows = [{"round": 0, "density": 1.0, "error": 0.25}, {"round": 1, "density": 0.5, "error": 0.5}]
        >>> values_by_x(rows, x="density", y="error", round=1)
        {0.5: [0.5]}
    """
    values: dict[float, list[float | None]] = {}
    for row in rows:
        if row.get(x) is not None and all(row.get(column) == value for column, value in where.items()):
            values.setdefault(float(row[x]), []).append(row.get(y))
    return values
