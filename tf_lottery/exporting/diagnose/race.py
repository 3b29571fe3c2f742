"""The files that an export would publish, timed in turn on this machine, and which of them it would choose here."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from tf_lottery.errors import UsageError
from tf_lottery.exporting.candidate_file import file_suffix
from tf_lottery.exporting.diagnose.processor import Processor
from tf_lottery.exporting.input_shapes import InputShape
from tf_lottery.exporting.pipeline import export
from tf_lottery.exporting.tflite.encoding import encode_weights
from tf_lottery.results.statistics.selection import DEFAULT_MAX_DROP
from tf_lottery.utils.silence import quiet


@dataclass(frozen=True)
class RacedFile:
    """A file of an export and its latency on this machine.

    Attributes:
        name: the end of its name without the ending, e.g. "_float32_sparse_1x4".
        bytes: its size.
        latency_us: median microseconds for one sample.
        loss: what the accuracy budget is compared with, a fraction; 0.0 of float32 files.
    """

    name: str
    bytes: int
    latency_us: float
    loss: float = 0.0


@dataclass(frozen=True)
class Race:
    """The files of an export, and what became of them on this machine.

    Attributes:
        files: the one that the export chose comes first.
        contents: the float32 files of the whole model, by layout, as `float32_files` returns them.
        refusals: what it did not offer, one line for each reason.
    """

    files: tuple[RacedFile, ...] = ()
    contents: Mapping[str, bytes] = field(default_factory=dict)
    refusals: tuple[str, ...] = ()


def check_race(race: bool, processor: Processor, here: Processor, *, data_fit: bool) -> None:
    """Check what a diagnosis is asked to race.

    Args:
        race: whether files are to be timed.
        processor: where the model is to run.
        here: this machine's processor.
        data_fit: whether no data are given, or data for the race of a Keras model.

    Raises:
        UsageError: a race for another processor, or data without a race of a Keras model.
    """
    if race and processor != here:
        raise UsageError(
            f"`race` times files on this machine ({here.name}), not on {processor.name}.",
            "Drop `race`, or `processor`.",
        )
    if not data_fit:
        raise UsageError("`data` are for the race of a Keras model.", "Give a Keras model, and `race=True`.")


def float32_files(dense: bytes) -> dict[str, bytes]:
    """Return the float32 files that `export` offers, without metadata: "dense", "rows" (single zeros left out), "1x4".

    Args:
        dense: the converted file, all weights dense.
    """
    sparse = encode_weights(dense, precision="float32")
    return {"dense": dense} | {layout: content for layout, content in sparse.items() if len(content) < len(dense)}


def name_file(layout: str, layouts: Sequence[str]) -> str:
    """Return the end of a float32 file's name, as an export makes it.

    Args:
        layout: of `float32_files`.
        layouts: all of the same model: where blocks are the only sparse layout, the name does not show it.

    Example:
        >>> name_file("1x4", ["dense", "1x4"]), name_file("1x4", ["dense", "1x4", "rows"])
        ('_float32_sparse', '_float32_sparse_1x4')
    """
    shown = layout if layout == "1x4" and "rows" in layouts else ""
    return file_suffix("float32", "dense" if layout == "dense" else "sparse", shown)


def race_export(
    model: keras.Model,
    data: Mapping[str, Any],
    *,
    name: str = "model",
    precision: str = "all",
    max_drop: float = DEFAULT_MAX_DROP,
    input_shape: InputShape = None,
) -> Race:
    """Export a model to TFLite in every way, as `export` does. Nothing is kept but the contents of float32 files.

    Args:
        model: as of `export`.
        data: arguments of `export`: samples, labels, calibration.
        name: the beginning of the names of files, which they also hold.
        precision: as of `export`.
        max_drop: the accuracy budget, a fraction.
        input_shape: as of `export`.

    Raises:
        LotteryError: the data do not fit the model, or no file can be made of it; see `export`.
    """
    with tempfile.TemporaryDirectory() as folder, quiet():
        report = export(
            *(model, folder),
            format="tflite",
            precision=precision,
            **data,
            max_drop=max_drop,
            input_shape=input_shape,
            name=name,
        )
        contents = {
            record["layout"] or "dense": Path(record["path"]).read_bytes()
            for record in report.candidates
            if record["precision"] == "float32" and "slim" not in record["encoding"]
        }
    records = sorted(report.candidates, key=lambda record: record["path"] != report.best)
    files = (
        RacedFile(
            Path(record["path"]).stem.removeprefix(name),
            record["bytes"],
            record["latency_us_median"],
            record["validation_loss"],
        )
        for record in records
    )
    return Race(tuple(files), contents, tuple(report.refusals()))
