"""int8 files with integer inputs and outputs: the same file without its conversions, used as an app would."""

import json

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from keras import layers
from tflite_runs import run_one_by_one

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.exporting import export
from tf_lottery.exporting.tflite import flatbuffers, integer_io
from tf_lottery.exporting.tflite import tflite_writer as tflite

X = np.random.default_rng(0).normal(size=(300, 16)).astype("float32")


def net(*, zeros=0.0):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((16,)), layers.Dense(64, "relu"), layers.Dense(64, "relu"), layers.Dense(4)])
    for layer in model.layers:
        kept = np.random.default_rng(1).random(layer.kernel.shape) >= zeros
        layer.kernel.assign(3 * layer.kernel.numpy() * kept)
    return model


def run(content, values):
    """The outputs of a file for its first input, by reference kernels without delegates."""
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    outputs = run_one_by_one(interpreter, values)
    return outputs, *interpreter.get_input_details(), *interpreter.get_output_details()


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    calibration = {"input": X[:100]}
    floats = tflite.convert_dense(net(), tmp_path_factory.mktemp("io"), precision="int8", calibration=calibration)
    return floats, integer_io.with_integer_io(floats)


def test_integer_files_answer_as_their_float_twins(contents):
    floats, wholes = contents
    expected, *_ = run(floats, X[100:])
    quantize = integer_io.edge_quantizations(wholes)
    held, given_out = quantize["inputs"]["input"], quantize["outputs"]["output"]
    received, given, taken = run(wholes, held.quantize(X[100:]))
    assert given["dtype"] == taken["dtype"] == received.dtype == np.int8
    np.testing.assert_array_equal(
        np.float32(given_out.scale) * (received.astype("float32") - given_out.zero_point), expected
    )
    assert len(wholes) < len(floats)


def test_the_scales_are_those_that_the_runtime_reads(contents):
    _, given, taken = run(contents[1], np.zeros((1, 16), np.int8))
    edges = integer_io.edge_quantizations(contents[1])
    assert given["quantization"] == (edges["inputs"]["input"].scale, edges["inputs"]["input"].zero_point)
    assert taken["quantization"] == (edges["outputs"]["output"].scale, edges["outputs"]["output"].zero_point)
    assert integer_io.edge_quantizations(contents[0]) == {"inputs": {}, "outputs": {}}


def test_no_float_and_no_unused_tensor_is_left(contents):
    model = flatbuffers.read(contents[1])
    (graph,) = model.subgraphs
    used = {int(place) for operator in graph.operators for place in (*operator.inputs, *operator.outputs)}
    assert used - {-1} == set(range(len(graph.tensors)))
    assert not [tensor.name for tensor in graph.tensors if tensor.type == schema.TensorType.FLOAT32]
    (entry,) = model.signatureDefs[0].inputs
    assert entry.name == b"input"
    assert entry.tensorIndex == graph.inputs[0]


def test_quantizing_rounds_as_the_runtime_does(contents):
    """Halves, and values out of range: the QUANTIZE operator of the twin says what is right."""
    floats, wholes = contents
    held = integer_io.edge_quantizations(wholes)["inputs"]["input"]
    steps = np.array([0.5, 1.5, -0.5, -2.5, 2.5, 300, -300, 0.25] * 2, "float32")
    values = (steps * np.float32(held.scale)).astype("float32")
    expected, *_ = run(floats, values[None])
    received, _, taken = run(wholes, held.quantize(values)[None])
    scale, zero = taken["quantization"]
    np.testing.assert_array_equal(np.float32(scale) * (received.astype("float32") - zero), expected)


def test_an_export_has_them_in_the_report_and_the_card(tmp_path):
    report = export(net(zeros=0.9), tmp_path, samples=X[:256], calibration=X[:100], task="regression", io="int8")
    assert {record["precision"] for record in report.candidates} == {"int8"}
    for record in report.files:
        assert record["io"] == "int8"
        assert record["snr_db"] > 20
        interpreter = Interpreter(model_path=record["path"])
        interpreter.allocate_tensors()
        (given,), (taken,) = interpreter.get_input_details(), interpreter.get_output_details()
        held = record["quantization"]
        assert given["dtype"] == taken["dtype"] == np.int8
        assert given["quantization"] == (held["inputs"]["input"]["scale"], held["inputs"]["input"]["zero_point"])
        assert taken["quantization"] == (held["outputs"]["output"]["scale"], held["outputs"]["output"]["zero_point"])
    assert {"dense", "sparse"} <= {record["encoding"] for record in report.files}
    name = report.best.rsplit("/", 1)[-1]
    card = json.loads((tmp_path / f"{name}.card.json").read_text())
    scale = card["file"]["quantization"]["inputs"]["input"]["scale"]
    assert f"| input input | int8 | {scale!r} |" in (tmp_path / f"{name}.card.md").read_text()


def test_token_numbers_stay_whole_numbers(tmp_path):
    keras.utils.set_random_seed(0)
    tokens = keras.Input((8,), dtype="int32", name="tokens")
    pooled = layers.GlobalAveragePooling1D()(layers.Embedding(50, 16)(tokens))
    model = keras.Model(tokens, layers.Dense(4)(pooled))
    x = np.random.default_rng(0).integers(0, 50, (100, 8)).astype("int32")
    content = tflite.convert_dense(model, tmp_path, precision="int8", calibration={"tokens": x})
    wholes = integer_io.with_integer_io(content)
    assert list(integer_io.edge_quantizations(wholes)["inputs"]) == []
    expected, *_ = run(content, x)
    received, given, taken = run(wholes, x)
    assert (given["dtype"], taken["dtype"]) == (np.int32, np.int8)
    scale, zero = taken["quantization"]
    np.testing.assert_array_equal(np.float32(scale) * (received.astype("float32") - zero), expected)


def test_an_input_that_is_read_in_float32_is_named(tmp_path):
    model = flatbuffers.read(tflite.convert_dense(net(), tmp_path))
    with pytest.raises(integer_io.FloatAtTheEdgeError, match=r"input .*input.* is read in float32 by FULLY_CONNECTED"):
        integer_io.with_integer_io(flatbuffers.write(model))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"io": "int4"}, "Unknown export io 'int4'"),
        ({"io": "int8", "precision": "float16"}, "`io='int8'` is of int8 files, received `precision=['float16']`"),
        ({"io": "int8", "format": "keras"}, "`io='int8'` is of TFLite files, received `format=['keras']`"),
    ],
)
def test_what_io_does_not_go_with_is_refused(tmp_path, arguments, words):
    with pytest.raises(UsageError) as caught:
        export(net(), tmp_path / "out", samples=X, calibration=X, **arguments)
    assert words in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_without_calibration_nothing_is_written(tmp_path):
    with pytest.raises(UnfitError, match="int8 needs real samples"):
        export(net(), tmp_path / "out", samples=X, io="int8")
    assert not (tmp_path / "out").exists()
