"""Channels that hold one value whatever the model is given: found from the inputs on, in float64."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tf_lottery.exporting.slim.behaviour import Barrier, Behaviour
from tf_lottery.exporting.slim.failing import failing_at
from tf_lottery.exporting.slim.kernels import Kernel
from tf_lottery.exporting.slim.passing import Passing, in_keras, on_constants
from tf_lottery.exporting.slim.program import Program


@dataclass(frozen=True)
class Constants:
    """What is known of a tensor's channels.

    Attributes:
        values: float64 (channels,): the value of a constant channel, NaN where a channel varies.
        bordered: whether zeros stand around the constant values (`ZeroPadding2D`), in all channels at the same places.
    """

    values: np.ndarray
    bordered: bool = False

    @property
    def everywhere(self) -> np.ndarray:
        """The values that hold at every position, the border included."""
        return np.where(self.values == 0, 0.0, np.nan) if self.bordered else self.values


def constants_of(program: Program, behaviours: Sequence[Behaviour]) -> dict[int, Constants]:
    """The constant channels of each tensor of a program."""
    found = {n: _varying(program, n) for n in program.inputs}
    for call, behaviour in zip(program.calls, behaviours, strict=True):
        if isinstance(behaviour, Barrier):
            found.update({n: _varying(program, n) for n in call.outputs})
            continue
        with failing_at(call.layer):
            found[call.outputs[0]] = _passed(behaviour, [found[n] for n in call.inputs])
    return found


def foldable(kernel: Kernel, constants: Constants) -> np.ndarray:
    """The input channels of a kernel that add the same to an output at every position: bool (inputs,)."""
    values = constants.everywhere
    return np.asarray(values == 0) if kernel.padded else ~np.isnan(values)


def _passed(behaviour: Kernel | Passing, inputs: Sequence[Constants]) -> Constants:
    if isinstance(behaviour, Kernel):
        return Constants(_units(behaviour, inputs[0]))
    if behaviour.borders:
        return Constants(inputs[0].everywhere, bordered=True)
    return Constants(behaviour.value([constant.everywhere for constant in inputs]))


def _units(kernel: Kernel, constants: Constants) -> np.ndarray:
    """An output is constant if every channel that it reads can be folded into its bias."""
    if kernel.activation is None:
        return np.full(len(kernel.bias), np.nan)
    fold = foldable(kernel, constants)
    with np.errstate(all="ignore"):  # what overflows float64 counts as varying, below
        sums = np.where(fold, constants.values, 0.0) @ kernel.totals + kernel.bias
    return on_constants(in_keras(kernel.activation), [np.where(kernel.reads[~fold].any(axis=0), np.nan, sums)])


def _varying(program: Program, tensor: int) -> Constants:
    return Constants(np.full(program.width(tensor), np.nan))
