"""Where data is looked for, in which order, and where it is prepared."""

import json

import pytest

from tf_lottery.data import locations
from tf_lottery.errors import UsageError


@pytest.fixture(autouse=True)
def homes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds_home"))
    monkeypatch.delenv("TF_LOTTERY_DATA", raising=False)


def make(folder, info=True):
    folder.mkdir(parents=True)
    (folder / ("dataset_info.json" if info else "x-train.tfrecord-00000-of-00001")).write_text("{}")
    return folder


def test_argument_then_environment_then_tfds(tmp_path, monkeypatch):
    home = make(tmp_path / "tfds_home" / "mnist" / "3.0.1")
    assert locations.find_prepared("mnist", None) == home
    monkeypatch.setenv("TF_LOTTERY_DATA", str(tmp_path / "env"))
    assert locations.find_prepared("mnist", None) == home
    env = make(tmp_path / "env" / "mnist" / "3.0.1")
    assert locations.find_prepared("mnist", None) == env
    assert locations.find_prepared("mnist", tmp_path / "argument") is None
    argument = make(tmp_path / "argument" / "tfds" / "mnist" / "3.0.1")
    assert locations.find_prepared("mnist", tmp_path / "argument") == argument


def test_the_highest_version_by_number(tmp_path):
    make(tmp_path / "mnist" / "3.0.1")
    newest = make(tmp_path / "mnist" / "3.0.10")
    (tmp_path / "mnist" / "4.0.0").mkdir()  # Empty: nothing is there.
    make(tmp_path / "mnist" / "incomplete.X_5.0.0")
    assert locations.find_prepared("mnist", tmp_path) == newest


def test_a_folder_without_its_description_is_found(tmp_path):
    folder = make(tmp_path / "mnist" / "3.0.1", info=False)
    assert locations.find_prepared("mnist", tmp_path) == folder


def test_configurations(tmp_path):
    balanced = make(tmp_path / "emnist" / "balanced" / "3.1.0")
    assert locations.find_prepared("emnist/balanced", tmp_path) == balanced
    assert locations.find_prepared("emnist/letters", tmp_path) is None
    assert locations.find_prepared("emnist", tmp_path) is None
    (tmp_path / "emnist" / ".config").mkdir()
    noted = tmp_path / "emnist" / ".config" / "metadata.json"
    noted.write_text(json.dumps({"default_config_name": "balanced"}))
    assert locations.find_prepared("emnist", tmp_path) == balanced
    noted.write_text(json.dumps({"default_config_name": "../../etc"}))
    assert locations.find_prepared("emnist", tmp_path) is None


def test_raw_files(tmp_path):
    assert locations.find_raw("mnist", tmp_path) is None
    make(tmp_path / "mnist" / "3.0.1")
    assert locations.find_raw("mnist", tmp_path) is None
    (tmp_path / "mnist" / "train.gz").write_bytes(b"")
    assert locations.find_raw("mnist", tmp_path) == tmp_path / "mnist"


def test_prepared_data_goes_beside_the_raw_files_or_to_the_cache(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    assert locations.target(folder) == folder / "tfds"
    folder.chmod(0o555)
    assert locations.target(folder) == locations.cache(folder)
    assert str(locations.target(folder)).startswith(str(tmp_path / "cache" / "tf_lottery" / "tfds"))
    assert locations.target(folder) in locations.roots(folder)
    assert locations.cache(folder) != locations.cache(tmp_path)
    assert locations.target(None) == tmp_path / "tfds_home"


def test_listing(tmp_path):
    mnist = make(tmp_path / "mnist" / "3.0.1")
    own = make(tmp_path / "tfds" / "own" / "1.0.0")
    letters = make(tmp_path / "emnist" / "letters" / "3.1.0")
    make(tmp_path / "incomplete" / "notaversion")
    assert locations.list_prepared(tmp_path) == {"mnist": mnist, "emnist/letters": letters, "own": own}


@pytest.mark.parametrize("name", ["", "../mnist", "/etc", "mnist/../..", "a/b/c", "Mnist", "mnist:3.0.1", None])
def test_names_never_lead_out_of_the_folder(name, tmp_path):
    with pytest.raises(UsageError):
        locations.find_prepared(name, tmp_path)
