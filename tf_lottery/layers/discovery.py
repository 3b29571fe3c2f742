"""Which weights of a model can be masked, what role they play, and why the others are left alone."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import keras

from tf_lottery.layers.attention_heads import heads_by_projection
from tf_lottery.layers.axes import axes_of
from tf_lottery.layers.kinds import EMBEDDING_NAMES, KERNEL_NAMES, kind_of, looks_like_kernel
from tf_lottery.layers.paths import held_layer, named_layers, variables_of
from tf_lottery.layers.selectors import Selection, Selector
from tf_lottery.layers.sublayers import is_nested_model, join, owned_variables
from tf_lottery.layers.tracing import symbolic_graph
from tf_lottery.pruning.granularities import UNKNOWN_AXES, Axes
from tf_lottery.utils import html

PROTOCOL = ("maskable_weights", "get_prunable_weights")
"""Methods by which a layer of the user's own says which of its variables are masked by default."""
MASKED_NAMES = (*KERNEL_NAMES, *EMBEDDING_NAMES)
"""Names of variables that are maskable by default, in a layer of a kind that has a role."""


@dataclass(frozen=True)
class MaskableWeight:
    """A weight that can be masked.

    Attributes:
        layer_path: The path of its layer in the model.
        weight_path: Its path below that layer.
        variable: The variable.
        role: "conv", "dense", "embedding" or "recurrent"; "output" for the kernel of a dense layer that makes an
            output of the model; "other" for a weight that only the caller's own pattern includes.
        axes: What runs along its axes.
    """

    layer_path: str
    weight_path: str
    variable: keras.Variable
    role: str
    axes: Axes = UNKNOWN_AXES

    @property
    def path(self) -> str:
        """The path of the weight in the model."""
        return join(self.layer_path, self.weight_path)


@dataclass(frozen=True, repr=False)
class Discovery:
    """The result of `discover`: which weights are maskable, and why the others are not.

    Attributes:
        found: The maskable weights by path.
        skipped: The reason for every weight that is left alone, by path.
    """

    found: dict[str, MaskableWeight] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def roles(self) -> dict[str, str]:
        """The role of every maskable weight by path, which sets its pruning rate; see `MaskableWeight.role`."""
        return {path: weight.role for path, weight in self.found.items()}

    @property
    def axes(self) -> dict[str, Axes]:
        """What runs along the axes of every maskable weight, by path, as `prune` takes it for larger units."""
        return {path: weight.axes for path, weight in self.found.items()}

    def __repr__(self) -> str:
        """Returns one line with the numbers of weight arrays and weights."""
        return f"<Discovery: {self._summary()}>"

    def _repr_html_(self) -> str:
        """Returns a table of the weight arrays, for notebooks."""
        rows: list[tuple[object, ...]] = [
            (path, "x".join(map(str, weight.variable.shape)), weight.role, "") for path, weight in self.found.items()
        ]
        rows += [(path, "", "", reason) for path, reason in self.skipped.items()]
        return html.table(("weight", "shape", "role", "not maskable because"), rows, caption=self._summary())

    def _summary(self) -> str:
        weights = sum(math.prod(weight.variable.shape) for weight in self.found.values())
        arrays = f"{len(self.found)} maskable weight arrays with {weights:,} weights"
        return f"{arrays}, {len(self.skipped)} arrays skipped"


