"""`tf-lottery methods`: what `run` can rank weights by, train beside a ticket, and rewind to."""

import click

from .command import Command
from .output import print_json, print_table
from .shared_options import json_option

SCHEMA = "tf-lottery.methods/1"
EXAMPLES = {
    "tf-lottery methods": "Names for --criterion, --variants, --pruning and --rewind.",
    "tf-lottery methods --json": "The same as JSON.",
}


@click.command(cls=Command, examples=EXAMPLES)
@json_option
def command(as_json: bool) -> None:
    """List the criteria, controls, ways of pruning and rewind modes, each in one line."""
    from tf_lottery.experiment.controls import CONTROLS
    from tf_lottery.experiment.options import PRUNINGS
    from tf_lottery.experiment.rewind_point import REWINDS
    from tf_lottery.pruning.criteria import CRITERIA

    methods = {
        "criterion": {name: (function.__doc__ or "").strip().splitlines()[0] for name, function in CRITERIA.items()},
        "variants": {name: control.summary for name, control in CONTROLS.items()},
        "pruning": PRUNINGS,
        "rewind": REWINDS,
    }
    if as_json:
        print_json({"schema": SCHEMA, **methods})
        return
    rows = [(f"--{option}", name, text) for option, values in methods.items() for name, text in values.items()]
    print_table(("Option", "Value", "What it does"), rows)
