"""Numbers out of result rows: what is missing stays missing, and replicates become a mean with its range."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tf_lottery.experiment.directory import SEARCH, TICKET

Row = Mapping[str, Any]
# How good a network is: the first of these that was recorded. Test data come before validation data, and accuracies
# before losses.
SCORES = ("test_accuracy", "val_accuracy", "test_loss", "val_loss", "train_loss")


@dataclass(frozen=True)
class Spread:
    """A metric over replicates.

    Attributes:
        mean: arithmetic mean of the values that are there.
        low: their minimum.
        high: their maximum.
        count: how many there are.
    """

    mean: float
    low: float
    high: float
    count: int


def number(value: object) -> float | None:
    """A value as a finite float, or None where there is none (None, NaN, infinite, a cell that is empty or text).

    A CSV file gives text and a JSON file gives null, so both count as what they mean.

    Example:
        >>> number("0.5"), number(float("nan")), number(None), number("")
        (0.5, None, None, None)
    """
    if value is None or isinstance(value, bool):
        return None
    try:
        result = float(value)  # type: ignore[arg-type]  # anything else than a number is the TypeError below
    except (TypeError, ValueError):
        return None
    return result if math.isfinite(result) else None


def spread(values: Iterable[object]) -> Spread | None:
    """Mean, minimum and maximum of the finite values; None if there are none.

    Example:
        >>> spread([1, 2, None])
        Spread(mean=1.5, low=1.0, high=2.0, count=2)
    """
    numbers = [value for value in map(number, values) if value is not None]
    if not numbers:
        return None
    # fsum does not depend on the order of the replicates, so neither does the report.
    return Spread(mean=math.fsum(numbers) / len(numbers), low=min(numbers), high=max(numbers), count=len(numbers))


def has_values(rows: Iterable[Row], column: str) -> bool:
    """Whether any row holds a finite number in a column.

    Args:
        rows: result rows.
        column: the column.
    """
    return any(number(row.get(column)) is not None for row in rows)


def first_recorded(rows: Sequence[Row], columns: Sequence[str]) -> str | None:
    """The first of some columns in which any row holds a number; None if there is none.

    Args:
        rows: result rows.
        columns: the columns, in the order of preference.
    """
    return next((column for column in columns if has_values(rows, column)), None)


def variants(rows: Iterable[Row]) -> list[str]:
    """The variants in the rows, the ticket first, then the controls by name; searches for masks are left out."""
    names = {str(row["variant"]) for row in rows} - {SEARCH}
    return sorted(names, key=lambda name: (name != TICKET, name))


def without_searches(rows: Iterable[Row]) -> list[Row]:
    """The rows of networks that were trained in full: shorter trainings that found masks are no results."""
    return [row for row in rows if str(row.get("variant")) != SEARCH]


def select(rows: Iterable[Row], variant: str, index: int | None = None) -> list[Row]:
    """The rows of one variant.

    Args:
        rows: result rows.
        variant: the ticket or a control.
        index: the round; by default all of them.
    """
    of_variant = [row for row in rows if str(row.get("variant")) == variant]
    return of_variant if index is None else [row for row in of_variant if number(row.get("round")) == index]


def ticket_densities(rows: Iterable[Row]) -> dict[int, float]:
    """Mean density of the ticket in each round that it has, by round."""
    groups: dict[int, list[object]] = defaultdict(list)
    for row in select(rows, TICKET):
        groups[int(row["round"])].append(row.get("density"))
    return {index: over.mean for index, group in sorted(groups.items()) if (over := spread(group)) is not None}
