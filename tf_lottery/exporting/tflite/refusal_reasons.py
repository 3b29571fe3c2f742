"""Why a model can't become a TFLite file, in the words of a refusal."""

from collections.abc import Sequence

import keras

from tf_lottery.layers.acceptance import quantized_layers

NO_SPARSE_INT4 = "int4 weights have no sparse form, since DENSIFY takes none; `precision='mixed'` has one of int8"


def not_micro(reasons: Sequence[str]) -> str:
    """Return that TensorFlow Lite Micro does not run a file, for those reasons."""
    return f"TensorFlow Lite Micro does not run it: {'; '.join(reasons)}"


def quantized_by_keras(model: keras.Model) -> str:
    """Return why a model that Keras quantized can't be converted; empty for another one."""
    layers = quantized_layers(model)
    if not layers:
        return ""
    modes = ", ".join(dict.fromkeys(layers.values()))
    return (
        f"Keras quantized the layers {', '.join(layers)} ({modes}), in operations that the converter does not "
        'know: export the model as it was before `quantize`, with precision="int8"'
    )
