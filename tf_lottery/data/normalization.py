"""What is done to raw pixel values: nothing, scaling to [0, 1], or standardising each channel."""

from dataclasses import dataclass

import numpy as np

from tf_lottery.errors import UsageError
from tf_lottery.utils.text import suggestion

MODES = ("none", "unit", "standard")


@dataclass(frozen=True)
class Normalization:
    """The map `(x / scale - mean) / std`, applied per channel.

    Attributes:
        mode: "none", "unit" (divide by the largest possible value) or "standard" ("unit", then zero mean and unit
            standard deviation of each channel over the training part).
        scale: the largest possible raw value, e.g. 255.
        mean: one number per channel, after scaling; empty unless the mode is "standard".
        std: one standard deviation per channel, after scaling; empty unless the mode is "standard".
    """

    mode: str
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def of_raw_values(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the mean and the standard deviation, as numbers of raw values `x`: the map is `(x - mean) / std`.

        Example:
            >>> Normalization("unit", 255.0).of_raw_values()
            ((0.0,), (255.0,))
        """
        means, deviations = self.mean or (0.0,), self.std or (1.0,)
        return tuple(mean * self.scale for mean in means), tuple(std * self.scale for std in deviations)

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Normalize images of shape (examples, ..., channels), of any dtype.

        Returns:
            A new float32 array of the same shape.
        """
        result = np.array(x, dtype=np.float32)
        if self.mode != "none":
            result /= np.float32(self.scale)
        if self.mode == "standard":
            result -= np.asarray(self.mean, np.float32)
            result /= np.asarray(self.std, np.float32)
        return result


def fit(x: np.ndarray, *, mode: str, scale: float) -> Normalization:
    """Find the normalization of raw images from the training part alone, so that nothing leaks from the other parts.

    Args:
        x: raw training images, shape (examples, ..., channels), non-negative integers.
        mode: one of `MODES`.
        scale: the largest possible raw value.

    Raises:
        UsageError: an unknown mode.

    Example:
        >>> fit(np.array([[[0], [4]]], "uint8"), mode="standard", scale=4)
        Normalization(mode='standard', scale=4.0, mean=(0.5,), std=(0.5,))
    """
    if mode not in MODES:
        raise UsageError(f"Unknown normalization {mode!r}.", suggestion(mode, MODES))
    if mode != "standard":
        return Normalization(mode, 1.0 if mode == "none" else float(scale))
    values = np.arange(int(x.max()) + 1) / scale
    means, deviations = [], []
    for channel in range(x.shape[-1]):
        share = _histogram(x[..., channel], len(values)) / x[..., channel].size
        mean = float(share @ values)
        deviation = float(np.sqrt(share @ (values - mean) ** 2))
        means.append(mean)
        # A constant channel carries nothing: leave it at zero instead of dividing by zero.
        deviations.append(deviation or 1.0)
    return Normalization(mode, float(scale), tuple(means), tuple(deviations))


def _histogram(x: np.ndarray, length: int) -> np.ndarray:
    # Counting is exact, independent of the order, and in slices needs no float copy of the whole data set.
    counts = np.zeros(length, np.int64)
    for start in range(0, len(x), 4096):
        counts += np.bincount(x[start : start + 4096].ravel(), minlength=length)
    return counts
