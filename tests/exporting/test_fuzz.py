"""No wrong file, ever: random models through the whole matrix, every file that remains run again on other inputs."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tf_lottery.errors import LotteryError
from tf_lottery.exporting import export
from tf_lottery.exporting.signature import signature_of
from tf_lottery.exporting.tflite import litert

# What a remaining file may differ by on inputs that the export never saw: root mean square over the outputs' spread; of
# float32 the largest difference over the largest output.
BOUNDS = {"float32": 1e-5, "float16": 0.02, "dynamic": 0.2, "int16x8": 0.2, "int8": 0.5}
ACTIVATIONS = ("relu", "tanh", "linear", "relu6", "sigmoid", "gelu", "leaky_relu")


def random_model(rng):
    """A dense, convolutional, mixed, two-input or sequence network of random shape."""
    kind = rng.choice(["dense", "conv", "mixed", "two inputs", "sequence"])
    activation = lambda: str(rng.choice(ACTIVATIONS))  # noqa: E731
    bias = lambda: bool(rng.random() < 0.8)  # noqa: E731
    width = lambda: int(rng.choice([4, 7, 8, 12, 16, 30, 32, 48]))  # noqa: E731
    if kind in ("conv", "mixed"):
        side = int(rng.choice([7, 8, 12]))
        tensor = inputs = keras.Input((side, side, int(rng.choice([1, 3, 4]))))
        for _ in range(rng.integers(1, 4)):
            tensor = random_image_layer(rng, tensor, width(), activation(), bias())
            if rng.random() < 0.4:
                tensor = layers.BatchNormalization()(tensor)
            if rng.random() < 0.2:
                tensor = layers.Add()([tensor, layers.Conv2D(tensor.shape[-1], 1, padding="same")(tensor)])
        tensor = layers.GlobalAveragePooling2D()(tensor) if rng.random() < 0.3 else layers.Flatten()(tensor)
    elif kind == "sequence":
        tensor = inputs = keras.Input((6, 5))
        if rng.random() < 0.5:
            tensor = layers.Dense(width(), activation())(tensor)  # on every step
        recurrent = rng.choice([layers.LSTM, layers.GRU, layers.Conv1D])
        if recurrent is layers.Conv1D:
            tensor = layers.Flatten()(layers.Conv1D(width(), 3, activation=activation())(tensor))
        else:
            tensor = recurrent(width())(tensor)
    else:
        tensor = inputs = keras.Input((int(rng.choice([5, 16, 32, 40, 64])),))
    if kind == "two inputs":
        other = keras.Input((int(rng.choice([4, 16])),), name="other")
        tensor = layers.Concatenate()([layers.Dense(width(), activation())(tensor), layers.Dense(width())(other)])
        inputs = [inputs, other]
    for _ in range(rng.integers(0 if kind == "conv" else 1, 4)):
        branch = layers.Dense(width(), activation(), use_bias=bias())(tensor)
        tensor = layers.Concatenate()([branch, tensor]) if rng.random() < 0.2 else branch
    return keras.Model(inputs, layers.Dense(int(rng.choice([1, 2, 5, 10])), use_bias=bias())(tensor))


def random_image_layer(rng, tensor, filters, activation, bias):
    padding = str(rng.choice(["same", "valid"]))
    stride = int(rng.choice([1, 1, 2]))
    size = int(rng.choice([1, 3])) if min(tensor.shape[1:3]) >= 3 else 1
    options = {"strides": stride, "padding": padding, "activation": activation, "use_bias": bias}
    kind = rng.choice(["conv", "depthwise", "separable", "transposed", "pool"])
    if kind == "conv":
        return layers.Conv2D(filters, size, **options)(tensor)
    if kind == "depthwise":
        return layers.DepthwiseConv2D(size, **options)(tensor)
    if kind == "separable":
        return layers.SeparableConv2D(filters, size, **options)(tensor)
    if kind == "transposed":
        return layers.Conv2DTranspose(filters, size, **{**options, "strides": 1})(tensor)
    return layers.MaxPooling2D(2, padding="same")(layers.Conv2D(filters, size, **options)(tensor))


def prune_at_random(model, rng):
    """Zeros at random: single weights, blocks along the input axis, whole channels, or all of a layer's channels."""
    for layer in model.layers:
        for variable in layer.trainable_variables:
            value = variable.numpy()
            if value.ndim < 2:
                variable.assign(rng.normal(0, 0.3, value.shape) + (variable.name == "gamma"))
                continue
            rate, unit = rng.choice([0.0, 0.5, 0.8, 0.95, 0.99]), rng.choice(["one", "4", "16", "channel"])
            shape, axis = value.shape, (0 if value.ndim == 2 else -2)
            if unit == "one" or (unit != "channel" and shape[axis] % int(unit)):
                keep = rng.random(shape) >= rate
            elif unit == "channel":
                keep = np.broadcast_to(rng.random(shape[-1]) >= rate, shape)
            else:
                units = list(shape)
                units[axis] //= int(unit)
                keep = np.repeat(rng.random(units) >= rate, int(unit), axis)
            variable.assign(value * keep * 3)
        for variable in layer.non_trainable_variables:
            if "variance" in variable.name:
                variable.assign(rng.uniform(0.5, 2, variable.shape))


