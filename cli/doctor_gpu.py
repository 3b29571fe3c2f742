"""`tf-lottery doctor --gpu`: the self-test of the device on which training runs."""

from typing import Any

from tf_lottery.errors import CheckFailed

from .output import print_json, print_line, print_table
from .process import clean_output

SCHEMA = "tf-lottery.doctor-gpu/1"
STATUS = {True: "ok", False: "fail", None: ""}


def print_self_test(device: str | None, as_json: bool) -> None:
    """Run the self-test and print its outcome.

    Args:
        device: "auto" or "cpu"; None is "auto".
        as_json: print one JSON document.

    Raises:
        CheckFailed: a check failed; the outcome is printed before.
        ResourceError: there is no GPU.
    """
    with clean_output():
        from tf_lottery.training.device_self_test import run_self_test

        outcome = run_self_test(device or "auto")
    if as_json:
        print_json({"schema": SCHEMA, **outcome})
    else:
        _print_outcome(outcome)
    failed = [check["name"] for check in outcome["checks"] if check["ok"] is False]
    if failed:
        raise CheckFailed(
            f"Failed on the {outcome['device']}: {', '.join(failed)}.",
            "Report what `tf-lottery doctor --gpu --json` prints.",
        )


def _print_outcome(outcome: dict[str, Any]) -> None:
    cards = [f"{card['name']} (compute capability {card['compute_capability']})" for card in outcome["cards"]]
    print_line(f"Device: {', '.join(cards) or outcome['device']}")
    print_line(", ".join(f"{name} {version}" for name, version in outcome["versions"].items()))
    builds = [f"{name} {version}" for name, version in outcome["build"].items() if version is not None]
    print_line(f"TensorFlow was built for {', '.join(builds) or 'processors only'}")
    print_line()
    rows = [
        (check["name"], STATUS[check["ok"]], _number(check["value"]), check["unit"], check["detail"])
        for check in outcome["checks"]
    ]
    print_table(("Check", "", "Value", "Unit", "Detail"), rows, right=(False, False, True, False, False))


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.4g}"
