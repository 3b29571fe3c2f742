"""TFLite metadata: what a file says of its inputs, outputs and classes, read back by the schema's field numbers."""

import io
import struct
import zipfile

import flatbuffers
import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from flatbuffers.number_types import Float32Flags, Int8Flags, Uint8Flags, Uint32Flags
from keras import layers
from tflite_runs import run_one_by_one

from tf_lottery.data.normalization import Normalization
from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.exporting import export, pipeline
from tf_lottery.exporting.file_metadata import FileMetadata, TensorDescription
from tf_lottery.exporting.sources.input_scaling import takes_pixels
from tf_lottery.exporting.tflite.tflite_metadata import with_metadata

NAMES = ["cat", "dog", "Füchsin", "dog"]  # a name may stand for two classes, as "crane" does in ImageNet
X = np.random.default_rng(0).random((300, 8, 8, 3)).astype("float32")


class Table:
    """A table of a flatbuffer, read by the numbers of its fields."""

    def __init__(self, content, place=None):
        root = struct.unpack_from("<I", content)[0] if place is None else place
        self._content, self._table = content, flatbuffers.table.Table(content, root)

    def _at(self, field):
        offset = self._table.Offset(4 + 2 * field)
        return offset + self._table.Pos if offset else None

    def table(self, field):
        at = self._at(field)
        return None if at is None else Table(self._content, self._table.Indirect(at))

    def text(self, field):
        at = self._at(field)
        return None if at is None else self._table.String(at).decode()

    def number(self, field, flags):
        at = self._at(field)
        return 0 if at is None else self._table.Get(flags, at)

    def _vector(self, field, size):
        at = self._at(field)
        if at is None:
            return []
        # `Vector` adds the position of the table itself.
        start, length = self._table.Vector(at - self._table.Pos), self._table.VectorLen(at - self._table.Pos)
        return [start + size * index for index in range(length)]

    def tables(self, field):
        return [Table(self._content, self._table.Indirect(at)) for at in self._vector(field, 4)]

    def texts(self, field):
        return [self._table.String(at).decode() for at in self._vector(field, 4)]

    def floats(self, field):
        return [self._table.Get(Float32Flags, at) for at in self._vector(field, 4)]

    def content(self, field):
        places = self._vector(field, 1)
        return bytes(self._content[places[0] : places[-1] + 1]) if places else b""


def read(path):
    """The metadata of a file: inputs and outputs as dicts by name, and its lists of labels."""
    whole = bytearray(path.read_bytes())
    model = Table(whole)
    entries = [entry for entry in model.tables(6) if entry.text(0) == "TFLITE_METADATA"]
    if not entries:
        return None
    (entry,) = entries
    encoded = model.tables(4)[entry.number(1, Uint32Flags)].content(0)
    assert encoded[4:8] == b"M001"
    root = Table(bytearray(encoded))
    (graph,) = root.tables(3)
    assert root.text(7) == "1.0.0"
    stream = io.BytesIO(whole)
    files = {}
    if zipfile.is_zipfile(stream):
        with zipfile.ZipFile(stream) as archive:
            assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
            files = {name: archive.read(name).decode() for name in archive.namelist()}
    return root.text(0), [tensor(one) for one in graph.tables(2)], [tensor(one) for one in graph.tables(3)], files


def tensor(table):
    content = table.table(3)
    kind = {1: "feature", 2: "image"}[content.number(0, Uint8Flags)]
    colors = content.table(1).number(0, Int8Flags) if kind == "image" else 0
    entry = {"name": table.text(0), "kind": kind, "color": {0: "", 1: "RGB", 2: "GRAYSCALE"}[colors]}
    entry |= {"description": table.text(1), "dimensions": table.texts(2)}
    for unit in table.tables(4):
        assert unit.number(0, Uint8Flags) == 1
        entry |= {"mean": unit.table(1).floats(0), "std": unit.table(1).floats(1)}
    if table.table(5) is not None:
        entry["range"] = (*table.table(5).floats(1), *table.table(5).floats(0))
    entry["files"] = [(file.text(0), file.number(2, Int8Flags)) for file in table.tables(6)]
    return entry


def sparse_net(*first):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((8, 8, 3), name="photo"), *first, layers.Flatten(), layers.Dense(64, "relu"), layers.Dense(4)]
    )
    model.layers[-2].kernel.assign(
        np.where(np.random.default_rng(1).random((192, 64)) < 0.95, 0, model.layers[-2].kernel)
    )
    model.layers[-1].name = "animal"
    return model


def run(path, values):
    return run_one_by_one(Interpreter(model_path=str(path)), values)


