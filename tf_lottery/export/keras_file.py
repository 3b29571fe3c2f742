"""The `.keras` writer: a plain Keras file without custom objects of this library, loaded back and compared."""

import json
import zipfile
from pathlib import Path

import keras
import numpy as np

from tf_lottery.export.candidate import Candidate, Refusal
from tf_lottery.export.signature import Signature, keras_outputs
from tf_lottery.export.silence import one_line
from tf_lottery.export.verification import compare

SUFFIX = ".keras"


def write_keras(
    model: keras.Model,
    folder: Path,
    *,
    signature: Signature,
    samples: list[np.ndarray],
    reference: dict[str, np.ndarray],
    labels: list[np.ndarray | None],
) -> list[Candidate | Refusal]:
    """Save `model` in `folder`, load it with `keras.models.load_model`, and compare.

    Args:
        model: a plain, uncompiled model.
        folder: an existing staging folder.
        signature: the model's.
        samples: arrays in the order of the inputs.
        reference: the model's outputs on them, by output name.
        labels: one entry per output.

    Returns:
        One candidate, or one refusal.
    """
    file = folder / f"model{SUFFIX}"
    model.save(file)
    foreign = _needs_this_library(file)
    if foreign:
        return [Refusal("keras", "float32", "dense", f"the file would need {foreign} of this library to load")]
    try:
        loaded = keras.models.load_model(file)
    except (TypeError, ValueError) as error:
        return [
            Refusal("keras", "float32", "dense", f"the file does not load without your own classes: {one_line(error)}")
        ]
    outputs = keras_outputs(loaded, samples, signature)
    comparison = compare(reference, outputs, labels=labels)
    if comparison.failure:
        return [Refusal("keras", "float32", "dense", comparison.failure, mismatch=True)]
    return [Candidate(file, SUFFIX, "keras", "float32", "dense", comparison)]


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
