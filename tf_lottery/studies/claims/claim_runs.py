"""The runs that some claims need, each once: what is done, and what the rest costs. No TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tf_lottery.data import locations
from tf_lottery.errors import UnfitError
from tf_lottery.experiment import plan
from tf_lottery.experiment import run as experiment
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.events import Events
from tf_lottery.experiment.workers import executor
from tf_lottery.models.catalog import CATALOG
from tf_lottery.results.statistics.values import spread
from tf_lottery.studies.claims.claim import Claim

# Seconds of a step and of an evaluation, measured on one core of a server of 2026, for the batches of the recipes; for
# a plan before anything is trained. Where a run has trainings, their own time is taken.
SECONDS = {
    "mlp": (0.0003, 0.01),
    "fc1": (0.00072, 0.04),
    "lenet5": (0.12, 5.0),
    "resnet8": (0.025, 0.7),
    "resnet20": (0.26, 12.0),
}


@dataclass(frozen=True)
class Need:
    """A run that one claim or several need.

    Attributes:
        config: with all rounds, replicates and variants that any of them asks for.
        store: its run directory.
        claims: their names.
        problem: why it can't be made here, e.g. its data set is missing; None where it can.
    """

    config: Config
    store: RunDirectory
    claims: tuple[str, ...]
    problem: UnfitError | None = None

    def jobs(self) -> list[Job]:
        """All trainings, done or not."""
        return plan.jobs(self.config)

    def waiting(self) -> list[Job]:
        """The trainings that are not done."""
        return [job for job in self.jobs() if not self.store.is_complete(job)]

    def seconds(self) -> float | None:
        """What the trainings that are not done will take, side by side; None where nothing tells."""
        waiting = self.waiting()
        if not waiting:
            return 0.0
        each = self._seconds_each()
        return None if each is None else len(waiting) * each / executor.workers(self.config, len(waiting))

    def to_json(self) -> dict[str, Any]:
        """Return the run and what it costs, as JSON values."""
        return {
            "run_dir": str(self.store.path),
            "claims": list(self.claims),
            "trainings": len(self.jobs()),
            "waiting": len(self.waiting()),
            "seconds": self.seconds(),
            "problem": str(self.problem or ""),
            "config": self.config.to_json(),
        }

    def _seconds_each(self) -> float | None:
        """A training's time: the mean of those that are done, or by the table."""
        done = [row.get("seconds") for row in self.store.rows()] if self.store.complete_jobs() else []
        if measured := spread(done):
            return measured.mean
        if self.config.model not in SECONDS or self.config.steps is None:
            return None
        step, evaluation = SECONDS[self.config.model]
        return self.config.steps * step + (self.config.steps // self.config.eval_every) * evaluation


def needs(
    claims: Sequence[Claim],
    *,
    quick: bool,
    out: str | Path,
    replicates: int | None = None,
    data_dir: str | None = None,
    jobs: int = 0,
) -> list[Need]:
    """The runs of some claims, each once, in the order of the claims.

    Args:
        claims: the claims.
        quick: the size for a CPU, or the published one.
        out: the folder of the runs.
        replicates: instead of the claims' own numbers.
        data_dir, jobs: where the data is; processes at once, 0: as many as the cores hold.

    Raises:
        UsageError: too few replicates for an interval.
    """
    found: dict[str, Need] = {}
    for claim in claims:
        for config in claim.configs(quick=quick, replicates=replicates).values():
            config = config.updated(data_dir=data_dir, jobs=jobs)
            key = config.hash()
            if key in found:
                before = found[key]
                names = tuple(dict.fromkeys([*before.claims, claim.name]))
                found[key] = replace(before, config=united(before.config, config), claims=names)
            else:
                found[key] = Need(config, experiment.locate(config, out), (claim.name,), missing_data(config))
    return list(found.values())


def united(first: Config, second: Config) -> Config:
    """Two configurations of one hash as one: all rounds, replicates and variants of both.

    Example:
        >>> both = united(Config(rounds=2, replicates=5), Config(rounds=3, variants=("ticket", "shuffled_masks")))
        >>> both.rounds, both.replicates, both.variants
        (3, 5, ('ticket', 'random_reinit', 'shuffled_masks'))
    """
    return first.updated(
        rounds=max(first.rounds, second.rounds),
        replicates=max(first.replicates, second.replicates),
        variants=tuple(dict.fromkeys([*first.variants, *second.variants])),
    )


def missing_data(config: Config) -> UnfitError | None:
    """Why the data set of a run is not there; None where it is."""
    find = (locations.find_prepared, locations.find_raw)
    if config.dataset == "digits" or any(look(config.dataset, config.data_dir) for look in find):
        return None
    from tf_lottery.data.preparing import missing

    return missing(config.dataset, config.data_dir)


def train(need: Need, *, events: Events | None = None) -> None:
    """Do what is missing of a run. What is committed stays, whatever happens; the same call again goes on.

    Raises:
        UnfitError: its data is not there, or a training diverged.
        RunInUseError: another process holds its directory.
    """
    if need.problem:
        raise need.problem
    options: dict[str, Any] = {}
    if need.config.model not in CATALOG:
        from tf_lottery.experiment.problem import model_hash

        options["model_hash"] = model_hash(need.config)
    experiment.run(need.config, need.store, events=events, **options)


def seconds(configs: Sequence[Config], stores: Sequence[RunDirectory]) -> float:
    """The time of all the trainings of some runs that a claim asks for."""
    total = 0.0
    for config, store in zip(configs, stores, strict=True):
        jobs = plan.jobs(config)
        total += sum(store.metrics(job)["row"]["seconds"] for job in jobs if store.is_complete(job))
    return round(total, 1)
