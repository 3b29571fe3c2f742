"""The time of a training step by the sparse kernels beside the dense engine, by density, in one command.

    python benchmarks/sparse_training.py                     LeNet-300-100, batches of 60, Adam, one thread
    python benchmarks/sparse_training.py --batch 128 --optimizer sgd
    python benchmarks/sparse_training.py --model resnet20 --batch 128 --densities 0.2 0.1 0.05
    python benchmarks/sparse_training.py --model resnet20 --batch 128 --control    what XLA alone is worth
    python benchmarks/sparse_training.py --run               a whole `tf-lottery run`, with and without the kernels

Both sides train the same net with the same masks on the same batches in one process, in turn (dense, sparse, dense),
after a call that compiles. The losses of the first 200 steps are compared: they may differ by 1e-5, relative. What is
printed is the median of the ratios of neighbors, and the fastest time of each side. Nets with convolutions train on
made-up images of the shape of CIFAR's; their dense side is what the engine runs without the kernels: TensorFlow's own
operations, since XLA's convolutions are slow in loops. `--control` has XLA compile each step of the dense side instead.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DENSITIES = (0.9, 0.7, 0.5, 0.35, 0.2, 0.1, 0.05, 0.025, 0.012)
TOLERANCE = 1e-5
CONVOLUTIONAL = ("conv2", "conv4", "conv6", "resnet20", "vgg16")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("lenet", *CONVOLUTIONAL), default="lenet")
    parser.add_argument("--control", action="store_true", help="XLA compiles the steps of the dense side")
    parser.add_argument("--densities", type=float, nargs="+", default=DENSITIES)
    parser.add_argument("--batch", type=int, default=60)
    parser.add_argument("--optimizer", default="adam")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, help="of one measurement: 300, or 4 of convolutions")
    parser.add_argument("--pairs", type=int, help="measurements of each side: 9, or 5 of convolutions")
    parser.add_argument("--compared", type=int, help="steps whose losses are compared: 200, or 10 of convolutions")
    parser.add_argument("--run", action="store_true", help="measure a whole run of the preset mnist-lenet-300-100")
    parser.add_argument("--rounds", type=int, default=20, help="of that run")
    parser.add_argument("--run-steps", type=int, default=10_000, help="of each of its trainings")
    parser.add_argument("--variants", default="ticket,random_reinit", help="of that run")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    steps, pairs, compared = (300, 9, 200) if options.model == "lenet" else (4, 5, 10)
    options.steps, options.pairs = options.steps or steps, options.pairs or pairs
    options.compared = options.compared or compared
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 where losses differ."""
    options = parse(arguments)
    document = whole_runs(options) if options.run else steps(options)
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0 if document["same"] else 1


