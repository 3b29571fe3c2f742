"""The slimmed model: layers built again with fewer channels, and the part of their weights that is kept."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tf_lottery.errors import UnfitError
from tf_lottery.exporting.slim.call_graph import Call, CallGraph
from tf_lottery.exporting.slim.channel_flow import Blocked, ChannelFlow
from tf_lottery.exporting.slim.dead_channels import KernelLayer
from tf_lottery.exporting.slim.kernels import Kernel
from tf_lottery.exporting.slim.layer_errors import name_layer_in_errors
from tf_lottery.exporting.slim.weight_axes import WEIGHT_AXES, take_channels, weight_arrays
from tf_lottery.layers.acceptance import quantized_layers
from tf_lottery.layers.copying import copy_input, copy_layer, copy_settings, rebuild
from tf_lottery.layers.kinds import exact_kind_of
from tf_lottery.layers.sublayers import is_nested_model


@dataclass(frozen=True)
class RebuildPlan:
    """Which channels of a model are kept.

    Attributes:
        graph: The calls of the model.
        flows: The channel flow of every call.
        groups: The group number of every channel, by tensor.
        kernel_layers: The layers with a kernel, by the `id` of the layer.
        needed: Which groups the outputs need: bool (groups,).
        kept: Which groups are kept: bool (groups,). Those that are not needed fill layers up, with zeros.
    """

    graph: CallGraph
    flows: Sequence[ChannelFlow]
    groups: Mapping[int, np.ndarray]
    kernel_layers: Mapping[int, KernelLayer]
    needed: np.ndarray
    kept: np.ndarray


def unique_layer_names(model: keras.Model, graph: CallGraph) -> dict[int, str]:
    """Returns a name for every layer of a call graph, by the `id` of the layer.

    It is the layer's own name, with a number where nested models repeat it. A layer that makes an output of the model
    for a nested model takes the nested model's name, as the output has.

    Args:
        model: The model.
        graph: Its calls.
    """
    names: dict[int, str] = {}
    wanted = _output_names(model)
    for name, tensor in zip(wanted, graph.outputs if wanted else (), strict=True):
        layer = graph.producer(tensor)
        if layer is not None and name not in names.values() and (id(layer) not in names or layer.name == name):
            names[id(layer)] = name
    taken = {tensor._keras_history.operation.name for tensor in model.inputs} | set(wanted)
    for call in graph.calls:
        if id(call.layer) in names:
            continue
        name, number = call.layer.name, 2
        while name in taken:
            name, number = f"{call.layer.name}_{number}", number + 1
        taken.add(name)
        names[id(call.layer)] = name
    return names


def build_smaller_model(model: keras.Model, plan: RebuildPlan, names: Mapping[int, str]) -> keras.Model:
    """Returns a copy of the model with only the kept channels; `model` is not changed.

    Args:
        model: A plain functional or Sequential model.
        plan: Which of its channels are kept.
        names: The name of every layer in the copy, by the `id` of the layer.

    Raises:
        UnfitError: If a layer can't be built again from its configuration.
    """
    graph = plan.graph
    copies: dict[int, tuple[Any, dict[str, np.ndarray] | None]] = {}
    for call, flow in zip(graph.calls, plan.flows, strict=True):
        if id(call.layer) not in copies:
            with name_layer_in_errors(call.layer):
                copies[id(call.layer)] = _smaller_layer(call, flow, plan, names[id(call.layer)])
    inputs = [copy_input(tensor) for tensor in model.inputs]
    result: keras.Model
    if isinstance(model, keras.Sequential) and graph.is_chain:
        layers = [copies[id(call.layer)][0] for call in graph.calls]
        result = keras.Sequential([inputs[0]._keras_history.operation, *layers], name=model.name)
    else:
        tensors = dict(zip(graph.inputs, inputs, strict=True))
        for call in graph.calls:
            with name_layer_in_errors(call.layer):
                outputs = call.repeat(copies[id(call.layer)][0], tensors)
            tensors.update(zip(call.outputs, outputs, strict=True))
        outputs = [tensors[n] for n in graph.outputs]
        if isinstance(model, keras.Sequential):
            result = keras.Model(inputs[0], outputs[0], name=model.name)
        else:
            pack = keras.tree.pack_sequence_as
            wanted = _output_names(model)
            outputs = [
                _rename_output(tensor, name, names.values()) for tensor, name in zip(outputs, wanted, strict=True)
            ]
            result = keras.Model(pack(model.input, inputs), pack(model.output, outputs), name=model.name)
    for call in graph.calls:
        copy, weights = copies.pop(id(call.layer), (None, None))
        if copy is not None:
            with name_layer_in_errors(call.layer):
                _assign_weights(call.layer, copy, weights)
    return result


def _output_names(model: keras.Model) -> list[str]:
    """Returns the names of a functional model's outputs: of the layers that make them, nested models not opened."""
    if isinstance(model, keras.Sequential):
        return []  # nothing refers to the name of its output
    return [tensor._keras_history.operation.name for tensor in model.outputs]


