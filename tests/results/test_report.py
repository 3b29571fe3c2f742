"""The report on disk: whole, self-contained, repeatable, and safe with foreign text."""

import csv
import io
import os
import re
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from pyarrow import parquet

from tf_lottery.errors import ResourceError, UnfitError
from tf_lottery.results.report.run_report import write_report

FIGURES = ("accuracy", "early_stop", "learning_curves", "layer_density")
TABLES = ("summary", "jobs", "comparisons")
FILES = {
    "report.html",
    *(f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")),
    *(f"{name}.{kind}" for name in TABLES for kind in ("csv", "parquet")),
}


def make_input(**changes):
    rows, curves, layers = [], [], []
    for index, variant in [(0, "ticket"), (1, "ticket"), (1, "random_reinit")]:
        value = 0.9 if variant == "ticket" else 0.8
        tag = {"replicate": 0, "round": index, "variant": variant}
        rows.append(
            tag
            | {"density": 0.5**index, "weights_kept": 8 >> index, "weights_total": 8, "early_stop_step": 10}
            | {"val_loss": 0.1, "val_accuracy": value, "test_loss": 0.1, "test_accuracy": value}
        )
        curves += [tag | {"step": step, "val_loss": 0.1, "val_accuracy": value * step / 10} for step in (0, 5, 10)]
        layers.append(tag | {"layer": "hidden/kernel", "kept": 8 >> index, "total": 8})
    given = {"rows": rows, "curves": curves, "layers": layers}
    config = {"preset": "digits-mlp", "rate": 0.5, "variants": ["ticket", "random_reinit"]}
    return {**given, "config": config, "environment": {"python": "3.11", "xla": True}, **changes}


class Reader(HTMLParser):
    """Collects tags, and everything that a browser would fetch."""

    def __init__(self):
        super().__init__()
        self.tags, self.fetched, self.cells = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "href", "data", "srcset", "action")]

    def handle_data(self, data):
        self.cells.append(data)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return write_report(**make_input(), folder=tmp_path_factory.mktemp("report") / "deep" / "report")


def test_every_figure_is_there_as_png_and_svg(report):
    assert set(report) == FILES
    folder = report["report.html"].parent
    assert {path.name for path in folder.iterdir()} == {*report, "manifest.json"}, "no temporary file stays"
    for name in FIGURES:
        head = (folder / f"{name}.png").read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        assert min(struct.unpack(">II", head[16:24])) > 400
        assert ElementTree.parse(folder / f"{name}.svg").getroot().tag.endswith("svg")


def test_the_page_needs_nothing_but_itself(report):
    text = report["report.html"].read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert len(reader.fetched) == len(FIGURES)
    assert all(source.startswith("data:image/svg+xml;base64,") for source in reader.fetched)
    assert not {"script", "link", "iframe", "object"} & set(reader.tags)
    assert "@import" not in text
    assert not re.search(r"url\(", text)
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text


def test_the_page_holds_verdict_table_settings_and_versions(report):
    text = report["report.html"].read_text(encoding="utf-8")
    assert "keeps 50.0 % of the weights (round 1): test accuracy 90.0 % against 90.0 % dense" in text
    assert text.index('class="verdict"') < text.index("<figure")
    # Results with their head, configuration, versions; and the answers with theirs: three of the ticket, one of the
    # control, and two of the speed.
    assert text.count("<tr") == 1 + 3 + 3 + 2 + 1 + 6
    assert text.count('<tr class="chosen">') == 1
    assert '<th scope="row">rate</th><td>0.5</td>' in text
    assert "[&#34;ticket&#34;, &#34;random_reinit&#34;]" in text
    assert '<th scope="row">python</th><td>3.11</td>' in text


def test_the_tables_are_files_too(report):
    summary = parquet.read_table(report["summary.parquet"]).to_pylist()
    assert [(line["round"], line["variant"]) for line in summary] == [
        (0, "ticket"),
        (1, "ticket"),
        (1, "random_reinit"),
    ]
    assert summary[2]["test_accuracy_mean"] == 0.8
    assert summary[2]["test_accuracy_low"] is None, "one replicate has no interval"
    jobs = list(csv.DictReader(io.StringIO(report["jobs.csv"].read_text())))
    assert [job["test_accuracy"] for job in jobs] == ["0.9", "0.9", "0.8"]
    rows = list(csv.DictReader(io.StringIO(report["comparisons.csv"].read_text())))
    assert {(row["against"], row["where"], row["outcome"]) for row in rows} == {
        ("dense", "round 1", "not judged"),
        ("random_reinit", "round 1", "not judged"),
    }


