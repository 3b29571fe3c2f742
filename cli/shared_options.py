"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tf_lottery.exporting.sources.source_data import SAMPLES
from tf_lottery.results.statistics.selection import DEFAULT_MAX_DROP

from .command import NumberRange
from .names import DEFAULT_OUT, CountOrFile

data_dir_option = click.option("--data-dir", type=click.Path(), help="Folder of prepared data sets or raw files.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
samples_option = click.option(
    "--samples",
    metavar="FILE.npz",
    type=click.Path(path_type=Path),
    help="Your own data, with the arrays x, y and calibration: np.savez('FILE.npz', x=x, y=y).",
)
count_or_samples_option = click.option(
    "--samples",
    type=CountOrFile(),
    default=SAMPLES,
    show_default=True,
    help="Most samples of each part of the data set; or your own data, with the arrays x, y and calibration: "
    "np.savez('FILE.npz', x=x, y=y).",
)
trust_option = click.option("--trust", is_flag=True, help="Import code that the run or a file of it names.")
checkpoint_every_option = click.option(
    "--checkpoint-every", type=NumberRange(0), help="Seconds between states saved in mid-training."
)
quiet_option = click.option("--quiet", is_flag=True, help="No progress and no hints.")
out_option = click.option(
    "--out", type=click.Path(path_type=Path), default=DEFAULT_OUT, show_default=True, help="Folder of the runs."
)
max_drop_option = click.option(
    "--max-drop",
    type=NumberRange(0, 1),
    default=DEFAULT_MAX_DROP,
    show_default=True,
    help="Validation accuracy a ticket may lose.",
)


def input_shape_option(use: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the decorator of `--input-shape`.

    Args:
        use: what its sizes are for, as the help says it.
    """
    return click.option(
        "--input-shape",
        multiple=True,
        metavar="SIZES",
        help=f"Sizes {use}, e.g. 96,96,3; of several inputs NAME=96,96,3.",
    )


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of what it prints: `--json` and `--quiet`."""
    return json_option(quiet_option(command))
