"""`Result`: the outcome of an experiment: its rows, its verdict, and the tickets in its run directory."""

import shutil
import weakref
from collections.abc import Sequence
from html import escape
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_lottery.errors import LotteryError, UsageError
from tf_lottery.experiment import plan
from tf_lottery.experiment.directory import TICKET, Job, RunReader
from tf_lottery.pruning import masks as mask_tools
from tf_lottery.results.report.verdict import verdict
from tf_lottery.results.statistics.selection import DEFAULT_MAX_DROP, select_ticket
from tf_lottery.results.tables.formats import plural
from tf_lottery.results.tables.summary import render_rows
from tf_lottery.results.ticket import Ticket
from tf_lottery.utils import html
from tf_lottery.utils.optional import require

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure


class Result:
    """The outcome of an experiment.

    Args:
        run_dir: its run directory.
        temporary: whether to remove the directory when nothing refers to this result any more.

    Attributes:
        rows: one dictionary per training, with the columns of `results.csv`.
        run_dir: the run directory, which holds masks, weights and learning curves.

    Raises:
        DamagedError: a file of metrics is damaged.
    """

    def __init__(self, run_dir: str | PathLike[str], *, temporary: bool = False) -> None:
        self._run = RunReader(run_dir)
        if temporary:
            weakref.finalize(self, shutil.rmtree, run_dir, ignore_errors=True)
        self.run_dir = Path(run_dir)
        self.rows: list[dict[str, Any]] = self._run.rows()

    def __repr__(self) -> str:
        return f"<Result of {self._size()} in {self.run_dir}>"

    def _repr_html_(self) -> str:
        """Return the rows, averaged over replicates, and the verdict, as a notebook shows them."""
        table = render_rows(self.rows)
        try:
            text = self.verdict
        except LotteryError as error:
            text = error.cause
        caption = f"{self._size()} in {self.run_dir}"
        return f"<div>{html.table(table.headers, table.rows, caption=caption)}<p>{escape(text)}</p></div>"

    def _size(self) -> str:
        """Return how much was trained, in words."""
        rounds = max((row["round"] for row in self.rows), default=0)
        replicates = len({row["replicate"] for row in self.rows})
        trainings = plural(len(self.rows), "training")
        return f"{trainings}, {plural(rounds, 'round')} of pruning, {plural(replicates, 'replicate')}"

    @property
    def verdict(self) -> str:
        """The outcome in plain sentences: the sparsest good ticket, its accuracy, and the control beside it.

        Raises:
            UnfitError: there is no dense round, or it has neither validation accuracy nor validation loss.
        """
        return verdict(self.rows, rewind=self._run.config().rewind)

    def best(self, max_drop: float = DEFAULT_MAX_DROP) -> Ticket:
        """Return the sparsest ticket whose round's mean validation accuracy is within `max_drop` of the dense round's.

        Of the round's replicates it is the one of the best validation accuracy (or least validation loss). Test data
        take no part in the choice.

        Args:
            max_drop: the validation accuracy that may be lost, a fraction: 0.005 allows half a point.

        Raises:
            UsageError: `max_drop` is negative or not finite.
            UnfitError: there is no dense round, or it has neither validation accuracy nor validation loss.
            DamagedError: a file of the ticket is altered.
        """
        job = select_ticket(self.rows, max_drop=max_drop)
        return self.ticket(job.round, job.replicate)

    def ticket(self, round: int, replicate: int = 0) -> Ticket:
        """Return the ticket of a round: its masks, the weights that it started from times them, and its trained ones.

        Where the learning rate alone was rewound, or nothing, it started from trained weights.

        Args:
            round: the round, 0 for the dense network.
            replicate: the replicate.

        Raises:
            UsageError: that round of that replicate is not there.
            DamagedError: a file of it is altered.
        """
        job = Job(replicate, round)
        if not self._run.is_complete(job):
            raise self._missing(job)
        masks, metrics = self._run.masks(job), self._run.metrics(job)
        recipe = {
            "config": self._run.document(),
            "round": round,
            "replicate": replicate,
            "rewind_step": metrics["start_step"],
            "row": metrics["row"],
            "environment": self._run.environment(),
            "architecture": self._run.architecture(),
        }
        return Ticket(masks, mask_tools.apply(self._start_weights(job), masks), self._run.weights(job), recipe)

    def _missing(self, job: Job) -> UsageError:
        tickets = {(row["replicate"], row["round"]) for row in self.rows if row["variant"] == TICKET}
        rounds = [number for replicate, number in tickets if replicate == job.replicate]
        return UsageError(
            f"{self.run_dir} has no round {job.round} of replicate {job.replicate}.",
            f"Its rounds: {_listed(rounds)}; its replicates: {_listed([replicate for replicate, _ in tickets])}.",
        )

    def _start_weights(self, job: Job) -> dict[str, Any]:
        """Every variable that the ticket of a round started from, by path, not masked."""
        from tf_lottery.training.state import is_random_state

        weights = self._run.rewind_weights(job.replicate)
        if source := plan.weights_source(self._run.config(), job):
            # Random states belong to the steps that are trained again, not to the weights.
            weights |= {path: w for path, w in self._run.weights(source).items() if not is_random_state(path)}
        return weights

    def to_dataframe(self) -> "pandas.DataFrame":
        """Return the rows as a pandas DataFrame, one row per training.

        Raises:
            UsageError: pandas is not installed.
        """
        frame: pandas.DataFrame = require("pandas", "Data frames").DataFrame(self.rows)
        return frame

    def plot(self) -> "Figure":
        """Return a matplotlib figure: accuracy at the end of training against density, a line per variant.

        Raises:
            UsageError: matplotlib is not installed.
        """
        from tf_lottery.results.figures.run_figures import final_score

        return final_score(self.rows)

    def report(self, path: str | PathLike[str] | None = None, *, max_drop: float = DEFAULT_MAX_DROP) -> Path:
        """Write the report: a self-contained HTML page, its figures (PNG, SVG) and its tables (CSV, Parquet).

        Args:
            path: the folder to write to; `report/` in the run directory by default.
            max_drop: the validation accuracy that the ticket of the verdict may lose, a fraction.

        Returns:
            The path of the page.

        Raises:
            UsageError: matplotlib, Jinja2 or PyArrow is not installed, or `max_drop` is negative or not finite.
            UnfitError: there is no dense round, or it has neither validation accuracy nor validation loss.
            ResourceError: the folder can't be written.
        """
        from tf_lottery.results.report.run_report import write_run_report

        folder = self.run_dir / "report" if path is None else Path(path)
        return write_run_report(self._run, folder, max_drop=max_drop)["report.html"]


def open_run(run_dir: str | PathLike[str]) -> Result:
    """Return the result of a run directory, finished or not.

    Raises:
        UsageError: it is not a run directory.
        DamagedError: its configuration or a file of metrics is damaged.
    """
    RunReader(run_dir).document()
    return Result(run_dir)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(set(numbers)))) or "none"
