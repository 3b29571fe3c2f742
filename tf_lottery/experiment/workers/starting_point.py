"""Where a training starts: its masks, and the state of model and optimizer at its first step."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_lottery.errors import UnfitError
from tf_lottery.experiment.compiled_job import CompiledJob, MaskOrigin, StateOrigin
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.controls import TicketStart, start_control
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.narrowing import narrow
from tf_lottery.experiment.problem import replicate_seed
from tf_lottery.experiment.round_masks import next_masks
from tf_lottery.experiment.transferred_tickets import TicketSource
from tf_lottery.experiment.workers.workbench import Workbench
from tf_lottery.pruning.masks import Masks
from tf_lottery.training.gradients import gradients, hessian_gradients, path_function
from tf_lottery.training.reinitialize import fresh_weights
from tf_lottery.training.state import MODEL, State, apply_masks_to_state, is_random_state, model_variables

HELD_REPLICATES = 2
"""Of how many replicates a process keeps the rewind state in memory."""


@dataclass(frozen=True)
class TrainingStart:
    """What a training starts with.

    Attributes:
        masks: its masks, by weight path.
        state: model and optimizer at the first step, exactly 0.0 where pruned.
        step: its first step, counted from the start of a full training.
        stop: the step to stop at.
        ticket: the masks of the ticket of its round; its own, unless it is a control.
    """

    masks: Masks
    state: State
    step: int
    stop: int
    ticket: Masks


class StartingPoints:
    """Makes what each training of an experiment starts with, from what is committed.

    Args:
        config: the experiment.
        bench: its model and engine.
        store: where the trainings before are committed.
    """

    def __init__(self, config: Config, bench: Workbench, store: RunDirectory) -> None:
        self.config, self.bench, self.store = config, bench, store
        self._source = TicketSource(config, bench.dense()) if config.tickets_from else None
        self._rewind_states: dict[int, tuple[State, str]] = {}  # the last one used comes last

    def start(self, compiled: CompiledJob) -> TrainingStart:
        """Return what a training starts with. The trainings that it needs must be committed."""
        ticket_masks = self._ticket_masks(compiled)
        state = self._state(compiled, ticket_masks)
        if compiled.control is None:
            return self._masked(ticket_masks, state, compiled.start, compiled.stop, ticket=ticket_masks)
        ticket_start = self._ticket_start(compiled.job, ticket_masks, state)
        control_start = start_control(compiled.job.variant, compiled.control, ticket_start)
        masks, weights = control_start.masks, control_start.weights
        if weights is None:
            return self._masked(masks, state, compiled.start, compiled.stop, ticket=ticket_masks)
        if control_start.from_step_zero:
            state = self.bench.at_step_0(dict(weights), masks)
            return self._masked(masks, state, 0, compiled.full_training, ticket=ticket_masks)
        state = {**state, **{MODEL + path: value for path, value in weights.items()}}
        return self._masked(masks, state, compiled.start, compiled.stop, ticket=ticket_masks)

    def _masked(self, masks: Masks, state: State, step: int, stop: int, *, ticket: Masks) -> TrainingStart:
        return TrainingStart(masks, apply_masks_to_state(state, masks, self.bench.slots), step, stop, ticket)

    def _ticket_masks(self, compiled: CompiledJob) -> Masks:
        """Return the masks of a search or of the ticket; those of a control's ticket too."""
        job, source = compiled.job, compiled.masks_from
        if compiled.mask_origin == MaskOrigin.DENSE:
            return self.bench.dense()
        if self._source:
            return self._source.masks(job)
        if source is None:
            return self.score_masks(job, self._rewind_weights(job.replicate), self.bench.dense())
        weights, masks = self.store.weights(source), self.store.masks(source)
        return self.score_masks(job, weights, masks, changes=lambda: self.store.changes(source))

    def score_masks(
        self,
        job: Job,
        weights: State,
        masks: Masks,
        *,
        changes: Callable[[], Mapping[str, np.ndarray]] = dict,
    ) -> Masks:
        """Return the masks of a job's round, by the scores of weights.

        Args:
            job: a training of that round.
            weights: the value of every variable of the model, by path.
            masks: the masks that these weights were trained with, by path.
            changes: returns how far each maskable weight went in that training, summed over its steps, by path.
        """
        replicate = job.replicate

        def of_examples(function: Callable[..., Any], masks: Masks) -> Any:
            x, y, weight = self.bench.scoring_examples(replicate)
            model, batch = self.bench.hold(masks, weights), self.config.batch_size
            return function(model, x, y, loss=self.bench.problem.loss, batch=batch, sample_weight=weight)

        @functools.cache
        def flow() -> Callable[[Masks], Any]:
            return path_function(self.bench.hold(self.bench.dense(), weights))

        return next_masks(
            self.config,
            round_number=job.round,
            replicate=replicate,
            roles=self.bench.roles,
            weights=weights,
            masks=masks,
            units=self.bench.units,
            material={
                "initial": lambda masks: {path: self._rewind_weights(replicate)[path] for path in masks},
                "changes": lambda masks: changes(),
                "gradients": lambda masks: of_examples(gradients, masks),
                "hessian_gradients": lambda masks: of_examples(hessian_gradients, masks),
                "path_gradients": lambda masks: flow()(masks),
            },
        )

    def rewind_state(self, replicate: int) -> tuple[State, str]:
        """Return the rewind state of a replicate, and the SHA-256 that its trainings pin."""
        held = self._rewind_states.pop(replicate, None)
        if held is None:
            while len(self._rewind_states) >= HELD_REPLICATES:
                self._rewind_states.pop(next(iter(self._rewind_states)))
            held = self.store.rewind_state(replicate), self.store.rewind_digest(replicate)
        self._rewind_states[replicate] = held
        return held

    def rewind_digest(self, compiled: CompiledJob) -> str | None:
        """Return the SHA-256 of the rewind state that a training pins; None if it does not start from it."""
        return self.rewind_state(compiled.job.replicate)[1] if compiled.pins_rewind_state else None

    def forget_rewind_state(self, replicate: int) -> None:
        """Drop the rewind state in memory, because another one was saved."""
        self._rewind_states.pop(replicate, None)

    def _ticket_start(self, job: Job, masks: Masks, state: State) -> TicketStart:
        """Return what a control of the job's replicate and round is made from."""
        seed = replicate_seed(self.config, job.replicate, job.variant, job.round)
        weight_seed = replicate_seed(self.config, job.replicate, "reinitialised weights", job.round)
        # From a plain model: frozen layers keep their weights, which must not be masked by the job before.
        plain = self.bench.plain(job.replicate)
        return TicketStart(
            masks=masks,
            start=model_variables(state),
            initial=self._initial_weights(job.replicate),
            draw=lambda: fresh_weights(plain, seed=weight_seed),
            narrow=lambda kept: narrow(plain, self.bench.dense(), kept=kept, seed=seed),
            seed=seed,
            units=self.bench.units,
        )

    def _state(self, compiled: CompiledJob, masks: Masks) -> State:
        """Return the state that a search or a ticket starts with, not masked; that of a control's ticket too."""
        job, source = compiled.job, compiled.state_from
        if compiled.state_origin == StateOrigin.INITIAL:
            return self.bench.at_step_0(self._initial_weights(job.replicate), masks)
        if source is None:
            return self.rewind_state(job.replicate)[0]
        if compiled.state_origin == StateOrigin.TRAINED:
            return self._end_state(source)
        # Random states belong to the steps that are trained again, not to the weights.
        trained = {path: w for path, w in self.store.weights(source).items() if not is_random_state(path)}
        return {**self.rewind_state(job.replicate)[0], **{MODEL + path: value for path, value in trained.items()}}

    def _initial_weights(self, replicate: int) -> State:
        """Return every variable at step 0; for tickets of another run, at the rewind point of that run."""
        return self._source.weights(replicate) if self._source else self.bench.initial_weights(replicate)

    def _rewind_weights(self, replicate: int) -> State:
        """Return every variable of the model at the rewind point, by path."""
        return model_variables(self.rewind_state(replicate)[0])

    def _end_state(self, job: Job) -> State:
        """Return the state in which a training ended: weights and optimizer."""
        if not self.store.has_arrays(job, "optimizer"):
            raise UnfitError(
                f"{self.store.path} does not hold the optimizer's state at the end of {job}, to continue from.",
                "It is a run of an earlier version: start over with `fresh=True`.",
            )
        weights = {MODEL + path: value for path, value in self.store.weights(job).items()}
        return {**weights, **self.store.optimizer(job)}
