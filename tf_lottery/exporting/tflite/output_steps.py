"""How many steps of its int8 scale an output of a file is from that of the fake-quantized model.

A dense file in LiteRT's default kernels computes the integers of the fake-quantized model, so every output must be
within one step. Other kernels (the plain ones of microcontrollers, and those of sparse dense layers) round each layer
twice. A layer alone is off by at most one step for that, but the weights behind it amplify the difference: no bound on
the whole follows, and what is measured is only said.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from tf_lottery.exporting.checks.agreement import Outputs
from tf_lottery.exporting.checks.keras_reference import KerasReference
from tf_lottery.exporting.tflite import flatbuffers, litert

_ROUNDING = 1e-3


@dataclass(frozen=True)
class OutputSteps:
    """Differences between the outputs of a file and of the fake-quantized model.

    Attributes:
        largest: the largest one, in steps of the output's scale; infinite where an output is not made of integers.
        within: the fraction of outputs that differ by one step or less.
    """

    largest: float
    within: float

    @property
    def failure(self) -> str:
        """Why the dense file is refused, or an empty string."""
        if self.within == 1:
            return ""
        return (
            f"{100 * self.within:.4g} % of the outputs are within one step of their scale of the fake-quantized model "
            f"(needed: all), the others within {self.largest:.0f}"
        )

    def __str__(self) -> str:
        """Return a sentence for the report."""
        if self.largest < 0.5:
            return "No output differs from the fake-quantized model's."
        if self.within == 1:
            return "Every output is within one step of its scale of the fake-quantized model."
        return (
            f"{100 * self.within:.4g} % of the outputs are within one step of their scale of the fake-quantized model, "
            f"the others within {self.largest:.0f}."
        )


def output_steps(content: bytes, expected: Outputs, received: Outputs) -> OutputSteps:
    """Compare the outputs of a file with those of the fake-quantized model.

    Args:
        content: a `.tflite` file.
        expected: arrays `(samples, ...)` of the model, by output name.
        received: those of the file.
    """
    scales = _output_scales(flatbuffers.read(content))
    steps = np.concatenate([_steps(received[name] - array, scales.get(name)) for name, array in expected.items()])
    return OutputSteps(float(steps.max(initial=0.0)), float((steps <= 1 + _ROUNDING).mean()))


def steps_in_default_kernels(file: Path, reference: KerasReference) -> OutputSteps:
    """Run a file in LiteRT's default kernels, and compare its outputs with those of the fake-quantized model.

    Args:
        file: a `.tflite` file.
        reference: the samples, and the model's outputs for them.
    """
    ran = litert.run_file(file, reference.named_samples, scratch=file.parent)
    return output_steps(file.read_bytes(), reference.outputs, ran.outputs)


def _steps(difference: npt.NDArray[Any], scale: float | None) -> npt.NDArray[Any]:
    return np.abs(difference).ravel() / scale if scale else np.full(difference.size, np.inf)


def _output_scales(model: Any) -> dict[str, float]:
    """The scale of each output that is of int8, or that a DEQUANTIZE makes of int8, by its name in the signature."""
    graph = model.subgraphs[0]
    integers = {
        int(operator.outputs[0]): graph.tensors[operator.inputs[0]].quantization.scale
        for operator in graph.operators
        if flatbuffers.operator_name(model, operator) == "DEQUANTIZE"
    }
    scales = {}
    for output in model.signatureDefs[0].outputs:
        tensor = graph.tensors[output.tensorIndex]
        own = tensor.quantization.scale if tensor.type == schema.TensorType.INT8 else None
        scale = integers.get(output.tensorIndex, own)
        if scale is not None:
            scales[output.name.decode()] = float(scale[0])
    return scales
