"""How a benchmark ends: with what it measured as JSON, and an exit code that says whether its targets were held."""

import argparse
import json
from pathlib import Path
from typing import Any


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give a command `--json` and `--check`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measurements there")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")


def finish(options: argparse.Namespace, document: dict[str, Any], *, held: bool) -> int:
    """Write the document where `--json` says; the exit code is 1 where `--check` is given and a target is missed.

    Args:
        options: those of the command.
        document: what was measured.
        held: whether all targets were held.
    """
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return int(options.check and not held)
