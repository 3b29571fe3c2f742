"""One contender in a process of its own: builds it, then trains on each request, and reports how long it took.

Run by `throughput.py` as `python worker.py NAME FOLDER THREADS`. Commands come as lines on stdin, answers go as lines
of JSON to stdout. Nothing but these answers may appear there, so what TensorFlow prints goes to stderr.
"""

import gc
import importlib
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Contender:
    """Something that trains the workload.

    Attributes:
        where: "module:callable" that makes it from a workload.
        what: one line for the table.
        masked: whether it trains exactly the workload's masks, so that it must end at the engine's loss.
        xla: whether it is XLA for any net, which a CPU's convolutions do not survive.
    """

    where: str
    what: str
    masked: bool
    xla: bool = False


CONTENDERS = {
    "engine": Contender("engine_contender:EngineContender", "this library's engine", masked=True),
    "fit": Contender("fit_contender:fit", "Keras fit, wrapped net", masked=True),
    "fit-plain": Contender("fit_contender:fit_plain", "Keras fit, plain net without masks", masked=False),
    "fit-xla": Contender(
        "fit_contender:fit_xla", "Keras fit, wrapped net, XLA, 100 steps a call", masked=True, xla=True
    ),
    "tfmot": Contender("tfmot_contender:TfmotContender", "tfmot prune_low_magnitude in fit", masked=False),
    "bare": Contender("bare_loop:BareLoop", "hand-written loop: the limit", masked=True),
}


def serve(name: str, folder: Path, threads: int) -> None:
    """Build a contender, print its validation loss, then train it once for every line of stdin."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    pin(threads)
    import tensorflow as tf
    from workload import Workload

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    module, _, attribute = CONTENDERS[name].where.partition(":")
    make = getattr(importlib.import_module(module), attribute)
    contender = make(Workload.read(folder))
    answers.write(json.dumps({"loss_before": contender.loss()}) + "\n")
    for _ in sys.stdin:
        answers.write(json.dumps(measure(contender)) + "\n")


def pin(threads: int) -> None:
    """Confine this process to as many cores as it has threads, so that all contenders have the same."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def measure(contender: Any) -> dict[str, Any]:
    """One training from the initial state: its seconds by the clock and of the processor, and the loss after it.

    `others` is the share of the cores' time that other processes had meanwhile.
    """
    contender.reset()
    gc.collect()
    cores = busy_seconds()
    clock = Clock()
    contender.train(clock.stop)
    returned = time.perf_counter() - clock.begin[0]
    others = max(0.0, busy_seconds() - cores - (time.process_time() - clock.begin[1])) / returned
    return {
        "seconds": clock.end[0] - clock.begin[0],
        "cpu_seconds": clock.end[1] - clock.begin[1],
        "return_seconds": returned,
        "others": others,
        "loss_after": contender.loss(),
        **contender.details(),
    }


class Clock:
    """Time by the clock and of the processor, from its making to `stop`.

    The contender stops it after its last step: what `fit` does after that, it does once, however long it trained. It
    waits there for a thread of tf.data that sleeps for ever longer, which may take as long again as the training.
    """

    def __init__(self) -> None:
        self.begin = self.end = (time.perf_counter(), time.process_time())

    def stop(self) -> None:
        self.end = (time.perf_counter(), time.process_time())


def busy_seconds() -> float:
    """Seconds that the cores of this process have been at work since the machine started, for whatever process.

    What this process did not do itself, others did, on cores that it had to share with them. 0.0 where unknown.
    """
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return 0.0
    mine = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    rows = [line.split() for line in lines if line.split()[0] in mine]
    # Columns: user, nice, system, idle, iowait, irq, softirq, steal; guests are in user and nice already.
    return sum(int(row[column]) for row in rows for column in (1, 2, 3, 6, 7, 8)) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
