"""The study `rounds-barrier`: do the tickets of successive rounds lie in one linearly connected region?"""

from itertools import pairwise

from tf_lottery.errors import UnfitError
from tf_lottery.experiment.directory import Job
from tf_lottery.results.tables.formats import percent
from tf_lottery.studies.barrier_report import report_barriers
from tf_lottery.studies.barriers import STABLE
from tf_lottery.studies.calculations.linear_path import POINTS
from tf_lottery.studies.study_outcome import StudyOutcome
from tf_lottery.studies.study_run import StudyRun


def study(run: StudyRun, *, points: int = POINTS) -> StudyOutcome:
    """Return the barrier between the trained ticket of each round and that of the round before it.

    Measured as for instability (arXiv 1912.05671). The masks of a round are subsets of those of the round before, so
    the line leads from weights to zeros where they differ. Paul et al. (2022, arXiv 2210.03044) find it flat where
    iterative pruning succeeds.

    Args:
        run: the run to study; each of its rounds is compared with the one before it among those studied.
        points: the number of positions on a line, both ends included.

    Raises:
        UnfitError: fewer than two rounds are studied.
    """
    if len(run.rounds) < 2:
        raise UnfitError(
            f"Barriers between rounds need at least two of them. Received: {len(run.rounds)}.",
            "Name two in `rounds`, or extend the run by more `rounds`.",
        )
    outcome = report_barriers(
        run,
        [(Job(index, a), Job(index, b)) for a, b in pairwise(run.rounds) for index in run.replicates],
        points=points,
        title="Barrier to the ticket of the round before, by density",
        ends="the trained tickets of a round and of the round before",
    )
    measured = [row for row in outcome.tables["barriers"] if row["test_error_barrier"] is not None]
    separated = [str(row["round"]) for row in measured if row["test_error_barrier"] >= STABLE]
    bound = percent(STABLE, digits=0)
    if separated:
        listed = ", ".join(separated)
        sentence = f"Rounds {listed} are separated from the round before by an error barrier of at least {bound}."
        outcome.sentences.insert(0, sentence)
    elif measured:
        sentence = f"Every round is linearly connected with the one before it: no error barrier reaches {bound}."
        outcome.sentences.insert(0, sentence)
    return outcome
