"""The inputs and outputs of a Keras model as flat, named lists, and the TensorFlow function that serves them."""

import itertools
import keyword
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tf_lottery.layers.fake_quantization import FakeQuantize

_KERAS_LAYERS = {name.lower() for name in dir(keras.layers)}
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
        outputs: output names: the keys of a model with a dict of outputs, else the names that the user gave the layers
            that make them, else `output` or `output_0`, ...
        model_inputs: what the model calls its inputs; other names than `inputs` where those can't be names in a file.
        model_outputs: what it calls its outputs, likewise.
    """

    inputs: tuple[str, ...]
    shapes: tuple[tuple[int | None, ...], ...]
    dtypes: tuple[str, ...]
    outputs: tuple[str, ...]
    model_inputs: tuple[str, ...] = ()
    model_outputs: tuple[str, ...] = ()

    @property
    def dynamic(self) -> bool:
        """Whether any dimension but the batch is unknown."""
        return any(size is None for shape in self.shapes for size in shape)

    def renamings(self) -> list[str]:
        """Return what is called otherwise in files than in the model, one sentence each."""
        pairs = [("input", *pair) for pair in zip(self.model_inputs, self.inputs, strict=False)]
        pairs += [("output", *pair) for pair in zip(self.model_outputs, self.outputs, strict=False)]
        return [
            f"The {kind} {own!r} is called {name!r} in SavedModels and TFLite files."
            for kind, own, name in pairs
            if own != name
        ]


def signature_of(model: keras.Model) -> Signature:
    """Return the signature of a built functional or Sequential model."""
    many = len(model.inputs) > 1
    keys = list(model.input) if isinstance(structure(model)[0], Mapping) else []
    own, names = [], []
    for position, tensor in enumerate(model.inputs):
        key = next((str(key) for key in keys if model.input[key] is tensor), None)
        name = key or tensor.name
        if _AUTOMATIC.match(name):
            name = f"input_{position}" if many else "input"
        own.append(key or name)
        names.append(_argument(name))
    outputs = _output_names(model)
    return Signature(
        inputs=_unique(names, key=str.lower),
        shapes=tuple(tuple(tensor.shape[1:]) for tensor in model.inputs),
        dtypes=tuple(str(tensor.dtype) for tensor in model.inputs),
        outputs=_unique(map(_identifier, outputs)),
        model_inputs=tuple(own),
        model_outputs=tuple(outputs),
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

    What its layers assign while they compute (random seeds, states) is undone.

    Args:
        model: a built functional or Sequential model.
        inputs: one array `(samples, ...)` per input, in the order of the signature.
        signature: the model's.
    """
    nested = structure(model)[0]
    return outputs_of(lambda packed: model(packed, training=False), nested, inputs, signature)


def outputs_of(
    call: Callable[[Any], Any], nested: Any, inputs: list[npt.NDArray[Any]], signature: Signature
) -> dict[str, npt.NDArray[Any]]:
    """Return what a model answers, by output name, in batches of 256; what its layers assign is undone.

    Args:
        call: the model, which takes its inputs in their nested structure.
        nested: that structure.
        inputs: one array `(samples, ...)` per input, in the order of the signature.
        signature: the model's.
    """
    parts = []
    with keras.StatelessScope():
        for start in range(0, len(inputs[0]), _CHUNK):
            chunk = [keras.ops.convert_to_tensor(array[start : start + _CHUNK]) for array in inputs]
            result = call(keras.tree.pack_sequence_as(nested, chunk))
            parts.append([_to_numpy(tensor) for tensor in keras.tree.flatten(result)])
    return {
        name: np.concatenate(column) for name, column in zip(signature.outputs, zip(*parts, strict=True), strict=True)
    }


def _to_numpy(tensor: Any) -> npt.NDArray[Any]:
    """A tensor as an array; half precision as float32, which holds the same numbers and which NumPy can compare."""
    array: npt.NDArray[Any] = keras.ops.convert_to_numpy(tensor)
    return array.astype("float32") if str(array.dtype) in ("float16", "bfloat16") else array


def serving_module(
    model: keras.Model, *, batch: int | None, signature: Signature | None = None
) -> tuple[tf.Module, Any]:
    """Return a module with the model's variables, and its concrete inference function.

    The module holds nothing but the variables and the function, so that a SavedModel of it stores each weight once.

    Args:
        model: a built functional or Sequential model.
        batch: the batch size to fix, or None for any.
        signature: the model's, in which dynamic shapes may be fixed; by default its own.

    Returns:
        The module, and the concrete function to be saved as `serving_default`.
    """
    signature = signature or signature_of(model)
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
            str(next((key for key in nested if nested[key] is tensor), f"output_{position}"))
            for position, tensor in enumerate(model.outputs)
        ]
    numbered = ["output"] if count == 1 else [f"output_{position}" for position in range(count)]
    return [_own_name(tensor) or name for tensor, name in zip(model.outputs, numbered, strict=True)]


def _own_name(tensor: Any) -> str:
    """The name of the layer that makes a tensor; empty if it is one that Keras made, such as `dense_3`."""
    layer = tensor._keras_history.operation
    name = layer.stands_for if isinstance(layer, FakeQuantize) else str(layer.name)
    letters = re.sub(r"_\d+$", "", name).replace("_", "")
    is_automatic = letters == type(layer).__name__.replace("_", "").lower() or letters in _KERAS_LAYERS
    return "" if is_automatic or isinstance(layer, keras.Model) else name


def _identifier(name: str) -> str:
    """The name in ASCII letters, digits and underscores, as TensorFlow's operations have them."""
    return re.sub(r"\W", "_", name, flags=re.ASCII).lstrip("_") or "tensor"


def _argument(name: str) -> str:
    """The name as that of an argument in Python, by which a signature is called."""
    identifier = _identifier(name)
    return f"{identifier}_" if keyword.iskeyword(identifier) or identifier == "self" else identifier


def _unique(names: Iterable[str], *, key: Callable[[str], str] = str) -> tuple[str, ...]:
    """The names, with a number where one is taken; inputs that differ in capital letters are one to TensorFlow."""
    unique: list[str] = []
    for name in names:
        taken = set(map(key, unique))
        numbered = (f"{name}__{number}" for number in itertools.count(2))
        unique.append(next(one for one in itertools.chain([name], numbered) if key(one) not in taken))
    return tuple(unique)
