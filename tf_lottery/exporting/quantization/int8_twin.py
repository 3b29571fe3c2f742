"""The form of a quantization-aware model from which the TFLite converter makes integers."""

from typing import Any

import keras
import tensorflow as tf

from tf_lottery.errors import UnfitError
from tf_lottery.layers.copying import copy_input, copy_layer
from tf_lottery.layers.fake_quantization import PLAIN_CLASSES, FakeQuantize


def int8_twin(model: keras.Model) -> keras.Model:
    """Returns a copy of a quantization-aware model with fixed ranges, and kernels that are rounded already.

    The converter finds the scales of such kernels: the largest value of a channel is 127 times its scale. It does not
    take a dense kernel behind an operator of fake quantization.

    Args:
        model: A quantization-aware model without masks.

    Raises:
        UnfitError: If a range was never measured.
    """
    inputs = keras.tree.map_structure(copy_input, model.input)
    twin = keras.models.clone_model(model, inputs, clone_function=_fixed, call_function=_without_grids)
    for layer in model.layers:
        if type(layer) not in PLAIN_CLASSES:
            continue
        copy: Any = twin.get_layer(layer.name)
        copy.kernel.assign(layer.quantized_kernel())
        if layer.bias is not None:
            copy.bias.assign(layer.bias)
    return twin


class ConvertedRange(FakeQuantize):
    """A fixed range as TensorFlow's operator, which the converter knows."""

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns the rounded inputs.

        Args:
            inputs: A tensor of any shape.
            *args: Unused.
            **kwargs: Unused.
        """
        fixed: Any = self.fixed
        return tf.quantization.fake_quant_with_min_max_vars(inputs, *fixed)

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns the spec of the inputs.

        Args:
            inputs: That spec.
            *args: Unused.
            **kwargs: Unused.
        """
        return keras.KerasTensor(inputs.shape, inputs.dtype)


def _fixed(layer: Any) -> Any:
    if isinstance(layer, FakeQuantize):
        if layer.range is None:
            raise UnfitError(
                f"The range {layer.name!r} of the quantization-aware model was never measured.",
                "Train it in `fit`, or make it with `calibration=` real inputs.",
            )
        minimum, maximum = layer.range
        return ConvertedRange(minimum=minimum, maximum=maximum, stands_for=layer.stands_for, name=layer.name)
    if type(layer) in PLAIN_CLASSES:
        return PLAIN_CLASSES[type(layer)].from_config(layer.get_config())
    return copy_layer(layer)


def _without_grids(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """What a layer of the copy outputs; what integers are made of is not computed, and the output stands for it."""
    if kwargs.get("source") is not None and kwargs.get("activation") is None:
        return args[0], args[0]  # the converter adds an operator that changes the range
    if isinstance(layer, (FakeQuantize, *PLAIN_CLASSES.values())):
        call: Any = layer
        output = call(args[0])
        return output, output
    return layer(*args, **kwargs)
