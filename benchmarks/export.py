"""What an export gains: tickets of LeNet-300-100 on MNIST, unstructured, in blocks and in channels, in every encoding.

    python benchmarks/export.py --runs runs                            finds the tickets first, if they are not there
    python benchmarks/export.py --runs runs --write docs/export.md     puts the tables into the page

Each ticket is exported whole (all formats, precisions and encodings) and compared with Keras on the 10,000 test images.
The latencies of all files are then measured in one command, in turn, each in processes of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outcome import add_options, finish

MAIN, SLIM, WIDE = 0.05, 0.012, 0.2
# Channels of 5 % density have lost much accuracy, and of 1.2 % all of it: they are shown where they still hold, too.
CASES = {"unstructured": (MAIN, SLIM), "1x4": (MAIN, SLIM), "channel": (WIDE, MAIN)}
BEGIN, END = "<!-- tables: written by benchmarks/export.py -->\n", "<!-- end of the tables -->\n"
# A SavedModel's calls take tens of microseconds each, and single processes differ by several percent.
ROUNDS, RUNS = 5, 5000


@dataclass(frozen=True)
class Goal:
    """A figure and the bound that it should keep.

    Attributes:
        name: what is measured.
        value: the figure.
        bound: what it is compared with.
        least: whether the bound is a lower one.
    """

    name: str
    value: float
    bound: float
    least: bool = False

    @property
    def held(self) -> bool:
        """Whether the figure keeps the bound."""
        return self.value >= self.bound if self.least else self.value <= self.bound

    def line(self) -> str:
        """Return the goal as a line of text."""
        sign = ">=" if self.least else "<="
        return f"{'held  ' if self.held else 'MISSED'}  {self.name}: {self.value:.4g} (goal: {sign} {self.bound:g})"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; with `--check` the exit code is 1 where a goal is missed."""
    options = parse(arguments)
    exports = {}
    with tempfile.TemporaryDirectory() as scratch:
        for granularity, densities in CASES.items():
            run = find_run(options, granularity)
            for density in densities:
                print(f"exporting the {granularity} ticket of density {density}", file=sys.stderr)
                exports[granularity, density] = export_ticket(run, density, Path(scratch) / f"{granularity}-{density}")
        print("measuring", file=sys.stderr)
        add_latencies(exports)
        document = summarize(exports)
    tables = render(document)
    print(tables)
    if options.write:
        options.write.write_text(replaced(options.write.read_text(), tables))
    return finish(options, document, held=all(goal["held"] for goal in document["goals"]))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--data-dir", help="folder of prepared data sets or raw files")
    add_options(parser)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables between the marks of a page")
    return parser.parse_args(arguments)


def find_run(options: argparse.Namespace, granularity: str) -> Path:
    """Return the run of the preset, made or completed if need be.

    Args:
        options: those of the command.
        granularity: of the preset.
    """
    command = [sys.executable, "-m", "tf_lottery_cli", "run", f"mnist-fc1-{granularity}", "--out", str(options.runs)]
    command += ["--variants", "ticket", "--quiet", "--json"]
    command += ["--data-dir", options.data_dir] if options.data_dir else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Path(json.loads(done.stdout)["run_dir"])


def export_ticket(run: Path, density: float, folder: Path) -> dict[str, Any]:
    """Export one ticket in every way, compared on the whole test part.

    Args:
        run: the run directory.
        density: of the ticket; the nearest one is taken.
        folder: where the files go.

    Returns:
        The report's document, with the ticket's own figures under "ticket".
    """
    import tf_lottery as tfl
    from tf_lottery.experiment.config import Config
    from tf_lottery.experiment.directory import RunReader
    from tf_lottery.experiment.problem import load_dataset
    from tf_lottery.results.result import open_run

    config = RunReader(run).config()
    number = min(range(len(config.densities)), key=lambda place: abs(config.densities[place] - density))
    dataset = load_dataset(Config.from_json({**config.to_json(), "data_dir": config.data_dir}))
    ticket = open_run(run).ticket(number)
    report = tfl.export(
        ticket,
        folder,
        format="all",
        samples=dataset.test.x,
        labels=dataset.test.y,
        calibration=dataset.train.x[:500],
        name="lenet",
    )
    row = next(row for row in open_run(run).rows if row["round"] == number and row["variant"] == "ticket")
    return report.to_json() | {"ticket": {"round": number, "density": ticket.density, "row": row}}


