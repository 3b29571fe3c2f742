"""A model made again with fewer channels: layers of changed configurations, and what is left of their weights."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tf_lottery.errors import UnfitError
from tf_lottery.exporting.slim.behaviour import Barrier, Behaviour
from tf_lottery.exporting.slim.channels import Reader
from tf_lottery.exporting.slim.failing import failing_at
from tf_lottery.exporting.slim.kernels import SEPARABLE, TRANSPOSED, Kernel
from tf_lottery.exporting.slim.program import Call, Program
from tf_lottery.exporting.slim.weights import AXES, cut, weights_of
from tf_lottery.layers.copying import copy_layer, rebuild
from tf_lottery.layers.sublayers import is_nested_model


@dataclass(frozen=True)
class Plan:
    """What stays of a program: by group of channels, whether it is needed, and whether it is kept."""

    program: Program
    behaviours: Sequence[Behaviour]
    groups: Mapping[int, np.ndarray]
    readers: Mapping[int, Reader]
    needed: np.ndarray
    kept: np.ndarray


def layer_names(model: keras.Model, program: Program) -> dict[int, str]:
    """A name for each layer of a program, by its identity: its own, or a numbered one where nested models repeat it.

    A layer that makes an output of the model for a nested model has that one's name, as the output has.
    """
    names: dict[int, str] = {}
    wanted = _output_names(model)
    for name, tensor in zip(wanted, program.outputs if wanted else (), strict=True):
        layer = program.maker(tensor)
        if layer is not None and name not in names.values() and (id(layer) not in names or layer.name == name):
            names[id(layer)] = name
    taken = {tensor._keras_history.operation.name for tensor in model.inputs} | set(wanted)
    for call in program.calls:
        if id(call.layer) in names:
            continue
        name, number = call.layer.name, 2
        while name in taken:
            name, number = f"{call.layer.name}_{number}", number + 1
        taken.add(name)
        names[id(call.layer)] = name
    return names


def rebuilt(model: keras.Model, plan: Plan, names: Mapping[int, str]) -> keras.Model:
    """The model with the channels that stay; `model` is not changed.

    Raises:
        UnfitError: a layer cannot be made again by its configuration.
    """
    program = plan.program
    made: dict[int, tuple[Any, dict[str, np.ndarray] | None]] = {}
    for call, behaviour in zip(program.calls, plan.behaviours, strict=True):
        if id(call.layer) not in made:
            with failing_at(call.layer):
                made[id(call.layer)] = _made(call, behaviour, plan, names[id(call.layer)])
    inputs = [_copied_input(tensor) for tensor in model.inputs]
    result: keras.Model
    if isinstance(model, keras.Sequential) and program.is_chain:
        layers = [made[id(call.layer)][0] for call in program.calls]
        result = keras.Sequential([inputs[0]._keras_history.operation, *layers], name=model.name)
    else:
        tensors = dict(zip(program.inputs, inputs, strict=True))
        for call in program.calls:
            with failing_at(call.layer):
                outputs = call.repeated(made[id(call.layer)][0], tensors)
            tensors.update(zip(call.outputs, outputs, strict=True))
        found = [tensors[n] for n in program.outputs]
        if isinstance(model, keras.Sequential):
            result = keras.Model(inputs[0], found[0], name=model.name)
        else:
            pack = keras.tree.pack_sequence_as
            found = [
                _named(tensor, name, names.values()) for tensor, name in zip(found, _output_names(model), strict=True)
            ]
            result = keras.Model(pack(model.input, inputs), pack(model.output, found), name=model.name)
    for call in program.calls:
        copy, weights = made.pop(id(call.layer), (None, None))
        if copy is not None:
            with failing_at(call.layer):
                _assign(call.layer, copy, weights)
    return result


def _output_names(model: keras.Model) -> list[str]:
    """The names of a functional model's outputs: of the layers that make them, nested models not opened."""
    if isinstance(model, keras.Sequential):
        return []  # nothing goes by the name of its output
    return [tensor._keras_history.operation.name for tensor in model.outputs]


def _named(tensor: keras.KerasTensor, name: str, taken: Container[str]) -> keras.KerasTensor:
    """An output of that name: as it is, or, where one layer makes outputs of two names, through an `Identity`."""
    if tensor._keras_history.operation.name == name or name in taken:
        return tensor
    return keras.layers.Identity(name=name, dtype=tensor.dtype)(tensor)


