"""Small networks whose dead parts, folded constants and remaining weights are worked out by hand."""

import json

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tf_lottery as tfl

L = keras.layers


def sequential(shape, *layers):
    return keras.Sequential([keras.Input(shape), *layers])


def assign(layer, *weights):
    layer.set_weights([np.asarray(weight, "float32") for weight in weights])


def test_units_that_are_not_read_or_read_nothing(difference):
    model = sequential((2,), L.Dense(3, "relu", name="hidden"), L.Dense(2, name="out"))
    assign(model.layers[0], [[1, 0, 2], [3, 0, 4]], [1, 2, 3])  # unit 1 is relu(2)
    assign(model.layers[1], [[1, 5], [10, -1], [0, 0]], [0.5, 0.25])  # unit 2 is not read
    before = model.get_weights()
    slimmed, report = tfl.slim(model)
    hidden, out = slimmed.layers
    assert_array_equal(hidden.kernel.numpy(), [[1], [3]])
    assert_array_equal(hidden.bias.numpy(), [1])
    assert_array_equal(out.kernel.numpy(), [[1, 5]])
    assert_array_equal(out.bias.numpy(), [20.5, -1.75])
    assert difference(model, slimmed) <= 1e-6
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert (type(slimmed), slimmed.name, hidden.name) == (keras.Sequential, model.name, "hidden")
    assert (report.parameters_before, report.parameters_after, report.removed) == (17, 7, 2)
    first, last = report.layers
    assert (first.units_before, first.units_after, first.inputs_read, first.folded) == (3, 1, 2, 0)
    assert (last.inputs_before, last.inputs_after, last.inputs_read, last.folded) == (3, 1, 2, 1)
    assert json.loads(json.dumps(report.to_json()))["removed"] == 2
    assert report.lines()[1:] == [
        "hidden: 3 -> 1 units, reads 2 of 2 inputs",
        "out: 2 -> 2 units, reads 2 of 3 inputs, 1 constants folded",
    ]


def test_a_chain_of_dead_units_dies_from_both_ends():
    model = sequential((2,), L.Dense(2, name="a"), L.Dense(2, name="b"), L.Dense(2, name="c"), L.Dense(1, name="d"))
    assign(model.layers[0], [[1, 0], [1, 0]], [0, 3])  # a1 = 3
    assign(model.layers[1], [[1, 0], [2, 1]], [0, 1])  # b0 = a0 + 2 * 3, b1 = 3 + 1 = 4
    assign(model.layers[2], [[1, 1], [1, 1]], [0, 0])  # c = b0 + 4, twice
    assign(model.layers[3], [[1], [0]], [0])  # c1 is not read
    slimmed, report = tfl.slim(model)
    assert [layer.units for layer in slimmed.layers] == [1, 1, 1, 1]
    assert [layer.bias.numpy().item() for layer in slimmed.layers] == [0, 6, 4, 0]
    assert [layer.folded for layer in report.layers] == [0, 1, 1, 0]


def test_a_constant_is_folded_through_batch_norm_and_activation():
    normalized = L.BatchNormalization(epsilon=0.0)
    model = sequential((1,), L.Dense(2, use_bias=False), normalized, L.ReLU(), L.Dense(1, use_bias=False))
    assign(model.layers[0], [[1, 0]])
    # gamma, beta, mean, variance: unit 1 is 2 * (0 - 3) / 4 + 5 = 3.5
    assign(normalized, [1, 2], [0, 5], [0, 3], [1, 16])
    assign(model.layers[3], [[1], [2]])
    slimmed, _ = tfl.slim(model)
    assert slimmed.layers[3].use_bias
    assert slimmed.layers[3].bias.numpy().tolist() == [7.0]
    assert [w.shape for w in slimmed.layers[1].get_weights()] == [(1,)] * 4
    assert not model.layers[3].use_bias


def test_a_scale_of_zero_makes_a_constant():
    model = sequential((2,), L.Dense(2), L.BatchNormalization(), L.Dense(1))
    assign(model.layers[0], [[1, 2], [3, 4]], [0, 0])
    assign(model.layers[1], [1, 0], [0, 5], [0, 1], [1, 1])
    assign(model.layers[2], [[1], [2]], [1])
    slimmed, _ = tfl.slim(model)
    assert slimmed.layers[0].units == 1
    assert slimmed.layers[2].bias.numpy().tolist() == [11.0]


