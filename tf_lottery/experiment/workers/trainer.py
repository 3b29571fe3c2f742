"""Runs the jobs of an experiment in one process: one engine, compiled once, for all rounds, variants and replicates."""

import functools
import logging
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_lottery.errors import NonFiniteError
from tf_lottery.experiment import environment, plan
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.controls import CONTROLS
from tf_lottery.experiment.directory import SEARCH, Job, RunDirectory
from tf_lottery.experiment.job_observer import JobObserver, JobTraining
from tf_lottery.experiment.problem import Problem
from tf_lottery.experiment.workers.starting_point import Beginnings, keeps_optimizer
from tf_lottery.experiment.workers.workbench import Workbench
from tf_lottery.layers import architecture, get_weights, set_masks
from tf_lottery.pruning import masks as mask_tools
from tf_lottery.pruning.masks import Masks
from tf_lottery.training import state as rewinding
from tf_lottery.training.loop import Progress, train

log = logging.getLogger(__name__)
CHECKPOINT_SECONDS = 30.0
Report = Callable[[Job, int, int], None]


class Trainer:
    """One experiment's jobs, in this process.

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
        self.bench = Workbench(config, problem)
        self.engine = self.bench.engine
        self.beginnings = Beginnings(config, self.bench, store)
        self.pinned = {
            "environment.json": environment.record(
                store,
                config,
                xla=self.engine.xla,
                fingerprint=problem.fingerprint,
                indivisible=self.bench.units.remarks,
            ),
            "model.json": store.write_pinned("model.json", architecture(self.bench.plain(0)).encode()),
        }
        if not problem.replayable:
            log.info("the training data is a stream: a training that is stopped starts again from its beginning")

    def run(self, job: Job, report: Report = lambda job, step, stop: None) -> dict[str, Any]:
        """Train one job and commit it. A job that was stopped in its middle goes on from its last saved state.

        Args:
            job: what to train; what it needs must be committed.
            report: called about once a second with (job, step, last step).

        Returns:
            The row of results.

        Raises:
            NonFiniteError: the loss became NaN or infinite; the message names the job.
        """
        begin, steps_before = time.perf_counter(), self.engine.steps_timed
        before = dict(self.engine.seconds)
        start = self.beginnings.start(job)
        set_masks(self.bench.model, start.masks)
        self.engine.reset_metrics()
        self.engine.reset_changes()
        progress = Progress(start.step)
        # A search compares masks on its way, which no saved state holds.
        searches = job.variant == SEARCH and self.config.pruning == "early_bird"
        partial = self.store.load_partial(job) if self.problem.replayable and not searches else None
        if partial:
            rewinding.restore(self.engine.variables(), partial[0])
            progress = Progress(**partial[1])
        else:
            rewinding.restore(self.bench.variables(), start.state)
        spent = progress.seconds
        control = CONTROLS.get(job.variant)
        captures = job == Job(job.replicate, 0)
        kept, total = mask_tools.kept(start.masks), mask_tools.total(start.masks)
        training = JobTraining(job, kept / total, start.step, progress.step, start.stop, self.engine)
        self.observer.on_job_begin(training)
        try:
            train(
                self.engine,
                self.bench.feed(job.replicate, order="other order" if control and control.own_data_order else "order"),
                self.bench.data,
                progress=progress,
                stop=start.stop,
                eval_every=self.config.eval_every,
                capture_at=self.beginnings.rewind_step if captures else None,
                on_capture=functools.partial(self._save_rewind, job.replicate),
                on_chunk=lambda progress: report(job, progress.step, start.stop),
                observer=self.observer,
                found=Settled(functools.partial(self._masks_now, job), self.config.mask_distance) if searches else None,
                checkpoint_every=math.inf if searches else self.checkpoint_every,
                checkpoint=functools.partial(self._save_partial, job, begin=begin, spent=spent),
            )
        except NonFiniteError as error:
            raise NonFiniteError(f"{error.cause} ({job})", error.remedy) from error
        weights = get_weights(self.bench.model)
        seconds = {key: value - before[key] for key, value in self.engine.seconds.items()}
        row = self._row(job, start.masks, progress, steps=progress.step - start.step)
        row["seconds"] = round(spent + time.perf_counter() - begin, 3)
        if seconds["train"]:
            row["steps_per_second"] = round((self.engine.steps_timed - steps_before) / seconds["train"], 1)
        metrics = {
            "row": row,
            "history": progress.history,
            "layers": {k: {"kept": int(np.count_nonzero(m)), "total": m.size} for k, m in start.masks.items()},
            "start_step": start.step,
            "rewind_manifest": self.beginnings.pin(job),
            "pinned": self.pinned,
            "seconds": seconds,
        }
        arrays = {"masks": start.masks, "weights": weights}
        if keeps_optimizer(self.config, job):
            arrays["optimizer"] = rewinding.masked(
                rewinding.capture(rewinding.optimizer_variables(self.engine.optimizer)), start.masks, self.bench.slots
            )
        if changes := self.engine.changes():
            arrays["changes"] = changes
        self.store.commit(job, arrays, metrics)
        self.observer.on_job_end(training, row)
        return row

    def _masks_now(self, job: Job) -> Masks:
        """The masks of the job's round by the weights as they are, in the middle of a dense training."""
        weights = get_weights(self.bench.model)
        try:
            return self.beginnings.drawn(job, weights, self.bench.dense())
        finally:
            self.bench.hold(self.bench.dense(), weights)

    def _save_rewind(self, replicate: int) -> None:
        self.store.save_rewind_state(replicate, self.bench.capture())
        self.beginnings.forget_rewind(replicate)

    def _save_partial(self, job: Job, progress: Progress, *, begin: float, spent: float) -> None:
        progress.seconds = spent + time.perf_counter() - begin
        self.store.save_partial(job, rewinding.capture(self.engine.variables()), progress.to_json())

    def _row(self, job: Job, masks: Masks, progress: Progress, *, steps: int) -> dict[str, Any]:
        last = progress.history[-1]
        kept, total = mask_tools.kept(masks), mask_tools.total(masks)
        row = {
            "replicate": job.replicate,
            "round": job.round,
            "variant": job.variant,
            "density": kept / total,
            "sparsity": 1 - kept / total,
            "weights_kept": kept,
            "weights_total": total,
            "steps": steps,
            "train_loss": last["train_loss"],
            "val_loss": last["val_loss"],
            "val_accuracy": accuracy(last, "val_"),
            "test_loss": progress.test.get("loss"),
            "test_accuracy": accuracy(progress.test),
            "early_stop_step": progress.best_step,
            "early_stop_val_loss": progress.best_loss,
            "early_stop_test_accuracy": accuracy(progress.best_test),
            "seconds": None,
            "steps_per_second": None,
        }
        others = {key: value for key, value in last.items() if key.startswith("val_")}
        others |= {f"test_{name}": value for name, value in progress.test.items()}
        return row | {key: value for key, value in others.items() if key not in row}


def accuracy(results: dict[str, Any], prefix: str = "") -> float | None:
    """The accuracy among some results: the metric of that name, or the first whose name ends in it."""
    names = [name for name in results if name.startswith(prefix) and name.endswith("accuracy")]
    exact = f"{prefix}accuracy"
    return results[exact if exact in names else names[0]] if names else None


class Settled:
    """Whether masks have settled: the last five differ from the newest by less than a distance.

    Args:
        masks: gives the masks of now.
        distance: the fraction of kept weights that may still differ.
    """

    def __init__(self, masks: Callable[[], Masks], distance: float) -> None:
        self.masks, self.distance = masks, distance
        self._window: list[Masks] = []

    def __call__(self) -> bool:
        now = self.masks()
        before = self._window
        self._window = [*before, now][-plan.WINDOW :]
        return len(before) == plan.WINDOW and all(plan.mask_distance(now, old) < self.distance for old in before)
