"""The TFLite writer: float32, dense and sparse-encoded, run in LiteRT and compared.

The converter reads a SavedModel of batch size 1, the case LiteRT's delegates run best. `Optimize.EXPERIMENTAL_SPARSITY`
encodes the filters of convolutions and dense layers that are at least 30 % zeros, in 1x4 blocks where those are zero as
a whole (faster), else as single weights (smaller on disk, expanded when loaded).

A converter fault to know of: a dense kernel whose input size is no multiple of 4 may be encoded in 1x4 blocks that
leave out the last inputs, and the file loads and answers wrongly (seen with 3 inputs). The comparison catches it; the
sparse file is then refused, and the dense one is offered.
"""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.export import litert, saved_model
from tf_lottery.export.candidate import Candidate, Refusal
from tf_lottery.export.signature import Signature
from tf_lottery.export.silence import one_line
from tf_lottery.export.verification import compare
from tf_lottery.rewinding import openable

ENCODINGS = ("dense", "sparse")


def convert(source: Path, *, encoding: str) -> bytes:
    """The SavedModel folder `source` as a float32 TFLite file, its weights encoded as `encoding` (dense or sparse)."""
    with openable(source) as name:
        converter = tf.lite.TFLiteConverter.from_saved_model(name)
        if encoding == "sparse":
            converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
        return converter.convert()


def write_tflite(
    model: keras.Model,
    folder: Path,
    *,
    signature: Signature,
    samples: list[np.ndarray],
    reference: dict[str, np.ndarray],
    labels: list[np.ndarray | None],
) -> list[Candidate | Refusal]:
    """Convert `model`, run each file in the default LiteRT interpreter in a process of its own, and compare.

    Args:
        model: a plain model.
        folder: an existing staging folder.
        signature: the model's.
        samples: arrays in the order of the inputs.
        reference: the model's outputs on them, by output name.
        labels: one entry per output.

    Returns:
        One candidate or refusal for each encoding. A sparse file that is not smaller than the dense one is refused.
    """
    if signature.dynamic:
        reason = f"the inputs have the shapes {list(signature.shapes)}: only the batch may be dynamic in a TFLite file"
        return [Refusal("tflite", "float32", encoding, reason) for encoding in ENCODINGS]
    source = folder / "tflite_source"
    try:
        saved_model.save(model, source, batch=1)
    except (AssertionError, TypeError, ValueError, NotImplementedError) as error:
        return [Refusal("tflite", "float32", encoding, one_line(error)) for encoding in ENCODINGS]
    named = dict(zip(signature.inputs, samples, strict=True))
    results = [_candidate(source, folder, encoding, named, reference, labels) for encoding in ENCODINGS]
    return [_worthwhile(result, results) for result in results]


def _candidate(
    source: Path,
    folder: Path,
    encoding: str,
    samples: dict[str, np.ndarray],
    reference: dict[str, np.ndarray],
    labels: Sequence[np.ndarray | None],
) -> Candidate | Refusal:
    suffix = f"_float32_{encoding}.tflite"
    file = folder / f"model{suffix}"
    try:
        content = convert(source, encoding=encoding)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # the converter raises many kinds, each of which means: not this model
        return Refusal("tflite", "float32", encoding, one_line(error))
    file.write_bytes(content)
    try:
        ran = litert.run_file(file, samples, scratch=folder)
    except litert.LiteRTFailed as error:
        return Refusal("tflite", "float32", encoding, str(error))
    if encoding == "sparse" and not ran.sparse_tensors:
        reason = "nothing to encode: no dense or convolution kernel is at least 30 % zeros"
        return Refusal("tflite", "float32", encoding, reason)
    comparison = compare(reference, ran.outputs, labels=labels)
    if comparison.failure:
        return Refusal("tflite", "float32", encoding, comparison.failure, mismatch=True)
    return Candidate(file, suffix, "tflite", "float32", encoding, comparison, ran.latency_us_median)


def _worthwhile(result: Candidate | Refusal, results: list[Candidate | Refusal]) -> Candidate | Refusal:
    if not isinstance(result, Candidate) or result.encoding != "sparse":
        return result
    bytes_here = result.file.stat().st_size
    for other in results:
        if isinstance(other, Candidate) and other.encoding == "dense" and other.file.stat().st_size <= bytes_here:
            reason = f"the sparse file would be no smaller than the dense one ({bytes_here} bytes)"
            return Refusal("tflite", "float32", "sparse", reason)
    return result
