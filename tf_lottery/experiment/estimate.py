"""What an experiment will take, before it is started: trainings, weights, disk, and time from a few real steps."""

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tf_lottery.experiment import plan, weights_per_round
from tf_lottery.experiment.compiled_job import span
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import SEARCH, TICKET, Job
from tf_lottery.experiment.problem import Problem
from tf_lottery.experiment.timetable import timetable
from tf_lottery.experiment.training_and_rewind_steps import StepCounts, step_counts
from tf_lottery.experiment.workers import executor
from tf_lottery.experiment.workers.starting_point import HELD_REPLICATES
from tf_lottery.experiment.workers.workbench import Workbench
from tf_lottery.layers import discover, get_weights, named_variables
from tf_lottery.training.batches import Batch, map_tensors
from tf_lottery.training.engine import CHUNK_CAPACITY, EVALUATION_BATCH, Engine
from tf_lottery.training.state import apply_masks_to_state
from tf_lottery.utils.files import dump_arrays
from tf_lottery.utils.machine import ProcessMemory, process_memory

MEASURED_SECONDS = 1.0
METRICS_BYTES = 4000


@dataclass(frozen=True)
class Estimate:
    """What an experiment will take.

    Attributes:
        jobs: trainings that are still to be done.
        jobs_total: trainings of the whole experiment.
        processes: how many run side by side.
        steps: steps of a full training.
        training_steps: steps of all trainings that are still to be done.
        rewind_step: where rounds rewind to.
        weights_kept: weights kept in rounds 0, 1, 2, ...
        parameters: all trainable numbers of the model, biases included.
        skipped: layers with weights that are not pruned.
        indivisible: what is not pruned in the units that were asked for, and why, by weight path.
        disk_bytes: of what is still to be written.
        memory_bytes: the peak of the memory of all processes together, what they share counted once; None where the
            system does not say.
        seconds_per_step: measured.
        seconds_per_evaluation: measured.
        seconds: for everything that is still to be done.
        chain_length: how many of these trainings must follow each other.
        chain_seconds: what those take: no number of processes is faster.
        xla: whether the steps are compiled by XLA.
    """

    jobs: int
    jobs_total: int
    processes: int
    steps: int
    training_steps: int
    rewind_step: int
    weights_kept: tuple[int, ...]
    parameters: int
    skipped: tuple[str, ...]
    indivisible: dict[str, str]
    disk_bytes: int
    memory_bytes: int | None
    seconds_per_step: float
    seconds_per_evaluation: float
    seconds: float
    chain_length: int
    chain_seconds: float
    xla: bool

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return asdict(self)


def estimate(
    config: Config, problem: Problem, *, done: Collection[Job] = (), parent: ProcessMemory | None = None
) -> Estimate:
    """Measure a few real steps and an evaluation, and estimate what the experiment will take. Writes nothing.

    Args:
        config: the experiment.
        problem: its model and data.
        done: trainings that are committed already.
        parent: the memory of the process that starts the others, where there are several.

    Raises:
        LotteryError: whatever would stop the experiment at its start.
    """
    begin = time.perf_counter()
    steps = step_counts(config, problem.steps_per_epoch(config.batch_size))
    bench = Workbench(config, problem)
    plain, engine, masks = bench.plain(0), bench.engine, bench.dense()
    shapes = {path: mask.shape for path, mask in masks.items()}
    jobs = plan.jobs(config)
    waiting = [job for job in jobs if job not in done]
    processes = executor.workers(config, len(waiting)) if waiting else 0
    step_seconds, evaluation_seconds = _measure(bench, chains=math.ceil(config.replicates / max(1, processes)))
    overhead = time.perf_counter() - begin - MEASURED_SECONDS
    trained = {job: _trained_steps(config, job, steps) for job in waiting}
    evaluations = {job: count // config.eval_every + 1 for job, count in trained.items()}
    takes = {job: trained[job] * step_seconds + evaluations[job] * evaluation_seconds for job in waiting}
    planned = timetable(config, waiting, takes.__getitem__, max(1, processes), start_up=max(0.0, overhead))
    return Estimate(
        jobs=len(waiting),
        jobs_total=len(jobs),
        processes=processes,
        steps=steps.training,
        training_steps=sum(trained.values()),
        rewind_step=steps.rewind,
        weights_kept=tuple(weights_per_round.kept_per_round(config, bench.roles, shapes, bench.units)),
        parameters=sum(int(np.prod(weight.shape)) for weight in plain.trainable_variables),
        skipped=tuple(discover(plain, include=problem.include, exclude=problem.exclude).skipped),
        indivisible=bench.units.remarks,
        disk_bytes=_disk(engine, bench.model, shapes, config, list(evaluations.values())),
        memory_bytes=_memory(process_memory(), parent, processes),
        seconds_per_step=step_seconds,
        seconds_per_evaluation=evaluation_seconds,
        seconds=round(planned.seconds, 1),
        chain_length=planned.chain_length,
        chain_seconds=round(planned.longest_chain, 1),
        xla=engine.xla,
    )


def _trained_steps(config: Config, job: Job, steps: StepCounts) -> int:
    """How many steps a training has; controls may start at step 0 where the ticket starts at the rewind step."""
    first, last = span(config, job, steps)
    return last - (first if job.variant in (TICKET, SEARCH) else min(first, last - steps.training))


def _measure(bench: Workbench, *, chains: int) -> tuple[float, float]:
    """Seconds of a step and of the evaluations of one mark on the grid, compilation left out.

    On the way it holds what a training holds, so that the peak of memory is that of one, too.

    Args:
        bench: the model and its engine.
        chains: how many replicates one process trains.
    """
    engine, data, feed = bench.engine, bench.data, bench.feed(0)
    rewind_states = [bench.capture() for _ in range(min(chains, HELD_REPLICATES))]
    start = apply_masks_to_state(rewind_states[0], bench.dense(), bench.slots)
    step, count, measured = 0, 2, 0.0
    feed.advance(engine, 0, count)  # compiles
    while measured < MEASURED_SECONDS / 4 and count < CHUNK_CAPACITY:
        step, count = step + count, min(CHUNK_CAPACITY, count * 4)
        begin = time.perf_counter()
        feed.advance(engine, step, step + count)
        measured = time.perf_counter() - begin
    engine.evaluate(data.validation)  # compiles
    begin = time.perf_counter()
    engine.evaluate(data.validation)
    evaluation = time.perf_counter() - begin
    if isinstance(data.test, Batch):  # compiled for itself, and perhaps in larger pieces
        engine.evaluate(map_tensors(lambda tensor: tensor[:EVALUATION_BATCH], data.test))
    dump_arrays(get_weights(bench.model))
    del rewind_states, start
    return measured / count, evaluation


def _memory(here: ProcessMemory | None, parent: ProcessMemory | None, processes: int) -> int | None:
    """The peak of all processes together, from that of this one, which did what each of them does."""
    if here is None:
        return None
    starting = parent.private if parent and processes > 1 else 0
    return round(starting + max(1, processes) * here.private + here.shared)


def _disk(
    engine: Engine, model: Any, shapes: dict[str, tuple[int, ...]], config: Config, evaluations: Sequence[int]
) -> int:
    variables = sum(math.prod(v.shape) * np.dtype(v.dtype).itemsize for v in named_variables(model).values())
    state = sum(math.prod(v.shape) * 4 for v in engine.variables().values())
    masks = sum(math.prod(shape) for shape in shapes.values()) // 8
    of_trainings = len(evaluations) * (variables + masks + METRICS_BYTES) + 300 * sum(evaluations)
    return int(of_trainings + config.replicates * state)
