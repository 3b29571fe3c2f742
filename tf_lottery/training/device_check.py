"""Checks of the device on which training runs: each one is a function that returns a plain dict.

The keys are `name`, `ok` (True, False, or None where there is nothing to pass), `value` (a number, or None), `unit` and
`detail` (one line).
"""

import time
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from tf_lottery.layers import get_masks, wrap
from tf_lottery.training.device_workload import (
    BATCH,
    EXAMPLES,
    LOSS,
    Workload,
    build_model,
    build_optimizer,
    random_examples,
    rewound_engine,
    stored_state,
    train,
)
from tf_lottery.training.engine import Engine
from tf_lottery.training.state import MODEL, State, slots_of
from tf_lottery.utils import seeds

Check: TypeAlias = dict[str, Any]
XLA_TOLERANCE = 1e-3
"""Largest difference of the last step's loss with and without XLA, relative to the loss without."""
MATMUL_SIZE = 512
# In float32, sums of n products err by at most n roundings to 24 bits. Emulated on a processor, normal factors
# cut to TF32's 10 bits of the fraction err by 2.4e-4; rounded to the 7 bits of bfloat16, by 7.2e-4.
MATMUL_LIMITS = {"float32": MATMUL_SIZE * 2.0**-24, "TF32": 2.0**-11}
"""Largest error of an entry of a @ b, relative to that of |a| @ |b|."""


def check(name: str, ok: bool | None, value: float | None, unit: str, detail: str) -> Check:
    """Return the outcome of a check.

    Args:
        name: what was checked.
        ok: whether it holds; None where there is nothing to pass.
        value: what was measured.
        unit: of the value.
        detail: one line of what the value means.
    """
    return {"name": name, "ok": ok, "value": value, "unit": unit, "detail": detail}


def check_pruned_weights(engine: Engine, state: State, *, name: str = "pruned weights") -> Check:
    """Pruned weights and the optimizer's slots of them are exactly 0.0.

    Args:
        engine: the engine that trained.
        state: its state, as from `stored_state`.
        name: what the check is called.
    """
    masks = get_masks(engine.model)
    slots = slots_of(engine.optimizer, engine.model)
    owners = {MODEL + path: path for path in masks} | {key: path for key, path in slots.items() if path in masks}
    nonzero = sum(int(np.count_nonzero(state[key][~masks[path]])) for key, path in owners.items())
    pruned = sum(int(np.count_nonzero(~mask)) for mask in masks.values())
    detail = f"nonzero among {pruned} pruned weights and their {len(owners) - len(masks)} arrays of optimizer slots"
    return check(name, nonzero == 0, nonzero, "values", detail)


def check_start_weights(state: State, workload: Workload) -> Check:
    """The weights at the start of a round are the rewind weights times the masks.

    Args:
        state: at the start, as from `stored_state`.
        workload: masks and rewind state.
    """
    expected = {MODEL + path: workload.rewind_state[MODEL + path] * mask for path, mask in workload.masks.items()}
    different = sum(int(np.count_nonzero(state[key] != value)) for key, value in expected.items())
    return check("start weights", different == 0, different, "weights", "other than rewind weight x mask")


def check_resuming(whole: State, workload: Workload, steps: int) -> Check:
    """A training that stops half-way and continues in a new engine has the bits of one that did not stop.

    Args:
        whole: the state after all steps in one engine.
        workload: what is trained.
        steps: how many steps.
    """
    stop = steps // 2
    first = rewound_engine(workload)
    halfway = train(first, workload, 0, stop)
    second = rewound_engine(workload)
    for key, variable in second.variables().items():
        variable.assign(halfway[key])
    resumed = train(second, workload, stop, steps)
    return check_equal_states("resumed training", whole, resumed, f"stopped at step {stop} of {steps}")


def check_repeating(whole: State, workload: Workload, steps: int) -> Check:
    """Two trainings with the same seed have the same bits.

    Args:
        whole: the state after all steps.
        workload: what is trained.
        steps: how many steps.
    """
    again = train(rewound_engine(workload), workload, 0, steps)
    return check_equal_states("repeated training", whole, again, f"{steps} steps with the same seed")


def check_equal_states(name: str, one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], what: str) -> Check:
    """Two states have the same bits.

    Args:
        name: what the check is called.
        one: a state.
        other: another one, with the same keys.
        what: what the other state comes from.
    """
    different = [key for key, value in one.items() if value.tobytes() != other[key].tobytes()]
    largest = max(
        (float(np.max(np.abs(one[key].astype(np.float64) - other[key]), initial=0.0)) for key in different), default=0.0
    )
    detail = f"arrays of {len(one)} with other bits, largest difference {largest:.3g}; {what}"
    return check(name, not different, len(different), "arrays", detail)


def check_mixed_precision(policy: str, workload: Workload, steps: int) -> Check:
    """Under a dtype policy, pruned weights and slots stay 0.0 and the loss is finite.

    Args:
        policy: "mixed_float16" or "mixed_bfloat16".
        workload: what is trained.
        steps: how many steps.
    """
    engine = rewound_engine(workload, policy=policy)
    masks = check_pruned_weights(engine, train(engine, workload, 0, steps), name=policy)
    loss = engine.results()["loss"]
    finite = bool(np.isfinite(loss))
    return masks | {"ok": masks["ok"] and finite, "detail": f"{masks['detail']}; mean loss {loss:.4g}"}


