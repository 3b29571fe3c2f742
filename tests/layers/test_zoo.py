"""Published architectures: all families of `keras.applications`, and backbones of KerasHub where that is installed.

Each is wrapped, trained, pruned, stripped, saved and loaded. What a row of docs/zoo.md says of it is what this test
saw: a slow test fails where the page says something else, and writes the page with `TF_LOTTERY_WRITE_DOCS=1`.
"""

import importlib.metadata
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.layers import named_variables

PAGE = Path(__file__).resolve().parents[2] / "docs" / "zoo.md"
HEAD = "| Model | Weights | Masked arrays | Masked weights | Steps bit-equal | Zeros exact | Files bit-equal |"

# One model of each family, on the smallest image that it takes.
APPLICATIONS = {
    "ConvNeXtTiny": 32,
    "DenseNet121": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "InceptionResNetV2": 75,
    "InceptionV3": 75,
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "NASNetMobile": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "VGG16": 32,
    "VGG19": 32,
    "Xception": 71,
}

# Compiled, their steps differ in the last bits: the arithmetic stage of TensorFlow's graph optimizer rewrites the
# wrapped graph in another way. Without that stage, and not compiled, they are equal.
EAGER = ("InceptionResNetV2", "InceptionV3")


def application(name: str, **options: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    shape = (APPLICATIONS[name], APPLICATIONS[name], 3)
    make: Callable[..., keras.Model] = getattr(keras.applications, name)
    return make(weights=None, input_shape=shape, classes=10, **options)


def inputs_of(model: keras.Model, size: int = 2) -> Any:
    """Random images, or integers below 10 where a model takes tokens or a mask of ones."""
    random = np.random.default_rng(0)

    def draw(tensor: Any) -> np.ndarray:
        shape = (size, *(extent or 8 for extent in tensor.shape[1:]))
        if "mask" in tensor.name:
            return np.ones(shape, tensor.dtype)
        if "int" in tensor.dtype:
            return random.integers(0, 2 if "segment" in tensor.name else 10, shape).astype(tensor.dtype)
        return random.normal(size=shape).astype("float32")

    return keras.tree.map_structure(draw, model.input)


def arrays(outputs: Any) -> list[np.ndarray]:
    return [np.array(out) for out in keras.tree.flatten(outputs)]


def same(one: Any, other: Any) -> bool:
    return [a.tobytes() for a in arrays(one)] == [a.tobytes() for a in arrays(other)]


def walk_through(plain: keras.Model, folder: Path, *, eager: bool = False) -> str:
    """Take one model through everything; returns its row of the table.

    What must hold is asserted, so that the row has figures, and a "yes" for what was shown.

    Args:
        plain: the model.
        folder: where files go.
        eager: whether to compare training steps that are not compiled.
    """
    x = inputs_of(plain)
    wrapped = tfl.wrap(plain)
    assert isinstance(wrapped, type(plain))
    outputs = plain(x)
    assert same(wrapped(x), outputs)
    random = np.random.default_rng(1)
    y = keras.tree.map_structure(lambda out: random.normal(size=out.shape).astype("float32"), outputs)
    for model in (plain, wrapped):
        model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "mse", jit_compile=False, run_eagerly=eager)
    for _ in range(3):
        assert plain.train_on_batch(x, y) == wrapped.train_on_batch(x, y)
    originals, variables = named_variables(plain), named_variables(wrapped)
    for one, other in zip(originals.values(), variables.values(), strict=True):
        assert one.numpy().tobytes() == other.numpy().tobytes(), one.path
    # Half of each array, then weights set to zero by hand in the plain model, and 7.0 planted where nothing reads it.
    weights = tfl.get_weights(wrapped)
    masks = tfl.get_masks(wrapped)
    kernels = {path: weights[path] for path in masks}
    masks = tfl.prune(tfl.scores(kernels), masks, rate=0.5)
    tfl.set_masks(wrapped, masks)
    for (path, variable), original in zip(variables.items(), originals.values(), strict=True):
        if path in masks:
            original.assign(weights[path] * masks[path])
            variable.assign(np.where(masks[path], weights[path], 7.0))
    assert same(wrapped(x), plain(x))
    assert not same(wrapped(x), outputs)
    # The optimizer has momentum: it moves what is stored, and what computes stays zero.
    wrapped.train_on_batch(x, y)
    outputs = wrapped(x)
    stripped = tfl.strip(wrapped)
    assert type(stripped) is type(plain)
    for (path, original), variable in zip(named_variables(stripped).items(), variables, strict=True):
        if variable in masks:
            assert not original.numpy()[~masks[variable]].any(), path
    assert same(stripped(x), outputs)
    stripped.save(folder / "stripped.keras")
    assert same(keras.models.load_model(folder / "stripped.keras")(x), outputs)
    wrapped.save(folder / "wrapped.keras")
    loaded = tfl.load_model(folder / "wrapped.keras")
    assert same(loaded(x), outputs)
    assert all(np.array_equal(a, b) for a, b in zip(masks.values(), tfl.get_masks(loaded).values(), strict=True))
    total, masked = sum(map(np.size, weights.values())), sum(map(np.size, masks.values()))
    steps = "not compiled" if eager else "yes"
    return f"{total:,} | {len(masks)} | {masked / total:.1%} | {steps} | yes | yes |"


