"""Models that their own class makes from a configuration, and copies whose parts have other names than the model's."""

import itertools

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import UsageError
from tf_lottery.layers import named_variables

L = keras.layers
X = np.random.default_rng(0).normal(size=(12, 6)).astype("float32")
Y = np.random.default_rng(1).normal(size=(12, 2)).astype("float32")
COUNTS = itertools.count()


@keras.saving.register_keras_serializable("tests")
class Backbone(keras.Model):
    """A functional model whose constructor makes its layers, as those of KerasHub do."""

    def __init__(self, width=8, **options):
        inputs = keras.Input((6,), name="features")
        hidden = L.Dense(width, activation="relu", name="hidden")(inputs)
        super().__init__(inputs, L.Dense(width)(hidden), **options)
        self.width = width

    def doubled(self, x):
        return 2 * self(x)

    def get_config(self):
        return {"width": self.width, "name": self.name}


@keras.saving.register_keras_serializable("tests")
class Classifier(keras.Model):
    """Holds a backbone in its graph, and a layer that is not in it."""

    def __init__(self, backbone, rate=0.1, **options):
        inputs = backbone.inputs[0]
        super().__init__(inputs, L.Dense(2, name="head")(L.Dropout(rate, seed=1)(backbone(inputs))), **options)
        self.backbone = backbone
        self.rate = rate
        self.projection = L.Dense(3, trainable=False)
        self.projection.build((None, 2))

    def train_step(self, data):
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        return super().train_step((x, 2 * y))

    def project(self, x):
        return self.projection(self(x))

    def get_config(self):
        backbone = keras.saving.serialize_keras_object(self.backbone)
        return {"backbone": backbone, "rate": self.rate, "name": self.name}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "backbone": keras.saving.deserialize_keras_object(config["backbone"])})


@keras.saving.register_keras_serializable("tests")
class Stack(keras.Sequential):
    """A Sequential model with a constructor of its own."""

    def __init__(self, width=4, **options):
        super().__init__([keras.Input((6,)), L.Dense(width, activation="tanh"), L.Dense(2)], **options)
        self.width = width

    def get_config(self):
        return {"width": self.width}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@keras.saving.register_keras_serializable("tests")
class Counting(keras.Model):
    """Names its layers and itself by how many there were before; a weight has no name at all."""

    def __init__(self, width=4):
        number = next(COUNTS)
        inputs = keras.Input((6,))
        hidden = L.Dense(width, name=f"wide_{number}_")(inputs)
        hidden = Scaled(name=f"scaled_{number}_")(hidden)
        super().__init__(inputs, L.Dense(2, name=f"last_{number}_")(hidden), name=f"model_{number}")
        self.width = width

    def get_config(self):
        return {"width": self.width}


@keras.saving.register_keras_serializable("tests")
class Scaled(L.Layer):
    """Adds weights without a name, as the LayerScale of ConvNeXt does."""

    def build(self, shape):
        self.gamma = self.add_weight(shape=(shape[-1],), initializer="ones")
        self.more = [self.add_weight(shape=(shape[-1],), initializer="ones")]

    def call(self, inputs):
        return inputs * self.gamma * self.more[0]


MAKERS = {
    "backbone": Backbone,
    "classifier": lambda: Classifier(Backbone(5), rate=0.3),
    "stack": lambda: Stack(5),
    "counting": lambda: Counting(5),
}


def trained(model):
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse", jit_compile=False)
    target = np.ones((12, *model.output_shape[1:]), "float32")
    for _ in range(3):
        model.train_on_batch(X, target)
    return [variable.numpy().tobytes() for variable in named_variables(model).values()]


@pytest.fixture(params=MAKERS)
def model(request):
    return MAKERS[request.param]()


@pytest.mark.parametrize("in_place", [False, True])
def test_it_keeps_its_class_and_trains_as_before(model, in_place):
    wrapped = tfl.wrap(tfl.strip(tfl.wrap(model)), in_place=in_place)
    assert isinstance(wrapped, type(model))
    assert len(tfl.get_masks(wrapped)) == 2 + 2 * (type(model) is Classifier)
    np.testing.assert_array_equal(wrapped(X), model(X))
    assert trained(wrapped) == trained(model)


