"""Folders of images as data sets: what is read in which order, sizes, channels, and what is refused."""

import json
import os
import struct

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from tf_lottery_cli.app import app

from tf_lottery.data import check, describe, image_folders, load, locations, prepare
from tf_lottery.data.image_headers import image_header
from tf_lottery.errors import DamagedError, ResourceError, UnfitError, UsageError
from tf_lottery.experiment.config import Config


def image(value, height=4, width=4, channels=3):
    return np.full((height, width, channels), value, np.uint8)


def write(path, pixels, encode=tf.io.encode_png):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(pixels).numpy())
    return path


def bmp(pixels):
    """An uncompressed file of 24 bits per pixel, rows from the bottom, blue first."""
    height, width, _ = pixels.shape
    rows = b"".join(row[:, ::-1].tobytes() + bytes(-3 * width % 4) for row in pixels[::-1])
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(rows), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54) + header + rows


# One pixel of red and then one of green, by hand: a palette of two colors, two frames.
GIF = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\x00\x00\x00\xff\x00"
    b"\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00"
    b"\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x4c\x01\x00\x3b"
)


@pytest.fixture
def two_classes(tmp_path):
    """Four gray images: 10 and 20 of cats, 30 and 40 of dogs; made in another order than that of their names."""
    for path, value in (("dog/b.png", 40), ("dog/a.png", 30), ("cat/10.png", 10), ("cat/9.png", 20)):
        write(tmp_path / path, image(value, channels=1))
    return tmp_path


def raw(folder, **options):
    return load(f"{folder}/", normalization="none", **options)


def test_labels_and_order_are_those_of_the_names(two_classes):
    summary = check(str(two_classes))
    assert summary["shape"] == [4, 4, 1]
    assert summary["splits"] == {"train": {"examples": 4, "per_class": [2, 2]}}
    data = raw(two_classes, validation=1, seed=3)
    assert data.class_names == ("cat", "dog")
    assert data.test is None
    values = data.train.x[:, 0, 0, 0].tolist()
    assert values == sorted(values)  # "10.png" is before "9.png"
    assert sorted([*values, data.validation.x[0, 0, 0, 0]]) == [10, 20, 30, 40]
    labels = {10: 0, 20: 0, 30: 1, 40: 1}
    assert data.train.y.tolist() == [labels[value] for value in values]
    assert raw(two_classes, validation=1, seed=3).train.fingerprint() == data.train.fingerprint()


@pytest.mark.parametrize("validation", ["validation", "val"])
def test_parts_by_folders(tmp_path, validation):
    for part, values in (("train", (1, 2)), (validation, (3, 4)), ("test", (5, 6))):
        for name, value in zip("ab", values, strict=True):
            write(tmp_path / part / name / "x.png", image(value))
    data = raw(tmp_path)
    assert data.train.x[:, 0, 0, 0].tolist() == [1, 2]
    assert data.validation.x[:, 0, 0, 0].tolist() == [3, 4]
    assert data.test.x[:, 0, 0, 0].tolist() == [5, 6]
    assert data.input_shape == (4, 4, 3)


def test_all_formats_with_their_pixels(tmp_path):
    pixels = np.array([[[200, 0, 9]]], np.uint8)
    write(tmp_path / "a/1.png", pixels)
    (tmp_path / "a/2.bmp").write_bytes(bmp(pixels))
    (tmp_path / "a/3.gif").write_bytes(GIF)
    write(tmp_path / "a/4.png", np.array([[[200, 0, 9, 77]]], np.uint8))  # alpha
    write(tmp_path / "a/5.png", np.array([[[60, 77]]], np.uint8))  # gray and alpha
    write(tmp_path / "b/6.jpg", image(128, 1, 1), tf.io.encode_jpeg)
    write(tmp_path / "b/7.jpg", image(128, 1, 1, 1), tf.io.encode_jpeg)
    whole = [*np.array(raw(tmp_path, validation=1).train.x), *np.array(raw(tmp_path, validation=1).validation.x)]
    expected = [[200, 0, 9]] * 3 + [[255, 0, 0], [60] * 3, [128] * 3, [128] * 3]
    assert sorted(array.ravel().tolist() for array in whole) == sorted(expected)


