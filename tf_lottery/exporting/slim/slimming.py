"""`slim`: a model without the units and channels that its zeros made dead."""

import logging

import keras
import numpy as np

from tf_lottery.errors import UsageError
from tf_lottery.exporting.slim.call_graph import calls_its_layers, trace_calls
from tf_lottery.exporting.slim.channel_flow import Blocked, find_channel_flows
from tf_lottery.exporting.slim.channel_groups import find_fixed_groups, group_channels
from tf_lottery.exporting.slim.constant_channels import find_constant_channels
from tf_lottery.exporting.slim.dead_channels import KernelLayer, find_kept_groups, find_kernel_layers
from tf_lottery.exporting.slim.kernels import Kernel
from tf_lottery.exporting.slim.layer_errors import name_layer_in_errors
from tf_lottery.exporting.slim.slim_report import LayerSlimming, SlimReport
from tf_lottery.exporting.slim.smaller_model import RebuildPlan, build_smaller_model, unique_layer_names
from tf_lottery.layers import is_wrapped, strip
from tf_lottery.layers.acceptance import check_model, check_weights_finite
from tf_lottery.layers.functional_copy import functional_copy
from tf_lottery.layers.sparse import is_sparsified
from tf_lottery.layers.sublayers import is_nested_model

log = logging.getLogger(__name__)


def slim(model: keras.Model, *, multiple: int = 1) -> tuple[keras.Model, SlimReport]:
    """Removes the units and channels that zeros made dead, exactly.

    Removed are channels that nothing on the way to an output reads, and channels that hold the same value for every
    input. Such a value is folded into the bias of the layer that reads it, or, where zero padding makes the border
    differ, into the kernel row of one constant channel that is kept for all. The model's own inputs and outputs keep
    their shapes. Layers whose channels can't be followed (those that mix channels, custom layers) are kept whole, and
    the report gives the reason.

    Args:
        model: A built model with exact zeros in its kernels, or a wrapped one, whose masks are applied first. It is
            not changed. The `call` of a subclassed one is traced; what it calls is kept whole where it is itself
            subclassed.
        multiple: Numbers of channels are rounded up to multiples of this, with channels of zeros; some hardware is
            faster with multiples of 8.

    Returns:
        `(smaller model, report)`. The model is plain and not compiled. It computes the same up to rounding, and its
        inputs, outputs and layers have the same names (nested models are opened; the last layer of one that makes an
        output takes its name).

    Raises:
        UsageError: If `model` is not a Keras model, or `multiple` is not a positive integer.
        UnfitError: If the model is not built or can't be traced, or a layer can't be analyzed or built again; the
            message names it.
        NonFiniteError: If a weight is NaN or infinite.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(1)])
        >>> model.layers[1].set_weights([np.array([[1.0], [0.0], [1.0]]), np.zeros(1)])  # unit 1 is not read
        >>> smaller, report = slim(model)
        >>> smaller.layers[0].units, report.removed
        (2, 1)
    """
    if not isinstance(multiple, int | np.integer) or isinstance(multiple, bool) or multiple < 1:
        raise UsageError(f"`multiple` must be a positive integer. Received: {multiple!r}.", "Use e.g. 1 or 8.")
    check_model(model, subclassed=True)
    if not is_nested_model(model):
        model = functional_copy(model)
    elif is_wrapped(model) or is_sparsified(model):
        model = strip(model)
    _check_call(model)
    check_weights_finite(model)
    with name_layer_in_errors(model, "model"):
        return _slim(model, int(multiple))


def _slim(model: keras.Model, multiple: int) -> tuple[keras.Model, SlimReport]:
    graph = trace_calls(model)
    flows = find_channel_flows(graph)
    groups = group_channels(graph, flows)
    kernel_layers = find_kernel_layers(graph, flows, groups, find_constant_channels(graph, flows))
    count = 1 + max((int(numbers.max()) for numbers in groups.values() if len(numbers)), default=0)
    fixed = find_fixed_groups(graph, flows, groups)
    needed, kept = find_kept_groups(tuple(kernel_layers.values()), fixed, count, multiple)
    names = unique_layer_names(model, graph)
    plan = RebuildPlan(graph, flows, groups, kernel_layers, needed, kept)
    smaller = build_smaller_model(model, plan, names)
    report = SlimReport(
        layers=tuple(_layer_slimming(names[key], layer, needed, kept) for key, layer in kernel_layers.items()),
        parameters_before=model.count_params(),
        parameters_after=smaller.count_params(),
        left_alone=_reasons_left_alone(plan, names),
        multiple=multiple,
    )
    log.info("slimmed %s: %d of %d parameters", model.name, report.parameters_after, report.parameters_before)
    return smaller, report


def _check_call(model: keras.Model) -> None:
    """Raises unless a model's `call` can be followed."""
    if not calls_its_layers(model):
        raise UsageError(
            f"A model with its own `call` can't be followed. Received: {type(model).__name__} (name {model.name!r}).",
            "Make it a functional model: keras.Model(inputs, outputs).",
        )


def _layer_slimming(name: str, layer: KernelLayer, needed: np.ndarray, kept: np.ndarray) -> LayerSlimming:
    read = layer.reads_for(needed)
    removed = ~needed[layer.inputs] & read
    return LayerSlimming(
        name=name,
        units_before=len(layer.outputs),
        units_after=int(kept[layer.outputs].sum()),
        units_filling=int((kept & ~needed)[layer.outputs].sum()),
        inputs_before=len(layer.inputs),
        inputs_after=int(kept[layer.inputs].sum()),
        inputs_read=int(read.sum()),
        folded=int((removed & layer.fold & (layer.values != 0)).sum()),
        merged=int((removed & layer.merge).sum()),
    )


def _reasons_left_alone(plan: RebuildPlan, names: dict[int, str]) -> dict[str, str]:
    """Returns why channels could not be followed or removed, by the name of the layer where that is so."""
    reasons: dict[str, str] = {}
    ends = set(plan.graph.outputs)
    for call, flow in zip(plan.graph.calls, plan.flows, strict=True):
        name = names[id(call.layer)]
        if isinstance(flow, Blocked):
            if not (call.outputs[0] in ends and isinstance(call.layer, keras.layers.Activation | keras.layers.Softmax)):
                reasons[name] = flow.reason  # in front of an output all channels are kept anyway
        elif isinstance(flow, Kernel):
            if flow.activation is None and call.outputs[0] not in ends:
                reasons[name] = "its activation mixes channels or is not known, so all of its units stay"
            layer = plan.kernel_layers[id(call.layer)]
            stay = ~np.isnan(layer.values) & ~layer.fold & ~layer.merge & plan.needed[layer.inputs]
            if stay.any():
                reasons[name] = f"{stay.sum()} constant channels stay, as its zero padding reads them unevenly"
    return reasons
