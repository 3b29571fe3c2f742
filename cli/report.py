"""`tf-lottery report`: plots, table and verdict of a run."""

from pathlib import Path

import click

from tf_lottery.results.run_lookup import find_run

from .command import Command
from .names import RUN
from .output import print_json, print_path, remark, set_up_logging
from .process import clean_output
from .shared_options import json_option, max_drop_option, out_option

SCHEMA = "tf-lottery.report/1"
EXAMPLES = {
    "tf-lottery report digits-mlp": "Into the run's own folder report/.",
    "tf-lottery report digits-mlp --to page --max-drop 0.01": "Elsewhere; the ticket may lose a point of accuracy.",
}


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("run", type=RUN)
@out_option
@click.option("--to", type=click.Path(path_type=Path), help="Folder to write to.  [default: RUN/report]")
@max_drop_option
@json_option
@click.pass_context
def command(context: click.Context, /, run: str, out: Path, to: Path | None, max_drop: float, as_json: bool) -> None:
    """Write PNG and SVG plots and one self-contained HTML page of a run, and print the page's path.

    RUN is a path, a name below --out, or the beginning of one.
    """
    set_up_logging(context)
    from tf_lottery.experiment.run_state import read_state

    store = find_run(run, out, prefer_complete=True)
    with clean_output():
        from tf_lottery.results.report.run_report import write_run_report

        files = write_run_report(store, to or store.path / "report", max_drop=max_drop)
    state = read_state(store.path)
    if state.jobs_done < state.jobs_total:
        remark(f"The run is not finished: the report shows {state.jobs_done} of {state.jobs_total} trainings.")
    if as_json:
        from tf_lottery.results.report.conclusions import conclusions

        complete = state.jobs_done == state.jobs_total
        about = {"schema": SCHEMA, "run_dir": str(store.path), "complete": complete}
        concluded = conclusions(store.rows(), max_drop=max_drop, rewind=store.config().rewind)
        print_json({**about, **concluded, "files": {name: str(path) for name, path in files.items()}})
    else:
        print_path(files["report.html"])
