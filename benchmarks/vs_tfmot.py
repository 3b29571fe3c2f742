"""Gradual pruning by this library beside tfmot's: sparsity, accuracy and the time of a step, in one command.

    python benchmarks/vs_tfmot.py                            LeNet-300-100 on MNIST, seeds 0, 1 and 2
    python benchmarks/vs_tfmot.py --model tutorial --steps 800
    python benchmarks/vs_tfmot.py --json vs_tfmot.json --check

Both train the same net in `fit`, from the same weights, on the same batches, by the same names: `prune_low_magnitude`,
`PolynomialDecay` and `UpdatePruningStep` of `tf_lottery.compat.tfmot` on Keras 3, and of tfmot on tf_keras. Each is a
process of its own on the same cores; for each seed one trains, then the other: as `compile` does by default, and with
XLA. For reference there are this library's with several steps in a call, and Keras 3 without pruning. The time of a
step is that of the fastest 100 steps of a training.
"""

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import mean
from subprocess import PIPE, Popen
from typing import Any

import numpy as np
from outcome import add_options, finish
from vs_tfmot_worker import SIDES, WINDOW

HERE = Path(__file__).resolve().parent
SHAPES = {
    "lenet": [(784, 300), (300,), (300, 100), (100,), (100, 10), (10,)],
    "tutorial": [(3, 3, 1, 12), (12,), (2028, 10), (10,)],
}
MOST_WEIGHTS, MOST_POINTS, MOST_TIME = 1, 0.5, 1.0


