"""Names of the TensorFlow Model Optimization Toolkit (tfmot) 0.8, for Keras 3 models, on this library's masks.

A script changes its import line, and keeps its calls of the pruning API:

    from tf_lottery.compat import tfmot            # was: import tensorflow_model_optimization as tfmot
    model = tfmot.sparsity.keras.prune_low_magnitude(model, pruning_schedule=schedule)

The masks are those of `tf_lottery.wrap`, so all of this library works on such a model. docs/migration.md has the
differences from tfmot.
"""

from tf_lottery.compat.tfmot import sparsity
from tf_lottery.compat.tfmot.sparsity.keras import (
    ConstantSparsity,
    PolynomialDecay,
    PrunableLayer,
    PruningSummaries,
    UpdatePruningStep,
    prune_low_magnitude,
    prune_scope,
    strip_pruning,
)

__all__ = [
    "ConstantSparsity",
    "PolynomialDecay",
    "PrunableLayer",
    "PruningSummaries",
    "UpdatePruningStep",
    "prune_low_magnitude",
    "prune_scope",
    "sparsity",
    "strip_pruning",
]
