"""Which weights can be masked, what role they play, and why the others are left alone."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import keras

from tf_lottery.layers.axes import axes_of
from tf_lottery.layers.kinds import EMBEDDING_NAMES, KERNEL_NAMES, kind_of
from tf_lottery.layers.paths import held_layer, named_layers
from tf_lottery.layers.selectors import Selection, Selector
from tf_lottery.layers.sublayers import is_nested_model, join, owned_variables
from tf_lottery.pruning.units import Axes

_L = keras.layers
MASKED_NAMES = (*KERNEL_NAMES, *EMBEDDING_NAMES)
"""Names of variables that are maskable by default, in a layer of a kind that has a role."""


@dataclass(frozen=True)
class MaskableWeight:
    """One maskable weight: its layer's path, its path below that layer, its variable and role, what its axes are.

    Roles: "output" (the kernel of a dense layer that makes an output of the model), "conv", "recurrent", "embedding",
    "dense", "other" (included by the caller's own pattern).
    """

    layer_path: str
    weight_path: str
    variable: keras.Variable
    role: str
    axes: Axes = Axes()

    @property
    def path(self) -> str:
        return join(self.layer_path, self.weight_path)


@dataclass(frozen=True)
class Discovery:
    """What `discover` found: maskable weights by path, and the reason for each weight that is left alone."""

    found: dict[str, MaskableWeight] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def roles(self) -> dict[str, str]:
        return {path: found.role for path, found in self.found.items()}

    @property
    def axes(self) -> dict[str, Axes]:
        """What runs along the axes of each maskable weight, as `prune` in larger units takes it."""
        return {path: found.axes for path, found in self.found.items()}


def discover(model: keras.Model, *, include: Selector | None = None, exclude: Selector | None = None) -> Discovery:
    """Find the maskable weights of a model.

    By default: kernels of dense, convolution, recurrent, attention and embedding layers; never biases, normalisation
    parameters or other state.

    Args:
        model: a built Sequential or functional model, plain or wrapped.
        include: what to mask instead of the default: names or glob patterns, or a predicate `(path, variable) -> bool`.
            A pattern for a layer or nested model (`"conv*"`, `"encoder"`, `"dense_1"`) stands for its kernels; one for
            the path of a weight (`"conv*/bias"`) for that weight, whatever it is.
        exclude: what to leave alone, said the same way; wins over `include`.

    Raises:
        UsageError: a name or pattern matches no weight of the model, or is ambiguous.
    """
    found: dict[str, MaskableWeight] = {}
    skipped: dict[str, str] = {}
    layers = named_layers(model)
    chosen, excluded = Selection("include", include, layers), Selection("exclude", exclude, layers)
    outputs, final = _output_layers(model.outputs), _output_layers(model.outputs, passing=_keeps_channels)
    seen: set[int] = set()
    for layer_path, layer in layers.items():
        inner = held_layer(layer)
        for weight_path, variable, owner in owned_variables(inner):
            path = join(layer_path, weight_path)
            role = _role(owner, variable, output=id(owner) in outputs)
            included = (
                None
                if include is None
                else chosen.matches(path, layer_path, variable, kernel=_is_kernel(owner, variable))
            )
            reason = _reason(variable, role, included)
            if excluded.matches(path, layer_path, variable, kernel=True):
                reason = "excluded by the caller"
            if id(variable) in seen:
                continue
            seen.add(id(variable))
            if reason:
                skipped[path] = reason
            else:
                axes = axes_of(owner, variable, output=id(owner) in final)
                found[path] = MaskableWeight(layer_path, weight_path, variable, role or "other", axes)
    for selection in (chosen, excluded):
        selection.check_used([*found, *skipped])
    return Discovery(found, skipped)


def _role(owner: keras.layers.Layer, variable: keras.Variable, *, output: bool) -> str:
    """Returns the role of a weight that is masked by default; "" for one that is not."""
    role = kind_of(owner).role if variable.name in MASKED_NAMES else ""
    return "output" if role == "dense" and output else role


def _reason(variable: keras.Variable, role: str, included: bool | None) -> str:
    """Why a weight is left alone, or "" if it is masked."""
    if not keras.backend.is_float_dtype(variable.dtype):
        return f"not a floating-point weight ({variable.dtype})"
    if included is False:
        return "not in `include`"
    if included is None and not role:
        return "not a kernel of a layer kind that is masked by default"
    return ""


def _is_kernel(owner: keras.layers.Layer, variable: keras.Variable) -> bool:
    """Whether the name of a layer, given as a pattern, stands for this weight of it: a kernel, not a bias or scale."""
    custom = not type(owner).__module__.startswith("keras.")
    return variable.name in MASKED_NAMES or (
        custom and variable.trainable and len(variable.shape) > 1 and "bias" not in variable.name
    )


def _is_passive(layer: keras.layers.Layer) -> bool:
    return kind_of(layer).passive


def _is_depthwise(layer: keras.layers.Layer) -> bool:
    return kind_of(layer).weight_axes == "depthwise kernel"


def _keeps_channels(layer: keras.layers.Layer) -> bool:
    """Whether the channels of a layer are those of its inputs: nothing in it sums over them."""
    return _is_depthwise(layer) or not any(_is_kernel(owner, variable) for _, variable, owner in owned_variables(layer))


def _output_layers(outputs: Iterable[Any], passing: Callable[[keras.layers.Layer], bool] = _is_passive) -> set[int]:
    """The ids of the layers that make these outputs; those that are `passing` are looked through.

    By default activations and reshapes are, so that what is found are the output layers in the sense of the papers.
    """
    found: set[int] = set()
    pending = list(keras.tree.flatten(outputs))
    while pending:
        history = pending.pop()._keras_history
        operation: Any = history.operation
        layer = held_layer(operation)
        if is_nested_model(layer):
            pending.append(layer.outputs[history.tensor_index])
        through = not isinstance(layer, _L.Layer) or passing(layer)
        if through:
            pending += operation._inbound_nodes[history.node_index].arguments.keras_tensors
        if not is_nested_model(layer) and (not through or _is_depthwise(layer)):
            found |= {id(layer), id(layer.layer) if isinstance(layer, _L.TimeDistributed) else id(layer)}
    return found
