"""`Masked`: the one mask-applying layer. It runs any layer on masked weights."""

import functools
from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("tf_lottery")
class Masked(keras.layers.Wrapper):
    """A layer that computes with `where(mask, weight, 0)` for some of the weights of the layer it holds.

    The gradient of a pruned weight is therefore exactly zero, and nothing that an optimizer does to a stored weight
    (momentum, decay, averaging) reaches the effective one. Masks are non-trainable boolean variables: changing them
    neither retraces nor recompiles.

    Args:
        layer: a built layer.
        weights: paths below the layer of the weights to mask, e.g. `["kernel"]`.

    Raises:
        ValueError: the layer is not built, or has no weight of such a path.
    """

    def __init__(self, layer: keras.layers.Layer, weights: list[str], **kwargs: Any) -> None:
        from tf_lottery.layers.paths import layer_variables

        # Keras binds the arguments of a layer by the signature of `call`; this gives the held layer's own, so that
        # masks, `training`, initial states and several inputs arrive as they would without the wrapper.
        @functools.wraps(layer.call)
        def call(*args: Any, **kwargs: Any) -> Any:
            return self._call_masked(*args, **kwargs)

        self.call = call
        # Without autocast here the weights arrive in full precision; the held layer casts them itself.
        kwargs = {"name": layer.name, "dtype": layer.dtype_policy, "trainable": layer.trainable, **kwargs, "autocast": False}
        super().__init__(layer, **kwargs)
        if not layer.built:
            raise ValueError(f"`layer` must be built before it is masked. Received: {layer.name!r}, not built.")
        available = layer_variables(layer)
        unknown = sorted(set(weights) - set(available))
        if unknown:
            raise ValueError(f"Layer {layer.name!r} has no weight {', '.join(unknown)}. It has: {', '.join(available)}.")
        self.weight_paths = list(weights)
        self.supports_masking = layer.supports_masking
        self.masked_variables = {path: available[path] for path in weights}
        self.mask_variables = {
            path: self.add_weight(
                name=f"{path.replace('/', '_')}_mask",
                shape=variable.shape,
                dtype="bool",
                initializer="ones",
                trainable=False,
            )
            for path, variable in self.masked_variables.items()
        }
        self.built = True

    def _call_masked(self, *args: Any, **kwargs: Any) -> Any:
        # Every variable is mapped, also the unmasked ones: under an outer stateless call a variable that is not mapped
        # would be read past the outer scope, and get no gradient.
        values = {id(variable): variable.value for variable in self.layer.variables}
        for path, variable in self.masked_variables.items():
            weight = values[id(variable)]
            values[id(variable)] = ops.where(self.mask_variables[path].value, weight, ops.zeros_like(weight))
        mapping = [(variable, values[id(variable)]) for variable in self.layer.variables]
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
            before = {id(variable): scope.get_current_value(variable) for variable in self.layer.variables}
            outputs = self.layer(*args, **kwargs)
        for variable in self.layer.variables:
            value = scope.get_current_value(variable)
            if value is not before[id(variable)]:
                variable.assign(value)
        for loss in scope.losses:
            self.add_loss(loss)
        return outputs

    def apply_masks(self) -> None:
        """Set the stored weights to exactly 0.0 where they are pruned."""
        for path, variable in self.masked_variables.items():
            weight = variable.value
            variable.assign(ops.where(self.mask_variables[path].value, weight, ops.zeros_like(weight)))

    def get_masks(self) -> dict[str, np.ndarray]:
        """The masks as boolean arrays, by path below the layer."""
        return {path: np.array(ops.convert_to_numpy(mask.value)) for path, mask in self.mask_variables.items()}

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        return self.layer.compute_output_spec(*args, **kwargs)

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        return self.layer.compute_output_shape(*args, **kwargs)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return self.layer.compute_mask(inputs, previous_mask)

    def get_weights(self) -> list[np.ndarray]:
        self.apply_masks()
        return super().get_weights()

    def save_own_variables(self, store: Any) -> None:
        # An optimizer of the user's own may have moved a stored pruned weight. Keras saves this layer before the layer
        # it holds, so what reaches the file is masked.
        self.apply_masks()
        super().save_own_variables(store)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("dtype", None)
        return {**config, "weights": self.weight_paths}
