"""How a run shows that it goes on: bars and the time left on a terminal, otherwise a line per finished training."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.run import Events

from .output import console_for, remark


class Clock:
    """The time left, from the steps that were done since the first report; starting up and compiling do not count."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._first: tuple[float, float] | None = None

    def left(self, done: float, total: float) -> float | None:
        """Seconds left, or None where nothing was measured yet.

        Args:
            done: trainings done, with fractions of those that are running.
            total: trainings to do.
        """
        if self._first is None:
            self._first = (self._now(), done)
        begin, before = self._first
        passed, progress = self._now() - begin, done - before
        return passed * (total - done) / progress if progress > 0 else None


class Tally:
    """How many trainings are done, with the fractions of those that are running."""

    def __init__(self) -> None:
        self.total = self.finished = 0
        self.running: dict[Job, float] = {}

    def start(self, total: int, waiting: int) -> None:
        self.total, self.finished = total, total - waiting

    def advance(self, job: Job, step: int, stop: int) -> None:
        self.running[job] = step / stop if stop else 0.0

    def finish(self, job: Job) -> None:
        self.running.pop(job, None)
        self.finished += 1

    @property
    def done(self) -> float:
        return self.finished + sum(self.running.values())


@contextlib.contextmanager
def shown(*, quiet: bool) -> Iterator[Events]:
    """What to call as a run goes: bars on a terminal, lines elsewhere, nothing with `quiet`."""
    if quiet:
        yield Events()
    elif sys.stderr.isatty() and not console_for(sys.stderr).is_dumb_terminal:
        with _bars() as events:
            yield events
    else:
        yield _lines()


def _lines() -> Events:
    tally, clock = Tally(), Clock()

    def on_start(store: RunDirectory, jobs: list[Job], waiting: list[Job]) -> None:
        tally.start(len(jobs), len(waiting))
        done = f", {len(jobs) - len(waiting)} of them done already" if len(waiting) < len(jobs) else ""
        remark(f"{store.path}: {len(jobs)} trainings{done}")

    def on_progress(job: Job, step: int, stop: int) -> None:
        tally.advance(job, step, stop)
        clock.left(tally.done, tally.total)

    def on_done(job: Job, row: dict[str, Any]) -> None:
        tally.finish(job)
        left = clock.left(tally.done, tally.total)
        ending = f", {duration(left)} left" if left and tally.finished < tally.total else ""
        remark(f"{tally.finished}/{tally.total} {job}: {describe_row(row)}{ending}")

    return Events(on_start, on_progress, on_done)


@contextlib.contextmanager
def _bars() -> Iterator[Events]:
    from rich.progress import BarColumn, Progress, TextColumn

    tally, clock = Tally(), Clock()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"))
    progress = Progress(*columns, console=console_for(sys.stderr), transient=True, refresh_per_second=4)
    overall = progress.add_task("starting", total=1, count="")
    tasks: dict[Job, Any] = {}

    def refresh() -> None:
        left = clock.left(tally.done, tally.total)
        count = f"{tally.finished}/{tally.total}" + (f", {duration(left)} left" if left is not None else "")
        progress.update(overall, description="trainings", total=tally.total, completed=tally.done, count=count)

    def on_start(store: RunDirectory, jobs: list[Job], waiting: list[Job]) -> None:
        tally.start(len(jobs), len(waiting))
        progress.update(
            overall, total=len(jobs), completed=tally.done, count=f"{tally.finished}/{tally.total}, loading TensorFlow"
        )

    def on_progress(job: Job, step: int, stop: int) -> None:
        if job not in tasks:
            tasks[job] = progress.add_task(str(job), total=stop, count="")
        progress.update(tasks[job], completed=step, count=f"step {step:,}/{stop:,}")
        tally.advance(job, step, stop)
        refresh()

    def on_done(job: Job, row: dict[str, Any]) -> None:
        if job in tasks:
            progress.remove_task(tasks.pop(job))
        tally.finish(job)
        refresh()

    with progress:
        yield Events(on_start, on_progress, on_done)


def describe_row(row: dict[str, Any]) -> str:
    """A finished training in a few words."""
    from tf_lottery.results.tables import formats

    parts = [f"{formats.density_percent(row['density'])} % of the weights"]
    for column, noun in (("val_accuracy", "validation accuracy"), ("test_accuracy", "test accuracy")):
        if row.get(column) is not None:
            parts.append(f"{noun} {formats.percent(row[column])}")
    if row.get("val_accuracy") is None:
        parts.append(f"validation loss {formats.loss(row.get('val_loss'))}")
    return ", ".join([*parts, duration(row["seconds"])])


def duration(seconds: float) -> str:
    """A time in words.

    Example:
        >>> duration(4.2), duration(95), duration(8000), duration(200000)
        ('4.2 s', '1 min 35 s', '2 h 13 min', '2 d 7 h')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, below, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // below} {small}"
    return f"{whole} s"
