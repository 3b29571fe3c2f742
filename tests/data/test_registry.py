"""Loading, listing and checking by name: the embedded digits, and a small data set in TFDS's format."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_lottery.data import check, check_fits, describe, load, names, prepare
from tf_lottery.errors import DamagedError, UnfitError, UsageError

LABELS = {"train": [0, 1, 2] * 10, "test": [2, 1] * 4}


def write(root, name, labels, *, classes=3, extra=False, image_shape=(4, 4, 1)):
    """Write a data set in TFDS's format: image i of the training split is filled with i, of the others with 200 + i."""
    features = {"image": tfds.features.Image(shape=image_shape), "label": tfds.features.ClassLabel(num_classes=classes)}
    if extra:
        features["note"] = tfds.features.Text()

    def rows(split):
        for i, label in enumerate(labels[split]):
            row = {"image": np.full((4, 4, 1), (0 if split == "train" else 200) + i, np.uint8), "label": label}
            yield row | ({"note": "x"} if extra else {})

    def dataset(split):
        signature = {"image": tf.TensorSpec((4, 4, 1), tf.uint8), "label": tf.TensorSpec((), tf.int64)}
        signature |= {"note": tf.TensorSpec((), tf.string)} if extra else {}
        return tf.data.Dataset.from_generator(lambda: rows(split), output_signature=signature)

    tfds.disable_progress_bar()
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={split: dataset(split) for split in labels},
        data_dir=root,
        disable_shuffling=True,
    )
    return root / name / "1.0.0"


@pytest.fixture
def own(tmp_path):
    return write(tmp_path, "own", LABELS)


def shard(folder, split):
    return next(folder.glob(f"*-{split}.tfrecord-*"))


# The embedded digits.


def test_digits_by_default():
    data = load("digits")
    assert (data.train.size, data.validation.size, data.test.size) == (1200, 237, 360)
    assert data.input_shape == (8, 8, 1)
    assert data.classes == 10
    assert data.train.x.dtype == np.float32
    assert data.train.y.dtype == np.int32
    assert data.train.x.min() == 0
    assert data.train.x.max() == 1
    # Every fifth example of each class.
    assert np.bincount(data.test.y).tolist() == [36, 36, 36, 36, 37, 36, 36, 36, 35, 36]
    check_fits(data, input_shape=(8, 8, 1), outputs=10, sparse_labels=True)


def test_digits_are_scikit_learns_and_each_is_in_one_part():
    from sklearn.datasets import load_digits

    data = load("digits", normalization="none")
    parts = [data.train, data.validation, data.test]
    rows = sorted(
        (*image.ravel().tolist(), label) for part in parts for image, label in zip(part.x, part.y, strict=True)
    )
    source = load_digits()
    assert rows == sorted(
        (*image.ravel().tolist(), label) for image, label in zip(source.images, source.target, strict=True)
    )


def test_the_seed_changes_the_validation_part_alone():
    first, again, other = load("digits"), load("digits"), load("digits", seed=1)
    assert np.array_equal(first.validation.x, again.validation.x)
    assert not np.array_equal(first.validation.x, other.validation.x)
    assert np.array_equal(first.test.x, other.test.x)
    assert first.fingerprint == other.fingerprint == load("digits", normalization="standard").fingerprint
    assert first.fingerprint == "9ad47196f916cad01606082dd8d2b8ffd25c69525b886752c40fd495c0b01193"


def test_digits_with_other_choices():
    data = load("digits", validation=0.5, normalization="standard")
    assert (data.train.size, data.validation.size) == (719, 718)
    assert abs(data.train.x.mean()) < 1e-5
    assert abs(data.train.x.std() - 1) < 1e-4
    assert data.normalization.scale == 16
    with pytest.raises(UsageError):
        load("digits", validation=1437)
    with pytest.raises(UsageError, match="standard"):
        load("digits", normalization="standart")


# A data set in TFDS's format.


def test_prepared_data_is_read_in_the_order_of_its_files(own, tmp_path):
    data = load("own", data_dir=tmp_path, normalization="none", validation=6)
    assert (data.train.size, data.validation.size, data.test.size) == (24, 6, 8)
    assert data.test.x[:, 0, 0, 0].tolist() == [200, 201, 202, 203, 204, 205, 206, 207]
    assert data.test.y.tolist() == LABELS["test"]
    # Image i of the training split has the label i % 3.
    assert np.array_equal(data.train.x[:, 1, 2, 0] % 3, data.train.y)
    assert load("own", data_dir=tmp_path).validation.size == 3
    assert load("own", data_dir=tmp_path).test.x.max() == np.float32(207) / np.float32(255)
    assert prepare("own", data_dir=tmp_path) == str(own)


def test_a_validation_split_of_its_own(tmp_path):
    write(tmp_path, "own", LABELS | {"validation": [1, 1, 1]})
    data = load("own", data_dir=tmp_path)
    assert (data.train.size, data.validation.size) == (30, 3)
    assert data.validation.y.tolist() == [1, 1, 1]
    assert load("own", data_dir=tmp_path, validation=5).train.size == 25


def test_no_test_split_and_other_features(tmp_path):
    write(tmp_path, "own", {"train": LABELS["train"]}, extra=True)
    data = load("own", data_dir=tmp_path)
    assert data.test is None
    assert data.train.size == 27


