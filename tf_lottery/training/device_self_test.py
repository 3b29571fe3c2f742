"""The self-test of a device: all checks in their order, and on what they ran."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tf_lottery.errors import ResourceError, UsageError
from tf_lottery.training import device_check as checks
from tf_lottery.training.device import configure
from tf_lottery.training.device_workload import prepare_workload, rewound_engine, stored_state, train
from tf_lottery.utils import machine
from tf_lottery.utils.text import one_line

STEPS, SPEED_STEPS = 50, 300
_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[/\\][\w.@+~-]+){2,}")


def run_self_test(device: str = "auto", *, steps: int = STEPS, speed_steps: int = SPEED_STEPS) -> dict[str, Any]:
    """Check the device on which training runs; it takes about half a minute.

    Args:
        device: "auto" for the GPU, or "cpu".
        steps: how many steps each training takes, at least 2.
        speed_steps: how many steps are timed, at most 400.

    Returns:
        JSON values: `device` ("GPU" or "CPU"), `versions`, `build` (of CUDA and cuDNN), `cards` and `checks`. They hold
        no names of hosts, users or paths.

    Raises:
        ResourceError: there is no GPU, or TensorFlow was already at work with other settings.
        UsageError: another device name.
    """
    if device not in ("auto", "cpu"):
        raise UsageError(f"`device` must be auto or cpu. Received: {device!r}.")
    if device == "auto" and not tf.config.list_physical_devices("GPU"):
        raise ResourceError(
            "The self-test is of a GPU, and TensorFlow sees none.",
            "Install the gpu extra and the driver of the card, or run the same checks on the processor with "
            "`device='cpu'`.",
            argument="device",
        )
    configure(threads=None, device=device)
    kind = "CPU" if device == "cpu" else "GPU"
    outcomes = list(_outcomes(kind, steps, speed_steps))
    return {**describe_device(kind), "checks": outcomes}


def describe_device(kind: str) -> dict[str, Any]:
    """Return versions, builds and cards.

    Args:
        kind: "CPU" or "GPU".
    """
    build, described = tf.sysconfig.get_build_info(), machine.describe(machine.PACKAGES)
    return {
        "device": kind,
        "versions": {name: described[name] for name in ("python", *machine.PACKAGES, "system", "processor")},
        "build": {"cuda": build.get("cuda_version"), "cudnn": build.get("cudnn_version")},
        "cards": [_describe_card(gpu) for gpu in tf.config.list_physical_devices("GPU")] if kind == "GPU" else [],
    }


def _describe_card(gpu: tf.config.PhysicalDevice) -> dict[str, Any]:
    details = tf.config.experimental.get_device_details(gpu)
    capability = details.get("compute_capability")
    return {
        "name": details.get("device_name"),
        "compute_capability": ".".join(map(str, capability)) if capability else None,
    }


def _outcomes(kind: str, steps: int, speed_steps: int) -> Iterator[checks.Check]:
    """Run the checks; one that raises an exception has failed, and the others still run."""
    try:
        workload = prepare_workload()
        engine = rewound_engine(workload)
        start = stored_state(engine)
        whole = train(engine, workload, 0, steps)
    except Exception as error:  # A device may fail in any way; the result says how.
        yield failed_check("training", error)
        return
    named: dict[str, Callable[[], checks.Check]] = {
        "pruned weights": lambda: checks.check_pruned_weights(engine, whole),
        "start weights": lambda: checks.check_start_weights(start, workload),
        "resumed training": lambda: checks.check_resuming(whole, workload, steps),
        "repeated training": lambda: checks.check_repeating(whole, workload, steps),
        "mixed_float16": lambda: checks.check_mixed_precision("mixed_float16", workload, steps),
        "mixed_bfloat16": lambda: checks.check_mixed_precision("mixed_bfloat16", workload, steps),
        "matmul and TF32": lambda: checks.check_matmul(kind),
        "XLA": lambda: checks.check_xla(workload, steps),
        "placement": lambda: checks.check_placement(engine, kind),
        "speed of the engine": lambda: checks.measure_engine_speed(workload, speed_steps),
        "speed of fit": lambda: checks.measure_fit_speed(speed_steps),
        "memory": lambda: checks.check_memory(kind),  # last, when all else has taken some
    }
    for name, run in named.items():
        try:
            yield run()
        except Exception as error:
            yield failed_check(name, error)


def failed_check(name: str, error: Exception) -> checks.Check:
    """Return the outcome of a check that raised an exception, without the paths that its message names.

    Args:
        name: what was checked.
        error: what was raised.
    """
    return checks.check(name, False, None, "", f"{type(error).__name__}: {_PATH.sub('...', one_line(error))}")
