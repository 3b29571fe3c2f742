"""The architectures of the papers as Keras models: layers with stable names, logits out, no seeds inside.

Kernels start from the Glorot normal distribution (truncated, as in Frankle & Carbin 2018), those of nets with batch
normalization (`batch_normalized`) from He's; biases from zero. The initializers carry no seed: build inside
`tf_lottery.utils.seeds.seeded(seed)` to make the weights a function of that seed.
"""

from collections.abc import Sequence

import keras

from tf_lottery.models.batch_normalized import resnet8, resnet20, vgg16
from tf_lottery.models.inputs import Shape, check_classifier, check_images
from tf_lottery.models.mobile import mobilenet


def mlp(input_shape: Shape, classes: int) -> keras.Model:
    """Dense 100, 50, classes: a small net for small images, about 97 % accurate on `digits`.

    Args:
        input_shape: shape of one example, without the batch axis; it is flattened.
        classes: the number of classes: units of the last layer, which gives logits.

    Returns:
        A built model with new weights.

    Raises:
        UnfitError: The shape or the number of classes does not fit.
    """
    return _dense("mlp", input_shape, classes, hidden=(100, 50))


def fc1(input_shape: Shape, classes: int) -> keras.Model:
    """LeNet-300-100 (LeCun et al. 1998): dense 300, 100, classes; 266,200 weights for MNIST.

    Args:
        input_shape: shape of one example, without the batch axis; it is flattened.
        classes: the number of classes: units of the last layer, which gives logits.

    Returns:
        A built model with new weights.

    Raises:
        UnfitError: The shape or the number of classes does not fit.
    """
    return _dense("fc1", input_shape, classes, hidden=(300, 100))


def lenet5(input_shape: Shape, classes: int) -> keras.Model:
    """The "LeNet5" of the reproduction report: two 64-filter 3x3 convolutions, max pool, dense 256, 256, classes.

    Args:
        input_shape: (height, width, channels) of one image, in pixels.
        classes: the number of classes: units of the last layer, which gives logits.

    Returns:
        A built model with new weights.

    Raises:
        UnfitError: The shape or the number of classes does not fit.
    """
    return _convolutional("lenet5", input_shape, classes, blocks=(64,))


def conv2(input_shape: Shape, classes: int) -> keras.Model:
    """Conv-2 of Frankle & Carbin (2018): convolutions 64, 64, pool, then dense 256, 256, classes.

    Args:
        input_shape: (height, width, channels) of one image, in pixels.
        classes: the number of classes: units of the last layer, which gives logits.

    Returns:
        A built model with new weights.

    Raises:
        UnfitError: The shape or the number of classes does not fit.
    """
    return _convolutional("conv2", input_shape, classes, blocks=(64,))


def conv4(input_shape: Shape, classes: int) -> keras.Model:
    """Conv-4 of Frankle & Carbin (2018): as Conv-2, with 128, 128, pool after the first block.

    Args:
        input_shape: (height, width, channels) of one image, in pixels.
        classes: the number of classes: units of the last layer, which gives logits.

    Returns:
        A built model with new weights.

    Raises:
        UnfitError: The shape or the number of classes does not fit.
    """
    return _convolutional("conv4", input_shape, classes, blocks=(64, 128))


def conv6(input_shape: Shape, classes: int) -> keras.Model:
    """Conv-6 of Frankle & Carbin (2018): as Conv-4, with 256, 256, pool after the second block.

    Args:
        input_shape: (height, width, channels) of one image, in pixels.
        classes: the number of classes: units of the last layer, which gives logits.

    Returns:
        A built model with new weights.

    Raises:
        UnfitError: The shape or the number of classes does not fit.
    """
    return _convolutional("conv6", input_shape, classes, blocks=(64, 128, 256))


ARCHITECTURES = {
    function.__name__: function
    for function in (mlp, fc1, lenet5, conv2, conv4, conv6, resnet8, resnet20, vgg16, mobilenet)
}
"""The builders by their catalog names."""


def _dense(name: str, input_shape: Shape, classes: int, *, hidden: Sequence[int]) -> keras.Model:
    check_classifier(name, input_shape, classes)
    layers = [keras.Input(input_shape, name="image"), keras.layers.Flatten(name="flatten")]
    return keras.Sequential([*layers, *_head(hidden, classes)], name=name)


def _convolutional(name: str, input_shape: Shape, classes: int, *, blocks: Sequence[int]) -> keras.Model:
    check_images(name, input_shape, classes, least=2 ** len(blocks))
    layers: list[keras.layers.Layer] = [keras.Input(input_shape, name="image")]
    for block, filters in enumerate(blocks, start=1):
        for position in (1, 2):
            layers.append(
                keras.layers.Conv2D(
                    filters,
                    3,
                    padding="same",
                    activation="relu",
                    kernel_initializer=keras.initializers.GlorotNormal(),
                    name=f"conv_{block}_{position}",
                )
            )
        layers.append(keras.layers.MaxPooling2D(2, name=f"pool_{block}"))
    layers.append(keras.layers.Flatten(name="flatten"))
    return keras.Sequential([*layers, *_head((256, 256), classes)], name=name)


def _head(hidden: Sequence[int], classes: int) -> list[keras.layers.Layer]:
    # Each layer gets an initializer of its own: a shared one would give layers of one shape equal weights.
    layers = [
        keras.layers.Dense(
            units,
            activation="relu",
            kernel_initializer=keras.initializers.GlorotNormal(),
            name=f"hidden_{number}",
        )
        for number, units in enumerate(hidden, start=1)
    ]
    output = keras.layers.Dense(classes, kernel_initializer=keras.initializers.GlorotNormal(), name="output")
    return [*layers, output]
