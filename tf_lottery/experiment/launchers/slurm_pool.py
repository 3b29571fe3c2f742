"""A pool of Slurm tasks, by submitit: each training is a task, and those that are ready together are one job array.

A task that Slurm preempts or that reaches its time limit is put in the queue again, and resumes from the state
that its training saved.
"""

import contextlib
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from tf_lottery.errors import ResourceError, UsageError
from tf_lottery.experiment.directory import Job
from tf_lottery.experiment.workers.job_events import (
    NO_SCORES,
    Died,
    JobEvent,
    JobFunction,
    Progress,
    event_of,
    outcome_of,
)
from tf_lottery.experiment.workers.worker_death import OUT_OF_MEMORY, Death
from tf_lottery.utils.text import one_line

SECONDS_TO_LOOK = 1.0
CLUSTERS = ("slurm", "local", "debug")
OF_MEMORY = ("OUT_OF_MEMORY", "OOM")


@dataclass
class SlurmTask:
    """What Slurm runs: one training, in a process of its own.

    Attributes:
        make_job_function: makes the function that trains jobs.
        job: the job.
        progress: the file that the task writes its step to.
    """

    make_job_function: Callable[[], JobFunction]
    job: Job
    progress: Path

    def __call__(self) -> tuple[str, Any]:
        """Train the job; return what `outcome_of` does."""
        return outcome_of(lambda: self.make_job_function()(self.job, self._note))

    def checkpoint(self, *arguments: Any) -> Any:
        """Return what is put in the queue again when Slurm takes the machine away: the same, with its saved state."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)

    def _note(self, job: Job, step: int, last_step: int, scores: Mapping[str, float] = NO_SCORES) -> None:
        with contextlib.suppress(OSError):
            self.progress.write_text(f"{step} {last_step}")


@dataclass
class _Submitted:
    """A job in Slurm's queue, or running."""

    job: Job
    handle: Any
    progress: Path
    steps: tuple[int, int] | None = field(default=None)

    def changed_steps(self) -> Progress | None:
        """Return its progress if it has changed."""
        try:
            step, last_step = map(int, self.progress.read_text().split())
        except (OSError, ValueError):  # not there yet, or half written
            return None
        if (step, last_step) == self.steps:
            return None
        self.steps = (step, last_step)
        return Progress(self.job, step, last_step)


def executor_of(folder: Path, parameters: Mapping[str, Any]) -> Any:
    """Return what submits tasks.

    Args:
        folder: where submitit keeps its files and the output of tasks; all machines share it.
        parameters: of submitit, e.g. {"slurm_partition": "gpu", "timeout_min": 240}; "cluster" is "slurm", or "local"
            or "debug", to try it on this machine.

    Raises:
        UsageError: submitit is not installed, or does not know a parameter.
        ResourceError: there is no Slurm.
    """
    try:
        import submitit
    except ImportError as error:
        raise UsageError(
            "The launcher slurm needs submitit, which is not installed.", "Install it: pip install 'tf-lottery[slurm]'."
        ) from error
    parameters = dict(parameters)
    cluster = parameters.pop("cluster", "slurm")
    if cluster not in CLUSTERS:
        raise UsageError(f"`cluster` must be one of {', '.join(CLUSTERS)}. Received: {cluster!r}.")
    if cluster == "slurm" and shutil.which("sbatch") is None:
        raise ResourceError(
            "There is no Slurm here: the command sbatch is not found.",
            "Start the run on a machine that submits to the cluster, or try it on this one by `cluster=local`.",
        )
    executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
    try:
        executor.update_parameters(**parameters)
    except (NameError, TypeError, ValueError, AssertionError) as error:
        raise UsageError(f"submitit does not take these options: {one_line(error)}") from error
    return executor


class SlurmPool:
    """Tasks of Slurm that run a job each. Use it as a context manager: those that remain are cancelled at its end.

    Args:
        make_job_function: called in each task; returns the function that runs its job.
        size: how many jobs may run, or wait in the queue, at once.
        executor: from `executor_of`.
        folder: the folder that it was made with.

    Attributes:
        size: how many jobs may run, or wait in the queue, at once.
    """

    def __init__(self, make_job_function: Callable[[], JobFunction], size: int, executor: Any, folder: Path) -> None:
        self.size = size
        self._make_job_function, self._executor, self._folder = make_job_function, executor, folder
        self._ready: list[Job] = []
        self._submitted: list[_Submitted] = []
        self._count = 0

    @property
    def busy(self) -> int:
        """How many jobs are running or wait in the queue."""
        return len(self._ready) + len(self._submitted)

    @property
    def free(self) -> int:
        """How many more jobs may be submitted now."""
        return max(0, self.size - self.busy)

    def submit(self, job: Job) -> None:
        """Take a job; `wait` submits those that came together as one array."""
        self._ready.append(job)

    def wait(self) -> list[JobEvent]:
        """Wait until something happens to the jobs, and return what."""
        self._submit_ready()
        while True:
            ended = [one for one in self._submitted if one.handle.done()]
            events: list[JobEvent] = [self._end(one) for one in ended]
            events += [steps for one in self._submitted if (steps := one.changed_steps()) is not None]
            if events:
                return events
            time.sleep(SECONDS_TO_LOOK)

    def shrink(self) -> None:
        """Run one job fewer at once, but never none."""
        self.size = max(1, self.size - 1)

    def _submit_ready(self) -> None:
        jobs, self._ready = self._ready, []
        if not jobs:
            return
        places = [self._folder / f"progress-{self._count + number}" for number in range(len(jobs))]
        self._count += len(jobs)
        for place in places:
            place.unlink(missing_ok=True)
        tasks = [SlurmTask(self._make_job_function, job, place) for job, place in zip(jobs, places, strict=True)]
        try:
            with self._executor.batch():
                handles = [self._executor.submit(task) for task in tasks]
        except Exception as error:  # the command sbatch failed, or the folder can't be written
            raise ResourceError(
                f"Slurm did not take the trainings: {one_line(error)}",
                "What was committed is kept: correct the options of the launcher, and run the same again to resume.",
            ) from error
        self._submitted += map(_Submitted, jobs, handles, places)

    def _end(self, one: _Submitted) -> JobEvent:
        import submitit

        self._submitted.remove(one)
        try:
            kind, content = one.handle.result()
        except submitit.core.utils.UncompletedJobError as error:
            state = str(one.handle.state).upper()
            if any(name in state for name in OF_MEMORY):
                return Died(one.job, OUT_OF_MEMORY)
            return Died(one.job, Death(f"its task {one.handle.job_id} ended in state {state} ({_reason(error)})"))
        except submitit.core.utils.FailedJobError as error:  # it could not even begin, e.g. for another installation
            return Died(one.job, Death(f"its task {one.handle.job_id} failed ({one_line(error)})"))
        return event_of(one.job, kind, content)

    def __enter__(self) -> "SlurmPool":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for one in self._submitted:
            with contextlib.suppress(Exception):  # gone already
                one.handle.cancel(check=False)


def _reason(error: Exception) -> str:
    return one_line(str(error).splitlines()[0])
