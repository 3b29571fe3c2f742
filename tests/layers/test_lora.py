"""LoRA on masked weights: sums that are masked, or reported, against weights that NumPy multiplied."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.layers import Masked, named_variables
from toys import stored_value

L = keras.layers
RNG = np.random.default_rng(0)
RANK, ALPHA = 2, 8
X = RNG.normal(size=(16, 6)).astype("float32")
IMAGES = RNG.normal(size=(4, 6, 6, 2)).astype("float32")
TOKENS = RNG.integers(0, 7, size=(4, 5))
LAYERS = {
    "dense": (lambda: L.Dense(4), X, "kernel"),
    "einsum": (lambda: L.EinsumDense("ab,bc->ac", 4), X, "kernel"),
    "conv": (lambda: L.Conv2D(3, 2), IMAGES, "kernel"),
    "embedding": (lambda: L.Embedding(7, 3), TOKENS, "embeddings"),
}
each_layer = pytest.mark.parametrize("kind", LAYERS)


def parts(layer, name):
    return [getattr(layer, f"lora_{name}_{part}") for part in "ab"]


def fill(layer, name):
    """Give A and B values of some size; Keras starts B at zero."""
    for variable in parts(layer, name):
        variable.assign(np.random.default_rng(variable.shape[-1]).normal(size=variable.shape))


def sum_by_hand(layer, name, base):
    a, b = (np.array(variable) for variable in parts(layer, name))
    return base + layer.lora_alpha / layer.lora_rank * np.tensordot(a, b, axes=1)


def compute_by_hand(kind, weight, layer):
    """Return the outputs of a layer with another weight, as a layer of Keras without LoRA and masks computes them."""
    make, data, _ = LAYERS[kind]
    plain = make()
    plain.build(data.shape)
    plain.set_weights([weight, *([layer.bias] if len(plain.weights) > 1 else [])])
    if kind == "embedding":
        return weight[data]
    return data @ weight + (layer.bias if kind == "dense" else 0) if data is X else plain(data)


def half(mask):
    return (np.arange(mask.size) % 2 == 0).reshape(mask.shape)


def wrapped_model(kind, lora, when="before"):
    """Return a model of one layer with LoRA and half of the weights pruned, where 7.0 is stored, and its layer."""
    make, data, name = LAYERS[kind]
    model = keras.Sequential([keras.Input(data.shape[1:], dtype=data.dtype.name), make()])
    if when == "before":
        model.layers[0].enable_lora(RANK, lora_alpha=ALPHA)
        fill(model.layers[0], name)
    wrapped = tfl.wrap(model, lora=lora)
    layer = wrapped.layers[0].layer
    if when == "after":
        layer.enable_lora(RANK, lora_alpha=ALPHA)
        fill(layer, name)
    tfl.set_masks(wrapped, {path: half(mask) for path, mask in tfl.get_masks(wrapped).items()})
    plant(wrapped)
    return wrapped, layer


def plant(wrapped):
    for path, mask in tfl.get_masks(wrapped).items():
        variable = named_variables(wrapped)[path]
        variable.assign(np.where(mask, stored_value(variable), 7.0))
        assert (stored_value(variable)[~mask] == 7).all()


@pytest.mark.parametrize("when", ["before", "after"])
@each_layer
def test_a_masked_sum_is_what_computes(kind, when):
    wrapped, layer = wrapped_model(kind, "mask", when)
    _, data, name = LAYERS[kind]
    ((path, mask),) = tfl.get_masks(wrapped).items()
    base = stored_value(named_variables(wrapped)[path])
    weight = np.where(mask, sum_by_hand(layer, name, base), 0)
    computed = np.array(getattr(layer, name))
    assert (computed[~mask] == 0).all()
    np.testing.assert_allclose(computed, weight, rtol=1e-5)
    expected = compute_by_hand(kind, weight, layer)
    np.testing.assert_allclose(wrapped(data), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(wrapped.predict(data, verbose=0), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(tfl.get_weights(wrapped, computed=True)[path], computed)
    assert tfl.density(tfl.get_masks(wrapped, computed=True)) == tfl.density({path: mask}) == mask.sum() / mask.size


@each_layer
def test_a_reported_sum_is_masked_in_the_base_alone(kind):
    wrapped, layer = wrapped_model(kind, "report")
    _, data, name = LAYERS[kind]
    ((path, mask),) = tfl.get_masks(wrapped).items()
    base = np.where(mask, stored_value(named_variables(wrapped)[path]), 0)
    weight = sum_by_hand(layer, name, base)
    np.testing.assert_allclose(wrapped(data), compute_by_hand(kind, weight, layer), rtol=1e-4, atol=1e-4)
    assert tfl.density(tfl.get_masks(wrapped)) == mask.sum() / mask.size
    assert np.array_equal(tfl.get_masks(wrapped, computed=True)[path], mask | (weight != 0))


def test_the_reported_density_counted_by_hand():
    wrapped, layer = wrapped_model("dense", "report")
    layer.lora_kernel_a.assign(np.zeros((6, RANK)))
    layer.lora_kernel_b.assign(np.ones((RANK, 4)))
    assert tfl.density(tfl.get_masks(wrapped, computed=True)) == 0.5
    layer.lora_kernel_a.assign(np.eye(6, RANK))
    # Two of six rows have a product: their 8 places compute, and 2 of 4 in each of the other rows.
    assert tfl.density(tfl.get_masks(wrapped, computed=True)) == (8 + 4 * 2) / 24
    assert tfl.density(tfl.get_masks(wrapped)) == 0.5
    wrapped.compile("sgd", "mse")
    logs = wrapped.fit(X, X[:, :4], verbose=0, callbacks=[tfl.callbacks.SparsityLogger()]).history
    assert logs["sparsity"] == [0.5]
    assert {"computed_sparsity", f"computed_sparsity/{next(iter(tfl.get_masks(wrapped)))}"} <= set(logs)


@pytest.mark.parametrize("kind", ["dense", "conv", "embedding"])
def test_gradients_are_those_of_the_masked_sum(kind):
    wrapped, layer = wrapped_model(kind, "mask")
    _, data, name = LAYERS[kind]
    (mask,) = tfl.get_masks(wrapped).values()
    a, b = parts(layer, name)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(wrapped(data) ** 2)
    gradients = tape.gradient(loss, [a.value, b.value])

    weight = tf.Variable(np.array(getattr(layer, name)))
    plain = LAYERS[kind][0]()
    plain.build(data.shape)
    with tf.GradientTape() as tape:
        tape.watch(weight)
        outputs, _ = plain.stateless_call([weight, *([layer.bias] if len(plain.weights) > 1 else [])], [], data)
        loss = tf.reduce_sum(outputs**2)
    upstream = np.where(mask, tf.convert_to_tensor(tape.gradient(loss, weight)), 0) * ALPHA / RANK
    flat = upstream.reshape(-1, upstream.shape[-1])
    expected = [upstream @ np.array(b).T, np.array(a).reshape(-1, RANK).T @ flat]
    for gradient, by_hand in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, by_hand, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_training_moves_the_product_and_no_pruned_place(jit_compile):
    wrapped, layer = wrapped_model("dense", "mask")
    (mask,) = tfl.get_masks(wrapped).values()
    before = np.array(layer.lora_kernel_a), np.array(layer.kernel)
    base = stored_value(layer._kernel)
    wrapped.compile(keras.optimizers.Adam(0.1), "mse", jit_compile=jit_compile)
    wrapped.fit(X, X[:, :4], epochs=2, verbose=0)
    assert (np.array(layer.lora_kernel_a) != before[0]).any()
    assert (np.array(layer.kernel)[mask] != before[1][mask]).all()
    assert (np.array(layer.kernel)[~mask] == 0).all()
    np.testing.assert_array_equal(stored_value(layer._kernel), base)


def test_masks_of_ones_compute_as_keras_does():
    model = keras.Sequential([keras.Input((6,)), L.Dense(4), L.Dense(1)])
    model.layers[0].enable_lora(RANK, lora_alpha=ALPHA)
    fill(model.layers[0], "kernel")
    for lora in ("mask", "report"):
        np.testing.assert_array_equal(tfl.wrap(model, lora=lora)(X), model(X))


@pytest.mark.parametrize("lora", ["mask", "report"])
@pytest.mark.parametrize("kind", ["dense", "conv", "embedding"])
def test_files_and_copies_compute_the_same(kind, lora, tmp_path):
    wrapped, layer = wrapped_model(kind, lora)
    _, data, name = LAYERS[kind]
    expected = np.array(wrapped(data))
    wrapped.save(tmp_path / "wrapped.keras")
    for load in (tfl.load_model, keras.models.load_model):
        again = load(tmp_path / "wrapped.keras")
        np.testing.assert_array_equal(again(data), expected)
        other = again.layers[0].layer
        assert (other.lora_rank, other.lora_alpha) == (RANK, ALPHA)
        for one, two in zip(parts(layer, name), parts(other, name), strict=True):
            np.testing.assert_array_equal(one, two)  # kept apart, so training goes on
        plant(again)
        np.testing.assert_array_equal(again(data), expected)
    stripped = tfl.strip(wrapped)
    np.testing.assert_array_equal(stripped(data), expected)
    assert stripped.layers[0].lora_enabled == (lora == "report")
    assert type(stripped.layers[0]) is type(LAYERS[kind][0]())
    stripped.save(tmp_path / "stripped.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "stripped.keras")(data), expected, rtol=1e-6)


def test_a_stripped_masked_sum_can_be_adapted_and_trained_again():
    wrapped, _ = wrapped_model("dense", "mask")
    stripped = tfl.strip(wrapped)
    kernel, bias = stripped.layers[0].trainable_variables
    assert np.count_nonzero(kernel) == 12
    stripped.layers[0].enable_lora(1)
    assert [variable.name for variable in stripped.trainable_variables] == ["bias", "lora_kernel_a", "lora_kernel_b"]
    assert bias is stripped.layers[0].bias
    assert not kernel.trainable


def test_weights_of_a_plain_model_load_into_one_with_lora(tmp_path):
    wrapped, layer = wrapped_model("dense", "mask")
    plain = tfl.strip(wrapped)
    expected = np.array(plain(X))
    plain.save_weights(tmp_path / "plain.weights.h5")
    tfl.load_weights(wrapped, tmp_path / "plain.weights.h5")
    np.testing.assert_allclose(wrapped(X), expected, rtol=1e-6)
    assert not np.any(layer.lora_kernel_a)
    wrapped.save_weights(tmp_path / "wrapped.weights.h5")


class Adapted(keras.Model):
    """A subclassed model whose attention is adapted after it was made."""

    def __init__(self):
        super().__init__()
        self.attention = L.MultiHeadAttention(2, 3)
        self.out = L.Dense(2)

    def call(self, inputs):
        return self.out(self.attention(inputs, inputs))

    def get_config(self):
        return {}


SEQUENCES = RNG.normal(size=(3, 5, 4)).astype("float32")


def adapted_attention(make):
    model = make()
    model(SEQUENCES)
    attention = next(layer for layer in model._flatten_layers() if isinstance(layer, L.MultiHeadAttention))
    for layer in (attention.query_dense, attention.value_dense):
        layer.enable_lora(RANK, lora_alpha=ALPHA)
        fill(layer, "kernel")
    return model


def functional():
    inputs = keras.Input((5, 4))
    return keras.Model(inputs, L.Dense(2)(L.MultiHeadAttention(2, 3)(inputs, inputs)))


@pytest.mark.parametrize(
    ("make", "in_place"),
    [(functional, False), *(pytest.param(Adapted, in_place, marks=pytest.mark.slow) for in_place in (False, True))],
)
def test_attention_in_graphs_and_subclassed_models(make, in_place, tmp_path):
    model = adapted_attention(make)
    dense = np.array(model(SEQUENCES))
    wrapped = tfl.wrap(model, lora="mask", in_place=in_place)
    np.testing.assert_allclose(wrapped(SEQUENCES), dense, rtol=1e-6)
    tfl.set_masks(wrapped, {path: half(mask) for path, mask in tfl.get_masks(wrapped).items()})
    plant(wrapped)
    computed = tfl.get_weights(wrapped, computed=True)
    for path, mask in tfl.get_masks(wrapped).items():
        assert (computed[path][~mask] == 0).all()
    expected = np.array(wrapped(SEQUENCES))
    without = keras.Model.from_config(functional().get_config()) if make is functional else Adapted()
    without(SEQUENCES)
    tfl.set_weights(without, {path: computed[path] for path in tfl.get_weights(without)})
    np.testing.assert_allclose(expected, without(SEQUENCES), rtol=1e-5, atol=1e-6)

    wrapped.save(tmp_path / "wrapped.keras")
    with keras.saving.custom_object_scope({"Adapted": Adapted}):
        again = tfl.load_model(tmp_path / "wrapped.keras")
    np.testing.assert_array_equal(again(SEQUENCES), expected)
    np.testing.assert_allclose(tfl.strip(wrapped)(SEQUENCES), expected, rtol=1e-6)
    slim, _ = tfl.slim(wrapped)
    np.testing.assert_allclose(slim(SEQUENCES), expected, rtol=1e-5, atol=1e-6)
    if make is Adapted:
        stripped = tfl.strip(wrapped, in_place=True)
        np.testing.assert_allclose(stripped(SEQUENCES), expected, rtol=1e-6)
        assert type(stripped.attention.query_dense) is L.EinsumDense
        stripped.attention.query_dense.enable_lora(1)


def test_a_tied_layer_reads_the_masked_sum():
    inputs = keras.Input((5,), dtype="int32")
    embedding = L.ReversibleEmbedding(7, 3)
    model = keras.Model(inputs, embedding(embedding(inputs), reverse=True))
    embedding.enable_lora(RANK, lora_alpha=ALPHA)
    fill(embedding, "embeddings")
    wrapped = tfl.wrap(model, lora="mask")
    ((path, mask),) = tfl.get_masks(wrapped).items()
    tfl.set_masks(wrapped, {path: half(mask)})
    plant(wrapped)
    weight = np.where(half(mask), sum_by_hand(embedding, "embeddings", np.array(embedding._embeddings)), 0)
    np.testing.assert_allclose(wrapped(TOKENS), weight[TOKENS] @ weight.T, rtol=1e-4, atol=1e-4)


def test_masks_hold_in_half_precision():
    model = keras.Sequential([keras.Input((6,)), L.Dense(4, dtype="mixed_bfloat16")])
    model.layers[0].enable_lora(RANK, lora_alpha=ALPHA)
    fill(model.layers[0], "kernel")
    wrapped = tfl.wrap(model, lora="mask")
    tfl.set_masks(wrapped, {"dense/kernel": np.zeros((6, 4), bool)})
    assert not np.any(np.array(wrapped(X), "float32"))
    np.testing.assert_array_equal(np.array(tfl.strip(wrapped)(X), "float32"), np.array(wrapped(X), "float32"))


def test_gradual_pruning_ranks_the_sums():
    model = keras.Sequential([keras.Input((4,)), L.Dense(1)])
    model.layers[0].kernel.assign([[1.0], [2.0], [3.0], [4.0]])
    model.layers[0].enable_lora(1)
    model.layers[0].lora_kernel_a.assign([[9.0], [0.0], [0.0], [-4.0]])
    model.layers[0].lora_kernel_b.assign([[1.0]])  # sums: 10, 2, 3, 0
    wrapped = tfl.wrap(model, lora="mask")
    wrapped.compile(keras.optimizers.SGD(0.0), "mse")
    pruning = tfl.callbacks.GradualPruning(tfl.schedules.ConstantSparsity(0.5, 0, frequency=1))
    wrapped.fit(X[:, :4], X[:, :1], verbose=0, callbacks=[pruning])
    assert tfl.get_masks(wrapped)["dense/kernel"].tolist() == [[True], [False], [True], [False]]


def test_copies_keep_alpha_of_layers_that_are_left_out():
    model = keras.Sequential([keras.Input((6,)), L.Dense(4), L.Dense(1)])
    model.layers[0].enable_lora(RANK, lora_alpha=ALPHA)
    fill(model.layers[0], "kernel")
    np.testing.assert_array_equal(tfl.wrap(model, exclude="dense")(X), model(X))
    slim, _ = tfl.slim(model)
    np.testing.assert_allclose(slim(X), model(X), rtol=1e-6)


def test_slimming_removes_what_a_masked_sum_made_dead():
    model = keras.Sequential([keras.Input((6,)), L.Dense(4, "relu", name="hidden"), L.Dense(1)])
    model.layers[0].enable_lora(RANK, lora_alpha=ALPHA)
    fill(model.layers[0], "kernel")
    wrapped = tfl.wrap(model, lora="mask")
    masks = tfl.get_masks(wrapped)
    masks["hidden/kernel"][:, 0] = False
    tfl.set_masks(wrapped, masks)
    slim, _ = tfl.slim(wrapped)
    assert slim.get_layer("hidden").units == 3
    np.testing.assert_allclose(slim(X), wrapped(X), rtol=1e-5, atol=1e-6)


def test_weights_that_lora_freezes_are_not_moved():
    model = keras.Sequential([keras.Input((6,)), L.Dense(4)])
    model.layers[0].enable_lora(RANK)
    wrapped = tfl.wrap(model, lora="mask")
    wrapped.compile("sgd", "mse")
    with pytest.raises(UnfitError, match=r"SET moves masked weights that are trained.*LoRA freezes the kernels"):
        wrapped.fit(X, X[:, :4], verbose=0, callbacks=[tfl.callbacks.SET(sparsity=0.5, end_step=5, frequency=1)])


class OwnCall(L.Dense):
    """Adds the product to the outputs, past the property `kernel`."""

    def call(self, inputs):
        outputs = keras.ops.matmul(inputs, self._kernel) + self.bias
        if self.lora_enabled:
            outputs += keras.ops.matmul(keras.ops.matmul(inputs, self.lora_kernel_a), self.lora_kernel_b)
        return outputs


@pytest.mark.parametrize("lora", ["mask", "report"])
def test_layers_that_compute_in_their_own_way_are_refused_by_name(lora):
    model = keras.Sequential([keras.Input((6,)), OwnCall(4), L.Dense(1)])
    wrapped = tfl.wrap(model, lora=lora)
    wrapped.layers[1].layer.enable_lora(1)
    with pytest.raises(UsageError, match=r"`enable_lora` of the layer 'own_call.*class OwnCall has its own `call`"):
        wrapped.layers[0].layer.enable_lora(1)
    model.layers[0].enable_lora(1)
    with pytest.raises(UsageError, match=r"mask of own_call/kernel would .*class OwnCall has its own `call`.*exclude"):
        tfl.wrap(model, lora=lora)
    tfl.wrap(model, lora=lora, exclude="own_call*")


def test_other_refusals():
    model = keras.Sequential([keras.Input((6,)), L.Dense(4)])
    with pytest.raises(UsageError, match=r"Unknown `lora` 'masks'.*Did you mean 'mask'\? Valid: error, mask, report"):
        tfl.wrap(model, lora="masks")
    layer = L.Dense(4, lora_rank=1)
    layer.build((None, 6))
    with pytest.raises(UsageError, match=r"A mask of the layer 'dense.*' would not hold: LoRA is enabled"):
        Masked(layer, ["kernel"])
    model.layers[0].enable_lora(1)
    with pytest.raises(UsageError, match=r"A mask of dense/kernel would .*`strip\(wrap\(model, lora=.mask.\)\)`"):
        tfl.find_ticket(model, X, X[:, :4], loss="mse", rounds=1, steps=1)
    wrapped = tfl.wrap(model, lora="mask")
    with pytest.raises(UnfitError, match=r"not defined for the layer 'dense.*' of class Dense with LoRA"):
        tfl.path_gradients(wrapped)
    merged = tfl.strip(wrapped)
    assert tfl.wrap(merged)(X).shape == (16, 4)
