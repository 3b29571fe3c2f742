"""`tf-lottery doctor`: does this installation work here, and what are the zeros of a model worth at run time?"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click import IntRange

from tf_lottery.errors import CheckFailed, LotteryError, UsageError
from tf_lottery.exporting.sources.sample_file import read_sample_file
from tf_lottery.exporting.sources.source_data import load_source_data
from tf_lottery.exporting.sources.source_model import check_kind, open_source_model
from tf_lottery.results.tables.formats import percent

from .command import Command
from .doctor_gpu import print_self_test
from .named_values import parse_input_shape
from .names import RUN
from .output import print_json, print_line, print_table, remark, set_up_logging
from .process import clean_output
from .shared_options import (
    data_dir_option,
    input_shape_option,
    json_option,
    max_drop_option,
    out_option,
    samples_option,
    trust_option,
)

if TYPE_CHECKING:
    from tf_lottery.exporting.diagnose.diagnosis import Diagnosis
    from tf_lottery.exporting.diagnose.runtime_rules import Reason
    from tf_lottery.exporting.input_shapes import InputShape
    from tf_lottery.exporting.sources.source_model import SourceModel

SCHEMA = "tf-lottery.doctor/1"
EXAMPLES = {
    "tf-lottery doctor": "Everything that a run needs.",
    "tf-lottery doctor --json": "For a bug report.",
    "tf-lottery doctor --gpu": "Does training compute right on the GPU, and how fast?",
    "tf-lottery doctor digits-mlp --target micro": "Will it run in TensorFlow Lite Micro, and in how much memory?",
    "tf-lottery doctor digits-mlp": "Will the best ticket of the newest run of that name run sparse? What to change?",
}


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("model", metavar="[RUN|TICKET.npz|MODEL.keras|FILE.tflite]", type=RUN, required=False)
@out_option
@click.option(
    "--round", "round_number", type=IntRange(0), help="Of a run: the round; by default the sparsest good one."
)
@click.option("--replicate", type=IntRange(0), help="Of a run: the replicate; by default the best of the round.")
@max_drop_option
@click.option(
    "--target",
    type=click.Choice(("micro", "android", "ios", "x86")),
    help="Of a model: where it is to run; by default here. micro: TensorFlow Lite Micro.",
)
@click.option("--gpu", is_flag=True, help="Train a small network on the GPU, and check what it computes.")
@click.option("--device", type=click.Choice(("auto", "cpu")), help="Of --gpu: auto is the GPU; cpu, the processor.")
@samples_option
@input_shape_option("at which inputs of free size are judged (default: the samples', else 64)")
@trust_option
@data_dir_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    model: str | None,
    out: Path,
    round_number: int | None,
    replicate: int | None,
    max_drop: float,
    target: str | None,
    gpu: bool,
    device: str | None,
    samples: Path | None,
    input_shape: tuple[str, ...],
    trust: bool,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Check this installation; or say of a model, operation by operation, what its zeros are worth at run time.

    Without a model: versions, devices, XLA, LiteRT, data, disk and rights; exits with 1 if something fails. With one:
    whether each weight runs on a sparse kernel, is only smaller on disk, or keeps a delegate out, why, and what to
    change. A Keras model's float32 files (with --samples, all that an export makes) are timed here, as an export does.
    That is advice: it exits with 0. With --gpu: the device on which training runs is tested; exits with 1 if something
    fails, and with 6 where there is no GPU.
    """
    set_up_logging(context)
    if device is not None and not gpu:
        raise UsageError("--device says on what --gpu runs its checks.", "Give --gpu, or drop it.")
    if model is not None:
        if gpu:
            raise UsageError("--gpu checks a device, not a model.", "Drop it, or the model.")
        if data_dir is not None:
            raise UsageError("--data-dir is for the check of the installation.", "Drop it, or the model.")
        shape = parse_input_shape(input_shape)
        _print_diagnosis(
            _diagnose(model, out, round_number, replicate, max_drop, target, samples, shape, trust), as_json
        )
        return
    if target is not None:
        raise UsageError("--target says where a model is to run.", "Give a model, or drop it.")
    if round_number is not None or replicate is not None:
        raise UsageError("--round and --replicate choose among the tickets of a run.", "Give a run, or drop them.")
    if samples is not None or input_shape:
        what = "--samples are inputs" if samples is not None else "--input-shape gives sizes"
        raise UsageError(f"{what} of a model.", "Give a run or a model, or drop them.")
    if gpu:
        if data_dir is not None:
            raise UsageError("--data-dir is for the check of the installation.", "Drop it, or --gpu.")
        print_self_test(device, as_json)
        return
    with clean_output():
        from tf_lottery.exporting.diagnose.installation import check_installation

        checks = check_installation(out, data_dir)
    if as_json:
        print_json({"schema": SCHEMA, "checks": [asdict(check) for check in checks]})
    else:
        print_table(("Check", "", "Found"), [(check.name, check.status, check.detail) for check in checks])
    failed = [check.name for check in checks if check.status == "fail"]
    if failed:
        raise CheckFailed(
            f"Failed: {', '.join(failed)}.", "Mend what the table says, then run `tf-lottery doctor` again."
        )


