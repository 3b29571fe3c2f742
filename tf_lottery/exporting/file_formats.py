"""The formats of an export, one table: to add a format, write a writer and add a line to `FORMATS`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import keras

from tf_lottery.exporting.candidate_file import CandidateFile, Refusal, WantedFiles
from tf_lottery.exporting.checks.keras_reference import KerasReference
from tf_lottery.exporting.formats.keras_writer import write_keras
from tf_lottery.exporting.formats.onnx_writer import write_onnx
from tf_lottery.exporting.formats.saved_model_writer import write_saved_model
from tf_lottery.exporting.precision_names import PRECISIONS
from tf_lottery.exporting.tflite.tflite_writer import write_tflite

BASES = ("dense", "sparse")
ENCODINGS = ("dense", "sparse", "slim", "slim-sparse")


class Writer(Protocol):
    """A function that writes a model in one format, loads each file back, and compares its outputs with Keras's."""

    def __call__(
        self, model: keras.Model, folder: Path, reference: KerasReference, wanted: WantedFiles, /
    ) -> list[CandidateFile | Refusal]:
        """Write the files.

        Args:
            model: a plain model.
            folder: an existing staging folder.
            reference: what the files are compared with.
            wanted: which files, of those that the format has.

        Returns:
            A candidate or a refusal for each precision and encoding.
        """


@dataclass(frozen=True)
class FileFormat:
    """What is particular to a format.

    Attributes:
        write: its writer.
        ending: how the names of its files end, e.g. ".tflite".
        bases: its encodings, of `BASES`.
        precisions: its precisions.
        layouts: how sparse weights may be stored, as far as names of files show it.
        named_by_precision: whether names of files show precision and "dense".
        in_all: whether "all" stands for it too; else it is written where it is asked for by name.
    """

    write: Writer
    ending: str
    bases: tuple[str, ...] = BASES
    precisions: tuple[str, ...] = ("float32",)
    layouts: tuple[str, ...] = ("",)
    named_by_precision: bool = False
    in_all: bool = True


FORMATS: dict[str, FileFormat] = {
    "keras": FileFormat(write_keras, ".keras", bases=("dense",)),
    "onnx": FileFormat(write_onnx, ".onnx", bases=("dense",), in_all=False),
    "saved_model": FileFormat(write_saved_model, "_saved_model"),
    "tflite": FileFormat(
        write_tflite, ".tflite", precisions=PRECISIONS, layouts=("", "1x4", "1x16"), named_by_precision=True
    ),
}
