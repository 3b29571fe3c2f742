"""`wrap`, `strip`, masks and weights in and out: what is refused, and that nothing changes then."""

import keras
import numpy as np
import pytest

import tf_lottery.layers as layers
from tf_lottery.errors import NonFiniteError, UnfitError, UsageError
from toys import Subclassed, Tied

L = keras.layers


def mlp(**kwargs):
    return keras.Sequential([keras.Input((4,)), L.Dense(3, activation="relu"), L.Dense(2)], **kwargs)


class OwnStep(keras.Model):
    """A functional model with the constructor of one, and a training step of its own."""

    def train_step(self, data):
        return {"answer": keras.ops.cast(42.0, "float32")}


class OwnConstructor(keras.Model):
    def __init__(self, units):
        inputs = keras.Input((4,))
        super().__init__(inputs, L.Dense(units)(inputs))


class OwnConstructorAndStep(OwnConstructor):
    def train_step(self, data):
        return {"answer": keras.ops.cast(42.0, "float32")}


class OwnConstructorAndMetrics(OwnConstructor):
    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return {"answer": 42.0}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Subclassed(), UnfitError, r"is not built: .* Call it once on a batch of data: model\(x\)"),
        (
            lambda: OwnConstructorAndStep(2),
            UsageError,
            r"AndStep, which has its own train_step, can't be copied.*in_place=True",
        ),
        (
            lambda: OwnConstructorAndMetrics(2),
            UsageError,
            r"AndMetrics, which has its own compute_metrics, can't be copied",
        ),
        (lambda: keras.Sequential([L.Dense(2)]), UnfitError, "is not built"),
        (lambda: keras.Sequential(), UnfitError, "is not built"),
        (lambda: keras.Sequential([keras.Input((4,)), L.Flatten()]), UnfitError, "Nothing in the model can be masked"),
        (
            lambda: keras.Sequential([keras.Input((4,)), L.BatchNormalization()]),
            UnfitError,
            "batch_normalization/gamma: not a kernel",
        ),
        (lambda: layers.wrap(mlp()), UsageError, "already wrapped"),
        (lambda: L.Dense(2), UsageError, "A keras.Model is expected. Received: keras.*Dense"),
        (lambda: None, UsageError, "NoneType"),
    ],
)
def test_models_that_cannot_be_wrapped(make, error, message):
    with pytest.raises(error, match=message):
        layers.wrap(make())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_weights_are_refused(value):
    model = mlp()
    kernel = np.array(model.layers[0].kernel.value)
    kernel[0, 0] = value
    model.layers[0].kernel.assign(kernel)
    with pytest.raises(NonFiniteError, match="dense/kernel"):
        layers.wrap(model)


def test_a_functional_subclass_keeps_its_training_step():
    inputs = keras.Input((4,))
    model = layers.wrap(OwnStep(inputs, L.Dense(2)(inputs)))
    assert type(model) is OwnStep
    model.compile(jit_compile=False)
    assert model.fit(np.ones((2, 4)), np.ones((2, 2)), verbose=0).history["answer"] == [42.0]


def test_a_compiled_model_with_any_loss_is_wrapped_uncompiled():
    model = mlp()
    model.compile("adam", loss=lambda y, p: keras.ops.mean((y - p) ** 2))
    wrapped = layers.wrap(model)
    assert model.compiled
    assert not wrapped.compiled
    assert not layers.strip(wrapped).compiled


def test_a_sequential_model_built_later_is_wrapped():
    model = keras.Sequential([L.Dense(3), L.Dense(2)])
    model.build((None, 4))
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(layers.wrap(model)(x), model(x))


def test_names_of_model_and_layers_stay():
    model = mlp(name="mine")
    wrapped = layers.wrap(model)
    assert wrapped.name == "mine"
    assert [layer.name for layer in wrapped.layers] == [layer.name for layer in model.layers]
    assert [layer.name for layer in layers.strip(wrapped).layers] == [layer.name for layer in model.layers]


