"""The names of `tfmot.sparsity.keras`, for Keras 3 models."""

from tf_lottery.compat.tfmot.prunable_layer import PrunableLayer
from tf_lottery.compat.tfmot.pruned_models import prune_low_magnitude, prune_scope, strip_pruning
from tf_lottery.compat.tfmot.pruning_callbacks import PruningSummaries, UpdatePruningStep
from tf_lottery.pruning.schedules import ConstantSparsity, PolynomialDecay

__all__ = [
    "ConstantSparsity",
    "PolynomialDecay",
    "PrunableLayer",
    "PruningSummaries",
    "UpdatePruningStep",
    "prune_low_magnitude",
    "prune_scope",
    "strip_pruning",
]
