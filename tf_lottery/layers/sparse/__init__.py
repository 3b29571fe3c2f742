"""Layers that compute with the kept weights alone, by compiled kernels."""

from tf_lottery.layers.sparse.blocked_model import BlockedLayer, run_blocked
from tf_lottery.layers.sparse.native import Kernels, kernels
from tf_lottery.layers.sparse.sparse_conv2d import SparseConv2D, reason_of_convolution
from tf_lottery.layers.sparse.sparse_dense import SparseDense
from tf_lottery.layers.sparse.sparse_layer import SparseLayer
from tf_lottery.layers.sparse.sparsifying import (
    densify,
    is_sparsified,
    reasons_dense,
    shared_sparse_model,
    sparsify,
    work_of,
)
from tf_lottery.layers.sparse.stock_dropout import StockDropout, draws_as_stock

__all__ = [
    "BlockedLayer",
    "Kernels",
    "SparseConv2D",
    "SparseDense",
    "SparseLayer",
    "StockDropout",
    "densify",
    "draws_as_stock",
    "is_sparsified",
    "kernels",
    "reason_of_convolution",
    "reasons_dense",
    "run_blocked",
    "shared_sparse_model",
    "sparsify",
    "work_of",
]
