"""Small models, layers and data that several tests use."""

import keras
import numpy as np

from tf_lottery.data import Arrays
from tf_lottery.experiment.problem import Problem


class Subclassed(keras.Model):
    """A subclassed model of one dense layer, unbuilt."""

    def __init__(self, units=2):
        super().__init__()
        self.dense = keras.layers.Dense(units)

    def call(self, inputs):
        return self.dense(inputs)


@keras.saving.register_keras_serializable("tests")
class AlwaysNoise(keras.layers.Layer):
    """Draws random numbers at inference too, as a sampling layer does."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seed_generator = keras.random.SeedGenerator(7)

    def call(self, inputs):
        return inputs + 0.1 * keras.random.normal(keras.ops.shape(inputs), seed=self.seed_generator)


@keras.saving.register_keras_serializable("tests")
class FailingOnceCopied(keras.layers.Layer):
    """A layer that fails when a copy of it is called, or once its attribute `fails` is set."""

    fails = False

    def call(self, inputs):
        if self.fails:
            raise ZeroDivisionError("no mood")
        return inputs

    @classmethod
    def from_config(cls, config):
        copy = cls(**config)
        copy.fails = True
        return copy


def random_arrays(size, seed):
    """Six normal features an example, and one of three classes at random."""
    generator = np.random.default_rng(seed)
    return Arrays(generator.normal(size=(size, 6)).astype("float32"), generator.integers(0, 3, size))


def adam():
    return keras.optimizers.Adam(0.01)


def classifying_problem(make_model, *, make_optimizer=adam, **options):
    """A problem with a model that gives logits; by default its three parts are `random_arrays`."""
    return Problem(
        make_model=make_model,
        make_optimizer=make_optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        **{
            "train": random_arrays(60, 0),
            "validation": random_arrays(30, 1),
            "test": random_arrays(30, 2),
            **options,
        },
    )
