"""What TensorFlow Lite Micro runs: whether a file has only operators that it knows, and computes on whole numbers."""

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from tf_lottery.exporting.tflite import flatbuffers

# The operators that its `MicroMutableOpResolver` can register (tensorflow/lite/micro/micro_mutable_op_resolver.h), by
# the schema's names; custom ones aside, which a program registers itself. There is no DENSIFY: no sparse weights.
_NAMES = """
ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_ARGS
BROADCAST_TO CALL_ONCE CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV
ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GATHER_ND GREATER
GREATER_EQUAL HARD_SWISH IF L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT
LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL PACK PAD PADV2 PRELU
QUANTIZE READ_VARIABLE REDUCE_MAX RELU RELU6 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR ROUND RSQRT SELECT_V2
SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE
STRIDED_SLICE SUB SUM SVDF TANH TRANSPOSE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK VAR_HANDLE WHILE
ZEROS_LIKE
"""
OPERATORS = frozenset(_NAMES.split())


def why_not_micro(content: bytes) -> list[str]:
    """Return the reasons for which a file does not run in TensorFlow Lite Micro on whole numbers; none if it does.

    Args:
        content: of a `.tflite` file.
    """
    model = flatbuffers.read(content)
    kinds: dict[str, None] = {}
    in_float: dict[str, None] = {}
    sparse, dynamic = False, False
    for graph in model.subgraphs:
        sparse |= any(tensor.sparsity is not None for tensor in graph.tensors)
        for operator in graph.operators:
            kind = flatbuffers.operator_name(model, operator)
            kinds[kind] = None
            outputs = [graph.tensors[int(place)] for place in operator.outputs if place >= 0]
            if any(tensor.type == schema.TensorType.FLOAT32 for tensor in outputs):
                in_float[kind] = None
            dynamic |= any(_dynamic(tensor) for tensor in outputs)
    reasons = []
    if missing := [kind for kind in kinds if kind not in OPERATORS and kind != "DENSIFY"]:
        reasons.append(f"it has no operator {', '.join(missing)}")
    if sparse or "DENSIFY" in kinds:
        reasons.append("it has no sparse weights (DENSIFY)")
    if in_float:
        reasons.append(f"these compute in float32: {', '.join(in_float)}")
    if dynamic:
        reasons.append("tensors have dynamic shapes")
    return reasons


def operators_of(content: bytes) -> list[str]:
    """Return the names of the operators of a file, each once, sorted: those that a program has to register.

    Args:
        content: of a `.tflite` file.
    """
    model = flatbuffers.read(content)
    return sorted(
        {flatbuffers.operator_name(model, operator) for graph in model.subgraphs for operator in graph.operators}
    )


def _dynamic(tensor: Any) -> bool:
    signature = tensor.shapeSignature
    return signature is not None and any(int(size) < 0 for size in list(signature)[1:])
