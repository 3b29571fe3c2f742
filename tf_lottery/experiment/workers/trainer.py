"""Trains the jobs of an experiment in one process, with one engine that is compiled once for all of them."""

import functools
import logging
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_lottery.errors import NonFiniteError, UnfitError
from tf_lottery.experiment import environment
from tf_lottery.experiment.compiled_job import CompiledJob, compile_job
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import SEARCH, Job, RunDirectory
from tf_lottery.experiment.gradual_control import gradual_masks
from tf_lottery.experiment.job_observer import JobObserver, JobTraining
from tf_lottery.experiment.memory import check_room_for_states
from tf_lottery.experiment.own_functions import control_digest
from tf_lottery.experiment.problem import Problem
from tf_lottery.experiment.round_masks import mask_distance
from tf_lottery.experiment.training_and_rewind_steps import MASK_WINDOW, step_counts
from tf_lottery.experiment.workers.job_events import NO_SCORES, StepCallback
from tf_lottery.experiment.workers.result_row import result_row
from tf_lottery.experiment.workers.starting_point import StartingPoints, TrainingStart
from tf_lottery.experiment.workers.workbench import Workbench
from tf_lottery.layers import architecture, get_masks, get_weights, set_masks
from tf_lottery.pruning import masks as mask_tools
from tf_lottery.pruning.masks import Masks
from tf_lottery.training.callbacks.between_calls import zero_slots
from tf_lottery.training.loop import TrainingProgress, train
from tf_lottery.training.running_state import capture_running, restore_running
from tf_lottery.training.state import (
    apply_masks_to_state,
    capture_state,
    optimizer_variables,
    restore_state,
    was_ordered_otherwise,
)

log = logging.getLogger(__name__)
CHECKPOINT_SECONDS = 30.0
MASKS = "masks/"


