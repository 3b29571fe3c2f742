"""Instability: two trainings of one ticket under two data orders, and the barrier between what they come to."""

from collections.abc import Iterable
from typing import Any

from tf_lottery.experiment.directory import Job
from tf_lottery.results.tables.formats import density_percent, percent
from tf_lottery.studies import line
from tf_lottery.studies import study_figures as figures
from tf_lottery.studies.barriers import MEASURES, STABLE, Barrier, barrier
from tf_lottery.studies.study_outcome import Outcome, Rows, mean, over_replicates
from tf_lottery.studies.study_run import StudyRun

OTHER = "other_order"


def study(run: StudyRun, *, points: int = line.POINTS) -> Outcome:
    """The barrier between a ticket and itself trained under a second data order, round by round.

    Instability is the largest error on the straight line between the two trained networks minus the mean of the errors
    at its ends. Frankle et al. (2019, arXiv 1912.05671) find that tickets reach the accuracy of the dense network where
    it is near zero. Their own bound for "stable" is 2 %.

    Args:
        run: the run; its variant `other_order` must be trained.
        points: positions on the line, both ends included.
    """
    pairs = ((Job(index, number), Job(index, number, OTHER)) for number in run.rounds for index in run.replicates)
    outcome = report(
        run,
        (barrier(run, *pair, points=points) for pair in pairs),
        title="Instability to data order, by density",
        what="two trainings of the ticket under two data orders",
    )
    summary = outcome.tables["barriers"]
    outcome.sentences[:0] = list(_verdict(summary))
    return outcome


def _verdict(summary: Rows) -> Iterable[str]:
    measured = [row for row in summary if row["test_error_barrier"] is not None]
    stable = [row for row in measured if row["test_error_barrier"] < STABLE]
    if not measured:
        yield "The run has no test accuracy, so there is no error barrier; the barriers of the loss are in the table."
    elif stable:
        last = min(stable, key=lambda row: row["density"])
        which = "In all rounds" if len(stable) == len(measured) else f"In {len(stable)} of {len(measured)} rounds"
        yield (
            f"{which} the error barrier on test data is below {percent(STABLE, digits=0)}, which counts as stable; the "
            f"sparsest of them keeps {density_percent(last['density'])} % of the weights."
        )
    else:
        yield f"In no round is the error barrier on test data below {percent(STABLE, digits=0)}: none is stable."


def report(run: StudyRun, barriers: Iterable[Barrier], *, title: str, what: str) -> Outcome:
    """Tables and figures of barriers; a pair stands under the round and density of its second training."""
    heights: Rows = []
    path: Rows = []
    densities = {number: run.density(number) for number in run.rounds}
    for found in barriers:
        job = found.second
        about: dict[str, Any] = {"replicate": job.replicate, "round": job.round, "density": densities[job.round]}
        ends = {
            f"{measure}_{end}": values[at]
            for measure, values in found.path.items()
            for end, at in (("first", 0), ("second", -1))
        }
        heights.append({**about, **{f"{m}_barrier": found.height(m) for m in MEASURES}, **ends})
        for position, fraction in enumerate(found.fractions):
            values = {measure: values[position] for measure, values in found.path.items()}
            path.append({**about, "fraction": fraction, **values})
    summary = over_replicates(heights, by=("round", "density"), of=[f"{measure}_barrier" for measure in MEASURES])
    worst = max((row["test_error_barrier"] or 0.0 for row in summary), default=0.0)
    train = run.evaluator.parts["train"].size
    return Outcome(
        tables={"barriers": summary, "barriers_by_replicate": heights, "path": path},
        figures={
            "barrier": figures.by_density(
                {
                    f"{part} data": figures.gather(heights, x="density", y=f"{part}_error_barrier")
                    for part in ("test", "train")
                },
                title=title,
                ylabel="Error barrier",
                percent=True,
                level=("stable: below 2 %", STABLE) if worst > STABLE / 4 else None,
            ),
            "path": _paths(path),
        },
        sentences=[
            f"The line joins {what}, at {len({row['fraction'] for row in path})} points. Errors are of all test "
            f"examples and of {train:,} training examples, always the same ones"
            + (", from which batch-norm statistics are taken anew." if run.evaluator.normalised else "."),
        ],
    )


def _paths(path: Rows) -> Any:
    """A panel per part of the data, a line per round."""
    rounds = figures.few(sorted({row["round"] for row in path}))
    chosen = {
        f"{part.capitalize()} data": {
            f"round {number} ({density_percent(mean(path, 'density', round=number) or 0.0)} %)": figures.gather(
                [row for row in path if row["round"] == number], x="fraction", y=f"{part}_error"
            )
            for number in rounds
        }
        for part in ("test", "train")
    }
    return figures.panels(chosen, xlabel="Position on the line", ylabel="Error", percent=True)
