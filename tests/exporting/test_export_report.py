"""The report document, how a report shows itself, the table of formats, and the lightness of the package."""

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


def test_a_report_shows_itself():
    record = {"path": "app/<a>.tflite", "format": "tflite", "precision": "int8", "encoding": "slim", "bytes": 1234}
    record |= {"gzip_bytes": 900, "latency_us_median": 2.25, "snr_db": 41.26, "accuracy": 0.9815}
    refused = {"format": "keras", "precision": "float32", "encoding": "dense", "reason": "too <large>"}
    report = ExportReport(files=(record,), refused=(refused,), best="app/<a>.tflite")
    assert repr(report) == "<ExportReport: 1 file, best 'app/<a>.tflite', 1 refused>"
    page = report._repr_html_()
    cells = "".join(f"<td>{cell}</td>" for cell in ("best", "app/&lt;a&gt;.tflite", "tflite", "int8", "slim"))
    cells += "<td>1,234</td><td>900</td><td>2.2</td><td>41.3 dB</td><td>98.15 %</td>"
    assert f"<tr>{cells}</tr>" in page
    assert page.count("<tr>") == 2
    assert page.endswith("<p>Refused:</p><ul><li>keras (dense): too &lt;large&gt;</li></ul>")
    empty = ExportReport(files=())
    assert repr(empty) == "<ExportReport: 0 files, 0 refused>"
    assert "Refused" not in empty._repr_html_()


def test_the_table_of_formats_and_what_is_wanted_of_each(tmp_path):
    from tf_lottery.exporting.candidate_file import WantedFiles
    from tf_lottery.exporting.file_formats import FORMATS
    from tf_lottery.exporting.publish.best_file import PREFERRED_FORMATS
    from tf_lottery.exporting.publish.export_request import check_request

    assert set(FORMATS) == set(PREFERRED_FORMATS) == {"keras", "onnx", "saved_model", "tflite"}
    request = check_request(
        tmp_path, format="all", precision=["float16", "int8"], encoding=["dense", "slim-sparse"], name="net"
    )
    assert request.wanted("tflite", slim=False) == WantedFiles(False, ("dense",), ("float16", "int8"))
    assert request.wanted("tflite", slim=True) == WantedFiles(True, ("sparse",), ("float16", "int8"))
    assert request.wanted("saved_model", slim=True) == WantedFiles(True, ("sparse",), ("float32",))
    assert request.wanted("keras", slim=True) == WantedFiles(True, (), ("float32",))
    assert request.possible_files() == [
        *("net.keras", "net_slim_sparse.keras", "net_saved_model", "net_slim_sparse_saved_model"),
        *(
            f"net_{precision}_{encoding}{layout}.tflite"
            for encoding in ("dense", "slim_sparse")
            for precision in ("float16", "int8")
            for layout in ("", "_1x4", "_1x16")
        ),
    ]


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, tf_lottery.exporting.tflite.run_tflite, tf_lottery.exporting.checks.checksums\n"
        "print([m for m in ('tensorflow', 'keras', 'ai_edge_litert') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
