"""What is to know of TFLite files of a precision: why there is none, and how one runs."""

from ai_edge_litert import schema_py_generated as schema

from tf_lottery.exporting.tflite import flatbuffers
from tf_lottery.exporting.tflite.integer_io import quantized_throughout

_FLOAT_PARTS = "Operators without an int8 form compute in float32."
_INT16_RUNS = (
    "int16 between layers runs on LiteRT's own kernels: XNNPACK takes none of it, nor, by TensorFlow's documentation, "
    "any hardware delegate. Expect it to be slower than int8."
)


def why_no_calibration(precision: str) -> str:
    """Return why a precision is left out without calibration samples."""
    purpose = "choose the bits of each weight" if precision == "mixed" else "find the ranges of values"
    return (
        f"{precision} needs real samples to {purpose}: give training data as `calibration`, or as the array "
        "calibration in a file of samples"
    )


def note_of(content: bytes, precision: str) -> str:
    """Return a sentence on how a file of a precision runs, where that needs one.

    Args:
        content: the file.
        precision: one of `precision_names.PRECISIONS`.
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
