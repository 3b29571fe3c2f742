"""The figures of a run: each a pure function of plain rows that returns a matplotlib `Figure`."""

from collections import defaultdict
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tf_lottery.analysis.canvas import (
    GREY,
    look,
    new_axes,
    say_nothing_recorded,
    set_density_axis,
    set_percent_axis,
    styled,
)
from tf_lottery.analysis.curves import learning_curves
from tf_lottery.analysis.layer_density import layer_density
from tf_lottery.analysis.values import Row, Spread, first_recorded, number, spread, variants

__all__ = ["early_stop", "final_score", "layer_density", "learning_curves"]

SCORES = ("test_accuracy", "val_accuracy", "test_loss", "val_loss", "train_loss")


def final_score(rows: Sequence[Row]) -> Figure:
    """Test accuracy at the end of training against density, per variant: the mean, and the range over replicates.

    Without test accuracy it shows the validation accuracy, else the test loss, else the validation loss, and says so on
    its axis. The horizontal line is the dense network (round 0).

    Args:
        rows: result rows with the columns of `results.csv`; missing values are None or NaN.
    """
    column = first_recorded(rows, SCORES)
    name = words(column or "test_accuracy")
    with styled():
        figure, axes = new_axes(title=f"{name} at the end of training, by density")
        if column is None:
            say_nothing_recorded(axes, "accuracy or loss")
            return figure
        draw(axes, rows, column)
        percent = column.endswith("accuracy")
        axes.set_ylabel(f"{name} (%)" if percent else name)
        if percent:
            set_percent_axis(axes)
        return figure


def early_stop(rows: Sequence[Row]) -> Figure:
    """The step of least validation loss against density, per variant: how fast each sparse network learns.

    Args:
        rows: result rows with the columns of `results.csv`; missing values are None or NaN.
    """
    with styled():
        figure, axes = new_axes(title="Early-stop step, by density")
        if first_recorded(rows, ["early_stop_step"]) is None:
            say_nothing_recorded(axes, "early-stop step")
            return figure
        draw(axes, rows, "early_stop_step")
        axes.set_ylim(bottom=0.0)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.set_ylabel("Step of least validation loss")
        return figure


def draw(axes: Axes, rows: Sequence[Row], column: str) -> None:
    """A line per variant with a band for its range, the dense line, and the density axis."""
    dense = spread(row.get(column) for row in rows if row["variant"] == "ticket" and int(row["round"]) == 0)
    if dense is not None:
        axes.axhline(dense.mean, color=GREY, linestyle=(0, (1, 1.5)), linewidth=1.3, label="dense", zorder=1.5)
    several = False
    for position, variant in enumerate(variants(rows)):
        line = by_density([row for row in rows if row["variant"] == variant], column)
        if not line:
            continue
        xs, spreads = [density for density, _ in line], [value for _, value in line]
        style = look(position)
        axes.plot(
            xs, [value.mean for value in spreads], label=variant.replace("_", " "), zorder=3 - position / 10, **style
        )
        if any(value.count > 1 for value in spreads):
            several = True
            lows, highs = [value.low for value in spreads], [value.high for value in spreads]
            axes.fill_between(xs, lows, highs, color=style["color"], alpha=0.16, linewidth=0)
            axes.vlines(xs, lows, highs, color=style["color"], linewidth=1.0, alpha=0.6)
    set_density_axis(axes, [float(row["density"]) for row in rows if number(row.get("density")) is not None])
    axes.margins(y=0.08)
    axes.legend(loc="best", title="mean and range" if several else None, title_fontsize=9)


def by_density(rows: Sequence[Row], column: str) -> list[tuple[float, Spread]]:
    """(density, spread over replicates) of each round with a value, from dense to sparse."""
    groups: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        groups[int(row["round"])].append(row)
    line = []
    for group in groups.values():
        value, density = spread(row.get(column) for row in group), spread(row.get("density") for row in group)
        if value is not None and density is not None and density.mean > 0:
            line.append((density.mean, value))
    return sorted(line, key=lambda point: -point[0])


def words(column: str) -> str:
    """`val_accuracy` as `Validation accuracy`."""
    return column.replace("val_", "validation_").replace("_", " ").capitalize()
