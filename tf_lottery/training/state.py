"""The whole state of a training at a step: capture it, and restore it with masks applied.

A state is a plain dict of arrays: every variable of the model (weights, batch-norm statistics, states of seed
generators) under `model/<path>` and every variable of the optimizer (iterations, slots, averages) under
`optimizer/<index>`.
"""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import keras
import numpy as np

from tf_lottery.layers import Masked, named_layers, named_variables
from tf_lottery.pruning.masks import check_keys

State: TypeAlias = dict[str, np.ndarray]
MODEL, OPTIMIZER = "model/", "optimizer/"
NOT_SLOTS = ("_variables", "_trainable_variables", "_accumulators")


def capture_state(variables: Mapping[str, keras.Variable]) -> State:
    """Return copies of the values of `variables`."""
    return {key: np.array(keras.ops.convert_to_numpy(variable.value)) for key, variable in variables.items()}


def restore_state(variables: Mapping[str, keras.Variable], state: Mapping[str, np.ndarray]) -> None:
    """Assign a state to variables.

    Args:
        variables: all variables of the model and the optimizer, by key.
        state: one array per key.

    Raises:
        UnfitError: a key is missing or extra; nothing is assigned then.
    """
    check_keys(state, variables, what="state")
    for key, variable in variables.items():
        variable.assign(state[key])


def apply_masks_to_state(
    state: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], slots: Mapping[str, str]
) -> State:
    """Return the state with exactly 0.0 where pruned, in the weights and in the optimizer's slots of these weights.

    Args:
        state: as from `capture_state`.
        masks: masks by weight path.
        slots: the weight path that each slot belongs to, as from `slots_of`.
    """
    owners = {**{MODEL + path: path for path in masks}, **{key: path for key, path in slots.items() if path in masks}}
    return {
        key: np.where(masks[owners[key]], value, np.zeros((), value.dtype)) if key in owners else value
        for key, value in state.items()
    }


def model_variables(state: Mapping[str, np.ndarray]) -> State:
    """The variables of the model in a state, by path."""
    return {key.removeprefix(MODEL): value for key, value in state.items() if key.startswith(MODEL)}


def is_random_state(path: str) -> bool:
    """Whether a variable's path is that of the state of a random generator (Dropout and the like)."""
    return path.endswith("seed_generator_state")


def optimizer_variables(optimizer: keras.optimizers.Optimizer) -> dict[str, keras.Variable]:
    """Every variable of a built optimizer, as `optimizer/<index>`."""
    return {f"{OPTIMIZER}{index}": variable for index, variable in enumerate(optimizer.variables)}


def was_ordered_otherwise(model: keras.Model) -> bool:
    """Return whether version 0.1 kept the trainable variables of a wrapped model in another order.

    Masked weights came before the others of their layer, in attention, bidirectional and custom layers too. The state
    of an optimizer is kept by position, so one that was saved then belongs to other weights now.

    Args:
        model: a wrapped model.
    """
    before: dict[int, None] = {}
    for layer in named_layers(model).values():
        if isinstance(layer, Masked):
            before |= dict.fromkeys(map(id, layer.masked_variables.values()))
        before |= dict.fromkeys(map(id, layer.trainable_variables))
    trainable = [id(variable) for variable in model.trainable_variables]
    return [key for key in before if key in set(trainable)] != trainable


def slots_of(optimizer: keras.optimizers.Optimizer, model: keras.Model) -> dict[str, str]:
    """Return the weight path of each slot (momentum, second moment, average) of a built optimizer.

    A Keras optimizer keeps its slots in lists that run parallel to the trainable variables; slots of another shape
    (factored moments) belong to no single weight and are left out. So are the accumulators of Adagrad and FTRL: they
    only scale the steps and start above zero, and FTRL divides 0 by 0 without.

    Args:
        optimizer: a built Keras optimizer.
        model: the wrapped model whose trainable variables it was built for.

    Returns:
        Weight paths by the key of the slot in a state, `optimizer/<index>`.
    """
    paths = {id(variable): path for path, variable in named_variables(model).items()}
    trainable = model.trainable_variables
    indices = {id(variable): index for index, variable in enumerate(optimizer.variables)}
    paths_by_slot = {}
    for slots in _slot_lists(optimizer, len(trainable)):
        for slot, weight in zip(slots, trainable, strict=True):
            if isinstance(slot, keras.Variable) and slot.shape == weight.shape and id(slot) in indices:
                paths_by_slot[f"{OPTIMIZER}{indices[id(slot)]}"] = paths[id(weight)]
    return paths_by_slot


def _slot_lists(optimizer: keras.optimizers.Optimizer, length: int) -> Iterator[list[object]]:
    for name, value in vars(optimizer).items():
        if isinstance(value, keras.optimizers.Optimizer):
            yield from _slot_lists(value, length)
        elif isinstance(value, list) and len(value) == length and name not in NOT_SLOTS:
            yield value
