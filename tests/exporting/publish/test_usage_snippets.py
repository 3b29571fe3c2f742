"""The model card: inputs and outputs, and code that loads and calls the very file."""

import json
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from tf_lottery.exporting import export
from tf_lottery.exporting.publish.usage_snippets import usage_snippets
from tf_lottery.exporting.signature import signature_of

INPUTS = [{"input": 'a"$b\\', "shape": [4, 2], "dtype": "float32"}, {"input": "in", "shape": [], "dtype": "int32"}]
OUTPUTS = [{"output": "class", "shape": [3], "dtype": "float32"}, {"output": "o", "shape": [2], "dtype": "int64"}]


def make_model():
    """Two inputs, one of whole numbers; two outputs in a list, one of them from a layer with a name of the user's."""
    keras.utils.set_random_seed(0)
    image, place = keras.Input((4, 4, 1), name="image"), keras.Input((1,), dtype="int32", name="place")
    near = layers.Embedding(5, 3, embeddings_initializer=keras.initializers.RandomNormal(seed=1))(place)
    both = layers.Concatenate()([layers.Flatten()(image), layers.Flatten()(near)])
    outputs = [layers.Dense(3, "softmax", bias_initializer="uniform", name="scores")(both), layers.Dense(2)(both)]
    return keras.Model([image, place], outputs)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A dense float32 file of each format, with its card; the model; and what it answers for zeros."""
    folder, rng, model = tmp_path_factory.mktemp("exported"), np.random.default_rng(0), make_model()
    samples = {"image": rng.random((300, 4, 4, 1), "f4"), "place": rng.integers(0, 5, (300, 1)).astype("int32")}
    for name in ("tflite", "saved_model", "keras"):
        export(
            *(model, folder / f"{name}_files"),
            samples=samples,
            format=name,
            precision="float32",
            encoding="dense",
            source={"data": {"scaling": "x / 16"}},
        )
    answers = model([np.zeros((1, 4, 4, 1), "f4"), np.zeros((1, 1), "i4")])
    return folder, [np.asarray(answer) for answer in answers]


def card_of(folder):
    return json.loads(next(folder.glob("*.card.json")).read_text())


def test_tflite_python_runs_as_written(exported):
    folder, (scores, numbers) = exported
    card = card_of(folder / "tflite_files")
    assert [entry["output"] for entry in card["outputs"]] == ["scores", "output_1"]
    # LiteRT and TensorFlow can clash in one process.
    show = "import json\nprint(json.dumps({name: array.tolist() for name, array in outputs.items()}))"
    done = subprocess.run(
        [sys.executable, "-c", f"{card['use']['python']}\n{show}"],
        cwd=folder / "tflite_files",
        capture_output=True,
        text=True,
        check=True,
    )
    outputs = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(outputs["scores"], scores, rtol=0, atol=1e-6)
    np.testing.assert_allclose(outputs["output_1"], numbers, rtol=0, atol=1e-6)


def test_python_of_the_other_formats_runs_as_written(exported, monkeypatch):
    folder, (scores, numbers) = exported
    for name, keys in {"saved_model": ("scores", "output_1"), "keras": (0, 1)}.items():
        monkeypatch.chdir(folder / f"{name}_files")
        code = card_of(folder / f"{name}_files")["use"]
        assert list(code) == ["python"]
        namespace = {}
        exec(code["python"], namespace)
        for key, expected in zip(keys, (scores, numbers), strict=True):
            np.testing.assert_allclose(np.asarray(namespace["outputs"][key]), expected, rtol=0, atol=1e-6)


def test_the_card_says_what_goes_in_and_comes_out(exported):
    folder = exported[0] / "tflite_files"
    inputs = card_of(folder)["inputs"]
    low, high = inputs[0].pop("range")
    assert 0 <= low < 0.01 < 0.99 < high < 1
    assert inputs == [
        {"input": "image", "shape": [4, 4, 1], "dtype": "float32", "sample_shape": [4, 4, 1]},
        {"input": "place", "shape": [1], "dtype": "int32", "sample_shape": [1], "range": [0, 4]},
    ]
    text = next(folder.glob("*.card.md")).read_text()
    assert "| image | 1 x 4 x 4 x 1 | float32 |" in text
    assert "| place | 1 x 1 | int32 | 0 to 4 |" in text
    assert "| scores | 1 x 3 | float32 | probabilities: a probability for each class along the last axis |" in text
    assert "Raw values `x` are scaled by `x / 16`" in text
    (python, kotlin, swift) = re.findall(r"```(?:python|kotlin|swift)\n(.*?)```", text, re.DOTALL)
    assert [python, kotlin, swift] == list(card_of(folder)["use"].values())
    for code in (python, kotlin, swift):
        assert "model_float32_dense.tflite" in code
        assert all(f'"{name}"' in code for name in ("image", "place"))


@pytest.mark.parametrize("language", ["kotlin", "swift"])
def test_kotlin_and_swift_have_no_syntax_errors(language):
    """Their grammars are those of editors; no compiler is needed."""
    tree_sitter = pytest.importorskip(
        "tree_sitter", reason="tree-sitter is not installed: pip install tf-lottery[test]"
    )
    grammar = pytest.importorskip(f"tree_sitter_{language}", reason=f"tree-sitter-{language} is not installed")
    parser = tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    for inputs in (INPUTS, [{**entry, "free": True} for entry in INPUTS]):
        code = usage_snippets("tflite", 'a "model"$.tflite', inputs, OUTPUTS)[language]
        assert not parser.parse(code.encode()).root_node.has_error
    assert parser.parse(code.replace("(", "", 1).encode()).root_node.has_error


def test_buffers_hold_one_sample_in_bytes():
    code = usage_snippets("tflite", "m.tflite", INPUTS, OUTPUTS)
    assert [int(size) for size in re.findall(r"to buffer\((\d+)\)", code["kotlin"])] == [32, 4, 12, 16]
    assert [int(size) for size in re.findall(r"Data\(count: (\d+)\)", code["swift"])] == [32, 4]


def test_free_dimensions_are_set_before_the_call():
    inputs = [INPUTS[0], {"input": "free", "shape": [16, 3], "dtype": "float32", "free": True}]
    code = usage_snippets("tflite", "m.tflite", inputs, OUTPUTS, batch=2)
    assert re.findall(r"resize\(it, (.*)\)", code["kotlin"]) == ['"free", 2, 16, 3']
    assert re.findall(r"resizeInput\((.*)\)", code["swift"]) == ['named: "free", toShape: Tensor.Shape([2, 16, 3])']
    assert "resize" not in "".join(usage_snippets("tflite", "m.tflite", INPUTS, OUTPUTS).values())


def test_outputs_have_the_names_that_the_user_gave():
    image = keras.Input((4,))
    for layer, name in ((layers.Dense(2), "output"), (layers.Dense(2, name="boxes_1"), "boxes_1")):
        assert signature_of(keras.Model(image, layer(image))).outputs == (name,)
    for layer in (layers.LayerNormalization(), layers.Activation("relu"), layers.PReLU()):
        assert signature_of(keras.Model(image, layer(image))).outputs == ("output",)
    doubled = layers.Dense(2, name="twice")
    assert signature_of(keras.Model(image, [doubled(image), doubled(image * 2)])).outputs == ("twice", "twice__2")


@pytest.mark.slow
def test_the_code_of_an_int8_file_of_a_batch_runs_as_written(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8,), name="given"), layers.Dense(4, name="scores")])
    samples = np.random.default_rng(0).normal(size=(64, 8)).astype("f4")
    export(
        model, tmp_path, precision="int8", encoding="dense", samples=samples, calibration=samples, io="int8", batch=3
    )
    use = card_of(tmp_path)["use"]
    show = "\nprint({name: (one.dtype.name, one.shape) for name, one in [*inputs.items(), *outputs.items()]})"
    done = subprocess.run(
        [sys.executable, "-c", use["python"] + show], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "{'given': ('int8', (3, 8)), 'scores': ('int8', (3, 4))}\n"
    assert '"scores" to buffer(12),' in use["kotlin"]
    assert "Data(count: 24)" in use["swift"]
