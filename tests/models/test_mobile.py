"""MobileNet: structure, sizes by hand, and the layout that sparse kernels need."""

import keras
import numpy as np
import pytest

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.layers import discover
from tf_lottery.models.architectures import ARCHITECTURES
from tf_lottery.models.catalog import CATALOG
from tf_lottery.models.mobile import mobilenet

# Filters at half width, by hand: 16; 32; 64, 64; 128, 128; 256.
POINTWISE = [16 * 32, 32 * 64, 64 * 64, 64 * 128, 128 * 128, 128 * 256]
DEPTHWISE = [9 * channels for channels in (16, 32, 64, 64, 128, 128)]


def test_weights_are_those_computed_by_hand():
    model, entry = ARCHITECTURES["mobilenet"]((32, 32, 3), 10), CATALOG["mobilenet"]
    kernels = {variable.path.split("/")[-2]: int(np.prod(variable.shape)) for variable in model.weights[:]}
    assert [kernels[f"block_{number}_pointwise"] for number in range(1, 7)] == POINTWISE
    assert [kernels[f"block_{number}_depthwise"] for number in range(1, 7)] == DEPTHWISE
    assert kernels["stem"] == 3 * 3 * 3 * 16
    assert sum(POINTWISE) + sum(DEPTHWISE) + 432 + 256 * 10 == entry.weights == 70_880
    # Scales and offsets of batch norm, after each convolution: two per channel; and the output's biases.
    normalised = 16 + (16 + 32) + (32 + 64) + (64 + 64) + (64 + 128) + (128 + 128) + (128 + 256)
    assert sum(int(np.prod(each.shape)) for each in model.trainable_variables) == entry.parameters
    assert entry.parameters == 70_880 + 2 * normalised + 10
    assert sum(POINTWISE) / entry.weights > 0.9


def test_every_halving_is_padded_alike_on_both_sides():
    model = mobilenet((32, 32, 3), 10)
    halving = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D) and layer.strides == (2, 2)
    ]
    assert [layer.name for layer in halving] == ["stem", "block_2_depthwise", "block_4_depthwise"]
    for layer in halving:
        pad = model.layers[model.layers.index(layer) - 1]
        assert isinstance(pad, keras.layers.ZeroPadding2D)
        assert pad.padding == ((1, 1), (1, 1))
        assert layer.padding == "valid"
    sizes = [layer.output.shape[1] for layer in model.layers if layer.name.endswith("pointwise")]
    assert sizes == [16, 8, 8, 4, 4, 4]


@pytest.mark.parametrize(("width", "filters"), [(0.25, [8, 16, 32, 32, 64, 64, 128]), (0.01, [8] * 7)])
def test_width_scales_filters_to_multiples_of_eight(width, filters):
    model = mobilenet((32, 32, 3), 10, width=width)
    names = ["stem", *(f"block_{number}_pointwise" for number in range(1, 7))]
    assert [model.get_layer(name).filters for name in names] == filters


def test_every_convolution_is_maskable():
    discovery = discover(mobilenet((32, 32, 3), 10)).found
    assert len(discovery) == 1 + 6 + 6 + 1


@pytest.mark.parametrize(("shape", "classes"), [((4, 4, 3), 10), ((64,), 10), ((32, 32, 3), None)])
def test_inputs_that_do_not_fit(shape, classes):
    with pytest.raises(UnfitError, match="mobilenet"):
        mobilenet(shape, classes)


def test_a_width_that_is_none():
    with pytest.raises(UsageError, match="width"):
        mobilenet((32, 32, 3), 10, width=0)
