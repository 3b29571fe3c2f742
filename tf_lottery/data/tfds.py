"""Prepared TFDS data sets, read whole into NumPy arrays."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tf_lottery.data.arrays import Arrays
from tf_lottery.data.content import Content
from tf_lottery.data.metadata import read_metadata
from tf_lottery.errors import DamagedError, ResourceError, UnfitError
from tf_lottery.utils.text import one_line

SPLITS = ("train", "validation", "test")


def read(folder: Path) -> Content:
    """Read the training, validation and test splits of a prepared data set, in the order of its files.

    Args:
        folder: the folder of one version, e.g. `.../mnist/3.0.1`.

    Raises:
        DamagedError: a file is missing, truncated or altered (each record carries a checksum), or holds fewer examples
            than it should.
        UnfitError: it is not an image-classification data set, has no training split, or labels out of range.
        ResourceError: a file may not be read, or does not fit in memory.
    """
    metadata = read_metadata(folder)
    if not metadata.sizes.get("train"):
        raise UnfitError(
            f"{metadata.name} in {folder} has no examples in a split named 'train', only: "
            f"{', '.join(metadata.sizes) or 'nothing'}.",
            "Choose another data set.",
        )
    parts = {
        name: _read_split(folder, name, size=metadata.sizes[name], shape=metadata.shape)
        for name in SPLITS
        if metadata.sizes.get(name)
    }
    return Content(
        parts["train"],
        parts.get("validation"),
        parts.get("test"),
        metadata.classes,
        metadata.scale,
        str(folder),
        metadata.class_names,
    )


@contextlib.contextmanager
def quiet(*, progress: bool = False) -> Iterator[None]:
    """Keep TFDS's messages off stdout, where a caller's data goes, and its progress bars off stderr unless wanted."""
    import tensorflow_datasets as tfds

    if not progress:
        tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()


def _read_split(folder: Path, split: str, *, size: int, shape: tuple[int, int, int]) -> Arrays:
    import tensorflow as tf
    import tensorflow_datasets as tfds

    try:
        with quiet(), tf.device("CPU"):
            builder = tfds.builder_from_directory(str(folder))
            # One file after the other: the order of the examples is that of the files, on every machine.
            config = tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1)
            wanted = {"image", "label"}
            others = set(builder.info.features) - wanted
            decoding = tfds.decode.PartialDecoding(dict.fromkeys(wanted, True)) if others else None
            columns = tfds.as_numpy(
                builder.as_dataset(
                    split=split, batch_size=-1, read_config=config, decoders=decoding, shuffle_files=False
                )
            )
    except (tf.errors.PermissionDeniedError, PermissionError) as error:
        raise ResourceError(f"The data set in {folder} may not be read.", "Give yourself the right to.") from error
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise ResourceError(
            f"The {split} split in {folder} does not fit in memory: {size} images of shape {shape}.",
            "Free memory, or choose a smaller data set.",
        ) from error
    except Exception as error:  # what TFDS and protobuf raise for a broken file has no common base
        raise DamagedError(
            f"The {split} split in {folder} cannot be read: {one_line(error)}",
            "Delete that folder and prepare the data set again.",
        ) from error
    x, y = np.asarray(columns["image"]), np.asarray(columns["label"])
    if x.shape != (size, *shape) or y.shape != (size,):
        raise DamagedError(
            f"The {split} split in {folder} must hold {size} images of shape {shape}. Received: {x.shape}.",
            "Delete that folder and prepare the data set again.",
        )
    return Arrays(x, y.astype(np.int32))
