"""The self-test of a device: what holds on a processor, and that each check fails when it should."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tf_lottery.errors import ResourceError, UsageError
from tf_lottery.layers import get_masks, set_masks
from tf_lottery.pruning.masks import density, ones
from tf_lottery.training import device_check, device_self_test, device_workload
from tf_lottery.training.state import slots_of

STEPS = 4


@pytest.fixture(scope="module")
def workload():
    return device_workload.prepare_workload()


@pytest.fixture(scope="module")
def trained(workload):
    """An engine with its states at the start and after some steps."""
    engine = device_workload.rewound_engine(workload)
    start = device_workload.stored_state(engine)
    return SimpleNamespace(engine=engine, start=start, end=device_workload.train(engine, workload, 0, STEPS))


def kernel_key(workload):
    """The key of the first kernel's state and the index of one of its pruned weights."""
    path, mask = next(iter(workload.masks.items()))
    return f"model/{path}", tuple(np.argwhere(~mask)[0])


def changed(state, key, index, value):
    copy = {**state, key: state[key].copy()}
    copy[key][index] = value
    return copy


def test_the_workload_prunes_a_trained_network(workload, trained):
    assert density(workload.masks) == pytest.approx(0.2, abs=1e-4)
    assert int(workload.rewind_state["optimizer/0"]) == device_workload.REWIND_STEP
    key, _ = kernel_key(workload)
    assert np.count_nonzero(trained.start[key] != trained.end[key]) > 0


def test_pruned_weights_of_a_training_are_zero(trained):
    outcome = device_check.check_pruned_weights(trained.engine, trained.end)
    assert set(outcome) == {"name", "ok", "value", "unit", "detail"}
    assert (outcome["ok"], outcome["value"]) == (True, 0)


def test_a_tampered_weight_fails(workload, trained):
    state = changed(trained.end, *kernel_key(workload), 1e-30)
    outcome = device_check.check_pruned_weights(trained.engine, state)
    assert (outcome["ok"], outcome["value"]) == (False, 1)


def test_a_tampered_slot_fails(workload, trained):
    key, index = kernel_key(workload)
    slots = slots_of(trained.engine.optimizer, trained.engine.model)
    slot = next(slot for slot, path in slots.items() if f"model/{path}" == key)
    outcome = device_check.check_pruned_weights(trained.engine, changed(trained.end, slot, index, np.nan))
    assert (outcome["ok"], outcome["value"]) == (False, 1)


def test_a_stored_value_behind_its_mask_is_seen(workload, trained):
    key, index = kernel_key(workload)
    variable = trained.engine.variables()[key]
    masks = get_masks(trained.engine.model)
    before = device_workload.stored_state(trained.engine)
    variable.assign(changed(before, key, index, 0.5)[key])
    try:
        assert variable.numpy()[index] == 0.0
        assert device_workload.stored_state(trained.engine)[key][index] == 0.5
    finally:
        variable.assign(before[key])
    kept = get_masks(trained.engine.model)
    assert all(np.array_equal(kept[path], mask) for path, mask in masks.items())


def test_start_weights(workload, trained):
    assert device_check.check_start_weights(trained.start, workload)["ok"] is True
    path, mask = next(iter(workload.masks.items()))
    index = tuple(np.argwhere(mask)[0])
    state = changed(trained.start, f"model/{path}", index, np.nextafter(trained.start[f"model/{path}"][index], 9))
    outcome = device_check.check_start_weights(state, workload)
    assert (outcome["ok"], outcome["value"]) == (False, 1)


@pytest.mark.slow  # compiles another engine
def test_a_repeated_training_has_the_same_bits(workload, trained):
    assert device_check.check_repeating(trained.end, workload, STEPS)["ok"] is True


def test_one_bit_makes_states_differ():
    state = {"a": np.ones(3, np.float32), "b": np.zeros(2, np.int32)}
    assert device_check.check_equal_states("x", state, {**state}, "")["ok"] is True
    other = changed(state, "a", 1, np.nextafter(np.float32(1), np.float32(2)))
    outcome = device_check.check_equal_states("x", state, other, "")
    assert (outcome["ok"], outcome["value"]) == (False, 1)
    assert f"largest difference {2.0**-23:.3g}" in outcome["detail"]
    assert device_check.check_equal_states("x", {"a": np.zeros(1)}, {"a": -np.zeros(1)}, "")["ok"] is False


