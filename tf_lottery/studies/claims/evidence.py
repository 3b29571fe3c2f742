"""`Evidence`: what a claim's runs show: rows by run, variant and round; paired differences; barriers."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import TICKET, Job
from tf_lottery.results.statistics.values import Row, number, select, spread, ticket_densities
from tf_lottery.results.tables.formats import density_percent
from tf_lottery.studies.claims.measures import Contrast, Unit
from tf_lottery.utils.text import suggestion

if TYPE_CHECKING:
    from tf_lottery.studies.study_run import StudyRun

# A run's key, a variant, and a round (an integer) or the ticket's density of one (a fraction); round 0 is dense.
Side = tuple[str, str, int | float]
# Of runs that prune by different rates, by how much (relative) the densities of a pair may differ.
EQUAL = 0.01
# How near a round's density must be to one that is asked for.
NEAR = 0.1
OTHER = "other_order"


@dataclass(frozen=True)
class ClaimRun:
    """A run as one claim sees it: the rounds, replicates and variants that it asks for, whatever else was trained.

    Attributes:
        config: what the claim asks for.
        path: the run directory.
        rows: the rows of it.
    """

    config: Config
    path: Path
    rows: tuple[Row, ...]


def visible(config: Config, rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows that a claim asks for: its verdict must not depend on what others let train."""
    return tuple(
        row
        for row in rows
        if int(row["round"]) <= config.rounds
        and int(row["replicate"]) < config.replicates
        and str(row["variant"]) in config.variants
    )


@dataclass
class Evidence:
    """The runs of a claim, and how to compare what is in them.

    Attributes:
        runs: by the claim's keys.
        quick: whether they are of the quick size.
        rows: rows that were derived (barriers), for the tables and the plot.
    """

    runs: Mapping[str, ClaimRun]
    quick: bool = True
    rows: list[dict[str, Any]] = field(default_factory=list)
    _studies: dict[str, "StudyRun"] = field(default_factory=dict, repr=False)

    def select(self, side: Side) -> list[Row]:
        """The rows of a side, one per replicate.

        Raises:
            UsageError: the claim names a run that it did not ask for.
            UnfitError: there is no such row.
        """
        key, variant, _ = side
        rows = select(self._run(key).rows, variant, self.round(side))
        if not rows:
            raise UnfitError(f"No row of {self.label(side)} in {self.runs[key].path}.", "Let the run finish.")
        return rows

    def round(self, side: Side) -> int:
        """The round of a side: as given, or the one whose ticket's density is nearest to the one given.

        Raises:
            UnfitError: none is within a tenth of it.
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
        """Mean density of the ticket of a side's round: controls without masks stand beside it, too."""
        over = spread(row.get("density") for row in self.select((side[0], TICKET, self.round(side))))
        return over.mean if over else math.nan

    def label(self, side: Side, *, run: bool = False) -> str:
        """A side in words, e.g. `ticket of 21.1 %`; `dense` for the ticket of round 0."""
        key, variant, at = side
        name = variant.replace("_", " ")
        if at == 0 and variant == TICKET:
            name = "dense"
        elif densities := ticket_densities(self._run(key).rows):
            name = f"{name} of {density_percent(densities.get(self.round(side), math.nan))} %"
        return f"{key} {name}" if run else name

    def difference(self, a: Side, b: Side, column: str = "test_accuracy") -> Contrast:
        """The mean of a - b, paired by replicate, which share initial weights and data order, also across runs.

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
        found = paired_difference((), self.select(a), self.select(b), column)
        names = (self.label(side, run=a[0] != b[0]) for side in (a, b))
        return Contrast(f"{words(column)}, {' - '.join(names)}", found, unit(column, difference=True))

    def level(self, side: Side, column: str = "test_accuracy") -> Contrast:
        """The mean of a column over replicates."""
        rows = self.select(side)
        return self.contrast(
            f"{words(column)}, {self.label(side)}",
            {int(row["replicate"]): value for row in rows if (value := number(row.get(column))) is not None},
            unit(column, difference=False),
        )

    def contrast(self, text: str, values: Mapping[int, float], unit: Unit) -> Contrast:
        """The mean of values by replicate, with its interval."""
        from tf_lottery.results.statistics.intervals import interval

        return Contrast(text, interval(values.values()), unit)

    def barriers(self, key: str, at: int | float) -> dict[int, float]:
        """The error barrier on test data between a ticket and itself under another data order, by replicate.

        The statistics of batch normalisation are taken anew at each point (Frankle et al. 2019, arXiv 1912.05671). The
        values join `rows`, as `test_error_barrier`.
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
        found = {}
        for row in self.select((key, TICKET, index)):
            replicate = int(row["replicate"])
            pair = Job(replicate, index), Job(replicate, index, OTHER)
            height = barrier(self._studies[key], *pair, points=points).height()
            if height is None:
                raise UnfitError(f"{run.path} has no test accuracy, so no error barrier.", "Give it test data.")
            found[replicate] = height
            self.rows.append(
                {
                    **{"run": key, "replicate": replicate, "round": index, "variant": TICKET},
                    **{"density": row["density"], "test_error_barrier": height},
                }
            )
        return found

    def table(self) -> list[dict[str, Any]]:
        """All rows that the claim looks at, with the key of their run, and then the derived ones."""
        rows = [{"run": key, **row} for key, run in self.runs.items() for row in run.rows]
        return [*rows, *self.rows]

    def _run(self, key: str) -> ClaimRun:
        if key not in self.runs:
            raise UsageError(f"The claim asks for no run {key!r}.", suggestion(key, self.runs))
        return self.runs[key]


def words(column: str) -> str:
    """`early_stop_step` as `early-stop step`.

    Example:
        >>> words("early_stop_step"), words("test_accuracy")
        ('early-stop step', 'test accuracy')
    """
    return column.replace("early_stop_", "early-stop ").replace("val_", "validation_").replace("_", " ")


def unit(column: str, *, difference: bool) -> Unit:
    """The unit of a column, or of a difference of its values."""
    if column.endswith("_step"):
        return "steps"
    return "points" if difference else "percent"


def _equal(a: float, b: float) -> bool:
    return abs(a - b) <= EQUAL * max(a, b)
