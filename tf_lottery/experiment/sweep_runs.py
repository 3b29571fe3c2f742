"""The runs of a sweep: planned and checked before anything is trained, then trained one after the other."""

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tf_lottery.errors import LotteryError, ResourceError, UsageError
from tf_lottery.experiment import plan
from tf_lottery.experiment.config import Config, differing_options, merge_configs
from tf_lottery.experiment.config_checks import check_own_functions
from tf_lottery.experiment.directory import RunDirectory
from tf_lottery.experiment.events import Events
from tf_lottery.experiment.preflight import DryRun, check_before_run, dry_run, removing_unused_directory
from tf_lottery.experiment.run import locate, run
from tf_lottery.experiment.sweep import Sweep, configurations, describe_combination, naming_place

# Of a process: all runs of a sweep that are not trained in processes of their own are trained in this one.
OF_THE_PROCESS = ("threads", "device")
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class SweepRun:
    """A run of a sweep.

    Attributes:
        combinations: the combinations of the sweep that are this run; several where they are the same configuration, or
            one that extends another.
        config: its configuration, with all rounds, replicates and variants that the combinations ask for.
        store: its run directory.
        model_hash: what a user's model adds to the hash.
    """

    combinations: tuple[Mapping[str, Any], ...]
    config: Config
    store: RunDirectory
    model_hash: str = ""

    def describe(self) -> str:
        """Return its options that the sweep sets, in a line."""
        return describe_combination(self.combinations[0])

    def count_jobs(self) -> tuple[int, int]:
        """Return how many of its trainings are committed, and how many there are."""
        jobs = plan.jobs(self.config)
        return sum(self.store.is_complete(job) for job in jobs), len(jobs)


def plan_sweep(
    sweep: Sweep,
    out: str | Path,
    *,
    options: Mapping[str, Any] | None = None,
    trust: bool = False,
    find_run: Callable[[str], Path] = Path,
) -> list[SweepRun]:
    """Return the runs of a sweep, each checked as far as it can be before anything is written.

    Args:
        sweep: what its file says.
        out: the folder of the runs.
        options: values by option that win over those of the file.
        trust: whether code may be imported that the file names.
        find_run: returns the run directory that `tickets_from` names.

    Raises:
        LotteryError: a configuration, a data set or a model is wrong.
    """
    configs = configurations(sweep, options, trust=trust, find_run=find_run)
    if differing := [f"`{name}`" for name in differing_options(configs) if name in OF_THE_PROCESS]:
        raise UsageError(
            f"{sweep.path} varies {' and '.join(differing)}, of which the process that trains all its runs has one.",
            "Make a sweep of each value.",
        )
    runs: dict[Path, SweepRun] = {}
    for combination, config in zip(sweep.combinations, configs, strict=True):
        with naming_place(f"{sweep.path}, {describe_combination(combination)}"):
            check_own_functions(config)
            model_hash = check_before_run(config)
            store = locate(config, out, model_hash=model_hash)
        new = SweepRun((combination,), config, store, model_hash)
        runs[store.path] = _merged(runs[store.path], new) if store.path in runs else new
    return list(runs.values())


def _merged(first: SweepRun, second: SweepRun) -> SweepRun:
    return replace(
        first,
        combinations=(*first.combinations, *second.combinations),
        config=merge_configs(first.config, second.config),
    )


def train_sweep(
    runs: Sequence[SweepRun],
    *,
    show_progress: Callable[[], AbstractContextManager[Events]] = lambda: nullcontext(Events()),
    on_start: Callable[[int, SweepRun], None] = lambda number, sweep_run: None,
    on_failure: Callable[[SweepRun, LotteryError], None] = lambda sweep_run, error: None,
    checkpoint_every: float | None = None,
) -> dict[Path, LotteryError]:
    """Train what is missing of the runs of a sweep, one after the other; one that fails does not stop the others.

    After an interruption the same call continues.

    Args:
        runs: the runs, from `plan_sweep`.
        show_progress: returns, for a run, a context manager of the functions to call as its trainings go.
        on_start: called with the number of each run, from 1, and the run.
        on_failure: called with a run that failed, and its error.
        checkpoint_every: seconds between states saved in the middle of a training.

    Returns:
        The errors of the runs that failed, by run directory.

    Raises:
        ResourceError: the disk is full.
    """
    failures: dict[Path, LotteryError] = {}
    for number, each in enumerate(runs, 1):
        on_start(number, each)
        try:
            with removing_unused_directory(each.store, each.config), show_progress() as events:
                run(
                    each.config,
                    each.store,
                    events=events,
                    model_hash=each.model_hash,
                    checkpoint_every=checkpoint_every,
                )
        except LotteryError as error:
            if _is_full_disk(error):
                raise
            failures[each.store.path] = error
            on_failure(each, error)
    return failures


def _is_full_disk(error: LotteryError) -> bool:
    """Whether an error says that a disk is full; that of a worker process comes without the exception of the system."""
    return isinstance(error, ResourceError) and any(os.strerror(number) in error.cause for number in _DISK_FULL)


def failed_sweep_error(failures: Mapping[Path, LotteryError], count: int) -> LotteryError:
    """Return the error of a sweep in which runs failed, of the class of the first one's.

    Args:
        failures: the errors by run directory; at least one.
        count: the number of all runs.
    """
    first = next(iter(failures.values()))
    return type(first)(
        f"{len(failures)} of {count} runs failed: {', '.join(path.name for path in failures)}.",
        "Their reasons are above. The same command trains only what is missing.",
    )


def dry_run_sweep(runs: Sequence[SweepRun], out: str | Path, *, trust: bool = False) -> list[DryRun]:
    """Measure what each run of a sweep will take; nothing is written.

    Args:
        runs: the runs, from `plan_sweep`.
        out: the folder of the runs.
        trust: whether code may be imported that a run names which is extended, and the sweep does not.

    Raises:
        LotteryError: whatever would stop a run at its start.
    """
    planned = []
    for each in runs:
        with naming_place(each.describe()):
            planned.append(dry_run(each.config, out, trust=trust))
    return planned


def sum_dry_runs(planned: Sequence[DryRun]) -> dict[str, Any]:
    """Return what runs together will take, one after the other.

    Returns:
        The sums `trainings` (that are to be done), `jobs_done`, `training_steps`, `disk_bytes` and `seconds`, and the
        largest `memory_bytes`.
    """
    estimates = [each.estimate for each in planned]
    memory = [estimate.memory_bytes for estimate in estimates if estimate.memory_bytes is not None]
    return {
        "trainings": sum(estimate.jobs for estimate in estimates),
        "jobs_done": sum(each.jobs_done for each in planned),
        "training_steps": sum(estimate.training_steps for estimate in estimates),
        "disk_bytes": sum(estimate.disk_bytes for estimate in estimates),
        "memory_bytes": max(memory, default=None),
        "seconds": round(sum(estimate.seconds for estimate in estimates), 1),
    }
