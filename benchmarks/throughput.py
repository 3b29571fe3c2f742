"""Microseconds per training step: this engine beside Keras `fit`, tfmot and a hand-written loop, in one command.

    python benchmarks/throughput.py                          LeNet-300-100 on MNIST, one core each
    python benchmarks/throughput.py --model conv2 --steps 40
    python benchmarks/throughput.py --synthetic --json throughput.json

All train the same net from the same weights with the same masks on the same batches, each in a process of its own on
the same cores, in turn (A B C ... A B C ...) after a warm-up that compiles. The losses before and after are printed:
who trains the same masks must end at the same validation loss, or the command fails. Beside the time by the clock
stands that of the processor, which other work on the machine disturbs less.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from outcome import add_options, finish
from race import race
from summary import summarize, table
from worker import CONTENDERS
from workload import KINDS

HERE = Path(__file__).resolve().parent


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 where contenders disagree, or with `--check` where a target is missed."""
    options = parse(arguments)
    names = chosen(options)
    plain = {**vars(options), "json": str(options.json) if options.json else None}
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own too: this one must hold no memory and no threads that the contenders feel.
        subprocess.run([sys.executable, HERE / "workload.py", folder, json.dumps(plain)], check=True)
        how = {"repeats": options.repeats, "patience": options.patience, "threads": options.threads}
        results = race(names, Path(folder), **how, progress=progress)
    document = summarize(results, plain)
    print(table(document))
    code = finish(options, document, held=all(target["held"] for target in document["targets"]))
    return code if document["same_loss"] else 1


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(KINDS), default="fc1")
    parser.add_argument("--steps", type=int, help="steps of one training (default: 1000, of a convolutional net 40)")
    parser.add_argument("--repeats", type=int, default=5, help="trainings that count, after one that warms up")
    parser.add_argument("--patience", type=int, default=3, help="how often to repeat a training that others disturbed")
    parser.add_argument("--threads", type=int, default=1, help="threads and cores of each contender")
    parser.add_argument("--batch", type=int, default=60)
    parser.add_argument("--density", type=float, default=0.3, help="of each kernel")
    parser.add_argument("--synthetic", action="store_true", help="made-up images instead of a data set from disk")
    parser.add_argument("--data-dir", help="as for `tf-lottery run`")
    parser.add_argument("--contenders", help=f"some of: {','.join(CONTENDERS)} (default: all that suit the net)")
    add_options(parser)
    options = parser.parse_args(arguments)
    options.steps = options.steps or (40 if KINDS[options.model].convolutional else 1000)
    for name in ("steps", "repeats", "threads", "batch"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    unknown = set(options.contenders.split(",") if options.contenders else ()) - set(CONTENDERS)
    if unknown:
        parser.error(f"unknown contender {', '.join(sorted(unknown))}; choose from {', '.join(CONTENDERS)}")
    return options


def chosen(options: argparse.Namespace) -> list[str]:
    """The contenders to measure; XLA by force is left out for convolutions on a CPU, where a step may never return."""
    if options.contenders:
        return options.contenders.split(",")
    return [name for name, it in CONTENDERS.items() if not (it.xla and KINDS[options.model].convolutional)]


def progress(text: str) -> None:
    """Print progress to stderr."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
