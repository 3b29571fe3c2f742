"""How long trainings are and where they rewind to, in steps. No TensorFlow."""

from dataclasses import dataclass

import numpy as np

from tf_lottery.errors import UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.own_functions import check_callable
from tf_lottery.experiment.rewind_point import FINETUNE
from tf_lottery.utils import references

# How many masks before the newest an early-bird search compares with it (You et al. 2020, arXiv 1909.11957).
MASK_WINDOW = 5


@dataclass(frozen=True)
class StepCounts:
    """The lengths of an experiment's trainings, in steps.

    Attributes:
        training: a full training.
        rewind: the absolute step whose state rounds rewind to; 0 for fine-tuning, which does not rewind.
        round: the ticket's training in a round after the dense one: from the rewind step, or the fine-tuning.
        search: a training that only finds masks; an early-bird search may stop before.
    """

    training: int
    rewind: int
    round: int
    search: int


def step_counts(config: Config, steps_per_epoch: int | None) -> StepCounts:
    """Return the lengths of an experiment's trainings.

    Args:
        config: the experiment.
        steps_per_epoch: steps of an epoch of its data; None where that is not known.

    Raises:
        UsageError: a length is given in epochs of data whose epoch is not known, or the rewind point is not before the
            end of a training or search.
    """
    training, rewind = training_steps(config, steps_per_epoch), rewind_step(config, steps_per_epoch)
    if config.rewind_point.mode == FINETUNE:
        round_steps = _finetuning_steps(config, steps_per_epoch)
    else:
        round_steps = training - rewind
    return StepCounts(training, rewind, round_steps, config.search_steps or training)


def training_steps(config: Config, steps_per_epoch: int | None) -> int:
    """Return the steps of a full training.

    Args:
        config: the experiment.
        steps_per_epoch: steps of an epoch of its data; None where that is not known.

    Raises:
        UsageError: the length is given in epochs of data whose epoch is not known.
    """
    return _to_steps("epochs", config.epochs, steps_per_epoch) if config.steps is None else config.steps


def rewind_step(config: Config, steps_per_epoch: int | None) -> int:
    """Return the absolute step whose state rounds rewind to; 0 for fine-tuning, which does not rewind.

    Args:
        config: the experiment.
        steps_per_epoch: steps of an epoch of its data; None where that is not known.

    Raises:
        UsageError: the step is not before the end of a training, or of a search.
    """
    point = config.rewind_point
    if point.mode == FINETUNE:
        if _finetuning_steps(config, steps_per_epoch) < 1:
            raise UsageError(f"Fine-tuning must train at least one step. Received: rewind {config.rewind!r}.")
        return 0
    total = training_steps(config, steps_per_epoch)
    if point.function:
        step = _step_by_function(point.function, total)
    elif point.unit == "epoch":
        step = _to_steps("rewind", point.position, steps_per_epoch)
    else:
        step = int(point.position or 0)
    for what, length in (("a training", total), ("a search", config.search_steps)):
        if length is not None and step >= length:
            raise UsageError(
                f"`rewind` must be before the end of {what} of {length} steps. Received: {config.rewind} "
                f"(step {step}).",
                "Rewind to an earlier step, or train longer.",
            )
    if config.search_steps is not None and config.search_steps > total:
        raise UsageError(
            f"`search_steps` must not exceed a full training of {total} steps. Received: {config.search_steps}.",
            "Search for fewer steps.",
        )
    if config.pruning == "early_bird" and total // config.eval_every <= MASK_WINDOW:
        raise UsageError(
            f"An early-bird search compares the masks of {MASK_WINDOW + 1} evaluations. Received: {total} steps, "
            f"evaluated every {config.eval_every}: it could never stop early.",
            "Evaluate more often: a smaller `eval_every`.",
        )
    return step


def _step_by_function(name: str, total: int) -> int:
    """Return the step that a user's own function chooses in a training of `total` steps."""
    step = references.call_own(check_callable(name, "rewind function"), "rewind function", name, total)
    if isinstance(step, bool) or not isinstance(step, int | np.integer) or step < 0:
        raise UsageError(
            f"The rewind function {name!r} must return a step, an integer of at least 0. It returned: {step!r}.",
            "It gets the steps of a full training.",
        )
    return int(step)


def _finetuning_steps(config: Config, steps_per_epoch: int | None) -> int:
    point = config.rewind_point
    if point.position is None:
        return training_steps(config, steps_per_epoch)
    return _to_steps("rewind", point.position, steps_per_epoch) if point.unit == "epoch" else int(point.position)


def _to_steps(name: str, epochs: float | None, steps_per_epoch: int | None) -> int:
    """Return epochs, the value of the option `name`, as steps."""
    if epochs is None or steps_per_epoch is None:
        raise UsageError(f"`{name}` can't be given in epochs of data of unknown length.", "Give steps.")
    return max(round(epochs * steps_per_epoch), 1 if name == "epochs" else 0)
