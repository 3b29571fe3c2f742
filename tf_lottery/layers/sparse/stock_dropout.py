"""Dropout under XLA that draws what TensorFlow's own operations draw.

Both make the same random bits, and make numbers from 0 to 1 of them in different ways. A model whose dense training is
not compiled by XLA keeps its random numbers where its sparse one is.
"""

from typing import Any

import keras
import tensorflow as tf

SPATIAL = (keras.layers.SpatialDropout1D, keras.layers.SpatialDropout2D, keras.layers.SpatialDropout3D)
DROPOUTS = (keras.layers.Dropout, *SPATIAL)
PHILOX = 1
MANTISSA, ONE = 0x7FFFFF, 0x3F800000
"""Which bits of a float32 are its fraction, and the bits of 1.0."""


def stock_uniform(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns what `tf.random.stateless_uniform` does on a processor without XLA: float32 from 0 to 1.

    Args:
        shape: Of the result.
        seed: int32, of shape (2,).
    """
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    bits = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=shape, key=key, counter=counter, alg=PHILOX, dtype=tf.uint32
    )
    fraction = tf.bitwise.bitwise_or(tf.bitwise.bitwise_and(bits, tf.constant(MANTISSA, tf.uint32)), ONE)
    return tf.bitcast(fraction, tf.float32) - 1.0


def draws_as_stock(layer: Any) -> bool:
    """Returns whether `StockDropout` computes what a layer does.

    Args:
        layer: A layer of a model.
    """
    return type(layer) in DROPOUTS and layer.compute_dtype == "float32" and 0 < layer.rate < 1


class StockDropout(keras.layers.Layer):
    """A dropout layer of a model, whose seed it shares, that draws as TensorFlow's own operations do.

    Args:
        layer: The layer; `draws_as_stock` is true of it.
    """

    def __init__(self, layer: keras.layers.Layer) -> None:
        """Holds the layer; makes no variables."""
        super().__init__(name=layer.name)
        self.layer = layer
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns what the layer gives.

        Args:
            inputs: Of any shape.
            training: Whether numbers are dropped.
        """
        if not training:
            return inputs
        layer = self.layer
        noise_shape = layer._get_noise_shape(inputs) if type(layer) in SPATIAL else layer.noise_shape
        sizes = tf.unstack(tf.shape(inputs))
        if noise_shape is not None:
            sizes = [own if size is None else size for own, size in zip(sizes, noise_shape, strict=True)]
        # Keras casts seeds so.
        seed = tf.cast(tf.math.floormod(layer.seed_generator.next(), tf.int32.max - 1), tf.int32)
        kept = stock_uniform(tf.stack(sizes), seed) >= layer.rate
        return tf.where(kept, inputs * (1 / (1 - layer.rate)), 0.0)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the outputs.

        Args:
            input_shape: Of the inputs.
        """
        return input_shape
