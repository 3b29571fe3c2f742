"""A data set ready for training: three parts, and what they are."""

from dataclasses import dataclass
from typing import Any

from tf_lottery.data.arrays import Arrays
from tf_lottery.data.normalization import Normalization
from tf_lottery.data.tree import leaves, map_leaves
from tf_lottery.errors import UnfitError


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training, validation and test examples.

    Attributes:
        name: e.g. "mnist".
        train: the examples that weights are trained on.
        validation: the examples that choose (early-stop step, round); never trained on.
        test: the examples that are only reported, or None.
        classes: the number of classes, or None where targets are not class numbers.
        fingerprint: SHA-256 of the raw content, before it was split and normalized.
        normalization: what was done to the raw inputs, or None where the caller did it.
        class_names: the names of the classes in their order; empty if they are not known.

    Raises:
        UnfitError: the parts differ in the structure or the shape of their examples.
    """

    name: str
    train: Arrays
    validation: Arrays
    test: Arrays | None
    classes: int | None
    fingerprint: str
    normalization: Normalization | None = None
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for part, arrays in (("validation", self.validation), ("test", self.test)):
            if arrays is None:
                continue
            for field in ("x", "y"):
                expected, received = _shapes(getattr(self.train, field)), _shapes(getattr(arrays, field))
                if expected != received:
                    raise UnfitError(
                        f"The {part} data's {field} must have the shape of the training data's, per example "
                        f"{_text(expected)}. Received: {_text(received)}.",
                        "Prepare all parts in the same way.",
                    )

    @property
    def input_shape(self) -> Any:
        """The shape of one example: a tuple of integers, or a tuple or dictionary of such for several inputs."""
        return map_leaves(lambda array: tuple(array.shape[1:]), self.train.x)


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    return {} if tree is None else {path: tuple(array.shape[1:]) for path, array in leaves(tree)}


def _text(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{path} {shape}".strip() for path, shape in shapes.items()) or "nothing"
