"""An experiment from its configuration to its results: open or resume the run directory, and train what is missing."""

import contextlib
import functools
import glob
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tf_lottery.errors import LotteryError, UsageError
from tf_lottery.experiment import own_functions, plan
from tf_lottery.experiment.config import HASHED_BESIDE, Config
from tf_lottery.experiment.config_checks import check_own_functions
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.events import Events
from tf_lottery.experiment.launchers.launcher import cluster_pool
from tf_lottery.experiment.memory import fitting_processes
from tf_lottery.experiment.workers import executor
from tf_lottery.experiment.workers.job_events import Pool
from tf_lottery.experiment.workers.worker_pool import WorkerPool
from tf_lottery.utils.files import resources
from tf_lottery.utils.references import is_import_path
from tf_lottery.utils.tf_config import NONE


def locate(config: Config, out: str | Path, *, fresh: bool = False, model_hash: str = "") -> RunDirectory:
    """Return the run directory of a configuration.

    Args:
        config: the experiment.
        out: the folder of run directories.
        fresh: whether to return a new directory; otherwise the newest one of the configuration's hash.
        model_hash: what a user's model adds to the hash.
    """
    path = Path(out) / f"{config.preset}-{config.hash(**_hashed_beside(config, model_hash))}"
    newest = _newest_number(path)
    return RunDirectory(_numbered(path, newest + 1 if fresh else max(newest, 1)))


def fresh_directory(path: str | Path) -> Path:
    """Return a directory to start a run over in: `path` if nothing is in it, or else `path-2`, `path-3` and so on.

    Args:
        path: the run directory that was asked for; it is left as it is.

    Raises:
        ResourceError: it can't be read.
    """
    path = Path(os.path.abspath(path))
    with resources(path):
        if not path.is_dir() or not any(path.iterdir()):
            return path
    return _numbered(path, _newest_number(path) + 1)


def _newest_number(path: Path) -> int:
    """Return the highest N for which `path-N` exists, 1 where only `path` does, and 0 where nothing does."""
    paths = path.parent.glob(f"{glob.escape(path.name)}*")
    matches = [re.fullmatch(rf"{re.escape(path.name)}(?:-(\d+))?", other.name) for other in paths]
    return max((int(match[1] or 1) for match in matches if match), default=0)


def _numbered(path: Path, number: int) -> Path:
    return path if number == 1 else path.with_name(f"{path.name}-{number}")


def extended(config: Config, store: RunDirectory, *, model_hash: str | None = None) -> Config:
    """Return the configuration of a run that is extended: no fewer rounds, replicates and variants than it had.

    Args:
        config: the configuration that is asked for now.
        store: the run directory.
        model_hash: what a user's model adds to the hash now; None assumes the model of the run.

    Raises:
        UsageError: the directory holds a run of another configuration.
    """
    document = store.document()
    before_hash = document.pop("hash", None)
    beside = {key: document.pop(key, None) for key in HASHED_BESIDE}
    before = Config.from_json(document)
    if before_hash != config.hash(**_hashed_beside(config, beside["model_hash"] if model_hash is None else model_hash)):
        raise UsageError(
            f"{store.path} holds a run of another configuration or model, or of a function that has changed since.",
            "Choose another `run_dir`, or start over with `fresh=True`.",
        )
    return config.updated(
        rounds=max(config.rounds, before.rounds),
        replicates=max(config.replicates, before.replicates),
        variants=tuple(dict.fromkeys([*before.variants, *config.variants])),
    )


def run(
    config: Config,
    store: RunDirectory,
    *,
    make_problem: Callable[[], Any] | None = None,
    events: Events | None = None,
    model_hash: str = "",
    checkpoint_every: float | None = None,
    own_code: str | None = None,
    replicas: Any = None,
) -> list[dict[str, Any]]:
    """Train what is missing of an experiment, and return the rows of all of it.

    Args:
        config: the experiment.
        store: its run directory, as from `locate`.
        make_problem: makes the problem, for one that the configuration alone does not describe; then everything runs in
            this process. By default spawned processes make it from the configuration, where there is room for several.
        events: what to call on the way.
        model_hash: what a user's model adds to the hash.
        checkpoint_every: seconds between states saved in the middle of a training.
        own_code: the digest of the caller's own code, as `Problem.own_code` gives it, where `make_problem` is given.
        replicas: the `Replicas` of a strategy that the caller made; by default those of the configuration's.

    Raises:
        RunInUseError: another process holds the run directory.
        LotteryError: whatever a training raises; all that is committed stays.
    """
    events = events or Events()
    check_own_functions(config)
    with _under_strategy(config, store, replicas, model_hash=model_hash) as (replicas, store), store.lock():
        store.clean()
        store.create(_document(config, model_hash))
        store.update_config(_document(extended(config, store, model_hash=model_hash), model_hash))
        jobs = plan.jobs(config)
        done = {job for job in jobs if store.is_complete(job)}
        for job in done:
            store.metrics(job)  # a damaged file is an error before anything is trained
        _check_unchanged_controls(store, done)
        waiting = [job for job in jobs if job not in done]
        events.on_start(store, jobs, waiting)
        if waiting:
            _execute(config, store, waiting, done, make_problem, events, checkpoint_every, replicas)
        else:
            _check_unchanged_code(config, store, own_code)
        store.write_results()
        return store.rows()


