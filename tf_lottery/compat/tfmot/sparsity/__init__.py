"""The place of `keras` below `tfmot.sparsity`."""

from tf_lottery.compat.tfmot.sparsity import keras

__all__ = ["keras"]
