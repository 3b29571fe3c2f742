"""The handwritten digits that scikit-learn carries: 1,797 images of 8x8 pixels, no network needed.

A subset of the test part of "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak, UCI, 1998).
"""

import numpy as np

from tf_lottery.data.arrays import Arrays
from tf_lottery.data.content import Content
from tf_lottery.utils import seeds

CLASSES = 10
SCALE = 16.0


def read() -> Content:
    """Read the digits: values 0 to 16, every fifth example of each class in a test split that no seed changes.

    Returns:
        1,437 training images (1,200 once the default validation part of 237 is set aside) and 360 test images of
        shape (8, 8, 1), uint8.
    """
    from sklearn.datasets import load_digits

    source = load_digits()
    x = source.images.astype(np.uint8)[..., np.newaxis]
    y = source.target.astype(np.int32)
    shuffled = seeds.generator("digits", "test split").permutation(len(y))
    by_class = shuffled[np.argsort(y[shuffled], kind="stable")]
    test = np.sort(by_class[::5])
    train = np.setdiff1d(np.arange(len(y)), test)
    arrays = Arrays(x, y)
    return Content(arrays.take(train), None, arrays.take(test), CLASSES, SCALE, "scikit-learn")
