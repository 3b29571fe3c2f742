"""Images of another size."""

from dataclasses import replace

import numpy as np

from tf_lottery.data.arrays import Arrays
from tf_lottery.data.content import Content

_AT_ONCE = 256  # images, so that their float copies stay small


def resize(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize images by bilinear interpolation, with antialiasing where they become smaller.

    Args:
        images: unsigned integers, shape (examples, height, width, channels).
        size: the new height and width in pixels.

    Returns:
        Images of the new size and of the same dtype, rounded to the nearest integer; `images` if they have that size.
    """
    if images.shape[1:3] == tuple(size):
        return images
    import tensorflow as tf

    result = np.empty((len(images), *size, images.shape[-1]), images.dtype)
    with tf.device("CPU"):
        for start in range(0, len(images), _AT_ONCE):
            some = tf.image.resize(images[start : start + _AT_ONCE], size, method="bilinear", antialias=True)
            # Weights that do not add up to one exactly must not lead beyond the range.
            result[start : start + _AT_ONCE] = np.clip(np.rint(some), images.min(), images.max())
    return result


def resize_content(content: Content, image_size: int) -> Content:
    """Resize the images of all splits.

    Args:
        content: the raw images.
        image_size: the new height and width in pixels.
    """
    parts = {
        name: Arrays(resize(np.asarray(part.x), (image_size, image_size)), part.y, part.sample_weight)
        for name, part in content.parts().items()
    }
    return replace(content, train=parts["train"], validation=parts.get("validation"), test=parts.get("test"))
