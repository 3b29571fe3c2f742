"""Model files of two networks, in every format, shared by the tests of measuring."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tf_lottery.exporting.formats import saved_model
from tf_lottery.exporting.measure.dense_baselines import make_baseline
from tf_lottery.exporting.tflite.dense_conversion import convert


def make_network(width=48):
    return keras.Sequential([keras.Input((width,)), layers.Dense(256, activation="relu"), layers.Dense(10)])


def pruned(model):
    generator = np.random.default_rng(0)
    model.set_weights([weight * (generator.random(weight.shape) < 0.05) for weight in model.get_weights()])
    return model


def sparse(source):
    converter = tf.lite.TFLiteConverter.from_saved_model(str(source))
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    return converter.convert()


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """One model in every kind of file; no report lies beside them."""
    folder = tmp_path_factory.mktemp("files")
    saved_model.save(make_network(), folder / "fixed", batch=1)
    saved_model.save(pruned(make_network()), folder / "zeros", batch=1)
    calibration = {"input": np.random.default_rng(0).standard_normal((8, 48)).astype("float32")}
    content = {
        "float32.tflite": convert(folder / "fixed"),
        "int8.tflite": convert(folder / "fixed", precision="int8", calibration=calibration),
        "dynamic.tflite": convert(folder / "fixed", precision="dynamic"),
        "sparse.tflite": sparse(folder / "zeros"),
    }
    for name, data in content.items():
        (folder / name).write_bytes(data)
    (folder / "half.tflite").write_bytes(content["float32.tflite"][:20_000])
    (folder / "text.tflite").write_text("This is no model.\n" * 100)
    make_network().save(folder / "whole.keras")
    (folder / "half.keras").write_bytes((folder / "whole.keras").read_bytes()[:5000])
    return folder


@pytest.fixture(scope="session")
def two_networks(files, tmp_path_factory):
    """Folders `a` and `b` of two networks: in each a dense float32, a dense int8 and a sparse file of one name."""
    folder = tmp_path_factory.mktemp("two_networks")
    for name in ("a", "b"):
        (folder / name).mkdir()
    for name in ("float32.tflite", "int8.tflite", "sparse.tflite"):
        (folder / "a" / name).write_bytes((files / name).read_bytes())
    saved_model.save(pruned(make_network(64)), folder / "source", batch=1)
    (folder / "b" / "sparse.tflite").write_bytes(sparse(folder / "source"))
    for precision in ("float32", "int8"):
        (folder / "made").mkdir(exist_ok=True)
        make_baseline(make_network(64), folder / "made", precision).rename(folder / "b" / f"{precision}.tflite")
    return folder


@pytest.fixture(scope="session")
def network():
    """Makes the network of the files; those of the second network have 64 inputs."""
    return make_network
