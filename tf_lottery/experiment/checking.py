"""Do a user's model, data and loss fit together? Asked before a run begins, on two examples, as Keras itself would."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.data import Arrays
from tf_lottery.data.tree import leaves
from tf_lottery.errors import UnfitError
from tf_lottery.layers.copying import copy_layer, rebuild
from tf_lottery.training.batches import Batch, as_batch
from tf_lottery.utils.text import one_line

PARTS = ("train", "validation", "test")
SPARSE = ("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy")


def check_data(model: keras.Model, data: tuple[Any, Any, Any], *, loss: Any, loss_weights: Any = None) -> None:
    """Compute the outputs and the loss of the first examples of each part.

    Args:
        model: a built model; a copy of it is compiled and called.
        data: training, validation and test data (or None), as `Arrays` or as `tf.data.Dataset`s of batches.
        loss: as in `model.compile`.
        loss_weights: as in `model.compile`.

    Raises:
        UnfitError: a shape, a structure, or the range of class numbers does not fit.
    """
    trial = rebuild(model, copy_layer)
    trial.compile(loss=loss, loss_weights=loss_weights)
    for name, part in zip(PARTS, data, strict=True):
        if part is None:
            continue
        batch = _first(part, name)
        if _is_sparse(loss) and len(model.outputs) == 1:
            _check_labels(part.y if isinstance(part, Arrays) else batch.y, loss, model.outputs[0].shape[-1], name)
        try:
            outputs = trial(batch.x, training=False)
            trial.compute_loss(x=batch.x, y=batch.y, y_pred=outputs, sample_weight=batch.weight, training=False)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, tf.errors.InvalidArgumentError) as error:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in model.inputs)
            raise UnfitError(
                f"The {name} data does not fit the model and the loss: {one_line(error)}",
                f"The model takes {shapes}; a batch here has x of {_shapes(batch.x)} and y of {_shapes(batch.y)}.",
            ) from error


def _first(part: Arrays | tf.data.Dataset, name: str) -> Batch:
    if isinstance(part, Arrays):
        few = part.take(range(min(2, part.size)))
        return Batch(few.x, few.y, few.sample_weight)
    for element in part.take(1):
        return as_batch(element)
    raise UnfitError(f"The {name} data set yields no batch.", "Give a tf.data.Dataset of at least one batch.")


def _is_sparse(loss: Any) -> bool:
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    return name in SPARSE


def _check_labels(targets: Any, loss: Any, outputs: int, name: str) -> None:
    labels = np.concatenate([np.ravel(leaf) for _, leaf in leaves(targets)])
    ignored = getattr(loss, "ignore_class", None)
    labels = labels if ignored is None else labels[labels != ignored]
    if labels.size and not 0 <= labels.min() <= labels.max() < outputs:
        raise UnfitError(
            f"Class numbers must be in [0, {outputs}), the model's outputs. The {name} data holds {labels.min()} to "
            f"{labels.max()}.",
            f"Give the output layer {int(labels.max()) + 1} units, or number the classes from 0.",
        )


def _shapes(tree: Any) -> str:
    return str([tuple(tensor.shape) for tensor in tf.nest.flatten(tree)])
