"""Live units of a sparse network: those on a path of surviving weights from input to output."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tf_lottery.layers.kinds import KINDS
from tf_lottery.utils.documents import parse_json

# Behind any other layer, channels can't be followed from masks alone.
FOLLOWED = {"InputLayer"} | {layer.__name__ for layer, kind in KINDS.items() if kind.keeps_units}


def is_chain(architecture: str) -> bool:
    """Return whether a model is one chain of layers whose units can be followed from kernel to kernel.

    Args:
        architecture: the model as JSON, as in `model.json` of a run directory.
    """
    try:
        return _is_chain(parse_json(architecture))
    except (KeyError, TypeError, AttributeError, ValueError):  # no model can be made of it either
        return False


def _is_chain(document: dict[str, Any]) -> bool:
    if "layers" not in document.get("config", {}) or "builds" in document:
        return False  # a class of the user's makes it
    layers = document["config"]["layers"]
    if any(layer["class_name"] not in FOLLOWED for layer in layers):
        return False
    if any(layer["config"].get("groups", 1) != 1 for layer in layers):
        return False
    if any(layer["config"].get("data_format") == "channels_first" for layer in layers):
        return False
    if document["class_name"] == "Sequential":
        return True
    sources = [_sources(layer.get("inbound_nodes", [])) for layer in layers if layer["class_name"] != "InputLayer"]
    flat = [name for names in sources for name in names]
    return all(len(names) == 1 for names in sources) and len(set(flat)) == len(flat)


def _sources(node: Any) -> list[str]:
    """The names of the layers that a serialized call takes its tensors from."""
    if isinstance(node, Mapping):
        if node.get("class_name") == "__keras_tensor__":
            return [str(node["config"]["keras_history"][0])]
        return [name for value in node.values() for name in _sources(value)]
    if isinstance(node, Sequence) and not isinstance(node, str):
        return [name for value in node for name in _sources(value)]
    return []


def unit_connections(mask: np.ndarray) -> np.ndarray:
    """Return which input unit is joined to which output unit by at least one surviving weight.

    Args:
        mask: the mask of a kernel, shape (..., inputs, outputs): of a dense layer, or of a convolution.

    Returns:
        A boolean array of shape (inputs, outputs).
    """
    return np.asarray(mask.reshape(-1, *mask.shape[-2:]).any(axis=0))


def find_live_units(kernels: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return which units of each level of a chain of kernels lie on a path of surviving weights from input to output.

    A unit is live where a live unit feeds it and it feeds a live unit: counting its own surviving weights is not
    enough, since the unit behind them may be dead. A level is the features of the input, the units or channels between
    two kernels, or the outputs. A channel that is flattened before a dense kernel feeds the features f with
    f mod channels == its index; the channel is live where any of them is.

    Args:
        kernels: boolean masks of shape (..., inputs, outputs), from input to output.

    Returns:
        One boolean array per level, one more than there are kernels; each as long as the outputs of the kernel before
        it (the first one: as the inputs of the first kernel).

    Raises:
        ValueError: the inputs of a kernel are no multiple of the outputs of the kernel before it.

    Example:
        >>> first = np.array([[True, True], [False, False]])  # input 1 is not read
        >>> second = np.array([[True], [False]])  # hidden unit 1 feeds nothing
        >>> [level.tolist() for level in find_live_units([first, second])]
        [[True, False], [True, False], [True]]
    """
    joined = [unit_connections(mask) for mask in kernels]
    for before, after in pairwise(joined):
        if after.shape[0] % before.shape[1]:
            raise ValueError(f"{after.shape[0]} inputs can't come from {before.shape[1]} units.")
    forward = [np.ones(joined[0].shape[0], bool)]
    for position, link in enumerate(joined):
        reached = _expanded(forward[-1], link.shape[0]) if position else forward[-1]
        forward.append(link[reached].any(axis=0))
    backward = [np.ones(joined[-1].shape[1], bool)]
    for position in range(len(joined) - 1, -1, -1):
        inputs = np.asarray(joined[position][:, backward[0]].any(axis=1))
        units = joined[position - 1].shape[1] if position else len(inputs)
        backward.insert(0, np.asarray(inputs.reshape(-1, units).any(axis=0)))
    return [a & b for a, b in zip(forward, backward, strict=True)]


def _expanded(units: np.ndarray, features: int) -> np.ndarray:
    """Units as the features that they become where channels are flattened, channels last."""
    return np.tile(units, features // len(units))


def count_live_weights(kernels: Sequence[np.ndarray], live: Sequence[np.ndarray]) -> list[int]:
    """Return how many surviving weights of each kernel join two live units; the others add at most constants.

    Args:
        kernels: boolean masks of shape (..., inputs, outputs), from input to output.
        live: the live units of each level, from `find_live_units`.
    """
    counts = []
    for mask, (before, after) in zip(kernels, pairwise(live), strict=True):
        used = mask[..., _expanded(before, mask.shape[-2]), :][..., after]
        counts.append(int(np.count_nonzero(used)))
    return counts


def count_connected_units(mask: np.ndarray) -> dict[str, int | None]:
    """Return how many inputs a kernel still reads and how many outputs it still feeds; None for a vector.

    Args:
        mask: the mask of a kernel of any layer kind; its last axis is the outputs and the one before it the inputs,
            as in Keras's kernels.

    Example:
        >>> count_connected_units(np.array([[True, True, False], [False, False, False]]))
        {'inputs_read': 1, 'inputs': 2, 'outputs_fed': 2, 'outputs': 3}
    """
    if mask.ndim < 2:
        return dict.fromkeys(("inputs_read", "inputs", "outputs_fed", "outputs"))
    joined = unit_connections(mask)
    return {
        "inputs_read": int(joined.any(axis=1).sum()),
        "inputs": joined.shape[0],
        "outputs_fed": int(joined.any(axis=0).sum()),
        "outputs": joined.shape[1],
    }
