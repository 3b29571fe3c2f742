"""tfmot's names on Keras 3 models: the same masks at the same steps as tfmot, its tutorials, clear errors."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from reruns import resume_in_fit
from tf_lottery.compat import tfmot
from tf_lottery.errors import UnfitError, UsageError
from toys import Subclassed

L = keras.layers
SHAPES = [(6, 8), (8,), (8, 3), (3,)]
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(48, 6)).astype("float32"), RNG.normal(size=(48, 3)).astype("float32")
WEIGHTS = [RNG.normal(size=shape).astype("float32") for shape in SHAPES]


def sequential():
    model = keras.Sequential([keras.Input((6,)), L.Dense(8, activation="relu"), L.Dense(3)])
    model.set_weights(WEIGHTS)
    return model


def fit(model, *callbacks, optimizer="adam", epochs=1, **options):
    model.compile(optimizer, keras.losses.MeanSquaredError(), **options)  # which a .h5 file keeps; "mse" it does not
    callbacks = [tfmot.UpdatePruningStep(), *callbacks]
    return model.fit(X, Y, batch_size=4, shuffle=False, verbose=0, epochs=epochs, callbacks=callbacks)


class Recorder(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.masks = []

    def on_train_batch_end(self, batch, logs=None):
        self.masks.append([mask for mask in tfl.get_masks(self.model).values()])


TRAIN_BY_TFMOT = """
import json, sys
import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras

case = json.load(sys.stdin)
answers = []
for name, arguments, options in case["cases"]:
    layers = [tf_keras.layers.Dense(8, activation="relu", input_shape=(6,)), tf_keras.layers.Dense(3)]
    net = tf_keras.Sequential(layers)
    net.set_weights([np.array(weight, "float32") for weight in case["weights"]])
    schedule = getattr(tfmot.sparsity.keras, name)(**arguments)
    model = tfmot.sparsity.keras.prune_low_magnitude(net, pruning_schedule=schedule, **options)
    model.compile(tf_keras.optimizers.SGD(0.0), "mse")
    steps = []

    class Recorder(tf_keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            steps.append([mask.numpy().astype(bool).tolist() for layer in model.layers
                          for _, mask, _ in layer.pruning_vars])

    model.fit(np.array(case["x"], "float32"), np.array(case["y"], "float32"), batch_size=4, shuffle=False, verbose=0,
              callbacks=[tfmot.sparsity.keras.UpdatePruningStep(), Recorder()])
    answers.append(steps)
print(json.dumps(answers))
"""
CASES = [
    (
        "PolynomialDecay",
        {"initial_sparsity": 0.2, "final_sparsity": 0.8, "begin_step": 2, "end_step": 11, "frequency": 3},
        {},
    ),
    ("ConstantSparsity", {"target_sparsity": 0.5, "begin_step": 0, "frequency": 4}, {}),
    ("ConstantSparsity", {"target_sparsity": 0.5, "begin_step": 1, "frequency": 1}, {"block_size": [2, 1]}),
    (
        "ConstantSparsity",
        {"target_sparsity": 0.7, "begin_step": 1},
        {"block_size": [2, 1], "block_pooling_type": "MAX"},
    ),
    ("ConstantSparsity", {"target_sparsity": 0.5, "begin_step": 5}, {"sparsity_m_by_n": [2, 4]}),
]


@pytest.fixture(scope="module")
def masks_of_tfmot():
    """The masks after every step of tfmot's trainings."""
    case = {"cases": CASES, "weights": [w.tolist() for w in WEIGHTS], "x": X.tolist(), "y": Y.tolist()}
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_BY_TFMOT],
        input=json.dumps(case),
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("number", range(len(CASES)))
def test_masks_are_those_of_tfmot(masks_of_tfmot, number):
    """The weights do not learn here, so that masks depend on the schedule alone."""
    name, arguments, options = CASES[number]
    model = tfmot.prune_low_magnitude(sequential(), getattr(tfmot, name)(**arguments), **options)
    recorder = Recorder()
    fit(model, recorder, optimizer=keras.optimizers.SGD(0.0))
    assert len(recorder.masks) == len(masks_of_tfmot[number]) == 12
    for step, (mine, its) in enumerate(zip(recorder.masks, masks_of_tfmot[number], strict=True), 1):
        for first, second in zip(mine, its, strict=True):
            np.testing.assert_array_equal(first, np.array(second), err_msg=f"step {step}")
    assert not recorder.masks[-1][0].all()


