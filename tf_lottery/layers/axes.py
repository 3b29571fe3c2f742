"""What runs along the axes of a layer's weights: the inputs, the output channels, or neither."""

import keras

from tf_lottery.pruning.units import KERNEL, Axes

_L = keras.layers
DEPTHWISE = (_L.DepthwiseConv1D, _L.DepthwiseConv2D)
SEPARABLE = (_L.SeparableConv1D, _L.SeparableConv2D)
PLAIN = (_L.Dense, _L.Conv1D, _L.Conv2D, _L.Conv3D)
TRANSPOSED = (_L.Conv1DTranspose, _L.Conv2DTranspose, _L.Conv3DTranspose)
KERNELS = ("kernel", "recurrent_kernel", "depthwise_kernel", "pointwise_kernel")
GATED = (_L.SimpleRNNCell, _L.LSTMCell, _L.GRUCell)


def axes_of(owner: keras.layers.Layer, variable: keras.Variable, *, output: bool) -> Axes:
    """The axes of one weight.

    A depthwise filter reads one input, so that there is no block of inputs, and its channels go with those of the layer
    before; the gates of a recurrent layer belong together, and so do the heads of attention; a row of an embedding is
    looked up, not summed over.

    Args:
        owner: the layer that has it.
        variable: one of its weights.
        output: whether the channels of the layer are outputs of the model.
    """
    if variable.name not in KERNELS:
        return Axes(kind="an embedding" if isinstance(owner, _L.Embedding) else "a weight that is no kernel")
    if isinstance(owner, DEPTHWISE) or variable.name == "depthwise_kernel":
        own_output = output and not isinstance(owner, SEPARABLE)
        return Axes(output=own_output, kind="a depthwise convolution", follows=True)
    if isinstance(owner, TRANSPOSED):
        return Axes(-1, (-2,), output, "a transposed convolution")
    if isinstance(owner, (*PLAIN, *SEPARABLE)):
        return Axes(KERNEL.inputs, KERNEL.channels, output, type(owner).__name__)
    if isinstance(owner, GATED) or type(owner).__name__.startswith("ConvLSTM"):
        return Axes(-2, (), output, "a recurrent layer")
    if isinstance(owner, _L.EinsumDense):
        return Axes(_last_summed(owner.equation), (), output, "an einsum layer")
    return Axes()


def _last_summed(equation: str) -> int | None:
    """The last axis of the kernel of an `EinsumDense` that is summed over: that of its inputs."""
    left, _, result = equation.replace(" ", "").partition("->")
    kernel = left.partition(",")[2]
    return max((axis for axis, letter in enumerate(kernel) if letter not in result), default=None)
