"""Rewinding: take the whole state of a training at a step, and put it back with masks applied.

A state is a plain dict of arrays: every variable of the model (weights, batch-norm statistics, states of seed
generators) under `model/<path>` and every variable of the optimizer (iterations, slots, averages) under
`optimizer/<index>`.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.errors import DamagedError, ResourceError, UsageError
from tf_lottery.layers import named_layers, named_variables
from tf_lottery.layers.masked import builds_itself
from tf_lottery.layers.paths import held_layer
from tf_lottery.layers.sublayers import join, layer_variables
from tf_lottery.pruning.masks import check_keys
from tf_lottery.utils import seeds
from tf_lottery.utils.text import one_line

State: TypeAlias = dict[str, np.ndarray]
MODEL, OPTIMIZER = "model/", "optimizer/"
NOT_SLOTS = ("_variables", "_trainable_variables", "_accumulators")


def capture(variables: Mapping[str, keras.Variable]) -> State:
    """Copies of the values of `variables`."""
    return {key: np.array(keras.ops.convert_to_numpy(variable.value)) for key, variable in variables.items()}


def restore(variables: Mapping[str, keras.Variable], state: Mapping[str, np.ndarray]) -> None:
    """Assign `state` to `variables`.

    Raises:
        UnfitError: a key is missing or extra; nothing is assigned then.
    """
    check_keys(state, variables, what="state")
    for key, variable in variables.items():
        variable.assign(state[key])


def masked(state: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], slots: Mapping[str, str]) -> State:
    """The state with exactly 0.0 where pruned, in the weights and in the optimizer's slots of these weights.

    Args:
        state: as from `capture`.
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


def slots_of(optimizer: keras.optimizers.Optimizer, model: keras.Model) -> dict[str, str]:
    """The weight path that each slot (momentum, second moment, average, sum of gradients) of a built optimizer is for.

    A Keras optimizer keeps its slots in lists that run parallel to the trainable variables; slots of another shape
    (factored moments) belong to no single weight and are left out. So are the accumulators of Adagrad and FTRL: they
    only scale the steps and start above zero, and FTRL divides 0 by 0 without.
    """
    paths = {id(variable): path for path, variable in named_variables(model).items()}
    trainable = model.trainable_variables
    indices = {id(variable): index for index, variable in enumerate(optimizer.variables)}
    found = {}
    for slots in _slot_lists(optimizer, len(trainable)):
        for slot, weight in zip(slots, trainable, strict=True):
            if isinstance(slot, keras.Variable) and slot.shape == weight.shape and id(slot) in indices:
                found[f"{OPTIMIZER}{indices[id(slot)]}"] = paths[id(weight)]
    return found


def _slot_lists(optimizer: keras.optimizers.Optimizer, length: int) -> Iterator[list]:
    for name, value in vars(optimizer).items():
        if isinstance(value, keras.optimizers.Optimizer):
            yield from _slot_lists(value, length)
        elif isinstance(value, list) and len(value) == length and name not in NOT_SLOTS:
            yield value


def fresh_weights(model: keras.Model, *, seed: int) -> State:
    """New values for every variable of a model, drawn anew as when it was built, but from other seeds.

    Each layer is made again from its configuration, with the seed of every initializer and random layer derived from
    (seed, path): the distribution is the layer's own, equal seeds in two layers do not give equal weights, and a seed
    that the configuration fixes does not bring the old weights back. What no initializer made keeps its value: frozen
    layers, and preprocessing layers that were adapted to data.

    Args:
        model: a built model, plain or wrapped; it is not changed.
        seed: what the new values are a function of.

    Returns:
        Arrays by variable path, for every variable of the model.

    Raises:
        UsageError: a layer can't be made again from its configuration.
    """
    fresh: State = {}
    for path, layer in named_layers(model).items():
        inner = held_layer(layer)
        before = layer_variables(inner)
        after = before if not inner.trainable or hasattr(inner, "adapt") else _made_again(layer, seed=seed, path=path)
        if {key: tuple(v.shape) for key, v in before.items()} != {key: tuple(v.shape) for key, v in after.items()}:
            raise UsageError(
                f"Layer {path!r} ({type(inner).__name__}) can't be initialised again: made from its configuration it "
                f"has other variables ({', '.join(after) or 'none'} instead of {', '.join(before)}).",
                "Implement `get_config` and `build` so that they make the same layer.",
            )
        fresh |= {join(path, key): np.array(keras.ops.convert_to_numpy(v.value)) for key, v in after.items()}
    return fresh