def test_steps_and_counts():
    """By hand: step s is the s-th update, so masks of step 3 hold in it; 48 and 24 weights at 0.25 and 0.75."""
    schedule = tfmot.PolynomialDecay(0.25, 0.75, begin_step=3, end_step=5, power=1, frequency=2)
    recorder = Recorder()
    fit(tfmot.prune_low_magnitude(sequential(), schedule), recorder)
    counts = [[int(mask.sum()) for mask in masks] for masks in recorder.masks]
    assert counts == [[48, 24]] * 2 + [[36, 18]] * 2 + [[12, 6]] * 8


@pytest.mark.parametrize("jit_compile", [False, True])
def test_several_steps_in_a_call(jit_compile):
    """Calls end after 5, 10 and 12 steps: step 6 is due before the second call, step 8 after it."""
    for due, expected in ((6, [48, 24, 24]), (8, [48, 24, 24]), (11, [48, 48, 24]), (12, [48, 48, 24])):
        model = tfmot.prune_low_magnitude(sequential(), tfmot.ConstantSparsity(0.5, due))
        recorder = Recorder()
        fit(model, recorder, steps_per_execution=5, jit_compile=jit_compile)
        assert [int(masks[0].sum()) for masks in recorder.masks] == expected, due


@pytest.mark.parametrize("backup_first", [False, True])
@pytest.mark.parametrize("steps_per_execution", [1, 5])
def test_a_resumed_training_is_the_same(tmp_path, backup_first, steps_per_execution):
    def train(*callbacks):
        model = tfmot.prune_low_magnitude(sequential(), tfmot.PolynomialDecay(0.0, 0.8, 0, 24, frequency=2))
        model.compile("adam", "mse", steps_per_execution=steps_per_execution)
        model.fit(X, Y, batch_size=4, shuffle=False, verbose=0, epochs=2, callbacks=list(callbacks))
        return model

    callback, backup = tfmot.UpdatePruningStep, tmp_path / "backup"
    resumed = resume_in_fit(train, callback, backup, stop_at=1, backup_first=backup_first)
    assert [int(mask.sum()) for mask in tfl.get_masks(resumed).values()] == [10, 5]


def test_which_weights_are_pruned():
    inputs = keras.Input((8, 8, 3))
    outputs = L.SeparableConv2D(4, 2)(L.DepthwiseConv2D(2)(L.Conv2D(4, 2)(inputs)))
    outputs = L.BatchNormalization()(L.Reshape((25, 4))(outputs))
    outputs = L.MultiHeadAttention(2, 3)(outputs, outputs)
    model = tfmot.prune_low_magnitude(keras.Model(inputs, L.Dense(2)(L.LSTM(3)(outputs))))
    assert sorted(tfl.get_masks(model)) == [
        "conv2d/kernel",
        "dense/kernel",
        "lstm/cell/kernel",
        "lstm/cell/recurrent_kernel",
        *(f"multi_head_attention/{part}_dense/kernel" for part in ("key", "output", "query", "value")),
        "separable_conv2d/pointwise_kernel",
    ]


