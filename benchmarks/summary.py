"""What the measurements say: medians, ratios, agreement of the losses, targets, and a table of them."""

import os
import platform
from importlib import metadata
from statistics import median
from typing import Any

from worker import CONTENDERS
from workload import KINDS

# Float32 sums in another order differ in the last digits; a wrong mask or a skipped step differs in the second.
TOLERANCE = 1e-4
ENGINE, LIMIT = "engine", "bare"


def summarise(results: dict[str, dict[str, Any]], options: dict[str, Any]) -> dict[str, Any]:
    """Medians, ranges and ratios of all runs, whether the losses agree, and the targets."""
    for result in results.values():
        for key, column in (("seconds", "us"), ("cpu_seconds", "cpu_us")):
            each = [1e6 * run[key] / options["steps"] for run in result["runs"]]
            result |= {column: median(each), f"{column}_min": min(each), f"{column}_max": max(each)}
        result["loss_after"] = result["runs"][-1]["loss_after"]
    for result in results.values():
        for other in (ENGINE, LIMIT):
            if other in results:
                result[f"times_{other}"] = result["us"] / results[other]["us"]
                result[f"cpu_times_{other}"] = result["cpu_us"] / results[other]["cpu_us"]
    masked = {name: result["loss_after"] for name, result in results.items() if CONTENDERS[name].masked}
    low, high = min(masked.values(), default=1.0), max(masked.values(), default=1.0)
    return {
        "schema": "tf-lottery.throughput/1",
        "options": options,
        "machine": machine(),
        "contenders": results,
        "same_loss": high - low <= TOLERANCE * abs(low),
        "targets": targets(results, convolutional=KINDS[options["model"]].convolutional),
    }


def targets(results: dict[str, dict[str, Any]], *, convolutional: bool) -> list[dict[str, Any]]:
    """The project's targets for the engine, as far as both sides were measured."""
    wanted = (
        [("fit", "at least", 1 / 1.05)]
        if convolutional
        else [
            (LIMIT, "at least", 1 / 1.25),
            ("fit", "at least", 2.5),
            ("tfmot", "at least", 3.0),
        ]
    )
    found = []
    for name, _, bound in wanted:
        if name in results and ENGINE in results:
            ratio, processor = results[name]["times_engine"], results[name]["cpu_times_engine"]
            found.append(
                {"against": name, "bound": bound, "ratio": ratio, "cpu_ratio": processor, "held": ratio >= bound}
            )
    return found


def table(document: dict[str, Any]) -> str:
    """The document as text."""
    options, contenders = document["options"], document["contenders"]
    data = "synthetic data" if options["synthetic"] else KINDS[options["model"]].dataset
    lines = [
        f"{options['model']} on {data}, batch {options['batch']}, Adam, density {options['density']}, {options['steps']} steps "
        f"x {options['repeats']}, {options['threads']} thread(s) and core(s) each",
        "",
        f"{'microseconds per step':<46}{'median':>8}{'min':>8}{'max':>8}{'cpu':>8}{'/engine':>9}{'/bare':>8}"
        f"{'loss before':>13}{'after':>10}",
    ]
    for name, result in contenders.items():
        ratios = [f"{result[key]:.2f}" if key in result else "-" for key in ("times_engine", "times_bare")]
        lines.append(
            f"{name + ': ' + result['what']:<46}{result['us']:>8.0f}{result['us_min']:>8.0f}{result['us_max']:>8.0f}"
            f"{result['cpu_us']:>8.0f}{ratios[0]:>9}{ratios[1]:>8}{result['loss_before']:>13.4f}{result['loss_after']:>10.5f}"
        )
    lines.append("")
    same = "agree" if document["same_loss"] else "DISAGREE: the measurement is void"
    lines.append(f"validation losses of those that train the same masks {same} (tolerance {TOLERANCE:g}, relative)")
    for target in document["targets"]:
        lines.append(
            f"target: {target['against']} / engine at least {target['bound']:.3g}: {target['ratio']:.2f} "
            f"({target['cpu_ratio']:.2f} in processor time): {'held' if target['held'] else 'MISSED'}"
        )
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What it ran on."""
    packages = ("tensorflow", "keras", "tf_keras", "tensorflow-model-optimization", "numpy")
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        **{package: metadata.version(package) for package in packages},
    }
