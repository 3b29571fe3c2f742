"""Result rows, summarized over replicates, and written as a table for the terminal and for the HTML page."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tf_lottery.errors import UnfitError
from tf_lottery.results.statistics.intervals import Interval, band
from tf_lottery.results.statistics.values import (
    Row,
    Spread,
    has_values,
    number,
    select,
    spread,
    variants,
    without_searches,
)
from tf_lottery.results.tables import formats
from tf_lottery.results.tables.formats import Kind, column_words

MEASURED = (
    "train_loss",
    "val_loss",
    "val_accuracy",
    "test_loss",
    "test_accuracy",
    "early_stop_step",
    "early_stop_val_loss",
    "early_stop_test_accuracy",
)
# What a reader compares: accuracies where there are any, otherwise losses.
COLUMNS: tuple[tuple[str, str, Kind], ...] = (
    ("val_accuracy", "Validation accuracy", "percent"),
    ("test_accuracy", "Test accuracy", "percent"),
    ("val_loss", "Validation loss", "loss"),
    ("test_loss", "Test loss", "loss"),
    ("early_stop_step", "Early-stop step", "count"),
    ("early_stop_test_accuracy", "Test accuracy at early stop", "percent"),
)


@dataclass(frozen=True)
class Table:
    """Cells as text.

    Attributes:
        headers: one heading per column.
        rows: as many cells per row as there are headings.
        right: for each column, whether it holds numbers and is set to the right.
    """

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[bool, ...]


def _extra_metrics(rows: Iterable[Row]) -> list[str]:
    """Columns of the user's own metrics: `val_*` and `test_*` beyond the standard ones, in order of appearance."""
    seen: dict[str, None] = {}
    for row in rows:
        for column in row:
            if column.startswith(("val_", "test_")) and column not in MEASURED:
                seen.setdefault(column)
    return list(seen)


def summarize(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One dictionary per (round, variant): the means over replicates, with their ranges; searches are left out.

    Args:
        rows: result rows with the columns of `results.csv`; values that were not measured are None or NaN.

    Returns:
        Dictionaries sorted by round, the ticket before its controls, with `round`, `variant`, `replicates` (how many
        rows), `density`, `sparsity`, `weights_kept`, `weights_total` (of the maskable weights; means should replicates
        differ) and, for each metric `m`, `m_mean`, `m_min`, `m_max` over the replicates that have it, None if none has.

    Raises:
        UnfitError: a row lacks `round`, `variant` or `density`.

    Example:
        >>> row = {"round": 0, "variant": "ticket", "density": 1.0, "weights_kept": 4, "weights_total": 4}
        >>> summarize([row | {"val_accuracy": 0.5}, row | {"val_accuracy": 1.0}])[0]["val_accuracy_mean"]
        0.75
    """
    rows = _checked(rows)
    groups: dict[tuple[int, str], list[Row]] = defaultdict(list)
    order = {name: position for position, name in enumerate(variants(rows))}
    for row in rows:
        groups[int(row["round"]), str(row["variant"])].append(row)
    metrics = (*MEASURED, *_extra_metrics(rows))
    summary = []
    for (index, variant), group in sorted(groups.items(), key=lambda item: (item[0][0], order[item[0][1]])):
        line: dict[str, Any] = {"round": index, "variant": variant, "replicates": len(group)}
        line["density"] = _mean_of(group, "density")
        line["sparsity"] = 1.0 - line["density"]
        for column in ("weights_kept", "weights_total"):
            value = _mean_of(group, column)
            line[column] = int(value) if value is not None and value.is_integer() else value
        for metric in metrics:
            over = spread(row.get(metric) for row in group)
            line[f"{metric}_mean"] = over.mean if over else None
            line[f"{metric}_min"] = over.low if over else None
            line[f"{metric}_max"] = over.high if over else None
        summary.append(line)
    return summary


def summary_table(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """`summarize` for files: with `m_low` and `m_high`, the 95 % interval of each metric; None below 3 replicates."""
    rows = _checked(rows)
    table = summarize(rows)
    metrics = (*MEASURED, *_extra_metrics(rows))
    for line in table:
        group = select(rows, line["variant"], line["round"])
        for metric in metrics:
            over = band(row.get(metric) for row in group)
            line[f"{metric}_low"] = over.low if isinstance(over, Interval) else None
            line[f"{metric}_high"] = over.high if isinstance(over, Interval) else None
    return table


def render_rows(rows: Sequence[Row]) -> Table:
    """The summary as text, the same in the terminal and on the HTML page.

    Columns that no row has a value for are left out: a regression has no accuracy. Losses stand in for accuracies, and
    the user's own metrics follow. With several replicates a cell reads `mean (least-greatest)`.

    Example:
        >>> row = {"round": 0, "variant": "ticket", "density": 1.0, "weights_kept": 4, "weights_total": 4}
        >>> render_rows([row | {"val_accuracy": 0.5}]).rows
        (('0', 'ticket', '100 %', '4', '50.00 %'),)
    """
    rows = _checked(rows)
    accurate = has_values(rows, "val_accuracy") or has_values(rows, "test_accuracy")
    columns = [
        entry
        for entry in COLUMNS
        if has_values(rows, entry[0]) and not (accurate and entry[0] in ("val_loss", "test_loss"))
    ]
    for metric in _extra_metrics(rows):
        if has_values(rows, metric):
            columns.append((metric, column_words(metric, capital=True), "loss"))
    groups: dict[tuple[int, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[int(row["round"]), str(row["variant"])].append(row)
    lines = []
    for line in summarize(rows):
        group = groups[line["round"], line["variant"]]
        cells = [str(line["round"]), line["variant"].replace("_", " ")]
        cells += [f"{formats.density_percent(line['density'])} %", formats.count(line["weights_kept"])]
        cells += [formats.spread_text(_over_replicates(group, metric), kind=kind) for metric, _, kind in columns]
        lines.append(tuple(cells))
    headers = ("Round", "Variant", "Weights left", "Weights kept", *(heading for _, heading, _ in columns))
    return Table(headers=headers, rows=tuple(lines), right=tuple(heading != "Variant" for heading in headers))


def _over_replicates(rows: Iterable[Row], column: str) -> Spread | None:
    """Mean and range of `column` over `rows`."""
    return spread(row.get(column) for row in rows)


def _mean_of(rows: Iterable[Row], column: str) -> float | None:
    """Mean of `column` over `rows`; None if no row has it."""
    value = _over_replicates(rows, column)
    return value.mean if value else None


def _checked(rows: Sequence[Row]) -> Sequence[Row]:
    """The rows without trainings that only searched, if each says its round, its variant and its density."""
    for position, row in enumerate(rows):
        lacking = [column for column in ("round", "density") if number(row.get(column)) is None]
        if not row.get("variant"):
            lacking.append("variant")
        if lacking:
            raise UnfitError(
                f"A result row needs `round`, `variant` and `density`. Row {position} lacks {', '.join(lacking)}.",
                "Pass the rows as the run wrote them, or check its directory: "
                "`tf_lottery.experiment.run_verification.verify_run(...)`.",
            )
    return without_searches(rows)