def test_gray_only_if_all_are(tmp_path):
    write(tmp_path / "a/1.png", np.array([[[60], [70]]], np.uint8))
    write(tmp_path / "b/2.png", np.array([[[50, 9], [80, 9]]], np.uint8))
    assert raw(tmp_path, validation=1).input_shape == (1, 2, 1)
    write(tmp_path / "b/3.png", image(1, 1, 2))
    assert raw(tmp_path, validation=1).input_shape == (1, 2, 3)


def test_images_are_resized(tmp_path):
    # Halving with antialiasing is a triangle of weights 1/8, 3/8, 3/8, 1/8, of which the border cuts the outermost off.
    stripes = np.repeat(np.array([0, 0, 140, 140], np.uint8)[np.newaxis, :, np.newaxis], 4, axis=0)
    write(tmp_path / "a/1.png", stripes)
    write(tmp_path / "b/1.png", image(7, 3, 5, 1))
    data = raw(tmp_path, image_size=2, validation=1)
    both = {int(y): x for part in (data.train, data.validation) for x, y in zip(part.x, part.y, strict=True)}
    assert both[0][..., 0].tolist() == [[20, 120], [20, 120]]
    assert both[1][..., 0].tolist() == [[7, 7], [7, 7]]


def test_other_data_sets_are_resized_too():
    data = load("digits", image_size=4, normalization="none")
    whole = load("digits", normalization="none")
    assert data.input_shape == (4, 4, 1)
    assert data.fingerprint != whole.fingerprint
    assert data.train.x.max() <= 16
    assert load("digits", image_size=8).fingerprint == whole.fingerprint
    assert abs(float(data.train.x.mean() - whole.train.x.mean())) < 0.5


def test_files_that_systems_hide_are_left_out(two_classes):
    for name in ("cat/.DS_Store", "cat/Thumbs.db", ".hidden/x.png", "LICENSE"):
        (two_classes / name).parent.mkdir(exist_ok=True)
        (two_classes / name).write_text("no image")
    assert check(str(two_classes))["splits"]["train"]["examples"] == 4


def test_sizes_differ(two_classes):
    write(two_classes / "dog/c.png", image(1, 5, 6))
    with pytest.raises(UnfitError, match=r"4x4 \(4\), 5x6 \(1\).*`image_size=32`"):
        raw(two_classes)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda path: path.write_text("no image"), UnfitError, "x is no image"),
        (lambda path: path.write_bytes(b""), DamagedError, "x is damaged: it is empty"),
        (lambda path: path.write_bytes(tf.io.encode_png(image(1)).numpy()[:20]), DamagedError, "within its header"),
        (lambda path: path.write_bytes(tf.io.encode_png(image(1)).numpy()[:-20]), DamagedError, "x is damaged"),
        (lambda path: path.write_bytes(tf.io.encode_jpeg(image(1)).numpy()[:-20]), DamagedError, "x is damaged"),
        (lambda path: path.write_bytes(bmp(image(1))[:-9]), DamagedError, "x is damaged"),
        (lambda path: path.write_bytes(bmp(image(1)).replace(b"\x18\0", b"\x08\0", 1)), UnfitError, "palette"),
        (lambda path: path.write_bytes(b"GIF89a\xff\xff\xff\xff"), UnfitError, "at most 100,000,000 pixels"),
        (lambda path: os.mkfifo(path), UnfitError, "x is no image: it is no regular file"),
        (lambda path: path.symlink_to("/dev/zero"), UnfitError, "x is no image: it is no regular file"),
        (lambda path: path.mkdir(), UnfitError, "x is a folder inside"),
        (lambda path: path.symlink_to("nowhere"), ResourceError, "x cannot be read"),
    ],
)
def test_a_file_that_is_no_image(two_classes, make, error, words):
    make(two_classes / "cat" / "x")
    with pytest.raises(error, match=words):
        raw(two_classes)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((), "two classes at least. Received: none"),
        (("a/1.png",), "Received: one, 'a'"),
        (("a/1.png", "b/.hidden"), "b holds no image"),
        (("test/a/1.png", "val/a/1.png"), "no folder 'train'"),
        (("train/a/1.png", "train/b/1.png", "c/1.png"), "may be one of"),
        (("train/a/1.png", "train/b/1.png", "val/a/1.png", "validation/a/1.png"), "may be one of"),
        (("train/a/1.png", "train/b/1.png", "test/c/1.png"), "Received: 'c'"),
    ],
)
def test_a_folder_of_another_layout(tmp_path, names, words):
    for name in names:
        write(tmp_path / name, image(1))
    with pytest.raises(UnfitError, match=words):
        raw(tmp_path)


