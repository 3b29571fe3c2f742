"""The sparsity of a wrapped model in the logs of `fit`, and for TensorBoard."""

import os
from typing import Any

import keras
import tensorflow as tf

from tf_lottery.errors import UsageError
from tf_lottery.layers import get_masks, is_wrapped
from tf_lottery.layers.lora import has_masked_lora
from tf_lottery.pruning.masks import Masks, kept, total
from tf_lottery.utils.optional import require


def sparsities(model: keras.Model) -> dict[str, float]:
    """Returns `sparsity`, of all masked weights together, and `sparsity/<weight path>` of every array.

    Where masked weights have LoRA, `computed_sparsity` and `computed_sparsity/<weight path>` are the same of
    `get_masks(model, computed=True)`: with `wrap(model, lora="report")` less than the masks say.

    Raises:
        UsageError: If the model is not wrapped.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
        >>> sparsities(tfl.wrap(model))
        {'sparsity': 0.0, 'sparsity/dense/kernel': 0.0}
    """
    masks = get_masks(model)
    values = _named_sparsities("sparsity", masks)
    if has_masked_lora(model):
        values |= _named_sparsities("computed_sparsity", get_masks(model, computed=True))
    return values


class SparsityLogger(keras.callbacks.Callback):
    """Adds the sparsity of a wrapped model to the logs of every epoch, and writes it for TensorBoard.

    The logs get `sparsity`, of all masked weights together, and `sparsity/<weight path>` of every array; the history
    and callbacks further down the list see them, such as `CSVLogger`. Where masked weights have LoRA, they get
    `computed_sparsity` and `computed_sparsity/<weight path>` too, which count what LoRA adds to pruned weights.

    Args:
        log_dir: The folder for TensorBoard's files; by default none is written. The scalars are numbered by epoch.

    Raises:
        UsageError: If `log_dir` is given and TensorBoard is not installed. In `fit`, if the model is not wrapped.

    Example:
        >>> wrapped = tfl.wrap(keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)]))
        >>> wrapped.compile("sgd", "mse")
        >>> x, y = np.ones((8, 4)), np.ones((8, 5))
        >>> wrapped.fit(x, y, verbose=0, callbacks=[tfl.callbacks.SparsityLogger()]).history["sparsity"]
        [0.0]
    """

    def __init__(self, log_dir: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        if log_dir is not None:
            require("tensorboard", "TensorBoard's files")
        self.log_dir = log_dir
        self._writer: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Checks the model, and opens the file for TensorBoard.

        Args:
            logs: What `fit` reports; not used.
        """
        if not is_wrapped(self.model):
            raise UsageError(
                f"SparsityLogger reads the masks of a wrapped model. Received: {self.model.name!r}, which is not "
                "wrapped.",
                "Train the model that `tf_lottery.wrap(model)` returns.",
            )
        if self.log_dir is not None:
            self._writer = tf.summary.create_file_writer(os.fspath(self.log_dir))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds the sparsities to the logs.

        Args:
            epoch: The number of the epoch.
            logs: The logs, which are changed.
        """
        values = sparsities(self.model)
        if logs is not None:
            logs.update(values)
        if self._writer is not None:
            with self._writer.as_default():
                for name, value in values.items():
                    tf.summary.scalar(name, value, step=epoch)
            self._writer.flush()

    def on_train_end(self, logs: Any = None) -> None:
        """Closes the file for TensorBoard.

        Args:
            logs: What `fit` reports; not used.
        """
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _named_sparsities(name: str, masks: Masks) -> dict[str, float]:
    return {name: _pruned(masks)} | {f"{name}/{path}": _pruned({path: mask}) for path, mask in masks.items()}


def _pruned(masks: Masks) -> float:
    return (total(masks) - kept(masks)) / max(1, total(masks))
