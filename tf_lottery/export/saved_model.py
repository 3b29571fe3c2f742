"""The SavedModel writer: weights stored once, any batch size, signature `serving_default`, loaded back and compared."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.export.candidate import Candidate, Refusal
from tf_lottery.export.signature import Signature, serving_module
from tf_lottery.export.silence import one_line
from tf_lottery.export.verification import compare
from tf_lottery.rewinding import openable

SUFFIX = "_saved_model"
SIGNATURE = "serving_default"
_CHUNK = 256


def save(model: keras.Model, folder: Path, *, batch: int | None) -> None:
    """Save the inference function of `model` with the batch size `batch` (None: any) as the SavedModel `folder`.

    Raises:
        OSError: if writing fails; TensorFlow reports that as one of many errors of its own (a full disk as
            `OutOfRangeError`).
    """
    module, function = serving_module(model, batch=batch)
    try:
        tf.saved_model.save(module, str(folder), signatures={SIGNATURE: function})
    except tf.errors.OpError as error:
        raise OSError(error.message.rsplit("; ", 1)[-1].split(" [Op:")[0]) from error


def write_saved_model(
    model: keras.Model,
    folder: Path,
    *,
    signature: Signature,
    samples: list[np.ndarray],
    reference: dict[str, np.ndarray],
    labels: list[np.ndarray | None],
) -> list[Candidate | Refusal]:
    """Save `model` in `folder`, load it with `tf.saved_model.load`, and compare.

    Args:
        model: a plain model.
        folder: an existing staging folder.
        signature: the model's.
        samples: arrays in the order of the inputs.
        reference: the model's outputs on them, by output name.
        labels: one entry per output.

    Returns:
        One candidate, or one refusal.
    """
    target = folder / "saved_model"
    try:
        save(model, target, batch=None)
    except (AssertionError, TypeError, ValueError, NotImplementedError) as error:
        # tf.saved_model raises AssertionError for resources, such as lookup tables, that it cannot follow.
        return [Refusal("saved_model", "float32", "dense", one_line(error))]
    try:
        outputs = _outputs(target, samples, signature)
    except tf.errors.OpError as error:
        reason = f"the SavedModel does not run after loading: {one_line(error)}"
        return [Refusal("saved_model", "float32", "dense", reason)]
    comparison = compare(reference, outputs, labels=labels)
    if comparison.failure:
        return [Refusal("saved_model", "float32", "dense", comparison.failure, mismatch=True)]
    return [Candidate(target, SUFFIX, "saved_model", "float32", "dense", comparison)]


def _outputs(folder: Path, samples: list[np.ndarray], signature: Signature) -> dict[str, np.ndarray]:
    with openable(folder) as name:
        loaded = tf.saved_model.load(name)
    serve = loaded.signatures[SIGNATURE]
    parts: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(samples[0]), _CHUNK):
        chunk = {
            name: tf.constant(array[start : start + _CHUNK])
            for name, array in zip(signature.inputs, samples, strict=True)
        }
        for name, tensor in serve(**chunk).items():
            parts.setdefault(name, []).append(tensor.numpy())
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}
