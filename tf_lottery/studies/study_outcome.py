"""`StudyOutcome`: tables, figures and sentences of a study, and their files; means over replicates for the tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from matplotlib.figure import Figure

from tf_lottery.results.outcome_files import outcome_files, write_files
from tf_lottery.results.statistics.values import number, spread
from tf_lottery.utils.files import dump_json

SCHEMA = "tf-lottery.analysis/1"
# Rows of a table: values by column.
Rows: TypeAlias = list[dict[str, Any]]


@dataclass(frozen=True)
class StudyOutcome:
    """The outcome of a study.

    Attributes:
        tables: rows by the name of the table; the command line shows the first one.
        figures: figures by name.
        sentences: the findings and how they were measured, in words.
    """

    tables: dict[str, Rows]
    figures: dict[str, Figure] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)


def average_replicates(
    rows: Sequence[Mapping[str, Any]], *, by: Sequence[str], of: Sequence[str], unit: str = "replicate"
) -> Rows:
    """Return one row for each group of rows: the mean of each column, with its least and greatest value.

    Args:
        rows: table rows; missing values are None or NaN.
        by: the columns whose values define a group; groups stand in order of appearance.
        of: the columns of numbers.
        unit: the column whose different values are counted.

    Returns:
        For each group its values of `by`, the count `replicates` (or of another unit), and for each column `c` of `of`
        the mean `c`, and, where there are several rows, `c_low` and `c_high`; None where no row has a number.

    Example:
        >>> rows = [{"replicate": 0, "round": 1, "error": 0.25}, {"replicate": 1, "round": 1, "error": 0.75}]
        >>> average_replicates(rows, by=["round"], of=["error"])
        [{'round': 1, 'replicates': 2, 'error': 0.5, 'error_low': 0.25, 'error_high': 0.75}]
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(column) for column in by), []).append(row)
    table = []
    for key, group in groups.items():
        averaged = dict(zip(by, key, strict=True))
        averaged[f"{unit}s"] = len({row.get(unit) for row in group})
        for column in of:
            values = spread(row.get(column) for row in group)
            averaged[column] = values.mean if values else None
            if len(group) > 1:
                averaged[f"{column}_low"] = values.low if values else None
                averaged[f"{column}_high"] = values.high if values else None
        table.append(averaged)
    return table


def rounds_side_by_side(
    rows: Sequence[Mapping[str, Any]], *, by: Sequence[str], names: Mapping[int, str], of: str
) -> Rows:
    """Return the mean of one column, with a row for each group of `by` and a column for each round.

    Args:
        rows: table rows with the column `round`, and those of `of` and `by`.
        by: the columns whose values define a group.
        names: the heading of each round to show.
        of: the column of numbers.

    Example:
        >>> rows = [{"round": 0, "noise": 1, "score": 0.5}, {"round": 3, "noise": 1, "score": 0.25}]
        >>> rounds_side_by_side(rows, by=["noise"], names={0: "dense", 3: "ticket"}, of="score")
        [{'noise': 1, 'dense': 0.5, 'ticket': 0.25}]
    """
    groups = dict.fromkeys(tuple(row[column] for column in by) for row in rows)
    table = []
    for key in groups:
        where = dict(zip(by, key, strict=True))
        table.append(where | {name: mean_of_column(rows, of, round=number, **where) for number, name in names.items()})
    return table


def mean_of_column(rows: Sequence[Mapping[str, Any]], column: str, **where: Any) -> float | None:
    """Return the mean of a column; None without any number.

    Args:
        rows: table rows.
        column: the column of numbers.
        **where: values of other columns that a row must have.
    """
    chosen = [row for row in rows if all(row.get(key) == value for key, value in where.items())]
    values = spread(number(row.get(column)) for row in chosen)
    return values.mean if values else None


def write_outcome(
    outcome: StudyOutcome, folder: str | Path, *, about: Mapping[str, Any], owner: Mapping[str, str] | None = None
) -> dict[str, Path]:
    """Write an outcome: tables as CSV and Parquet, figures as PNG and SVG, `outcome.json`, and their manifest.

    Args:
        outcome: what to write.
        folder: the folder to write to; created if it does not exist.
        about: what `outcome.json` holds beside sentences and tables: study, run, options.
        owner: the run, for the manifest, as its `run_owner` gives it.

    Returns:
        The paths by file name.

    Raises:
        ResourceError: a file can't be written.
    """
    contents = outcome_files(figures=outcome.figures, tables=outcome.tables)
    contents["outcome.json"] = dump_json(outcome_document(outcome, about=about) | {"files": sorted(contents)})
    return write_files(contents, folder, owner=owner)


def outcome_document(outcome: StudyOutcome, *, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return an outcome as one JSON document, without its figures.

    Args:
        outcome: the outcome.
        about: study, run and options.
    """
    return {"schema": SCHEMA, **about, "sentences": outcome.sentences, "tables": outcome.tables}
