"""What goes wrong is named, has the right class, and leaves nothing behind."""

import json
import os
import resource
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

from tf_lottery.errors import CheckFailed, DamagedError, NonFiniteError, ResourceError, UnfitError, UsageError
from tf_lottery.exporting import check_file, pipeline
from tf_lottery.exporting import export as export_all
from tf_lottery.exporting.formats import keras_writer, saved_model
from tf_lottery.exporting.tflite import dense_conversion, litert
from toys import Subclassed

# The whole matrix of precisions and encodings is the business of test_matrix.py.
export = partial(export_all, precision="float32", encoding=["dense", "sparse"])
FORMATS = ["keras", "saved_model", "tflite"]


def small(width=64):
    return keras.Sequential([keras.Input((width,)), layers.Dense(8, activation="relu"), layers.Dense(3)])


def altered(model):
    twin = keras.models.clone_model(model)
    twin.set_weights([weight + 0.01 for weight in model.get_weights()])
    return twin


@pytest.fixture
def tampered(monkeypatch):
    """Every writer writes other weights than those of the model that it is given."""
    whole = saved_model.save
    monkeypatch.setattr(saved_model, "save", lambda model, folder, **options: whole(altered(model), folder, **options))
    save = keras.Model.save
    monkeypatch.setattr(keras.Model, "save", lambda model, file: save(altered(model), file))


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_with_other_weights_is_an_error(tmp_path, tampered, format):
    with pytest.raises(CheckFailed, match="does not compute"):
        export(small(), tmp_path, format=format)
    assert os.listdir(tmp_path) == []


def test_one_wrong_format_of_several_leaves_none(tmp_path, monkeypatch):
    whole = dense_conversion.convert

    def convert(source, **options):
        content = bytearray(whole(source, **options))
        kernel = np.float32(0.123456).tobytes()
        position = content.find(kernel)
        content[position : position + 4] = np.float32(0.2).tobytes()
        return bytes(content)

    monkeypatch.setattr(dense_conversion, "convert", convert)
    model = small()
    weights = model.get_weights()
    weights[0][0, 0] = 0.123456
    weights[0] = np.abs(weights[0])
    weights[2] = np.abs(weights[2])
    model.set_weights(weights)
    with pytest.raises(CheckFailed, match="tflite"):
        export(model, tmp_path / "new", format=FORMATS, samples=np.random.default_rng(0).random((9, 64)))
    assert os.listdir(tmp_path) == []


def test_all_reports_what_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Activation(keras.ops.erfinv), layers.Dense(3)])
    samples = np.linspace(-0.9, 0.9, 8).reshape(2, 4)
    report = export(model, tmp_path, format="all", samples=samples)
    refused = [record["reason"] for record in report.refused if record["format"] == "tflite"]
    assert len(refused) == 2
    assert all("Erfinv" in reason and "\n" not in reason for reason in refused)
    assert {record["format"] for record in report.files} >= {"saved_model"}
    with pytest.raises(UnfitError, match="Erfinv"):
        export(model, tmp_path / "other", format="tflite", samples=samples)
    assert not (tmp_path / "other").exists()


def test_a_crash_of_the_interpreter_is_a_refusal(tmp_path, monkeypatch):
    program = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    monkeypatch.setattr(litert, "_RUN_FILE", program)
    with pytest.raises(UnfitError, match="crashed with SIGSEGV"):
        export(small(), tmp_path / "x")
    assert os.listdir(tmp_path) == []


def test_a_converter_that_crashed_is_not_started_for_the_slimmed_model(tmp_path, monkeypatch):
    starts = tmp_path / "starts"
    program = "import os, signal; open(os.environ['STARTS'], 'a').write('x'); os.kill(os.getpid(), signal.SIGSEGV)"
    monkeypatch.setenv("STARTS", str(starts))
    monkeypatch.setattr(dense_conversion, "_CONVERTER", program)
    model = small()
    model.layers[1].kernel.assign(np.diag([0, 0, 1, 1, 1, 1, 1, 1])[:, 2:5])  # five units are read by nobody
    samples = np.random.default_rng(0).random((9, 64)).astype("float32")
    precisions = ["float32", "int8", "int16x8"]
    report = export_all(
        model, tmp_path / "x", precision=precisions, encoding="all", samples=samples, calibration=samples
    )
    assert starts.read_text() == "x"
    reason = "the int8 converter crashed with SIGSEGV"
    whole, slim = [reason] * 2, [f"{reason} on the whole model"] * 2
    for precision in ("int8", "int16x8"):  # int16x8 would crash on the same calibration
        assert [record["reason"] for record in report.refused if record["precision"] == precision] == whole + slim
    assert any(record["encoding"] == "slim" for record in report.files)


