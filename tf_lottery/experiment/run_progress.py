"""How far the trainings of a run are, and how long the others will take."""

import time
from collections.abc import Callable

from tf_lottery.experiment.directory import Job


class RemainingTime:
    """The time that is left, from the steps since the first report: starting up and compiling do not count.

    Args:
        now: returns the time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._first: tuple[float, float] | None = None

    def estimate(self, done: float, total: float) -> float | None:
        """Return the seconds that are left; None where nothing was measured yet.

        Args:
            done: trainings done, with fractions of those that are running.
            total: trainings to do.
        """
        if self._first is None:
            self._first = (self._now(), done)
        begin, done_before = self._first
        seconds, progress = self._now() - begin, done - done_before
        return seconds * (total - done) / progress if progress > 0 else None


class StepRate:
    """The steps per second of one training, since its first report.

    Args:
        now: returns the time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._first: tuple[float, int] | None = None

    def rate(self, step: int) -> float | None:
        """Return the steps per second up to a step; None at the first report.

        Args:
            step: the present step.
        """
        now = self._now()
        self._first = self._first or (now, step)
        seconds, steps = now - self._first[0], step - self._first[1]
        return steps / seconds if seconds > 0 and steps > 0 else None


class TrainingCount:
    """Counts the trainings that are done, with the fractions of those that are running.

    Attributes:
        total: all trainings.
        finished: those that are committed.
        running: the fraction that is done, by running job.
    """

    def __init__(self) -> None:
        self.total = self.finished = 0
        self.running: dict[Job, float] = {}

    def start(self, total: int, waiting: int) -> None:
        """Begin to count.

        Args:
            total: all trainings.
            waiting: those that are to be done.
        """
        self.total, self.finished = total, total - waiting

    def advance(self, job: Job, step: int, last_step: int) -> None:
        """Set how far a training is.

        Args:
            job: the training.
            step: its present step.
            last_step: the step at which it ends.
        """
        self.running[job] = step / last_step if last_step else 0.0

    def finish(self, job: Job) -> None:
        """Count a training as committed."""
        self.running.pop(job, None)
        self.finished += 1

    @property
    def done(self) -> float:
        """Trainings done, with fractions of those that are running."""
        return self.finished + sum(self.running.values())
