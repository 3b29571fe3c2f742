"""Runs jobs: one after the other in this process, or side by side in spawned processes that share the cores out."""

import contextlib
import multiprocessing as mp
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterable
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, cast

from tf_lottery.errors import LotteryError, ResourceError
from tf_lottery.experiment import plan
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.events import DoneCallback, ProgressCallback
from tf_lottery.utils.signals import STOPPING, deferred_signals


def workers(config: Config, waiting: int, *, cores: int | None = None) -> int:
    """Return how many processes to use: as many as configured or as the cores hold, never more than there is work for.

    A control needs only the ticket of the round before, so tickets and controls of one replicate overlap.

    Args:
        config: the experiment.
        waiting: the number of trainings to do.
        cores: the number of cores to use; by default those of this process.
    """
    if config.needs_this_process:
        return 1
    wanted = config.jobs or max(1, (cores or available_cores()) // config.threads)
    width = config.replicates * len(config.variants)
    return max(1, min(wanted, waiting, width))


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_here(trainer: Any, waiting: Iterable[Job], *, on_progress: ProgressCallback, on_done: DoneCallback) -> None:
    """Run jobs one after the other, in this process.

    Args:
        trainer: a `Trainer`.
        waiting: the jobs, in an order in which none comes before one that it needs.
        on_progress: called with (job, step, last step).
        on_done: called with (job, row of results).
    """
    for job in waiting:
        on_done(job, trainer.run(job, on_progress))


def run_spawned(
    config: Config,
    run_dir: Path,
    waiting: list[Job],
    done: set[Job],
    *,
    count: int,
    on_progress: ProgressCallback,
    on_done: DoneCallback,
    checkpoint_every: float | None = None,
) -> None:
    """Run jobs side by side in `count` spawned processes. Each makes its own trainer from the configuration.

    Args:
        config: the experiment.
        run_dir: its run directory, whose lock this process holds.
        waiting: the jobs to run.
        done: the jobs that are committed already.
        count: how many processes.
        on_progress: called about once a second per process with (job, step, last step).
        on_done: called with each committed job and its row.
        checkpoint_every: seconds between states saved in the middle of a training.

    Raises:
        LotteryError: what a job raised; the others are stopped.
        ResourceError: a process died.
    """
    context = mp.get_context("spawn")
    waiting, done = list(waiting), set(done)
    pool: dict[Connection, Any] = {}
    busy: dict[Connection, Job] = {}
    try:
        for _ in range(count):
            here, there = context.Pipe()
            process = context.Process(
                target=_work, args=(there, config, run_dir, os.getpid(), checkpoint_every), daemon=True
            )
            with deferred_signals():
                _start(process)
                pool[here] = process
            there.close()
        idle = list(pool)
        while waiting or busy:
            for job in plan.ready(config, waiting, done)[: len(idle)]:
                connection = idle.pop(0)
                waiting.remove(job)
                busy[connection] = job
                _send(connection, pool[connection], job)
            if not busy:
                raise RuntimeError(f"These trainings wait for others that are not planned: {waiting}.")
            for connection in cast(list[Connection], wait(list(busy))):
                kind, content = _receive(connection, pool[connection], busy[connection])
                if kind == "error":
                    raise content
                if kind == "progress":
                    on_progress(busy[connection], *content)
                else:
                    job = busy.pop(connection)
                    done.add(job)
                    idle.append(connection)
                    on_done(job, content)
    finally:
        # Whatever is done is committed, so nothing is lost; leaving TensorFlow in order would take seconds.
        for connection, process in pool.items():
            process.kill()
            process.join()
            connection.close()
        with contextlib.suppress(LotteryError):  # the next run tries it again
            RunDirectory(run_dir).clean()


def _start(process: Any) -> None:
    """Start a process that no signal reaches that its parent answers, not even while it loads: its parent stops it.

    A terminal sends Ctrl-C, or that it is closed, to all processes at once.
    """
    resource_tracker.ensure_running()  # its own start would unblock the signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send(connection: Connection, process: Any, job: Job) -> None:
    try:
        connection.send(job)
    except (BrokenPipeError, ConnectionError):
        raise _died(process, job) from None


def _receive(connection: Connection, process: Any, job: Job) -> tuple[str, Any]:
    try:
        message: tuple[str, Any] = connection.recv()
    except (EOFError, ConnectionError):
        raise _died(process, job) from None
    return message


def _died(process: Any, job: Job) -> ResourceError:
    process.join(timeout=5)
    return ResourceError(
        f"The process that trained {job} died (exit code {process.exitcode}).",
        "Out of memory? Run the same again to resume, perhaps with `jobs=1`.",
    )


def _work(connection: Connection, config: Config, run_dir: Path, parent: int, checkpoint_every: float | None) -> None:
    """The body of a spawned process: take jobs from the connection until this process is killed."""
    threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()
    try:
        from tf_lottery.experiment.problem import from_config
        from tf_lottery.experiment.workers.trainer import CHECKPOINT_SECONDS, Trainer
        from tf_lottery.training.device import configure

        configure(threads=config.threads, device=config.device)
        trainer = None
        while True:
            job = connection.recv()
            if trainer is None:
                every = CHECKPOINT_SECONDS if checkpoint_every is None else checkpoint_every
                trainer = Trainer(config, from_config(config), RunDirectory(run_dir), checkpoint_every=every)
            row = trainer.run(job, lambda job, step, stop: connection.send(("progress", (step, stop))))
            connection.send(("done", row))
    except LotteryError as error:
        connection.send(("error", error))
    except (BrokenPipeError, ConnectionError, EOFError):
        pass  # the parent is gone
    except Exception as error:
        failure = RuntimeError(f"{type(error).__name__}: {error}")
        failure.add_note(traceback.format_exc())  # shown with the traceback of the parent
        connection.send(("error", failure))


def _exit_with(parent: int) -> None:
    """End this process when its parent is gone, however that ended: nothing may write to the run directory then."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
