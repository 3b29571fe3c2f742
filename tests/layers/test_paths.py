"""Paths are the same for any build or reload of a model, plain or wrapped; selectors find what they say."""

import keras
import numpy as np
import pytest

import tf_lottery.layers as layers
from tf_lottery.errors import UsageError

L = keras.layers


def conv_net():
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            L.Conv2D(2, 3, name="conv_a"),
            L.Conv2D(2, 3, name="conv_b"),
            L.BatchNormalization(),
            L.Flatten(),
            L.Dropout(0.5),
            L.Dense(4),
            L.Dense(3, activation="softmax"),
        ]
    )


def stack(*names):
    return keras.Sequential([keras.Input((4,)), *(L.Dense(4, name=name) for name in names)])


def kernels(model):
    return [path for path in layers.named_variables(model) if path.endswith("kernel")]


def found(model, **selectors):
    return list(layers.discover(model, **selectors).found)


@pytest.mark.filterwarnings("ignore:`build:UserWarning")  # Keras, of a reloaded custom layer without `build`
def test_paths_are_equal_for_every_build_and_reload(kind, tmp_path):
    first, second = kind.model(), kind.model()
    wrapped = layers.wrap(first)
    first.save(tmp_path / "plain.keras")
    reloaded = keras.models.load_model(tmp_path / "plain.keras")
    paths = {path: tuple(v.shape) for path, v in layers.named_variables(first).items()}
    for model in (second, wrapped, reloaded, layers.strip(wrapped)):
        assert {path: tuple(v.shape) for path, v in layers.named_variables(model).items()} == paths
        assert list(layers.named_layers(model)) == list(layers.named_layers(first))
    assert layers.discover(second).roles == layers.discover(wrapped).roles == layers.discover(first).roles
    weights = layers.get_weights(first)
    for path, weight in layers.get_weights(reloaded).items():
        if not path.endswith("seed_generator_state"):
            np.testing.assert_array_equal(weight, weights[path], err_msg=path)


def test_a_ticket_fits_another_build(random_masks):
    first, second = layers.wrap(conv_net()), layers.wrap(conv_net())
    masks = random_masks(layers.get_masks(first))
    layers.set_masks(second, masks)
    np.testing.assert_array_equal(layers.get_masks(second)["conv_a/kernel"], masks["conv_a/kernel"])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((None, None), ["dense/kernel", "dense_1/kernel"]),
        (("first", "last"), ["first/kernel", "last/kernel"]),
        (("dense_1", "dense_7"), ["dense/kernel", "dense_1/kernel"]),
        ((None, "head", None), ["dense/kernel", "head/kernel", "dense_1/kernel"]),
        (("conv2d", "dense"), ["conv2d/kernel", "dense/kernel"]),
    ],
)
def test_names_of_users_stay_and_automatic_names_are_numbered(names, expected):
    stack(None, None)  # so that automatic names have counted up
    assert kernels(stack(*names)) == expected


def test_names_that_collide_get_a_number():
    model = keras.Sequential([keras.Input((4, 1)), L.Conv1D(2, 1, name="dense"), L.Flatten(), L.Dense(2)])
    model.layers[2].name = "dense_4"
    assert kernels(model) == ["dense/kernel", "dense~2/kernel"]
    assert list(layers.get_masks(layers.wrap(model))) == ["dense/kernel", "dense~2/kernel"]


def test_paths_of_composite_layers():
    inputs = keras.Input((5, 4))
    inner = keras.Sequential([keras.Input((5, 4)), L.TimeDistributed(L.Dense(4)), L.Bidirectional(L.LSTM(2))])
    outer = keras.Model(inputs, inner(L.MultiHeadAttention(1, 4)(inputs, inputs)))
    assert kernels(outer) == [
        *(f"multi_head_attention/{part}_dense/kernel" for part in ("query", "key", "value", "output")),
        "sequential/time_distributed/layer/kernel",
        "sequential/bidirectional/forward_layer/cell/kernel",
        "sequential/bidirectional/forward_layer/cell/recurrent_kernel",
        "sequential/bidirectional/backward_layer/cell/kernel",
        "sequential/bidirectional/backward_layer/cell/recurrent_kernel",
    ]


def test_attributes_that_differ_by_underscores_get_a_number():
    class Twin(L.Layer):
        def __init__(self):
            super().__init__()
            self.proj, self._proj, self.deep = L.Dense(2), L.Dense(2), [[L.Dense(2)], {"a": L.Dense(2)}]

        def build(self, shape):
            for dense in (self.proj, self._proj, self.deep[0][0], self.deep[1]["a"]):
                dense.build(shape)

    twin = Twin()
    twin.build((None, 3))
    from tf_lottery.layers.sublayers import layer_variables

    assert [path for path in layer_variables(twin) if path.endswith("kernel")] == [
        "proj/kernel",
        "proj~2/kernel",
        "deep_0_0/kernel",
        "deep_1_0/kernel",
    ]


def test_default_selection_roles_and_reasons():
    discovery = layers.discover(conv_net())
    assert discovery.roles == {
        "conv_a/kernel": "conv",
        "conv_b/kernel": "conv",
        "dense/kernel": "dense",
        "dense_1/kernel": "output",
    }
    assert "not a kernel" in discovery.skipped["conv_a/bias"]
    assert "not a kernel" in discovery.skipped["batch_normalization/gamma"]
    assert "not a floating-point weight" in discovery.skipped["dropout/seed_generator_state"]
    assert len(discovery.found) + len(discovery.skipped) == len(layers.named_variables(conv_net()))