def check_row(name: str, row: str) -> None:
    """Compare a row with that of the page, or write it there."""
    line = f"| {name} | {row}"
    page = PAGE.read_text()
    before, head, body = page.partition(HEAD)
    assert head, f"docs/zoo.md must hold the line {HEAD!r}"
    rule, *rows = body.strip("\n").split("\n")
    if os.environ.get("TF_LOTTERY_WRITE_DOCS"):
        rows = sorted([*(one for one in rows if not one.startswith(f"| {name} |")), line], key=str.lower)
        PAGE.write_text("\n".join([before + head, rule, *rows, ""]))
    else:
        assert line in rows


def test_a_small_mobilenet(tmp_path):
    model = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), alpha=0.35, classes=10)
    walk_through(model, tmp_path)


def test_every_family_has_a_model():
    """Families differ in the module that makes them; variants of one size are not repeated."""
    families = {name: getattr(keras.applications, name).__module__ for name in APPLICATIONS}
    functions = [value for value in vars(keras.applications).values() if callable(value)]
    assert set(families.values()) == {function.__module__ for function in functions}


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_applications(name, tmp_path):
    check_row(f"`keras.applications.{name}`", walk_through(application(name), tmp_path, eager=name in EAGER))


# Tiny sizes of backbones of KerasHub (the extra `hub`).
TEXT = {"vocabulary_size": 20, "num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
BACKBONES: dict[str, dict[str, Any]] = {
    "BertBackbone": {**TEXT, "max_sequence_length": 8},
    "GPT2Backbone": {**TEXT, "max_sequence_length": 8},
    "WhisperBackbone": {**TEXT, "max_encoder_sequence_length": 16, "max_decoder_sequence_length": 8},
    "ViTBackbone": {
        "image_shape": (16, 16, 3),
        "patch_size": 8,
        "num_layers": 2,
        "num_heads": 2,
        "hidden_dim": 8,
        "mlp_dim": 16,
        "dropout_rate": 0.1,
    },
    "ResNetBackbone": {
        "input_conv_filters": [64],
        "input_conv_kernel_sizes": [3],
        "stackwise_num_filters": [64, 64],
        "stackwise_num_blocks": [1, 1],
        "stackwise_num_strides": [1, 2],
        "block_type": "basic_block",
        "image_shape": (16, 16, 3),
    },
    "MobileNetBackbone": {
        "stackwise_expansion": [[8, 16], [16]],
        "stackwise_num_blocks": [2, 1],
        "stackwise_num_filters": [[8, 8], [16]],
        "stackwise_kernel_size": [[3, 3], [5]],
        "stackwise_num_strides": [[2, 1], [1]],
        "stackwise_se_ratio": [[None, 0.25], [0.25]],
        "stackwise_activation": [["relu", "hard_swish"], ["hard_swish"]],
        "stackwise_padding": [[1, 1], [2]],
        "output_num_filters": 32,
        "depthwise_filters": 8,
        "depthwise_stride": 1,
        "depthwise_residual": False,
        "last_layer_filter": 32,
        "image_shape": (32, 32, 3),
    },
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", BACKBONES)
def test_keras_hub(name, tmp_path):
    hub = pytest.importorskip("keras_hub", reason="the extra `hub` is not installed", exc_type=ImportError)
    keras.utils.set_random_seed(0)
    model = getattr(hub.models, name)(**BACKBONES[name])
    check_row(f"`keras_hub.models.{name}`", walk_through(model, tmp_path))


def test_the_page_says_with_which_versions():
    assert importlib.metadata.version("keras") in PAGE.read_text()