def _diagnose(
    source: str,
    out: Path,
    number: int | None,
    replicate: int | None,
    max_drop: float,
    target: str | None,
    samples: Path | None,
    input_shape: "InputShape",
    trust: bool,
) -> "Diagnosis":
    is_file = source.endswith(".tflite")
    if is_file and (number is not None or replicate is not None):
        raise UsageError("--round and --replicate choose among the tickets of a run.", "Drop them, or give a run.")
    if is_file and samples is not None:
        raise UsageError("--samples are for a race of the files of a Keras model.", "Drop them, or give the model.")
    data = None if samples is None else read_sample_file(samples)
    check_kind(source, (".npz", ".keras", ".tflite"))
    with clean_output():
        from tf_lottery.exporting.diagnose.diagnosis import diagnose, diagnose_for_micro
        from tf_lottery.exporting.diagnose.processor import TARGETS, describe_processor

        here = describe_processor()
        processor = TARGETS.get(target or "", here)
        if is_file:
            if target == "micro":
                return diagnose_for_micro(source, input_shape=input_shape)
            return diagnose(source, processor=processor, input_shape=input_shape)
        opened = open_source_model(
            source, out, round_number=number, replicate=replicate, max_drop=max_drop, trust=trust
        )
        for text in opened.remarks:
            remark(text)
        if target == "micro":
            given = (data or {}).get("samples")
            return diagnose_for_micro(opened.model, name=opened.name, input_shape=input_shape, samples=given)
        race, precision = processor == here, None
        if race and data is None and (data := _own_data(opened)) is not None:
            precision = "float32"
        return diagnose(
            opened.model,
            name=opened.name,
            processor=processor,
            race=race,
            data=data,
            precision=precision,
            max_drop=max_drop,
            input_shape=input_shape,
        )


def _own_data(opened: "SourceModel") -> dict[str, Any] | None:
    """The data of a run, which its export has too; None where there are none, or not on this machine."""
    if not opened.config or opened.config.get("dataset") == "user":
        return None
    try:
        return load_source_data(opened).arguments()
    except LotteryError as error:
        remark(f"The files are timed without the run's data, which an export needs: {error.cause}")
        return None


def _print_diagnosis(diagnosis: "Diagnosis", as_json: bool) -> None:
    document = diagnosis.to_json()
    if as_json:
        print_json(document)
        return
    rows: list[tuple[str, ...]] = []
    findings: dict[Reason, list[str]] = {}
    for record, verdict in zip(document["ops"], diagnosis.verdicts, strict=True):
        number = str(record["index"]) if not record["subgraph"] else f"{record['subgraph']}:{record['index']}"
        shape = "x".join(map(str, record["weights_shape"] or ()))
        shares = [_share(record[key]) for key in ("zeros", "blocks_1x4", "blocks_1x16")]
        rows.append((number, record["op"], record["name"], shape, *shares, record["verdict"]))
        for finding in verdict.findings:
            findings.setdefault(finding, []).append(number)
    headers = ("#", "Operation", "Name", "Weights", "Zeros", "1x4", "1x16", "Verdict")
    print_table(headers, rows, right=(True, False, False, False, True, True, True, False))
    if findings:
        print_line()
    for finding, numbers in findings.items():
        change = f" Change: {finding.advice}." if finding.advice else ""
        print_line(f"{', '.join(numbers)}: {finding.reason}.{change}")
    print_line()
    for line in diagnosis.summary:
        print_line(line)


def _share(value: float | None) -> str:
    return "" if value is None else percent(value)
