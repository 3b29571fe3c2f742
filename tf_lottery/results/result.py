"""The result of an experiment: its rows, and the tickets in its run directory."""

import shutil
import weakref
from os import PathLike
from pathlib import Path
from typing import Any

from tf_lottery.errors import UsageError
from tf_lottery.experiment import plan
from tf_lottery.experiment.directory import Job, RunReader
from tf_lottery.pruning import masks as mask_tools
from tf_lottery.results.statistics.selection import select_round
from tf_lottery.results.ticket import Ticket


class Result:
    """What an experiment found.

    Args:
        run_dir: its run directory.
        temporary: whether to remove the directory when this result goes.

    Attributes:
        rows: one dict per training, with the columns of `results.csv`.
        run_dir: where everything is.
    """

    def __init__(self, run_dir: str | PathLike[str], *, temporary: bool = False) -> None:
        self._store = RunReader(run_dir)
        if temporary:
            weakref.finalize(self, shutil.rmtree, run_dir, ignore_errors=True)
        self.run_dir = Path(run_dir)
        self.rows: list[dict[str, Any]] = self._store.rows()

    def __repr__(self) -> str:
        return f"<Result of {len(self.rows)} trainings in {self.run_dir}>"

    def best(self, max_drop: float = 0.0) -> Ticket:
        """The sparsest ticket whose round's mean validation accuracy is within `max_drop` of the dense round's.

        Of the round's replicates it is the one of the best validation accuracy (or least validation loss). Test data
        takes no part in the choice.

        Args:
            max_drop: a fraction: 0.005 allows half a point of accuracy.
        """
        number = select_round(self.rows, max_drop=max_drop)
        rows = [row for row in self.rows if row["round"] == number and row["variant"] == "ticket"]
        accuracies = [row["val_accuracy"] for row in rows]
        if None in accuracies:
            row = min(rows, key=lambda row: row["val_loss"])
        else:
            row = max(rows, key=lambda row: row["val_accuracy"])
        return self.ticket(number, replicate=row["replicate"])

    def ticket(self, number: int, *, replicate: int = 0) -> Ticket:
        """The ticket of a round: its masks, the weights that it started from times them, and what it trained to.

        Where the learning rate alone was rewound, or nothing, it started from trained weights.

        Raises:
            UsageError: that round of that replicate is not there.
            DamagedError: a file of it is altered.
        """
        job = Job(replicate, number)
        if not self._store.is_complete(job):
            there = sorted({(row["replicate"], row["round"]) for row in self.rows if row["variant"] == "ticket"})
            rounds = [r for index, r in there if index == replicate]
            raise UsageError(
                f"{self.run_dir} has no round {number} of replicate {replicate}.",
                f"Its rounds: {', '.join(map(str, rounds)) or 'none'}; "
                f"its replicates: {', '.join(map(str, sorted({index for index, _ in there}))) or 'none'}.",
            )
        from tf_lottery.training.state import is_random_state

        masks, metrics = self._store.masks(job), self._store.metrics(job)
        weights = self._store.rewind_weights(replicate)
        if source := plan.weights_source(self._store.config(), job):
            weights |= {path: w for path, w in self._store.weights(source).items() if not is_random_state(path)}
        recipe = {
            "config": self._store.document(),
            "round": number,
            "replicate": replicate,
            "rewind_step": metrics["start_step"],
            "row": metrics["row"],
            "environment": self._store.environment(),
            "architecture": self._store.architecture(),
        }
        return Ticket(masks, mask_tools.apply(weights, masks), self._store.weights(job), recipe)


def open_run(run_dir: str | PathLike[str]) -> Result:
    """The result of a run directory, finished or not.

    Raises:
        UsageError: it is not a run directory.
    """
    RunReader(run_dir).document()
    return Result(run_dir)
