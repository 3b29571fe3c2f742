"""The TFLite writer: every precision, dense and sparse, each run in LiteRT and compared.

The converter reads a SavedModel of batch size 1, the case LiteRT's delegates run best, and writes dense files, which it
does well. Its own sparse encoding is not used: it answers wrongly or does not load for most precisions. `encoding`
rewrites the dense file instead. LiteRT's quantizer makes int4 and mixed files of the dense float32 one.

What is offered has passed a chain of comparisons, in the default LiteRT interpreter, in a process of its own:

    Keras -> dense float32 (rounding only) -> dense file of the precision (quantization) -> sparse file (its twin)

A quantization-aware model rounds as int8 does: its int8 files alone are made, and judged by steps of the output's
scale.
"""

import dataclasses
from pathlib import Path

import keras

from tf_lottery.exporting.candidate_file import ALL_FILES, CandidateFile, Refusal, WantedFiles, file_suffix
from tf_lottery.exporting.checks.agreement import TWIN_TOLERANCES, compare_outputs
from tf_lottery.exporting.checks.keras_reference import KerasReference
from tf_lottery.exporting.precision_names import BY_QUANTIZER, CALIBRATED, NEED_CALIBRATION
from tf_lottery.exporting.tflite import encoding, litert
from tf_lottery.exporting.tflite.arena import estimate_arena
from tf_lottery.exporting.tflite.dense_conversion import convert_dense
from tf_lottery.exporting.tflite.free_dimensions import (
    failure_at_other_sizes,
    free_dimensions,
    way_out,
    why_not_free,
)
from tf_lottery.exporting.tflite.integer_io import FloatAtTheEdgeError, edge_records, with_integer_io
from tf_lottery.exporting.tflite.micro_operators import why_not_micro
from tf_lottery.exporting.tflite.mixed_precision import NoBitsError, quantized_file, saves_by_zeros
from tf_lottery.exporting.tflite.output_steps import output_steps, steps_in_default_kernels
from tf_lottery.exporting.tflite.precisions import note_of, why_no_calibration, without_int16_kernel
from tf_lottery.exporting.tflite.refusal_reasons import NO_SPARSE_INT4, not_micro, quantized_by_keras
from tf_lottery.exporting.tflite.tflite_metadata import with_metadata
from tf_lottery.layers.fake_quantization import is_quantization_aware
from tf_lottery.utils.child_process import ProgramError
from tf_lottery.utils.text import one_line


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
    crash: Refusal | None = None
    for precision in wanted.precisions:
        if crash is not None and precision in CALIBRATED:  # it would crash again, on the same calibration
            dense: CandidateFile | Refusal = dataclasses.replace(crash, precision=precision)
        else:
            dense = exact if precision == "float32" or attempts.in_steps else attempts.reduced(precision, exact)
        crash = dense if isinstance(dense, Refusal) and dense.crashed else crash
        if "dense" in wanted.bases:
            results.append(dense)
        if "sparse" in wanted.bases:
            results += attempts.sparse(precision, attempts.for_sparse(precision, dense, exact))
    return results


