"""`tf-lottery compare`: several runs side by side."""

from pathlib import Path

import click

from tf_lottery.results.run_lookup import comparison_folder, find_run

from .command import Command
from .names import RUN
from .output import print_json, print_line, print_path, remark, set_up_logging
from .process import clean_output
from .shared_options import json_option, max_drop_option, out_option

SCHEMA = "tf-lottery.compare/1"
EXAMPLES = {
    "tf-lottery compare digits-mlp-1a2b digits-mlp-3c4d": "The second run against the first.",
    "tf-lottery compare digits-mlp-1a2b digits-mlp-3c4d --to page --json": "Elsewhere; one JSON document for scripts.",
}


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("runs", type=RUN, nargs=-1, required=True, metavar="RUN RUN...")
@out_option
@click.option("--to", type=click.Path(path_type=Path), help="Folder to write to.  [default: a folder below --out]")
@max_drop_option
@click.option("--allow-data", is_flag=True, help="Compare runs on different or unknown data, without pairing.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    runs: tuple[str, ...],
    out: Path,
    to: Path | None,
    max_drop: float,
    allow_data: bool,
    as_json: bool,
) -> None:
    """Compare runs of one model: each with the first one, at equal densities, and by what their tickets cost.

    Writes an HTML page, its plots (PNG, SVG) and tables (CSV, Parquet), and prints the verdict and the page's path. A
    RUN is a path, a name below --out, or the beginning of one.
    """
    set_up_logging(context)
    from tf_lottery.experiment.run_state import read_state
    from tf_lottery.results.compare.compared_runs import read_compared_run

    stores = [find_run(run, out) for run in runs]
    compared_runs = [read_compared_run(store) for store in stores]
    with clean_output():
        from tf_lottery.results.compare.comparison_page import write_comparison

        folder = to or comparison_folder([store.path for store in stores], out)
        comparison = write_comparison(compared_runs, folder, max_drop=max_drop, allow_data=allow_data)
    for store in stores:
        state = read_state(store.path)
        if state.jobs_done < state.jobs_total:
            remark(f"{store.path} is not finished: {state.jobs_done} of {state.jobs_total} trainings are compared.")
    if not as_json:
        for sentence in comparison.sentences:
            print_line(sentence)
        print_path(comparison.files["comparison.html"])
        return
    print_json({"schema": SCHEMA, **comparison.to_json()})