def convolutions(padding, biases):
    """A 1x1 convolution whose channels 1 to 3 are the constants `biases`, read by a 3x3 one."""
    model = sequential((5, 5, 1), L.Conv2D(4, 1, name="first"), L.Conv2D(2, 3, padding=padding, name="second"))
    assign(model.layers[0], [[[[1, 0, 0, 0]]]], [0, *biases])
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 2))
    assign(model.layers[1], kernel, [1, 2])
    return model, kernel


def test_an_unpadded_convolution_takes_constants_into_its_bias(difference):
    model, kernel = convolutions("valid", [2, 0, -1])
    slimmed, report = tfl.slim(model)
    assert slimmed.layers[0].filters == 1
    sums = kernel.sum(axis=(0, 1))
    assert_allclose(slimmed.layers[1].bias.numpy(), [1, 2] + 2 * sums[1] - sums[3], rtol=1e-5)
    assert report.layers[1].folded == 2
    assert difference(model, slimmed) <= 1e-6


def test_zero_padding_lets_one_constant_stand_for_all(difference):
    model, kernel = convolutions("same", [2, 0, -4])
    slimmed, report = tfl.slim(model)
    assert slimmed.layers[0].filters == 2
    assert slimmed.layers[0].bias.numpy().tolist() == [0, -4]
    assert_allclose(slimmed.layers[1].kernel.numpy()[:, :, 1], kernel[:, :, 3] - kernel[:, :, 1] / 2, rtol=1e-5)
    assert slimmed.layers[1].bias.numpy().tolist() == [1, 2]
    assert (report.layers[1].folded, report.layers[1].merged) == (0, 1)
    assert difference(model, slimmed) <= 1e-6


def test_zero_constants_need_nothing_under_padding():
    model, _ = convolutions("same", [0, 0, 0])
    slimmed, report = tfl.slim(model)
    assert slimmed.layers[0].filters == 1
    assert report.layers[1].merged == 0


def test_a_border_of_zeros_is_not_folded(difference):
    layers = L.Conv2D(3, 1), L.ZeroPadding2D(1), L.Conv2D(2, 3)
    model = sequential((4, 4, 1), *layers)
    assign(layers[0], [[[[1, 0, 0]]]], [0, 3, 6])
    slimmed, report = tfl.slim(model)
    assert slimmed.layers[0].filters == 2
    assert (report.layers[1].folded, report.layers[1].merged) == (0, 1)
    assert difference(model, slimmed) <= 1e-6


def test_a_padded_separable_convolution_keeps_constants(difference):
    model = sequential((5, 5, 1), L.Conv2D(3, 1), L.SeparableConv2D(2, 3, padding="same", name="separable"))
    assign(model.layers[0], [[[[1, 0, 0]]]], [0, 3, 0])
    slimmed, report = tfl.slim(model)
    assert slimmed.layers[0].filters == 2  # the zero goes, the 3 stays
    assert list(report.left_alone) == ["separable"]
    assert report.left_alone["separable"].startswith("1 constant channels stay")
    assert difference(model, slimmed) <= 1e-6


def test_depthwise_outputs_go_with_their_channel(difference):
    layers = L.Conv2D(3, 1), L.DepthwiseConv2D(2, depth_multiplier=2), L.Conv2D(1, 1)
    model = sequential((4, 4, 1), *layers)
    assign(layers[0], [[[[1, 0, 1]]]], [0, 1, 0])  # channel 1 is 1
    depthwise = np.ones((2, 2, 3, 2))
    depthwise[:, :, 1, 1] = 2
    assign(layers[1], depthwise, [0, 0, 0.5, 0.25, 0, 0])  # 4 * 1 + 0.5 and 8 * 1 + 0.25
    assign(layers[2], np.array([1, 1, 2, 4, 0, 1]).reshape(1, 1, 6, 1), [0])
    slimmed, _ = tfl.slim(model)
    # Channel 2 stays: one of its two outputs is read.
    assert [layer.get_weights()[0].shape for layer in slimmed.layers] == [(1, 1, 1, 2), (2, 2, 2, 2), (1, 1, 4, 1)]
    assert slimmed.layers[2].bias.numpy().tolist() == [2 * 4.5 + 4 * 8.25]
    assert difference(model, slimmed) <= 1e-6


