"""Sparse SavedModels: smaller on disk, rebuilt once at loading, equal bit for bit, without code of this library."""

import gc
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from keras import layers

from tf_lottery.exporting.candidate_file import CandidateFile, Refusal, WantedFiles
from tf_lottery.exporting.checks.checksums import size
from tf_lottery.exporting.checks.keras_reference import KerasReference
from tf_lottery.exporting.formats import saved_model
from tf_lottery.exporting.formats.saved_model_writer import write_saved_model
from tf_lottery.exporting.formats.sparse_saved_model import decode, encode, worthwhile_codes
from tf_lottery.exporting.signature import keras_outputs, signature_of
from tf_lottery.exporting.tflite import litert

REBUILDING = {"TensorScatterUpdate", "Cumsum", "Where", "GatherNd", "BitwiseAnd"}


def at(positions, length):
    array = np.zeros(length, np.float32)
    array[list(positions)] = np.arange(1, len(positions) + 1)
    return array


@pytest.mark.parametrize(
    ("array", "width", "numbers"),
    [
        (at([1, 2, 4, 5], 24), 1, [1, 0, 0, 1, 0, 0, 1, 1]),  # a bit field: 1 skips a zero, 0 is a value, 1 is filling
        (at([2, 4], 24), 2, [2, 1, 3, 3]),  # 3 would be 3 zeros without a value: here it is filling to a whole byte
        (at([14, 29, 44, 46], 50), 4, [14, 14, 14, 1]),
        (at([15, 30], 40), 5, [15, 14, *[31] * 6]),
        (at([14, 29, 45, 60], 64), 4, [14, 14, 15, 0, 14, 15]),  # 15 zeros without a value, then a value after none
        (at([65534 + 40000 * k for k in range(3)], 200_000), 16, [65534, 39999, 39999]),
        (at([65535 + 65537 * k for k in range(3)], 200_000), 16, [65535, 0, 65535, 1, 65535, 1]),
        (at([], 24), 1, []),
    ],
)
def test_gaps_by_hand(array, width, numbers):
    code = encode(array)
    assert code.width == width
    rows = np.unpackbits(code.gaps, bitorder="little").reshape(-1, width).tolist()
    assert [sum(bit << place for place, bit in enumerate(row)) for row in rows] == numbers
    assert code.gaps.dtype == np.uint8
    assert code.values.tolist() == [value for value in array if value]
    assert code.bytes == len(code.gaps) + 4 * len(code.values)
    np.testing.assert_array_equal(decode(code).numpy(), array)


@settings(max_examples=150, deadline=None)
@given(
    arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=40),
        elements=st.floats(width=32, allow_nan=False),
        fill=st.just(0.0),
    )
)
def test_any_array_comes_back_bit_for_bit(array):
    back = decode(encode(array)).numpy()
    assert back.shape == array.shape
    # Adding 0.0 turns -0.0 into 0.0, and changes no other number.
    np.testing.assert_array_equal(back.view(np.uint32), np.where(array == 0, np.float32(0), array).view(np.uint32))


@pytest.mark.parametrize(("density", "width"), [(0.001, 11), (0.01, 8), (0.05, 6), (0.3, 2), (1.0, 1)])
def test_the_width_follows_the_density(density, width):
    array = (np.random.default_rng(1).random(100_000) < density).astype(np.float32)
    code = encode(array)
    assert abs(code.width - width) <= 1
    share = density if density < 1 else 1 - 1e-9
    entropy = -(share * np.log2(share) + (1 - share) * np.log2(1 - share)) * array.size / 8
    assert code.gaps.nbytes <= max(1.15 * entropy, array.size / 8)  # no coding takes less than the entropy
    np.testing.assert_array_equal(decode(code).numpy(), array)


def pruned(model, density=0.05, *, biases=0.1):
    """The model with random zeros in every array of two or more dimensions."""
    generator = np.random.default_rng(0)
    model.set_weights(
        [
            weight * (generator.random(weight.shape) < density) if weight.ndim > 1 else weight + biases
            for weight in model.get_weights()
        ]
    )
    return model


def lenet():
    sizes = [layers.Dense(300, activation="relu"), layers.Dense(100, activation="relu"), layers.Dense(10)]
    return pruned(keras.Sequential([keras.Input((784,)), *sizes]))


def convolutional():
    image = keras.Input((8, 8, 3), name="image")
    x = layers.BatchNormalization()(layers.Conv2D(64, 3, padding="same")(image))
    x = layers.Add()([x, layers.SeparableConv2D(64, 3, padding="same")(layers.ReLU()(x))])
    return pruned(keras.Model(image, layers.Dense(5)(layers.Flatten()(x))))


