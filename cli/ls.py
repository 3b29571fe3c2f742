"""`tf-lottery ls`: all runs and their states."""

import time
from pathlib import Path

import click

from tf_lottery.results.run_lookup import last_change, list_runs

from .command import Command
from .output import print_json, print_table, remark
from .shared_options import json_option, out_option

SCHEMA = "tf-lottery.ls/1"
EXAMPLES = {
    "tf-lottery ls": "The runs below runs/, the newest first.",
    "tf-lottery ls --out runs --json": "The same for scripts.",
}


@click.command(cls=Command, examples=EXAMPLES)
@out_option
@json_option
def command(out: Path, as_json: bool) -> None:
    """List the runs and their states: complete, running, unfinished, damaged or unreadable."""
    from tf_lottery.experiment.run_state import read_state

    states = [(path, read_state(path)) for path in list_runs(out)]
    if as_json:
        print_json({"schema": SCHEMA, "runs": [state.to_json() for _, state in states]})
        return
    if not states:
        remark(f"There is no run below {out}.")
        return
    rows = [
        (
            path.name,
            state.state,
            f"{state.jobs_done}/{state.jobs_total}",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(last_change(path))),
            state.problem,
        )
        for path, state in states
    ]
    print_table(("Run", "State", "Trainings", "Changed", ""), rows, right=(False, False, True, False, False))
