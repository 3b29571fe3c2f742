"""How far the trainings of a run are, and how long the others will take."""

import time
from collections.abc import Callable

from tf_lottery.experiment.directory import Job


class Speed:
    """How much is done per second since the first report: starting up and compiling do not count.

    Args:
        now: returns the time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._first: tuple[float, float] | None = None

    def per_second(self, done: float) -> float | None:
        """Return what is done per second; None where nothing was measured yet.

        Args:
            done: what is done by now: steps, or trainings.
        """
        now = self._now()
        self._first = self._first or (now, done)
        seconds, more = now - self._first[0], done - self._first[1]
        return more / seconds if seconds > 0 and more > 0 else None

    def seconds_left(self, done: float, total: float) -> float | None:
        """Return the seconds that the rest takes; None where nothing was measured yet.

        Args:
            done: what is done by now.
            total: what is to be done in all.
        """
        speed = self.per_second(done)
        return (total - done) / speed if speed else None


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
