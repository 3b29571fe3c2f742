"""Files of LiteRT's quantizer: int4 weights, and bits for each weight, against references made by hand."""

import importlib.util

import keras
import numpy as np
import pytest
from independent_reader import WAYS, read
from keras import layers

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.exporting import export
from tf_lottery.exporting.diagnose.diagnosis import diagnose
from tf_lottery.exporting.measure.model_files import FileIdentity, identify
from tf_lottery.exporting.tflite import flatbuffers, weight_quantization
from tf_lottery.exporting.tflite.dense_conversion import convert_dense
from toys import error_over_spread, round_kernels

X = np.random.default_rng(0).normal(size=(256, 10, 10, 2)).astype("float32")
BUDGET = 0.03


def prune(model, zeros):
    rng = np.random.default_rng(1)
    for layer in model.layers:
        for weight in layer.weights[:-1]:
            weight.assign(2 * weight.numpy() * (rng.random(weight.shape) >= zeros))
    return model


def net(*, zeros=0.0):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((10, 10, 2), name="image")
    x = layers.Conv2D(24, 3, activation="relu", name="conv")(inputs)
    x = layers.Flatten()(layers.DepthwiseConv2D(3, activation="relu", name="depthwise")(x))
    x = layers.Dense(48, "relu", name="hidden")(x)
    return prune(keras.Model(inputs, layers.Dense(6, name="scores")(x)), zeros)


def answers(file):
    given = read(file, {"image": X[:64]})
    return {way: given[way]["scores"] for way in WAYS if "batch" not in way}