def test_the_page_answers_each_question(tmp_path):
    given = make_input()
    given["rows"] = [
        row | {"replicate": replicate, "density": 0.4 if row["round"] else 1.0}
        for replicate in range(3)
        for row in given["rows"]
    ]
    files = write_report(**given, folder=tmp_path)
    text = files["report.html"].read_text(encoding="utf-8")
    assert "<h2>What the run shows</h2>" in text
    question = "Does the ticket beat random reinit?"
    assert f'<tr><th scope="row">{question}</th><td class="answer">beats</td><td>Round 1: beats, +10.00 points' in text
    summary = parquet.read_table(files["summary.parquet"]).to_pylist()
    assert summary[1]["test_accuracy_low"] == summary[1]["test_accuracy_high"] == 0.9


@pytest.mark.parametrize(("rewind", "trained"), [("init", False), ("finetune", True), ("lr:step:5", True)])
def test_tickets_with_a_trained_start_are_not_called_slow(rewind, trained, tmp_path):
    """The page once said of fine-tuned tickets that they learn slower: their steps come after a whole training."""
    given = make_input()
    given["rows"] = [row | {"replicate": index} for index in range(3) for row in given["rows"]]
    given["config"] |= {"rewind": rewind}
    files = write_report(**given, folder=tmp_path)
    text = files["report.html"].read_text(encoding="utf-8")
    assert ("The ticket, and what starts where it does, are left out" in text) is trained
    assert ('<td class="answer">not asked</td>' in text) is trained
    assert ("its early-stop step 10 against 10" in text) is not trained
    rows = csv.DictReader(io.StringIO(files["comparisons.csv"].read_text()))
    assert ("early_stop_step" in {row["column"] for row in rows}) is not trained


def test_equal_input_gives_equal_bytes_in_another_process(report, tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_report import make_input, write_report\n"
        "write_report(**make_input(), folder=sys.argv[2])"
    )
    environment = os.environ | {"PYTHONHASHSEED": "12345", "TZ": "Asia/Tokyo"}
    here = os.path.dirname(__file__)
    subprocess.run([sys.executable, "-c", code, here, str(tmp_path)], check=True, env=environment)
    for name, path in report.items():
        assert (tmp_path / name).read_bytes() == path.read_bytes(), name


def test_foreign_text_is_escaped(tmp_path):
    evil = '<script>alert("x")</script>'
    given = make_input(config={"preset": evil, "model": evil, "nested": {"a": evil}}, environment={evil: evil})
    given["layers"] = [row | {"layer": "$\\bad{ $" + evil} for row in given["layers"]]
    text = write_report(**given, folder=tmp_path)["report.html"].read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_a_second_report_replaces_the_first(tmp_path):
    first = write_report(**make_input(), folder=tmp_path)["report.html"].read_bytes()
    second = write_report(**make_input(environment={"python": "3.12"}), folder=tmp_path)["report.html"].read_bytes()
    assert first != second
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "manifest.json"}


def test_a_run_without_a_dense_round_writes_nothing(tmp_path):
    given = make_input()
    given["rows"] = given["rows"][1:]
    with pytest.raises(UnfitError, match="round 0"):
        write_report(**given, folder=tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_run_of_one_round_without_curves_and_layers(tmp_path):
    given = make_input(curves=[], layers=[])
    given["rows"] = given["rows"][:1]
    text = write_report(**given, folder=tmp_path)["report.html"].read_text(encoding="utf-8")
    assert "there is no ticket yet" in text


def test_a_folder_that_cannot_be_made_is_a_resource_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceError, match="can't be written") as caught:
        write_report(**make_input(), folder=tmp_path / "file" / "report")
    assert "directory" in caught.value.remedy


def test_a_full_disk_keeps_the_old_report_whole(tmp_path):
    write_report(**make_input(), folder=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    # A limit on the size of files makes the kernel refuse the write, as a full disk does.
    code = (
        "import resource, signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_report import make_input, write_report, ResourceError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n    write_report(**make_input(), folder=sys.argv[2])\n"
        "except ResourceError as error:\n    print(error); sys.exit(6)"
    )
    arguments = [sys.executable, "-c", code, os.path.dirname(__file__), str(tmp_path)]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.split(":")[0]) == (6, f"{tmp_path / 'accuracy.png'} can't be written")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_report_loads_no_tensorflow():
    heavy = ("tensorflow", "keras", "matplotlib.pyplot")
    code = f"import sys, tf_lottery.results.report.run_report; print(*{heavy} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == []
