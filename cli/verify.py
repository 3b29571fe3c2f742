"""`tf-lottery verify`: check a run directory, a ticket, or exported files."""

from pathlib import Path

import click

from tf_lottery.results.run_lookup import find_run, is_run

from .command import Command
from .names import RUN
from .output import print_json, print_line, print_table, remark, set_up_logging
from .shared_options import json_option, out_option

SCHEMA = "tf-lottery.verify/1"
EXAMPLES = {
    "tf-lottery verify digits-mlp": "Every file, mask, pruned weight and result of the newest run of that name.",
    "tf-lottery verify saved_models": "What `tf-lottery export` wrote there.",
}


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("path", metavar="RUN|FILE", type=RUN)
@out_option
@json_option
@click.pass_context
def command(context: click.Context, /, path: str, out: Path, as_json: bool) -> None:
    """Check a run directory, a ticket's .npz file, an exported file or a folder of them, byte by byte.

    Exits with 5 if something is damaged. That a run is unfinished is no damage.
    """
    set_up_logging(context)
    from tf_lottery.experiment.run_verification import verify_run
    from tf_lottery.exporting.checks.verify import verify_path

    place = Path(path)
    if place.exists() and not is_run(place):
        verification = verify_path(place)
    else:
        store = find_run(path, out)
        place, verification = store.path, verify_run(store)
    if as_json:
        print_json(
            {
                "schema": SCHEMA,
                "path": str(place),
                "ok": not verification.problems,
                "checked": verification.checked,
                "problems": verification.problems,
                "remarks": verification.remarks,
            }
        )
    else:
        rows = [(what, f"{count:,}") for what, count in verification.checked.items()]
        print_table((str(place), "Checked"), rows, right=(False, True))
    for text in verification.remarks:
        remark(text)
    for text in verification.problems[1:]:
        remark(f"damaged: {text}")
    verification.raise_problems()
    if not as_json:
        print_line("Everything is as it was written.")
