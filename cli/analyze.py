"""`tf-lottery analyze`: studies of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tf_lottery.errors import UsageError
from tf_lottery.results.run_lookup import find_run

from .command import Command, ListOf
from .names import RUN, Name
from .output import print_json, print_line, print_path, print_rendered, print_table, remark, set_up_logging
from .process import clean_output
from .progress import show_progress
from .shared_options import out_option, output_options, trust_option

if TYPE_CHECKING:
    from tf_lottery.studies.study_outcome import StudyOutcome
    from tf_lottery.studies.study_run import StudyRun

LIST_SCHEMA = "tf-lottery.studies/1"
DRY_RUN_SCHEMA = "tf-lottery.analysis-dry-run/1"
MOST_ROWS = 60
EXAMPLES = {
    "tf-lottery analyze": "The studies, one line each.",
    "tf-lottery analyze stability digits-mlp": "How far tickets end from the full network.",
    "tf-lottery analyze instability digits-mlp --dry-run": "What the trainings would cost that this study needs.",
    "tf-lottery analyze rounds-barrier digits-mlp --rounds 0,1 --points 11": "A coarse look at two rounds.",
}


def _studies(ctx: click.Context) -> Sequence[str]:
    from tf_lottery.studies.study_registry import STUDIES

    return list(STUDIES)


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("study", type=Name("study", _studies), required=False)
@click.argument("run", type=RUN, required=False)
@click.argument("run2", type=RUN, required=False)
@out_option
@click.option("--rounds", type=ListOf("integers", int), help="Only these rounds.  [default: all]")
@click.option("--replicates", type=ListOf("integers", int), help="Only these replicates.  [default: all]")
@click.option("--to", type=click.Path(path_type=Path), help="Folder to write to.  [default: RUN/analysis/STUDY]")
@click.option("--data-dir", type=click.Path(), help="Where the run's data set is now, if it has moved.")
@click.option("--examples", type=click.IntRange(1), help="Training examples that are looked at.  [default: 5000]")
@click.option("--points", type=click.IntRange(3), help="Points on a line between two networks.  [default: 30]")
@click.option("--draws", type=click.IntRange(1), help="Draws of noise.  [default: 5]")
@click.option("--test-examples", type=click.IntRange(1), help="Test examples to disturb.  [default: 2000]")
@trust_option
@click.option("--dry-run", is_flag=True, help="Show what would be trained; train and write nothing.")
@click.option("--list", "listed", is_flag=True, help="List the studies.")
@output_options
@click.pass_context
def command(
    context: click.Context,
    /,
    study: str | None,
    run: str | None,
    run2: str | None,
    out: Path,
    rounds: tuple[int, ...] | None,
    replicates: tuple[int, ...] | None,
    to: Path | None,
    data_dir: str | None,
    examples: int | None,
    trust: bool,
    dry_run: bool,
    listed: bool,
    as_json: bool,
    quiet: bool,
    **study_options: Any,
) -> None:
    """Study a run: its weights, masks and networks. Writes tables and figures, and prints the main table.

    STUDY is one of those that `tf-lottery analyze` lists. RUN is a path, a name below --out, or the beginning of one;
    RUN2 is a second one, for studies that compare. A study that needs controls which are not trained yet states their
    cost first and then trains them, by extending the run.
    """
    set_up_logging(context, quiet=quiet)
    if study is None or listed:
        _list(as_json=as_json)
        return
    from tf_lottery.studies import study_registry

    options = {name: value for name, value in study_options.items() if value is not None}
    chosen = study_registry.check_arguments(study, second=run2 is not None, options=options)
    if run is None:
        raise UsageError(f"The study {study!r} needs a run.", "Name one; `tf-lottery ls` lists them.")
    from tf_lottery.studies.extending import describe_cost, extension_cost
    from tf_lottery.studies.study_run import EXAMPLES as DEFAULT_EXAMPLES
    from tf_lottery.studies.study_run import StudyRun

    selection: dict[str, Any] = {
        "rounds": rounds,
        "replicates": replicates,
        "examples": examples or DEFAULT_EXAMPLES,
        "data_dir": data_dir,
        "trust": trust,
    }
    first, *others = [StudyRun(find_run(name, out).path, **selection) for name in (run, run2) if name is not None]
    about: dict[str, Any] = {"study": study, "run_dir": str(first.path), "options": options}
    lacking = describe_cost(first, chosen.variants)
    if dry_run and as_json:
        needed = extension_cost(first, chosen.variants)
        print_json({"schema": DRY_RUN_SCHEMA, **about, "trainings": len(needed.jobs), "seconds": needed.seconds})
        return
    if dry_run:
        print_line(lacking or "Everything that this study needs is trained.")
        return
    if lacking:
        remark(lacking)
        with clean_output():
            _train(first, chosen.variants, quiet=quiet)
        first = StudyRun(first.path, **selection)
    from tf_lottery.studies.study_outcome import outcome_document, write_outcome

    with clean_output():
        outcome = study_registry.analyze(study, first, *others, **options)
        about |= {"rounds": list(first.rounds), "replicates": list(first.replicates), "examples": first.examples}
        about |= {"other_run_dir": str(others[0].path)} if others else {}
        files = write_outcome(
            outcome, to or first.path / "analysis" / study, about=about, owner=first.store.run_owner()
        )
    if as_json:
        print_json(
            outcome_document(outcome, about=about) | {"files": {name: str(path) for name, path in files.items()}}
        )
        return
    _print_outcome(outcome)
    print_path(files["outcome.json"].parent, label="Written to ")


def _list(*, as_json: bool) -> None:
    from tf_lottery.studies.study_registry import STUDIES

    if as_json:
        studies: list[dict[str, Any]] = [
            {"name": name, "summary": study.summary, "variants": study.variants, "second_run": study.second}
            for name, study in STUDIES.items()
        ]
        print_json({"schema": LIST_SCHEMA, "studies": studies})
        return
    rows = [(name, study.summary, ", ".join(study.variants) or "-") for name, study in STUDIES.items()]
    print_table(("Study", "What it measures", "Trains"), rows)


def _train(run: "StudyRun", variants: tuple[str, ...], *, quiet: bool) -> None:
    from tf_lottery.studies.extending import extend_run

    with show_progress(quiet=quiet) as events:
        extend_run(run, variants, events=events)


def _print_outcome(outcome: "StudyOutcome") -> None:
    """Print the main table, of a long one the beginning, and the sentences."""
    from tf_lottery.studies.study_table import render_study_table

    rows = next(iter(outcome.tables.values()))
    print_rendered(render_study_table(rows, limit=MOST_ROWS))
    if len(rows) > MOST_ROWS:
        remark(f"{len(rows) - MOST_ROWS} more rows are in the files.")
    print_line()
    for sentence in outcome.sentences:
        print_line(sentence)