def test_what_is_pruned_is_zero_in_every_copy(model, random_masks, tmp_path):
    wrapped = tfl.wrap(model)
    masks = random_masks(tfl.get_masks(wrapped))
    tfl.set_masks(wrapped, masks)
    trained(wrapped)
    # Stored again where nothing reads it: a plain model computes the same only if the masks hold.
    by_hand = type(model).from_config(model.get_config())
    for (path, variable), other in zip(
        named_variables(wrapped).items(), named_variables(by_hand).values(), strict=True
    ):
        value = variable.numpy()
        other.assign(value)
        if path in masks:
            variable.assign(np.where(masks[path], value, 7.0))
    outputs = by_hand(X)
    np.testing.assert_array_equal(wrapped(X), outputs)
    wrapped.save(tmp_path / "wrapped.keras")
    loaded = tfl.load_model(tmp_path / "wrapped.keras")
    assert isinstance(loaded, type(model))
    np.testing.assert_array_equal(loaded(X), outputs)
    for mask, other in zip(masks.values(), tfl.get_masks(loaded).values(), strict=True):
        np.testing.assert_array_equal(mask, other)
    stripped = tfl.strip(loaded)
    assert type(stripped) is type(model)
    stripped.save(tmp_path / "plain.keras")
    assert b"tf_lottery>" not in (tmp_path / "plain.keras").read_bytes()
    again = keras.models.load_model(tmp_path / "plain.keras")
    assert type(again) is type(model)
    np.testing.assert_array_equal(again(X), outputs)


def test_methods_attributes_and_inner_models_are_those_of_the_copy():
    model = Classifier(Backbone(5), rate=0.3, name="mine")
    model.backbone.trainable = False
    wrapped = tfl.wrap(model)
    for copy in (wrapped, tfl.strip(wrapped)):
        assert (copy.name, copy.rate, copy.backbone.width) == ("mine", 0.3, 5)
        assert copy.backbone is copy.get_layer(copy.backbone.name)
        assert copy.backbone is not model.backbone
        assert not copy.backbone.trainable
        np.testing.assert_array_equal(copy.project(X), model.project(X))
        np.testing.assert_array_equal(copy.backbone.doubled(X), model.backbone.doubled(X))
    assert type(wrapped).from_config(model.get_config()).backbone.width == 5
    copy.backbone.trainable = True
    assert len(copy.trainable_variables) == 6


@pytest.mark.parametrize("in_place", [False, True])
def test_one_in_a_plain_model_keeps_its_class(in_place, random_masks, tmp_path):
    inputs = keras.Input((6,))
    inner = Backbone(5, name="inner")
    model = keras.Model(inputs, L.Dense(2)(keras.Sequential([Stack(6), L.Dense(3)])(inputs) + inner(inputs)[:, :3]))
    paths = ["sequential/stack/dense/kernel", "sequential/stack/dense_1/kernel", "sequential/dense/kernel"]
    paths += ["inner/hidden/kernel", "inner/dense/kernel", "dense/kernel"]
    expected = np.array(model(X))
    wrapped = tfl.wrap(model, in_place=in_place)
    assert sorted(tfl.get_masks(wrapped)) == sorted(paths)
    np.testing.assert_array_equal(wrapped(X), expected)
    assert isinstance(wrapped.get_layer("inner"), Backbone)
    assert (wrapped.get_layer("inner") is inner) == in_place
    tfl.set_masks(wrapped, random_masks(tfl.get_masks(wrapped)))
    outputs = np.array(wrapped(X))
    assert np.any(outputs != expected)
    assert np.any(np.array(model(X)) != expected) == in_place
    wrapped.save(tmp_path / "model.keras")
    loaded = tfl.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(X), outputs)
    stripped = tfl.strip(loaded)
    assert type(stripped.get_layer("inner")) is Backbone
    np.testing.assert_array_equal(stripped(X), outputs)


def test_a_graph_that_also_calls_a_layer_inside_one(random_masks):
    backbone = Backbone(5)
    inputs = keras.Input((6,))
    model = keras.Model(inputs, backbone.get_layer("hidden")(L.Dense(6)(backbone(inputs))))
    wrapped = tfl.wrap(model)
    np.testing.assert_array_equal(wrapped(X), model(X))
    masks = random_masks(tfl.get_masks(wrapped))
    assert sorted(masks) == ["backbone/dense/kernel", "backbone/hidden/kernel", "dense/kernel"]
    tfl.set_masks(wrapped, masks)
    np.testing.assert_array_equal(tfl.strip(wrapped)(X), wrapped(X))
    assert len(tfl.strip(wrapped).variables) == len(model.variables)


