"""Products of activations with sparse matrices, by the compiled kernels, with their gradients."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops

from tf_lottery.layers.sparse.custom_call import GRADIENTS, LANES, call, check_floats, compiled, sizes_of_call

MULTIPLY = "multiply"


def sparse_matmul(inputs: tf.Tensor, values: tf.Tensor, index: Mapping[str, tf.Tensor], outputs: int) -> tf.Tensor:
    """Returns inputs @ matrix for a matrix of which only some values are kept.

    To be called in a function that XLA compiles.

    Args:
        inputs: float32, of shape (batch, inputs), both known.
        values: The kept values, output by output: float32, of shape (capacity,).
        index: Which values they are, as `index_of` returns it.
        outputs: The number of outputs.

    Returns:
        float32, of shape (batch, outputs).
    """
    check_floats(inputs, values)
    batch, features = inputs.shape
    sizes = (batch, features, outputs, values.shape[0])
    blocks = tf.stop_gradient(_blocks(inputs))
    # The kernel reads the first four. The gradient needs the others, and finds them here.
    operands = [blocks, values, index["starts"], index["inputs"], inputs]
    operands += [index["transposed_starts"], index["outputs"], index["transposed"]]
    return call(MULTIPLY, operands, (*sizes, _tiles(index["starts"], outputs)), (batch, outputs))


def _gradient(operation: tf.Operation, upstream: tf.Tensor) -> list[tf.Tensor | None]:
    """Returns the gradients of the operands of a product."""
    blocks, values, starts, inputs, _, transposed_starts, outputs, transposed = operation.inputs
    batch, features, count, capacity, tiles = map(int, sizes_of_call(operation))
    sizes = (batch, features, count, capacity)
    above = _blocks(upstream)
    by_input = [transposed_starts, outputs, transposed]
    of_values = call("gradient_of_values", [blocks, above, starts, inputs], (*sizes, tiles), (capacity,))
    across = (*sizes, _tiles(transposed_starts, features))
    of_inputs = call("gradient_of_inputs", [above, values, *by_input], across, (batch, features))
    return [None, of_values, None, None, of_inputs, None, None, None]


GRADIENTS[MULTIPLY] = _gradient


def _tiles(starts: tf.Tensor, lines: int) -> int:
    return int(starts.shape[0] - 1) // lines


def in_batches(
    product: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    inputs: tf.Tensor,
    values: tf.Tensor,
    outputs: int,
    *,
    size: int,
) -> tf.Tensor:
    """Returns `product(inputs, values)` for inputs of which the batch size is not known, some examples at a time.

    Args:
        product: From float32 tensors (size, inputs) and (capacity,) to one of (size, outputs), with gradients.
        inputs: float32, of shape (batch, inputs).
        values: The kept values, of shape (capacity,).
        outputs: The number of outputs.
        size: How many examples to compute at a time.
    """
    features, capacity = inputs.shape[1], values.shape[0]

    def pieces(matrix: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        count = -(-tf.maximum(tf.shape(matrix)[0], 1) // size)  # XLA compiles the loop, where no piece may be missing
        padded = tf.pad(matrix, [[0, count * size - tf.shape(matrix)[0]], [0, 0]])
        return padded, count

    def piece(padded: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        return tf.slice(padded, [number * size, 0], [size, padded.shape[1]])

    def put(whole: tf.Tensor, number: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
        return gen_xla_ops.xla_dynamic_update_slice(whole, part, [number * size, 0])

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def whole_product(inputs: tf.Tensor, values: tf.Tensor) -> tuple[tf.Tensor, Any]:
        batch = tf.shape(inputs)[0]
        padded, count = pieces(inputs)

        def forward(number: tf.Tensor, result: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return number + 1, put(result, number, product(piece(padded, number), values))

        start = (0, tf.zeros([count * size, outputs]))
        _, result = tf.while_loop(lambda number, _: number < count, forward, start)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            above, _ = pieces(upstream)

            def backward(number: tf.Tensor, of_inputs: tf.Tensor, of_values: tf.Tensor) -> tuple[tf.Tensor, ...]:
                part = piece(padded, number)
                with tf.GradientTape() as tape:
                    tape.watch([part, values])
                    result = product(part, values)
                of_part, more = tape.gradient(result, [part, values], piece(above, number))
                return number + 1, put(of_inputs, number, of_part), of_values + more

            start = (0, tf.zeros_like(padded), tf.zeros([capacity]))
            _, of_inputs, of_values = tf.while_loop(lambda number, *_: number < count, backward, start)
            return tf.reshape(of_inputs[:batch], [-1, features]), of_values

        return result[:batch], gradient

    return whole_product(inputs, values)


def take_values(matrix: tf.Tensor, index: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Returns the kept values of a kernel, in the order of its index, padded with 0 to the capacity.

    Args:
        matrix: float32, of shape (inputs, outputs) or (height, width, inputs, outputs).
        index: Which values are kept.
    """
    check_floats(matrix)
    capacity = index["places"].shape[0]

    def take(matrix: tf.Tensor, places: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        return call("take", [matrix, places, count], (0, *_as_matrix(matrix), capacity), (capacity,))

    return compiled(take)(matrix, index["places"], index["starts"][-1])


def put_values(matrix: tf.Tensor, values: tf.Tensor, index: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Returns a kernel with other values at the kept places.

    Args:
        matrix: float32, of shape (inputs, outputs) or (height, width, inputs, outputs).
        values: The values, in the order of the index.
        index: Which values are kept.
    """
    check_floats(matrix, values)

    def put(matrix: tf.Tensor, values: tf.Tensor, places: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        sizes = (0, *_as_matrix(matrix), values.shape[0])
        return call("put", [matrix, values, places, count], sizes, tuple(matrix.shape))

    return compiled(put)(matrix, values, index["places"], index["starts"][-1])


def _as_matrix(kernel: tf.Tensor) -> tuple[int, int]:
    return int(np.prod(kernel.shape[:-1])), int(kernel.shape[-1])


def _blocks(matrix: tf.Tensor) -> tf.Tensor:
    """Returns activations as the kernels read them: feature by feature, the examples of a block side by side."""
    batch, features = matrix.shape
    padded = -(-batch // LANES) * LANES
    return call("to_blocks", [matrix], (batch, features, 0, 0), (padded * features,))
