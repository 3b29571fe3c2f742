"""Arguments of tfmot's names: schedules and a policy of the user's own, summaries, and what is refused."""

import subprocess
import sys

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.compat import tfmot
from tf_lottery.errors import UnfitError, UsageError
from tfmot_training import WEIGHTS, X, Y, fit, sequential
from toys import Subclassed

L = keras.layers


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


@pytest.mark.slow
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
