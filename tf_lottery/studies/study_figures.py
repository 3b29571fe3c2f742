"""The figures that studies share: a line per name over density, or over any other number."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tf_lottery.results.figures.style import (
    GREY,
    look,
    new_axes,
    say_nothing_recorded,
    set_density_axis,
    set_percent_axis,
    styled,
)
from tf_lottery.results.statistics.values import Spread, spread

# More names than that would hide lines.
MOST_INSIDE = 4
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
    with styled():
        figure, axes = new_axes(title=title)
        drawn = draw(axes, lines)
        if not drawn:
            say_nothing_recorded(axes, "values were")
            return figure
        set_density_axis(axes, [density for points in lines.values() for density in points])
        finish(axes, ylabel=ylabel, percent=percent, level=level)
        if from_zero:
            axes.set_ylim(bottom=0.0)
        return figure


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
        figure = Figure(figsize=(4.7 * across + 0.6, 3.7 * down + 0.2))
        grid = figure.subplots(down, across, sharex=one_scale, sharey=True, squeeze=False)
        names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
        for axes, (title, lines) in zip(grid.flat, panels.items(), strict=False):
            axes.set_title(title, loc="left")
            draw(axes, lines, order=names)
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_axis_off()
        shown = list(grid.flat)[: len(panels)]
        if density:
            xs = [x for lines in panels.values() for points in lines.values() for x in points]
            for axes in shown:
                set_density_axis(axes, xs)
        for position, axes in enumerate(shown):
            finish(axes, ylabel=ylabel if position % across == 0 else "", percent=percent, legend=position == 0)
            if not density:
                axes.set_xlabel(xlabel)
            # Shared axes hide these on all rows but the last, which may be shorter.
            axes.xaxis.set_tick_params(labelbottom=True)
        return figure


def draw(axes: Axes, lines: Mapping[str, Points], *, order: Sequence[str] = ()) -> bool:
    """Lines with bands on axes; whether there was anything to draw. A name's look is its place in `order`."""
    drawn = False
    names = list(order) or list(lines)
    for name, points in lines.items():
        found = [(x, value) for x, values in sorted(points.items()) if (value := spread(values)) is not None]
        if not found:
            continue
        drawn = True
        style = look(names.index(name))
        xs = [x for x, _ in found]
        axes.plot(xs, [value.mean for _, value in found], label=name, zorder=3 - names.index(name) / 20, **style)
        if any(value.count > 1 for _, value in found):
            band(axes, xs, [value for _, value in found], style["color"])
    return drawn


def band(axes: Axes, xs: Sequence[float], spreads: Sequence[Spread], colour: str) -> None:
    """The range over replicates."""
    lows, highs = [value.low for value in spreads], [value.high for value in spreads]
    axes.fill_between(xs, lows, highs, color=colour, alpha=0.16, linewidth=0)


def finish(
    axes: Axes, *, ylabel: str, percent: bool, level: tuple[str, float] | None = None, legend: bool = True
) -> None:
    """Level line, margins, y axis and legend."""
    if level is not None:
        axes.axhline(level[1], color=GREY, linestyle=(0, (1, 1.5)), linewidth=1.3, label=level[0], zorder=1.5)
    axes.margins(y=0.08)
    axes.autoscale_view(scalex=False)
    if percent:
        set_percent_axis(axes)
    axes.set_ylabel(f"{ylabel} (%)" if percent and ylabel else ylabel)
    handles, labels = axes.get_legend_handles_labels()
    if legend and len(handles) > 1:
        title = "mean and range" if axes.collections else None
        if len(handles) <= MOST_INSIDE:
            axes.legend(loc="best", title=title, title_fontsize=9)
            return
        figure = axes.get_figure(root=True)
        if isinstance(figure, Figure):
            figure.set_figwidth(figure.get_figwidth() + LEGEND_INCHES)
            figure.legend(handles, labels, loc="outside right upper", title=title, title_fontsize=9)


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
