"""`barrier`: errors and losses on the line between two trained networks of one run."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike

from tf_lottery.errors import UnfitError
from tf_lottery.experiment.directory import Job
from tf_lottery.studies.calculations.linear_path import POINTS, barrier_height, interpolate_weights, path_fractions
from tf_lottery.studies.study_run import StudyRun

MEASURES = ("test_error", "test_loss", "train_error", "train_loss")
# Frankle et al. (2019) call a network stable whose instability (error barrier, a fraction) is below this.
STABLE = 0.02


@dataclass(frozen=True)
class Barrier:
    """Errors and losses on the line between two networks.

    Attributes:
        first: the training at the start of the line.
        second: the training at its end.
        fractions: the positions on the line, from 0.0 (`first`) to 1.0 (`second`).
        values: for each of `MEASURES` that the run has, the value at each position; errors are fractions.
    """

    first: Job
    second: Job
    fractions: tuple[float, ...]
    values: Mapping[str, tuple[float, ...]]

    def height(self, measure: str = "test_error") -> float | None:
        """Return the largest value on the line minus the mean of its ends.

        Args:
            measure: one of `MEASURES`.

        Returns:
            The height; None where the run does not have this measure.
        """
        return barrier_height(self.values[measure]) if measure in self.values else None


def barrier(run: StudyRun | str | PathLike[str], first: Job, second: Job, *, points: int = POINTS) -> Barrier:
    """Measure error and loss on the straight line between two trained networks of a run.

    Errors and losses are of all test examples and of a fixed subset of the training examples (`StudyRun.examples`).
    Where the model has batch normalization, its statistics are estimated from that subset at each point, also at the
    ends (Frankle et al. 2019, arXiv 1912.05671).

    Args:
        run: the run, or its directory. Pass a `StudyRun` to several calls: it compiles the model once.
        first: the training at the start of the line, e.g. `Job(0, 3)`.
        second: the training at its end, e.g. `Job(0, 3, "other_order")`.
        points: the number of positions on the line, both ends included.

    Raises:
        UnfitError: one of the two is not trained.

    Example:
        `barrier("runs/digits-mlp-2fec9716f7", Job(0, 3), Job(0, 3, "other_order")).height("test_error")`
    """
    run = run if isinstance(run, StudyRun) else _open_run(run, first, second)
    for job in (first, second):
        if not run.has(job):
            raise UnfitError(f"{run.path} has no trained network of {job}.", "Train it: extend the run by it.")
    fractions = path_fractions(points)
    ends = run.weights(first), run.weights(second)
    results = [run.evaluator.evaluate(interpolate_weights(*ends, fraction), reestimate=True) for fraction in fractions]
    measured = {name: [result.get(name) for result in results] for name in MEASURES}
    complete = {name: tuple(values) for name, values in measured.items() if None not in values}
    return Barrier(first, second, tuple(fractions), complete)  # type: ignore[arg-type]  # no None is left


def _open_run(path: str | PathLike[str], *jobs: Job) -> StudyRun:
    """The run with the rounds and replicates of these trainings only, so that it need not be finished."""
    return StudyRun(
        path, rounds=sorted({job.round for job in jobs}), replicates=sorted({job.replicate for job in jobs})
    )