def test_a_damaged_file_and_a_hanging_process_have_reasons(tmp_path, monkeypatch):
    (tmp_path / "bad.tflite").write_bytes(b"no model" * 10)
    samples = {"input": np.zeros((1, 3), "float32")}
    with pytest.raises(litert.LiteRTError, match="the LiteRT interpreter failed: "):
        litert.run_file(tmp_path / "bad.tflite", samples, scratch=tmp_path)
    monkeypatch.setattr(litert, "_RUN_FILE", "import time; time.sleep(60)")
    with pytest.raises(litert.LiteRTError, match="did not finish within"):
        litert.run_file(tmp_path / "bad.tflite", samples, scratch=tmp_path, timeout=0.5)


def test_the_runner_is_a_program(tmp_path):
    export(small(), tmp_path)
    np.savez(tmp_path / "s.npz", input=np.ones((3, 64), "float32"))
    command = [sys.executable, "-m", "tf_lottery.exporting.tflite.run_tflite"]
    files = [str(tmp_path / name) for name in ("model_float32_dense.tflite", "s.npz", "o.npz")]
    subprocess.run([*command, *files], check=True, capture_output=True)
    with np.load(tmp_path / "o.npz") as archive:
        assert archive["output/output"].shape == (3, 3)
        assert archive["latency_us_median"] > 0
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2


def test_an_existing_file_is_kept_unless_forced(tmp_path):
    first, second = small(), small()
    export(first, tmp_path, format=FORMATS)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for format in FORMATS:
        with pytest.raises(UsageError, match="exists already") as caught:
            export(second, tmp_path, format=format)
        assert "force" in caught.value.remedy
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    report = export(second, tmp_path, format=FORMATS, force=True)
    for record in report.files:
        check_file(record["path"])
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.get_weights()[0], second.get_weights()[0])


def test_a_second_format_goes_into_the_same_folder(tmp_path):
    first = export(small(), tmp_path, format="tflite", only_best=True)
    second = export(small(), tmp_path, format="keras")
    for report in (first, second):
        check_file(report.best)
        card = Path(f"{report.best}.card.json")
        check_file(card)
        assert json.loads(card.read_text())["file"]["sha256"] == report.files[0]["sha256"]


def test_what_forced_exports_leave_is_noted(tmp_path, monkeypatch):
    # Which file is the best is set by hand: it depends on latencies.
    for best, encoding in ((0, "dense"), (0, ["dense", "sparse"]), (1, ["dense", "sparse"])):
        monkeypatch.setattr(pipeline, "choose_best", lambda *arguments, best=best, **options: best)
        model = small(200)
        model.layers[0].kernel.assign(np.random.default_rng(0).random((200, 8)) < 0.3)  # too many blocks hold a value
        report = export(model, tmp_path, encoding=encoding, force=True)
    names = ["model_float32_dense.tflite", "model_float32_sparse.tflite"]
    cards = [f"{names[1]}.card.json", f"{names[1]}.card.md"]
    assert sorted(os.listdir(tmp_path)) == ["export.json", "manifest.json", *sorted([*names, *cards])]
    listed = json.loads((tmp_path / "manifest.json").read_text())["files"]
    assert sorted(listed) == ["export.json", *sorted([*names, *cards])]
    assert not any("earlier export" in note for note in report.notes)
    report = export(model, tmp_path, encoding="all", only_best=True, force=True)
    (note,) = [note for note in report.notes if "earlier export" in note]
    assert note.endswith(f"still holds: {names[0]}.")
    for name in names:
        check_file(tmp_path / name)


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_appears_during_the_export_is_kept(tmp_path, monkeypatch, format):
    whole = pipeline.publish
    name = {"keras": "model.keras", "saved_model": "model_saved_model", "tflite": "model_float32_dense.tflite"}[format]

    def publish(*arguments, **options):
        (tmp_path / name).write_text("somebody else's")
        return whole(*arguments, **options)

    monkeypatch.setattr(pipeline, "publish", publish)
    with pytest.raises(UsageError, match="appeared"):
        export(small(), tmp_path, format=format)
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "somebody else's"
    export(small(), tmp_path, format=format, force=True)
    check_file(tmp_path / name)