def add_latencies(exports: Mapping[tuple[str, float], dict[str, Any]]) -> None:
    """Measure every TFLite file in turn, then the SavedModels of the main ticket; `latency_us_median` is replaced."""
    from tf_lottery.exporting.measure.measurement import Measurement, measure

    by_format = {
        "tflite": [record for report in exports.values() for record in report["files"]],
        "saved_model": exports["unstructured", MAIN]["files"],
    }
    records = [record for kind, files in by_format.items() for record in files if record["format"] == kind]
    paths = [Path(record["path"]) for record in records]
    tflite = [path for path in paths if path.suffix == ".tflite"]
    outcomes = measure(tflite, threads=1, runs=RUNS, rounds=ROUNDS)
    outcomes |= measure([path for path in paths if path not in outcomes], threads=1, runs=RUNS, rounds=ROUNDS)
    for record in records:
        outcome = outcomes[Path(record["path"])]
        if not isinstance(outcome, Measurement):
            raise SystemExit(f"{record['path']} could not be measured: {outcome.reason}")
        record["latency_us_median"] = outcome.percentile(50)
        record["latency_us_p5"], record["latency_us_p95"] = outcome.percentile(5), outcome.percentile(95)


def summarize(exports: Mapping[tuple[str, float], dict[str, Any]]) -> dict[str, Any]:
    """The goals and all records."""
    from tf_lottery.utils import machine

    plain, block, slim = exports["unstructured", MAIN], exports["1x4", MAIN], exports["unstructured", SLIM]
    dense = pick(plain, "tflite", "float32", "dense")
    dense_int8 = pick(plain, "tflite", "int8", "dense")
    sparse = pick(plain, "tflite", "float32", "sparse", "rows")
    saved, saved_sparse = (pick(plain, "saved_model", "float32", encoding) for encoding in ("dense", "sparse"))
    int8 = pick(plain, "tflite", "int8", "sparse")
    blocks = pick(block, "tflite", "float32", "sparse", "1x4")
    block_dense = pick(block, "tflite", "float32", "dense")
    whole, thin = (pick(slim, "tflite", "float32", encoding) for encoding in ("dense", "slim"))
    weight_bytes = 4 * plain["keras"]["parameters"]
    goals = [
        Goal("unstructured 95 %: sparse float32 file / dense file", sparse["bytes"] / dense["bytes"], 0.085),
        Goal("unstructured 95 %: sparse SavedModel / dense weights' bytes", saved_sparse["bytes"] / weight_bytes, 0.1),
        Goal("unstructured 95 %: latency of the sparse / of the dense SavedModel", ratio(saved_sparse, saved), 1.1),
        Goal("unstructured 95 %: test predictions of the sparse file equal", sparse["agreement"], 1.0, least=True),
        Goal("unstructured 95 %: of the sparse SavedModel equal", saved_sparse["agreement"], 1.0, least=True),
        Goal("1x4 95 %: latency / dense float32", ratio(blocks, block_dense), 0.4),
        Goal("1x4 95 %: file / dense float32", blocks["bytes"] / block_dense["bytes"], 0.065),
        Goal("1x4 95 %: accuracy points below unstructured", 100 * (sparse["accuracy"] - blocks["accuracy"]), 0.5),
        Goal("int8 unstructured 95 %: file / dense float32", int8["bytes"] / dense["bytes"], 0.065),
        Goal("int8 unstructured 95 %: file / dense int8", int8["bytes"] / dense_int8["bytes"], 0.25),
        Goal("int8 unstructured 95 %: latency / dense float32", ratio(int8, dense), 0.3),
        Goal("int8 unstructured 95 %: test predictions equal", int8["agreement"], 0.99, least=True),
        Goal("1.2 %: dense float32 file / slimmed", whole["bytes"] / thin["bytes"], 2, least=True),
        Goal("1.2 %: dense float32 latency / slimmed", 1 / ratio(thin, whole), 2, least=True),
    ]
    packages = ("tf-lottery", "tensorflow", "keras", "ai-edge-litert")
    return {
        "schema": "tf-lottery.export-benchmark/1",
        "goals": [{**vars(goal), "held": goal.held, "line": goal.line()} for goal in goals],
        "exports": [{"granularity": key[0], "density": key[1], **report} for key, report in exports.items()],
        "environment": machine.describe(packages),
        "load": os.getloadavg()[0],
    }


def pick(report: Mapping[str, Any], format: str, precision: str, encoding: str, layout: str = "") -> dict[str, Any]:
    """Return the record of that kind; of several layouts the first, unless one is named.

    Args:
        report: the document of an export.
        format: of the file.
        precision: of the file.
        encoding: of the file.
        layout: how its sparse weights are stored.
    """
    for record in report["files"]:
        kind = (record["format"], record["precision"], record["encoding"])
        if kind == (format, precision, encoding) and layout in ("", record["layout"]):
            return record
    raise SystemExit(f"There is no {format} {precision} {encoding} {layout} file.")


