"""Channels that go or stay together, and which of them the outputs of a model need."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tf_lottery.exporting.slim.behaviour import Barrier, Behaviour, has_weights, has_width
from tf_lottery.exporting.slim.constants import Constants, foldable
from tf_lottery.exporting.slim.kernels import Kernel
from tf_lottery.exporting.slim.passing import Passing
from tf_lottery.exporting.slim.program import Program


@dataclass(frozen=True)
class Reader:
    """A layer with a kernel, and what is known of its input channels in all of its calls.

    Attributes:
        kernel: how its outputs hang on its inputs.
        inputs: group of each input channel.
        outputs: group of each output channel.
        values: float64 (inputs,): constant values, the same in all calls; NaN elsewhere.
        fold: bool (inputs,): a constant that can go into the bias, if nothing else needs its channel.
        merge: bool (inputs,): a constant that depends on the border. Such channels are proportional to each other, so
            that the row of one of them, `representative`, can stand for all.
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


def group_channels(program: Program, behaviours: Sequence[Behaviour]) -> dict[int, np.ndarray]:
    """The group of each channel of each tensor; channels of one group go or stay together."""
    groups: dict[int, np.ndarray] = {}
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    first_call: dict[int, tuple[list[np.ndarray], np.ndarray]] = {}
    count = 0

    def fresh(tensor: int) -> np.ndarray:
        nonlocal count
        count += program.width(tensor)
        return np.arange(count - program.width(tensor), count)

    for tensor in program.inputs:
        groups[tensor] = fresh(tensor)
    for call, behaviour in zip(program.calls, behaviours, strict=True):
        if isinstance(behaviour, Barrier):
            groups.update({n: fresh(n) for n in call.outputs})
            continue
        inputs, (output,) = [groups[n] for n in call.inputs], call.outputs
        before = first_call.get(id(call.layer))
        if isinstance(behaviour, Passing):
            groups[output] = behaviour.layout(inputs)
            if behaviour.coupled:
                pairs += [(inputs[0], other) for other in inputs[1:]]
        else:
            groups[output] = before[1] if before else fresh(output)
        if before and has_weights(call.layer):
            pairs += zip(before[0], inputs, strict=True)
        if before and has_width(call.layer):
            pairs.append((before[1], groups[output]))
        first_call.setdefault(id(call.layer), (inputs, groups[output]))
    if not pairs:
        return groups
    one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
    edges = coo_array((np.ones(len(one), bool), (one, other)), shape=(count, count))
    labels = connected_components(edges, directed=False)[1]
    return {tensor: labels[numbers] for tensor, numbers in groups.items()}


def readers_of(
    program: Program,
    behaviours: Sequence[Behaviour],
    groups: dict[int, np.ndarray],
    constants: dict[int, Constants],
) -> dict[int, Reader]:
    """Each layer with a kernel, by its identity, in the order of their first calls."""
    calls: dict[int, list[tuple[int, int]]] = {}
    kernels: dict[int, Kernel] = {}
    for call, behaviour in zip(program.calls, behaviours, strict=True):
        if isinstance(behaviour, Kernel):
            kernels[id(call.layer)] = behaviour
            calls.setdefault(id(call.layer), []).append((call.inputs[0], call.outputs[0]))
    readers = {}
    for layer, tensors in calls.items():
        kernel, known = kernels[layer], [constants[taken] for taken, _ in tensors]
        values = np.where(np.all([k.values == known[0].values for k in known], axis=0), known[0].values, np.nan)
        fold = np.all([foldable(kernel, constant) for constant in known], axis=0) & ~np.isnan(values)
        readers[layer] = Reader(
            kernel=kernel,
            inputs=groups[tensors[0][0]],
            outputs=groups[tensors[0][1]],
            values=values,
            fold=fold,
            merge=~np.isnan(values) & ~fold & kernel.linear,
        )
    return readers


def pinned_groups(program: Program, behaviours: Sequence[Behaviour], groups: dict[int, np.ndarray]) -> np.ndarray:
    """Groups that stay whatever their values are: of the model's inputs and outputs, and of what can't be followed."""
    pinned = [groups[n] for n in (*program.inputs, *program.outputs)]
    for call, behaviour in zip(program.calls, behaviours, strict=True):
        if isinstance(behaviour, Barrier):
            pinned += [groups[n] for n in (*call.inputs, *call.outputs)]
        elif isinstance(behaviour, Kernel) and behaviour.activation is None:
            pinned.append(groups[call.outputs[0]])
    return np.unique(np.concatenate(pinned))


def needed_groups(readers: Sequence[Reader], pinned: np.ndarray, count: int) -> np.ndarray:
    """The groups that the pinned ones are computed from: bool (groups,), the least set that is closed under reading."""
    needed = np.zeros(count, bool)
    needed[pinned] = True
    before = -1
    while (now := int(needed.sum())) != before:
        before = now
        for reader in reversed(readers):
            read = reader.kernel.reads[:, needed[reader.outputs]].any(axis=1)
            merged = read & reader.merge
            must = read & ~reader.fold & ~merged
            if merged.any():
                must[reader.representative] = True
            needed[reader.inputs[must]] = True
    return needed


def kept_groups(
    readers: Sequence[Reader], pinned: np.ndarray, count: int, multiple: int
) -> tuple[np.ndarray, np.ndarray]:
    """The groups that are needed, and those that are kept: needed, or there to fill a layer up to a multiple.

    A layer keeps at least one channel, and never gets more than it had.

    Returns:
        needed, kept: bool (groups,) each.
    """
    while True:
        needed = needed_groups(readers, pinned, count)
        folded = np.zeros(count, bool)
        for reader in readers:
            read = reader.kernel.reads[:, needed[reader.outputs]].any(axis=1)
            folded[reader.inputs[read & (reader.fold | reader.merge) & (reader.values != 0)]] = True
        kept = _filled(readers, needed, folded, multiple)
        # A channel that stays anyway need not be folded, which might cost the next layer a bias that it does not have.
        stay = np.flatnonzero(kept & folded & ~needed)
        if not len(stay):
            return needed, kept
        pinned = np.union1d(pinned, stay)


def _filled(readers: Sequence[Reader], needed: np.ndarray, folded: np.ndarray, multiple: int) -> np.ndarray:
    kept = needed.copy()
    before = -1
    while (now := int(kept.sum())) != before:  # groups that several layers share may take one of them past a multiple
        before = now
        for reader in readers:
            goal = min(len(reader.outputs), -(-max(1, int(kept[reader.outputs].sum())) // multiple) * multiple)
            spare = reader.outputs[~kept[reader.outputs]]
            for group in spare[np.argsort(folded[spare], kind="stable")]:
                if kept[reader.outputs].sum() >= goal:
                    break
                kept[group] = True
    return kept
