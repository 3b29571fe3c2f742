"""MobileNet for 32x32 images: a network whose pruned 1x1 convolutions run on XNNPACK's sparse kernels.

It follows MobileNet (Howard et al. 2017, arXiv 1704.04861): depthwise 3x3 and pointwise 1x1 convolutions, each with
batch normalization and ReLU6, a global average pool, one dense layer, logits out. Fewer stages than there, as the
images are small. Nine tenths of its weights are in 1x1 convolutions, the ones that sparse kernels exist for.

How it is laid out decides whether they are used (docs/mobile.md): wherever the image is halved, one row of zeros on
each side is added first and the convolution itself pads nothing. "same" with stride 2 would pad an even image on the
far side only, which no sparse kernel takes; with stride 1 it pads both sides alike.
"""

import keras

from tf_lottery.errors import UsageError
from tf_lottery.models.inputs import Shape, check_images

LEAST_PIXELS = 8
STEM = 32
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 1))
"""Filters at width 1, and strides."""


def mobilenet(input_shape: Shape, classes: int, *, width: float = 0.5) -> keras.Model:
    """MobileNet for small images: a strided 3x3 convolution, six depthwise separable blocks, average pool, dense.

    Args:
        input_shape: (height, width, channels); sparse kernels take the first convolution for three channels only.
        classes: how many.
        width: factor on all numbers of filters, which are rounded to multiples of 8.

    Raises:
        UnfitError: the input is no image of at least 8x8 pixels, or there are no classes.
        UsageError: `width` is not positive.
    """
    check_images("mobilenet", input_shape, classes, least=LEAST_PIXELS)
    if not width > 0:
        raise UsageError(f"`width` must be above 0: the factor on the filters. Received: {width!r}.", "Use e.g. 0.5.")
    image = keras.Input(input_shape, name="image")
    x = keras.layers.ZeroPadding2D(1, name="stem_pad")(image)
    stem = keras.layers.Conv2D(
        _filters(STEM, width),
        3,
        strides=2,
        use_bias=False,
        kernel_initializer=keras.initializers.HeNormal(),
        name="stem",
    )
    x = _activated(stem(x), "stem")
    for number, (filters, stride) in enumerate(BLOCKS, start=1):
        x = _block(x, f"block_{number}", _filters(filters, width), stride)
    x = keras.layers.GlobalAveragePooling2D(name="average_pool")(x)
    output = keras.layers.Dense(classes, kernel_initializer=keras.initializers.HeNormal(), name="output")
    return keras.Model(image, output(x), name="mobilenet")


def _block(x: keras.KerasTensor, name: str, filters: int, stride: int) -> keras.KerasTensor:
    if stride == 2:
        x = keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    depthwise = keras.layers.DepthwiseConv2D(
        3,
        strides=stride,
        padding="valid" if stride == 2 else "same",
        use_bias=False,
        depthwise_initializer=keras.initializers.HeNormal(),
        name=f"{name}_depthwise",
    )
    pointwise = keras.layers.Conv2D(
        filters, 1, use_bias=False, kernel_initializer=keras.initializers.HeNormal(), name=f"{name}_pointwise"
    )
    x = _activated(depthwise(x), f"{name}_depthwise")
    return _activated(pointwise(x), f"{name}_pointwise")


def _activated(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x)


def _filters(filters: int, width: float) -> int:
    return max(8, 8 * round(filters * width / 8))
