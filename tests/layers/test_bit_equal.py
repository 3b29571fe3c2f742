"""Masks of ones change no bit of outputs, weights and optimizer; others compute as weights set to zero by hand.

A check that reads a variable goes through its mask and proves nothing, so large values are planted in what is stored.
"""

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.layers import named_variables
from toys import stored_value

# Keras gives an embedding inside SpectralNormalization no gradient, plain or wrapped.
pytestmark = pytest.mark.filterwarnings("ignore:Gradients do not exist for variables .*embeddings")


def targets_like(outputs, seed=1):
    """Random targets of the structure and shapes of a model's outputs."""
    random = np.random.default_rng(seed)
    return keras.tree.map_structure(lambda out: random.normal(size=out.shape).astype("float32"), outputs)


def bytes_of(outputs):
    return [np.array(out).tobytes() for out in keras.tree.flatten(outputs)]


def train(model, x, y, *, jit_compile=False):
    """Three steps of SGD with momentum; returns their losses, and all that they changed, as bytes."""
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse", jit_compile=jit_compile)
    losses = [np.array(model.train_on_batch(x, y)).tolist() for _ in range(3)]
    weights = {path: stored_value(v).tobytes() for path, v in named_variables(model).items()}
    return losses, weights, [v.numpy().tobytes() for v in model.optimizer.variables]


def test_masks_of_ones_change_no_bit(kind):
    plain = kind.model()
    x = kind.inputs(plain)
    wrapped = tfl.wrap(plain)
    assert all(mask.all() for mask in tfl.get_masks(wrapped).values())
    outputs = plain(x)  # called as often as the other: cells with dropout draw numbers at inference too
    assert bytes_of(wrapped(x)) == bytes_of(outputs)
    y = targets_like(outputs)
    before = bytes_of(list(named_variables(plain).values()))
    assert train(wrapped, x, y) == train(plain, x, y)
    assert bytes_of(list(named_variables(plain).values())) != before
    assert bytes_of(wrapped(x)) == bytes_of(plain(x))


def test_pruned_weights_compute_as_weights_set_to_zero_by_hand(kind, random_masks):
    plain, wrapped = kind.model(), tfl.wrap(kind.model())
    x = kind.inputs(plain)
    masks = random_masks(tfl.get_masks(wrapped))
    tfl.set_masks(wrapped, masks)
    variables = named_variables(plain)
    for path, variable in named_variables(wrapped).items():
        if path in masks:
            weight = variables[path].numpy()
            variable.assign(np.where(masks[path], weight, 7.0))
            assert (stored_value(variable)[~masks[path]] == 7).all()
            variables[path].assign(weight * masks[path])
    assert bytes_of(wrapped(x)) == bytes_of(plain(x))
