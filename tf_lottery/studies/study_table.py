"""The table of a study for reading: ranges beside their means, and numbers in four digits."""

from collections.abc import Mapping, Sequence
from typing import Any

from tf_lottery.results.tables.summary import Table

MOST_RANGES = 4  # more would not fit a line


def render_study_table(rows: Sequence[Mapping[str, Any]], *, limit: int | None = None) -> Table:
    """Return the rows of a study as cells of text, with `x_low` and `x_high` beside `x`.

    Args:
        rows: one mapping per row; a column that a row lacks is empty there.
        limit: the number of rows that are rendered; None renders all.

    Example:
        >>> render_study_table([{"round": 1, "error": 0.25, "error_low": 0.2, "error_high": 0.3}]).rows
        (('1', '0.25 (0.2 to 0.3)'),)
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    ranges = {column for column in columns if {f"{column}_low", f"{column}_high"} <= set(columns)}
    ends = {f"{column}_{end}" for column in ranges for end in ("low", "high")}
    headings = [column for column in columns if column not in ends]
    if len(ranges) > MOST_RANGES:
        ranges = set()
    return Table(
        headers=tuple(heading.replace("_", " ") for heading in headings),
        rows=tuple(
            tuple(_cell(row, heading, with_range=heading in ranges) for heading in headings) for row in rows[:limit]
        ),
        right=tuple(any(isinstance(row.get(heading), int | float) for row in rows) for heading in headings),
    )


def _cell(row: Mapping[str, Any], column: str, *, with_range: bool) -> str:
    text = _number(row.get(column))
    low, high = (_number(row.get(f"{column}_{end}")) for end in ("low", "high"))
    return f"{text} ({low} to {high})" if with_range and text != "-" and low != high else text


def _number(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) >= 1000 else f"{value:.4g}"
    return str(value)
