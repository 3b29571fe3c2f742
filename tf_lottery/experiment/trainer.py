"""Runs the jobs of an experiment in one process: one engine, compiled once, for all rounds, variants and replicates."""

import functools
import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_lottery import masks as mask_tools
from tf_lottery import rewinding
from tf_lottery.errors import DamagedError, NonFiniteError, UnfitError
from tf_lottery.experiment import environment, plan
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.problem import Problem, replicate_seed
from tf_lottery.experiment.rewind_files import load_rewind, save_rewind
from tf_lottery.layers import (
    architecture,
    discover,
    get_masks,
    get_weights,
    named_variables,
    set_masks,
    set_weights,
    wrap,
)
from tf_lottery.masks import Masks
from tf_lottery.rewinding import MODEL, State
from tf_lottery.store import TICKET, Job, RunDirectory
from tf_lottery.training.engine import with_loss_scale
from tf_lottery.training.loop import MemoryFeed, Progress, StreamFeed, splits, train
from tf_lottery.training.order import Order

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
    """

    def __init__(
        self, config: Config, problem: Problem, store: RunDirectory, *, checkpoint_every: float = CHECKPOINT_SECONDS
    ) -> None:
        self.config, self.problem, self.store = config, problem, store
        self.checkpoint_every = checkpoint_every if problem.replayable else float("inf")
        steps_per_epoch = problem.steps_per_epoch(config.batch_size)
        self.steps = plan.training_steps(config, steps_per_epoch)
        self.rewind_step = plan.rewind_step(config, steps_per_epoch)
        # A control is drawn from the plain model of its replicate, round after round.
        self._make_model = functools.lru_cache(maxsize=2)(problem.make_model)
        plain = self._make_model(0)
        self.model = wrap(plain, include=problem.include, exclude=problem.exclude)
        self.roles = discover(plain, include=problem.include, exclude=problem.exclude).roles
        for path, variable in named_variables(self.model).items():
            if variable.dtype == "bfloat16":
                raise UnfitError(
                    f"Weights of {path!r} are stored as bfloat16, which no `.npz` file holds.",
                    "Use the dtype policy mixed_bfloat16: it computes in bfloat16 and keeps float32 weights.",
                )
        plan.check_reachable(config, {key: mask.size for key, mask in get_masks(self.model).items()})
        self.data = splits(problem.train, problem.validation, problem.test)
        self.engine = problem.engine(self.model, xla=config.xla)
        self.engine.prepare(self.data.example())
        self.slots = rewinding.slots_of(self.engine.optimizer, self.model)
        self.fresh = {key: value for key, value in self._capture().items() if key.startswith(rewinding.OPTIMIZER)}
        self._copies_weights = self._optimizer_copies_weights()
        self._rewind_states: dict[int, tuple[State, str]] = {}
        self.pinned = {
            "environment.json": environment.record(store, config, xla=self.engine.xla, fingerprint=problem.fingerprint),
            "model.json": store.pin("model.json", architecture(plain).encode()),
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
        masks = self.masks(job)
        start, state = self.start(job, masks)
        set_masks(self.model, masks)
        self.engine.reset_metrics()
        progress = Progress(start)
        partial = self.store.load_partial(job) if self.problem.replayable else None
        if partial:
            rewinding.restore(self.engine.variables(), partial[0])
            progress = Progress(**partial[1])
        else:
            rewinding.restore(self._state_variables(), state)
        spent = progress.seconds
        try:
            train(
                self.engine,
                self._feed(job.replicate),
                self.data,
                progress=progress,
                stop=self.steps,
                eval_every=self.config.eval_every,
                capture_at=self.rewind_step if job.round == 0 else None,
                on_capture=functools.partial(self._save_rewind, job.replicate),
                on_chunk=lambda progress: report(job, progress.step, self.steps),
                checkpoint_every=self.checkpoint_every,
                checkpoint=functools.partial(self._save_partial, job, begin=begin, spent=spent),
            )
        except NonFiniteError as error:
            raise NonFiniteError(f"{error.cause} ({job})", error.remedy) from error
        weights = get_weights(self.model)
        seconds = {key: value - before[key] for key, value in self.engine.seconds.items()}
        row = self._row(job, masks, progress, steps=self.steps - start)
        row["seconds"] = round(spent + time.perf_counter() - begin, 3)
        if seconds["train"]:
            row["steps_per_second"] = round((self.engine.steps_timed - steps_before) / seconds["train"], 1)
        metrics = {
            "row": row,
            "history": progress.history,
            "layers": {k: {"kept": int(np.count_nonzero(m)), "total": m.size} for k, m in masks.items()},
            "start_step": start,
            "rewind_manifest": self._rewind(job.replicate)[1],
            "pinned": self.pinned,
            "seconds": seconds,
        }
        self.store.commit(job, {"masks": masks, "weights": weights}, metrics)
        return row

    def masks(self, job: Job) -> Masks:
        """The masks of a job: ones in round 0, then pruned from the ticket of the round before, also for a control."""
        before = plan.needs(job)
        if before is None:
            return {key: np.ones_like(mask) for key, mask in get_masks(self.model).items()}
        return plan.next_masks(
            self.config,
            round_number=job.round,
            replicate=job.replicate,
            roles=self.roles,
            weights=self.store.weights(before),
            masks=self.store.masks(before),
        )

    def start(self, job: Job, masks: Masks) -> tuple[int, State]:
        """The step that a job starts at, and its state there: rewind state, or fresh weights, times masks."""
        if job.variant != TICKET:
            seed = replicate_seed(self.config, job.replicate, "reinitialised weights", job.round)
            # From a plain model: what is kept as it is (frozen layers) must not bear the masks of the job before.
            weights = rewinding.fresh_weights(self._make_model(job.replicate), seed=seed)
            step, state = 0, self._with_fresh_optimizer(weights, masks)
        elif job.round == 0:
            step, state = 0, self._with_fresh_optimizer(self._initial_weights(job.replicate), masks)
        else:
            step, state = self.rewind_step, self._pinned_rewind(job)
        return step, rewinding.masked(state, masks, self.slots)

    def _initial_weights(self, replicate: int) -> State:
        model = self._make_model(replicate)
        mask_tools.check_keys(
            named_variables(model), named_variables(self.model), what=f"model of replicate {replicate}"
        )
        return get_weights(model)

    def _with_fresh_optimizer(self, weights: State, masks: Masks) -> State:
        """The state at step 0: `weights` by path, and an optimizer that has not trained."""
        state = {MODEL + path: value for path, value in weights.items()}
        if not self._copies_weights:
            return {**state, **self.fresh}
        set_masks(self.model, masks)
        set_weights(self.model, weights)
        optimizer = with_loss_scale(self.problem.make_optimizer(), self.model)
        optimizer.build(self.model.trainable_variables)
        return {**state, **rewinding.capture(rewinding.optimizer_variables(optimizer))}

    def _optimizer_copies_weights(self) -> bool:
        """Whether the optimizer starts from the weights, as schedule-free ones do, and not from constants."""
        weights = get_weights(self.model)
        pairs = ((self.fresh[slot], weights[path]) for slot, path in self.slots.items())
        return any(np.any(slot) and np.array_equal(slot, weight) for slot, weight in pairs)

    def _state_variables(self) -> dict[str, Any]:
        return {key: value for key, value in self.engine.variables().items() if not key.startswith("metrics/")}

    def _capture(self) -> State:
        return rewinding.capture(self._state_variables())

    def _feed(self, replicate: int) -> MemoryFeed | StreamFeed:
        augment_seed = replicate_seed(self.config, replicate, "augmentation")
        if not self.problem.replayable:
            return StreamFeed(self.data.train, augment_seed=augment_seed)
        order = Order(self.data.train.size, self.config.batch_size, replicate_seed(self.config, replicate, "order"))
        return MemoryFeed(self.data.train, order, augment_seed=augment_seed)

    def _save_rewind(self, replicate: int) -> None:
        save_rewind(self.store, replicate, self._capture())
        self._rewind_states.pop(replicate, None)

    def _pinned_rewind(self, job: Job) -> State:
        """The rewind state, if it is the one that round 0 of the replicate wrote."""
        state, digest = self._rewind(job.replicate)
        if self.store.metrics(Job(job.replicate, 0)).get("rewind_manifest") != digest:
            raise DamagedError(
                f"{self.store.rewind(job.replicate)} is not the rewind state that round 0 wrote.",
                "Restore it from a copy, or start over with --fresh.",
            )
        return state

    def _rewind(self, replicate: int) -> tuple[State, str]:
        if replicate not in self._rewind_states:
            self._rewind_states[replicate] = load_rewind(self.store, replicate)
        return self._rewind_states[replicate]

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
