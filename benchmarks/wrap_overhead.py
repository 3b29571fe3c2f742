"""What masks cost: a training step of a wrapped model beside the plain one, and the time and memory of `wrap`.

    python benchmarks/wrap_overhead.py                 ResNet50 and MobileNetV2, 64x64, batches of 16; DenseNet121
    python benchmarks/wrap_overhead.py --quick         small models: whether it runs, not what it costs
    python benchmarks/wrap_overhead.py --json wrap.json

All masks are ones, so both models of a pair compute the same; the command fails if their losses differ in a bit. They
train in turn by `train_on_batch` without XLA, the first of a pair changing places, and a ratio is the median over pairs
of one step each; that of processor time depends less on what else the machine does. `wrap` is timed in a process of its
own, in which it is called once, so that nothing is warm. Its memory is the peak of the process above what it held
before the call, as a multiple of the model's weights.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from outcome import add_options, finish

if TYPE_CHECKING:
    import keras

HERE = Path(__file__).resolve()
SHAPE, CLASSES = (64, 64, 3), 10
STEP_GOALS = {"ResNet50": 1.15, "MobileNetV2": 1.10}
WRAP_GOALS = {"ResNet50": 3.0, "DenseNet121": 6.0}  # seconds, on an idle machine
MEMORY_GOAL = 2.0  # times the weights


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 if `--check` is given and a goal is missed."""
    options = parse(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if options.wrap:
        print(json.dumps(time_wrap(model_maker(options.wrap, quick=options.quick))))
        return 0
    models = set(options.models)
    steps = {
        name: time_steps(model_maker(name, quick=options.quick), options.steps, options.batch)
        for name in STEP_GOALS
        if name in models
    }
    wraps = {name: wrap_in_a_process(name, quick=options.quick) for name in WRAP_GOALS if name in models}
    document = {"schema": "tf-lottery.wrap-overhead/1", "batch": options.batch, "steps": steps, "wrap": wraps}
    document["goals"] = goals(steps, wraps)
    print(table(document))
    return finish(options, document, held=all(goal["held"] for goal in document["goals"]))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=[*STEP_GOALS, *WRAP_GOALS], choices=[*STEP_GOALS, *WRAP_GOALS])
    parser.add_argument("--steps", type=int, default=15, help="pairs of steps, after three that are not measured")
    parser.add_argument("--batch", type=int, default=16, help="images of a step")
    parser.add_argument("--quick", action="store_true", help="a small model in the place of the named ones")
    add_options(parser)
    parser.add_argument("--wrap", help=argparse.SUPPRESS)  # what a process of its own is started with
    return parser.parse_args(arguments)