def test_there_is_no_such_folder(tmp_path):
    with pytest.raises(UsageError, match="no folder"):
        raw(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="cannot be a path"):
        raw(tmp_path / ("x" * 1000))


def test_too_many_files(two_classes, monkeypatch):
    monkeypatch.setattr(image_folders, "MOST_IMAGES", 3)
    with pytest.raises(UnfitError, match="may hold 3 files"):
        raw(two_classes)


def test_memory_is_checked_before_an_image_is_decoded(two_classes, monkeypatch):
    (two_classes / "cat" / "9.png").write_bytes(tf.io.encode_png(image(1, channels=1)).numpy()[:-20])
    monkeypatch.setattr(image_folders, "available_memory", lambda: 700.0)
    # 4 images of 16 values at 6 bytes, and 16 pixels at 15 bytes while one is decoded: 624 of 700 bytes.
    with pytest.raises(ResourceError, match=r"4 images of 4x4x1 in .* more than 80%.*`image_size`"):
        raw(two_classes)
    monkeypatch.setattr(image_folders, "available_memory", lambda: 800.0)
    with pytest.raises(DamagedError):
        raw(two_classes)


def test_names_and_paths(two_classes, monkeypatch):
    paths = ("./a", "../a", ".", "~/a", "/a", "a/", "a/b/c", "A/b")
    assert all(locations.is_path(name) for name in paths)
    assert not any(locations.is_path(name) for name in ("mnist", "emnist/balanced", "a/b"))
    monkeypatch.chdir(two_classes)
    with pytest.raises(UsageError, match=r"write '\./cat'"):
        prepare("cat")
    assert prepare("./") == "."
    assert "./" not in [row["name"] for row in describe()]


def test_the_height_of_a_jpeg_with_a_preview_before_its_header():
    plain = tf.io.encode_jpeg(image(1, 3, 5)).numpy()
    segment = b"\xff\xe1" + struct.pack(">H", 60_000) + bytes(59_998)
    header = image_header(plain[:2] + 3 * segment + plain[2:])
    assert (header.format, header.height, header.width, header.gray) == ("JPEG", 3, 5, False)


@pytest.mark.parametrize("size", [0, -1, 5000, True])
def test_an_impossible_image_size(size):
    with pytest.raises(UsageError, match="image_size"):
        load("digits", image_size=size)


def test_the_size_is_hashed_only_if_it_is_given():
    assert Config().hash() == "c475a00c51"
    assert Config(image_size=32).hash() != Config(image_size=16).hash() != Config().hash()


def test_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # TensorFlow runs in this process already.
    monkeypatch.setattr("tf_lottery.training.device.configure", lambda **settings: None)
    draw = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 128)):
        for number in range(12):
            write(tmp_path / "images" / name / f"{number}.png", draw.integers(low, low + 128, (6, 5, 3), np.uint8))
    words = ["run", "--dataset", "./images", "--image-size", "4", "--validation", "6", "--batch-size", "4"]
    words += ["--rounds", "1", "--steps", "20", "--variants", "ticket", "--jobs", "1", "--json"]
    result = CliRunner().invoke(app, [*words, "--replicates", "1"], prog_name="tf-lottery")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["config"]["dataset"] == "./images"
    assert document["config"]["image_size"] == 4
    assert [row["round"] for row in document["results"]] == [0, 1]
    (tmp_path / "images" / "dark" / "0.png").unlink()
    result = CliRunner().invoke(app, [*words, "--replicates", "2"], prog_name="tf-lottery")
    assert result.exit_code == 3, result.output
    assert "The data of" in result.output


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["./nowhere"], 2, "There is no folder nowhere"),
        (["./"], 3, "--image-size 32"),
        (["./", "--image-size", "4"], 5, "dog/x is damaged"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_written(two_classes, monkeypatch, words, code, message):
    monkeypatch.chdir(two_classes)
    write(two_classes / "dog" / "c.png", image(1, 5, 6))
    if code == 5:
        (two_classes / "dog" / "x").touch()
    result = CliRunner().invoke(app, ["run", "--dataset", *words], prog_name="tf-lottery")
    assert result.exit_code == code, result.output
    assert message in result.output
    assert not (two_classes / "runs").exists()
