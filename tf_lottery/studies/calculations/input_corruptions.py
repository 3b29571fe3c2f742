"""Corruptions of inputs: pure functions of images and a level. NumPy and SciPy only.

Images are scaled to [0, 1]: 0 and 1 are the least and the greatest value of each channel in the training data. The
kinds follow Hendrycks & Dietterich (2019, arXiv 1903.12261).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tf_lottery.utils import seeds

# (images, level, seed) -> images, of the same shape.
CorruptInputs: TypeAlias = Callable[[np.ndarray, float, int], np.ndarray]


@dataclass(frozen=True)
class Corruption:
    """A kind of corruption.

    Attributes:
        function: returns inputs corrupted at a level, with a seed for what is drawn at random.
        levels: the levels to evaluate, from weak to strong.
        unit: the unit of a level, in words.
        images: whether it needs inputs with a height and a width.
    """

    function: CorruptInputs
    levels: tuple[float, ...]
    unit: str
    images: bool = False


def add_gaussian_noise(x: np.ndarray, level: float, seed: int) -> np.ndarray:
    """Add Gaussian noise to every value, and clip to [0, 1].

    Args:
        x: inputs in [0, 1], shape (examples, ...).
        level: the standard deviation of the noise.
        seed: the seed of the noise.
    """
    noise = seeds.generator(seed, "input noise").standard_normal(x.shape, dtype=np.float32)
    return np.asarray(np.clip(x + level * noise, 0.0, 1.0))


def blur(x: np.ndarray, level: float, seed: int) -> np.ndarray:
    """Blur images by a Gaussian filter over height and width; the values at the edges are extended.

    Args:
        x: images in [0, 1], shape (examples, height, width, channels).
        level: the standard deviation of the filter, in pixels.
        seed: not used; nothing is drawn at random.
    """
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(x, sigma=(0.0, level, level, *(0.0,) * (x.ndim - 3)), mode="nearest"))


def reduce_contrast(x: np.ndarray, level: float, seed: int) -> np.ndarray:
    """Reduce contrast: move every value towards the mean of its image.

    Args:
        x: inputs in [0, 1], shape (examples, ...).
        level: the fraction of the contrast that is lost.
        seed: not used; nothing is drawn at random.
    """
    image_means = x.mean(axis=tuple(range(1, x.ndim)), keepdims=True)
    return np.asarray(x + level * (image_means - x))


def occlude(x: np.ndarray, level: float, seed: int) -> np.ndarray:
    """Set a square at a random place in each image to 0.

    Args:
        x: images in [0, 1], shape (examples, height, width, channels).
        level: the side of the square, as a fraction of the image's shorter side (rounded to pixels).
        seed: the seed of the places.
    """
    height, width = x.shape[1:3]
    side = round(level * min(height, width))
    generator = seeds.generator(seed, "occlusion")
    top, left = generator.integers(0, height - side + 1, len(x)), generator.integers(0, width - side + 1, len(x))
    rows = (np.arange(height) >= top[:, None]) & (np.arange(height) < top[:, None] + side)
    columns = (np.arange(width) >= left[:, None]) & (np.arange(width) < left[:, None] + side)
    hidden = rows[:, :, None] & columns[:, None, :]
    return np.where(hidden.reshape(*hidden.shape, *(1,) * (x.ndim - 3)), np.zeros((), x.dtype), x)


CORRUPTIONS = {
    "gaussian noise": Corruption(add_gaussian_noise, (0.1, 0.2, 0.3, 0.5), "standard deviation"),
    "blur": Corruption(blur, (0.5, 1.0, 1.5, 2.0), "pixels", images=True),
    "contrast": Corruption(reduce_contrast, (0.3, 0.6, 0.8, 0.9), "fraction lost"),
    "occlusion": Corruption(occlude, (0.25, 0.4, 0.55, 0.7), "fraction of the side", images=True),
}


def corruptions_for_shape(shape: tuple[int, ...]) -> dict[str, Corruption]:
    """Return the corruptions, by name, that fit examples of a shape; without height and width, those of single values.

    Args:
        shape: the shape of one example.
    """
    return {name: kind for name, kind in CORRUPTIONS.items() if len(shape) == 3 or not kind.images}
