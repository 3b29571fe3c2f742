"""Files that are whole or not there."""

import json

import numpy as np
import pytest

from tf_lottery.errors import DamagedError
from tf_lottery.utils import files


def test_a_file_is_replaced_whole_and_its_hash_returned(tmp_path):
    path = tmp_path / "deep" / "file"
    assert files.write_bytes(path, b"one") == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    files.write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    files.write_bytes(path, b"old")
    with pytest.raises(TypeError):
        files.write_bytes(path, "not bytes")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_json_is_strict_and_knows_numpy():
    document = {"a": float("nan"), "b": np.float32(0.5), "c": (np.int64(3), float("-inf")), "d": np.bool_(True)}
    assert json.loads(files.dump_json(document)) == {"a": None, "b": 0.5, "c": [3, None], "d": True}


def test_text_of_json_and_its_indent():
    assert files.json_text({"a": [1, float("inf")]}) == '{"a": [1, null]}'
    assert files.json_text({"a": 1}, indent=2) == '{\n  "a": 1\n}'


def test_a_digest_is_of_the_content(tmp_path):
    digest = files.write_bytes(tmp_path / "file", b"one")
    assert files.file_digest(tmp_path / "file") == digest


def test_equal_arrays_give_equal_bytes_and_come_back(tmp_path):
    arrays = {
        "a/b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "c": np.array([True]),
        "d": np.array(2.5, np.float16),
    }
    for compressed in (False, True):
        content = files.dump_arrays(arrays, compressed=compressed)
        assert content == files.dump_arrays({key: value.copy() for key, value in arrays.items()}, compressed=compressed)
        (tmp_path / "a.npz").write_bytes(content)
        loaded = files.load_arrays(tmp_path / "a.npz")
        assert list(loaded) == list(arrays)
        for key, array in arrays.items():
            assert loaded[key].dtype == array.dtype
            assert loaded[key].shape == array.shape
            np.testing.assert_array_equal(loaded[key], array)


def test_pickles_are_refused(tmp_path):
    np.savez(tmp_path / "evil.npz", a=np.array([{}], dtype=object))
    with pytest.raises(DamagedError):
        files.load_arrays(tmp_path / "evil.npz")


@pytest.mark.parametrize("content", [b"", b"PK", b"not an archive", b"[1"])
def test_what_is_no_archive_or_no_json_is_damaged(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DamagedError, match="file is damaged or missing"):
        files.load_arrays(tmp_path / "file")
    with pytest.raises(DamagedError, match="file is damaged or missing"):
        files.load_json(tmp_path / "file")
