"""Which weights can be masked, what role they play, and why the others are left alone."""

import fnmatch
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import keras

from tf_lottery.errors import UsageError
from tf_lottery.layers.paths import held_layer, named_layers
from tf_lottery.layers.sublayers import join, owned_variables

Selector: TypeAlias = str | Iterable[str] | Callable[[str, keras.Variable], bool]

_L = keras.layers
CONVOLUTIONS: tuple[type, ...] = (
    *(_L.Conv1D, _L.Conv2D, _L.Conv3D, _L.Conv1DTranspose, _L.Conv2DTranspose, _L.Conv3DTranspose),
    *(_L.DepthwiseConv1D, _L.DepthwiseConv2D, _L.SeparableConv1D, _L.SeparableConv2D),
    *(_L.ConvLSTM1D, _L.ConvLSTM2D, _L.ConvLSTM3D),
)
RECURRENT: tuple[type, ...] = (_L.SimpleRNNCell, _L.LSTMCell, _L.GRUCell)
DENSE: tuple[type, ...] = (_L.Dense, _L.EinsumDense)
EMBEDDINGS: tuple[type, ...] = (_L.Embedding,)
KERNELS = ("kernel", "recurrent_kernel", "depthwise_kernel", "pointwise_kernel", "embeddings")


@dataclass(frozen=True)
class Found:
    """One maskable weight: its layer's path, its path below that layer, its variable and role.

    Roles: "output" (the kernel of a dense layer that makes an output of the model), "conv", "recurrent", "embedding",
    "dense", "other" (included by the caller's own pattern).
    """

    layer_path: str
    weight_path: str
    variable: keras.Variable
    role: str

    @property
    def path(self) -> str:
        return join(self.layer_path, self.weight_path)


@dataclass(frozen=True)
class Discovery:
    """What `discover` found: maskable weights by path, and the reason for each weight that is left alone."""

    found: dict[str, Found] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def roles(self) -> dict[str, str]:
        return {path: found.role for path, found in self.found.items()}


def discover(model: keras.Model, *, include: Selector | None = None, exclude: Selector | None = None) -> Discovery:
    """Find the maskable weights of a model.

    By default: kernels of dense, convolution, recurrent, attention and embedding layers; never biases, normalisation
    parameters or other state.

    Args:
        model: a built Sequential or functional model, plain or wrapped.
        include: what to mask instead of the default: layer names, glob patterns on weight paths
            (e.g. `"conv_*/kernel"`), or a predicate `(path, variable) -> bool`.
        exclude: what to leave alone, said the same way; wins over `include`.

    Raises:
        UsageError: a name or pattern matches no weight of the model.
    """
    found: dict[str, Found] = {}
    skipped: dict[str, str] = {}
    used: dict[str, set[str]] = {"include": set(), "exclude": set()}
    seen: set[int] = set()
    outputs = _output_layers(model)
    for layer_path, layer in named_layers(model).items():
        inner = held_layer(layer)
        for weight_path, variable, owner in owned_variables(inner):
            path = join(layer_path, weight_path)
            role = _role(owner, variable, output=id(inner) in outputs and owner is inner)
            names = (layer_path, inner.name)
            included = _matches(include, path, names, variable, used["include"])
            reason = _reason(variable, role, None if include is None else included)
            if _matches(exclude, path, names, variable, used["exclude"]):
                reason = "excluded by the caller"
            if id(variable) in seen:
                continue
            seen.add(id(variable))
            if reason:
                skipped[path] = reason
            else:
                found[path] = Found(layer_path, weight_path, variable, role or "other")
    for what, selector in (("include", include), ("exclude", exclude)):
        unused = [pattern for pattern in _patterns(selector) if pattern not in used[what]]
        if unused:
            raise UsageError(
                f"`{what}` matches no weight of the model: {', '.join(map(repr, unused))}.",
                f"Its weights: {', '.join([*found, *skipped])}.",
            )
    return Discovery(found, skipped)


def _role(owner: keras.layers.Layer, variable: keras.Variable, *, output: bool) -> str | None:
    """The role of a weight that is masked by default, or None."""
    if variable.name not in KERNELS:
        return None
    if isinstance(owner, CONVOLUTIONS):
        return "conv"
    if isinstance(owner, RECURRENT):
        return "recurrent"
    if isinstance(owner, EMBEDDINGS):
        return "embedding"
    if isinstance(owner, DENSE):
        return "output" if output else "dense"
    return "conv" if type(owner).__name__.startswith("ConvLSTM") else None


def _reason(variable: keras.Variable, role: str | None, included: bool | None) -> str:
    """Why a weight is left alone, or "" if it is masked."""
    if not keras.backend.is_float_dtype(variable.dtype):
        return f"not a floating-point weight ({variable.dtype})"
    if included is False:
        return "not in `include`"
    if included is None and role is None:
        return "not a kernel of a layer kind that is masked by default"
    return ""


def _patterns(selector: Selector | None) -> list[str]:
    if selector is None or callable(selector):
        return []
    return [selector] if isinstance(selector, str) else list(selector)


def _matches(
    selector: Selector | None, path: str, names: tuple[str, str], variable: keras.Variable, used: set[str]
) -> bool:
    if selector is None:
        return False
    if callable(selector):
        return bool(selector(path, variable))
    hits = {
        pattern
        for pattern in _patterns(selector)
        if pattern in names or any(fnmatch.fnmatchcase(name, pattern) for name in (path, *names))
    }
    # A layer's name means its kernels, not its biases; they only count as matched where something can be masked.
    used |= hits
    if hits and all(pattern in names or not fnmatch.fnmatchcase(path, pattern) for pattern in hits):
        return variable.name in KERNELS
    return bool(hits)


def _output_layers(model: keras.Model) -> set[int]:
    """The ids of the layers that make the outputs of the model; activations and reshapes behind them are looked through."""
    passive = (_L.Activation, _L.Softmax, _L.ReLU, _L.Flatten, _L.Reshape, _L.Dropout, _L.Rescaling)
    found: set[int] = set()
    pending = [tensor._keras_history.operation for tensor in keras.tree.flatten(model.outputs)]
    while pending:
        operation = pending.pop()
        layer = held_layer(operation)
        if isinstance(layer, keras.Model) and hasattr(layer, "outputs"):
            found |= _output_layers(layer)
        elif isinstance(layer, passive) or not isinstance(layer, _L.Layer):
            parents = [node.operation for node in operation._inbound_nodes[0].parent_nodes]
            pending += [parent for parent in parents if parent is not None]
        else:
            found.add(id(layer))
    return found
