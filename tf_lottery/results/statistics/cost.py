"""What a ticket cost: the training steps, and the seconds, of all the trainings that it took to find and train it."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tf_lottery.errors import UnfitError
from tf_lottery.experiment import plan
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import TICKET, Job
from tf_lottery.results.statistics.intervals import band
from tf_lottery.results.statistics.values import Row, number, select, spread

MEASURED = ("val_accuracy", "test_accuracy", "val_loss", "test_loss")


@dataclass(frozen=True)
class TicketCost:
    """The cost of the ticket of a round.

    Attributes:
        job: the training of the ticket.
        density: of the ticket, a fraction of the maskable weights.
        steps: training steps in all.
        finding: those of them that only produced its masks and its start weights.
        seconds: time of all those trainings, compilation and evaluations included; None where a row has none.
        trainings: how many trainings it took, its own among them.
        row: its result row.
    """

    job: Job
    density: float
    steps: int
    finding: int
    seconds: float | None
    trainings: int
    row: Row


def ticket_costs(config: Config, rows: Sequence[Row]) -> list[TicketCost]:
    """The steps and seconds that it took to get each ticket: its own, and those of every training its masks came from.

    Iterative pruning pays for every round before; one-shot for the dense network; pruning before training for nothing
    but the steps up to the rewind point. Masks that came from another run (`tickets_from`) were paid for there: neither
    that nor the steps before their rewind point are counted here. Nor are the gradients that some criteria look at:
    they are a few steps' worth. Seconds are those that each training took, wherever it ran; steps of the dense network
    up to a rewind point that no counted training made count as their share of the time of its training.

    Args:
        config: of the run.
        rows: its result rows, with the trainings that only searched.

    Returns:
        One entry per ticket, by replicate and round.

    Raises:
        UnfitError: a training that the masks of a ticket came from is not among the rows, or has no number of steps.
    """
    steps = {job_of_row(row): number(row.get("steps")) for row in rows}
    seconds = {job_of_row(row): number(row.get("seconds")) for row in rows}
    costs = []
    for row in sorted(select(rows, TICKET), key=lambda row: (int(row["replicate"]), int(row["round"]))):
        own = job_of_row(row)
        taken = [own, *plan.sources(config, own)]
        missing = [str(job) for job in taken if steps.get(job) is None]
        if missing:
            raise UnfitError(
                f"The cost of {own} needs the steps of every training that it came from. Missing: "
                f"{'; '.join(missing)}.",
                "Pass all rows of the run, those of variant `search` too.",
            )
        numbers = [int(value) for job in taken if (value := steps[job]) is not None]
        before = _steps_before(config, own, taken[1] if len(taken) > 1 else own, steps)
        finding = sum(numbers[1:]) + before
        density = number(row.get("density")) or 0.0
        time = _seconds(taken, before, steps, seconds)
        costs.append(TicketCost(own, density, numbers[0] + finding, finding, time, len(taken), row))
    return costs


def _seconds(
    taken: Sequence[Job], before: int, steps: Mapping[Job, float | None], seconds: Mapping[Job, float | None]
) -> float | None:
    """The time of some trainings, and of a number of steps of the dense network; None where it is not known.

    Args:
        taken: the trainings.
        before: how many steps of the dense network beside them.
        steps: of each training.
        seconds: of each training.
    """
    times = [seconds.get(job) for job in taken]
    if before:
        dense = Job(taken[0].replicate, 0)
        time, length = seconds.get(dense), steps.get(dense)
        times.append(time * before / length if time is not None and length else None)
    known = [time for time in times if time is not None]
    return sum(known) if len(known) == len(times) else None


def _steps_before(config: Config, own: Job, first: Job, steps: Mapping[Job, float | None]) -> int:
    """Steps up to the rewind point that the first training, which began at step 0, did not make anyway.

    A ticket that starts from the weights of step K, with masks that came from no training, needs K steps of the dense
    network; so does one whose search stopped before step K.
    """
    dense, mine = steps.get(Job(own.replicate, 0)), steps[own]
    if config.tickets_from or dense is None or mine is None:
        return 0
    made = 0.0 if first == own else steps[first] or 0.0
    return max(int(dense - mine - made), 0)


def mean_time(seconds: Sequence[float | None]) -> float | None:
    """The mean of times; None where one of them is not known: the others would make the mean another one.

    Args:
        seconds: one or more.
    """
    known = [time for time in seconds if time is not None]
    return math.fsum(known) / len(known) if len(known) == len(seconds) else None


def job_of_row(row: Row) -> Job:
    """The training that a row is of."""
    return Job(int(row["replicate"]), int(row["round"]), str(row["variant"]))


def cost_table(runs: Mapping[str, tuple[Config, Sequence[Row]]]) -> list[dict[str, Any]]:
    """Accuracy and density against total training steps and seconds: one line per run and round, over its replicates.

    Args:
        runs: configuration and rows of each run, by the name to show.

    Returns:
        Dictionaries with run, round, replicates, density, steps (mean), finding, trainings, seconds (mean; None where
        that of a replicate is not known) and, for each metric `m` of
        accuracies and losses, `m_mean`, `m_low`, `m_high` (interval; range with fewer than 3 replicates).

    Raises:
        UnfitError: as for `ticket_costs`.
    """
    table = []
    for name, (config, rows) in runs.items():
        groups: dict[int, list[TicketCost]] = defaultdict(list)
        for entry in ticket_costs(config, rows):
            groups[entry.job.round].append(entry)
        for index, group in sorted(groups.items()):
            line: dict[str, Any] = {"run": name, "round": index, "replicates": len(group)}
            for part in ("density", "steps", "finding", "trainings"):
                over = spread(getattr(entry, part) for entry in group)
                line[part] = over.mean if over else None
            line["seconds"] = mean_time([entry.seconds for entry in group])
            for metric in MEASURED:
                around = band(entry.row.get(metric) for entry in group)
                for end in ("mean", "low", "high"):
                    line[f"{metric}_{end}"] = getattr(around, end) if around else None
            table.append(line)
    return table
