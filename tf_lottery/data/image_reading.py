"""Folders of images, decoded and resized into NumPy arrays."""

import os
from pathlib import Path

import numpy as np

from tf_lottery.data.arrays import Arrays
from tf_lottery.data.content import Content
from tf_lottery.data.image_folders import MOST_BYTES, broken, check_images, list_images, read_header
from tf_lottery.data.resizing import resize
from tf_lottery.errors import ResourceError
from tf_lottery.utils.regular_files import read_regular
from tf_lottery.utils.text import one_line

SCALE = 255.0


def read(folder: str | os.PathLike[str], *, image_size: int | None = None) -> Content:
    """Read a folder of images, sorted by class and file name.

    Args:
        folder: a folder as for `list_images`.
        image_size: the height and width in pixels to which images are resized; None keeps their size.

    Returns:
        Images of uint8 with one channel if all of them are gray, else with three. Alpha is left out.

    Raises:
        UnfitError: there is no such folder, it does not hold images of classes, or they differ in size.
        DamagedError: an image is damaged.
        ResourceError: a file may not be read, or the images do not fit in memory.
    """
    images = list_images(folder)
    shape = check_images(images, image_size=image_size)
    parts = {name: _read_part(files, shape) for name, files in images.parts.items()}
    return Content(
        parts["train"],
        parts.get("validation"),
        parts.get("test"),
        classes=len(images.class_names),
        scale=SCALE,
        source=str(images.path),
        class_names=images.class_names,
    )


def _read_part(files: tuple[tuple[Path, int], ...], shape: tuple[int, int, int]) -> Arrays:
    try:
        x = np.empty((len(files), *shape), np.uint8)
        for place, (path, _) in enumerate(files):
            x[place] = resize(_decoded(path, channels=shape[-1])[np.newaxis], shape[:2])[0]
    except MemoryError as error:
        raise ResourceError(
            f"{len(files):,} images of shape {shape} do not fit in memory.",
            "Resize them to fewer pixels by `image_size`, or free memory.",
        ) from error
    return Arrays(x, np.array([label for _, label in files], np.int32))


def _decoded(path: Path, *, channels: int) -> np.ndarray:
    """Return the image of a file, of a GIF its first frame: uint8 of shape (height, width, channels)."""
    import tensorflow as tf

    header = read_header(path)
    try:
        content = read_regular(path, most=MOST_BYTES)
    except OSError as error:
        raise ResourceError(f"{path} cannot be read: {error.strerror}.", "Check it and its permissions.") from error
    try:
        with tf.device("CPU"):
            # Of a BMP file the decoder can't leave out alpha.
            wanted = 0 if header.format == "BMP" else channels
            image = np.asarray(tf.io.decode_image(content, channels=wanted, expand_animations=False))
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryError from error
    except tf.errors.OpError as error:
        raise broken(path, one_line(error).rstrip(".")) from error
    image = image[..., :channels]
    if image.shape != (header.height, header.width, channels):
        raise broken(path, f"its header says {header.height}x{header.width}, its content has shape {image.shape}")
    return image
