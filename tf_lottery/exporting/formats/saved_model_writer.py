"""The SavedModel writer: dense or with sparse kernels, any batch size, loaded back and compared."""

from pathlib import Path

import keras
import tensorflow as tf

from tf_lottery.exporting.candidate_file import ALL_FILES, CandidateFile, Refusal, WantedFiles, file_suffix
from tf_lottery.exporting.checks.agreement import compare_outputs
from tf_lottery.exporting.checks.keras_reference import KerasReference
from tf_lottery.exporting.formats import saved_model
from tf_lottery.exporting.formats.sparse_saved_model import save_sparse
from tf_lottery.utils.text import one_line

_SUFFIX = "_saved_model"


def write_saved_model(
    model: keras.Model, folder: Path, reference: KerasReference, wanted: WantedFiles = ALL_FILES
) -> list[CandidateFile | Refusal]:
    """Save a model, load it, and compare; a `file_formats.Writer`.

    Args:
        model: a plain model.
        folder: an existing staging folder.
        reference: what the SavedModels are compared with.
        wanted: which bases; their precision is float32.

    Returns:
        One candidate or refusal per base.
    """
    results: list[CandidateFile | Refusal] = []
    for base in wanted.bases:
        target = folder / f"{base}{_SUFFIX}"
        try:
            reason = _save(model, target, base)
        except saved_model.UNSAVABLE as error:
            reason = one_line(error)
        refused = _refuse(wanted.encoding(base), reason) if reason else None
        results.append(refused or _verify(target, wanted, base, reference))
    return results


def _save(model: keras.Model, target: Path, base: str) -> str:
    """Save a model; returns why it was not, or an empty string."""
    if base == "sparse":
        return save_sparse(model, target)
    saved_model.save(model, target, batch=None)
    return ""


def _verify(target: Path, wanted: WantedFiles, base: str, reference: KerasReference) -> CandidateFile | Refusal:
    """The SavedModel `target` as a candidate if it loads and computes what Keras does, else as a refusal.

    One whose kernels are rebuilt when it is loaded is loaded by both of TensorFlow's loaders.
    """
    encoding = wanted.encoding(base)
    first = slice(0, saved_model.CHUNK)
    try:
        outputs = in_session = saved_model.call_saved_model(target, reference.samples, reference.signature)
        if base == "sparse":
            samples = [array[first] for array in reference.samples]
            in_session = saved_model.call_in_session(target, samples, reference.signature)
    except (tf.errors.OpError, ValueError) as error:
        return _refuse(encoding, f"the SavedModel does not run after loading: {one_line(error)}")
    agreement = reference.compare(outputs)
    if agreement.failure:
        return _refuse(encoding, agreement.failure, mismatch=True)
    served = compare_outputs(
        {name: array[first] for name, array in outputs.items()},
        {name: array[first] for name, array in in_session.items()},
    )
    if served.failure:
        return _refuse(encoding, f"loaded into a session it computes something else: {served.failure}", mismatch=True)
    suffix = file_suffix("" if encoding == "dense" else encoding) + _SUFFIX
    return CandidateFile(target, suffix, "saved_model", "float32", encoding, agreement)


def _refuse(encoding: str, reason: str, *, mismatch: bool = False) -> Refusal:
    return Refusal("saved_model", "float32", encoding, reason, mismatch)