def test_every_file_says_what_it_takes_and_gives(tmp_path):
    model = sparse_net()
    report = export(
        *(model, tmp_path),
        samples=X,
        calibration=X[:100],
        task="logits",
        class_names=NAMES,
        normalization=([0.0, 10.0, 20.0], 255),
    )
    kinds = {(record["precision"], record["encoding"]) for record in report.files}
    assert {("float32", "dense"), ("float32", "sparse"), ("float16", "sparse"), ("int8", "dense")} <= kinds
    answers = model.predict(X, verbose=0)
    for record in report.files:
        name, inputs, outputs, files = read(tmp_path / record["path"])
        assert name == "model"
        assert inputs == [
            {
                "name": "photo",
                "kind": "image",
                "color": "RGB",
                "description": None,
                "dimensions": ["batch", "height", "width", "channel"],
                "mean": [0.0, 10.0, 20.0],
                "std": [255.0, 255.0, 255.0],
                "range": (X.min(), X.max()),
                "files": [],
            }
        ]
        (animal,) = outputs
        assert (animal["name"], animal["kind"], animal["files"]) == ("animal", "feature", [("labels.txt", 2)])
        assert animal["range"] == pytest.approx((answers.min(), answers.max()))
        assert files == {"labels.txt": "cat\ndog\nFüchsin\ndog\n"}
        content = (tmp_path / record["path"]).read_bytes()
        assert record["bytes"] == len(content)
    assert "hold the names of 4 classes in labels.txt" in " ".join(report.notes)


def test_outputs_are_those_of_the_file_without_metadata(tmp_path, monkeypatch):
    options = {"samples": X, "class_names": NAMES, "precision": "float32", "task": "logits"}
    report = export(sparse_net(), tmp_path, **options)
    monkeypatch.setattr(pipeline, "describe_file", lambda *arguments, **options: None)
    export(sparse_net(), tmp_path / "bare", **options)
    assert {record["encoding"] for record in report.files} >= {"dense", "sparse"}
    for record in report.files:
        path = tmp_path / record["path"]
        bare = tmp_path / "bare" / path.name
        assert read(bare) is None
        assert bare.stat().st_size < path.stat().st_size
        np.testing.assert_array_equal(run(bare, X[:20]), run(path, X[:20]))
        described = FileMetadata("m", outputs={"animal": TensorDescription(labels=tuple(NAMES))})
        twice = [with_metadata(bare.read_bytes(), described) for _ in range(2)]
        assert twice[0] == twice[1]


def test_whole_numbers_and_unknown_scaling(tmp_path):
    report = export(
        *(sparse_net(), tmp_path), samples=X, calibration=X[:100], io="int8", encoding="dense", class_names=NAMES
    )
    _, (photo,), (animal,), files = read(tmp_path / report.files[0]["path"])
    assert "mean" not in photo
    assert photo["range"] == (X.min(), X.max())
    assert animal["files"] == [("labels.txt", 2)]
    assert list(files) == ["labels.txt"]


def test_random_samples_say_nothing_of_ranges(tmp_path):
    report = export(sparse_net(layers.Rescaling(1 / 127.5, offset=-1)), tmp_path, precision="float32", encoding="dense")
    _, (photo,), (animal,), files = read(tmp_path / report.files[0]["path"])
    assert (photo["mean"], photo["std"]) == ([0.0], [1.0])  # the file takes pixels as they are
    assert "range" not in photo
    assert "range" not in animal
    assert files == {}


