"""What may watch the jobs of an experiment that run in this process."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tf_lottery.experiment.directory import Job
from tf_lottery.training.engine import Engine
from tf_lottery.training.observer import TrainingObserver


@dataclass(frozen=True)
class JobTraining:
    """The training of a job, about to begin or to be resumed.

    Attributes:
        job: which training it is.
        density: the fraction of the maskable weights that it keeps.
        start: its first step.
        step: the next step: later than `start` where the training is resumed.
        stop: the step to stop at; a search may stop before.
        engine: holds the model and the optimizer.
    """

    job: Job
    density: float
    start: int
    step: int
    stop: int
    engine: Engine


class JobObserver(TrainingObserver):
    """Watches jobs, one after the other, and the training of each; every method does nothing here."""

    def on_job_begin(self, training: JobTraining) -> None:
        """Called before the first step of a job, when the model holds its masks and weights."""

    def on_job_end(self, training: JobTraining, row: Mapping[str, Any]) -> None:
        """Called when a job is committed.

        Args:
            training: the same object as in `on_job_begin`.
            row: its row of results.
        """
