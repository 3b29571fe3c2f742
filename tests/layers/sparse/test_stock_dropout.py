"""Dropout under XLA draws what TensorFlow's own operations draw."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery.layers.sparse import StockDropout
from tf_lottery.layers.sparse.stock_dropout import draws_as_stock

L = keras.layers


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: L.Dropout(0.3, seed=5), (37, 50)),
        (lambda: L.Dropout(0.5, seed=2**40, noise_shape=(None, 1, 6, 1)), (7, 5, 6, 3)),
        (lambda: L.SpatialDropout2D(0.4, seed=1), (9, 4, 4, 11)),
    ],
)
def test_the_same_numbers_with_and_without_xla(make, shape):
    own, other = make(), make()
    assert draws_as_stock(own)
    inputs = tf.constant(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    plain = tf.function(lambda x: own(x, training=True))
    compiled = tf.function(StockDropout(other), jit_compile=True)
    for _ in range(3):  # each call moves the seed
        expected, actual = plain(inputs).numpy(), compiled(inputs, training=True).numpy()
        assert np.array_equal(actual == 0, expected == 0)
        np.testing.assert_allclose(actual, expected, rtol=1e-6)
    assert np.array_equal(compiled(inputs, training=False), inputs)


def test_what_draws_otherwise():
    assert not draws_as_stock(L.GaussianNoise(0.1))
    assert not draws_as_stock(L.Dropout(0.0))
    assert not draws_as_stock(L.Dropout(0.1, dtype="mixed_bfloat16"))
