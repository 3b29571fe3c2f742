"""Calls of `find_ticket` in one process leave no objects behind. (What XLA compiled stays: see docs/facts.md.)"""

import gc

import keras
import numpy as np
import pytest

import tf_lottery as tfl


@pytest.mark.slow
def test_the_third_call_leaves_as_much_as_the_second():
    """Each call left three graphs, with 3,000 objects and 3 MB."""
    x, y = np.random.default_rng(0).normal(size=(100, 4)).astype("float32"), np.arange(100) % 2
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def objects_after_a_call():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(2)])
        tfl.find_ticket(model, x, y, loss=loss, rounds=1, rate=0.5, steps=10, verbose=0)
        del model
        gc.collect()
        return len(gc.get_objects())

    objects_after_a_call()  # what is imported and made once
    second = objects_after_a_call()
    assert objects_after_a_call() - second < 200
