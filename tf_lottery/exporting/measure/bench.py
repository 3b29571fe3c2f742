"""`bench`: size, load time, latency and memory of model files, held against dense float32 and dense int8 in one run."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_lottery.errors import DamagedError, UnfitError, UsageError
from tf_lottery.exporting.checks.checksums import MANIFEST, check_file, gzip_size, read_manifest, size
from tf_lottery.exporting.measure.bench_remarks import findings_by_network, short_names
from tf_lottery.exporting.measure.measuring import ROUNDS, RUNS, Failure, Measurement, kind_of, measure
from tf_lottery.exporting.measure.rulers import PRECISIONS, Network, border_of, identify, make_ruler, networks
from tf_lottery.utils import machine
from tf_lottery.utils.silence import quiet
from tf_lottery.utils.text import one_line

if TYPE_CHECKING:
    import keras

SCHEMA = "tf-lottery.bench/1"
ACCEPTED = "Give .tflite or .keras files, or SavedModel folders."
_H5 = " Save an HDF5 model anew: keras.models.load_model(...).save('model.keras')."


@dataclass(frozen=True)
class Benchmark:
    """The outcome of one benchmark.

    Attributes:
        files: one record per measured file, as in the contract; `network` numbers the networks that they store, and
            `rulers` are those of its network.
        failed: one record `{path, reason, damaged, remedy}` per file that could not be measured.
        rulers: path by precision, if all files are of one network; None where there is no such ruler.
        findings: sentences on what is better than what.
        notes: sentences on how it was measured.
        threads: of the runtimes.
    """

    files: tuple[dict[str, Any], ...]
    failed: tuple[dict[str, Any], ...]
    rulers: dict[str, str | None]
    findings: tuple[str, ...]
    notes: tuple[str, ...]
    threads: int

    def to_json(self) -> dict[str, Any]:
        """The document of the contract."""
        return {
            "schema": SCHEMA,
            "files": list(self.files),
            "failed": list(self.failed),
            "rulers": self.rulers,
            "findings": list(self.findings),
            "notes": list(self.notes),
            "environment": environment(self.threads),
        }

    def raise_failures(self) -> None:
        """Raise for the files that could not be measured.

        Raises:
            DamagedError: one of them is not whole.
            UnfitError: they are whole, and can't be measured.
        """
        if not self.failed:
            return
        worst = max(self.failed, key=lambda record: record["damaged"])
        count = len(self.failed) - 1
        more = f" So could {count} other file{'s' * (count > 1)} not." if count else ""
        cause = f"{worst['path']} could not be measured: {worst['reason'].rstrip('.')}.{more}"
        rest = " The other files were measured." if self.files else ""
        if worst["damaged"]:
            raise DamagedError(cause, f"{worst['remedy'] or 'Export it again, or copy it again.'}{rest}")
        raise UnfitError(cause, f"{worst['remedy'] or 'Export it anew, and run it once with its own runtime.'}{rest}")


def bench(
    paths: Sequence[str | os.PathLike[str]],
    *,
    model: "keras.Model | None" = None,
    threads: int = 1,
    runs: int = RUNS,
    rounds: int = ROUNDS,
) -> Benchmark:
    """Measure model files in turn, together with the dense float32 and dense int8 TFLite file of the same network.

    Inputs are one random sample of a fixed seed.

    Args:
        paths: `.tflite` and `.keras` files, SavedModel folders, or folders that hold such.
        model: a plain model, of which rulers are made that are neither among the files nor beside them.
        threads: of the runtimes.
        runs: timed calls per file, over all rounds.
        rounds: how often each file is measured, each time in a new process.

    Raises:
        UsageError: a path that does not exist, or a folder without models.
        UnfitError: a file of another kind.

    Example:
        `bench(["saved_models"], threads=1).findings`
    """
    for name, value in (("threads", threads), ("runs", runs), ("rounds", rounds)):
        if value < 1:
            raise UsageError(f"`{name}` must be at least 1. Received: {value}.", "Give a positive whole number.")
    files = list(dict.fromkeys(file for path in paths for file in _models(Path(path))))
    if not files:
        raise UsageError("No file to measure was given.", ACCEPTED)
    with tempfile.TemporaryDirectory() as scratch:
        damaged = {file: reason for file in files if (reason := _altered(file))}
        whole = [file for file in files if file not in damaged]
        found = networks(whole)
        notes = _made_rulers(found, model, Path(scratch))
        wanted = list(dict.fromkeys([*whole, *(ruler for network in found for ruler in network.rulers.values())]))
        outcomes = measure(wanted, threads=threads, runs=runs, rounds=rounds)
        measured = {file: outcome for file, outcome in outcomes.items() if isinstance(outcome, Measurement)}
        labels = {file: _label(file, Path(scratch)) for file in measured}
        found = [_measured(network, measured) for network in found]
        found = [network for network in found if network.files]
        records = [
            _record(file, labels, measured, number, network)
            for file in measured
            for number, network in enumerate(found, 1)
            if file in network.files
        ]
    notes = [*_told_apart(found, labels), *([] if model else _missing(found)), *notes]
    failed = [{"path": str(file), "reason": reason, "damaged": True, "remedy": ""} for file, reason in damaged.items()]
    for file, outcome in outcomes.items():
        if isinstance(outcome, Failure):
            said = {"reason": outcome.reason, "damaged": outcome.damaged, "remedy": outcome.remedy}
            failed.append({"path": str(file), **said})
    common = found[0].rulers if len(found) == 1 else {}
    return Benchmark(
        files=tuple(records),
        failed=tuple(failed),
        rulers={precision: labels[common[precision]] if precision in common else None for precision in PRECISIONS},
        findings=tuple(findings_by_network(records)),
        notes=tuple(notes),
        threads=threads,
    )


def environment(threads: int) -> dict[str, Any]:
    """What the figures depend on besides the files: versions, processor, cores, threads."""
    packages = ("tf-lottery", "ai-edge-litert", "tensorflow", "keras")
    return {**machine.describe(packages), "threads": threads}


def _models(path: Path) -> list[Path]:
    if not path.exists():
        raise UsageError(f"There is no file {path}.", ACCEPTED)
    if kind_of(path):
        return [path]
    if not path.is_dir():
        raise UnfitError(f"{path} is not a model.", f"{ACCEPTED}{_H5 if path.suffix in ('.h5', '.hdf5') else ''}")
    found = sorted(child for child in path.iterdir() if kind_of(child))
    if not found:
        raise UsageError(f"The folder {path} holds no model.", "Write some with `tfl.export(...)`.")
    return found


def _altered(file: Path) -> str:
    """What the manifest beside a file says against it; a file that no manifest lists is taken as it is."""
    try:
        listed = read_manifest(file.parent)
        if any(name.split("/", 1)[0] == file.name for name in listed):
            check_file(file)
    except DamagedError as error:
        return f"it is not what {MANIFEST} beside it lists: {error.cause}".rstrip(".")
    return ""


def _made_rulers(found: Sequence[Network], model: "keras.Model | None", scratch: Path) -> list[str]:
    """Make the rulers that are missing, adding them to the networks that have the model's border; returns notes."""
    missing = [precision for precision in PRECISIONS if any(precision not in network.rulers for network in found)]
    notes, made = [], []
    for precision in missing if model is not None else []:
        try:
            with quiet():
                file = make_ruler(model, scratch, precision)
        except (MemoryError, OSError):
            raise
        except Exception as error:  # the converter raises many kinds, each of which means: not this model
            notes.append(f"No dense {precision} file could be made of the model: {one_line(error)}")
            continue
        border = border_of(file)
        fitting = [each for each in found if precision not in each.rulers and each.border in (None, border)]
        for network in fitting:
            network.rulers[precision] = file
            network.files.append(file)
        if fitting:
            made.append(precision)
        else:
            notes.append(f"`model` has other inputs or outputs than the files that lack a {precision} ruler.")
    if "int8" in made:
        notes.append(
            "The dense int8 file was calibrated on random samples: a ruler of size and speed, not of accuracy."
        )
    return notes


