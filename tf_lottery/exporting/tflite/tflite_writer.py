"""The TFLite writer: four precisions, dense and sparse, each run in LiteRT and compared.

The converter reads a SavedModel of batch size 1, the case LiteRT's delegates run best, and writes dense files, which it
does well. Its own sparse encoding is not used: it answers wrongly or does not load for most precisions. `encoding`
rewrites the dense file instead. For int8 it runs the model to find the ranges of values, and can crash in doing so
(recurrent layers): a process of its own, though it takes seconds to start, makes that a refusal.

What is offered has passed a chain of comparisons, in the default LiteRT interpreter, in a process of its own:

    Keras -> dense float32 (rounding only) -> dense file of the precision (quantization) -> sparse file (its twin)

A quantization-aware model rounds as int8 does: its int8 files alone are made, and judged by steps of the output's
scale.
"""

import dataclasses
import tempfile
from pathlib import Path

import keras

from tf_lottery.exporting.candidate_file import ALL_FILES, CandidateFile, Refusal, WantedFiles, file_suffix
from tf_lottery.exporting.checks.agreement import TWIN_TOLERANCES, compare_outputs
from tf_lottery.exporting.checks.keras_reference import KerasReference
from tf_lottery.exporting.formats import saved_model
from tf_lottery.exporting.signature import Signature
from tf_lottery.exporting.tflite import encoding, litert, run_converter
from tf_lottery.exporting.tflite.arena import estimate_arena
from tf_lottery.exporting.tflite.integer_io import (
    FloatAtTheEdgeError,
    edge_records,
    quantized_throughout,
    with_integer_io,
)
from tf_lottery.exporting.tflite.micro_operators import why_not_micro
from tf_lottery.exporting.tflite.output_steps import output_steps, steps_in_default_kernels
from tf_lottery.exporting.tflite.run_converter import NamedArrays
from tf_lottery.exporting.tflite.tensor_names import shorten_names
from tf_lottery.layers.acceptance import quantized_layers
from tf_lottery.layers.fake_quantization import is_quantization_aware
from tf_lottery.utils.child_process import ProgramError, program, run_program
from tf_lottery.utils.files import dump_arrays
from tf_lottery.utils.tensorflow_paths import openable
from tf_lottery.utils.text import one_line

PRECISIONS = ("float32", "float16", "dynamic", "int8")
NO_CALIBRATION = (
    "int8 needs real samples to find the ranges of values: give training data as `calibration`, or as the array "
    "calibration in a file of samples"
)
_CONVERTER = program("tf_lottery.exporting.tflite.run_converter")
_FLOAT_PARTS = "Operators without an int8 form compute in float32."


def convert(
    source: Path, *, precision: str = "float32", calibration: NamedArrays | None = None, batch: int = 1
) -> bytes:
    """Convert a SavedModel to a dense TFLite file, with inputs and outputs as in the SavedModel.

    Args:
        source: the folder of a SavedModel with the signature `serving_default` and a fixed batch size.
        precision: "float32"; "float16" weights; "dynamic": int8 weights, float32 between the layers; "int8" throughout.
        calibration: for "int8": arrays `(samples, ...)` by input name; None for a model with ranges of its own.
        batch: the batch size.

    Returns:
        The content of the file.

    Raises:
        Exception: of many kinds, by the converter; each means that the model cannot be converted so.
    """
    with openable(source) as name:
        if precision != "int8" or not calibration:
            return shorten_names(run_converter.convert(name, precision=precision, calibration={}))
        with tempfile.TemporaryDirectory(dir=source.parent) as folder:
            samples, converted = Path(folder) / "samples.npz", Path(folder) / "converted.tflite"
            samples.write_bytes(dump_arrays(calibration))
            run_program(_CONVERTER, [name, precision, samples, converted, str(batch)], name="the int8 converter")
            return shorten_names(converted.read_bytes())


def convert_dense(
    model: keras.Model,
    folder: Path,
    *,
    precision: str = "float32",
    calibration: NamedArrays | None = None,
    batch: int = 1,
    signature: Signature | None = None,
) -> bytes:
    """Convert a plain Keras model to a dense TFLite file.

    Args:
        model: a plain model.
        folder: an existing one, for the SavedModel between them, which is made once for all precisions.
        precision: as of `convert`.
        calibration: as of `convert`.
        batch: the batch size.
        signature: the model's, in which dynamic shapes may be fixed; by default its own.

    Returns:
        The content of the file.

    Raises:
        Exception: of many kinds, by the converter; each means that the model cannot be converted so.
    """
    source = folder / "tflite_source"
    if not source.exists():
        saved_model.save(model, source, batch=batch, signature=signature)
    return convert(source, precision=precision, calibration=calibration, batch=batch)


