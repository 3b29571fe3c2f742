"""What LiteRT's runtimes do with zeros, as rules over single operations.

XNNPACK runs a stretch of a convolutional network on sparse kernels if it may hold its values channel by channel there.
The rules for that are facts of its public source (`xnn_check_nchw_compatibility` and `xnn_subgraph_rewrite_for_nchw` in
XNNPACK's src/subgraph.c; the delegate's use of them in TFLite's xnnpack_delegate.cc): see docs/mobile.md. Those for
dense layers, and what the converter encodes, were seen by running: see docs/facts.md.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tf_lottery.exporting.diagnose.operations import Operation
from tf_lottery.exporting.tflite.encoding import WEIGHT_INPUTS

PAYS = 2 / 3
"""XNNPACK's sparse convolutions need more zeros than this; blocks of dense layers are faster above about as much."""

FIRST, INSIDE, LAST = "first", "inside", "last"
UNARY = {
    *("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "LOGISTIC", "HARD_SWISH", "LEAKY_RELU", "ELU", "TANH", "GELU"),
    *("ABS", "NEG", "CEIL", "FLOOR", "ROUND", "SQUARE", "SQRT", "RSQRT", "EXP", "LOG", "COS", "SIN"),
}
CONTROL_FLOW = {"WHILE", "IF", "CALL", "CALL_ONCE", "STABLEHLO_WHILE"}
ENCODED = frozenset(WEIGHT_INPUTS)
MULTIPLYING = ENCODED - {"GATHER", "BATCH_MATMUL"}
"""Operations that multiply each place of their input with a kernel."""


@dataclass(frozen=True)
class Reason:
    """Why an operation runs as it does.

    Attributes:
        reason: why.
        advice: what to change; empty if nothing.
    """

    reason: str
    advice: str = ""


@dataclass(frozen=True)
class SparseLayout:
    """Where an operation may stand in a stretch of sparse kernels.

    Attributes:
        places: some of "first", "inside" and "last".
        obstacles: why it may stand nowhere.
    """

    places: frozenset[str] = frozenset()
    obstacles: tuple[Reason, ...] = field(default=())


def in_percent(share: float) -> str:
    """Return a share as text such as "61 %"; it is never rounded to a bound that it does not reach.

    Example:
        >>> in_percent(0.612), in_percent(0.9999), in_percent(0.0001)
        ('61 %', '99.9 %', '0.1 %')
    """
    for digits in (0, 1):
        value = round(100 * share, digits)
        if 0 < value < 100 or share in (0, 1):
            return f"{value:.{digits}f} %"
    return "99.9 %" if share > 0.5 else "0.1 %"


def zero_share(weights: npt.NDArray[Any]) -> float:
    """Return the fraction of an array that is zero."""
    return float(np.mean(weights == 0)) if weights.size else 0.0


def zero_block_share(operation: Operation, size: int) -> float | None:
    """Return the fraction of the weights that lie in zero blocks of `size` adjacent weights along the input axis.

    Blocks are counted from the first input; a shorter one at the end counts where it is all zero.

    Args:
        operation: any.
        size: weights per block.

    Returns:
        The fraction, or None for operations whose weights have no input axis.
    """
    weights = operation.weights
    if weights is None or weights.ndim < 2 or operation.kind not in MULTIPLYING - {"DEPTHWISE_CONV_2D"}:
        return None
    rows = weights.reshape(-1, weights.shape[-1])
    starts = np.arange(0, rows.shape[1], size)
    lengths = np.diff(np.append(starts, rows.shape[1]))
    nonzero = np.add.reduceat((rows != 0).astype(np.int64), starts, axis=1)
    return float(((nonzero == 0) * lengths).sum() / rows.size)


def blocking_reason(operation: Operation) -> Reason | None:
    """Return why no delegate takes an operation; None for one that a delegate may take."""
    kind = operation.kind
    if kind.startswith("CUSTOM:Flex"):
        return Reason(
            f"{kind[7:]} is a TensorFlow operation: the default interpreter does not even load it",
            "replace it with Keras layers that have TFLite operations",
        )
    if kind.startswith("CUSTOM:"):
        return Reason(
            f"{kind[7:]} is a custom operation: it needs its own kernel, and no delegate takes it",
            "replace it with Keras layers that have TFLite operations",
        )
    if kind in CONTROL_FLOW:
        return Reason(
            "control flow: a delegate takes no loop and no branch, and what it holds runs step by step outside of it",
            "give a recurrent layer `unroll=True` if its sequences are short, or use convolutions over time",
        )
    if operation.dynamic:
        return Reason(
            "its output's shape is known at run time only: delegates take static shapes",
            "give every dimension but the batch a fixed size in `keras.Input`",
        )
    return None


def sparse_layout(operation: Operation, padding: tuple[int, int, int, int] | None = None) -> SparseLayout:
    """Return where XNNPACK's sparse kernels allow an operation.

    Args:
        operation: any.
        padding: rows and columns of zeros at (top, bottom, left, right) of a convolution's input, explicit ones
            included; None: those that the operation itself adds, as far as they are the same on both sides.
    """
    if operation.computes != "float32":
        text = f"it computes in {operation.computes}: XNNPACK's sparse kernels take floats"
        return SparseLayout(obstacles=(Reason(text, "export float32"),))
    kind = operation.kind
    if kind == "CONV_2D":
        return _convolution(operation, padding)
    if kind == "DEPTHWISE_CONV_2D":
        return _depthwise(operation, padding)
    if kind in UNARY or kind in ("ADD", "MUL"):
        return _elementwise(operation)
    if kind in ("MEAN", "SUM"):
        axes = None if operation.constant is None else sorted(int(axis) % 4 for axis in operation.constant.ravel())
        if len(operation.input_shape) == 4 and axes == [1, 2]:
            return SparseLayout(frozenset({INSIDE, LAST}))
        return SparseLayout(obstacles=(Reason("it does not reduce height and width", "use GlobalAveragePooling2D"),))
    if kind == "DEPTH_TO_SPACE":
        return SparseLayout(frozenset({LAST}))
    if kind == "RESIZE_BILINEAR":
        return SparseLayout(frozenset({INSIDE}))
    if kind in ("PAD", "PADV2"):
        text = "padding that no convolution directly behind it takes in"
        return SparseLayout(
            obstacles=(Reason(text, "put ZeroPadding2D directly before a convolution with padding='valid'"),)
        )
    remedies = {
        "MAX_POOL_2D": "halve the image with a stride-2 depthwise convolution",
        "AVERAGE_POOL_2D": "use GlobalAveragePooling2D at the end, a stride-2 depthwise convolution elsewhere",
        "PRELU": "use ReLU",
        "RESHAPE": "end the convolutions with GlobalAveragePooling2D instead of Flatten",
    }
    return SparseLayout(obstacles=(Reason(f"XNNPACK's sparse kernels know no {kind}", remedies.get(kind, "")),))


def _convolution(operation: Operation, padding: tuple[int, int, int, int] | None) -> SparseLayout:
    obstacles = []
    channels = operation.input_shape[-1] if operation.input_shape else 0
    if operation.weights is None:
        return SparseLayout(obstacles=(Reason("its weights are computed at run time"),))
    if operation.weights.shape[-1] != channels:
        obstacles.append(
            Reason("grouped convolution", "use groups=1, or a depthwise convolution and a 1x1 convolution")
        )
    if operation.dilations != (1, 1):
        obstacles.append(Reason(f"dilation {_pair(operation.dilations)}", "use dilation_rate=1"))
    if operation.kernel == (1, 1):
        if operation.strides != (1, 1):
            text = f"stride {_pair(operation.strides)} in a 1x1 convolution"
            obstacles.append(Reason(text, "stride in the depthwise convolution before it"))
        if padding is not None and any(padding):
            obstacles.append(Reason("padding before a 1x1 convolution", "leave it out"))
        return SparseLayout(obstacles=tuple(obstacles)) if obstacles else SparseLayout(frozenset({INSIDE}))
    if operation.kernel != (3, 3) or channels != 3 or operation.strides != (2, 2):
        text = (
            f"a {_pair(operation.kernel)} convolution of stride {_pair(operation.strides)} on {channels} channels: "
            "sparse kernels are for 1x1 convolutions; only the first may be 3x3, of stride 2, on 3 channels"
        )
        obstacles.append(Reason(text, "use a depthwise convolution and a 1x1 convolution"))
    else:
        obstacles += _symmetric(operation, padding)
    return SparseLayout(obstacles=tuple(obstacles)) if obstacles else SparseLayout(frozenset({FIRST}))


def _depthwise(operation: Operation, padding: tuple[int, int, int, int] | None) -> SparseLayout:
    obstacles = []
    if operation.multiplier != 1:
        obstacles.append(Reason(f"depth multiplier {operation.multiplier}", "use depth_multiplier=1"))
    if operation.dilations != (1, 1):
        obstacles.append(Reason(f"dilation {_pair(operation.dilations)}", "use dilation_rate=1"))
    if operation.strides not in ((1, 1), (2, 2)):
        obstacles.append(Reason(f"stride {_pair(operation.strides)}", "use stride 1 or 2"))
    if operation.kernel not in ((3, 3), (5, 5)):
        obstacles.append(Reason(f"a {_pair(operation.kernel)} depthwise kernel", "use 3x3 or 5x5"))
    elif not obstacles:
        obstacles += _symmetric(operation, padding)
    return SparseLayout(obstacles=tuple(obstacles)) if obstacles else SparseLayout(frozenset({INSIDE}))


def _symmetric(operation: Operation, padding: tuple[int, int, int, int] | None) -> list[Reason]:
    # TensorFlow's SAME becomes explicit padding at stride 1; at stride 2 it depends on the size of the image.
    needed = operation.kernel[0] // 2
    if padding is None and operation.padding == "same":
        if operation.strides == (1, 1):
            return []
        text = f"stride-{operation.strides[0]} SAME padding"
        return [Reason(text, f"use ZeroPadding2D({needed}) and padding='valid'")]
    explicit = padding or (0, 0, 0, 0)
    if operation.padding == "valid" and explicit == (needed,) * 4:
        return []
    where = "no padding" if not any(explicit) else f"padding {explicit} at top, bottom, left and right"
    text = f"{where}: a {_pair(operation.kernel)} kernel needs {needed} on each side"
    return [Reason(text, f"use ZeroPadding2D({needed}) and padding='valid'")]


def _elementwise(operation: Operation) -> SparseLayout:
    if len(operation.input_shape) == 4:
        return SparseLayout(frozenset({INSIDE}))
    return SparseLayout(
        obstacles=(Reason(f"{operation.kind} on values of {len(operation.input_shape)} dimensions, not 4"),)
    )


def _pair(values: tuple[int, int]) -> str:
    return f"{values[0]}x{values[1]}"
