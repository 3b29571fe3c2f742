"""Convolutions whose kernels are mostly zero, by the compiled kernels, with their gradients.

They work on blocked activations: float32 of shape (blocks, channels, height, width, 16), where place l of block b is the
example 16 * b + l. What the places beyond the batch hold reaches no result.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf

from tf_lottery.layers.sparse.custom_call import GRADIENTS, LANES, call, call_of_several, check_floats, sizes_of_call

CONVOLUTION, TO_LANES, FROM_LANES = "convolution", "to_lanes", "from_lanes"
BATCH_NORM, MAX_POOL = "batch_norm", "max_pool"


@dataclass(frozen=True)
class ConvShape:
    """The sizes of a convolution.

    Attributes:
        kernel_size: Height and width of the kernel.
        strides: Down and across.
        padding: "same" or "valid", as Keras means it.
        input_size: Height and width of the inputs.
        inputs: The channels of the inputs.
        filters: The channels of the outputs.

    Example:
        >>> ConvShape((3, 3), (2, 2), "same", (32, 32), 16, 32).output_size
        (16, 16)
    """

    kernel_size: tuple[int, int]
    strides: tuple[int, int]
    padding: str
    input_size: tuple[int, int]
    inputs: int
    filters: int

    def __post_init__(self) -> None:
        """Raises for sizes that the kernels don't compute."""
        sizes = {name: getattr(self, name) for name in ("kernel_size", "strides", "input_size")}
        for name, size in {**sizes, "inputs": (self.inputs,), "filters": (self.filters,)}.items():
            if not all(isinstance(number, int) and number >= 1 for number in size):
                raise ValueError(f"`{name}` of a sparse convolution must be positive integers. Received: {size}.")
        if self.padding not in ("same", "valid"):
            raise ValueError(f'`padding` must be "same" or "valid". Received: {self.padding!r}.')
        if min(self.output_size) < 1:
            raise ValueError(
                f"A kernel of {self.kernel_size} without padding is larger than inputs of {self.input_size}."
            )

    @property
    def output_size(self) -> tuple[int, int]:
        """Height and width of the outputs."""
        return self._along(0)[0], self._along(1)[0]

    @property
    def padding_before(self) -> tuple[int, int]:
        """How many zeros come before the first row and the first column."""
        return self._along(0)[1], self._along(1)[1]

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        """Of the dense kernel."""
        return (*self.kernel_size, self.inputs, self.filters)

    def _along(self, axis: int) -> tuple[int, int]:
        size, kernel, stride = self.input_size[axis], self.kernel_size[axis], self.strides[axis]
        if self.padding == "valid":
            return (size - kernel) // stride + 1, 0
        count = -(-size // stride)
        return count, max(0, (count - 1) * stride + kernel - size) // 2


def blocks(batch: int) -> int:
    """Returns how many blocks hold a batch.

    Args:
        batch: The number of examples.
    """
    return -(-batch // LANES)


def to_lanes(images: tf.Tensor) -> tf.Tensor:
    """Returns blocked activations; the places beyond the batch hold 0.

    Args:
        images: float32, of shape (batch, height, width, channels), all known.
    """
    check_floats(images)
    batch, height, width, channels = images.shape
    shape = (blocks(batch), channels, height, width, LANES)
    return call(TO_LANES, [images], (batch, height * width, channels, 0), shape)


def from_lanes(blocked: tf.Tensor, batch: int) -> tf.Tensor:
    """Returns activations as TensorFlow has them: (batch, height, width, channels).

    Args:
        blocked: Blocked activations.
        batch: The number of examples.
    """
    check_floats(blocked)
    _, channels, height, width, _ = blocked.shape
    _check_blocked(blocked, (blocks(batch), channels, height, width, LANES))
    return call(FROM_LANES, [blocked], (batch, height * width, channels, 0), (batch, height, width, channels))


def sparse_conv(
    blocked: tf.Tensor, values: tf.Tensor, index: Mapping[str, tf.Tensor], shape: ConvShape, batch: int
) -> tf.Tensor:
    """Returns the convolution with a kernel of which only some values are kept, blocked.

    To be called in a function that XLA compiles.

    Args:
        blocked: Blocked activations, of shape (blocks, inputs, height, width, 16).
        values: The kept values: float32, of shape (capacity,).
        index: Which values they are, as `conv_index_of` returns it.
        shape: Of the convolution.
        batch: The number of examples.

    Returns:
        Blocked activations, of shape (blocks, filters, height, width, 16).
    """
    check_floats(blocked, values)
    _check_blocked(blocked, _blocked_shape(batch, shape.inputs, shape.input_size))
    sizes = _sizes(shape, batch)
    phases = shape.strides[0] * shape.strides[1]
    tiles = int(index["starts"].shape[0] - 1) // shape.filters
    transposed_tiles = int(index["transposed_starts"].shape[0] - 1) // (phases * shape.inputs)
    # The kernel reads the first four. The gradient needs the others, and finds them here.
    operands = [blocked, values, index["starts"], index["taps"]]
    operands += [index["transposed_starts"], index["transposed_taps"], index["transposed"]]
    result = _blocked_shape(batch, shape.filters, shape.output_size)
    return call(CONVOLUTION, operands, (*sizes, int(values.shape[0]), tiles, transposed_tiles), result)


def max_pool_lanes(blocked: tf.Tensor, shape: ConvShape, batch: int) -> tf.Tensor:
    """Returns the largest values of windows, blocked. The gradient goes to the first of them in a window.

    Args:
        blocked: Blocked activations, of shape (blocks, inputs, height, width, 16).
        shape: Of the windows (`kernel_size`), which stay inside the inputs; as many `filters` as `inputs`.
        batch: The number of examples.
    """
    check_floats(blocked)
    if shape.filters != shape.inputs:
        raise ValueError(f"Pooling keeps its {shape.inputs} channels. Received: {shape.filters} filters.")
    _check_blocked(blocked, _blocked_shape(batch, shape.inputs, shape.input_size))
    return call(MAX_POOL, [blocked], _sizes(shape, batch), _blocked_shape(batch, shape.inputs, shape.output_size))


def batch_norm_lanes(
    blocked: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float, batch: int, *, relu: bool = False
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns blocked activations, normalized by the statistics of the batch, with these.

    Args:
        blocked: Blocked activations.
        gamma: The scale of each channel: float32, of shape (channels,).
        beta: The offset of each channel.
        epsilon: Added to the variance.
        batch: The number of examples.
        relu: Whether negative results become 0.

    Returns:
        The normalized activations, and the mean and variance of each channel, which have no gradient.
    """
    check_floats(blocked, gamma, beta)
    _, channels, height, width, _ = blocked.shape
    _check_blocked(blocked, _blocked_shape(batch, channels, (height, width)))
    sizes = (batch, channels, height * width, int(relu), repr(float(epsilon)))
    shapes = (blocked.shape, (channels,), (channels,))
    normalized, mean, variance = call_of_several(BATCH_NORM, [blocked, gamma, beta], sizes, shapes)
    return normalized, tf.stop_gradient(mean), tf.stop_gradient(variance)


def _gradient(operation: tf.Operation, upstream: tf.Tensor) -> list[tf.Tensor | None]:
    """Returns the gradients of the operands of a convolution."""
    blocked, values, starts, taps, *transposed = operation.inputs
    sizes = sizes_of_call(operation)
    of_inputs = call("convolution_gradient_of_inputs", [upstream, values, *transposed], sizes, blocked.shape)
    of_values = call("convolution_gradient_of_values", [blocked, upstream, starts, taps], sizes, values.shape)
    return [of_inputs, of_values, None, None, None, None, None]


def _gradient_of_max_pool(operation: tf.Operation, upstream: tf.Tensor) -> list[tf.Tensor | None]:
    (blocked,) = operation.inputs
    return [call("max_pool_gradient", [blocked, upstream], sizes_of_call(operation), blocked.shape)]


def _gradient_of_to_lanes(operation: tf.Operation, upstream: tf.Tensor) -> list[tf.Tensor | None]:
    return [from_lanes(upstream, operation.inputs[0].shape[0])]


def _gradient_of_from_lanes(operation: tf.Operation, upstream: tf.Tensor) -> list[tf.Tensor | None]:
    return [to_lanes(upstream)]


def _gradient_of_batch_norm(operation: tf.Operation, upstream: tf.Tensor, *_: tf.Tensor) -> list[tf.Tensor | None]:
    _, *statistics = operation.outputs
    operands, shapes = [*operation.inputs, *statistics, upstream], [one.shape for one in operation.inputs]
    return list(call_of_several("batch_norm_gradient", operands, sizes_of_call(operation), shapes))


GRADIENTS[CONVOLUTION], GRADIENTS[BATCH_NORM] = _gradient, _gradient_of_batch_norm
GRADIENTS[MAX_POOL] = _gradient_of_max_pool
GRADIENTS[TO_LANES], GRADIENTS[FROM_LANES] = _gradient_of_to_lanes, _gradient_of_from_lanes


def _sizes(shape: ConvShape, batch: int) -> tuple[int, ...]:
    """Returns what the kernels are told of a shape."""
    sizes = (batch, *shape.kernel_size, *shape.strides, *shape.padding_before, *shape.input_size, shape.inputs)
    return (*sizes, *shape.output_size, shape.filters)


def _blocked_shape(batch: int, channels: int, size: tuple[int, int]) -> tuple[int, ...]:
    return (blocks(batch), channels, *size, LANES)


def _check_blocked(blocked: tf.Tensor, shape: tuple[int, ...]) -> None:
    if tuple(blocked.shape) != shape:
        raise ValueError(f"Blocked activations must have the shape {shape} here. Received: {tuple(blocked.shape)}.")
