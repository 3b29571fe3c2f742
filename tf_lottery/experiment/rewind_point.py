"""Where a ticket's training starts: the rewind modes by name.

`training_and_rewind_steps` turns a rewind point into the step to rewind to; `workers/starting_point` makes the state of
that step.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tf_lottery.errors import UsageError
from tf_lottery.utils import references

WEIGHTS, LEARNING_RATE, FINETUNE = "weights", "lr", "finetune"
# First words of those forms, which are no modules.
_RESERVED = ("step", "epoch", "lr", "finetune", "weights", "init")
# What tickets start with, by the forms of the option `rewind`.
REWINDS = {
    "init": "initial weights, new optimizer",
    "step:K, epoch:K": "weights, optimizer and schedule of step K",
    "lr, lr:step:K, lr:epoch:K": "trained weights; optimizer and schedule of step K (learning-rate rewinding)",
    "finetune, finetune:step:N, finetune:epoch:N": "trained weights and optimizer, last learning rate, N more steps",
}


@dataclass(frozen=True)
class RewindPoint:
    """A rewind mode and its position.

    Attributes:
        mode: "weights" (Frankle & Carbin 2018; Frankle et al. 2019, arXiv 1903.01611), "lr" (learning-rate rewinding,
            Renda et al. 2020, arXiv 2003.02389) or "finetune".
        unit: "step", "epoch", or "function" if a user's function returns the step.
        position: the step or epoch to rewind to; for fine-tuning its length, None for that of a full training.
        function: the name of the user's function, from steps of a full training to the step to rewind to.

    Example:
        >>> str(RewindPoint("lr", "epoch", 2.5)), str(RewindPoint("weights", "step", 0))
        ('lr:epoch:2.5', 'init')
    """

    mode: str
    unit: str
    position: float | None
    function: str = ""

    def __str__(self) -> str:
        """Return the text that `rewind_point` reads."""
        if self.function:
            return self.function
        if self.position is None or (self.mode == LEARNING_RATE and self.position == 0):
            return self.mode
        position = np.format_float_positional(self.position, trim="-")
        text = f"{self.unit}:{position}"
        if self.mode == WEIGHTS:
            return "init" if text == "step:0" else text
        return f"{self.mode}:{text}"


RewindLike: TypeAlias = str | RewindPoint | Callable[[int], int]
"""What stands for a rewind point: a form of `REWINDS`, a `RewindPoint`, a function from the steps of a full training to
the step to rewind to, or its import path `package.module:name`."""


def rewind_point(text: str) -> RewindPoint:
    """Return the rewind point that a text states; "init" is step 0, "lr" the learning rate of step 0.

    Args:
        text: a form of `REWINDS`, or the name of a user's function.

    Raises:
        UsageError: the text is not a rewind point.

    Example:
        >>> rewind_point("lr:step:100")
        RewindPoint(mode='lr', unit='step', position=100.0, function='')
    """
    match = re.fullmatch(r"(?:(lr|finetune):)?(?:step:(\d+)|epoch:(\d+(?:\.\d+)?))", text)
    if text == "init":
        return RewindPoint(WEIGHTS, "step", 0.0)
    if text in (LEARNING_RATE, FINETUNE):
        return RewindPoint(text, "step", 0.0 if text == LEARNING_RATE else None)
    if match:
        mode, step, epoch = match.groups()
        return RewindPoint(mode or WEIGHTS, "step" if step else "epoch", float(step or epoch))
    if references.is_reference(text) and text.partition(":")[0] not in _RESERVED:
        return RewindPoint(WEIGHTS, "function", None, text)
    *forms, last = ", ".join(REWINDS).split(", ")
    raise UsageError(f"`rewind` must be {', '.join(forms)} or {last}. Received: {text!r}.", "Pass e.g. step:500.")


def starts_trained(rewind: str) -> bool:
    """Return whether tickets start from trained weights (learning-rate rewinding, fine-tuning).

    Then the step of their least validation loss does not show how fast they learn.

    Example:
        >>> starts_trained("finetune"), starts_trained("lr:step:100"), starts_trained("step:100")
        (True, True, False)
    """
    return rewind_point(rewind).mode != WEIGHTS
