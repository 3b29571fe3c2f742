"""A pool of Ray actors: one actor is one worker, which keeps TensorFlow and its compiled functions.

Ray Core only; Ray Train would choose another Keras.
"""

import contextlib
import functools
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tf_lottery.errors import ResourceError, UsageError
from tf_lottery.experiment.directory import Job
from tf_lottery.experiment.launchers.remote_job import OtherMachineError
from tf_lottery.experiment.workers.job_events import (
    NO_SCORES,
    Died,
    Failed,
    JobEvent,
    JobFunction,
    Progress,
    event_of,
    outcome_of,
)
from tf_lottery.experiment.workers.worker_death import Death
from tf_lottery.utils.text import one_line

log = logging.getLogger(__name__)
SECONDS_TO_LOOK = 1.0
SECONDS_TO_ANSWER = 10.0
SECONDS_TO_START = 120
"""How long a node of Ray on a busy machine may take to start."""


class Worker:
    """What runs in an actor: one job at a time, and its progress, asked for beside it.

    Args:
        make_job_function: makes the function that runs jobs; called at the first job.
    """

    def __init__(self, make_job_function: Callable[[], JobFunction]) -> None:
        self._make_job_function = functools.cache(make_job_function)
        self._steps: tuple[int, int] | None = None

    def run(self, job: Job) -> tuple[str, Any]:
        """Run a job; return what `outcome_of` does."""
        self._steps = None
        return outcome_of(lambda: self._make_job_function()(job, self._note))

    def steps(self) -> tuple[int, int] | None:
        """Return the step and the last step of the present job, or None if it has not begun."""
        return self._steps

    def _note(self, job: Job, step: int, last_step: int, scores: Mapping[str, float] = NO_SCORES) -> None:
        self._steps = (step, last_step)


@contextlib.contextmanager
def ray_cluster(address: str | None) -> Iterator[dict[str, float]]:
    """Join a running cluster, or start one on this machine, and yield its resources, such as {"CPU": 8.0}.

    Args:
        address: of a running cluster, or None to start one.

    Raises:
        UsageError: Ray is not installed.
        ResourceError: there is no such cluster, or none can be started.
    """
    ray = _ray()
    os.environ.setdefault("RAY_raylet_start_wait_time_s", str(SECONDS_TO_START))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    settings = {"address": address} if address else {"include_dashboard": False}
    try:
        if address:
            _check_answers(address)
        ray.init(**settings, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises many kinds
        where = f"join the Ray cluster at {address}" if address else "start Ray on this machine"
        raise ResourceError(
            f"Can't {where}: {one_line(_root(error))}",
            "Start one by Ray's own command, and pass the address that it prints."
            if address
            else "Look whether Ray's own command starts a cluster here.",
        ) from error
    try:
        yield ray.cluster_resources()
    finally:
        ray.shutdown()


def _root(error: BaseException) -> BaseException:
    """Return the error that others were raised from."""
    return _root(error.__cause__) if error.__cause__ is not None else error


def _check_answers(address: str) -> None:
    """Raises OSError where nothing answers, which Ray would try for minutes. Ray finds names such as "auto"."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_ANSWER).close()


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "The launcher ray needs Ray, which is not installed.", "Install it: pip install 'tf-lottery[ray]'."
        ) from error
    return ray


@dataclass
class _Actor:
    """An actor, and the job that it runs, with the promise of its outcome."""

    handle: Any
    job: Job
    outcome: Any
    steps: tuple[int, int] | None = None


class RayPool:
    """Ray actors that run a job each. Use it as a context manager, within `ray_cluster`.

    Args:
        make_job_function: called once in each actor; returns the function that runs its jobs.
        size: how many jobs may run at once.
        resources: what an actor takes, e.g. {"num_cpus": 1, "num_gpus": 0.5}.

    Attributes:
        size: how many jobs may run at once.
    """

    def __init__(self, make_job_function: Callable[[], JobFunction], size: int, resources: Mapping[str, float]) -> None:
        self.size = size
        self._ray = _ray()
        self._actor = self._ray.remote(Worker).options(max_concurrency=2, max_restarts=0, **resources)
        self._make_job_function = make_job_function
        self._idle: list[Any] = []
        self._busy: list[_Actor] = []
        self._left_out: list[Any] = []

    @property
    def busy(self) -> int:
        """How many jobs are running."""
        return len(self._busy)

    @property
    def free(self) -> int:
        """How many more jobs may be submitted now."""
        return max(0, self.size - self.busy)

    def submit(self, job: Job) -> None:
        """Give a job to an actor that has none; one that died is replaced now, on any node that has room."""
        handle = self._idle.pop() if self._idle else self._actor.remote(self._make_job_function)
        self._busy.append(_Actor(handle, job, handle.run.remote(job)))

    def wait(self) -> list[JobEvent]:
        """Wait until something happens to the jobs, and return what."""
        while True:
            outcomes = [actor.outcome for actor in self._busy]
            ready, _ = self._ray.wait(outcomes, num_returns=1, timeout=SECONDS_TO_LOOK)
            ended = [actor for actor in self._busy if actor.outcome in ready]
            events = [self._end(actor) for actor in ended] if ended else self._progress()
            if events:
                return events

    def shrink(self) -> None:
        """Run one job fewer at once, but never none."""
        self.size = max(1, self.size - 1)

    def _end(self, actor: _Actor) -> JobEvent:
        self._busy.remove(actor)
        errors = self._ray.exceptions
        try:
            kind, content = self._ray.get(actor.outcome)
        except errors.OutOfMemoryError as error:
            return self._bury(actor, Death(f"ended by Ray for memory ({one_line(error)})", out_of_memory=True))
        except errors.RayError as error:
            return self._bury(actor, Death(f"its Ray actor is gone ({_first_sentence(error)})"))
        if kind == "error" and isinstance(content, OtherMachineError):
            return self._leave_out(actor, content)
        if kind == "memory":
            self._ray.kill(actor.handle)
        elif kind == "done":
            self._idle.append(actor.handle)
        return event_of(actor.job, kind, content)

    def _bury(self, actor: _Actor, death: Death) -> Died:
        with contextlib.suppress(Exception):
            self._ray.kill(actor.handle)
        return Died(actor.job, death)

    def _leave_out(self, actor: _Actor, error: OtherMachineError) -> JobEvent:
        """Do without an actor on a machine of another kind. Its place may be all that there is: then it is an error."""
        if self.size == 1:
            return Failed(error)
        log.warning("%s It is left out.", error.cause)
        self._left_out.append(actor.handle)  # it keeps its place, so that no other goes there
        self.size -= 1
        self.submit(actor.job)
        return Progress(actor.job, 0, 0)

    def _progress(self) -> list[JobEvent]:
        asked = {actor.job: actor.handle.steps.remote() for actor in self._busy}
        ready, _ = self._ray.wait(list(asked.values()), num_returns=len(asked), timeout=SECONDS_TO_LOOK)
        events: list[JobEvent] = []
        for actor in self._busy:
            if asked[actor.job] not in ready:
                continue
            with contextlib.suppress(self._ray.exceptions.RayError):  # what became of it, the outcome says
                steps = self._ray.get(asked[actor.job])
                if steps is not None and steps != actor.steps:
                    actor.steps = steps
                    events.append(Progress(actor.job, *steps))
        return events

    def __enter__(self) -> "RayPool":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for handle in [*self._idle, *self._left_out, *(actor.handle for actor in self._busy)]:
            with contextlib.suppress(Exception):  # gone already
                self._ray.kill(handle)


def _first_sentence(error: Exception) -> str:
    return one_line(error).split(". ")[0]
