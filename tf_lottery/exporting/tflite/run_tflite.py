"""Run a TFLite file in the default LiteRT interpreter.

Usage: `python -m tf_lottery.exporting.tflite.run_tflite FILE SAMPLES.npz OUT.npz [KERNELS [BATCH]]`; KERNELS is
"default", or "reference" for LiteRT's plain kernels without delegates. BATCH is how many samples a file takes at a time
that takes any number; by default 1. Dimensions that the file leaves free get the sizes of the samples.

It is a program of its own because LiteRT's interpreter and TensorFlow's can clash in one process, and because a bad
file can crash the interpreter, which must not take the export down. It imports NumPy and LiteRT only.

SAMPLES.npz holds one array `(samples, ...)` per input, by signature name; for integer inputs they are quantized, and
integer outputs dequantized, by the scales and zero points that the interpreter reads from the file. OUT.npz receives
`output/<name>` with `(samples, ...)`, `latency_us_median`, and `sparse_tensors`, the number of sparse-encoded tensors.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tf_lottery.exporting.tflite.integer_values import Quantization
from tf_lottery.utils.child_process import wrong_usage
from tf_lottery.utils.files import dump_arrays, load_arrays

_WARM_UP = 5
_LEAST_RUNS = 50
_MOST_SECONDS = 2.0


def run(
    file: str, samples: dict[str, np.ndarray], *, kernels: str = "default", batch: int = 1
) -> dict[str, np.ndarray]:
    """Run a file on samples, in batches of its size, and time it.

    Args:
        file: a TFLite file with one signature.
        samples: one array `(samples, ...)` per input, by signature name.
        kernels: "default" or "reference".
        batch: how many samples a file takes at a time that takes any number.

    Returns:
        `output/<name>`: `(samples, ...)`; `latency_us_median`: the median time of one sample in microseconds, over
        the batches, repeated to at least 50 calls within two seconds; `sparse_tensors`.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_REF if kernels == "reference" else OpResolverType.AUTO
    interpreter = Interpreter(model_path=file, experimental_op_resolver_type=resolver)
    runner = interpreter.get_signature_runner()
    input_details, output_details = runner.get_input_details(), runner.get_output_details()
    inputs = {name: detail["index"] for name, detail in input_details.items()}
    outputs = {name: detail["index"] for name, detail in output_details.items()}
    del runner  # `invoke` refuses to run while anything else refers to the interpreter
    if set(inputs) != set(samples):
        raise ValueError(f"Expected the inputs {sorted(inputs)}; received {sorted(samples)}.")
    for name, detail in input_details.items():
        held = _quantization(detail)
        if held is not None and samples[name].dtype.kind == "f":
            samples = samples | {name: held.quantize(samples[name])}

    first = next(iter(input_details.values()))
    batch = batch if first["shape_signature"][0] == -1 else int(first["shape"][0])
    for name, detail in input_details.items():
        shape = (batch, *samples[name].shape[1:])
        if tuple(detail["shape"]) != shape:
            interpreter.resize_tensor_input(detail["index"], shape, strict=True)
    interpreter.allocate_tensors()
    count = len(next(iter(samples.values())))
    places = range(0, count, batch)

    def invoke(place: int) -> float:
        for name, index in inputs.items():
            # The last batch is filled up by the first samples.
            interpreter.set_tensor(index, samples[name].take(range(place, place + batch), axis=0, mode="wrap"))
        start = time.perf_counter()
        interpreter.invoke()
        return time.perf_counter() - start

    collected: dict[str, list[np.ndarray]] = {name: [] for name in outputs}
    times = []
    for place in places:
        times.append(invoke(place))
        for name, index in outputs.items():
            collected[name].append(interpreter.get_tensor(index))
    deadline = time.perf_counter() + _MOST_SECONDS
    while len(times) < _LEAST_RUNS + _WARM_UP and time.perf_counter() < deadline:
        times.append(invoke(places[len(times) % len(places)]))
    steady = times[_WARM_UP:] or times
    result: dict[str, np.ndarray] = {
        f"output/{name}": np.concatenate(parts)[:count] for name, parts in collected.items()
    }
    for name, detail in output_details.items():
        held = _quantization(detail)
        if held is not None:
            result[f"output/{name}"] = held.dequantize(result[f"output/{name}"])
    result["latency_us_median"] = np.asarray(np.median(steady) * 1e6 / batch)
    result["sparse_tensors"] = np.asarray(
        sum(bool(detail["sparsity_parameters"]) for detail in interpreter.get_tensor_details())
    )
    return result


def _quantization(detail: dict[str, Any]) -> Quantization | None:
    """How the whole numbers of an input or output stand for real ones; None where they are what they are."""
    scale, zero_point = detail["quantization"]
    return Quantization(np.dtype(detail["dtype"]).name, float(scale), int(zero_point)) if scale else None


def main(arguments: list[str]) -> int:
    """Run the program; the exit code is 0, or 2 for wrong arguments. Errors end with a traceback on stderr."""
    if len(arguments) not in (3, 4, 5):
        return wrong_usage("tf_lottery.exporting.tflite.run_tflite", "FILE SAMPLES.npz OUT.npz [KERNELS [BATCH]]")
    file, samples, out, *rest = arguments
    kernels, batch = [*rest, *("default", "1")[len(rest) :]]
    Path(out).write_bytes(dump_arrays(run(file, load_arrays(Path(samples)), kernels=kernels, batch=int(batch))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
