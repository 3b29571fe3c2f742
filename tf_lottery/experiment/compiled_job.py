"""A training with all that the configuration decides about it, worked out once before it starts. No TensorFlow."""

from dataclasses import dataclass
from enum import Enum

from tf_lottery.experiment import plan
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.controls import Control, find_control
from tf_lottery.experiment.directory import SEARCH, Job
from tf_lottery.experiment.gradual_control import pruning_steps
from tf_lottery.experiment.rewind_point import FINETUNE
from tf_lottery.experiment.training_and_rewind_steps import StepCounts


class MaskOrigin(Enum):
    """Where the masks of a round come from."""

    DENSE = "nothing is pruned"
    OTHER_RUN = "the ticket of another run"
    REWIND_WEIGHTS = "the scores of the weights at the rewind point"
    TRAINED_WEIGHTS = "the scores of a training's weights"


class StateOrigin(Enum):
    """Where the weights and the optimizer's state at the first step of a training come from."""

    INITIAL = "the initial weights, a new optimizer"
    REWIND = "the rewind state"
    REWIND_WITH_TRAINED_WEIGHTS = "the rewind state, with the weights of a training"
    TRAINED = "the state at the end of a training"


@dataclass(frozen=True)
class CompiledJob:
    """A training of an experiment, and all that the configuration decides about it.

    Attributes:
        job: which training it is.
        control: the control that makes its masks and weights from the ticket's; None for a ticket or a search.
        needs: the trainings that must be committed before it starts.
        mask_origin: where the masks of its round come from.
        masks_from: the training whose weights are scored for them; None if no training's are.
        state_origin: where the state at its first step comes from; a control starts from its ticket's.
        state_from: the training whose weights or state that is; None if it is no training's.
        start: its first step, counted from the start of a full training.
        stop: the step to stop at.
        full_training: steps of a full training, which a control from step 0 trains.
        capture_at: the step at which it saves the rewind state of its replicate; None if it saves none.
        pins_rewind_state: whether its results name the digest of the rewind state.
        keeps_optimizer: whether the optimizer's state at its end is committed, for a training that continues it.
        stops_when_masks_converge: whether it is an early-bird search, which may stop before `stop`.
        data_order: the name of its order of the data: a part of the order's seed.
        prune_at: the steps after which weights are pruned while it is trained.
    """

    job: Job
    control: Control | None
    needs: tuple[Job, ...]
    mask_origin: MaskOrigin
    masks_from: Job | None
    state_origin: StateOrigin
    state_from: Job | None
    start: int
    stop: int
    full_training: int
    capture_at: int | None
    pins_rewind_state: bool
    keeps_optimizer: bool
    stops_when_masks_converge: bool
    data_order: str
    prune_at: tuple[int, ...] = ()


def compile_job(config: Config, job: Job, steps: StepCounts) -> CompiledJob:
    """Return a training with all that the configuration decides about it.

    Args:
        config: the experiment.
        job: the training.
        steps: the lengths of the experiment's trainings.
    """
    control = find_control(job.variant)
    starts_dense = plan.starts_dense(config, job)
    finetunes = config.rewind_point.mode == FINETUNE
    state_origin, state_from = _state_origin(config, job)
    start, stop = span(config, job, steps)
    return CompiledJob(
        job=job,
        control=control,
        needs=tuple(plan.needs(config, job)),
        mask_origin=_mask_origin(config, job),
        masks_from=plan.mask_source(config, job),
        state_origin=state_origin,
        state_from=state_from,
        start=start,
        stop=stop,
        full_training=steps.training,
        capture_at=steps.rewind if job == Job(job.replicate, 0) else None,
        pins_rewind_state=not (job.variant == SEARCH and starts_dense),
        keeps_optimizer=control.continues_previous_round if control else job.round == 0 or finetunes,
        stops_when_masks_converge=job.variant == SEARCH and config.pruning == "early_bird",
        data_order="other order" if control and control.own_data_order else "order",
        prune_at=pruning_steps(steps.training) if control and control.prunes_gradually else (),
    )


def _mask_origin(config: Config, job: Job) -> MaskOrigin:
    if job.round == 0 or plan.starts_dense(config, job):
        return MaskOrigin.DENSE
    if config.tickets_from:
        return MaskOrigin.OTHER_RUN
    return MaskOrigin.REWIND_WEIGHTS if plan.mask_source(config, job) is None else MaskOrigin.TRAINED_WEIGHTS


def _state_origin(config: Config, job: Job) -> tuple[StateOrigin, Job | None]:
    """Return where the state at a job's first step comes from, and which training's it is, if it is a training's."""
    if before := plan.continued_job(job):
        return StateOrigin.TRAINED, before
    if plan.starts_dense(config, job):
        return StateOrigin.INITIAL, None
    source = plan.weights_source(config, job)
    if source is None:
        return StateOrigin.REWIND, None
    if config.rewind_point.mode == FINETUNE:
        return StateOrigin.TRAINED, source
    return StateOrigin.REWIND_WITH_TRAINED_WEIGHTS, source


def span(config: Config, job: Job, steps: StepCounts) -> tuple[int, int]:
    """Return the absolute steps that a training starts and stops at. An early-bird search may stop before.

    Args:
        config: the experiment.
        job: the training.
        steps: the lengths of the experiment's trainings.
    """
    if plan.continued_job(job):
        return steps.training + (job.round - 1) * steps.round, steps.training + job.round * steps.round
    starts_dense = plan.starts_dense(config, job)
    if job.variant == SEARCH:
        return 0 if starts_dense else steps.rewind, steps.search
    if starts_dense:
        return 0, steps.training
    if config.rewind_point.mode == FINETUNE and job.round > 0:
        # Fine-tuning continues the training that the masks come from, which may be a fine-tuning too.
        earlier = 0 if plan.mask_source(config, job) == Job(job.replicate, 0) else job.round - 1
        return steps.training + earlier * steps.round, steps.training + (earlier + 1) * steps.round
    return steps.rewind, steps.training
