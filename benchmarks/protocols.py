"""What a ticket of one density costs in time by each way to find it, with the sparse kernels, in one command.

    python benchmarks/protocols.py                       LeNet-300-100 on MNIST, 10 % of the weights, 10,000 steps
    python benchmarks/protocols.py --on cifar            ResNet-8 on cifar10_subset
    python benchmarks/protocols.py --sparse off          the same without the kernels
    python benchmarks/protocols.py --protocols one_shot early_bird --replicates 5

Each protocol is a run in a process of its own, one after the other, on one thread. A ticket costs its own training and
all that its masks came from. `seconds` is what their result rows say: compilation and evaluations are in them, and
whatever else the machine did at the time. `cpu` is the processor time of the same trainings, which other load hardly
changes; `times dense` compares it with that of the first run's dense network. All are means over replicates, of which
the first pays for the compilation. Accuracies are of test data, with the 95 % interval (below 3 replicates the range).
The control has the ticket's masks and new initial weights, and is trained in the last round alone.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MNIST = {"preset": "mnist-lenet-300-100", "steps": 10_000, "rounds": 10, "search_steps": 2000, "eval_every": 250}
CIFAR = {
    "preset": "cifar10-subset-resnet20",
    "model": "resnet8",
    "steps": 1000,
    "rounds": 5,
    "search_steps": 300,
    "eval_every": 100,
    "lr_schedule": "cosine",
    "lr_milestones": (),
    "rewind": "step:50",
}
SETTINGS = {"mnist": MNIST, "cifar": CIFAR}
PROTOCOLS = ("iterative", "search_steps", "early_bird", "one_shot")
CONTROL = "random_reinit"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", choices=SETTINGS, default="mnist")
    parser.add_argument("--protocols", choices=PROTOCOLS, nargs="+", default=PROTOCOLS)
    parser.add_argument("--density", type=float, default=0.1)
    parser.add_argument("--replicates", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of a training in full")
    parser.add_argument("--search-steps", type=int, help="of a training that only finds masks")
    parser.add_argument("--rounds", type=int, help="of iterative pruning")
    parser.add_argument("--sparse", choices=("auto", "on", "off"), default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    options = parse(arguments)
    if options.worker:
        options.worker.write_text(json.dumps(measure(options.protocols[0], options)))
        return 0
    print(f"load {os.getloadavg()[0]:.1f}, threads {options.threads}, --sparse {options.sparse}")
    print("protocol          seconds      cpu  times dense    steps  weights left  test accuracy         control")
    lines = []
    for protocol in options.protocols:
        with tempfile.TemporaryDirectory() as folder:
            given = sys.argv[1:] if arguments is None else arguments
            answer = Path(folder) / "line.json"
            command = [sys.executable, __file__, *given, "--worker", str(answer), "--protocols", protocol]
            done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
            if done.returncode:
                raise SystemExit(done.stderr)
            lines.append(json.loads(answer.read_text()) | {"load": os.getloadavg()[0]})
        dense = lines[0]["dense"]
        if len(lines) == 1:
            print_line({"protocol": "(dense)", **dense}, dense["cpu"])
        print_line(lines[-1], dense["cpu"])
        if options.json:
            options.json.write_text(json.dumps(lines, indent=1) + "\n")
    return 0


def print_line(line: dict[str, Any], dense_cpu: float) -> None:
    """Print what a protocol came to, beside the processor time of the dense network."""
    print(
        f"{line['protocol']:14s} {line['seconds']:10.1f} {line['cpu']:8.1f} {line['cpu'] / dense_cpu:12.2f}"
        f" {line['steps']:8,.0f} {line['density']:13.1%}  {written(line['accuracy']):20s}  {written(line['control'])}",
        flush=True,
    )


def written(values: list[float] | None) -> str:
    """A mean with its interval, in percent."""
    return "-" if values is None else "{:.2f} ({:.2f}-{:.2f})".format(*(100 * value for value in values))


def configuration(protocol: str, options: argparse.Namespace) -> Any:
    """The configuration of a protocol that ends in a ticket of the density."""
    from tf_lottery.experiment import presets

    settings = dict(SETTINGS[options.on])
    given = {name: getattr(options, name) for name in ("steps", "rounds", "search_steps")}
    settings |= {name: value for name, value in given.items() if value}
    if protocol != "search_steps":
        del settings["search_steps"]
    if protocol in ("early_bird", "one_shot"):
        settings |= {"rounds": 1, "pruning": protocol}
    where = {"sparse": options.sparse, "threads": options.threads, "jobs": 1}
    what = {"final_density": options.density, "replicates": options.replicates, "variants": ("ticket", CONTROL)}
    return presets.get(settings.pop("preset")).config().updated(**settings, **what, **where)


def measure(protocol: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train a protocol in this process; the line of the table, with that of the dense network as `dense`."""
    from tf_lottery.experiment import plan
    from tf_lottery.experiment.directory import RunDirectory
    from tf_lottery.experiment.problem import from_config
    from tf_lottery.experiment.workers.trainer import Trainer
    from tf_lottery.training.device import configure

    config = configuration(protocol, options)
    configure(threads=config.threads, device=config.device)
    rows, cpu_seconds = [], []
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, from_config(config), RunDirectory(Path(folder)))
        for job in plan.jobs(config):
            if job.variant == CONTROL and job.round < config.rounds:
                continue
            begin = time.process_time()
            rows.append(trainer.run(job))
            cpu_seconds.append(time.process_time() - begin)
    cpu_rows = [row | {"seconds": seconds} for row, seconds in zip(rows, cpu_seconds, strict=True)]
    dense, ticket = (
        costs_of_round(config, rows, cpu_rows, round_number=round_number) for round_number in (0, config.rounds)
    )
    instruction_set = trainer.engine.instruction_set
    return {"protocol": protocol, "kernels": instruction_set, "rows": rows, "cpu_seconds": cpu_seconds} | {
        **ticket,
        "dense": dense,
    }


def costs_of_round(config: Any, rows: list[dict], cpu_rows: list[dict], *, round_number: int) -> dict[str, Any]:
    """What the ticket of a round cost and came to, means over replicates."""
    from tf_lottery.results.statistics.cost import cost_table
    from tf_lottery.results.statistics.intervals import band
    from tf_lottery.results.statistics.values import select

    def accuracy(variant: str) -> list[float] | None:
        around = band(row["test_accuracy"] for row in select(rows, variant, round_number))
        return None if around is None else [around.mean, around.low, around.high]

    wall, cpu = (
        next(line for line in cost_table({"": (config, given)}) if line["round"] == round_number)
        for given in (rows, cpu_rows)
    )
    costs = {"seconds": wall["seconds"], "cpu": cpu["seconds"], "steps": wall["steps"], "density": wall["density"]}
    return costs | {"accuracy": accuracy("ticket"), "control": accuracy(CONTROL)}


if __name__ == "__main__":
    sys.exit(main())
