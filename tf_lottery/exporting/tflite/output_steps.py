"""How many steps of its int8 scale an output of a file is from that of the fake-quantized model."""

from typing import Any

import numpy as np

from tf_lottery.exporting.checks.agreement import Outputs
from tf_lottery.exporting.tflite import flatbuffers

MOST_STEPS = 1.001
"""Of the output's scale: one step, and what float32 rounds of it."""


def largest_steps(content: bytes, expected: Outputs, received: Outputs) -> float:
    """Return the largest difference, in steps of the output's scale; infinite where an output is not made of integers.

    Args:
        content: a `.tflite` file with float32 outputs.
        expected: arrays `(samples, ...)` of the fake-quantized model, by output name.
        received: those of the file.
    """
    scales = _output_scales(flatbuffers.read(content))
    differences = {name: float(np.abs(received[name] - array).max(initial=0.0)) for name, array in expected.items()}
    return max(size / scales[name] if name in scales else float("inf") for name, size in differences.items())


def describe_steps(steps: float) -> str:
    """Return a sentence for the report.

    Args:
        steps: as of `largest_steps`.

    Example:
        >>> describe_steps(0.0)
        "No output differs from the fake-quantized model's."
    """
    if round(steps) == 0:
        return "No output differs from the fake-quantized model's."
    return "Outputs are within one step of their scale of the fake-quantized model's."


def _output_scales(model: Any) -> dict[str, float]:
    """The scale of each output that a DEQUANTIZE makes of int8, by its name in the signature."""
    graph = model.subgraphs[0]
    integers = {
        int(operator.outputs[0]): graph.tensors[operator.inputs[0]].quantization.scale
        for operator in graph.operators
        if flatbuffers.operator_name(model, operator) == "DEQUANTIZE"
    }
    return {
        output.name.decode(): float(integers[output.tensorIndex][0])
        for output in model.signatureDefs[0].outputs
        if output.tensorIndex in integers
    }
