"""The precisions of TFLite files: which there are, what each needs, and what is to know of a file of one."""

from ai_edge_litert import schema_py_generated as schema

from tf_lottery.exporting.tflite import flatbuffers
from tf_lottery.exporting.tflite.integer_io import quantized_throughout

BY_QUANTIZER = ("int4", "mixed")
"""Made of the float32 file by LiteRT's quantizer, the extra `quantizer`, and only where they are asked for by name."""
IN_ALL = ("float32", "float16", "dynamic", "int8", "int16x8")
"""What "all" stands for."""
PRECISIONS = (*IN_ALL, *BY_QUANTIZER)
CALIBRATED = ("int8", "int16x8")
"""Those whose ranges the converter measures, in a process of its own, which some models crash."""

_FLOAT_PARTS = "Operators without an int8 form compute in float32."
_INT16_RUNS = (
    "int16 between layers runs on LiteRT's own kernels, without XNNPACK, and no GPU or NNAPI delegate takes it: expect "
    "it to be slower than int8."
)


def why_no_calibration(precision: str) -> str:
    """Return why a precision is left out without calibration samples."""
    return f"{precision} needs real samples to find the ranges of values: give training data as `calibration`"


def note_of(content: bytes, precision: str) -> str:
    """Return a sentence on how a file of a precision runs, where that needs one.

    Args:
        content: the file.
        precision: one of `PRECISIONS`.
    """
    if precision == "int16x8":
        return _INT16_RUNS
    return _FLOAT_PARTS if precision == "int8" and not quantized_throughout(content) else ""


def without_int16_kernel(content: bytes) -> list[str]:
    """Return the names of the operators that the converter left in float32, since none of their kernels takes int16.

    Args:
        content: a file of the precision "int16x8".
    """
    model = flatbuffers.read(content)
    names = {
        flatbuffers.operator_name(model, operator)
        for graph in model.subgraphs
        for operator in graph.operators
        if any(graph.tensors[place].type == schema.TensorType.FLOAT32 for place in operator.outputs if place >= 0)
    }
    return sorted(names - {"QUANTIZE", "DEQUANTIZE"})
