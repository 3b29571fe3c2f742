"""Options that several commands share."""

from pathlib import Path

import click

from tf_lottery.results.statistics.selection import DEFAULT_MAX_DROP

from .names import DEFAULT_OUT

out_option = click.option(
    "--out", type=click.Path(path_type=Path), default=DEFAULT_OUT, show_default=True, help="Folder of the runs."
)
max_drop_option = click.option(
    "--max-drop",
    type=click.FloatRange(0, 1),
    default=DEFAULT_MAX_DROP,
    show_default=True,
    help="Validation accuracy a ticket may lose.",
)
