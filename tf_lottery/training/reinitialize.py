"""New weights for a built model: each layer initialized again, from other seeds."""

from collections.abc import Container, Mapping
from typing import Any

import keras
import numpy as np

from tf_lottery.errors import UsageError
from tf_lottery.layers import copying, named_layers, named_variables
from tf_lottery.layers.copy_matching import matching_variables
from tf_lottery.layers.masked import builds_itself
from tf_lottery.layers.paths import held_layer, variables_of
from tf_lottery.layers.sublayers import is_nested_model, join, layer_variables
from tf_lottery.training.state import State
from tf_lottery.utils import seeds


def fresh_weights(model: keras.Model, *, seed: int) -> State:
    """Draw new values for every variable of a model, as when it was built, but from other seeds.

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
        if isinstance(layer, keras.Model):
            continue  # the weights of its own beside those of its layers
        inner = held_layer(layer)
        if isinstance(inner, keras.Model):
            beside = {join(path, key): variable for key, variable, _ in variables_of(inner)}
            beside = {key: variable for key, variable in beside.items() if key not in fresh}
            trained = [key for key, variable in beside.items() if variable.trainable]
            if not trained:  # seeds of the model itself, beside those of its layers
                fresh |= {key: np.array(variable.numpy()) for key, variable in beside.items()}
                continue
            if is_nested_model(inner):
                raise UsageError(
                    f"{', '.join(trained)} can't be initialized again: a weight of the model itself, of no layer.",
                    "Hold it in a layer with a `get_config`.",
                )
        before = layer_variables(inner)
        after = before if not inner.trainable or hasattr(inner, "adapt") else _made_again(layer, seed=seed, path=path)
        if {key: tuple(v.shape) for key, v in before.items()} != {key: tuple(v.shape) for key, v in after.items()}:
            raise UsageError(
                f"Layer {path!r} ({type(inner).__name__}) can't be initialized again: made from its configuration it "
                f"has other variables ({', '.join(after) or 'none'} instead of {', '.join(before)}).",
                "Implement `get_config` and `build` so that they make the same layer.",
            )
        fresh |= {join(path, key): np.array(keras.ops.convert_to_numpy(v.value)) for key, v in after.items()}
    return fresh | _of_models(model, known=fresh, seed=seed)


def _of_models(model: keras.Model, *, known: Container[str], seed: int) -> State:
    """Returns a value for the variables that belong to models and not to layers: new ones for those that are trained.

    Args:
        model: the model.
        known: the paths of the variables of its layers.
        seed: what the values are a function of.
    """
    own = {path: variable for path, variable in named_variables(model).items() if path not in known}
    if any(variable.trainable for variable in own.values()):
        with seeds.seeded(seeds.derive(seed, "weights of the model's own")):
            again = copying.made_again(model)
        pairs = matching_variables(model, again)
        variables = named_variables(again)
        own = {path: variables[pairs[path]] if own[path].trainable else own[path] for path in own}
    return {path: np.array(keras.ops.convert_to_numpy(variable.value)) for path, variable in own.items()}


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
