"""The export benchmark's figures, bounds and tables, on records small enough to check by hand."""

import importlib.util
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "export.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("export_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["export_benchmark"] = module
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FILE.parent))
        spec.loader.exec_module(module)
    yield module
    del sys.modules["export_benchmark"]


def record(format, precision, encoding, bytes, latency, *, layout="", accuracy=0.98, agreement=1.0):
    return {
        **{"format": format, "precision": precision, "encoding": encoding, "layout": layout, "bytes": bytes},
        **{"gzip_bytes": bytes // 2, "latency_us_median": latency, "accuracy": accuracy, "agreement": agreement},
    }


def report(*, sparse_latency=20.0, block_accuracy=0.979):
    files = [
        record("keras", "float32", "dense", 1100, None),
        record("saved_model", "float32", "dense", 1200, 100.0),
        record("saved_model", "float32", "sparse", 90, 105.0),
        record("tflite", "float32", "dense", 1000, 20.0),
        record("tflite", "float32", "sparse", 60, 5.0, layout="1x4", accuracy=block_accuracy),
        record("tflite", "float32", "sparse", 80, sparse_latency, layout="rows"),
        record("tflite", "float32", "slim", 400, 8.0),
        record("tflite", "int8", "dense", 250, 2.0, agreement=0.999),
        record("tflite", "int8", "sparse", 50, 2.0, layout="rows", agreement=0.999),
    ]
    return {
        "files": files,
        "refused": [{"format": "tflite", "precision": "dynamic", "encoding": "sparse", "reason": "r"}],
        "keras": {"parameters": 250},
        "ticket": {"density": 0.05, "round": 4},
    }


def all_reports(benchmark, **changes):
    return {(kind, density): report(**changes) for kind, densities in benchmark.CASES.items() for density in densities}


def test_figures_by_hand(benchmark):
    goals = {goal["name"]: goal for goal in benchmark.summarize(all_reports(benchmark))["goals"]}
    value = {name: goal["value"] for name, goal in goals.items()}
    assert value["unstructured 95 %: sparse float32 file / dense file"] == 0.08
    assert value["unstructured 95 %: sparse SavedModel / dense weights' bytes"] == 0.09  # 90 of 4 * 250
    assert value["unstructured 95 %: latency of the sparse / of the dense SavedModel"] == 1.05
    assert value["1x4 95 %: latency / dense float32"] == 0.25
    assert value["1x4 95 %: accuracy points below unstructured"] == pytest.approx(0.1)
    assert value["int8 unstructured 95 %: file / dense int8"] == 0.2
    assert value["1.2 %: dense float32 file / slimmed"] == 2.5
    assert value["1.2 %: dense float32 latency / slimmed"] == 2.5
    assert all(goal["held"] for goal in goals.values())


def test_a_missed_goal_is_told(benchmark):
    document = benchmark.summarize(all_reports(benchmark, block_accuracy=0.97))
    missed = [goal["line"] for goal in document["goals"] if not goal["held"]]
    assert missed == ["MISSED  1x4 95 %: accuracy points below unstructured: 1 (goal: <= 0.5)"]
    assert not benchmark.Goal("x", 1.9, 2, least=True).held
    assert benchmark.Goal("x", 2.0, 2, least=True).held


def test_tables_and_their_place_in_a_page(benchmark):
    document = benchmark.summarize(all_reports(benchmark))
    text = benchmark.render(document)
    assert "| tflite | float32 | sparse (1x4) | 60 | 0.060 | 30 | 5.0 us | 0.25 | 100.00 % | 97.90 % |" in text
    assert "| 1x4 | 5.00 % | 97.90 % | smallest float32: float32 sparse (1x4) | 60 | 0.060 | 5.0 us | 0.25 |" in text
    assert "- tflite dynamic (sparse): r" in text
    page = f"before\n{benchmark.BEGIN}old\n{benchmark.END}after\n"
    assert benchmark.replaced(page, "new") == f"before\n{benchmark.BEGIN}\nnew\n{benchmark.END}after\n"
    with pytest.raises(SystemExit, match="must hold the lines"):
        benchmark.replaced("no marks", "new")
