"""The layer that `prune_low_magnitude` puts around another: a mask-applying layer that knows its schedule."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tf_lottery.compat.tfmot.block_masks import POOLING, Mask, prune_blocks, prune_m_by_n
from tf_lottery.errors import UsageError
from tf_lottery.layers.discovery import MASKED_NAMES, PROTOCOL, declared_maskable
from tf_lottery.layers.kinds import kind_of
from tf_lottery.layers.masked import Masked
from tf_lottery.layers.sublayers import owned_variables
from tf_lottery.pruning.schedules import (
    ConstantSparsity,
    PolynomialDecay,
    ScheduleLike,
    check_schedule,
)

SCHEDULES: dict[str, Any] = {"ConstantSparsity": ConstantSparsity, "PolynomialDecay": PolynomialDecay}


def prunable_weights(layer: keras.layers.Layer) -> list[str]:
    """Returns the paths, below a built layer, of the weights that tfmot prunes, or would if it knew the layer.

    These are what a layer's own method names, or else the kernels and embeddings that `tf_lottery.wrap` masks, without
    those of depthwise convolutions.
    """
    return [path for path, variable, owner in owned_variables(layer) if _is_prunable(owner, variable)]


def _is_prunable(owner: keras.layers.Layer, variable: keras.Variable) -> bool:
    if any(callable(getattr(owner, method, None)) for method in PROTOCOL):
        return id(variable) in declared_maskable(owner)
    kind = kind_of(owner)
    depthwise = kind.weight_axes == "depthwise kernel" or variable.name == "depthwise_kernel"
    return bool(kind.role) and variable.name in MASKED_NAMES and not depthwise


@keras.saving.register_keras_serializable("tf_lottery")
class PruneLowMagnitude(Masked):
    """A layer whose weights `UpdatePruningStep` prunes along a schedule; it may be built later, by its first call.

    Args:
        layer: The layer to hold.
        pruning_schedule: Answers `schedule(step) -> (should_prune, sparsity)`.
        block_size: The height and the width of the blocks that are pruned as a whole, of weights of two axes.
        block_pooling_type: How blocks are scored: by the mean ("AVG") or the largest ("MAX") magnitude.
        sparsity_m_by_n: (m, n) prunes m of n consecutive inputs, once, before the first step; instead of the schedule.
        weights: The paths of the weights to prune, below the layer; by default those of `prunable_weights`.
        **kwargs: The arguments of `keras.layers.Layer`; by default those of the held layer.

    Raises:
        UsageError: If an argument is wrong; or when the layer is built, if it does not fit its weights.
    """

    builds_later = True

    def __init__(
        self,
        layer: keras.layers.Layer,
        pruning_schedule: ScheduleLike,
        block_size: Sequence[int] = (1, 1),
        block_pooling_type: str = "AVG",
        sparsity_m_by_n: Sequence[int] | None = None,
        weights: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Checks the arguments, and masks the layer if it is built."""
        self.pruning_schedule = check_schedule(pruning_schedule)
        self.block_size = _two_integers(block_size, "block_size", least=1)
        if block_pooling_type not in POOLING:
            raise UsageError(
                f"`block_pooling_type` must be 'AVG' or 'MAX'. Received: {block_pooling_type!r}.", "Pass one of them."
            )
        self.block_pooling_type = block_pooling_type
        self.sparsity_m_by_n = None
        if sparsity_m_by_n:
            self.sparsity_m_by_n = _two_integers(sparsity_m_by_n, "sparsity_m_by_n", least=0)
            if self.sparsity_m_by_n[0] >= self.sparsity_m_by_n[1]:
                raise UsageError(
                    "`sparsity_m_by_n` is (zeros, group), with fewer zeros than weights in a group. Received: "
                    f"{tuple(sparsity_m_by_n)}.",
                    "Pass e.g. (2, 4).",
                )
        self.is_driven = False
        if not isinstance(layer, keras.layers.Layer):
            raise UsageError(
                f"`to_prune` must be a layer of Keras 3. Received: {type(layer).__module__}.{type(layer).__name__}.",
                "Make it with `import keras` (not tf_keras).",
            )
        super().__init__(layer, list(weights or ()), **kwargs)
        if getattr(layer, "_input_shape_arg", None) is not None and not hasattr(self, "_input_shape_arg"):
            self._input_shape_arg = layer._input_shape_arg  # by which a Sequential model makes its input

    def _add_masks(self) -> None:
        if not self.weight_paths:
            self.weight_paths = prunable_weights(self.layer)
        if not self.weight_paths and not type(self.layer).__module__.startswith("keras."):
            raise UsageError(
                f"The layer {self.layer.name!r} of class {type(self.layer).__name__} does not say what to prune.",
                "Give it a method `get_prunable_weights` that returns its variables, as PrunableLayer has.",
            )
        super()._add_masks()
        for path, variable in self.masked_variables.items():
            if self.block_size != (1, 1) and len(variable.shape) != 2:
                raise UsageError(
                    f"`block_size` needs weights of two axes. Received: {self.layer.name}/{path} of shape "
                    f"{tuple(variable.shape)}.",
                    "Prune dense layers in blocks, and the others weight by weight.",
                )

    def _call_masked(self, *args: Any, **kwargs: Any) -> Any:
        if not self.is_driven and self.masked_variables and self._get_call_context().training:
            raise UsageError(
                f"The layer {self.layer.name!r} is pruned by the callback UpdatePruningStep, which is missing.",
                "Pass it to `fit`: callbacks=[UpdatePruningStep()].",
            )
        return super()._call_masked(*args, **kwargs)

    def pruned_masks(self, masks: Mapping[str, Mask], sparsity: float) -> dict[str, Mask]:
        """Returns the masks of the layer at a sparsity, subsets of its present ones, by path below the layer.

        Args:
            masks: The present masks by path below the layer.
            sparsity: The sparsity of every weight, in [0, 1); not used by `sparsity_m_by_n`.
        """
        pruned = {}
        for path, mask in masks.items():
            weight = np.array(keras.ops.convert_to_numpy(self.masked_variables[path].value)).astype(np.float32)
            if self.sparsity_m_by_n:
                zeros, size = self.sparsity_m_by_n
                pruned[path] = prune_m_by_n(weight, mask, zeros=zeros, size=size)
            else:
                pruned[path] = prune_blocks(
                    weight,
                    mask,
                    sparsity=sparsity,
                    block_size=self.block_size,
                    pooling=self.block_pooling_type,
                )
        return pruned

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration, from which `from_config` builds the layer again."""
        return {
            **super().get_config(),
            "pruning_schedule": _schedule_config(self.pruning_schedule),
            "block_size": list(self.block_size),
            "block_pooling_type": self.block_pooling_type,
            "sparsity_m_by_n": self.sparsity_m_by_n and list(self.sparsity_m_by_n),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "PruneLowMagnitude":
        """Makes the layer from its configuration.

        Args:
            config: As from `get_config`.
            custom_objects: Classes of the user's by name, as in Keras.
        """
        schedule = config["pruning_schedule"]
        if schedule["class_name"] in SCHEDULES:
            made: Any = SCHEDULES[schedule["class_name"]].from_config(schedule["config"])
        else:
            made = keras.saving.deserialize_keras_object(schedule, custom_objects=custom_objects)
        layer: PruneLowMagnitude = super().from_config({**config, "pruning_schedule": made}, custom_objects)
        return layer


def _schedule_config(schedule: Any) -> dict[str, Any]:
    name = type(schedule).__name__
    if name in SCHEDULES:  # tfmot's own schedules, too
        return {"class_name": name, "config": SCHEDULES[name].from_config(schedule.get_config()).get_config()}
    config: dict[str, Any] = keras.saving.serialize_keras_object(schedule)
    return config


def _two_integers(value: Any, name: str, *, least: int) -> tuple[int, int]:
    whole = isinstance(value, Sequence) and len(value) == 2 and all(isinstance(one, int) for one in value)
    if not whole or min(value) < least:
        raise UsageError(
            f"`{name}` must be two integers of at least {least}. Received: {value!r}.", "Pass e.g. (1, 4)."
        )
    first, second = value
    return first, second
