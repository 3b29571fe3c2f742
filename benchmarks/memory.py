"""The memory of runs: what `--dry-run` says beside what was measured, and whether it grows over many rounds.

    python benchmarks/memory.py                            four configurations, one and two processes, then 100 rounds
    python benchmarks/memory.py --only lenet-1,rounds      some of them
    python benchmarks/memory.py --json memory.json --check

Each run is a process of its own with all that it starts. Its peak is the sum over these processes of the most that each
held by itself (`VmHWM` without what it shares), and what they share once. MNIST and cifar10_subset must be at hand.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from outcome import add_options, finish

DRY_RUN_TARGET, GROWTH_TARGET, EARLY_ROUND = 0.20, 0.05, 10
SECONDS_BETWEEN = 0.1
WIDE = """
import keras


def make(input_shape, classes):
    layers = [keras.layers.Flatten(), keras.layers.Dense(4000, "relu"), keras.layers.Dense(4000, "relu")]
    return keras.Sequential([keras.Input(input_shape), *layers, keras.layers.Dense(classes)])
"""
_LENET = ("mnist-lenet-300-100", "--steps", "60", "--rounds", "2")
_WIDE = ("--dataset", "digits", "--model", "wide:make", "--steps", "20", "--rounds", "2")
CASES = {
    "lenet-1": (*_LENET, "--replicates", "1", "--jobs", "1"),
    "lenet-2": (*_LENET, "--replicates", "2", "--jobs", "2"),
    "conv2-1": (
        *("cifar10-conv2", "--dataset", "cifar10_subset", "--steps", "10", "--rounds", "1", "--replicates", "1"),
        *("--jobs", "1"),
    ),
    "wide-1": (*_WIDE, "--replicates", "1", "--jobs", "1"),
    "wide-2": (*_WIDE, "--replicates", "2", "--jobs", "2"),
}
FIND_TICKETS = """
import sys
import keras, numpy as np
import tf_lottery as tfl

def resident():
    status = open("/proc/self/status").read()
    return 1024 * int(status.split("VmRSS:")[1].split()[0])

class Notes(keras.callbacks.Callback):
    def on_round_end(self, round, rows):
        print("round", round, resident(), flush=True)

x, y = np.random.default_rng(0).normal(size=(400, 16)).astype("float32"), np.arange(400) % 2
model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(2)])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
tfl.find_ticket(
    model, x, y, loss=loss, rounds=int(sys.argv[1]), rate=0.02, steps=20, verbose=0, callbacks=[Notes()], seed=0
)
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 if `--check` is given and a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help=f"some of {','.join([*CASES, 'rounds'])}")
    parser.add_argument("--rounds", type=int, default=100, help="rounds of the long run")
    add_options(parser)
    options = parser.parse_args(arguments)
    names = options.only.split(",") if options.only else [*CASES, "rounds"]
    document: dict[str, Any] = {"schema": "tf-lottery.memory/1", "runs": {}}
    print(f"{'run':<10}{'dry run, MB':>12}{'measured, MB':>14}{'apart':>8}{'processes':>11}{'seconds':>9}", flush=True)
    for name in names:
        if name in CASES:
            document["runs"][name] = record = measure(CASES[name])
            print(
                f"{name:<10}{record['said'] / 1e6:>12,.0f}{record['measured'] / 1e6:>14,.0f}{record['apart']:>+8.1%}"
                f"{record['processes']:>11}{record['seconds']:>9.0f}",
                flush=True,
            )
    held = [abs(record["apart"]) <= DRY_RUN_TARGET for record in document["runs"].values()]
    if "rounds" in names:
        document["rounds"] = growth = over_rounds(options.rounds)
        print(
            f"\nround {growth['early']}: {growth['early_bytes'] / 1e6:,.1f} MB, round {growth['last']}: "
            f"{growth['last_bytes'] / 1e6:,.1f} MB: {growth['growth']:+.2%}"
        )
        held.append(abs(growth["growth"]) <= GROWTH_TARGET)
    print(f"\nwithin {DRY_RUN_TARGET:.0%}, and {GROWTH_TARGET:.0%} over rounds: {'held' if all(held) else 'MISSED'}")
    return finish(options, document, held=all(held))


def measure(options: tuple[str, ...]) -> dict[str, Any]:
    """What a dry run says, and the peak of the run itself."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "wide.py").write_text(WIDE)
        command = [sys.executable, "-m", "tf_lottery_cli", "run", *options, "--out", "runs"]
        environment = os.environ | {"PYTHONPATH": folder}
        said = subprocess.run(
            [*command, "--dry-run", "--json"], cwd=folder, env=environment, check=True, capture_output=True
        )
        begin = time.perf_counter()
        peaks = watch(command, folder, environment)
    measured = sum(peak - shared for peak, shared in peaks) + max(shared for _, shared in peaks)
    said_bytes = json.loads(said.stdout)["memory_bytes"]
    return {
        "said": said_bytes,
        "measured": measured,
        "apart": said_bytes / measured - 1,
        "processes": len(peaks),
        "seconds": time.perf_counter() - begin,
    }


def watch(command: list[str], folder: str, environment: dict[str, str]) -> list[tuple[int, int]]:
    """Run a command, and return the peak and the shared memory of each process of it, in bytes."""
    peaks: dict[int, tuple[int, int]] = {}
    with open(Path(folder, "log"), "wb") as log:
        run = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        while run.poll() is None:
            for process in tree(run.pid):
                if (memory := peak_of(process)) is not None:
                    peaks[process] = memory
            time.sleep(SECONDS_BETWEEN)
    if run.returncode:
        raise RuntimeError(Path(folder, "log").read_text()[-2000:])
    return list(peaks.values())


def tree(root: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def peak_of(process: int) -> tuple[int, int] | None:
    """The peak of a process, and what of it is shared; None where it has ended."""
    try:
        lines = re.findall(r"^(\w+):\s+(\d+) kB$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    values = {name: 1024 * int(number) for name, number in lines}
    return (values["VmHWM"], values["RssFile"] + values["RssShmem"]) if "VmHWM" in values else None


def over_rounds(rounds: int) -> dict[str, Any]:
    """The memory of one process that finds tickets, after an early round and after the last."""
    command = [sys.executable, "-c", FIND_TICKETS, str(rounds)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    sizes = {int(line.split()[1]): int(line.split()[2]) for line in lines if line.startswith("round ")}
    early = min(EARLY_ROUND, rounds)
    return {
        "early": early,
        "early_bytes": sizes[early],
        "last": rounds,
        "last_bytes": sizes[rounds],
        "growth": sizes[rounds] / sizes[early] - 1,
        "bytes_by_round": sizes,
    }


if __name__ == "__main__":
    sys.exit(main())
