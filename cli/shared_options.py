"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tf_lottery.results.statistics.selection import DEFAULT_MAX_DROP

from .names import DEFAULT_OUT

data_dir_option = click.option("--data-dir", type=click.Path(), help="Folder of prepared data sets or raw files.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
quiet_option = click.option("--quiet", is_flag=True, help="No progress and no hints.")
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


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of what it prints: `--json` and `--quiet`."""
    return json_option(quiet_option(command))