def test_check_counts_every_example(own, tmp_path):
    report = check("own", data_dir=tmp_path)
    assert report["splits"] == {
        "train": {"examples": 30, "per_class": [10, 10, 10]},
        "test": {"examples": 8, "per_class": [0, 4, 4]},
    }
    assert report["value_range"] == [0, 207]
    assert report["shape"] == [4, 4, 1]
    assert report["classes"] == 3
    assert report["fingerprint"] == load("own", data_dir=tmp_path).fingerprint
    json.dumps(report)


def test_listing(own, tmp_path):
    rows = {row["name"]: row for row in describe(data_dir=tmp_path)}
    assert list(rows) == names(data_dir=tmp_path)
    assert rows["digits"]["status"] == "embedded"
    assert rows["digits"]["train"] == 1200
    assert rows["own"] == {
        "name": "own",
        "shape": [4, 4, 1],
        "classes": 3,
        "train": 27,
        "validation": 3,
        "test": 8,
        "source": "TFDS",
        "status": "prepared",
        "location": str(own),
    }
    assert rows["mnist"]["status"] == "missing"
    assert "tf_lottery.data.prepare('mnist'" in rows["mnist"]["location"]
    (own / "features.json").unlink()
    assert {row["name"]: row["status"] for row in describe(data_dir=tmp_path)}["own"] == "unusable"


def test_listing_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from tf_lottery.data import describe, names\n"
        "names(); describe()\n"
        "heavy = {'tensorflow', 'tensorflow_datasets', 'keras', 'sklearn', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr


# Damage.


def truncate_half(folder):
    path = shard(folder, "train")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def truncate_between_records(folder):
    path = shard(folder, "train")
    whole = path.read_bytes()
    # A record: 8 bytes of length, 4 of checksum, the data, 4 of checksum.
    path.write_bytes(whole[: 16 + int.from_bytes(whole[:8], "little")])


def flip_a_bit(folder):
    path = shard(folder, "test")
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 4
    path.write_bytes(whole)


def misstate_the_size(folder):
    path = folder / "dataset_info.json"
    path.write_text(path.read_text().replace('"30"', '"29"'))


DAMAGE = {
    "half a file": truncate_half,
    "whole records missing": truncate_between_records,
    "a flipped bit": flip_a_bit,
    "an empty file": lambda folder: shard(folder, "train").write_bytes(b""),
    "a missing file": lambda folder: shard(folder, "train").unlink(),
    "no description": lambda folder: (folder / "dataset_info.json").unlink(),
    "no features": lambda folder: (folder / "features.json").unlink(),
    "a cut description": lambda folder: (folder / "dataset_info.json").write_text('{"name": "own"'),
    "an empty description": lambda folder: (folder / "dataset_info.json").write_text("{}"),
    "a list for a description": lambda folder: (folder / "dataset_info.json").write_text("[]"),
    "a wrong size": misstate_the_size,
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_data_is_never_trained_on(own, tmp_path, how):
    DAMAGE[how](own)
    with pytest.raises(DamagedError) as caught:
        load("own", data_dir=tmp_path)
    assert str(tmp_path) in caught.value.cause
    assert "prepare" in caught.value.remedy
    with pytest.raises(DamagedError):
        check("own", data_dir=tmp_path)


# Whole, but not fit.


def test_labels_out_of_range(own, tmp_path):
    features = own / "features.json"
    features.write_text(features.read_text().replace('"numClasses": "3"', '"numClasses": "2"'))
    with pytest.raises(UnfitError, match=r"\[0, 2\).*train split.* 0 to 2"):
        load("own", data_dir=tmp_path)


def test_no_training_split(tmp_path):
    write(tmp_path, "own", {"test": [0, 1]})
    with pytest.raises(UnfitError, match="'train'"):
        load("own", data_dir=tmp_path)


def test_images_of_several_sizes(tmp_path):
    write(tmp_path, "own", LABELS, image_shape=(None, None, 1))
    with pytest.raises(UnfitError):
        load("own", data_dir=tmp_path)


def test_no_image_classification(tmp_path):
    tfds.dataset_builders.store_as_tfds_dataset(
        name="text",
        version="1.0.0",
        features=tfds.features.FeaturesDict({"words": tfds.features.Text()}),
        split_datasets={"train": tf.data.Dataset.from_tensor_slices({"words": ["a", "b"]})},
        data_dir=tmp_path,
    )
    with pytest.raises(UnfitError, match="words"):
        load("text", data_dir=tmp_path)


def test_names_of_classes(own, tmp_path):
    """TFDS writes them in a file of their own, where there are some."""
    assert load("own", data_dir=tmp_path).class_names == ()
    (own / "label.labels.txt").write_text("red\ngreen\nblue\n")
    assert load("own", data_dir=tmp_path).class_names == ("red", "green", "blue")
    assert load("own", data_dir=tmp_path, classes=(2, 0)).class_names == ("blue", "red")
    (own / "label.labels.txt").write_text("red\ngreen\n")
    assert load("own", data_dir=tmp_path).class_names == ()


def test_cifar10_subset(data_dir):
    report = check("cifar10_subset", data_dir=data_dir)
    assert report["splits"]["train"] == {"examples": 10_000, "per_class": [1_000] * 10}
    assert report["splits"]["test"] == {"examples": 2_000, "per_class": [200] * 10}
    assert report["value_range"] == [0, 255]
    assert report["shape"] == [32, 32, 3]