def recurrent():
    text = keras.Input((12,), dtype="int32", name="text")
    x = layers.Bidirectional(layers.LSTM(40))(layers.Embedding(500, 48, mask_zero=True)(text))
    return pruned(keras.Model(text, layers.Dense(4, activation="softmax")(x)))


def shared_and_frozen():
    one, two = keras.Input((40,), name="one"), keras.Input((40,), name="two")
    tower = keras.Sequential([keras.Input((40,)), layers.Dense(200), layers.Dense(64)], name="tower")
    tower.trainable = False
    joined = layers.Concatenate()([tower(one), tower(two)])
    return pruned(keras.Model([one, two], {"sum": layers.Dense(3)(joined), "joined": joined}))


def attention():
    x = keras.Input((6, 64))
    return pruned(keras.Model(x, layers.MultiHeadAttention(4, 32)(x, x)))


def lookup():
    ids = keras.Input((20,), dtype="int64")
    x = layers.IntegerLookup(vocabulary=list(range(5, 90)))(ids)
    return pruned(keras.Model(ids, layers.Embedding(100, 64)(x)))


class Counted(layers.Layer):
    """Has a large array of whole numbers, all zero."""

    def build(self, shape):
        self.offsets = self.add_weight(shape=(5000,), dtype="int32", initializer="zeros", trainable=False)
        self.built = True

    def call(self, inputs):
        return inputs + keras.ops.cast(self.offsets[3], "float32")


def whole_numbers():
    return pruned(keras.Sequential([keras.Input((90,)), layers.Dense(90), Counted()]))


MODELS = [lenet, convolutional, recurrent, shared_and_frozen, attention, lookup, whole_numbers]


def inputs_of(model, count):
    generator = np.random.default_rng(2)
    return [
        generator.integers(0, 90, (count, *tensor.shape[1:])).astype(tensor.dtype)
        if "int" in tensor.dtype
        else generator.standard_normal((count, *tensor.shape[1:])).astype(tensor.dtype)
        for tensor in model.inputs
    ]


def reference_of(model, count=9):
    signature, samples = signature_of(model), inputs_of(model, count)
    none = [None] * len(signature.outputs)
    return KerasReference(signature, samples, keras_outputs(model, samples, signature), none, none)


def write_sparse(model, folder, reference, *, slim=False):
    (result,) = write_saved_model(model, folder, reference, WantedFiles(slim, ("sparse",)))
    return result


def write(model, folder, **options):
    result = write_sparse(model, folder, reference_of(model), **options)
    assert isinstance(result, CandidateFile), result
    return result


def served(folder):
    return tf.saved_model.load(str(folder)).signatures["serving_default"]


def answers(serve, model, count):
    arrays = dict(zip(signature_of(model).inputs, inputs_of(model, count), strict=True))
    return {name: value.numpy() for name, value in serve(**{key: tf.constant(v) for key, v in arrays.items()}).items()}


def operations(serve):
    graph = serve.graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return {node.op for node in nodes}


@pytest.mark.parametrize("make", MODELS)
def test_outputs_are_those_of_the_dense_saved_model(make, tmp_path):
    model = make()
    candidate = write(model, tmp_path)
    assert (candidate.encoding, candidate.suffix, candidate.precision) == ("sparse", "_sparse_saved_model", "float32")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sparse_saved_model"]
    saved_model.save(model, tmp_path / "dense", batch=None)
    assert size(candidate.file) < size(tmp_path / "dense")
    dense, sparse = served(tmp_path / "dense"), served(candidate.file)
    for count in (1, 7):
        expected, received = answers(dense, model, count), answers(sparse, model, count)
        assert expected.keys() == received.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(received[name], array)
    assert not operations(sparse) & (REBUILDING - operations(dense))


def test_lenet_at_95_percent_takes_less_than_a_tenth(tmp_path):
    model = lenet()
    assert size(write(model, tmp_path).file) <= 0.1 * 4 * model.count_params()
    assert 4 * model.count_params() == 1_066_440


def test_a_large_kernel_is_rebuilt_at_loading_only(tmp_path):
    model = pruned(keras.Sequential([keras.Input((2000,)), layers.Dense(1500)]), density=0.01)
    file = write(model, tmp_path).file
    assert 4 * 2000 * 1500 > 10 * 2**20
    assert size(file) < 200_000
    serve = served(file)
    assert not operations(serve) & REBUILDING
    saved_model.save(model, tmp_path / "dense", batch=None)
    expected = answers(served(tmp_path / "dense"), model, 3)["output"]
    np.testing.assert_array_equal(answers(serve, model, 3)["output"], expected)


