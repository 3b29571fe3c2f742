"""What a layer computes with beside its weights is in every copy: statistics, vocabularies, constants of its own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.errors import UnfitError
from tf_lottery.layers import copy_model
from tf_lottery.layers.architecture import architecture, model_from_architecture
from tf_lottery.layers.functional_copy import functional_copy
from tf_lottery.layers.precision_copy import copy_in_precision, other_floats

L, ops = keras.layers, keras.ops
X = (100 + 30 * np.random.default_rng(0).normal(size=(40, 3))).astype("float32")
NUMBERS = np.array([[3, 3, 5], [3, 5, 7], [9, 3, 5], [7, 5, 3]])
registered = keras.saving.register_keras_serializable("state_beside_weights")


@registered
class Shifting(L.Layer):
    """Has a constant that `finalize_state` computes from a variable, as `Normalization` has."""

    def build(self, shape):
        self.shift = self.add_weight(shape=(shape[-1],), initializer="zeros", trainable=False, name="shift")
        self.finalize_state()

    def finalize_state(self):
        self.constant = ops.cast(-ops.convert_to_numpy(self.shift.value), self.compute_dtype)

    def call(self, inputs):
        return inputs + self.constant


@registered
class Dividing(L.Layer):
    """Has a constant that is computed where Keras loads its variable."""

    def build(self, shape):
        self.width = self.add_weight(shape=(shape[-1],), initializer="ones", trainable=False, name="width")
        self._derive()

    def _derive(self):
        self.inverse = ops.cast(1 / ops.convert_to_numpy(self.width.value), self.compute_dtype)

    def load_own_variables(self, store):
        super().load_own_variables(store)
        self._derive()

    def call(self, inputs):
        return inputs * self.inverse


@registered
class Adapted(L.Layer):
    """Can't be called before an attribute is set, which is no variable."""

    def __init__(self, **options):
        super().__init__(**options)
        self.largest = None

    def adapt(self, data):
        self.largest = np.abs(data).max(0)

    def call(self, inputs):
        return inputs / ops.cast(self.largest, inputs.dtype)


@registered
class Cached(L.Layer):
    """Computes a constant from its weight when it is built."""

    def build(self, shape):
        self.log = self.add_weight(shape=(shape[-1],), initializer="random_normal", name="log")
        self.factor = ops.cast(np.exp(ops.convert_to_numpy(self.log.value)), self.compute_dtype)

    def call(self, inputs):
        return inputs * self.factor


@registered
class OfTensorFlow(L.Layer):
    """Holds a variable and a table of TensorFlow, which Keras does not see."""

    def __init__(self, **options):
        super().__init__(**options)
        self.factors = [tf.Variable([1.0, 1.0, 1.0])]
        self.table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, 0.0)

    def call(self, inputs):
        shift = tf.ensure_shape(self.table.lookup(tf.constant([1, 2, 3], tf.int64)), [3])
        return inputs * tf.cast(self.factors[0], inputs.dtype) + tf.cast(shift, inputs.dtype)


def normalization(**options):
    layer = L.Normalization(**options)
    if not options.get("mean"):
        layer.adapt(X)
    mean, variance = (np.mean(X, 0), np.var(X, 0)) if not options else (100, 900)
    return layer, X, (X - mean) / np.sqrt(variance)


def shifting():
    layer = Shifting()
    layer.build((None, 3))
    layer.shift.assign([90.0, 100.0, 110.0])
    layer.finalize_state()
    return layer, X, X - [90, 100, 110]


def dividing():
    layer = Dividing()
    layer.build((None, 3))
    layer.load_own_variables({"0": np.array([50.0, 100.0, 200.0])})
    return layer, X, X / [50, 100, 200]


def adapted():
    layer = Adapted()
    layer.adapt(X)
    return layer, X, X / X.max(0)


def cached():
    layer = Cached()
    layer.build((None, 3))
    return layer, X / 100, X / 100 * np.exp(layer.log.numpy())


def of_tensorflow():
    layer = OfTensorFlow()
    layer.factors[0].assign([0.01, 0.02, 0.03])
    layer.table.insert(tf.constant([2], tf.int64), [5.0])
    return layer, X, X * [0.01, 0.02, 0.03] + [0, 5, 0]


def binned():
    layer = L.Discretization(num_bins=2)
    layer.adapt(X)
    return layer, X, np.digitize(X, np.array(layer.bin_boundaries, "float32"))


def numbered():
    layer = L.IntegerLookup()
    layer.adapt(NUMBERS)  # by frequency: 3, 5, 7, 9; 0 stands for others
    return layer, NUMBERS, np.vectorize({3: 1, 5: 2, 7: 3, 9: 4}.get)(NUMBERS)


