"""What a study finds: tables, figures and sentences; and their files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tf_lottery.results.outcome_files import outcome_files, write_files
from tf_lottery.results.statistics.values import number, spread
from tf_lottery.utils.files import dump_json

SCHEMA = "tf-lottery.analysis/1"
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a study.

    Attributes:
        tables: rows by the table's name; the first one is the main one, which the command line shows.
        figures: figures by name.
        sentences: what was found and how, in words.
    """

    tables: dict[str, Rows]
    figures: dict[str, Figure] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)


def over_replicates(
    rows: Sequence[Mapping[str, Any]], *, by: Sequence[str], of: Sequence[str], unit: str = "replicate"
) -> Rows:
    """Rows that agree in the columns `by` as one: the mean of each column `of`, with its least and greatest value.

    Args:
        rows: dictionaries; missing values are None or NaN.
        by: the columns that tell groups apart; groups stand in order of appearance.
        of: the columns of numbers.
        unit: the column whose different values are counted.

    Returns:
        For each group its `by`, `replicates` (how many, or of another unit), and for each column `c` of `of` the mean
        `c`, and, where there are several rows, `c_low` and `c_high`; None where no row has a number.

    Example:
        >>> rows = [{"replicate": 0, "round": 1, "error": 0.25}, {"replicate": 1, "round": 1, "error": 0.75}]
        >>> over_replicates(rows, by=["round"], of=["error"])
        [{'round': 1, 'replicates': 2, 'error': 0.5, 'error_low': 0.25, 'error_high': 0.75}]
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(column) for column in by), []).append(row)
    table = []
    for key, group in groups.items():
        line = dict(zip(by, key, strict=True))
        line[f"{unit}s"] = len({row.get(unit) for row in group})
        for column in of:
            found = spread(row.get(column) for row in group)
            line[column] = found.mean if found else None
            if len(group) > 1:
                line |= {f"{column}_low": found.low if found else None, f"{column}_high": found.high if found else None}
        table.append(line)
    return table


def side_by_side(rows: Sequence[Mapping[str, Any]], *, by: Sequence[str], names: Mapping[int, str], of: str) -> Rows:
    """The mean of one column, with a row for each group of `by` and a column for each round.

    Args:
        rows: dictionaries with `round`, `of` and `by`.
        by: the columns that tell groups apart.
        names: the heading of each round that is shown.
        of: the column.

    Example:
        >>> rows = [{"round": 0, "noise": 1, "score": 0.5}, {"round": 3, "noise": 1, "score": 0.25}]
        >>> side_by_side(rows, by=["noise"], names={0: "dense", 3: "ticket"}, of="score")
        [{'noise': 1, 'dense': 0.5, 'ticket': 0.25}]
    """
    groups = dict.fromkeys(tuple(row[column] for column in by) for row in rows)
    table = []
    for key in groups:
        where = dict(zip(by, key, strict=True))
        table.append(where | {name: mean(rows, of, round=number, **where) for number, name in names.items()})
    return table


def mean(rows: Sequence[Mapping[str, Any]], column: str, **where: Any) -> float | None:
    """The mean of a column over the rows of which other columns have these values; None without any number."""
    chosen = [row for row in rows if all(row.get(key) == value for key, value in where.items())]
    found = spread(number(row.get(column)) for row in chosen)
    return found.mean if found else None


def write(outcome: Outcome, folder: str | Path, *, about: Mapping[str, Any]) -> dict[str, Path]:
    """Write an outcome: each table as CSV and Parquet, each figure as PNG and SVG, and `outcome.json`, last.

    Args:
        outcome: what to write.
        folder: where; made if need be.
        about: what `outcome.json` tells beside sentences and tables: study, run, options.

    Returns:
        The paths by file name.

    Raises:
        ResourceError: the folder can't be written.
    """
    contents = outcome_files(figures=outcome.figures, tables=outcome.tables)
    contents["outcome.json"] = dump_json(document(outcome, about=about) | {"files": sorted(contents)})
    return write_files(contents, folder)


def document(outcome: Outcome, *, about: Mapping[str, Any]) -> dict[str, Any]:
    """An outcome as one JSON document, without its figures."""
    return {"schema": SCHEMA, **about, "sentences": outcome.sentences, "tables": outcome.tables}
