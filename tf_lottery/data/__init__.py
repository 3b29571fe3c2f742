"""Data sets: by name, or the caller's arrays, as NumPy arrays that are split, normalized and fingerprinted.

Importing this loads no TensorFlow. Augmentation, which runs inside the training graph, is in
`tf_lottery.data.augmentation`.
"""

from tf_lottery.data.arrays import Arrays
from tf_lottery.data.dataset import Dataset
from tf_lottery.data.fit import check_fits
from tf_lottery.data.loading import check, describe, load, names, prepare
from tf_lottery.data.user import from_arrays

__all__ = ["Arrays", "Dataset", "check", "check_fits", "describe", "from_arrays", "load", "names", "prepare"]
