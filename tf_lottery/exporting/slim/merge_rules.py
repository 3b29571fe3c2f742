"""Channel rules of layers that merge several tensors: channel by channel, or one after the other."""

from collections.abc import Callable

import numpy as np

from tf_lottery.exporting.slim.channel_map import (
    ChannelArrays,
    ChannelMap,
    ChannelRule,
    ShapedLayer,
    evaluate_constants,
)


def merge_rule(reduce: Callable[[np.ndarray], np.ndarray], *, zero_wins: bool = False) -> ChannelRule:
    """Returns the rule of a layer that reduces its inputs channel by channel.

    Args:
        reduce: From the stacked values of the inputs to those of the output, over the first axis.
        zero_wins: Whether one constant zero makes the result zero, whatever the other inputs are.
    """

    def value(values: ChannelArrays) -> np.ndarray:
        result = evaluate_constants(lambda *arrays: reduce(np.stack(arrays)), values)
        return np.where((np.stack(values) == 0).any(axis=0), 0.0, result) if zero_wins else result

    def rule(shaped: ShapedLayer) -> ChannelMap | str:
        if len({(len(shape), shape[-1]) for shape in shaped.inputs}) != 1:
            return "its inputs have different numbers of axes or channels"
        return ChannelMap(value=value, coupled=True)

    return rule


def concatenate(shaped: ShapedLayer) -> ChannelMap | str:
    """Returns the map of a `Concatenate` along the channels."""
    if shaped.layer.axis not in (-1, len(shaped.output) - 1):
        return "it joins along another axis than the last"
    return ChannelMap(np.concatenate, np.concatenate)


add = merge_rule(np.add.reduce)
subtract = merge_rule(np.subtract.reduce)
multiply = merge_rule(np.multiply.reduce, zero_wins=True)
average = merge_rule(lambda values: np.asarray(values.mean(axis=0)))
maximum = merge_rule(np.maximum.reduce)
minimum = merge_rule(np.minimum.reduce)
