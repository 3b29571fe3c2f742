"""Give a quantized TFLite file inputs and outputs of whole numbers: for processors without a unit for floats.

The converter's file takes and gives float32, with a QUANTIZE behind each input and a DEQUANTIZE before each output.
Without them the file computes the same on what they would have passed on.
"""

import dataclasses
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from tf_lottery.exporting.tflite import flatbuffers
from tf_lottery.exporting.tflite.integer_values import Quantization

_DTYPES = {schema.TensorType.INT8: "int8", schema.TensorType.INT16: "int16"}


class FloatAtTheEdgeError(ValueError):
    """An input or output of the file is float32 inside too; the message names it."""


def with_integer_io(content: bytes) -> bytes:
    """Return a quantized file without its QUANTIZE and DEQUANTIZE operators at the inputs and outputs.

    Inputs and outputs that are no float32, such as token numbers, stay as they are. Names and signatures are kept.

    Args:
        content: a file from the converter, of the precision "int8" or "int16x8".

    Raises:
        FloatAtTheEdgeError: an operator computes in float32 on an input, or gives a float32 output.
    """
    model = flatbuffers.read(content)
    graph = model.subgraphs[0]
    for place in [int(place) for place in graph.inputs]:
        if graph.tensors[place].type == schema.TensorType.FLOAT32:
            _drop_conversion(model, graph, _only_reader(model, graph, place), place)
    for place in [int(place) for place in graph.outputs]:
        if graph.tensors[place].type == schema.TensorType.FLOAT32:
            _drop_conversion(model, graph, _writer(model, graph, place), place)
    _drop_unused_tensors(graph, model.signatureDefs or [])
    return flatbuffers.write(model)


def edge_quantizations(content: bytes) -> dict[str, dict[str, Quantization]]:
    """Return how whole numbers stand for real ones, of the quantized inputs and outputs of a file, by signature name.

    Args:
        content: a file with one signature.

    Returns:
        Dicts under "inputs" and "outputs"; empty ones for a file that takes and gives float32.
    """
    model = flatbuffers.read(content)
    tensors, signature = model.subgraphs[0].tensors, model.signatureDefs[0]
    return {
        edge: {
            entry.name.decode(): quantization
            for entry in entries
            if (quantization := _quantization(tensors[entry.tensorIndex])) is not None
        }
        for edge, entries in (("inputs", signature.inputs), ("outputs", signature.outputs))
    }


def _quantization(tensor: Any) -> Quantization | None:
    stored = tensor.quantization
    if tensor.type not in _DTYPES or stored is None or stored.scale is None or len(stored.scale) != 1:
        return None
    return Quantization(_DTYPES[tensor.type], float(stored.scale[0]), int(stored.zeroPoint[0]))


def _only_reader(model: Any, graph: Any, place: int) -> Any:
    """The QUANTIZE that alone reads an input."""
    readers = [operator for operator in graph.operators if place in operator.inputs]
    kinds = [flatbuffers.operator_name(model, reader) for reader in readers]
    if kinds != ["QUANTIZE"] or place in graph.outputs:
        raise FloatAtTheEdgeError(f"the input {_name(graph, place)} is read in float32 by {_listed(kinds)}")
    return readers[0]


def _writer(model: Any, graph: Any, place: int) -> Any:
    """The DEQUANTIZE that gives an output, which nothing else reads."""
    writers = [operator for operator in graph.operators if place in operator.outputs]
    kinds = [flatbuffers.operator_name(model, writer) for writer in writers]
    read = any(place in operator.inputs for operator in graph.operators)
    if kinds != ["DEQUANTIZE"] or read or _whole(writers[0], graph) in graph.inputs:
        raise FloatAtTheEdgeError(f"the output {_name(graph, place)} is made in float32 by {_listed(kinds)}")
    return writers[0]


def _whole(conversion: Any, graph: Any) -> int:
    """The tensor of whole numbers of a QUANTIZE or DEQUANTIZE."""
    places = (int(conversion.inputs[0]), int(conversion.outputs[0]))
    return next(place for place in places if graph.tensors[place].type != schema.TensorType.FLOAT32)


def _drop_conversion(model: Any, graph: Any, conversion: Any, place: int) -> None:
    """Make a float32 input or output the tensor of whole numbers that it is converted to or from."""
    whole = _whole(conversion, graph)
    graph.operators = [operator for operator in graph.operators if operator is not conversion]
    graph.tensors[place].type = graph.tensors[whole].type
    graph.tensors[place].quantization = graph.tensors[whole].quantization
    for operator in graph.operators:
        operator.inputs = [place if index == whole else int(index) for index in operator.inputs]
        operator.outputs = [place if index == whole else int(index) for index in operator.outputs]


def _drop_unused_tensors(graph: Any, signatures: list[Any]) -> None:
    """Remove tensors that nothing refers to, and renumber the others."""
    lists = [graph.inputs, graph.outputs]
    lists += [places for operator in graph.operators for places in (operator.inputs, operator.outputs)]
    lists += [operator.intermediates for operator in graph.operators if operator.intermediates is not None]
    used = sorted({int(place) for places in lists for place in places if place >= 0})
    numbers = {old: new for new, old in enumerate(used)} | {-1: -1}

    def renumbered(places: Any) -> list[int]:
        return [numbers[int(place)] for place in places]

    graph.tensors = [graph.tensors[place] for place in used]
    graph.inputs, graph.outputs = renumbered(graph.inputs), renumbered(graph.outputs)
    for operator in graph.operators:
        operator.inputs, operator.outputs = renumbered(operator.inputs), renumbered(operator.outputs)
        if operator.intermediates is not None:
            operator.intermediates = renumbered(operator.intermediates)
    for signature in signatures:
        for entry in (*signature.inputs, *signature.outputs):
            entry.tensorIndex = numbers[int(entry.tensorIndex)]


def _name(graph: Any, place: int) -> str:
    return repr((graph.tensors[place].name or b"").decode())


def _listed(kinds: list[str]) -> str:
    return ", ".join(dict.fromkeys(kinds)) or "nothing"


def quantized_throughout(content: bytes) -> bool:
    """Return whether all operators compute on integers, those aside that convert the inputs and outputs."""
    model = flatbuffers.read(content)
    float32 = schema.TensorType.FLOAT32
    return not any(
        graph.tensors[place].type == float32
        for graph in model.subgraphs
        for operator in graph.operators
        if flatbuffers.operator_name(model, operator) not in ("QUANTIZE", "DEQUANTIZE")
        for place in operator.outputs
        if place >= 0
    )


def edge_records(content: bytes) -> dict[str, dict[str, dict[str, Any]]] | None:
    """Return the scales and zero points of inputs and outputs for the report; None for a file that has none."""
    edges = edge_quantizations(content)
    if not any(edges.values()):
        return None
    return {edge: {name: dataclasses.asdict(held) for name, held in tensors.items()} for edge, tensors in edges.items()}