def test_models_loaded_together_share_nothing(tmp_path):
    one, two = lenet(), pruned(lenet(), density=0.5)
    for name, model in (("one", one), ("two", two)):
        (tmp_path / name).mkdir()
        write(model, tmp_path / name)
    expected = {model: keras_outputs(model, inputs_of(model, 4), signature_of(model))["output"] for model in (one, two)}
    first, again = (served(tmp_path / "one" / "sparse_saved_model") for _ in range(2))
    other = served(tmp_path / "two" / "sparse_saved_model")
    del first
    for serve, model in ((again, one), (other, two)):
        np.testing.assert_allclose(answers(serve, model, 4)["output"], expected[model], rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def sparse_lenet(tmp_path_factory):
    """A sparse SavedModel, an input of two samples, and what the model computes for it, from its weights alone."""
    model = lenet()
    x = np.random.default_rng(3).standard_normal((2, 784)).astype("float32")
    out = x.astype(np.float64)
    for layer in model.layers:
        out = out @ layer.kernel.numpy().astype(np.float64) + layer.bias.numpy()
        out = np.maximum(out, 0) if layer.units > 10 else out
    return str(write(model, tmp_path_factory.mktemp("lenet")).file), x, out


def in_one_line(file, x):
    return tf.saved_model.load(file).signatures["serving_default"](tf.constant(x))["output"]


def with_the_signature_alone(file, x):
    serve = tf.saved_model.load(file).signatures["serving_default"]
    gc.collect()
    first = serve(input=tf.constant(x))["output"]
    gc.collect()
    np.testing.assert_array_equal(serve(input=tf.constant(x))["output"], first)
    return first


def as_a_keras_layer(file, x):
    return keras.layers.TFSMLayer(file, call_endpoint="serving_default")(x)["output"]


def in_a_keras_model(file, x):
    inputs = keras.Input((784,))
    model = keras.Model(inputs, keras.layers.TFSMLayer(file, call_endpoint="serving_default")(inputs))
    return model.predict(x, verbose=0)["output"]


def inside_a_function(file, x):
    loaded = tf.saved_model.load(file)  # a dense SavedModel must be kept here, too
    return tf.function(lambda inputs: 1 * loaded.signatures["serving_default"](input=inputs)["output"])(tf.constant(x))


def saved_again(file, x):
    loaded, module = tf.saved_model.load(file), tf.Module()
    module.again = loaded
    tf.saved_model.save(module, f"{file}_again", signatures=loaded.signatures["serving_default"])
    return in_one_line(f"{file}_again", x)


def converted_to_tflite(file, x):
    content = tf.lite.TFLiteConverter.from_saved_model(file).convert()
    Path(f"{file}.tflite").write_bytes(content)
    samples = {"input": x}
    return litert.run_file(Path(f"{file}.tflite"), samples, scratch=Path(file).parent).outputs["output"]


def in_a_session(file, x):
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signature = tf.compat.v1.saved_model.load(session, ["serve"], file).signature_def["serving_default"]
        feed = {signature.inputs["input"].name: x}
        first = session.run(signature.outputs["output"].name, feed)
        np.testing.assert_array_equal(session.run(signature.outputs["output"].name, feed), first)
    return first


WAYS = [
    in_one_line,
    with_the_signature_alone,
    as_a_keras_layer,
    in_a_keras_model,
    inside_a_function,
    saved_again,
    pytest.param(converted_to_tflite, marks=pytest.mark.slow),
    in_a_session,
]


@pytest.mark.parametrize("way", WAYS)
def test_it_works_in_every_way_it_is_used(way, sparse_lenet):
    file, x, expected = sparse_lenet
    np.testing.assert_allclose(way(file, x), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
def test_it_runs_in_the_command_line_of_tensorflow(sparse_lenet, tmp_path):
    file, x, expected = sparse_lenet
    np.save(tmp_path / "x.npy", x)
    program = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", "run", "--dir", file]
    chosen = ["--tag_set", "serve", "--signature_def", "serving_default"]
    arrays = ["--inputs", f"input={tmp_path / 'x.npy'}", "--outdir", str(tmp_path)]
    done = subprocess.run([*program, *chosen, *arrays], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    received = np.load(tmp_path / "output.npy")
    np.testing.assert_allclose(received, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
def test_it_runs_by_the_c_api(sparse_lenet, tmp_path):
    file, x, expected = sparse_lenet
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signature = tf.compat.v1.saved_model.load(session, ["serve"], file).signature_def["serving_default"]
    names = [signature.inputs["input"].name, signature.outputs["output"].name]
    np.save(tmp_path / "x.npy", x)
    program = Path(__file__).with_name("run_by_c_api.py")
    libraries = Path(tf.__file__).parent
    command = [sys.executable, str(program), str(libraries), file, *names, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    received = np.load(tmp_path / "output.npy")
    np.testing.assert_allclose(received, expected, atol=1e-5 * np.abs(expected).max())


def test_a_loader_that_fails_is_a_reason(tmp_path, monkeypatch):
    model = lenet()
    monkeypatch.setattr(saved_model, "call_in_session", lambda *_: {"output": np.zeros((9, 10))})
    result = write_sparse(model, tmp_path, reference_of(model))
    assert isinstance(result, Refusal)
    assert "loaded into a session it computes something else" in result.reason
    assert result.mismatch


def test_it_loads_without_this_library(tmp_path):
    model = lenet()
    file = write(model, tmp_path).file
    code = (
        "import sys, numpy as np, tensorflow as tf\n"
        f"loaded = tf.saved_model.load({str(file)!r})\n"
        "out = loaded.signatures['serving_default'](input=tf.ones((2, 784)))['output']\n"
        "print(out.shape, [name for name in sys.modules if name.split('.')[0] == 'tf_lottery'])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "(2, 10) []\n", done.stderr


class Summing(layers.Layer):
    """Adds up what it is given: 2000 zeros at first, which are worth encoding, and a small sum, which is not."""

    def build(self, shape):
        self.large = self.add_weight(shape=(2000,), initializer="zeros", trainable=False)
        self.small = self.add_weight(shape=(3,), initializer="zeros", trainable=False)
        self.built = True

    def call(self, inputs):
        self.large.assign(self.large + keras.ops.sum(inputs, axis=0))
        self.small.assign(self.small + 1.0)
        return inputs + self.large + self.small[0]


def test_what_a_layer_keeps_between_calls_is_kept(tmp_path):
    model = keras.Sequential([keras.Input((2000,)), Summing()])
    assert list(worthwhile_codes(model)) == [0]
    signature, x = signature_of(model), np.ones((1, 2000), np.float32)
    # The comparison is one call of the loaded file, so the reference is the model's first one.
    reference = {"output": np.full((1, 2000), 3, np.float32)}
    saved_model.save(model, tmp_path / "dense", batch=None)
    result = write_sparse(model, tmp_path, KerasReference(signature, [x], reference, [None], [None]))
    assert isinstance(result, CandidateFile), result
    for folder in (tmp_path / "dense", result.file):
        serve = served(folder)
        assert [float(serve(input=tf.constant(x))["output"][0, 0]) for _ in range(3)] == [3, 5, 7]


@pytest.mark.filterwarnings("ignore:.*stateful")
def test_a_state_that_tensorflow_cannot_save_is_a_reason(tmp_path):
    inputs = keras.Input(batch_shape=(2, 3, 40))
    model = pruned(keras.Model(inputs, layers.LSTM(40, stateful=True)(inputs)))
    result = write_sparse(model, tmp_path, reference_of(model, count=2))
    assert isinstance(result, Refusal)
    assert "untracked" in result.reason


def test_negative_zeros_are_zeros(tmp_path):
    model = lenet()
    model.set_weights([np.where(weight == 0, -0.0, weight) for weight in model.get_weights()])
    assert np.signbit(model.get_weights()[0][model.get_weights()[0] == 0]).all()
    candidate = write(model, tmp_path)
    assert candidate.agreement.max_abs_error == 0
    assert size(candidate.file) < 0.1 * 4 * model.count_params()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: keras.Sequential([keras.Input((64,)), layers.Dense(64)]), "nothing to encode"),
        (lambda: pruned(keras.Sequential([keras.Input((8,)), layers.Dense(8)])), "nothing to encode"),
    ],
)
def test_what_would_not_become_smaller_is_refused(model, reason, tmp_path):
    built = model()
    result = write_sparse(built, tmp_path, reference_of(built), slim=True)
    assert isinstance(result, Refusal)
    assert (result.format, result.encoding, result.mismatch) == ("saved_model", "slim-sparse", False)
    assert reason in result.reason


def test_a_folder_that_is_no_smaller_after_all_is_refused(tmp_path, monkeypatch):
    from tf_lottery.exporting.formats import sparse_saved_model

    monkeypatch.setattr(sparse_saved_model, "_LEAST_SAVED", -(10**6))
    built = keras.Sequential([keras.Input((64,)), layers.Dense(64)])
    result = write_sparse(built, tmp_path, reference_of(built))
    assert isinstance(result, Refusal)
    assert "no smaller" in result.reason


def test_the_slimmed_model_has_names_of_its_own(tmp_path):
    candidate = write(lenet(), tmp_path, slim=True)
    assert (candidate.encoding, candidate.suffix) == ("slim-sparse", "_slim_sparse_saved_model")


def test_wrong_answers_are_a_mismatch(tmp_path):
    model = lenet()
    reference = reference_of(model)
    model.set_weights([weight * 1.01 for weight in model.get_weights()])
    result = write_sparse(model, tmp_path, reference)
    assert isinstance(result, Refusal)
    assert result.mismatch
    assert "differs by" in result.reason
