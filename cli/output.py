"""What is printed: tables and JSON on stdout, remarks on stderr; messages of the library name flags there."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from tf_lottery.utils.text import printable, without_colors

from .wording import document_in_flags, in_flags

if TYPE_CHECKING:
    from tf_lottery.results.tables.summary import Table


def print_json(document: Any) -> None:
    """Print one strict JSON document on stdout."""
    from tf_lottery.utils.files import json_text, strict

    click.echo(json_text(document_in_flags(strict(document)), indent=2))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[bool] = ()) -> None:
    """Print a table on stdout: fitted to a terminal, otherwise with every cell in full on one line.

    Where a terminal is so narrow that numbers would be broken, it is printed in several parts, one below the other,
    each with the first columns, which say what a row is about.

    Args:
        headers: one heading per column; where all are empty, there is no heading.
        rows: cells as text.
        right: which columns hold numbers; none by default.
    """
    cells = [[_plain(cell) for cell in row] for row in (headers, *rows)]
    numbers = [bool(right) and right[place] for place in range(len(headers))]
    console = console_for(sys.stdout)
    if not sys.stdout.isatty():
        console.width = 10_000
        with console.capture() as capture:
            console.print(_table(cells, numbers, framed=False))
        click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))
        return
    widths = [max(row[place].cell_len for row in cells) for place in range(len(headers))]
    for part, places in enumerate(_parts(widths, numbers, console.width)):
        if part:
            console.print()
        columns = [[row[place] for place in places] for row in cells]
        console.print(_table(columns, [numbers[place] for place in places], framed=True))


def _table(cells: Sequence[Sequence[Any]], numbers: Sequence[bool], *, framed: bool) -> Any:
    """Return a table of the library that prints it; the first row has the headings."""
    from rich import box
    from rich.table import Table

    headers, *rows = cells
    table = Table(
        box=box.SIMPLE_HEAD if framed else None,
        pad_edge=False,
        show_edge=False,
        show_header=any(heading.cell_len for heading in headers),
    )
    for heading, number in zip(headers, numbers, strict=True):
        table.add_column(heading, justify="right" if number else "left", overflow="fold", no_wrap=number and framed)
    for row in rows:
        table.add_row(*row)
    return table


_BETWEEN = 3  # columns on a terminal
_NARROWEST = 12  # column of text, whose cells may be folded
_REPEATED = 0.6  # of the width is for columns that are repeated


def _parts(widths: Sequence[int], numbers: Sequence[bool], width: int) -> list[list[int]]:
    """Return the places of the columns of each part of a table; one part where numbers fit beside folded text.

    Args:
        widths: of the columns.
        numbers: which of them hold numbers, that are not folded.
        width: of the terminal.

    Example:
        >>> _parts([9, 4, 30], [False, True, False], 40), _parts([9, 8, 8, 8], [False, True, True, True], 32)
        ([[0, 1, 2]], [[0, 1, 2], [0, 3]])
    """
    least = [size if number else min(size, _NARROWEST) for size, number in zip(widths, numbers, strict=True)]
    if sum(least) + _BETWEEN * (len(least) - 1) <= width:
        return [list(range(len(widths)))]
    whole = [min(size, width // 2) for size in widths]

    def needed(places: Sequence[int]) -> int:
        return sum(whole[place] for place in places) + _BETWEEN * (len(places) - 1)

    repeated = [0]
    while not numbers[len(repeated)] and needed([*repeated, len(repeated)]) <= _REPEATED * width:
        repeated.append(len(repeated))
    parts = [repeated]
    for place in range(len(repeated), len(widths)):
        if needed([*parts[-1], place]) > width and parts[-1] != repeated:
            parts.append(repeated)
        parts[-1] = [*parts[-1], place]
    return parts


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
        remark(f"{record.levelname.lower()}: {without_colors(record.getMessage())}")


def _plain(cell: str) -> Any:
    from rich.text import Text

    return Text(printable(in_flags(cell)))