def test_several_inputs_and_outputs(tmp_path):
    keras.utils.set_random_seed(0)
    picture, numbers = keras.Input((4, 4, 1), name="picture"), keras.Input((3,), name="numbers")
    joined = layers.Concatenate()([layers.Flatten()(picture), numbers])
    kind = layers.Dense(2, activation="softmax", name="kind")(joined)
    place, color = layers.Dense(2, name="place")(joined), layers.Dense(3, activation="softmax", name="color")(joined)
    model = keras.Model([picture, numbers], [kind, place, color])
    x = {"picture": X[:, :4, :4, :1], "numbers": X[:, 0, :3, 0] * 4}
    arguments = {"samples": x, "precision": "float32", "encoding": "dense"}
    arguments["task"] = {"kind": "classification", "place": "regression", "color": "classification"}
    names = {"kind": ["a", "b"], "color": ["r", "g", "b"]}
    report = export(model, tmp_path, class_names=names, normalization={"picture": (0, 255)}, **arguments)
    _, inputs, outputs, files = read(tmp_path / report.files[0]["path"])
    taken = {one["name"]: one for one in inputs}
    assert (taken["picture"]["kind"], taken["picture"]["color"], taken["picture"]["std"]) == (
        "image",
        "GRAYSCALE",
        [255],
    )
    assert (taken["numbers"]["kind"], taken["numbers"]["dimensions"]) == ("feature", [])
    assert taken["numbers"]["range"][1] > 3.9
    assert "mean" not in taken["numbers"]
    given = {one["name"]: one for one in outputs}
    assert {name: one["files"] for name, one in given.items()} == {
        "kind": [("labels_kind.txt", 2)],
        "place": [],
        "color": [("labels_color.txt", 2)],
    }
    assert given["kind"]["range"] == (0, 1)
    assert files == {"labels_kind.txt": "a\nb\n", "labels_color.txt": "r\ng\nb\n"}
    # The order is that of the file's own lists.
    details = Interpreter(model_path=str(tmp_path / report.files[0]["path"])).get_output_details()
    assert [tuple(one["shape"]) for one in details] == [
        (1, {"kind": 2, "place": 2, "color": 3}[name]) for name in given
    ]
    for wrong, words in (
        ({"class_names": ["a", "b"]}, "`class_names` is one value; the model has the outputs kind, place, color"),
        ({"class_names": {"place": ["a", "b"]}}, "'place', which is regression"),
        ({"class_names": {"kin": ["a", "b"]}}, "unknown outputs kin"),
        ({"normalization": (0, 255)}, "`normalization` is one value"),
    ):
        with pytest.raises(UsageError, match=words):
            export(model, tmp_path / "wrong", **arguments, **wrong)
    assert not (tmp_path / "wrong").exists()


def test_a_microcontroller_gets_none(tmp_path):
    report = export(
        *(sparse_net(), tmp_path), samples=X, calibration=X[:100], target="micro", encoding="dense", class_names=NAMES
    )
    path = tmp_path / report.files[0]["path"]
    assert read(path) is None
    assert not zipfile.is_zipfile(path)
    assert "no metadata" in " ".join(report.notes)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"class_names": NAMES[:3]}, UnfitError, "3 names; the output 'animal' has 4 values"),
        ({"class_names": "cats"}, UsageError, "must be a list of names"),
        ({"class_names": ["a", "b", "", "d"]}, UsageError, "the name '' for class 2"),
        ({"class_names": ["a", "b", "c\nd", "e"]}, UsageError, "for class 2"),
        ({"class_names": ["a", "b", "c", "\udc80"]}, UsageError, "for class 3"),  # no character of UTF-8
        ({"class_names": ["a", "b\0", "c", "d"]}, UsageError, "for class 1"),
        ({"class_names": 4}, UsageError, "must be a list of names. Received: 4"),
        ({"class_names": NAMES, "task": "regression"}, UsageError, "'animal', which is regression (known by the task"),
        ({"normalization": (0, 0)}, UsageError, "a positive standard deviation"),
        ({"normalization": (0, [1, 2])}, UsageError, "each a number or one per channel"),
        ({"normalization": 255}, UsageError, "Received: 255"),
        ({"normalization": (0, float("nan"))}, UsageError, "a positive standard deviation"),
    ],
)
def test_what_does_not_fit_is_an_error(tmp_path, arguments, error, words):
    with pytest.raises(error) as caught:
        export(sparse_net(), tmp_path / "out", samples=X, precision="float32", **arguments)
    assert words in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_pixels_are_known_by_the_first_layers():
    normalization = layers.Normalization(mean=[120.0, 110, 100], variance=[3000.0, 3000, 3000])
    expected = [
        ((layers.Rescaling(1 / 255),), True),
        ((layers.Rescaling(1 / 127.5, offset=-1),), True),
        ((layers.ZeroPadding2D(), layers.Rescaling([1 / 255] * 3)), True),
        ((normalization,), True),
        ((layers.Normalization(mean=[0.4] * 3, variance=[0.1] * 3),), False),
        ((layers.Rescaling(2.0, offset=-1),), False),
        ((layers.Conv2D(3, 1), layers.Rescaling(1 / 255)), False),
        ((), False),
    ]
    for first, takes in expected:
        assert takes_pixels(keras.Sequential([keras.Input((8, 8, 3)), *first, layers.Flatten()])) == takes, first


@pytest.mark.slow
def test_the_scaling_of_a_data_set_in_raw_values():
    x = np.random.default_rng(0).integers(0, 256, (50, 2)).astype("float32")
    for scaling in (
        Normalization("none"),
        Normalization("unit", 255.0),
        Normalization("standard", 255.0, (0.2, 0.5), (0.1, 0.3)),
    ):
        mean, std = scaling.of_raw_values()
        np.testing.assert_allclose((x - mean) / std, scaling.apply(x), rtol=1e-5, atol=1e-5)
