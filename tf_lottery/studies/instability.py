"""The study `instability`: the barrier between two trainings of one ticket under two data orders."""

from collections.abc import Iterable

from tf_lottery.experiment.directory import Job
from tf_lottery.results.tables.formats import density_percent, percent
from tf_lottery.studies.barrier_report import report_barriers
from tf_lottery.studies.barriers import STABLE
from tf_lottery.studies.calculations.linear_path import POINTS
from tf_lottery.studies.study_outcome import Rows, StudyOutcome
from tf_lottery.studies.study_run import StudyRun

OTHER_ORDER = "other_order"


def study(run: StudyRun, *, points: int = POINTS) -> StudyOutcome:
    """Return the barrier between a ticket and itself trained under a second data order, round by round.

    Instability is the largest error on the straight line between the two trained networks minus the mean of the errors
    at its ends. Frankle et al. (2019, arXiv 1912.05671) find that tickets reach the accuracy of the dense network where
    it is near zero. Their own bound for "stable" is 2 %.

    Args:
        run: the run to study; its variant `other_order` must be trained.
        points: the number of positions on a line, both ends included.
    """
    pairs = [(Job(index, number), Job(index, number, OTHER_ORDER)) for number in run.rounds for index in run.replicates]
    outcome = report_barriers(
        run,
        pairs,
        points=points,
        title="Instability to data order, by density",
        ends="two trainings of the ticket under two data orders",
    )
    outcome.sentences[:0] = list(_stability_sentences(outcome.tables["barriers"]))
    return outcome


def _stability_sentences(summary: Rows) -> Iterable[str]:
    measured = [row for row in summary if row["test_error_barrier"] is not None]
    stable = [row for row in measured if row["test_error_barrier"] < STABLE]
    if not measured:
        yield "The run has no test accuracy, so there is no error barrier; the barriers of the loss are in the table."
    elif stable:
        sparsest = min(stable, key=lambda row: float(row["density"]))
        which = "In all rounds" if len(stable) == len(measured) else f"In {len(stable)} of {len(measured)} rounds"
        yield (
            f"{which} the error barrier on test data is below {percent(STABLE, digits=0)}, which counts as stable; the "
            f"sparsest of them keeps {density_percent(sparsest['density'])} % of the weights."
        )
    else:
        yield f"In no round is the error barrier on test data below {percent(STABLE, digits=0)}: none is stable."
