"""`tf-lottery doctor`: does this installation work here, and what are the zeros of a model worth at run time?"""

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click import IntRange

from tf_lottery.errors import CheckFailed, UnfitError, UsageError
from tf_lottery.results.tables.formats import percent
from tf_lottery.utils.text import one_line

from .command import Command
from .names import RUN
from .output import print_json, print_line, print_table
from .process import clean_output
from .shared_options import max_drop_option, out_option
from .sources import open_source

if TYPE_CHECKING:
    from tf_lottery.exporting.diagnose import Diagnosis
    from tf_lottery.exporting.diagnose.runtime_rules import Finding

SCHEMA = "tf-lottery.doctor/1"
EXAMPLES = {
    "tf-lottery doctor": "Everything that a run needs.",
    "tf-lottery doctor --json": "For a bug report.",
    "tf-lottery doctor digits-mlp": "Will the best ticket of the newest run of that name run sparse? What to change?",
}
HDF5 = (".h5", ".hdf5")
DISK_NEEDED = 1e9
MEMORY_NEEDED = 2e9


@dataclass(frozen=True)
class Check:
    """One line of the diagnosis: "ok", "warn" or "fail"."""

    name: str
    status: str
    detail: str


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("model", metavar="[RUN|TICKET.npz|MODEL.keras|FILE.tflite]", type=RUN, required=False)
@out_option
@click.option(
    "--round", "round_number", type=IntRange(0), help="Of a run: the round; by default the sparsest good one."
)
@click.option("--replicate", type=IntRange(0), help="Of a run: the replicate; by default the best of the round.")
@max_drop_option
@click.option("--data-dir", type=click.Path(), help="Folder of prepared data sets or raw files.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    model: str | None,
    out: Path,
    round_number: int | None,
    replicate: int | None,
    max_drop: float,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Check this installation; or say of a model, operation by operation, what its zeros are worth at run time.

    Without a model: versions, devices, XLA, LiteRT, data, disk and rights; exits with 1 if something fails. With one:
    whether each weight runs on a sparse kernel, is only smaller on disk, or keeps a delegate out, why, and what to
    change. That is advice: it exits with 0.
    """
    if model is not None:
        if data_dir is not None:
            raise UsageError("--data-dir is for the check of the installation.", "Drop it, or the model.")
        _print_diagnosis(_diagnose(model, out, round_number, replicate, max_drop), as_json)
        return
    if round_number is not None or replicate is not None:
        raise UsageError("--round and --replicate choose among the tickets of a run.", "Give a run, or drop them.")
    with clean_output():
        checks = [*_software(), *_machine(), *_storage(out, data_dir)]
    if as_json:
        print_json({"schema": SCHEMA, "checks": [asdict(check) for check in checks]})
    else:
        print_table(("Check", "", "Found"), [(check.name, check.status, check.detail) for check in checks])
    failed = [check.name for check in checks if check.status == "fail"]
    if failed:
        raise CheckFailed(
            f"Failed: {', '.join(failed)}.", "Mend what the table says, then run `tf-lottery doctor` again."
        )


def _diagnose(source: str, out: Path, number: int | None, replicate: int | None, max_drop: float) -> "Diagnosis":
    is_file = source.endswith(".tflite")
    if is_file and (number is not None or replicate is not None):
        raise UsageError("--round and --replicate choose among the tickets of a run.", "Drop them, or give a run.")
    refuse_other_files(source, ".npz, .keras or .tflite")
    with clean_output():
        from tf_lottery.exporting.diagnose import diagnose

        if is_file:
            return diagnose(source)
        opened = open_source(source, out, number=number, replicate=replicate, max_drop=max_drop)
        return diagnose(opened.model, name=opened.name)


def refuse_other_files(source: str, suffixes: str) -> None:
    """Raise for what exists and is neither a run nor a file of those suffixes, or is a model's file by its name.

    Raises:
        UsageError: there is no such file.
        UnfitError: it is of a kind that is not taken here.
    """
    path = Path(source)
    if source.endswith(tuple(suffixes.replace(" or", ",").split(", "))):
        return
    advice = f"Give a run, or a {suffixes} file."
    if (path / "saved_model.pb").is_file():
        raise UnfitError(f"{source} is a SavedModel.", advice)
    if path.is_file():
        hdf5 = path.suffix in HDF5
        anew = " Save an HDF5 model anew: keras.models.load_model(...).save('model.keras')." if hdf5 else ""
        raise UnfitError(f"{source} is a file of another kind.", advice + anew)
    if path.suffix in (*HDF5, ".pb", ".tflite", ".pt", ".pth", ".onnx") and not path.exists():
        raise UsageError(f"There is no file {source}.", advice)


def _print_diagnosis(found: "Diagnosis", as_json: bool) -> None:
    document = found.to_json()
    if as_json:
        print_json(document)
        return
    rows: list[tuple[str, ...]] = []
    findings: dict[Finding, list[str]] = {}
    for record, verdict in zip(document["ops"], found.verdicts, strict=True):
        number = str(record["index"]) if not record["subgraph"] else f"{record['subgraph']}:{record['index']}"
        shape = "x".join(map(str, record["weights_shape"] or ()))
        shares = [_share(record[key]) for key in ("zeros", "blocks_1x4", "blocks_1x16")]
        rows.append((number, record["op"], record["name"], shape, *shares, record["verdict"]))
        for finding in verdict.findings:
            findings.setdefault(finding, []).append(number)
    headers = ("#", "Operation", "Name", "Weights", "Zeros", "1x4", "1x16", "Verdict")
    print_table(headers, rows, right=(True, False, False, False, True, True, True, False))
    if findings:
        click.echo()
    for finding, numbers in findings.items():
        change = f" Change: {finding.advice}." if finding.advice else ""
        print_line(f"{', '.join(numbers)}: {finding.reason}.{change}")
    click.echo()
    for line in found.summary:
        print_line(line)


def _share(value: float | None) -> str:
    return "" if value is None else percent(value)


def _software() -> Iterator[Check]:
    from importlib import metadata

    yield Check("Python", "ok", platform.python_version())
    for package in ("tf-lottery", "tensorflow", "keras", "numpy", "tensorflow-datasets", "ai-edge-litert"):
        yield _attempt(package, lambda package=package: metadata.version(package))  # type: ignore[misc]
    yield _attempt("Keras backend", _backend)
    yield _attempt("XLA", _xla)
    yield _attempt("LiteRT", _litert)


def _machine() -> Iterator[Check]:
    from tf_lottery.experiment.workers.executor import available_cores

    yield Check("Cores", "ok", f"{available_cores()} of {os.cpu_count()} may be used")
    memory = _memory()
    if memory is None:
        yield Check("Memory", "warn", "not known on this system")
    else:
        yield Check("Memory", "ok" if memory >= MEMORY_NEEDED else "warn", f"{memory / 1e9:.1f} GB available")
    yield _attempt("Devices", _devices)
    threads = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS") if name in os.environ}
    yield Check("Threads", "ok", ", ".join(f"{k}={v}" for k, v in threads.items()) or "not limited by the environment")


def _storage(out: Path, data_dir: str | None) -> Iterator[Check]:
    from tf_lottery.data import locations

    folder = locations.base(data_dir) or locations.tfds_default()
    prepared = locations.list_prepared(data_dir)
    if folder.is_dir():
        names = ", ".join(prepared) or "no prepared data set; digits needs none"
        yield Check("Data folder", "ok", f"{folder}: {names}")
    else:
        yield Check("Data folder", "warn", f"{folder} does not exist; digits needs none")
    existing = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    yield _attempt("Runs folder", lambda: _writable(existing, out))
    free = shutil.disk_usage(existing).free
    yield Check("Disk", "ok" if free >= DISK_NEEDED else "warn", f"{free / 1e9:.1f} GB free")


def _attempt(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", check())
    except Exception as error:  # A broken installation may raise anything; the table says what.
        return Check(name, "fail", f"{type(error).__name__}: {one_line(error)}")


def _backend() -> str:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise CheckFailed(f"Keras uses {keras.backend.backend()}: set KERAS_BACKEND=tensorflow.")
    return "tensorflow"


def _xla() -> str:
    import tensorflow as tf

    doubled = tf.function(lambda x: x * 2 + 1, jit_compile=True, autograph=False)(tf.constant([1.0, 2.0]))
    if doubled.numpy().tolist() != [3.0, 5.0]:
        raise CheckFailed(f"XLA computes {doubled.numpy().tolist()} instead of [3.0, 5.0].")
    return "compiles and computes right"


def _litert() -> str:
    """Convert the smallest model and run it as an export does: in a process of its own."""
    import numpy as np
    import tensorflow as tf

    from tf_lottery.exporting.tflite.litert import run_file
    from tf_lottery.utils.silence import quiet

    @tf.function(autograph=False, input_signature=[tf.TensorSpec((1, 2), tf.float32, name="x")])
    def double(x: "tf.Tensor") -> "dict[str, tf.Tensor]":
        return {"y": x * 2.0}

    with tempfile.TemporaryDirectory() as folder, quiet():
        module = tf.Module()
        module.double = double
        tf.saved_model.save(module, f"{folder}/model", signatures=double)
        content = tf.lite.TFLiteConverter.from_saved_model(f"{folder}/model").convert()
        file = Path(folder) / "double.tflite"
        file.write_bytes(content)
        outputs = run_file(file, {"x": np.array([[1.0, 2.0]], np.float32)}, scratch=Path(folder), timeout=60).outputs
    if outputs["y"].ravel().tolist() != [2.0, 4.0]:
        raise CheckFailed(f"LiteRT computes {outputs['y'].tolist()} instead of [[2.0, 4.0]].")
    return "converts, loads and computes right"


def _devices() -> str:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return ", ".join(["CPU", *(gpu.name.rsplit(":", 2)[-2] + gpu.name.rsplit(":", 1)[-1] for gpu in gpus)])


def _writable(existing: Path, out: Path) -> str:
    with tempfile.NamedTemporaryFile(dir=existing, prefix=".tf-lottery-doctor-"):
        return f"{out} can be written"


def _memory() -> float | None:
    try:
        with open("/proc/meminfo") as lines:
            found = next(line for line in lines if line.startswith("MemAvailable"))
        return int(found.split()[1]) * 1024.0
    except (OSError, StopIteration, ValueError):
        return None
