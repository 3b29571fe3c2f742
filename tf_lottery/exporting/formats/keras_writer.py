"""The `.keras` writer: a plain Keras file without custom objects of this library, loaded back and compared."""

import json
import zipfile
from pathlib import Path

import keras

from tf_lottery.exporting.candidate_file import ALL_FILES, CandidateFile, Refusal, WantedFiles, file_suffix
from tf_lottery.exporting.checks.keras_reference import KerasReference
from tf_lottery.exporting.signature import keras_outputs
from tf_lottery.utils.text import one_line

_SUFFIX = ".keras"


def write_keras(
    model: keras.Model, folder: Path, reference: KerasReference, wanted: WantedFiles = ALL_FILES
) -> list[CandidateFile | Refusal]:
    """Save a model as a `.keras` file, load it with `keras.models.load_model`, and compare; a `file_formats.Writer`.

    Args:
        model: a plain, uncompiled model.
        folder: an existing staging folder.
        reference: what the file is compared with.
        wanted: of the whole or of the slimmed model; a file is dense.

    Returns:
        One candidate, or one refusal.
    """
    encoding = wanted.encoding("dense")
    file = folder / f"model{_SUFFIX}"
    try:
        model.save(file)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # whatever `get_config` of the user's own layers raises
        return [Refusal("keras", "float32", encoding, f"Keras cannot save the model: {_paragraph(error)}")]
    foreign = _needs_this_library(file)
    if foreign:
        return [Refusal("keras", "float32", encoding, f"the file would need {foreign} of this library to load")]
    try:
        loaded = keras.models.load_model(file)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # or `from_config`
        reason = f"the file does not load without your own classes: {one_line(error)}"
        return [Refusal("keras", "float32", encoding, reason)]
    agreement = reference.compare(keras_outputs(loaded, reference.samples, reference.signature))
    if agreement.failure:
        return [Refusal("keras", "float32", encoding, agreement.failure, mismatch=True)]
    suffix = file_suffix("" if encoding == "dense" else encoding) + _SUFFIX
    return [CandidateFile(file, suffix, "keras", "float32", encoding, agreement)]


def _paragraph(error: Exception) -> str:
    """The reason in one line; Keras breaks its sentences on saving into lines of a narrow column."""
    return one_line(" ".join(str(error).strip().split("\n\n")[0].split()) or error)


def _needs_this_library(file: Path) -> str:
    """The classes of this library that a `.keras` file names, separated by commas."""
    with zipfile.ZipFile(file) as archive:
        config = json.loads(archive.read("config.json"))
    class_names: set[str] = set()

    def visit(node: object) -> None:
        if isinstance(node, dict):
            for key in ("module", "registered_name"):
                if str(node.get(key) or "").startswith("tf_lottery"):
                    class_names.add(str(node.get("class_name")))
            for value in node.values():
                visit(value)
        elif isinstance(node, list):
            for value in node:
                visit(value)

    visit(config)
    return ", ".join(sorted(class_names))