def ratio(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Return the ratio of the latencies of two records.

    Args:
        one: the numerator.
        other: the denominator.
    """
    return one["latency_us_median"] / other["latency_us_median"]


def render(document: Mapping[str, Any]) -> str:
    """The goals and tables as Markdown."""
    about = document["environment"]
    lines = [
        f"Measured on {about['processor']} ({about['instructions']}), {about['cores']} cores, one thread, Python "
        f"{about['python']}, TensorFlow {about['tensorflow']}, LiteRT {about['ai-edge-litert']}; medians of {RUNS:,} "
        "calls with one image, in turn.",
        "",
        "```text",
        *(goal["line"] for goal in document["goals"]),
        "```",
    ]
    reports = {(report["granularity"], report["density"]): report for report in document["exports"]}
    lines += ["", "Tickets of one ladder side by side, each in the encodings that it gains most from:", ""]
    lines += markdown(_SIDE, [row for report in document["exports"] for row in side_by_side(report)])
    for density in (MAIN, SLIM):
        report = reports["unstructured", density]
        lines += ["", f"Every file of the unstructured ticket of density {density}:", ""]
        lines += markdown(_ALL, [file_row(record, report) for record in report["files"]])
        lines += ["", "Not offered:", "", *(f"- {line}" for line in refusals(report["refused"]))]
    return "\n".join(lines) + "\n"


_SIDE = ("Granularity", "Density", "Test accuracy", "File", "Bytes", "of dense", "Latency", "of dense")
_ALL = (
    "Format",
    "Precision",
    "Encoding",
    "Bytes",
    "of dense",
    "Gzipped",
    "Latency",
    "of dense",
    "Agreement",
    "Accuracy",
)


def side_by_side(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Of one ticket the dense files, the smallest and the fastest float32 ones, and those of any precision."""
    files = [record for record in report["files"] if record["format"] == "tflite"]
    float32 = [record for record in files if record["precision"] == "float32"]
    chosen = {
        "dense": next(record for record in float32 if record["encoding"] == "dense"),
        "smallest float32": min(float32, key=lambda record: record["bytes"]),
        "fastest float32": min(float32, key=lambda record: record["latency_us_median"]),
        "dense int8": next(
            (record for record in files if (record["precision"], record["encoding"]) == ("int8", "dense")), None
        ),
        "smallest": min(files, key=lambda record: record["bytes"]),
        "fastest": min(files, key=lambda record: record["latency_us_median"]),
    }
    rows = []
    for name, record in chosen.items():
        if record is not None:
            _, precision, encoding, size, of_size, _, latency, of_latency, _, accuracy = file_row(record, report)
            kept = f"{100 * report['ticket']['density']:.2f} %"
            label = name if name.startswith("dense") else f"{name}: {precision} {encoding}"
            rows.append((report["granularity"], kept, accuracy, label, size, of_size, latency, of_latency))
    return rows


def file_row(record: Mapping[str, Any], report: Mapping[str, Any]) -> tuple[str, ...]:
    """Return one line of the table of files; ratios are to the dense file of the same format.

    Args:
        record: of the file.
        report: the document of its export.
    """
    dense = pick(report, record["format"], "float32", "dense")
    layout = f" ({record['layout']})" if record["layout"] not in ("", "rows") else ""
    latency = record["latency_us_median"]
    return (
        record["format"],
        record["precision"],
        record["encoding"] + layout,
        f"{record['bytes']:,}",
        f"{record['bytes'] / dense['bytes']:.3f}",
        f"{record['gzip_bytes']:,}",
        "" if latency is None else f"{latency:.1f} us",
        "" if latency is None else f"{latency / dense['latency_us_median']:.2f}",
        f"{100 * record['agreement']:.2f} %",
        f"{100 * record['accuracy']:.2f} %",
    )


def refusals(refused: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line per reason."""
    from tf_lottery.exporting.export_report import ExportReport

    return ExportReport(files=(), refused=tuple(dict(record) for record in refused)).refusals() or ["nothing"]


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table.

    Args:
        headers: one per column.
        rows: cells as text.
    """
    return ["| " + " | ".join(line) + " |" for line in (headers, ["---"] * len(headers), *rows)]


def replaced(page: str, tables: str) -> str:
    """Return a page with other tables between its marks.

    Args:
        page: its text.
        tables: the text between the marks.
    """
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after and END not in page:
        raise SystemExit(f"The page must hold the lines {BEGIN.strip()!r} and {END.strip()!r}.")
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())
