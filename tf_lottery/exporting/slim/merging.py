"""Layers that make one tensor of several: channel by channel, or one after the other."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tf_lottery.exporting.slim.passing import Arrays, Passing, Rule, Shapes, on_constants


def merge(reduce: Callable[[np.ndarray], np.ndarray], *, zero_wins: bool = False) -> Rule:
    """The rule of a layer that reduces its inputs channel by channel.

    Args:
        reduce: from the stacked values of the inputs to those of the output, over the first axis.
        zero_wins: whether one constant zero makes the result zero.
    """

    def value(values: Arrays) -> np.ndarray:
        result = on_constants(lambda *each: reduce(np.stack(each)), values)
        return np.where((np.stack(values) == 0).any(axis=0), 0.0, result) if zero_wins else result

    def rule(layer: Any, inputs: Shapes, output: tuple[int | None, ...]) -> Passing | str:
        if len({(len(shape), shape[-1]) for shape in inputs}) != 1:
            return "its inputs have different numbers of axes or channels"
        return Passing(value=value, coupled=True)

    return rule


def concatenate(layer: Any, inputs: Shapes, output: tuple[int | None, ...]) -> Passing | str:
    """`Concatenate`, along the channels only."""
    if layer.axis not in (-1, len(output) - 1):
        return "it joins along another axis than the last"
    return Passing(np.concatenate, np.concatenate)


add = merge(np.add.reduce)
subtract = merge(np.subtract.reduce)
multiply = merge(np.multiply.reduce, zero_wins=True)
average = merge(lambda values: values.mean(axis=0))
maximum = merge(np.maximum.reduce)
minimum = merge(np.minimum.reduce)
