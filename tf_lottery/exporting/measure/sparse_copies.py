"""Copies of Keras files that compute by the sparse kernels, to be measured beside the files.

Importing this loads no TensorFlow.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tf_lottery.errors import LotteryError
from tf_lottery.exporting.measure.model_files import model_format
from tf_lottery.exporting.measure.networks import NetworkFiles
from tf_lottery.utils.silence import quiet
from tf_lottery.utils.text import one_line

MOST_KEPT = 0.5
"""A layer of which more is not zero stays dense: it is no faster by the kernels."""


def make_sparse_copy(file: Path, folder: Path) -> tuple[Path | None, str]:
    """Write a copy of a Keras file whose pruned dense layers compute with the weights that are not 0.0.

    A weight of 0.0 adds nothing, so both files give the same outputs, up to the order of sums.

    Args:
        file: a Keras file.
        folder: an existing folder to write to.

    Returns:
        The copy, or None; and why there is none, where the model has layers that are mostly zeros: "" where it has not.
    """
    from tf_lottery.layers import discover, is_wrapped, load_model, set_masks, wrap
    from tf_lottery.layers.sparse import is_sparsified, kernels, sparsify

    try:
        model = load_model(file, compile=False)
        if is_sparsified(model):
            return None, ""
        if is_wrapped(model):
            wrapped = model
        else:
            kept = {path: np.asarray(weight.variable.value) != 0 for path, weight in discover(model).found.items()}
            masks = {path: mask for path, mask in kept.items() if mask.mean() <= MOST_KEPT}
            if not masks:
                return None, ""
            wrapped = wrap(model, include=lambda path, variable: path in masks)
            set_masks(wrapped, masks)
        if not kernels():
            return None, f"there are no kernels: {kernels().reason}"
        copy = folder / f"{file.stem}_{len(list(folder.iterdir()))}.keras"
        sparsify(wrapped).save(copy)
    except LotteryError as error:  # a file that can't be read is reported where it is measured
        return None, one_line(error.cause)
    return copy, ""


def add_sparse_copies(networks: Sequence[NetworkFiles], folder: Path, notes: list[str]) -> dict[Path, Path]:
    """Copy the pruned Keras files of networks, and add each copy to its network, behind its file.

    Args:
        networks: of the files to be measured; they are changed.
        folder: an existing folder to write to.
        notes: takes a sentence on each file of which none could be made.

    Returns:
        The file of which each copy is.
    """
    sources: dict[Path, Path] = {}
    for network in networks:
        for file in [file for file in network.files if model_format(file) == "keras"]:
            with quiet():
                copy, reason = make_sparse_copy(file, folder)
            if copy is not None:
                sources[copy] = file
                network.files.insert(network.files.index(file) + 1, copy)
            elif reason:
                notes.append(f"{file} was not measured by the sparse kernels: {reason.rstrip('.')}.")
    return sources
