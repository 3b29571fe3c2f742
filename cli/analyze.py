"""`tf-lottery analyze`: studies of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tf_lottery.errors import UsageError
from tf_lottery.results.run_lookup import find_run

from .command import Command, ListOf
from .names import RUN, Name
from .output import print_json, print_line, print_table, remark, set_up_logging
from .process import clean_output
from .progress import duration, shown
from .shared_options import out_option

LIST_SCHEMA = "tf-lottery.studies/1"
DRY_RUN_SCHEMA = "tf-lottery.analysis-dry-run/1"
MOST_ROWS = 60
MOST_RANGES = 4  # more would not fit a line
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
@click.option("--dry-run", is_flag=True, help="Tell what would be trained; train and write nothing.")
@click.option("--list", "listed", is_flag=True, help="List the studies.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.pass_context
def command(
    context: click.Context,
    study: str | None,
    run: str | None,
    run2: str | None,
    out: Path,
    rounds: tuple[int, ...] | None,
    replicates: tuple[int, ...] | None,
    to: Path | None,
    data_dir: str | None,
    examples: int | None,
    dry_run: bool,
    listed: bool,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Study a run: its weights, masks and networks. Writes tables and figures, and prints the main table.

    STUDY is one of those that `tf-lottery analyze` lists. RUN is a path, a name below --out, or the beginning of one;
    RUN2 is a second one, for studies that compare. A study that needs controls which are not trained yet tells their
    cost first and then trains them, by extending the run.
    """
    set_up_logging(context, quiet=quiet)
    if study is None or listed:
        _list(as_json=as_json)
        return
    from tf_lottery.studies import study_registry as registry

    options = {name: value for name, value in given.items() if value is not None}
    chosen = registry.check(study, second=run2 is not None, options=options)
    if run is None:
        raise UsageError(f"The study {study!r} needs a run.", "Name one; `tf-lottery ls` lists them.")
    stores = [find_run(name, out) for name in (run, run2) if name is not None]
    from tf_lottery.studies.study_run import EXAMPLES as MOST
    from tf_lottery.studies.study_run import StudyRun

    selected: dict[str, Any] = {
        "rounds": rounds,
        "replicates": replicates,
        "examples": examples or MOST,
        "data_dir": data_dir,
    }
    first, *others = [StudyRun(store.path, **selected) for store in stores]
    about: dict[str, Any] = {"study": study, "run_dir": str(first.path), "options": options}
    if dry_run:
        if as_json:
            print_json({"schema": DRY_RUN_SCHEMA, **about, **_missing(first, chosen.variants)})
        else:
            click.echo(_told(first, chosen.variants) or "Everything that this study needs is trained.")
        return
    if lacking := _told(first, chosen.variants):
        remark(lacking)
        with clean_output():
            _train(first, chosen.variants, quiet=quiet)
        first = StudyRun(first.path, **selected)
    from tf_lottery.studies.study_outcome import document, write

    with clean_output():
        outcome = registry.analyze(study, first, *others, **options)
        about |= {"rounds": list(first.rounds), "replicates": list(first.replicates), "examples": first.examples}
        about |= {"other_run_dir": str(others[0].path)} if others else {}
        files = write(outcome, to or first.path / "analysis" / study, about=about)
    if as_json:
        print_json(document(outcome, about=about) | {"files": {name: str(path) for name, path in files.items()}})
        return
    name, rows = next(iter(outcome.tables.items()))
    _show(rows)
    click.echo()
    for sentence in outcome.sentences:
        print_line(sentence)
    click.echo(f"Written to {files['outcome.json'].parent}")


def _list(*, as_json: bool) -> None:
    from tf_lottery.studies.study_registry import STUDIES

    if as_json:
        studies: list[dict[str, Any]] = [
            {"name": name, "summary": each.summary, "variants": each.variants, "second_run": each.second}
            for name, each in STUDIES.items()
        ]
        print_json({"schema": LIST_SCHEMA, "studies": studies})
        return
    rows = [(name, each.summary, ", ".join(each.variants) or "-") for name, each in STUDIES.items()]
    print_table(("Study", "What it tells", "Trains"), rows)


def _missing(run: Any, variants: tuple[str, ...]) -> dict[str, Any]:
    from tf_lottery.studies.extending import cost

    found = cost(run, variants)
    return {"trainings": len(found.jobs), "seconds": found.seconds}


def _told(run: Any, variants: tuple[str, ...]) -> str:
    """What trainings a study lacks, and their cost, in words; "" where it lacks none."""
    if not run.missing(*variants):
        return ""
    from tf_lottery.studies.extending import cost

    found = cost(run, variants)
    time = f", about {duration(found.seconds)} one after the other" if found.seconds is not None else ""
    return f"The study needs {len(found.jobs)} more trainings of {', '.join(variants)}{time}."


def _train(run: Any, variants: tuple[str, ...], *, quiet: bool) -> None:
    from tf_lottery.studies.extending import extend

    with shown(quiet=quiet) as events:
        extend(run, variants, events=events)


def _show(rows: Sequence[dict[str, Any]]) -> None:
    """Print a table, with `x_low` and `x_high` beside `x`; of a long one the beginning."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    ranges = {column for column in columns if {f"{column}_low", f"{column}_high"} <= set(columns)}
    hidden = {f"{column}_{end}" for column in ranges for end in ("low", "high")}
    shown = [column for column in columns if column not in hidden]
    ranges = ranges if len(ranges) <= MOST_RANGES else set()
    cells = [tuple(_cell(row, column, ranged=column in ranges) for column in shown) for row in rows[:MOST_ROWS]]
    right = [any(isinstance(row.get(column), int | float) for row in rows) for column in shown]
    print_table([column.replace("_", " ") for column in shown], cells, right=right)
    if len(rows) > MOST_ROWS:
        remark(f"{len(rows) - MOST_ROWS} more rows are in the files.")


def _cell(row: dict[str, Any], column: str, *, ranged: bool) -> str:
    text = _number(row.get(column))
    low, high = (_number(row.get(f"{column}_{end}")) for end in ("low", "high"))
    return f"{text} ({low} to {high})" if ranged and text != "-" and low != high else text


def _number(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) >= 1000 else f"{value:.4g}"
    return str(value)
