"""A run of a subclassed model, which a module of the user's makes, is studied and exported as any other."""

import keras
import numpy as np
import pytest
import tensorflow as tf

MODULE = """
import keras

L = keras.layers


class Net(keras.Model):
    def __init__(self, classes, **options):
        super().__init__(**options)
        self.classes = classes
        self.flatten, self.hidden, self.out = L.Flatten(), L.Dense(6, activation="relu"), L.Dense(classes)

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}

    def call(self, x):
        return self.out(self.hidden(self.flatten(x)))


def make(input_shape, classes):
    model = Net(classes)
    model(keras.ops.zeros((1, *input_shape)))
    return model
"""


@pytest.mark.slow
def test_a_subclassed_model_from_run_to_files(shell, tmp_path):
    (tmp_path / "subclassed_module.py").write_text(MODULE)
    options = ["--steps", "20", "--rounds", "1", "--replicates", "1", "--jobs", "1", "--quiet"]
    done = shell("run", "--dataset", "digits", "--model", "subclassed_module:make", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    done = shell("analyze", "survivors", str(run), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "The model is no plain chain of layers" in done.stdout + done.stderr
    arguments = ["export", str(run), "--round", "1", "--formats", "keras,saved_model"]
    done = shell(*arguments, cwd=tmp_path)
    assert done.returncode == 3, "its class is in the module that the run names"
    assert "'subclassed_module:make', which may hold its classes: --trust" in done.stderr
    done = shell(*arguments, "--trust", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    arrays = dict(np.load(run / "replicate_0" / "round_01" / "weights.npz"))
    x = np.random.default_rng(0).random((5, 8, 8, 1), np.float32)
    hidden = np.maximum(x.reshape(5, 64) @ arrays["hidden/kernel"] + arrays["hidden/bias"], 0)
    expected = hidden @ arrays["out/kernel"] + arrays["out/bias"]
    (folder,) = (path.parent for path in (tmp_path / "saved_models").rglob("saved_model.pb"))
    (output,) = tf.saved_model.load(folder).signatures["serving_default"](tf.constant(x)).values()
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)
    (file,) = (tmp_path / "saved_models").rglob("*.keras")
    np.testing.assert_allclose(keras.models.load_model(file)(x), expected, rtol=1e-5, atol=1e-5)
