"""Do a model, data and a loss fit together? Asked before a run begins.

`classification_loss` serves experiments by configuration, `check_data` those of a user's own model, data and loss: it
computes two examples, as Keras itself would. Which models are taken at all is asked in `tf_lottery.layers.acceptance`.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.data import Arrays, Dataset, check_fits
from tf_lottery.data.fit import check_class_numbers
from tf_lottery.data.tree import leaves
from tf_lottery.errors import UnfitError
from tf_lottery.layers import Masked
from tf_lottery.layers.acceptance import own_methods
from tf_lottery.layers.sublayers import is_nested_model
from tf_lottery.training.batches import Batch, as_batch
from tf_lottery.utils.text import one_line

PARTS = ("train", "validation", "test")
SPARSE = ("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy")


def classification_loss(model: keras.Model, dataset: Dataset) -> keras.losses.Loss:
    """Return the cross-entropy that the output of a model calls for, if the model can classify the data.

    Args:
        model: a built model.
        dataset: the data set.

    Raises:
        UnfitError: the model's input or output does not fit the data.
    """
    if not is_nested_model(model):
        return _loss_of_subclassed(model, dataset)
    if len(model.outputs) != 1 or dataset.classes is None:
        raise _no_classifier(len(model.outputs))
    shape = tuple(model.inputs[0].shape[1:]) if len(model.inputs) == 1 else [tuple(i.shape[1:]) for i in model.inputs]
    _check_class_output(model.outputs[0], dataset, input_shape=shape)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=not _ends_in_softmax(model))


def _loss_of_subclassed(model: keras.Model, dataset: Dataset) -> keras.losses.Loss:
    """Returns the cross-entropy for what a subclassed model computes of a few examples: probabilities or logits."""
    few = dataset.train.take(range(min(32, dataset.train.size)))
    try:
        outputs = model(few.x, training=False)
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        raise UnfitError(
            f"The model {type(model).__name__} does not take the data: {one_line(error)}",
            f"An example of {dataset.name!r} has the shape {dataset.input_shape}.",
        ) from error
    if not keras.ops.is_tensor(outputs) or dataset.classes is None:
        raise _no_classifier(len(keras.tree.flatten(outputs)))
    _check_class_output(outputs, dataset, input_shape=dataset.input_shape)
    values = np.asarray(keras.ops.convert_to_numpy(outputs), np.float64)
    probabilities = bool((values >= 0).all() and np.allclose(values.sum(axis=-1), 1, atol=1e-3))
    return keras.losses.SparseCategoricalCrossentropy(from_logits=not probabilities)


def _no_classifier(outputs: int) -> UnfitError:
    return UnfitError(
        f"A run by configuration needs a classifier of one output. Received {outputs} outputs.",
        "Use `find_ticket` from Python, with any loss.",
    )


def _check_class_output(output: Any, dataset: Dataset, *, input_shape: Any) -> None:
    if len(output.shape) != 2:
        raise UnfitError(
            f"The model's output must have the shape (batch, classes). Received: {tuple(output.shape)}.",
            "Flatten or pool before the last layer.",
        )
    check_fits(dataset, input_shape=input_shape, outputs=output.shape[-1], sparse_labels=True)


def _ends_in_softmax(model: keras.Model) -> bool:
    layer = model.layers[-1]
    while isinstance(layer, keras.Model | Masked):
        layer = layer.layer if isinstance(layer, Masked) else layer.layers[-1]
    return isinstance(layer, keras.layers.Softmax) or getattr(layer, "activation", None) is keras.activations.softmax


def check_data(model: keras.Model, data: tuple[Any, Any, Any], *, loss: Any, loss_weights: Any = None) -> None:
    """Compute the outputs and the loss of the first examples of each part.

    Args:
        model: a built model that is compiled and called here: a copy of the caller's.
        data: training, validation and test data (or None), as `Arrays` or as `tf.data.Dataset`s of batches.
        loss: as in `model.compile`.
        loss_weights: as in `model.compile`.

    Raises:
        UnfitError: a shape, a structure, or the range of class numbers does not fit.
    """
    keras.Model.compile(model, loss=loss, loss_weights=loss_weights)
    own_steps = len(own_methods(model, ("train_step", "test_step"))) == 2
    for name, part in zip(PARTS, data, strict=True):
        if part is None:
            continue
        batch = _first(part, name)
        if own_steps:  # which need not call the model, nor take its targets as Keras does
            continue
        try:
            outputs = model(batch.x, training=False)
            if batch.y is None and not own_methods(model, ("compute_loss",)):
                raise ValueError("the loss needs targets: the data must yield (x, y)")
            if _is_sparse(loss) and keras.ops.is_tensor(outputs):
                labels = _class_numbers(part.y if isinstance(part, Arrays) else batch.y, loss)
                check_class_numbers(labels, outputs=outputs.shape[-1], part=f"{name} data")
            model.compute_loss(x=batch.x, y=batch.y, y_pred=outputs, sample_weight=batch.weight, training=False)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, tf.errors.InvalidArgumentError) as error:
            inputs = getattr(model, "inputs", None) or []  # of a subclassed model nothing is known
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in inputs) or "other inputs"
            raise UnfitError(
                f"The {name} data does not fit the model and the loss: {one_line(error)}",
                f"The model takes {shapes}; a batch here has x of {_shapes(batch.x)} and y of "
                f"{'nothing' if batch.y is None else _shapes(batch.y)}.",
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


def _class_numbers(targets: Any, loss: Any) -> np.ndarray:
    """Return the class numbers that count for a loss, flat."""
    labels = np.concatenate([np.ravel(leaf) for _, leaf in leaves(targets)])
    ignored = getattr(loss, "ignore_class", None)
    return labels if ignored is None else labels[labels != ignored]


def _shapes(tree: Any) -> str:
    return str([tuple(tensor.shape) for tensor in tf.nest.flatten(tree)])
