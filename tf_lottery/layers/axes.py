"""What runs along the axes of a layer's weights: the inputs, the output channels, or neither."""

import keras

from tf_lottery.layers.kinds import KERNEL_NAMES, kind_of
from tf_lottery.pruning.units import KERNEL, Axes


def axes_of(owner: keras.layers.Layer, variable: keras.Variable, *, output: bool) -> Axes:
    """Returns what runs along the axes of one weight, from the kind of the layer that owns it.

    The filters of a depthwise convolution read one input each, so that there is no block of inputs, and their channels
    follow those of the layer before. The gates of a recurrent layer belong together, and so do the heads of attention.
    A row of an embedding is looked up, not summed over.

    Args:
        owner: The layer that owns the weight.
        variable: The weight.
        output: Whether the channels of the layer are outputs of the model.
    """
    layout = kind_of(owner).weight_axes
    if variable.name not in KERNEL_NAMES:
        embedding = kind_of(owner).role == "embedding"
        return Axes(kind="an embedding" if embedding else "a weight that is no kernel")
    if layout == "depthwise kernel" or variable.name == "depthwise_kernel":
        # The outputs of a separable convolution are the channels of its pointwise kernel.
        own_output = output and layout != "separable kernel"
        return Axes(output=own_output, kind="a depthwise convolution", follows=True)
    if layout == "transposed kernel":
        return Axes(-1, (-2,), output, "a transposed convolution")
    if layout in ("kernel", "separable kernel"):
        return Axes(KERNEL.inputs, KERNEL.channels, output, type(owner).__name__)
    if layout == "gates":
        return Axes(-2, (), output, "a recurrent layer")
    if layout == "einsum":
        return Axes(_last_summed_axis(owner.equation), (), output, "an einsum layer")
    return Axes()


def _last_summed_axis(equation: str) -> int | None:
    """Returns the last axis of an `EinsumDense` kernel that the equation sums over: the axis of its inputs."""
    left, _, result = equation.replace(" ", "").partition("->")
    kernel = left.partition(",")[2]
    return max((axis for axis, letter in enumerate(kernel) if letter not in result), default=None)