def answers(path, format, model, inputs, folder):
    """What a file answers, loaded as a user loads it."""
    if format == "tflite":
        (outputs,) = litert.run_file(path, inputs, scratch=folder).outputs.values()
        return outputs
    if format == "saved_model":
        loaded = tf.saved_model.load(str(path))  # holds the variables
        tensors = {name: tf.constant(array) for name, array in inputs.items()}
        (outputs,) = loaded.signatures["serving_default"](**tensors).values()
        return outputs.numpy()
    arrays = list(inputs.values())
    return np.asarray(keras.models.load_model(path)(arrays if len(arrays) > 1 else arrays[0]))


def difference(expected, received, precision):
    if precision == "float32":
        return np.abs(received - expected).max() / max(np.abs(expected).max(), 1e-30)
    spread = np.sqrt(np.mean((expected - expected.mean(0)) ** 2))
    scale = spread or np.sqrt(np.mean(expected**2))  # a network that zeros made constant
    return np.sqrt(np.mean((received - expected) ** 2)) / max(scale, 1e-30)


def check(seed, folder):
    """Export one random model, run every file that remains again; return how many files and refusals there were."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    prune_at_random(model, rng)
    samples, calibration, fresh = (
        [rng.normal(0, 1, (count, *tensor.shape[1:])).astype("float32") for tensor in model.inputs]
        for count in (256, 64, 64)
    )
    try:
        report = export(model, folder, format="all", samples=samples, calibration=calibration, name="m")
    except LotteryError as error:
        return 0, 1 if error.cause else pytest.fail(f"seed {seed}: {error!r} has no cause")
    expected = np.asarray(model(fresh if len(fresh) > 1 else fresh[0]), np.float64)
    names = signature_of(model).inputs
    for record in report.files:
        by_name = dict(zip(names, fresh, strict=True))
        received = answers(folder / record["path"], record["format"], model, by_name, folder)
        error = difference(expected, received, record["precision"])
        assert error <= BOUNDS[record["precision"]], (seed, record, error)
    assert all(record["reason"] for record in report.refused), seed
    left = {path.name for path in folder.iterdir()} - {"samples.npz", "outputs.npz", "export.json", "manifest.json"}
    known = {record["path"].rsplit("/", 1)[-1] for record in report.files}
    assert {name for name in left - known if "card" not in name} == set(), seed
    return len(report.files), len(report.refused)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_random_models(seed, tmp_path):
    files, refused = check(seed, tmp_path)
    assert files >= 4
    assert files + refused >= 16


@pytest.mark.slow
def test_two_hundred_random_models(tmp_path, capsys):
    counts = []
    for seed in range(200):
        (tmp_path / str(seed)).mkdir()
        counts.append(check(seed, tmp_path / str(seed)))
        keras.backend.clear_session()
    files, refused = (sum(column) for column in zip(*counts, strict=True))
    with capsys.disabled():
        print(f"200 random models: {files} files, all right; {refused} refusals, each with its reason")
    assert sum(count == 0 for count, _ in counts) <= 2
    assert files > 2000
