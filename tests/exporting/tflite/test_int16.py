"""int16 between layers and int8 weights: more exact than int8, stored sparse without a change, refused by names."""

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from independent_reader import WAYS, read
from keras import layers

from tf_lottery.errors import UnfitError
from tf_lottery.exporting import export
from tf_lottery.exporting.measure.model_files import FileIdentity, identify
from tf_lottery.exporting.tflite import flatbuffers
from toys import error_over_spread, round_kernels

X = np.random.default_rng(0).uniform(-1, 1, (320, 10, 10, 2)).astype("float32")


def pruned(model, zeros=0.85):
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if layer.weights:
            kernel = layer.weights[0].numpy()
            layer.weights[0].assign(3 * kernel * (rng.random(kernel.shape) >= zeros))
            layer.weights[-1].assign(0.1 * rng.normal(size=layer.weights[-1].shape))
    return model


def net():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((10, 10, 2), name="image")
    x = layers.Conv2D(24, 3, activation="relu")(inputs)
    x = layers.Add()([layers.Conv2D(16, 3, padding="same")(x), layers.DepthwiseConv2D(3, padding="same")(x)[..., :16]])
    x = layers.Flatten()(layers.MaxPooling2D(2)(x))
    return pruned(keras.Model(inputs, layers.Dense(4, name="scores")(layers.Dense(48, "relu")(x))))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("int16")
    report = export(
        *(net(), folder),
        precision=["float32", "int8", "int16x8"],
        encoding=["dense", "sparse"],
        samples=X[:64],
        calibration=X,  # ranges are those of the samples: nothing is clipped
        task="regression",
    )
    return folder, report, {(record["precision"], record["encoding"]): record for record in report.files}


def test_int16_between_layers_is_more_exact_than_int8(exported):
    _, report, records = exported
    assert records["int16x8", "dense"]["rms_rel_error"] < records["int8", "dense"]["rms_rel_error"]
    assert records["int16x8", "dense"]["bytes"] < 0.4 * records["float32", "dense"]["bytes"]
    assert records["int16x8", "sparse"]["bytes"] < 0.7 * records["int16x8", "dense"]["bytes"]
    assert "XNNPACK takes none of it" in records["int16x8", "dense"]["note"]
    assert not [line for line in report.refusals() if "int16x8" in line]


def test_files_answer_as_weights_rounded_by_hand_in_every_way(exported):
    folder, _, _ = exported
    model = net()
    expected = round_kernels(model, {layer.name: 127 for layer in model.layers}).predict(X[:64], verbose=0)
    dense, sparse = (read(folder / f"model_int16x8_{kind}.tflite", {"image": X[:64]}) for kind in ("dense", "sparse"))
    for way in (name for name in WAYS if "batch" not in name):
        np.testing.assert_array_equal(sparse[way]["scores"], dense[way]["scores"])
        assert error_over_spread(dense[way]["scores"], expected) < 1e-3  # all that is lost is the rounding of weights


def test_what_is_in_the_file(exported):
    folder, _, _ = exported
    for kind, encoding in (("dense", "dense"), ("sparse", "sparse")):
        file = folder / f"model_int16x8_{kind}.tflite"
        model = flatbuffers.read(file)
        kinds = {flatbuffers.operator_name(model, operator) for operator in model.subgraphs[0].operators}
        assert ("DENSIFY" in kinds) == (kind == "sparse")
        computed = {
            model.subgraphs[0].tensors[int(place)].type
            for operator in model.subgraphs[0].operators
            if flatbuffers.operator_name(model, operator) not in ("DENSIFY", "DEQUANTIZE")
            for place in operator.outputs
        }
        assert computed == {schema.TensorType.INT16}
        interpreter = Interpreter(model_path=str(file))
        interpreter.allocate_tensors()
        assert "DELEGATE" not in {detail["op_name"] for detail in interpreter._get_ops_details()}
        renamed = file.with_name(f"alone_{kind}.tflite")
        renamed.write_bytes(file.read_bytes() + b" ")  # no report lists these bytes
        assert identify(renamed) == FileIdentity("int16x8", encoding)
        renamed.unlink()


def test_operators_without_an_int16_kernel_are_named(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8,)), layers.Dense(64), layers.PReLU(), layers.Dense(64, "elu")])
    x = np.random.default_rng(0).normal(size=(40, 8)).astype("float32")
    with pytest.raises(UnfitError, match="no int16 kernel for the operators ELU, PRELU"):
        export(model, tmp_path, precision="int16x8", encoding="dense", samples=x, calibration=x)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UnfitError, match="int16x8 needs real samples to find the ranges of values"):
        export(model, tmp_path, precision="int16x8", encoding="dense", samples=x)


@pytest.mark.slow
def test_inputs_of_whole_numbers_are_named(tmp_path):
    words = keras.Input((6,), dtype="int32", name="words")
    vectors = layers.GlobalAveragePooling1D()(layers.Embedding(50, 32)(words))
    model, tokens = keras.Model(words, layers.Dense(40)(vectors)), np.arange(48).reshape(8, 6)
    with pytest.raises(UnfitError, match="takes float32 inputs alone, not 'words' of int32"):
        export(model, tmp_path / "out", samples=tokens, calibration=tokens, precision="int16x8", encoding="dense")
