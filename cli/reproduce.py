"""`tf-lottery reproduce`: claims of the literature, rerun and judged."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tf_lottery.errors import CheckFailed

from .command import Command
from .names import Name
from .output import print_json, print_line, print_table, remark, set_up_logging
from .process import clean_output
from .progress import duration, shown
from .shared_options import out_option

LIST_SCHEMA = "tf-lottery.claims/1"
DRY_RUN_SCHEMA = "tf-lottery.reproduce-dry-run/1"
EXAMPLES = {
    "tf-lottery reproduce --list": "The claims, with what was published.",
    "tf-lottery reproduce early-stop random-reinit-worse --quick --dry-run": "What two claims would take on a CPU.",
    "tf-lottery reproduce all --quick --dry-run": "What all claims would take; it ends within 90 minutes on two cores.",
}


def _claims(ctx: click.Context) -> Sequence[str]:
    from tf_lottery.studies.claims.claim_registry import ALL, CLAIMS

    return [*CLAIMS, ALL]


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("claims", metavar="CLAIM...|all", type=Name("claim", _claims), nargs=-1)
@click.option("--quick", is_flag=True, help="The size for a CPU instead of the published one.")
@out_option
@click.option("--replicates", type=click.IntRange(1), help="Chains of rounds, instead of each claim's own number.")
@click.option("--data-dir", type=click.Path(), help="Folder of prepared data sets or raw files.")
@click.option("--jobs", type=click.IntRange(0), default=0, help="Processes at once; 0: as many as the cores hold.")
@click.option("--dry-run", is_flag=True, help="Tell trainings and time; train and write nothing.")
@click.option("--list", "listed", is_flag=True, help="List the claims.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--quiet", is_flag=True, help="No progress and no hints.")
@click.pass_context
def command(
    context: click.Context,
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
    as the published ones. Claims share runs. The same command again goes on where it stopped. The exit code is 1 if a
    claim failed.
    """
    set_up_logging(context, quiet=quiet)
    if listed:
        _list(as_json=as_json)
        return
    from tf_lottery.studies.claims import reproducing

    with clean_output():
        plan = reproducing.prepare(claims, quick=quick, out=out, replicates=replicates, data_dir=data_dir, jobs=jobs)
        if not dry_run and not quiet:
            remark(_cost(plan.cost()))
    if dry_run:
        _dry_run(plan, as_json=as_json)
        return
    with clean_output():
        report = reproducing.carry_out(
            plan, shown=lambda: shown(quiet=quiet), tell=lambda outcome: _tell(outcome, quiet=quiet)
        )
    document = report.to_json()
    if as_json:
        print_json(document)
    else:
        _show(document["claims"])
        click.echo(f"Written to {report.table.parent}; {duration(report.seconds)} in all.")
    failed = [each["name"] for each in document["claims"] if each["passed"] is False]
    if failed:
        raise CheckFailed(
            f"{len(failed)} of {len(document['claims'])} claims failed: {', '.join(failed)}.",
            f"The reasons are above and in {report.table.parent}.",
        )


def _list(*, as_json: bool) -> None:
    from tf_lottery.studies.claims.claim_registry import CLAIMS

    if as_json:
        fields = ("name", "title", "source", "published", "convolutional")
        entries = [{field: getattr(claim, field) for field in fields} for claim in CLAIMS.values()]
        print_json({"schema": LIST_SCHEMA, "claims": entries})
        return
    rows = [(claim.name, claim.title, claim.published, claim.source) for claim in CLAIMS.values()]
    print_table(("Claim", "What it says", "Published", "Source"), rows)


def _cost(cost: dict[str, Any]) -> str:
    """The cost in a sentence."""
    done = cost["trainings"] - cost["waiting"]
    text = f"{cost['trainings']} trainings in {cost['runs']} runs, {done} of them done already"
    if cost["without_data"]:
        text += f" (without data, not judged: {', '.join(cost['without_data'])})"
    if not cost["waiting"]:
        return f"{text}: nothing is to be trained."
    left = "of a length that can't be told" if cost["seconds"] is None else f"about {duration(cost['seconds'])}"
    return f"{text}; the other {cost['waiting']} take {left}."


def _dry_run(plan: Any, *, as_json: bool) -> None:
    cost = plan.cost()
    entries = [
        {
            "run_dir": str(need.store.path),
            "claims": list(need.claims),
            "trainings": len(need.jobs()),
            "waiting": len(need.waiting()),
            "seconds": need.seconds(),
            "problem": str(need.problem or ""),
            "config": need.config.to_json(),
        }
        for need in plan.needs
    ]
    if as_json:
        print_json({"schema": DRY_RUN_SCHEMA, "quick": plan.quick, **cost, "runs": entries})
        return
    rows = [
        (
            entry["run_dir"],
            ", ".join(entry["claims"]),
            str(entry["trainings"]),
            str(entry["waiting"]),
            ("?" if entry["seconds"] is None else duration(entry["seconds"]))
            + (", no data" if entry["problem"] else ""),
        )
        for entry in entries
    ]
    print_table(("Run", "Claims", "Trainings", "To do", "Time"), rows, right=(False, False, True, True, True))
    click.echo()
    click.echo(_cost(cost))


def _tell(outcome: Any, *, quiet: bool) -> None:
    from tf_lottery.studies.claims.claim_outcome import VERDICTS

    if not quiet:
        remark(f"{outcome.claim.name}: {VERDICTS[outcome.finding.passed]}")


def _show(claims: list[dict[str, Any]]) -> None:
    """The verdicts as a table, every measure of each, and why those that did not pass did not."""
    from tf_lottery.studies.claims.claim_outcome import VERDICTS, ours

    rows = [
        (each["name"], each["published"], each["measure"] or "-", ours(each), VERDICTS[each["passed"]])
        for each in claims
    ]
    print_table(("Claim", "Published", "Measured", "Ours (95 % interval)", "Verdict"), rows)
    for each in claims:
        click.echo(f"\n{each['title']} ({each['source']}): {VERDICTS[each['passed']]}")
        for measure in each["measures"]:
            print_line(f"  {_line(measure)}")
        if each["reason"]:
            print_line(f"  {each['reason']}")
    click.echo()


def _line(measure: dict[str, Any]) -> str:
    from tf_lottery.studies.claims.claim_outcome import VERDICTS, ours

    value = ours({**measure, "measured": measure["value"], "interval": [measure["low"], measure["high"]]})
    if not measure["judged"]:
        return f"{measure['text']}: {value}, told only"
    return f"{measure['text']}: {value}, wanted {measure['wanted']}: {VERDICTS[measure['passed']]}"
