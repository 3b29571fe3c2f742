"""A wrapped model computes what the plain model computes on masked weights, for every kind of layer."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tf_lottery.layers as layers
from tf_lottery.pruning import masks as masking

TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}


@dataclass
class Outcome:
    """What one call of a model gave: outputs, losses, gradients and the state that it left."""

    outputs: Any
    losses: list[Any]
    gradients: dict[str, np.ndarray]
    state: dict[str, np.ndarray]


def total(outputs: Any, losses: Any) -> tf.Tensor:
    parts = [tf.reduce_mean(tf.square(tf.cast(out, "float32"))) for out in keras.tree.flatten(outputs)]
    return tf.add_n([*parts, *(tf.cast(loss, "float32") for loss in losses)])


def dense(gradient: Any, like: Any) -> np.ndarray:
    return np.zeros(like.shape) if gradient is None else np.array(tf.convert_to_tensor(gradient))


def call(model: keras.Model, inputs: Any, *, training: bool) -> Outcome:
    variables = layers.named_variables(model)
    trainable = {path: v for path, v in variables.items() if v.trainable}
    with tf.GradientTape() as tape:
        outputs = model(inputs, training=training)
        losses = list(model.losses)
        loss = total(outputs, losses)
    gradients = tape.gradient(loss, [v.value for v in trainable.values()])
    gradients = {path: dense(g, v) for (path, v), g in zip(trainable.items(), gradients, strict=True)}
    state = {path: np.array(v.value) for path, v in variables.items() if not v.trainable}
    return Outcome(outputs, losses, gradients, state)


def call_stateless(model: keras.Model, inputs: Any, *, training: bool) -> Outcome:
    variables = layers.named_variables(model)
    paths = {id(v): path for path, v in variables.items()}
    values = [tf.convert_to_tensor(v.value) for v in model.trainable_variables]
    state = [tf.convert_to_tensor(v.value) for v in model.non_trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(values)
        outputs, after, losses = model.stateless_call(values, state, inputs, training=training, return_losses=True)
        loss = total(outputs, losses)
    gradients = tape.gradient(loss, values)
    return Outcome(
        outputs,
        losses,
        {paths[id(v)]: dense(g, v) for v, g in zip(model.trainable_variables, gradients, strict=True)},
        {
            paths[id(v)]: np.array(a)
            for v, a in zip(model.non_trainable_variables, after, strict=True)
            if id(v) in paths
        },
    )


def agree(first: Outcome, second: Outcome, masks: dict[str, np.ndarray] | None = None) -> None:
    keras.tree.map_structure(lambda a, b: np.testing.assert_allclose(a, b, **TOLERANCE), first.outputs, second.outputs)
    assert len(first.losses) == len(second.losses)
    np.testing.assert_allclose(sorted(map(float, first.losses)), sorted(map(float, second.losses)), **TOLERANCE)
    for part in ("gradients", "state"):
        left, right = getattr(first, part), getattr(second, part)
        assert set(left) == set(right)
        for path, value in left.items():
            if part == "gradients" and masks and path in masks:
                value = np.where(masks[path], value, 0)
            np.testing.assert_allclose(value, right[path], err_msg=path, **TOLERANCE)


def test_dense_masks_change_nothing(kind):
    plain = kind.model()
    wrapped = layers.wrap(plain)
    inputs = kind.inputs(plain)
    assert list(layers.named_variables(plain)) == list(layers.named_variables(wrapped))
    agree(call_stateless(plain, inputs, training=True), call_stateless(wrapped, inputs, training=True))
    agree(call(plain, inputs, training=True), call(wrapped, inputs, training=True))


def test_masks_act_as_zero_weights(kind, random_masks):
    plain = kind.model()
    wrapped = layers.wrap(plain)
    inputs = kind.inputs(plain)
    masks = random_masks(layers.get_masks(wrapped))
    layers.set_weights(plain, masking.apply({k: layers.get_weights(plain)[k] for k in masks}, masks))
    layers.set_masks(wrapped, masks)
    agree(call_stateless(plain, inputs, training=False), call_stateless(wrapped, inputs, training=False), masks)
    agree(call(plain, inputs, training=False), call(wrapped, inputs, training=False), masks)


def test_moved_stored_weights_do_not_show(kind, random_masks):
    # A foreign optimizer may move a stored pruned weight: neither outputs nor losses nor gradients know of it.
    plain = kind.model()
    wrapped = layers.wrap(plain)
    inputs = kind.inputs(plain)
    masks = random_masks(layers.get_masks(wrapped))
    weights = masking.apply({k: layers.get_weights(plain)[k] for k in masks}, masks)
    layers.set_weights(plain, weights)
    layers.set_masks(wrapped, masks)
    variables = layers.named_variables(wrapped)
    for path, mask in masks.items():
        variables[path].assign(np.where(mask, weights[path], 9.0))
    agree(call_stateless(plain, inputs, training=True), call_stateless(wrapped, inputs, training=True), masks)
    agree(call(plain, inputs, training=True), call(wrapped, inputs, training=True), masks)


def test_strip_computes_the_same(kind, random_masks):
    wrapped = layers.wrap(kind.model())
    masks = random_masks(layers.get_masks(wrapped))
    layers.set_masks(wrapped, masks)
    stripped = layers.strip(wrapped)
    assert not layers.is_wrapped(stripped)
    inputs = kind.inputs(wrapped)
    agree(call(stripped, inputs, training=False), call(wrapped, inputs, training=False), masks)
    weights = layers.get_weights(stripped)
    assert all((weights[path][~mask] == 0).all() for path, mask in masks.items())
