"""Reproduce claims: plan their runs and the cost, train what is missing, and judge each claim."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.events import Events
from tf_lottery.studies.claims.claim import Claim
from tf_lottery.studies.claims.claim_outcome import ClaimOutcome, describe_run, write_claim_outcome, write_summary
from tf_lottery.studies.claims.claim_registry import ALL, CLAIMS, select_claims
from tf_lottery.studies.claims.claim_runs import RequiredRun, required_runs, train_required_run, training_seconds
from tf_lottery.studies.claims.evidence import ClaimRun, Evidence, requested_rows
from tf_lottery.studies.claims.measures import ClaimFinding

SCHEMA = "tf-lottery.reproduce/1"


@dataclass(frozen=True)
class ClaimPlan:
    """The runs that claims need, from `plan_claims`.

    Attributes:
        claims: the claims, in the order of the list.
        required: their runs; equal configurations share a run.
        configs: for each claim, the configurations that it asks for, by its own keys.
        quick: whether the runs are of the size for a CPU, instead of the published one.
        out: the folder of the runs.
        strict: whether a run that can't be made is an error; otherwise its claims are inconclusive.
    """

    claims: tuple[Claim, ...]
    required: tuple[RequiredRun, ...]
    configs: Mapping[str, Mapping[str, Config]]
    quick: bool
    out: Path
    strict: bool

    def cost(self) -> dict[str, Any]:
        """Return the counts of runs and trainings, the expected seconds (None: unknown), and claims without data."""
        able = [run for run in self.required if not run.problem]
        times = [run.seconds() for run in able]
        return {
            "runs": len(able),
            "trainings": sum(len(run.jobs()) for run in able),
            "waiting": sum(len(run.missing_jobs()) for run in able),
            "seconds": None if None in times else round(sum(seconds or 0.0 for seconds in times), 1),
            "without_data": [
                name for name in CLAIMS if any(run.problem and name in run.claims for run in self.required)
            ],
        }

    def required_run(self, config: Config) -> RequiredRun:
        """Return the run of a configuration."""
        return next(run for run in self.required if run.config.hash() == config.hash())


@dataclass(frozen=True)
class Reproduction:
    """The outcomes of claims, from `reproduce`.

    Attributes:
        outcomes: the outcomes, one per claim.
        seconds: the wall time of the call.
        table: the path of the overall table, in Markdown.
    """

    outcomes: tuple[ClaimOutcome, ...]
    seconds: float
    table: Path

    def to_json(self) -> dict[str, Any]:
        """Return the outcomes as JSON values."""
        return {
            "schema": SCHEMA,
            "claims": [outcome.to_json() for outcome in self.outcomes],
            "wall_seconds": self.seconds,
            "table": str(self.table),
        }


def plan_claims(
    names: Sequence[str],
    *,
    quick: bool = False,
    out: str | Path = "runs",
    replicates: int | None = None,
    data_dir: str | None = None,
    jobs: int = 0,
) -> ClaimPlan:
    """Return the runs that claims need. Nothing is written or trained.

    Args:
        names: the names of claims, or "all". With "all", a claim whose data set is missing is inconclusive; for a claim
            that is named it is an error.
        quick: whether the runs are of the size for a CPU, instead of the published one.
        out: the folder of the runs.
        replicates: the number of replicates, instead of the claims' own.
        data_dir: the folder of the data sets.
        jobs: the most trainings side by side; 0: as many as the cores hold.

    Raises:
        UsageError: an unknown name, or too few replicates for an interval.
        UnfitError: the data set of a claim that is named is missing.

    Example:
        >>> plan_claims(["early-stop"], quick=True).cost()["runs"]
        1
    """
    claims = select_claims(names)
    configs = {
        claim.name: {
            key: config.updated(data_dir=data_dir, jobs=jobs)
            for key, config in claim.configs(quick=quick, replicates=replicates).items()
        }
        for claim in claims
    }
    required = required_runs(configs, out=out)
    strict = ALL not in names
    for run in required:
        if run.problem and strict:
            raise run.problem
    return ClaimPlan(tuple(claims), tuple(required), configs, quick, Path(out), strict)


def reproduce(
    plan: ClaimPlan,
    *,
    show_progress: Callable[[], AbstractContextManager[Events]] = lambda: nullcontext(Events()),
    on_outcome: Callable[[ClaimOutcome], None] = lambda outcome: None,
) -> Reproduction:
    """Check claims of the literature: train what their runs lack, and judge them by intervals over replicates.

    Each is judged as soon as its runs are there. A signal leaves nothing half-written: the same call again continues.

    Args:
        plan: the runs, from `plan_claims`.
        show_progress: returns, for a run, a context manager of the functions to call as its trainings go.
        on_outcome: called with each outcome, once its files are written.

    Raises:
        LotteryError: a run is in use or damaged, or, if `plan.strict`, a training diverged.

    Example:
        `reproduce(plan_claims(["early-stop"], quick=True)).outcomes[0].finding.passed`
    """
    begin = time.perf_counter()
    problems: dict[str, str] = {}
    outcomes: dict[str, ClaimOutcome] = {}
    for run in plan.required:
        problem = run.problem
        if not problem:
            try:
                with show_progress() as events:
                    train_required_run(run, events=events)
            except UnfitError as error:
                if plan.strict:
                    raise
                problem = error
        problems[run.config.hash()] = str(problem or "")
        for claim in plan.claims:
            hashes = {config.hash() for config in plan.configs[claim.name].values()}
            if claim.name not in outcomes and hashes <= problems.keys():
                reason = next((problems[key] for key in problems if key in hashes and problems[key]), "")
                outcomes[claim.name] = judge_claim(plan, claim, reason)
                write_claim_outcome(outcomes[claim.name], plan.out)
                on_outcome(outcomes[claim.name])
    table = write_summary(plan.out, list(CLAIMS), quick=plan.quick)
    ordered = tuple(outcomes[claim.name] for claim in plan.claims)
    return Reproduction(ordered, round(time.perf_counter() - begin, 1), table)


def judge_claim(plan: ClaimPlan, claim: Claim, problem: str) -> ClaimOutcome:
    """Return the outcome of a claim; inconclusive where it can't be judged, or a run could not be made.

    Args:
        plan: the plan that the claim belongs to.
        claim: the claim, whose runs are trained.
        problem: the reason why a run could not be made; "" where all were.
    """
    configs = plan.configs[claim.name]
    stores = {key: plan.required_run(config).store for key, config in configs.items()}
    if problem:
        finding = ClaimFinding(reason=f"A run could not be made: {problem}")
        return ClaimOutcome(claim, plan.quick, finding, {}, [], 0.0)
    evidence = Evidence(
        {
            key: ClaimRun(config, stores[key].path, requested_rows(config, stores[key].rows()))
            for key, config in configs.items()
        },
        quick=plan.quick,
    )
    try:
        finding = claim.judge(evidence)
    except (UnfitError, UsageError) as error:
        finding = ClaimFinding(reason=f"It could not be judged: {error}")
    about = {key: describe_run(config, stores[key].path, stores[key].environment()) for key, config in configs.items()}
    time_spent = training_seconds(list(configs.values()), list(stores.values()))
    return ClaimOutcome(claim, plan.quick, finding, about, evidence.table(), time_spent)
