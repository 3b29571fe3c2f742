"""Where the time of a run goes that is not training: pruning, saving, bookkeeping, evaluations, compilation.

    python benchmarks/overhead.py                      mnist-lenet-300-100, 2,000 steps per round, 4 rounds
    python benchmarks/overhead.py --rounds 2 --steps 500 --json overhead.json

Runs the preset in this process as `tf-lottery run --jobs 1` does, and prints for each round the share of time outside
of training steps and scheduled evaluations, and how often anything was traced or compiled. Compilations are counted by
XLA itself: it is made to dump every module that it compiles.
"""

import argparse
import gc
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from outcome import add_options, finish

from tf_lottery.experiment import presets

if TYPE_CHECKING:
    from tf_lottery.experiment.directory import Job, RunDirectory
    from tf_lottery.training.engine import Engine

STARTED = time.perf_counter()
SHARE_TARGET, EVALUATION_TARGET, EVALUATED, COMMIT_TARGET = 0.10, 0.1, 15_000, 0.05


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 if `--check` is given and a target is missed."""
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as out, tempfile.TemporaryDirectory() as dump:
        document = measure(options, Path(out), Path(dump))
    document["options"] = vars(options) | {"json": str(options.json) if options.json else None}
    print(table(document))
    return finish(options, document, held=all(target["held"] for target in document["targets"]))


def measure(options: argparse.Namespace, out: Path, dump: Path) -> dict[str, Any]:
    """Run the experiment below `out`, with XLA's modules dumped to `dump`."""
    # XLA reads this once, before its first compilation. The filter keeps it from writing a file per pass.
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={dump} --xla_dump_hlo_pass_re=^$"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from tf_lottery.experiment.run import Events, locate, run

    changes = {"steps": options.steps, "rounds": options.rounds, "replicates": options.replicates, "jobs": 1}
    where = {"threads": options.threads, "data_dir": options.data_dir}
    config = presets.get(options.preset).config()
    config = config.updated(**changes, **where, variants=tuple(options.variants.split(",")))
    watch = Watch(dump)
    begin = time.perf_counter()
    store = locate(config, out)
    run(config, store, events=Events(on_done=lambda job, row: watch.note(store, job)))
    seconds = time.perf_counter() - begin
    return summarize(watch.records, seconds, time_evaluation(engine_of_the_run()), time_commit(store))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="mnist-lenet-300-100", choices=list(presets.PRESETS))
    parser.add_argument("--steps", type=int, default=2000, help="steps per round")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--replicates", type=int, default=1)
    parser.add_argument("--variants", default="ticket,random_reinit")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data-dir", help="as for `tf-lottery run`")
    add_options(parser)
    return parser.parse_args(arguments)


class Watch:
    """Notes, whenever a training was committed, what it took since the one before."""

    def __init__(self, dump: Path) -> None:
        self.dump = dump
        self.records: list[dict[str, Any]] = []
        self.last = time.perf_counter()

    def note(self, store: "RunDirectory", job: "Job") -> None:
        now = time.perf_counter()
        engine, seconds = engine_of_the_run(), store.metrics(job)["seconds"]
        self.records.append(
            {
                "job": str(job),
                "wall": now - self.last,
                **seconds,
                "traces": dict(engine.traces),
                "functions": tracing_counts(engine),
                "xla_modules": compiled_modules(self.dump),
            }
        )
        # Counting is not part of the run.
        self.last = time.perf_counter()


def engine_of_the_run() -> "Engine":
    """The one engine of this process. `run` keeps it to itself, so it is looked up among all live objects."""
    from tf_lottery.training.engine import Engine

    engines = [thing for thing in gc.get_objects() if isinstance(thing, Engine)]
    if len(engines) != 1:
        raise RuntimeError(f"One engine was expected in this process. Found: {len(engines)}.")
    return engines[0]


def tracing_counts(engine: "Engine") -> int:
    """Traces of all compiled functions of the engine, as TensorFlow counts them."""
    functions = [value for value in vars(engine).values() if hasattr(value, "experimental_get_tracing_count")]
    return sum(function.experimental_get_tracing_count() for function in functions)