class Outer(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = tfmot.prune_low_magnitude(L.Dense(8), tfmot.ConstantSparsity(0.5, 3))
        self.second = L.Dense(3)

    def call(self, inputs):
        return self.second(self.first(inputs))


@pytest.mark.parametrize("steps_per_execution", [1, 2])
def test_layers_in_models_that_fit_builds(tmp_path, steps_per_execution):
    sequence = keras.Sequential([tfmot.prune_low_magnitude(L.Dense(8), tfmot.ConstantSparsity(0.5, 1)), L.Dense(3)])
    fit(sequence, steps_per_execution=steps_per_execution)
    assert {path: int(mask.sum()) for path, mask in tfl.get_masks(sequence).items()} == {"dense/kernel": 24}
    sequence.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(X, verbose=0), sequence.predict(X, verbose=0))
    assert int(tfl.get_masks(again)["dense/kernel"].sum()) == 24
    outer, recorder = Outer(), Recorder()
    fit(outer, recorder, steps_per_execution=steps_per_execution)
    counts = [int(masks[0].sum()) for masks in recorder.masks]
    assert counts == ([48, 48, *[24] * 10] if steps_per_execution == 1 else [48, *[24] * 5])


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_files(tmp_path, suffix):
    schedule = tfmot.PolynomialDecay(0.0, 0.75, begin_step=0, end_step=10, frequency=5)
    model = tfmot.prune_low_magnitude(sequential(), schedule, block_size=[2, 1], block_pooling_type="MAX")
    fit(model)
    model.save(tmp_path / f"model.{suffix}")
    with tfmot.prune_scope():
        again = keras.models.load_model(tmp_path / f"model.{suffix}")
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    layer = again.layers[0]
    assert layer.pruning_schedule.get_config() == schedule.get_config()
    assert (layer.block_size, layer.block_pooling_type, layer.sparsity_m_by_n) == ((2, 1), "MAX", None)
    assert [int(mask.sum()) for mask in tfl.get_masks(again).values()] == [12, 6]
    fit(again)


def test_files_of_weights(tmp_path):
    model = sequential()
    pruned, other = (tfmot.sparsity.keras.prune_low_magnitude(model) for _ in range(2))
    masks = {path: np.arange(mask.size).reshape(mask.shape) % 3 == 0 for path, mask in tfl.get_masks(pruned).items()}
    tfl.set_masks(pruned, masks)
    pruned.save_weights(tmp_path / "pruned.weights.h5")
    model.save_weights(tmp_path / "plain.weights.h5")
    tfl.load_weights(other, tmp_path / "pruned.weights.h5")
    for _ in range(2):
        np.testing.assert_array_equal(other(X), pruned(X))
        for path, mask in tfl.get_masks(other).items():
            np.testing.assert_array_equal(mask, masks[path])
        tfl.load_weights(other, tmp_path / "plain.weights.h5")  # the masks stay


def test_strip():
    model = tfmot.prune_low_magnitude(sequential(), tfmot.ConstantSparsity(0.5, 1))
    fit(model)
    plain = tfmot.strip_pruning(model)
    assert [type(layer) for layer in plain.layers] == [L.Dense, L.Dense]
    assert np.count_nonzero(plain.layers[0].kernel.numpy()) == 24
    np.testing.assert_array_equal(plain.predict(X, verbose=0), model.predict(X, verbose=0))


def test_own_schedules_and_a_policy():
    class Policy:
        def allow_pruning(self, layer):
            return layer.units == 3

        def ensure_model_supports_pruning(self, model):
            self.model = model

    policy, source = Policy(), sequential()
    model = tfmot.prune_low_magnitude(source, lambda step: (step == 2, 0.5), pruning_policy=policy)
    assert policy.model is source
    fit(model)
    assert {path: int(mask.sum()) for path, mask in tfl.get_masks(model).items()} == {"dense_1/kernel": 12}


def test_a_missing_callback():
    model = tfmot.prune_low_magnitude(sequential())
    model.compile("sgd", "mse")
    with pytest.raises(UsageError, match="pruned by the callback UpdatePruningStep, which is missing"):
        model.fit(X, Y, verbose=0)
    plain = tfl.wrap(sequential())
    with pytest.raises(UsageError, match="no layer of `prune_low_magnitude`"):
        fit(plain)


class Own(L.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 2))

    def call(self, inputs):
        return inputs @ self.kernel


def convolution():
    return keras.Sequential([keras.Input((4, 4, 1)), L.Conv2D(2, 2)])


