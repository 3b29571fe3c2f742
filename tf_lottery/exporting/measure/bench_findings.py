"""Sentences on the measured files: what is smaller, faster, or no better than it looks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

BenchRecord: TypeAlias = Mapping[str, Any]
"""An entry of a benchmark's `files`."""

_EQUAL = 0.05  # latencies closer than that, as a fraction, are called equal: two runs of one file differ by as much


def findings_by_network(records: Sequence[BenchRecord]) -> list[str]:
    """Return the sentences on each network, numbered where there are several."""
    names = short_names([record["path"] for record in records])
    numbers = sorted({record["network"] for record in records})
    return [
        f"Network {number}: {sentence}" if len(numbers) > 1 else sentence
        for number in numbers
        for sentence in findings([record for record in records if record["network"] == number], names)
    ]


def findings(records: Sequence[BenchRecord], names: Mapping[str, str] | None = None) -> list[str]:
    """Return sentences on what is smaller, faster, or no better than it looks.

    Args:
        records: of the measured files of one network.
        names: what to call each path; by default the shortest end that no other path has.
    """
    names = names or short_names([record["path"] for record in records])
    baselines = {record["ruler"]: record for record in records if record["ruler"]}
    others = [record for record in records if not record["ruler"]]
    sentences = []
    if int8 := baselines.get("int8"):
        sentences += _against_int8(int8, others, names)
    if dense := baselines.get("float32"):
        sentences += _against_float32(dense, others, names)
    if len(records) > 1:
        smallest = min(records, key=lambda record: record["bytes"])
        fastest = min(records, key=lambda record: record["latency_us_median"])
        sentences.append(f"Smallest: {names[smallest['path']]}, {smallest['bytes']:,} bytes.")
        sentences.append(f"Fastest: {names[fastest['path']]}, {fastest['latency_us_median']:.1f} us.")
    return sentences


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Return the shortest end of each path that no other one has.

    Example:
        >>> short_names(["x/a/net.tflite", "x/b/net.tflite", "x/b/other.tflite"])
        {'x/a/net.tflite': 'a/net.tflite', 'x/b/net.tflite': 'b/net.tflite', 'x/b/other.tflite': 'other.tflite'}
    """
    parts = {path: Path(path).parts for path in paths}

    def shortest(path: str) -> str:
        own = parts[path]
        for length in range(1, len(own)):
            if not any(other[-length:] == own[-length:] for name, other in parts.items() if name != path):
                return str(Path(*own[-length:]))
        return path

    return {path: shortest(path) for path in paths}


def _against_int8(int8: BenchRecord, others: Sequence[BenchRecord], names: Mapping[str, str]) -> list[str]:
    start = f"The dense int8 file ({int8['bytes']:,} bytes, {int8['latency_us_median']:.1f} us)"
    smaller = [record for record in others if int8["bytes"] < record["bytes"]]
    faster = [record for record in others if _is_faster(int8, record)]
    sentences = []
    if smaller:
        sentences.append(f"{start} is smaller than {_listed(smaller, names)}.")
    if faster:
        sentences.append(f"{start} is faster than {_listed(faster, names)}.")
    if others and not smaller and not faster:
        sentences.append(f"{start} is neither smaller nor faster than any of the others.")
    return sentences


def _against_float32(dense: BenchRecord, others: Sequence[BenchRecord], names: Mapping[str, str]) -> list[str]:
    sentences = []
    larger = [record for record in others if dense["gzip_bytes"] < record["bytes"]]
    if larger:
        sentences.append(
            f"gzip alone makes the dense float32 file {dense['gzip_bytes']:,} bytes: smaller than "
            f"{_listed(larger, names)} as it lies on disk. Where a file is only downloaded, compress what you ship."
        )
    only_smaller = [
        record
        for record in others
        if record["format"] == "tflite" and record["size_ratio"] < 1 and not _is_faster(record, dense)
    ]
    if only_smaller:
        sentences.append(f"Smaller than the dense float32 file, but not faster: {_listed(only_smaller, names)}.")
    return sentences


def _is_faster(one: BenchRecord, other: BenchRecord) -> bool:
    return bool(one["latency_us_median"] < (1 - _EQUAL) * other["latency_us_median"])


def _listed(records: Sequence[BenchRecord], names: Mapping[str, str]) -> str:
    return ", ".join(names[record["path"]] for record in records)
