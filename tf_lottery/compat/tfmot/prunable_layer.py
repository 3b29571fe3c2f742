"""`PrunableLayer`: how a layer of the user's own says which of its weights are pruned."""

from abc import ABC, abstractmethod
from typing import Any


class PrunableLayer(ABC):
    """A base, beside `keras.layers.Layer`, of layers that name the weights to prune.

    Any layer with such a method is taken in the same way, also by `tf_lottery.wrap`.
    """

    @abstractmethod
    def get_prunable_weights(self) -> list[Any]:
        """Returns the variables of the layer that are pruned, once it is built."""
