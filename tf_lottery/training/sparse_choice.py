"""Which layers and optimizers train by the sparse kernels."""

from collections.abc import Mapping

import keras
import numpy as np

from tf_lottery.layers.sparse import reasons_dense, work_of
from tf_lottery.layers.sparse.break_even import Work, capacity_for, pays, saving
from tf_lottery.layers.sparse.sparsifying import masked_layers
from tf_lottery.training.optimizers import WITHOUT_DECAY

_O = keras.optimizers
ELEMENTWISE = (_O.SGD, _O.Adam, _O.AdamW, _O.RMSprop, _O.Adagrad, _O.Adadelta, _O.Adamax, _O.Nadam, _O.Ftrl, _O.Lion)
"""Optimizers that are element-wise, up to norms of whole gradients, to which pruned weights add nothing."""


def reason_of_optimizer(optimizer: keras.optimizers.Optimizer) -> str:
    """Return why an optimizer can't train the kept values alone; "" where it can.

    Args:
        optimizer: the optimizer of the dense model.
    """
    if type(optimizer) not in ELEMENTWISE:
        return f"the optimizer {type(optimizer).__name__} is not element-wise"
    if any(getattr(optimizer, name, None) for name in WITHOUT_DECAY):
        return "the optimizer excludes weights from decay by their names"
    return ""


def choose_layers(
    masks: Mapping[str, np.ndarray], works: Mapping[str, Work], setting: str, instruction_set: str, examples: int
) -> dict[str, int]:
    """Return which layers compute by the sparse kernels, with the capacity of each, by path.

    Args:
        masks: the mask of each mask-applying layer that may.
        works: what each of them computes for an example.
        setting: "auto" for those that are faster then, "on" for all.
        instruction_set: of the kernels.
        examples: how many examples a training looks at.
    """
    counts = {path: int(mask.sum()) for path, mask in masks.items()}
    if setting == "auto":
        savings = {path: saving(works[path], kept, instruction_set) for path, kept in counts.items()}
        useful = pays([(works[path], saved) for path, saved in savings.items()], examples)
        counts = {path: counts[path] for path, saved in savings.items() if saved and useful}
    return {path: capacity_for(works[path].size, kept) for path, kept in counts.items()}


def works_of(model: keras.Model) -> list[tuple[Work, float]]:
    """Return the layers that the kernels cover, with how many products each takes for an example.

    Args:
        model: a wrapped model.
    """
    masked, reasons = masked_layers(model), reasons_dense(model)
    works = [work_of(layer) for path, layer in masked.items() if not reasons[path]]
    return [(work, float(work.size * work.positions)) for work in works]
