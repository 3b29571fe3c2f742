"""What layers do otherwise in several replicas: random numbers, and statistics that each replica would keep alone."""

from collections.abc import Iterator

import keras
import tensorflow as tf

from tf_lottery.errors import UsageError
from tf_lottery.layers.acceptance import own_methods
from tf_lottery.training.replicas import Replicas
from tf_lottery.training.state import is_random_state

OWN_STEPS = ("train_step", "test_step", "compute_loss", "compute_metrics")


class ReplicaSeedGenerator(keras.random.SeedGenerator):
    """Draws other seeds in each replica: a function of the state, which all replicas share, and of the replica.

    The state is a function of the seed and of the number of draws: a draw is one of (seed, step, replica).
    """

    def next(self, ordered: bool = True) -> tf.Tensor:
        """Return the seed of the next draw, int64, shape (2,)."""
        seed = super().next(ordered)
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return seed
        return tf.random.experimental.stateless_fold_in(seed, context.replica_id_in_sync_group)


def draw_by_replica(model: keras.Model) -> None:
    """Let the layers of a model draw other random numbers in each replica.

    Args:
        model: a model that is trained by several replicas; its plain copies stay as they are.
    """
    for layer in model._flatten_layers():
        for generator in layer._seed_generators:
            if type(generator) is keras.random.SeedGenerator:
                generator.__class__ = ReplicaSeedGenerator


def synchronize_batch_norm(model: keras.Model) -> None:
    """Let batch normalization compute the mean and variance of the batch of all replicas.

    Args:
        model: the model that is trained; its plain copies stay as they are.
    """
    for layer in _batch_norms(model):
        layer.synchronized = True


def separate_statistics(model: keras.Model) -> list[keras.Variable]:
    """Return the variables that each replica computes from its own examples: moving means and variances.

    Those of synchronized batch normalization are equal in all replicas already.

    Args:
        model: the model that is trained.
    """
    equal = {id(v) for layer in _batch_norms(model) if layer.synchronized for v in layer.non_trainable_variables}
    return [
        variable
        for variable in model.non_trainable_variables
        if variable.dtype.startswith(("float", "bfloat"))
        and id(variable) not in equal
        and not is_random_state(variable.path)
    ]


def check_replicable(model: keras.Model, replicas: Replicas | None) -> None:
    """Check that replicas can train a model as one would.

    Args:
        model: the plain model.
        replicas: what is to train it together, or None.

    Raises:
        UsageError: it keeps a state from batch to batch, or has steps or losses of its own.
    """
    if replicas is None:
        return
    if stateful := sorted({layer.name for layer in model._flatten_layers() if getattr(layer, "stateful", False)}):
        raise UsageError(
            f"A strategy divides each batch, and {', '.join(stateful)} keeps a state for each example of the batch "
            "(`stateful=True`).",
            "Make the layer without a state, or train without a `strategy`.",
        )
    if own := own_methods(model, OWN_STEPS):
        raise UsageError(
            f"A strategy adds up the losses of the replicas as Keras scales them. The model {model.name!r} has "
            f"{', '.join(own)} of its own.",
            "Pass its loss and metrics as arguments, or train without a `strategy`.",
        )


def _batch_norms(model: keras.Model) -> Iterator[keras.layers.BatchNormalization]:
    return (layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization))