def test_a_folder_of_any_name_is_fine(tmp_path):
    # TensorFlow takes a path for a pattern when it loads: an export to "app [1]" failed as if the disk were full.
    report = export(small(), tmp_path / "app [1]", format="all", samples=np.ones((4, 64), "float32"))
    assert {record["format"] for record in report.files} == {"keras", "saved_model", "tflite"}


def test_a_failed_forced_export_keeps_the_old_files(tmp_path, tampered):
    (tmp_path / "model.keras").write_text("old")
    with pytest.raises(CheckFailed):
        export(small(), tmp_path, format="keras", force=True)
    assert (tmp_path / "model.keras").read_text() == "old"
    assert os.listdir(tmp_path) == ["model.keras"]


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_leaves_nothing(tmp_path, format):
    model = small(4096)
    export(model, tmp_path / "warm", format=format)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        with pytest.raises(ResourceError, match="can't be written"):
            export(model, tmp_path / "full", format=format)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == ["warm"]


def test_a_kill_in_the_middle_leaves_no_final_file(tmp_path, start_process, wait_until):
    code = (
        "import sys, time, keras\n"
        "from tf_lottery.exporting import export\n"
        "from tf_lottery.exporting.tflite import litert\n"
        "def stop(*args, **kwargs):\n"
        "    open(sys.argv[1] + '.mark', 'w').close()\n"
        "    time.sleep(3600)\n"
        "litert.run_file = stop\n"
        "model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])\n"
        "export(model, sys.argv[1], format='all')\n"
    )
    target, mark = tmp_path / "out", tmp_path / "out.mark"
    process = start_process([sys.executable, "-c", code, str(target)])
    wait_until(mark.exists, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [name for name in os.listdir(target) if not name.startswith(".tf_lottery_staging-")] == []
    export(keras.Sequential([keras.Input((8,)), layers.Dense(3)]), target, format="keras")
    assert sorted(os.listdir(target)) == [
        *("export.json", "manifest.json", "model.keras", "model.keras.card.json", "model.keras.card.md")
    ]


def test_nan_weights_name_the_variable(tmp_path):
    model = small()
    model.layers[1].bias.assign([0.0, np.nan, 1.0])
    with pytest.raises(NonFiniteError, match=r"bias.*1 NaN or infinite of 3"):
        export(model, tmp_path)
    assert os.listdir(tmp_path) == []


class Unsavable(layers.Layer):
    """A layer of a user who never thought of saving."""

    def __init__(self, settings):
        super().__init__()
        self.settings = settings

    def call(self, inputs):
        return inputs * self.settings.factor


class Stubborn(Unsavable):
    def get_config(self):
        raise RuntimeError("not me")


@pytest.mark.parametrize(("layer", "reason"), [(Unsavable, "get_config"), (Stubborn, "not me")])
def test_a_layer_that_cannot_be_saved_is_refused_for_keras_only(tmp_path, layer, reason):
    model = keras.Sequential([keras.Input((8,)), layers.Dense(3), layer(SimpleNamespace(factor=2.0))])
    # Slimming asks the layers for their configurations too.
    report = export(model, tmp_path, format="all", encoding="dense")
    assert {record["format"] for record in report.files} == {"saved_model", "tflite"}
    (refused,) = [record for record in report.refused if record["format"] == "keras"]
    assert refused["reason"].startswith("Keras cannot save the model: ")
    assert reason in refused["reason"]
    with pytest.raises(UnfitError, match="cannot save"):
        export(model, tmp_path / "keras", format="keras", encoding="dense")


def test_the_reason_of_a_failing_layer_is_told(tmp_path):
    model = keras.Sequential(
        [keras.Input((3,), dtype="int32"), layers.Embedding(5, 4), layers.Flatten(), layers.Dense(2)]
    )
    with pytest.raises(UnfitError, match=r"= 7 is not in \[0, 5\)"):
        export(keras.Sequential([keras.Input((3,), dtype="int32"), model]), tmp_path, samples=np.full((2, 3), 7))


def test_models_that_do_not_fit(tmp_path):
    with pytest.raises(UsageError, match=r"Expected a keras.Model.*builtins.str"):
        export("model.keras", tmp_path)
    with pytest.raises(UnfitError, match="not built"):
        export(keras.Sequential([layers.Dense(2)]), tmp_path)
    with pytest.raises(UnfitError, match="not built"):
        export(Subclassed(), tmp_path)


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        (np.ones((3, 8)), UnfitError, r"expected shape \('samples', 64\), received \(3, 8\)"),
        (np.ones((0, 64)), UnfitError, "at least one sample"),
        (np.array([["a"] * 64]), UnfitError, "dtype"),
        (np.full((2, 64), np.nan), NonFiniteError, "NaN"),
        ({"other": np.ones((2, 64))}, UsageError, "Expected: input"),
    ],
)
def test_samples_that_do_not_fit(tmp_path, samples, error, message):
    with pytest.raises(error, match=message):
        export(small(), tmp_path, samples=samples)


