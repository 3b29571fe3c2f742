"""What is printed: tables and JSON on stdout, remarks on stderr; messages of the library name flags there."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from tf_lottery.utils.text import printable

from .wording import document_in_flags, in_flags

if TYPE_CHECKING:
    from tf_lottery.results.tables.summary import Table


def print_json(document: Any) -> None:
    """Print one strict JSON document on stdout."""
    from tf_lottery.utils.files import json_text, strict

    click.echo(json_text(document_in_flags(strict(document)), indent=2))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[bool] = ()) -> None:
    """Print a table on stdout: fitted to a terminal, otherwise with every cell in full on one line.

    Args:
        headers: one heading per column; where all are empty, there is no heading.
        rows: cells as text.
        right: which columns hold numbers; none by default.
    """
    from rich import box
    from rich.table import Table

    terminal = sys.stdout.isatty()
    table = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False, show_edge=False, show_header=any(headers))
    for position, heading in enumerate(headers):
        number = bool(right) and right[position]
        table.add_column(_plain(heading), justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_plain(cell) for cell in row))
    console = console_for(sys.stdout)
    if not terminal:
        console.width = 10_000
        with console.capture() as capture:
            console.print(table)
        click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))
    else:
        console.print(table)


def print_rendered(table: "Table") -> None:
    """Print a table of the library on stdout."""
    print_table(table.headers, table.rows, right=table.right)


def console_for(stream: TextIO) -> Any:
    """A rich console: colors on a terminal only, and none where NO_COLOR is set."""
    from rich.console import Console

    return Console(file=stream, force_terminal=stream.isatty(), highlight=False)


def print_line(text: str = "") -> None:
    """Print a line on stdout."""
    click.echo(printable(in_flags(text)))


def print_path(path: str | Path, *, label: str = "") -> None:
    """Print a path on stdout, as a line of its own.

    Args:
        path: of a file or a folder.
        label: what stands before it.
    """
    click.echo(f"{label}{printable(str(path))}")


def remark(text: str) -> None:
    """Print a line on stderr."""
    click.echo(printable(in_flags(text)), err=True)


def set_up_logging(context: click.Context, /, *, quiet: bool = False) -> None:
    """Let the library's warnings appear on stderr, one line each, until the command ends.

    Args:
        context: the context of the command.
        quiet: show errors only.
    """
    logger = logging.getLogger("tf_lottery")
    handler = _Stderr(level=logging.ERROR if quiet else logging.WARNING)
    logger.addHandler(handler)
    propagates, logger.propagate = logger.propagate, False  # a library may have given the root logger a handler

    def restore() -> None:
        logger.removeHandler(handler)
        logger.propagate = propagates

    context.call_on_close(restore)


class _Stderr(logging.Handler):
    """Writes to whatever `sys.stderr` is at that moment, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        remark(f"{record.levelname.lower()}: {record.getMessage()}")


def _plain(cell: str) -> Any:
    from rich.text import Text

    return Text(printable(in_flags(cell)))