class Trainer:
    """Trains the jobs of one experiment, one after the other.

    Args:
        config: the experiment.
        problem: its model, data, loss and optimizer.
        store: where jobs are committed; the caller holds its lock.
        checkpoint_every: seconds between states saved in the middle of a training.
        observer: watches the jobs.
    """

    def __init__(
        self,
        config: Config,
        problem: Problem,
        store: RunDirectory,
        *,
        checkpoint_every: float = CHECKPOINT_SECONDS,
        observer: JobObserver | None = None,
    ) -> None:
        self.config, self.problem, self.store = config, problem, store
        self.observer = observer or JobObserver()
        self.checkpoint_every = checkpoint_every if problem.replayable else math.inf
        self.bench = Workbench(config, problem, sparse=environment.sparse_setting(config, store.environment()))
        self.engine = self.bench.engine
        check_room_for_states(sum(4.0 * math.prod(variable.shape) for variable in self.engine.variables().values()))
        self.step_counts = step_counts(config, problem.steps_per_epoch(config.batch_size))
        self.starting_points = StartingPoints(config, self.bench, store)
        version = str(store.environment().get("tf-lottery", ""))
        if version.startswith("0.1.") and was_ordered_otherwise(self.bench.model):
            raise UnfitError(
                f"{store.path} was begun by version {version}, which kept the optimizer's state of attention, "
                "bidirectional or custom layers in another order: it can be read, but not continued.",
                "Start over with `fresh=True`, or continue it with version 0.1.",
            )
        made_with = environment.describe(
            config,
            xla=self.engine.xla,
            instruction_set=self.engine.instruction_set,
            fingerprint=problem.fingerprint,
            indivisible=self.bench.units.remarks,
            own_code=problem.own_code(self.bench.plain(0)),
            replicas=problem.replicas.count if problem.replicas else 1,
        )
        self.pinned = {
            "environment.json": environment.record(store, made_with),
            "model.json": store.write_pinned("model.json", architecture(self.bench.plain(0)).encode()),
        }
        if not problem.replayable:
            log.info("the training data is a stream: a training that is stopped starts again from its beginning")

    def compile(self, job: Job) -> CompiledJob:
        """Return a job with all that the configuration decides about it."""
        return compile_job(self.config, job, self.step_counts)

    def training_start(self, job: Job) -> TrainingStart:
        """Return what a job starts with. The trainings that it needs must be committed."""
        return self.starting_points.start(self.compile(job))

    def run(
        self, job: Job, on_progress: StepCallback = lambda job, step, last_step, scores=NO_SCORES: None
    ) -> dict[str, Any]:
        """Train one job and commit it. A job that was stopped in its middle resumes from its last saved state.

        Args:
            job: what to train; the trainings that it needs must be committed.
            on_progress: called about once a second with (job, step, last step, record of the last evaluation).

        Returns:
            The row of results.

        Raises:
            NonFiniteError: the loss became NaN or infinite; the message names the job.
        """
        begin, steps_before = time.perf_counter(), self.engine.timings.steps_timed
        seconds_before = dict(self.engine.timings.seconds)
        compiled = self.compile(job)
        length = self.step_counts.search if job.variant == SEARCH else self.step_counts.training
        self.engine.expect(self.config.batch_size * length)
        start = self.starting_points.start(compiled)
        progress = self._restore(compiled, start)
        seconds_of_earlier_processes = progress.seconds

        def elapsed() -> float:
            return seconds_of_earlier_processes + time.perf_counter() - begin

        density = mask_tools.density(start.ticket if compiled.prune_at else start.masks)
        training = JobTraining(job, density, start.step, progress.step, start.stop, self.engine)
        self.observer.on_job_begin(training)
        self._train(compiled, start, progress, on_progress=on_progress, elapsed=elapsed)
        masks, weights = get_masks(self.bench.model), get_weights(self.bench.model)
        seconds = {key: value - seconds_before[key] for key, value in self.engine.timings.seconds.items()}
        row = result_row(job, masks, progress, steps=progress.step - start.step)
        row["seconds"] = round(elapsed(), 3)
        if seconds["train"]:
            row["steps_per_second"] = round((self.engine.timings.steps_timed - steps_before) / seconds["train"], 1)
        metrics = {
            "row": row,
            "history": progress.history,
            "layers": {k: {"kept": int(np.count_nonzero(m)), "total": m.size} for k, m in masks.items()},
            "start_step": start.step,
            "rewind_manifest": self.starting_points.rewind_digest(compiled),
            "pinned": self.pinned,
            "seconds": seconds,
        }
        if (function := control_digest(job.variant)) is not None:
            metrics["function"] = function
        arrays = {"masks": masks, "weights": weights}
        if compiled.keeps_optimizer:
            arrays["optimizer"] = apply_masks_to_state(
                capture_state(optimizer_variables(self.engine.optimizer)), masks, self.bench.slots
            )
        if self.engine.changes:
            arrays["changes"] = self.engine.changes.sums()
        self.store.commit(job, arrays, metrics, made_from=self._made_from(compiled, progress.step))
        self.observer.on_job_end(training, row)
        return row

    def _restore(self, compiled: CompiledJob, start: TrainingStart) -> TrainingProgress:
        """Put the model and the optimizer into the state that a job starts from, or resumes from."""
        set_masks(self.bench.model, start.masks)
        self.engine.reset_metrics()
        if self.engine.changes:
            self.engine.changes.reset()
        # An early-bird search compares masks with earlier ones, which no saved state holds.
        resumable = self.problem.replayable and not compiled.stops_when_masks_converge
        inputs = functools.partial(self._inputs, compiled, start.stop)
        partial = self.store.load_partial(compiled.job, inputs) if resumable else None
        if partial:
            state = partial[0]
            if compiled.prune_at:
                set_masks(self.bench.model, {path: state.pop(MASKS + path) for path in start.masks})
            restore_running(self.engine, state)
            return TrainingProgress(**partial[1])
        restore_state(self.bench.variables(), start.state)
        return TrainingProgress(start.step)

    def _train(
        self,
        compiled: CompiledJob,
        start: TrainingStart,
        progress: TrainingProgress,
        *,
        on_progress: StepCallback,
        elapsed: Callable[[], float],
    ) -> None:
        job, converging = compiled.job, compiled.stops_when_masks_converge
        masks_converged = MasksConverged(lambda: self._present_masks(job), self.config.mask_distance)
        try:
            train(
                self.engine,
                self.bench.feed(job.replicate, order=compiled.data_order),
                self.bench.data,
                progress=progress,
                stop=start.stop,
                eval_every=self.config.eval_every,
                capture_at=compiled.capture_at,
                on_capture=functools.partial(self._save_rewind_state, job.replicate),
                on_chunk=lambda progress: on_progress(
                    job, progress.step, start.stop, progress.history[-1] if progress.history else NO_SCORES
                ),
                prune_at=compiled.prune_at,
                on_prune=lambda step: self._prune(step, start),
                observer=self.observer,
                should_stop=masks_converged if converging else None,
                checkpoint_every=math.inf if converging else self.checkpoint_every,
                checkpoint=lambda progress: self._save_partial(compiled, progress, seconds=elapsed()),
            )
        except NonFiniteError as error:
            raise NonFiniteError(f"{error.cause} ({job})", error.remedy) from error

    def _present_masks(self, job: Job) -> Masks:
        """Return the masks of the job's round by the present weights, in the middle of a dense training."""
        weights = get_weights(self.bench.model)
        try:
            return self.starting_points.score_masks(job, weights, self.bench.dense())
        finally:
            self.bench.hold(self.bench.dense(), weights)

    def _save_rewind_state(self, replicate: int) -> None:
        self.store.save_rewind_state(replicate, self.bench.capture())
        self.starting_points.forget_rewind_state(replicate)

    def _prune(self, step: int, start: TrainingStart) -> None:
        """Prune the model in the middle of a training, towards as many weights as the ticket has."""
        masks = gradual_masks(
            self.config,
            step,
            training=start.stop,
            roles=self.bench.roles,
            ticket=start.ticket,
            weights=get_weights(self.bench.model),
            masks=get_masks(self.bench.model),
            units=self.bench.units,
        )
        set_masks(self.bench.model, masks)
        zero_slots(self.bench.model, masks)

    def _save_partial(self, compiled: CompiledJob, progress: TrainingProgress, *, seconds: float) -> None:
        progress.seconds = seconds
        state = capture_running(self.engine)
        if compiled.prune_at:  # its masks are those of now, which nothing else holds
            state |= {MASKS + path: mask for path, mask in get_masks(self.bench.model).items()}
        inputs = self._inputs(compiled, progress.step)
        self.store.save_partial(compiled.job, state, progress.to_json(), made_from=inputs)

    def _made_from(self, compiled: CompiledJob, step: int) -> dict[str, str]:
        """Return the digests of the trainings, and of the rewind state, that a training has to do with until a step."""
        has_rewind_state = compiled.pins_rewind_state and step >= (compiled.capture_at or 0)
        return self.store.made_from(compiled.needs, rewind_of=compiled.job.replicate if has_rewind_state else None)

    def _inputs(self, compiled: CompiledJob, step: int) -> dict[str, str]:
        """Return digests of all that the state of a training at a step comes from, beside the configuration."""
        others = {"the data": self.problem.fingerprint, "the control": control_digest(compiled.job.variant) or ""}
        return self._made_from(compiled, step) | others


class MasksConverged:
    """Whether masks have converged: the last five differ from the present ones by less than a distance.

    Args:
        present_masks: returns the masks of now.
        distance: the fraction of kept weights that may still differ, in (0, 1).
    """

    def __init__(self, present_masks: Callable[[], Masks], distance: float) -> None:
        self.present_masks, self.distance = present_masks, distance
        self._earlier: list[Masks] = []

    def __call__(self) -> bool:
        """Take the present masks; return whether they have converged."""
        present, earlier = self.present_masks(), self._earlier
        self._earlier = [*earlier, present][-MASK_WINDOW:]
        return len(earlier) == MASK_WINDOW and all(mask_distance(present, old) < self.distance for old in earlier)
