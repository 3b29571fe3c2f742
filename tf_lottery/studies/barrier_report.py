"""Tables and figures of error barriers, for the studies of instability and of successive rounds."""

from collections.abc import Iterable
from typing import Any

from matplotlib.figure import Figure

from tf_lottery.experiment.directory import Job
from tf_lottery.results.figures.learning_curves import spread_rounds
from tf_lottery.results.tables.formats import density_percent
from tf_lottery.studies.barriers import MEASURES, STABLE, barrier
from tf_lottery.studies.study_figures import MOST_ROUNDS, plot_by_density, plot_panels, values_by_x
from tf_lottery.studies.study_outcome import Rows, StudyOutcome, average_replicates, mean_of_column
from tf_lottery.studies.study_run import StudyRun


def report_barriers(
    run: StudyRun, pairs: Iterable[tuple[Job, Job]], *, points: int, title: str, ends: str
) -> StudyOutcome:
    """Measure the barriers between pairs of trainings, and return them as tables and figures.

    Args:
        run: the run of the trainings.
        pairs: the two ends of each line; the row of a pair has the round and density of its second training.
        points: the number of positions on a line, both ends included.
        title: the title of the figure.
        ends: the ends of a line, in words.
    """
    heights: Rows = []
    path: Rows = []
    densities = run.densities()
    for first, second in pairs:
        measured = barrier(run, first, second, points=points)
        about: dict[str, Any] = {
            "replicate": second.replicate,
            "round": second.round,
            "density": densities[second.round],
        }
        end_values = {
            f"{measure}_{end}": values[position]
            for measure, values in measured.values.items()
            for end, position in (("first", 0), ("second", -1))
        }
        heights.append({**about, **{f"{name}_barrier": measured.height(name) for name in MEASURES}, **end_values})
        for position, fraction in enumerate(measured.fractions):
            values = {measure: values[position] for measure, values in measured.values.items()}
            path.append({**about, "fraction": fraction, **values})
    summary = average_replicates(heights, by=("round", "density"), of=[f"{measure}_barrier" for measure in MEASURES])
    highest = max((row["test_error_barrier"] or 0.0 for row in summary), default=0.0)
    figure = plot_by_density(
        {f"{part} data": values_by_x(heights, x="density", y=f"{part}_error_barrier") for part in ("test", "train")},
        title=title,
        ylabel="Error barrier",
        percent=True,
        level=("stable: below 2 %", STABLE) if highest > STABLE / 4 else None,
    )
    statistics = ", from which batch-norm statistics are estimated" if run.evaluator.has_batch_norm else ""
    return StudyOutcome(
        tables={"barriers": summary, "barriers_by_replicate": heights, "path": path},
        figures={"barrier": figure, "path": _plot_paths(path)},
        sentences=[
            f"The line joins {ends}, at {len({row['fraction'] for row in path})} points. Errors are of all test "
            f"examples and of {run.evaluator.parts['train'].size:,} training examples, always the same "
            f"ones{statistics}.",
        ],
    )


def _plot_paths(path: Rows) -> Figure:
    """Errors along the line: a panel for test and one for training data, with a line for each round."""
    labels = {
        number: f"round {number} ({density_percent(mean_of_column(path, 'density', round=number) or 0.0)} %)"
        for number in spread_rounds([row["round"] for row in path], most=MOST_ROUNDS)
    }
    panels = {
        f"{part.capitalize()} data": {
            label: values_by_x(path, x="fraction", y=f"{part}_error", round=number) for number, label in labels.items()
        }
        for part in ("test", "train")
    }
    return plot_panels(panels, xlabel="Position on the line", ylabel="Error", percent=True)
