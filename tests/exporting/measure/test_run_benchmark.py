"""The program that loads and times one file: what it counts, and what it feeds."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tf_lottery.exporting.measure import run_benchmark


@pytest.mark.slow
def test_drawing_inputs_counts_neither_as_time_nor_as_memory(files):
    """NumPy loads its generators when they are first used: most of what loading a small file took."""
    code = f"""
import json, sys, types
from tf_lottery.exporting.measure import run_benchmark as program
shift, real, draw = [0.0], program.time, program._inputs
def slow(*arguments):
    shift[0] += 1000.0
    return draw(*arguments)
program._inputs = slow
program.time = types.SimpleNamespace(
    perf_counter=lambda: real.perf_counter() + shift[0], perf_counter_ns=real.perf_counter_ns
)
assert 'numpy.random' in sys.modules  # before anything is measured, and so in the process without a model too
files = [("tflite", "float32.tflite"), ("saved_model", "fixed"), ("keras", "whole.keras")]
arguments = dict(threads=1, runs=1, seconds=0.1)
print(json.dumps([program.run(kind, {str(files)!r} + "/" + name, **arguments)["load_ms"] for kind, name in files]))
assert shift[0] == 3000.0
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    times = json.loads(done.stdout.splitlines()[-1])
    assert len(times) == 3
    assert all(0 < time < 5e5 for time in times)


def test_peak_memory_is_of_this_program_alone():
    code = (
        "from tf_lottery.exporting.measure.run_benchmark import peak_memory_mb\n"
        "before = peak_memory_mb(); block = bytearray(80_000_000); block[::4096] = b'1' * len(block[::4096])\n"
        "del block; print(before, peak_memory_mb())"
    )
    block = np.ones(50_000_000)  # 400 MB here, which the new process must not count
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(float, done.stdout.split())
    assert before < block.nbytes / 1e6
    assert 76 < after - before < 100  # some of the block may lie in pages that were there before


def test_random_inputs_are_the_same_every_time_and_fit_the_type():
    wanted = [("a", (1, 4), np.float32), ("b", (1, 900), np.int8), ("c", (1, 50), np.int32), ("d", (2,), np.bool_)]
    one, two = run_benchmark._inputs(wanted), run_benchmark._inputs(wanted)
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert [array.dtype for array in one.values()] == [np.dtype(kind) for _, _, kind in wanted]
    assert one["b"].min() < -100
    assert one["b"].max() > 100
    assert set(one["c"].ravel()) == {0, 1}
    with pytest.raises(run_benchmark.NotMeasurableError, match="only numbers"):
        run_benchmark._inputs([("s", (1,), np.object_)])
