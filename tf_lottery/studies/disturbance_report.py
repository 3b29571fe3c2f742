"""Tables, figures and sentences of test accuracy under attacks, corruption and noise, for the studies of those."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from tf_lottery.results.tables.formats import percent
from tf_lottery.studies.study_figures import plot_panels, values_by_x
from tf_lottery.studies.study_outcome import Rows, average_replicates, mean_of_column, rounds_side_by_side

# The most test examples to disturb, unless a caller wants others.
TEST_EXAMPLES = 2000


def tabulate_accuracy(rows: Rows, *, name: str, by: Sequence[str], labels: Mapping[int, str]) -> dict[str, Rows]:
    """Return the tables of a study of disturbed inputs: rounds side by side, means over replicates, and all rows.

    Args:
        rows: one row for each network and disturbance, with `round`, `replicate`, `density`, `test_accuracy` and
            `test_loss`.
        name: the name of the study, for those of the tables.
        by: the columns of the disturbance, e.g. ("attack", "epsilon").
        labels: the heading of each round to show, from `round_labels`.
    """
    return {
        "test_accuracy": rounds_side_by_side(rows, by=by, names=labels, of="test_accuracy"),
        name: average_replicates(rows, by=(*by, "round", "density"), of=("test_accuracy", "test_loss")),
        f"{name}_by_replicate": rows,
    }


def plot_accuracy(
    rows: Rows,
    *,
    panels: Mapping[str, Mapping[str, Any]],
    x: str,
    xlabel: str,
    labels: Mapping[int, str],
    one_scale: bool = True,
) -> Figure:
    """Plot test accuracy against the strength of a disturbance, with a line for each round.

    Args:
        rows: as for `tabulate_accuracy`.
        panels: for each title of a panel, the values of columns that its rows have.
        x: the column of the strength.
        xlabel: the label of the x axis.
        labels: the label of each round to show, from `round_labels`.
        one_scale: whether the panels share their x axis.
    """
    lines = {
        title: {
            label: values_by_x(rows, x=x, y="test_accuracy", round=number, **where) for number, label in labels.items()
        }
        for title, where in panels.items()
    }
    return plot_panels(lines, xlabel=xlabel, ylabel="Test accuracy", percent=True, one_scale=one_scale)


def describe_accuracy(rows: Rows, rounds: Sequence[int], **where: Any) -> str:
    """Return the mean test accuracy of the first and the last round in words.

    Args:
        rows: as for `tabulate_accuracy`.
        rounds: the rounds that are studied, in order.
        **where: values of other columns that a row must have.

    Example:
        >>> rows = [{"round": 0, "test_accuracy": 0.9}, {"round": 4, "test_accuracy": 0.8}]
        >>> describe_accuracy(rows, (0, 4))
        'test accuracy 90.0 % in round 0, 80.0 % in round 4'
    """
    accuracies = [
        f"{percent(mean_of_column(rows, 'test_accuracy', round=number, **where))} in round {number}"
        for number in dict.fromkeys((rounds[0], rounds[-1]))
    ]
    return f"test accuracy {', '.join(accuracies)}"
