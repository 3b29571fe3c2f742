"""Convolutions of blocked activations (placeholder)."""

from dataclasses import dataclass

import tensorflow as tf

LANES = 16


@dataclass(frozen=True)
class ConvShape:
    kernel_size: tuple[int, int]
    strides: tuple[int, int]
    padding: str
    input_size: tuple[int, int]
    inputs: int
    filters: int

    @property
    def output_size(self):
        return tuple(
            -(-size // stride) if self.padding == "same" else -(-(size - kernel + 1) // stride)
            for size, stride, kernel in zip(self.input_size, self.strides, self.kernel_size)
        )


def to_lanes(images):
    batch = images.shape[0]
    blocks = -(-batch // LANES)
    padded = tf.pad(images, [[0, blocks * LANES - batch], [0, 0], [0, 0], [0, 0]])
    return tf.transpose(tf.reshape(padded, [blocks, LANES, *images.shape[1:]]), [0, 4, 2, 3, 1])


def from_lanes(blocked, batch):
    b, c, h, w, _ = blocked.shape
    return tf.reshape(tf.transpose(blocked, [0, 4, 2, 3, 1]), [b * LANES, h, w, c])[:batch]


def sparse_conv(blocked, values, index, shape, batch):
    kept = tf.where(tf.range(values.shape[0]) < index["starts"][-1], values, 0.0)
    size = (*shape.kernel_size, shape.inputs, shape.filters)
    kernel = tf.reshape(tf.scatter_nd(index["places"][:, tf.newaxis], kept, [tf.reduce_prod(size)]), size)
    images = from_lanes(blocked, batch)
    return to_lanes(tf.nn.conv2d(images, kernel, shape.strides, shape.padding.upper()))
