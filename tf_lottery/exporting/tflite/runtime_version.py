"""The oldest TFLite runtime that runs a file, as the file's metadata states it for those who choose a runtime by it."""

from typing import Any

import numpy as np

from tf_lottery.exporting.tflite import flatbuffers

KEY = b"min_runtime_version"
_BYTES = 16
# Of the operators that `encoding` and `weight_quantization` add, by name and version: the table of TensorFlow's own
# converter (lite/tools/versioning/runtime_version.cc). What the converter wrote is in the metadata already.
_OLDEST = {
    ("CONV_2D", 3): "1.14.0",
    ("CONV_2D", 5): "2.4.0",
    ("CONV_2D", 7): "2.11.0",
    ("DENSIFY", 1): "2.2.0",
    ("DEPTHWISE_CONV_2D", 6): "2.3.0",
    ("DEQUANTIZE", 2): "1.14.0",
    ("DEQUANTIZE", 5): "2.7.0",
    ("DEQUANTIZE", 6): "2.18.0",
    ("FULLY_CONNECTED", 8): "2.3.0",
    ("FULLY_CONNECTED", 12): "2.17.0",
    ("RESHAPE", 1): "1.5.0",
}


def raise_runtime_version(model: Any) -> None:
    """State the oldest runtime that knows every operator of a file; what it states already is never lowered.

    Args:
        model: a `ModelT` tree, which is changed. One without the metadata is left alone.
    """
    entry = next((entry for entry in model.metadata or [] if entry.name == KEY), None)
    if entry is None:
        return
    buffer = model.buffers[entry.buffer]
    versions = [bytes(buffer.data).rstrip(b"\0").decode()]
    for graph in model.subgraphs:
        for operator in graph.operators:
            version = model.operatorCodes[operator.opcodeIndex].version
            versions.append(_OLDEST.get((flatbuffers.operator_name(model, operator), version), ""))
    newest = max(versions, key=_numbers)
    buffer.data = np.frombuffer(newest.encode().ljust(_BYTES, b"\0"), np.uint8)


def _numbers(version: str) -> list[int]:
    """A version as numbers, so that 2.17.0 is newer than 2.2.0.

    Example:
        >>> _numbers("2.17.0") > _numbers("2.2.0") > _numbers("")
        True
    """
    return [int(part) for part in version.split(".") if part.isdigit()]
