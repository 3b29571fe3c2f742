"""Masks that hold for every reader of a variable, with large values planted where weights are pruned."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.errors import UsageError
from tf_lottery.layers import masked_variable, named_variables
from tf_lottery.layers.masked_variable import is_masked, read_once, unmask_variable
from toys import Tied, stored_value

L = keras.layers
X = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
Y = np.random.default_rng(1).normal(size=(16, 1)).astype("float32")


def mlp():
    return keras.Sequential([keras.Input((6,)), L.Dense(8, activation="relu"), L.Dense(1)])


def plant(model, masks):
    """Store 7.0 where weights are pruned, as a foreign optimizer may."""
    for path, mask in masks.items():
        variable = named_variables(model)[path]
        variable.assign(np.where(mask, stored_value(variable), 7.0))
        assert (stored_value(variable)[~mask] == 7).all()


@pytest.fixture
def planted(random_masks):
    model = tfl.wrap(mlp())
    masks = random_masks(tfl.get_masks(model))
    tfl.set_masks(model, masks)
    plant(model, masks)
    return model, masks


def by_hand(model, masks):
    weights = {path: stored_value(v) for path, v in named_variables(model).items()}
    hidden = np.maximum(X @ (weights["dense/kernel"] * masks["dense/kernel"]) + weights["dense/bias"], 0)
    return hidden @ (weights["dense_1/kernel"] * masks["dense_1/kernel"]) + weights["dense_1/bias"]


def test_outputs_are_those_of_the_masked_weights(planted):
    model, masks = planted
    expected = by_hand(model, masks)
    np.testing.assert_allclose(model(X), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(tf.function(model, jit_compile=True)(X), expected, rtol=1e-5, atol=1e-5)
    values = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]
    np.testing.assert_allclose(model.stateless_call(*values, X)[0], expected, rtol=1e-5, atol=1e-5)
    raw = [stored_value(v) for v in model.trainable_variables]
    np.testing.assert_allclose(model.stateless_call(raw, values[1], X)[0], expected, rtol=1e-5, atol=1e-5)


def test_every_way_of_reading_a_variable_is_masked(planted):
    model, masks = planted
    kernel, mask = model.layers[0].layer.kernel, masks["dense/kernel"]
    reads = [kernel.numpy(), np.array(kernel), kernel.value.numpy(), keras.ops.convert_to_numpy(kernel + 0)]
    reads += [kernel.value.read_value().numpy(), tf.gather(kernel.value, [0, 1, 2, 3, 4, 5]).numpy()]
    reads += [tf.nn.embedding_lookup(kernel.value, [0, 1, 2, 3, 4, 5]).numpy(), tfl.get_weights(model)["dense/kernel"]]
    reads += [model.layers[0].get_weights()[0], tf.function(lambda: kernel.value + 0.0)().numpy()]
    for number, read in enumerate(reads):
        assert (read[~mask] == 0).all(), number
        assert (read[mask] != 0).all(), number


@pytest.mark.parametrize("of", ["keras", "tensorflow"])
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_operations_that_take_the_variable_itself_are_masked(planted, of, graph):
    """Eager operations once took the handle of a `tf.Variable` past the mask."""
    model, masks = planted
    kernel, mask = model.layers[0].layer.kernel, masks["dense/kernel"]
    variable = kernel if of == "keras" else kernel.value
    masked = np.where(mask, stored_value(kernel), 0)
    operations = {
        "square": (tf.square, masked**2),
        "relu": (tf.nn.relu, np.maximum(masked, 0)),
        "transpose": (tf.transpose, masked.T),
        "matmul": (lambda v: tf.raw_ops.MatMul(a=tf.constant(X), b=v), X @ masked),
        "einsum": (lambda v: tf.einsum("ab,bc->ac", tf.constant(X), v), X @ masked),
        "concat": (lambda v: tf.concat([v, v], 0), np.concatenate([masked, masked])),
        "gather": (lambda v: tf.gather(v, [1, 0]), masked[[1, 0]]),
        "argument": (tf.function(lambda v: v + 0.0), masked),
        "cond": (lambda v: tf.cond(tf.reduce_sum(X) < 1e9, lambda: v + 0.0, lambda: v * 2.0), masked),
    }
    if graph and of == "keras":
        del operations["argument"]  # which Keras variables can't be there
    for name, (operation, expected) in operations.items():
        call = tf.function(lambda operation=operation: operation(variable)) if graph else lambda: operation(variable)  # noqa: B023
        np.testing.assert_allclose(call(), expected, rtol=1e-5, atol=1e-5, err_msg=name)


def test_an_eager_gradient_of_the_variable_itself_is_masked(planted):
    model, masks = planted
    kernel, mask = model.layers[0].layer.kernel, masks["dense/kernel"]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(kernel.value))
    gradient = tape.gradient(loss, kernel.value)
    np.testing.assert_allclose(gradient, 2 * np.where(mask, stored_value(kernel), 0), rtol=1e-6)


def test_functions_of_a_model_that_is_wrapped_in_place_are_traced_again():
    model = mlp()
    model.compile("sgd", "mse")
    model.predict(X, verbose=0)
    wrapped = tfl.wrap(model, in_place=True)
    masks = {path: np.zeros_like(mask) for path, mask in tfl.get_masks(wrapped).items()}
    tfl.set_masks(wrapped, masks)
    plant(wrapped, masks)
    np.testing.assert_array_equal(model.predict(X, verbose=0), np.zeros((16, 1)))


def test_reading_changes_nothing(planted):
    model, masks = planted
    before = np.array(model(X))
    tfl.get_weights(model)
    model.get_weights()
    tfl.strip(model)
    np.testing.assert_array_equal(model(X), before)
    kernel = model.layers[0].layer.kernel
    assert (stored_value(kernel)[~masks["dense/kernel"]] == 7).all()


def test_files_and_checkpoints_hold_zeros(planted, tmp_path):
    model, masks = planted
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    tf.train.Checkpoint(model=model).save(tmp_path / "checkpoint")
    (prefix,) = {path.with_suffix("") for path in tmp_path.glob("checkpoint*.index")}
    saved = [tf.train.load_variable(str(prefix), name) for name, shape in tf.train.list_variables(str(prefix))]
    assert not any((np.asarray(value) == 7).any() for value in saved if np.asarray(value).dtype == np.float32)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for path, mask in masks.items():
        stored = stored_value(named_variables(loaded)[path])
        assert (stored[~mask] == 0).all()
        assert stored[mask].all()
    model.export(tmp_path / "saved", verbose=False)
    exported = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_array_equal(exported.serve(X), model(X))


def test_regularizers_and_constraints_see_the_masked_weight(random_masks):
    layer = L.Dense(8, kernel_regularizer=keras.regularizers.L2(0.5), kernel_constraint=keras.constraints.MaxNorm(1.0))
    model = tfl.wrap(keras.Sequential([keras.Input((6,)), layer, L.Dense(1)]))
    masks = random_masks(tfl.get_masks(model))
    tfl.set_masks(model, masks)
    plant(model, masks)
    kernel = stored_value(model.layers[0].layer.kernel) * masks["dense/kernel"]
    model(X)
    assert float(model.losses[0]) == pytest.approx(0.5 * (kernel**2).sum(), rel=1e-5)
    constrained = np.array(model.layers[0].layer.kernel.constraint(model.layers[0].layer.kernel))
    expected = kernel * np.minimum(1, 1 / np.maximum(np.linalg.norm(kernel, axis=0), 1e-7))
    np.testing.assert_allclose(constrained, expected, rtol=1e-4, atol=1e-6)


def test_a_mask_holds_for_a_layer_that_is_tied_to_the_weight(random_masks):
    inputs = keras.Input((6,))
    encoder = L.Dense(3, activation="relu", name="encoder")
    model = keras.Model(inputs, Tied(encoder)(encoder(inputs)))
    wrapped = tfl.wrap(model, in_place=True)
    masks = random_masks(tfl.get_masks(wrapped))
    tfl.set_masks(wrapped, masks)
    wrapped.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    wrapped.fit(X, X, epochs=3, verbose=0)
    plant(wrapped, masks)
    kernel = stored_value(encoder.kernel) * masks["encoder/kernel"]
    expected = np.maximum(X @ kernel + np.array(encoder.bias), 0) @ kernel.T
    np.testing.assert_allclose(wrapped(X), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model(X), expected, rtol=1e-4, atol=1e-5)  # it shares the variables


@pytest.mark.parametrize("jit_compile", [False, True])
def test_unpruned_layers_that_assign_their_variables_train_as_plain(jit_compile):
    def make():
        layers = [L.SpectralNormalization(L.Dense(8, activation="relu")), L.SpectralNormalization(L.Dense(1))]
        return keras.Sequential([keras.Input((6,)), *layers])

    plain = make()
    wrapped = tfl.wrap(plain)
    for model in (plain, wrapped):
        model.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=jit_compile)
        model.fit(X, Y, epochs=3, batch_size=16, shuffle=False, verbose=0)
    for path, weight in tfl.get_weights(plain).items():
        np.testing.assert_array_equal(tfl.get_weights(wrapped)[path], weight, err_msg=path)


def test_a_stateful_recurrent_layer_keeps_its_state():
    plain = keras.Sequential([keras.Input((3, 6), batch_size=4), L.LSTM(5, stateful=True)])
    wrapped = tfl.wrap(plain)
    batch = np.random.default_rng(2).normal(size=(4, 3, 6)).astype("float32")
    for _ in range(3):
        expected = plain(batch)
        np.testing.assert_array_equal(wrapped(batch), expected)
    assert any(np.any(v.numpy()) for v in wrapped.layers[0].layer.states)


@pytest.mark.parametrize("layer", [lambda: L.LSTM(5, dropout=0.5, recurrent_dropout=0.3), lambda: L.GRU(5)])
def test_a_recurrent_layer_masks_its_weights_once_a_call(layer, random_masks):
    model = tfl.wrap(keras.Sequential([keras.Input((7, 6)), layer(), L.Dense(1)]))
    masks = random_masks(tfl.get_masks(model))
    tfl.set_masks(model, masks)
    graph = tf.function(model).get_concrete_function(tf.TensorSpec((2, 7, 6))).graph
    bodies = [function.graph for name, function in graph._functions.items() if "while" in name and "body" in name]
    assert bodies
    shapes = {tuple(mask.shape) for mask in masks.values()}
    for body in bodies:
        selected = [op for op in body.get_operations() if op.type == "SelectV2"]
        assert not [op for op in selected if tuple(op.outputs[0].shape) in shapes]
    model.compile("adam", "mse")
    model.fit(np.random.default_rng(0).normal(size=(8, 7, 6)), Y[:8], epochs=2, verbose=0)
    plant(model, masks)
    batch = np.random.default_rng(3).normal(size=(2, 7, 6)).astype("float32")
    np.testing.assert_array_equal(tfl.strip(model)(batch), model(batch))


def test_a_variable_that_is_assigned_is_read_again(planted):
    model, _ = planted
    kernel = model.layers[0].layer.kernel
    with read_once([kernel]):
        before = np.array(kernel)
        kernel.assign(kernel * 2)
        np.testing.assert_array_equal(np.array(kernel), before * 2)


def test_unmasked_again(planted):
    model, masks = planted
    kernel = model.layers[0].layer.kernel
    before = type(mlp().layers[0].kernel), type(mlp().layers[0].kernel._value)
    unmask_variable(kernel)
    unmask_variable(kernel)
    assert (type(kernel), type(kernel._value)) == before
    assert not is_masked(kernel)
    assert (kernel.numpy()[~masks["dense/kernel"]] == 7).all()


def test_a_value_of_an_unknown_kind_is_refused():
    kernel = mlp().layers[0].kernel
    kernel._value = np.ones((6, 8), "float32")
    with pytest.raises(RuntimeError, match="it holds ndarray, which this release"):
        masked_variable.mask_variable(kernel, kernel)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("layer", [lambda: L.Dense(4), lambda: L.EinsumDense("ab,bc->ac", 4)], ids=["dense", "einsum"])
def test_lora_is_refused_before_and_after(layer, when):
    model = keras.Sequential([keras.Input((6,)), layer(), L.Dense(1)])
    if when == "before":
        model.layers[0].enable_lora(2)
        with pytest.raises(UsageError, match=r"A mask of .*kernel would not hold: LoRA is enabled.*exclude"):
            tfl.wrap(model)
        assert list(tfl.get_masks(tfl.wrap(model, exclude=model.layers[0].name)))
    else:
        wrapped = tfl.wrap(model)
        with pytest.raises(
            UsageError, match=r"`enable_lora` of the layer .* masks do not hold for: its product .*`strip`"
        ):
            wrapped.layers[0].layer.enable_lora(2)
        tfl.strip(wrapped).layers[0].enable_lora(2)


@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize` method")
def test_quantizing_a_wrapped_model_is_refused():
    wrapped = tfl.wrap(mlp())
    for part in (wrapped, wrapped.layers[0].layer):
        with pytest.raises(
            UsageError, match=rf"`quantize` of the \w+ '{part.name}' .* replaces the kernel. `strip` the"
        ):
            part.quantize("int8")
    tfl.strip(wrapped).quantize("int8")


@pytest.mark.parametrize("trainable", [False, True])
def test_a_nested_base_is_frozen_and_unfrozen_in_copies(trainable):
    inner = keras.Input((6,))
    base = keras.Model(inner, L.Dense(4, name="inside")(inner), name="base")
    inputs = keras.Input((6,))
    model = keras.Model(inputs, L.Dense(1)(base(inputs)))
    base.trainable = not trainable
    wrapped = tfl.wrap(model)
    for copy in (wrapped, tfl.strip(wrapped)):
        copy.get_layer("base").trainable = trainable
        assert len(copy.trainable_variables) == (4 if trainable else 2)
        before = tfl.get_weights(copy)["base/inside/kernel"]
        copy.compile("sgd", "mse")
        copy.fit(X, Y, verbose=0)
        assert np.any(tfl.get_weights(copy)["base/inside/kernel"] != before) == trainable


class OwnKernel(L.Layer):
    """A layer of the user's own, whose weights Keras's kinds do not cover."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 50), name="kernel")
        self.other = self.add_weight(shape=(50, 50), name="other")

    def call(self, inputs):
        return inputs @ self.kernel @ self.other


