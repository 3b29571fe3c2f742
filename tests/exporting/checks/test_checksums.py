"""Hashes, the manifest and the check against it."""

import gzip
import hashlib
import json

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import DamagedError, UsageError
from tf_lottery.exporting.checks.checksums import check_file, digest, entries, gzip_size, merge_manifest, size
from tf_lottery.exporting.checks.verify import verify_path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"abc" * 100)
    (tmp_path / "net" / "variables").mkdir(parents=True)
    (tmp_path / "net" / "graph.pb").write_bytes(b"graph")
    (tmp_path / "net" / "variables" / "data").write_bytes(b"12")
    listed = {**entries(tmp_path / "a.bin"), **entries(tmp_path / "net")}
    (tmp_path / "manifest.json").write_text(merge_manifest(tmp_path, listed, replaced=[]))
    return tmp_path


def test_sizes_and_digests(folder):
    assert size(folder / "net") == 7
    assert digest(folder / "a.bin") == hashlib.sha256(b"abc" * 100).hexdigest()
    lines = [
        f"{hashlib.sha256(b'graph').hexdigest()}  graph.pb\n",
        f"{hashlib.sha256(b'12').hexdigest()}  variables/data\n",
    ]
    assert digest(folder / "net") == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert abs(gzip_size(folder / "a.bin") - len(gzip.compress(b"abc" * 100, 6))) <= 2


def test_whole_files_pass(folder):
    check_file(folder / "a.bin")
    check_file(str(folder / "net"))


def test_a_relative_path(folder, monkeypatch):
    monkeypatch.chdir(folder)
    check_file("a.bin")


def test_every_flipped_bit_is_found(folder):
    content = bytearray((folder / "net" / "variables" / "data").read_bytes())
    for bit in range(16):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        (folder / "net" / "variables" / "data").write_bytes(damaged)
        with pytest.raises(DamagedError, match="damaged"):
            check_file(folder / "net")


def test_missing_extra_and_truncated_files(folder):
    (folder / "net" / "extra").write_bytes(b"")
    with pytest.raises(DamagedError, match="not in the manifest"):
        check_file(folder / "net")
    (folder / "net" / "extra").unlink()
    (folder / "net" / "graph.pb").unlink()
    with pytest.raises(DamagedError, match="missing"):
        check_file(folder / "net")
    (folder / "a.bin").write_bytes(b"abc")
    with pytest.raises(DamagedError, match="received 3 bytes"):
        check_file(folder / "a.bin")


def test_no_file_no_manifest_entry_and_a_damaged_manifest(folder):
    with pytest.raises(UsageError, match="no file"):
        check_file(folder / "none")
    (folder / "other").write_bytes(b"x")
    with pytest.raises(UsageError, match="lists other"):
        check_file(folder / "other")
    for text in ("{", "[]", '{"files": [1]}', '{"files": {"a": 1}}', "\xff"):
        (folder / "manifest.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(DamagedError, match="manifest"):
            check_file(folder / "a.bin")


def test_merging_drops_replaced_and_missing_files(folder):
    (folder / "a.bin").unlink()
    (folder / "b.bin").write_bytes(b"b")
    text = merge_manifest(folder, entries(folder / "b.bin"), replaced=["b.bin"])
    assert sorted(json.loads(text)["files"]) == ["b.bin", "net/graph.pb", "net/variables/data"]
    text = merge_manifest(folder, {}, replaced=["net"])
    assert json.loads(text)["files"] == {}


def test_every_published_file_is_checked_and_every_other_one_told(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    tfl.export(model, tmp_path, samples=np.eye(4, dtype="float32"), format="keras")
    published = sorted(path.name for path in tmp_path.iterdir())
    assert published == ["export.json", "manifest.json", "model.keras", "model.keras.card.json", "model.keras.card.md"]
    (tmp_path / "notes.txt").write_text("mine")
    verification = verify_path(tmp_path)
    assert (verification.problems, sum(verification.checked.values())) == ([], 4)
    assert verification.remarks == ["Not of an export, and not checked: notes.txt."]
    for name in published:
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content.replace(b"0", b"1", 1))
        if name == "manifest.json":
            assert verify_path(tmp_path).problems
        else:
            assert [name in problem for problem in verify_path(tmp_path).problems] == [True]
        (tmp_path / name).write_bytes(content)
