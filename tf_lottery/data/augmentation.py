"""Augmentation inside the training graph: random crops of the padded image, and mirroring.

The policy of CIFAR-10 training (He et al. 2016, arXiv 1512.03385, section 4.2): 4 pixels of zeros on each side, a
random crop of the old size, mirrored half of the time.
"""

from typing import Any

import tensorflow as tf

from tf_lottery.errors import UsageError


def augment(images: tf.Tensor, *, seed: Any, pad: int, flip: bool) -> tf.Tensor:
    """Crop and mirror each image of a batch, as a pure function of `seed`.

    Pixels are only moved, never computed, and the random numbers come from one named algorithm, so the result is the
    same bits with and without XLA.

    Args:
        images: shape (batch, height, width, channels), any dtype; all sizes but the batch static.
        seed: two integers (seed, step), e.g. an int32 tensor of shape (2,).
        pad: zeros added on each side before the crop; 0 for no crop.
        flip: mirror left and right with probability one half.

    Returns:
        Images of the same shape and dtype.

    Raises:
        UsageError: `pad` is not a whole number of pixels.
    """
    if not isinstance(pad, int) or pad < 0:
        raise UsageError(f"`pad` must be a whole number of pixels, 0 or more. Received: {pad!r}.", "Use e.g. pad=4.")
    if not pad and not flip:
        return images
    height, width = images.shape[1], images.shape[2]
    batch = images.shape[0] if images.shape[0] is not None else tf.shape(images)[0]
    # One draw of three numbers per image, whatever is switched on: turning one part off does not change the other.
    bits = tf.random.stateless_uniform((batch, 3), seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox")
    span = tf.constant(2 * pad + 1, tf.uint32)
    top, left = tf.cast(bits[:, 0] % span, tf.int32), tf.cast(bits[:, 1] % span, tf.int32)
    columns = tf.broadcast_to(tf.range(width)[None, :], (batch, width))
    if flip:
        mirrored = bits[:, 2] >= tf.constant(2**31, tf.uint32)
        columns = tf.where(mirrored[:, None], width - 1 - columns, columns)
    if pad:
        images = tf.pad(images, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        rows = tf.range(height)[None, :] + top[:, None]
        images = tf.gather(images, rows, axis=1, batch_dims=1)
        columns += left[:, None]
    return tf.gather(images, columns, axis=2, batch_dims=1)
