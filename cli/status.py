"""`tf-lottery status`: how far a run is."""

from pathlib import Path

import click

from tf_lottery.results.run_lookup import find_run
from tf_lottery.utils.text import duration

from .command import Command
from .names import RUN
from .output import print_json, print_table, set_up_logging
from .shared_options import json_option, out_option

SCHEMA = "tf-lottery.status/1"
EXAMPLES = {
    "tf-lottery status": "The run that changed last.",
    "tf-lottery status digits-mlp --json": "The newest run of that name, for scripts.",
}


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("run", type=RUN, required=False)
@out_option
@json_option
@click.pass_context
def command(context: click.Context, /, run: str | None, out: Path, as_json: bool) -> None:
    """Show how far a run is.

    RUN is a path, a name below --out, or the beginning of one; without it, the run that changed last.
    """
    set_up_logging(context)
    from tf_lottery.errors import DamagedError, ResourceError
    from tf_lottery.experiment.run_state import read_state
    from tf_lottery.results.tables.formats import plural

    state = read_state(find_run(run, out).path)
    if state.state == "damaged":
        raise DamagedError(state.problem, f"`tf-lottery verify {state.run_dir}` lists all that is damaged.")
    if state.state == "unreadable":
        raise ResourceError(state.problem, "Give yourself the right to read it, or see whether its disk answers.")
    if as_json:
        print_json({"schema": SCHEMA, "complete": state.jobs_done == state.jobs_total, **state.to_json()})
        return
    rows = [
        ("Run", state.run_dir),
        (
            "State",
            {"running": "running (in use)", "unfinished": "unfinished: the same command resumes"}.get(
                state.state, state.state
            ),
        ),
        ("Trainings", f"{state.jobs_done} of {state.jobs_total}"),
        ("Rounds", f"{state.rounds_done} of {state.rounds_total}, in {plural(state.replicates, 'replicate')}"),
        ("Variants", ", ".join(state.variants)),
        ("Training time", duration(state.seconds)),
    ]
    if state.seconds_left is not None:
        rows.append(("Left", f"about {duration(state.seconds_left)} in one process"))
    for part in state.partial:
        length = f" of {part.steps:,}" if part.steps else ""
        where = f"replicate {part.replicate}, round {part.round}, {part.variant}"
        rows.append(("Saved midway", f"{where}: step {part.step:,}{length}"))
    if state.leftovers:
        rows.append(
            ("Left behind", f"{plural(state.leftovers, 'file')} of a killed process: the next run removes them")
        )
    print_table(("", ""), rows)