def test_a_file_of_a_class_that_is_not_registered(tmp_path):
    class Local(Backbone):
        pass

    model = Local(3)
    wrapped = tfl.wrap(model)
    wrapped.save(tmp_path / "wrapped.keras")
    loaded = tfl.load_model(tmp_path / "wrapped.keras", custom_objects={"Local": Local})
    assert isinstance(loaded, Local)
    np.testing.assert_array_equal(tfl.strip(loaded)(X), model(X))


class WithoutConfig(keras.Model):
    def __init__(self, width):
        inputs = keras.Input((6,))
        super().__init__(inputs, L.Dense(width)(inputs))

    def generate(self, x):
        return self(x) + 1


def test_without_a_configuration_the_copy_says_what_it_lacks():
    model = WithoutConfig(3)
    with pytest.warns(UserWarning, match=r"without what the class WithoutConfig adds \(generate\).*no `get_config`"):
        wrapped = tfl.wrap(model)
    np.testing.assert_array_equal(wrapped(X), model(X))
    same = tfl.wrap(model, in_place=True)
    assert same is model
    np.testing.assert_array_equal(same.generate(X), wrapped(X) + 1)
    assert type(tfl.strip(same, in_place=True)) is WithoutConfig


def test_own_training_steps_are_not_lost_without_a_configuration():
    class OwnStep(WithoutConfig):
        def train_step(self, data):
            return {"answer": keras.ops.cast(42.0, "float32")}

    with pytest.raises(UsageError, match=r"its own train_step, can't be copied by its graph.*in_place=True"):
        tfl.wrap(OwnStep(3))
    wrapped = tfl.wrap(OwnStep(3), in_place=True)
    wrapped.compile("sgd", "mse")
    assert wrapped.fit(X, Y, verbose=0).history["answer"] == [42.0]


@keras.saving.register_keras_serializable("tests")
class OwnStepStack(keras.Sequential):
    def train_step(self, data):
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        return super().train_step((x, 2 * y))


def test_a_sequential_class_without_a_constructor_keeps_its_class(tmp_path):
    model = OwnStepStack([keras.Input((6,)), L.Dense(2)])
    wrapped = tfl.wrap(model)
    assert type(wrapped) is type(tfl.strip(wrapped)) is OwnStepStack
    assert trained(wrapped) == trained(model)
    wrapped.save(tmp_path / "model.keras")
    assert type(tfl.load_model(tmp_path / "model.keras")) is OwnStepStack


class GraphAndRate(keras.Model):
    """Takes a graph, and more: Keras clones it as a functional model."""

    def __init__(self, inputs, outputs, rate=1.0, **options):
        super().__init__(inputs, outputs, **options)
        self.rate = rate

    def train_step(self, data):
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        return super().train_step((x, self.rate * y))


def test_a_class_that_takes_a_graph_and_more_keeps_its_class():
    inputs = keras.Input((6,))
    model = GraphAndRate(inputs, L.Dense(2)(inputs), rate=3.0)
    wrapped = tfl.wrap(model)
    assert type(wrapped) is GraphAndRate
    assert wrapped.rate == 3.0
    assert trained(wrapped) == trained(model)


def test_weights_without_a_name_have_the_path_of_their_attribute():
    def make():
        return keras.Sequential([keras.Input((6,)), L.Dense(3), Scaled(), L.Dense(2)])

    make()
    model = make()
    paths = ["dense/kernel", "dense/bias", "scaled/gamma", "scaled/variable", "dense_1/kernel", "dense_1/bias"]
    assert list(named_variables(model)) == paths
    model.layers[1].gamma.assign([1.0, 2.0, 3.0])
    wrapped = tfl.wrap(model, include=["scaled/gamma", "dense_1"])
    assert list(named_variables(wrapped)) == paths
    assert list(tfl.get_masks(wrapped)) == ["scaled/gamma", "dense_1/kernel"]
    np.testing.assert_array_equal(wrapped(X), model(X))
    np.testing.assert_array_equal(tfl.strip(wrapped)(X), model(X))


