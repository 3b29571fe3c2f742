"""How far a run is, from its directory alone. No TensorFlow."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tf_lottery.errors import LotteryError, ResourceError
from tf_lottery.experiment import plan
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunReader


@dataclass(frozen=True)
class Partial:
    """A training that has begun, and whose state is saved.

    Attributes:
        replicate: its replicate.
        round: its round.
        variant: its variant.
        step: the last step of which the state is saved.
        steps: the training steps of a round; None where epochs are counted.
    """

    replicate: int
    round: int
    variant: str
    step: int
    steps: int | None


@dataclass(frozen=True)
class RunState:
    """The state of a run.

    Attributes:
        run_dir: its run directory.
        state: "complete", "running", "unfinished", "damaged" or "unreadable" (not permitted, or no answer of its disk).
        in_use: whether a process holds the directory.
        jobs_done: trainings that are committed.
        jobs_total: trainings that are planned.
        rounds_done: rounds of pruning that are committed for all replicates and variants.
        rounds_total: rounds of pruning that are planned.
        replicates: replicates, as configured.
        variants: the ticket and its controls, as configured.
        seconds: the time of all committed trainings, in seconds.
        seconds_left: what the others will take in one process, at the mean so far; None where nothing is known.
        partial: trainings that were stopped in their middle.
        leftovers: half-written and outdated files of a killed process; 0 while the directory is in use.
        problem: what is damaged or can't be read.
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
    leftovers: int = 0
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return asdict(self)


def read_state(run_dir: str | Path) -> RunState:
    """The state of a run directory; a damaged one has a state too.

    Example:
        `read_state("runs/digits-mlp-8352f9bc72").jobs_done`
    """
    run = RunReader(run_dir)
    try:
        config, rows = run.config(), run.rows()
        in_use = run.in_use()
        jobs = plan.jobs(config)
        done = set(run.complete_jobs()) & set(jobs)
        seconds = sum(row["seconds"] for row in rows)
        partial = [_read_partial(run, job, config) for job in jobs if job not in done]
    except ResourceError as error:
        return RunState(str(run_dir), "unreadable", problem=error.cause)
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
        partial=tuple(state for state in partial if state is not None),
        leftovers=0 if in_use else len(run.leftovers()),
    )


def _rounds_done(jobs: list[Job], done: set[Job]) -> int:
    missing = [job.round for job in jobs if job not in done]
    return max(0, min(missing) - 1) if missing else max(job.round for job in jobs)


def _read_partial(run: RunReader, job: Job, config: Config) -> Partial | None:
    """The saved state in the middle of a training, if there is one."""
    progress = run.partial_progress(job)
    if progress is None:
        return None
    return Partial(job.replicate, job.round, job.variant, int(progress["step"]), config.steps)
