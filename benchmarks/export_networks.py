"""Sixteen small networks of the kinds that go to phones, with data on which they learn in seconds.

The four of MLPerf Tiny are in the shapes of that benchmark (Banbury et al. 2021, arXiv 2106.07597), with made-up data.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

COUNT = 640
Data = tuple[Any, Any]


@dataclass(frozen=True)
class Network:
    """A network of the zoo.

    Attributes:
        make: returns the model, unbuilt weights drawn from Keras's seed.
        data: returns inputs and targets of `COUNT` examples, from a generator.
        loss: for `compile`: a name, or a list for several outputs.
        steps: of training, before and after pruning together.
        policy: the dtype policy of the model.
    """

    make: Callable[[], keras.Model]
    data: Callable[[np.random.Generator], Data]
    loss: Any = "sparse_categorical_crossentropy"
    steps: int = 60
    policy: str = "float32"


def classes(shape: tuple[int, ...], count: int) -> Callable[[np.random.Generator], Data]:
    """Data of which each class has a pattern of its own."""

    def draw(generator: np.random.Generator) -> Data:
        patterns = generator.normal(size=(count, *shape))
        y = generator.integers(0, count, COUNT)
        x = 0.5 * patterns[y] + generator.normal(size=(COUNT, *shape))
        return x.astype("float32"), y.astype("int32")

    return draw


def texts(generator: np.random.Generator) -> Data:
    """Texts of 20 words, of 4 classes that prefer words of their own."""
    y = generator.integers(0, 4, COUNT)
    own = generator.integers(0, 125, (COUNT, 20)) + 125 * y[:, None]
    words = np.where(generator.random((COUNT, 20)) < 0.4, own, generator.integers(0, 500, (COUNT, 20)))
    return words.astype("int32"), y.astype("int32")


def smooth(shape: tuple[int, int, int], factor: int = 1) -> Callable[[np.random.Generator], Data]:
    """Images without sharp edges, and the same `factor` times as large."""

    def draw(generator: np.random.Generator) -> Data:
        height, width, channels = shape
        coarse = generator.random((COUNT, 4, 4, channels)).astype("float32")
        resize = keras.ops.image.resize
        large = np.asarray(resize(coarse, (height * factor, width * factor), interpolation="bicubic"))
        small = np.asarray(resize(large, (height, width), interpolation="bilinear", antialias=True))
        return small, large

    return draw


def masks(generator: np.random.Generator) -> Data:
    """Images, and whether each pixel is bright."""
    x, _ = smooth((32, 32, 1))(generator)
    return x, (x > 0.5).astype("float32")


def boxes(generator: np.random.Generator) -> Data:
    """Images with one bright rectangle: its place, between 0 and 1, and which of three it is."""
    x = 0.1 * generator.normal(size=(COUNT, 32, 32, 3))
    corners = generator.integers(0, 16, (COUNT, 2))
    sizes = generator.integers(6, 16, (COUNT, 2))
    kinds = generator.integers(0, 3, COUNT)
    for image, (top, left), (height, width), kind in zip(x, corners, sizes, kinds, strict=True):
        image[top : top + height, left : left + width, kind] += 1
    return x.astype("float32"), [np.concatenate([corners, sizes], 1).astype("float32") / 32, kinds.astype("int32")]


def two_inputs(generator: np.random.Generator) -> Data:
    """An image and some numbers, of which come a class and a number."""
    (image, y), numbers = classes((16, 16, 1), 5)(generator), generator.normal(size=(COUNT, 8)).astype("float32")
    return [image, numbers], [y, numbers.sum(1, keepdims=True)]


def counts(generator: np.random.Generator) -> Data:
    """Numbers far from zero, in a range of their own each, and whether two of three sums are high."""
    x = generator.normal(size=(COUNT, 16)) * np.arange(1, 17) + 100
    return x.astype("float32"), (x[:, :3] > 100).astype("float32")


def keyword_spotting() -> keras.Model:
    """DS-CNN (MLPerf Tiny)."""
    inputs = keras.Input((49, 10, 1))
    x = layers.ReLU()(
        layers.BatchNormalization()(layers.Conv2D(64, (10, 4), 2, padding="same", use_bias=False)(inputs))
    )
    for _ in range(4):
        x = layers.ReLU()(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)))
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(64, 1, use_bias=False)(x)))
    return keras.Model(inputs, layers.Dense(12, "softmax")(layers.GlobalAveragePooling2D()(x)))


def residual() -> keras.Model:
    """ResNet-8 (MLPerf Tiny)."""
    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same")(inputs)))
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        y = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(filters, 3, stride, padding="same")(x)))
        y = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(y))
        x = layers.Conv2D(filters, 1, stride)(x) if stride > 1 else x
        x = layers.ReLU()(layers.Add()([x, y]))
    return keras.Model(inputs, layers.Dense(10, "softmax")(layers.GlobalAveragePooling2D()(x)))


def autoencoder() -> keras.Model:
    """The autoencoder for anomalies (MLPerf Tiny), with 640 outputs."""
    sizes = (128, 128, 8, 128, 128)
    return keras.Sequential([keras.Input((640,)), *(layers.Dense(n, "relu") for n in sizes), layers.Dense(640)])


def correlated(generator: np.random.Generator) -> Data:
    """640 numbers that come of 6."""
    x = generator.normal(size=(COUNT, 6)) @ generator.normal(size=(6, 640)) / 2
    return x.astype("float32"), x.astype("float32")


def segmentation() -> keras.Model:
    """U-Net of two levels, one class for each pixel."""
    inputs = keras.Input((32, 32, 1))
    first = layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
    second = layers.Conv2D(32, 3, padding="same", activation="relu")(layers.MaxPooling2D()(first))
    deep = layers.Conv2D(64, 3, padding="same", activation="relu")(layers.MaxPooling2D()(second))
    up = layers.Concatenate()([layers.UpSampling2D()(deep), second])
    up = layers.Conv2D(32, 3, padding="same", activation="relu")(up)
    up = layers.Concatenate()([layers.Conv2DTranspose(16, 2, 2)(up), first])
    return keras.Model(inputs, layers.Conv2D(1, 1, activation="sigmoid")(up))


def super_resolution() -> keras.Model:
    """Images twice as large."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(32, 5, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    return keras.Model(inputs, layers.Conv2D(3, 3, padding="same")(layers.UpSampling2D(interpolation="bilinear")(x)))


