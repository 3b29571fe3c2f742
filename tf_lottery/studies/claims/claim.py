"""`Claim`: a statement of the literature, the runs that test it, and the function that judges it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tf_lottery.errors import UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.studies.claims.measures import Finding

if TYPE_CHECKING:
    from tf_lottery.studies.claims.evidence import Evidence


@dataclass(frozen=True)
class Claim:
    """A claim that checks itself.

    Bounds, rounds and densities are fixed in `judge` before any result is seen; test data are only reported: nothing is
    ever chosen by them.

    Attributes:
        name: how it is called on the command line.
        title: what it says.
        source: the paper, and the figure or section.
        published: the published figure, in words and numbers.
        sizes: the runs that it needs, by a short key, for the quick or the full size. Claims whose configurations are
            equal share a run.
        judge: what the runs show.
        columns: what is drawn against density: columns of the results, or of the finding's own rows.
        convolutional: whether its networks are: then only the quick size is for a CPU.
    """

    name: str
    title: str
    source: str
    published: str
    sizes: Callable[[bool], dict[str, Config]]
    judge: "Callable[[Evidence], Finding]"
    columns: tuple[str, ...] = ("test_accuracy",)
    convolutional: bool = False

    def configs(self, *, quick: bool, replicates: int | None = None) -> dict[str, Config]:
        """The configurations of its runs, by key.

        Args:
            quick: the size for a CPU, or the published one.
            replicates: instead of the claim's own number.

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
