"""A caller's own data in a `.npz` file: what is read, and what is refused."""

import numpy as np
import pytest

from tf_lottery.errors import DamagedError, UnfitError, UsageError
from tf_lottery.exporting.sources.sample_file import read_sample_file
from tf_lottery.exporting.sources.source_data import load_source_data
from tf_lottery.exporting.sources.source_model import SourceModel

X = np.arange(12.0).reshape(4, 3)
Y = np.array([0, 1, 2, 1])


@pytest.fixture
def write(tmp_path):
    def save(**arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return tmp_path / "data.npz"

    return save


def test_arrays_become_the_arguments_of_an_export(write):
    read = read_sample_file(write(x=X, y=Y, calibration=X[:2]))
    assert list(read) == ["samples", "labels", "calibration"]
    for name, expected in {"samples": X, "labels": Y, "calibration": X[:2]}.items():
        np.testing.assert_array_equal(read[name], expected)
    assert read_sample_file(write(x=X)) == {"samples": pytest.approx(X), "labels": None, "calibration": None}
    several = read_sample_file(write(**{"x/left": X, "x/right": -X, "y/score": Y, "calibration/left": X[1:]}))
    assert {name: list(arrays) for name, arrays in several.items()} == {
        "samples": ["left", "right"],
        "labels": ["score"],
        "calibration": ["left"],
    }
    np.testing.assert_array_equal(several["samples"]["right"], -X)


@pytest.mark.parametrize(
    ("arrays", "kind", "words"),
    [
        ({"y": Y}, UsageError, "has no array 'x'; it has y"),
        ({}, UsageError, "has no array 'x'; it has none"),
        ({"x": X, "labels": Y}, UsageError, r"unknown array 'labels' beside x\."),
        ({"x": X, "x/": X}, UsageError, "unknown array 'x/'"),
        ({"x": X, "x/left": X}, UsageError, "both 'x' and x/left"),
        ({"x": X, "y": Y[:3]}, UnfitError, "x has 4 samples, y has 3 samples"),
        ({"x/a": X, "x/b": X[1:]}, UnfitError, "x/a has 4 samples, x/b has 3 samples"),
        ({"x": X.astype(str)}, UnfitError, "'x' has dtype <U32"),
        ({"x": np.float32(1)}, UnfitError, r"shape \(\)"),
        ({"x": np.array([None, 1])}, UnfitError, "Python objects"),
        ({"x": np.zeros(3, [("a", "f4")])}, UnfitError, "records"),
    ],
)
def test_arrays_that_are_refused(arrays, kind, words, write):
    with pytest.raises(kind, match=words):
        read_sample_file(write(**arrays))


def test_files_that_are_refused(write, tmp_path):
    with pytest.raises(UsageError, match="There is no file"):
        read_sample_file(tmp_path / "gone.npz")
    (tmp_path / "data.npy").touch()
    with pytest.raises(UsageError, match=r"Expected a \.npz file"):
        read_sample_file(tmp_path / "data.npy")
    whole = write(x=X, y=Y).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, X)
    (tmp_path / "text.npz").write_text("0.1, 0.2")
    for name in ("cut", "array", "text"):
        with pytest.raises(DamagedError, match=rf"{name}\.npz can't be read: File is not a zip file"):
            read_sample_file(tmp_path / f"{name}.npz")


def test_a_file_stands_in_for_a_data_set(write):
    source, file = SourceModel(None, {"dataset": "digits"}, "model", {}), write(x=X, y=Y)
    loaded = load_source_data(source, file=file, count=2)
    np.testing.assert_array_equal(loaded.samples, X)  # all of them
    assert (loaded.validation, loaded.calibration, loaded.data) == (None, None, {"samples": "data.npz"})
    for options in ({"dataset": "digits"}, {"normalization": "none"}):
        with pytest.raises(UsageError, match=r"The samples are those of .*data\.npz"):
            load_source_data(source, file=file, **options)
