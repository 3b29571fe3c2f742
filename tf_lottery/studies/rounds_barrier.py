"""The barrier between the tickets of successive rounds: do they lie in one linearly connected region?"""

from itertools import pairwise

from tf_lottery.errors import UnfitError
from tf_lottery.experiment.directory import Job
from tf_lottery.results.tables.formats import percent
from tf_lottery.studies import line
from tf_lottery.studies.barriers import STABLE, barrier
from tf_lottery.studies.instability import report
from tf_lottery.studies.study_outcome import Outcome
from tf_lottery.studies.study_run import StudyRun


def study(run: StudyRun, *, points: int = line.POINTS) -> Outcome:
    """The barrier between the trained ticket of each round and that of the round before it.

    Measured as for instability (arXiv 1912.05671). The masks of a round are subsets of those of the round before, so
    the line leads from weights to zeros where they differ. Paul et al. (2022, arXiv 2210.03044) find it flat where
    iterative pruning succeeds.

    Args:
        run: the run; of the rounds studied, each is compared with the one before it among them.
        points: positions on the line, both ends included.

    Raises:
        UnfitError: fewer than two rounds.
    """
    if len(run.rounds) < 2:
        raise UnfitError(
            f"Barriers between rounds need at least two of them. Received: {len(run.rounds)}.",
            "Name two in `rounds`, or extend the run by more `rounds`.",
        )
    pairs = ((Job(index, a), Job(index, b)) for a, b in pairwise(run.rounds) for index in run.replicates)
    outcome = report(
        run,
        (barrier(run, *pair, points=points) for pair in pairs),
        title="Barrier to the ticket of the round before, by density",
        what="the trained tickets of a round and of the round before",
    )
    rows = outcome.tables["barriers"]
    measured = [row for row in rows if row["test_error_barrier"] is not None]
    if measured:
        crossed = [row["round"] for row in measured if row["test_error_barrier"] >= STABLE]
        outcome.sentences.insert(
            0,
            f"Every round is linearly connected with the one before it: no error barrier reaches "
            f"{percent(STABLE, digits=0)}."
            if not crossed
            else f"Rounds {', '.join(map(str, crossed))} are separated from the round before by an error barrier of at "
            f"least {percent(STABLE, digits=0)}.",
        )
    return outcome