def model_maker(name: str, *, quick: bool) -> Callable[[], "keras.Model"]:
    """A function that makes a model of `keras.applications`, or with `quick` a small one."""
    import keras

    def small() -> keras.Model:
        layers = [keras.layers.Conv2D(8, 3), keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
        return keras.Sequential([keras.Input(SHAPE), *layers])

    def application() -> keras.Model:
        return getattr(keras.applications, name)(weights=None, input_shape=SHAPE, classes=CLASSES)

    return small if quick else application


def time_steps(make: Callable[[], "keras.Model"], count: int, batch: int) -> dict[str, Any]:
    """Seconds of training steps of a plain and a wrapped model, in turn."""
    import keras
    import numpy as np

    import tf_lottery as tfl

    generator = np.random.default_rng(0)
    x = generator.normal(size=(batch, *SHAPE)).astype("float32")
    y = generator.integers(0, CLASSES, batch)
    keras.utils.set_random_seed(0)
    plain = make()
    models = {"plain": plain, "wrapped": tfl.wrap(plain)}
    for model in models.values():
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy", jit_compile=False)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    busy = dict.fromkeys(models, 0.0)
    for step in range(count + 3):
        losses = {}
        for name in sorted(models, reverse=step % 2 == 1):
            begin, processor = time.perf_counter(), time.process_time()
            losses[name] = float(models[name].train_on_batch(x, y))
            seconds[name].append(time.perf_counter() - begin)
            busy[name] += (time.process_time() - processor) * (step >= 3)
        if losses["plain"] != losses["wrapped"]:
            raise RuntimeError(f"The losses of step {step} differ: {losses}.")
    measured = {name: times[3:] for name, times in seconds.items()}
    ratios = [wrapped / one for wrapped, one in zip(measured["wrapped"], measured["plain"], strict=True)]
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else (ratios[0],) * 3
    return {
        "plain": median(measured["plain"]),
        "wrapped": median(measured["wrapped"]),
        "ratio": median(ratios),
        "quartiles": [low, high],
        "processor_ratio": busy["wrapped"] / busy["plain"],
        "masks": len(tfl.get_masks(models["wrapped"])),
        "pairs": count,
    }


def wrap_in_a_process(name: str, *, quick: bool) -> dict[str, Any]:
    """What `time_wrap` measures in a new process."""
    command = [sys.executable, str(HERE), "--wrap", name, *(["--quick"] if quick else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"`wrap` of {name} failed with exit code {done.returncode}:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def time_wrap(make: Callable[[], "keras.Model"]) -> dict[str, Any]:
    """Seconds and peak memory of one call of `wrap`."""
    import tf_lottery as tfl

    model = make()
    weights = sum(variable.value.shape.num_elements() * variable.value.dtype.size for variable in model.variables)
    before = resident_bytes("VmRSS", reset_peak=True)
    begin, busy = time.perf_counter(), time.process_time()
    wrapped = tfl.wrap(model)
    measured = {"seconds": time.perf_counter() - begin, "processor_seconds": time.process_time() - busy}
    held = resident_bytes("VmRSS") - before
    peak = max(resident_bytes("VmHWM") - before, held)  # the kernel counts both in batches of pages
    return {
        **measured,
        "weights_bytes": int(weights),
        "peak_bytes": peak,
        "held_bytes": held,
        "memory": peak / weights,
        "layers": len(wrapped.layers),
    }


def resident_bytes(field: str, *, reset_peak: bool = False) -> int:
    """The memory that the process holds ("VmRSS") or held at most ("VmHWM"), as Linux counts it.

    Args:
        field: the name of the line in /proc/self/status.
        reset_peak: whether the peak starts from here.
    """
    if reset_peak:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def goals(steps: dict[str, Any], wraps: dict[str, Any]) -> list[dict[str, Any]]:
    """The goals with what was measured for them."""
    rows = [(f"step of {name}, wrapped to plain", one["ratio"], STEP_GOALS[name]) for name, one in steps.items()]
    rows += [(f"seconds to wrap {name}", one["seconds"], WRAP_GOALS[name]) for name, one in wraps.items()]
    rows += [(f"peak memory to wrap {name}, in weights", one["memory"], MEMORY_GOAL) for name, one in wraps.items()]
    return [{"what": what, "value": value, "goal": goal, "held": value <= goal} for what, value, goal in rows]


def table(document: dict[str, Any]) -> str:
    """The document as text."""
    lines = [
        f"{'training step, milliseconds':<30}{'plain':>9}{'wrapped':>9}{'ratio':>8}{'quartiles':>16}{'processor':>11}"
        f"{'masks':>7}"
    ]
    for name, one in document["steps"].items():
        low, high = one["quartiles"]
        lines.append(
            f"{name:<30}{1000 * one['plain']:>9.1f}{1000 * one['wrapped']:>9.1f}{one['ratio']:>8.3f}"
            f"{f'{low:.3f} to {high:.3f}':>16}{one['processor_ratio']:>11.3f}{one['masks']:>7}"
        )
    lines.append(f"\n{'wrap':<30}{'seconds':>9}{'processor':>11}{'weights MB':>12}{'peak MB':>9}{'peak / weights':>16}")
    for name, one in document["wrap"].items():
        lines.append(
            f"{name:<30}{one['seconds']:>9.2f}{one['processor_seconds']:>11.2f}{one['weights_bytes'] / 1e6:>12.1f}"
            f"{one['peak_bytes'] / 1e6:>9.1f}{one['memory']:>16.2f}"
        )
    lines.append("")
    for goal in document["goals"]:
        verdict = "held" if goal["held"] else "MISSED"
        lines.append(f"goal: {goal['what']}: {goal['value']:.3g} (at most {goal['goal']:g}): {verdict}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
