"""`UpdatePruningStep`, which prunes the layers of `prune_low_magnitude`, and `PruningSummaries` for TensorBoard."""

import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.compat.tfmot.pruned_layer import PruneLowMagnitude
from tf_lottery.errors import UsageError
from tf_lottery.layers import get_masks, set_masks
from tf_lottery.layers.wrapping import masked_variables
from tf_lottery.pruning.masks import Masks, kept
from tf_lottery.pruning.schedules import ask
from tf_lottery.training.callbacks.between_calls import BetweenCalls, zero_slots
from tf_lottery.utils.optional import require


class UpdatePruningStep(BetweenCalls):
    """Prunes the layers of `prune_low_magnitude` along their schedules, at tfmot's steps.

    Step s is the s-th update of the optimizer, from 1; the masks of step s hold in it, as in tfmot. With several steps
    in a call (`steps_per_execution`), what falls due inside of it is pruned after it, as in the first call of a model
    that is built by it. Masks only lose weights, where tfmot chooses them again each time.

    In a loop of the user's own, set `model.optimizer`, call `set_model`, `on_train_begin`, and `on_train_batch_begin`
    before each step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.prunable_layers: list[PruneLowMagnitude] = []
        self._last_step = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Collects the layers to prune.

        Args:
            logs: What `fit` reports; not used.

        Raises:
            UsageError: If there is none.
        """
        self.prunable_layers = [one for one in self.model._flatten_layers() if isinstance(one, PruneLowMagnitude)]
        if not self.prunable_layers:
            raise UsageError(
                f"UpdatePruningStep found no layer of `prune_low_magnitude` in the model {self.model.name!r}.",
                "Train the model that it returns. The callback of `wrap` is tf_lottery.callbacks.GradualPruning.",
            )
        if self._is_built():
            super().on_train_begin(logs)
        self._last_step = -1
        for layer in self.prunable_layers:
            layer.is_driven = True

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Prunes before a step, if it is one of a schedule's.

        Args:
            batch: The number of the batch in its epoch.
            logs: What `fit` reports; not used.
        """
        if not self._is_built():
            return
        following = self.steps_done() + 1
        # Of a resumed training, those of the last call: it may have been saved before it was pruned.
        first = max(1, following - self.model.steps_per_execution + 1) if self._last_step < 0 else self._last_step + 1
        self._prune(range(first, following + 1))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Prunes after a call of several steps, if one of them is one of a schedule's.

        Args:
            batch: The number of the last batch of the call in its epoch.
            logs: What `fit` reports; not used.
        """
        if self._last_step < 0:  # the first call built the model
            self._prune(range(1, self.steps_done() + 1))
        elif self.model.steps_per_execution != 1:
            self._prune(range(self._last_step + 1, self.steps_done() + 1))

    def on_epoch_end(self, batch: int, logs: Any = None) -> None:
        """Checks that the optimizer counts its steps.

        Args:
            batch: The number of the epoch, by tfmot's name.
            logs: What `fit` reports; not used.
        """
        super().on_epoch_end(batch, logs)

    def _is_built(self) -> bool:
        return all(layer.built for layer in self.prunable_layers)

    def _prune(self, steps: range) -> None:
        if not steps:
            return
        self._last_step = steps.stop - 1
        sparsities = [(layer, _due_sparsity(layer, steps)) for layer in self.prunable_layers]
        due = [(layer, sparsity) for layer, sparsity in sparsities if sparsity is not None]
        if not due:
            return
        masks = get_masks(self.model)
        paths = {id(variable): path for path, variable in masked_variables(self.model).items()}
        pruned: Masks = {}
        for layer, sparsity in due:
            own = {name: paths[id(variable)] for name, variable in layer.masked_variables.items()}
            present = {name: masks[path] for name, path in own.items()}
            pruned |= {own[name]: mask for name, mask in layer.pruned_masks(present, sparsity).items()}
        if kept(pruned) < kept({path: masks[path] for path in pruned}):
            set_masks(self.model, {**masks, **pruned})
            zero_slots(self.model, pruned)


def _due_sparsity(layer: PruneLowMagnitude, steps: range) -> float | None:
    """Returns the sparsity of the last of these steps at which a layer is pruned, or None."""
    if layer.sparsity_m_by_n:
        return 0.0 if 1 in steps else None
    for step in reversed(steps):
        should_prune, sparsity = ask(layer.pruning_schedule, step)
        if should_prune:
            return sparsity
    return None


class PruningSummaries(keras.callbacks.TensorBoard):
    """Writes the sparsity and the threshold of every pruned weight for TensorBoard when an epoch begins.

    Args:
        log_dir: The folder of TensorBoard's files; these scalars go to its folder `metrics`.
        update_freq: As for `keras.callbacks.TensorBoard`.
        **kwargs: The other arguments of `keras.callbacks.TensorBoard`.

    Raises:
        UsageError: If `log_dir` is no path, or TensorBoard is not installed.
    """

    def __init__(self, log_dir: str, update_freq: str | int = "epoch", **kwargs: Any) -> None:
        if not isinstance(log_dir, str | os.PathLike) or not os.fspath(log_dir):
            raise UsageError(f"`log_dir` must be the path of a folder. Received: {log_dir!r}.", "Pass e.g. 'logs'.")
        require("tensorboard", "TensorBoard's files")
        super().__init__(log_dir=os.fspath(log_dir), update_freq=update_freq, **kwargs)
        self._pruning_writer = tf.summary.create_file_writer(os.path.join(os.fspath(log_dir), "metrics"))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Writes the scalars, numbered by `optimizer.iterations`.

        Args:
            epoch: The number of the epoch.
            logs: What `fit` reports; without any, as in a loop of the user's own, nothing else is written.
        """
        if logs is not None:
            super().on_epoch_begin(epoch, logs)
        step = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
        variables = masked_variables(self.model)
        with self._pruning_writer.as_default():
            for path, mask in get_masks(self.model).items():
                magnitude = np.abs(np.array(keras.ops.convert_to_numpy(variables[path].value))[mask])
                tf.summary.scalar(f"{path}/sparsity", 1 - mask.mean(), step=step)
                tf.summary.scalar(f"{path}/threshold", magnitude.min() if magnitude.size else 0.0, step=step)
        self._pruning_writer.flush()