@keras.saving.register_keras_serializable("tests")
class Nameless(keras.Model):
    """A subclassed model whose configuration leaves its name out."""

    def __init__(self, width=4, **options):
        super().__init__(**options)
        self.width = width
        self.inside = L.Dense(width)

    def build(self, shape):
        self.inside.build(shape)

    def call(self, inputs):
        return self.inside(inputs)

    def get_config(self):
        return {"width": self.width}


def test_a_configuration_without_a_name(tmp_path):
    inputs = keras.Input((6,))
    model = keras.Model(inputs, L.Dense(2)(Nameless(3, name="first")(inputs) + Nameless(3, name="second")(inputs)))
    expected = np.array(model(X))
    wrapped = tfl.wrap(model)
    np.testing.assert_array_equal(wrapped(X), expected)
    wrapped.save(tmp_path / "model.keras")
    loaded = tfl.load_model(tmp_path / "model.keras")
    for copy in (loaded, tfl.strip(wrapped), tfl.strip(loaded), tfl.wrap(model, exclude="second")):
        np.testing.assert_array_equal(copy(X), expected)


def test_what_layers_derive_from_data_is_copied():
    class Prepared(keras.Model):
        def __init__(self):
            super().__init__()
            self.words = L.StringLookup(output_mode="multi_hot")
            self.normalization = L.Normalization()
            self.dense = L.Dense(2)

        def call(self, inputs):
            return self.dense(self.normalization(self.words(inputs)))

    model = Prepared()
    model.words.adapt(np.array(["hot", "cold", "hot"]))
    words = keras.ops.convert_to_tensor([["hot", "cold"], ["cold", "mild"]])
    model.normalization.adapt(model.words(words))
    expected = model(words)
    wrapped = tfl.wrap(model)
    np.testing.assert_array_equal(wrapped(words), expected)
    np.testing.assert_array_equal(tfl.strip(wrapped)(words), expected)


class PlainCell(keras.layers.Layer):
    """A recurrent cell whose class is not registered."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = self.state_size = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1] + self.units, self.units), name="kernel")

    def call(self, inputs, states):
        output = keras.ops.tanh(keras.ops.concatenate([inputs, states[0]], axis=-1) @ self.kernel)
        return output, [output]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def test_a_cell_of_a_class_that_is_not_registered_is_copied():
    model = keras.Sequential([keras.Input((3, 2)), keras.layers.RNN(PlainCell(4)), keras.layers.Dense(2)])
    wrapped = tfl.wrap(model, include="rnn")
    assert sorted(tfl.get_masks(wrapped)) == ["rnn/cell/kernel"]
    inputs = np.ones((2, 3, 2), "float32")
    np.testing.assert_array_equal(wrapped(inputs), model(inputs))


def block_class(sign):
    """Return one of several classes of the name `Block`, which compute different things."""

    class Block(L.Layer):
        def __init__(self, units=3, **options):
            super().__init__(**options)
            self.units, self.inner = units, L.Dense(units)

        def build(self, shape):
            self.inner.build(shape)

        def call(self, inputs):
            return sign * self.inner(inputs)

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    return Block


class TwoBlocks(keras.Model):
    def __init__(self, first, second, **options):
        super().__init__(**options)
        self.first, self.second = first, second

    def call(self, inputs):
        return self.second(self.first(inputs))

    def get_config(self):
        return {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in ("first", "second")}

    @classmethod
    def from_config(cls, config):
        return cls(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})


@pytest.mark.parametrize("registered", [True, False])
def test_two_classes_of_one_name(registered):
    plus, minus = block_class(1), block_class(-1)
    if registered:
        keras.saving.register_keras_serializable("plus")(plus)
        keras.saving.register_keras_serializable("minus")(minus)
    model = TwoBlocks(plus(4), minus(2))
    expected = np.array(model(X))
    if registered:
        wrapped = tfl.wrap(model)
        np.testing.assert_array_equal(wrapped(X), expected)
        np.testing.assert_array_equal(tfl.strip(wrapped)(X), expected)
    else:
        with pytest.raises(UsageError, match=r"can't be copied: two of its classes have the name Block, .*Register"):
            tfl.wrap(model)
        np.testing.assert_array_equal(tfl.wrap(model, in_place=True)(X), expected)
