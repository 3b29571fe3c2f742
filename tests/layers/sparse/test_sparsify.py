"""`sparsify` gives a model that computes with the kept weights alone; `densify` gives the wrapped model back."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.errors import UsageError
from tf_lottery.layers.sparse import SparseConv2D, SparseDense

X = np.random.default_rng(0).normal(size=(50, 12)).astype(np.float32)


def ticket(density=0.3):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12,))
    shared = keras.layers.Dense(12, "relu")
    tensor = keras.layers.LayerNormalization()(shared(shared(inputs)))
    tensor = keras.layers.Dense(8, "gelu", use_bias=False)(tensor)
    image = keras.layers.Reshape((4, 2, 1))(tensor)
    image = keras.layers.Conv2D(3, 2)(image)
    wrapped = tfl.wrap(keras.Model(inputs, [keras.layers.Dense(3)(tensor), keras.layers.Flatten()(image)]))
    rng = np.random.default_rng(1)
    tfl.set_masks(wrapped, {path: rng.random(mask.shape) < density for path, mask in tfl.get_masks(wrapped).items()})
    return wrapped


def assert_same_outputs(one, two):
    for a, b in zip(one.predict(X, verbose=0), two.predict(X, verbose=0), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_there_and_back_again(tmp_path):
    wrapped = ticket()
    sparse = tfl.sparsify(wrapped)
    assert sum(isinstance(layer, SparseDense) for layer in sparse.layers) == 3
    assert sum(isinstance(layer, SparseConv2D) for layer in sparse.layers) == 1
    assert_same_outputs(wrapped, sparse)
    sparse.save(tmp_path / "sparse.keras")
    assert_same_outputs(wrapped, keras.models.load_model(tmp_path / "sparse.keras"))
    back = tfl.densify(sparse)
    masks = tfl.get_masks(wrapped)
    assert all(np.array_equal(mask, masks[path]) for path, mask in tfl.get_masks(back).items())
    weights = tfl.get_weights(wrapped)
    assert all(np.array_equal(value, weights[path]) for path, value in tfl.get_weights(back).items())


@pytest.mark.slow
def test_fit_trains_the_kept_weights():
    wrapped = ticket()
    models = [wrapped, tfl.sparsify(wrapped, batch_size=16)]
    y = [X[:, :3], np.ones((50, 9), np.float32)]
    for one in models:  # 50 = 3 x 16 + 2, so the last batch is a smaller one
        one.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=True)
        one.fit(X, y, batch_size=16, epochs=3, shuffle=False, verbose=0)
    assert_same_outputs(wrapped, models[1])
    masks, weights = tfl.get_masks(models[0]), tfl.get_weights(tfl.densify(models[1]))
    assert all(not weights[path][~mask].any() for path, mask in masks.items())


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_inputs_of_more_axes(shape):
    layer = keras.layers.Dense(5, "tanh")
    layer.build((None, 4))
    mask = np.random.default_rng(0).random((4, 5)) < 0.5
    sparse = SparseDense(layer.get_config(), capacity=20)
    sparse.build((None, 4))
    sparse.set_kernel(layer.kernel.numpy(), mask)
    layer.kernel.assign(layer.kernel * mask)
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    np.testing.assert_allclose(sparse(x), layer(x), rtol=1e-5, atol=1e-6)
    kernel, kept = sparse.get_kernel()
    assert np.array_equal(kernel, layer.kernel)
    assert np.array_equal(kept, mask)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool", "float64"])
def test_inputs_of_other_types_are_cast(dtype):
    """The kernels read their arrays as float32, whatever is in them."""
    layer = keras.layers.Dense(5)
    layer.build((None, 4))
    sparse = SparseDense(layer.get_config(), capacity=20)
    sparse.build((None, 4))
    sparse.set_kernel(layer.kernel.numpy(), np.ones((4, 5), bool))
    x = np.random.default_rng(1).integers(0, 3, size=(7, 4)).astype(dtype)
    np.testing.assert_allclose(sparse(x), layer(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "mixed_float16"])
def test_a_layer_of_another_precision_is_refused(dtype):
    with pytest.raises(UsageError, match=f"computes in float32. Received the dtype policy '{dtype}'"):
        SparseDense(keras.layers.Dense(2, dtype=dtype).get_config(), capacity=3)
    with pytest.raises(UsageError, match=f"computes in float32. Received the dtype policy '{dtype}'"):
        SparseDense(keras.layers.Dense(2).get_config(), capacity=3, dtype=dtype)


def test_images_of_several_sizes():
    size = np.full(2, 3)  # Keras keeps the integers of NumPy
    convolution = keras.layers.Conv2D(size[0], tuple(size), strides=2, padding="same")
    wrapped = tfl.wrap(keras.Sequential([keras.Input((6, 5, 2)), convolution]))
    layer, sparse = wrapped.layers[0], tfl.sparsify(wrapped).layers[0]
    for shape in ((2, 6, 5, 2), (3, 4, 7, 2), (4, 4, 7, 2), (5, 6, 5, 2)):
        x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
        np.testing.assert_allclose(sparse(x), layer(x), rtol=1e-5, atol=1e-6)


def test_two_axes_of_unknown_size():
    wrapped = tfl.wrap(keras.Sequential([keras.Input((None, 12)), keras.layers.Dense(5)]))
    sparse = tfl.sparsify(wrapped)
    function = tf.function(sparse, input_signature=[tf.TensorSpec((None, None, 12))], jit_compile=True)
    for shape in ((10, 5, 12), (5, 10, 12)):
        np.testing.assert_allclose(function(X.reshape(shape)), wrapped(X.reshape(shape)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [0, -1, 2.5, True, None])
def test_sizes_are_positive_integers(size):
    with pytest.raises(UsageError, match=r"`batch_size` must be a positive integer\. Received: "):
        tfl.sparsify(ticket(), batch_size=size)
    with pytest.raises(UsageError, match=r"`capacity` must be a positive integer\. Received: "):
        SparseDense(keras.layers.Dense(2).get_config(), capacity=size)


@pytest.mark.parametrize("value", [-1, 10**6, np.nan])
def test_weights_that_are_no_index_are_refused(value):
    layers = [SparseDense(keras.layers.Dense(5).get_config(), capacity=20) for _ in range(2)]
    for layer in layers:
        layer.build((None, 4))
    layers[0].set_kernel(np.arange(20).reshape(4, 5), np.ones((4, 5), bool))
    weights = layers[0].get_weights()
    layers[1].set_weights(weights)
    assert np.array_equal(layers[1].get_kernel()[0], np.arange(20).reshape(4, 5))
    for number, variable in list(enumerate(layers[0].weights))[2:]:
        wrong = [*weights[:number], np.full(variable.shape, value), *weights[number + 1 :]]
        with pytest.raises(UsageError, match=f"`{variable.name}` of a sparse layer must hold .*numbers from 0 to"):
            layers[1].set_weights(wrong)


@pytest.mark.parametrize("name", ["starts", "transposed_starts"])
def test_weights_that_begin_before_those_before_them_are_refused(name):
    """The kernels would read a negative number of values."""
    layer = SparseDense(keras.layers.Dense(5).get_config(), capacity=20)
    layer.build((None, 4))
    layer.set_kernel(np.ones((4, 5)), np.ones((4, 5), bool))
    with pytest.raises(UsageError, match=f"`{name}` of a sparse layer must hold sorted numbers from 0 to 20"):
        layer.index[name].assign(layer.index[name].numpy()[::-1])


def test_a_layer_with_one_frozen_weight_stays_as_it_is():
    wrapped = ticket()
    wrapped.layers[1].layer.bias.trainable = False
    sparse = tfl.sparsify(wrapped)
    assert sum(isinstance(layer, SparseDense) for layer in sparse.layers) == 2
    assert len(sparse.trainable_variables) == len(wrapped.trainable_variables)


def test_a_layer_that_is_frozen_later_stays_frozen():
    sparse = tfl.sparsify(ticket())
    layer = next(one for one in sparse.layers if isinstance(one, SparseDense))
    layer.trainable = False
    back = tfl.densify(sparse)
    assert not back.get_layer(layer.name).trainable
    assert len(back.trainable_variables) == len(sparse.trainable_variables)


@pytest.mark.parametrize("jit_compile", [True, False])
def test_a_batch_of_no_examples(jit_compile):
    sparse = tfl.sparsify(ticket())

    @tf.function(input_signature=[tf.TensorSpec((None, 12))], jit_compile=jit_compile)
    def compute(x):
        with tf.GradientTape() as tape:
            outputs = sparse(x)
            loss = tf.add_n([tf.reduce_sum(output) for output in outputs])
        return outputs, tape.gradient(loss, [variable.value for variable in sparse.trainable_variables])

    outputs, gradients = compute(X[:0])
    assert [output.shape for output in outputs] == [(0, 3), (0, 9)]
    assert all(not gradient.numpy().any() for gradient in gradients)
    for a, b in zip(compute(X)[0], sparse(X), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_without_kernels_the_layer_computes_densely(monkeypatch):
    wrapped = ticket()
    expected = [np.asarray(output) for output in wrapped(X)]
    monkeypatch.setenv("TF_LOTTERY_KERNELS", "off")
    for a, b in zip(expected, tfl.sparsify(wrapped)(X), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_more_weights_than_there_is_room_for():
    layer = SparseDense(keras.layers.Dense(2).get_config(), capacity=3)
    layer.build((None, 2))
    with pytest.raises(ValueError, match=r"at least the 4 kept weights\. Received: 3"):
        layer.set_mask(np.ones((2, 2), bool))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (keras.layers.Conv1D(2, 3), "it is a Conv1D"),
        (keras.layers.Dense(2, kernel_constraint="non_neg"), "its kernel has a constraint"),
        (keras.layers.Dense(2, activity_regularizer="l2"), "it has an activity regularizer"),
        (keras.layers.Dense(2, kernel_regularizer=keras.regularizers.OrthogonalRegularizer()), "is no sum"),
        (keras.layers.Dense(2, dtype="mixed_bfloat16"), "it computes in bfloat16"),
        (keras.layers.Dense(2, activation=keras.layers.PReLU()), "its activation has variables"),
    ],
)
def test_what_is_not_covered_is_refused_with_the_reason(layer, reason):
    wrapped = tfl.wrap(keras.Sequential([keras.Input((6, 4)), layer]))
    with pytest.raises(UsageError, match=reason):
        tfl.sparsify(wrapped)


def test_models_of_their_own_kind_are_refused():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(2)

        def call(self, inputs):
            return self.dense(inputs)

    model = Own()
    model(X)
    with pytest.raises(UsageError, match="the model is subclassed"):
        tfl.sparsify(tfl.wrap(model, in_place=True))
    with pytest.raises(UsageError, match="A wrapped model is expected"):
        tfl.sparsify(keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]))
    with pytest.raises(UsageError, match="without sparse layers"):
        tfl.densify(ticket())


def test_strip_and_export_take_it(tmp_path):
    wrapped = ticket()
    sparse = tfl.sparsify(wrapped)
    plain, expected = tfl.strip(sparse), tfl.strip(wrapped)
    assert [type(layer) for layer in plain.layers] == [type(layer) for layer in expected.layers]
    weights = tfl.get_weights(expected)
    assert all(np.array_equal(value, weights[path]) for path, value in tfl.get_weights(plain).items())
    report = tfl.export(sparse, tmp_path / "files", format="keras", samples=X)
    exported = keras.models.load_model(tmp_path / "files" / report.files[0]["path"])
    assert_same_outputs(wrapped, exported)


@pytest.mark.parametrize(
    ("places", "words"),
    [
        (None, "Missing: places"),
        ([0, 1, 6], "from 0 to 5"),
        ([0, 1, -1], "from 0 to 5"),
        ([0, 1, 1], "must differ"),
        ([0, 1], "up to 4 values"),
    ],
)
def test_a_file_with_other_places_is_refused(places, words):
    """The kernels read what the places say, wherever that is in memory."""
    layer = SparseDense(keras.layers.Dense(2, use_bias=False).get_config(), capacity=4)
    layer.build((None, 3))
    layer.load_own_variables({"values": np.ones(3, np.float32), "places": np.array([0, 3, 5])})
    assert layer.get_kernel()[0].tolist() == [[1, 0], [0, 1], [0, 1]]
    store = {"values": np.ones(3, np.float32)}
    if places is not None:
        store["places"] = np.array(places)
    with pytest.raises(ValueError, match=words):
        layer.load_own_variables(store)
