"""The whole matrix: precisions by encodings, each file right, of the sizes that its encoding promises."""

import json
import os

import keras
import numpy as np
import pytest
from keras import layers

from tf_lottery.errors import CheckFailed, UnfitError, UsageError
from tf_lottery.exporting import check_file, export
from tf_lottery.exporting.checks.agreement import compare_outputs
from tf_lottery.exporting.precision_names import IN_ALL
from tf_lottery.exporting.tflite import tflite_writer as tflite
from tf_lottery.exporting.tflite.flatbuffers import operator_name, read
from toys import FailingOnceCopied

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
    for precision in IN_ALL:
        for encoding in ("dense", "sparse", "slim", "slim-sparse"):
            assert ("tflite", precision, encoding) in cells
    assert {("saved_model", "float32", e) for e in ("dense", "sparse", "slim", "slim-sparse")} <= cells
    assert {("keras", "float32", e) for e in ("dense", "slim")} <= cells
    assert all(r["reason"] for r in report.refused)
    written = {("tflite", precision, "dense") for precision in IN_ALL}
    assert written <= {(r["format"], r["precision"], r["encoding"]) for r in report.files}


def test_sizes_keep_what_the_encoding_promises(exported):
    records = kinds(exported[1])
    dense = records["tflite", "float32", "dense", ""]["bytes"]
    assert records["tflite", "float32", "sparse", "rows"]["bytes"] < 0.5 * dense
    assert records["tflite", "float32", "slim", ""]["bytes"] < 0.8 * dense
    assert records["tflite", "float16", "dense", ""]["bytes"] < 0.6 * dense


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
    name = os.path.basename(report.best)
    card = json.loads((folder / f"{name}.card.json").read_text())
    assert card["schema"] == "tf-lottery.card/1"
    assert card["file"]["path"] == report.best
    manifest = json.loads((folder / "manifest.json").read_text())["files"]
    assert manifest[name]["sha256"] == card["file"]["sha256"]
    assert {f"{name}.card.json", f"{name}.card.md"} <= set(manifest)
    check_file(folder / f"{name}.card.json")
    kept = [int(np.count_nonzero(layer.kernel.numpy())) for layer in net(dead=20).layers]
    assert [weight["kept"] for weight in card["keras"]["weights"]] == kept
    assert {"tensorflow", "keras", "ai-edge-litert", "processor", "cores"} <= set(card["environment"])
    text = (folder / f"{name}.card.md").read_text()
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
    expected = sorted([name, f"{name}.card.json", f"{name}.card.md", "export.json", "manifest.json"])
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
    assert {layout for precision, layout in layouts if precision == "dynamic"} <= {"1x16", "rows"}


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


def wide_net():
    """64-400-10, 90 % zeros at random."""
    keras.utils.set_random_seed(2)
    wide = keras.Sequential([keras.Input((64,)), layers.Dense(400, "relu"), layers.Dense(10)])
    rng = np.random.default_rng(3)
    for layer in wide.layers:
        layer.kernel.assign(layer.kernel.numpy() * (rng.random(layer.kernel.shape) < 0.1) * 4)
    return wide


def tamper(monkeypatch, every):
    """Every sparse file loses one of so many stored values."""
    from tf_lottery.exporting.tflite import encoding, flatbuffers

    whole = encoding.encode_weights

    def encode(content, *, precision):
        return {layout: tampered(made) for layout, made in whole(content, precision=precision).items()}

    def tampered(made):
        tree = flatbuffers.read(made)
        for tensor in tree.subgraphs[0].tensors:
            if tensor.sparsity is not None:
                size = 1 if tensor.type == flatbuffers.schema.TensorType.INT8 else 4
                values = np.array(tree.buffers[tensor.buffer].data).reshape(-1, size)
                values[::every] = 0
                tree.buffers[tensor.buffer].data = values.ravel()
        return flatbuffers.write(tree)

    monkeypatch.setattr(encoding, "encode_weights", encode)


def test_a_slightly_wrong_sparse_file_is_refused_by_its_twin(tmp_path, monkeypatch):
    # An int8 file may differ from Keras by as much as a slightly wrong file does, but not from the dense int8 file.
    # Here the wrong values move the output by 7.7 % (the twin allows 2 %), and 98.7 % of the classes still agree.
    tamper(monkeypatch, every=1000)
    options = {"encoding": ["dense", "sparse"], "precision": "int8", "samples": X[:300], "calibration": X[500:]}
    report = export(wide_net(), tmp_path / "twin", **options)
    assert [record["encoding"] for record in report.files] == ["dense"]
    assert "computes something else than the dense int8 file" in report.refused[0]["reason"]
    assert not [name for name in os.listdir(tmp_path / "twin") if "sparse" in name]
    monkeypatch.setattr(tflite, "TWIN_TOLERANCES", dict.fromkeys(tflite.TWIN_TOLERANCES, 1e9))
    report = export(wide_net(), tmp_path / "alone", **options)
    assert [record["encoding"] for record in report.files] == ["dense", "sparse"]  # Keras alone


