"""`tf-lottery sweep`: many runs that one file describes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tf_lottery.errors import LotteryError
from tf_lottery.experiment.config import differing_options
from tf_lottery.experiment.preflight import DryRun
from tf_lottery.experiment.sweep import describe_combination, read_sweep
from tf_lottery.experiment.sweep_runs import (
    SweepRun,
    dry_run_sweep,
    failed_sweep_error,
    plan_sweep,
    sum_dry_runs,
    train_sweep,
)
from tf_lottery.results.run_lookup import comparison_folder, find_run
from tf_lottery.utils.text import duration

from . import options
from .command import Command
from .output import print_json, print_line, print_path, print_rendered, print_table, remark, set_up_logging
from .process import clean_output
from .progress import show_progress
from .run import remark_on_whole_weights
from .shared_options import checkpoint_every_option, out_option, output_options, trust_option

if TYPE_CHECKING:
    from tf_lottery.results.compare.comparison_page import ComparisonReport

SCHEMA = "tf-lottery.sweep/1"
DRY_RUN_SCHEMA = "tf-lottery.sweep-dry-run/1"
# Where and how the runs are done; what they are is in the file.
PLACE = ("data_dir", "jobs", "threads", "device", "launcher", "address", "launcher_options", "mixed_machines")
EXAMPLES = {
    "tf-lottery sweep sweep.toml --dry-run": "What each run would take, and all of them together.",
    "tf-lottery sweep sweep.toml --json": "Train what is missing; the runs and their comparison as one JSON document.",
}


@click.command(cls=Command, examples=EXAMPLES, arguments={"run_dir": "out"})
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@options.options_named(PLACE)
@out_option
@click.option("--dry-run", "dry", is_flag=True, help="Show what each run and all together take; write nothing.")
@trust_option
@checkpoint_every_option
@output_options
@click.pass_context
def command(
    context: click.Context,
    /,
    file: Path,
    out: Path,
    dry: bool,
    trust: bool,
    checkpoint_every: float | None,
    as_json: bool,
    quiet: bool,
    **configured: Any,
) -> None:
    """Run many experiments that one file describes, one after the other, and compare them.

    FILE is TOML or JSON: options of `run` under their names, perhaps a `preset`, and either a table [grid] of lists, of
    which every combination is a run, or tables [[runs]], each of which is one. The lines `steps = 100`, `[grid]` and
    `seed = [0, 1, 2]` are three runs of 100 steps.

    All are checked before anything is trained. The same command again resumes where it stopped. A run that fails does
    not stop the others; the exit code is then that of the first one.
    """
    set_up_logging(context, quiet=quiet)
    sweep = read_sweep(file)
    with clean_output():
        runs = plan_sweep(
            sweep,
            out,
            options=options.given(configured),
            trust=trust,
            find_run=lambda name: find_run(name, out).path,
        )
    _remark_on_shared_runs(runs, quiet=quiet)
    if dry:
        if not quiet:
            remark(f"Measuring a training step and an evaluation of each of {len(runs)} runs ...")
        with clean_output():
            planned = dry_run_sweep(runs, out, trust=trust)
        _print_dry_run(runs, planned, as_json=as_json)
        return

    def start(number: int, sweep_run: SweepRun) -> None:
        if not quiet:
            remark(f"run {number}/{len(runs)}: {sweep_run.describe()}")

    def fail(sweep_run: SweepRun, error: LotteryError) -> None:
        if not quiet:
            remark(f"failed: {error.cause}")

    with clean_output():
        failures = train_sweep(
            runs,
            show_progress=lambda: show_progress(quiet=quiet),
            on_start=start,
            on_failure=fail,
            checkpoint_every=checkpoint_every,
        )
    trained = [each for each in runs if each.store.path not in failures]
    for each in trained:
        remark_on_whole_weights(each.store.environment().get("indivisible", {}), quiet=quiet)
    with clean_output():
        comparisons = _compare(trained, out, quiet=quiet)
    if as_json:
        complete = len(trained) == len(runs)
        documents = [comparison.to_json() for comparison in comparisons]
        rows = _run_rows(runs, failures)
        print_json({"schema": SCHEMA, "complete": complete, "runs": rows, "comparisons": documents})
    else:
        for comparison in comparisons:
            _print_comparison(comparison)
    if failures:
        for path, error in failures.items():
            remark(f"{path} failed: {error}")
        raise failed_sweep_error(failures, len(runs))


def _remark_on_shared_runs(runs: Sequence[SweepRun], *, quiet: bool) -> None:
    for each in [] if quiet else runs:
        if len(each.combinations) > 1:
            texts = "; ".join(map(describe_combination, each.combinations))
            remark(f"{each.store.path} is one run for {len(each.combinations)} combinations: {texts}")


def _compare(runs: Sequence[SweepRun], out: Path, *, quiet: bool) -> "list[ComparisonReport]":
    """Compare the runs of each model and data; say which have none to be compared with."""
    from tf_lottery.results.compare.compared_runs import comparable_groups, read_compared_run
    from tf_lottery.results.compare.comparison_page import write_comparison

    comparisons = []
    for group in comparable_groups([read_compared_run(each.store) for each in runs]):
        if len(group) > 1:
            comparisons.append(write_comparison(group, comparison_folder([Path(run.path) for run in group], out)))
        elif not quiet:
            remark(f"{group[0].path} is the only run of its model on its data: it is compared with none.")
    return comparisons


def _options_of_each(runs: Sequence[SweepRun]) -> list[dict[str, Any]]:
    """Return the options in which the runs differ, by name, for each run."""
    differing = differing_options([each.config for each in runs])
    return [{name: values[place] for name, values in differing.items()} for place in range(len(runs))]


def _run_rows(runs: Sequence[SweepRun], failures: Mapping[Path, LotteryError]) -> list[dict[str, Any]]:
    rows = []
    for each, differing in zip(runs, _options_of_each(runs), strict=True):
        done, total = each.count_jobs()
        error = failures.get(each.store.path)
        rows.append(
            {
                "run_dir": str(each.store.path),
                "options": differing,
                "complete": done == total,
                "jobs_done": done,
                "jobs_total": total,
                "error": error and {"cause": error.cause, "remedy": error.remedy},
            }
        )
    return rows


def _print_comparison(comparison: "ComparisonReport") -> None:
    print_rendered(comparison.table())
    print_line()
    for sentence in comparison.sentences:
        print_line(sentence)
    print_path(comparison.files["comparison.html"])


def _print_dry_run(runs: Sequence[SweepRun], planned: Sequence[DryRun], *, as_json: bool) -> None:
    sums = sum_dry_runs(planned)
    if as_json:
        rows = zip(planned, _options_of_each(runs), strict=True)
        documents = [{"options": differing, **each.to_json()} for each, differing in rows]
        print_json({"schema": DRY_RUN_SCHEMA, **sums, "runs": documents})
        return
    headers = ("Run", "Sets", "Done", "To do", "At once", "Steps of each", "Weights kept", "Memory", "Disk", "Time")
    lines = [
        (
            each.run_dir.name,
            sweep_run.describe(),
            str(each.jobs_done),
            str(each.estimate.jobs),
            str(each.estimate.processes),
            f"{each.estimate.steps:,}",
            f"{each.estimate.weights_kept[0]:,} to {each.estimate.weights_kept[-1]:,}",
            *_sizes(each.estimate.memory_bytes, each.estimate.disk_bytes, each.estimate.seconds),
        )
        for sweep_run, each in zip(runs, planned, strict=True)
    ]
    print_table(headers, lines, right=(False, False, *[True] * 8))
    print_line()
    print_line(
        f"{len(runs)} runs: {sums['trainings']} trainings of {sums['training_steps']:,} steps in all, "
        f"{sums['jobs_done']} others done already; {sums['disk_bytes'] / 1e6:,.1f} MB of disk, about "
        f"{duration(sums['seconds'])}."
    )


def _sizes(memory: int | None, disk: int, seconds: float) -> tuple[str, str, str]:
    return ("-" if memory is None else f"{memory / 1e9:,.2f} GB", f"{disk / 1e6:,.1f} MB", duration(seconds))
