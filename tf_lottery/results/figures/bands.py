"""Lines of means with what is around them: confidence intervals, or ranges of too few replicates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from tf_lottery.results.statistics.intervals import Interval
from tf_lottery.results.statistics.values import Spread

# With more lines than this only the first one's band is filled, and with more than `INSIDE` the legend stands outside.
MOST_FILLED = 4
MOST_INSIDE = 6


@dataclass(frozen=True)
class Line:
    """One line of a figure.

    Args:
        label: its name in the legend.
        look: colour, marker and dash, as `canvas.look` gives them.
        points: (x, mean with interval or range), in the order of drawing.
    """

    label: str
    look: Mapping[str, Any]
    points: Sequence[tuple[float, Interval | Spread]]


def draw_lines(axes: Axes, lines: Sequence[Line]) -> None:
    """Draw each line, the first one on top, with its bands."""
    for position, line in enumerate(lines):
        if not line.points:
            continue
        xs, values = [x for x, _ in line.points], [value for _, value in line.points]
        axes.plot(xs, [value.mean for value in values], label=line.label, zorder=3 - position / 20, **line.look)
        if any(value.count > 1 for value in values):
            lows, highs = [value.low for value in values], [value.high for value in values]
            colour = line.look["color"]
            if len(lines) <= MOST_FILLED or position == 0:
                axes.fill_between(xs, lows, highs, color=colour, alpha=0.16, linewidth=0)
            axes.vlines(xs, lows, highs, color=colour, linewidth=1.0, alpha=0.6)


def add_legend(axes: Axes, lines: Sequence[Line]) -> None:
    """A legend that says what the bands are; beside the axes where there are many lines."""
    values = [value for line in lines for _, value in line.points]
    title = band_words(values)
    labels = axes.get_legend_handles_labels()[1]
    if len(labels) <= MOST_INSIDE:
        axes.legend(loc="best", title=title, title_fontsize=9)
        return
    figure = axes.get_figure(root=True)
    if figure is not None:
        figure.legend(loc="outside right upper", title=title, title_fontsize=9)


def band_words(values: Sequence[Interval | Spread]) -> str | None:
    """What is drawn around the means; None where there is nothing.

    Example:
        >>> band_words([Spread(0.5, 0.4, 0.6, 2)]), band_words([Interval(0.5, 0.4, 0.6, 3, 0.95)])
        ('mean and range', 'mean and 95 % interval')
    """
    confidences = [value.confidence for value in values if isinstance(value, Interval)]
    ranges = any(isinstance(value, Spread) and value.count > 1 for value in values)
    if not confidences:
        return "mean and range" if ranges else None
    text = f"mean and {100 * confidences[0]:g} % interval"
    return f"{text}\n(range of 2 replicates)" if ranges else text
