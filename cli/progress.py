"""The progress of a run: bars and the remaining time on a terminal, otherwise a line per finished training."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.events import Events
from tf_lottery.experiment.run_progress import RemainingTime, TrainingCount
from tf_lottery.results.tables.formats import row_words
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
    trainings, remaining = TrainingCount(), RemainingTime()

    def on_start(store: RunDirectory, jobs: list[Job], waiting: list[Job]) -> None:
        trainings.start(len(jobs), len(waiting))
        done = f", {len(jobs) - len(waiting)} of them done already" if len(waiting) < len(jobs) else ""
        remark(f"{store.path}: {len(jobs)} trainings{done}")

    def on_progress(job: Job, step: int, stop: int) -> None:
        trainings.advance(job, step, stop)
        remaining.estimate(trainings.done, trainings.total)

    def on_done(job: Job, row: dict[str, Any]) -> None:
        trainings.finish(job)
        left = remaining.estimate(trainings.done, trainings.total)
        ending = f", {duration(left)} left" if left and trainings.finished < trainings.total else ""
        remark(f"{trainings.finished}/{trainings.total} {job}: {row_words(row)}{ending}")

    return Events(on_start, on_progress, on_done)


@contextlib.contextmanager
def _bars() -> Iterator[Events]:
    from rich.progress import BarColumn, Progress, TextColumn

    trainings, remaining = TrainingCount(), RemainingTime()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"))
    progress = Progress(*columns, console=console_for(sys.stderr), transient=True, refresh_per_second=4)
    overall = progress.add_task("starting", total=1, count="")
    tasks: dict[Job, Any] = {}

    def refresh() -> None:
        left = remaining.estimate(trainings.done, trainings.total)
        count = f"{trainings.finished}/{trainings.total}" + (f", {duration(left)} left" if left is not None else "")
        progress.update(overall, description="trainings", total=trainings.total, completed=trainings.done, count=count)

    def on_start(store: RunDirectory, jobs: list[Job], waiting: list[Job]) -> None:
        trainings.start(len(jobs), len(waiting))
        progress.update(
            overall,
            total=len(jobs),
            completed=trainings.done,
            count=f"{trainings.finished}/{trainings.total}, loading TensorFlow",
        )

    def on_progress(job: Job, step: int, stop: int) -> None:
        if job not in tasks:
            tasks[job] = progress.add_task(str(job), total=stop, count="")
        progress.update(tasks[job], completed=step, count=f"step {step:,}/{stop:,}")
        trainings.advance(job, step, stop)
        refresh()

    def on_done(job: Job, row: dict[str, Any]) -> None:
        if job in tasks:
            progress.remove_task(tasks.pop(job))
        trainings.finish(job)
        refresh()

    with progress:
        yield Events(on_start, on_progress, on_done)
