"""int8 files compute the integers of quantization-aware models: as a whole, and each layer alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import interpreter as litert
from integer_layers import Layers, values_by_tensor

import tf_lottery as tfl
from tf_lottery.layers.integer_rounding import activate, add, average, kernel_scale, regrid, rescale

L = keras.layers
WAYS = litert.OpResolverType


def conv(filters=8, size=1, **options):
    return L.Conv2D(filters, size, padding="same", **options)


def residual(x):
    x = conv(8, 3, activation="relu")(x)
    for _ in range(4):
        x = L.ReLU()(L.Add()([x, conv(8, 3)(conv(8, 3, activation="relu6")(x))]))
    return L.Dense(10)(L.GlobalAveragePooling2D()(x))


def concatenations(x):
    shared, single = conv()(x), conv(activation="relu6")(x)
    x = L.Concatenate()([shared, single, conv(4, activation="sigmoid")(shared), conv(4, activation="tanh")(x)])
    added = L.ReLU()(L.Add()([conv()(x), conv()(x)]))
    return conv()(L.Concatenate()([added, x, L.MaxPooling2D(3, 1, padding="same")(conv()(x))]))


def pools(x):
    x = L.ReLU()(L.AveragePooling2D(2)(L.DepthwiseConv2D(3, padding="same", depth_multiplier=3)(x)))
    x = L.ReLU(6.0)(L.Dropout(0.1)(L.MaxPooling2D(3, 1, padding="same")(conv()(x))))
    x = L.AveragePooling2D(3, 1, padding="same")(conv(activation="relu")(L.AveragePooling2D(2, 1)(x)))
    largest = L.GlobalMaxPooling2D()(x)
    return L.Dense(6, activation="softmax")(L.Concatenate()([largest, L.GlobalAveragePooling2D()(x)]))


def activations(x):
    shared = conv()(x)
    alone = L.Add()([conv()(L.ReLU()(shared)), conv()(L.ReLU(6.0)(shared))])
    return L.Dense(5)(L.ReLU()(L.GlobalAveragePooling2D()(L.Add()([alone, alone, shared]))))


NETWORKS = [residual, concatenations, pools, activations]


def inputs(count, seed):
    return np.random.default_rng(seed).normal(size=(count, 10, 10, 3)).astype("float32")


def quantized(make):
    keras.utils.set_random_seed(3)
    generator = np.random.default_rng(5)
    image = keras.Input((10, 10, 3))
    model = keras.Model(image, make(image))
    for variable in model.variables:
        variable.assign(0.3 * generator.normal(size=variable.shape) if variable.name == "bias" else 1.3 * variable)
    return tfl.quantize_aware(model, calibration=inputs(100, 0))


def exported(make, folder, **options):
    report = tfl.export(quantized(make), folder, samples=inputs(200, 1), encoding="dense", task="regression", **options)
    return (folder / "model_int8_dense.tflite").read_bytes(), report.files[0]["note"]


@pytest.mark.parametrize("make", NETWORKS)
def test_no_output_of_a_dense_file_differs(make, tmp_path):
    _, note = exported(make, tmp_path)
    assert note == "No output differs from the fake-quantized model's."


def test_files_with_integers_at_the_ends_are_counted_in_steps(tmp_path):
    report = tfl.export(
        quantized(pools), tmp_path, samples=inputs(50, 1), encoding="dense", io="int8", task="regression"
    )
    assert [file["note"] for file in report.files] == ["No output differs from the fake-quantized model's."]


@pytest.mark.parametrize("make", NETWORKS)
def test_each_layer_alone_is_within_one_step(make, tmp_path):
    content, _ = exported(make, tmp_path)
    layers, samples = Layers(content), inputs(30, 2)
    runs = {way: values_by_tensor(content, way, samples) for way in (WAYS.AUTO, WAYS.BUILTIN_REF)}
    checked = 0
    for kernels, values in runs.items():
        for operator in layers.graph.operators:
            if (layer := layers.expected(operator, values)) is None:
                continue
            name, received, expected = layer
            away = np.abs(received - expected).max()
            assert away <= 1, (kernels, name)
            if kernels is WAYS.AUTO and name != "QUANTIZE":  # rounded once; QUANTIZE has a multiplier of eight bits
                assert away <= 0.5001, name
            checked += 1
    assert checked >= 10


def test_kernels_that_round_twice_are_amplified(tmp_path):
    # Of one file, equal integers in: so no bound of one step on the outputs can hold for both kernels.
    content, _ = exported(residual, tmp_path)
    samples = inputs(100, 2)
    default, plain = (values_by_tensor(content, way, samples) for way in (WAYS.AUTO, WAYS.BUILTIN_REF))
    steps = [np.abs(default[tensor] - plain[tensor]).max() for tensor in default]
    assert steps[0] <= 1
    assert max(steps) > 1


def test_sums_of_products_are_rounded_half_to_even():
    units, scale = tf.constant([0.25, 0.5]), tf.constant(1.0)
    sums = tf.constant([[0.5, 1.5], [-0.5, 2.5], [0.75, -1.5]])
    assert rescale(sums, units, scale).numpy().tolist() == [[0, 2], [0, 2], [1, -2]]


def test_the_sum_of_two_tensors_is_rounded_half_up():
    grid = tf.constant([0.5, 0.0])
    total = add((tf.constant([0.5, -0.5, 1.0]), tf.constant([1.0, -1.0, 0.5])), (grid, grid), tf.constant(1.0))
    assert total.numpy().tolist() == [2, -1, 2]


def test_averages_of_stored_integers_go_away_from_zero():
    # Stored: 1.5, -1.5 and 5.5 around a zero point of 3, and one that is a hundredth less than a half.
    values = tf.constant([1.5 - 3, -1.5 - 3, 5.5 - 3, 1.49 - 3])
    assert (average(values, tf.constant([1.0, 3.0])) + 3).numpy().tolist() == [2, -2, 6, 1]


def test_another_grid_has_a_multiplier_of_eight_bits():
    # 1 / 3 becomes 85 / 256: a hundred is 33.2, and 127 is 42.17 where it should be 42.33.
    thirds = regrid(tf.constant([100.0, -100.0, 127.0]), tf.constant(1.0), tf.constant(3.0))
    assert thirds.numpy().tolist() == [33, -33, 42]
    assert regrid(tf.constant([110.0]), tf.constant(1.0), tf.constant(3.0)).numpy().tolist() == [37]
    assert regrid(tf.constant([125.0]), tf.constant(1.0), tf.constant(3.01)).numpy().tolist() == [42]


def test_an_activation_alone_is_rounded_half_up():
    assert activate(tf.constant([1.0, 3.0]), tf.constant(1.0), tf.constant(2.0)).numpy().tolist() == [1, 2]


def test_a_bias_fits_its_integers():
    kernel, bias = tf.constant([[1e-12, 1.27]]), tf.constant([3.0, 3.0])
    scales = kernel_scale(kernel, bias, tf.constant(0.01)).numpy()
    assert scales[1] == pytest.approx(0.01)
    assert 3.0 / (scales[0] * 0.01) == pytest.approx(2**30, rel=1e-6)