def _made_again(layer: keras.layers.Layer, *, seed: int, path: str) -> dict[str, keras.Variable]:
    """The variables of a new layer of the same configuration, with other seeds."""
    inner = held_layer(layer)
    if not inner.variables:
        return {}
    with seeds.seeded(seeds.derive(seed, path)):
        again = type(inner).from_config(_reseed(inner.get_config(), seed, path))
        if builds_itself(inner):
            again.build_from_config(inner.get_build_config() or {})
        elif len(again.variables) < len(inner.variables) and layer._inbound_nodes:
            # It has no `build` method: its sublayers are built by a call, here on inputs like those of the old layer.
            arguments = layer._inbound_nodes[0].arguments
            again(*_inputs_like(arguments.args), **_inputs_like(arguments.kwargs))
    return layer_variables(again)


def _inputs_like(arguments: Any) -> Any:
    return keras.tree.map_structure(
        lambda leaf: (
            keras.Input(batch_shape=leaf.shape, dtype=leaf.dtype) if isinstance(leaf, keras.KerasTensor) else leaf
        ),
        arguments,
    )


def _reseed(config: object, seed: int, path: str) -> object:
    """A copy of a layer's configuration with every seed that is set replaced by one made from (seed, path)."""
    if isinstance(config, Mapping):
        return {
            key: seeds.derive(seed, path, key)
            if key == "seed" and isinstance(value, int)
            else _reseed(value, seed, join(path, str(key)))
            for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return type(config)(_reseed(value, seed, join(path, str(index))) for index, value in enumerate(config))
    return config


def save_checkpoint(prefix: str | Path, state: Mapping[str, np.ndarray]) -> None:
    """Write a state as a TensorFlow checkpoint (`<prefix>.index` and `<prefix>.data-...`), whose reader checks a CRC.

    Raises:
        ResourceError: it can't be written.
    """
    try:
        checkpoint = tf.train.Checkpoint(state={key: tf.Variable(value) for key, value in state.items()})
        with openable(prefix) as name:
            checkpoint.write(name)
    except (tf.errors.OpError, OSError) as error:
        raise ResourceError(
            f"The checkpoint {prefix} can't be written: {one_line(error)}.", "Check disk and permissions."
        ) from error


def load_checkpoint(prefix: str | Path) -> State:
    """Read a state written by `save_checkpoint`.

    Raises:
        DamagedError: it is missing, truncated or altered.
    """
    try:
        with openable(prefix) as name:
            return _read_checkpoint(name)
    except (tf.errors.OpError, ValueError, LookupError, OSError, RuntimeError) as error:
        raise DamagedError(
            f"The checkpoint {prefix} can't be read: {one_line(error)}",
            "Start the run over with `fresh=True`, or restore the files from a copy.",
        ) from error


def _read_checkpoint(prefix: str) -> State:
    reader = tf.train.load_checkpoint(prefix)
    names = reader.get_variable_to_shape_map()
    pattern = re.compile(r"state/(.*)/\.ATTRIBUTES/VARIABLE_VALUE")
    found = {match.group(1): name for name in names if (match := pattern.fullmatch(name))}
    # The names of a checkpoint's nodes escape "/" as ".S" and "." as "..".
    return {
        re.sub(r"\.(.)", lambda m: {"S": "/", ".": "."}[m.group(1)], key): np.array(reader.get_tensor(name))
        for key, name in sorted(found.items())
    }


@contextlib.contextmanager
def openable(prefix: str | Path) -> Iterator[str]:
    """A name by which TensorFlow can open a checkpoint or a SavedModel.

    Its reader takes a name for a pattern, in which "[" and "\\" do not stand for themselves, and it takes UTF-8 only.
    Such a folder is reached by a link.
    """
    path = Path(prefix)
    if "[" not in str(path) and "\\" not in str(path) and str(path).isprintable():
        yield str(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "link"
        os.symlink(path.parent.absolute(), link, target_is_directory=True)
        yield str(link / path.name)
