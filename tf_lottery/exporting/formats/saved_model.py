"""SavedModels: weights stored once, signature `serving_default`; saved, and called after loading."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tf_lottery.exporting.signature import Signature, serving_module
from tf_lottery.utils.tensorflow_paths import openable

SIGNATURE = "serving_default"
# What `tf.saved_model.save` raises for a model that it can't save: AssertionError for resources, such as lookup tables,
# that it can't follow.
UNSAVABLE = (AssertionError, TypeError, ValueError, NotImplementedError)
CHUNK = 256


def save(model: keras.Model, folder: Path, *, batch: int | None, signature: Signature | None = None) -> None:
    """Save the inference function of a model as the SavedModel `folder`.

    Args:
        model: a plain model.
        folder: a path at which nothing lies.
        batch: the batch size; None for any.
        signature: the model's, in which dynamic shapes may be fixed; by default its own.

    Raises:
        OSError: writing fails.
    """
    write_module(*serving_module(model, batch=batch, signature=signature), folder)


def write_module(module: tf.Module, function: Any, folder: Path) -> None:
    """Save a module and its inference function as the SavedModel `folder`.

    Args:
        module: what holds the variables.
        function: the concrete function that becomes `serving_default`.
        folder: a path at which nothing lies.

    Raises:
        OSError: writing fails; TensorFlow reports that as one of many errors of its own (a full disk as
            `OutOfRangeError`).
    """
    try:
        tf.saved_model.save(module, str(folder), signatures={SIGNATURE: function})
    except tf.errors.OpError as error:
        raise OSError(error.message.rsplit("; ", 1)[-1].split(" [Op:")[0]) from error


def call_saved_model(
    folder: Path, samples: list[npt.NDArray[Any]], signature: Signature
) -> dict[str, npt.NDArray[Any]]:
    """Load a SavedModel with `tf.saved_model.load` and return its outputs by name, each `(samples, ...)`.

    Args:
        folder: the SavedModel.
        samples: one array `(samples, ...)` per input, in the order of the signature.
        signature: the names of the inputs.

    Raises:
        tf.errors.OpError: it does not load or run.
    """
    with openable(folder) as name:
        # Users write this in one line, too: nothing but the signature may be needed to call it.
        serve = tf.saved_model.load(name).signatures[SIGNATURE]
    parts: dict[str, list[npt.NDArray[Any]]] = {}
    for start in range(0, len(samples[0]), CHUNK):
        chunk = {
            name: tf.constant(array[start : start + CHUNK])
            for name, array in zip(signature.inputs, samples, strict=True)
        }
        for name, tensor in serve(**chunk).items():
            parts.setdefault(name, []).append(tensor.numpy())
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def call_in_session(folder: Path, samples: list[npt.NDArray[Any]], signature: Signature) -> dict[str, npt.NDArray[Any]]:
    """Load a SavedModel into a session, as TensorFlow Serving and the C API do, and return its outputs by name.

    Args:
        folder: as for `call_saved_model`.
        samples: as for `call_saved_model`.
        signature: as for `call_saved_model`.

    Raises:
        tf.errors.OpError: it does not load or run.
        ValueError: it has no such inputs, or nothing to restore.
    """
    with openable(folder) as name, _quiet(), tf.compat.v1.Session(graph=tf.Graph()) as session:
        served = tf.compat.v1.saved_model.load(session, ["serve"], name).signature_def[SIGNATURE]
        feed = {served.inputs[name].name: array for name, array in zip(signature.inputs, samples, strict=True)}
        outputs: dict[str, npt.NDArray[Any]] = session.run(
            {name: tensor.name for name, tensor in served.outputs.items()}, feed
        )
    return outputs


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep TensorFlow from warning that its loader of sessions is an old one: this is why it is called."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
