"""`--samples FILE.npz`: a caller's own data in `export`, `bench` and `doctor`."""

import json

import keras
import numpy as np
import pytest
from keras import layers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of two inputs with two outputs, one of a single input, and data for both."""
    folder, rng = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    left, right = keras.Input((6,), name="left"), keras.Input((4,), name="right")
    both = layers.Dense(8, "relu")(layers.Concatenate()([left, right]))
    two = keras.Model([left, right], {"score": layers.Dense(3, "softmax")(both), "size": layers.Dense(1)(both)})
    two.save(folder / "two.keras")
    inputs = {"left": rng.standard_normal((300, 6), "f4"), "right": rng.standard_normal((300, 4), "f4")}
    sizes = two.predict(inputs, verbose=0)["size"]
    parts = {f"x/{name}": array for name, array in inputs.items()}
    parts |= {f"calibration/{name}": array[:50] for name, array in inputs.items()}
    np.savez(folder / "two.npz", **parts, **{"y/score": rng.integers(0, 3, 300), "y/size": sizes})

    one = keras.Sequential([keras.Input((16,)), layers.Dense(32, "relu"), layers.Dense(4)])
    one.layers[0].kernel.assign(np.where(rng.random((16, 32)) < 0.9, 0, one.layers[0].kernel.numpy()))
    one.save(folder / "one.keras")
    x = rng.standard_normal((300, 16), "f4")
    y = one.predict(x, verbose=0).argmax(-1)
    np.savez(folder / "one.npz", x=x, y=y, calibration=x[:50])
    np.savez(folder / "narrow.npz", x=x[:, :5], y=y)
    np.savez(folder / "short.npz", x=x, y=y[:-1])
    np.savez(folder / "classes.npz", x=x, y=y + 9)
    np.savez(folder / "words.npz", x=x.astype(str))
    np.savez(folder / "calibrated.npz", x=x, calibration=x[:, :3])
    return folder


def test_own_data_are_what_an_export_compares_on(folder, here, invoke):
    arguments = ("export", folder / "one.keras", "--samples", folder / "one.npz", "--best", "download", "--json")
    result = invoke(*arguments, "--encoding", "dense", "--precision", "float32,float16")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["samples"], document["sample_count"], document["goal"]) == ("given", 300, "download")
    assert document["keras"]["accuracy"] == 1.0  # the labels are the model's own answers
    assert [entry["known_by"] for entry in document["outputs"]] == ["the labels"]
    tflite = [record for record in document["candidates"] if record["format"] == "tflite"]
    assert {record["precision"] for record in tflite} == {"float32", "float16"}
    within = [record["gzip_bytes"] for record in tflite if record["validation_loss"] <= 0.005]
    assert document["files"][0]["gzip_bytes"] == min(within)
    card = json.loads(next((here / "saved_models").glob("*card.json")).read_text())
    assert card["source"]["data"] == {"samples": "one.npz"}


def test_several_inputs_and_outputs_by_name(folder, here, invoke):
    options = ("--samples", folder / "two.npz", "--formats", "keras", "--json")
    result = invoke("export", folder / "two.keras", *options)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert {entry["output"]: entry["kind"] for entry in document["outputs"]} == {
        "score": "probabilities",
        "size": "regression",
    }
    wrong = invoke("export", folder / "two.keras", "--samples", folder / "one.npz", "--to", "none")
    assert (wrong.exit_code, wrong.stdout, (here / "none").exists()) == (2, "", False)
    assert "left, right" in wrong.stderr


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("narrow", 3, "expected shape ('samples', 16), received (300, 5)"),
        ("short", 3, "x has 300 samples, y has 299 samples"),
        ("classes", 3, "Expected labels from 0 to 3; received 9 to 12"),
        ("words", 3, "the array 'x' has dtype <U"),
        ("calibrated", 3, "Calibration samples for input 'input': expected shape ('samples', 16), received (300, 3)"),
        ("gone", 2, "There is no file"),
    ],
)
def test_data_that_do_not_fit_write_nothing(name, code, words, folder, here, invoke):
    for command in ("export", "doctor"):
        result = invoke(command, folder / "one.keras", "--samples", folder / f"{name}.npz")
        assert (result.exit_code, result.stdout, list(here.iterdir())) == (code, "", []), command
        assert words in " ".join(result.stderr.split())


def test_a_number_is_still_a_number(folder, here, invoke):
    for value in ("0", "many", "data.npy"):
        result = invoke("export", folder / "one.keras", "--samples", value)
        assert result.exit_code == 2
        assert "a whole number from 1, or a .npz file" in result.stderr
    result = invoke("export", folder / "one.keras", "--samples", folder / "one.npz", "--dataset", "digits")
    assert result.exit_code == 2
    assert "--dataset" in result.stderr


@pytest.mark.slow
def test_doctor_races_every_precision_on_own_data(folder, here, invoke):
    result = invoke("doctor", folder / "one.keras", "--samples", folder / "one.npz", "--json")
    assert result.exit_code == 0, result.stderr
    *summary, best = json.loads(result.stdout)["summary"]
    raced = "\n".join(summary[summary.index(next(line for line in summary if line.startswith("Raced here"))) :])
    for precision in ("float32", "float16", "int8"):  # int8 was calibrated
        assert f"*_{precision}_slim.tflite" in raced
    assert best.startswith("Recommended here: *_")
    assert "within the accuracy budget (0.5 %)" in best


def test_doctor_refuses_data_without_a_keras_model(folder, here, invoke):
    for arguments in (("doctor", "--samples", folder / "one.npz"), ("doctor", "a.tflite", "--samples", "a.npz")):
        result = invoke(*arguments)
        assert result.exit_code == 2
        assert "--samples are" in result.stderr


@pytest.mark.slow
def test_bench_runs_files_on_own_data(folder, here, invoke):
    result = invoke("export", folder / "two.keras", "--formats", "tflite,keras", "--encoding", "dense")
    assert result.exit_code == 0, result.stderr
    result = invoke("bench", "saved_models", "--samples", folder / "two.npz", "--runs", "3", "--json")
    assert result.exit_code == 0, result.stderr
    assert len(json.loads(result.stdout)["files"]) == 2
    result = invoke("bench", here / "saved_models", "--samples", folder / "one.npz", "--runs", "3")
    assert result.exit_code == 3
    assert "its inputs are left, right; the samples are one array without a name" in " ".join(result.stderr.split())
