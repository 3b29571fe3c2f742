"""The small training that a self-test of a device repeats: LeNet-300-100 with masks, on random data."""

from dataclasses import dataclass

import keras
import numpy as np

from tf_lottery.data import Arrays
from tf_lottery.layers import get_masks, set_masks, wrap
from tf_lottery.pruning.masks import Masks, ones
from tf_lottery.pruning.select import prune_to
from tf_lottery.training.batches import Batch, on_device
from tf_lottery.training.device import precision
from tf_lottery.training.engine import Engine
from tf_lottery.training.order import Order
from tf_lottery.training.state import MODEL, State, apply_masks_to_state, capture_state, restore_state, slots_of
from tf_lottery.utils import seeds

FEATURES, CLASSES, EXAMPLES, BATCH = 784, 10, 600, 60
DENSITY = 0.2
REWIND_STEP = 5
LOSS = "sparse_categorical_crossentropy"


@dataclass(frozen=True)
class Workload:
    """What all trainings of a self-test share.

    Attributes:
        data: the training examples: float32 of shape (600, 784), and classes.
        order: which examples make up each step.
        rewind_state: the state of the dense training at step 5.
        masks: of the largest weights of that state, bool, by weight path.
    """

    data: Batch
    order: Order
    rewind_state: State
    masks: Masks


def random_examples() -> Arrays:
    """Return random inputs and classes, the same at each call."""
    generator = seeds.generator(0, "device self-test")
    x = generator.normal(size=(EXAMPLES, FEATURES)).astype(np.float32)
    return Arrays(x, generator.integers(0, CLASSES, EXAMPLES))


def build_model() -> keras.Model:
    """Return a new dense model of 784-300-100-10 units, with the same initial weights at each call."""
    stack = [keras.Input((FEATURES,))]
    for number, units in enumerate((300, 100)):
        initializer = keras.initializers.GlorotUniform(seed=number)
        stack.append(keras.layers.Dense(units, activation="relu", kernel_initializer=initializer))
    last = keras.initializers.GlorotUniform(seed=2)
    stack.append(keras.layers.Dense(CLASSES, activation="softmax", dtype="float32", kernel_initializer=last))
    return keras.Sequential(stack)


def build_optimizer() -> keras.optimizers.Optimizer:
    """Return a new Adam, which keeps two slots for each weight."""
    return keras.optimizers.Adam(0.001)


def build_engine(data: Batch, *, policy: str = "float32", xla: str = "auto") -> Engine:
    """Return a new engine of a new model, whose masks keep all weights.

    Args:
        data: the training examples.
        policy: the dtype policy of the layers, e.g. "mixed_float16".
        xla: "auto", "on" or "off".
    """
    with precision(policy):
        model = wrap(build_model())
    engine = Engine(model, optimizer=build_optimizer(), loss=LOSS, xla=xla)
    engine.prepare(data)
    return engine


def prepare_workload() -> Workload:
    """Train the dense model up to the rewind step, and prune the smallest weights."""
    data, order = on_device(random_examples()), Order(EXAMPLES, BATCH, seed=0)
    engine = build_engine(data)
    engine.run(data, order, start=0, stop=REWIND_STEP)
    state = capture_state(engine.variables())
    scores = {path: np.abs(state[MODEL + path]) for path in get_masks(engine.model)}
    return Workload(data, order, state, prune_to(scores, ones(scores), density=DENSITY))


def rewound_engine(workload: Workload, *, policy: str = "float32", xla: str = "auto") -> Engine:
    """Return a new engine at the rewind step, masked as a round of an experiment is.

    Where the policy makes the optimizer scale the loss (float16), it has other variables, which start at their initial
    values.

    Args:
        workload: masks and rewind state.
        policy: the dtype policy of the layers.
        xla: "auto", "on" or "off".
    """
    engine = build_engine(workload.data, policy=policy, xla=xla)
    set_masks(engine.model, workload.masks)
    state = capture_state(engine.variables())
    scales_loss = isinstance(engine.optimizer, keras.optimizers.LossScaleOptimizer)
    restored = {key for key in state if key.startswith(MODEL) or not scales_loss}
    state |= {key: workload.rewind_state[key] for key in restored}
    masked = apply_masks_to_state(state, workload.masks, slots_of(engine.optimizer, engine.model))
    restore_state(engine.variables(), masked)
    return engine


def train(engine: Engine, workload: Workload, start: int, stop: int) -> State:
    """Train steps start..stop-1, counted from the rewind step, and return the state as it is stored.

    Args:
        engine: as from `rewound_engine`.
        workload: data and their order.
        start: the first step.
        stop: the step after the last one.
    """
    first = REWIND_STEP + start
    engine.run(workload.data, workload.order, start=first, stop=REWIND_STEP + stop)
    return stored_state(engine)


def stored_state(engine: Engine) -> State:
    """Return the values of all variables as the device stores them, also those that a mask makes read as 0.0."""
    masks = get_masks(engine.model)
    set_masks(engine.model, ones(masks))
    try:
        return capture_state(engine.variables())
    finally:
        set_masks(engine.model, masks)