def discover(model: keras.Model, *, include: Selector | None = None, exclude: Selector | None = None) -> Discovery:
    """Returns the maskable weights of a model, and why the others are left alone.

    Maskable by default are the kernels of dense, convolution, recurrent, attention and embedding layers, and what a
    layer of the user's own returns from a method `maskable_weights()` (or tfmot's `get_prunable_weights()`); biases,
    normalization parameters and other state are not.

    Args:
        model: A built model, Sequential, functional or subclassed, plain or wrapped.
        include: What to mask instead of the default: names or glob patterns, or a predicate `(path, variable) -> bool`.
            A pattern for a layer or nested model (`"conv*"`, `"encoder"`, `"dense_1"`) stands for its kernels; one for
            the path of a weight (`"conv*/bias"`) for that weight, whatever it is.
        exclude: What to leave alone, in the same form; it overrides `include`.

    Raises:
        UsageError: If a name or pattern matches no weight of the model, or is ambiguous.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)])
        >>> discover(model).roles
        {'dense/kernel': 'dense', 'dense_1/kernel': 'output'}
        >>> discover(model, exclude="dense_1")
        <Discovery: 1 maskable weight arrays with 12 weights, 3 arrays skipped>
    """
    maskable: dict[str, MaskableWeight] = {}
    skipped: dict[str, str] = {}
    layers = named_layers(model)
    included, excluded = Selection("include", include, layers), Selection("exclude", exclude, layers)
    with symbolic_graph(model) as graph:  # of a subclassed model that can't be traced, no outputs are known
        outputs = _output_layers(graph.output_tensors)
        last_channels = _output_layers(graph.output_tensors, look_through=_keeps_channels)
    seen: set[int] = set()
    for layer_path, layer in layers.items():
        heads = heads_by_projection(held_layer(layer), layer_path)
        for weight_path, variable, owner in variables_of(layer):
            path = join(layer_path, weight_path)
            role = _role(owner, variable, output=id(owner) in outputs)
            if not role and id(variable) in declared_maskable(owner):
                role = "other"
            is_included = None
            if include is not None:
                is_included = included.matches(path, layer_path, variable, kernel=_is_kernel(owner, variable))
            reason = _reason_skipped(variable, role, is_included)
            if excluded.matches(path, layer_path, variable, kernel=True):
                reason = "excluded by the caller"
            if id(variable) in seen:
                continue
            seen.add(id(variable))
            if reason:
                skipped[path] = reason
            else:
                axes = axes_of(owner, variable, output=id(owner) in last_channels, heads=heads.get(id(owner)))
                maskable[path] = MaskableWeight(layer_path, weight_path, variable, role or "other", axes)
    for selection in (included, excluded):
        selection.check_used([*maskable, *skipped])
    return Discovery(maskable, skipped)


def _role(owner: keras.layers.Layer, variable: keras.Variable, *, output: bool) -> str:
    """Returns the role of a weight that is masked by default; "" for one that is not."""
    role = kind_of(owner).role if variable.name in MASKED_NAMES else ""
    return "output" if role == "dense" and output else role


def declared_maskable(layer: keras.layers.Layer) -> set[int]:
    """Returns the ids of the variables that a layer's own method `maskable_weights` or `get_prunable_weights` names."""
    for method in PROTOCOL:
        if callable(declare := getattr(layer, method, None)):
            return {id(variable) for variable in declare()}
    return set()


def _reason_skipped(variable: keras.Variable, role: str, is_included: bool | None) -> str:
    """Returns why a weight is left alone, or "" if it is masked; `is_included` is None without an `include`."""
    if not keras.backend.is_float_dtype(variable.dtype):
        return f"not a floating-point weight ({variable.dtype})"
    if is_included is False:
        return "not in `include`"
    if is_included is None and not role:
        return "not a kernel of a layer kind that is masked by default"
    return ""


def _is_kernel(owner: keras.layers.Layer, variable: keras.Variable) -> bool:
    """Returns whether a pattern for the layer stands for this weight: a kernel, not a bias or scale."""
    custom = not type(owner).__module__.startswith("keras.")
    return variable.name in MASKED_NAMES or (custom and looks_like_kernel(variable))


def _is_passive(layer: keras.layers.Layer) -> bool:
    return kind_of(layer).passive


def _is_depthwise(layer: keras.layers.Layer) -> bool:
    return kind_of(layer).weight_axes == "depthwise kernel"


def _keeps_channels(layer: keras.layers.Layer) -> bool:
    """Returns whether the channels of a layer are those of its inputs: no kernel of it sums over them."""
    return _is_depthwise(layer) or not any(_is_kernel(owner, variable) for _, variable, owner in owned_variables(layer))


def _output_layers(
    outputs: Iterable[Any], look_through: Callable[[keras.layers.Layer], bool] = _is_passive
) -> set[int]:
    """Returns the ids of the layers that make these outputs.

    By default activations and reshapes are looked through, so that the result are the output layers in the sense of
    the papers.
    """
    output_layers: set[int] = set()
    pending = list(keras.tree.flatten(outputs))
    while pending:
        history = pending.pop()._keras_history
        operation: Any = history.operation
        layer = held_layer(operation)
        if is_nested_model(layer):
            pending.append(layer.outputs[history.tensor_index])
        through = not isinstance(layer, keras.layers.Layer) or look_through(layer)
        if through:
            pending += operation._inbound_nodes[history.node_index].arguments.keras_tensors
        if not is_nested_model(layer) and (not through or _is_depthwise(layer)):
            output_layers.add(id(layer))
            if isinstance(layer, keras.layers.TimeDistributed):
                output_layers.add(id(layer.layer))
    return output_layers
