"""Small models, layers and data that several tests use."""

import keras
import numpy as np

from tf_lottery.data import Arrays
from tf_lottery.experiment.problem import Problem
from tf_lottery.layers.masked_variable import is_masked, mask_of


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


class Tied(keras.layers.Layer):
    """A dense layer without a bias, by the transposed kernel of another layer."""

    def __init__(self, source, **options):
        super().__init__(**options)
        self.source = source

    def call(self, inputs):
        return keras.ops.matmul(inputs, keras.ops.transpose(self.source.kernel))

    def get_config(self):
        return {**super().get_config(), "source": keras.saving.serialize_keras_object(self.source)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("source")), **config)


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


def stored_value(variable):
    """What is stored of a variable, also where its mask makes it read as 0.0."""
    if not is_masked(variable):
        return variable.numpy()
    mask = mask_of(variable)
    kept = mask.numpy()
    mask.assign(np.ones_like(kept))
    value = variable.numpy()
    mask.assign(kept)
    return value


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


def round_kernels(model, steps):
    """Put each kernel into whole numbers from -steps to steps of one scale per channel, by its layer's name."""
    for layer in (layer for layer in model.layers if layer.weights):
        kernel = layer.weights[0].numpy()
        channels = 2 if isinstance(layer, keras.layers.DepthwiseConv2D) else 1
        largest = np.abs(kernel).max(tuple(range(kernel.ndim - channels)), keepdims=True)
        scale = np.where(largest > 0, largest, 1) / steps[layer.name]
        layer.weights[0].assign(np.round(kernel / scale) * scale)
    return model


def error_over_spread(received, expected):
    """The root mean square of the error over that of the outputs about their means, of `(samples, channels)`."""
    return np.sqrt(np.mean((received - expected) ** 2) / np.mean((expected - expected.mean(0)) ** 2))
