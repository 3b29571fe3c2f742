"""Files of LiteRT's quantizer: int4 weights throughout, or for each weight as few bits as the accuracy budget allows.

What the budget allows is measured on calibration samples, against the answers of the float32 file to them, so that no
sample which a file is judged by has a part in it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from tf_lottery.exporting.candidate_file import CandidateFile
from tf_lottery.exporting.checks.agreement import compare_outputs
from tf_lottery.exporting.checks.keras_reference import KerasReference
from tf_lottery.exporting.tflite import litert
from tf_lottery.exporting.tflite.bit_choice import FLOAT, Cost, choose_bits
from tf_lottery.exporting.tflite.weight_quantization import (
    QuantizableWeight,
    WeightPlace,
    describe_bits,
    quantizable_weights,
    quantize_weights,
)
from tf_lottery.utils.child_process import ProgramError

# More calibration samples than that are not looked at in the search, which runs a file for each choice.
MOST_SAMPLES = 512
# Bytes of a stored value of 8 bits and of its position, where no row is longer than 65,536.
_SPARSE_BYTES = 2


class NoBitsError(Exception):
    """The quantizer has nothing to offer for a file; the message says why."""


def quantized_file(
    precision: str,
    exact: CandidateFile,
    reference: KerasReference,
    *,
    max_drop: float,
    compute: str,
    scratch: Path,
    sparse: bool,
) -> tuple[bytes, str]:
    """Return a file of a precision of the quantizer, and a note on the bits of its weights.

    Args:
        precision: "int4" for the fewest bits that the quantizer has for each weight, "mixed" for as few as the budget
            allows.
        exact: the dense float32 file.
        reference: with calibration samples, for "mixed".
        max_drop: the accuracy budget: no output may lose more on the calibration samples.
        compute: as of `quantize_weights`.
        scratch: an existing folder.
        sparse: whether the file is to be stored sparse: then 8 bits are fewer than 4 where most values are zeros.

    Raises:
        NoBitsError: no weight can be quantized so.
        ProgramError: the quantizer fails.
        LiteRTError: the float32 file does not run.
    """
    weights = quantizable_weights(exact.content)
    bits: Mapping[WeightPlace, int] = {key: fewest_bits(weight, sparse=sparse) for key, weight in weights.items()}
    if precision == "int4" and 4 not in bits.values():
        raise NoBitsError("no weight is large enough for 4 bits, or of an operator that takes them")
    if precision == "mixed":
        measure = _measure(exact, reference, max_drop=max_drop, compute=compute, scratch=scratch)
        bits = choose_bits(bits, {key: weight.values for key, weight in weights.items()}, measure)
        if all(count == FLOAT for count in bits.values()):
            raise NoBitsError("no weight can be quantized within the accuracy budget on the calibration samples")
    note = f"Weights of {describe_bits(weights.values(), bits.values())}."
    if compute == "float":
        note += " They are restored to float32 at load."
    return quantize_weights(exact.content, bits, compute=compute, scratch=scratch), note


def _measure(
    exact: CandidateFile, reference: KerasReference, *, max_drop: float, compute: str, scratch: Path
) -> Callable[[Mapping[WeightPlace, int]], Cost]:
    """What bits cost on the calibration samples, against the answers of the float32 file to them."""
    samples = {name: array[:MOST_SAMPLES] for name, array in (reference.calibration or {}).items()}
    expected = litert.run_file(exact.file, samples, scratch=scratch).outputs
    tried = scratch / "tried.tflite"

    def measure(bits: Mapping[WeightPlace, int]) -> Cost:
        try:
            tried.write_bytes(quantize_weights(exact.content, bits, compute=compute, scratch=scratch))
            outputs = litert.run_file(tried, samples, scratch=scratch).outputs
        except (ProgramError, litert.LiteRTError):  # of bits that an operator has no kernel for
            return Cost(float("inf"), False)
        agreement = compare_outputs(expected, outputs, precision="mixed", kinds=reference.kinds)
        losses = [error.loss for error in agreement.by_output.values()]
        return Cost(agreement.rms_rel_error, not agreement.failure and max(losses) <= max_drop + 1e-9)

    return measure


def fewest_bits(weight: QuantizableWeight, *, sparse: bool) -> int:
    """Return the bits of a weight that make a file smallest: of a sparse one, 8 where most values are zeros.

    Args:
        weight: of `quantizable_weights`.
        sparse: whether the file is to be stored sparse, which 4 bits can't be.
    """
    return 8 if sparse and weight.density * _SPARSE_BYTES < weight.least_bits / 8 else weight.least_bits


def saves_by_zeros(content: bytes) -> bool:
    """Return whether a weight of a float32 file takes fewer bytes as sparse int8 than as int4.

    Args:
        content: a dense float32 file.
    """
    weights = quantizable_weights(content).values()
    return any(fewest_bits(weight, sparse=True) > weight.least_bits for weight in weights)
