"""The rule of each layer class that passes channels on."""

from typing import Any

import keras

from tf_lottery.exporting.slim import merging, scaling, shaping
from tf_lottery.exporting.slim.passing import Passing, Rule, Shapes, elementwise, unchanged
from tf_lottery.exporting.slim.program import Call

L = keras.layers
_WITH_NUMBER = ("add", "subtract", "multiply", "divide", "truedivide", "maximum", "minimum")
_DIMENSIONS = ("1D", "2D", "3D")


def _kinds(*names: str) -> list[type]:
    return [getattr(L, name + end) for name in names for end in _DIMENSIONS]


_RULES: dict[type, Rule] = {
    **dict.fromkeys([L.Identity, L.ActivityRegularization, L.GaussianNoise, L.GaussianDropout], unchanged),
    **dict.fromkeys([L.Dropout, L.AlphaDropout, *_kinds("SpatialDropout")], scaling.dropout),
    # Pooling leaves out what lies beyond the border, so that a constant stays one.
    **dict.fromkeys(_kinds("MaxPooling", "GlobalMaxPooling", "AveragePooling", "GlobalAveragePooling"), unchanged),
    **dict.fromkeys([L.RepeatVector, *_kinds("Cropping")], unchanged),
    **dict.fromkeys(_kinds("ZeroPadding"), shaping.borders),
    **dict.fromkeys(_kinds("UpSampling"), shaping.up_sampling),
    **dict.fromkeys([L.ReLU, L.LeakyReLU, L.ELU], scaling.by_calling),
    **dict.fromkeys([L.DepthwiseConv1D, L.DepthwiseConv2D], scaling.depthwise),
    L.Activation: scaling.activation,
    L.PReLU: scaling.prelu,
    L.Rescaling: scaling.rescaling,
    L.BatchNormalization: scaling.batch_normalization,
    L.Flatten: shaping.flatten,
    L.Reshape: shaping.reshape,
    L.Permute: shaping.permute,
    L.Add: merging.add,
    L.Subtract: merging.subtract,
    L.Multiply: merging.multiply,
    L.Average: merging.average,
    L.Maximum: merging.maximum,
    L.Minimum: merging.minimum,
    L.Concatenate: merging.concatenate,
}
_ELEMENTWISE = (
    *("relu", "relu6", "leakyrelu", "elu", "selu", "gelu", "silu", "hardsilu"),
    *("sigmoid", "hardsigmoid", "tanh", "softplus", "softsign"),
)
_OPERATIONS: dict[str, Rule] = {
    "add": merging.add,
    "subtract": merging.subtract,
    "multiply": merging.multiply,
    "maximum": merging.maximum,
    "minimum": merging.minimum,
    **dict.fromkeys(_ELEMENTWISE, scaling.by_calling),
}


def passing_of(layer: Any, inputs: Shapes, output: tuple[int | None, ...]) -> Passing | str | None:
    """How channels go through a layer, or why they can't be followed; None for a layer that is not known."""
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return "its channels come first"
    rule = _RULES.get(type(layer)) or _OPERATIONS.get(_operation(layer))
    return rule(layer, inputs, output) if rule else None


def operation_with_number(call: Call) -> Passing | None:
    """How channels go through an operation on a tensor and a number, such as `x * 0.5`; None for anything else."""
    leaves = keras.tree.flatten((call.arguments.args, call.arguments.kwargs))
    numbers = [leaf for leaf in leaves if not isinstance(leaf, keras.KerasTensor)]
    known = _operation(call.layer) in _WITH_NUMBER
    if not known or len(call.inputs) != 1 or not all(type(number) in (int, float) for number in numbers):
        return None
    tensor = call.inputs[0]
    return elementwise(lambda value: call.repeated(call.layer.call, {tensor: value})[0])


def _operation(layer: Any) -> str:
    """The name of an operation such as `x + y` in small letters; empty for a layer."""
    own = type(layer).__module__.startswith(("keras.src.ops.", "keras.src.activations."))
    return type(layer).__name__.lower() if own else ""
