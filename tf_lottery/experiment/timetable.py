"""How long an experiment takes with some workers: its plan, gone through without training. No TensorFlow."""

import heapq
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tf_lottery.experiment import plan
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job


@dataclass(frozen=True)
class Timetable:
    """How long some trainings take.

    Attributes:
        seconds: from the start to the end of the last training, with so many workers.
        longest_chain: seconds of the trainings that must follow each other: no number of workers is faster.
        chain_length: how many trainings these are.
        work: seconds of all trainings one after the other.
        workers: how many train at once.
    """

    seconds: float
    longest_chain: float
    chain_length: int
    work: float
    workers: int

    @property
    def efficiency(self) -> float:
        """Which part of their time the workers train; NaN where there is nothing to train."""
        return self.work / (self.seconds * self.workers) if self.seconds else math.nan


def timetable(
    config: Config, waiting: Iterable[Job], seconds: Callable[[Job], float], workers: int, *, start_up: float = 0.0
) -> Timetable:
    """Return how long trainings take with some workers, each of which takes the most urgent one that can start.

    Args:
        config: the experiment.
        waiting: the trainings that are not done; all others are.
        seconds: what each takes.
        workers: how many train at once.
        start_up: seconds until a worker can train.

    Example:
        >>> one_replicate = Config(rounds=2, replicates=1, variants=("ticket",))
        >>> timetable(one_replicate, plan.jobs(one_replicate), lambda job: 10.0, 8).seconds
        30.0
    """
    jobs = list(waiting)
    left = {job: set(plan.needs(config, job)).intersection(jobs) for job in jobs}
    takes = {job: seconds(job) for job in jobs}
    chains: dict[Job, tuple[float, int]] = {}
    for job in jobs:  # each after those that it needs
        before = max((chains[needed] for needed in left[job]), default=(0.0, 0))
        chains[job] = before[0] + takes[job], before[1] + 1
    dependents: dict[Job, list[Job]] = {job: [] for job in jobs}
    for job, needed in left.items():
        for one in needed:
            dependents[one].append(job)
    ready = [(plan.urgency(job), job) for job in jobs if not left[job]]
    heapq.heapify(ready)
    running: list[tuple[float, int, Job]] = []
    now, free, started = start_up if jobs else 0.0, workers, 0
    while ready or running:
        while ready and free:
            _, job = heapq.heappop(ready)
            heapq.heappush(running, (now + takes[job], started, job))
            free, started = free - 1, started + 1
        now, _, done = heapq.heappop(running)
        free += 1
        for job in dependents[done]:
            left[job].discard(done)
            if not left[job]:
                heapq.heappush(ready, (plan.urgency(job), job))
    chain, length = max(chains.values(), default=(0.0, 0))
    return Timetable(now, chain, length, sum(takes.values()), workers)
