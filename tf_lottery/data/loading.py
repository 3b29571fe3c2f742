"""Data sets by name: what there is, where it is, and loading it. Listing loads neither TensorFlow nor scikit-learn."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from tf_lottery.data import digits, image_reading, locations, preparing, tfds
from tf_lottery.data.arrays import Arrays
from tf_lottery.data.content import Content
from tf_lottery.data.dataset import Dataset
from tf_lottery.data.image_folders import check_images, list_images
from tf_lottery.data.known import KNOWN
from tf_lottery.data.metadata import read_metadata
from tf_lottery.data.normalization import MODES, Normalization, fit
from tf_lottery.data.resizing import resize_content
from tf_lottery.data.split import split
from tf_lottery.data.subset import select_classes, subset_fingerprint, to_labels
from tf_lottery.errors import LotteryError, UsageError
from tf_lottery.utils.text import suggestion

DEFAULT_VALIDATION = 0.1
MOST_IMAGE_SIZE = 4096

_Folder = str | os.PathLike[str] | None


def names(*, data_dir: _Folder = None) -> list[str]:
    """The known names, then those of other data sets prepared in the data folder."""
    return [*KNOWN, *(name for name in locations.list_prepared(data_dir) if name not in KNOWN)]


def describe(*, data_dir: _Folder = None) -> list[dict[str, Any]]:
    """Describe the known data sets, and others that are prepared in the data folder.

    Returns:
        For each name a dictionary: name, shape, classes, train, validation, test (numbers of examples), source, status
        ("embedded", "prepared", "raw files", "missing" or "unusable"), and location (a path, or what to do).
    """
    return [describe_one(name, data_dir=data_dir) for name in names(data_dir=data_dir)]


def load(
    name: str,
    *,
    data_dir: _Folder = None,
    validation: int | float | None = None,
    normalization: str = "unit",
    seed: int = 0,
    classes: Iterable[int] | None = None,
    image_size: int | None = None,
) -> Dataset:
    """Load an image-classification data set, split and normalized.

    Prepared data is taken first; raw files in the data folder are prepared on first use; nothing is ever downloaded.

    Args:
        name: "digits"; any TFDS data set with `image` and `label`, as `name` or `name/config`; or the path of a folder
            of images, with a separator or a leading ".", which has a subfolder for each class, or `train/` and perhaps
            `validation/` and `test/` with such subfolders.
        data_dir: the data folder; by default $TF_LOTTERY_DATA, then TFDS's own.
        validation: how many (or what fraction) of the training examples to set aside. By default the data set's own
            validation split, else the number in `describe` (of some of the classes, in proportion), else a tenth.
        normalization: "none", "unit" or "standard" (see `tf_lottery.data.normalization`).
        seed: fixes which examples are set aside.
        classes: labels of the classes to keep, in all splits, before any example is set aside; their new
            labels are 0, 1, ... in this order. None or () keeps all.
        image_size: height and width in pixels to which images are resized (bilinear, antialiased, rounded); None keeps
            their size, which must then be one for all.

    Returns:
        A `Dataset` of float32 images (examples, height, width, channels) and int32 labels (examples,).

    Raises:
        UsageError: an unknown name, mode or class, a class named twice, a single class, or `validation` or `image_size`
            out of range.
        UnfitError: the data set is not there, or is no image classification, or a class has no training example.
        DamagedError: a file is truncated or altered.
        ResourceError: disk or permission trouble.

    Example:
        >>> data = load("digits")
        >>> data.train.size, data.validation.size, data.test.size, data.input_shape
        (1200, 237, 360, (8, 8, 1))
        >>> load("digits", classes=(8, 3)).classes
        2
    """
    if normalization not in MODES:
        raise UsageError(f"Unknown normalization {normalization!r}.", suggestion(normalization, MODES))
    content = _read(name, data_dir, image_size)
    fingerprint, share = content.fingerprint(), _default_validation(name)
    chosen = () if classes is None else to_labels(classes)
    if chosen:
        whole = content.train.size
        content = select_classes(content, chosen)
        fingerprint = subset_fingerprint(fingerprint, chosen)
        share = share if isinstance(share, float) else round(share * content.train.size / whole)
    train, held_out = content.train, content.validation
    if held_out is None or validation is not None:
        train, held_out = split(train, validation=share if validation is None else validation, seed=seed)
    how = fit(train.x, mode=normalization, scale=content.scale)
    return Dataset(
        name=name,
        train=_normalized(train, how),
        validation=_normalized(held_out, how),
        test=None if content.test is None else _normalized(content.test, how),
        classes=content.classes,
        fingerprint=fingerprint,
        normalization=how,
        class_names=content.class_names,
    )


def prepare(name: str, *, data_dir: _Folder = None, download: bool = False, progress: bool = False) -> str:
    """Make a data set ready to load, and say where it is.

    Args:
        name: as for `load`.
        data_dir: as for `load`.
        download: fetch what is neither prepared nor there as raw files.
        progress: show progress bars on stderr.

    Returns:
        The folder of the prepared data set or of images, or "scikit-learn" for the embedded digits.

    Raises:
        LotteryError: as for `load`, and ResourceError where the network does not answer.
    """
    if name == "digits":
        return "scikit-learn"
    if locations.is_path(name):
        return str(list_images(name).path)
    return str(preparing.prepare(name, data_dir=data_dir, download=download, progress=progress))


def check(name: str, *, data_dir: _Folder = None, image_size: int | None = None) -> dict[str, Any]:
    """Read every example of a data set and describe it.

    Args:
        name: as for `load`.
        data_dir: as for `load`.
        image_size: as for `load`.

    Returns:
        name, location, shape, classes, splits (name -> examples, per_class: a list of counts), value_range (least and
        largest pixel value), fingerprint.

    Raises:
        LotteryError: as for `load`.
    """
    content = _read(name, data_dir, image_size)
    parts = content.parts()
    counts = content.counts()
    return {
        "name": name,
        "location": content.source,
        "shape": list(content.train.x.shape[1:]),
        "classes": content.classes,
        "splits": {part: {"examples": parts[part].size, "per_class": counts[part]} for part in parts},
        "value_range": [
            min(int(part.x.min()) for part in parts.values()),
            max(int(part.x.max()) for part in parts.values()),
        ],
        "fingerprint": content.fingerprint(),
    }


def _read(name: str, data_dir: _Folder, image_size: int | None) -> Content:
    if image_size is not None and (isinstance(image_size, bool) or not 0 < image_size <= MOST_IMAGE_SIZE):
        raise UsageError(
            f"`image_size` must be a number of pixels from 1 to {MOST_IMAGE_SIZE}. Received: {image_size!r}.",
            "Pass e.g. 32.",
        )
    if locations.is_path(name):
        return image_reading.read(name, image_size=image_size)
    locations.check_name(name)
    content = digits.read() if name == "digits" else tfds.read(preparing.prepare(name, data_dir=data_dir))
    return content if image_size is None else resize_content(content, image_size)


def _default_validation(name: str) -> int | float:
    return KNOWN[name].validation if name in KNOWN else DEFAULT_VALIDATION


def _normalized(arrays: Arrays, how: Normalization) -> Arrays:
    return Arrays(how.apply(arrays.x), arrays.y)


def describe_one(name: str, *, data_dir: _Folder = None, image_size: int | None = None) -> dict[str, Any]:
    """Describe one data set, as `describe` does all of them; of a folder of images the header of each is read.

    Args:
        name: as for `load`.
        data_dir: as for `load`.
        image_size: as for `load`.

    Raises:
        LotteryError: a folder of images can't be read, as for `load`.
    """
    if locations.is_path(name):
        return _describe_folder(name, image_size)
    row = _describe_named(name, data_dir)
    if image_size is not None and row["shape"]:
        row["shape"] = [image_size, image_size, row["shape"][-1]]
    return row


def _describe_folder(name: str, image_size: int | None) -> dict[str, Any]:
    images = list_images(name)
    sizes = {part: len(files) for part, files in images.parts.items()}
    row = {"name": name, "shape": list(check_images(images, image_size=image_size)), "classes": len(images.class_names)}
    row |= {"source": "a folder of images", "status": "images", "location": str(images.path)}
    return row | _split_sizes(sizes, DEFAULT_VALIDATION)


def _describe_named(name: str, data_dir: _Folder) -> dict[str, Any]:
    known, prepared = KNOWN.get(name), locations.find_prepared(name, data_dir)
    row: dict[str, Any] = dict.fromkeys(("shape", "classes", "train", "validation", "test"))
    row = {"name": name, **row, "source": known.source if known else "TFDS"}
    if known:
        row |= {"shape": list(known.shape), "classes": known.classes, "test": known.test}
        row |= {"train": known.train - known.validation, "validation": known.validation}
    if name == "digits":
        return row | {"status": "embedded", "location": "scikit-learn"}
    if prepared:
        try:
            return row | _sizes(name, prepared) | {"status": "prepared", "location": str(prepared)}
        except LotteryError as error:
            return row | {"status": "unusable", "location": error.cause}
    raw = locations.find_raw(name, data_dir)
    if raw:
        return row | {"status": "raw files", "location": str(raw)}
    fetch = known is None or known.fetchable
    return row | {
        "status": "missing",
        "location": f"`tf_lottery.data.prepare({name!r}, download=True)`" if fetch else "`data_dir`",
    }


def _sizes(name: str, folder: Any) -> dict[str, Any]:
    metadata = read_metadata(folder)
    sizes = _split_sizes(metadata.sizes, _default_validation(name))
    return {"shape": list(metadata.shape), "classes": metadata.classes, **sizes}


def _split_sizes(sizes: Mapping[str, int], share: int | float) -> dict[str, int | None]:
    train, held_out = sizes.get("train", 0), sizes.get("validation", 0)
    if not held_out:
        held_out = share if isinstance(share, int) else round(share * train)
        train -= held_out
    return {"train": train, "validation": held_out, "test": sizes.get("test")}