def main(arguments: list[str] | None = None) -> int:
    """Run the command; with `--check` the exit code is 1 where a target is missed."""
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as folder:
        prepare(options, Path(folder))
        runs = race(options, Path(folder))
    document = {"schema": "tf-lottery.vs-tfmot/1", "options": settings(options), "runs": runs, **conclude(runs)}
    print(table(document))
    return finish(options, document, held=all(target["held"] for target in document["targets"]))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(SHAPES), default="lenet")
    parser.add_argument("--steps", type=int, default=2000, help="steps of one training")
    parser.add_argument("--batch", type=int, default=60)
    parser.add_argument("--seeds", default="0,1,2", help="seeds of weights and order, with commas between")
    parser.add_argument("--sparsity", type=float, default=0.9, help="the final one, of every kernel")
    parser.add_argument("--threads", type=int, default=1, help="threads and cores of each process")
    parser.add_argument("--synthetic", action="store_true", help="made-up images instead of MNIST")
    parser.add_argument("--data-dir", help="as for `tf-lottery run`")
    add_options(parser)
    options = parser.parse_args(arguments)
    if options.steps < 2 * WINDOW:
        parser.error(f"--steps must be at least {2 * WINDOW}: the first {WINDOW} are not timed")
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    return options


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """What both train by."""
    schedule = {"initial_sparsity": 0.0, "final_sparsity": options.sparsity, "begin_step": 0}
    schedule |= {"end_step": 3 * options.steps // 4, "frequency": min(100, options.steps // 20)}
    names = ("model", "steps", "batch", "seeds", "threads", "synthetic")
    return {"schedule": schedule, "learning_rate": 1.2e-3, **{name: getattr(options, name) for name in names}}


def prepare(options: argparse.Namespace, folder: Path) -> None:
    """Write what both sides train on, for each seed, as plain arrays."""
    (folder / "settings.json").write_text(json.dumps(settings(options)))
    x, y, test_x, test_y = images(options)
    for seed in options.seeds:
        generator = np.random.default_rng(seed)
        count = options.steps * options.batch
        order = np.concatenate([generator.permutation(len(x)) for _ in range(-(-count // len(x)))])[:count]
        arrays = {"x": x[order], "y": y[order], "test_x": test_x, "test_y": test_y}
        for number, shape in enumerate(SHAPES[options.model]):
            limit = np.sqrt(6 / (np.prod(shape[:-1]) + np.prod(shape[:-2]) * shape[-1])) if len(shape) > 1 else 0.0
            arrays[f"weight_{number}"] = generator.uniform(-limit, limit, shape).astype("float32")
        np.savez(folder / f"seed_{seed}.npz", **arrays)


def images(options: argparse.Namespace) -> tuple[np.ndarray, ...]:
    """Training and test images with their labels: MNIST, pixels / 255, or made up."""
    if options.synthetic:
        generator = np.random.default_rng(0)
        y = generator.integers(0, 10, 3000)
        x = generator.normal(size=(3000, 28, 28, 1)) + np.eye(10)[y].repeat(79, axis=1)[:, :784].reshape(-1, 28, 28, 1)
        x, y = x.astype("float32"), y.astype("int32")
        return x[:2000], y[:2000], x[2000:], y[2000:]
    from tf_lottery.data import load

    data = load("mnist", data_dir=options.data_dir)
    return tuple(np.asarray(array) for part in (data.train, data.test) for array in (part.x, part.y))


def race(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Let the sides train in turn, seed by seed; one record for each training."""
    runs = []
    with ExitStack() as stack:
        workers = {}
        # XLA's convolutions on a CPU are so slow that a step may never return.
        for side in (side for side in SIDES if options.model == "lenet" or "jit_compile" not in SIDES[side]):
            log = stack.enter_context((folder / f"{side}.log").open("w"))
            command = [sys.executable, str(HERE / "vs_tfmot_worker.py"), side, str(folder), str(options.threads)]
            workers[side] = stack.enter_context(Popen(command, stdin=PIPE, stdout=PIPE, stderr=log, text=True))
        for seed in options.seeds:
            for side, worker in workers.items():
                print(f"seed {seed}: {side}", file=sys.stderr)
                worker.stdin.write(f"{seed}\n")
                worker.stdin.flush()
                line = worker.stdout.readline()
                if not line:
                    raise RuntimeError(f"{side} failed:\n{(folder / f'{side}.log').read_text()[-3000:]}")
                runs.append({"seed": seed, "side": side, **json.loads(line)})
        for worker in workers.values():
            worker.stdin.close()
    return runs


def conclude(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Differences between the two sides, and the targets."""
    by_side = {side: [run for run in runs if run["side"] == side] for side in SIDES}
    mine, its = by_side["tf_lottery"], by_side["tfmot"]
    weights = [
        [a - b for a, b in zip(one["zeros"], other["zeros"], strict=True)] for one, other in zip(mine, its, strict=True)
    ]
    points = 100 * (mean(run["accuracy"] for run in mine) - mean(run["accuracy"] for run in its))
    ratios, cpu_ratios = (time_ratios(by_side, key) for key in ("seconds_per_step", "cpu_seconds_per_step"))
    worst = max(abs(difference) for differences in weights for difference in differences)
    targets = [
        ("pruned weights of a layer differ by at most 1", worst, worst <= MOST_WEIGHTS),
        ("mean test accuracy differs by at most 0.5 points", abs(points), abs(points) <= MOST_POINTS),
        *(
            (f"time of a step, {pair}, below 1", ratios[pair], ratios[pair] < MOST_TIME)
            for pair in ("tf_lottery / tfmot", "tf_lottery-xla / tfmot-xla")
            if pair in ratios
        ),
    ]
    return {
        "weights_apart": weights,
        "points_apart": points,
        "time_ratios": ratios,
        "cpu_time_ratios": cpu_ratios,
        "targets": [{"what": what, "value": value, "held": held} for what, value, held in targets],
    }


def time_ratios(by_side: dict[str, list[dict[str, Any]]], key: str) -> dict[str, float]:
    """The least time of each side over that of tfmot's, compiled in the same way where both are."""
    least = {side: min(run[key] for run in runs) for side, runs in by_side.items() if runs}
    pairs = [("tf_lottery", "tfmot"), ("tf_lottery-xla", "tfmot-xla"), ("tf_lottery-calls", "tfmot")]
    pairs += [("keras", "tfmot"), ("keras-xla", "tfmot-xla")]
    return {f"{mine} / {its}": least[mine] / least[its] for mine, its in pairs if mine in least}


def table(document: dict[str, Any]) -> str:
    """The document as text."""
    lines = [
        f"{'seed':>4}  {'side':<14}  {'test accuracy':>13}  {'us a step':>9}  {'cpu us':>6}  pruned / all, by layer"
    ]
    for run in document["runs"]:
        layers = "  ".join(f"{zeros}/{size}" for zeros, size in zip(run["zeros"], run["sizes"], strict=True))
        lines.append(
            f"{run['seed']:>4}  {run['side']:<14}  {100 * run['accuracy']:>12.2f}%  "
            f"{1e6 * run['seconds_per_step']:>9.0f}  {1e6 * run['cpu_seconds_per_step']:>6.0f}  {layers}"
        )
    lines.append(f"pruned weights by layer, tf_lottery - tfmot, by seed: {document['weights_apart']}")
    lines.append(f"mean test accuracy, tf_lottery - tfmot: {document['points_apart']:+.2f} points")
    lines += [
        f"time of a step, {pair}: {ratio:.2f}, of the processor {document['cpu_time_ratios'][pair]:.2f}"
        for pair, ratio in document["time_ratios"].items()
    ]
    lines += [f"{'held' if t['held'] else 'MISSED':<7} {t['what']}: {t['value']:.3g}" for t in document["targets"]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
