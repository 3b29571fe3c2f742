"""Load one model file, time it, and measure the memory of the process: the program that `measurement` starts.

Usage: `python -m tf_lottery.exporting.measure.run_benchmark KIND FILE OUT.json THREADS RUNS SECONDS [SAMPLE.npz]`;
KIND is tflite, saved_model or keras, and an empty FILE measures the process without a model. SAMPLE.npz holds one
sample, by the name of the input; without it a random one is drawn.

A process of its own for each file, because memory can't be attributed within one, because LiteRT's and TensorFlow's
runtimes can clash in one, and because a damaged file can crash it. Of a TFLite file LiteRT's interpreter with its
default delegates is timed. LiteRT's own benchmark program times another interface of the same runtime, from Python as
well, and rounds to 10 microseconds: more than a small network takes.
"""

import json
import re
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.random  # NumPy loads it when it is first used: that would count as the model's time and memory
import numpy.typing as npt

from tf_lottery.errors import DamagedError, LotteryError, UnfitError
from tf_lottery.exporting.measure.given_sample import fit_sample
from tf_lottery.utils.files import load_arrays

_WARM_UP_RUNS, _WARM_UP_SECONDS = 20, 0.3
# What LiteRT, TensorFlow, zipfile and HDF5 report for a file that is not whole.
_DAMAGED = re.compile(
    r"flatbuffer|mmap of size 0|model identifier|could not open|not a zip|bad crc|truncat|corrupt|checksum|data ?loss|"
    r"error parsing|cannot parse|decodeerror|unable to (synchronously )?open|no such file|not ?found|subgraph",
    re.IGNORECASE,
)

_WITHOUT_CODE = (
    "Export it from the program that defines its classes: a SavedModel or TFLite file needs no code to be loaded."
)
_FIXED = "Export it again with fixed shapes, inputs of numbers, and one signature."

Invoke: TypeAlias = Callable[[], Any]


class NotMeasurableError(Exception):
    """A whole model that can't be measured.

    Args:
        cause: why, in one line.
        remedy: what to do.
    """

    def __init__(self, cause: str, remedy: str = _FIXED) -> None:
        super().__init__(cause)
        self.remedy = remedy


@dataclass(frozen=True)
class LoadedModel:
    """A model that waits for its inputs.

    Attributes:
        wanted: name, shape and dtype of each input.
        feed: takes arrays by those names, and returns what calls the model with them.
    """

    wanted: list[tuple[str, tuple[int, ...], Any]]
    feed: Callable[[Mapping[str, npt.NDArray[Any]]], Invoke]


