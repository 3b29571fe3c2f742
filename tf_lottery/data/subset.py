"""Some of the classes of a data set, as a data set of its own: tickets move between such halves."""

import hashlib
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from tf_lottery.data.arrays import Arrays
from tf_lottery.data.content import Content
from tf_lottery.errors import UnfitError, UsageError


def select_classes(content: Content, classes: Iterable[int]) -> Content:
    """The examples of some classes, with new labels 0, 1, ... in the order in which the classes are named.

    Args:
        content: all examples.
        classes: labels of `content`, at least two, each named once.

    Returns:
        The content of `len(classes)` classes; each split keeps its order.

    Raises:
        UsageError: an unknown class, one named twice, or fewer than two.
        UnfitError: there is no training example of a class, or a split has no example of any.

    Example:
        >>> arrays = Arrays(np.arange(4, dtype="uint8"), np.array([0, 2, 1, 2]))
        >>> part = select_classes(Content(arrays, None, None, classes=3, scale=255.0, source="here"), (2, 0))
        >>> part.train.x.tolist(), part.train.y.tolist(), part.classes
        ([0, 1, 3], [1, 0, 0], 2)
    """
    chosen = to_labels(classes)
    _check(chosen, content.classes)
    labels = np.full(content.classes, -1, np.int32)
    labels[list(chosen)] = np.arange(len(chosen), dtype=np.int32)
    for label, count in zip(chosen, np.bincount(content.train.y, minlength=content.classes)[list(chosen)], strict=True):
        if not count:
            raise UnfitError(
                f"The training split in {content.source} holds no example of class {label}.", "Choose other classes."
            )
    parts = {name: _select(part, labels, f"{name} split in {content.source}") for name, part in content.parts().items()}
    return Content(
        parts["train"],
        parts.get("validation"),
        parts.get("test"),
        classes=len(chosen),
        scale=content.scale,
        source=content.source,
        class_names=tuple(content.class_names[label] for label in chosen) if content.class_names else (),
    )


def to_labels(classes: Any) -> tuple[int, ...]:
    """Labels as a tuple of integers.

    Raises:
        UsageError: they are something else.
    """
    try:
        if any(isinstance(label, bool | np.bool_) for label in classes):
            raise TypeError
        return tuple(operator.index(label) for label in classes)
    except TypeError:
        raise UsageError(f"`classes` must be labels. Received: {classes!r}.", "Pass e.g. (5, 6, 7, 8, 9).") from None


def subset_fingerprint(fingerprint: str, classes: Iterable[int]) -> str:
    """Return the SHA-256 over the fingerprint of the whole content and the classes taken from it, in their order.

    Args:
        fingerprint: of the whole content.
        classes: the labels of the classes taken from it.
    """
    return hashlib.sha256(f"{fingerprint}\nclasses {','.join(map(str, classes))}".encode()).hexdigest()


def _check(classes: tuple[int, ...], count: int) -> None:
    for label in classes:
        if not 0 <= label < count:
            raise UsageError(f"Unknown class {label}: the data set has classes 0 to {count - 1}.", "Choose among them.")
        if classes.count(label) > 1:
            raise UsageError(f"`classes` names class {label} more than once: {classes}.", "Name each of them once.")
    if len(classes) < 2:
        raise UsageError(
            f"`classes` must name at least two classes. Received: {classes}.",
            "Name more, or none to take all.",
        )


def _select(part: Arrays, labels: np.ndarray, where: str) -> Arrays:
    new = labels[part.y]
    indices = np.flatnonzero(new >= 0)
    if not indices.size:
        raise UnfitError(f"The {where} holds no example of the chosen classes.", "Choose other classes.")
    taken = part.take(indices)
    return Arrays(taken.x, new[indices], taken.sample_weight)
