"""The figures of a run: each a pure function of plain rows that returns a matplotlib `Figure`."""

from collections.abc import Collection, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tf_lottery.results.figures.bands import Line, add_legend, draw_lines
from tf_lottery.results.figures.layer_density import layer_density
from tf_lottery.results.figures.learning_curves import learning_curves, untimed
from tf_lottery.results.figures.style import (
    GREY,
    new_axes,
    say_nothing_recorded,
    set_density_axis,
    set_percent_axis,
    styled,
    variant_look,
)
from tf_lottery.results.statistics.intervals import Interval, band
from tf_lottery.results.statistics.values import (
    SCORES,
    Row,
    Spread,
    first_recorded,
    select,
    ticket_densities,
    variants,
    without_searches,
)

__all__ = ["early_stop", "final_score", "layer_density", "learning_curves"]

# Above so many variants the legend stands beside the axes, which keep their size.
MOST_NARROW = 5


def final_score(rows: Sequence[Row]) -> Figure:
    """Test accuracy at the end of training against density, per variant: the mean with its 95 % interval.

    Fewer than 3 replicates have a range instead of an interval.

    Without test accuracy it shows the validation accuracy, else the test loss, else the validation loss, and says so on
    its axis. The horizontal line is the dense network (round 0).

    Args:
        rows: result rows with the columns of `results.csv`; missing values are None or NaN.
    """
    rows = without_searches(rows)
    column = first_recorded(rows, SCORES)
    name = words(column or "test_accuracy")
    with styled():
        figure, axes = new_axes(title=f"{name} at the end of training, by density", width=width(rows))
        if column is None:
            say_nothing_recorded(axes, "accuracy or loss")
            return figure
        draw(axes, rows, column)
        percent = column.endswith("accuracy")
        axes.set_ylabel(f"{name} (%)" if percent else name)
        if percent:
            set_percent_axis(axes)
        return figure


def early_stop(rows: Sequence[Row], *, rewind: str = "init") -> Figure:
    """The step of least validation loss against density, per variant: how fast each sparse network learns.

    What starts from trained weights is left out: controls that train on after the end of another training, and, with
    learning-rate rewinding and fine-tuning, the ticket and the controls that start where it does.

    Args:
        rows: result rows with the columns of `results.csv`; missing values are None or NaN.
        rewind: the rewind point of the run.
    """
    rows = without_searches(rows)
    with styled():
        figure, axes = new_axes(title="Early-stop step, by density", width=width(rows))
        if first_recorded(rows, ["early_stop_step"]) is None:
            say_nothing_recorded(axes, "early-stop step")
            return figure
        draw(axes, rows, "early_stop_step", without=untimed(rewind, variants(rows)))
        axes.set_ylim(bottom=0.0)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.set_ylabel("Step of least validation loss")
        return figure


def draw(axes: Axes, rows: Sequence[Row], column: str, *, without: Collection[str] = ()) -> None:
    """A line per variant with bands, the dense line, and the density axis."""
    dense = band(row.get(column) for row in select(rows, "ticket", 0))
    if dense is not None:
        axes.axhline(dense.mean, color=GREY, linestyle=(0, (1, 1.5)), linewidth=1.3, label="dense", zorder=1.5)
    lines = [
        Line(variant.replace("_", " "), variant_look(variant), by_density(rows, column, variant=variant))
        for variant in variants(rows)
        if variant not in without
    ]
    draw_lines(axes, lines)
    set_density_axis(axes, list(ticket_densities(rows).values()))
    axes.margins(y=0.08)
    add_legend(axes, lines)


def by_density(rows: Sequence[Row], column: str, *, variant: str = "ticket") -> list[tuple[float, Interval | Spread]]:
    """(density, mean with its band) of each round with a value, from dense to sparse.

    A control is drawn at the ticket's density of its round, also one without masks: that is the ticket it is there for.
    """
    line = []
    for index, density in ticket_densities(rows).items():
        value = band(row.get(column) for row in select(rows, variant, index))
        if value is not None and density > 0:
            line.append((density, value))
    return sorted(line, key=lambda point: -point[0])


def width(rows: Sequence[Row]) -> float:
    """Inches, with room for a legend beside the axes where there are many variants."""
    return 7.0 if len(variants(rows)) <= MOST_NARROW else 9.4


def words(column: str) -> str:
    """`val_accuracy` as `Validation accuracy`."""
    return column.replace("val_", "validation_").replace("_", " ").capitalize()
