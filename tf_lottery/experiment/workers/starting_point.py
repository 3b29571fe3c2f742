"""Where a job begins: its masks, and the state of model and optimizer at its first step."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_lottery.errors import DamagedError, UnfitError
from tf_lottery.experiment import plan
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.controls import CONTROLS, TicketStart
from tf_lottery.experiment.directory import SEARCH, TICKET, Job, RunDirectory
from tf_lottery.experiment.narrowing import narrow
from tf_lottery.experiment.problem import replicate_seed
from tf_lottery.experiment.rewind_point import FINETUNE, rewind_point
from tf_lottery.experiment.transferred_tickets import Source
from tf_lottery.experiment.workers.workbench import Workbench
from tf_lottery.pruning.masks import Masks
from tf_lottery.training import state as rewinding
from tf_lottery.training.gradients import gradients, hessian_gradients, path_function
from tf_lottery.training.state import MODEL, State, is_random_state, model_variables


@dataclass(frozen=True)
class Start:
    """Where a training starts.

    Attributes:
        masks: its masks.
        state: model and optimizer at the first step, exactly 0.0 where pruned.
        step, stop: the absolute steps it trains, from and to.
    """

    masks: Masks
    state: State
    step: int
    stop: int


class Beginnings:
    """Works out where each job of an experiment begins, from what is committed.

    Args:
        config: the experiment.
        bench: its model and engine.
        store: where the trainings before are committed.
    """

    def __init__(self, config: Config, bench: Workbench, store: RunDirectory) -> None:
        self.config, self.bench, self.store = config, bench, store
        self.steps_per_epoch = bench.problem.steps_per_epoch(config.batch_size)
        self.rewind_step = plan.rewind_step(config, self.steps_per_epoch)
        self._source = Source(config, bench.dense()) if config.tickets_from else None
        self._rewind_states: dict[int, tuple[State, str]] = {}

    def start(self, job: Job) -> Start:
        """Where a job starts. What it needs must be committed."""
        step, stop = plan.span(self.config, job, self.steps_per_epoch)
        ticket = self.ticket_masks(job)
        if job.variant in (TICKET, SEARCH):
            return self._masked(ticket, self._ticket_state(job, ticket), step, stop)
        control = CONTROLS[job.variant]
        if control.continues_previous_round:
            before = Job(job.replicate, job.round - 1, job.variant) if job.round > 1 else Job(job.replicate, 0)
            state = self._end_state(before)
        else:
            state = self._ticket_state(job, ticket)
        beginning = control.start(self._given(job, ticket, state))
        if beginning.from_step_zero and beginning.weights is not None:
            state = self.bench.at_step_0(dict(beginning.weights), beginning.masks)
            step, stop = 0, plan.training_steps(self.config, self.steps_per_epoch)
        elif beginning.weights is not None:
            state = {**state, **{MODEL + path: value for path, value in beginning.weights.items()}}
        return self._masked(beginning.masks, state, step, stop)

    def _masked(self, masks: Masks, state: State, step: int, stop: int) -> Start:
        return Start(masks, rewinding.masked(state, masks, self.bench.slots), step, stop)

    def ticket_masks(self, job: Job) -> Masks:
        """The masks of the ticket of a job's replicate and round; a search's own."""
        if job.round == 0 or plan.starts_fresh(self.config, job):
            return self.bench.dense()
        if self._source:
            return self._source.masks(job)
        source = plan.mask_source(self.config, job)
        if source is None:  # before training
            return self.drawn(job, self._rewound(job.replicate), self.bench.dense())
        weights, masks = self.store.weights(source), self.store.masks(source)
        return self.drawn(job, weights, masks, changes=lambda: self.store.changes(source))

    def drawn(
        self,
        job: Job,
        weights: State,
        masks: Masks,
        *,
        changes: Callable[[], Mapping[str, np.ndarray]] = dict,
    ) -> Masks:
        """The masks of a job's round by the criterion, from scored weights (every variable) and their masks."""
        replicate = job.replicate

        def of_examples(function: Callable[..., Any], masks: Masks) -> Any:
            x, y, weight = self.bench.scoring_examples(replicate)
            model, batch = self.bench.hold(masks, weights), self.config.batch_size
            return function(model, x, y, loss=self.bench.problem.loss, batch=batch, sample_weight=weight)

        @functools.cache
        def flow() -> Callable[[Masks], Any]:
            return path_function(self.bench.hold(self.bench.dense(), weights))

        return plan.next_masks(
            self.config,
            round_number=job.round,
            replicate=replicate,
            roles=self.bench.roles,
            weights=weights,
            masks=masks,
            blocks=self.bench.units.blocks,
            material={
                "initial": lambda masks: {path: self._rewound(replicate)[path] for path in masks},
                "changes": lambda masks: changes(),
                "gradients": lambda masks: of_examples(gradients, masks),
                "hessian_gradients": lambda masks: of_examples(hessian_gradients, masks),
                "path_gradients": lambda masks: flow()(masks),
            },
        )

    def rewind(self, replicate: int) -> tuple[State, str]:
        """The rewind state of a replicate, and the SHA-256 that every round pins."""
        if replicate not in self._rewind_states:
            self._rewind_states[replicate] = self.store.rewind_state(replicate), self.store.rewind_digest(replicate)
        return self._rewind_states[replicate]

    def pin(self, job: Job) -> str | None:
        """The SHA-256 of the rewind state that a job pins; None of a search that does not start from it."""
        if job.variant == SEARCH and plan.starts_fresh(self.config, job):
            return None
        return self.rewind(job.replicate)[1]

    def forget_rewind(self, replicate: int) -> None:
        """Read the rewind state again: it was written anew."""
        self._rewind_states.pop(replicate, None)

    def _given(self, job: Job, masks: Masks, state: State) -> TicketStart:
        """What a control of the job's replicate and round is made from."""
        seed = replicate_seed(self.config, job.replicate, job.variant, job.round)
        drawn = replicate_seed(self.config, job.replicate, "reinitialised weights", job.round)
        # From a plain model: what is kept as it is (frozen layers) must not bear the masks of the job before.
        plain = self.bench.plain(job.replicate)
        return TicketStart(
            masks=masks,
            start=model_variables(state),
            initial=self._initial(job.replicate),
            draw=lambda: rewinding.fresh_weights(plain, seed=drawn),
            narrow=lambda kept: narrow(plain, self.bench.dense(), kept=kept, seed=seed),
            seed=seed,
            blocks=self.bench.units.blocks,
        )

    def _ticket_state(self, job: Job, masks: Masks) -> State:
        """The state that the ticket of a round starts from, or a search of that round; not masked."""
        if plan.starts_fresh(self.config, job):
            return self.bench.at_step_0(self._initial(job.replicate), masks)
        source = plan.weights_source(self.config, job)
        if source is None:
            return self._pinned_rewind(job)
        if rewind_point(self.config.rewind).mode == FINETUNE:
            return self._end_state(source)
        # Random states belong to the steps that are trained again, not to the weights.
        kept = {path: w for path, w in self.store.weights(source).items() if not is_random_state(path)}
        return {**self._pinned_rewind(job), **{MODEL + path: value for path, value in kept.items()}}

    def _initial(self, replicate: int) -> State:
        """Every variable at step 0."""
        return self._source.weights(replicate) if self._source else self.bench.initial_weights(replicate)

    def _rewound(self, replicate: int) -> State:
        """Every variable of the model at the rewind point, by path."""
        return model_variables(self.rewind(replicate)[0])

    def _end_state(self, job: Job) -> State:
        """The state in which a training ended: weights and optimizer."""
        if not self.store.has_arrays(job, "optimizer"):
            raise UnfitError(
                f"{self.store.path} does not hold the optimizer's state at the end of {job}, to go on from.",
                "It is a run of an earlier version: start over with `fresh=True`.",
            )
        weights = {MODEL + path: value for path, value in self.store.weights(job).items()}
        return {**weights, **self.store.optimizer(job)}

    def _pinned_rewind(self, job: Job) -> State:
        """The rewind state, if it is the one that round 0 of the replicate wrote."""
        state, digest = self.rewind(job.replicate)
        if self.store.metrics(Job(job.replicate, 0)).get("rewind_manifest") != digest:
            raise DamagedError(
                f"{self.store.rewind_folder(job.replicate)} is not the rewind state that round 0 wrote.",
                "Restore it from a copy, or start over with `fresh=True`.",
            )
        return state


def keeps_optimizer(config: Config, job: Job) -> bool:
    """Whether the optimizer's state at the end of a job is committed, because another training may go on from it."""
    control = CONTROLS.get(job.variant)
    if control:
        return control.continues_previous_round
    return job.round == 0 or rewind_point(config.rewind).mode == FINETUNE
