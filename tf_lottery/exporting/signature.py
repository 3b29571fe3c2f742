"""The inputs and outputs of a Keras model as flat, named lists, and the TensorFlow function that serves them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

_AUTOMATIC = re.compile(r"^(input_layer|keras_tensor|input)(_\d+)?$")
_CHUNK = 256


@dataclass(frozen=True)
class Signature:
    """Names, shapes and dtypes of a model's inputs and outputs, in the order of `model.inputs` and `model.outputs`.

    Attributes:
        inputs: input names; automatic ones (`input_layer_3`) are replaced, because they depend on what else was built
            in the process: `input`, or `input_0`, `input_1`, ...
        shapes: per input without the batch dimension; None where it is dynamic.
        dtypes: per input.
        outputs: output names: the keys of a model with a dict of outputs, else `output` or `output_0`, ...
    """

    inputs: tuple[str, ...]
    shapes: tuple[tuple[int | None, ...], ...]
    dtypes: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def dynamic(self) -> bool:
        """Whether any dimension but the batch is unknown."""
        return any(size is None for shape in self.shapes for size in shape)


def signature_of(model: keras.Model) -> Signature:
    """Return the signature of a built functional or Sequential model."""
    many = len(model.inputs) > 1
    keys = list(model.input) if isinstance(structure(model)[0], Mapping) else []
    names = []
    for position, tensor in enumerate(model.inputs):
        name = next((key for key in keys if model.input[key] is tensor), tensor.name)
        automatic = _AUTOMATIC.match(name) is not None
        names.append(f"input_{position}" if automatic and many else "input" if automatic else _identifier(name))
    return Signature(
        inputs=_unique(names),
        shapes=tuple(tuple(tensor.shape[1:]) for tensor in model.inputs),
        dtypes=tuple(str(tensor.dtype) for tensor in model.inputs),
        outputs=_unique(_output_names(model)),
    )


def structure(model: keras.Model) -> tuple[Any, Any]:
    """Return the nested inputs and outputs with which the model is called."""
    if isinstance(model, keras.Sequential):
        return model.inputs[0], model.outputs[0]
    return model.input, model.output


def keras_outputs(
    model: keras.Model, inputs: list[npt.NDArray[Any]], signature: Signature
) -> dict[str, npt.NDArray[Any]]:
    """Return the model's outputs in inference mode, by output name, computed by Keras in batches of 256.

    Args:
        model: a built functional or Sequential model.
        inputs: one array `(samples, ...)` per input, in the order of the signature.
        signature: the model's.
    """
    nested = structure(model)[0]
    parts = []
    for start in range(0, len(inputs[0]), _CHUNK):
        chunk = [keras.ops.convert_to_tensor(array[start : start + _CHUNK]) for array in inputs]
        result = model(keras.tree.pack_sequence_as(nested, chunk), training=False)
        parts.append([keras.ops.convert_to_numpy(tensor) for tensor in keras.tree.flatten(result)])
    return {
        name: np.concatenate(column) for name, column in zip(signature.outputs, zip(*parts, strict=True), strict=True)
    }


def serving_module(model: keras.Model, *, batch: int | None) -> tuple[tf.Module, Any]:
    """Return a module with the model's variables, and its concrete inference function.

    The module holds nothing but the variables and the function, so that a SavedModel of it stores each weight once.

    Args:
        model: a built functional or Sequential model.
        batch: the batch size to fix, or None for any.

    Returns:
        The module, and the concrete function to be saved as `serving_default`.
    """
    signature = signature_of(model)
    nested = structure(model)[0]

    def serve(*tensors: Any) -> dict[str, Any]:
        result = model(keras.tree.pack_sequence_as(nested, list(tensors)), training=False)
        return dict(zip(signature.outputs, keras.tree.flatten(result), strict=True))

    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    # Lookup layers hold tables besides variables; a SavedModel stores only what its module refers to.
    module.tables = [layer.lookup_table for layer in model._flatten_layers() if hasattr(layer, "lookup_table")]
    module.serve = tf.function(serve, autograph=False)
    specs = [
        tf.TensorSpec((batch, *shape), dtype, name=name)
        for name, shape, dtype in zip(signature.inputs, signature.shapes, signature.dtypes, strict=True)
    ]
    return module, module.serve.get_concrete_function(*specs)


def _output_names(model: keras.Model) -> list[str]:
    nested = structure(model)[1]
    count = len(model.outputs)
    if isinstance(nested, Mapping) and count == len(nested):
        return [
            _identifier(next((key for key in nested if nested[key] is tensor), f"output_{position}"))
            for position, tensor in enumerate(model.outputs)
        ]
    return ["output"] if count == 1 else [f"output_{position}" for position in range(count)]


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", str(name)) or "tensor"


def _unique(names: list[str]) -> tuple[str, ...]:
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}__{seen[name]}")
    return tuple(unique)
