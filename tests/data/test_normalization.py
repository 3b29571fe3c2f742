"""Normalization by hand numbers; statistics come from the training part alone."""

import numpy as np
import pytest

from tf_lottery.data.normalization import fit
from tf_lottery.errors import UsageError

# Two examples of two pixels and two channels.
IMAGES = np.array([[[0, 255], [51, 255]], [[102, 255], [51, 255]]], np.uint8)


def test_none_keeps_values_as_float32():
    result = fit(IMAGES, mode="none", scale=255).apply(IMAGES)
    assert result.dtype == np.float32
    assert np.array_equal(result, IMAGES)


def test_unit_divides_by_the_largest_possible_value():
    how = fit(IMAGES, mode="unit", scale=255)
    result = how.apply(IMAGES)
    assert result.dtype == np.float32
    assert np.array_equal(result, IMAGES.astype("float32") / np.float32(255))
    assert how.mean == ()
    assert how.std == ()


def test_standard_per_channel_by_hand():
    how = fit(IMAGES, mode="standard", scale=255)
    # Channel 0 holds 0, 0.2, 0.4, 0.2: mean 0.2, variance (0.04 + 0.04) / 4 = 0.02. Channel 1 is constant.
    assert how.mean == pytest.approx((0.2, 1.0))
    assert how.std == pytest.approx((0.02**0.5, 1.0))
    result = how.apply(IMAGES)
    assert result[..., 0].ravel() == pytest.approx([-(2**0.5), 0, 2**0.5, 0], abs=1e-6)
    assert not result[..., 1].any()


def test_statistics_match_numpy_over_many_slices():
    images = np.random.default_rng(0).integers(0, 256, (9_000, 2, 2, 3), dtype=np.uint8)
    how = fit(images, mode="standard", scale=255)
    scaled = images / 255
    assert how.mean == pytest.approx(scaled.mean((0, 1, 2)), abs=1e-12)
    assert how.std == pytest.approx(scaled.std((0, 1, 2)), abs=1e-12)


def test_other_parts_use_the_training_statistics():
    how = fit(IMAGES, mode="standard", scale=255)
    bright = np.full((1, 1, 2), 255, np.uint8)
    assert how.apply(bright)[0, 0, 0] == pytest.approx((1 - 0.2) / 0.02**0.5)


def test_the_input_is_not_changed():
    before = IMAGES.copy()
    fit(IMAGES, mode="standard", scale=255).apply(IMAGES)
    floats = IMAGES.astype("float32")
    fit(IMAGES, mode="unit", scale=255).apply(floats)
    assert np.array_equal(IMAGES, before)
    assert np.array_equal(floats, before)


def test_unknown_mode_lists_the_valid_ones():
    with pytest.raises(UsageError, match=r"Did you mean 'unit'.*none, unit, standard"):
        fit(IMAGES, mode="unitt", scale=255)
