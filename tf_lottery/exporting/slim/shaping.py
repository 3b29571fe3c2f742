"""Layers that move, repeat or surround positions, and those that make flat features of channels."""

from typing import Any

import numpy as np

from tf_lottery.exporting.slim.passing import Arrays, Passing, Shapes


def borders(layer: Any, inputs: Shapes, output: Any) -> Passing:
    """`ZeroPadding`: what was constant has a border of zeros."""
    return Passing(borders=True)


def up_sampling(layer: Any, inputs: Shapes, output: Any) -> Passing:
    """`UpSampling`: constants stay what they are."""
    # Other interpolations may overshoot at the border.
    exact = getattr(layer, "interpolation", "nearest") in ("nearest", "bilinear")
    return Passing() if exact else Passing(value=_only_zero)


def _only_zero(values: Arrays) -> np.ndarray:
    return np.where(values[0] == 0, 0.0, np.nan)


def flatten(layer: Any, inputs: Shapes, output: tuple[int | None, ...]) -> Passing | str:
    """`Flatten`: channel c becomes the features c, c + channels, c + 2 * channels, ..."""
    width = inputs[0][-1]
    if len(output) != 2 or output[-1] is None or not width:
        return "the number of its outputs is not known"
    positions = output[-1] // width

    def layout(arrays: Arrays) -> np.ndarray:
        return np.tile(arrays[0], positions)

    return Passing(layout, layout)


def reshape(layer: Any, inputs: Shapes, output: tuple[int | None, ...]) -> Passing | str:
    """`Reshape`, where channels stay the last axis or are flattened."""
    if inputs[0][-1] == output[-1]:
        return Passing()
    if len(output) == 2:
        return flatten(layer, inputs, output)
    return "it moves channels to other axes"


def permute(layer: Any, inputs: Shapes, output: Any) -> Passing | str:
    """`Permute`, where channels stay the last axis."""
    return Passing() if layer.dims[-1] == len(layer.dims) else "it moves channels to other axes"
