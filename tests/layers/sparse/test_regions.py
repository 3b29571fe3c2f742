"""Which layers run on blocked tensors: those between sparse convolutions, where fewer numbers change their layout."""

import keras
import pytest

import tf_lottery as tfl
from tf_lottery.layers.sparse.blocked_layers import layout_of
from tf_lottery.layers.sparse.blocked_model import graph_nodes
from tf_lottery.layers.sparse.regions import Layout, Node, choose_blocked, count_changed

PLAIN, BLOCKED, EITHER, REDUCES = Layout.PLAIN, Layout.BLOCKED, Layout.EITHER, Layout.REDUCES
L = keras.layers


def chain(*layouts, size=8):
    """Layers that each read from the one before."""
    names = [str(number) for number in range(len(layouts))]
    return [
        Node(name, layout, (names[number - 1],) if number else (), size)
        for number, (name, layout) in enumerate(zip(names, layouts, strict=True))
    ]


@pytest.mark.parametrize(
    ("layouts", "blocked"),
    [
        ([PLAIN, BLOCKED, EITHER, EITHER, BLOCKED, PLAIN], "1234"),
        ([PLAIN, BLOCKED, EITHER, PLAIN, EITHER, BLOCKED, PLAIN], "15"),  # a plain layer ends the region
        ([PLAIN, EITHER, PLAIN, EITHER], ""),
        ([PLAIN, BLOCKED, EITHER, REDUCES, PLAIN], "123"),
        ([PLAIN, EITHER, REDUCES], ""),
        ([PLAIN, BLOCKED, EITHER, PLAIN], "1"),  # of equal sizes: as it was
    ],
)
def test_chains(layouts, blocked):
    assert choose_blocked(chain(*layouts)) == set(blocked)


def test_both_arms_of_a_residual_block():
    nodes = [
        Node("image", PLAIN, (), 3),
        Node("stem", BLOCKED, ("image",), 16),
        Node("norm", EITHER, ("stem",), 16),
        Node("inner", BLOCKED, ("norm",), 16),
        Node("inner_norm", EITHER, ("inner",), 16),
        Node("add", EITHER, ("norm", "inner_norm"), 16),
        Node("pool", REDUCES, ("add",), 1),
        Node("output", PLAIN, ("pool",), 1),
    ]
    blocked = choose_blocked(nodes)
    assert blocked == {"stem", "norm", "inner", "inner_norm", "add", "pool"}
    assert count_changed(nodes, blocked) == 3  # the image alone
    assert count_changed(nodes, {"stem", "inner"}) == 3 + 3 * 16  # stem, norm and inner, too


def test_smaller_tensors_change_their_layout():
    """A pooling belongs to the side where its smaller output changes, not its larger input."""
    nodes = [Node("in", PLAIN, (), 3), Node("conv", BLOCKED, ("in",), 40), Node("pool", EITHER, ("conv",), 10)]
    nodes += [Node("flat", PLAIN, ("pool",), 10)]
    assert choose_blocked(nodes) == {"conv", "pool"}
    nodes = [Node("in", PLAIN, (), 3), Node("pad", EITHER, ("in",), 9), Node("conv", BLOCKED, ("pad",), 40)]
    assert choose_blocked(nodes) == {"pad", "conv"}


def test_a_tensor_changes_once_for_all_that_read_it():
    nodes = [Node("in", PLAIN, (), 5), Node("a", BLOCKED, ("in",), 7), Node("b", BLOCKED, ("in",), 7)]
    assert count_changed(nodes, {"a", "b"}) == 5


@pytest.mark.parametrize(
    ("layer", "layout"),
    [
        (L.BatchNormalization(), EITHER),
        (L.BatchNormalization(axis=1), PLAIN),
        (L.Activation("relu"), EITHER),
        (L.Activation("softmax"), PLAIN),
        (L.Activation(lambda x: x), PLAIN),
        (L.ReLU(dtype="float64"), PLAIN),
        (L.ReLU(activity_regularizer="l2"), PLAIN),
        (L.MaxPooling2D(2, padding="same"), EITHER),
        (L.AveragePooling2D(2), EITHER),
        (L.AveragePooling2D(2, padding="same"), PLAIN),  # of 5 pixels: Keras leaves out what is padded
        (L.GlobalAveragePooling2D(), REDUCES),
        (L.Dropout(0.1), PLAIN),
        (L.Flatten(), PLAIN),
        (L.Conv2D(2, 3), PLAIN),
    ],
)
def test_layouts_of_layers(layer, layout):
    assert layout_of(layer, [(None, 5, 5, 4)]) is layout
    assert layout_of(layer, [(None, None, 5, 4)]) is PLAIN
    assert layout_of(layer, [(None, 4)]) is PLAIN


def test_the_graph_of_a_model():
    image = keras.Input((6, 6, 2), name="image")
    shared = L.ReLU(name="shared")
    x = shared(L.Conv2D(3, 3, padding="same", name="conv")(image))
    x = L.Add(name="add")([shared(x), L.Conv2D(3, 1, activation="softmax", name="other")(x)])
    wrapped = tfl.wrap(keras.Model(image, [x, L.Flatten(name="flat")(x)]))
    nodes = {node.name: node for node in graph_nodes(tfl.sparsify(wrapped))}
    assert nodes["conv"] == Node("conv", BLOCKED, ("image",), 108)
    assert nodes["other"].layout is PLAIN  # its activation is one over channels
    assert nodes["shared"].layout is PLAIN  # it is called twice
    # It gives an output of the model.
    assert nodes["add"] == Node("add", PLAIN, ("shared", "other"), 108)