def test_inputs_keep_names_types_and_structure():
    first, second = keras.Input((4,), name="a"), keras.Input((4,), dtype="int32")
    model = keras.Model([first, [second]], L.Dense(2)(first + keras.ops.cast(second, "float32")))
    x = [np.ones((2, 4), "float32"), [np.ones((2, 4), "int32")]]
    wrapped = layers.wrap(model)
    for copy in (wrapped, layers.strip(wrapped)):
        inputs = [layer for layer in copy.layers if isinstance(layer, L.InputLayer)]
        assert {layer.name for layer in inputs} == {"a", second._keras_history.operation.name}
        assert [tensor.dtype for tensor in copy.inputs] == ["float32", "int32"]
        np.testing.assert_array_equal(model(x), copy(x))


def test_layers_beyond_their_configurations_are_copied():
    words = L.StringLookup(output_mode="multi_hot")
    words.adapt(np.array(["hot", "cold", "hot"]))
    model = keras.Sequential([keras.Input((2,), dtype="string"), words, L.Lambda(lambda x: 2 * x), L.Dense(3)])
    x = keras.ops.convert_to_tensor([["hot", "cold"], ["cold", "mild"]])
    wrapped = layers.wrap(model)
    np.testing.assert_array_equal(model(x), wrapped(x))
    np.testing.assert_array_equal(model(x), layers.strip(wrapped)(x))


def test_a_layer_without_a_configuration_is_named():
    class Plain(L.Layer):
        def __init__(self, units):
            super().__init__()
            self.units = units

        def call(self, inputs):
            return inputs

    model = keras.Sequential([keras.Input((4,)), Plain(3), L.Dense(2)])
    with pytest.raises(UnfitError, match=r"'plain(_\d+)?' of class Plain cannot be copied.*`get_config`"):
        layers.wrap(model)
    assert list(layers.get_masks(layers.wrap(model, in_place=True))) == ["dense/kernel"]


def test_layers_that_share_a_variable_are_refused():
    # Copies would each have one of their own, without a word.
    dense, inputs = L.Dense(3), keras.Input((4,))
    with pytest.raises(UnfitError, match="has other weights: tied/source/bias, tied/source/kernel"):
        layers.wrap(keras.Model(inputs, Tied(dense)(dense(inputs))))


@pytest.mark.parametrize("function", [layers.strip, layers.get_masks, layers.apply_masks])
def test_a_plain_model_has_no_masks(function):
    with pytest.raises(UsageError, match="expect"):
        function(mlp())
    with pytest.raises(UsageError):
        layers.set_masks(mlp(), {})
    assert not layers.is_wrapped(mlp())


def test_masks_go_in_and_come_out(random_masks):
    model = layers.wrap(mlp())
    dense = layers.get_masks(model)
    assert {key: mask.shape for key, mask in dense.items()} == {"dense/kernel": (4, 3), "dense_1/kernel": (3, 2)}
    assert all(mask.dtype == bool and mask.all() for mask in dense.values())
    masks = random_masks(dense)
    layers.set_masks(model, masks)
    for key, mask in layers.get_masks(model).items():
        np.testing.assert_array_equal(mask, masks[key])
        mask[:] = True  # a copy
    assert not all(mask.all() for mask in layers.get_masks(model).values())
    layers.set_masks(model, {key: mask.astype("float32") for key, mask in masks.items()})
    np.testing.assert_array_equal(layers.get_masks(model)["dense/kernel"], masks["dense/kernel"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("dense/kernel"), "missing: dense/kernel"),
        (lambda m: m.update(other=np.ones(2, bool)), "unexpected: other"),
        (lambda m: m.update({"dense_1/kernel": np.zeros((2, 3), bool)}), r"shape \(3, 2\). Received: \(2, 3\)"),
        (lambda m: m.update({"dense_1/kernel": np.full((3, 2), 0.5)}), "must be boolean"),
        (lambda m: m.update({"dense_1/kernel": np.full((3, 2), np.nan)}), "must be boolean"),
        (lambda m: m.update({"dense_1/kernel": np.full((3, 2), 2)}), "must be boolean"),
        (lambda m: m.update({"dense_1/kernel": np.full((3, 2), "yes")}), "must be boolean"),
        (lambda m: m.update({"dense_1/kernel": None}), "shape"),
    ],
)
def test_masks_that_do_not_fit_change_nothing(change, message):
    model = layers.wrap(mlp())
    weights = layers.get_weights(model)
    masks = {key: np.zeros_like(mask) for key, mask in layers.get_masks(model).items()}
    change(masks)
    with pytest.raises(UnfitError, match=message):
        layers.set_masks(model, masks)
    assert all(mask.all() for mask in layers.get_masks(model).values())
    for key, weight in layers.get_weights(model).items():
        np.testing.assert_array_equal(weight, weights[key])


