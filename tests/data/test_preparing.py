"""Preparing from raw files: at once by two processes, refused when files are missing or damaged, never by surprise."""

import functools
import http.server
import os
import shutil
import socket
import sys
import threading

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tf_lottery.data import load, locations, prepare
from tf_lottery.errors import DamagedError, ResourceError, UnfitError, UsageError

FILES = ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", "train-images-idx3-ubyte.gz"]
FILES += ["train-labels-idx1-ubyte.gz"]


@pytest.fixture(autouse=True)
def homes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds_home"))
    monkeypatch.delenv("TF_LOTTERY_DATA", raising=False)


def raw(data_dir, folder, files):
    (folder / "mnist").mkdir(parents=True)
    for file in files:
        (folder / "mnist" / file).symlink_to(data_dir / "mnist" / file)
    return folder


@pytest.mark.slow
def test_two_processes_prepare_mnist_once_and_only_the_data_set_is_left(data_dir, tmp_path, start_process, patience):
    folder = raw(data_dir, tmp_path / "data", FILES)
    left = folder / "tfds" / ".preparing-mnist"
    left.mkdir(parents=True)
    (left / "of a killed process").write_bytes(b"x")
    code = (
        "import logging, sys, warnings\n"
        "logging.basicConfig(level=logging.INFO)\n"
        "from tf_lottery.data import prepare\n"
        "print(prepare('mnist', data_dir=sys.argv[1]))\n"
    )
    command = [sys.executable, "-c", code, str(folder)]
    running = [start_process(command) for _ in range(2)]
    outputs = [process.communicate(timeout=patience) for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs[0][1] + outputs[1][1]
    # stdout holds the answer alone; TFDS's own messages and bars are kept off both streams.
    assert [out for out, _ in outputs] == [f"{folder / 'tfds' / 'mnist' / '3.0.1'}\n"] * 2
    assert sum("Preparing mnist" in err for _, err in outputs) == 1
    assert not any("examples/s" in err for _, err in outputs)
    assert sorted(os.listdir(folder / "tfds")) == [".mnist.lock", "mnist"]

    data = load("mnist", data_dir=folder)
    assert (data.train.size, data.validation.size, data.test.size) == (55_000, 5_000, 10_000)
    assert data.input_shape == (28, 28, 1)
    assert data.classes == 10
    # The mean of MNIST's pixels, known to four places; the sum of squares shows that nothing was rescaled twice.
    whole = (data.train.x.sum(dtype="float64") + data.validation.x.sum(dtype="float64")) / (60_000 * 784)
    assert round(whole, 4) == 0.1307


def test_missing_raw_files_are_named(data_dir, tmp_path):
    folder = raw(data_dir, tmp_path / "data", FILES[1:])
    with pytest.raises(UnfitError, match=f"missing.*{FILES[0]}"):
        load("mnist", data_dir=folder)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_raw_file_is_named_and_nothing_is_left(data_dir, tmp_path, damage):
    folder = raw(data_dir, tmp_path / "data", FILES[:1] + FILES[2:])
    whole = bytearray((data_dir / "mnist" / FILES[1]).read_bytes())
    if damage == "flipped":
        whole[1_000] ^= 1
    else:
        whole = whole[: 2_000 if damage == "cut" else 0]
    (folder / "mnist" / FILES[1]).write_bytes(whole)
    with pytest.raises(DamagedError, match=FILES[1]):
        load("mnist", data_dir=folder)
    assert locations.find_prepared("mnist", folder) is None
    assert sorted(os.listdir(folder)) == ["mnist"]


def test_no_place_to_write(data_dir, tmp_path, monkeypatch):
    folder = raw(data_dir, tmp_path / "data", FILES)
    folder.chmod(0o555)
    (tmp_path / "cache").write_text("a file where the cache should be")
    with pytest.raises(ResourceError, match="cannot be prepared"):
        load("mnist", data_dir=folder)


class LotteryToy(tfds.core.GeneratorBasedBuilder):
    """A data set with two configurations, whose one raw file is downloaded or put there by hand."""

    VERSION = tfds.core.Version("1.2.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="small"), tfds.core.BuilderConfig(name="large")]  # noqa: RUF012 - TFDS's form
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Put size.txt there."
    url = ""

    def _info(self):
        features = {"image": tfds.features.Image(shape=(2, 2, 1)), "label": tfds.features.ClassLabel(num_classes=2)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        path = dl_manager.download(self.url) if self.url else dl_manager.manual_dir / "size.txt"
        size = int(path.read_text()) * (1 if self.builder_config.name == "small" else 2)
        return {"train": self._generate_examples(size), "test": self._generate_examples(4)}

    def _generate_examples(self, size):
        for i in range(size):
            yield i, {"image": np.full((2, 2, 1), i, np.uint8), "label": i % 2}


def test_configurations_from_files_put_there_by_hand(tmp_path):
    folder = tmp_path / "data"
    (folder / "lottery_toy").mkdir(parents=True)
    (folder / "lottery_toy" / "size.txt").write_text("20")
    assert load("lottery_toy/large", data_dir=folder).train.size == 36
    # Without a configuration: the first, as TFDS has it; found again by TFDS's own note of which that is.
    assert load("lottery_toy", data_dir=folder).train.size == 18
    small = folder / "tfds" / "lottery_toy" / "small" / "1.2.0"
    assert prepare("lottery_toy", data_dir=folder) == prepare("lottery_toy/small", data_dir=folder) == str(small)


def test_a_builder_that_fails_leaves_nothing(tmp_path):
    folder = tmp_path / "data"
    (folder / "lottery_toy").mkdir(parents=True)
    (folder / "lottery_toy" / "size.txt").write_text("many")
    with pytest.raises(UnfitError, match="TFDS cannot prepare lottery_toy"):
        load("lottery_toy", data_dir=folder)
    assert locations.find_prepared("lottery_toy", folder) is None
    assert os.listdir(folder / "tfds") == [".lottery_toy.lock"]


def test_downloading_when_asked(tmp_path, monkeypatch):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "size.txt").write_text("10")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "served")
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(LotteryToy, "url", f"http://127.0.0.1:{server.server_port}/size.txt")
        with pytest.raises(UnfitError, match=r"tf_lottery\.data\.prepare\('lottery_toy'"):
            load("lottery_toy", data_dir=tmp_path)
        prepare("lottery_toy", data_dir=tmp_path, download=True)
        server.shutdown()
    assert load("lottery_toy", data_dir=tmp_path).train.size == 9


def test_a_missing_data_set_names_the_call_that_fetches_it(tmp_path, monkeypatch):
    addresses = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: addresses.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: addresses.append(host))
    for data_dir in (None, tmp_path, tmp_path / "absent"):
        with pytest.raises(UnfitError, match=r"tf_lottery\.data\.prepare\('fashion_mnist'"):
            load("fashion_mnist", data_dir=data_dir)
    with pytest.raises(UnfitError, match="TFDS cannot fetch it"):
        load("cifar10_subset", data_dir=tmp_path)
    assert addresses == []  # nothing asked the network


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fashion_mnits", "Did you mean 'fashion_mnist'"),
        ("no_such_set", "Known: digits"),
        ("emnist/ballanced", "balanced"),
    ],
)
def test_unknown_names_get_suggestions(name, words, tmp_path):
    with pytest.raises(UsageError) as caught:
        load(name, data_dir=tmp_path)
    assert words in caught.value.remedy


def test_a_download_without_a_network_fails_at_once(tmp_path, monkeypatch):
    # A closed port of this machine: what a machine without a network sees, without waiting for a time-out.
    for scheme in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(scheme, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    # TFDS would try it in silence for minutes: it is not asked.
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", lambda *_, **__: pytest.fail("TFDS tries"))
    with pytest.raises(ResourceError, match="cannot be reached"):
        prepare("fashion_mnist", data_dir=tmp_path, download=True)
    assert locations.find_prepared("fashion_mnist", tmp_path) is None


def test_prepared_data_needs_no_raw_files_and_no_writing(data_dir, tmp_path):
    source = data_dir / "tfds" / "cifar10_subset" / "1.0.0"
    folder = tmp_path / "data" / "cifar10_subset" / "1.0.0"
    shutil.copytree(source, folder)
    assert prepare("cifar10_subset", data_dir=tmp_path / "data") == str(folder)
    assert not (tmp_path / "cache").exists()
