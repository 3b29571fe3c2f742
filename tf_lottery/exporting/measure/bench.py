"""`bench`: size, load time, latency and memory of model files, beside dense float32 and dense int8 ones."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_lottery.errors import DamagedError, UnfitError, UsageError
from tf_lottery.exporting.checks.checksums import MANIFEST, check_file, gzip_size, read_manifest, size
from tf_lottery.exporting.input_shapes import InputShape, check_sizes, fix_shapes
from tf_lottery.exporting.measure.bench_findings import findings_by_network
from tf_lottery.exporting.measure.bench_notes import note_missing, note_networks, note_sizes
from tf_lottery.exporting.measure.given_sample import first_sample
from tf_lottery.exporting.measure.measurement import ROUNDS, RUNS, Measurement, MeasurementFailure, measure
from tf_lottery.exporting.measure.model_files import BASELINE_PRECISIONS, identify, model_format, models_in
from tf_lottery.exporting.measure.networks import NetworkFiles, interface_of, keep_files, sort_by_network
from tf_lottery.exporting.measure.sparse_copies import add_sparse_copies
from tf_lottery.utils import machine
from tf_lottery.utils.silence import quiet
from tf_lottery.utils.text import one_line

if TYPE_CHECKING:
    import keras

SCHEMA = "tf-lottery.bench/1"
ACCEPTED = "Give .tflite or .keras files, or SavedModel folders."
_H5 = " Save an HDF5 model again: keras.models.load_model(...).save('model.keras')."


@dataclass(frozen=True)
class Benchmark:
    """The outcome of one benchmark.

    Attributes:
        files: one record per measured file; `network` numbers the networks that they store, `rulers` are the paths of
            the dense baselines of its network by precision, and `ruler` is the precision of which it is the baseline.
        failed: one record `{path, reason, damaged, remedy, wrong_argument}` per file that could not be measured.
        baselines: path by precision, if all files are of one network; None where there is no such baseline.
        findings: sentences on what is better than what.
        notes: sentences on how it was measured.
        threads: of the runtimes.
    """

    files: tuple[dict[str, Any], ...]
    failed: tuple[dict[str, Any], ...]
    baselines: dict[str, str | None]
    findings: tuple[str, ...]
    notes: tuple[str, ...]
    threads: int

    def to_json(self) -> dict[str, Any]:
        """Return the document `tf-lottery.bench/1`."""
        return {
            "schema": SCHEMA,
            "files": list(self.files),
            "failed": list(self.failed),
            "rulers": self.baselines,
            "findings": list(self.findings),
            "notes": list(self.notes),
            "environment": environment(self.threads),
        }

    def raise_failures(self) -> None:
        """Raise if a file could not be measured.

        Raises:
            DamagedError: one of them is not whole.
            UsageError: `input_shape` does not fit one of them, or is none that it can compute.
            UnfitError: they are whole, and can't be measured.
        """
        if not self.failed:
            return
        worst = max(self.failed, key=lambda record: (record["damaged"], record["wrong_argument"]))
        count = len(self.failed) - 1
        more = f" So could {count} other file{'s' * (count > 1)} not." if count else ""
        cause = f"{worst['path']} could not be measured: {worst['reason'].rstrip('.')}.{more}"
        rest = " The other files were measured." if self.files else ""
        if worst["damaged"]:
            raise DamagedError(cause, f"{worst['remedy'] or 'Export it again, or copy it again.'}{rest}")
        if worst["wrong_argument"]:
            raise UsageError(cause, f"{worst['remedy']}{rest}")
        raise UnfitError(cause, f"{worst['remedy'] or 'Export it again, and run it once with its own runtime.'}{rest}")


def bench(
    paths: Sequence[str | os.PathLike[str]],
    *,
    model: "keras.Model | None" = None,
    threads: int = 1,
    runs: int = RUNS,
    rounds: int = ROUNDS,
    samples: Any = None,
    calibration: Any = None,
    input_shape: InputShape = None,
) -> Benchmark:
    """Measure model files in turn, together with the dense float32 and dense int8 TFLite file of the same network.

    Inputs are the first of `samples`, or one random sample of a fixed seed. Dimensions of free size get those of
    `samples` or `input_shape`, else 64; the records and notes of the benchmark say which.

    Args:
        paths: `.tflite` and `.keras` files, SavedModel folders, folders that hold such, or folders of those.
        model: a plain model, of which baselines are made that are neither among the files nor beside them.
        threads: of the runtimes.
        runs: timed calls per file, over all rounds.
        rounds: how often each file is measured, each time in a new process.
        samples: real inputs, `(samples, ...)`; for several inputs a dict by name.
        calibration: real inputs, on which the int8 baseline that is made of `model` is calibrated; by default
            `samples`, else random ones.
        input_shape: the shape at which inputs of free size are measured, without the batch, e.g. `(96, 96, 3)`; for
            several inputs a dict by name.

    Raises:
        UsageError: a path that does not exist, a folder without models, or `input_shape` has sizes that are no positive
            whole numbers or do not fit `model`.
        UnfitError: a file of another kind, or samples or calibration that do not fit `model`.

    Example:
        `bench(["saved_models"], threads=1).findings`
    """
    for name, value in (("threads", threads), ("runs", runs), ("rounds", rounds)):
        if value < 1:
            raise UsageError(f"`{name}` must be at least 1. Received: {value}.", "Give a positive whole number.")
    check_sizes(input_shape)
    sample = None if samples is None else first_sample(samples)
    files = list(dict.fromkeys(file for path in paths for file in _models(Path(path))))
    if not files:
        raise UsageError("No file to measure was given.", ACCEPTED)
    with tempfile.TemporaryDirectory() as scratch:
        damaged = {file: reason for file in files if (reason := _alteration(file))}
        whole = [file for file in files if file not in damaged]
        networks = sort_by_network(whole)
        notes = _add_baselines(
            *(networks, model, Path(scratch), samples if calibration is None else calibration), input_shape=input_shape
        )
        baselines = [baseline for network in networks for baseline in network.baselines.values()]
        sources = add_sparse_copies(networks, Path(scratch), notes)
        outcomes = measure(
            list(dict.fromkeys([*whole, *sources, *baselines])),
            threads=threads,
            runs=runs,
            rounds=rounds,
            sample=sample,
            input_shape=input_shape,
        )
        measurements = {file: outcome for file, outcome in outcomes.items() if isinstance(outcome, Measurement)}
        labels = {file: _label(file, Path(scratch), sources) for file in measurements}
        networks = [keep_files(network, measurements) for network in networks]
        networks = [network for network in networks if network.files]
        records = [
            _record(file, labels, measurements, number, network)
            for file in measurements
            for number, network in enumerate(networks, 1)
            if file in network.files
        ]
    notes = [
        *note_networks(networks, labels),
        *([] if model else note_missing(networks)),
        *note_sizes(measurements.values(), sized=sample is not None or input_shape is not None),
        *notes,
    ]
    failures = {file: MeasurementFailure(reason, damaged=True) for file, reason in damaged.items()}
    failures |= {file: outcome for file, outcome in outcomes.items() if isinstance(outcome, MeasurementFailure)}
    return Benchmark(
        files=tuple(records),
        failed=tuple({"path": str(file), **asdict(failure)} for file, failure in failures.items()),
        baselines=_labeled_baselines(networks[0].baselines if len(networks) == 1 else {}, labels),
        findings=tuple(findings_by_network(records)),
        notes=tuple(notes),
        threads=threads,
    )


def environment(threads: int) -> dict[str, Any]:
    """Return what the figures depend on besides the files: versions, processor, cores, threads."""
    packages = ("tf-lottery", "ai-edge-litert", "tensorflow", "keras")
    return {**machine.describe(packages), "threads": threads}


def _models(path: Path) -> list[Path]:
    if not path.exists():
        raise UsageError(f"There is no file {path}.", ACCEPTED)
    if model_format(path):
        return [path]
    if not path.is_dir():
        raise UnfitError(f"{path} is not a model.", f"{ACCEPTED}{_H5 if path.suffix in ('.h5', '.hdf5') else ''}")
    files = models_in(path) or [file for folder in sorted(path.iterdir()) for file in models_in(folder)]
    if not files:
        raise UsageError(f"The folder {path} holds no model.", "Write some with `tfl.export(...)`.")
    return files


def _alteration(file: Path) -> str:
    """How a file differs from the manifest beside it; empty if it does not, or if no manifest lists it."""
    try:
        listed = read_manifest(file.parent)
        if any(name.split("/", 1)[0] == file.name for name in listed):
            check_file(file)
    except DamagedError as error:
        return f"it is not what {MANIFEST} beside it lists: {error.cause}".rstrip(".")
    return ""


def _add_baselines(
    networks: Sequence[NetworkFiles],
    model: "keras.Model | None",
    scratch: Path,
    calibration: Any,
    *,
    input_shape: InputShape,
) -> list[str]:
    """Make the baselines that are missing, and add them to the networks with the model's interface; returns notes."""
    missing = [name for name in BASELINE_PRECISIONS if any(name not in network.baselines for network in networks)]
    if model is None:
        return []
    from tf_lottery.exporting.measure.dense_baselines import check_calibration, make_baseline
    from tf_lottery.exporting.signature import signature_of

    fix_shapes(signature_of(model), input_shape)
    if calibration is not None and missing:
        check_calibration(model, calibration)
    notes, made = [], []
    for precision in missing:
        try:
            with quiet():
                file = make_baseline(
                    *(model, scratch, precision),
                    calibration=calibration if precision == "int8" else None,
                    input_shape=input_shape,
                )
        except (MemoryError, OSError):
            raise
        except Exception as error:  # the converter raises many kinds, each of which means: not this model
            notes.append(f"No dense {precision} file could be made of the model: {one_line(error)}")
            continue
        interface = interface_of(file)
        fitting = [
            network
            for network in networks
            if precision not in network.baselines and network.interface in (None, interface)
        ]
        for network in fitting:
            network.baselines[precision] = file
            network.files.append(file)
        if fitting:
            made.append(precision)
        else:
            notes.append(f"`model` has other inputs or outputs than the files that lack a {precision} baseline.")
    if "int8" in made and calibration is None:
        notes.append(
            "The dense int8 file was calibrated on random samples: a baseline of size and speed, not of accuracy."
        )
    return notes


