"""An experiment from configuration to results: open or resume its run directory, do what is missing, tell the rows."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tf_lottery.errors import UsageError
from tf_lottery.experiment import plan
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.events import Events
from tf_lottery.experiment.workers import executor


def locate(config: Config, out: str | Path, *, fresh: bool = False, model_hash: str = "") -> RunDirectory:
    """The run directory of a configuration below `out`: the newest of its hash, or with `fresh` a new one."""
    name = f"{config.preset}-{config.hash(**_extra(model_hash))}"
    found = [re.fullmatch(rf"{re.escape(name)}(?:-(\d+))?", path.name) for path in Path(out).glob(f"{name}*")]
    newest = max((int(match[1] or 1) for match in found if match), default=0)
    return RunDirectory(Path(out) / _numbered(name, newest + 1 if fresh else max(newest, 1)))


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def extended(config: Config, store: RunDirectory, *, model_hash: str | None = None) -> Config:
    """The configuration of a run that is extended: no fewer rounds, replicates and variants than it had.

    Args:
        config: the configuration that is asked for now.
        store: the run directory.
        model_hash: what a user's model adds to the hash now; None takes the model for the one of the run.

    Raises:
        UsageError: the directory holds a run of another configuration.
    """
    document = store.document()
    before_hash, before_model = document.pop("hash", None), document.pop("model_hash", None)
    model_hash = before_model if model_hash is None else model_hash
    before = Config.from_json(document)
    if before_hash != config.hash(**_extra(model_hash)):
        raise UsageError(
            f"{store.path} holds a run of another configuration or model.",
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
) -> list[dict[str, Any]]:
    """Do what is missing of an experiment, and return the rows of all of it.

    Args:
        config: the experiment.
        store: its run directory, as from `locate`.
        make_problem: makes the problem, for one that the configuration alone does not describe; then everything runs in
            this process. By default spawned processes make it from the configuration, where there is room for several.
        events: what to call as the run goes.
        model_hash: what a user's model adds to the hash.
        checkpoint_every: seconds between states saved in the middle of a training.

    Raises:
        RunInUseError: another process holds the run directory.
        LotteryError: whatever a training raises; all that is committed stays.
    """
    events = events or Events()
    with store.lock():
        store.clean()
        store.create(_document(config, model_hash))
        store.update_config(_document(extended(config, store, model_hash=model_hash), model_hash))
        jobs = plan.jobs(config)
        done = {job for job in jobs if store.is_complete(job)}
        for job in done:
            store.metrics(job)  # damage is told before anything is trained
        waiting = [job for job in jobs if job not in done]
        events.on_start(store, jobs, waiting)
        if waiting:
            _execute(config, store, waiting, done, make_problem, events, checkpoint_every)
        store.write_results()
        return store.rows()


def _document(config: Config, model_hash: str) -> dict[str, Any]:
    extra = _extra(model_hash)
    return {**config.to_json(), "hash": config.hash(**extra), **extra}


def _extra(model_hash: str | None) -> dict[str, str]:
    return {"model_hash": model_hash} if model_hash else {}


def _execute(
    config: Config,
    store: RunDirectory,
    waiting: list[Job],
    done: set[Job],
    make_problem: Callable[[], Any] | None,
    events: Events,
    checkpoint_every: float | None,
) -> None:
    def committed(job: Job, row: dict[str, Any]) -> None:
        store.write_results()
        events.on_done(job, row)

    for source in {before for job in waiting for before in plan.needs(config, job)} & done:
        store.verify(source)
    count = 1 if make_problem else executor.workers(config, len(waiting))
    if count > 1:
        executor.run_spawned(
            config,
            store.path,
            waiting,
            done,
            count=count,
            on_progress=events.on_progress,
            on_done=committed,
            checkpoint_every=checkpoint_every,
        )
        return
    from tf_lottery.experiment.problem import from_config
    from tf_lottery.experiment.workers.trainer import CHECKPOINT_SECONDS, Trainer
    from tf_lottery.training.device import configure

    if make_problem is None:
        configure(threads=config.threads, device=config.device)
    problem = make_problem() if make_problem else from_config(config)
    trainer = Trainer(
        config,
        problem,
        store,
        checkpoint_every=CHECKPOINT_SECONDS if checkpoint_every is None else checkpoint_every,
        observer=events.observer,
    )
    executor.run_here(trainer, waiting, on_progress=events.on_progress, on_done=committed)