def test_weights_go_in_and_come_out():
    plain, wrapped = mlp(), layers.wrap(mlp())
    weights = layers.get_weights(plain)
    assert list(weights) == ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"]
    layers.set_weights(wrapped, weights)
    for key, weight in layers.get_weights(wrapped).items():
        np.testing.assert_array_equal(weight, weights[key])
    weights["dense/kernel"][:] = 7.0  # a copy
    assert not (layers.get_weights(plain)["dense/kernel"] == 7.0).any()


def test_set_weights_keeps_pruned_weights_at_zero(random_masks):
    model = layers.wrap(mlp())
    masks = random_masks(layers.get_masks(model))
    layers.set_masks(model, masks)
    layers.set_weights(model, {"dense/kernel": np.ones((4, 3), "float32")})
    np.testing.assert_array_equal(model.layers[0].layer.kernel.value, masks["dense/kernel"].astype("float32"))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"dense/kernel": np.zeros((3, 4))}, r"'dense/kernel' with shape \(3, 4\)"),
        ({"dense/bias": np.ones(3), "none/kernel": np.ones(3)}, "no variable of this path"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(weights, message):
    model = mlp()
    before = layers.get_weights(model)
    with pytest.raises(UnfitError, match=message):
        layers.set_weights(model, weights)
    for key, weight in layers.get_weights(model).items():
        np.testing.assert_array_equal(weight, before[key])


def test_an_explicit_bias_may_be_masked():
    model = layers.wrap(mlp(), include="dense/bias")
    assert list(layers.get_masks(model)) == ["dense/bias"]
    layers.set_weights(model, {"dense/bias": np.ones(3)})
    layers.set_masks(model, {"dense/bias": np.array([True, False, True])})
    np.testing.assert_array_equal(layers.strip(model).layers[0].bias.value, [1, 0, 1])


def test_batch_norm_variables_are_masked_on_request():
    plain = keras.Sequential([keras.Input((3,)), L.Dense(2), L.BatchNormalization()])
    model = layers.wrap(plain, include="batch_normalization/gamma")
    x = np.array([[1.0, 2.0, 3.0], [4.0, 0.0, 1.0]], "float32")
    layers.set_masks(model, {"batch_normalization/gamma": np.array([True, False])})
    plain.layers[1].gamma.assign([1.0, 0.0])
    np.testing.assert_allclose(plain(x, training=True), model(x, training=True), rtol=1e-6)
    np.testing.assert_array_equal(plain.layers[1].moving_mean.value, model.layers[1].layer.moving_mean.value)


def test_a_mask_applying_layer_refuses_what_is_not_there():
    with pytest.raises(ValueError, match="must be built"):
        layers.Masked(L.Dense(2), ["kernel"])
    dense = L.Dense(2)
    dense.build((None, 3))
    with pytest.raises(ValueError, match=r"no weight weights. It has: kernel, bias"):
        layers.Masked(dense, ["weights"])


def test_stripped_copies_do_not_share_weights(random_masks):
    model = layers.wrap(mlp())
    stripped = layers.strip(model)
    stripped.layers[0].kernel.assign(np.zeros((4, 3)))
    assert layers.get_weights(model)["dense/kernel"].all()
    assert "tf_lottery" not in stripped.to_json()
