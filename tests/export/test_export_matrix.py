"""The whole matrix: precisions by encodings, each file right, of the sizes that its encoding promises."""

import json
import os

import keras
import numpy as np
import pytest
from keras import layers

from tf_lottery.errors import UsageError
from tf_lottery.export import check_file, export, tflite
from tf_lottery.export.flatbuffers import operator_name, read
from tf_lottery.export.verification import compare

RNG = np.random.default_rng(0)
X = RNG.random((600, 64)).astype("float32")


def net(*, block=1, dead=0):
    """64-48-32-10, 92 % zeros in blocks along the input axis; `dead` units of the first layer are read by nobody."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((64,)), layers.Dense(48, "relu"), layers.Dense(32, "relu"), layers.Dense(10, use_bias=False)]
    )
    rng = np.random.default_rng(2)
    for layer in model.layers:
        kernel = layer.kernel.numpy() * 4
        rows, columns = kernel.shape
        keep = np.repeat(rng.random((rows // block, columns)) < 0.08, block, 0)
        layer.kernel.assign(kernel * keep)
        if layer.use_bias:
            layer.bias.assign(rng.normal(0, 0.3, columns))
    if dead:
        kernel = model.layers[1].kernel.numpy()
        kernel[:dead] = 0
        model.layers[1].kernel.assign(kernel)
    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matrix")
    model = net(dead=20)
    labels = np.argmax(model(X), -1)
    report = export(
        model,
        folder,
        format="all",
        samples=X[:300],
        labels=labels[:300],
        validation=(X[300:500], labels[300:500]),
        calibration=X[500:],
        max_drop=0.02,
    )
    return folder, report


def kinds(report):
    return {(r["format"], r["precision"], r["encoding"], r["layout"]): r for r in report.candidates}


def test_every_cell_is_a_file_or_a_reason(exported):
    _, report = exported
    cells = {(r["format"], r["precision"], r["encoding"]) for r in (*report.files, *report.refused)}
    for precision in tflite.PRECISIONS:
        for encoding in ("dense", "sparse", "slim", "slim-sparse"):
            assert ("tflite", precision, encoding) in cells
    assert {("saved_model", "float32", e) for e in ("dense", "sparse", "slim", "slim-sparse")} <= cells
    assert {("keras", "float32", e) for e in ("dense", "slim")} <= cells
    assert all(r["reason"] for r in report.refused)
    written = {("tflite", precision, "dense") for precision in ("float32", "float16", "dynamic", "int8")}
    assert written <= {(r["format"], r["precision"], r["encoding"]) for r in report.files}


def test_sizes_keep_what_the_encoding_promises(exported):
    found = kinds(exported[1])
    dense = found["tflite", "float32", "dense", ""]["bytes"]
    assert found["tflite", "float32", "sparse", "rows"]["bytes"] < 0.5 * dense
    assert found["tflite", "float32", "slim", ""]["bytes"] < 0.8 * dense
    assert found["tflite", "float16", "dense", ""]["bytes"] < 0.6 * dense


def test_float32_is_exact_and_every_file_agrees(exported):
    for record in exported[1].files:
        least = {"float32": 1.0, "float16": 0.99, "dynamic": 0.98, "int8": 0.95}[record["precision"]]
        assert record["agreement"] >= least
        assert record["validation_accuracy"] >= least - 0.02
        assert record["accuracy"] is not None
        if record["precision"] == "float32":
            assert record["max_rel_error"] <= 1e-5
        check_file(record["path"])


def test_the_card_and_the_manifest_tell_the_same(exported):
    folder, report = exported
    card = json.loads((folder / "model_card.json").read_text())
    assert card["schema"] == "tf-lottery.card/1"
    assert card["file"]["path"] == report.best
    manifest = json.loads((folder / "manifest.json").read_text())["files"]
    name = os.path.basename(report.best)
    assert manifest[name]["sha256"] == card["file"]["sha256"]
    assert {"model_card.json", "model_card.md"} <= set(manifest)
    check_file(folder / "model_card.json")
    kept = [int(np.count_nonzero(layer.kernel.numpy())) for layer in net(dead=20).layers]
    assert [each["kept"] for each in card["keras"]["weights"]] == kept
    assert {"tensorflow", "keras", "ai-edge-litert", "processor", "cores"} <= set(card["environment"])
    text = (folder / "model_card.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert f"`{manifest[name]['sha256']}`" in text
    assert "not known" not in text.split("## All verified files")[0]


def test_the_best_is_within_the_budget(exported):
    _, report = exported
    best = next(r for r in report.files if r["path"] == report.best)
    assert report.keras["validation_accuracy"] == 1.0
    assert best["validation_accuracy"] >= 1.0 - 0.02
    within = [r for r in report.candidates if r["format"] == "tflite" and r["validation_accuracy"] >= 0.98]
    assert best["bytes"] * best["latency_us_median"] == min(r["bytes"] * r["latency_us_median"] for r in within)


def test_only_the_best_is_written_when_asked(tmp_path):
    report = export(
        net(), tmp_path, samples=X[:300], calibration=X[500:], best="size", only_best=True, max_drop=0.05, name="app"
    )
    assert [record["path"] for record in report.files] == [report.best]
    name = os.path.basename(report.best)
    expected = sorted([name, "app_card.json", "app_card.md", "export.json", "manifest.json"])
    assert sorted(os.listdir(tmp_path)) == expected
    others = [record for record in report.candidates if record["path"] is None]
    assert len(others) >= 5
    assert min(record["bytes"] for record in report.candidates) == report.files[0]["bytes"]


def test_blocks_are_the_smaller_form_of_a_block_ticket(tmp_path):
    # 64 and 48 inputs divide by 4 and 16, so do 32.
    report = export(net(block=16), tmp_path, samples=X[:256], calibration=X[500:], encoding=["dense", "sparse"])
    layouts = {(r["precision"], r["layout"]) for r in report.files if r["encoding"] == "sparse"}
    assert ("float32", "1x4") in layouts
    assert ("float32", "rows") not in layouts
    assert ("dynamic", "1x16") in layouts or any(r["precision"] == "dynamic" for r in report.refused)


def test_int8_needs_calibration(tmp_path):
    report = export(net(), tmp_path, precision=["float32", "int8"], encoding="dense", samples=X[:256])
    assert [r["precision"] for r in report.files] == ["float32"]
    assert ["calibration" in r["reason"] for r in report.refused] == [True]


def test_int8_dense_layers_are_stored_as_convolutions_and_agree(tmp_path):
    wide = keras.Sequential([keras.Input((64,)), layers.Dense(400, "relu"), layers.Dense(10, use_bias=False)])
    rng = np.random.default_rng(3)
    for layer in wide.layers:
        layer.kernel.assign(layer.kernel.numpy() * (rng.random(layer.kernel.shape) < 0.05) * 4)
    report = export(
        wide, tmp_path, precision="int8", encoding=["dense", "sparse"], samples=X[:300], calibration=X[500:]
    )
    dense, sparse = report.files
    assert (dense["encoding"], sparse["encoding"], sparse["layout"]) == ("dense", "sparse", "rows")
    assert sparse["bytes"] < 0.6 * dense["bytes"]
    with open(sparse["path"], "rb") as stream:
        tree = read(stream.read())
    names = [operator_name(tree, operator) for operator in tree.subgraphs[0].operators]
    assert names.count("DENSIFY") == names.count("CONV_2D") >= 1


def test_a_wrong_sparse_file_is_refused_by_its_twin(tmp_path, monkeypatch):
    # An int8 file may differ from Keras by as much as a slightly wrong file does; not from the dense int8 file.
    whole = tflite.encoding.encode

    def encode(content, *, precision, blocks):
        made, rows, in_blocks = whole(content, precision=precision, blocks=blocks)
        return bytes(altered(made)), rows, in_blocks

    def altered(content):
        from tf_lottery.export import flatbuffers

        tree = flatbuffers.read(content)
        for tensor in tree.subgraphs[0].tensors:
            if tensor.sparsity is not None:
                values = np.array(tree.buffers[tensor.buffer].data)
                values[: len(values) // 6] = 0
                tree.buffers[tensor.buffer].data = values
        return flatbuffers.write(tree)

    monkeypatch.setattr(tflite.encoding, "encode", encode)
    wide = keras.Sequential([keras.Input((64,)), layers.Dense(400, "relu"), layers.Dense(10)])
    rng = np.random.default_rng(3)
    for layer in wide.layers:
        layer.kernel.assign(layer.kernel.numpy() * (rng.random(layer.kernel.shape) < 0.1) * 4)
    report = export(wide, tmp_path, encoding=["dense", "sparse"], samples=X[:300], calibration=X[500:])
    assert all(record["encoding"] == "dense" for record in report.files)
    assert len([r for r in report.refused if r["encoding"] == "sparse"]) >= 4
    assert not [name for name in os.listdir(tmp_path) if "sparse" in name]


def test_reduced_files_are_not_offered_where_the_float32_file_is_wrong(tmp_path, monkeypatch):
    whole = tflite.Trial.judge

    def judge(trial, outputs, *, precision="float32"):
        if precision == "float32" and outputs is not trial.reference:
            return compare(trial.reference, {name: array + 1 for name, array in outputs.items()})
        return whole(trial, outputs, precision=precision)

    monkeypatch.setattr(tflite.Trial, "judge", judge)
    with pytest.raises(Exception, match="does not compute"):
        export(net(), tmp_path / "x", samples=X[:256], encoding="dense")
    assert os.listdir(tmp_path) == []


def test_precisions_and_encodings_that_do_not_exist(tmp_path):
    with pytest.raises(UsageError, match="Did you mean 'int8'"):
        export(net(), tmp_path, precision="int9")
    with pytest.raises(UsageError, match="Unknown export encoding 'thin'"):
        export(net(), tmp_path, encoding="thin")
    with pytest.raises(UsageError, match="is empty"):
        export(net(), tmp_path, precision=[])
