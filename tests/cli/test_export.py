"""`tf-lottery export` of foreign models: the scale of data, precisions, what is reported, where the data go."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from tf_lottery_cli import failures

from tf_lottery import data


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Linear classifiers of raw digits (0 to 16) that scale them to [-1, 1] themselves, by least squares."""
    raw = data.load("digits", normalization="none").train
    features = np.column_stack([raw.x.reshape(len(raw.x), -1) / 8 - 1, np.ones(len(raw.x))])
    solved = np.linalg.lstsq(features, np.eye(10)[raw.y], rcond=None)[0].astype("float32")
    folder = tmp_path_factory.mktemp("models")
    for dtype in ("float32", "uint8"):
        image = keras.Input((8, 8, 1), dtype=dtype)
        output = layers.Dense(10)
        model = keras.Model(image, output(layers.Flatten()(layers.Rescaling(1 / 8, offset=-1.0)(image))))
        output.set_weights([solved[:-1], solved[-1]])
        model.save(folder / f"{dtype}.keras")
    return folder


def test_a_model_that_scales_its_own_input(models, here, invoke):
    """Files were chosen on images in [0, 1], which are all black to such a model, without a word."""
    arguments = ("export", models / "float32.keras", "--dataset", "digits", "--formats", "keras", "--encoding", "dense")
    result = invoke(*arguments, "--to", "wrong", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["keras"]["validation_accuracy"] < 0.15
    scaling, chance = result.stderr.splitlines()
    assert scaling.startswith("warning: the model begins with Rescaling")
    assert chance.startswith("warning: The Keras model itself is near chance")
    assert "--normalization none" in scaling
    assert "--normalization none" in chance

    result = invoke(*arguments, "--to", "right", "--normalization", "none")
    assert result.exit_code == 0, result.stderr
    assert "warning" not in result.stderr
    report = json.loads((here / "right/export.json").read_text())
    accuracy, validated = report["keras"]["accuracy"], report["keras"]["validation_accuracy"]
    assert accuracy > 0.85
    assert report["files"][0]["accuracy"] == accuracy
    accuracies = (
        f"Accuracy of the Keras model itself: {100 * accuracy:.2f} % ({100 * validated:.2f} % of the validation"
    )
    assert accuracies in result.stdout
    assert f"its own accuracy is {100 * accuracy:.2f} %." in result.stderr
    card = json.loads(next((here / "right").glob("*card.json")).read_text())
    assert card["source"]["data"] == {"dataset": "digits", "normalization": "none"}

    result = invoke("export", models / "uint8.keras", *arguments[2:], "--to", "whole", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["keras"]["accuracy"] == accuracy
    assert "raw values" in result.stderr
    assert "warning" not in result.stderr
    result = invoke("export", models / "uint8.keras", *arguments[2:], "--to", "bad", "--normalization", "unit")
    assert (result.exit_code, result.stdout, (here / "bad").exists()) == (2, "", False)
    assert "--normalization none" in result.stderr


def test_a_precision_asked_for_is_had_or_an_error(models, here, invoke):
    """A float32 SavedModel was the best file of `--precision int8` without data."""
    model = models / "float32.keras"
    result = invoke("export", model, "--precision", "int8")
    assert (result.exit_code, result.stdout, list(here.iterdir())) == (3, "", [])
    assert "int8 needs real samples" in result.stderr
    for formats in ("keras", "saved_model,keras"):
        result = invoke("export", model, "--precision", "int8", "--formats", formats)
        assert (result.exit_code, result.stdout, list(here.iterdir())) == (2, "", [])
        assert "Add tflite" in result.stderr
    result = invoke("export", model, "--precision", "int8", "--formats", "tflit")
    assert result.exit_code == 2
    assert "Did you mean 'tflite'" in result.stderr

    for name, options in {"best": (), "every": ("--formats", "all")}.items():
        result = invoke(
            *("export", model, "--precision", "float16,float32", "--encoding", "dense", "--to", name, "--json"),
            *options,
        )
        assert result.exit_code == 0, result.stderr
        document = json.loads(result.stdout)
        made = {(record["format"], record["precision"]) for record in document["candidates"]}
        assert made == {("tflite", "float16"), ("tflite", "float32")}
        assert len(document["files"]) == (2 if options else 1)
        assert document["best"].endswith(".tflite")


def test_few_samples_are_remarked_on(models, here, invoke):
    arguments = ("export", models / "float32.keras", "--dataset", "digits", "--normalization", "none")
    arguments += ("--formats", "keras", "--encoding", "dense")
    few = invoke(*arguments, "--to", "few", "--samples", "100")
    assert "Compared on 200 samples only" in few.stderr  # 100 of the test and 100 of the validation part
    enough = invoke(*arguments, "--to", "enough", "--samples", "128")
    assert enough.exit_code == 0
    assert "samples only" not in enough.stderr


def test_the_library_gets_each_part_under_its_own_name(models, here, invoke, monkeypatch):
    import tf_lottery.exporting

    arguments = {}

    def capture(model, path, **options):
        arguments.update(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(tf_lottery.exporting, "export", capture)
    result = invoke("export", models / "uint8.keras", "--dataset", "digits", "--samples", "30")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "Nothing half-written is left. Run the same command again to start over."
    whole = data.load("digits", normalization="none")
    np.testing.assert_array_equal(arguments["samples"], whole.test.x[:30])
    np.testing.assert_array_equal(arguments["labels"], whole.test.y[:30])
    np.testing.assert_array_equal(arguments["validation"][0], whole.validation.x[:30])
    np.testing.assert_array_equal(arguments["validation"][1], whole.validation.y[:30])
    np.testing.assert_array_equal(arguments["calibration"], whole.train.x[:500])


@pytest.mark.parametrize("error", [failures.Interrupted(), failures.Terminated()])
def test_only_commands_that_commit_promise_to_resume(error):
    for command in ("export", "bench", "doctor", "verify", ""):
        assert "to resume" not in failures.describe(error, command).lines[1]
    for command in ("run", "reproduce", "analyze"):
        assert failures.describe(error, command).lines[1].endswith("Run the same command again to resume.")


def test_the_task_is_taken_and_shown(models, here, invoke):
    arguments = ("export", models / "float32.keras", "--formats", "keras", "--encoding", "dense", "--to")
    result = invoke(*arguments, "unknown")
    assert result.exit_code == 0, result.stderr
    assert "Output output: unknown (known by neither" in result.stdout
    assert "What the output 'output' holds is not known: it is compared as numbers. --task says it" in result.stderr
    result = invoke(*arguments, "given", "--task", "output=classification")
    assert result.exit_code == 0, result.stderr
    assert "Output output: logits (known by the task given), judged by predictions that differ" in result.stdout
    assert "is not known" not in result.stderr
    contradiction = invoke(*arguments, "wrong", "--task", "image")
    assert contradiction.exit_code == 2
    assert "--task is 'image' for the output 'output', which needs the shape" in contradiction.stderr
    assert not (here / "wrong").exists()
    mixed = invoke(*arguments, "wrong", "--task", "image,output=logits")
    assert mixed.exit_code == 2
    assert "neither one task nor OUTPUT=TASK" in mixed.stderr