def _rename_output(tensor: keras.KerasTensor, name: str, taken: Container[str]) -> keras.KerasTensor:
    """Returns an output of a name, through an `Identity` if its layer makes outputs of two names."""
    if tensor._keras_history.operation.name == name or name in taken:
        return tensor
    return keras.layers.Identity(name=name, dtype=tensor.dtype)(tensor)


def _smaller_layer(
    call: Call, flow: ChannelFlow, plan: RebuildPlan, name: str
) -> tuple[Any, dict[str, np.ndarray] | None]:
    """Returns a copy of a layer with the kept channels, and its weights by name; None for unchanged weights."""
    layer = call.layer
    if isinstance(flow, Blocked):
        copy = rebuild(layer, copy_layer) if is_nested_model(layer) else copy_layer(layer)
        copy.name = name
        return copy, None
    weights = weight_arrays(layer) if isinstance(layer, keras.layers.Layer) else {}
    config = {**layer.get_config(), "name": name}
    config |= {key: "zeros" for key in config if key.endswith("_initializer") and not _fits_any_shape(layer, key)}
    if isinstance(flow, Kernel):
        weights = _fold_constants(layer, weights, plan.kernel_layers[id(layer)], plan.needed)
        config["use_bias"] = "bias" in weights
    groups = {"in": plan.groups[call.inputs[0]], "out": plan.groups[call.outputs[0]]}
    if "pointwise_kernel" in weights:
        groups["repeated in"] = np.repeat(groups["in"], weights["depthwise_kernel"].shape[-1])
    channels = {side: np.flatnonzero(plan.kept[numbers]) for side, numbers in groups.items()}
    fill = {side: ~plan.needed[numbers[channels[side]]] for side, numbers in groups.items()}
    width = len(channels["out"])
    for key in ("units", "filters"):
        if key in config:
            config[key] = width
    if isinstance(layer, keras.layers.Reshape) and layer.target_shape[-1] != -1:
        config["target_shape"] = (*layer.target_shape[:-1], width)
    axes = WEIGHT_AXES.get(exact_kind_of(layer).weight_axes, {})
    return type(layer).from_config(config), take_channels(weights, axes, channels, fill)


def _fits_any_shape(layer: Any, key: str) -> bool:
    """Returns whether an initializer makes weights of any shape: it is one of Keras's own and holds no array."""
    initializer: Any = getattr(layer, key, None)
    if not type(initializer).__module__.startswith("keras."):
        return False
    return all(value is None or isinstance(value, int | float | str) for value in initializer.get_config().values())


def _fold_constants(
    layer: keras.layers.Layer, weights: dict[str, np.ndarray], kernel_layer: KernelLayer, needed: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns weights that need no removed constant input: its share is in the bias or in another input's row."""
    removed = ~needed[kernel_layer.inputs]
    weights = dict(weights)
    folded = removed & kernel_layer.fold & (kernel_layer.values != 0)
    share = kernel_layer.values[folded] @ kernel_layer.kernel.totals[folded]
    if folded.any() and ("bias" in weights or share[needed[kernel_layer.outputs]].any()):
        dtype = weights[next(iter(weights))].dtype
        weights["bias"] = (kernel_layer.kernel.bias + share).astype(dtype)
    merged = np.flatnonzero(removed & kernel_layer.merge)
    layout = exact_kind_of(layer).weight_axes
    if len(merged) and layout != "separable kernel":
        axis = -1 if layout == "transposed kernel" else -2
        kernel = np.moveaxis(weights["kernel"].astype(np.float64), axis, 0)
        factors = kernel_layer.values[merged] / kernel_layer.values[kernel_layer.representative]
        kernel[kernel_layer.representative] += np.tensordot(factors, kernel[merged], axes=1)
        weights["kernel"] = np.moveaxis(kernel, 0, axis).astype(weights["kernel"].dtype)
    return weights


def _assign_weights(layer: Any, copy: Any, weights: dict[str, np.ndarray] | None) -> None:
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
        if quantized := quantized_layers(layer):
            raise UnfitError(
                f"Keras quantized the layer {layer.name!r} ({', '.join(set(quantized.values()))}), and can't build it "
                "again.",
                "Slim the model before `quantize`.",
            )
        raise UnfitError(
            f"The copy of the layer {layer.name!r} of class {type(layer).__name__} has other weights.",
            "Its class must be rebuilt by from_config(get_config()).",
        )
    for variable, old in zip(copy.variables, layer.variables, strict=True):
        variable.assign(old.value)
        variable.trainable = old.trainable
    copy_settings(layer, copy, share=True)