def weighted_terms():
    layer = L.IntegerLookup(output_mode="tf_idf")
    layer.adapt(NUMBERS)
    terms = np.log(1 + 4 / (1 + np.array([4, 4, 2, 1])))  # 3, 5, 7 and 9 are in so many of the four rows
    counts = np.stack([(term == NUMBERS).sum(1) for term in (3, 5, 7, 9)], 1)
    return layer, NUMBERS, np.concatenate([np.zeros((4, 1)), counts * terms], 1)


LAYERS = [
    normalization,
    lambda: normalization(mean=100.0, variance=900.0),
    shifting,
    dividing,
    adapted,
    cached,
    of_tensorflow,
    binned,
    numbered,
    weighted_terms,
]
NAMES = ["normalization", "given", *(make.__name__ for make in LAYERS[2:])]


def model_of(layer, x):
    inputs = keras.Input((3,), dtype="int64" if x.dtype.kind == "i" else "float32")
    hidden, out = L.Dense(4, "relu", name="hidden"), L.Dense(2, name="out", dtype="float32")
    features = layer(inputs)
    features = ops.cast(features, "float32") if "int" in features.dtype else features
    model = keras.Model(inputs, out(hidden(features)))
    out.kernel.assign(np.where(np.arange(4)[:, None] < 2, 0, out.kernel))  # two units for `slim` to remove
    return model


def by_hand(model, features):
    hidden, out = model.get_layer("hidden"), model.get_layer("out")
    kernels = [layer.kernel.numpy().astype(np.float64) for layer in (hidden, out)]
    return np.maximum(features @ kernels[0] + hidden.bias.numpy(), 0) @ kernels[1] + out.bias.numpy()


class Around(keras.Model):
    """Calls the layers of a functional model in a class of its own."""

    def __init__(self, model):
        super().__init__()
        self.first, self.hidden, self.out = model.layers[1], model.get_layer("hidden"), model.get_layer("out")

    def call(self, inputs):
        return self.out(self.hidden(self.first(inputs)))


def traced(model):
    around = Around(model)
    around(X)
    return functional_copy(around)


def of_architecture(model):
    copy = model_from_architecture(architecture(model))
    tfl.set_weights(copy, tfl.get_weights(model))
    return copy


COPIES = {
    "wrap": tfl.wrap,
    "strip": lambda model: tfl.strip(tfl.wrap(model)),
    "copy": copy_model,
    "slim": lambda model: tfl.slim(model)[0],
}


@pytest.mark.parametrize("make", LAYERS, ids=NAMES)
@pytest.mark.parametrize("copied", COPIES)
def test_a_copy_computes_the_same(make, copied):
    layer, x, features = make()
    model = model_of(layer, x)
    expected = by_hand(model, features)
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-4)  # the numbers of this test are right
    np.testing.assert_allclose(COPIES[copied](model)(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", [normalization, shifting, dividing], ids=["normalization", "shifting", "dividing"])
def test_weights_that_are_set_are_computed_with(make):
    layer, x, features = make()
    model = model_of(layer, x)
    copy = of_architecture(model)
    np.testing.assert_allclose(copy(x), by_hand(model, features), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", [normalization, shifting, dividing, adapted])
def test_a_traced_class_computes_the_same(make):
    layer, x, features = make()
    model = model_of(layer, x)
    np.testing.assert_allclose(traced(model)(x), by_hand(model, features), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
@pytest.mark.parametrize("make", LAYERS, ids=NAMES)
def test_a_float32_copy_computes_in_float32(make, policy, request):
    keras.config.set_dtype_policy(policy)
    request.addfinalizer(lambda: keras.config.set_dtype_policy("float32"))
    layer, x, features = make()
    model = model_of(layer, x)
    copy = copy_in_precision(model, "float32")  # under the policy of the training
    assert not other_floats(copy)
    floats = {variable.dtype for variable in copy.variables if "float" in variable.dtype}
    assert floats == {"float32"}
    assert keras.config.dtype_policy().name == policy
    if make not in (binned, cached):  # whose own constants were rounded
        features = np.asarray(features, np.float64)
        np.testing.assert_allclose(copy(x), by_hand(model, features), rtol=0.05, atol=0.05)


def test_an_adapted_vocabulary_is_in_no_architecture():
    layer, x, _ = numbered()
    with pytest.raises(UnfitError, match=r"vocabulary.*integer_lookup.*constructor"):
        model_from_architecture(architecture(model_of(layer, x)))
    given = L.IntegerLookup(vocabulary=[3, 5, 7, 9])
    model = model_of(given, x)
    np.testing.assert_array_equal(of_architecture(model)(x), model(x))
