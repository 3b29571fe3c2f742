"""The figures of a run: each a pure function of plain rows that returns a matplotlib `Figure`."""

from collections.abc import Collection, Sequence

from matplotlib.figure import Figure

from tf_lottery.experiment.directory import TICKET
from tf_lottery.results.figures.bands import Line
from tf_lottery.results.figures.density_lines import density_points, draw_over_density
from tf_lottery.results.figures.layer_density import layer_density
from tf_lottery.results.figures.learning_curves import learning_curves
from tf_lottery.results.figures.style import variant_look
from tf_lottery.results.statistics.intervals import band
from tf_lottery.results.statistics.learning_speed import EARLY_STOP, started_trained
from tf_lottery.results.statistics.values import (
    SCORES,
    Row,
    first_recorded,
    select,
    ticket_densities,
    variants,
    without_searches,
)
from tf_lottery.results.tables.formats import column_kind, column_words

__all__ = ["early_stop", "final_score", "layer_density", "learning_curves"]


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
    name = column_words(column or "test_accuracy", capital=True)
    title = f"{name} at the end of training, by density"
    return _draw(rows, column, title=title, label=name, missing="accuracy or loss")


def early_stop(rows: Sequence[Row], *, rewind: str = "init") -> Figure:
    """The step of least validation loss against density, per variant: how fast each sparse network learns.

    What starts from trained weights is left out: controls that train on after the end of another training, and, with
    learning-rate rewinding and fine-tuning, the ticket and the controls that start where it does.

    Args:
        rows: result rows with the columns of `results.csv`; missing values are None or NaN.
        rewind: the rewind point of the run.
    """
    rows = without_searches(rows)
    return _draw(
        rows,
        first_recorded(rows, [EARLY_STOP]),
        title="Early-stop step, by density",
        label="Step of least validation loss",
        missing="early-stop step",
        without=started_trained(rewind, variants(rows)),
    )


def _draw(
    rows: Sequence[Row], column: str | None, *, title: str, label: str, missing: str, without: Collection[str] = ()
) -> Figure:
    """A line per variant over density, and the dense network as a level."""
    if column is None:
        return draw_over_density([], title=title, label=label, missing=missing)
    dense = band(row.get(column) for row in select(rows, TICKET, 0))
    return draw_over_density(
        [
            Line(name.replace("_", " "), variant_look(name), density_points(rows, column, variant=name))
            for name in variants(rows)
            if name not in without
        ],
        title=title,
        label=label,
        kind=column_kind(column),
        level=None if dense is None else ("dense", dense.mean),
        densities=list(ticket_densities(rows).values()),
        missing=missing,
    )
