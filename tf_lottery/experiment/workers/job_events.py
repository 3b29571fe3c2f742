"""What runs jobs side by side: jobs are submitted to a pool, and it says what becomes of them."""

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, TypeAlias

from tf_lottery.errors import LotteryError
from tf_lottery.experiment.directory import Job
from tf_lottery.experiment.workers.worker_death import MEMORY_ERRORS, OUT_OF_MEMORY, Death

NO_SCORES: Mapping[str, float] = {}


class StepCallback(Protocol):
    """What a training calls about once a second."""

    def __call__(self, job: Job, step: int, last_step: int, scores: Mapping[str, float] = NO_SCORES) -> None:
        """Take where a training is.

        Args:
            job: the training.
            step: its present step.
            last_step: the step that it ends at.
            scores: the record of its last evaluation; empty before the first.
        """


JobFunction: TypeAlias = Callable[[Job, StepCallback], dict[str, Any]]


@dataclass(frozen=True)
class Progress:
    """A job has come to a step.

    Attributes:
        job: the job.
        step: its present step.
        last_step: the step that it ends at.
        scores: the record of its last evaluation; empty before the first, and where the pool does not send it.
    """

    job: Job
    step: int
    last_step: int
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """A job is committed.

    Attributes:
        job: the job.
        row: its row of results.
    """

    job: Job
    row: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """A job raised an exception, and would raise it again.

    Attributes:
        error: the exception.
    """

    error: Exception


@dataclass(frozen=True)
class Died:
    """A process died; its job may be submitted again.

    Attributes:
        job: the job that it ran; None if it waited for one.
        death: why it died.
    """

    job: Job | None
    death: Death


JobEvent: TypeAlias = Progress | Done | Failed | Died


class Pool(Protocol):
    """Processes that run a job each. A context manager: whatever still runs at its end is stopped.

    Attributes:
        size: how many jobs may run at once.
    """

    size: int

    @property
    def busy(self) -> int:
        """How many jobs are running."""

    @property
    def free(self) -> int:
        """How many more jobs may be submitted now."""

    def submit(self, job: Job) -> None:
        """Give a job to a process; only while some are free."""

    def wait(self) -> list[JobEvent]:
        """Wait until something happens to the jobs, and return what."""

    def shrink(self) -> None:
        """Run one job fewer at once, but never none."""

    def __enter__(self) -> "Pool": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...


def outcome_of(function: Callable[..., Any], *arguments: Any) -> tuple[str, Any]:
    """Call a function in a worker; return "done" and what it returns, or how it failed, so that it can be sent.

    Args:
        function: what to call.
        *arguments: its arguments.

    Returns:
        ("done", value), ("error", exception), or ("memory", None), which is no fault of the job.
    """
    try:
        return "done", function(*arguments)
    except LotteryError as error:
        return "error", error
    except (Exception, SystemExit) as error:
        if {kind.__name__ for kind in type(error).__mro__} & set(MEMORY_ERRORS):
            return "memory", None  # no fault of the job: another process may hold the memory
        failure = RuntimeError(f"{type(error).__name__}: {error}")
        failure.add_note(traceback.format_exc())  # shown with the traceback of the parent
        return "error", failure


def event_of(job: Job, kind: str, content: Any) -> JobEvent:
    """Return the event that a worker's message about its job means.

    Args:
        job: the job.
        kind: "done", "error", "memory" or "progress".
        content: what `outcome_of` returned with it; for progress, the step, the last step and the scores.
    """
    if kind == "done":
        return Done(job, content)
    if kind == "progress":
        return Progress(job, *content)
    if kind == "memory":
        return Died(job, OUT_OF_MEMORY)
    return Failed(content)
