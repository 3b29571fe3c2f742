"""The report document, the choice of the best file, and the lightness of the package."""

import json
import os
import subprocess
import sys

from tf_lottery.exporting.export_report import ExportReport
from tf_lottery.utils.silence import one_line, quiet


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


def test_quiet_silences_file_descriptors_and_puts_them_back():
    code = (
        "import os; from tf_lottery.utils.silence import quiet\n"
        "print('before')\n"
        "with quiet():\n    os.write(1, b'noise'); os.write(2, b'noise'); print('noise')\n"
        "print('after')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("before\nafter\n", "")


def test_quiet_lets_errors_through(capfd):
    try:
        with quiet():
            os.write(1, b"noise")
            raise ZeroDivisionError
    except ZeroDivisionError:
        print("caught")
    assert capfd.readouterr().out == "caught\n"


def test_one_line_finds_the_telling_line():
    assert one_line("first\nsecond") == "first"
    assert one_line("Some trace\n<unknown>:0: error: loc(f(x)): 'tf.Foo' op is bad\nmore") == "'tf.Foo' op is bad"
    assert one_line(ValueError()) == "ValueError"
    assert one_line("x" * 400) == "x" * 297 + "..."
