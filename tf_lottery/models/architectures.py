"""The architectures of the papers as Keras models: layers with stable names, logits out, no seeds inside.

Kernels start from the Glorot normal distribution (truncated, as in Frankle & Carbin 2018), those of nets with batch
normalization (`batch_normalized`, `mobile`) from He's; biases from zero. The initializers carry no seed: build inside
`tf_lottery.utils.seeds.seeded(seed)` to make the weights a function of that seed. `catalog` describes each in words.
"""

from collections.abc import Callable, Sequence
from functools import partial

import keras

from tf_lottery.models.batch_normalized import residual_network, vgg16
from tf_lottery.models.inputs import Shape, check_classifier, check_images
from tf_lottery.models.mobile import mobilenet


def dense_network(input_shape: Shape, classes: int, *, name: str, hidden: Sequence[int]) -> keras.Model:
    """Dense layers with ReLU, on the flattened input.

    Args:
        input_shape: shape of one example, without the batch axis; it is flattened.
        classes: the number of classes: units of the last layer, which gives logits.
        name: of the architecture, and of the model.
        hidden: the units of each hidden layer.

    Returns:
        A built model with new weights.

    Raises:
        UnfitError: The shape or the number of classes does not fit.
    """
    check_classifier(name, input_shape, classes)
    layers = [keras.Input(input_shape, name="image"), keras.layers.Flatten(name="flatten")]
    return keras.Sequential([*layers, *_head(hidden, classes)], name=name)


def convolutional_network(input_shape: Shape, classes: int, *, name: str, blocks: Sequence[int]) -> keras.Model:
    """Blocks of two 3x3 convolutions and a max pool, then dense 256, 256, classes.

    Args:
        input_shape: (height, width, channels) of one image, in pixels.
        classes: the number of classes: units of the last layer, which gives logits.
        name: of the architecture, and of the model.
        blocks: the filters of each block.

    Returns:
        A built model with new weights.

    Raises:
        UnfitError: The shape or the number of classes does not fit.
    """
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


ARCHITECTURES: dict[str, Callable[[Shape, int], keras.Model]] = {
    "mlp": partial(dense_network, name="mlp", hidden=(100, 50)),
    "fc1": partial(dense_network, name="fc1", hidden=(300, 100)),
    "lenet5": partial(convolutional_network, name="lenet5", blocks=(64,)),
    "conv2": partial(convolutional_network, name="conv2", blocks=(64,)),
    "conv4": partial(convolutional_network, name="conv4", blocks=(64, 128)),
    "conv6": partial(convolutional_network, name="conv6", blocks=(64, 128, 256)),
    "resnet8": partial(residual_network, name="resnet8", blocks=1),
    "resnet20": partial(residual_network, name="resnet20", blocks=3),
    "vgg16": vgg16,
    "mobilenet": mobilenet,
}
"""The builders by their catalog names: functions of the shape of one example and the number of classes."""
