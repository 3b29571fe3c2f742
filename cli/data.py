"""`tf-lottery data`: list, prepare and check data sets."""

import sys
from typing import Any

import click

from .command import Command, Group
from .names import DATASET
from .options import options_named
from .output import print_json, print_path, print_table, remark, set_up_logging
from .process import clean_output
from .shared_options import data_dir_option, json_option

EXAMPLES = {
    "tf-lottery data list": "What there is, and where.",
    "tf-lottery data prepare mnist": "From raw files in the data folder, or by downloading.",
    "tf-lottery data check digits": "Read every example.",
}


@click.group(cls=Group, examples=EXAMPLES)
def command() -> None:
    """List, prepare and check data sets.

    They are looked for in --data-dir, else in $TF_LOTTERY_DATA, else where TFDS keeps them.
    """


@command.command("list", cls=Command, examples={"tf-lottery data list --json": "For scripts."})
@data_dir_option
@json_option
def list_command(data_dir: str | None, as_json: bool) -> None:
    """List the data sets: size, state and place."""
    from tf_lottery import data

    datasets = data.describe(data_dir=data_dir)
    if as_json:
        print_json({"schema": "tf-lottery.data/1", "datasets": datasets})
        return
    rows = [
        (
            row["name"],
            "x".join(map(str, row["shape"])) if row["shape"] else "",
            *(_number(row[key]) for key in ("classes", "train", "validation", "test")),
            row["status"],
            row["location"],
        )
        for row in datasets
    ]
    headers = ("Data set", "Shape", "Classes", "Train", "Validation", "Test", "State", "Where")
    print_table(headers, rows, right=(False, False, True, True, True, True, False, False))


@command.command(cls=Command, examples={"tf-lottery data prepare mnist": "Ready to load from then on."})
@click.argument("name", type=DATASET)
@data_dir_option
@click.pass_context
def prepare(context: click.Context, /, name: str, data_dir: str | None) -> None:
    """Make a data set ready, from raw files at hand or by downloading it, and print where it is."""
    set_up_logging(context)
    with clean_output():
        from tf_lottery import data

        place = data.prepare(name, data_dir=data_dir, download=True, progress=sys.stderr.isatty())
    print_path(place)


@command.command(cls=Command, examples={"tf-lottery data check digits --json": "The same for scripts."})
@click.argument("name", type=DATASET)
@data_dir_option
@options_named(["image_size"])
@json_option
@click.pass_context
def check(context: click.Context, /, name: str, data_dir: str | None, image_size: int | None, as_json: bool) -> None:
    """Read every example of a data set and show its shape, classes and counts."""
    set_up_logging(context)
    with clean_output():
        from tf_lottery import data

        summary = data.check(name, data_dir=data_dir, image_size=image_size)
    if as_json:
        print_json({"schema": "tf-lottery.data-check/1", **summary})
        return
    rows = [
        ("Where", summary["location"]),
        ("Shape", "x".join(map(str, summary["shape"]))),
        ("Classes", str(summary["classes"])),
        ("Pixel values", f"{summary['value_range'][0]} to {summary['value_range'][1]}"),
        ("Fingerprint", summary["fingerprint"]),
    ]
    for part, split in summary["splits"].items():
        counts = split["per_class"]
        rows.append((f"{part} examples", f"{split['examples']:,} ({min(counts):,} to {max(counts):,} per class)"))
    print_table((summary["name"], ""), rows)
    remark("Every example was read.")


def _number(value: Any) -> str:
    return "" if value is None else f"{value:,}"
