"""`Masked`: the mask-applying layer, which runs any layer on masked weights."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tf_lottery.layers.sublayers import layer_variables


def apply_mask(mask: keras.Variable, weight: Any) -> Any:
    """Returns the weight with exactly 0.0 where the mask is False; its gradient is exactly zero there as well.

    Args:
        mask: A boolean variable of the shape of `weight`.
        weight: The weight as a tensor.
    """
    return ops.where(mask.value, weight, ops.zeros_like(weight))


def builds_itself(layer: keras.layers.Layer) -> bool:
    """Returns whether a layer creates its weights in `build` rather than in its first call."""
    return type(layer).build is not keras.layers.Layer.build


class _OnMasked:
    """A regularizer or constraint that is applied to the masked weight."""

    def __init__(self, function: Callable[[Any], Any], mask: keras.Variable) -> None:
        self.function = function
        self.mask = mask

    def __call__(self, weight: Any) -> Any:
        return self.function(apply_mask(self.mask, weight))

    @classmethod
    def wrap(cls, function: Callable[[Any], Any] | None, mask: keras.Variable) -> "_OnMasked | None":
        if function is None:
            return None
        return cls(function.function if isinstance(function, cls) else function, mask)


@keras.saving.register_keras_serializable("tf_lottery")
class Masked(keras.layers.Wrapper):
    """A layer that holds another layer and computes with `where(mask, weight, 0)` in place of some of its weights.

    The gradient of a pruned weight is therefore exactly zero, and nothing that an optimizer does to a stored weight
    (momentum, decay, averaging) reaches the effective one. Masks are non-trainable boolean variables: changing them
    neither retraces nor recompiles.

    Args:
        layer: The layer to hold, built.
        weights: The paths, below the layer, of the weights to mask, e.g. `["kernel"]`.
        **kwargs: The arguments of `keras.layers.Layer`; by default those of the held layer.

    Raises:
        ValueError: If the layer is not built, or has no weight of such a path.

    Example:
        >>> layer = keras.layers.Dense(2)
        >>> layer.build((None, 3))
        >>> masked = Masked(layer, ["kernel"])
        >>> masked.get_masks()["kernel"].shape
        (3, 2)
    """

    def __init__(self, layer: keras.layers.Layer, weights: list[str], **kwargs: Any) -> None:
        """Adds a mask of ones for every weight at `weights`."""

        # Keras binds the arguments of a layer by the signature of `call`; this gives the held layer's own, so that
        # masks, `training`, initial states and several inputs arrive as they would without the wrapper.
        @functools.wraps(layer.call)
        def call(*args: Any, **kwargs: Any) -> Any:
            return self._call_masked(*args, **kwargs)

        self.call = call
        # Without autocast here the weights arrive in full precision; the held layer casts them itself.
        kwargs = {
            "name": layer.name,
            "dtype": layer.dtype_policy,
            "trainable": layer.trainable,
            **kwargs,
            "autocast": False,
        }
        super().__init__(layer, **kwargs)
        self.weight_paths = list(weights)
        self.supports_masking = layer.supports_masking
        self.masked_variables: dict[str, keras.Variable] = {}
        self.mask_variables: dict[str, keras.Variable] = {}
        if builds_itself(layer):
            if not layer.built:
                raise ValueError(f"`layer` must be built before it is masked. Received: {layer.name!r}, not built.")
            self._add_masks()
        elif not self._missing():
            self._add_masks()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the held layer on masked weights, building it first if its class has no `build` method."""
        if not self.built:
            # The held layer has no `build` method: its sublayers are built by calling it, and only then have weights.
            self.layer(*args, **kwargs)
            self._add_masks()
        return super().__call__(*args, **kwargs)

    def _missing(self) -> list[str]:
        return sorted(set(self.weight_paths) - set(layer_variables(self.layer)))

    def _add_masks(self) -> None:
        available = layer_variables(self.layer)
        if self._missing():
            raise ValueError(
                f"Layer {self.layer.name!r} has no weight {', '.join(self._missing())}. It has: {', '.join(available)}."
            )
        for path in self.weight_paths:
            variable = available[path]
            mask = self.add_weight(
                name=f"{path.replace('/', '_')}_mask",
                shape=variable.shape,
                dtype="bool",
                initializer="ones",
                trainable=False,
            )
            self.masked_variables[path] = variable
            self.mask_variables[path] = mask
            # Keras applies these to the stored weight, which a foreign optimizer may have moved where it is pruned.
            variable.regularizer = _OnMasked.wrap(variable.regularizer, mask)
            variable.constraint = _OnMasked.wrap(variable.constraint, mask)
        self.built = True

    def _call_masked(self, *args: Any, **kwargs: Any) -> Any:
        # Every variable is mapped, also the unmasked ones: under an outer stateless call a variable that is not mapped
        # would be read past the outer scope, and get no gradient.
        values = {id(variable): variable.value for variable in self.layer.variables}
        for path, variable in self.masked_variables.items():
            values[id(variable)] = apply_mask(self.mask_variables[path], values[id(variable)])
        mapping = [(variable, values[id(variable)]) for variable in self.layer.variables]
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
            before = {id(variable): scope.get_current_value(variable) for variable in self.layer.variables}
            outputs = self.layer(*args, **kwargs)
            losses = list(scope.losses)
            # The held layer remembers its losses by id, and would report them a second time beside this layer.
            self.layer._clear_losses()
        for variable in self.layer.variables:
            value = scope.get_current_value(variable)
            if value is not before[id(variable)]:
                variable.assign(value)
        for loss in losses:
            self.add_loss(loss)
        return outputs

    def apply_masks(self) -> None:
        """Sets the stored weights to exactly 0.0 where they are pruned."""
        for path, variable in self.masked_variables.items():
            variable.assign(apply_mask(self.mask_variables[path], variable.value))

    def get_masks(self) -> dict[str, np.ndarray]:
        """Returns the masks as boolean arrays (copies), by path below the layer."""
        return {path: np.array(ops.convert_to_numpy(mask.value)) for path, mask in self.mask_variables.items()}

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the output spec of the held layer.

        Args:
            *args: The arguments of a call.
            **kwargs: The keyword arguments of a call.
        """
        return self.layer.compute_output_spec(*args, **kwargs)

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the output shape of the held layer.

        Args:
            *args: The shapes of a call's arguments.
            **kwargs: The shapes of a call's keyword arguments.
        """
        return self.layer.compute_output_shape(*args, **kwargs)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Returns the timestep mask of the held layer's outputs, as Keras propagates it.

        Args:
            inputs: The inputs of a call.
            previous_mask: Their timestep masks.
        """
        return self.layer.compute_mask(inputs, previous_mask)

    def get_weights(self) -> list[np.ndarray]:
        """Returns the weights of the held layer and the masks; pruned weights are exactly 0.0."""
        self.apply_masks()
        return list(super().get_weights())

    def save_own_variables(self, store: Any) -> None:
        """Saves the masks to `store`, and sets pruned weights to exactly 0.0 before Keras saves the held layer."""
        # An optimizer of the user's own may have moved a stored pruned weight. Keras saves this layer before the layer
        # it holds, so what reaches the file is masked.
        self.apply_masks()
        super().save_own_variables(store)

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration, from which `from_config` builds the layer again."""
        config = super().get_config()
        config.pop("dtype", None)
        if not builds_itself(self.layer):  # Keras would mark it as built without building it
            config["layer"].pop("build_config", None)
        return {**config, "weights": self.weight_paths}
