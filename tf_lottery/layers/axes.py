"""What runs along the axes of a layer's weights: the inputs, the output channels, or neither."""

from dataclasses import replace

import keras

from tf_lottery.layers.attention_heads import Heads
from tf_lottery.layers.kinds import KERNEL_NAMES, TOKEN_VECTORS, kind_of
from tf_lottery.pruning.granularities import KERNEL, Axes


def axes_of(owner: keras.layers.Layer, variable: keras.Variable, *, output: bool, heads: Heads | None = None) -> Axes:
    """Returns what runs along the axes of one weight, from the kind of the layer that owns it.

    The filters of a depthwise convolution read one input each, so that there is no block of inputs, and their channels
    follow those of the layer before. The gates of a recurrent layer belong together. The heads of attention are no
    channels: they are units of their own kind. A row of an embedding is looked up, not summed over.

    Args:
        owner: The layer that owns the weight.
        variable: The weight.
        output: Whether the channels of the layer are outputs of the model.
        heads: Where the heads lie in the kernel of an attention layer's projection.
    """
    layout = kind_of(owner).weight_axes
    if variable.name not in KERNEL_NAMES:
        if kind_of(owner).role != "embedding":
            return Axes(kind="a weight that is no kernel")
        # A reverse embedding makes outputs of the model, one for each token.
        return Axes(kind="an embedding", rows=0 if variable.name == TOKEN_VECTORS else None)
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
        axes = Axes(_last_summed_axis(owner.equation), (), output, "an einsum layer")
        if heads is None:
            return axes
        return replace(axes, heads=heads.axis, attention=heads.attention, heads_per_unit=heads.per_unit)
    return Axes()


def _last_summed_axis(equation: str) -> int | None:
    """Returns the last axis of an `EinsumDense` kernel that the equation sums over: the axis of its inputs."""
    left, _, result = equation.replace(" ", "").partition("->")
    kernel = left.partition(",")[2]
    return max((axis for axis, letter in enumerate(kernel) if letter not in result), default=None)
