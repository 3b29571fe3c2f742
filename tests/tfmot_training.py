"""A small model, its data, and its training by tfmot's names."""

import keras
import numpy as np

import tf_lottery as tfl
from tf_lottery.compat import tfmot

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