def test_samples_on_which_the_model_does_not_run(tmp_path):
    model = keras.Sequential(
        [keras.Input((3,), dtype="int32"), layers.Embedding(5, 4), layers.Flatten(), layers.Dense(2)]
    )
    with pytest.raises(UnfitError, match="does not run on the samples"):
        export(model, tmp_path, samples=np.full((2, 3), 7))


def test_labels_that_do_not_fit(tmp_path):
    samples = np.ones((4, 64))
    for labels, error in [([0, 1], UnfitError), ([0, 1, 2, 3], UnfitError), ({"y": [0, 0, 0, 0]}, UsageError)]:
        with pytest.raises(error):
            export(small(), tmp_path, samples=samples, labels=labels)
    assert os.listdir(tmp_path) == []


def test_several_inputs_want_their_structure(tmp_path):
    left, right = keras.Input((2,), name="left"), keras.Input((3,), name="right")
    model = keras.Model([left, right], layers.Dense(2)(layers.Concatenate()([left, right])))
    with pytest.raises(UsageError, match="2 inputs"):
        export(model, tmp_path, samples=np.ones((2, 2)))
    with pytest.raises(UnfitError, match="different numbers"):
        export(model, tmp_path, samples=[np.ones((2, 2)), np.ones((3, 3))])


def test_formats_and_paths(tmp_path):
    with pytest.raises(UsageError, match="Did you mean 'tflite'"):
        export(small(), tmp_path, format="tflight")
    with pytest.raises(UsageError, match="empty"):
        export(small(), tmp_path, format=[])
    with pytest.raises(UsageError, match="is for the format keras"):
        export(small(), tmp_path / "x.keras", format="tflite")
    with pytest.raises(UsageError, match="`name`"):
        export(small(), tmp_path, name="../x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        export(small(), tmp_path / "file")
    with pytest.raises(ResourceError):
        export(small(), tmp_path / "file" / "sub")


def test_a_damaged_manifest_is_found_before_the_work(tmp_path):
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DamagedError, match="manifest"):
        export(small(), tmp_path, format="keras")
    assert os.listdir(tmp_path) == ["manifest.json"]


@pytest.mark.parametrize("content", ["{}", "[]", "mine", '{"schema": "other"}'])
def test_somebody_else_s_export_json_is_not_replaced(tmp_path, content):
    (tmp_path / "export.json").write_text(content)
    with pytest.raises(UsageError, match="not the report of an export"):
        export(small(), tmp_path, format="keras")
    assert (tmp_path / "export.json").read_text() == content
    assert os.listdir(tmp_path) == ["export.json"]


def test_an_export_json_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "export.json")
    with pytest.raises(UsageError, match="not the report of an export"):
        export(small(), tmp_path, format="keras")


def test_a_keras_file_that_needs_this_library_is_refused(tmp_path):
    from tf_lottery.layers import wrap

    file = Path(tmp_path) / "wrapped.keras"
    wrap(small()).save(file)
    assert keras_writer._needs_this_library(file) == "Masked"


@pytest.mark.slow
def test_stdout_stays_clean(tmp_path):
    code = (
        "import json, sys, keras; from tf_lottery.exporting import export\n"
        "model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])\n"
        "print(json.dumps(export(model, sys.argv[1], format='all').to_json()))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1