@pytest.mark.parametrize(
    "precision", ["float16", *(pytest.param(name, marks=pytest.mark.slow) for name in ("dynamic", "int8"))]
)
def test_a_reduced_file_of_other_weights_is_refused(tmp_path, monkeypatch, precision):
    whole = tflite.convert_dense
    other = wide_net()
    other.layers[0].kernel.assign(other.layers[0].kernel * -1)

    def convert(model, folder, *, precision="float32", **options):
        if precision == "float32":
            return whole(model, folder, precision=precision, **options)
        (folder / "other").mkdir(exist_ok=True)
        return whole(other, folder / "other", precision=precision, **options)

    monkeypatch.setattr(tflite, "convert_dense", convert)
    report = export(
        *(wide_net(), tmp_path),
        **{"precision": ["float32", precision], "encoding": "dense", "samples": X[:300], "calibration": X[500:]},
    )
    assert [record["precision"] for record in report.files] == ["float32"]
    assert "of its spread" in report.refused[0]["reason"]


def test_reduced_files_need_a_right_float32_file(tmp_path, monkeypatch):
    whole = tflite.KerasReference.compare

    def compare(reference, outputs, *, precision="float32"):
        if precision == "float32" and outputs is not reference.outputs:
            return compare_outputs(reference.outputs, {name: array + 1 for name, array in outputs.items()})
        return whole(reference, outputs, precision=precision)

    monkeypatch.setattr(tflite.KerasReference, "compare", compare)
    with pytest.raises(CheckFailed, match="does not compute"):
        export(net(), tmp_path / "x", samples=X[:256], encoding="dense")
    assert os.listdir(tmp_path) == []


def test_ranges_are_measured_on_the_calibration_samples_alone(tmp_path, monkeypatch):
    seen = []
    whole = tflite.convert_dense

    def convert(model, folder, *, precision="float32", calibration=None, **options):
        if precision == "int8":
            seen.append(calibration["input"].copy())
        return whole(model, folder, precision=precision, calibration=calibration, **options)

    monkeypatch.setattr(tflite, "convert_dense", convert)
    export(
        *(net(), tmp_path),
        **{"precision": "int8", "encoding": "dense", "samples": X[:300], "validation": (X[300:500], None)},
        calibration=X[500:],
    )
    np.testing.assert_array_equal(seen[0], X[500:])


def test_the_choice_is_by_what_is_lost_of_the_models_own_validation_accuracy(tmp_path, monkeypatch):
    from tf_lottery.exporting import pipeline

    calls = []

    def choose_best(records, **options):
        calls.append((options, [(record["validation_accuracy"], record["validation_loss"]) for record in records]))
        return 0

    monkeypatch.setattr(pipeline, "choose_best", choose_best)
    model = net()
    labels = np.argmax(model(X), -1)
    labels[300:350] = (labels[300:350] + 1) % 10
    export(
        *(model, tmp_path),
        **{"precision": "float32", "encoding": "dense", "samples": X[:300], "labels": labels[:300]},
        validation=(X[300:500], labels[300:500]),
        max_drop=0.1,
        best="latency",
    )
    assert calls == [({"goal": "latency", "max_drop": 0.1}, [(0.75, 0.0)])]


def test_an_output_that_int8_makes_constant_is_refused(tmp_path):
    inputs = keras.Input((64,))
    output = layers.Rescaling(1.0, offset=1000.0)(layers.Dense(1)(inputs))
    model = keras.Model(inputs, output)  # 1000 and a little: int8 has steps of 4
    model.layers[1].kernel.assign(np.full((64, 1), 0.01))
    report = export(model, tmp_path, encoding="dense", samples=X[:300], calibration=X[500:])
    assert "int8" not in {record["precision"] for record in report.files}
    assert any("of its spread" in record["reason"] for record in report.refused if record["precision"] == "int8")


def test_files_not_timed_in_turn_keep_their_latencies(tmp_path, monkeypatch):
    from tf_lottery.exporting.tflite import litert

    def fail(files, **options):
        raise litert.LiteRTError("too large")

    monkeypatch.setattr(litert, "time_files", fail)
    report = export(net(), tmp_path, precision="float32", encoding=["dense", "sparse"], samples=X[:256])
    assert all(record["latency_us_median"] > 0 for record in report.files)


def test_a_layer_that_fails_and_arguments_that_do_not_fit(tmp_path):
    inputs = keras.Input((64,))
    layer = FailingOnceCopied()
    model = keras.Model(inputs, layer(inputs))
    layer.fails = True
    with pytest.raises(UnfitError, match="does not run on the samples"):
        export(model, tmp_path, samples=X[:4])
    with pytest.raises(UsageError, match="pair of inputs and labels"):
        export(net(), tmp_path, samples=X[:4], validation=X)
    with pytest.raises(UsageError, match="max_drop"):
        export(net(), tmp_path, samples=X[:4], max_drop="a little")
    assert os.listdir(tmp_path) == []


def test_precisions_and_encodings_that_do_not_exist(tmp_path):
    with pytest.raises(UsageError, match="Did you mean 'int8'"):
        export(net(), tmp_path, precision="int9")
    with pytest.raises(UsageError, match="Unknown export encoding 'thin'"):
        export(net(), tmp_path, encoding="thin")
    with pytest.raises(UsageError, match="is empty"):
        export(net(), tmp_path, precision=[])
