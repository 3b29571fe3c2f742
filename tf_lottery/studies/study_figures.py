"""The figures that studies share: a line per name over density, or over any other number."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from tf_lottery.results.figures.bands import MOST_INSIDE, Line, draw_lines
from tf_lottery.results.figures.density_lines import draw_over_density, finish_axes
from tf_lottery.results.figures.style import look, set_density_axis, styled
from tf_lottery.results.statistics.values import spread

LEGEND_INCHES = 2.0
Points = Mapping[float, Sequence[float | None]]


def by_density(
    lines: Mapping[str, Points],
    *,
    title: str,
    ylabel: str,
    percent: bool = False,
    level: tuple[str, float] | None = None,
    from_zero: bool = False,
) -> Figure:
    """A line per name over density, dense on the left: the mean over replicates, with their range as a band.

    Args:
        lines: for each name, the values of the replicates by density; missing ones are None.
        title, ylabel: words; a unit belongs to `ylabel`.
        percent: whether values are fractions, shown in percent.
        level: a horizontal line, e.g. ("stable", 0.02).
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


def panels(
    panels: Mapping[str, Mapping[str, Points]],
    *,
    xlabel: str,
    ylabel: str,
    percent: bool = False,
    density: bool = False,
    columns: int = 2,
    one_scale: bool = True,
) -> Figure:
    """A panel per name, with a line per name in it; all panels share their y axis.

    Args:
        panels: for each panel, for each line, the values of the replicates by position on the x axis.
        xlabel, ylabel: words.
        percent: whether values are fractions, shown in percent.
        density: whether the x axis is of densities.
        columns: panels side by side, at most.
        one_scale: whether they share their x axis, too.
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


def _lines(lines: Mapping[str, Points], *, order: Sequence[str] = ()) -> list[Line]:
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


def few(rounds: Sequence[int], most: int = 6) -> list[int]:
    """At most so many of the rounds, evenly spread, the first and the last among them.

    Example:
        >>> few([0, 1, 2, 3, 4], most=3)
        [0, 2, 4]
    """
    if len(rounds) <= most:
        return list(rounds)
    return [rounds[round(position * (len(rounds) - 1) / (most - 1))] for position in range(most)]


def gather(rows: Sequence[Mapping], *, x: str, y: str) -> dict[float, list[float | None]]:
    """The values of column `y` by column `x`."""
    points: dict[float, list[float | None]] = {}
    for row in rows:
        if row.get(x) is not None:
            points.setdefault(float(row[x]), []).append(row.get(y))
    return points