def steps(options: argparse.Namespace) -> dict:
    """Measure steps at each density, and print a row for each."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    from tf_lottery.layers.sparse import kernels

    if not kernels():
        raise SystemExit(f"There are no kernels: {kernels().reason}.")
    print(
        f"{options.model}, batch {options.batch}, {options.optimizer}, instruction set {kernels().instruction_set}, "
        f"threads {options.threads}, load {os.getloadavg()[0]:.1f}"
    )
    print(" density   dense ms  sparse ms    ratio  loss differs  compiled in")
    rows = [measure(density, options) for density in options.densities]
    return {"instruction_set": kernels().instruction_set, "rows": rows, "same": all(row["same"] for row in rows)}


def measure(density: float, options: argparse.Namespace) -> dict:
    """Train at one density by both sides in turn."""
    data, order = examples(options)
    engines = {setting: engine(setting, density, options) for setting in ("off", "on")}
    losses = {setting: first_losses(one, data, order, options.compared) for setting, one in engines.items()}
    difference = max(abs(a / b - 1) for a, b in zip(*losses.values(), strict=True))
    seconds: dict[str, list[float]] = {setting: [] for setting in engines}
    for _ in range(options.pairs):
        for setting, one in engines.items():
            begin = time.perf_counter()
            one.run(data, order, start=0, stop=options.steps)
            seconds[setting].append((time.perf_counter() - begin) / options.steps)
    row = {
        "density": density,
        "dense_ms": 1e3 * min(seconds["off"]),
        "sparse_ms": 1e3 * min(seconds["on"]),
        "ratio": statistics.median(a / b for a, b in zip(seconds["off"], seconds["on"], strict=True)),
        "loss_difference": difference,
        "compile_seconds": engines["on"].timings.seconds["compile"],
        "same": difference <= TOLERANCE,
    }
    print(
        f"{density:8.1%} {row['dense_ms']:10.3f} {row['sparse_ms']:10.3f} {row['ratio']:8.2f} {difference:13.1e} "
        f"{row['compile_seconds']:10.1f} s",
        flush=True,
    )
    return row


def examples(options: argparse.Namespace):
    """Made-up images of the size of MNIST's or CIFAR's, and the order of the batches."""
    import numpy as np
    import tensorflow as tf

    from tf_lottery.training.batches import Batch
    from tf_lottery.training.order import Order

    rng = np.random.default_rng(0)
    count = 6000 if options.model == "lenet" else 1200
    x = rng.normal(size=(count, *shape(options.model))).astype(np.float32)
    y = (x.reshape(count, -1)[:, :50] @ rng.normal(size=(50, 10))).argmax(-1)
    return Batch(tf.constant(x), tf.constant(y)), Order(len(x), options.batch, seed=0)


def shape(model: str) -> tuple[int, ...]:
    """Of one example."""
    return (784,) if model == "lenet" else (32, 32, 3)


def engine(setting: str, density: float, options: argparse.Namespace):
    """An engine with random masks."""
    import keras
    import numpy as np

    import tf_lottery as tfl
    from tf_lottery.models.architectures import ARCHITECTURES
    from tf_lottery.training.batches import Batch
    from tf_lottery.training.compiled_steps import CompiledSteps
    from tf_lottery.training.engine import Engine

    keras.utils.set_random_seed(0)
    of_one = shape(options.model)
    model = ARCHITECTURES["fc1" if options.model == "lenet" else options.model](of_one, 10)
    wrapped = tfl.wrap(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    settings = {"metrics": ["accuracy"], "sparse": setting}
    one = Engine(wrapped, optimizer=keras.optimizers.get(options.optimizer), loss=loss, **settings)
    one.prepare(Batch(np.zeros((2, *of_one), np.float32), np.zeros(2, int)))
    if options.control and setting == "off":
        one._dense = CompiledSteps(one._steps, xla=True, loops=False, augment=None, traces=one.traces)
    rng = np.random.default_rng(1)
    tfl.set_masks(wrapped, {path: rng.random(mask.shape) < density for path, mask in tfl.get_masks(wrapped).items()})
    return one


def first_losses(one, data, order, steps: int) -> list[float]:
    """The mean loss of each tenth of the first steps."""
    losses = []
    for start in range(0, steps, steps // 10):
        one.reset_metrics()
        one.run(data, order, start=start, stop=start + steps // 10)
        losses.append(one.results()["loss"])
    return losses


def whole_runs(options: argparse.Namespace) -> dict:
    """Measure `tf-lottery run` without the kernels and with them, the whole command each."""
    seconds, accuracy = {}, {}
    command = [shutil.which("tf-lottery") or "tf-lottery", "run", "mnist-lenet-300-100", "--json", "--quiet"]
    command += ["--rounds", str(options.rounds), "--steps", str(options.run_steps), "--jobs", "1"]
    command += ["--variants", options.variants]
    for setting in ("off", "auto"):
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            done = subprocess.run([*command, "--sparse", setting, "--out", folder], capture_output=True, text=True)
            seconds[setting] = time.perf_counter() - begin
            if done.returncode:
                raise SystemExit(done.stderr)
            rows = next(Path(folder).glob("*/results.csv")).read_text().splitlines()
        accuracy[setting] = rows[-1]
        print(f"--sparse {setting:4s} {seconds[setting]:8.1f} s", flush=True)
    print(f"ratio {seconds['off'] / seconds['auto']:.2f}; {options.rounds} rounds of {options.run_steps} steps")
    return {"seconds": seconds, "last_rows": accuracy, "ratio": seconds["off"] / seconds["auto"], "same": True}


if __name__ == "__main__":
    sys.exit(main())
