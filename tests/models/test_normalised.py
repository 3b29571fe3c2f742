"""ResNet-8, ResNet-20 and VGG-16: structure, sizes, initial state, masking, and a round trip through a file."""

import keras
import numpy as np
import pytest

from tf_lottery import layers
from tf_lottery.models.architectures import ARCHITECTURES
from tf_lottery.utils.seeds import seeded

NAMES = ("resnet8", "resnet20", "vgg16")
MOVED = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")


def images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.fixture(scope="module")
def models():
    """A built model of each, with other batch-norm statistics and scales than the initial ones."""
    with seeded(0):
        made = {name: ARCHITECTURES[name]((32, 32, 3), 10) for name in NAMES}
    generator = np.random.default_rng(0)
    for model in made.values():
        for variable in model.variables:
            if "norm" in variable.path:
                variable.assign(generator.uniform(0.5, 1.5, variable.shape))
    return made


def kernels(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)]


@pytest.mark.parametrize(
    ("name", "convolutions", "shortcuts"), [("resnet8", 7, 2), ("resnet20", 19, 2), ("vgg16", 13, 0)]
)
def test_number_of_layers(models, name, convolutions, shortcuts):
    convs = [layer.name for layer in models[name].layers if isinstance(layer, keras.layers.Conv2D)]
    norms = [layer.name for layer in models[name].layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(convs) == convolutions + shortcuts
    assert norms == [f"{conv}_norm" for conv in convs]
    assert [conv for conv in convs if "shortcut" in conv] == ["block_2_1_shortcut", "block_3_1_shortcut"][:shortcuts]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_stable_in_one_process(models, name):
    again = ARCHITECTURES[name]((32, 32, 3), 10)
    assert [layer.name for layer in again.layers] == [layer.name for layer in models[name].layers]
    assert list(layers.discover(again).found) == list(layers.discover(models[name]).found)


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("resnet8", "block_1_1_conv_1", "block_1_1_conv_2"),
        ("resnet20", "block_3_2_conv_2", "block_3_3_conv_2"),
        ("vgg16", "conv_3_2", "conv_3_3"),
    ],
)
def test_layers_of_one_shape_start_from_different_weights(models, name, one, other):
    first, second = (models[name].get_layer(layer).kernel.numpy() for layer in (one, other))
    assert first.shape == second.shape
    assert not np.array_equal(first, second)
    initializers = [layer.kernel_initializer for layer in kernels(models[name])]
    assert len({id(initializer) for initializer in initializers}) == len(initializers)


@pytest.mark.parametrize("name", NAMES)
def test_initial_state(name):
    with seeded(1):
        model = ARCHITECTURES[name]((32, 32, 3), 10)
    for layer in kernels(model)[:-1]:
        deviation = np.sqrt(2 / np.prod(layer.kernel.shape[:-1]))
        kernel = layer.kernel.numpy()
        assert not layer.use_bias
        assert abs(kernel.std() / deviation - 1) < 4 / np.sqrt(kernel.size)
        assert np.abs(kernel).max() <= 2.0001 * deviation / 0.87962566103423978
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert layer.momentum == 0.9
            assert layer.epsilon == 1e-5
            gamma, beta, mean, variance = layer.get_weights()
            assert (gamma == 1).all()
            assert (variance == 1).all()
            assert not beta.any()
            assert not mean.any()
    output = model.get_layer("output")
    assert output.activation is keras.activations.linear
    assert not output.bias.numpy().any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 13, 2), (28, 28, 1)])
def test_other_images_fit(name, shape):
    model = ARCHITECTURES[name](shape, 3)
    logits = model(images(2, *shape))
    assert logits.shape == (2, 3)
    assert np.isfinite(logits).all()


def test_sizes_in_the_stages(models):
    def size(model, layer):
        return tuple(models[model].get_layer(layer).output.shape[1:])

    assert size("resnet20", "stem_relu") == size("resnet20", "block_1_3_relu") == (32, 32, 16)
    assert size("resnet20", "block_2_1_relu") == size("resnet20", "block_2_3_relu") == (16, 16, 32)
    assert size("resnet20", "block_3_1_relu") == (8, 8, 64)
    assert [size("vgg16", f"pool_{block}") for block in (1, 2, 3, 4)] == [
        (16, 16, 64),
        (8, 8, 128),
        (4, 4, 256),
        (2, 2, 512),
    ]