class _Attempts:
    """The attempts to make the files of one model: each is written, run and compared, and kept or refused."""

    def __init__(self, model: keras.Model, folder: Path, reference: KerasReference, wanted: WantedFiles) -> None:
        self._model, self._folder, self._reference, self._wanted = model, folder, reference, wanted
        self.in_steps = is_quantization_aware(model)
        # A file that takes any size takes any batch, too, unless the converter can't make it so.
        self._batches: list[int | None] = [wanted.batch]
        if reference.signature.dynamic and wanted.batch == 1:
            self._batches = [None, 1]

    def dense(self, precision: str) -> CandidateFile | Refusal:
        """Make the dense file of a precision."""
        if reason := why_not_free(self._reference, self._wanted.target):
            return self._refusal(precision, "dense", reason)
        content = self._convert(precision)
        if isinstance(content, Refusal):
            return content
        if precision == "int16x8" and (operators := without_int16_kernel(content)):
            return self._refusal(precision, "dense", f"no int16 kernel for the operators {', '.join(operators)}")
        if precision == "int8" and self._wanted.io == "int8":
            try:
                content = with_integer_io(content)
            except FloatAtTheEdgeError as error:
                if self._wanted.target:
                    return self._refusal(precision, "dense", not_micro(why_not_micro(content)))
                reason = f"whole numbers as inputs and outputs are not possible: {error}"
                return self._refusal(precision, "dense", reason)
        return self._try(content, precision, "dense")

    def _convert(self, precision: str) -> bytes | Refusal:
        """Convert the model, for any batch where its dimensions are free, else for the one that is wanted."""
        for batch in tuple(self._batches):
            try:
                content = convert_dense(
                    self._model,
                    self._folder,
                    precision=precision,
                    calibration=None if self.in_steps else self._reference.calibration,
                    batch=batch,
                    signature=self._reference.signature,
                )
            except (MemoryError, OSError):
                raise
            except Exception as error:  # the converter raises many kinds, each of which means: not this model
                crashed = isinstance(error, ProgramError) and bool(error.crashed_with)
                reason = quantized_by_keras(self._model) or one_line(error) + way_out(self._reference.signature)
                refusal = self._refusal(precision, "dense", reason, crashed=crashed)
            else:
                self._batches = [batch]
                return content
        return refusal

    def reduced(self, precision: str, exact: CandidateFile | Refusal) -> CandidateFile | Refusal:
        """Make the dense file of a reduced precision, where the dense float32 file is right and larger."""
        if isinstance(exact, Refusal):
            return self._refusal(
                precision, "dense", f"the float32 file failed: {exact.reason}", mismatch=exact.mismatch
            )
        if precision in self._wanted.hopeless:
            return self._refusal(precision, "dense", self._wanted.hopeless[precision])
        if precision in NEED_CALIBRATION and self._reference.calibration is None:
            return self._refusal(precision, "dense", why_no_calibration(precision))
        dense = self.by_quantizer(precision, exact) if precision in BY_QUANTIZER else self.dense(precision)
        if self._wanted.io == "int8":  # asked for because of what it takes and gives, whatever its size
            return dense
        if isinstance(dense, CandidateFile) and dense.file.stat().st_size >= exact.file.stat().st_size:
            reason = f"the {precision} file would be no smaller than the float32 one: no weight is large enough for it"
            return self._refusal(precision, "dense", reason)
        return dense

    def by_quantizer(self, precision: str, exact: CandidateFile, *, sparse: bool = False) -> CandidateFile | Refusal:
        """Make the dense file of a precision of LiteRT's quantizer from the float32 one; weights as `sparse` has them.

        Where the kernels that quantize what flows into them are not right, weights are restored to float32 at load.
        """
        result: CandidateFile | Refusal
        for compute in ("integer", "float"):
            try:
                content, note = quantized_file(
                    *(precision, exact, self._reference),
                    max_drop=self._wanted.max_drop,
                    compute=compute,
                    scratch=self._folder,
                    sparse=sparse,
                )
            except (NoBitsError, ProgramError, litert.LiteRTError) as error:
                result = self._refusal(precision, "dense", one_line(error))
            else:
                result = self._try(content, precision, "dense", note=note)
            if isinstance(result, CandidateFile):
                break
        return result

    def for_sparse(
        self, precision: str, dense: CandidateFile | Refusal, exact: CandidateFile | Refusal
    ) -> CandidateFile | Refusal:
        """Return the dense twin of a sparse file: the dense file, but where other bits save more in a sparse one."""
        if precision != "mixed" or isinstance(exact, Refusal) or self._reference.calibration is None:
            return dense
        if not saves_by_zeros(exact.content):
            return dense
        folder = self._folder / "mixed_for_sparse"
        folder.mkdir()
        attempts = _Attempts(self._model, folder, self._reference, self._wanted)
        return attempts.by_quantizer(precision, exact, sparse=True)

    def sparse(self, precision: str, dense: CandidateFile | Refusal) -> list[CandidateFile | Refusal]:
        """Make the sparse files of a precision of its dense one, in the layouts that pay."""
        if isinstance(dense, Refusal):
            return [dataclasses.replace(dense, encoding=self._wanted.encoding("sparse"))]
        if precision == "int4":
            return [self._refusal(precision, "sparse", NO_SPARSE_INT4)]
        contents = encoding.encode_weights(dense.content, precision=precision)
        results: list[CandidateFile | Refusal] = []
        for layout, sparse in contents.items():
            if len(sparse) >= len(dense.content):
                reason = f"the sparse file would be no smaller than the dense one ({len(dense.content)} bytes)"
                results.append(self._refusal(precision, "sparse", reason))
                continue
            shown = layout if len(contents) > 1 and layout != "rows" else ""
            tried = self._try(sparse, precision, "sparse", shown, layout, dense.note)
            results.append(self._compare_with_dense(tried, dense))
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
        self, content: bytes, precision: str, base: str, name: str = "", layout: str = "", note: str = ""
    ) -> CandidateFile | Refusal:
        """Write the file, run it, compare it with Keras; a file that fails is deleted."""
        micro = self._wanted.target == "micro" and precision == "int8"
        if micro and (reasons := why_not_micro(content)):
            return self._refusal(precision, base, not_micro(reasons))
        encoding_name = self._wanted.encoding(base)
        suffix = f"{file_suffix(precision, encoding_name, name)}.tflite"
        file = self._folder / f"model{suffix}"
        metadata = self._wanted.metadata
        file.write_bytes(content if metadata is None else with_metadata(content, metadata))
        try:
            ran = litert.run_file(file, self._reference.named_samples, scratch=self._folder, reference_kernels=micro)
        except litert.LiteRTError as error:
            file.unlink()
            return self._refusal(precision, base, str(error))
        agreement = self._reference.compare(ran.outputs, precision=precision)
        if failure := agreement.failure or failure_at_other_sizes(file, self._reference, precision):
            file.unlink()
            return self._refusal(precision, base, failure, mismatch=True)
        note = note or note_of(content, precision)
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
            content=content,
            quantization=edge_records(content),
            arena_bytes=estimate_arena(content) if micro else None,
            free_dimensions=free_dimensions(content) or None,
        )

    def _refusal(
        self, precision: str, base: str, reason: str, *, mismatch: bool = False, crashed: bool = False
    ) -> Refusal:
        return Refusal("tflite", precision, self._wanted.encoding(base), reason, mismatch, crashed)
