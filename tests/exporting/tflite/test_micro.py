"""Files for TensorFlow Lite Micro: only what it runs, the arena's size, and the C++ array."""

import re
import shutil
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from click.testing import CliRunner
from keras import layers
from tf_lottery_cli.app import app

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.exporting import check_file, export
from tf_lottery.exporting.diagnose.diagnosis import diagnose_for_micro
from tf_lottery.exporting.publish.c_array import symbol
from tf_lottery.exporting.tflite import integer_io
from tf_lottery.exporting.tflite import tflite_writer as tflite
from tf_lottery.exporting.tflite.arena import estimate_arena
from tf_lottery.exporting.tflite.micro_operators import OPERATORS, why_not_micro

X = np.random.default_rng(0).normal(size=(300, 64)).astype("float32")


def dense_net(*, dead=0):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), layers.Dense(48, "relu"), layers.Dense(32, "relu"), layers.Dense(10)])
    kernel = model.layers[1].kernel.numpy()
    kernel[:dead] = 0
    model.layers[1].kernel.assign(kernel)
    return model


def residual():
    images = keras.Input((32, 32, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same")(images)))
    y = layers.Conv2D(16, 3, padding="same")(layers.Conv2D(16, 3, padding="same", activation="relu")(x))
    x = layers.ReLU()(layers.Add()([x, y]))
    y, z = layers.Conv2D(32, 3, 2, padding="same", activation="relu")(x), layers.Conv2D(32, 1, 2)(x)
    x = layers.AveragePooling2D(16)(layers.ReLU()(layers.Add()([y, z])))
    return keras.Model(images, layers.Dense(10, "softmax")(layers.Flatten()(x)))


def separable():
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(8, 3, 2, padding="same", activation="relu"),
            layers.DepthwiseConv2D(3, padding="same", activation="relu"),
            layers.Conv2D(16, 1, activation="relu"),
            layers.MaxPooling2D(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, "softmax"),
        ]
    )


def integer_file(model, folder):
    x = np.random.default_rng(0).random((8, *model.input_shape[1:])).astype("float32")
    content = tflite.convert_dense(model, folder, precision="int8", calibration={"input": x})
    return integer_io.with_integer_io(content)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("micro")
    report = export(
        dense_net(dead=20),
        folder,
        samples=X[:256],
        calibration=X[:100],
        task="regression",
        target="micro",
        max_drop=0.1,
    )
    return folder, report


def test_only_dense_and_slim_integer_files_are_offered(exported):
    _, report = exported
    assert [(r["precision"], r["encoding"], r["io"]) for r in report.candidates] == [
        ("int8", "dense", "int8"),
        ("int8", "slim", "int8"),
    ]
    assert report.refused == ()
    assert report.best.endswith("model_int8_slim.tflite")
    for record in report.files:
        content = Path(record["path"]).read_bytes()
        assert why_not_micro(content) == []
        assert record["latency_us_median"] is None
        assert record["snr_db"] > 20
        assert record["arena_bytes"] == estimate_arena(content)


def test_a_c_array_lies_beside_each_file(exported):
    _, report = exported
    for record in report.files:
        stem = record["path"].removesuffix(".tflite")
        source, header = Path(f"{stem}.cc").read_text(), Path(f"{stem}.h").read_text()
        array = source[source.index("{") + 1 : source.index("}")]
        assert bytes(int(byte, 16) for byte in re.findall(r"0x(\w\w),", array)) == Path(record["path"]).read_bytes()
        assert f"_len = {record['bytes']};" in source
        assert "alignas(16) const unsigned char g_" in source
        assert f"about {record['arena_bytes']:,} bytes. This is an estimate" in header
        assert "FULLY_CONNECTED" in header
        assert record["sha256"] in header
        for name in (f"{stem}.cc", f"{stem}.h"):
            check_file(name)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_the_array_compiles_and_holds_the_file(exported):
    folder, report = exported
    record = report.files[0]
    stem = record["path"].rsplit("/", 1)[-1].removesuffix(".tflite")
    array = symbol(f"{stem}.tflite")
    (folder / "main.cpp").write_text(
        f'#include <cstdio>\n#include <cstdint>\n#include "{stem}.h"\n'
        f"int main() {{ if ((uintptr_t){array} % 16) return 1; fwrite({array}, 1, {array}_len, stdout); }}\n"
    )
    subprocess.run(["g++", "-std=c++11", "main.cpp", f"{stem}.cc", "-o", "program"], cwd=folder, check=True)
    done = subprocess.run(["./program"], cwd=folder, check=True, capture_output=True)
    assert done.stdout == Path(record["path"]).read_bytes()


