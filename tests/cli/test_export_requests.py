"""What `tf-lottery export` is asked for: targets, whole numbers, sizes, tasks, names of classes; what is refused."""

import importlib.util
import json
import zipfile

import keras
import numpy as np
import pytest
from keras import layers

NAMES = ["zero", "one", "two", "three"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier, one with two outputs, one of pixels, one whose sizes are open; their samples; names of classes."""
    folder, rng = tmp_path_factory.mktemp("models"), np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 3), name="photo")
    hidden = layers.Dense(32, "relu")(layers.Flatten()(image))
    kinds = keras.Model(image, layers.Dense(4, name="kind")(hidden))
    kinds.save(folder / "kinds.keras")
    place = layers.Dense(2, name="place")(hidden)
    keras.Model(image, [kinds.output, place]).save(folder / "two.keras")
    pixels = keras.Input((6, 6, 3), dtype="uint8", name="photo")
    keras.Model(pixels, layers.Dense(4)(layers.Flatten()(layers.Rescaling(1 / 255)(pixels)))).save(
        folder / "pixels.keras"
    )
    sized = keras.Input((None, None, 3), name="photo")
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, padding="same", activation="relu")(sized))
    keras.Model(sized, layers.Dense(4)(pooled)).save(folder / "open.keras")
    x = rng.random((280, 6, 6, 3), "f4")
    np.savez(folder / "x.npz", x=x, y=kinds.predict(x, verbose=0).argmax(-1), calibration=x[:60])
    np.savez(folder / "unlabeled.npz", x=x, calibration=x[:60])
    np.savez(folder / "narrow.npz", x=x[:, :5])
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n\n")
    (folder / "places.txt").write_text("left\nright\n")
    (folder / "few.txt").write_text("zero\none\n")
    (folder / "gap.txt").write_text("zero\n\ntwo\nthree\n")
    (folder / "bytes.txt").write_bytes(b"\xff\xfe\xfa\n" * 4)
    return folder


def export(invoke, folder, model, *options, samples="x"):
    return invoke("export", folder / f"{model}.keras", "--samples", folder / f"{samples}.npz", "--to", "app", *options)


def labels_in(path):
    if not zipfile.is_zipfile(path):
        return {}
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode().splitlines() for name in archive.namelist()}


def test_a_file_for_a_microcontroller(folder, here, invoke):
    names = ("--class-names", folder / "names.txt")
    result = export(invoke, folder, "kinds", "--target", "micro", "--encoding", "dense", *names)
    assert result.exit_code == 0, result.stderr
    files = {path.suffix for path in (here / "app").iterdir()}
    assert files == {".tflite", ".cc", ".h", ".json", ".md"}
    (file,) = (here / "app").glob("*.tflite")
    assert labels_in(file) == {}
    assert "The files carry no metadata and no names of classes" in result.stderr
    assert "Tensor arena of the dense file: about" in result.stdout


@pytest.mark.slow
def test_whole_numbers_a_batch_and_names(folder, here, invoke):
    options = ("--io", "int8", "--batch", "3", "--encoding", "dense", "--class-names", folder / "names.txt", "--json")
    result = export(invoke, folder, "kinds", *options)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    (record,) = document["files"]
    assert (record["io"], record["precision"], set(record["quantization"])) == ("int8", "int8", {"inputs", "outputs"})
    assert labels_in(here / record["path"]) == {"labels.txt": NAMES}
    assert "TFLite files hold the names of 4 classes in labels.txt." in document["notes"]


def test_names_of_several_outputs(folder, here, invoke):
    options = ("--precision", "float32", "--encoding", "dense", "--task", "classification", "--json")
    files = ("--class-names", f"kind={folder / 'names.txt'}", "--class-names", f"place={folder / 'places.txt'}")
    result = export(invoke, folder, "two", *options, *files, samples="unlabeled")
    assert result.exit_code == 0, result.stderr
    (record,) = json.loads(result.stdout)["files"]
    assert labels_in(here / record["path"]) == {"labels_kind.txt": NAMES, "labels_place.txt": ["left", "right"]}


def test_names_and_scaling_of_a_data_set(here, invoke, data_dir):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((32, 32, 3)), layers.AveragePooling2D(8), layers.Flatten(), layers.Dense(10)])
    model.save("cifar.keras")
    options = ("--dataset", "cifar10_subset", "--data-dir", data_dir / "tfds", "--samples", "50", "--task", "logits")
    result = invoke("export", "cifar.keras", *options, "--precision", "float32", "--encoding", "dense", "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    (record,) = document["files"]
    assert labels_in(here / record["path"])["labels.txt"][:3] == ["airplane", "automobile", "bird"]
    assert "(x - 0) / 255 of raw values" in " ".join(document["notes"])


def test_open_sizes(folder, here, invoke):
    options = ("--precision", "float32", "--encoding", "dense", "--json")
    result = export(invoke, folder, "open", *options)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["files"][0]["free_dimensions"] == {"photo": [0, 1, 2]}
    result = export(invoke, folder, "open", *options, "--input-shape", "6,6,3", "--force")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["files"][0]["free_dimensions"] is None


@pytest.mark.parametrize(
    ("model", "samples", "options", "code", "words"),
    [
        ("kinds", "x", "--task regression", 2, "needs labels that are numbers, one for each value"),
        ("kinds", "x", "--task image", 2, "needs the shape (samples, height, width, channels)"),
        ("kinds", "x", "--task king=logits", 2, "unknown outputs ['king']"),
        ("kinds", "x", "--task logit", 2, "Did you mean 'logits'"),
        ("kinds", "narrow", "", 3, "expected shape ('samples', 6, 6, 3), received (280, 5, 6, 3)"),
        ("pixels", "x", "", 3, "uint8 can't hold"),
        ("kinds", "x", "--class-names few.txt", 3, "--class-names has 2 names; the output 'kind' has 4 values"),
        ("kinds", "x", "--class-names gone.txt", 2, "gone.txt can't be read"),
        ("kinds", "x", "--class-names gap.txt", 2, "--class-names has the name '' for class 1"),
        ("kinds", "x", "--class-names bytes.txt", 3, "bytes.txt is no text in UTF-8"),
        ("kinds", "unlabeled", "--class-names names.txt --task regression", 2, "'kind', which is regression"),
        ("two", "unlabeled", "--class-names names.txt", 2, "the model has the outputs kind, place"),
        ("two", "unlabeled", "--class-names knd=names.txt", 2, "--class-names has the unknown outputs knd"),
        ("open", "x", "--target micro", 3, "planned for fixed shapes; the inputs have the shapes [(None, None, 3)]"),
        ("open", "x", "--input-shape 6,6", 2, "does not fit the input 'photo' of shape (None, None, 3)"),
        ("open", "x", "--input-shape 8,8,3", 3, "expected shape ('samples', 8, 8, 3)"),
        ("open", "x", "--input-shape left=6,6,3", 2, "unknown inputs left"),
        ("open", "x", "--input-shape 6,x,3", 2, "is no list of sizes"),
        (
            "open",
            "x",
            "--input-shape 6,6,3 --input-shape photo=6,6,3",
            2,
            "--input-shape is given 2 times, for no name",
        ),
        ("kinds", "x", "--class-names names.txt --class-names names.txt", 2, "--class-names is given 2 times"),
        ("kinds", "x", "--task kind=logits,kind=image", 2, "--task is given 2 times, for kind, kind"),
        ("kinds", "x", "--batch 0", 2, "0 is not in the range"),
        ("kinds", "x", "--batch 2 --formats keras", 2, "--batch is of TFLite files, received --formats keras"),
        ("kinds", "x", "--io int8 --precision float32", 2, "--io int8 is of int8 files, received --precision float32"),
        ("kinds", "x", "--io int8 --formats keras", 2, "Add tflite to the formats"),
        ("kinds", "x", "--target micro --precision float32", 2, "--target micro takes int8"),
        ("kinds", "x", "--target micro --io float32", 2, "it computes on whole numbers"),
        ("kinds", "x", "--target micro --encoding sparse", 2, "it has no sparse weights"),
        ("kinds", "narrow", "--target micro", 3, "expected shape"),
        ("kinds", "x", "--formats onnx", 3, "onnx, tf2onnx, onnxruntime not installed: pip install"),
    ],
)
def test_what_is_wrong_leaves_nothing(folder, here, invoke, monkeypatch, model, samples, options, code, words):
    found = importlib.util.find_spec
    hidden = ("onnx", "tf2onnx", "onnxruntime")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in hidden else found(name, *rest))
    for name in ("names", "few", "gap", "bytes"):
        options = options.replace(f"{name}.txt", str(folder / f"{name}.txt"))
    result = export(invoke, folder, model, *options.split(), samples=samples)
    assert (result.exit_code, result.stdout, list(here.iterdir())) == (code, "", []), result.output
    assert words in " ".join(result.stderr.split()), result.stderr
    assert "Traceback" not in result.stderr
