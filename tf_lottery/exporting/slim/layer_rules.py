"""The channel rules of layers without a kernel, by the names that `layers/kinds.py` gives them."""

from typing import Any

import keras

from tf_lottery.exporting.slim import elementwise_rules, merge_rules, reshape_rules
from tf_lottery.exporting.slim.call_graph import Call
from tf_lottery.exporting.slim.channel_map import ChannelMap, ChannelRule, ShapedLayer, elementwise_map
from tf_lottery.layers.kinds import exact_kind_of

CHANNEL_RULES: dict[str, ChannelRule] = {
    "unchanged": elementwise_rules.unchanged,
    "dropout": elementwise_rules.dropout,
    "elementwise": elementwise_rules.elementwise,
    "activation": elementwise_rules.activation,
    "prelu": elementwise_rules.prelu,
    "rescaling": elementwise_rules.rescaling,
    "batch normalization": elementwise_rules.batch_normalization,
    "depthwise": elementwise_rules.depthwise,
    "zero padding": reshape_rules.zero_padding,
    "up sampling": reshape_rules.up_sampling,
    "flatten": reshape_rules.flatten,
    "reshape": reshape_rules.reshape,
    "permute": reshape_rules.permute,
    "add": merge_rules.add,
    "subtract": merge_rules.subtract,
    "multiply": merge_rules.multiply,
    "average": merge_rules.average,
    "maximum": merge_rules.maximum,
    "minimum": merge_rules.minimum,
    "concatenate": merge_rules.concatenate,
}
"""By `LayerKind.channel_rule`: from a layer and the shapes around it to its channel map."""

_ELEMENTWISE_OPERATIONS = (
    *("relu", "relu6", "leakyrelu", "elu", "selu", "gelu", "silu", "hardsilu"),
    *("sigmoid", "hardsigmoid", "tanh", "softplus", "softsign"),
)
OPERATION_RULES: dict[str, str] = {
    **{name: name for name in ("add", "subtract", "multiply", "maximum", "minimum")},
    **dict.fromkeys(_ELEMENTWISE_OPERATIONS, "elementwise"),
}
"""By operation of a functional model, such as `x + y`: the name of its channel rule."""
_WITH_NUMBER = ("add", "subtract", "multiply", "divide", "truedivide", "maximum", "minimum")


def channel_map_of(shaped: ShapedLayer) -> ChannelMap | str | None:
    """Returns how channels go through a layer, or why that can't be known; None for a class without a rule."""
    layer = shaped.layer
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return "its channels come first"
    name = exact_kind_of(layer).channel_rule or OPERATION_RULES.get(_operation_name(layer))
    return CHANNEL_RULES[name](shaped) if name else None


def channel_map_with_number(call: Call) -> ChannelMap | None:
    """Returns how channels go through an operation on a tensor and a number, such as `x * 0.5`; else None."""
    leaves = keras.tree.flatten((call.arguments.args, call.arguments.kwargs))
    numbers = [leaf for leaf in leaves if not isinstance(leaf, keras.KerasTensor)]
    known = _operation_name(call.layer) in _WITH_NUMBER
    if not known or len(call.inputs) != 1 or not all(type(number) in (int, float) for number in numbers):
        return None
    tensor = call.inputs[0]
    return elementwise_map(lambda value: call.repeat(call.layer.call, {tensor: value})[0])


def _operation_name(layer: Any) -> str:
    """Returns the name of an operation such as `x + y` in lower case; "" for a layer."""
    is_operation = type(layer).__module__.startswith(("keras.src.ops.", "keras.src.activations."))
    return type(layer).__name__.lower() if is_operation else ""
