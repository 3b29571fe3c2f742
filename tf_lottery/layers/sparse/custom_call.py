"""Calls of the compiled kernels in functions that XLA compiles, and the gradients of those calls."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tensorflow.python.ops import control_flow_util

Gradient: TypeAlias = Callable[..., list[tf.Tensor | None]]
PREFIX = "tf_lottery_"
GRADIENTS: dict[str, Gradient] = {}
"""By the name of a kernel: a function of the call's operation and the gradients of its results."""
LANES = 16
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


def call(name: str, operands: Sequence[tf.Tensor], sizes: Sequence[Any], shape: Sequence[int]) -> tf.Tensor:
    """Returns what a kernel computes.

    Args:
        name: Of the kernel.
        operands: What it reads.
        sizes: Numbers that it reads beside these; `sizes_of_call` returns them again.
        shape: Of its result, which is float32.
    """
    return call_of_several(name, operands, sizes, [shape])[0]


def call_of_several(
    name: str, operands: Sequence[tf.Tensor], sizes: Sequence[Any], shapes: Sequence[Sequence[int]]
) -> list[tf.Tensor]:
    """Returns the results of a kernel that computes more than one.

    Args:
        name: Of the kernel.
        operands: What it reads.
        sizes: Numbers that it reads beside these.
        shapes: Of its results, which are float32.
    """
    results: list[tf.Tensor] = gen_xla_ops.xla_custom_call_v2(
        operands=operands,
        call_target_name=PREFIX + name,
        backend_config=" ".join(map(str, sizes)),
        has_side_effect=False,
        result_dtypes=[tf.float32] * len(shapes),
        result_shapes=shapes,
    )
    return results


def sizes_of_call(operation: tf.Operation) -> list[str]:
    """Returns the numbers that the kernel of a call reads beside its operands.

    Args:
        operation: The call.
    """
    sizes: list[str] = operation.get_attr("backend_config").decode().split()
    return sizes


@tf.RegisterGradient("XlaCustomCallV2")  # type: ignore[untyped-decorator]
def _gradient(operation: tf.Operation, *upstream: tf.Tensor) -> list[tf.Tensor | None]:
    """Returns the gradients of the operands of a call. A `tf.custom_gradient` would stay in memory for good."""
    gradient = GRADIENTS.get(operation.get_attr("call_target_name").decode().removeprefix(PREFIX))
    if gradient is None:
        raise LookupError(f"The custom call {operation.name!r} has no gradient.")
    return gradient(operation, *upstream)


def check_floats(*tensors: tf.Tensor) -> None:
    """Raises if the kernels would read other numbers as float32.

    Args:
        *tensors: What they are to read.

    Raises:
        TypeError: If one is of another type.
    """
    for tensor in tensors:
        if tensor.dtype != tf.float32:
            raise TypeError(f"The kernels read float32. Received: {tensor.dtype.name}.")