def cut_to_bits(array, bits):
    """The float32 array with so many bits of the fraction, the others cut off."""
    kept = np.uint32(0xFFFFFFFF << (23 - bits) & 0xFFFFFFFF)
    return (array.view(np.uint32) & kept).view(np.float32)


@pytest.mark.parametrize(
    ("bits", "passes_float32", "passes_tf32"), [(23, True, True), (10, False, True), (7, False, False)]
)
def test_the_rounding_of_a_product_is_judged(bits, passes_float32, passes_tf32):
    a, b = np.random.default_rng(0).normal(size=(2, 512, 512)).astype(np.float32)
    product = cut_to_bits(a, bits) @ cut_to_bits(b, bits)
    for tf32, passes in ((False, passes_float32), (True, passes_tf32)):
        assert device_check.judge_matmul(a, b, product, tf32=tf32, allowed=True)["ok"] is passes


def test_a_variable_on_another_device_fails():
    places = [f"/job:localhost/replica:0/task:0/device:{place}" for place in ("GPU:0", "CPU:0", "GPU:0")]
    variables = [SimpleNamespace(value=SimpleNamespace(device=place)) for place in places]
    engine = SimpleNamespace(model=SimpleNamespace(trainable_variables=variables))
    outcome = device_check.check_placement(engine, "GPU")
    assert (outcome["ok"], outcome["value"]) == (False, 1)
    del variables[1]
    assert device_check.check_placement(engine, "GPU")["ok"] is True


@pytest.mark.parametrize("growth", [True, False])
def test_memory_of_a_gpu_must_grow(monkeypatch, growth):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["card"])
    monkeypatch.setattr(tf.config.experimental, "get_memory_growth", lambda card: growth)
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", lambda name: {"current": 5, "peak": 7})
    outcome = device_check.check_memory("GPU")
    assert (outcome["ok"], outcome["value"]) == (growth, 7)
    outcome = device_check.check_memory("CPU")
    assert (outcome["ok"], outcome["value"]) == (None, None)


def test_without_a_gpu_the_error_names_the_processor(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    with pytest.raises(ResourceError, match=r"sees none.*device='cpu'"):
        device_self_test.run_self_test()
    with pytest.raises(UsageError, match="auto or cpu"):
        device_self_test.run_self_test("tpu")


def test_a_check_that_raises_has_failed_and_names_no_path():
    outcome = device_self_test.failed_check("XLA", OSError("no libdevice at /home/someone/cuda/libdevice.bc found"))
    assert (outcome["ok"], outcome["value"]) == (False, None)
    assert outcome["detail"] == "OSError: no libdevice at ... found"


def test_the_other_checks_run_when_one_raises(monkeypatch, workload, trained):
    def fail(*arguments, **options):
        raise RuntimeError("no kernel")

    states = iter([trained.start])
    for name, value in {
        "prepare_workload": lambda: workload,
        "rewound_engine": lambda workload: trained.engine,
        "stored_state": lambda engine: next(states),
        "train": lambda *arguments: trained.end,
    }.items():
        monkeypatch.setattr(device_self_test, name, value)
    for name in ("resuming", "repeating", "mixed_precision", "xla"):
        monkeypatch.setattr(device_check, f"check_{name}", fail)
    for name in ("engine", "fit"):
        monkeypatch.setattr(device_check, f"measure_{name}_speed", fail)
    outcomes = {outcome["name"]: outcome for outcome in device_self_test._outcomes("CPU", 2, 2)}
    assert len(outcomes) == 12
    assert outcomes["XLA"]["detail"] == "RuntimeError: no kernel"
    assert outcomes["pruned weights"]["ok"] is outcomes["start weights"]["ok"] is True


def test_masks_of_ones_show_what_is_not_pruned(workload, trained):
    masks = get_masks(trained.engine.model)
    set_masks(trained.engine.model, ones(masks))
    try:
        assert device_check.check_pruned_weights(trained.engine, trained.end)["detail"].startswith("nonzero among 0 ")
    finally:
        set_masks(trained.engine.model, masks)
