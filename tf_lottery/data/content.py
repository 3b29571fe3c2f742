"""The raw content of an image-classification data set, before it is split and normalized."""

import hashlib
from dataclasses import dataclass

import numpy as np

from tf_lottery.data.arrays import Arrays
from tf_lottery.errors import UnfitError


@dataclass(frozen=True, eq=False)
class Content:
    """Raw images and labels as they were read.

    Attributes:
        train: images (examples, height, width, channels) of unsigned integers, and labels (examples,) of int32.
        validation: the same of the source's validation split; None where it has none.
        test: the same of the source's test split; None where it has none.
        classes: the number of classes.
        scale: the largest possible pixel value.
        source: where it was read from.
        class_names: the names of the classes in their order; empty if they are not known.
    """

    train: Arrays
    validation: Arrays | None
    test: Arrays | None
    classes: int
    scale: float
    source: str
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, part in self.parts().items():
            low, high = int(part.y.min()), int(part.y.max())
            if low < 0 or high >= self.classes:
                raise UnfitError(
                    f"Labels must be in [0, {self.classes}). The {name} split in {self.source} holds {low} to {high}.",
                    "Use a data set whose every example has a label, or prepare this one again.",
                )

    def parts(self) -> dict[str, Arrays]:
        """The splits that there are, by name."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in named.items() if part is not None}

    def fingerprint(self) -> str:
        """SHA-256 over all splits."""
        lines = [f"{name} {part.fingerprint()}" for name, part in self.parts().items()]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def counts(self) -> dict[str, list[int]]:
        """For each split, the number of examples of each class."""
        return {name: np.bincount(part.y, minlength=self.classes).tolist() for name, part in self.parts().items()}
