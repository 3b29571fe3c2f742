"""What a run directory holds, but for the timings: equal for equal runs, whatever stopped them in between."""

import csv
import json

TIMINGS = ("seconds", "steps_per_second")


def content(run_dir):
    """Every byte of a run but the timings, by file."""
    actual = {}
    for path in sorted(run_dir.rglob("*")):
        name = str(path.relative_to(run_dir))
        if path.is_dir() or name == ".lock":
            continue
        if path.name == "results.csv":
            with open(path) as file:
                actual[name] = [{k: v for k, v in row.items() if k not in TIMINGS} for row in csv.DictReader(file)]
        elif path.name == "metrics.json":
            document = json.loads(path.read_bytes())
            document.pop("seconds")
            document["row"] = {key: value for key, value in document["row"].items() if key not in TIMINGS}
            actual[name] = document
        elif path.name == "manifest.json":
            document = json.loads(path.read_bytes())
            document["files"].pop("metrics.json", None)
            actual[name] = document
        else:
            actual[name] = path.read_bytes()
    return actual


def assert_same(first, second):
    """Check that two contents have the same files, and each the same content."""
    assert sorted(set(first) ^ set(second)) == []
    assert [name for name in first if first[name] != second[name]] == []
