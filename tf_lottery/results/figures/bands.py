"""Lines of means with what is around them: confidence intervals, or ranges of too few replicates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from tf_lottery.results.statistics.intervals import Interval
from tf_lottery.results.statistics.values import Spread

# With more lines than this only the first one's band is filled, and with more than `MOST_INSIDE` labels the legend
# stands outside of the axes.
MOST_FILLED = 4
MOST_INSIDE = 6
LinePoints = Sequence[tuple[float, Interval | Spread]]


@dataclass(frozen=True)
class Line:
    """One line of a figure.

    Attributes:
        label: its name in the legend.
        look: color, marker and dash, as `style.look` gives them.
        points: (x, mean with interval or range), in the order of drawing.
    """

    label: str
    look: Mapping[str, Any]
    points: LinePoints


def draw_lines(axes: Axes, lines: Sequence[Line]) -> None:
    """Draw lines with their bands, the first one on top.

    Args:
        axes: where to draw.
        lines: those without points are left out.
    """
    for position, line in enumerate(lines):
        if not line.points:
            continue
        xs, values = [x for x, _ in line.points], [value for _, value in line.points]
        axes.plot(xs, [value.mean for value in values], label=line.label, zorder=3 - position / 20, **line.look)
        if any(value.count > 1 for value in values):
            lows, highs = [value.low for value in values], [value.high for value in values]
            color = line.look["color"]
            if len(lines) <= MOST_FILLED or position == 0:
                axes.fill_between(xs, lows, highs, color=color, alpha=0.16, linewidth=0)
            axes.vlines(xs, lows, highs, color=color, linewidth=1.0, alpha=0.6)


def add_legend(axes: Axes, lines: Sequence[Line], *, inside: bool = False, fontsize: float | None = None) -> None:
    """Add a legend that says what the bands are.

    Args:
        axes: where the lines are drawn.
        lines: the lines, for what their bands are.
        inside: whether it stands inside of the axes even where there are many lines; otherwise it then stands beside.
        fontsize: in points; by default that of the style.
    """
    title = describe_bands([value for line in lines for _, value in line.points])
    options = {"title": title, "title_fontsize": fontsize or 9.0, "fontsize": fontsize}
    figure = axes.get_figure(root=True)
    handles, labels = axes.get_legend_handles_labels()
    if inside or figure is None or len(labels) <= MOST_INSIDE:
        axes.legend(handles, labels, loc="best", **options)
    else:
        figure.legend(handles, labels, loc="outside right upper", **options)


def describe_bands(values: Sequence[Interval | Spread]) -> str | None:
    """What is drawn around the means, in words; None where there is nothing.

    Example:
        >>> describe_bands([Spread(0.5, 0.4, 0.6, 2)]), describe_bands([Interval(0.5, 0.4, 0.6, 3, 0.95)])
        ('mean and range', 'mean and 95 % interval')
    """
    confidences = [value.confidence for value in values if isinstance(value, Interval)]
    ranges = any(isinstance(value, Spread) and value.count > 1 for value in values)
    if not confidences:
        return "mean and range" if ranges else None
    text = f"mean and {100 * confidences[0]:g} % interval"
    return f"{text}\n(range of 2 replicates)" if ranges else text
