"""Tables as files for other programs: CSV, and Parquet with one type per column."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tf_lottery.errors import UsageError
from tf_lottery.utils.optional import require
from tf_lottery.utils.text import inert_cell

LARGEST_INTEGER = 2**63 - 1


def csv_bytes(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as CSV (UTF-8, a line of names first); what is missing is an empty cell.

    Args:
        rows: dictionaries of numbers, text and booleans, perhaps NumPy's; None and NaN are missing, and so is what a
            row lacks. Columns stand in the order in which they first appear. Lists and dictionaries become JSON. Text
            that a spreadsheet would take for a formula gets an apostrophe in front.

    Returns:
        The file; equal rows give equal bytes.

    Raises:
        UsageError: a row is no dictionary, or names a column by something else than text.

    Example:
        >>> csv_bytes([{"round": 0, "accuracy": 0.5}, {"round": 1, "density": 0.8}]).decode().splitlines()
        ['round,accuracy,density', '0,0.5,', '1,,0.8']
    """
    columns = _columns(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if columns:
        writer.writerow(map(inert_cell, columns))
    for values in zip(*columns.values(), strict=True):
        # A row of one empty cell would be an empty line, which readers skip.
        writer.writerow(["" if value is None else inert_cell(value) for value in values])
    return text.getvalue().encode()


def parquet_bytes(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as Parquet; what is missing is null.

    A column is boolean, 64-bit integer or 64-bit floating point where all of its values are (integers beside floats
    become floats), otherwise text. A column without any value is of the null type.

    Args:
        rows: as for `csv_bytes`.

    Raises:
        UsageError: as for `csv_bytes`, or PyArrow is not installed.

    Example:
        >>> parquet_bytes([{"round": 0}])[:4]
        b'PAR1'
    """
    pyarrow, parquet = require("pyarrow", "Parquet files"), require("pyarrow.parquet", "Parquet files")
    arrays = {name: pyarrow.array(*_typed(values, pyarrow)) for name, values in _columns(rows).items()}
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table(arrays), sink)
    return bytes(sink.getvalue().to_pybytes())


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The values of each column, None where a row has none."""
    for position, row in enumerate(rows):
        if not isinstance(row, Mapping) or not all(isinstance(name, str) for name in row):
            raise UsageError(
                f"A table is a sequence of dictionaries with text as keys. Row {position} is {type(row).__name__}: "
                f"{str(row)[:80]}.",
                "Pass one dictionary per row.",
            )
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [_plain(row.get(name)) for row in rows] for name in names}


def _plain(value: Any) -> Any:
    """A value as None, bool, int, float or str."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()  # the name of a file need not be UTF-8
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return None if value != value else value
    return json.dumps(value, sort_keys=True, default=str)


def _typed(values: list[Any], pyarrow: Any) -> tuple[list[Any], Any]:
    """The values as all of one type, and that type."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return values, pyarrow.null()
    if kinds == {bool}:
        return values, pyarrow.bool_()
    if kinds == {int} and all(value is None or abs(value) <= LARGEST_INTEGER for value in values):
        return values, pyarrow.int64()
    if kinds <= {int, float}:
        return [None if value is None else float(value) for value in values], pyarrow.float64()
    return [None if value is None else str(value) for value in values], pyarrow.string()
