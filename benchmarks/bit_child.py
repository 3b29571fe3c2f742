"""One run of `bit_equality.py`, in a process of its own that imports the package from the checkout it is given.

    python bit_child.py CHECKOUT command run --model mlp ...    the same as python -m tf_lottery_cli run --model mlp ...
    python bit_child.py CHECKOUT find_ticket CASE FOLDER        a call of find_ticket, whose run directory is FOLDER/run

The process fails where a module of the package comes from anywhere but CHECKOUT, whatever it printed before.
"""

import inspect
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("tf_lottery", "tf_lottery_cli")
IMPORTED = "every module was imported from"  # the parent looks for it
CASES: dict[str, dict[str, Any]] = {
    # A built model and the caller's optimizer; rewinding to a step after training has begun.
    "model": {"rounds": 2, "rewind": "step:10", "variants": ("ticket", "shuffled_masks"), "seed": 3},
    # A function that makes the model, replicates, and a criterion that follows how weights change in training.
    "function": {"rounds": 2, "replicates": 2, "criterion": "iteration_change", "scope": "global", "seed": 4},
}


def main(arguments: list[str]) -> None:
    """Runs the command or the call.

    Args:
        arguments: those of this process, without its own name.
    """
    checkout, kind, *rest = arguments
    try:
        if kind == "command":
            sys.argv = ["tf-lottery", *rest]
            runpy.run_module("tf_lottery_cli", run_name="__main__", alter_sys=True)
        else:
            find_ticket(rest[0], Path(rest[1]))
    finally:
        check_origin(Path(checkout), PACKAGES if kind == "command" else PACKAGES[:1])


def check_origin(checkout: Path, packages: Sequence[str]) -> None:
    """Checks that every module of the package that this process has imported comes from a checkout.

    Args:
        checkout: folder of the checkout.
        packages: those of `PACKAGES` that must have been imported.

    Raises:
        SystemExit: one of them was not imported, or a module comes from elsewhere; the message names it.
    """
    folders = {"tf_lottery": (checkout / "tf_lottery").resolve(), "tf_lottery_cli": (checkout / "cli").resolve()}
    counts = dict.fromkeys(PACKAGES, 0)
    for name, module in sorted(sys.modules.items()):
        package, file = name.partition(".")[0], getattr(module, "__file__", None)
        if package in folders and file:
            if not Path(file).resolve().is_relative_to(folders[package]):
                raise SystemExit(f"{name} was imported from {file}, not from {folders[package]}.")
            counts[package] += 1
    if missing := [package for package in packages if not counts[package]]:
        raise SystemExit(f"No module of {' and '.join(missing)} was imported.")
    print(f"{IMPORTED} {checkout}: {counts}", file=sys.stderr)


def find_ticket(case: str, folder: Path) -> None:
    """Calls `find_ticket` with a model, arrays and an optimizer of our own, and saves what its tickets hold.

    Args:
        case: a key of `CASES`.
        folder: where the run directory `run` and `tickets.npz` are written.
    """
    import bit_models
    import keras
    import tensorflow as tf

    import tf_lottery as tfl

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    options = CASES[case]
    positional, named = data_arguments(inspect.signature(tfl.find_ticket).parameters, bit_models.arrays())
    result = tfl.find_ticket(
        bit_models.residual() if case == "model" else bit_models.unseeded,
        *positional,
        **named,
        **options,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=bit_models.optimizer(),
        metrics=["accuracy"],
        rate=0.4,
        steps=60,
        batch_size=20,
        eval_every=20,
        run_dir=folder / "run",
    )
    arrays: dict[str, Any] = {}
    for number in range(options["rounds"] + 1):
        ticket = result.ticket(number)
        arrays |= {f"round_{number:02d}/masks/{path}": mask for path, mask in ticket.masks.items()}
        arrays |= {f"round_{number:02d}/rewind/{path}": weight for path, weight in ticket.rewind_weights.items()}
    np.savez(folder / "tickets.npz", **arrays)


def data_arguments(parameters: Any, arrays: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns the positional and the named arguments that hand arrays to `find_ticket`, by the names that it knows.

    Args:
        parameters: parameters of its signature, by name.
        arrays: (x, y) of the parts "train", "validation" and "test".
    """
    if "train" in parameters:  # version 0.1
        return (), arrays
    named = {"validation_data": arrays["validation"], "test_data": arrays["test"]}
    return arrays["train"], named | ({"verbose": 0} if "verbose" in parameters else {})


if __name__ == "__main__":
    main(sys.argv[1:])
