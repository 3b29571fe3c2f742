"""Files of weights alone, as `save_weights` writes them for plain and wrapped models."""

import os
import re
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.layers.acceptance import is_wrapped
from tf_lottery.layers.copying import rebuild
from tf_lottery.layers.paths import held_layer
from tf_lottery.layers.subclassed import WrappedModel
from tf_lottery.layers.weight_content import check_weight_file
from tf_lottery.layers.wrapping import apply_masks
from tf_lottery.utils.text import one_line


def load_weights(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Loads the weights of a `.weights.h5` file, of a plain or a wrapped model of the same architecture.

    Masks come from the file if it has some, and stay otherwise; pruned weights stay exactly 0.0. (The method
    `load_weights` of a wrapped Sequential or functional model takes files of wrapped ones only.)

    Args:
        model: A built model, plain or wrapped.
        path: The path of the file.

    Raises:
        UsageError: If there is no such file.
        UnfitError: If the file is of another architecture.

    Example:
        `tfl.load_weights(wrapped, "plain.weights.h5")`
    """
    if not os.path.exists(path):
        raise UsageError(f"There is no file {os.fspath(path)!r}.", "Give the path of a .weights.h5 file.")
    before = [(variable, np.array(variable.numpy())) for variable in model.variables]
    try:
        check_weight_file(Path(path))
        target = model
        if is_wrapped(model) and not isinstance(model, WrappedModel) and not _file_has_masks(path):
            target = rebuild(model, held_layer, share_attributes=True, keep_classes=True)  # the layers, without masks
        target.load_weights(path)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        for variable, value in before:
            variable.assign(value)
        raise UnfitError(
            f"{os.fspath(path)!r} does not fit the model {model.name!r}: {one_line(error)}",
            "Take a file that `save_weights` wrote for a model of the same architecture, plain or wrapped.",
        ) from error
    if is_wrapped(model):
        apply_masks(model)


def _file_has_masks(path: str | os.PathLike[str]) -> bool:
    with h5py.File(path) as file:
        # Keras names what a layer stores by its class.
        return file.visit(lambda name: re.search(r"/(masked|prune_low_magnitude)(_\d+)?$", name)) is not None
