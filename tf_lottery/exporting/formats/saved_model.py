"""The SavedModel writer: weights stored once, any batch size, signature `serving_default`, loaded back and compared."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.exporting.checks.candidate import Candidate, Refusal, encoding_name, file_suffix
from tf_lottery.exporting.checks.trial import Trial
from tf_lottery.exporting.signature import Signature, serving_module
from tf_lottery.utils.tensorflow_paths import openable
from tf_lottery.utils.text import one_line

SUFFIX = "_saved_model"
SIGNATURE = "serving_default"
# What `tf.saved_model.save` raises for a model that it can't save: AssertionError for resources, such as lookup tables,
# that it can't follow.
UNSAVABLE = (AssertionError, TypeError, ValueError, NotImplementedError)
_CHUNK = 256


def save(model: keras.Model, folder: Path, *, batch: int | None) -> None:
    """Save the inference function of `model` with the batch size `batch` (None: any) as the SavedModel `folder`.

    Raises:
        OSError: if writing fails.
    """
    write_module(*serving_module(model, batch=batch), folder)


def write_module(module: tf.Module, function: Any, folder: Path) -> None:
    """Save a module and its concrete function, which becomes `serving_default`, as the SavedModel `folder`.

    Raises:
        OSError: if writing fails; TensorFlow reports that as one of many errors of its own (a full disk as
            `OutOfRangeError`).
    """
    try:
        tf.saved_model.save(module, str(folder), signatures={SIGNATURE: function})
    except tf.errors.OpError as error:
        raise OSError(error.message.rsplit("; ", 1)[-1].split(" [Op:")[0]) from error


def write_saved_model(
    model: keras.Model, folder: Path, trial: Trial, *, slim: bool = False
) -> list[Candidate | Refusal]:
    """Save `model` in `folder`, load it with `tf.saved_model.load`, and compare.

    Args:
        model: a plain model.
        folder: an existing staging folder.
        trial: what it is compared on.
        slim: whether it is the slimmed model.

    Returns:
        One candidate, or one refusal.
    """
    encoding = encoding_name("dense", slim=slim)
    target = folder / "saved_model"
    try:
        save(model, target, batch=None)
    except UNSAVABLE as error:
        return [refused(encoding, one_line(error))]
    return [verified(target, encoding, trial)]


def verified(target: Path, encoding: str, trial: Trial) -> Candidate | Refusal:
    """The SavedModel `target` as a candidate if it loads and answers as it should, else as a refusal."""
    try:
        outputs = _outputs(target, trial.samples, trial.signature)
    except tf.errors.OpError as error:
        return refused(encoding, f"the SavedModel does not run after loading: {one_line(error)}")
    comparison = trial.judge(outputs)
    if comparison.failure:
        return refused(encoding, comparison.failure, mismatch=True)
    suffix = file_suffix("" if encoding == "dense" else encoding) + SUFFIX
    return Candidate(target, suffix, "saved_model", "float32", encoding, comparison)


def refused(encoding: str, reason: str, *, mismatch: bool = False) -> Refusal:
    """A SavedModel that is not offered."""
    return Refusal("saved_model", "float32", encoding, reason, mismatch)


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
