"""The table of layer kinds: everything that the library knows about a Keras layer class.

Several rooms need such a fact: `discover` asks which weights are maskable, `prune` what their axes are, training
whether XLA pays, SynFlow what is linear, the control "small_dense" what it can narrow, and slimming how channels pass
through. All of them read `KINDS`. To support another layer class, add one entry to it; a noun that no entry has used
yet also needs its function, in the module that is named beside the attribute. A class without an entry is of the kind
`UNKNOWN`: it is masked only by request, trained without XLA on a CPU, and left whole by slimming.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import keras

KERNEL_NAMES = ("kernel", "recurrent_kernel", "depthwise_kernel", "pointwise_kernel")
"""Names of variables that hold a kernel: a weight that is multiplied with inputs."""
TOKEN_VECTORS = "embeddings"
"""The name of the variable of an embedding whose rows are looked up, one for each token."""
NO_KERNELS = ("bias", "gamma", "beta", "alpha", "scale", "lora_")
"""Parts of the names of trainable variables that are no kernels, whatever their shape."""
EMBEDDING_NAMES = (TOKEN_VECTORS, "reverse_embeddings")
"""Names of variables that hold the rows of an embedding."""


@dataclass(frozen=True)
class LayerKind:
    """What the library knows about one kind of layer.

    Attributes:
        role: What its kernels are to `rates_by_path`: weights with a role are maskable by default; "" masks none.
        weight_axes: What runs along the axes of its weights; "" if that is not known. `layers/axes.py` maps it to the
            axes that `prune` takes, `exporting/slim/weight_axes.py` to those that slimming cuts.
        channel_rule: How its output channels depend on its input channels: the name of a rule in
            `exporting/slim/layer_rules.py`, or "kernel"; "" if slimming does not follow it.
        xla_on_cpu: Whether its XLA code on a CPU is known to be as fast as the stock kernels. XLA's CPU convolutions
            are so slow that a chunk of steps may never return.
        xla_of_steps: Whether its XLA code on a CPU is as fast as the stock kernels where XLA compiles single steps, and
            no loops of them; for layers where `xla_on_cpu` is false.
        narrowing: What it is to the control "small_dense" (`experiment/narrowing.py`): a "kernel" whose units can be
            reduced, a layer "between" kernels that keeps the channels in their order, or "".
        path_sum: How SynFlow's sum over paths (`training/gradients/path_gradients.py`) takes it: "computed" as it is,
            as the "identity" in place of an activation, or "undefined", since it is not linear in its inputs.
        passive: Whether it only activates, drops out or reshapes, so that the output layer of a model is the layer
            before it.
        folded_by_tflite: Whether the TFLite converter folds it into the operation before it, as `diagnose` reports it.
    """

    role: Literal["", "conv", "dense", "embedding", "recurrent"] = ""
    weight_axes: Literal[
        "", "kernel", "transposed kernel", "depthwise kernel", "separable kernel", "gates", "einsum", "channel"
    ] = ""
    channel_rule: str = ""
    xla_on_cpu: bool = False
    xla_of_steps: bool = False
    narrowing: Literal["", "kernel", "between"] = ""
    path_sum: Literal["computed", "identity", "undefined"] = "computed"
    passive: bool = False
    folded_by_tflite: bool = False

    @property
    def keeps_units(self) -> bool:
        """Whether it is a kernel of units, or passes each channel of its one input on to itself."""
        return bool(self.narrowing) or self.channel_rule in ("unchanged", "rescaling")


UNKNOWN = LayerKind()
"""The kind of every layer class that `KINDS` does not list."""

_L = keras.layers
_DENSE = LayerKind(role="dense", weight_axes="kernel", channel_rule="kernel", xla_on_cpu=True, narrowing="kernel")
_CONVOLUTION = LayerKind(role="conv", weight_axes="kernel", channel_rule="kernel", narrowing="kernel")
_TRANSPOSED = LayerKind(role="conv", weight_axes="transposed kernel", channel_rule="kernel")
_DEPTHWISE = LayerKind(role="conv", weight_axes="depthwise kernel", channel_rule="depthwise")
_SEPARABLE = LayerKind(role="conv", weight_axes="separable kernel", channel_rule="kernel")
_CONV_LSTM = LayerKind(role="conv")
_CONV_LSTM_CELL = LayerKind(role="conv", weight_axes="gates")
_RECURRENT_CELL = LayerKind(role="recurrent", weight_axes="gates")
_NOT_LINEAR = LayerKind(path_sum="undefined")
_XLA_ONLY = LayerKind(xla_on_cpu=True)


def _activation(channel_rule: str) -> LayerKind:
    return LayerKind(channel_rule=channel_rule, xla_on_cpu=True, narrowing="between", path_sum="identity", passive=True)


def _passive(channel_rule: str, *, narrowing: Literal["", "between"] = "") -> LayerKind:
    return LayerKind(channel_rule=channel_rule, xla_on_cpu=True, narrowing=narrowing, passive=True)


def _merge(channel_rule: str, *, narrowing: Literal["", "between"] = "") -> LayerKind:
    return LayerKind(channel_rule=channel_rule, xla_on_cpu=True, narrowing=narrowing)


def _positions(channel_rule: str, *, narrowing: Literal["", "between"] = "") -> LayerKind:
    """The kind of a layer that pools, pads or repeats positions, channel by channel."""
    return LayerKind(channel_rule=channel_rule, xla_of_steps=True, narrowing=narrowing)


KINDS: dict[type, LayerKind] = {
    _L.InputLayer: _XLA_ONLY,
    # Kernels.
    _L.Dense: _DENSE,
    _L.EinsumDense: LayerKind(role="dense", weight_axes="einsum", xla_on_cpu=True),
    _L.Conv1D: _CONVOLUTION,
    _L.Conv2D: replace(_CONVOLUTION, xla_of_steps=True),
    _L.Conv3D: _CONVOLUTION,
    _L.Conv1DTranspose: _TRANSPOSED,
    _L.Conv2DTranspose: _TRANSPOSED,
    _L.Conv3DTranspose: _TRANSPOSED,
    _L.DepthwiseConv1D: _DEPTHWISE,
    _L.DepthwiseConv2D: _DEPTHWISE,
    _L.SeparableConv1D: _SEPARABLE,
    _L.SeparableConv2D: _SEPARABLE,
    _L.ConvLSTM1D: _CONV_LSTM,
    _L.ConvLSTM2D: _CONV_LSTM,
    _L.ConvLSTM3D: _CONV_LSTM,
    _L.SimpleRNNCell: _RECURRENT_CELL,
    _L.LSTMCell: _RECURRENT_CELL,
    _L.GRUCell: _RECURRENT_CELL,
    _L.Embedding: LayerKind(role="embedding"),
    # Attention, whose kernels are those of the dense layers inside.
    _L.MultiHeadAttention: _NOT_LINEAR,
    _L.GroupQueryAttention: _NOT_LINEAR,
    _L.Attention: _NOT_LINEAR,
    _L.AdditiveAttention: _NOT_LINEAR,
    # Activations.
    _L.Activation: _activation("activation"),
    _L.Softmax: _activation(""),
    _L.ReLU: _activation("elementwise"),
    _L.LeakyReLU: _activation("elementwise"),
    _L.ELU: _activation("elementwise"),
    _L.PReLU: LayerKind(weight_axes="channel", channel_rule="prelu", xla_on_cpu=True),
    # Regularization and noise, which do nothing at inference.
    _L.Dropout: _passive("dropout", narrowing="between"),
    _L.SpatialDropout1D: _passive("dropout", narrowing="between"),
    _L.SpatialDropout2D: _passive("dropout", narrowing="between"),
    _L.SpatialDropout3D: _passive("dropout", narrowing="between"),
    _L.AlphaDropout: LayerKind(channel_rule="dropout"),
    _L.GaussianDropout: LayerKind(channel_rule="unchanged"),
    _L.GaussianNoise: LayerKind(channel_rule="unchanged", xla_on_cpu=True),
    _L.ActivityRegularization: LayerKind(channel_rule="unchanged", xla_on_cpu=True),
    # Normalization.
    _L.BatchNormalization: LayerKind(
        weight_axes="channel",
        channel_rule="batch normalization",
        xla_on_cpu=True,
        narrowing="between",
        folded_by_tflite=True,
    ),
    _L.LayerNormalization: _XLA_ONLY,
    _L.UnitNormalization: _XLA_ONLY,
    _L.Rescaling: _passive("rescaling"),
    # Shapes.
    _L.Identity: _passive("unchanged", narrowing="between"),
    _L.Flatten: _passive("flatten", narrowing="between"),
    _L.Reshape: _passive("reshape"),
    _L.Permute: _passive("permute"),
    _L.RepeatVector: LayerKind(channel_rule="unchanged", xla_on_cpu=True),
    # Merging of several tensors.
    _L.Add: _merge("add", narrowing="between"),
    _L.Subtract: _merge("subtract"),
    _L.Multiply: _merge("multiply"),
    _L.Average: _merge("average"),
    _L.Maximum: _merge("maximum"),
    _L.Minimum: _merge("minimum"),
    _L.Concatenate: _merge("concatenate"),
    _L.Dot: _XLA_ONLY,
    # Pooling, which leaves out what lies beyond the border, so that a constant channel stays constant.
    **dict.fromkeys(
        [_L.MaxPooling1D, _L.MaxPooling2D, _L.AveragePooling1D, _L.AveragePooling2D, _L.GlobalMaxPooling2D],
        _positions("unchanged", narrowing="between"),
    ),
    **dict.fromkeys(
        [_L.GlobalAveragePooling1D, _L.GlobalAveragePooling2D], _positions("unchanged", narrowing="between")
    ),
    **dict.fromkeys(
        [_L.MaxPooling3D, _L.AveragePooling3D, _L.GlobalMaxPooling1D, _L.GlobalMaxPooling3D],
        _positions("unchanged"),
    ),
    _L.GlobalAveragePooling3D: _positions("unchanged"),
    # Borders and sizes of images.
    **dict.fromkeys([_L.ZeroPadding1D, _L.ZeroPadding2D], _positions("zero padding", narrowing="between")),
    _L.ZeroPadding3D: _positions("zero padding"),
    **dict.fromkeys([_L.Cropping1D, _L.Cropping2D, _L.Cropping3D], _positions("unchanged")),
    **dict.fromkeys([_L.UpSampling1D, _L.UpSampling2D, _L.UpSampling3D], _positions("up sampling")),
}
"""The kind of each layer class that the library knows."""


def looks_like_kernel(variable: keras.Variable) -> bool:
    """Returns whether a variable of a layer that the table does not know looks like a kernel: by its shape and name."""
    return bool(
        variable.trainable and len(variable.shape) > 1 and not any(word in variable.name for word in NO_KERNELS)
    )


def kind_of(layer: Any) -> LayerKind:
    """Returns the kind of a layer: that of its class, or of the nearest base class that `KINDS` lists.

    Example:
        >>> kind_of(keras.layers.Dense(3)).role
        'dense'
        >>> kind_of(keras.layers.LayerNormalization()) == UNKNOWN
        False
        >>> kind_of(keras.layers.Masking()) == UNKNOWN
        True
    """
    for base in type(layer).__mro__:
        if base in KINDS:
            return KINDS[base]
    # Keras does not export the cell of these layers, which holds their weights.
    return _CONV_LSTM_CELL if type(layer).__name__.startswith("ConvLSTM") else UNKNOWN


def exact_kind_of(layer: Any) -> LayerKind:
    """Returns the kind of a layer's own class; `UNKNOWN` for a subclass, whose `call` may compute anything."""
    return KINDS.get(type(layer), UNKNOWN)
