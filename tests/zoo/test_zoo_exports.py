"""Published architectures, half of each array pruned, as SavedModels and TFLite files that compute the same."""

from pathlib import Path

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import UnfitError
from zoo.zoo_models import NAMES, arrays, inputs_of, measure_statistics, small_mobilenet, with_fixed_shapes, zoo_model
from zoo.zoo_page import check_cells

SAMPLES = 32
# Why a tiny model is not stored sparse.
NO_GAIN = ("nothing to encode", "would be no smaller", "no weight has so many zeros")


def pruned(plain: keras.Model) -> keras.Model:
    """The wrapped model without the smaller half of each array, with outputs that depend on its inputs."""
    model = tfl.wrap(plain)
    weights, masks = tfl.get_weights(model), tfl.get_masks(model)
    tfl.set_masks(model, tfl.prune(tfl.scores({path: weights[path] for path in masks}), masks, rate=0.5))
    x = inputs_of(model, SAMPLES)
    measure_statistics(model, x)
    for output in arrays(model(x)):
        assert np.abs(output - output[:1]).max() > 0.01 * np.abs(output).max()
    return model


def exported(model: keras.Model, folder: Path, file_format: str) -> str:
    """Export a model, and name the encodings that hold, or the reason for which there is none.

    Args:
        model: a wrapped model.
        folder: where files go.
        file_format: "saved_model" or "tflite".
    """
    report = tfl.export(
        *(model, folder),
        format=["keras", file_format],
        precision="float32",
        encoding=["dense", "sparse"],
        samples=inputs_of(model, SAMPLES),
    )
    files = [file for file in report.files if file["format"] == file_format]
    assert all(file["max_rel_error"] < 1e-3 for file in files)
    for refusal in report.refused:
        assert any(reason in refusal["reason"] for reason in NO_GAIN), refusal
    return ", ".join(file["encoding"] for file in files)


def export_both(plain: keras.Model, folder: Path) -> dict[str, str]:
    """Export a model of half of its weights; returns its cells of the table.

    Args:
        plain: the model.
        folder: where files go.
    """
    model = pruned(plain)
    cells = {"SavedModel": exported(model, folder / "saved", "saved_model")}
    fixed = with_fixed_shapes(model)
    if fixed is model:
        return cells | {"TFLite": exported(model, folder / "tflite", "tflite")}
    with pytest.raises(UnfitError, match="only the batch may be dynamic in a TFLite file"):
        exported(model, folder / "dynamic", "tflite")
    return cells | {"TFLite": f"{exported(fixed, folder / 'fixed', 'tflite')} (fixed shapes)"}


@pytest.mark.slow
def test_a_small_mobilenet_is_exported(tmp_path):
    assert export_both(small_mobilenet(), tmp_path) == {"SavedModel": "dense", "TFLite": "dense, sparse"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", NAMES)
def test_exports(name, tmp_path):
    # Of logits: behind a softmax small errors would not show.
    options = {"classifier_activation": None} if name.startswith("keras.applications.") else {}
    check_cells(name, export_both(zoo_model(name, **options), tmp_path))
