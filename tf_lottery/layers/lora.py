"""LoRA on masked weights: masks that hold for a kernel with its product added.

`enable_lora` of Keras adds `alpha / rank * A @ B` to a kernel, in the property by which the layer itself, layers that
are tied to it and files read the kernel. The sum is no variable: below it, the masked variable has its zeros, and the
product fills them. It has one place where it is read all the same, that property. So the class of the layer becomes a
subclass that is made here, which masks what the property returns. If the masked variable added the product instead, its
value would not be what is stored, and each `assign` of a value that was read would add the product once more.

The subclass also keeps A and B apart in the files of wrapped models, where Keras adds the product to the stored kernel.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.layers.masked_variable import apply_mask, is_masked, mask_of
from tf_lottery.layers.sublayers import PLAIN_CLASS, plain_class, sublayers_by_path
from tf_lottery.utils.text import suggestion

Lora = Literal["error", "mask", "report"]
"""What is done with LoRA on a masked weight: it is refused; the sum is masked; the product is left dense."""
LORA = ("error", "mask", "report")
ADAPTED_NAMES = ("kernel", "embeddings")
"""Names of the properties that add the product; their variables have an underscore before them."""


def check_lora(lora: str) -> None:
    """Raises if a choice is not one of `LORA`.

    Raises:
        UsageError: If it is not.
    """
    if lora not in LORA:
        raise UsageError(f"Unknown `lora` {lora!r}.", suggestion(str(lora), LORA), argument="lora")


def adapted_variable(layer: keras.layers.Layer) -> keras.Variable | None:
    """Returns the variable of a layer of Keras to which LoRA adds a product, or would; None if it can't have LoRA."""
    name = _adapted_name(layer)
    return vars(layer)[f"_{name}"] if name and hasattr(layer, "enable_lora") else None


def adaptable_variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Returns the variables that `enable_lora` of a layer may add to: all of it, if the layer is not of Keras."""
    if not hasattr(layer, "enable_lora"):
        return []
    variable = adapted_variable(layer)
    return layer._trainable_variables + layer._non_trainable_variables if variable is None else [variable]


def adapted_layers(model: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns those of a layer and its sublayers, or of a model, that compute with a product of LoRA."""
    layers = model._flatten_layers()
    return [one for one in layers if getattr(one, "lora_enabled", False) and adapted_variable(one) is not None]


def has_masked_lora(model: keras.layers.Layer) -> bool:
    """Returns whether a layer and its sublayers, or a model, have LoRA on a masked weight."""
    return any(is_masked(adapted_variable(layer)) for layer in adapted_layers(model))


def computed_weight(layer: keras.layers.Layer) -> Any:
    """Returns the weight that a layer of `adapted_layers` computes with, as a tensor: the product is added."""
    return getattr(layer, _adapted_name(layer))


def reason_refused(layer: keras.layers.Layer, lora: str) -> str:
    """Returns why LoRA on the masked weight of a layer is refused, or "" if it is not.

    Args:
        layer: A layer with a method `enable_lora`.
        lora: What is done with LoRA on masked weights, one of `LORA`.
    """
    if lora == "error":
        return "its product is added to the kernel"
    kind = plain_class(layer)
    members = (_adapted_name(layer), "call", "enable_lora")
    own = [f"`{name}`" for name in members if not _module(kind, name).startswith("keras.")]
    if not own:
        return ""
    return f"the class {kind.__name__} has its own {', '.join(own)}, which may compute the sum in another way"


def hold_lora(layer: keras.layers.Layer, *, mask_sum: bool) -> None:
    """Lets a layer have LoRA on its masked weight, now or later.

    Args:
        layer: A layer for which `reason_refused` has none.
        mask_sum: Whether the mask of the weight holds for the sum of weight and product.
    """
    _set_class(layer, _holding_class(plain_class(layer), _adapted_name(layer), mask_sum))


def release_lora(layer: keras.layers.Layer) -> None:
    """Gives a layer its own class again, if `hold_lora` changed it."""
    if isinstance(layer, _HoldsLora):
        _set_class(layer, plain_class(layer))


