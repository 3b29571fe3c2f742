"""The `.keras` writer: a plain Keras file without custom objects of this library, loaded back and compared."""

import json
import zipfile
from pathlib import Path

import keras

from tf_lottery.exporting.checks.candidate import Candidate, Refusal, encoding_name, file_suffix
from tf_lottery.exporting.checks.trial import Trial
from tf_lottery.exporting.signature import keras_outputs
from tf_lottery.utils.text import one_line

SUFFIX = ".keras"


def write_keras(model: keras.Model, folder: Path, *, trial: Trial, slim: bool = False) -> list[Candidate | Refusal]:
    """Save `model` in `folder`, load it with `keras.models.load_model`, and compare.

    Args:
        model: a plain, uncompiled model.
        folder: an existing staging folder.
        trial: what it is compared on.
        slim: whether it is the slimmed model.

    Returns:
        One candidate, or one refusal.
    """
    encoding = encoding_name("dense", slim=slim)
    file = folder / f"model{SUFFIX}"
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
    comparison = trial.judge(keras_outputs(loaded, trial.samples, trial.signature))
    if comparison.failure:
        return [Refusal("keras", "float32", encoding, comparison.failure, mismatch=True)]
    suffix = file_suffix("" if encoding == "dense" else encoding) + SUFFIX
    return [Candidate(file, suffix, "keras", "float32", encoding, comparison)]


def _paragraph(error: Exception) -> str:
    """The reason in one line; Keras breaks its sentences on saving into lines of a narrow column."""
    return one_line(" ".join(str(error).strip().split("\n\n")[0].split()) or error)


def _needs_this_library(file: Path) -> str:
    with zipfile.ZipFile(file) as archive:
        config = json.loads(archive.read("config.json"))
    found: set[str] = set()

    def visit(node: object) -> None:
        if isinstance(node, dict):
            for key in ("module", "registered_name"):
                if str(node.get(key) or "").startswith("tf_lottery"):
                    found.add(str(node.get("class_name")))
            for value in node.values():
                visit(value)
        elif isinstance(node, list):
            for value in node:
                visit(value)

    visit(config)
    return ", ".join(sorted(found))
