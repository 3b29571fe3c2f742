"""How far a run is, from its directory alone. No TensorFlow."""

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tf_lottery.errors import DamagedError, LotteryError
from tf_lottery.experiment import plan
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunDirectory

NOT_CONFIGURATION = ("hash", "model_hash")


@dataclass(frozen=True)
class Partial:
    """A training that has begun: the last step of which the state is saved."""

    replicate: int
    round: int
    variant: str
    step: int
    steps: int | None


@dataclass(frozen=True)
class RunState:
    """The state of a run.

    Attributes:
        run_dir: where it is.
        state: "complete", "running", "unfinished" or "damaged".
        in_use: a process holds the directory.
        jobs_done, jobs_total: trainings committed and planned.
        rounds_done, rounds_total: rounds of pruning that are committed for all replicates and variants, and planned.
        replicates, variants: as configured.
        seconds: time of the committed trainings together.
        seconds_left: what the others will take in one process, at the mean so far; None where it can't be told.
        partial: trainings that have a saved state in their middle.
        problem: what is damaged.
    """

    run_dir: str
    state: str
    in_use: bool = False
    jobs_done: int = 0
    jobs_total: int = 0
    rounds_done: int = 0
    rounds_total: int = 0
    replicates: int = 0
    variants: tuple[str, ...] = ()
    seconds: float = 0.0
    seconds_left: float | None = None
    partial: tuple[Partial, ...] = ()
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return asdict(self)


def read_config(store: RunDirectory) -> Config:
    """The configuration of a run directory.

    Raises:
        DamagedError: it can't be read as one.
    """
    document = {key: value for key, value in store.config().items() if key not in NOT_CONFIGURATION}
    try:
        return Config.from_json(document)
    except LotteryError as error:
        raise DamagedError(
            f"{store.path / 'config.json'} is damaged: {error.cause}", "Restore it, or start over with `fresh=True`."
        ) from error


def read_rows(store: RunDirectory) -> list[dict[str, Any]]:
    """The rows of the committed trainings of a run directory.

    Raises:
        DamagedError: a file of metrics is damaged.
    """
    try:
        return store.rows()
    except (KeyError, TypeError) as error:
        raise DamagedError(
            f"A metrics.json of {store.path} is damaged: it has no row of results.",
            "Find it with `tf_lottery.exporting.checks.verify.verify_run(...)`, restore it, or start over with "
            "`fresh=True`.",
        ) from error


def read_state(run_dir: str | Path) -> RunState:
    """The state of a run directory; a damaged one has a state too.

    Example:
        `read_state("runs/digits-mlp-8352f9bc72").jobs_done`
    """
    store = RunDirectory(run_dir)
    try:
        config, rows = read_config(store), read_rows(store)
        in_use = store.in_use()
        jobs = plan.jobs(config)
        done = set(store.complete_jobs()) & set(jobs)
        seconds = sum(row["seconds"] for row in rows)
        partial = tuple(found for job in jobs if job not in done and (found := _partial(store, job, config)))
    except (LotteryError, KeyError, TypeError) as error:
        problem = error.cause if isinstance(error, LotteryError) else f"A file of metrics lacks {error}."
        return RunState(str(run_dir), "damaged", problem=problem)
    complete = len(done) == len(jobs)
    return RunState(
        run_dir=str(run_dir),
        state="running" if in_use else "complete" if complete else "unfinished",
        in_use=in_use,
        jobs_done=len(done),
        jobs_total=len(jobs),
        rounds_done=_rounds_done(jobs, done),
        rounds_total=config.rounds,
        replicates=config.replicates,
        variants=config.variants,
        seconds=round(seconds, 3),
        seconds_left=round(seconds / len(rows) * (len(jobs) - len(done)), 1) if rows and not complete else None,
        partial=partial,
    )


def _rounds_done(jobs: list[Job], done: set[Job]) -> int:
    missing = [job.round for job in jobs if job not in done]
    return max(0, min(missing) - 1) if missing else max(job.round for job in jobs)


def _partial(store: RunDirectory, job: Job, config: Config) -> Partial | None:
    """The saved state in the middle of a training, if there is one; only its progress is read, not the arrays."""
    path = store.partial(job)
    try:
        with np.load(path, allow_pickle=False) as archive:
            progress = json.loads(archive["progress"].tobytes())
        return Partial(job.replicate, job.round, job.variant, int(progress["step"]), config.steps)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DamagedError(f"{path} is damaged: {error}.", "Delete it: its training then starts over.") from error
