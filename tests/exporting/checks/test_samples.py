"""Samples reach the model exactly as they were given, or not at all."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from keras import layers

from tf_lottery.errors import NonFiniteError, UnfitError, UsageError
from tf_lottery.exporting import export
from tf_lottery.exporting.checks.samples import flat_samples, random_samples
from tf_lottery.exporting.signature import signature_of


def model_of(dtype, *chain):
    image = keras.Input((2,), dtype=dtype)
    x = image
    for layer in chain or (layers.Rescaling(1.0, dtype="float32"),):
        x = layer(x)
    return keras.Model(image, x)


@pytest.fixture(scope="module")
def models():
    return {dtype: model_of(dtype) for dtype in ("uint8", "int8", "int32", "bool", "float16", "float32")}


def flat(model, values):
    return flat_samples(model, signature_of(model), np.asarray(values))


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("uint8", [[0.0, 255.0]]),
        ("uint8", np.array([[0, 255]], "int64")),
        ("int8", [[-128, 127]]),
        ("int32", [[True, False]]),
        ("bool", [[0.0, 1.0]]),
        ("float32", [[1e38, 0.1]]),  # 0.1 is none of float32's; rounding is what its inputs go through in Keras, too
        ("float32", np.array([[1, 255]], "uint8")),
        ("float16", [[65504.0, -1.0]]),
    ],
)
def test_what_the_dtype_holds_is_kept(dtype, values, models):
    (array,) = flat(models[dtype], values)
    assert array.dtype == dtype
    np.testing.assert_allclose(array.astype("float64"), np.asarray(values, "float64"), rtol=1e-7)


@pytest.mark.parametrize(
    ("dtype", "values", "message"),
    [
        ("uint8", [[0.0, 0.5]], "uint8.* 1 of 2 values.*0.5.*raw"),
        ("uint8", [[256, -1]], "2 of 2 values.*256"),
        ("uint8", [[-1.0, 3.0]], "1 of 2 values"),
        ("int8", [[200, 3]], "200"),
        ("int32", [[2**31, 0]], "2147483648"),
        ("int32", [[3e9, 0.0]], "1 of 2 values"),
        ("bool", [[2, 1]], "bool.*2"),
        ("float32", [[1e39, 0.0]], r"1e\+39.*range of float32"),
        ("float16", [[70000, 0]], "70000.*float16"),
    ],
)
def test_what_the_dtype_does_not_hold_is_refused(dtype, values, message, models):
    """Images in [0, 1] became zeros and ones for a uint8 input, on which every file agrees."""
    with pytest.raises(UnfitError, match=message):
        flat(models[dtype], values)


def test_not_finite_samples_are_called_so(models):
    with pytest.raises(NonFiniteError):
        flat(models["uint8"], [[np.nan, 1.0]])


@given(values=arrays_of.arrays("float64", (3, 2), elements=st.integers(-300, 300).map(lambda n: n / 2)))
def test_a_cast_is_exact_or_refused(models, values):
    fits = bool(((values % 1 == 0) & (values >= 0) & (values <= 255)).all())
    try:
        (array,) = flat(models["uint8"], values)
    except UnfitError:
        assert not fits
    else:
        assert fits
        assert array.tolist() == values.tolist()


def test_every_part_of_the_data_is_checked(models, tmp_path):
    raw = np.arange(8, dtype="float32").reshape(4, 2)
    good = {"samples": raw, "validation": (raw, None), "calibration": raw}
    for name, wrong in {"samples": raw / 8, "validation": (raw / 8, None), "calibration": raw / 8}.items():
        with pytest.raises(UnfitError, match="uint8"):
            export(models["uint8"], tmp_path / "app", format="keras", **(good | {name: wrong}))
    assert list(tmp_path.iterdir()) == []


def test_random_samples_fill_the_range_of_pixels(models):
    """Zeros and ones alone are all the same to a model that divides by 255."""
    for dtype, low, high in [("uint8", 0, 255), ("int8", -128, 127), ("int32", 0, 1), ("bool", 0, 1)]:
        (array,) = random_samples(models[dtype], signature_of(models[dtype]))
        assert array.dtype == dtype
        assert array.shape == (256, 2)
        assert low <= array.min() <= low + (high - low) // 16
        assert high - (high - low) // 16 <= array.max() <= high
    categories = model_of("uint8", layers.CategoryEncoding(num_tokens=5, output_mode="multi_hot"))
    (array,) = random_samples(categories, signature_of(categories))
    assert sorted(np.unique(array)) == [0, 1, 2, 3, 4]


def test_a_message_names_the_part_that_is_wrong():
    model = model_of("float32")
    with pytest.raises(UsageError, match=r"Calibration samples have the keys \['left'\]"):
        flat_samples(model, signature_of(model), {"left": np.zeros((1, 2))}, part="Calibration samples")
