"""Convolutional nets with batch normalization, for 32x32 images: ResNet-20, its small kin ResNet-8, and VGG-16.

They follow the networks of the lottery-ticket papers (arXiv 1803.03635, 1903.01611, 1912.05671; public code: open_lth):
He normal kernels, batch normalization with momentum 0.9 and epsilon 1e-5, global average pool, one dense layer, logits
out. Kernels are cut off at two standard deviations, scales start from 1, and convolutions have no biases, which the
normalization after them would take out again.
"""

import keras

from tf_lottery.models.inputs import Shape, check_images

LEAST_PIXELS = 8
WIDTHS = (16, 32, 64)
VGG16_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def residual_network(input_shape: Shape, classes: int, *, name: str, blocks: int) -> keras.Model:
    """A residual net for CIFAR (He et al. 2015): stages of 16, 32 and 64 channels; ResNet-20 has three blocks a stage.

    Where a stage halves the image, the shortcut is a strided 1x1 convolution with batch normalization, as in the
    lottery-ticket papers: ResNet-20 has their 270K convolution weights (with He's zero-padded shortcuts, 267.7K).

    Args:
        input_shape: (height, width, channels) of one image, in pixels.
        classes: the number of classes: units of the last layer, which gives logits.
        name: of the architecture, and of the model.
        blocks: the blocks of each stage, of two convolutions each.

    Returns:
        A built model with new weights.

    Raises:
        UnfitError: The shape or the number of classes does not fit.
    """
    check_images(name, input_shape, classes, least=LEAST_PIXELS)
    image = keras.Input(input_shape, name="image")
    x = keras.layers.ReLU(name="stem_relu")(_batch_normalized(image, "stem", WIDTHS[0]))
    for stage, filters in enumerate(WIDTHS, start=1):
        for block in range(1, blocks + 1):
            x = _block(x, f"block_{stage}_{block}", filters, halve=stage > 1 and block == 1)
    return keras.Model(image, _head(x, classes), name=name)


def vgg16(input_shape: Shape, classes: int) -> keras.Model:
    """VGG-16 with batch normalization for CIFAR: 13 convolutions, four max pools, global average pool, one dense layer.

    Pools round up, so that images from 8x8 fit; for 32x32 this changes nothing.

    Args:
        input_shape: (height, width, channels) of one image, in pixels.
        classes: the number of classes: units of the last layer, which gives logits.

    Returns:
        A built model with new weights.

    Raises:
        UnfitError: The shape or the number of classes does not fit.
    """
    check_images("vgg16", input_shape, classes, least=LEAST_PIXELS)
    image = keras.Input(input_shape, name="image")
    x = image
    for block, (filters, count) in enumerate(VGG16_BLOCKS, start=1):
        if block > 1:
            x = keras.layers.MaxPooling2D(2, padding="same", name=f"pool_{block - 1}")(x)
        for position in range(1, count + 1):
            x = _batch_normalized(x, f"conv_{block}_{position}", filters)
            x = keras.layers.ReLU(name=f"conv_{block}_{position}_relu")(x)
    return keras.Model(image, _head(x, classes), name="vgg16")


def _block(x: keras.KerasTensor, name: str, filters: int, *, halve: bool) -> keras.KerasTensor:
    """Two convolutions beside a shortcut; a block that halves the image has a convolution in its shortcut too."""
    inner = x
    if halve:
        # "same" would pad an even image on the far side only, and the kernels' centers would lie between the pixels
        # that the shortcut takes.
        inner = keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(inner)
    inner = _batch_normalized(
        inner, f"{name}_conv_1", filters, strides=2 if halve else 1, padding="valid" if halve else "same"
    )
    inner = keras.layers.ReLU(name=f"{name}_conv_1_relu")(inner)
    inner = _batch_normalized(inner, f"{name}_conv_2", filters)
    shortcut = _batch_normalized(x, f"{name}_shortcut", filters, size=1, strides=2) if halve else x
    return keras.layers.ReLU(name=f"{name}_relu")(keras.layers.Add(name=f"{name}_add")([inner, shortcut]))


def _batch_normalized(
    x: keras.KerasTensor, name: str, filters: int, *, size: int = 3, strides: int = 1, padding: str = "same"
) -> keras.KerasTensor:
    convolution = keras.layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer=keras.initializers.HeNormal(),
        name=name,
    )
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(convolution(x))


def _head(x: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    x = keras.layers.GlobalAveragePooling2D(name="average_pool")(x)
    return keras.layers.Dense(classes, kernel_initializer=keras.initializers.HeNormal(), name="output")(x)
