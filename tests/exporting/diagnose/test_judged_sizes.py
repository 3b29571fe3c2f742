"""Models and files whose inputs take any size are judged at a size that is said."""

import keras
import numpy as np
import pytest
from keras import layers

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.exporting import export
from tf_lottery.exporting.diagnose.diagnosis import diagnose, diagnose_for_micro
from tf_lottery.exporting.diagnose.processor import Processor
from tf_lottery.exporting.tflite import litert
from tf_lottery.exporting.tflite.dense_conversion import convert_dense

AVX = Processor("x86 with AVX", False)


def convolutional():
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3), name="image")
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu", name="first")(image)
    model = keras.Model(image, layers.Dense(4, name="head")(layers.GlobalAveragePooling2D()(x)))
    kept = np.random.default_rng(1).random((3, 3, 3, 16)) < 0.2
    model.get_layer("first").kernel.assign(np.where(kept, model.get_layer("first").kernel, 0))
    return model


def output_shape(diagnosis):
    return next(operation.output_shape for operation in diagnosis.operations if operation.kind == "CONV_2D")


@pytest.fixture(scope="module")
def free(tmp_path_factory):
    folder = tmp_path_factory.mktemp("free")
    (folder / "free.tflite").write_bytes(convert_dense(convolutional(), folder, batch=None))
    return folder / "free.tflite"


def test_a_model_is_judged_at_the_shape_or_at_the_default():
    for shape, size, end in ((None, 64, ", as neither samples nor"), ((20, 30, 3), 10, " at 20x30x3.")):
        diagnosis = diagnose(convolutional(), processor=AVX, input_shape=shape)
        assert output_shape(diagnosis)[:2] == (1, {64: 32, 10: 10}[size])
        assert diagnosis.summary[0].startswith("Inputs of free size are judged at ")
        assert end in diagnosis.summary[0]
        assert diagnosis.to_json()["input_shapes"] == {"image": list(shape or (64, 64, 3))}


def test_a_file_is_judged_as_the_model_is(free):
    of_model, of_file = (diagnose(one, processor=AVX, input_shape=(20, 30, 3)) for one in (convolutional(), free))
    assert of_file.summary[0] == of_model.summary[0] == "Inputs of free size are judged at 20x30x3."
    assert output_shape(of_file) == output_shape(of_model) == (1, 10, 15, 16)
    assert not any("known at run time only" in str(verdict) for verdict in of_file.verdicts)
    assert any("Delegate: " in line and f"{len(of_file.operations)} of" in line for line in of_file.summary)
    assert output_shape(diagnose(free, processor=AVX)) == (1, 32, 32, 16)


@pytest.mark.slow
def test_a_race_is_of_the_free_files_of_an_export(tmp_path, monkeypatch):
    sizes_seen = []

    def time_files(files, sizes=None):
        sizes_seen.append(dict(sizes))
        return [float(len(file.name)) for file in files]

    monkeypatch.setattr(litert, "time_files", time_files)
    x = np.random.default_rng(0).random((40, 20, 30, 3)).astype("float32")
    diagnosis = diagnose(convolutional(), race=True, data={"samples": x}, precision="float32")
    report = export(convolutional(), tmp_path, precision="float32", samples=x)
    assert diagnosis.summary[0] == "Inputs of free size are judged at 20x30x3."
    assert output_shape(diagnosis) == (1, 10, 15, 16)
    assert sizes_seen == [{"image": (20, 30, 3)}] * 2
    raced = "\n".join(line for line in diagnosis.summary if line.startswith("  *"))
    assert len(report.files) == 2
    for record in report.files:
        assert record["free_dimensions"]["image"] == [0, 1, 2]
        assert f"{record['bytes']:,} bytes" in raced


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((20, 30), r"does not fit the input 'image' of shape \(None, None, 3\)"),
        ((20, 30, 4), r"does not fit the input 'image' of shape \(None, None, 3\)"),
        ((0, 30, 3), "no positive whole numbers"),
        ({"picture": (20, 30, 3)}, "unknown inputs picture"),
    ],
)
def test_bad_shapes(free, shape, words):
    for subject in (convolutional(), free):
        with pytest.raises(UsageError, match=words):
            diagnose(subject, processor=AVX, input_shape=shape)


def test_samples_that_do_not_fit():
    data = {"samples": np.zeros((4, 20, 30, 1), "float32")}
    with pytest.raises(UnfitError, match="expected shape"):
        diagnose(convolutional(), race=True, data=data)


@pytest.mark.slow
@pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter is deprecated")
def test_a_microcontroller_needs_a_fixed_size(free):
    for shape, sizes in ((None, "64x64x3"), ((20, 30, 3), "20x30x3")):
        diagnosis = diagnose_for_micro(convolutional(), input_shape=shape)
        assert sizes in diagnosis.summary[0]
        assert "needs `input_shape`" in diagnosis.summary[0] or shape
        assert diagnosis.summary[-1].endswith("runs in TensorFlow Lite Micro.")
    with pytest.raises(UsageError, match="files of fixed sizes alone"):
        diagnose_for_micro(free, input_shape=(20, 30, 3))
