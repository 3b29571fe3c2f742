"""What is printed: tables and JSON on stdout, remarks on stderr; messages of the library name flags there."""

import itertools
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from tf_lottery.utils.text import printable, without_colors

from .table_layout import BETWEEN, NUMBER, Part, lay_out, wrap_words
from .wording import document_in_flags, in_flags

if TYPE_CHECKING:
    from tf_lottery.results.tables.summary import Table


# Words that say whether something is good, bad or undecided, where they are all that a cell of a table holds.
GOOD, BAD, UNDECIDED = "green", "red", "yellow"
STYLES = {
    **dict.fromkeys(("ok", "complete", "passed", "prepared", "embedded", "yes", "beats"), GOOD),
    **dict.fromkeys(("damaged", "unreadable", "failed", "no", "loses", "wrong"), BAD),
    **dict.fromkeys(("unfinished", "running", "inconclusive", "not judged", "not shown", "ties", "warning"), UNDECIDED),
}


def print_json(document: Any) -> None:
    """Print one strict JSON document on stdout."""
    from tf_lottery.utils.files import json_text, strict

    click.echo(json_text(document_in_flags(strict(document)), indent=2))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[bool] = ()) -> None:
    """Print a table on stdout: fitted to a terminal, otherwise with every cell in full on one line.

    Where a terminal is too narrow, prose wraps by words, and the table is printed in several parts, one below the other
    (see `table_layout.lay_out`). No word and no number is broken, so what is copied from the screen works.

    Args:
        headers: one heading per column; where all are empty, there is no heading.
        rows: cells as text.
        right: which columns hold numbers; none by default.
    """
    cells = [[printable(in_flags(cell)) for cell in row] for row in (headers, *rows)]
    numbers = [bool(right) and right[place] for place in range(len(headers))]
    console = console_for(sys.stdout)
    if not sys.stdout.isatty():
        console.width = 10_000
        whole = tuple(max(len(row[place]) for row in cells) for place in range(len(headers)))
        _print_part(console, cells, numbers, Part(tuple(range(len(headers))), whole), framed=False)
        return
    filled = [place for place in range(len(headers)) if any(row[place] for row in cells)]
    cells, numbers = [[row[place] for place in filled] for row in cells], [numbers[place] for place in filled]
    columns = list(zip(*cells, strict=True))
    width = console.width
    for number, part in enumerate(lay_out(columns, numbers, width)):
        if number:
            click.echo()
        console.width = max(width, sum(part.widths) + BETWEEN * len(part.widths), *map(len, itertools.chain(*columns)))
        console.width *= 2  # beyond the terminal, which wraps a last column that is longer
        _print_part(console, cells, numbers, part, framed=True, rule=width)


def _print_part(
    console: Any, cells: Sequence[Sequence[str]], numbers: Sequence[bool], part: Part, *, framed: bool, rule: int = 0
) -> None:
    """Print columns side by side, without spaces at the end of lines, and with a rule no wider than the terminal."""
    with console.capture() as capture:
        console.print(_table(cells, numbers, part, framed=framed))
    for line in capture.get().splitlines():
        text = re.sub(r"\s+((?:\x1b\[[0-9;]*m)*)$", r"\1", line)
        click.echo(text[:rule] if framed and not text.strip("─") else text, color=True)


def _table(cells: Sequence[Sequence[str]], numbers: Sequence[bool], part: Part, *, framed: bool) -> Any:
    """Return a table of the library that prints it; the first row has the headings."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = [
        [str(position or "#") if place == NUMBER else row[place] for place in part.places]
        for position, row in enumerate(cells)
    ]
    if framed:
        rows = [[wrap_words(cell, width) for cell, width in zip(row, part.widths, strict=True)] for row in rows]
    for position, place in enumerate(part.places):
        if place == NUMBER or numbers[place]:
            widest = max(len(row[position]) for row in rows)
            rows = [[*row[:position], row[position].rjust(widest), *row[position + 1 :]] for row in rows]
    headers, *others = rows
    table = Table(box=box.SIMPLE_HEAD if framed else None, pad_edge=False, show_edge=False, show_header=any(headers))
    for heading in headers:
        table.add_column(Text(heading), overflow="ignore", no_wrap=True)
    for row in others:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "") if framed else "") for cell in row))
    return table


def print_rendered(table: "Table") -> None:
    """Print a table of the library on stdout."""
    print_table(table.headers, table.rows, right=table.right)


def console_for(stream: TextIO) -> Any:
    """A rich console: colors on a terminal only, and none where NO_COLOR is set."""
    from rich.console import Console

    return Console(file=stream, force_terminal=stream.isatty(), highlight=False)


def print_line(text: str = "") -> None:
    """Print a line on stdout, wrapped by words on a terminal."""
    click.echo(_wrapped(printable(in_flags(text)), sys.stdout))


def print_path(path: str | Path, *, label: str = "") -> None:
    """Print a path on stdout, as a line of its own.

    Args:
        path: of a file or a folder.
        label: what stands before it.
    """
    click.echo(f"{label}{printable(str(path))}")


def remark(text: str) -> None:
    """Print a line on stderr, wrapped by words on a terminal."""
    # Not `err=True`, by which click would write past the progress display, which takes the place of the stream.
    click.echo(_wrapped(printable(in_flags(text)), sys.stderr), file=sys.stderr)


def _wrapped(text: str, stream: TextIO) -> str:
    return wrap_words(text, console_for(stream).width) if stream.isatty() else text


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
