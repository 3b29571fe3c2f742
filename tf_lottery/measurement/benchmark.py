"""`bench`: size, load time, latency and memory of model files, held against dense float32 and dense int8 in one run."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_lottery import machine
from tf_lottery.errors import DamagedError, UnfitError, UsageError
from tf_lottery.export.integrity import MANIFEST, check_file, gzip_size, read_manifest, size
from tf_lottery.export.silence import one_line, quiet
from tf_lottery.measurement.measuring import ROUNDS, RUNS, Failure, Measurement, kind_of, measure
from tf_lottery.measurement.rulers import PRECISIONS, find_rulers, identify, make_ruler

if TYPE_CHECKING:
    import keras

SCHEMA = "tf-lottery.bench/1"
_EQUAL = 0.05  # latencies closer than that, as a fraction, are called equal: two runs of one file differ by as much


@dataclass(frozen=True)
class Benchmark:
    """The outcome of one benchmark.

    Attributes:
        files: one record per measured file, as in the contract.
        failed: one record `{path, reason, damaged}` per file that could not be measured.
        rulers: path by precision, None where there is no such ruler.
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
        cause = f"{worst['path']} could not be measured: {worst['reason']}.{more}"
        if worst["damaged"]:
            raise DamagedError(cause, "Export it again, or copy it again; the other files were measured.")
        raise UnfitError(cause, "Export it anew with fixed shapes and one signature; the other files were measured.")


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
        raise UsageError("No file to measure was given.", "Give .tflite or .keras files, or SavedModel folders.")
    with tempfile.TemporaryDirectory() as scratch:
        damaged = {file: reason for file in files if (reason := _altered(file))}
        rulers = find_rulers([file for file in files if file not in damaged])
        notes = _made_rulers(rulers, model, Path(scratch))
        wanted = list(dict.fromkeys([*(file for file in files if file not in damaged), *rulers.values()]))
        outcomes = measure(wanted, threads=threads, runs=runs, rounds=rounds)
        measured = {file: found for file, found in outcomes.items() if isinstance(found, Measurement)}
        rulers = {precision: file for precision, file in rulers.items() if file in measured}
        labels = {file: _label(file, Path(scratch)) for file in measured}
        records = [_record(file, labels[file], found, measured, rulers) for file, found in measured.items()]
    failed = [{"path": str(file), "reason": reason, "damaged": True} for file, reason in damaged.items()]
    for file, found in outcomes.items():
        if isinstance(found, Failure):
            failed.append({"path": str(file), "reason": found.reason, "damaged": found.damaged})
    return Benchmark(
        files=tuple(records),
        failed=tuple(failed),
        rulers={precision: labels[rulers[precision]] if precision in rulers else None for precision in PRECISIONS},
        findings=tuple(findings(records)),
        notes=tuple(notes),
        threads=threads,
    )


def findings(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Plain sentences on what is smaller, faster, or no better than it looks.

    Args:
        records: of the measured files, as in the contract.
    """
    sentences = []
    rulers = {record["ruler"]: record for record in records if record["ruler"]}
    others = [record for record in records if not record["ruler"]]
    if int8 := rulers.get("int8"):
        smaller = [each for each in others if int8["bytes"] < each["bytes"]]
        faster = [each for each in others if _quicker(int8, each)]
        about = f"The dense int8 file ({int8['bytes']:,} bytes, {int8['latency_us_median']:.1f} us)"
        if smaller:
            sentences.append(f"{about} is smaller than {_names(smaller)}.")
        if faster:
            sentences.append(f"{about} is faster than {_names(faster)}.")
        if others and not smaller and not faster:
            sentences.append(f"{about} is neither smaller nor faster than any of the others.")
    if dense := rulers.get("float32"):
        zipped = [each for each in others if dense["gzip_bytes"] < each["bytes"]]
        if zipped:
            sentences.append(
                f"gzip alone makes the dense float32 file {dense['gzip_bytes']:,} bytes: smaller than {_names(zipped)} "
                "as it lies on disk. Where a file is only downloaded, compress what you ship."
            )
        same = [each for each in others if _same_runtime(each) and each["size_ratio"] < 1 and not _quicker(each, dense)]
        if same:
            sentences.append(f"Smaller than the dense float32 file, but not faster: {_names(same)}.")
    if len(records) > 1:
        smallest = min(records, key=lambda each: each["bytes"])
        fastest = min(records, key=lambda each: each["latency_us_median"])
        sentences.append(f"Smallest: {_name(smallest)}, {smallest['bytes']:,} bytes.")
        sentences.append(f"Fastest: {_name(fastest)}, {fastest['latency_us_median']:.1f} us.")
    return sentences


def environment(threads: int) -> dict[str, Any]:
    """What the figures depend on besides the files: versions, processor, cores, threads."""
    packages = ("tf-lottery", "ai-edge-litert", "tensorflow", "keras")
    return {**machine.describe(packages), "threads": threads}


def _models(path: Path) -> list[Path]:
    if not path.exists():
        raise UsageError(f"There is no file {path}.", "Give .tflite or .keras files, or SavedModel folders.")
    if kind_of(path):
        return [path]
    if not path.is_dir():
        raise UnfitError(f"{path} is not a model.", "Give .tflite or .keras files, or SavedModel folders.")
    found = sorted(child for child in path.iterdir() if kind_of(child))
    if not found:
        raise UsageError(f"The folder {path} holds no model.", "Write some with `tf-lottery export`.")
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


def _made_rulers(rulers: dict[str, Path], model: "keras.Model | None", scratch: Path) -> list[str]:
    """Make the rulers that are missing, adding them to `rulers`; returns notes."""
    missing = [precision for precision in PRECISIONS if precision not in rulers]
    if model is None:
        if not missing:
            return []
        kinds = " and ".join(missing)
        return [f"No dense {kinds} TFLite file to compare with: give one, or the network with --model."]
    notes = []
    for precision in missing:
        try:
            with quiet():
                rulers[precision] = make_ruler(model, scratch, precision)
        except (MemoryError, OSError):
            raise
        except Exception as error:  # the converter raises many kinds, each of which means: not this model
            notes.append(f"No dense {precision} file could be made of the model: {one_line(error)}")
    if "int8" in missing and "int8" in rulers:
        notes.append(
            "The dense int8 file was calibrated on random samples: a ruler of size and speed, not of accuracy."
        )
    return notes


def _label(file: Path, scratch: Path) -> str:
    # What was made for the comparison alone is gone when the report is read.
    return f"(made of --model) {file.name}" if file.is_relative_to(scratch) else str(file)


def _record(
    file: Path, label: str, found: Measurement, measured: Mapping[Path, Measurement], rulers: Mapping[str, Path]
) -> dict[str, Any]:
    identity = identify(file)
    median = found.percentile(50)
    dense = rulers.get("float32")
    return {
        "path": label,
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
        "ruler": next((precision for precision, ruler in rulers.items() if ruler == file), None),
        "size_ratio": size(file) / size(dense) if dense else None,
        "latency_ratio": median / measured[dense].percentile(50) if dense else None,
    }


def _quicker(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one["latency_us_median"] < (1 - _EQUAL) * other["latency_us_median"]


def _same_runtime(record: Mapping[str, Any]) -> bool:
    return record["format"] == "tflite"


def _name(record: Mapping[str, Any]) -> str:
    return Path(record["path"]).name


def _names(records: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(_name(record) for record in records)
