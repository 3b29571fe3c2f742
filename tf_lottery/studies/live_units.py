"""Units that a sparse network still uses: those on a path of surviving weights from input to output. NumPy only."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Layers that pass each channel on to itself; behind any other one, channels can't be followed from masks alone.
FOLLOWED = frozenset(
    {
        *("InputLayer", "Dense", "Conv1D", "Conv2D", "Conv3D", "Flatten", "Activation", "ReLU", "LeakyReLU", "ELU"),
        *("Softmax", "Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianNoise", "BatchNormalization"),
        *("Rescaling", "Identity", "MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D"),
        *("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D"),
        *("ZeroPadding1D", "ZeroPadding2D"),
    }
)


def is_chain(architecture: str) -> bool:
    """Whether a model is one chain of layers whose units can be followed from kernel to kernel.

    Args:
        architecture: the model as JSON, as in `model.json` of a run directory.
    """
    document = json.loads(architecture)
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
    flat = [source for found in sources for source in found]
    return all(len(found) == 1 for found in sources) and len(set(flat)) == len(flat)


def _sources(node: Any) -> list[str]:
    """The layers that a serialized call takes its tensors from."""
    if isinstance(node, Mapping):
        if node.get("class_name") == "__keras_tensor__":
            return [str(node["config"]["keras_history"][0])]
        return [name for value in node.values() for name in _sources(value)]
    if isinstance(node, Sequence) and not isinstance(node, str):
        return [name for value in node for name in _sources(value)]
    return []


def connections(mask: np.ndarray) -> np.ndarray:
    """Which input unit is joined to which output unit by at least one surviving weight: bool, (inputs, outputs).

    Args:
        mask: of a kernel of shape (..., inputs, outputs): a dense one, or a convolution with its positions first.
    """
    return np.asarray(mask.reshape(-1, *mask.shape[-2:]).any(axis=0))


def live_units(kernels: Sequence[np.ndarray]) -> list[np.ndarray]:
    """For each level of a chain of kernels, which units lie on a path of surviving weights from input to output.

    A unit is live where a live unit feeds it and it feeds a live unit: counting surviving weights of its own is not
    enough, since the unit behind them may be dead. A level has the features of the input, the units or channels between
    two kernels, or the outputs. A convolution that is flattened before a dense kernel feeds features f with
    f mod channels == its channel; the channel is live where any of them is.

    Args:
        kernels: masks of shape (..., inputs, outputs), from input to output.

    Returns:
        One boolean array per level, one more than there are kernels; each as long as the outputs of the kernel before
        it (the first one: as the inputs of the first kernel).

    Raises:
        ValueError: the sizes of two kernels do not follow on each other.

    Example:
        >>> first = np.array([[True, True], [False, False]])  # input 1 is not read
        >>> second = np.array([[True], [False]])  # hidden unit 1 feeds nothing
        >>> [level.tolist() for level in live_units([first, second])]
        [[True, False], [True, False], [True]]
    """
    joined = [connections(mask) for mask in kernels]
    for before, after in zip(joined, joined[1:], strict=False):
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


def live_weights(kernels: Sequence[np.ndarray], live: Sequence[np.ndarray]) -> list[int]:
    """How many surviving weights of each kernel join two live units; the others change no output but by constants."""
    counts = []
    for mask, before, after in zip(kernels, live, live[1:], strict=False):
        used = mask[..., _expanded(before, mask.shape[-2]), :][..., after]
        counts.append(int(np.count_nonzero(used)))
    return counts


def ends(mask: np.ndarray) -> dict[str, int | None]:
    """Inputs that a kernel of any layer kind still reads and outputs that it still feeds; None for a vector.

    The last axis counts outputs and the one before it inputs, as in Keras's kernels.

    Example:
        >>> ends(np.array([[True, True, False], [False, False, False]]))
        {'inputs_read': 1, 'inputs': 2, 'outputs_fed': 2, 'outputs': 3}
    """
    if mask.ndim < 2:
        return dict.fromkeys(("inputs_read", "inputs", "outputs_fed", "outputs"))
    joined = connections(mask)
    return {
        "inputs_read": int(joined.any(axis=1).sum()),
        "inputs": joined.shape[0],
        "outputs_fed": int(joined.any(axis=0).sum()),
        "outputs": joined.shape[1],
    }
