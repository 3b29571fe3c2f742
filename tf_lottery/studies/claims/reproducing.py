"""Claims from their names to their verdicts: the cost first, then the runs that are missing, then the outcomes."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.events import Events
from tf_lottery.studies.claims import claim_outcome as outcomes
from tf_lottery.studies.claims import claim_runs as needed
from tf_lottery.studies.claims.claim import Claim
from tf_lottery.studies.claims.claim_outcome import Outcome
from tf_lottery.studies.claims.claim_registry import ALL, CLAIMS, chosen
from tf_lottery.studies.claims.claim_runs import Need
from tf_lottery.studies.claims.evidence import ClaimRun, Evidence, visible
from tf_lottery.studies.claims.measures import Finding

SCHEMA = "tf-lottery.reproduce/1"


@dataclass(frozen=True)
class Plan:
    """What some claims need.

    Attributes:
        claims: the claims, in the order of the list.
        needs: their runs, each once.
        configs: for each claim, by its own keys, what it asks of its runs.
        quick, out: the size, and the folder of the runs.
        strict: whether a run that can't be made is an error; otherwise its claims are inconclusive.
    """

    claims: tuple[Claim, ...]
    needs: tuple[Need, ...]
    configs: Mapping[str, Mapping[str, Config]]
    quick: bool
    out: Path
    strict: bool

    def cost(self) -> dict[str, Any]:
        """Trainings in all and to do, the seconds that these take (None where nothing tells), and what lacks data."""
        able = [need for need in self.needs if not need.problem]
        times = [need.seconds() for need in able]
        return {
            "runs": len(able),
            "trainings": sum(len(need.jobs()) for need in able),
            "waiting": sum(len(need.waiting()) for need in able),
            "seconds": None if None in times else round(sum(each or 0.0 for each in times), 1),
            "without_data": [
                name for name in CLAIMS if any(need.problem and name in need.claims for need in self.needs)
            ],
        }

    def need(self, config: Config) -> Need:
        """The run of a configuration."""
        return next(need for need in self.needs if need.config.hash() == config.hash())


@dataclass(frozen=True)
class Report:
    """What came out.

    Attributes:
        outcomes: one per claim.
        seconds: wall time of the call.
        table: the Markdown file of the overall table.
    """

    outcomes: tuple[Outcome, ...]
    seconds: float
    table: Path

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "schema": SCHEMA,
            "claims": [outcome.to_json() for outcome in self.outcomes],
            "wall_seconds": self.seconds,
            "table": str(self.table),
        }


def prepare(
    names: Sequence[str],
    *,
    quick: bool = False,
    out: str | Path = "runs",
    replicates: int | None = None,
    data_dir: str | None = None,
    jobs: int = 0,
) -> Plan:
    """What some claims need, and what of it is done. Nothing is written or trained.

    Args:
        names: names of claims, or "all". With "all", a claim whose data set is missing is inconclusive; a claim that
            was named can't be judged without.
        quick: the size for a CPU, or the published one.
        out: the folder of the runs.
        replicates: instead of the claims' own numbers.
        data_dir, jobs: as for a run.

    Raises:
        UsageError: an unknown name, or too few replicates for an interval.
        UnfitError: the data set of a claim that was named is missing.

    Example:
        >>> prepare(["early-stop"], quick=True).cost()["runs"]
        1
    """
    claims = chosen(names)
    strict = ALL not in names
    found = needed.needs(claims, quick=quick, out=out, replicates=replicates, data_dir=data_dir, jobs=jobs)
    for need in found:
        if need.problem and strict:
            raise need.problem
    configs = {
        claim.name: {
            key: config.updated(data_dir=data_dir, jobs=jobs)
            for key, config in claim.configs(quick=quick, replicates=replicates).items()
        }
        for claim in claims
    }
    return Plan(tuple(claims), tuple(found), configs, quick, Path(out), strict)


def carry_out(
    plan: Plan,
    *,
    shown: Callable[[], AbstractContextManager[Events]] = lambda: nullcontext(Events()),
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> Report:
    """Train what is missing, and judge each claim as soon as its runs are there.

    A signal leaves nothing half-written: the same call again goes on.

    Args:
        plan: from `prepare`.
        shown: makes, for each run, a context that yields what to call as it goes.
        on_outcome: called with each outcome, once its files are written.

    Raises:
        LotteryError: whatever stops a run: it is in use or damaged, or, if `plan.strict`, its training diverged.
    """
    begin = time.perf_counter()
    problems: dict[str, str] = {}
    found: dict[str, Outcome] = {}
    for need in plan.needs:
        problem = need.problem
        if not problem:
            try:
                with shown() as events:
                    needed.train(need, events=events)
            except UnfitError as error:
                if plan.strict:
                    raise
                problem = error
        problems[need.config.hash()] = str(problem or "")
        for claim in plan.claims:
            hashes = {config.hash() for config in plan.configs[claim.name].values()}
            if claim.name not in found and hashes <= problems.keys():
                reason = next((problems[key] for key in problems if key in hashes and problems[key]), "")
                found[claim.name] = judged(plan, claim, reason)
                outcomes.write(found[claim.name], plan.out)
                on_outcome(found[claim.name])
    table = outcomes.write_table(plan.out, list(CLAIMS), quick=plan.quick)
    ordered = tuple(found[claim.name] for claim in plan.claims)
    return Report(ordered, round(time.perf_counter() - begin, 1), table)


def judged(plan: Plan, claim: Claim, problem: str) -> Outcome:
    """The outcome of a claim whose runs are done; inconclusive where it can't be judged, or a run could not be made."""
    configs = plan.configs[claim.name]
    stores = {key: plan.need(config).store for key, config in configs.items()}
    if problem:
        return Outcome(claim, plan.quick, Finding(reason=f"A run could not be made: {problem}"), {}, [], 0.0)
    evidence = Evidence(
        {
            key: ClaimRun(config, stores[key].path, visible(config, stores[key].rows()))
            for key, config in configs.items()
        },
        quick=plan.quick,
    )
    try:
        finding = claim.judge(evidence)
    except (UnfitError, UsageError) as error:
        finding = Finding(reason=f"It could not be judged: {error}")
    about = {
        key: outcomes.describe_run(config, stores[key].path, stores[key].environment())
        for key, config in configs.items()
    }
    time_spent = needed.seconds(list(configs.values()), list(stores.values()))
    return Outcome(claim, plan.quick, finding, about, evidence.table(), time_spent)


def reproduce(
    names: Sequence[str],
    *,
    quick: bool = False,
    out: str | Path = "runs",
    replicates: int | None = None,
    data_dir: str | None = None,
    jobs: int = 0,
    events: Events | None = None,
) -> Report:
    """Check claims of the literature: train what their runs lack, and judge them by intervals over replicates.

    The arguments are those of `prepare` and `carry_out`.

    Raises:
        LotteryError: as those two do.

    Example:
        `reproduce(["early-stop"], quick=True).outcomes[0].finding.passed`
    """
    plan = prepare(names, quick=quick, out=out, replicates=replicates, data_dir=data_dir, jobs=jobs)
    return carry_out(plan, shown=lambda: nullcontext(events or Events()))
