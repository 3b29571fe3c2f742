"""What a file says of its own inputs and outputs to the program that runs it: data of names, ranges and scaling."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TensorDescription:
    """What a file says of one input or output.

    Attributes:
        description: a sentence.
        dimensions: the name of each dimension, the batch first; empty if they have none.
        color_space: "RGB" or "GRAYSCALE" of an image; empty for other values.
        mean: what raw values are reduced by before they are an input, one number or one per channel; empty if it is
            not known.
        std: what they are divided by then, likewise.
        minimum: the least value; None if it is not known.
        maximum: the greatest value, likewise.
        labels: the names of the classes along the last axis; empty if they are not known.
    """

    description: str = ""
    dimensions: tuple[str, ...] = ()
    color_space: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileMetadata:
    """What a file says of its model.

    Attributes:
        name: of the model.
        description: a sentence.
        inputs: by name.
        outputs: by name.
    """

    name: str = ""
    description: str = ""
    inputs: Mapping[str, TensorDescription] = field(default_factory=dict)
    outputs: Mapping[str, TensorDescription] = field(default_factory=dict)

    def label_files(self) -> dict[str, tuple[str, ...]]:
        """Return the names of classes by the name of the file that lists them, one for each output that has some.

        Example:
            >>> FileMetadata(outputs={"animal": TensorDescription(labels=("cat", "dog"))}).label_files()
            {'labels.txt': ('cat', 'dog')}
        """
        return {self.label_file(name): tensor.labels for name, tensor in self.outputs.items() if tensor.labels}

    def label_file(self, output: str) -> str:
        """Return the name of the file that lists the classes of an output."""
        labeled = [name for name, tensor in self.outputs.items() if tensor.labels]
        return "labels.txt" if len(labeled) < 2 else f"labels_{output}.txt"
