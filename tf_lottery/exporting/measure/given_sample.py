"""The sample on which a benchmark runs files, where the caller gave one. NumPy only."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tf_lottery.errors import NonFiniteError, UnfitError
from tf_lottery.exporting.input_shapes import FreeShape

_FITTING = "Give samples as the model of the file takes them, by the names of its inputs."


def first_sample(samples: Any) -> dict[str, npt.NDArray[Any]]:
    """Return the first sample as arrays `(1, ...)` by the name of the input; "" is that of a model with one input.

    Args:
        samples: real inputs, `(samples, ...)`; for several inputs a dict by name.

    Raises:
        UnfitError: an array holds no numbers or no sample.
        NonFiniteError: the sample has NaN or infinite values.
    """
    named = samples if isinstance(samples, Mapping) else {"": samples}
    arrays = {name: np.asarray(array) for name, array in named.items()}
    for name, array in arrays.items():
        if not array.ndim or not len(array) or array.dtype.kind not in "biuf":
            raise UnfitError(
                f"`samples`{f' of the input {name!r}' if name else ''}: expected numbers of shape (samples, ...), one "
                f"sample at least; received {array.dtype} of shape {array.shape}.",
                "Give inputs as the models take them.",
            )
        if not np.isfinite(array[:1]).all():
            raise NonFiniteError("The first of `samples` has NaN or infinite values.", "Remove that sample.")
    return {name: array[:1] for name, array in arrays.items()}


def fit_sample(
    wanted: list[tuple[str, FreeShape, Any]], sample: Mapping[str, npt.NDArray[Any]]
) -> dict[str, npt.NDArray[Any]]:
    """Return a sample in the shapes and dtypes of a file's inputs; repeated for a fixed batch of several.

    Args:
        wanted: name, shape and dtype of each input; None in a shape takes the sample's size.
        sample: arrays `(1, ...)` by the name of the input; by "" for a file with one input.

    Raises:
        UnfitError: names, shapes or dtypes do not fit.
    """
    names = [name for name, _, _ in wanted]
    named = dict(zip(names, sample.values(), strict=True)) if set(sample) == {""} and len(names) == 1 else sample
    if set(named) != set(names):
        given = ", ".join(sorted(sample)) if set(sample) != {""} else "one array without a name"
        raise UnfitError(f"its inputs are {', '.join(names)}; the samples are {given}", _FITTING)
    arrays = {}
    for name, shape, dtype in wanted:
        array = named[name]
        sizes = array.shape[1:]
        if len(sizes) != len(shape) - 1 or any(
            want not in (None, got) for want, got in zip(shape[1:], sizes, strict=True)
        ):
            raise UnfitError(
                f"its input {name!r} takes samples of shape {shape[1:]}; those given have {sizes}", _FITTING
            )
        cast_array = array.astype(dtype)
        if cast_array.dtype.kind in "biu" and (cast_array != array).any():
            raise UnfitError(f"its input {name!r} takes {cast_array.dtype}, which can't hold the samples", _FITTING)
        arrays[name] = np.repeat(cast_array, shape[0] or 1, axis=0)
    return arrays