def test_separable_convolutions_fold_through_both_kernels(difference):
    model = sequential((4, 4, 1), L.Conv2D(2, 1), L.SeparableConv2D(1, 2, depth_multiplier=2))
    assign(model.layers[0], [[[[1, 0]]]], [0, 3])
    depthwise = np.ones((2, 2, 2, 2))
    depthwise[:, :, 1, 1] = [[0, 0], [0, 5]]
    assign(model.layers[1], depthwise, np.array([1, 1, 10, 100]).reshape(1, 1, 4, 1), [1])
    slimmed, _ = tfl.slim(model)
    assert slimmed.layers[1].bias.numpy().tolist() == [1 + 3 * 4 * 10 + 3 * 5 * 100]
    assert difference(model, slimmed) <= 1e-6


def test_a_flattened_channel_goes_when_all_its_features_do(difference):
    model = sequential((2, 1, 1), L.Conv2D(3, 1), L.Flatten(), L.Dense(1))
    assign(model.layers[0], [[[[1, 2, 0]]]], [0, 0, 4])
    # Features: position 0 channels 0, 1, 2, then position 1. Channel 0 is read at position 1, channel 1 nowhere.
    assign(model.layers[2], [[0], [0], [1], [7], [0], [2]], [0])
    slimmed, _ = tfl.slim(model)
    assert slimmed.layers[2].kernel.numpy().tolist() == [[0], [7]]
    assert slimmed.layers[2].bias.numpy().tolist() == [4 * 1 + 4 * 2]
    assert difference(model, slimmed) <= 1e-6


@pytest.mark.parametrize("merge", [lambda a, b: L.Add()([a, b]), lambda a, b: a + b], ids=["layer", "operator"])
def test_a_residual_channel_goes_when_it_goes_in_all_branches(merge, difference):
    x = keras.Input((2,))
    one, other, last = L.Dense(3), L.Dense(3), L.Dense(1)
    model = keras.Model(x, last(merge(one(x), other(x))))
    assign(one, [[1, 0, 0], [1, 0, 0]], [0, 1, 2])
    assign(other, [[1, 1, 0], [1, 1, 0]], [0, 0, 3])  # channel 1 lives in one branch, channel 2 is 2 + 3
    assign(last, [[1], [1], [10]], [0])
    slimmed, report = tfl.slim(model)
    assert [layer.units_after for layer in report.layers] == [2, 2, 1]
    assert slimmed.layers[-1].bias.numpy().tolist() == [50]
    assert difference(model, slimmed) <= 1e-6


def test_a_product_with_zero_frees_the_other_branch():
    x = keras.Input((2,))
    gate, value, last = L.Dense(2, "relu"), L.Dense(2), L.Dense(1)
    model = keras.Model(x, last(L.Multiply()([gate(x), value(x)])))
    assign(gate, [[1, 0], [1, 0]], [0, -1])  # channel 1 is relu(-1) = 0
    _, report = tfl.slim(model)
    assert [layer.units_after for layer in report.layers] == [1, 1, 1]


def test_concatenated_channels_go_one_by_one(difference):
    x = keras.Input((2,))
    one, other, last = L.Dense(2), L.Dense(3), L.Dense(1)
    model = keras.Model(x, last(L.Concatenate()([one(x), other(x), x])))
    assign(last, [[1], [0], [0], [1], [1], [0], [1]], [0])
    slimmed, report = tfl.slim(model)
    assert [layer.units_after for layer in report.layers] == [1, 2, 1]
    assert report.layers[2].inputs_after == 1 + 2 + 2  # the model's own input stays
    assert difference(model, slimmed) <= 1e-6


