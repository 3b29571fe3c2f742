"""Trainings that a study needs and a run lacks: what they cost, and how the run is extended by them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tf_lottery.errors import UsageError
from tf_lottery.experiment import plan
from tf_lottery.experiment import run as experiment
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import SEARCH, Job, RunDirectory
from tf_lottery.experiment.events import Events
from tf_lottery.experiment.trust import check_trust
from tf_lottery.studies.study_run import StudyRun
from tf_lottery.utils.text import duration


@dataclass(frozen=True)
class ExtensionCost:
    """The cost of extending a run.

    Attributes:
        jobs: the trainings that the run lacks.
        seconds_per_job: the mean time of the run's trainings so far; None where none was timed.
    """

    jobs: tuple[Job, ...]
    seconds_per_job: float | None

    @property
    def seconds(self) -> float | None:
        """The expected time of the trainings, one after the other; None where it is unknown."""
        return None if self.seconds_per_job is None else self.seconds_per_job * len(self.jobs)


def extension_cost(run: StudyRun, variants: tuple[str, ...]) -> ExtensionCost:
    """Return what training the missing variants of a run costs.

    A run is extended as a whole: in all of its rounds and replicates, not only in those that are studied.

    Args:
        run: the run.
        variants: the names of the controls that the study needs.
    """
    missing = tuple(job for job in plan.jobs(_extended(run.config, variants)) if not run.has(job))
    times = [row["seconds"] for row in run.store.rows() if row["variant"] != SEARCH and row.get("seconds")]
    return ExtensionCost(missing, sum(times) / len(times) if times else None)


def describe_cost(run: StudyRun, variants: tuple[str, ...]) -> str:
    """Return in words what training the missing variants of a run costs; "" where none is missing.

    Args:
        run: the run, with the rounds and replicates that are studied.
        variants: the names of the controls that the study needs.
    """
    if not run.missing(*variants):
        return ""
    needed = extension_cost(run, variants)
    time = "" if needed.seconds is None else f", about {duration(needed.seconds)} one after the other"
    return f"The study needs {len(needed.jobs)} more trainings of {', '.join(variants)}{time}."


def _extended(config: Config, variants: Sequence[str]) -> Config:
    """The configuration with these variants beside its own."""
    return config.updated(variants=tuple(dict.fromkeys([*config.variants, *variants])))


def extend_run(run: StudyRun, variants: tuple[str, ...], *, events: Events | None = None) -> None:
    """Train the missing variants of a run, in its own directory.

    Args:
        run: the run, with the data folder that the studies read.
        variants: the names of the controls to train.
        events: the functions to call as trainings start, evaluate and end.

    Raises:
        UsageError: a run of `find_ticket`, which only the program that made it can extend; or one that names code, and
            is not trusted.
        RunInUseError: another process holds the run directory.
    """
    _train(run.config, run.store, variants, events, trust=run.trust)


def train_missing(run_dir: str | Path, variants: Sequence[str] = (), *, trust: bool = False) -> None:
    """Train the missing trainings of a run, and further variants, in its own directory.

    Args:
        run_dir: the run directory.
        variants: the names of controls to train beside those of the run.
        trust: whether the code may be imported that the run names.

    Raises:
        UsageError: it is not a run directory, a variant is unknown, it names code and is not trusted, or it is a run
            of `find_ticket`, which only the program that made it can extend.
        RunInUseError: another process holds the run directory.
    """
    store = RunDirectory(run_dir)
    _train(store.config(), store, variants, None, trust=trust)


def _train(config: Config, store: RunDirectory, variants: Sequence[str], events: Events | None, *, trust: bool) -> None:
    if "user" in (config.model, config.dataset):
        raise UsageError(
            f"{store.path} was made by `find_ticket`: it can't be extended from its directory alone.",
            f"Call `find_ticket` again with the same run_dir and variants={[*config.variants, *variants]}.",
        )
    check_trust(config, store.path, trust=trust, known=variants)
    experiment.run(_extended(config, variants), store, events=events, model_hash=store.document().get("model_hash", ""))