@pytest.fixture(scope="module", params=[0.0, 0.9], ids=["whole", "pruned"])
def quantized(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantizer")
    content = convert_dense(net(zeros=request.param), folder)
    bits = {place: weight.least_bits for place, weight in weight_quantization.quantizable_weights(content).items()}
    assert sorted(bits.values()) == [4, 4, 4, 8]
    files = {}
    for compute in ("integer", "float"):
        files[compute] = folder / f"{compute}.tflite"
        files[compute].write_bytes(weight_quantization.quantize_weights(content, bits, compute=compute, scratch=folder))
    twin = net(zeros=request.param)
    round_kernels(twin, {layer.name: 127 if "depthwise" in layer.name else 7 for layer in twin.layers})
    return content, files, twin.predict(X[:64], verbose=0)


def test_restored_weights_are_those_that_were_rounded_by_hand(quantized):
    _, files, expected = quantized
    for received in answers(files["float"]).values():
        assert np.abs(received - expected).max() <= 1e-5 * np.abs(expected).max()


def test_integer_kernels_answer_as_the_rounded_weights_do(quantized):
    content, files, expected = quantized
    for received in answers(files["integer"]).values():
        assert error_over_spread(received, expected) < 0.05  # as of kernels for int8 weights
    assert files["integer"].stat().st_size < 0.2 * len(content)


def test_versions_and_names_are_those_of_a_converted_file(quantized):
    content, files, _ = quantized
    before, after = flatbuffers.read(content), flatbuffers.read(files["integer"])
    names = [{tensor.name for tensor in model.subgraphs[0].tensors} for model in (before, after)]
    assert names[0] == names[1]
    versions = {
        (flatbuffers.operator_name(after, operator), after.operatorCodes[operator.opcodeIndex].version)
        for operator in after.subgraphs[0].operators
    }
    assert {("FULLY_CONNECTED", 12), ("CONV_2D", 7), ("DEPTHWISE_CONV_2D", 6)} <= versions
    entry = next(entry for entry in after.metadata if entry.name == b"min_runtime_version")
    assert bytes(after.buffers[entry.buffer].data).rstrip(b"\0") == b"2.17.0"


def test_bench_and_doctor_know_int4(quantized):
    _, files, _ = quantized
    assert identify(files["integer"]) == FileIdentity("int4", "dense")
    operations = diagnose(files["integer"], race=False).to_json()["ops"]
    dense = next(entry for entry in operations if entry["op"] == "FULLY_CONNECTED")
    assert dense["precision"] == "int4"
    assert dense["zeros"] > 0.05  # what rounds to 0 counts: the values were read
    assert any("int4 weights have no sparse form" in reason for reason in dense["reasons"])


def export_all(folder, model, samples=X[:64], **options):
    options = {"precision": ["float32", "dynamic", "int4", "mixed"], "encoding": ["dense", "sparse"]} | options
    options = {"calibration": X[64:], "task": "regression", "max_drop": BUDGET, "best": "size"} | options
    return export(model, folder, samples=samples, **options)


def by_kind(records):
    return {(record["precision"], record["encoding"]): record for record in records}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    return folder, export_all(folder, net())


def test_mixed_holds_the_budget_on_the_calibration_samples(exported):
    folder, report = exported
    records = by_kind(report.files)
    assert records["int4", "dense"]["rms_rel_error"] > BUDGET
    assert records["int4", "dense"]["bytes"] < records["mixed", "dense"]["bytes"] < records["float32", "dense"]["bytes"]
    received = read(folder / "model_mixed_dense.tflite", {"image": X[64:]})["default"]["scores"]
    assert error_over_spread(received, net().predict(X[64:], verbose=0)) <= BUDGET
    assert "int8" in records["mixed", "dense"]["note"]


def stored(file):
    model = flatbuffers.read(file)
    buffers = [model.buffers[tensor.buffer].data for tensor in model.subgraphs[0].tensors]
    return sorted(bytes(data) for data in buffers if data is not None)


def test_other_samples_choose_no_other_bits(exported, tmp_path):
    folder, report = exported
    other = export_all(tmp_path, net(), 5 * X[:16][::-1], precision=["float32", "mixed"], encoding="dense")
    assert by_kind(other.files)["mixed", "dense"]["note"] == by_kind(report.files)["mixed", "dense"]["note"]
    name = "model_mixed_dense.tflite"
    assert stored(tmp_path / name) == stored(folder / name)


def test_a_file_outside_the_budget_is_not_chosen_and_the_report_says_so(exported):
    _, report = exported
    assert "int4" not in report.best
    assert any(
        line.startswith("The int4 dense file") and line.endswith("outside the accuracy budget.")
        for line in report.findings
    )
    assert any("int4 (sparse): int4 weights have no sparse form" in line for line in report.refusals())


def test_what_a_sparse_file_does_better_is_not_chosen(tmp_path):
    report = export_all(tmp_path, net(zeros=0.9), best="latency", max_drop=0.5)
    records = by_kind(report.files)
    assert records["dynamic", "sparse"]["bytes"] < records["int4", "dense"]["bytes"]
    assert any(
        line.startswith("The int4 dense file") and "was no choice: the dynamic sparse file" in line
        for line in report.findings
    )
    assert "int4" not in report.best
    # Of mostly zeros, sparse int8 takes fewer bytes than int4.
    assert records["mixed", "sparse"]["bytes"] < records["int4", "dense"]["bytes"]


def test_no_budget_leaves_every_weight_in_float32(tmp_path):
    report = export_all(tmp_path, net(), max_drop=0.0, precision=["float32", "mixed"], encoding="dense")
    assert [record["precision"] for record in report.files] == ["float32"]
    assert "no weight can be quantized within the accuracy budget" in report.refusals()[0]


def test_bad_input(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="Unknown export precision 'int3'"):
        export(net(), tmp_path, precision="int3")
    with pytest.raises(UnfitError, match="mixed needs real samples to choose the bits of each weight"):
        export(net(), tmp_path, precision="mixed", samples=X[:64])
    small = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    with pytest.raises(UnfitError, match="no weight is large enough for 4 bits"):
        export(small, tmp_path, precision="int4")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'tf-lottery\[quantizer\]'"):
        export(net(), tmp_path, precision="int4")
    assert not list(tmp_path.iterdir())