@contextlib.contextmanager
def _under_strategy(
    config: Config, store: RunDirectory, replicas: Any, *, model_hash: str
) -> Iterator[tuple[Any, RunDirectory]]:
    """Yield the replicas of a configuration's strategy, and the run directory as they write it."""
    if config.strategy == NONE:
        yield None, store
        return
    from tf_lottery.experiment.workers import strategy_run
    from tf_lottery.training.process_checks import noticing_lost_processes

    replicas = replicas or strategy_run.replicas_of(config)
    with noticing_lost_processes(replicas):
        yield replicas, strategy_run.opened(config, store, replicas, model_hash=model_hash)


def _document(config: Config, model_hash: str) -> dict[str, Any]:
    beside = _hashed_beside(config, model_hash)
    return {**config.to_json(), "hash": config.hash(**beside), **beside}


def _hashed_beside(config: Config, model_hash: str | None) -> dict[str, str]:
    """Return what is hashed beside the options: the digests of a user's own model and functions."""
    functions_hash = own_functions.functions_hash(config.criterion, config.rewind_point.function)
    digests = {"model_hash": model_hash, "functions_hash": functions_hash}
    return {key: value for key, value in digests.items() if value}


def _check_unchanged_controls(store: RunDirectory, done: set[Job]) -> None:
    """Check that a user's own controls are those that committed trainings were made by.

    Controls only extend a run, so they are not in its hash.

    Raises:
        UsageError: a control's function has changed.
    """
    trained = {(job.variant, store.metrics(job).get("function")) for job in done if is_import_path(job.variant)}
    for variant, digest in sorted(trained, key=str):
        if digest != own_functions.control_digest(variant):
            raise UsageError(
                f"The control {variant!r} has changed since {store.path} trained it.",
                "Give the changed function another name, or start over with `fresh=True`.",
            )


def _check_unchanged_code(config: Config, store: RunDirectory, own_code: str | None) -> None:
    """Check that a caller's model and loss are those of the results of a finished run; a training checks its own.

    Raises:
        UsageError: a class or function has changed.
    """
    if own_code is None and not is_import_path(config.model):
        return
    from tf_lottery.experiment.environment import check_own_code
    from tf_lottery.experiment.problem import from_config

    if own_code is None:
        problem = from_config(config)
        own_code = problem.own_code(problem.make_model(0))
    check_own_code(store, own_code)


def _execute(
    config: Config,
    store: RunDirectory,
    waiting: list[Job],
    done: set[Job],
    make_problem: Callable[[], Any] | None,
    events: Events,
    checkpoint_every: float | None,
    replicas: Any,
) -> None:
    """Train the waiting jobs, in this process or side by side in spawned ones."""

    def on_done(job: Job, row: dict[str, Any]) -> None:
        store.write_results()
        events.on_done(job, row)

    for source in {before for job in waiting for before in plan.needs(config, job)} & done:
        store.verify(source)
    if (pool := _pool(config, store, waiting, make_problem, checkpoint_every)) is not None:
        try:
            with pool as workers:
                executor.run_in_pool(
                    config,
                    store,
                    workers,
                    waiting,
                    done,
                    on_progress=events.on_progress,
                    on_done=on_done,
                    on_scores=events.on_scores,
                )
        finally:
            with contextlib.suppress(LotteryError):  # the next run tries it again
                store.clean()
        return
    from tf_lottery.experiment.problem import from_config
    from tf_lottery.experiment.workers.strategy_run import check_same_trainings, replicated
    from tf_lottery.experiment.workers.trainer import CHECKPOINT_SECONDS, Trainer
    from tf_lottery.training.device import configure

    if make_problem is None:
        configure(threads=config.threads, device=config.device)
    check_same_trainings(replicas, done)
    trainer = Trainer(
        config,
        replicated(make_problem() if make_problem else from_config(config), replicas),
        store,
        checkpoint_every=CHECKPOINT_SECONDS if checkpoint_every is None else checkpoint_every,
        observer=events.observer,
    )
    executor.run_here(trainer, waiting, on_progress=events.on_progress, on_done=on_done, on_scores=events.on_scores)


def _pool(
    config: Config,
    store: RunDirectory,
    waiting: list[Job],
    make_problem: Callable[[], Any] | None,
    checkpoint_every: float | None,
) -> contextlib.AbstractContextManager[Pool] | None:
    """Return what opens the pool of processes that train, or None to train in this one."""
    make_job_function = functools.partial(executor.trainer_function, config, store.path, checkpoint_every)
    if config.launcher != "local":
        if make_problem is not None:
            raise UsageError(
                f"The launcher {config.launcher} trains in other processes, which only know the configuration.",
                "Name model and data in a configuration, or use launcher='local'.",
            )
        return cluster_pool(config, store.path, waiting, make_job_function)
    count = (
        1
        if make_problem or config.strategy != NONE
        else fitting_processes(config, executor.workers(config, len(waiting)))
    )
    return WorkerPool(make_job_function, count) if count > 1 else None
