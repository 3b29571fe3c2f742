"""`StudyRun`: a run directory for studies: its committed trainings, their masks and weights, its model and data."""

import logging
from collections.abc import Iterable, Sequence
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_lottery.errors import ResourceError, UnfitError, UsageError
from tf_lottery.experiment import plan
from tf_lottery.experiment.directory import SEARCH, TICKET, Job, RunDirectory
from tf_lottery.pruning import masks as mask_tools
from tf_lottery.utils.references import is_import_path

if TYPE_CHECKING:
    from tf_lottery.experiment.problem import Problem
    from tf_lottery.studies.calculations.evaluator import Evaluator

EXAMPLES = 5000
log = logging.getLogger(__name__)


class StudyRun:
    """A run directory to study, read only; the tickets of its rounds and replicates are committed.

    Args:
        path: the run directory.
        rounds: the rounds to study, by default all whose ticket is planned.
        replicates: the replicates to study, by default all.
        examples: the most training examples of an evaluation, a fixed subset; test data is used whole.
        data_dir: the folder of the data set, if it has moved since the run.
        problem: model, data and loss, for a run of `find_ticket`, whose configuration does not hold them.
        trust: whether the code may be imported that the run names; otherwise its model is made from `model.json`.

    Attributes:
        store: the run directory.
        path: its path.
        config: the configuration of the run.
        rounds: the rounds that are studied, in order.
        replicates: the replicates that are studied, in order.
        examples: the most training examples of an evaluation.
        trust: whether the code may be imported that the run names.

    Raises:
        UsageError: `path` is not a run directory, or it has no such round or replicate.
        UnfitError: a ticket of these rounds and replicates is not trained yet.
        DamagedError: the configuration is damaged.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        rounds: Sequence[int] | None = None,
        replicates: Sequence[int] | None = None,
        examples: int = EXAMPLES,
        data_dir: str | None = None,
        problem: "Problem | None" = None,
        trust: bool = False,
    ) -> None:
        """Read the configuration, and check that the tickets to study are committed."""
        self.store = RunDirectory(path)
        self.config = self.store.config()
        if data_dir is not None:
            self.config = self.config.updated(data_dir=data_dir)
        self.path = self.store.path
        if examples < 1:
            raise UsageError(f"`examples` must be at least 1. Received: {examples}.", "Pass e.g. 5000.")
        self.examples = examples
        self.trust = trust
        self._problem = problem
        tickets = [job for job in plan.jobs(self.config) if job.variant == TICKET]
        self.rounds = self._choose("round", rounds, {job.round for job in tickets})
        self.replicates = self._choose("replicate", replicates, {job.replicate for job in tickets})
        self.require(TICKET)

    def _choose(self, what: str, wanted: Sequence[int] | None, planned: set[int]) -> tuple[int, ...]:
        if wanted is None:
            return tuple(sorted(planned))
        missing = sorted(set(wanted) - planned)
        if missing or not wanted:
            raise UsageError(
                f"{self.path} has no ticket of {what} {', '.join(map(str, missing)) or '(none was named)'}.",
                f"Its {what}s: {', '.join(map(str, sorted(planned)))}.",
            )
        return tuple(sorted(set(wanted)))

    # Trainings.

    def has(self, job: Job) -> bool:
        """Return whether a training is committed."""
        return self.store.is_complete(job)

    def jobs(self, variant: str = TICKET) -> list[Job]:
        """Return the planned trainings of a variant in the rounds and replicates that are studied, committed or not.

        Args:
            variant: "ticket" or the name of a control; most controls have no training in round 0.
        """
        known = variant in self.config.variants
        config = self.config if known else self.config.updated(variants=(*self.config.variants, variant))
        planned = set(plan.jobs(config))
        wanted = [Job(replicate, number, variant) for number in self.rounds for replicate in self.replicates]
        return [job for job in wanted if job in planned]

    def missing(self, *variants: str) -> list[Job]:
        """Return the trainings of these variants that are not committed."""
        return [job for variant in variants for job in self.jobs(variant) if not self.has(job)]

    def require(self, *variants: str) -> None:
        """Check that all trainings of these variants in the rounds and replicates studied are committed.

        Raises:
            UnfitError: some are not; the remedy is the call that trains them.
        """
        missing = self.missing(*variants)
        if missing:
            listed = "; ".join(map(str, missing[:3])) + ("; ..." if len(missing) > 3 else "")
            raise UnfitError(
                f"{len(missing)} of the trainings that this study needs are not there: {listed}.",
                f"{self._how_to_train(variants)}; or choose among those that are there by `rounds` and `replicates`.",
            )

    def _how_to_train(self, variants: Sequence[str]) -> str:
        """The remedy: the call that trains these variants in this directory."""
        if "user" in (self.config.model, self.config.dataset):
            return (
                f"Train them: call `find_ticket` again with run_dir={str(self.path)!r} and the variants that it lacks"
            )
        lacking = [name for name in variants if name not in self.config.variants]
        controls = [name for name in dict.fromkeys([*self.config.variants, *variants]) if name != TICKET]
        extra = f", variants={tuple(controls)!r}" if lacking else ""
        return f"Train them: `tf_lottery.studies.extending.train_missing({str(self.path.absolute())!r}{extra})`"

    def controls(self, *, among: Iterable[str] | None = None) -> list[str]:
        """Return the controls whose trainings are all committed in the rounds and replicates studied.

        Args:
            among: the names to choose from; None: all controls of the run.
        """
        names = {job.variant for job in self.store.complete_jobs()} - {TICKET, SEARCH}
        wanted = names if among is None else [name for name in among if name in names]
        return [name for name in sorted(wanted) if self.jobs(name) and not self.missing(name)]

    def rows(self) -> list[dict[str, Any]]:
        """Return the result rows of the trainings studied, in order of round, replicate and variant; no searches."""
        rows = [
            row
            for row in self.store.rows()
            if row["round"] in self.rounds and row["replicate"] in self.replicates and row["variant"] != SEARCH
        ]
        return sorted(rows, key=lambda row: (row["round"], row["replicate"], row["variant"] != TICKET, row["variant"]))

    # Masks and weights.

    def masks(self, job: Job) -> dict[str, np.ndarray]:
        """Return the masks of a committed training by weight path; its files are checked against their hashes.

        Raises:
            DamagedError: a file of the training is altered.
        """
        return self.store.masks(job)

    def weights(self, job: Job) -> dict[str, np.ndarray]:
        """Return the trained variables of a training by path, exactly 0.0 where pruned; checked as `masks` are."""
        return self.store.weights(job)

    def rewind_weights(self, replicate: int) -> dict[str, np.ndarray]:
        """Return the variables of the model at the rewind step of a replicate, by path, not masked.

        Raises:
            DamagedError: the rewind state is missing or altered.
        """
        return self.store.rewind_weights(replicate)

    def density(self, number: int) -> float:
        """Return the mean density of the tickets of a round, a fraction; figures show controls at it too."""
        densities = [mask_tools.density(self.masks(Job(replicate, number))) for replicate in self.replicates]
        return float(np.mean(densities))

    def densities(self) -> dict[int, float]:
        """Return the mean density of the tickets of each round that is studied, by round."""
        return {number: self.density(number) for number in self.rounds}

    # Model and data.

    def _weights_bytes(self) -> int | None:
        """The bytes of the weights of one training, which all have as many; None where none is committed."""
        jobs = self.store.complete_jobs()
        return sum(array.nbytes for array in self.store.weights(jobs[0]).values()) if jobs else None

    @cached_property
    def problem(self) -> "Problem":
        """Model, data and loss, in float32; loads TensorFlow, with the threads and on the device of the run.

        Raises:
            UsageError: a run of `find_ticket`, and no `problem` was passed.
            UnfitError: the data is not what the run was trained on.
        """
        if self._problem is not None:
            return self._problem
        if "user" in (self.config.model, self.config.dataset):
            raise UsageError(
                f"{self.path} was made by `find_ticket`: its model and data are known to that program only.",
                "Pass them: StudyRun(path, problem=Problem(...)).",
            )
        from tf_lottery.experiment.problem import from_config

        self._configure()
        untrusted = is_import_path(self.config.model) and not self.trust
        try:
            problem = from_config(
                self.config.updated(precision="float32"),
                architecture=self.store.architecture() if untrusted else None,
                weights_bytes=self._weights_bytes(),
            )
        except UnfitError as error:
            if not untrusted:
                raise
            raise UnfitError(error.cause, f"If you trust the code of {self.config.model!r}: `trust=True`.") from error
        expected = self.store.data_fingerprint()
        if expected and problem.fingerprint and expected != problem.fingerprint:
            raise UnfitError(
                f"The data set {self.config.dataset!r} is not the one that {self.path} was trained on: its content "
                "has another fingerprint.",
                "Point `data_dir` or TF_LOTTERY_DATA to the data of that time.",
            )
        return problem

    def _configure(self) -> None:
        """Set threads and device of the run, for equal bits here and for later trainings in this process.

        Raises:
            ResourceError: the run needs a GPU, and the machine has none.
        """
        from tf_lottery.training.device import configure

        try:
            configure(threads=self.config.threads, device=self.config.device)
        except ResourceError as error:
            if self.config.device == "gpu":
                raise
            log.warning("TensorFlow runs with other settings than those of %s: %s", self.path, error.cause)

    @cached_property
    def evaluator(self) -> "Evaluator":
        """The evaluator of weights of this run's model on its data, compiled once; loads TensorFlow."""
        from tf_lottery.studies.calculations.evaluator import Evaluator

        return Evaluator(self.problem, examples=self.examples, seed=self.config.seed, xla=self.config.xla)