class Declared(OwnKernel):
    def maskable_weights(self):
        return [self.kernel, self.other]


class Prunable(OwnKernel):
    def get_prunable_weights(self):
        return [self.other]


def test_what_is_left_out_is_warned_of_by_name():
    def make(layer):
        return keras.Sequential([keras.Input((6,)), layer, L.Dense(4)])

    with pytest.warns(UserWarning, match=r"Only 7% .* left out: own_kernel/other \(2,500 weights\), own_kernel/kernel"):
        tfl.wrap(make(OwnKernel()))
    assert set(tfl.get_masks(tfl.wrap(make(Declared())))) == {"declared/kernel", "declared/other", "dense/kernel"}
    assert set(tfl.get_masks(tfl.wrap(make(Prunable())))) == {"prunable/other", "dense/kernel"}
    assert set(tfl.get_masks(tfl.wrap(make(OwnKernel()), include="dense"))) == {"dense/kernel"}


def test_sublayers_in_attributes_that_start_with_self_are_found():
    class Attention(L.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self._self_attention_layer = L.Dense(3)

        def build(self, shape):
            self._self_attention_layer.build(shape)

        def call(self, inputs):
            return self._self_attention_layer(inputs)

        def get_config(self):
            return super().get_config()

    model = keras.Sequential([keras.Input((6,)), Attention(name="a"), L.Dense(1)])
    assert set(tfl.get_masks(tfl.wrap(model))) == {"a/self_attention_layer/kernel", "dense/kernel"}


def test_a_masked_layer_has_the_attributes_of_the_layer_that_it_holds():
    wrapped = tfl.wrap(keras.Sequential([keras.Input((3, 6), batch_size=2), L.LSTM(5, stateful=True, name="lstm")]))
    layer = wrapped.get_layer("lstm")
    assert layer.units == 5
    assert layer.cell.kernel is layer.layer.cell.kernel
    wrapped(np.ones((2, 3, 6), "float32"))
    assert all(np.any(state.numpy()) for state in layer.states)
    layer.reset_states()
    assert not any(np.any(state.numpy()) for state in layer.states)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = layer.nothing_like_it
    with pytest.raises(AttributeError, match="save_assets"):
        _ = layer.save_assets
