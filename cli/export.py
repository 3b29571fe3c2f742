"""`tf-lottery export`: a ticket becomes files that are proven to compute the same."""

from collections.abc import Sequence
from pathlib import Path

import click
from click import IntRange

from tf_lottery.experiment.options import NORMALIZATIONS
from tf_lottery.exporting.export_report import FileRecord
from tf_lottery.exporting.output_kinds import TASKS
from tf_lottery.exporting.precision_names import BY_QUANTIZER, IN_ALL, PRECISIONS
from tf_lottery.exporting.publish.best_file import GOALS
from tf_lottery.exporting.publish.requested_formats import narrow_formats
from tf_lottery.exporting.sources.source_data import load_source_data
from tf_lottery.exporting.sources.source_model import open_source_model
from tf_lottery.results.tables.formats import decibels_text, percent

from .command import Command, CommandOption, ListOf
from .named_values import class_names_argument, parse_input_shape, parse_task
from .names import DATASET, RUN
from .output import print_json, print_line, print_path, print_table, remark, set_up_logging
from .process import clean_output
from .shared_options import (
    count_or_samples_option,
    data_dir_option,
    input_shape_option,
    json_option,
    max_drop_option,
    out_option,
    trust_option,
)

EXAMPLES = {
    "tf-lottery export digits-mlp": "The best ticket of the newest run of that name, as its best TFLite file.",
    "tf-lottery export digits-mlp --best size --to smallest": "The smallest file within the accuracy budget.",
    "tf-lottery export digits-mlp --target micro --to firmware": "The smallest file for a microcontroller.",
    "tf-lottery export digits-mlp --round 1 --formats tflite,keras --to app --json": "Every file of chosen formats.",
}

# Options that the arguments of `tfl.export` have under another name.
ARGUMENTS = {
    "calibration": "dataset",
    "format": "formats",
    "labels": "dataset",
    "multiple": "round_channels",
    "path": "to",
    "validation": "dataset",
}
# Where a model's accuracy is near chance.
_REMEDIES = {
    "data": "Scale the data as in its training (--normalization none, unit or standard), and check that --dataset is "
    "what it was trained on.",
    "run": "Choose another --round, or train longer.",
}


def _formats() -> Sequence[str]:
    from tf_lottery.exporting.file_formats import FORMATS

    return ("all", *FORMATS)


def _encodings() -> Sequence[str]:
    from tf_lottery.exporting.file_formats import ENCODINGS

    return ("all", *ENCODINGS)


