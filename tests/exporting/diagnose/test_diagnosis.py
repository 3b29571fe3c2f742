"""`diagnose`: whole models, converted for real, and what can't be diagnosed."""

import json
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from tf_lottery.errors import DamagedError, NonFiniteError, UnfitError, UsageError
from tf_lottery.exporting import export
from tf_lottery.exporting.diagnose.delegation import NotLoadedError, load_graph
from tf_lottery.exporting.diagnose.diagnosis import diagnose
from tf_lottery.exporting.diagnose.operations import _layer
from tf_lottery.exporting.diagnose.processor import Processor
from tf_lottery.exporting.plain_model import make_deployable
from tf_lottery.exporting.tflite import encoding, litert
from tf_lottery.exporting.tflite import tflite_writer as tflite
from tf_lottery.layers import get_masks, set_masks, wrap
from tf_lottery.models.mobile import mobilenet

ARM = Processor("ARM (aarch64)", True)
AVX = Processor("x86 with AVX", False)


def sparsified(model, share=0.8, *, only="", seed=0):
    """Random zeros in every kernel whose path holds `only`."""
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        if len(variable.shape) > 1 and only in variable.path:
            variable.assign(np.where(rng.random(variable.shape) < share, 0, variable.numpy()))
    return model


def blocked(shape, share, size=4):
    """A Keras kernel `(in, out)` whose zeros lie in blocks along the inputs."""
    rng = np.random.default_rng(0)
    count = shape[0] // size * shape[1]
    gone = rng.permutation(count) < round(share * count)
    keep = np.repeat(~gone.reshape(shape[0] // size, shape[1]), size, axis=0)
    return (rng.uniform(0.5, 1, shape) * keep).astype("float32")


def dense_net(kernel):
    model = keras.Sequential([keras.Input((kernel.shape[0],)), layers.Dense(kernel.shape[1], name="hidden")])
    model.layers[0].kernel.assign(kernel)
    return model


def by_name(diagnosis):
    return {op.name: (op, verdict) for op, verdict in zip(diagnosis.operations, diagnosis.verdicts, strict=True)}


def reasons(diagnosis, name):
    return " | ".join(finding.reason for finding in by_name(diagnosis)[name][1].findings)


@pytest.fixture(scope="module")
def mobile():
    return diagnose(sparsified(mobilenet((32, 32, 3), 10)), processor=AVX)


def test_the_mobile_example_runs_sparse_on_arm(mobile):
    nodes = by_name(mobile)
    for number in range(1, 7):
        operation, verdict = nodes[f"block_{number}_pointwise"]
        assert operation.encoding == "sparse"
        assert verdict.kind == "sparse on ARM"
        assert [reason.reason[:13] for reason in verdict.findings] == ["sparse on ARM", "switched off "]
        assert nodes[f"block_{number}_depthwise"][0].kind == "DEPTHWISE_CONV_2D"
    assert nodes["output"][1].kind == nodes["stem"][1].kind == "densified"
    assert [operation.kind for operation in mobile.operations if operation.index in (0, 16)] == ["PAD", "MEAN"]
    text = "\n".join(mobile.summary)
    assert "0 % of the multiplications are on sparse kernels on x86 with AVX, 85 % on ARM" in text
    assert "On x86 with AVX sparse convolutions are switched off: they pay on ARM." in text
    assert "Delegate: the default one takes 18 of 18 operations here" in text


def test_a_diagnosis_shows_itself(mobile):
    assert repr(mobile).startswith("<Diagnosis of mobilenet: ")
    assert "6 sparse on ARM" in repr(mobile)
    page = mobile._repr_html_()
    assert page.count("<tr>") == 1 + len(mobile.operations)
    assert "block_1_pointwise" in page
    assert page.count("<p>") == len(mobile.summary)


def test_the_document(mobile):
    document = json.loads(mobile.dumps())
    assert document["schema"] == "tf-lottery.doctor/1"
    assert document["model"] == "mobilenet"
    record = document["ops"][3]
    assert record["op"] == "CONV_2D"
    assert record["name"] == "block_1_pointwise"
    assert record["index"] == 3
    assert record["weights_shape"] == [32, 1, 1, 16]
    kernel = mobile.operations[3].weights
    assert record["zeros"] == pytest.approx(np.mean(kernel == 0), abs=1e-6)
    assert document["ops"][2]["blocks_1x4"] is None
    assert document["ops"][0] == {
        **{"index": 0, "subgraph": 0, "op": "PAD", "name": "stem_pad", "weights_shape": None, "precision": None},
        **{"encoding": None, "zeros": None, "blocks_1x4": None, "blocks_1x16": None, "verdict": "no weights"},
        **{"reasons": [], "advice": []},
    }
    assert set(document["ops"][3]) == set(document["ops"][0])


@pytest.mark.parametrize(
    ("variant", "obstacle"),
    [
        ("same", "block_2_depthwise) stands in the way: stride-2 SAME padding"),
        ("pool", "MAX_POOL_2D block_2_pool) stands in the way"),
        ("few", "61 % zeros: XNNPACK's sparse path needs over 66.7 %"),
    ],
)
def test_a_variant_that_breaks_a_rule_is_named(variant, obstacle):
    image = keras.Input((16, 16, 3))
    x = layers.ZeroPadding2D(1)(image)
    x = layers.Conv2D(8, 3, strides=2, activation="relu", name="stem")(x)
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu", name="block_1_depthwise")(x)
    x = layers.Conv2D(16, 1, activation="relu", name="block_1_pointwise")(x)
    if variant == "pool":
        x = layers.MaxPooling2D(2, name="block_2_pool")(x)
    else:
        same = variant == "same"
        x = x if same else layers.ZeroPadding2D(1)(x)
        x = layers.DepthwiseConv2D(3, strides=2, padding="same" if same else "valid", name="block_2_depthwise")(x)
    x = layers.Conv2D(32, 1, activation="relu", name="block_2_pointwise")(x)
    model = keras.Model(image, layers.Dense(3, name="output")(layers.GlobalAveragePooling2D()(x)))
    # 640 weights in the two 1x1 convolutions: 391 zeros are 61.1 %.
    kernels = [model.get_layer(f"block_{number}_pointwise").kernel for number in (1, 2)]
    count, rng = 391 if variant == "few" else 500, np.random.default_rng(0)
    keep = (rng.permutation(640) >= count).astype("float32")
    for kernel, mask in zip(kernels, np.split(keep, [128]), strict=True):
        kernel.assign(np.reshape(mask, kernel.shape))
    diagnosis = diagnose(model, processor=ARM)
    assert by_name(diagnosis)["block_2_pointwise"][1].kind == "densified"
    assert obstacle in reasons(diagnosis, "block_2_pointwise")


def test_blocks_run_sparse_and_single_zeros_do_not():
    kernel = blocked((64, 32), 0.75)
    diagnosis = diagnose(dense_net(kernel), processor=AVX)
    operation, verdict = by_name(diagnosis)["hidden"]
    assert (operation.encoding, verdict.kind) == ("1x4", "sparse")
    np.testing.assert_array_equal(operation.weights, kernel.T)
    assert "100 % of the multiplications are on sparse kernels on x86 with AVX" in "\n".join(diagnosis.summary)
    shuffled = np.random.default_rng(0).permutation(kernel.ravel()).reshape(kernel.shape)
    operation, verdict = by_name(diagnose(dense_net(shuffled), processor=AVX))["hidden"]
    assert (operation.encoding, verdict.kind) == ("sparse", "densified")
    np.testing.assert_array_equal(operation.weights, shuffled.T)


def test_single_zeros_that_are_stored_in_blocks_get_advice():
    blocks = np.zeros((16, 4, 32), "float32")
    blocks[:5, 0] = 1
    blocks[5, 0, :16] = 1  # one value in 176 of 512 blocks: 65.6 % of the blocks are zero, 91.4 % of the weights
    kernel = blocks.reshape(64, 32)
    diagnosis = diagnose(dense_net(kernel), processor=AVX)
    operation, verdict = by_name(diagnosis)["hidden"]
    assert (operation.encoding, verdict.kind) == ("1x4", "sparse")
    assert verdict.findings[0].advice == "find the ticket with `granularity='1x4'`"
    assert diagnosis.summary[-1].startswith("Recommended: a ticket of `granularity='1x4'`")


def test_a_model_too_small_to_gain():
    model = keras.Sequential([keras.Input((9,)), layers.Dense(5, name="hidden")])
    diagnosis = diagnose(sparsified(model), processor=AVX)
    assert "of 45 weights: storing them sparse saves no bytes" in reasons(diagnosis, "hidden")


def test_a_wrapped_model_is_stripped_first():
    model = wrap(dense_net(np.ones((64, 32), "float32")))
    masks = {path: np.arange(mask.size).reshape(mask.shape) % 2 == 0 for path, mask in get_masks(model).items()}
    set_masks(model, masks)
    diagnosis = diagnose(model, processor=AVX)
    assert "50 % of 2,048 weights" in diagnosis.summary[0]


def test_loops_are_listed_with_the_weights_inside():
    model = keras.Sequential([keras.Input((6, 4)), layers.LSTM(32, name="lstm"), layers.Dense(4, name="output")])
    diagnosis = diagnose(sparsified(model), processor=AVX)
    kinds = {(op.kind, verdict.kind) for op, verdict in zip(diagnosis.operations, diagnosis.verdicts, strict=True)}
    assert ("WHILE", "blocks") in kinds
    inside = {
        op.weights.shape: (op.name, op.encoding, verdict.kind)
        for op, verdict in zip(diagnosis.operations, diagnosis.verdicts, strict=True)
        if op.subgraph and op.kind == "FULLY_CONNECTED"
    }
    assert inside[128, 32] == ("lstm", "sparse", "densified")
    assert inside[128, 4] == ("lstm", "sparse", "densified")
    assert "Delegates: " in diagnosis.summary[-1]
    assert "WHILE" in diagnosis.summary[-1]


@pytest.mark.filterwarnings(
    r"ignore:\s*Warning. tf.lite.Interpreter is deprecated"
)  # by the converter's own calibration
@pytest.mark.parametrize("precision", ["float16", "dynamic", "int8"])
def test_files_of_other_precisions(tmp_path, precision):
    model, _ = make_deployable(dense_net(blocked((64, 32), 0.5)))
    samples = {"input": np.random.default_rng(0).random((8, 64)).astype("float32")}
    file = tmp_path / "model.tflite"
    file.write_bytes(tflite.convert_dense(model, tmp_path, precision=precision, calibration=samples))
    diagnosis = diagnose(file, processor=AVX)
    weighty = [op for op in diagnosis.operations if op.weights is not None]
    assert [op.precision for op in weighty] == ["float16" if precision == "float16" else "int8"]
    assert "50 % of 2,048 weights" in diagnosis.summary[0]
    assert diagnosis.model == str(file)


def test_a_dense_file_gets_the_advice_to_store_zeros_sparse(tmp_path):
    model, _ = make_deployable(sparsified(mobilenet((16, 16, 3), 4, width=0.25)))
    file = tmp_path / "model.tflite"
    file.write_bytes(tflite.convert_dense(model, tmp_path))
    diagnosis = diagnose(file, processor=ARM)
    assert {verdict.kind for verdict in diagnosis.verdicts} == {"no weights", "dense"}
    assert any(
        "in a file that stores them all" in verdict.findings[0].reason
        for verdict in diagnosis.verdicts
        if verdict.findings
    )


def test_weights_that_are_used_in_every_step_count_once():
    model = keras.Sequential([keras.Input((6, 4)), layers.LSTM(8, unroll=True), layers.Dense(4)])
    diagnosis = diagnose(sparsified(model), processor=AVX)
    assert len([op for op in diagnosis.operations if op.weights is not None]) > 6
    # By hand: (4 + 8) * 4 * 8 of the LSTM, 8 * 4 of the output.
    assert " of 416 weights" in diagnosis.summary[0]
    # What the default delegate leaves aside has no advice, so none is promised.
    (line,) = [line for line in diagnosis.summary if line.startswith("Delegates: ")] or [""]
    advice = [
        finding.advice
        for verdict in diagnosis.verdicts
        for finding in verdict.findings
        if verdict.kind == "blocks" and finding.advice
    ]
    assert ("what to change" in line) is bool(advice)


def test_rows_and_blocks_have_names_of_their_own():
    model = keras.Sequential([keras.Input((256,)), layers.Dense(256, name="hidden")])
    sparsified(model, 0.95)
    diagnosis = diagnose(model, processor=AVX)
    dense = tflite_bytes(make_deployable(model)[0])
    files = encoding.encode_weights(dense, precision="float32")
    rows, blocks = len(files["rows"]), len(files["1x4"])
    assert rows < blocks < len(dense)
    disk, speed, recommended = diagnosis.summary[1], diagnosis.summary[2], diagnosis.summary[-1]
    assert f"rows: {rows:,} bytes" in disk
    assert "dense layers densified (*_float32_sparse.tflite)" in disk
    assert f"1x4 blocks: {blocks:,} bytes" in disk
    assert "sparse kernels (*_float32_sparse_1x4.tflite)" in disk
    assert speed.startswith("Speed: 100 % of the multiplications")
    assert "in the file with 1x4 blocks" in speed
    assert "*_float32_sparse_1x4.tflite" in recommended
    # Whole blocks: rows are no smaller, and the one sparse file has no layout in its name.
    kernel = dense_net(blocked((64, 32), 0.75))
    recommended = diagnose(kernel, processor=AVX).summary[-1]
    assert recommended.startswith("Recommended for x86 with AVX, by rule: *_float32_sparse.tflite of")
    assert "rows" not in diagnose(kernel, processor=AVX).summary[1]


def test_what_is_recommended_here_is_what_an_export_chooses(tmp_path, monkeypatch):
    """`doctor` recommended blocks by rule where the race of an export found rows; its files had no metadata."""
    ends = ("dense", "sparse", "sparse_1x4", "slim", "slim_sparse", "slim_sparse_1x4")
    latencies = {f"model_float32_{end}.tflite": 9.0 - number for number, end in enumerate(ends)}
    monkeypatch.setattr(litert, "time_files", lambda files, sizes=None: [latencies[file.name] for file in files])
    model = sparsified(keras.Sequential([keras.Input((256,)), layers.Dense(256), layers.Dense(8)]), 0.95)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    kernel = model.layers[1].kernel
    kernel.assign(kernel * (np.arange(256) < 128)[:, None])  # half of the units are read by nobody
    diagnosis = diagnose(model, race=True)
    report = export(model, tmp_path, precision="float32")
    assert report.outputs[0]["kind"] == "logits"
    raced = "\n".join(line for line in diagnosis.summary if line.startswith("  *"))
    (recommended,) = [line for line in diagnosis.summary if line.startswith("Recommended here: ")]
    assert raced.count(" us") == len(report.candidates) >= 5
    for record in report.candidates:
        end = record["path"].removeprefix(f"{tmp_path}/model")
        assert record["bytes"] == len((tmp_path / f"model{end}").read_bytes())
        assert f"*{end} {record['bytes']:,} bytes, {record['latency_us_median']:.1f} us" in raced
        if "slim" not in end:
            assert f"{record['bytes']:,} bytes" in diagnosis.summary[1]  # on the disk
    assert recommended.startswith(f"Recommended here: *{report.best.removeprefix(f'{tmp_path}/model')} of")
    assert not any("by rule" in line for line in diagnosis.summary)


@pytest.mark.slow
def test_a_file_that_an_export_refuses_is_named(monkeypatch):
    keras.utils.set_random_seed(0)
    model = sparsified(keras.Sequential([keras.Input((64,)), layers.Dense(64)]), 0.9)
    monkeypatch.setattr(tflite, "TWIN_TOLERANCES", {"float32": -1.0})
    diagnosis = diagnose(model, race=True)
    refused = [line for line in diagnosis.summary if line.startswith("  refused: ")]
    assert "tflite float32 (sparse): it computes something else than the dense float32 file" in "\n".join(refused)
    assert "rows: " not in diagnosis.summary[1]
    assert any(line.startswith("Recommended here: *_float32_dense") for line in diagnosis.summary)


def test_a_race_is_of_this_machine():
    with pytest.raises(UsageError, match=r"files on this machine \(.*\), not on ARM"):
        diagnose(dense_net(blocked((64, 32), 0.75)), processor=ARM, race=True)


def test_files_that_do_not_run_here_are_not_raced(monkeypatch, caplog):
    def run_file(*arguments, **options):
        raise litert.LiteRTError("the LiteRT interpreter crashed with SIGSEGV")

    monkeypatch.setattr(litert, "run_file", run_file)
    diagnosis = diagnose(dense_net(blocked((64, 32), 0.75)), race=True)
    assert "could not be timed here: " in caplog.text
    assert "the LiteRT interpreter crashed with SIGSEGV" in caplog.text
    assert "by rule" in diagnosis.summary[-1]


def tflite_bytes(model):
    with tempfile.TemporaryDirectory() as folder:
        return tflite.convert_dense(model, Path(folder))


@pytest.mark.parametrize(
    ("error", "reason"),
    [(UnfitError("Nothing is left.", "Prune less."), "Nothing is left."), (RuntimeError("odd"), "RuntimeError: odd")],
)
def test_a_failure_to_slim_does_not_end_the_diagnosis(monkeypatch, error, reason):
    def slim(model):
        raise error

    monkeypatch.setattr("tf_lottery.exporting.slim.slim", slim)
    diagnosis = diagnose(dense_net(blocked((64, 32), 0.75)), processor=AVX)
    assert [line for line in diagnosis.summary if line.startswith("Slimming")] == [f"Slimming: not possible: {reason}"]
    assert "Recommended" in diagnosis.summary[-1]


def test_the_name_of_a_layer_inside_of_a_loop():
    assert _layer(["/lstm_1//dense"], {}) == "lstm_1"  # what DENSIFY restores of "/lstm_1/"


def test_the_delegate_is_asked(tmp_path):
    model, _ = make_deployable(dense_net(np.ones((8, 4), "float32")))
    file = tmp_path / "model.tflite"
    file.write_bytes(tflite.convert_dense(model, tmp_path))
    assert load_graph(file).delegated == {0}
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(NotLoadedError):
        load_graph(file)


def custom_operation():
    image = keras.Input((4, 4, 2))
    return keras.Model(image, layers.Lambda(lambda x: keras.ops.fft2((x, x))[0])(image))


def one_size():
    return keras.Sequential([keras.Input((None, 4)), layers.Reshape((20,)), layers.Dense(2)])


def subclassed():
    class Mine(keras.Model):
        def call(self, inputs):
            return inputs

    return Mine()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (custom_operation, r"'tf.\w+' op is neither a custom op nor a flex op"),
        (one_size, r"It was tried on inputs of 64x4: give others by `input_shape`"),
        (subclassed, "is not built"),
    ],
)
def test_models_that_can_not_be_diagnosed(make, match):
    with pytest.raises(UnfitError, match=match):
        diagnose(make())


def test_weights_that_are_not_numbers(tmp_path):
    model = dense_net(np.full((64, 32), np.nan, "float32"))
    with pytest.raises(NonFiniteError, match="hidden"):
        diagnose(model)
    file = tmp_path / "nan.tflite"
    file.write_bytes(tflite.convert_dense(model, tmp_path))
    with pytest.raises(NonFiniteError, match="2048 NaN or infinite of 2048"):
        diagnose(file)


@pytest.mark.slow
def test_files_that_are_none(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        diagnose(tmp_path / "no.tflite")
    with pytest.raises(UsageError, match="by its name"):
        diagnose(tmp_path / "no.txt")
    (tmp_path / "folder.tflite").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        diagnose(tmp_path / "folder.tflite")
    file = tmp_path / "model.tflite"
    file.write_bytes(b"not a flatbuffer")
    with pytest.raises(DamagedError, match="no TFLite file"):
        diagnose(file)
    whole = tflite.convert_dense(make_deployable(dense_net(np.ones((64, 32), "float32")))[0], tmp_path)
    for cut in (9, 200, len(whole) // 2):
        file.write_bytes(whole[:cut])
        with pytest.raises(DamagedError, match="damaged"):
            diagnose(file)
