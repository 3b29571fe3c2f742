"""Runs jobs: one after the other in this process, or side by side in the processes of a pool."""

import functools
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tf_lottery.errors import UnfinishedRunError
from tf_lottery.experiment import plan
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.events import DoneCallback, ProgressCallback, ScoresCallback
from tf_lottery.experiment.workers.job_events import NO_SCORES, Died, Done, Failed, JobFunction, Pool, Progress
from tf_lottery.experiment.workers.worker_death import Death

log = logging.getLogger(__name__)
MOST_DEATHS = 3
"""How often the process of a job may die before the run leaves the job out."""
MOST_NAMED = 3


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


def run_here(
    trainer: Any,
    waiting: Iterable[Job],
    *,
    on_progress: ProgressCallback,
    on_done: DoneCallback,
    on_scores: ScoresCallback = lambda job, record: None,
) -> None:
    """Run jobs one after the other, in this process.

    Args:
        trainer: a `Trainer`.
        waiting: the jobs, in an order in which none comes before one that it needs.
        on_progress: called with (job, step, last step).
        on_done: called with (job, row of results).
        on_scores: called with (job, record of its last evaluation).
    """

    def report(job: Job, step: int, last_step: int, scores: Mapping[str, float] = NO_SCORES) -> None:
        on_progress(job, step, last_step)
        if scores:
            on_scores(job, scores)

    for job in waiting:
        on_done(job, trainer.run(job, report))


def trainer_function(
    config: Config, run_dir: Path, checkpoint_every: float | None, *, place: int | None = None
) -> JobFunction:
    """Return the function that trains the jobs of an experiment in this process. It makes its trainer when it must.

    Args:
        config: the experiment.
        run_dir: its run directory.
        checkpoint_every: seconds between states saved in the middle of a training; None for the default.
        place: the number of this process among those side by side on this machine; None if there is no other.
    """
    from tf_lottery.experiment.problem import from_config
    from tf_lottery.experiment.workers.trainer import CHECKPOINT_SECONDS, Trainer
    from tf_lottery.training.device import configure

    configure(threads=config.threads, device=config.device, place=place)

    @functools.cache
    def trainer() -> Trainer:
        every = CHECKPOINT_SECONDS if checkpoint_every is None else checkpoint_every
        return Trainer(config, from_config(config), RunDirectory(run_dir), checkpoint_every=every)

    return lambda job, on_progress: trainer().run(job, on_progress)


def run_in_pool(
    config: Config,
    store: RunDirectory,
    pool: Pool,
    waiting: Iterable[Job],
    done: Iterable[Job],
    *,
    on_progress: ProgressCallback,
    on_done: DoneCallback,
    on_scores: ScoresCallback = lambda job, record: None,
) -> None:
    """Run jobs in the processes of a pool, each when those that it needs are committed.

    A job whose process dies is submitted again, and resumes from its saved state. After the third death it is left out,
    with all jobs that need it. After a death out of memory one job fewer runs at once.

    Args:
        config: the experiment.
        store: its run directory.
        pool: runs the jobs.
        waiting: the jobs to run.
        done: the jobs that are committed already.
        on_progress: called with (job, step, last step).
        on_done: called with each committed job and its row.
        on_scores: called with (job, record of its last evaluation).

    Raises:
        LotteryError: what a job raised.
        UnfinishedRunError: jobs were left out; all others are committed.
    """
    waiting, done = list(waiting), set(done)
    deaths: Counter[Job] = Counter()
    left_out: dict[Job, Death] = {}

    def commit(job: Job, row: dict[str, Any]) -> None:
        done.add(job)
        on_done(job, row)

    def replace_worker(job: Job | None, death: Death) -> None:
        if death.out_of_memory:
            pool.shrink()
        if job is None or store.is_complete(job):
            log.warning("%s", _death_message(job, death, 0, size=pool.size))
            if job is not None:  # it died between committing it and saying so
                commit(job, store.metrics(job)["row"])
            return
        deaths[job] += 1
        log.warning("%s", _death_message(job, death, deaths[job], size=pool.size))
        if deaths[job] < MOST_DEATHS:
            waiting.append(job)
        else:
            left_out[job] = death

    while True:
        for job in plan.ready(config, waiting, done)[: pool.free]:
            waiting.remove(job)
            pool.submit(job)
        if not pool.busy:
            break
        for event in pool.wait():
            match event:
                case Progress():
                    on_progress(event.job, event.step, event.last_step)
                    if event.scores:
                        on_scores(event.job, event.scores)
                case Done():
                    commit(event.job, event.row)
                case Failed():
                    raise event.error
                case Died():
                    replace_worker(event.job, event.death)
    if left_out:
        raise _unfinished(left_out, waiting, total=len(plan.jobs(config)), size=pool.size)
    if waiting:
        raise RuntimeError(f"These trainings wait for others that are not planned: {waiting}.")


def _death_message(job: Job | None, death: Death, number: int, *, size: int) -> str:
    """Return what is said of a death, which may be the first, second or third of the job, and what is done about it."""
    then = ""
    if number:
        again = "The training is done again, from its saved state if it has one."
        leave_out = f"It has died {MOST_DEATHS} times: the training is left out, with those that need it."
        then = f" {again if number < MOST_DEATHS else leave_out}"
    memory = f" From now on, trainings at once: {size}." if death.out_of_memory else ""
    whose = "that waited for a training" if job is None else f"that trained {job}"
    return f"The process {whose} died: {death.reason}.{then}{memory}"


def _unfinished(left_out: Mapping[Job, Death], waiting: list[Job], *, total: int, size: int) -> UnfinishedRunError:
    """Return the error for a run that is done but for jobs whose processes died, and those that need them."""
    named = [f"{job} (its process died {MOST_DEATHS} times: {death.reason})" for job, death in left_out.items()]
    if len(named) > MOST_NAMED:
        named[MOST_NAMED:] = [f"{len(named) - MOST_NAMED} more like them"]
    if waiting:
        named.append(f"{len(waiting)} that {'needs' if len(waiting) == 1 else 'need'} what is missing")
    missing = len(left_out) + len(waiting)
    short_of_memory = any(death.out_of_memory for death in left_out.values())
    jobs = size if short_of_memory else None
    return UnfinishedRunError(
        f"{missing} of {total} trainings {'is' if missing == 1 else 'are'} missing: {'; '.join(named)}.",
        f"What was committed is kept: run the same again to resume, {'with' if jobs else 'perhaps with'} "
        f"`jobs={jobs or 1}`.",
        jobs=jobs,
    )