def _measured(network: Network, measured: Mapping[Path, Measurement]) -> Network:
    """The network without the files that could not be measured; its rulers are among its files."""
    rulers = {precision: file for precision, file in network.rulers.items() if file in measured}
    files = [file for file in dict.fromkeys([*network.files, *rulers.values()]) if file in measured]
    return Network(files, rulers, network.border)


def _told_apart(found: Sequence[Network], labels: Mapping[Path, str]) -> list[str]:
    if len(found) < 2:
        return []
    names = short_names(list(labels.values()))
    lists = "; ".join(
        f"{number}: {', '.join(names[labels[file]] for file in network.files)}"
        for number, network in enumerate(found, 1)
    )
    return [
        f"The files are of {len(found)} networks, each held against its own dense files: {lists}. They are told apart "
        "by inputs, outputs and sizes of weights; a slimmed file is known by the export.json beside it."
    ]


def _missing(found: Sequence[Network]) -> list[str]:
    notes = []
    for number, network in enumerate(found, 1):
        kinds = " and ".join(precision for precision in PRECISIONS if precision not in network.rulers)
        if kinds:
            of = f" of network {number}" if len(found) > 1 else ""
            notes.append(f"No dense {kinds} TFLite file{of} to compare with: give one, or the network as `model`.")
    return notes


def _label(file: Path, scratch: Path) -> str:
    # What was made for the comparison alone is gone when the report is read.
    return f"(made of the model) {file.name}" if file.is_relative_to(scratch) else str(file)


def _record(
    file: Path,
    labels: Mapping[Path, str],
    measured: Mapping[Path, Measurement],
    number: int,
    network: Network,
) -> dict[str, Any]:
    identity, found, rulers = identify(file), measured[file], network.rulers
    median = found.percentile(50)
    dense = rulers.get("float32")
    return {
        "path": labels[file],
        "format": kind_of(file),
        "precision": identity.precision,
        "encoding": identity.encoding,
        "bytes": size(file),
        "gzip_bytes": gzip_size(file),
        "load_ms": found.load_ms,
        "latency_us_median": median,
        "latency_us_p5": found.percentile(5),
        "latency_us_p95": found.percentile(95),
        "runs": len(found.latency_us),
        "threads": found.threads,
        "peak_memory_mb": found.peak_memory_mb,
        "model_memory_mb": found.model_memory_mb,
        "network": number,
        "ruler": next((precision for precision, ruler in rulers.items() if ruler == file), None),
        "rulers": {precision: labels[rulers[precision]] if precision in rulers else None for precision in PRECISIONS},
        "size_ratio": size(file) / size(dense) if dense else None,
        "latency_ratio": median / measured[dense].percentile(50) if dense else None,
    }
