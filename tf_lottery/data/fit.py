"""Does this data set fit this model? Asked before the first step, in plain shapes."""

from typing import Any

import numpy as np

from tf_lottery.data.dataset import Dataset
from tf_lottery.data.tree import leaves
from tf_lottery.errors import UnfitError


def check_fits(dataset: Dataset, *, input_shape: Any, outputs: int | None, sparse_labels: bool) -> None:
    """Check that a model can be trained on a data set.

    Args:
        dataset: the data.
        input_shape: the model's input shape without the batch axis, None for a free axis: a tuple of integers, or a
            list, tuple or dictionary of such tuples for several inputs.
        outputs: the length of the model's last output axis, or None where it is not one plain classifier.
        sparse_labels: the loss takes class numbers (not one-hot rows, not regression targets).

    Raises:
        UnfitError: a shape, the structure of the inputs, or the range of the labels does not fit.
    """
    expected, received = _flat(input_shape), _flat(dataset.input_shape)
    if len(expected) != len(received) or (_keys(input_shape) and _keys(input_shape) != _keys(dataset.input_shape)):
        raise UnfitError(
            f"The model takes {_describe(input_shape)}. The data set {dataset.name!r} has "
            f"{_describe(dataset.input_shape)}.",
            "Give one array per input of the model, under the names of its inputs.",
        )
    for model_shape, data_shape in zip(expected, received, strict=True):
        if not _same(model_shape, data_shape):
            raise UnfitError(
                f"The model takes examples of shape {model_shape}. The data set {dataset.name!r} has {data_shape}.",
                f"Build the model for the input shape {data_shape}, or choose another data set.",
            )
    if outputs is not None:
        for part in ("train", "validation", "test"):
            _check_targets(dataset, part, outputs=outputs, sparse_labels=sparse_labels)


def _check_targets(dataset: Dataset, part: str, *, outputs: int, sparse_labels: bool) -> None:
    arrays = getattr(dataset, part)
    if arrays is None:
        return
    targets = [array for _, array in leaves(arrays.y)]
    if len(targets) != 1:
        raise UnfitError(
            f"The model has one output. The data set {dataset.name!r} has {len(targets)} targets.",
            "Give one array of targets.",
        )
    y = targets[0]
    if not sparse_labels:
        # (n,) against one output is how Keras reads regression targets.
        width = 1 if y.ndim == 1 else y.shape[-1]
        if width != outputs:
            raise UnfitError(
                f"The model has {outputs} outputs. The {part} targets of {dataset.name!r} have shape {y.shape}.",
                "Give the output layer as many units as a target has values.",
            )
        return
    if y.ndim > 1 and y.shape[-1] != 1 and y.ndim == 2:
        raise UnfitError(
            f"The loss takes class numbers of shape (examples,). The {part} targets of {dataset.name!r} have shape "
            f"{y.shape}.",
            "Give class numbers (argmax of one-hot rows), or use a loss for one-hot targets.",
        )
    check_class_numbers(y, outputs=outputs, part=f"{part} part of {dataset.name!r}")


def check_class_numbers(labels: np.ndarray, *, outputs: int, part: str) -> None:
    """Check that class numbers are those of a model's outputs.

    Args:
        labels: class numbers, of any shape; there may be none.
        outputs: the length of the model's last output axis.
        part: what holds them, for messages, e.g. "train data".

    Raises:
        UnfitError: one is negative, or too high.
    """
    if labels.size and not 0 <= labels.min() <= labels.max() < outputs:
        raise UnfitError(
            f"Class numbers must be in [0, {outputs}), the model's outputs. The {part} holds {labels.min()} to "
            f"{labels.max()}.",
            f"Give the model's output layer {int(labels.max()) + 1} units, or number the classes from 0.",
        )


def _is_shape(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(item is None or isinstance(item, int) for item in value)


def _flat(shapes: Any) -> list[tuple[int | None, ...]]:
    if isinstance(shapes, dict):
        return [shape for key in sorted(shapes) for shape in _flat(shapes[key])]
    if _is_shape(shapes):
        return [tuple(shapes)]
    return [shape for item in shapes for shape in _flat(item)]


def _keys(shapes: Any) -> list[str]:
    return sorted(shapes) if isinstance(shapes, dict) else []


def _same(expected: tuple[int | None, ...], received: tuple[int | None, ...]) -> bool:
    return len(expected) == len(received) and all(e is None or e == r for e, r in zip(expected, received, strict=True))


def _describe(shapes: Any) -> str:
    count = len(_flat(shapes))
    return f"{count} input{'s' if count > 1 else ''}: {shapes}"
