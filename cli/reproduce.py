"""`tf-lottery reproduce`: claims of the literature, rerun and judged."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from tf_lottery.errors import CheckFailed
from tf_lottery.studies.claims.claim_outcome import VERDICTS, ClaimOutcome
from tf_lottery.studies.claims.claim_registry import ALL, CLAIMS
from tf_lottery.studies.claims.claim_words import describe_claims_cost, describe_measure, render_outcomes
from tf_lottery.studies.claims.reproducing import ClaimPlan, plan_claims, reproduce
from tf_lottery.utils.text import duration

from .command import Command
from .names import Name
from .output import print_json, print_line, print_rendered, print_table, remark, set_up_logging
from .process import clean_output
from .progress import show_progress
from .shared_options import data_dir_option, out_option, output_options

LIST_SCHEMA = "tf-lottery.claims/1"
DRY_RUN_SCHEMA = "tf-lottery.reproduce-dry-run/1"
EXAMPLES = {
    "tf-lottery reproduce --list": "The claims, with what was published.",
    "tf-lottery reproduce early-stop random-reinit-worse --quick --dry-run": "What two claims would take on a CPU.",
    "tf-lottery reproduce all --quick --dry-run": "What all claims would take; it ends within 90 minutes on two cores.",
}


def _claims(ctx: click.Context) -> Sequence[str]:
    return [*CLAIMS, ALL]


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("claims", metavar="CLAIM...|all", type=Name("claim", _claims), nargs=-1)
@click.option("--list", "listed", is_flag=True, help="List the claims.")
@click.option("--quick", is_flag=True, help="The size for a CPU instead of the published one.")
@out_option
@click.option("--replicates", type=click.IntRange(1), help="Chains of rounds, instead of each claim's own number.")
@data_dir_option
@click.option("--jobs", type=click.IntRange(0), default=0, help="Processes at once; 0: as many as the cores hold.")
@click.option("--dry-run", is_flag=True, help="Show trainings and time; train and write nothing.")
@output_options
@click.pass_context
def command(
    context: click.Context,
    /,
    claims: tuple[str, ...],
    quick: bool,
    out: Path,
    replicates: int | None,
    data_dir: str | None,
    jobs: int,
    dry_run: bool,
    listed: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check claims of the literature: train what they need, and compare, by intervals over replicates.

    A claim passes, fails, or is inconclusive where its interval holds the bound, or where the networks are not as good
    as the published ones. Claims share runs. The same command again resumes where it stopped. The exit code is 1 if a
    claim failed.
    """
    set_up_logging(context, quiet=quiet)
    if listed:
        _list(as_json=as_json)
        return
    with clean_output():
        plan = plan_claims(claims, quick=quick, out=out, replicates=replicates, data_dir=data_dir, jobs=jobs)
        if not dry_run and not quiet:
            remark(describe_claims_cost(plan.cost()))
    if dry_run:
        _print_dry_run(plan, as_json=as_json)
        return
    with clean_output():
        report = reproduce(
            plan,
            show_progress=lambda: show_progress(quiet=quiet),
            on_outcome=lambda outcome: None if quiet else _remark_on(outcome),
        )
    document = report.to_json()
    if as_json:
        print_json(document)
    else:
        _print_claims(document["claims"])
        print_line(f"Written to {report.table.parent}; {duration(report.seconds)} in all.")
    failed = [claim["name"] for claim in document["claims"] if claim["passed"] is False]
    if failed:
        raise CheckFailed(
            f"{len(failed)} of {len(document['claims'])} claims failed: {', '.join(failed)}.",
            f"The reasons are above and in {report.table.parent}.",
        )


def _list(*, as_json: bool) -> None:
    if as_json:
        fields = ("name", "title", "source", "published", "convolutional")
        entries = [{field: getattr(claim, field) for field in fields} for claim in CLAIMS.values()]
        print_json({"schema": LIST_SCHEMA, "claims": entries})
        return
    rows = [(claim.name, claim.title, claim.published, claim.source) for claim in CLAIMS.values()]
    print_table(("Claim", "What it says", "Published", "Source"), rows)


def _remark_on(outcome: ClaimOutcome) -> None:
    remark(f"{outcome.claim.name}: {VERDICTS[outcome.finding.passed]}")


def _print_dry_run(plan: ClaimPlan, *, as_json: bool) -> None:
    cost = plan.cost()
    runs = [run.to_json() for run in plan.required]
    if as_json:
        print_json({"schema": DRY_RUN_SCHEMA, "quick": plan.quick, **cost, "runs": runs})
        return
    rows = [
        (
            run["run_dir"],
            ", ".join(run["claims"]),
            str(run["trainings"]),
            str(run["waiting"]),
            ("?" if run["seconds"] is None else duration(run["seconds"])) + (", no data" if run["problem"] else ""),
        )
        for run in runs
    ]
    print_table(("Run", "Claims", "Trainings", "To do", "Time"), rows, right=(False, False, True, True, True))
    print_line()
    print_line(describe_claims_cost(cost))


def _print_claims(claims: Sequence[Mapping[str, Any]]) -> None:
    """Print the verdicts as a table, every measure, and why a claim that did not pass did not."""
    print_rendered(render_outcomes(claims))
    for claim in claims:
        print_line()
        print_line(f"{claim['title']} ({claim['source']}): {VERDICTS[claim['passed']]}")
        for measure in claim["measures"]:
            print_line(f"  {describe_measure(measure)}")
        if claim["reason"]:
            print_line(f"  {claim['reason']}")
    print_line()
