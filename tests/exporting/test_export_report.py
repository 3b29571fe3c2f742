"""The report document, the choice of the best file, and the lightness of the package."""

import json
import subprocess
import sys

from tf_lottery.exporting.export_report import ExportReport


def test_the_document_is_strict_json():
    report = ExportReport(
        files=({"path": "a", "accuracy": float("nan"), "latency_us_median": 1.5},), best="a", notes=("n",)
    )
    document = json.loads(report.dumps())
    assert document["schema"] == "tf-lottery.export/1"
    assert document["files"] == [{"path": "a", "accuracy": None, "latency_us_median": 1.5}]
    assert document["refused"] == []
    assert document["notes"] == ["n"]


def test_importing_the_package_and_the_runner_loads_nothing_heavy():
    code = (
        "import sys, tf_lottery.exporting.tflite.run_tflite, tf_lottery.exporting.checks.checksums\n"
        "print([m for m in ('tensorflow', 'keras', 'ai_edge_litert') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