def detection() -> keras.Model:
    """A box and its class."""
    inputs = keras.Input((32, 32, 3))
    x = inputs
    for filters in (16, 32, 64):
        x = layers.Conv2D(filters, 3, 2, padding="same", activation="relu")(x)
    x = layers.Dense(64, "relu")(layers.Flatten()(x))
    return keras.Model(inputs, [layers.Dense(4, name="box")(x), layers.Dense(3, "softmax", name="kind")(x)])


def two_sided() -> keras.Model:
    """Two inputs, two outputs."""
    image, numbers = keras.Input((16, 16, 1), name="image"), keras.Input((8,), name="numbers")
    x = layers.Flatten()(layers.MaxPooling2D()(layers.Conv2D(16, 3, activation="relu")(image)))
    y = layers.Dense(32, "relu")(numbers)
    x = layers.Dense(64, "relu")(layers.Concatenate()([x, y]))
    return keras.Model([image, numbers], [layers.Dense(5, "softmax", name="kind")(x), layers.Dense(1, name="sum")(x)])


def text(middle: Callable[[], Any]) -> Callable[[], keras.Model]:
    """A classifier of texts."""

    def make() -> keras.Model:
        inputs = keras.Input((20,), dtype="int32")
        x = middle()(layers.Embedding(500, 32)(inputs))
        return keras.Model(inputs, layers.Dense(4, "softmax")(x))

    return make


def transformer_block() -> Callable[[Any], Any]:
    """One block of self-attention."""

    def call(x: Any) -> Any:
        x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 8)(x, x))
        x = layers.LayerNormalization()(x + layers.Dense(32)(layers.Dense(64, "relu")(x)))
        return layers.GlobalAveragePooling1D()(x)

    return call


def preprocessing() -> keras.Model:
    """Statistics of the data inside, and three answers of yes or no."""
    generator = np.random.default_rng(0)
    statistics = layers.Normalization()
    statistics.adapt(counts(generator)[0])
    hidden = [layers.Dense(64, "relu"), layers.Dense(64, "relu")]
    return keras.Sequential([keras.Input((16,)), statistics, *hidden, layers.Dense(3, "sigmoid")])


def application(name: str, shape: tuple[int, int, int], **options: Any) -> Callable[[], keras.Model]:
    """A network of `keras.applications`, with ten classes."""
    return lambda: getattr(keras.applications, name)(weights=None, input_shape=shape, classes=10, **options)


NETWORKS = {
    "keyword spotting (DS-CNN)": Network(keyword_spotting, classes((49, 10, 1), 12)),
    "visual wake words (MobileNet 0.25)": Network(
        application("MobileNet", (96, 96, 3), alpha=0.25), classes((96, 96, 3), 10), steps=30
    ),
    "images (ResNet-8)": Network(residual, classes((32, 32, 3), 10)),
    "anomalies (autoencoder)": Network(autoencoder, correlated, "mse", steps=200),
    "MobileNetV2 0.35": Network(application("MobileNetV2", (32, 32, 3), alpha=0.35), classes((32, 32, 3), 10)),
    "MobileNetV3Small": Network(application("MobileNetV3Small", (32, 32, 3)), classes((32, 32, 3), 10)),
    "segmentation (U-Net)": Network(segmentation, masks, "binary_crossentropy"),
    "super-resolution": Network(super_resolution, smooth((16, 16, 3), 2), "mse", steps=200),
    "detection, two heads": Network(detection, boxes, ["mse", "sparse_categorical_crossentropy"], steps=200),
    "two inputs, two outputs": Network(two_sided, two_inputs, ["sparse_categorical_crossentropy", "mse"], steps=200),
    "text, LSTM": Network(text(lambda: layers.LSTM(32)), texts, steps=120),
    "text, bidirectional GRU": Network(text(lambda: layers.Bidirectional(layers.GRU(32))), texts, steps=120),
    "text, Transformer": Network(text(transformer_block), texts, steps=120),
    "preprocessing inside, sigmoid": Network(preprocessing, counts, "binary_crossentropy", steps=200),
    "mixed precision (ResNet-8)": Network(residual, classes((32, 32, 3), 10), policy="mixed_bfloat16"),
    "dense, logits": Network(
        lambda: keras.Sequential([keras.Input((64,)), layers.Dense(128, "relu"), layers.Dense(10)]),
        classes((64,), 10),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps=120,
    ),
}
