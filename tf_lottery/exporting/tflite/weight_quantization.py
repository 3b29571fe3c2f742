"""Give each weight of a float32 TFLite file its own number of bits, by LiteRT's quantizer (the extra `quantizer`)."""

import importlib.util
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tf_lottery.exporting.tflite import flatbuffers, graph_edits
from tf_lottery.exporting.tflite.bit_choice import FLOAT
from tf_lottery.exporting.tflite.encoding import weight_arrays
from tf_lottery.exporting.tflite.runtime_version import raise_runtime_version
from tf_lottery.utils.child_process import program, run_program

INSTALL = "Install the extra: pip install 'tf-lottery[quantizer]'."

WeightPlace: TypeAlias = tuple[int, int]
"""A weight, by the numbers of its subgraph and tensor."""

_RUN_QUANTIZER = program("tf_lottery.exporting.tflite.run_quantizer")
_SECONDS = 600.0
# By the schema's name of an operator: the quantizer's, and the fewest bits that it has for its weight.
_OPERATIONS = {
    "FULLY_CONNECTED": ("FULLY_CONNECTED", 4),
    "CONV_2D": ("CONV_2D", 4),
    "DEPTHWISE_CONV_2D": ("DEPTHWISE_CONV_2D", 8),
    "TRANSPOSE_CONV": ("CONV_2D_TRANSPOSE", 8),
}
# The versions of operators with a weight of one scale per channel, which the quantizer leaves as they were: a runtime
# that is too old for it is to refuse the file. Of a 4-bit FULLY_CONNECTED with float inputs there is none of its own.
_VERSIONS = {
    ("FULLY_CONNECTED", schema.TensorType.INT8): 12,
    ("FULLY_CONNECTED", schema.TensorType.INT4): 12,
    ("CONV_2D", schema.TensorType.INT8): 5,
    ("CONV_2D", schema.TensorType.INT4): 7,
    ("DEPTHWISE_CONV_2D", schema.TensorType.INT8): 6,
    ("DEQUANTIZE", schema.TensorType.INT8): 5,
    ("DEQUANTIZE", schema.TensorType.INT4): 6,
}
_SCALE_BYTES, _ADDED = 12, 64
_NUMBERED = re.compile(r"t(\d+)_(\d+)_")


@dataclass(frozen=True)
class QuantizableWeight:
    """A weight of a float32 file that the quantizer has a form for.

    Attributes:
        name: of its tensor, or of what is computed with it, e.g. "/dense_1/".
        values: how many it has.
        density: the fraction of them that are not zero.
        least_bits: the fewest bits that the quantizer has for it.
        users: the outputs of the operators that read it, by number, and the quantizer's names of their kinds.
    """

    name: str
    values: int
    density: float
    least_bits: int
    users: tuple[tuple[int, str], ...]


def is_installed() -> bool:
    """Return whether the quantizer is there."""
    return importlib.util.find_spec("ai_edge_quantizer") is not None


def quantizable_weights(content: bytes) -> dict[WeightPlace, QuantizableWeight]:
    """Return the weights of a float32 file that the quantizer makes smaller, by subgraph and tensor.

    Args:
        content: a dense float32 file from the converter.
    """
    model = flatbuffers.read(content)
    weights = {}
    for number, graph in enumerate(model.subgraphs):
        for place, tensor, array, users in weight_arrays(model, graph):
            kinds = [flatbuffers.operator_name(model, user) for user in users]
            if array.dtype != np.float32 or not set(kinds) <= set(_OPERATIONS):
                continue
            least = max(_OPERATIONS[kind][1] for kind in kinds)
            channels = array.shape[-1 if "DEPTHWISE_CONV_2D" in kinds else 0]
            if array.size * (4 - least / 8) <= _SCALE_BYTES * channels + _ADDED:
                continue
            named = next((name for name in (tensor.name, graph.tensors[users[0].outputs[0]].name) if name), b"")
            weights[number, place] = QuantizableWeight(
                named.decode("utf-8", "replace"),
                array.size,
                np.count_nonzero(array) / array.size,
                least,
                tuple((int(user.outputs[0]), _OPERATIONS[kind][0]) for user, kind in zip(users, kinds, strict=True)),
            )
    return weights


def quantize_weights(content: bytes, bits: Mapping[WeightPlace, int], *, compute: str, scratch: Path) -> bytes:
    """Return a float32 file with its weights in the bits that are given for them.

    Args:
        content: a dense float32 file from the converter.
        bits: 4, 8 or `FLOAT`, of `quantizable_weights`; one that is not in it stays as it is.
        compute: "integer" where what flows into an operator is quantized while it runs, "float" where the weight is
            restored to float32 at load.
        scratch: an existing folder.

    Raises:
        ProgramError: the quantizer fails, crashes or does not end in time.
        OSError: there is no room for the files.
    """
    model = flatbuffers.read(content)
    names = _number_names(model)  # the quantizer takes operators by the names of their outputs, which must be unique
    weights = quantizable_weights(content)
    operators = [
        [f"t{number}_{output}_", operation, bits[number, place]]
        for (number, place), weight in weights.items()
        if bits.get((number, place), FLOAT) != FLOAT
        for output, operation in weight.users
    ]
    source, recipe, out = (scratch / name for name in ("numbered.tflite", "recipe.json", "quantized.tflite"))
    source.write_bytes(flatbuffers.write(model))
    recipe.write_text(json.dumps({"compute": compute, "operators": operators}), encoding="utf-8")
    run_program(_RUN_QUANTIZER, [source, recipe, out], name="the quantizer", timeout=_SECONDS)
    quantized = flatbuffers.read(out)
    for graph in quantized.subgraphs:
        for tensor in graph.tensors:
            if numbered := _NUMBERED.match((tensor.name or b"").decode("utf-8", "replace")):
                tensor.name = names[int(numbered[1]), int(numbered[2])]
        for operator in graph.operators:
            _raise_version(quantized, graph, operator)
    flatbuffers.drop_unused_buffers(quantized)
    raise_runtime_version(quantized)
    return flatbuffers.write(quantized)


def describe_bits(weights: Iterable[QuantizableWeight], bits: Iterable[int]) -> str:
    """Return which layers have how many bits, for a note.

    Args:
        weights: of `quantizable_weights`.
        bits: of each of them.
    """
    names: dict[int, list[str]] = {}
    for weight, count in zip(weights, bits, strict=True):
        names.setdefault(count, []).append(weight.name.strip("/") or "others")
    shown = {4: "int4", 8: "int8", FLOAT: "float32"}
    return "; ".join(f"{shown[count]}: {', '.join(dict.fromkeys(names[count]))}" for count in sorted(names))


def _number_names(model: Any) -> dict[WeightPlace, bytes]:
    """Name each tensor by its number, and return the names that they had."""
    names = {}
    for number, graph in enumerate(model.subgraphs):
        for place, tensor in enumerate(graph.tensors):
            names[number, place] = tensor.name or b""
            tensor.name = b"t%d_%d_" % (number, place)
    return names


def _raise_version(model: Any, graph: Any, operator: Any) -> None:
    kind = flatbuffers.operator_name(model, operator)
    weight = (
        int(operator.inputs[0 if kind == "DEQUANTIZE" else 1]) if kind in _OPERATIONS or kind == "DEQUANTIZE" else -1
    )
    if weight >= 0 and (version := _VERSIONS.get((kind, graph.tensors[weight].type))):
        before = model.operatorCodes[operator.opcodeIndex].version
        operator.opcodeIndex = graph_edits.operator_code(model, kind, max(version, before))
