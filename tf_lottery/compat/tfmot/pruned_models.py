"""`prune_low_magnitude` and `strip_pruning`: from a plain Keras 3 model to one that is pruned in `fit`, and back."""

import contextlib
from collections.abc import Sequence
from typing import Any

import keras

from tf_lottery.compat.tfmot.pruned_layer import PruneLowMagnitude, prunable_weights
from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.layers import strip
from tf_lottery.layers.acceptance import check_model, check_prunable
from tf_lottery.layers.copying import copy_layer, rebuild
from tf_lottery.layers.paths import named_layers
from tf_lottery.pruning.schedules import ConstantSparsity, ScheduleLike


def prune_low_magnitude(
    to_prune: Any,
    pruning_schedule: ScheduleLike = ConstantSparsity(0.5, 0),  # noqa: B008 - tfmot's signature
    block_size: Sequence[int] = (1, 1),
    block_pooling_type: str = "AVG",
    pruning_policy: Any = None,
    sparsity_m_by_n: Sequence[int] | None = None,
    **kwargs: Any,
) -> Any:
    """Returns a model, a layer or a list of layers whose weights are pruned while `fit` trains them.

    Training needs the callback `UpdatePruningStep`. A model is copied; a layer is held itself, as tfmot does.

    Args:
        to_prune: A Sequential or functional model, built; a layer, built or not; or a list of layers.
        pruning_schedule: A schedule of `tf_lottery.schedules` or of tfmot, or any `schedule(step) -> (should_prune,
            sparsity)`. Steps count from 1.
        block_size: The height and the width of the blocks that are pruned as a whole, of weights of two axes.
        block_pooling_type: How blocks are scored: by the mean ("AVG") or the largest ("MAX") magnitude.
        pruning_policy: An object whose `allow_pruning(layer)` says which layers of a model are pruned.
        sparsity_m_by_n: (m, n) prunes m of n consecutive inputs, before the first step.
        **kwargs: The arguments of `keras.layers.Layer` for the layer around `to_prune`, where that is a layer.

    Raises:
        UsageError: If an argument is wrong or does not fit the weights, or `to_prune` is nothing of these.
        UnfitError: If the model is not built, or nothing in it is pruned.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
        >>> pruned = prune_low_magnitude(model, ConstantSparsity(0.5, begin_step=0, frequency=1))
        >>> type(pruned.layers[0]).__name__
        'PruneLowMagnitude'
    """
    options = {
        "pruning_schedule": pruning_schedule,
        "block_size": block_size,
        "block_pooling_type": block_pooling_type,
        "sparsity_m_by_n": sparsity_m_by_n,
    }
    if isinstance(to_prune, list):
        return [_pruned_layer(layer, options) for layer in to_prune]
    if isinstance(to_prune, keras.Model):
        return _pruned_model(to_prune, pruning_policy, options)
    if isinstance(to_prune, keras.layers.Layer):
        return _pruned_layer(to_prune, {**options, **kwargs})
    raise UsageError(
        "`to_prune` must be a Sequential or functional model, a layer or a list of layers, of Keras 3. Received: "
        f"{type(to_prune).__module__}.{type(to_prune).__name__}.",
        "Make it with `import keras` (not tf_keras).",
    )


def strip_pruning(model: keras.Model) -> keras.Model:
    """Returns a plain model with zeros where weights are pruned, as `tf_lottery.strip` does.

    Raises:
        UsageError: If the model is not pruned.
    """
    return strip(check_model(model))


def prune_scope() -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which files with pruned layers load. They load outside of it, too."""
    scope: contextlib.AbstractContextManager[Any] = keras.saving.custom_object_scope(
        {"PruneLowMagnitude": PruneLowMagnitude}
    )
    return scope


def _pruned_layer(layer: Any, options: dict[str, Any]) -> keras.layers.Layer:
    if isinstance(layer, keras.layers.InputLayer | PruneLowMagnitude):
        return layer
    return PruneLowMagnitude(layer, **options)


def _pruned_model(model: keras.Model, policy: Any, options: dict[str, Any]) -> keras.Model:
    try:
        check_model(model)
    except UsageError as error:
        raise UsageError(
            f"`prune_low_magnitude` takes Sequential and functional models. {error.cause}",
            "`tf_lottery.wrap` takes subclassed ones; prune them by the callback tf_lottery.callbacks.GradualPruning.",
        ) from error
    check_prunable(model)
    if policy is not None:
        policy.ensure_model_supports_pruning(model)
    weights = {
        id(layer): prunable_weights(layer)
        for layer in named_layers(model).values()
        if policy is None or policy.allow_pruning(layer)
    }
    if not any(weights.values()):
        raise UnfitError(
            f"Nothing in the model {model.name!r} is pruned: `pruning_policy` allows no layer with kernels.",
            "Leave the policy out; tfmot's own policies know layers of tf_keras only.",
        )

    def replace(layer: keras.layers.Layer) -> keras.layers.Layer:
        copy = copy_layer(layer)
        if not weights.get(id(layer)):
            return copy
        return PruneLowMagnitude(copy, **options, weights=weights[id(layer)])

    return rebuild(model, replace)
