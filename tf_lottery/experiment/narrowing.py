"""A small dense network inside a large one: each hidden layer keeps its first units, so that nothing else is needed.

The masks keep a corner of each kernel: the kept units of the layer before, times its own. Units outside of the corners
reach no output, so what is trained is a dense network of fewer units.
"""

from collections.abc import Callable

import keras
import numpy as np

from tf_lottery.errors import UnfitError
from tf_lottery.layers import discover, named_layers
from tf_lottery.layers.discovery import MaskableWeight
from tf_lottery.layers.kinds import kind_of
from tf_lottery.pruning.masks import Masks
from tf_lottery.training.reinitialize import fresh_weights
from tf_lottery.training.state import State
from tf_lottery.utils import seeds


def narrow(model: keras.Model, dense: Masks, *, kept: int, seed: int) -> tuple[Masks, State]:
    """Masks and fresh weights of a dense network with about `kept` weights.

    Hidden layers keep one and the same fraction of their units, at least one; inputs and outputs are all kept. Weights
    are drawn by each layer's own initializer for the small shape, so their scale is that of the small network.

    Args:
        model: a plain model.
        dense: masks that keep everything.
        kept: how many maskable weights to come near to.
        seed: what the weights are a function of.

    Returns:
        Masks by weight path, and a value for every variable of the model.

    Raises:
        UnfitError: a layer is of a kind whose units are not known.
    """
    layers = named_layers(model)
    left = [
        path for path, layer in layers.items() if kind_of(layer).narrowing == "kernel" and f"{path}/kernel" not in dense
    ]
    if left:
        raise _unfit(left[0], "a layer that is not pruned keeps its width")
    kernels = {path: weight for path, weight in discover(model).found.items() if path in dense}
    if set(kernels) != set(dense):
        raise _unfit(", ".join(sorted(set(dense) - set(kernels))), "a weight that is no kernel")
    feeding = {path: _feeding(layers[kernel.layer_path], kernel, layers) for path, kernel in kernels.items()}
    widths = {path: dense[path].shape[-1] for path in dense}

    def counts(fraction: float) -> dict[str, tuple[int, int]]:
        """(inputs, outputs) that each kernel keeps."""
        units = {
            path: width if kernels[path].role == "output" else max(1, round(fraction * width))
            for path, width in widths.items()
        }
        return {path: (_inputs(path, dense, feeding, widths, units), units[path]) for path in dense}

    fraction = _nearest(kept, lambda value: _weights(counts(value), dense))
    masks, weights = {}, fresh_weights(model, seed=seed)
    for path, (inputs, outputs) in counts(fraction).items():
        shape = dense[path].shape
        before = feeding[path]
        width = shape[-2] if before is None else widths[before]
        part = inputs * width // shape[-2]
        mask = np.zeros(shape, bool)
        mask[..., np.arange(shape[-2]) % width < part, :outputs] = True
        small = _drawn(layers[kernels[path].layer_path], (*shape[:-2], inputs, outputs), seeds.derive(seed, path))
        weights[path] = np.zeros(shape, weights[path].dtype)
        weights[path][mask] = small.ravel()
        masks[path] = mask
    return masks, weights


def _inputs(
    path: str, dense: Masks, feeding: dict[str, str | None], widths: dict[str, int], units: dict[str, int]
) -> int:
    size, before = dense[path].shape[-2], feeding[path]
    return int(size if before is None else size // widths[before] * units[before])


def _weights(counts: dict[str, tuple[int, int]], dense: Masks) -> int:
    return sum(int(np.prod(dense[path].shape[:-2])) * i * o for path, (i, o) in counts.items())


def _nearest(kept: int, weights: Callable[[float], int]) -> float:
    """The fraction of units whose number of weights, which grows with it, is nearest to `kept`."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if weights(middle) <= kept else (low, middle)
    return min((low, high), key=lambda value: abs(weights(value) - kept))


def _feeding(layer: keras.layers.Layer, one: MaskableWeight, layers: dict[str, keras.layers.Layer]) -> str | None:
    """The path of a kernel whose units a layer reads, or None where it reads the input of the model."""
    if kind_of(layer).narrowing != "kernel":
        raise _unfit(one.path, type(layer).__name__)
    if not layer._inbound_nodes:
        raise _unfit(one.path, "its model's class calls it, and no graph shows what it reads")
    paths = {id(other): path for path, other in layers.items()}
    pending = list(layer._inbound_nodes[0].arguments.keras_tensors)
    ends: set[tuple[str | None, int]] = set()
    while pending:
        before = pending.pop()._keras_history.operation
        if kind_of(before).narrowing == "kernel":
            ends.add((f"{paths[id(before)]}/kernel", before.kernel.shape[-1]))
        elif isinstance(before, keras.layers.InputLayer) and "/" not in one.layer_path:
            ends.add((None, 0))
        elif kind_of(before).narrowing == "between":
            pending += before._inbound_nodes[0].arguments.keras_tensors
        else:
            raise _unfit(one.path, f"behind {type(before).__name__}")
    if len({width for _, width in ends}) != 1:
        raise _unfit(one.path, "behind layers of different widths")
    return min((path for path, _ in ends if path is not None), default=None)


def _drawn(layer: keras.layers.Layer, shape: tuple[int, ...], seed: int) -> np.ndarray:
    initializer = layer.kernel_initializer
    config = initializer.get_config()
    again = type(initializer).from_config({**config, "seed": seed} if "seed" in config else config)
    return np.asarray(keras.ops.convert_to_numpy(again(shape, dtype="float32")))


def _unfit(path: str, what: str) -> UnfitError:
    return UnfitError(
        f"The control 'small_dense' can't make {path} narrower ({what}): it knows dense layers and convolutions.",
        "Leave that control out, and train a small model of your own beside the run.",
    )