@click.command(cls=Command, examples=EXAMPLES, arguments=ARGUMENTS)
@click.argument("source", metavar="RUN|TICKET.npz|MODEL.keras", type=RUN)
@out_option
@click.option("--round", "round_number", type=IntRange(0), help="The round; by default the sparsest good one.")
@click.option("--replicate", type=IntRange(0), help="The replicate; by default the best of the round.")
@click.option(
    "--to", type=click.Path(path_type=Path), default="saved_models", show_default=True, help="Folder, or a file name."
)
@click.option(
    "--formats",
    type=ListOf("formats", completions=_formats),
    help="Write every file of: all (of keras,saved_model,tflite), or some of these and onnx.",
)
@click.option(
    "--precision",
    type=ListOf("precisions", completions=lambda: ("all", *PRECISIONS)),
    default=("all",),
    help=f"Only TFLite of: {','.join(IN_ALL)}; or int16x8; or {','.join(BY_QUANTIZER)}, by the extra quantizer.",
)
@click.option(
    "--encoding",
    type=ListOf("encodings", completions=_encodings),
    default=("all",),
    help="dense,sparse,slim,slim-sparse.",
)
@click.option(
    "--best",
    type=click.Choice(GOALS),
    default="balanced",
    show_default=True,
    help="What the best file is to be; download: small after gzip.",
)
@max_drop_option
@click.option(
    "--task",
    type=ListOf("tasks", completions=lambda: TASKS),
    help="What the outputs hold: classification, binary, regression, image; or OUTPUT=TASK,... "
    "By default found out from loss, labels and last activation.",
)
@click.option(
    "--io", type=click.Choice(("float32", "int8")), help="What int8 files take and give: float32 by default, or int8."
)
@click.option(
    "--target", type=click.Choice(("micro",)), help="Only what TensorFlow Lite Micro runs, with a C++ array beside it."
)
@click.option("--batch", type=IntRange(1), default=1, help="How many samples a TFLite file takes at a time.")
@input_shape_option("that an input of dynamic shape gets in TFLite files")
@click.option(
    "--class-names",
    multiple=True,
    metavar="FILE.txt",
    help="Names of the classes, one a line, for TFLite files; by default the data set's; of several outputs NAME=FILE.",
)
@click.option("--round-channels", type=IntRange(1), default=1, help="Slim to multiples of so many channels, e.g. 16.")
@click.option("--dataset", type=DATASET, help="Data to compare on, for a model.")
@click.option(
    "--normalization",
    cls=CommandOption,
    aliases=["--normalisation"],
    type=click.Choice(NORMALIZATIONS),
    help="How --dataset is scaled, as the model was trained: unit ([0, 1]) by default; none for raw values.",
)
@data_dir_option
@count_or_samples_option
@trust_option
@click.option("--force", is_flag=True, help="Replace files that exist.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    source: str,
    out: Path,
    round_number: int | None,
    replicate: int | None,
    to: Path,
    formats: tuple[str, ...] | None,
    precision: tuple[str, ...],
    encoding: tuple[str, ...],
    best: str,
    max_drop: float,
    task: tuple[str, ...] | None,
    io: str | None,
    target: str | None,
    batch: int,
    input_shape: tuple[str, ...],
    class_names: tuple[str, ...],
    round_channels: int,
    dataset: str | None,
    normalization: str | None,
    data_dir: str | None,
    samples: int | Path,
    trust: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write a ticket as files, each loaded again and compared with the Keras model.

    The source is a run (a path, a name below --out, or the beginning of one), a ticket's file, or a Keras model with
    zeros. Every format, precision and encoding is made and verified; without --formats the best of them alone is
    written, with a manifest of SHA-256 sums and a model card. A file that answers otherwise than Keras is never left.
    """
    set_up_logging(context)
    wanted = narrow_formats(formats or (), precision, tflite=io == "int8" or target is not None)
    tasks, shape = parse_task(task), parse_input_shape(input_shape)
    with clean_output():
        from tf_lottery.exporting import export

        opened = open_source_model(
            source, out, round_number=round_number, replicate=replicate, max_drop=max_drop, trust=trust
        )
        own_data = {"file": samples} if isinstance(samples, Path) else {"count": samples}
        real = load_source_data(opened, dataset, data_dir=data_dir, normalization=normalization, **own_data)
        for text in (*opened.remarks, *real.remarks):
            remark(text)
        names = class_names_argument(class_names)
        report = export(
            opened.model,
            to,
            format=wanted,
            precision="all" if precision == ("all",) else list(precision),
            encoding="all" if "all" in encoding else list(encoding),
            **(real.arguments() | names),
            task=tasks,
            best=best,
            max_drop=max_drop,
            only_best=not formats,
            multiple=round_channels,
            io=io,
            target=target,
            batch=batch,
            input_shape=shape,
            force=force,
            name=opened.name,
            source=opened.origin | ({"data": real.data} if real.data else {}),
        )
    doubt = real.near_chance(report.keras["validation_accuracy"])
    if doubt:
        remark(f"warning: {doubt} {_REMEDIES['data' if dataset else 'run']}")
    if as_json:
        print_json(report.to_json())
        return
    rows = [
        (
            "*" if record["path"] == report.best else "",
            record["format"],
            record["precision"],
            record["encoding"] + (f" ({record['layout']})" if record["layout"] not in ("", "rows") else ""),
            f"{record['bytes']:,}",
            f"{record['gzip_bytes']:,}",
            "" if record["latency_us_median"] is None else f"{record['latency_us_median']:.1f}",
            f"{record['max_rel_error']:.1e}",
            decibels_text(record["snr_db"]),
            "" if record["agreement"] is None else percent(record["agreement"], digits=2),
            "" if record["accuracy"] is None else percent(record["accuracy"], digits=2),
        )
        for record in report.candidates
    ]
    headers = (
        "",
        "Format",
        "Precision",
        "Encoding",
        "Bytes",
        "Gzipped",
        "Latency (us)",
        "Error",
        "SNR",
        "Agreement",
        "Accuracy",
    )
    print_table(headers, rows, right=(False, False, False, False, *[True] * 7))
    own, validated = report.keras["accuracy"], report.keras["validation_accuracy"]
    if own is not None:
        beside = "" if validated is None else f" ({percent(validated, digits=2)} of the validation samples)"
        print_line(f"Accuracy of the Keras model itself: {percent(own, digits=2)}{beside}")
    for entry in report.outputs:
        print_line(
            f"Output {entry['output']}: {entry['kind']} (known by {entry['known_by']}), judged by {entry['measure']}"
        )
    for line in _micro_lines(report.candidates):
        print_line(line)
    print_path(str(report.best), label="Best: ")
    kind = "random samples" if report.samples == "random" else "real samples"
    right = "" if own is None else f"; its own accuracy is {percent(own, digits=2)}"
    remark(f"Every file was loaded again and compared with the Keras model on {report.sample_count:,} {kind}{right}.")
    if not formats:
        remark("Only the best file was written, with its model card; --formats all writes every one.")
    for note in (*report.findings, *report.notes):
        remark(note)
    for line in report.refusals():
        remark(f"Refused: {line}")


def _micro_lines(records: Sequence[FileRecord]) -> list[str]:
    """What a microcontroller needs beside the file."""
    return [
        f"Tensor arena of the {record['encoding']} file: about {record['arena_bytes']:,} bytes (an estimate)"
        for record in records
        if record["arena_bytes"] is not None
    ]