# The whole arena, as the interpreter of the Python package tflite-micro 0.dev20261023182759 reports it on x86-64.
@pytest.mark.parametrize(("make", "measured"), [(dense_net, 2256), (separable, 4608), (residual, 52992)])
def test_the_arena_is_estimated_closely_and_not_too_small(tmp_path, make, measured):
    assert measured <= estimate_arena(integer_file(make(), tmp_path)) <= 1.15 * measured


def test_known_operators_are_those_of_the_schema():
    assert set(vars(schema.BuiltinOperator)) >= OPERATORS
    assert not {"DENSIFY", "CONV_3D", "LSTM", "GELU"} & OPERATORS


def test_what_it_does_not_run_is_named(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 8, 1)), layers.Conv3D(4, 3), layers.Flatten(), layers.Dense(3)])
    x = np.random.default_rng(0).normal(size=(300, 8, 8, 8, 1)).astype("float32")
    with pytest.raises(UnfitError, match="TensorFlow Lite Micro does not run it: it has no operator CONV_3D"):
        export(model, tmp_path / "out", samples=x[:64], calibration=x[:20], target="micro")
    assert not (tmp_path / "out").exists()


def test_files_in_float_and_sparse_ones_are_refused_with_reasons(tmp_path):
    model = dense_net()
    model.layers[0].kernel.assign(np.where(np.random.default_rng(0).random((64, 48)) < 0.95, 0, model.layers[0].kernel))
    report = export(model, tmp_path, precision="float32", encoding=["dense", "sparse"])
    by_encoding = {record["encoding"]: Path(record["path"]).read_bytes() for record in report.files}
    assert why_not_micro(by_encoding["dense"]) == ["these compute in float32: FULLY_CONNECTED"]
    assert "it has no sparse weights (DENSIFY)" in why_not_micro(by_encoding["sparse"])
    verdicts = diagnose_for_micro(next(r["path"] for r in report.files if r["encoding"] == "sparse"))
    assert "has no sparse weights" in verdicts.verdicts[0].findings[0].reason
    assert "does not run in TensorFlow Lite Micro on whole numbers" in verdicts.summary[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"target": "toaster"}, "Unknown export target 'toaster'"),
        ({"precision": "float32"}, "takes int8; received `precision='float32'`"),
        ({"precision": ["int8", "dynamic"]}, "takes int8; received `precision='dynamic,int8'`"),
        ({"encoding": "sparse"}, "takes dense and slim: it has no sparse weights; received `encoding='sparse'`"),
        ({"io": "float32"}, "received `io='float32'`"),
        ({"format": "all"}, "takes TFLite files; received `format="),
        ({"best": "latency"}, "received `best='latency'`"),
    ],
)
def test_what_a_target_does_not_take_is_an_error(tmp_path, arguments, words):
    with pytest.raises(UsageError) as caught:
        export(dense_net(), tmp_path / "out", samples=X, calibration=X, **{"target": "micro"} | arguments)
    assert words in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_existing_array_is_kept_unless_forced(tmp_path):
    (tmp_path / "model_int8_dense.cc").write_text("mine")
    with pytest.raises(UsageError, match=r"model_int8_dense\.cc exists already"):
        export(dense_net(), tmp_path, samples=X, calibration=X, target="micro")
    assert (tmp_path / "model_int8_dense.cc").read_text() == "mine"


def test_doctor_says_what_runs_on_a_microcontroller(tmp_path):
    diagnosis = diagnose_for_micro(dense_net(dead=20))
    assert [verdict.kind for verdict in diagnosis.verdicts] == ["dense"] * 3
    text = " ".join(diagnosis.summary)
    assert "Operators to register: FULLY_CONNECTED." in text
    assert re.search(r"Tensor arena: about [\d,]+ bytes \(an estimate\)", text)
    assert diagnosis.summary[-1] == "The slimmed model runs in TensorFlow Lite Micro."


@pytest.mark.slow
def test_doctor_speaks_for_each_target(tmp_path):
    file = tmp_path / "net.tflite"
    file.write_bytes(tflite.convert_dense(dense_net(), tmp_path))
    words = {
        "micro": "does not run in TensorFlow Lite Micro on whole numbers: these compute in float32: FULLY_CONNECTED",
        "android": "on sparse kernels on ARM (aarch64)",
        "ios": "on sparse kernels on ARM (arm64)",
        "x86": "on sparse kernels on x86 with AVX",
    }
    for target, expected in words.items():
        done = CliRunner().invoke(app, ["doctor", str(file), "--target", target])
        assert done.exit_code == 0, done.output
        assert expected in " ".join(done.output.split())
    done = CliRunner().invoke(app, ["doctor", "--target", "micro"])
    assert done.exit_code != 0