def _load_tflite(file: str, threads: int) -> LoadedModel:
    """Load the main subgraph of a TFLite file into the default LiteRT interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    if not file:
        return _NOTHING
    interpreter = Interpreter(model_path=file, num_threads=threads)
    details = interpreter.get_input_details()
    for detail in details:
        _check_shape(detail["name"], [int(size) for size in detail["shape_signature"]])
    interpreter.allocate_tensors()
    names = _signature_names(interpreter)

    def feed(inputs: Mapping[str, npt.NDArray[Any]]) -> Invoke:
        for detail in details:
            interpreter.set_tensor(detail["index"], inputs[names.get(detail["index"], detail["name"])])
        return cast(Invoke, interpreter.invoke)

    return LoadedModel(
        [(names.get(one["index"], one["name"]), tuple(one["shape"]), one["dtype"]) for one in details], feed
    )


def _signature_names(interpreter: Any) -> dict[int, str]:
    """The names of the inputs by their places, as the only signature of a file has them; none without one."""
    if len(interpreter.get_signature_list()) != 1:
        return {}
    runner = interpreter.get_signature_runner()
    return {detail["index"]: name for name, detail in runner.get_input_details().items()}


def _load_saved_model(folder: str, threads: int) -> LoadedModel:
    """Load `serving_default` of a SavedModel, or its only signature, with the batch size 1."""
    tf = _tensorflow(threads)
    if not folder:
        return _NOTHING
    loaded = tf.saved_model.load(folder)
    signatures = list(loaded.signatures)
    if "serving_default" not in signatures and len(signatures) != 1:
        raise NotMeasurableError(
            f"it has the signatures {', '.join(signatures) or 'none'}: expected serving_default, or only one"
        )
    serve = loaded.signatures["serving_default" if "serving_default" in signatures else signatures[0]]
    specs = serve.structured_input_signature[1]

    def feed(inputs: Mapping[str, npt.NDArray[Any]]) -> Invoke:
        tensors = {name: tf.constant(array) for name, array in inputs.items()}

        def invoke() -> None:
            for tensor in serve(**tensors).values():
                tensor.numpy()  # waits for the result
            del tensor

        invoke.model = loaded  # type: ignore[attr-defined]  # its variables live as long as the loaded object
        return invoke

    return LoadedModel(
        [(name, _of_one(name, spec.shape), spec.dtype.as_numpy_dtype) for name, spec in specs.items()], feed
    )


def _load_keras(file: str, threads: int) -> LoadedModel:
    """Load a Keras file, to be called in inference mode inside one `tf.function`, with the batch size 1."""
    tf = _tensorflow(threads)
    import keras

    from tf_lottery.exporting.signature import signature_of
    from tf_lottery.layers import load_model

    if not file:
        return _NOTHING
    try:
        model = load_model(file, compile=False)
    except UnfitError as error:
        raise NotMeasurableError(error.cause.rstrip("."), _WITHOUT_CODE) from error
    if not getattr(model, "inputs", None):
        raise NotMeasurableError(
            "it is a subclassed or unbuilt model, whose inputs are not known",
            "Make it a functional model: keras.Model(inputs, outputs).",
        )
    nested = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    call = tf.function(lambda tensors: keras.tree.flatten(model(tensors, training=False)), autograph=False)

    def feed(inputs: Mapping[str, npt.NDArray[Any]]) -> Invoke:
        tensors = keras.tree.pack_sequence_as(nested, [tf.constant(array) for array in inputs.values()])
        return lambda: [tensor.numpy() for tensor in call(tensors)]

    names = signature_of(model).inputs
    shapes = [
        (name, _of_one(name, tensor.shape), str(tensor.dtype)) for name, tensor in zip(names, model.inputs, strict=True)
    ]
    return LoadedModel(shapes, feed)


# Functions of a path, empty to load the runtime alone, and of the number of threads.
LOADERS: dict[str, Callable[[str, int], LoadedModel]] = {
    "tflite": _load_tflite,
    "saved_model": _load_saved_model,
    "keras": _load_keras,
}


def run(
    kind: str,
    file: str,
    *,
    threads: int,
    runs: int,
    seconds: float,
    sample: Mapping[str, npt.NDArray[Any]] | None = None,
) -> dict[str, Any]:
    """Measure one file.

    Args:
        kind: of `LOADERS`.
        file: the file or folder; empty for the process without a model.
        threads: of the runtime.
        runs: timed calls, if they end in time.
        seconds: after which no other call starts.
        sample: one sample, `(1, ...)`, by the name of the input ("" of a single one); None for a random one.

    Returns:
        `load_ms`: from opening the file until its first outputs, as some weights are only unpacked then, without the
        drawing of inputs; `latency_us`: a list of the times of single calls; `peak_memory_mb`: of this process, in
        10^6 bytes.
    """
    LOADERS[kind]("", threads)  # so that importing the runtime doesn't count as loading the file
    begin = time.perf_counter()
    loaded = LOADERS[kind](file, threads)
    opened = time.perf_counter() - begin
    inputs = fit_sample(loaded.wanted, sample) if sample and file else _inputs(loaded.wanted)
    begin = time.perf_counter()
    invoke = loaded.feed(inputs)
    invoke()
    load_ms = (opened + time.perf_counter() - begin) * 1e3
    end = time.perf_counter() + _WARM_UP_SECONDS
    for _ in range(_WARM_UP_RUNS if file else 0):
        invoke()
        if time.perf_counter() > end:
            break
    times: list[int] = []
    end = time.perf_counter() + seconds
    while file and len(times) < runs and (not times or time.perf_counter() < end):
        start = time.perf_counter_ns()
        invoke()
        times.append(time.perf_counter_ns() - start)
    return {
        "load_ms": load_ms,
        "latency_us": [nanoseconds / 1e3 for nanoseconds in times],
        "peak_memory_mb": peak_memory_mb(),
    }


def peak_memory_mb() -> float:
    """Return the largest resident memory that this process ever had, in 10^6 bytes.

    Linux hands the `ru_maxrss` of the process that started this one on to it; `VmHWM` is of this program alone.
    """
    status = Path("/proc/self/status")
    if status.exists():
        match = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE)
        if match:
            return int(match[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def main(arguments: list[str]) -> int:
    """Run the program. What went wrong with the file is in OUT.json, as `error`, `damaged`, `remedy`; exit code 0."""
    kind, file, out, threads, runs, seconds, *samples = arguments
    try:
        sample = load_arrays(Path(samples[0])) if samples else None
        result = run(kind, file, threads=int(threads), runs=int(runs), seconds=float(seconds), sample=sample)
    except NotMeasurableError as error:
        result = {"error": str(error), "damaged": False, "remedy": error.remedy}
    except LotteryError as error:
        result = {"error": error.cause, "damaged": isinstance(error, DamagedError), "remedy": error.remedy}
    except Exception as error:  # a runtime raises anything for a bad file
        text = f"{type(error).__name__}: {error}"
        result = {"error": text, "damaged": bool(_DAMAGED.search(text)), "remedy": ""}
    Path(out).write_text(json.dumps(result), encoding="utf-8")
    return 0


def _inputs(wanted: list[tuple[str, tuple[int, ...], Any]]) -> dict[str, npt.NDArray[Any]]:
    generator = np.random.default_rng(0)
    arrays = {}
    for name, shape, dtype in wanted:
        kind = np.dtype(dtype)
        if kind.kind not in "biuf":
            raise NotMeasurableError(f"its input {name!r} takes {kind}: only numbers can be drawn at random")
        if kind.kind in "iu" and kind.itemsize == 1:
            limits = np.iinfo(kind)
            arrays[name] = generator.integers(limits.min, limits.max, shape, kind, endpoint=True)
        elif kind.kind in "biu":  # indices of an embedding, perhaps: these two are valid in any
            arrays[name] = generator.integers(0, 2, shape).astype(kind)
        else:
            arrays[name] = generator.standard_normal(shape, np.float32).astype(kind, copy=False)
    return arrays


def _of_one(name: str, shape: Any) -> tuple[int, ...]:
    sizes = [-1 if size is None else int(size) for size in shape]
    _check_shape(name, sizes)
    return (1, *sizes[1:]) if sizes and sizes[0] == -1 else tuple(sizes)


def _check_shape(name: str, sizes: list[int]) -> None:
    if any(size < 0 for size in sizes[1:]):
        raise NotMeasurableError(
            f"its input {name!r} has the dynamic shape {sizes}: only the batch may be dynamic here"
        )


def _tensorflow(threads: int) -> Any:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.constant(0.0)  # starts the runtime
    return tf


_NOTHING = LoadedModel([], lambda inputs: lambda: None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