def test_a_layer_used_twice_folds_what_is_equal_in_both_uses(difference):
    a, b = keras.Input((1,), name="a"), keras.Input((1,), name="b")
    one, other, shared = L.Dense(3), L.Dense(3), L.Dense(1, name="shared")
    model = keras.Model({"a": a, "b": b}, {"y": shared(one(a)), "z": shared(other(b))})
    assign(one, [[1, 0, 0]], [0, 2, 3])
    assign(other, [[1, 0, 0]], [0, 2, 4])  # channel 1 is 2 in both, channel 2 is 3 and 4
    assign(shared, [[1], [1], [1]], [0])
    slimmed, report = tfl.slim(model)
    assert [layer.units_after for layer in report.layers] == [2, 2, 1]
    assert slimmed.get_layer("shared").bias.numpy().tolist() == [2]
    assert set(slimmed.output) == {"y", "z"}
    assert slimmed.input["a"].name == "a"
    assert difference(model, slimmed) <= 1e-6


def test_slopes_of_prelu_are_cut_and_applied():
    slopes = L.PReLU()
    model = sequential((1,), L.Dense(3), slopes, L.Dense(1))
    assign(model.layers[0], [[1, 0, 1]], [0, -2, 0])
    assign(slopes, [0.5, 0.25, 0.125])
    assign(model.layers[2], [[1], [4], [1]], [0])
    slimmed, _ = tfl.slim(model)
    assert slimmed.layers[1].alpha.numpy().tolist() == [0.5, 0.125]
    assert slimmed.layers[2].bias.numpy().tolist() == [-2 * 0.25 * 4]


@pytest.mark.parametrize(("multiple", "units"), [(1, 10), (4, 12), (8, 16), (16, 16), (64, 20)])
def test_numbers_of_units_are_rounded_up(multiple, units, difference):
    model = sequential((3,), L.Dense(20, "sigmoid"), L.Dense(3))
    kernel, bias = model.layers[1].get_weights()
    kernel[10:] = 0
    assign(model.layers[1], kernel, bias)
    slimmed, report = tfl.slim(model, multiple=multiple)
    assert slimmed.layers[0].units == units
    assert report.layers[0].units_filling == units - 10
    assert not slimmed.layers[0].kernel.numpy()[:, 10:].any()
    assert difference(model, slimmed) <= 1e-6


@pytest.mark.parametrize(("multiple", "units"), [(1, 1), (4, 4)])
def test_a_layer_that_is_dead_as_a_whole_keeps_a_unit(multiple, units, difference):
    model = sequential((3,), L.Dense(6, "relu"), L.Dense(2, use_bias=False))
    assign(model.layers[0], np.zeros((3, 6)), [1, 2, 3, 4, 5, 6])
    slimmed, _ = tfl.slim(model, multiple=multiple)
    assert slimmed.layers[0].units == units
    assert slimmed.count_params() < model.count_params()
    assert difference(model, slimmed) <= 1e-6


def test_nothing_dead_gives_an_equal_model():
    model = sequential((3,), L.Dense(4, "relu"), L.Dropout(0.5), L.Dense(2, "softmax"))
    slimmed, report = tfl.slim(model)
    assert (report.removed, report.left_alone, report.parameters_after) == (0, {}, report.parameters_before)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), slimmed.get_weights(), strict=True))
    assert slimmed is not model
    assert slimmed.layers[0] is not model.layers[0]


def test_the_live_units_of_a_sparse_lenet(difference):
    model = sequential((28, 28), L.Flatten(), L.Dense(300, "relu"), L.Dense(100, "relu"), L.Dense(10))
    rng = np.random.default_rng(0)
    for layer, density in zip(model.layers[1:], (0.01, 0.01, 0.1), strict=True):
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel * (rng.random(kernel.shape) < density), bias])
    slimmed, report = tfl.slim(model)
    kernels = [layer.kernel.numpy() for layer in model.layers[1:]]
    read = (kernels[1] != 0)[:, (kernels[2] != 0).any(axis=1)].any(axis=1) & (kernels[0] != 0).any(axis=0)
    assert slimmed.layers[1].units == read.sum() < 250
    assert slimmed.input_shape == (None, 28, 28)
    assert report.layers[0].inputs_after == 784
    assert difference(model, slimmed) <= 1e-6
