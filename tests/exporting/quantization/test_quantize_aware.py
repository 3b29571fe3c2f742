"""Quantization-aware training: what is rounded, that masks hold, and that int8 files compute the same."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import interpreter as litert
from independent_reader import read

import tf_lottery as tfl
from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.exporting.quantization.batch_norm_folding import fold
from tf_lottery.exporting.tflite.output_steps import OutputSteps, output_steps
from tf_lottery.layers.fake_quantization import FakeQuantize, QuantizedDepthwiseConv2D, fake_quantize_kernel
from toys import Subclassed

L = keras.layers


def samples(count, *shape, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype("float32")


def randomize(model, *, seed=0):
    """Give every variable that may be dead or trivial after building a value of its own."""
    generator = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.name in ("bias", "beta", "moving_mean"):
            variable.assign(0.3 * generator.normal(size=variable.shape))
        elif variable.name in ("gamma", "moving_variance"):
            variable.assign(generator.uniform(0.5, 2, size=variable.shape))


def masked(model, density):
    """The model wrapped, with random masks."""
    randomize(model)
    wrapped = tfl.wrap(model)
    generator = np.random.default_rng(1)
    tfl.set_masks(
        wrapped, {path: generator.random(mask.shape) < density for path, mask in tfl.get_masks(wrapped).items()}
    )
    return wrapped


def dense_network(density=0.1):
    keras.utils.set_random_seed(0)
    return masked(
        keras.Sequential([keras.Input((64,)), L.Dense(200, "relu"), L.Dense(100, "relu"), L.Dense(10)]), density
    )


def convolutional_network():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = L.BatchNormalization()(L.Conv2D(8, 3, padding="same", use_bias=False)(image))
    x = shortcut = L.ReLU(6.0)(x)
    x = L.ReLU()(L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same", use_bias=False)(x)))
    x = L.BatchNormalization()(L.Conv2D(8, 1)(x))
    x = L.Activation("relu")(L.Add()([x, shortcut]))
    x = L.AveragePooling2D(2)(L.Dropout(0.1)(x))
    x = L.Flatten()(L.MaxPooling2D(2)(L.ZeroPadding2D(2)(x)))
    return masked(keras.Model(image, L.Dense(5, activation="softmax")(x)), 0.4)


def as_numbers(file, samples):
    """What a file answers in the default interpreter, and the dtypes of its inner tensors."""
    interpreter = litert.Interpreter(
        model_path=file, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    interpreter.allocate_tensors()
    ends = {end["index"] for end in (*interpreter.get_input_details(), *interpreter.get_output_details())}
    dtypes = {tensor["dtype"] for tensor in interpreter.get_tensor_details() if tensor["index"] not in ends}
    return read(file, {"input": samples})["default"]["output"], dtypes


def test_a_kernel_by_hand():
    # Scales 0.01 and 0.02: 127 steps are the largest value of each channel.
    kernel = np.array([[1.27, -2.54], [0.0, 0.031], [-0.006, 0.0]], "float32")
    rounded = fake_quantize_kernel(kernel).numpy()
    assert rounded == pytest.approx(np.array([[1.27, -2.54], [0.0, 0.04], [-0.01, 0.0]]), abs=1e-6)
    assert rounded[1, 0] == rounded[2, 1] == 0.0


def test_a_depthwise_kernel_has_a_scale_for_each_output_channel():
    kernel = np.zeros((1, 2, 1, 2), "float32")
    kernel[0, :, 0, 0], kernel[0, :, 0, 1] = [1.27, 0.004], [12.7, 0.14]
    layer = QuantizedDepthwiseConv2D((1, 2), depth_multiplier=2)
    layer.build((None, 4, 4, 1))
    layer.kernel.assign(kernel)
    rounded = layer.quantized_kernel()
    assert rounded[0, :, 0, 0] == pytest.approx([1.27, 0.0], abs=1e-6)
    assert rounded[0, :, 0, 1] == pytest.approx([12.7, 0.1], abs=1e-5)


def test_a_gradient_passes_the_rounding_of_a_kernel():
    kernel = tf.constant([[0.8, -0.33], [0.1, 0.2]])
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        total = tf.reduce_sum(fake_quantize_kernel(kernel) * [[1.0, 2.0], [3.0, 4.0]])
    assert tape.gradient(total, kernel).numpy().tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_an_activation_by_hand():
    # The scale is 0.1: 256 values from -5.0 to 20.5.
    layer = FakeQuantize(minimum=-5.0, maximum=20.5)
    assert layer(np.array([-9, -0.06, 0, 0.24, 30], "float32"))[0].numpy() == pytest.approx([-5, -0.1, 0, 0.2, 20.5])
    assert layer(np.array([0.24], "float32"), training=True)[0].numpy() == pytest.approx([0.24])


def test_ranges_are_averages_that_hold_zero():
    layer = FakeQuantize()
    assert layer(np.array([0.123], "float32"))[0].numpy() == pytest.approx([0.123])
    assert layer.range is None
    layer(np.array([-1.0, 3.0], "float32"), training=True)
    layer(np.array([2.0, 5.0], "float32"), training=True)
    assert layer.range == pytest.approx((-0.5, 4.0))
    layer(np.array([9.0], "float32"))
    layer(np.array([9.0], "float32"), grid=tf.constant([0.1, 0.0]), training=True)
    assert layer.range == pytest.approx((-0.5, 4.0))


def test_folding_by_hand():
    norm = L.BatchNormalization(epsilon=0.0)
    norm.build((None, 2))
    norm.set_weights([np.array(values, "float32") for values in ([2, 3], [1, 0], [0.5, 1], [4, 9])])
    kernel, bias = fold(np.array([[1.0, 0.0]], "float32"), np.array([0.5, 2.0], "float32"), norm)
    assert kernel.tolist() == [[1.0, 0.0]]
    assert bias.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("make", [dense_network, convolutional_network])
def test_the_model_is_close_before_training(make):
    model = make()
    x = samples(64, *model.input_shape[1:])
    before, after = model.predict(x, verbose=0), tfl.quantize_aware(model, calibration=x).predict(x, verbose=0)
    assert 0 < np.abs(after - before).max() < 0.05 * np.ptp(before)


def test_masks_hold_in_fit():
    model = dense_network()
    masks = tfl.get_masks(model)
    x = samples(128, 64)
    quantized = tfl.quantize_aware(model, calibration=x)
    before = tfl.get_weights(quantized)
    quantized.compile(keras.optimizers.Adam(0.01), "mse")
    quantized.fit(x, samples(128, 10, seed=2), epochs=2, verbose=0)
    after = tfl.get_weights(quantized)
    assert tfl.get_masks(quantized).keys() == masks.keys() == {"dense/kernel", "dense_1/kernel", "dense_2/kernel"}
    for path, mask in masks.items():
        assert np.array_equal(tfl.get_masks(quantized)[path], mask)
        assert not after[path][~mask].any()
        assert np.abs(after[path] - before[path])[mask].max() > 0
        held = quantized.get_layer(path.split("/")[0]).layer
        assert not held.quantized_kernel()[~mask].any()


def test_zeros_of_a_plain_model_are_pruned():
    plain = tfl.strip(dense_network())
    masks = tfl.get_masks(tfl.quantize_aware(plain))
    assert all(np.array_equal(mask, tfl.get_weights(plain)[path] != 0) for path, mask in masks.items())


def test_a_saved_model_is_the_same(tmp_path):
    x = samples(32, 8, 8, 3)
    quantized = tfl.quantize_aware(convolutional_network(), calibration=x)
    quantized.save(tmp_path / "model.keras")
    loaded = tfl.load_model(tmp_path / "model.keras")
    assert np.array_equal(loaded.predict(x, verbose=0), quantized.predict(x, verbose=0))
    assert all(np.array_equal(mask, tfl.get_masks(loaded)[path]) for path, mask in tfl.get_masks(quantized).items())


def test_int8_files_compute_what_a_dense_network_computes(tmp_path):
    x, other = samples(300, 64), samples(64, 64, seed=5)
    model = dense_network()
    quantized = tfl.quantize_aware(model, calibration=x)
    quantized.compile("adam", "mse")
    quantized.fit(x, model.predict(x, verbose=0), epochs=1, verbose=0)
    report = tfl.export(quantized, tmp_path, samples=x)
    assert [file["encoding"] for file in report.files] == ["dense", "sparse"]
    assert report.files[1]["bytes"] < 0.5 * report.files[0]["bytes"]
    minimum, maximum = quantized.get_layer("dense_2_range").range
    zeros, moved = np.zeros((20, 10)), np.zeros((20, 10))
    moved[0, :3] = np.array([0.99, 2.5, 1.5]) * (maximum - minimum) / 255
    content = (tmp_path / "model_int8_dense.tflite").read_bytes()
    steps = output_steps(content, {"output": zeros}, {"output": moved})
    assert (steps.largest, steps.within) == (pytest.approx(2.5, rel=1e-4), 0.99)
    for file in report.files:
        answers, dtypes = as_numbers(file["path"], other)
        assert dtypes <= {np.int8, np.int32}
        assert np.abs(answers - quantized.predict(other, verbose=0)).max() <= 1.001 * (maximum - minimum) / 255


def test_int8_file_computes_what_a_convolutional_network_computes(tmp_path):
    x, other = samples(300, 8, 8, 3), samples(64, 8, 8, 3, seed=5)
    quantized = tfl.quantize_aware(convolutional_network(), calibration=x)
    report = tfl.export(quantized, tmp_path, samples=x, encoding="dense")
    answers, dtypes = as_numbers(report.files[0]["path"], other)
    assert dtypes <= {np.int8, np.int32}
    assert np.abs(answers - quantized.predict(other, verbose=0)).max() <= 1.001 / 256


def test_dead_units_and_large_biases(tmp_path):
    x = samples(300, 64)
    model = dense_network()
    masks = tfl.get_masks(model)
    masks["dense/kernel"][:, :150] = False
    tfl.set_masks(model, masks)
    weights = tfl.get_weights(model)
    weights["dense/bias"][:50], weights["dense/bias"][50:100] = 3.0, -3.0
    tfl.set_weights(model, weights)
    quantized = tfl.quantize_aware(model, calibration=x)
    report = tfl.export(quantized, tmp_path, samples=x)
    assert [file["note"].count("fake-quantized") for file in report.files] == [1, 1]  # what was measured of this file


def test_a_layer_that_is_dead_as_a_whole(tmp_path):
    keras.utils.set_random_seed(0)
    x, image = samples(200, 64), keras.Input((64,))
    large, low = keras.initializers.RandomNormal(stddev=1.0), keras.initializers.Constant(-1000.0)
    dead = L.Dense(16, "relu", kernel_initializer=large, bias_initializer=low)(image)
    outputs = L.Dense(3)(L.Add()([L.Dense(16, "relu")(image), dead]))
    model = tfl.quantize_aware(keras.Model(image, outputs), calibration=x)
    report = tfl.export(model, tmp_path, samples=x, encoding="dense")
    assert report.files[0]["note"] == "No output differs from the fake-quantized model's."


def test_what_is_said_of_steps():
    assert OutputSteps(2.0, 0.9998).failure.startswith("99.98 % of the outputs are within one step")
    assert not OutputSteps(1.0, 1.0).failure
    assert str(OutputSteps(2.0, 0.995)).endswith("the others within 2.")
    assert str(OutputSteps(1.0, 1.0)).startswith("Every output is within one step")
    assert str(OutputSteps(1e-4, 1.0)).startswith("No output differs")


def _twice():
    dense, image = L.Dense(4), keras.Input((4,))
    return keras.Model(image, dense(dense(image)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: keras.Sequential([keras.Input((4,)), L.LayerNormalization()]), "int8 does not know its class"),
        (lambda: keras.Sequential([keras.Input((4,)), L.BatchNormalization()]), "can't be folded"),
        (lambda: keras.Sequential([keras.Input((4,)), L.Dense(3, "relu"), L.BatchNormalization()]), "can't be folded"),
        (lambda: keras.Sequential([keras.Input((4,)), L.Dense(3, "gelu")]), "its activation is none of"),
        (lambda: keras.Sequential([keras.Input((4,)), L.ReLU(1.0)]), "its activation is none of"),
        (lambda: keras.Sequential([keras.Input((4,)), L.Dense(3, dtype="mixed_float16")]), "it computes in float16"),
        (lambda: keras.Sequential([keras.Input((4,), dtype="int32"), L.Flatten()]), "an input of int32"),
        (lambda: keras.Sequential([keras.Input((8, 8, 4)), L.Conv2D(4, 3, groups=2)]), "a grouped convolution"),
        (_twice, "is called twice"),
    ],
)
def test_what_int8_does_not_know_is_refused(make, words):
    with pytest.raises(UnfitError, match=words):
        tfl.quantize_aware(make())


def test_other_models_are_refused():
    with pytest.raises(UsageError, match="Subclassed models"):
        tfl.quantize_aware(Subclassed())
    with pytest.raises(UsageError, match="quantization-aware already"):
        tfl.quantize_aware(tfl.quantize_aware(dense_network()))


def test_export_without_ranges_is_refused(tmp_path):
    with pytest.raises(UnfitError, match="never measured"):
        tfl.export(tfl.quantize_aware(dense_network()), tmp_path / "out", samples=samples(8, 64))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "asked", [{"format": "saved_model"}, {"precision": "float16"}, {"encoding": ["slim", "slim-sparse"]}]
)
def test_other_files_of_a_quantization_aware_model_are_refused(tmp_path, asked):
    x = samples(8, 64)
    with pytest.raises(UsageError, match=f"has {next(iter(asked))} "):
        tfl.export(tfl.quantize_aware(dense_network(), calibration=x), tmp_path / "out", samples=x, **asked)
