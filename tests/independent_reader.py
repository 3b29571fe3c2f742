"""Reads TFLite files in every way that an app may, with NumPy and LiteRT alone: no code of the exporter.

`python tests/independent_reader.py SAMPLES.npz OUT.npz FILE...` writes what each file answers in each way. It is a
process of its own, since a wrong file may crash the interpreter, and TensorFlow's interpreter may clash with LiteRT's.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

WAYS = {
    "default": {"delegates": True, "threads": 1, "batch": 1},
    "again": {"delegates": True, "threads": 1, "batch": 1},
    "4 threads": {"delegates": True, "threads": 4, "batch": 1},
    "no delegates": {"delegates": False, "threads": 1, "batch": 1},
    "no delegates, 4 threads": {"delegates": False, "threads": 4, "batch": 1},
    "batch 4": {"delegates": True, "threads": 1, "batch": 4},
    "no delegates, batch 4": {"delegates": False, "threads": 4, "batch": 4},
}


def read(file, samples):
    """Return `{way: {output: array}}`; of a way that the file refuses, the reason instead of the arrays.

    Args:
        file: a TFLite file.
        samples: one array `(samples, ...)` per input, by the name in the signature; a multiple of 4 samples.
    """
    return read_files([file], samples)[0]


def read_files(files, samples):
    """Return what `read` does of each file, all of the same inputs, read by one process."""
    with tempfile.TemporaryDirectory() as folder:
        given, answers = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(given, **samples)
        done = subprocess.run(
            [sys.executable, __file__, str(given), str(answers), *map(str, files)], capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"The reader ended with {done.returncode}, at the last of: {done.stderr[-2000:]}")
        with np.load(answers) as arrays:
            return [_by_way(dict(arrays), f"{place}|") for place in range(len(files))]


def _by_way(arrays, beginning):
    answers = {}
    for key, array in arrays.items():
        if key.startswith(beginning):
            way, _, name = key.removeprefix(beginning).partition("|")
            if name:
                answers.setdefault(way, {})[name] = array
            else:
                answers[way] = str(array)
    return answers


def _answer(file, samples, *, delegates, threads, batch):
    from ai_edge_litert import interpreter as litert

    kind = litert.OpResolverType.AUTO if delegates else litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = litert.Interpreter(model_path=file, num_threads=threads, experimental_op_resolver_type=kind)
    runner = interpreter.get_signature_runner()
    parts = {}
    for begin in range(0, len(next(iter(samples.values()))), batch):
        answers = runner(**{name: array[begin : begin + batch] for name, array in samples.items()})
        for name, array in answers.items():
            parts.setdefault(name, []).append(np.array(array))
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def main(samples, out, *files):
    with np.load(samples) as arrays:
        given = dict(arrays)
    answers = {}
    for place, file in enumerate(files):
        print(file, file=sys.stderr, flush=True)
        for way, options in WAYS.items():
            key = f"{place}|{way}"
            try:
                answers |= {f"{key}|{name}": array for name, array in _answer(file, given, **options).items()}
            except (RuntimeError, ValueError) as error:
                answers[key] = np.array(str(error))
    np.savez(out, **answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