class NoPolicy:
    def allow_pruning(self, layer):
        return False

    def ensure_model_supports_pruning(self, model):
        pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tfmot.prune_low_magnitude(3), "`to_prune` must be a Sequential or functional model"),
        (lambda: tfmot.prune_low_magnitude([3]), "`to_prune` must be a layer of Keras 3"),
        (lambda: tfmot.prune_low_magnitude(Subclassed()), "takes Sequential and functional models"),
        (lambda: tfmot.prune_low_magnitude(keras.Sequential([L.Dense(2)])), "is not built"),
        (lambda: tfmot.prune_low_magnitude(sequential(), 0.5), "`schedule` must answer"),
        (lambda: tfmot.prune_low_magnitude(sequential(), block_size=4), "`block_size` must be two integers"),
        (lambda: tfmot.prune_low_magnitude(convolution(), block_size=(1, 4)), "`block_size` needs weights of two axes"),
        (lambda: tfmot.prune_low_magnitude(sequential(), block_pooling_type="MIN"), "must be 'AVG' or 'MAX'"),
        (lambda: tfmot.prune_low_magnitude(sequential(), sparsity_m_by_n=(4, 2)), "with fewer zeros than weights"),
        (lambda: tfmot.prune_low_magnitude(sequential(), pruning_policy=NoPolicy()), "allows no layer with kernels"),
        (lambda: tfmot.prune_low_magnitude(Own())(X), "does not say what to prune"),
        (lambda: tfmot.strip_pruning(sequential()), "expects a wrapped model"),
        (lambda: tfmot.PruningSummaries(log_dir=""), "`log_dir` must be the path"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises((UsageError, UnfitError), match=message):
        make()


def test_a_model_of_tf_keras():
    code = """
import tf_keras
from tf_lottery.compat import tfmot
try:
    tfmot.prune_low_magnitude(tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,))]))
except ValueError as error:
    print(error)
"""
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "of Keras 3. Received: tf_keras" in out


def test_summaries(tmp_path):
    model = tfmot.prune_low_magnitude(sequential(), tfmot.ConstantSparsity(0.5, 1))
    fit(model, tfmot.PruningSummaries(log_dir=str(tmp_path)), epochs=2)
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    (file,) = (tmp_path / "metrics").iterdir()
    events = [event for event in EventFileLoader(str(file)).Load() if event.summary.value]
    values = {(v.tag, event.step): float(make_ndarray(v.tensor)) for event in events for v in event.summary.value}
    assert sorted(values) == [
        (f"{path}/{name}", step)
        for path in ("dense/kernel", "dense_1/kernel")
        for name in ("sparsity", "threshold")
        for step in (0, 12)
    ]
    assert values["dense/kernel/sparsity", 0] == 0.0
    assert values["dense/kernel/sparsity", 12] == 0.5
    assert values["dense/kernel/threshold", 0] == pytest.approx(np.abs(WEIGHTS[0]).min())


def test_the_comprehensive_guide():
    """tfmot's guide, with Keras 3's own way to give an input shape; what trains, trains."""
    x_train, y_train = RNG.normal(size=(1, 20)).astype("float32"), keras.utils.to_categorical([3], num_classes=20)

    def setup_model():
        return keras.Sequential([keras.Input((20,)), L.Dense(20), L.Flatten()])

    base_model = setup_model()
    outputs = base_model(x_train).numpy()

    def apply_pruning_to_dense(layer):
        return tfmot.sparsity.keras.prune_low_magnitude(layer) if isinstance(layer, L.Dense) else layer

    some = keras.models.clone_model(base_model, clone_function=apply_pruning_to_dense)
    np.testing.assert_array_equal(some(x_train).numpy(), outputs)
    assert list(tfl.get_masks(some)) == ["dense/kernel"]

    inputs = keras.Input(shape=(20,))
    hidden = tfmot.sparsity.keras.prune_low_magnitude(L.Dense(10))(inputs)
    functional = keras.Model(inputs=inputs, outputs=L.Flatten()(hidden))
    assert tfl.get_masks(functional)["dense/kernel"].shape == (20, 10)

    class MyDenseLayer(L.Dense, tfmot.sparsity.keras.PrunableLayer):
        def get_prunable_weights(self):
            return [self.kernel, self.bias]

    layers = tfmot.sparsity.keras.prune_low_magnitude([MyDenseLayer(20), L.Flatten()])
    own = keras.Sequential([keras.Input((20,)), *layers])
    assert sorted(tfl.get_masks(own)) == ["my_dense_layer/bias", "my_dense_layer/kernel"]

    # A custom training loop.
    model_for_pruning = tfmot.sparsity.keras.prune_low_magnitude(setup_model(), tfmot.ConstantSparsity(0.5, 2))
    optimizer, unused_arg = keras.optimizers.Adam(), -1
    model_for_pruning.optimizer = optimizer
    step_callback = tfmot.sparsity.keras.UpdatePruningStep()
    step_callback.set_model(model_for_pruning)
    step_callback.on_train_begin()
    kept = []
    for _ in range(3):
        step_callback.on_train_batch_begin(batch=unused_arg)
        with tf.GradientTape() as tape:
            loss = keras.losses.categorical_crossentropy(y_train, model_for_pruning(x_train, training=True))
        gradients = tape.gradient(loss, model_for_pruning.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model_for_pruning.trainable_variables, strict=True))
        kept.append(int(tfl.get_masks(model_for_pruning)["dense/kernel"].sum()))
        step_callback.on_epoch_end(batch=unused_arg)
    assert kept == [400, 200, 200]

    blocks = tfmot.sparsity.keras.prune_low_magnitude(setup_model(), block_size=[1, 16])
    assert blocks.layers[0].block_size == (1, 16)


