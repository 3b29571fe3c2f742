"""Which groups of channels the outputs of a model need, and which are kept."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tf_lottery.exporting.slim.call_graph import CallGraph
from tf_lottery.exporting.slim.channel_flow import ChannelFlow
from tf_lottery.exporting.slim.constant_channels import ConstantChannels, foldable_inputs
from tf_lottery.exporting.slim.kernels import Kernel


@dataclass(frozen=True)
class KernelLayer:
    """A layer with a kernel, and what is known of its channels in all of its calls.

    Attributes:
        kernel: How its outputs depend on its inputs.
        inputs: The group of every input channel: int64 (inputs,).
        outputs: The group of every output channel: int64 (outputs,).
        values: Constant values of the inputs, the same in all calls, NaN elsewhere: float64 (inputs,).
        fold: Which inputs are constants that can be folded into the bias, unless another layer needs them: bool
            (inputs,).
        merge: Which inputs are constants that depend on the border: bool (inputs,). Such channels are proportional to
            each other, so that the kernel row of one of them, `representative`, can stand for all.
    """

    kernel: Kernel
    inputs: np.ndarray
    outputs: np.ndarray
    values: np.ndarray
    fold: np.ndarray
    merge: np.ndarray

    @property
    def representative(self) -> int:
        """The channel of the largest constant, so that no factor exceeds one."""
        return int(np.argmax(np.where(self.merge, np.abs(self.values), -1.0)))

    def reads_for(self, needed: np.ndarray) -> np.ndarray:
        """Returns which inputs the needed outputs read: bool (inputs,); `needed` is bool (groups,)."""
        return np.asarray(self.kernel.reads[:, needed[self.outputs]].any(axis=1))


def find_kernel_layers(
    graph: CallGraph,
    flows: Sequence[ChannelFlow],
    groups: dict[int, np.ndarray],
    constants: dict[int, ConstantChannels],
) -> dict[int, KernelLayer]:
    """Returns the layers with a kernel, by the `id` of the layer, in the order of their first calls.

    Args:
        graph: The calls of a model.
        flows: The channel flow of every call.
        groups: The group number of every channel, by tensor.
        constants: The constant channels of every tensor.
    """
    tensors_by_layer: dict[int, list[tuple[int, int]]] = {}
    kernels: dict[int, Kernel] = {}
    for call, flow in zip(graph.calls, flows, strict=True):
        if isinstance(flow, Kernel):
            kernels[id(call.layer)] = flow
            tensors_by_layer.setdefault(id(call.layer), []).append((call.inputs[0], call.outputs[0]))
    kernel_layers = {}
    for layer, tensors in tensors_by_layer.items():
        kernel, known = kernels[layer], [constants[taken] for taken, _ in tensors]
        values = np.where(np.all([k.values == known[0].values for k in known], axis=0), known[0].values, np.nan)
        fold = np.all([foldable_inputs(kernel, constant) for constant in known], axis=0) & ~np.isnan(values)
        kernel_layers[layer] = KernelLayer(
            kernel=kernel,
            inputs=groups[tensors[0][0]],
            outputs=groups[tensors[0][1]],
            values=values,
            fold=fold,
            merge=~np.isnan(values) & ~fold & kernel.linear,
        )
    return kernel_layers


def find_needed_groups(layers: Sequence[KernelLayer], fixed: np.ndarray, count: int) -> np.ndarray:
    """Returns the groups from which the fixed ones are computed, the fixed ones included.

    Args:
        layers: The layers with a kernel, in the order of their calls.
        fixed: Numbers of the groups that are kept in any case.
        count: The number of groups.

    Returns:
        bool (groups,): the smallest set of groups that holds all that its members read.
    """
    needed = np.zeros(count, bool)
    needed[fixed] = True
    before = -1
    while (now := int(needed.sum())) != before:
        before = now
        for layer in reversed(layers):
            read = layer.reads_for(needed)
            merged = read & layer.merge
            must = read & ~layer.fold & ~merged
            if merged.any():
                must[layer.representative] = True
            needed[layer.inputs[must]] = True
    return needed


def find_kept_groups(
    layers: Sequence[KernelLayer], fixed: np.ndarray, count: int, multiple: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the groups that are needed, and those that are kept: needed, or to fill a layer up to a multiple.

    A layer keeps at least one channel, and never gets more than it had.

    Args:
        layers: The layers with a kernel, in the order of their calls.
        fixed: Numbers of the groups that are kept in any case.
        count: The number of groups.
        multiple: What the number of channels of a layer is rounded up to.

    Returns:
        `(needed, kept)`, both bool (groups,).
    """
    while True:
        needed = find_needed_groups(layers, fixed, count)
        folded = np.zeros(count, bool)
        for layer in layers:
            constant = layer.reads_for(needed) & (layer.fold | layer.merge) & (layer.values != 0)
            folded[layer.inputs[constant]] = True
        kept = _fill_up(layers, needed, folded, multiple)
        # A channel that is kept anyway need not be folded, which might cost the next layer a bias that it lacks.
        unfolded = np.flatnonzero(kept & folded & ~needed)
        if not len(unfolded):
            return needed, kept
        fixed = np.union1d(fixed, unfolded)


def _fill_up(layers: Sequence[KernelLayer], needed: np.ndarray, folded: np.ndarray, multiple: int) -> np.ndarray:
    """Returns the needed groups and those that fill every layer up to a multiple, folded ones last."""
    kept = needed.copy()
    before = -1
    while (now := int(kept.sum())) != before:  # groups that several layers share may take one of them past a multiple
        before = now
        for layer in layers:
            goal = min(len(layer.outputs), -(-max(1, int(kept[layer.outputs].sum())) // multiple) * multiple)
            spare = layer.outputs[~kept[layer.outputs]]
            for group in spare[np.argsort(folded[spare], kind="stable")]:
                if kept[layer.outputs].sum() >= goal:
                    break
                kept[group] = True
    return kept