def _made(call: Call, behaviour: Behaviour, plan: Plan, name: str) -> tuple[Any, dict[str, np.ndarray] | None]:
    """A layer with the channels that stay, and its weights by name; None where they are those of the given layer."""
    layer = call.layer
    if isinstance(behaviour, Barrier):
        copy = rebuild(layer, copy_layer) if is_nested_model(layer) else copy_layer(layer)
        copy.name = name
        return copy, None
    weights = weights_of(layer) if isinstance(layer, keras.layers.Layer) else {}
    config = {**layer.get_config(), "name": name}
    config |= {key: "zeros" for key in config if key.endswith("_initializer") and not _of_any_shape(layer, key)}
    if isinstance(behaviour, Kernel):
        weights = _with_constants(layer, weights, plan.readers[id(layer)], plan.needed)
        config["use_bias"] = "bias" in weights
    groups = {"in": plan.groups[call.inputs[0]], "out": plan.groups[call.outputs[0]]}
    if "pointwise_kernel" in weights:
        groups["repeated in"] = np.repeat(groups["in"], weights["depthwise_kernel"].shape[-1])
    channels = {side: np.flatnonzero(plan.kept[numbers]) for side, numbers in groups.items()}
    filling = {side: ~plan.needed[numbers[channels[side]]] for side, numbers in groups.items()}
    width = len(channels["out"])
    for key in ("units", "filters"):
        if key in config:
            config[key] = width
    if isinstance(layer, keras.layers.Reshape) and layer.target_shape[-1] != -1:
        config["target_shape"] = (*layer.target_shape[:-1], width)
    return type(layer).from_config(config), cut(weights, AXES.get(type(layer), {}), channels, filling)


def _of_any_shape(layer: Any, key: str) -> bool:
    """Whether an initializer surely makes weights of any shape: one of Keras's own that holds no array."""
    initializer: Any = getattr(layer, key, None)
    if not type(initializer).__module__.startswith("keras."):
        return False
    return all(value is None or isinstance(value, int | float | str) for value in initializer.get_config().values())


def _with_constants(
    layer: keras.layers.Layer, weights: dict[str, np.ndarray], reader: Reader, needed: np.ndarray
) -> dict[str, np.ndarray]:
    """Weights in which what constant channels that go would add is part of the bias, or of another channel's row."""
    gone = ~needed[reader.inputs]
    weights = dict(weights)
    folded = gone & reader.fold & (reader.values != 0)
    share = reader.values[folded] @ reader.kernel.totals[folded]
    if folded.any() and ("bias" in weights or share[needed[reader.outputs]].any()):
        dtype = weights[next(iter(weights))].dtype
        weights["bias"] = (reader.kernel.bias + share).astype(dtype)
    merged = np.flatnonzero(gone & reader.merge)
    if len(merged) and not isinstance(layer, SEPARABLE):
        axis = -1 if isinstance(layer, TRANSPOSED) else -2
        kernel = np.moveaxis(weights["kernel"].astype(np.float64), axis, 0)
        factors = reader.values[merged] / reader.values[reader.representative]
        kernel[reader.representative] += np.tensordot(factors, kernel[merged], axes=1)
        weights["kernel"] = np.moveaxis(kernel, 0, axis).astype(weights["kernel"].dtype)
    return weights


def _copied_input(tensor: keras.KerasTensor) -> keras.KerasTensor:
    layer = tensor._keras_history.operation
    return type(layer).from_config(layer.get_config()).output


def _assign(layer: Any, copy: Any, weights: dict[str, np.ndarray] | None) -> None:
    if not isinstance(copy, keras.layers.Layer):  # an operation such as `x + y`
        return
    if weights is not None:
        source = {variable.name: variable for variable in layer.variables}
        for variable in copy.variables:
            variable.assign(weights[variable.name])
            if variable.name in source:
                variable.trainable = source[variable.name].trainable
        return
    if [tuple(v.shape) for v in copy.variables] != [tuple(v.shape) for v in layer.variables]:
        raise UnfitError(
            f"The copy of the layer {layer.name!r} of class {type(layer).__name__} has other weights.",
            "Its class must be rebuilt by from_config(get_config()).",
        )
    for variable, old in zip(copy.variables, layer.variables, strict=True):
        variable.assign(old.value)
        variable.trainable = old.trainable
    if isinstance(copy, keras.layers.Normalization):
        copy.finalize_state()  # it computes with constants made of its variables
