"""HTML tables for `_repr_html_`, which a notebook shows in place of `repr`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str = "") -> str:
    """Returns a small HTML table, all of whose text is escaped.

    Example:
        >>> table(["path", "density"], [["dense/kernel", 0.2]])
        '<table><thead><tr><th>path</th><th>density</th></tr></thead><tbody><tr><td>dense/kernel</td><td>0.2</td></tr></tbody></table>'

    Args:
        headers: The text of the header cells, one per column.
        rows: The rows of the body, one cell per column; a cell shows the `str` of its object.
        caption: A line above the table; none if empty.

    Returns:
        The `<table>` element, without line breaks.

    Raises:
        ValueError: If a row has more or fewer cells than there are headers.
    """
    body = ""
    for row in rows:
        if len(row) != len(headers):
            raise ValueError(
                f"Every row of `rows` needs {len(headers)} cells, one for each of `headers`. "
                f"Received a row of {len(row)}: {row!r}"
            )
        body += f"<tr>{_cells('td', row)}</tr>"
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{_cells('th', headers)}</tr></thead><tbody>{body}</tbody></table>"


def _cells(tag: str, values: Sequence[object]) -> str:
    """Returns one HTML element per value, side by side."""
    return "".join(f"<{tag}>{escape(str(value))}</{tag}>" for value in values)
