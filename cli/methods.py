"""`tf-lottery methods`: what `run` can rank weights by, train beside a ticket, and rewind to."""

import click

from .command import Command
from .output import print_json, print_table

SCHEMA = "tf-lottery.methods/1"
PRUNINGS = {
    "iterative": "masks from the ticket of the round before",
    "one_shot": "masks of every round straight from the trained dense network",
    "before_training": "masks from the start weights, before anything is trained",
    "early_bird": "masks from a dense training that stops when they settle",
}
REWINDS = {
    "init": "initial weights, fresh optimizer",
    "step:K, epoch:K": "weights, optimizer and schedule of step K",
    "lr, lr:step:K, lr:epoch:K": "trained weights; optimizer and schedule of step K (learning-rate rewinding)",
    "finetune, finetune:step:N, finetune:epoch:N": "trained weights and optimizer, last learning rate, N more steps",
}
EXAMPLES = {
    "tf-lottery methods": "Names for --criterion, --variants, --pruning and --rewind.",
    "tf-lottery methods --json": "The same as JSON.",
}


@click.command(cls=Command, examples=EXAMPLES)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(as_json: bool) -> None:
    """List the criteria, controls, ways of pruning and rewind modes, each in one line."""
    from tf_lottery.experiment.controls import CONTROLS
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
    rows = [(f"--{option}", name, text) for option, found in methods.items() for name, text in found.items()]
    print_table(("Option", "Value", "What it does"), rows)
