"""Products of activations with sparse matrices, by the compiled kernels, with their gradients."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tensorflow.python.ops import control_flow_util

PREFIX, MULTIPLY = "tf_lottery_", "multiply"
STEP = 16
"""The kernels pad a batch to a multiple of this."""


def compiled(function: Callable[..., Any]) -> Any:
    """Returns a function that XLA compiles: the function itself where one that XLA compiles is being traced.

    Make one for each place in a graph. One that is traced once and called in two graphs that take gradients is compiled
    again at each call, which takes a second.

    Args:
        function: Of tensors.
    """
    if control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()):
        return function
    alone = tf.function(function, jit_compile=True, autograph=False, reduce_retracing=True)
    alone._omit_frequent_tracing_warning = True
    return alone


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
    _check_floats(inputs, values)
    batch, features = inputs.shape
    sizes = (batch, features, outputs, values.shape[0])
    blocks = tf.stop_gradient(_blocks(inputs))
    # The kernel reads the first four. The gradient needs the others, and finds them here.
    operands = [blocks, values, index["starts"], index["inputs"], inputs]
    operands += [index["transposed_starts"], index["outputs"], index["transposed"]]
    return _call(MULTIPLY, operands, (*sizes, _tiles(index["starts"], outputs)), (batch, outputs))


@tf.RegisterGradient("XlaCustomCallV2")  # type: ignore[untyped-decorator]
def _gradient(operation: tf.Operation, upstream: tf.Tensor) -> list[tf.Tensor | None]:
    """Returns the gradients of the operands of a custom call. A `tf.custom_gradient` would stay in memory for good."""
    if operation.get_attr("call_target_name").decode() != PREFIX + MULTIPLY:
        raise LookupError(f"The custom call {operation.name!r} has no gradient.")
    blocks, values, starts, inputs, _, transposed_starts, outputs, transposed = operation.inputs
    batch, features, count, capacity, tiles = map(int, operation.get_attr("backend_config").decode().split())
    sizes = (batch, features, count, capacity)
    above = _blocks(upstream)
    by_input = [transposed_starts, outputs, transposed]
    of_values = _call("gradient_of_values", [blocks, above, starts, inputs], (*sizes, tiles), (capacity,))
    across = (*sizes, _tiles(transposed_starts, features))
    of_inputs = _call("gradient_of_inputs", [above, values, *by_input], across, (batch, features))
    return [None, of_values, None, None, of_inputs, None, None, None]


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
        count = -(-tf.shape(matrix)[0] // size)
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
    """Returns the kept values of a matrix, output by output, padded with 0 to the capacity.

    Args:
        matrix: float32, of shape (inputs, outputs).
        index: Which values are kept.
    """
    _check_floats(matrix)
    capacity = index["places"].shape[0]

    def take(matrix: tf.Tensor, places: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        return _call("take", [matrix, places, count], (0, *matrix.shape, capacity), (capacity,))

    return compiled(take)(matrix, index["places"], index["starts"][-1])


def put_values(matrix: tf.Tensor, values: tf.Tensor, index: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Returns a matrix with other values at the kept places.

    Args:
        matrix: float32, of shape (inputs, outputs).
        values: The values, output by output.
        index: Which values are kept.
    """
    _check_floats(matrix, values)

    def put(matrix: tf.Tensor, values: tf.Tensor, places: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        sizes = (0, *matrix.shape, values.shape[0])
        return _call("put", [matrix, values, places, count], sizes, tuple(matrix.shape))

    return compiled(put)(matrix, values, index["places"], index["starts"][-1])


def _blocks(matrix: tf.Tensor) -> tf.Tensor:
    """Returns activations as the kernels read them: feature by feature, the examples of a block side by side."""
    batch, features = matrix.shape
    padded = -(-batch // STEP) * STEP
    return _call("to_blocks", [matrix], (batch, features, 0, 0), (padded * features,))


def _call(name: str, operands: Sequence[tf.Tensor], sizes: Sequence[int], shape: Sequence[int]) -> tf.Tensor:
    (result,) = gen_xla_ops.xla_custom_call_v2(
        operands=operands,
        call_target_name=PREFIX + name,
        backend_config=" ".join(map(str, sizes)),
        has_side_effect=False,
        result_dtypes=[tf.float32],
        result_shapes=[shape],
    )
    return result


def _check_floats(*tensors: tf.Tensor) -> None:
    """Raises if the kernels would read other numbers as float32."""
    for tensor in tensors:
        if tensor.dtype != tf.float32:
            raise TypeError(f"The kernels read float32. Received: {tensor.dtype.name}.")