def _set_class(layer: keras.layers.Layer, kind: type) -> None:
    object.__dict__["__class__"].__set__(layer, kind)  # not the property that says what Keras and files see


def adapters(layer: keras.layers.Layer) -> dict[str, list[float]]:
    """Returns rank and alpha of LoRA in a layer and its sublayers, by path below the layer."""
    adapted = {id(one) for one in adapted_layers(layer)}
    return {path: [one.lora_rank, one.lora_alpha] for path, one in sublayers_by_path(layer) if id(one) in adapted}


def enable_adapters(layer: keras.layers.Layer, ranks: Mapping[str, Sequence[float]]) -> None:
    """Enables LoRA in the copy of a layer as in the layer itself.

    A configuration holds it for single layers, not for those inside an attention layer; and Keras's `Dense` and
    `Embedding` lose alpha on the way.

    Args:
        layer: A built layer.
        ranks: Rank and alpha by path below the layer, as from `adapters`.

    Raises:
        UnfitError: If it has no layer of such a path.
    """
    layers: dict[str, Any] = dict(sublayers_by_path(layer)) if ranks else {}
    for path, (rank, alpha) in ranks.items():
        if path not in layers:
            raise UnfitError(
                f"LoRA can't be enabled again in {layer.name!r}: it has no layer of the path {path!r}.",
                "Give its layers the same names each time.",
            )
        if not layers[path].lora_enabled:
            layers[path].enable_lora(rank, lora_alpha=alpha)
        layers[path].lora_alpha = alpha


def merge_masked_sum(layer: keras.layers.Layer, copy: keras.layers.Layer) -> None:
    """Replaces LoRA in a copy of a layer by a kernel that holds the masked sum, if the layer masks it.

    Args:
        layer: A layer of a wrapped model.
        copy: Its plain copy; or the layer itself.
    """
    if not (getattr(type(layer), "masks_sum", False) and layer.lora_enabled and copy.lora_enabled):
        return
    value, name = computed_weight(layer), _adapted_name(layer)
    for part in ("a", "b"):
        delattr(copy, f"lora_{name}_{part}")
    copy.lora_enabled, copy.lora_rank, copy.lora_alpha = False, None, None
    variable: Any = adapted_variable(copy)
    variable.trainable = copy.trainable
    variable.assign(value)


class _HoldsLora:
    """Marks the classes of layers with LoRA on a masked weight."""

    masks_sum: bool


@functools.cache
def _holding_class(kind: Any, name: str, masks_sum: bool) -> type:
    """Returns the subclass of a layer's class that masks what its property returns; Keras and files see the class."""
    plain: Callable[[Any], Any] = getattr(kind, name).fget

    def read(layer: Any) -> Any:
        weight, stored = plain(layer), adapted_variable(layer)
        return apply_mask(mask_of(stored), weight) if layer.lora_enabled and is_masked(stored) else weight

    def save_own_variables(layer: Any, store: Any) -> None:
        (keras.layers.Layer if layer.lora_enabled else kind).save_own_variables(layer, store)

    def load_own_variables(layer: Any, store: Any) -> None:
        own = len(layer._trainable_variables + layer._non_trainable_variables)
        # The file of a plain model has fewer: its kernel holds the product, and A and B become zeros.
        (keras.layers.Layer if len(store.keys()) == own else kind).load_own_variables(layer, store)

    members = {
        "__module__": kind.__module__,
        "__class__": property(lambda layer: kind),
        PLAIN_CLASS: kind,
        "masks_sum": masks_sum,
        "from_config": kind.from_config,
        "save_own_variables": save_own_variables,
        "load_own_variables": load_own_variables,
    }
    return type(kind.__name__, (_HoldsLora, kind), members | ({name: property(read)} if masks_sum else {}))


def _adapted_name(layer: keras.layers.Layer) -> str:
    return next((name for name in ADAPTED_NAMES if f"_{name}" in vars(layer)), "")


def _module(kind: type, name: str) -> str:
    member = getattr(kind, name, None)
    return str(getattr(getattr(member, "fget", member), "__module__", ""))