def write_tflite(
    model: keras.Model, folder: Path, reference: KerasReference, wanted: WantedFiles = ALL_FILES
) -> list[CandidateFile | Refusal]:
    """Convert a model, run each file in the default LiteRT interpreter, and compare; a `file_formats.Writer`.

    Args:
        model: a plain model, or the int8 twin of a quantization-aware one.
        folder: an existing staging folder.
        reference: what the files are compared with.
        wanted: which files. Dense float32 is always made, because the others are judged after it; not of an int8 twin.

    Returns:
        A candidate or refusal for each precision and encoding; of sparse weights there may be two layouts.
    """
    attempts = _Attempts(model, folder, reference, wanted)
    results: list[CandidateFile | Refusal] = []
    exact = attempts.dense("int8" if attempts.in_steps else "float32")
    for precision in wanted.precisions:
        dense = exact if precision == "float32" or attempts.in_steps else attempts.reduced(precision, exact)
        if "dense" in wanted.bases:
            results.append(dense)
        if "sparse" in wanted.bases:
            results += attempts.sparse(precision, dense)
    return results


class _Attempts:
    """The attempts to make the files of one model: each is written, run and compared, and kept or refused."""

    def __init__(self, model: keras.Model, folder: Path, reference: KerasReference, wanted: WantedFiles) -> None:
        self._model, self._folder, self._reference, self._wanted = model, folder, reference, wanted
        self.in_steps = is_quantization_aware(model)

    def dense(self, precision: str) -> CandidateFile | Refusal:
        """Make the dense file of a precision."""
        if self._reference.signature.dynamic:
            shapes = list(self._reference.signature.shapes)
            reason = (
                f"the inputs have the shapes {shapes}: only the batch may be dynamic in a TFLite file; fix the others "
                "by `input_shape=`"
            )
            return self._refusal(precision, "dense", reason)
        try:
            calibration = None if self.in_steps else self._reference.calibration
            content = convert_dense(
                self._model,
                self._folder,
                precision=precision,
                calibration=calibration,
                batch=self._wanted.batch,
                signature=self._reference.signature,
            )
        except (MemoryError, OSError):
            raise
        except Exception as error:  # the converter raises many kinds, each of which means: not this model
            crashed = isinstance(error, ProgramError) and bool(error.crashed_with)
            reason = self._quantized_by_keras() or one_line(error)
            return self._refusal(precision, "dense", reason, crashed=crashed)
        if precision == "int8" and self._wanted.io == "int8":
            try:
                content = with_integer_io(content)
            except FloatAtTheEdgeError as error:
                if self._wanted.target:
                    return self._refusal(precision, "dense", _not_micro(why_not_micro(content)))
                reason = f"whole numbers as inputs and outputs are not possible: {error}"
                return self._refusal(precision, "dense", reason)
        return self._try(content, precision, "dense")

    def reduced(self, precision: str, exact: CandidateFile | Refusal) -> CandidateFile | Refusal:
        """Make the dense file of a reduced precision, where the dense float32 file is right and larger."""
        if isinstance(exact, Refusal):
            return self._refusal(
                precision, "dense", f"the float32 file failed: {exact.reason}", mismatch=exact.mismatch
            )
        if precision in self._wanted.hopeless:
            return self._refusal(precision, "dense", self._wanted.hopeless[precision])
        if precision == "int8" and self._reference.calibration is None:
            return self._refusal(precision, "dense", NO_CALIBRATION)
        dense = self.dense(precision)
        if self._wanted.io == "int8":  # asked for because of what it takes and gives, whatever its size
            return dense
        if isinstance(dense, CandidateFile) and dense.file.stat().st_size >= exact.file.stat().st_size:
            reason = f"the {precision} file would be no smaller than the float32 one: no weight is large enough for it"
            return self._refusal(precision, "dense", reason)
        return dense

    def sparse(self, precision: str, dense: CandidateFile | Refusal) -> list[CandidateFile | Refusal]:
        """Make the sparse files of a precision of its dense one, in the layouts that pay."""
        if isinstance(dense, Refusal):
            return [dataclasses.replace(dense, encoding=self._wanted.encoding("sparse"))]
        content = dense.file.read_bytes()
        rows, row_count, _ = encoding.encode_weights(content, precision=precision, blocks=False)
        blocks, _, block_count = encoding.encode_weights(content, precision=precision, blocks=True)
        # Blocks are faster than rows but for int8, whose rows run as dense convolutions.
        contents = {}
        if block_count and (precision != "int8" or len(blocks) < len(rows)):
            contents[f"1x{encoding.BLOCKS[precision]}"] = blocks
        if row_count and (not contents or len(rows) < len(blocks)):
            contents["rows"] = rows
        results: list[CandidateFile | Refusal] = []
        for layout, sparse in contents.items():
            if len(sparse) >= len(content):
                reason = f"the sparse file would be no smaller than the dense one ({len(content)} bytes)"
                results.append(self._refusal(precision, "sparse", reason))
                continue
            shown = layout if len(contents) > 1 and layout != "rows" else ""
            results.append(self._compare_with_dense(self._try(sparse, precision, "sparse", shown, layout), dense))
        return results or [
            self._refusal(precision, "sparse", "no weight has so many zeros that storing it sparse pays")
        ]

    def _compare_with_dense(self, sparse: CandidateFile | Refusal, dense: CandidateFile) -> CandidateFile | Refusal:
        if isinstance(sparse, Refusal):
            return sparse
        twin = compare_outputs(dense.outputs, sparse.outputs, tolerance=TWIN_TOLERANCES[sparse.precision])
        if twin.max_rel_error <= TWIN_TOLERANCES[sparse.precision]:
            return sparse
        sparse.file.unlink()
        reason = f"it computes something else than the dense {sparse.precision} file: {twin.failure}"
        return self._refusal(sparse.precision, "sparse", reason, mismatch=True)

    def _try(
        self, content: bytes, precision: str, base: str, name: str = "", layout: str = ""
    ) -> CandidateFile | Refusal:
        """Write the file, run it, compare it with Keras; a file that fails is deleted."""
        micro = self._wanted.target == "micro" and precision == "int8"
        if micro and (reasons := why_not_micro(content)):
            return self._refusal(precision, base, _not_micro(reasons))
        encoding_name = self._wanted.encoding(base)
        suffix = f"{file_suffix(precision, encoding_name, name)}.tflite"
        file = self._folder / f"model{suffix}"
        file.write_bytes(content)
        try:
            ran = litert.run_file(file, self._reference.named_samples, scratch=self._folder, reference_kernels=micro)
        except litert.LiteRTError as error:
            file.unlink()
            return self._refusal(precision, base, str(error))
        agreement = self._reference.compare(ran.outputs, precision=precision)
        if agreement.failure:
            file.unlink()
            return self._refusal(precision, base, agreement.failure, mismatch=True)
        note = _FLOAT_PARTS if precision == "int8" and not quantized_throughout(content) else ""
        if self.in_steps:
            steps = output_steps(content, self._reference.outputs, ran.outputs)
            default = steps_in_default_kernels(file, self._reference) if micro else steps
            if base == "dense" and default.failure:
                file.unlink()
                return self._refusal(precision, base, default.failure, mismatch=True)
            note = f"{note} {steps}".strip()
        return CandidateFile(
            file,
            suffix,
            "tflite",
            precision,
            encoding_name,
            agreement,
            latency_us_median=None if micro else ran.latency_us_median,
            layout=layout,
            note=note,
            outputs=ran.outputs,
            quantization=edge_records(content),
            arena_bytes=estimate_arena(content) if micro else None,
        )

    def _quantized_by_keras(self) -> str:
        """Why a model that Keras quantized can't be converted; empty for another one."""
        layers = quantized_layers(self._model)
        if not layers:
            return ""
        modes = ", ".join(dict.fromkeys(layers.values()))
        return (
            f"Keras quantized the layers {', '.join(layers)} ({modes}), in operations that the converter does not "
            'know: export the model as it was before `quantize`, with precision="int8"'
        )

    def _refusal(
        self, precision: str, base: str, reason: str, *, mismatch: bool = False, crashed: bool = False
    ) -> Refusal:
        return Refusal("tflite", precision, self._wanted.encoding(base), reason, mismatch, crashed)


def _not_micro(reasons: list[str]) -> str:
    return f"TensorFlow Lite Micro does not run it: {'; '.join(reasons)}"
