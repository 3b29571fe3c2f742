"""`Evidence`: the results of a claim's runs: rows by run, variant and round; paired differences; error barriers."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import TICKET, Job
from tf_lottery.results.statistics.values import Row, number, select, spread, ticket_densities
from tf_lottery.results.tables.formats import density_percent
from tf_lottery.studies.claims.measures import IntervalEstimate, Unit
from tf_lottery.utils.text import suggestion

if TYPE_CHECKING:
    from tf_lottery.studies.study_run import StudyRun

# One side of a comparison: the key of a run, a variant, and a round (an integer) or the density of its ticket (a
# fraction); round 0 is dense.
Side: TypeAlias = tuple[str, str, int | float]
# Densities of two runs that prune by different rates count as equal up to this relative difference.
EQUAL = 0.01
# A round has a density if its own differs by at most this, relatively.
NEAR = 0.1
OTHER_ORDER = "other_order"


@dataclass(frozen=True)
class ClaimRun:
    """The part of a run that one claim asks for: its rounds, replicates and variants, whatever else was trained.

    Attributes:
        config: the configuration that the claim asks for.
        path: the run directory.
        rows: its result rows, from `requested_rows`.
    """

    config: Config
    path: Path
    rows: tuple[Row, ...]


def requested_rows(config: Config, rows: Iterable[Row]) -> tuple[Row, ...]:
    """Return the rows that a claim asks for: its verdict must not depend on trainings for other claims.

    Args:
        config: the configuration that the claim asks for.
        rows: all result rows of the run.
    """
    return tuple(
        row
        for row in rows
        if int(row["round"]) <= config.rounds
        and int(row["replicate"]) < config.replicates
        and str(row["variant"]) in config.variants
    )


@dataclass
class Evidence:
    """The runs of a claim, with means and differences of their results.

    Attributes:
        runs: the runs, by the claim's keys.
        quick: whether the runs are of the quick size.
        rows: derived rows (error barriers), for the tables and the plot.
    """

    runs: Mapping[str, ClaimRun]
    quick: bool = True
    rows: list[dict[str, Any]] = field(default_factory=list)
    _studies: dict[str, "StudyRun"] = field(default_factory=dict, repr=False)

    def select(self, side: Side) -> list[Row]:
        """Return the rows of a side, one per replicate.

        Raises:
            UsageError: the claim has no run of this key.
            UnfitError: the run has no such row.
        """
        key, variant, _ = side
        rows = select(self._run(key).rows, variant, self.round(side))
        if not rows:
            raise UnfitError(f"No row of {self.label(side)} in {self.runs[key].path}.", "Let the run finish.")
        return rows

    def round(self, side: Side) -> int:
        """Return the round of a side; of a density, the round whose ticket's density is nearest.

        Raises:
            UnfitError: no density is within a tenth of it.
        """
        key, _, at = side
        if isinstance(at, int):
            return at
        densities = ticket_densities(self._run(key).rows)
        nearest = min(densities, key=lambda index: abs(math.log(densities[index] / at)), default=0)
        if not densities or abs(densities[nearest] / at - 1) > NEAR:
            raise UnfitError(f"No round of {self.runs[key].path} has a density near {at}.", "Let the run finish.")
        return nearest

    def density(self, side: Side) -> float:
        """Return the mean density of the ticket of a side's round; controls without masks count as of this density."""
        over = spread(row.get("density") for row in self.select((side[0], TICKET, self.round(side))))
        return over.mean if over else math.nan

    def label(self, side: Side, *, run: bool = False) -> str:
        """Return a side in words, e.g. `ticket of 21.1 %`; `dense` for the ticket of round 0.

        Args:
            side: the side.
            run: whether the words begin with the key of its run.
        """
        key, variant, at = side
        name = variant.replace("_", " ")
        if at == 0 and variant == TICKET:
            name = "dense"
        elif densities := ticket_densities(self._run(key).rows):
            name = f"{name} of {density_percent(densities.get(self.round(side), math.nan))} %"
        return f"{key} {name}" if run else name

    def difference(self, a: Side, b: Side, column: str = "test_accuracy") -> IntervalEstimate:
        """Return the mean of a - b, paired by replicate; replicates share initial weights and data order across runs.

        Args:
            a: the first side.
            b: the side to subtract.
            column: the column of the results.

        Raises:
            UnfitError: the tickets of the two rounds have different densities, which is no fair comparison.
            UsageError: fewer than 3 pairs.
        """
        from tf_lottery.results.statistics.intervals import paired_difference

        densities = self.density(a), self.density(b)
        same_place = a[0] != b[0] or a[2] == b[2]
        if same_place and min(self.round(a), self.round(b)) > 0 and not _equal(*densities):
            raise UnfitError(
                f"Only networks of one density are compared. {self.label(a)} has {densities[0]:.4f}, {self.label(b)} "
                f"{densities[1]:.4f}.",
                "Ask for rounds that fit each other.",
            )
        interval = paired_difference((), self.select(a), self.select(b), column)
        names = (self.label(side, run=a[0] != b[0]) for side in (a, b))
        text = f"{column_label(column)}, {' - '.join(names)}"
        return IntervalEstimate(text, interval, column_unit(column, difference=True))

    def mean(self, side: Side, column: str = "test_accuracy") -> IntervalEstimate:
        """Return the mean of a column over replicates.

        Args:
            side: the side.
            column: the column of the results.
        """
        rows = self.select(side)
        return self.estimate(
            f"{column_label(column)}, {self.label(side)}",
            {int(row["replicate"]): value for row in rows if (value := number(row.get(column))) is not None},
            column_unit(column, difference=False),
        )

    def estimate(self, text: str, values: Mapping[int, float], unit: Unit) -> IntervalEstimate:
        """Return the mean of values over replicates, with its interval.

        Args:
            text: what the values are, in words.
            values: the values by replicate.
            unit: their unit.
        """
        from tf_lottery.results.statistics.intervals import interval

        return IntervalEstimate(text, interval(values.values()), unit)

    def error_barriers(self, key: str, at: int | float) -> dict[int, float]:
        """Return the error barrier on test data between a ticket and itself under another data order, by replicate.

        Batch-norm statistics are estimated at each point (Frankle et al. 2019, arXiv 1912.05671). The values are added
        to `rows`, as `test_error_barrier`.

        Args:
            key: the key of the run.
            at: a round, or the density of its ticket.
        """
        from tf_lottery.studies.barriers import barrier

        run, index = self._run(key), self.round((key, TICKET, at))
        points, examples = (11, 1000) if self.quick else (30, 5000)
        if key not in self._studies:
            from tf_lottery.studies.study_run import StudyRun

            replicates = range(run.config.replicates)
            self._studies[key] = StudyRun(
                run.path, rounds=[0, index], replicates=replicates, examples=examples, data_dir=run.config.data_dir
            )
        heights = {}
        for row in self.select((key, TICKET, index)):
            replicate = int(row["replicate"])
            pair = Job(replicate, index), Job(replicate, index, OTHER_ORDER)
            height = barrier(self._studies[key], *pair, points=points).height()
            if height is None:
                raise UnfitError(f"{run.path} has no test accuracy, so no error barrier.", "Give it test data.")
            heights[replicate] = height
            self.rows.append(
                {
                    **{"run": key, "replicate": replicate, "round": index, "variant": TICKET},
                    **{"density": row["density"], "test_error_barrier": height},
                }
            )
        return heights

    def table(self) -> list[dict[str, Any]]:
        """Return all rows that the claim asks for, with the key of their run, and then the derived ones."""
        rows = [{"run": key, **row} for key, run in self.runs.items() for row in run.rows]
        return [*rows, *self.rows]

    def _run(self, key: str) -> ClaimRun:
        if key not in self.runs:
            raise UsageError(f"The claim asks for no run {key!r}.", suggestion(key, self.runs))
        return self.runs[key]


def column_label(column: str) -> str:
    """Return the name of a column in words.

    Example:
        >>> column_label("early_stop_step"), column_label("test_accuracy")
        ('early-stop step', 'test accuracy')
    """
    return column.replace("early_stop_", "early-stop ").replace("val_", "validation_").replace("_", " ")


def column_unit(column: str, *, difference: bool) -> Unit:
    """Return the unit of a column.

    Args:
        column: the column of the results.
        difference: whether the unit is that of a difference of two values.
    """
    if column.endswith("_step"):
        return "steps"
    return "points" if difference else "percent"


def _equal(a: float, b: float) -> bool:
    return abs(a - b) <= EQUAL * max(a, b)
