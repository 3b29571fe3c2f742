"""Samples of other sizes than the caller's, for files that leave dimensions free, and what Keras answers to them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from tf_lottery.errors import UnfitError
from tf_lottery.exporting.checks.agreement import Outputs
from tf_lottery.exporting.input_shapes import sizes_text
from tf_lottery.exporting.signature import Signature

OTHER_SIZES = 2
"""At how many other sizes a file is compared."""
BATCH = 4
"""How many samples a file gets at a time there, where it takes any number."""
_COUNT = 3 * BATCH - 2  # the last batch is not full
# What the first and the other free dimensions of an input are multiplied by. Dimensions that are equal in several
# inputs stay so. Not every model takes every size.
_FACTORS = ((1.5, 2.0), (2.0, 1.0), (2.0, 2.0), (3.0, 3.0))


@dataclass(frozen=True)
class SizedSamples:
    """Samples of one size.

    Attributes:
        samples: one array `(samples, ...)` by the name of the input.
        outputs: what the Keras model answers, by the name of the output.
    """

    samples: dict[str, npt.NDArray[Any]]
    outputs: Outputs

    @property
    def sizes(self) -> str:
        """The shapes of one sample, as text."""
        return sizes_text([array.shape[1:] for array in self.samples.values()])


def other_sizes(
    call: Callable[[list[npt.NDArray[Any]]], Outputs], arrays: list[npt.NDArray[Any]], signature: Signature
) -> tuple[SizedSamples, ...]:
    """Return a few samples of other sizes: the caller's own, repeated along the free dimensions.

    Args:
        call: what the Keras model answers to one array per input; it may raise `UnfitError`.
        arrays: samples, `(samples, ...)` for each input, in the order of the signature.
        signature: the model's; without free dimensions there are no other sizes.

    Returns:
        At most `OTHER_SIZES`, those that the model takes first.
    """
    sized: list[SizedSamples] = []
    for resized in _resized(arrays, signature) if signature.dynamic else ():
        if len(sized) == OTHER_SIZES:
            break
        try:
            outputs = call(resized)
        except UnfitError:
            continue
        if all(np.isfinite(output).all() for output in outputs.values()):
            sized.append(SizedSamples(dict(zip(signature.inputs, resized, strict=True)), outputs))
    return tuple(sized)


def _resized(arrays: list[npt.NDArray[Any]], signature: Signature) -> Iterator[list[npt.NDArray[Any]]]:
    for factors in _FACTORS:
        resized = []
        for array, shape in zip(arrays, signature.shapes, strict=True):
            free = [axis for axis, size in enumerate(shape, 1) if size is None]
            kept = array[:_COUNT]
            for axis in free:
                size = ceil(array.shape[axis] * factors[axis != free[0]])
                kept = kept.take(range(size), axis=axis, mode="wrap")
            resized.append(kept)
        yield resized
