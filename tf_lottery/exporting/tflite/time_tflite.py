"""Time TFLite files in turn, in the default LiteRT interpreter, so that their latencies can be compared.

Usage: `python -m tf_lottery.exporting.tflite.time_tflite SIZES FILE...`; SIZES is a JSON object with the shape of one
sample by the name of the input, for inputs of dimensions that the files leave free; else it is empty.

It is a program of its own because LiteRT's interpreter and TensorFlow's can clash in one process. It imports NumPy and
LiteRT only.

Stdout receives the median latency of each file in microseconds for one sample, in order, as a JSON list.
"""

import json
import sys
import time
from typing import Any

import numpy as np

from tf_lottery.utils.child_process import wrong_usage

_ROUNDS = 20
_CALLS = 20  # of each file in one round
_MOST_SECONDS = 20.0


def time_in_turn(files: list[str], sizes: dict[str, list[int]]) -> list[float]:
    """Return the median latency of each file in microseconds for one sample, on zeros.

    Files have their turn in each of several rounds, so that disturbances of the machine affect all of them alike.

    Args:
        files: TFLite files.
        sizes: the shape of one sample by input name, where the files leave dimensions free.
    """
    interpreters = [_warm_interpreter(file, sizes) for file in files]
    times: list[list[float]] = [[] for _ in files]
    deadline = time.perf_counter() + _MOST_SECONDS
    for number in range(_ROUNDS):
        for interpreter, own_times in zip(interpreters, times, strict=True):
            until = time.perf_counter() + _MOST_SECONDS / _ROUNDS / len(files)
            interpreter.invoke()  # the caches hold the data of the file before
            for _ in range(_CALLS):
                start = time.perf_counter()
                interpreter.invoke()
                end = time.perf_counter()
                own_times.append(end - start)
                if end > until:
                    break
        if number >= 2 and time.perf_counter() > deadline:
            break
    batches = [int(interpreter.get_input_details()[0]["shape"][0]) for interpreter in interpreters]
    return [float(np.median(own_times)) * 1e6 / batch for own_times, batch in zip(times, batches, strict=True)]


def _warm_interpreter(file: str, sizes: dict[str, list[int]]) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=file)
    given = interpreter.get_signature_runner().get_input_details() if sizes else {}
    for name, detail in given.items():
        interpreter.resize_tensor_input(detail["index"], [int(detail["shape"][0]), *sizes[name]])
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
    for _ in range(3):
        interpreter.invoke()
    return interpreter


def main(arguments: list[str]) -> int:
    """Run the program; the exit code is 0, or 2 for wrong arguments. Errors end with a traceback on stderr."""
    if len(arguments) < 2:
        return wrong_usage("tf_lottery.exporting.tflite.time_tflite", "SIZES FILE...")
    sizes, *files = arguments
    sys.stdout.write(json.dumps(time_in_turn(files, json.loads(sizes))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
