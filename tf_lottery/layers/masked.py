"""`Masked`: the mask-applying layer, which runs any layer on masked weights."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tf_lottery.errors import UsageError
from tf_lottery.layers.lora import (
    Lora,
    adaptable_variables,
    adapters,
    check_lora,
    enable_adapters,
    hold_lora,
    reason_refused,
)
from tf_lottery.layers.masked_variable import is_masked, mask_variable, read_once
from tf_lottery.layers.own_attributes import OF_WRAPPING
from tf_lottery.layers.sublayers import layer_variables


def builds_itself(layer: keras.layers.Layer) -> bool:
    """Returns whether a layer creates its weights in `build` rather than in its first call."""
    return type(layer).build is not keras.layers.Layer.build


ASKED_OF_LAYERS = ("save_assets", "load_assets", "maskable_weights", "get_prunable_weights")
"""Methods that the held layer is asked for itself, since it is found among the layers too."""


REMEDY = (
    '`strip` the model first; or `wrap` it with lora="mask", which masks the sum, or without this layer: `exclude`.'
)
NO_QUANTIZATION = ("it replaces the kernel", "`strip` the model first.")


def guard_weights(layer: keras.layers.Layer, lora: Lora) -> None:
    """Prepares a layer and its sublayers for methods that replace masked weights, or add to them: most are refused.

    Args:
        layer: A layer with masked weights, or a model.
        lora: What is done with LoRA on them, as for `wrap`.

    Raises:
        UsageError: If a layer has LoRA enabled, and that is refused.
    """
    for sublayer in layer._flatten_layers():
        if not any(is_masked(v) for v in sublayer._trainable_variables + sublayer._non_trainable_variables):
            continue
        if hasattr(sublayer, "quantize"):
            _refuse(sublayer, "quantize", *NO_QUANTIZATION)
        if not any(map(is_masked, adaptable_variables(sublayer))):
            continue
        reason = reason_refused(sublayer, lora)
        if not reason:
            hold_lora(sublayer, mask_sum=lora == "mask")
        elif getattr(sublayer, "lora_enabled", False):
            raise UsageError(
                f"A mask of the layer {sublayer.name!r} would not hold: LoRA is enabled, and {reason}.", REMEDY
            )
        else:
            _refuse(sublayer, "enable_lora", reason, REMEDY)


def refuse_quantization(model: keras.Model) -> None:
    """Makes `quantize` of a wrapped model raise an error before it changes the layers that have no masks."""
    _refuse(model, "quantize", *NO_QUANTIZATION)


def _refuse(layer: keras.layers.Layer, method: str, reason: str, remedy: str) -> None:
    """Makes a method of a layer or model raise an error."""
    kind = "model" if isinstance(layer, keras.Model) else "layer"

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise UsageError(
            f"`{method}` of the {kind} {layer.name!r} would compute with weights that its masks do not hold for: "
            f"{reason}.",
            remedy,
        )

    # Keras may have set it on the instance, too, which `strip` brings back.
    before = vars(layer).get(method, True)
    setattr(refuse, OF_WRAPPING, getattr(before, OF_WRAPPING, before))
    object.__setattr__(layer, method, refuse)


@keras.saving.register_keras_serializable("tf_lottery")
class Masked(keras.layers.Wrapper):
    """A layer that holds another layer and computes with `where(mask, weight, 0)` in place of some of its weights.

    The gradient of a pruned weight is therefore exactly zero, and nothing that an optimizer does to a stored weight
    (momentum, decay, averaging) reaches the effective one. Masks are non-trainable boolean variables: changing them
    neither retraces nor recompiles.

    Args:
        layer: The layer to hold, built.
        weights: The paths, below the layer, of the weights to mask, e.g. `["kernel"]`.
        lora: What is done with LoRA on them, as for `wrap`.
        adapters: Rank and alpha of LoRA by path below the layer, where it is to be enabled.
        **kwargs: The arguments of `keras.layers.Layer`; by default those of the held layer.

    Raises:
        ValueError: If the layer is not built, or has no weight of such a path.
        UsageError: If LoRA is enabled on a masked weight, and that is refused.

    Example:
        >>> layer = keras.layers.Dense(2)
        >>> layer.build((None, 3))
        >>> masked = Masked(layer, ["kernel"])
        >>> masked.get_masks()["kernel"].shape
        (3, 2)
    """

    builds_later = False
    """Whether a subclass takes a layer that is not built, and masks it in its first call."""

    def __init__(
        self,
        layer: keras.layers.Layer,
        weights: list[str],
        lora: Lora = "error",
        adapters: Mapping[str, Sequence[float]] | None = None,
        **kwargs: Any,
    ) -> None:
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
        check_lora(lora)
        self.lora, self._adapters = lora, dict(adapters or {})
        self.weight_paths = list(weights)
        self.supports_masking = layer.supports_masking
        # Keras tracks what is assigned to an attribute: the variables would come before the held layer's others, and so
        # in another order than in the plain model.
        self.masked_variables: dict[str, keras.Variable]
        self.mask_variables: dict[str, keras.Variable]
        self.__dict__.update(masked_variables={}, mask_variables={})
        self._loops = any(isinstance(one, keras.layers.RNN) for one in layer._flatten_layers())
        if self.builds_later and not layer.built:
            return
        if builds_itself(layer):
            if not layer.built:
                raise ValueError(f"`layer` must be built before it is masked. Received: {layer.name!r}, not built.")
            self._add_masks()
        elif not self._missing():
            self._add_masks()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the held layer on masked weights, building it first if it is not built."""
        if not self.built:
            # A layer without a `build` method builds its sublayers when it is called, and only then has weights.
            self.layer(*args, **kwargs)
            self._add_masks()
        return super().__call__(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """Returns what only the held layer has: `model.get_layer("dense").kernel`, `.units`, `.reset_states`."""
        held = vars(self).get("layer")
        if held is None or name.startswith("_") or name in ASKED_OF_LAYERS:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(held, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets what only the held layer has there, where it is read: `model.get_layer("dense").activation = ...`."""
        held = vars(self).get("layer")
        own = name.startswith("_") or name in vars(self) or hasattr(type(self), name)
        if held is not None and not own and hasattr(held, name):
            setattr(held, name, value)
        else:
            super().__setattr__(name, value)

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
            mask_variable(variable, mask)
        enable_adapters(self.layer, self._adapters)
        guard_weights(self.layer, self.lora)
        self.built = True

    def _call_masked(self, *args: Any, **kwargs: Any) -> Any:
        # A recurrent layer would mask its weights at each step of its loop.
        with read_once(self.masked_variables.values() if self._loops else ()):
            return self.layer(*args, **kwargs)

    def get_masks(self) -> dict[str, np.ndarray]:
        """Returns the masks as boolean arrays (copies), by path below the layer."""
        return {path: np.array(ops.convert_to_numpy(mask.value)) for path, mask in self.mask_variables.items()}

    def load_own_variables(self, store: Any) -> None:
        """Loads the masks of a file; those of earlier versions hold the masked weights beside them."""
        saved = [np.asarray(store[key]) for key in sorted(store.keys(), key=int)]
        masks = {str(i): mask for i, mask in enumerate(array for array in saved if array.dtype == bool)}
        super().load_own_variables(masks)

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

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration, from which `from_config` builds the layer again."""
        config = super().get_config()
        config.pop("dtype", None)
        if not builds_itself(self.layer):  # Keras would mark it as built without building it
            config["layer"].pop("build_config", None)
        if self.lora != "error":
            config |= {"lora": self.lora, "adapters": adapters(self.layer)}
        return {**config, "weights": self.weight_paths}
