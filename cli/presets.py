"""`tf-lottery presets`: the named experiments."""

import click

from .command import Command
from .output import print_json, print_table
from .shared_options import json_option

SCHEMA = "tf-lottery.presets/1"
EXAMPLES = {
    "tf-lottery presets": "Name, cost and what to expect.",
    "tf-lottery presets --json": "With all their values.",
}


@click.command(cls=Command, examples=EXAMPLES)
@json_option
def command(as_json: bool) -> None:
    """List the named experiments: where they come from, what they cost, what to expect."""
    from tf_lottery.experiment.presets import PRESETS

    if as_json:
        print_json(
            {
                "schema": SCHEMA,
                "presets": [
                    {
                        "name": preset.name,
                        "source": preset.source,
                        "cost": preset.cost,
                        "expect": preset.expect,
                        "config": preset.config().to_json(),
                    }
                    for preset in PRESETS.values()
                ],
            }
        )
        return
    rows = [(preset.name, preset.source, preset.cost, preset.expect) for preset in PRESETS.values()]
    print_table(("Preset", "Source", "Cost", "What to expect"), rows)
