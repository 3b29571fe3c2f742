"""Lines over density, dense on the left: the figure that runs, comparisons, studies and claims share."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tf_lottery.experiment.directory import TICKET
from tf_lottery.results.figures.bands import MOST_INSIDE, Line, LinePoints, add_legend, draw_lines
from tf_lottery.results.figures.style import (
    GREY,
    new_axes,
    say_nothing_recorded,
    set_density_axis,
    set_percent_axis,
    styled,
)
from tf_lottery.results.statistics.intervals import band
from tf_lottery.results.statistics.values import Row, select, ticket_densities
from tf_lottery.results.tables.formats import Kind

# Inches of a figure; the wide one has room for a legend beside the axes.
WIDTH, WIDE = 7.0, 9.4


def density_points(rows: Sequence[Row], column: str, *, variant: str = TICKET) -> LinePoints:
    """(density, mean with its band) of each round that has a value, from dense to sparse.

    A control is drawn at the ticket's density of its round, also one without masks: that is the ticket it is there for.

    Args:
        rows: result rows of one run.
        column: what is drawn.
        variant: the ticket or a control.
    """
    points = []
    for index, density in ticket_densities(rows).items():
        value = band(row.get(column) for row in select(rows, variant, index))
        if value is not None and density > 0:
            points.append((density, value))
    return sorted(points, key=lambda point: -point[0])


def draw_over_density(
    lines: Sequence[Line],
    *,
    title: str,
    label: str,
    kind: Kind = "loss",
    level: tuple[str, float] | None = None,
    densities: Sequence[float] = (),
    from_zero: bool = False,
    legend: bool = True,
    missing: str = "values were",
) -> Figure:
    """A figure with a line per name over density: the mean over replicates, with its interval or range as a band.

    Args:
        lines: the lines; those without points are left out.
        title: above the axes.
        label: of the y axis.
        kind: how values are written: `percent` (fractions), `count` (steps, from 0 on) or `loss`.
        level: a horizontal line with its name, e.g. ("dense", 0.97).
        densities: what the x axis covers; by default those of the lines.
        from_zero: whether the y axis begins at 0.
        legend: whether to name the lines.
        missing: what is missing where there are no densities, to end "No ... recorded".
    """
    with styled():
        names = len(lines) + (level is not None)
        figure, axes = new_axes(title=title, width=WIDTH if names <= MOST_INSIDE else WIDE)
        covered = densities or [density for line in lines for density, _ in line.points]
        if not covered:
            say_nothing_recorded(axes, missing)
            return figure
        draw_lines(axes, lines)
        set_density_axis(axes, covered)
        finish_axes(axes, lines, label=label, kind=kind, level=level, from_zero=from_zero, legend=legend)
        return figure


def finish_axes(
    axes: Axes,
    lines: Sequence[Line],
    *,
    label: str,
    kind: Kind = "loss",
    level: tuple[str, float] | None = None,
    from_zero: bool = False,
    legend: bool = True,
) -> None:
    """Draw what belongs to lines: the level line, the margins, the y axis and the legend.

    Args:
        axes: where the lines are drawn.
        lines: the lines, for the legend.
        label: of the y axis, without a unit; "" for none.
        kind: how values are written: `percent` (fractions), `count` (steps, from 0 on) or `loss`.
        level: a horizontal line with its name.
        from_zero: whether the y axis begins at 0.
        legend: whether to name the lines.
    """
    if level is not None:
        axes.axhline(level[1], color=GREY, linestyle=(0, (1, 1.5)), linewidth=1.3, label=level[0], zorder=1.5)
    axes.margins(y=0.08)
    axes.autoscale_view(scalex=False)
    if kind == "percent":
        set_percent_axis(axes)
    elif kind == "count":
        axes.yaxis.set_major_formatter("{x:,.0f}")
    if from_zero or kind == "count":
        axes.set_ylim(bottom=0.0)
    axes.set_ylabel(f"{label} (%)" if kind == "percent" and label else label)
    if legend:
        add_legend(axes, lines)
