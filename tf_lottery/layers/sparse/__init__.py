"""Layers that compute with the kept weights alone, by compiled kernels."""

from tf_lottery.layers.sparse.native import Kernels, kernels
from tf_lottery.layers.sparse.sparse_dense import SparseDense
from tf_lottery.layers.sparse.sparsifying import densify, is_sparsified, reasons_dense, shared_sparse_model, sparsify

__all__ = [
    "Kernels",
    "SparseDense",
    "densify",
    "is_sparsified",
    "kernels",
    "reasons_dense",
    "shared_sparse_model",
    "sparsify",
]
