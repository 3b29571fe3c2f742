"""Sentences on the measured files: what is smaller, faster, or no better than it looks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_EQUAL = 0.05  # latencies closer than that, as a fraction, are called equal: two runs of one file differ by as much


def findings_by_network(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """The findings on each network, numbered where there are several."""
    names = short_names([record["path"] for record in records])
    numbers = sorted({record["network"] for record in records})
    return [
        f"Network {number}: {sentence}" if len(numbers) > 1 else sentence
        for number in numbers
        for sentence in findings([record for record in records if record["network"] == number], names)
    ]


def findings(records: Sequence[Mapping[str, Any]], names: Mapping[str, str] | None = None) -> list[str]:
    """Plain sentences on what is smaller, faster, or no better than it looks.

    Args:
        records: of the measured files of one network, as in the contract.
        names: what to call each path; by default the shortest end that tells it from the others.
    """
    names = names or short_names([record["path"] for record in records])
    sentences = []
    rulers = {record["ruler"]: record for record in records if record["ruler"]}
    others = [record for record in records if not record["ruler"]]
    if int8 := rulers.get("int8"):
        smaller = [each for each in others if int8["bytes"] < each["bytes"]]
        faster = [each for each in others if _quicker(int8, each)]
        about = f"The dense int8 file ({int8['bytes']:,} bytes, {int8['latency_us_median']:.1f} us)"
        if smaller:
            sentences.append(f"{about} is smaller than {_names(smaller, names)}.")
        if faster:
            sentences.append(f"{about} is faster than {_names(faster, names)}.")
        if others and not smaller and not faster:
            sentences.append(f"{about} is neither smaller nor faster than any of the others.")
    if dense := rulers.get("float32"):
        zipped = [each for each in others if dense["gzip_bytes"] < each["bytes"]]
        if zipped:
            sentences.append(
                f"gzip alone makes the dense float32 file {dense['gzip_bytes']:,} bytes: smaller than "
                f"{_names(zipped, names)} as it lies on disk. Where a file is only downloaded, compress what you ship."
            )
        same = [each for each in others if _same_runtime(each) and each["size_ratio"] < 1 and not _quicker(each, dense)]
        if same:
            sentences.append(f"Smaller than the dense float32 file, but not faster: {_names(same, names)}.")
    if len(records) > 1:
        smallest = min(records, key=lambda each: each["bytes"])
        fastest = min(records, key=lambda each: each["latency_us_median"])
        sentences.append(f"Smallest: {names[smallest['path']]}, {smallest['bytes']:,} bytes.")
        sentences.append(f"Fastest: {names[fastest['path']]}, {fastest['latency_us_median']:.1f} us.")
    return sentences


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """The shortest end of each path that no other one has.

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


def _quicker(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one["latency_us_median"] < (1 - _EQUAL) * other["latency_us_median"]


def _same_runtime(record: Mapping[str, Any]) -> bool:
    return record["format"] == "tflite"


def _names(records: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> str:
    return ", ".join(names[record["path"]] for record in records)
