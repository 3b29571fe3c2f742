"""Layer shapes, weight counts by hand, initial distributions, and seeds."""

import keras
import numpy as np
import pytest

from tf_lottery.data import load
from tf_lottery.errors import UnfitError
from tf_lottery.models.architectures import ARCHITECTURES
from tf_lottery.models.catalog import CATALOG
from tf_lottery.utils.seeds import seeded

KERNELS = {
    "mlp": [64 * 100, 100 * 50, 50 * 10],
    "fc1": [235_200, 30_000, 1_000],
    "lenet5": [576, 36_864, 14 * 14 * 64 * 256, 65_536, 2_560],
    "conv2": [1_728, 36_864, 16 * 16 * 64 * 256, 65_536, 2_560],
    "conv4": [1_728, 36_864, 73_728, 147_456, 8 * 8 * 128 * 256, 65_536, 2_560],
    "conv6": [1_728, 36_864, 73_728, 147_456, 294_912, 589_824, 4 * 4 * 256 * 256, 65_536, 2_560],
    # Stem; per stage the blocks' two 3x3 convolutions, and a 1x1 shortcut where the stage halves the image; output.
    "resnet8": [432, *[2_304] * 2, 4_608, 9_216, 512, 18_432, 36_864, 2_048, 640],
    "resnet20": [432, *[2_304] * 6, 4_608, 9_216, 512, *[9_216] * 4, 18_432, 36_864, 2_048, *[36_864] * 4, 640],
    "vgg16": [
        *(1_728, 36_864, 73_728, 147_456, 294_912, 589_824, 589_824, 1_179_648, 2_359_296, 2_359_296),
        *(2_359_296, 2_359_296, 2_359_296, 5_120),
    ],
}


def kernels(model: keras.Model) -> list[keras.Variable]:
    return [variable for variable in model.trainable_variables if variable.name == "kernel"]


@pytest.mark.parametrize("name", KERNELS)
def test_weights_are_those_computed_by_hand(name):
    entry = CATALOG[name]
    model = ARCHITECTURES[name](entry.input_shape, entry.classes)
    assert [int(np.prod(kernel.shape)) for kernel in kernels(model)] == KERNELS[name]
    assert sum(KERNELS[name]) == entry.weights
    assert sum(int(np.prod(variable.shape)) for variable in model.trainable_variables) == entry.parameters
    assert model.input_shape == (None, *entry.input_shape)
    assert model.output_shape == (None, entry.classes)
    assert model.name == name


def test_catalog_and_builders_have_the_same_names():
    assert list(CATALOG) == list(ARCHITECTURES)


def test_totals_of_the_paper():
    # Figure 2 of arXiv 1803.03635: 266K, 4.3M, 2.4M weights; 38K, 260K, 1.1M of them in convolutions.
    assert CATALOG["fc1"].weights == 266_200
    assert round(CATALOG["conv2"].weights / 1e6, 1) == 4.3
    assert round(CATALOG["conv4"].weights / 1e6, 1) == 2.4
    assert sum(KERNELS["conv2"][:2]) == 38_592
    assert sum(KERNELS["conv4"][:4]) == 259_776
    assert sum(KERNELS["conv6"][:6]) == 1_144_512
    # Figure 2 and appendix I: ResNet has 270K convolution weights, of them 2,560 in shortcuts, 640 in the output.
    assert round(sum(KERNELS["resnet20"][:-1]) / 1e3) == 270
    assert KERNELS["resnet20"].count(512) == KERNELS["resnet20"].count(2_048) == 1
    assert 512 + 2_048 == 2_560
    # Table 1 of arXiv 1912.05671: 274K and 14.7M parameters.
    assert round(ARCHITECTURES["resnet20"]((32, 32, 3), 10).count_params() / 1e3) == 274
    assert round(CATALOG["vgg16"].parameters / 1e6, 1) == 14.7


def test_layer_names_are_stable_in_one_process():
    expected = ["conv_1_1", "conv_1_2", "pool_1", "conv_2_1", "conv_2_2", "pool_2", "flatten"]
    expected += ["hidden_1", "hidden_2", "output"]
    for _ in range(2):
        assert [layer.name for layer in ARCHITECTURES["conv4"]((32, 32, 3), 10).layers] == expected


def test_output_is_logits_and_hidden_layers_are_relu():
    model = ARCHITECTURES["fc1"]((28, 28, 1), 10)
    assert model.get_layer("output").activation is keras.activations.linear
    assert model.get_layer("hidden_1").activation is keras.activations.relu


def test_kernels_are_glorot_truncated_normal_and_biases_zero():
    model = ARCHITECTURES["fc1"]((28, 28, 1), 10)
    layer = model.get_layer("hidden_1")
    kernel = layer.kernel.numpy()
    deviation = np.sqrt(2 / (784 + 300))
    assert abs(kernel.std() / deviation - 1) < 0.01
    # Keras widens a normal distribution so that cut off at two of its deviations it has the wanted one.
    assert np.abs(kernel).max() <= 2 * deviation / 0.87962566103423978
    assert not layer.bias.numpy().any()


def test_same_seed_same_weights_other_seed_other_weights():
    def weights(seed):
        with seeded(seed):
            return ARCHITECTURES["mlp"]((8, 8, 1), 10).get_weights()

    first, again, other = weights(1), weights(1), weights(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first[::2], other[::2], strict=True))


def test_layers_of_one_shape_start_from_different_weights():
    with seeded(0):
        model = ARCHITECTURES["conv6"]((8, 8, 64), 256)
    assert not np.array_equal(model.get_layer("conv_1_1").kernel.numpy(), model.get_layer("conv_1_2").kernel.numpy())
    assert not np.array_equal(model.get_layer("hidden_2").kernel.numpy(), model.get_layer("output").kernel.numpy())


def test_mlp_learns_the_digits():
    data = load("digits")
    with seeded(0):
        model = ARCHITECTURES["mlp"](data.input_shape, data.classes)
        model.compile(
            keras.optimizers.Adam(2e-3),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        keras.utils.set_random_seed(0)
        model.fit(data.train.x, data.train.y, batch_size=50, epochs=25, verbose=0)
    accuracy = model.evaluate(data.test.x, data.test.y, batch_size=360, verbose=0)[1]
    assert accuracy > 0.955


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("conv2", (64,), 10),
        ("conv6", (7, 7, 3), 10),
        ("fc1", ((28, 28, 1), (3,)), 10),
        ("fc1", (None, None, 3), 10),
        ("fc1", (), 10),
        ("fc1", (28, 28, 1), None),
        ("fc1", (28, 28, 1), 0),
        ("resnet8", (64,), 10),
        ("resnet20", (7, 32, 3), 10),
        ("resnet20", (32, 32, 3), None),
        ("vgg16", (32, 7, 3), 10),
        ("vgg16", (8, 8), 10),
    ],
)
def test_unfit_inputs_are_refused_with_a_remedy(name, shape, classes):
    with pytest.raises(UnfitError) as caught:
        ARCHITECTURES[name](shape, classes)
    assert caught.value.remedy
