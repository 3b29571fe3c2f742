"""Optimizers as configurations: new ones like the caller's, whose own is never touched."""

import contextlib
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tf_lottery.errors import UsageError
from tf_lottery.layers import named_layers
from tf_lottery.utils.text import one_line

WITHOUT_DECAY = ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern")
_SUM_OVER_REPLICAS = "_all_reduce_sum_gradients"


def get_optimizer(identifier: Any) -> keras.optimizers.Optimizer:
    """The optimizer of a name, or the optimizer itself.

    Raises:
        UsageError: it is neither, or the weights that it does not decay are given as variables.
    """
    try:
        optimizer = keras.optimizers.get(identifier)
    except (ValueError, TypeError) as error:
        raise _unknown(identifier) from error
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise _unknown(identifier)
    if getattr(getattr(optimizer, "inner_optimizer", optimizer), WITHOUT_DECAY[0], None):
        raise UsageError(
            f"The optimizer {optimizer.name!r} excludes variables of one model from weight decay, and the models that "
            "are trained here are copies.",
            "Exclude them by name: `exclude_from_weight_decay(var_names=[...])`.",
        )
    return optimizer


def copy_optimizer(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """A new optimizer of the same configuration, without the state of the old one.

    A class or schedule of the caller's own need not be registered: schedules and functions for the learning rate have
    no state, so they are shared. What `exclude_from_weight_decay` names is kept, which no configuration holds.

    Raises:
        UsageError: it can't be made again from its configuration.

    Example:
        >>> copy_optimizer(keras.optimizers.SGD(0.5, momentum=0.9)).momentum
        0.9
    """
    try:
        with _without_warning():
            config = optimizer.get_config()
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            config["inner_optimizer"] = copy_optimizer(optimizer.inner_optimizer)
            return type(optimizer)(**config)
        if "learning_rate" in config and not isinstance(config["learning_rate"], float):
            config["learning_rate"] = optimizer._learning_rate
        copy = type(optimizer).from_config(config)
    except (TypeError, ValueError, NotImplementedError, AttributeError) as error:
        raise UsageError(
            f"The optimizer {type(optimizer).__name__} can't be made again from its configuration: {one_line(error)}",
            "Give its class a `get_config` with all arguments of its constructor.",
        ) from error
    for attribute in WITHOUT_DECAY:
        if hasattr(optimizer, attribute):
            setattr(copy, attribute, getattr(optimizer, attribute))
    return copy


def serialize_optimizer(optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """Describe an optimizer by its configuration and by what it does not decay."""
    with _without_warning():
        config = keras.optimizers.serialize(optimizer)
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return [config, str(getattr(inner, WITHOUT_DECAY[1], None))]


@contextlib.contextmanager
def _without_warning() -> Iterator[None]:
    """Without Keras's advice on how to load a lambda again: nothing loads it here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The object being serialized includes a `lambda`")
        yield


def _unknown(identifier: Any) -> UsageError:
    return UsageError(
        f"`optimizer` must be a Keras optimizer or the name of one. Received: {identifier!r}.",
        "Pass e.g. 'adam' or keras.optimizers.Adam(1e-3).",
    )


def with_loss_scale(optimizer: keras.optimizers.Optimizer, model: keras.Model) -> keras.optimizers.Optimizer:
    """Return the optimizer, made to scale the loss where gradients are float16: small ones would vanish.

    Args:
        optimizer: any Keras optimizer.
        model: the model that it is to train.
    """
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if scales or all(layer.compute_dtype != "float16" for layer in named_layers(model).values()):
        return optimizer
    return keras.optimizers.LossScaleOptimizer(optimizer)


def for_one_replica(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Return the optimizer, made to sum gradients over one replica without a custom gradient, where there is but one.

    TensorFlow registers the function of a custom gradient for the life of the process, and that holds the graph in
    which it was traced: every engine would stay in memory.

    Args:
        optimizer: any Keras optimizer; it is changed.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    own = getattr(type(inner), _SUM_OVER_REPLICAS, None)
    if not tf.distribute.has_strategy() and own is getattr(keras.optimizers.Optimizer, _SUM_OVER_REPLICAS, None):
        setattr(inner, _SUM_OVER_REPLICAS, _sum_over_one_replica)
    return optimizer


def _sum_over_one_replica(pairs: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Returns pairs of gradients and variables, through the operation that TensorFlow puts there.

    Without it TensorFlow's optimizer of graphs would fuse gradients and updates, which gives other last bits.
    """
    pairs = list(pairs)
    gradients = [gradient for gradient, _ in pairs if gradient is not None]
    if not gradients or any(isinstance(gradient, tf.IndexedSlices) for gradient in gradients):
        return pairs
    copies = iter(tf.identity_n(gradients * 2))  # results and arguments, of which the first are used
    return [(gradient if gradient is None else next(copies), variable) for gradient, variable in pairs]
