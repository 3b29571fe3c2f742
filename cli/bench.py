"""`tf-lottery bench`: size, load time, latency and memory of model files, side by side."""

from pathlib import Path
from typing import Any

import click
from click import IntRange

from tf_lottery.exporting.sources.sample_file import read_sample_file
from tf_lottery.exporting.sources.source_model import open_dense_network

from .command import Command
from .names import RUN
from .output import print_json, print_line, print_table, remark, set_up_logging
from .process import clean_output
from .shared_options import (
    input_shape_option,
    json_option,
    out_option,
    read_input_shape,
    samples_option,
    trust_option,
)

EXAMPLES = {
    "tf-lottery bench saved_models --runs 300": "What `tf-lottery export` wrote there.",
    "tf-lottery bench saved_models --model digits-mlp --json": "Against dense float32 and int8 of a run's network.",
}
HEADERS = (
    *("File", "Precision", "Encoding", "Bytes", "Size ratio", "Gzipped", "Load (ms)"),
    *("Latency (us)", "p5 to p95", "Latency ratio", "Memory (MB)", "Model's own"),
)


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", metavar="RUN|TICKET.npz|MODEL.keras", type=RUN, help="Network to make baselines of.")
@out_option
@click.option("--threads", type=IntRange(1), default=1, show_default=True, help="Threads of the runtimes.")
@click.option("--runs", type=IntRange(1), default=1500, show_default=True, help="Timed calls per file.")
@samples_option
@input_shape_option("at which inputs of free size are measured (default: the samples', else 64)")
@trust_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    files: tuple[Path, ...],
    model: str | None,
    out: Path,
    threads: int,
    runs: int,
    samples: Path | None,
    input_shape: tuple[str, ...],
    trust: bool,
    as_json: bool,
) -> None:
    """Measure .tflite and .keras files and SavedModel folders, or all in a folder: size, load time, latency, memory.

    The baselines are the dense float32 and the dense int8 TFLite file: among the files, beside them as an export left
    them, or made of --model. Files of several networks have baselines of their own. Ratios are to dense float32; the
    best of a column, among the files of a network, is marked with *. Each file is measured in three rounds, in turn,
    in processes of its own, on the first of the samples, or on a random one.
    """
    set_up_logging(context)
    shape = read_input_shape(input_shape)
    from tf_lottery.exporting.measure.bench import bench

    with clean_output():
        arrays = {} if samples is None else read_sample_file(samples)
        data = {name: arrays[name] for name in ("samples", "calibration") if name in arrays}
        network = None if model is None else open_dense_network(model, out, trust=trust)
        benchmark = bench(files, model=network, threads=threads, runs=runs, input_shape=shape, **data)
    if as_json:
        print_json(benchmark.to_json())
    elif benchmark.files:
        _print(benchmark.files)
        for sentence in benchmark.findings:
            print_line(sentence)
    for note in benchmark.notes:
        remark(note)
    for record in benchmark.failed[1:]:
        remark(f"not measured: {record['path']}: {record['reason']}")
    benchmark.raise_failures()


def _print(records: tuple[dict[str, Any], ...]) -> None:
    def marked(record: dict[str, Any], key: str, text: str) -> str:
        rivals = [rival[key] for rival in records if rival["network"] == record["network"]]
        return f"{text} *" if len(rivals) > 1 and record[key] == min(rivals) else text

    rows = [
        (
            record["path"],
            record["precision"] or "",
            (record["encoding"] or "") + (" (baseline)" if record["ruler"] else ""),
            marked(record, "bytes", f"{record['bytes']:,}"),
            _ratio(record["size_ratio"]),
            marked(record, "gzip_bytes", f"{record['gzip_bytes']:,}"),
            f"{record['load_ms']:.1f}",
            marked(record, "latency_us_median", f"{record['latency_us_median']:.1f}"),
            f"{record['latency_us_p5']:.1f} to {record['latency_us_p95']:.1f}",
            _ratio(record["latency_ratio"]),
            f"{record['peak_memory_mb']:.1f}",
            f"{record['model_memory_mb']:.1f}",
        )
        for record in records
    ]
    print_table(HEADERS, rows, right=(*[False] * 3, *[True] * 9))


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
