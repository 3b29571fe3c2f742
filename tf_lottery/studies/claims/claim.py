"""`Claim`: a statement of the literature, the runs that test it, and the function that judges it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tf_lottery.errors import UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.studies.claims.measures import ClaimFinding

if TYPE_CHECKING:
    from tf_lottery.studies.claims.evidence import Evidence


@dataclass(frozen=True)
class Claim:
    """A claim that checks itself.

    Bounds, rounds and densities are fixed in `judge` before any result is seen; test data are only reported: nothing is
    ever chosen by them.

    Attributes:
        name: the name on the command line.
        title: the statement, one line.
        source: the paper, and the figure or section.
        published: the published result, in words and numbers.
        sizes: returns the configurations of the runs by a short key, given whether they are of the quick size. Claims
            whose configurations are equal share a run.
        judge: returns the finding from the evidence of the runs.
        columns: the columns to plot against density: of the results, or of the finding's own rows.
        convolutional: whether its networks are convolutional; then only the quick size is for a CPU.
    """

    name: str
    title: str
    source: str
    published: str
    sizes: Callable[[bool], dict[str, Config]]
    judge: "Callable[[Evidence], ClaimFinding]"
    columns: tuple[str, ...] = ("test_accuracy",)
    convolutional: bool = False

    def configs(self, *, quick: bool, replicates: int | None = None) -> dict[str, Config]:
        """Return the configurations of the runs, by key.

        Args:
            quick: whether the runs are of the size for a CPU, instead of the published one.
            replicates: the number of replicates, instead of the claim's own.

        Raises:
            UsageError: too few replicates for an interval.
        """
        from tf_lottery.results.statistics.intervals import LEAST

        configs = self.sizes(quick)
        if replicates is not None:
            configs = {key: config.updated(replicates=replicates) for key, config in configs.items()}
        fewest = min(config.replicates for config in configs.values())
        if fewest < LEAST:
            raise UsageError(
                f"The claim {self.name!r} is judged by intervals, which need at least {LEAST} replicates. Received: "
                f"{fewest}.",
                f"Pass `replicates={LEAST}` or more.",
            )
        return configs
