"""The barrier between two trained networks of one run."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike

from tf_lottery.errors import UnfitError
from tf_lottery.experiment.directory import Job
from tf_lottery.studies import line
from tf_lottery.studies.study_run import StudyRun

MEASURES = ("test_error", "test_loss", "train_error", "train_loss")
# Frankle et al. (2019) call a network stable whose instability is below this.
STABLE = 0.02


@dataclass(frozen=True)
class Barrier:
    """Errors and losses on the line between two networks.

    Attributes:
        first, second: the two trainings.
        fractions: positions on the line, from 0 (first) to 1 (second).
        path: for each of `MEASURES` that the run has, the value at each position.
    """

    first: Job
    second: Job
    fractions: tuple[float, ...]
    path: Mapping[str, tuple[float, ...]]

    def height(self, measure: str = "test_error") -> float | None:
        """The largest value on the line minus the mean of its ends; None for what was not measured."""
        return line.height(self.path[measure]) if measure in self.path else None


def barrier(run: StudyRun | str | PathLike[str], first: Job, second: Job, *, points: int = line.POINTS) -> Barrier:
    """Walk the straight line between two trained networks of a run, and measure error and loss on it.

    Errors and losses are of all test examples and of a fixed subset of the training examples (`StudyRun.examples`).
    Where the model has batch normalisation, its statistics are taken anew from that subset at each point, also at the
    ends (Frankle et al. 2019, arXiv 1912.05671).

    Args:
        run: the run, or its directory. Pass a `StudyRun` to several calls: it compiles the model once.
        first, second: the trainings, e.g. `Job(0, 3)` and `Job(0, 3, "other_order")`.
        points: how many positions, both ends included.

    Raises:
        UnfitError: one of the two is not trained.

    Example:
        `barrier("runs/digits-mlp-2fec9716f7", Job(0, 3), Job(0, 3, "other_order")).height("test_error")`
    """
    run = run if isinstance(run, StudyRun) else _opened(run, first, second)
    for job in (first, second):
        if not run.has(job):
            raise UnfitError(f"{run.path} has no trained network of {job}.", "Train it: extend the run by it.")
    positions = line.fractions(points)
    ends = run.weights(first), run.weights(second)
    found = [run.evaluator.evaluate(line.between(*ends, position), reestimate=True) for position in positions]
    path = {name: tuple(values) for name in MEASURES if None not in (values := [each.get(name) for each in found])}
    return Barrier(first, second, tuple(positions), path)  # type: ignore[arg-type]  # no None is left


def _opened(path: str | PathLike[str], *jobs: Job) -> StudyRun:
    """The run with these trainings' tickets alone, so that it need not be finished."""
    return StudyRun(
        path, rounds=sorted({job.round for job in jobs}), replicates=sorted({job.replicate for job in jobs})
    )
