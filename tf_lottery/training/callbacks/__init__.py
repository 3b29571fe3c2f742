"""Callbacks for wrapped models in `fit`: gradual pruning, dynamic sparse training, logs of sparsity.

They act between the calls by which `fit` trains. Masks are variables, so nothing is traced or compiled again, and XLA
and `steps_per_execution` work as without them.
"""

from tf_lottery.training.callbacks.dynamic_sparsity import SET, RigL
from tf_lottery.training.callbacks.gradual_pruning import GradualPruning
from tf_lottery.training.callbacks.sparsity_logger import SparsityLogger

__all__ = ["SET", "GradualPruning", "RigL", "SparsityLogger"]
