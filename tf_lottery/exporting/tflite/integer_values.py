"""Numbers as a quantized tensor holds them: whole ones, with a scale and a zero point. NumPy only."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Quantization:
    """How a tensor of whole numbers stands for real ones: `scale * (whole - zero_point)`.

    Attributes:
        dtype: e.g. "int8".
        scale: what a step of one is worth.
        zero_point: the whole number that stands for 0.0.
    """

    dtype: str
    scale: float
    zero_point: int

    def quantize(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the nearest whole numbers, halves away from zero as LiteRT rounds; what is out of range is clipped.

        Args:
            values: any array of numbers.

        Example:
            >>> Quantization("int8", 0.5, -1).quantize(np.array([0.0, 0.25, -0.25, 1000.0]))
            array([ -1,   0,  -2, 127], dtype=int8)
        """
        steps = np.asarray(values, np.float32) / np.float32(self.scale)
        rounded = np.trunc(steps + np.copysign(np.float32(0.5), steps)) + self.zero_point
        limits = np.iinfo(self.dtype)
        clipped: npt.NDArray[Any] = np.clip(rounded, limits.min, limits.max).astype(self.dtype)
        return clipped

    def dequantize(self, wholes: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the real numbers that whole ones stand for, in float32.

        Args:
            wholes: an array of the dtype.

        Example:
            >>> Quantization("int8", 0.5, -1).dequantize(np.array([-1, 0, 127], np.int8)).tolist()
            [0.0, 0.5, 64.0]
        """
        return np.float32(self.scale) * (wholes.astype(np.int32) - self.zero_point).astype(np.float32)
