"""Which layers int8 knows, and what range the output of each has."""

from typing import Any

import keras

from tf_lottery.errors import UnfitError
from tf_lottery.layers.fake_quantization import QUANTIZED_CLASSES

_L = keras.layers
UNCHANGING = (_L.Identity, _L.Dropout, _L.SpatialDropout2D)
"""Layers that do nothing at inference."""
SAME_RANGE: tuple[type, ...] = (_L.MaxPooling2D, _L.GlobalMaxPooling2D, _L.Flatten, _L.Reshape, _L.Permute)
SAME_RANGE += (_L.ZeroPadding2D, _L.Cropping2D, *UNCHANGING)
"""Layers that choose or move values: their outputs are among their inputs' 256 values."""
ROUNDED_IN_SAME_RANGE = (_L.AveragePooling2D,)
"""Layers whose outputs LiteRT rounds to the 256 values of their inputs."""
POOLS = (_L.MaxPooling2D, *ROUNDED_IN_SAME_RANGE)
"""Layers in whose operator LiteRT computes the ReLU behind them, in the same range."""
OWN_RANGE = (_L.Add, _L.Concatenate, _L.GlobalAveragePooling2D, _L.ReLU, _L.Activation, _L.Softmax)
"""Layers whose outputs have a range of their own."""
FIXED_RANGES = {
    keras.activations.softmax: (0.0, 255 / 256),
    keras.activations.sigmoid: (0.0, 255 / 256),
    keras.activations.tanh: (-1.0, 127 / 128),
}
"""The ranges that LiteRT prescribes for the outputs of activations."""
FUSED = (keras.activations.relu, keras.activations.relu6)
"""Activations that LiteRT computes inside the operator in front of them."""


def activation_of(layer: Any) -> Any:
    """Returns the function that a layer applies to its outputs or, an activation layer, to its inputs.

    Layers without one, and a ReLU of other bounds than those of `relu` and `relu6`, have None.
    """
    if type(layer) is _L.ReLU:
        plain = layer.negative_slope == 0 and layer.threshold == 0
        return {None: FUSED[0], 6.0: FUSED[1]}.get(layer.max_value) if plain else None
    if type(layer) is _L.Softmax:
        return keras.activations.softmax if layer.axis in (-1, 1) else None
    return getattr(layer, "activation", None)


def is_fused(layer: Any) -> bool:
    """Returns whether a layer is an activation that LiteRT computes inside the operator in front of it."""
    return type(layer) in (_L.ReLU, _L.Activation) and activation_of(layer) in FUSED


def check_quantizable(layer: Any) -> None:
    """Raises if int8 does not know a layer; normalization that is folded away is not asked about.

    Raises:
        UnfitError: It is of a class, or has an activation or option, that is not supported.
    """
    kind = type(layer)
    if kind is _L.BatchNormalization:
        raise _unfit(
            layer,
            "it does not follow a convolution or dense layer without an activation, alone, so it can't be folded into "
            "one",
        )
    has_kernel, activates = kind in QUANTIZED_CLASSES, kind in (_L.ReLU, _L.Activation, _L.Softmax)
    if not has_kernel and kind not in (*SAME_RANGE, *ROUNDED_IN_SAME_RANGE, *OWN_RANGE):
        raise _unfit(layer, "int8 does not know its class")
    if layer.compute_dtype != "float32":
        raise _unfit(layer, f"it computes in {layer.compute_dtype}, where float32 is expected")
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise _unfit(layer, "its channels come first")
    if getattr(layer, "groups", 1) != 1:
        raise _unfit(layer, "it is a grouped convolution")
    if getattr(layer, "quantization_mode", None) is not None or getattr(layer, "lora_enabled", False):
        raise _unfit(layer, "its kernel is quantized or has low-rank updates")
    known = (*FUSED, *FIXED_RANGES, keras.activations.linear)
    if (has_kernel or activates) and activation_of(layer) not in known:
        raise _unfit(layer, "its activation is none of linear, relu, relu6, sigmoid, tanh and softmax")


def _unfit(layer: Any, reason: str) -> UnfitError:
    classes = [*QUANTIZED_CLASSES, _L.BatchNormalization, *SAME_RANGE, *ROUNDED_IN_SAME_RANGE, *OWN_RANGE]
    names = ", ".join(kind.__name__ for kind in classes)
    return UnfitError(
        f"The layer {layer.name!r} of class {type(layer).__name__} can't be trained for int8: {reason}.",
        f"Replace it, or export by calibration: `precision='int8'`. Known layers: {names}.",
    )
