"""The progress of a run: a line per finished training; on a terminal also bars with live scores and the time left."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.events import Events
from tf_lottery.experiment.run_progress import Speed, TrainingCount
from tf_lottery.results.tables.formats import loss, percent, row_words
from tf_lottery.utils.text import duration

from .output import console_for, remark


@contextlib.contextmanager
def show_progress(*, quiet: bool) -> Iterator[Events]:
    """Show the progress of a run by the events that it is given: bars on a terminal, lines elsewhere."""
    if quiet:
        yield Events()
    elif sys.stderr.isatty() and not console_for(sys.stderr).is_dumb_terminal:
        with _bars() as events:
            yield events
    else:
        yield _lines()


def _lines() -> Events:
    trainings, remaining = TrainingCount(), Speed()

    def on_start(store: RunDirectory, jobs: list[Job], waiting: list[Job]) -> None:
        trainings.start(len(jobs), len(waiting))
        remark(start_line(store, jobs, waiting))

    def on_progress(job: Job, step: int, stop: int) -> None:
        trainings.advance(job, step, stop)
        remaining.seconds_left(trainings.done, trainings.total)

    def on_done(job: Job, row: dict[str, Any]) -> None:
        trainings.finish(job)
        left = remaining.seconds_left(trainings.done, trainings.total)
        ending = f", {duration(left)} left" if left and trainings.finished < trainings.total else ""
        remark(f"{trainings.finished}/{trainings.total} {job}: {row_words(row)}{ending}")

    return Events(on_start, on_progress, on_done)


def start_line(store: RunDirectory, jobs: list[Job], waiting: list[Job]) -> str:
    """Return the first line: where a run is written, how many trainings it has, and how many are done.

    Args:
        store: the run directory.
        jobs: all trainings.
        waiting: those that are not done.
    """
    done = f", {len(jobs) - len(waiting)} of them done already" if len(waiting) < len(jobs) else ""
    return f"{store.path}: {len(jobs)} trainings{done}"


def score_words(record: Mapping[str, float]) -> list[str]:
    """Return the last loss and validation accuracy of a training, as far as it has them, in words.

    Args:
        record: an evaluation of the training.

    Example:
        >>> score_words({"step": 50, "train_loss": 0.12345, "val_loss": 0.2, "val_accuracy": 0.951})
        ['loss 0.1234', 'validation accuracy 95.1 %']
    """
    words = [f"loss {loss(record['train_loss'])}"] if "train_loss" in record else []
    if "val_accuracy" in record:
        return [*words, f"validation accuracy {percent(record['val_accuracy'])}"]
    return [*words, f"validation loss {loss(record['val_loss'])}"] if "val_loss" in record else words


@contextlib.contextmanager
def _bars() -> Iterator[Events]:
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    trainings, remaining = TrainingCount(), Speed()
    # The bar gives way to the texts: of these nothing is cut off at 80 columns.
    columns = (
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=10),
        TextColumn("{task.fields[count]}", table_column=Column(no_wrap=False)),
    )
    progress = Progress(*columns, console=console_for(sys.stderr), transient=True, refresh_per_second=4)
    texts: dict[Job, list[str]] = {}
    speeds: dict[Job, Speed] = {}
    overall = progress.add_task("starting", total=1, count="")
    tasks: dict[Job, Any] = {}

    def refresh() -> None:
        left = remaining.seconds_left(trainings.done, trainings.total)
        count = f"{trainings.finished}/{trainings.total}" + (f", {duration(left)} left" if left is not None else "")
        progress.update(overall, description="trainings", total=trainings.total, completed=trainings.done, count=count)

    def on_start(store: RunDirectory, jobs: list[Job], waiting: list[Job]) -> None:
        trainings.start(len(jobs), len(waiting))
        remark(start_line(store, jobs, waiting))
        progress.update(
            overall,
            total=len(jobs),
            completed=trainings.done,
            count=f"{trainings.finished}/{trainings.total}" + (", loading TensorFlow" if waiting else ""),
        )

    def on_progress(job: Job, step: int, stop: int) -> None:
        if job not in tasks:
            tasks[job] = progress.add_task(str(job), total=stop, count="")
            speeds[job] = Speed()
        speed = speeds[job].per_second(step)
        parts = [f"step {step:,}/{stop:,}", *([f"{speed:,.0f} steps/s"] if speed else []), *texts.get(job, [])]
        progress.update(tasks[job], completed=step, count=", ".join(parts))
        trainings.advance(job, step, stop)
        refresh()

    def on_done(job: Job, row: dict[str, Any]) -> None:
        if job in tasks:
            progress.remove_task(tasks.pop(job))
        trainings.finish(job)
        remark(f"{trainings.finished}/{trainings.total} {job}: {row_words(row)}")
        refresh()

    def on_scores(job: Job, record: Mapping[str, float]) -> None:
        texts[job] = score_words(record)

    with progress:
        yield Events(on_start, on_progress, on_done, on_scores=on_scores)
