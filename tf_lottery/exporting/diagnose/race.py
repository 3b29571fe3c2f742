"""The float32 files of a model, timed in turn on this machine, and which of them an export would choose here."""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from tf_lottery.errors import UsageError
from tf_lottery.exporting.candidate_file import encoding_name, file_suffix
from tf_lottery.exporting.diagnose.processor import Processor
from tf_lottery.exporting.pipeline import export
from tf_lottery.exporting.publish.best_file import choose_best
from tf_lottery.exporting.tflite import encoding, litert
from tf_lottery.exporting.tflite.dense_conversion import convert_dense
from tf_lottery.results.statistics.selection import DEFAULT_MAX_DROP
from tf_lottery.utils.silence import quiet
from tf_lottery.utils.text import one_line

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RacedFile:
    """A float32 file and its latency on this machine.

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
    """Return the float32 files that `export` offers: "dense", "rows" (single zeros left out) and "1x4" (blocks).

    Args:
        dense: the converted file, all weights dense.
    """
    rows, row_count, _ = encoding.encode_weights(dense, precision="float32", blocks=False)
    blocks, _, block_count = encoding.encode_weights(dense, precision="float32", blocks=True)
    files = {"dense": dense}
    if block_count and len(blocks) < len(dense):
        files["1x4"] = blocks
    if row_count and len(rows) < len(dense) and (not block_count or len(rows) < len(blocks)):
        files["rows"] = rows
    return files


def name_file(layout: str, layouts: Sequence[str], *, slim: bool = False) -> str:
    """Return the end of a float32 file's name, as an export makes it.

    Args:
        layout: of `float32_files`.
        layouts: all of the same model: where blocks are the only sparse layout, the name does not show it.
        slim: whether the model is the slimmed one.

    Example:
        >>> name_file("1x4", ["dense", "1x4"]), name_file("1x4", ["dense", "1x4", "rows"], slim=True)
        ('_float32_sparse', '_float32_slim_sparse_1x4')
    """
    shown = layout if layout == "1x4" and "rows" in layouts else ""
    return file_suffix("float32", encoding_name("dense" if layout == "dense" else "sparse", slim=slim), shown)


def race(dense: bytes, slim_model: keras.Model | None = None) -> list[RacedFile]:
    """Time the float32 files of a model in turn, as an export does; the one that an export would choose comes first.

    Args:
        dense: the converted file of the whole model.
        slim_model: the slimmed model, if slimming removes anything.

    Returns:
        The files; none, with a warning, where they don't run here or the slimmed model can't be converted.
    """
    try:
        with quiet():
            return _put_best_first(_time(dense, slim_model))
    except (MemoryError, OSError):
        raise
    except Exception as error:  # the converter raises many kinds
        logger.warning("The files could not be timed here: %s", one_line(error))
        return []


def race_export(model: keras.Model, data: Mapping[str, Any], *, max_drop: float = DEFAULT_MAX_DROP) -> list[RacedFile]:
    """Export a model to TFLite in every way, as `export` does; the file that it chooses comes first. Nothing is kept.

    Args:
        model: a plain model.
        data: arguments of `export`: samples, labels, calibration.
        max_drop: the accuracy budget, a fraction.

    Raises:
        LotteryError: the data do not fit the model, or no file can be made of it; see `export`.
    """
    with tempfile.TemporaryDirectory() as folder, quiet():
        report = export(model, folder, format="tflite", **data, max_drop=max_drop)
    records = sorted(report.candidates, key=lambda record: record["path"] != report.best)
    return [
        RacedFile(
            Path(record["path"]).stem.removeprefix("model"),
            record["bytes"],
            record["latency_us_median"],
            record["validation_loss"],
        )
        for record in records
    ]


def _time(dense: bytes, slim_model: keras.Model | None) -> list[RacedFile]:
    with tempfile.TemporaryDirectory() as folder:
        contents = _named(float32_files(dense), slim=False)
        if slim_model is not None:
            contents |= _named(float32_files(convert_dense(slim_model, Path(folder))), slim=True)
        files = [Path(folder) / f"model{name}.tflite" for name in contents]
        for file, content in zip(files, contents.values(), strict=True):
            file.write_bytes(content)
        latencies = litert.time_files(files)
    return [RacedFile(name, len(contents[name]), time) for name, time in zip(contents, latencies, strict=True)]


def _put_best_first(raced: Sequence[RacedFile]) -> list[RacedFile]:
    records = [
        {"format": "tflite", "bytes": file.bytes, "latency_us_median": file.latency_us, "validation_loss": 0.0}
        for file in raced
    ]
    best = raced[choose_best(records)]
    return [best, *(file for file in raced if file is not best)]


def _named(files: Mapping[str, bytes], *, slim: bool) -> dict[str, bytes]:
    return {name_file(layout, list(files), slim=slim): content for layout, content in files.items()}
