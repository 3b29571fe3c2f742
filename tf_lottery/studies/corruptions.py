"""Corrupted inputs: pure functions from images and a level to images. NumPy and SciPy only.

Images are scaled to [0, 1] here: 0 and 1 are the least and the greatest value of each channel in the training data.
Kinds after Hendrycks & Dietterich (2019, arXiv 1903.12261).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tf_lottery.utils import seeds


@dataclass(frozen=True)
class Corruption:
    """A kind of corruption.

    Attributes:
        function: (x, level, seed) -> x, of the same shape.
        levels: from weak to strong.
        unit: what a level is.
        images: whether it needs a height and a width.
    """

    function: Callable[[np.ndarray, float, int], np.ndarray]
    levels: tuple[float, ...]
    unit: str
    images: bool = False


def gaussian_noise(x: np.ndarray, level: float, seed: int) -> np.ndarray:
    """Gaussian noise of standard deviation `level` on every value, clipped to [0, 1]."""
    noise = seeds.generator(seed, "input noise").standard_normal(x.shape, dtype=np.float32)
    return np.clip(x + level * noise, 0.0, 1.0)


def blur(x: np.ndarray, level: float, seed: int) -> np.ndarray:
    """Gaussian blur of `level` pixels' standard deviation over height and width; edges are extended."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(x, sigma=(0.0, level, level, *(0.0,) * (x.ndim - 3)), mode="nearest")


def contrast(x: np.ndarray, level: float, seed: int) -> np.ndarray:
    """Contrast lost: each image drawn towards its own mean, of which `level` is the fraction that is lost."""
    middle = x.mean(axis=tuple(range(1, x.ndim)), keepdims=True)
    return x + level * (middle - x)


def occlusion(x: np.ndarray, level: float, seed: int) -> np.ndarray:
    """A square of value 0, of `level` times the shorter side (rounded), at a random place in each image."""
    height, width = x.shape[1:3]
    side = round(level * min(height, width))
    generator = seeds.generator(seed, "occlusion")
    top, left = generator.integers(0, height - side + 1, len(x)), generator.integers(0, width - side + 1, len(x))
    rows = (np.arange(height) >= top[:, None]) & (np.arange(height) < top[:, None] + side)
    columns = (np.arange(width) >= left[:, None]) & (np.arange(width) < left[:, None] + side)
    hidden = rows[:, :, None] & columns[:, None, :]
    return np.where(hidden.reshape(*hidden.shape, *(1,) * (x.ndim - 3)), np.zeros((), x.dtype), x)


CORRUPTIONS = {
    "gaussian noise": Corruption(gaussian_noise, (0.1, 0.2, 0.3, 0.5), "standard deviation"),
    "blur": Corruption(blur, (0.5, 1.0, 1.5, 2.0), "pixels", images=True),
    "contrast": Corruption(contrast, (0.3, 0.6, 0.8, 0.9), "fraction lost"),
    "occlusion": Corruption(occlusion, (0.25, 0.4, 0.55, 0.7), "fraction of the side", images=True),
}


def fitting(shape: tuple[int, ...]) -> dict[str, Corruption]:
    """The corruptions that examples of a shape can take: without height and width, those of single values."""
    return {name: each for name, each in CORRUPTIONS.items() if len(shape) == 3 or not each.images}
