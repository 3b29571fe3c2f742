"""A pool of spawned processes on this machine."""

import contextlib
import functools
import multiprocessing as mp
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, cast

from tf_lottery.errors import ResourceError
from tf_lottery.experiment.directory import Job
from tf_lottery.experiment.workers.job_events import NO_SCORES, Died, JobEvent, JobFunction, event_of, outcome_of
from tf_lottery.experiment.workers.worker_death import OUT_OF_MEMORY, Death, MemoryKills, death_by_exit_code
from tf_lottery.utils.signals import STOPPING, deferred_signals

# A process whose connection is closed ends; one that writes its memory to disk takes a while.
SECONDS_TO_END = 5.0
SECONDS_TO_LOOK = 1.0


@dataclass
class _Worker:
    """A process, this end of its connection, its place among those side by side, and the job that it runs."""

    process: Any
    connection: Connection
    place: int
    job: Job | None = None


class WorkerPool:
    """Processes on this machine that run a job each. Use it as a context manager: they are killed at its end.

    Args:
        make_job_function: called once in each process, with `place`, its number among those side by side, from 0;
            returns the function that runs its jobs. It is pickled.
        size: how many processes.

    Attributes:
        size: how many jobs may run at once.
    """

    def __init__(self, make_job_function: Callable[..., JobFunction], size: int) -> None:
        self.size = size
        self._make_job_function = make_job_function
        self._workers: list[_Worker] = []
        self._memory_kills = MemoryKills()

    @property
    def busy(self) -> int:
        """How many jobs are running."""
        return sum(worker.job is not None for worker in self._workers)

    @property
    def free(self) -> int:
        """How many more jobs may be submitted now."""
        return max(0, self.size - self.busy)

    def submit(self, job: Job) -> None:
        """Give a job to a process that has none; one that died is replaced now.

        Raises:
            ResourceError: no process can be started.
        """
        idle = [worker for worker in self._workers if worker.job is None]
        worker = idle[0] if idle else self._start()
        worker.job = job
        with contextlib.suppress(ConnectionError):  # it has just died, which `wait` finds out
            worker.connection.send(job)

    def wait(self) -> list[JobEvent]:
        """Wait until something happens to the jobs, and return what."""
        by_connection = {worker.connection: worker for worker in self._workers}
        while True:
            ready = cast(list[Connection], wait(list(by_connection), timeout=SECONDS_TO_LOOK))
            if ready:
                return [self._receive(by_connection[connection]) for connection in ready]
            # A process that a dead worker forked may hold the connection open.
            dead = [worker for worker in self._workers if not worker.process.is_alive()]
            if dead:
                return [
                    self._receive(worker) if worker.connection.poll() else self._bury_dead(worker) for worker in dead
                ]

    def shrink(self) -> None:
        """Run one job fewer at once, but never none."""
        self.size = max(1, self.size - 1)

    def __enter__(self) -> "WorkerPool":
        try:
            for _ in range(self.size):  # together: each takes seconds to load
                self._start()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._kill()

    def _kill(self) -> None:
        # Whatever is done is committed, so nothing is lost; leaving TensorFlow in order would take seconds.
        for worker in self._workers:
            worker.process.kill()
        while self._workers:
            self._remove(self._workers[-1])

    def _remove(self, worker: _Worker) -> None:
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)

    def _start(self) -> _Worker:
        context = mp.get_context("spawn")
        place = min(set(range(len(self._workers) + 1)) - {worker.place for worker in self._workers})
        make = functools.partial(self._make_job_function, place=place)
        try:
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(there, make, os.getpid()), daemon=True)
            with deferred_signals():
                _start_unsignaled(process)
                worker = _Worker(process, here, place)
                self._workers.append(worker)
        except OSError as error:
            raise ResourceError(
                f"No further process can be started: {error.strerror or error}.",
                "What was committed is kept: resume with fewer `jobs`.",
            ) from error
        there.close()
        return worker

    def _receive(self, worker: _Worker) -> JobEvent:
        """Return what a process has sent, or that it died."""
        try:
            kind, content = worker.connection.recv()
        except (EOFError, OSError):  # the latter in the middle of a message
            return self._bury_dead(worker)
        if kind == "memory":
            return self._bury(worker, OUT_OF_MEMORY)
        event = event_of(cast(Job, worker.job), kind, content)
        if kind == "done":
            worker.job = None
        return event

    def _bury_dead(self, worker: _Worker) -> Died:
        worker.process.join(timeout=SECONDS_TO_END)
        code = worker.process.exitcode
        ended_for_memory = self._memory_kills.explain_one() if code == -signal.SIGKILL else False
        return self._bury(worker, death_by_exit_code(code, ended_for_memory=ended_for_memory))

    def _bury(self, worker: _Worker, death: Death) -> Died:
        self._remove(worker)
        return Died(worker.job, death)


def _start_unsignaled(process: Any) -> None:
    """Start a process that no signal reaches that its parent answers, not even while it loads: its parent stops it.

    A terminal sends Ctrl-C, or that it is closed, to all processes at once.
    """
    resource_tracker.ensure_running()  # its own start would unblock the signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Connection, make_job_function: Callable[[], JobFunction], parent: int) -> None:
    """The body of a spawned process: run jobs from the connection until one fails, or this process is killed."""
    threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()

    def report(job: Job, step: int, last_step: int, scores: Mapping[str, float] = NO_SCORES) -> None:
        connection.send(("progress", (step, last_step, dict(scores))))

    with contextlib.suppress(ConnectionError, EOFError):  # the parent is gone
        kind, content = outcome_of(make_job_function)
        if kind != "done":
            connection.send((kind, content))
        run_job = content
        while kind == "done":
            kind, content = outcome_of(run_job, connection.recv(), report)
            connection.send((kind, content))


def _exit_with(parent: int) -> None:
    """End this process when its parent is gone, however that ended: nothing may write to the run directory then."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
