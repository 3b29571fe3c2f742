"""One side of `vs_tfmot.py` in a process of its own: this library or tfmot, trained once for every line of stdin.

Run as `python vs_tfmot_worker.py SIDE FOLDER THREADS`. A line is a seed; the answer is a line of JSON.
"""

import gc
import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from worker import busy_seconds, pin

SIDES: dict[str, dict[str, Any]] = {
    "tf_lottery": {},
    "tfmot": {},
    "tf_lottery-xla": {"jit_compile": True},
    "tfmot-xla": {"jit_compile": True},
    "tf_lottery-calls": {"jit_compile": True, "steps_per_execution": 50},
    "keras": {},
    "keras-xla": {"jit_compile": True},
}
"""What each gives `compile`. tfmot does not take several steps in a call. The last two are Keras 3 without any pruning:
what a step costs there before a toolkit adds anything."""
WINDOW = 100
"""Steps that are timed together: so many, that the masks are chosen once in them. The first ones, which compile, do not
count; of the others the fastest do, since other work on the machine only slows them."""


def serve(side: str, folder: Path, threads: int) -> None:
    """Train for each seed on stdin, and answer what came of it."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    pin(threads)
    if side.startswith("tfmot"):
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    settings = json.loads((folder / "settings.json").read_text())
    for line in sys.stdin:
        with np.load(folder / f"seed_{int(line)}.npz") as arrays:
            answers.write(json.dumps(train(side, settings, dict(arrays))) + "\n")


def train(side: str, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """One training: accuracy, pruned weights by layer, and seconds a step."""
    if side.startswith("tfmot"):
        import tensorflow_model_optimization as toolkit
        import tf_keras as keras
    else:
        import keras

        from tf_lottery.compat import tfmot as toolkit
    names = toolkit.sparsity.keras
    net = network(keras, settings["model"])
    net.set_weights([arrays[f"weight_{number}"] for number in range(len(net.weights))])
    prunes = not side.startswith("keras")
    schedule = names.PolynomialDecay(**settings["schedule"])
    model = names.prune_low_magnitude(net, pruning_schedule=schedule) if prunes else net
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(settings["learning_rate"]), loss, metrics=["accuracy"], **SIDES[side])
    clock = stopwatch(keras)
    callbacks = [names.UpdatePruningStep(), clock] if prunes else [clock]
    gc.collect()
    model.fit(arrays["x"], arrays["y"], batch_size=settings["batch"], shuffle=False, verbose=0, callbacks=callbacks)
    windows = clock.windows()
    accuracy = model.evaluate(arrays["test_x"], arrays["test_y"], batch_size=500, verbose=0, return_dict=True)
    stripped = names.strip_pruning(model) if prunes else model
    kernels = [weight for weight in stripped.get_weights() if weight.ndim > 1]
    return {
        "accuracy": accuracy["accuracy"],
        "zeros": [int(np.sum(kernel == 0)) for kernel in kernels],
        "sizes": [int(kernel.size) for kernel in kernels],
        "seconds_per_step": min(window["seconds"] for window in windows) / WINDOW,
        "cpu_seconds_per_step": min(window["cpu_seconds"] for window in windows) / WINDOW,
        "others": min(window["others"] for window in windows),
        "windows": windows,
    }


def network(keras: Any, name: str) -> Any:
    """LeNet-300-100, or the net of tfmot's tutorial, of either Keras."""
    layers = keras.layers
    inputs = keras.Input((28, 28, 1))
    if name == "tutorial":
        hidden = layers.Conv2D(12, 3, activation="relu")(inputs)
        hidden = layers.Flatten()(layers.MaxPooling2D(2)(hidden))
    else:
        hidden = layers.Flatten()(inputs)
        for units in (300, 100):
            hidden = layers.Dense(units, activation="relu")(hidden)
    return keras.Model(inputs, layers.Dense(10)(hidden))


def stopwatch(keras: Any) -> Any:
    """A callback that times every `WINDOW` steps: by the clock, of the processor, and what others had of the core."""

    class Stopwatch(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.marks: list[tuple[float, float, float]] = []

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if (batch + 1) % WINDOW == 0:
                self.marks.append((time.perf_counter(), time.process_time(), busy_seconds()))

        def windows(self) -> list[dict[str, float]]:
            spans = [np.subtract(end, begin) for begin, end in itertools.pairwise(self.marks)]
            return [
                {"seconds": clock, "cpu_seconds": cpu, "others": max(0.0, busy - cpu) / clock}
                for clock, cpu, busy in spans
            ]

    return Stopwatch()


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