def test_a_block_computes_what_he_et_al_say():
    """By hand: relu(conv + shortcut), and the strided kernels centred on the pixels that the shortcut takes."""
    with seeded(0):
        model = ARCHITECTURES["resnet8"]((8, 8, 3), 2)
    inside = keras.Model(
        model.inputs[0], [model.get_layer(name).output for name in ("block_1_1_relu", "block_2_1_relu")]
    )
    before, after = (np.asarray(value) for value in inside(images(1, 8, 8, 3)))

    def convolve(x, name, *, strides=1):
        kernel = model.get_layer(name).kernel.numpy()
        reach = kernel.shape[0] // 2
        padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
        rows = range(0, x.shape[1], strides)
        out = np.zeros((1, len(rows), len(rows), kernel.shape[-1]))
        for i, row in enumerate(rows):
            for j, column in enumerate(rows):
                patch = padded[0, row : row + kernel.shape[0], column : column + kernel.shape[0]]
                out[0, i, j] = np.tensordot(patch, kernel, 3)
        return out / np.sqrt(1 + 1e-5)  # the initial batch normalisation

    inner = np.maximum(convolve(before, "block_2_1_conv_1", strides=2), 0)
    expected = convolve(inner, "block_2_1_conv_2") + convolve(before, "block_2_1_shortcut", strides=2)
    np.testing.assert_allclose(after, np.maximum(expected, 0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_wrapping_masking_and_stripping(models, name):
    plain, x = models[name], images(3, 32, 32, 3)
    wrapped = layers.wrap(plain)
    np.testing.assert_allclose(wrapped(x), plain(x), rtol=1e-5, atol=1e-5)
    discovery = layers.discover(plain)
    assert {path for path, role in discovery.roles.items() if role == "output"} == {"output/kernel"}
    assert set(discovery.roles.values()) == {"conv", "output"}
    assert len(discovery.found) == len(kernels(plain))
    assert all(path.endswith(("gamma", "beta", "moving_mean", "moving_variance", "bias")) for path in discovery.skipped)
    generator = np.random.default_rng(1)
    masks = {path: generator.random(mask.shape) < 0.5 for path, mask in layers.get_masks(wrapped).items()}
    layers.set_masks(wrapped, masks)
    stripped = layers.strip(wrapped)
    np.testing.assert_allclose(stripped(x), wrapped(x), rtol=1e-5, atol=1e-5)
    assert not np.allclose(stripped(x), plain(x), rtol=1e-3, atol=1e-3)
    for path, mask in masks.items():
        kernel = stripped.get_layer(path.removesuffix("/kernel")).kernel.numpy()
        assert not kernel[~mask].any()


def test_shortcuts_can_be_left_alone(models):
    discovery = layers.discover(models["resnet20"], exclude=("*_shortcut", "output"))
    assert sum(int(np.prod(one.variable.shape)) for one in discovery.found.values()) == 270_896 - 2_560 - 640


@pytest.mark.parametrize("name", ["resnet8", "vgg16"])
def test_a_step_moves_every_weight_and_a_file_gives_the_same_outputs(name, tmp_path):
    with seeded(0):
        model = layers.wrap(ARCHITECTURES[name]((8, 8, 3), 4))
    before = {path: variable.numpy() for path, variable in layers.named_variables(model).items()}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, jit_compile=False)
    model.fit(images(16, 8, 8, 3), np.arange(16) % 4, batch_size=16, verbose=0)
    still = [path for path, value in before.items() if np.array_equal(layers.named_variables(model)[path], value)]
    assert set(still) == set(before) - {path for path in before if path.rsplit("/", 1)[1] in MOVED}
    plain = layers.strip(model)
    plain.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = images(5, 8, 8, 3)
    np.testing.assert_array_equal(loaded(x), plain(x))
