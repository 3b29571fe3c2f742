"""New trainings that a study needs: what they cost, said first, and then done by extending the run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tf_lottery.errors import UsageError
from tf_lottery.experiment import plan
from tf_lottery.experiment import run as experiment
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import SEARCH, Job, RunDirectory
from tf_lottery.experiment.events import Events
from tf_lottery.studies.study_run import StudyRun
from tf_lottery.utils.text import duration


@dataclass(frozen=True)
class Cost:
    """What is to be trained.

    Attributes:
        jobs: the trainings that the study lacks.
        seconds_each: mean time of the run's trainings so far; None where none was timed.
    """

    jobs: tuple[Job, ...]
    seconds_each: float | None

    @property
    def seconds(self) -> float | None:
        """What they will take, one after the other."""
        return None if self.seconds_each is None else self.seconds_each * len(self.jobs)


def cost(run: StudyRun, variants: tuple[str, ...]) -> Cost:
    """What training the missing variants of a run costs.

    A run is extended as a whole: by all of its rounds and replicates, also those that are not studied.
    """
    waiting = tuple(job for job in plan.jobs(_extended(run.config, variants)) if not run.has(job))
    times = [row["seconds"] for row in run.store.rows() if row["variant"] != SEARCH and row.get("seconds")]
    return Cost(waiting, sum(times) / len(times) if times else None)


def describe_cost(run: StudyRun, variants: tuple[str, ...]) -> str:
    """Return in words what training the missing variants of a run costs; "" where none is missing.

    Args:
        run: the run, with the rounds and replicates that are studied.
        variants: names of controls.
    """
    if not run.missing(*variants):
        return ""
    needed = cost(run, variants)
    time = "" if needed.seconds is None else f", about {duration(needed.seconds)} one after the other"
    return f"The study needs {len(needed.jobs)} more trainings of {', '.join(variants)}{time}."


def _extended(config: Config, variants: Sequence[str]) -> Config:
    return config.updated(variants=tuple(dict.fromkeys([*config.variants, *variants])))


def extend(run: StudyRun, variants: tuple[str, ...], *, events: Events | None = None) -> None:
    """Train the missing variants of a run, in its own directory.

    Args:
        run: the run, with the data folder that the studies read.
        variants: names of controls.
        events: what to call as the trainings go.

    Raises:
        UsageError: a run of `find_ticket`, which only its own program can extend.
        RunInUseError: another process holds the run directory.
    """
    _train(run.config, run.store, variants, events)


def train_missing(run_dir: str | Path, variants: Sequence[str] = ()) -> None:
    """Train what is missing of a run, in its own directory, extended by variants.

    Args:
        run_dir: the run directory.
        variants: names of controls to train beside those of the run.

    Raises:
        UsageError: it is not a run directory, a variant is unknown, or a run of `find_ticket`, which only its own
            program can extend.
        RunInUseError: another process holds the run directory.
    """
    store = RunDirectory(run_dir)
    _train(store.config(), store, variants, None)


def _train(config: Config, store: RunDirectory, variants: Sequence[str], events: Events | None) -> None:
    if "user" in (config.model, config.dataset):
        raise UsageError(
            f"{store.path} was made by `find_ticket`: it can't be extended from its directory alone.",
            f"Call `find_ticket` again with the same run_dir and variants={[*config.variants, *variants]}.",
        )
    experiment.run(_extended(config, variants), store, events=events, model_hash=store.document().get("model_hash", ""))