def test_the_tutorial_with_keras(data_dir, tmp_path):
    """tfmot's tutorial on MNIST, with fewer images and epochs."""
    from tf_lottery.data import load

    mnist = load("mnist", data_dir=data_dir)
    images, labels = np.asarray(mnist.train.x)[:2000, ..., 0], np.asarray(mnist.train.y)[:2000]
    test_images, test_labels = np.asarray(mnist.test.x)[:500, ..., 0], np.asarray(mnist.test.y)[:500]
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            L.InputLayer(shape=(28, 28)),
            L.Reshape(target_shape=(28, 28, 1)),
            L.Conv2D(filters=12, kernel_size=(3, 3), activation="relu"),
            L.MaxPooling2D(pool_size=(2, 2)),
            L.Flatten(),
            L.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    model.fit(images, labels, epochs=3, validation_split=0.1, verbose=0)
    _, baseline_model_accuracy = model.evaluate(test_images, test_labels, verbose=0)

    prune_low_magnitude = tfmot.sparsity.keras.prune_low_magnitude
    batch_size, epochs, validation_split = 128, 8, 0.1
    num_images = images.shape[0] * (1 - validation_split)
    end_step = np.ceil(num_images / batch_size).astype(np.int32) * epochs
    schedule = tfmot.sparsity.keras.PolynomialDecay(
        initial_sparsity=0.50, final_sparsity=0.80, begin_step=0, end_step=end_step
    )
    model_for_pruning = prune_low_magnitude(model, pruning_schedule=schedule)
    model_for_pruning.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    callbacks = [
        tfmot.sparsity.keras.UpdatePruningStep(),
        tfmot.sparsity.keras.PruningSummaries(log_dir=str(tmp_path / "logs")),
    ]
    model_for_pruning.fit(
        images,
        labels,
        batch_size=batch_size,
        epochs=epochs,
        validation_split=validation_split,
        callbacks=callbacks,
        verbose=0,
    )
    _, model_for_pruning_accuracy = model_for_pruning.evaluate(test_images, test_labels, verbose=0)
    # 15 steps an epoch, 120 in all, pruned at step 100: 0.8 - 0.3 * (1 / 6) ** 3 = 0.798611 of 108 and of 20280.
    sizes = {path: int((~mask).sum()) for path, mask in tfl.get_masks(model_for_pruning).items()}
    assert sizes == {"conv2d/kernel": 86, "dense/kernel": 16196}
    assert model_for_pruning_accuracy > baseline_model_accuracy - 0.03

    model_for_export = tfmot.sparsity.keras.strip_pruning(model_for_pruning)
    keras.models.save_model(model_for_export, tmp_path / "pruned.h5", include_optimizer=False)
    again = keras.models.load_model(tmp_path / "pruned.h5", compile=False)
    np.testing.assert_array_equal(
        again.predict(images[:5], verbose=0), model_for_pruning.predict(images[:5], verbose=0)
    )
