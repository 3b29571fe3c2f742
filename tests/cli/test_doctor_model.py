"""`tf-lottery doctor MODEL`: runs, tickets, Keras and TFLite files; what it prints, and exit codes."""

import json
import zipfile

import keras
import numpy as np
import pytest
from keras import layers

from tf_lottery.errors import UnfitError
from tf_lottery.models.mobile import mobilenet

# In the processes that these tests start, TensorFlow takes 6 s to load: several assertions each.


@pytest.fixture(scope="module")
def mobile(tmp_path_factory):
    """A mobile network with four of five weights of its 1x1 convolutions gone, as a file."""
    rng = np.random.default_rng(0)
    model = mobilenet((32, 32, 3), 10, width=0.25)
    for layer in model.layers:
        if layer.name.endswith("pointwise"):
            layer.kernel.assign(np.where(rng.random(layer.kernel.shape) < 0.8, 0, layer.kernel.numpy()))
    file = tmp_path_factory.mktemp("doctor") / "mobile.keras"
    model.save(file)
    return file


@pytest.mark.slow
def test_a_foreign_model_as_a_table_and_as_json(shell, invoke, mobile, tmp_path):
    done = shell("doctor", str(mobile), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["#", "Operation", "Name", "Weights", "Zeros", "1x4", "1x16", "Verdict"]
    rows = [line for line in lines if "_pointwise" in line and "CONV_2D" in line]
    assert len(rows) == 6
    assert all(row.endswith("sparse on ARM") for row in rows)
    assert any(line.startswith("3, 6, 8, 11, 13, 15: sparse on ARM: 80 % zeros") for line in lines)
    assert any(line.startswith("Speed: ") for line in lines)

    done = invoke("doctor", str(mobile), "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert (document["schema"], document["model"]) == ("tf-lottery.doctor/1", "mobile")
    assert [op["index"] for op in document["ops"]] == list(range(18))
    verdicts = {op["name"]: op["verdict"] for op in document["ops"]}
    assert verdicts["block_6_pointwise"] == "sparse on ARM"
    assert verdicts["output"] == "dense"
    timed = ("  *_float32_", "Recommended here")  # another time, another file may be the faster one
    assert [line for line in document["summary"] if not line.startswith(timed) and line not in lines] == []
    assert any(line.startswith("Recommended here: *_float32_") for line in document["summary"])
    assert any(line.startswith("Recommended for ARM, by rule: *_float32_sparse.tflite") for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_a_run_and_its_ticket(copied, invoke, tmp_path):
    result = invoke("doctor", "digits-mlp", "--round", "2", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    dense = [op for op in document["ops"] if op["op"] == "FULLY_CONNECTED"]
    # By hand: 6,795 of 11,900 weights are left after two rounds; the output layer's rate is half of the others'.
    assert sum(op["zeros"] * np.prod(op["weights_shape"]) for op in dense) == pytest.approx(11_900 - 6_795, abs=0.1)
    assert {op["verdict"] for op in dense} <= {"densified", "dense"}
    assert any("--granularity 1x4" in text for op in dense for text in op["advice"])

    from tf_lottery.results.result import open_run

    file = tmp_path / "ticket.npz"
    open_run(copied).ticket(2).save(file)
    again = invoke("doctor", str(file), "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["ops"] == document["ops"]


def test_bad_input(invoke, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keras.Sequential([keras.Input((None, 4)), layers.Reshape((20,)), layers.Dense(2)]).save("dynamic.keras")
    broken = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    broken.layers[0].kernel.assign(np.full((4, 2), np.nan))
    broken.save("nan.keras")
    keras.Sequential([keras.Input((4,)), layers.Dense(2), layers.Lambda(lambda x: x)]).save("lambda.keras")
    with zipfile.ZipFile("cut.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    (tmp_path / "text.tflite").write_text("not a model")
    (tmp_path / "old.h5").write_text("any")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_text("any")
    for source, code, words in [
        ("missing.keras", 2, "does not exist"),
        ("missing.tflite", 2, "does not exist"),
        ("missing", 2, "no run"),
        ("dynamic.keras", 3, "can't be converted"),
        ("nan.keras", 3, "NaN"),
        ("lambda.keras", 3, "Lambda"),
        ("cut.keras", 5, "damaged"),
        ("text.tflite", 5, "no TFLite file"),
        ("old.h5", 3, "of another kind"),
        ("gone.h5", 2, "There is no file gone.h5"),
        ("saved", 3, "is a SavedModel"),
    ]:
        result = invoke("doctor", source, "--json")
        assert (result.exit_code, result.stdout) == (code, ""), source
        cause, remedy = result.stderr.splitlines()
        assert words in cause, source
        assert remedy, source
        assert ".keras or .tflite" in remedy or source not in ("old.h5", "gone.h5", "saved")


@pytest.mark.parametrize(
    "arguments",
    [["--round", "1"], ["some.tflite", "--round", "1"], ["some.keras", "--replicate", "0"], ["m", "--data-dir", "."]],
)
def test_options_that_do_not_go_together(arguments, invoke):
    result = invoke("doctor", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_what_an_export_would_refuse_is_said_in_the_words_of_the_command_line(invoke, tmp_path, monkeypatch):
    """It was a raw line of logging: WARNING:tf_lottery.exporting..."""
    keras.Sequential([keras.Input((None, 4)), layers.Dense(2)]).save(tmp_path / "free.keras")

    def refuse(*arguments, **options):
        raise UnfitError("The shapes are not fixed.", "Fix them by `input_shape=`.")

    monkeypatch.setattr("tf_lottery.exporting.diagnose.subjects.race_export", refuse)
    result = invoke("doctor", tmp_path / "free.keras", "--input-shape", "8,4", "--json")
    assert (result.exit_code, json.loads(result.stdout)["input_shapes"]) == (0, {"input": [8, 4]})
    (line,) = result.stderr.splitlines()
    assert line.startswith("warning: The files could not be timed here: ")
    assert line.endswith("--input-shape.")
    for shape in ("8", "8,5", "a,b"):
        result = invoke("doctor", tmp_path / "free.keras", "--input-shape", shape)
        assert (result.exit_code, result.stdout) == (2, ""), shape


@pytest.mark.slow
def test_bytes_of_a_run_are_those_that_its_export_publishes(copied, invoke, tmp_path):
    """The race had no metadata: names of classes, ranges and the scaling of the run's data were not counted."""
    result = invoke("doctor", "digits-mlp", "--round", "2", "--json")
    assert result.exit_code == 0, result.output
    raced = [line for line in json.loads(result.stdout)["summary"] if line.startswith("  *_float32")]
    arguments = ("--round", "2", "--precision", "float32", "--formats", "tflite", "--to", tmp_path / "app", "--json")
    result = invoke("export", "digits-mlp", *arguments)
    assert result.exit_code == 0, result.output
    files = json.loads(result.stdout)["files"]
    assert len(files) == len(raced) >= 2
    for record in files:
        end = record["path"].partition("_round_02")[2]
        assert any(line.startswith(f"  *{end} {record['bytes']:,} bytes, ") for line in raced)
