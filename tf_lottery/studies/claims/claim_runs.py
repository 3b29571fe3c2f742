"""The runs that claims need, shared between claims: what is trained, and what the rest costs. No TensorFlow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tf_lottery.data import locations
from tf_lottery.errors import UnfitError
from tf_lottery.experiment import plan
from tf_lottery.experiment import run as experiment
from tf_lottery.experiment.config import Config, merge_configs
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.events import Events
from tf_lottery.experiment.workers import executor
from tf_lottery.models.catalog import CATALOG
from tf_lottery.results.statistics.values import spread

# Seconds of a step and of an evaluation by model, measured on one core of a server of 2026 for the batches of the
# recipes: for a plan before anything is trained. Where a run has trainings, their own time is taken.
SECONDS = {
    "mlp": (0.0003, 0.01),
    "fc1": (0.00072, 0.04),
    "lenet5": (0.12, 5.0),
    "resnet8": (0.025, 0.7),
    "resnet20": (0.26, 12.0),
}


@dataclass(frozen=True)
class RequiredRun:
    """A run that one claim or several need.

    Attributes:
        config: its configuration, with all rounds, replicates and variants that the claims ask for.
        store: its run directory.
        claims: the names of the claims.
        problem: the reason why the run can't be made, e.g. a missing data set; None where it can.
    """

    config: Config
    store: RunDirectory
    claims: tuple[str, ...]
    problem: UnfitError | None = None

    def jobs(self) -> list[Job]:
        """Return all trainings, committed or not."""
        return plan.jobs(self.config)

    def missing_jobs(self) -> list[Job]:
        """Return the trainings that are not committed."""
        return [job for job in self.jobs() if not self.store.is_complete(job)]

    def seconds(self) -> float | None:
        """Return the expected wall time of the missing trainings, side by side; None where it is unknown."""
        missing = self.missing_jobs()
        if not missing:
            return 0.0
        per_job = self._seconds_per_job()
        return None if per_job is None else len(missing) * per_job / executor.workers(self.config, len(missing))

    def to_json(self) -> dict[str, Any]:
        """Return the run and what it costs, as JSON values."""
        return {
            "run_dir": str(self.store.path),
            "claims": list(self.claims),
            "trainings": len(self.jobs()),
            "waiting": len(self.missing_jobs()),
            "seconds": self.seconds(),
            "problem": str(self.problem or ""),
            "config": self.config.to_json(),
        }

    def _seconds_per_job(self) -> float | None:
        """The time of a training: the mean of the committed ones, or from `SECONDS`."""
        done = [row.get("seconds") for row in self.store.rows()] if self.store.complete_jobs() else []
        if measured := spread(done):
            return measured.mean
        if self.config.model not in SECONDS or self.config.steps is None:
            return None
        step, evaluation = SECONDS[self.config.model]
        return self.config.steps * step + (self.config.steps // self.config.eval_every) * evaluation


def required_runs(configs: Mapping[str, Mapping[str, Config]], *, out: str | Path) -> list[RequiredRun]:
    """Return the runs that claims need, in the order of the claims; equal configurations share a run.

    Args:
        configs: for each claim, by name, the configurations that it asks for.
        out: the folder of the runs.
    """
    runs: dict[str, RequiredRun] = {}
    for name, of_claim in configs.items():
        for config in of_claim.values():
            key = config.hash()
            if key in runs:
                before = runs[key]
                names = tuple(dict.fromkeys([*before.claims, name]))
                runs[key] = replace(before, config=merge_configs(before.config, config), claims=names)
            else:
                problem = missing_data_error(config)
                runs[key] = RequiredRun(config, experiment.locate(config, out), (name,), problem)
    return list(runs.values())


def missing_data_error(config: Config) -> UnfitError | None:
    """Return the error for a missing data set of a run; None where the data set is there."""
    find = (locations.find_prepared, locations.find_raw)
    if config.dataset == "digits" or any(look(config.dataset, config.data_dir) for look in find):
        return None
    from tf_lottery.data.preparing import missing

    return missing(config.dataset, config.data_dir)


def train_required_run(run: RequiredRun, *, events: Events | None = None) -> None:
    """Train the missing trainings of a run; after an interruption, the same call continues it.

    Args:
        run: the run.
        events: the functions to call as trainings start, evaluate and end.

    Raises:
        UnfitError: its data set is missing, or a training diverged.
        RunInUseError: another process holds its directory.
    """
    if run.problem:
        raise run.problem
    options: dict[str, Any] = {}
    if run.config.model not in CATALOG:
        from tf_lottery.experiment.problem import model_hash

        options["model_hash"] = model_hash(run.config)
    experiment.run(run.config, run.store, events=events, **options)


def training_seconds(configs: Sequence[Config], stores: Sequence[RunDirectory]) -> float:
    """Return the time of all committed trainings that a claim asks for, in seconds.

    Args:
        configs: the configurations that the claim asks for.
        stores: their run directories, in the same order.
    """
    total = 0.0
    for config, store in zip(configs, stores, strict=True):
        jobs = plan.jobs(config)
        total += sum(store.metrics(job)["row"]["seconds"] for job in jobs if store.is_complete(job))
    return round(total, 1)