def test_the_output_role_looks_through_activations_and_models():
    inner = keras.Sequential([keras.Input((4,)), L.Dense(3), L.Dense(2), L.Softmax()])
    inputs = keras.Input((4,))
    model = keras.Model(inputs, [keras.ops.relu(inner(L.Dense(4)(inputs))), L.Dense(5, name="second")(inputs)])
    for form in (model, layers.wrap(model)):
        assert layers.discover(form).roles == {
            "dense/kernel": "dense",
            "sequential/dense/kernel": "dense",
            "sequential/dense_1/kernel": "output",
            "second/kernel": "output",
        }
    sequence = keras.Sequential([keras.Input((5, 3)), L.LSTM(2, return_sequences=True), L.TimeDistributed(L.Dense(2))])
    assert layers.discover(sequence).roles["time_distributed/layer/kernel"] == "output"


@pytest.mark.parametrize(
    ("selectors", "expected"),
    [
        ({"include": "conv_a"}, ["conv_a/kernel"]),
        ({"include": ["conv_a", "dense"]}, ["conv_a/kernel", "dense/kernel"]),
        ({"include": "conv_*"}, ["conv_a/kernel", "conv_b/kernel"]),
        ({"include": "conv_?/kernel"}, ["conv_a/kernel", "conv_b/kernel"]),
        ({"include": "conv_a/*"}, ["conv_a/kernel", "conv_a/bias"]),
        ({"include": "*/bias"}, ["conv_a/bias", "conv_b/bias", "dense/bias", "dense_1/bias"]),
        ({"include": "*"}, ["conv_a/kernel", "conv_b/kernel", "dense/kernel", "dense_1/kernel"]),
        ({"include": lambda path, v: len(v.shape) == 4}, ["conv_a/kernel", "conv_b/kernel"]),
        ({"exclude": "dense_1"}, ["conv_a/kernel", "conv_b/kernel", "dense/kernel"]),
        ({"exclude": ["conv_*", "dense/kernel"]}, ["dense_1/kernel"]),
        ({"exclude": lambda path, v: v.shape[-1] == 2}, ["dense/kernel", "dense_1/kernel"]),
        (
            {"include": ["conv_*", "*/bias"], "exclude": "conv_b"},
            ["conv_a/kernel", "conv_a/bias", "dense/bias", "dense_1/bias"],
        ),
    ],
)
def test_selectors(selectors, expected):
    keras.utils.clear_session(free_memory=False)  # so that Keras's names are the paths
    model = conv_net()
    discovery = layers.discover(model, **selectors)
    assert list(discovery.found) == expected
    if "exclude" in selectors:
        assert "excluded by the caller" in discovery.skipped.values()
    assert list(layers.get_masks(layers.wrap(model, **selectors))) == expected


def test_parts_of_models_and_layers_are_selected_by_name():
    inner = keras.Sequential([keras.Input((5, 4)), L.Dense(3), L.Bidirectional(L.LSTM(2))], name="inner")
    inputs = keras.Input((5, 4))
    model = keras.Model(inputs, L.Dense(2)(inner(inputs)))
    assert found(model, include="inner", exclude="inner/bidirectional") == ["inner/dense/kernel"]
    assert found(model, include="*forward_layer") == [
        "inner/bidirectional/forward_layer/cell/kernel",
        "inner/bidirectional/forward_layer/cell/recurrent_kernel",
    ]


def test_a_name_that_keras_gave_is_understood():
    model = stack(None, None, None)
    last = model.layers[-1].name
    if last == "dense_2":  # the first build of the process: names and paths agree
        model = stack(None, None, None)
        last = model.layers[-1].name
    assert found(model, include=last) == ["dense_2/kernel"]


def test_a_name_that_means_two_layers_is_refused():
    keras.utils.clear_session(free_memory=False)
    L.Dense(1)
    model = stack(None, None)  # dense_1 and dense_2, at the paths dense and dense_1
    with pytest.raises(
        UsageError, match="`include` is ambiguous: Keras gave the name 'dense_1' to the layer at 'dense'"
    ):
        layers.discover(model, include="dense_1")
    assert found(model, include="dense_1/kernel") == ["dense_1/kernel"]
    assert found(model, include="dense_2") == ["dense_1/kernel"]


@pytest.mark.parametrize(
    ("selectors", "message"),
    [
        ({"include": "nothing"}, "`include` matches no weight of the model: 'nothing'"),
        ({"exclude": ["conv_a", "conv_x*"]}, r"`exclude` matches no weight of the model: 'conv_x\*'"),
        ({"include": ["flatten"]}, "flatten"),
        ({"include": ["batch_normalization"]}, "matches no weight"),
        ({"include": [3]}, "must be names, glob patterns or a predicate"),
    ],
)
def test_patterns_that_match_nothing_are_refused(selectors, message):
    with pytest.raises(UsageError, match=message):
        layers.wrap(conv_net(), **selectors)


def test_integers_are_never_masked():
    model = conv_net()
    discovery = layers.discover(model, include=lambda path, variable: True)
    assert "dropout/seed_generator_state" in discovery.skipped
    assert "batch_normalization/gamma" in discovery.found