def compiled_modules(dump: Path) -> int:
    """How many modules XLA has compiled in this process."""
    names = (path.name for path in dump.iterdir() if path.name.startswith("module_"))
    return len({name.split(".")[0] for name in names})


def time_evaluation(engine: "Engine", repeats: int = 7) -> float:
    """Median seconds of an evaluation of 15,000 made-up examples of the net's input shape, once it is compiled."""
    import tensorflow as tf

    from tf_lottery.training.batches import Batch

    shape = engine.model.inputs[0].shape[1:]
    data = Batch(tf.random.uniform((EVALUATED, *shape), seed=0), tf.zeros(EVALUATED, tf.int32))
    seconds = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        engine.evaluate(data)
        seconds.append(time.perf_counter() - begin)
    return median(seconds[1:])


def time_commit(store: "RunDirectory", repeats: int = 7) -> float:
    """Median seconds of committing the last training of a run once more, with all that it was made from."""
    job = store.complete_jobs()[-1]
    arrays, metrics = {"masks": store.masks(job), "weights": store.weights(job)}, store.metrics(job)
    needs = [before for before in store.complete_jobs() if before.round == job.round - 1]
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        store.commit(job, arrays, metrics, made_from=store.made_from(needs, rewind_of=job.replicate))
        seconds.append(time.perf_counter() - begin)
    return median(seconds)


def summarize(records: list[dict[str, Any]], seconds: float, evaluation: float, commit: float) -> dict[str, Any]:
    """Shares and counts from the records of a run.

    The first training also holds the one-off start: data, model and compilation. The rounds after it show what each
    round costs, so the target is held against them.
    """
    for record in records:
        record["outside"] = record["wall"] - record["train"] - record["evaluate"] - record["compile"]
    later = records[1:] or records
    share = sum(record["outside"] for record in later) / sum(record["wall"] for record in later)
    first, busy = records[0], sum(record["wall"] - record["outside"] for record in records)
    traced = [record["job"] for record in later if record["functions"] != first["functions"]]
    compiled = [record["job"] for record in later if record["xla_modules"] != first["xla_modules"]]
    return {
        "schema": "tf-lottery.overhead/1",
        "jobs": records,
        "run_seconds": seconds,
        "process_seconds": time.perf_counter() - STARTED,
        "outside_share": share,
        "outside_share_with_start": (seconds - busy) / seconds,
        "evaluation_seconds": evaluation,
        "commit_seconds": commit,
        "targets": [
            {"what": "share outside, after the start", "value": share, "held": share <= SHARE_TARGET},
            {"what": f"seconds to evaluate {EVALUATED}", "value": evaluation, "held": evaluation < EVALUATION_TARGET},
            {"what": "seconds to commit a training", "value": commit, "held": commit < COMMIT_TARGET},
            {"what": "trainings that traced anew", "value": len(traced), "held": not traced},
            {"what": "trainings that compiled anew", "value": len(compiled), "held": not compiled},
        ],
    }


def table(document: dict[str, Any]) -> str:
    """The document as text."""
    lines = [
        f"{'seconds':<36}{'wall':>8}{'train':>8}{'evaluate':>10}{'compile':>9}{'outside':>9}{'share':>8}"
        f"{'traces':>8}{'XLA modules':>13}"
    ]
    for record in document["jobs"]:
        lines.append(
            f"{record['job']:<36}{record['wall']:>8.3f}{record['train']:>8.3f}{record['evaluate']:>10.3f}"
            f"{record['compile']:>9.3f}{record['outside']:>9.3f}{record['outside'] / record['wall']:>8.1%}"
            f"{record['functions']:>8}{record['xla_modules']:>13}"
        )
    lines.append(
        f"\nthe run took {document['run_seconds']:.2f} s, {document['outside_share_with_start']:.1%} of it outside "
        f"with the one-off start; the process {document['process_seconds']:.2f} s"
    )
    for target in document["targets"]:
        lines.append(f"target: {target['what']}: {target['value']:.4g}: {'held' if target['held'] else 'MISSED'}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
