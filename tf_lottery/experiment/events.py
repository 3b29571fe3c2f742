"""What a caller of a run may watch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from tf_lottery.experiment.directory import Job, RunDirectory

if TYPE_CHECKING:
    from tf_lottery.experiment.job_observer import JobObserver

ProgressCallback: TypeAlias = Callable[[Job, int, int], None]
ScoresCallback: TypeAlias = Callable[[Job, Mapping[str, float]], None]
DoneCallback: TypeAlias = Callable[[Job, dict[str, Any]], None]


@dataclass
class Events:
    """What a run calls on its way.

    Attributes:
        on_start: called with the run directory, all jobs, and those that are to be done.
        on_progress: called about once a second with (job, step, last step).
        on_done: called with each committed job and its row.
        observer: watches the jobs that run in this process.
        on_scores: called as `on_progress` with (job, record of the last evaluation), if there was one; not where
            trainings go to a cluster.
    """

    on_start: Callable[[RunDirectory, list[Job], list[Job]], None] = lambda store, jobs, waiting: None
    on_progress: ProgressCallback = lambda job, step, stop: None
    on_done: DoneCallback = lambda job, row: None
    observer: "JobObserver | None" = None
    on_scores: ScoresCallback = lambda job, record: None
