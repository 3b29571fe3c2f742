"""What a prepared TFDS folder says about itself, read without TensorFlow."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_lottery.errors import DamagedError, UnfitError
from tf_lottery.utils.documents import parse_json
from tf_lottery.utils.files import not_permitted
from tf_lottery.utils.regular_files import read_regular

_SCALES = {"uint8": 255.0, "uint16": 65535.0}
# TFDS imports the module of each class that a file of features names, under one of these keys.
_CLASS_KEYS = ("pythonClassName", "python_class_name", "type")
_OWN_CLASSES = "tensorflow_datasets.core.features."


@dataclass(frozen=True)
class Metadata:
    """An image-classification data set on disk.

    Attributes:
        name: `name` or `name/config`.
        version: e.g. "3.0.1".
        sizes: the number of examples of each split.
        shape: (height, width, channels).
        scale: the largest possible pixel value.
        classes: the number of classes.
        class_names: their names in order; empty if they have none.
    """

    name: str
    version: str
    sizes: dict[str, int]
    shape: tuple[int, int, int]
    scale: float
    classes: int
    class_names: tuple[str, ...] = ()


def read_metadata(folder: Path) -> Metadata:
    """Read `dataset_info.json` and `features.json` of a prepared data set.

    Raises:
        DamagedError: one of them is missing or broken.
        UnfitError: it is not an image-classification data set, its images have no fixed shape, or it names classes
            that are not TFDS's own.
        ResourceError: one of them may not be read.
    """
    info, features = _read(folder, "dataset_info.json"), _read(folder, "features.json")
    foreign = sorted({name for name in _python_classes(features) if not name.startswith(_OWN_CLASSES)})
    if foreign:
        raise UnfitError(
            f"{folder / 'features.json'} names code that TFDS would import: {', '.join(foreign)}.",
            f"Take a data set whose features are of {_OWN_CLASSES}*, or pass your own arrays from Python.",
        )
    try:
        name = "/".join(part for part in (info["name"], info.get("configName")) if part)
        version = info["version"]
        sizes = {split["name"]: sum(map(int, split.get("shardLengths", []))) for split in info["splits"]}
        columns = dict(features["featuresDict"]["features"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(folder, f"lacks or misstates a field ({type(error).__name__}: {error})") from error
    try:
        image, label = columns["image"]["image"], columns["label"]["classLabel"]
        classes, dtype = int(label["numClasses"]), str(image.get("dtype", "uint8"))
        shape = tuple(int(size) for size in image["shape"]["dimensions"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnfitError(
            f"{name} is not an image-classification data set with the features `image` and `label`. "
            f"It has: {', '.join(columns)}.",
            "Choose another, or pass your own arrays from Python.",
        ) from error
    if len(shape) != 3 or min(shape) < 1 or dtype not in _SCALES:
        raise UnfitError(
            f"All images must have one shape, of uint8 or uint16 values. {name} has shape {shape} of {dtype}.",
            "Resize the images yourself and pass them as arrays from Python.",
        )
    return Metadata(
        name, version, sizes, (shape[0], shape[1], shape[2]), _SCALES[dtype], classes, _class_names(folder, classes)
    )


def _class_names(folder: Path, classes: int) -> tuple[str, ...]:
    """The names in `label.labels.txt`, which TFDS writes where classes have some."""
    try:
        names = tuple(read_regular(folder / "label.labels.txt").decode().splitlines())
    except (OSError, ValueError):
        return ()
    return names if len(names) == classes else ()


def _read(folder: Path, name: str) -> dict[str, Any]:
    try:
        content = parse_json(read_regular(folder / name))
    except FileNotFoundError as error:
        raise _damaged(folder, f"has no {name}") from error
    except PermissionError as error:
        raise not_permitted(folder / name) from error
    except (OSError, ValueError) as error:
        raise _damaged(folder, f"has a broken {name} ({error})") from error
    if not isinstance(content, dict):
        raise _damaged(folder, f"has a broken {name} (not an object)")
    return content


def _python_classes(document: Any) -> Iterator[str]:
    """The names of Python classes anywhere in a document of features."""
    if isinstance(document, list):
        for item in document:
            yield from _python_classes(item)
    elif isinstance(document, dict):
        for key, value in document.items():
            if key in _CLASS_KEYS and isinstance(value, str):
                yield value
            yield from _python_classes(value)


def _damaged(folder: Path, what: str) -> DamagedError:
    return DamagedError(f"The data set in {folder} {what}.", "Delete that folder and prepare the data set again.")