def _labeled_baselines(baselines: Mapping[str, Path], labels: Mapping[Path, str]) -> dict[str, str | None]:
    return {name: labels[baselines[name]] if name in baselines else None for name in BASELINE_PRECISIONS}


def _label(file: Path, scratch: Path, sources: Mapping[Path, Path]) -> str:
    if file in sources:
        return f"(by the sparse kernels) {sources[file]}"
    # What was made for the comparison alone is gone when the report is read.
    return f"(made of the model) {file.name}" if file.is_relative_to(scratch) else str(file)


def _record(
    file: Path,
    labels: Mapping[Path, str],
    measurements: Mapping[Path, Measurement],
    number: int,
    network: NetworkFiles,
) -> dict[str, Any]:
    identity, measurement, baselines = identify(file), measurements[file], network.baselines
    median = measurement.percentile(50)
    dense = baselines.get("float32")
    return {
        "path": labels[file],
        "format": model_format(file),
        "precision": identity.precision,
        "encoding": identity.encoding,
        "bytes": size(file),
        "gzip_bytes": gzip_size(file),
        "load_ms": measurement.load_ms,
        "latency_us_median": median,
        "latency_us_p5": measurement.percentile(5),
        "latency_us_p95": measurement.percentile(95),
        "runs": len(measurement.latency_us),
        "threads": measurement.threads,
        "peak_memory_mb": measurement.peak_memory_mb,
        "model_memory_mb": measurement.model_memory_mb,
        "input_shapes": {name: list(shape) for name, shape in measurement.input_shapes.items()},
        "network": number,
        "ruler": next((precision for precision, baseline in baselines.items() if baseline == file), None),
        "rulers": _labeled_baselines(baselines, labels),
        "size_ratio": size(file) / size(dense) if dense else None,
        "latency_ratio": median / measurements[dense].percentile(50) if dense else None,
    }