def check_matmul(kind: str) -> Check:
    """The error of a float32 matrix product against float64, and whether TensorFlow uses TF32 for it.

    Args:
        kind: "CPU" or "GPU"; a CPU has no TF32.
    """
    generator = seeds.generator(0, "device self-test", "matmul")
    a, b = generator.normal(size=(2, MATMUL_SIZE, MATMUL_SIZE)).astype(np.float32)
    product = tf.linalg.matmul(tf.constant(a), tf.constant(b)).numpy()
    allowed = tf.config.experimental.tensor_float_32_execution_enabled()
    return judge_matmul(a, b, product, tf32=allowed and kind == "GPU", allowed=allowed)


def judge_matmul(a: np.ndarray, b: np.ndarray, product: np.ndarray, *, tf32: bool, allowed: bool) -> Check:
    """Compare a matrix product with that in float64.

    Args:
        a: float32, shape (n, k).
        b: float32, shape (k, m).
        product: what the device computed, shape (n, m).
        tf32: whether it may have rounded the inputs to TF32.
        allowed: whether TensorFlow's setting allows TF32.
    """
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    error = float(np.max(np.abs(product - wide_a @ wide_b) / (np.abs(wide_a) @ np.abs(wide_b))))
    limit = MATMUL_LIMITS["TF32" if tf32 else "float32"]
    setting = f"TF32 is {'on' if allowed else 'off'} in TensorFlow{'' if tf32 or not allowed else ' (a GPU uses it)'}"
    detail = f"largest error relative to |a| x |b|, at most {limit:.3g}; {setting}"
    return check("matmul and TF32", error <= limit, error, "relative error", detail)


def check_xla(workload: Workload, steps: int) -> Check:
    """With XLA, pruned weights and slots stay 0.0, and the last step's loss is near that without.

    Args:
        workload: what is trained.
        steps: how many steps.
    """
    engines = {xla: rewound_engine(workload, xla=xla) for xla in ("on", "off")}
    losses = {}
    for xla, engine in engines.items():
        train(engine, workload, 0, steps - 1)
        engine.reset_metrics()
        train(engine, workload, steps - 1, steps)
        losses[xla] = engine.results()["loss"]
    nonzero = check_pruned_weights(engines["on"], stored_state(engines["on"]))["value"]
    difference = abs(losses["on"] - losses["off"]) / abs(losses["off"])
    detail = (
        f"loss of the last step {losses['on']:.6g} with XLA, {losses['off']:.6g} without, tolerance {XLA_TOLERANCE:g}; "
        f"{nonzero} pruned values are not 0.0"
    )
    return check("XLA", nonzero == 0 and difference <= XLA_TOLERANCE, difference, "relative difference", detail)


def check_memory(kind: str) -> Check:
    """Memory of the GPU grows as needed; the value is what was in use at most.

    Args:
        kind: "CPU" or "GPU"; TensorFlow counts no memory of a CPU.
    """
    if kind == "CPU":
        return check("memory", None, None, "bytes", "TensorFlow counts no memory of a CPU")
    growth = all(tf.config.experimental.get_memory_growth(gpu) for gpu in tf.config.list_physical_devices("GPU"))
    memory = tf.config.experimental.get_memory_info("GPU:0")
    detail = f"at most in use; {memory['current']} bytes now; memory growth is {'on' if growth else 'off'}"
    return check("memory", growth, memory["peak"], "bytes", detail)


def check_placement(engine: Engine, kind: str) -> Check:
    """The trainable variables of the model are on the device.

    Args:
        engine: whose model is looked at.
        kind: "CPU" or "GPU".
    """
    devices = [str(variable.value.device).rpartition("device:")[2] for variable in engine.model.trainable_variables]
    elsewhere = sum(not device.startswith(f"{kind}:") for device in devices)
    detail = f"variables of {len(devices)} that are not on a {kind}; they are on {', '.join(sorted(set(devices)))}"
    return check("placement", elsewhere == 0, elsewhere, "variables", detail)


def measure_engine_speed(workload: Workload, steps: int) -> Check:
    """Steps per second of the engine, after it has compiled.

    Args:
        workload: what is trained.
        steps: how many steps are timed.
    """
    engine = rewound_engine(workload)
    train(engine, workload, 0, 1)
    before = time.perf_counter()
    train(engine, workload, 1, 1 + steps)
    speed = steps / (time.perf_counter() - before)
    return check("speed of the engine", None, speed, "steps/s", f"{steps} steps of {BATCH} examples, XLA {engine.xla}")


def measure_fit_speed(steps: int) -> Check:
    """Steps per second of `fit` of the same wrapped model, after it has compiled.

    Args:
        steps: how many steps are timed, at least; whole epochs are.
    """
    model, arrays = wrap(build_model()), random_examples()
    model.compile(build_optimizer(), loss=LOSS)
    model.fit(arrays.x, arrays.y, batch_size=BATCH, verbose=0)
    epochs = -(-steps * BATCH // EXAMPLES)
    before = time.perf_counter()
    model.fit(arrays.x, arrays.y, batch_size=BATCH, epochs=epochs, verbose=0)
    timed = epochs * EXAMPLES // BATCH
    speed = timed / (time.perf_counter() - before)
    return check("speed of fit", None, speed, "steps/s", f"{timed} steps of {BATCH} examples")
