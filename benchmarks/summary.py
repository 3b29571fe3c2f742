"""What the measurements say: medians, ratios, agreement of the losses, targets, and a table of them."""

import os
import platform
from importlib import metadata
from statistics import median
from typing import Any

from race import disturbed
from worker import CONTENDERS
from workload import KINDS

# Float32 sums in another order differ in the last digits; a wrong mask or a skipped step differs in the second.
# Rounding differs between compilations, and training doubles such differences again and again: losses that agree to
# seven digits after 1,000 steps agree to two or three after 5,000.
TOLERANCE, LONG_STEPS, LONG_TOLERANCE = 1e-4, 1000, 2e-2
ENGINE, LIMIT = "engine", "bare"


def summarize(results: dict[str, dict[str, Any]], options: dict[str, Any]) -> dict[str, Any]:
    """Medians, ranges and ratios, whether the losses agree, and the targets.

    Runs that other processes disturbed count only for a contender that has no others.
    """
    for result in results.values():
        quiet = [run for run in result["runs"] if not disturbed(run)]
        result["quiet_runs"] = len(quiet)
        for key, column in (("seconds", "us"), ("cpu_seconds", "cpu_us"), ("return_seconds", "call_us")):
            each = [1e6 * run[key] / options["steps"] for run in quiet or result["runs"]]
            result |= {column: median(each), f"{column}_min": min(each), f"{column}_max": max(each)}
        result["loss_after"] = result["runs"][-1]["loss_after"]
    for result in results.values():
        for other in (ENGINE, LIMIT):
            if other in results:
                result[f"times_{other}"] = result["us"] / results[other]["us"]
                result[f"call_times_{other}"] = result["call_us"] / results[other]["call_us"]
                result[f"cpu_times_{other}"] = result["cpu_us"] / results[other]["cpu_us"]
    return {
        "schema": "tf-lottery.throughput/1",
        "options": options,
        "machine": machine(),
        "contenders": results,
        "same_loss": same_loss(results, tolerance=tolerance(options["steps"])),
        "targets": targets(results, convolutional=KINDS[options["model"]].convolutional),
    }


def tolerance(steps: int) -> float:
    """How far the losses of one net may lie apart, relative, after so many steps."""
    return TOLERANCE if steps <= LONG_STEPS else LONG_TOLERANCE


def same_loss(results: dict[str, dict[str, Any]], *, tolerance: float = TOLERANCE) -> bool:
    """Whether every training of the same masks ended at the same validation loss."""
    masked = [result["runs"] for name, result in results.items() if CONTENDERS[name].masked]
    losses = [run["loss_after"] for runs in masked for run in runs]
    return not losses or max(losses) - min(losses) <= tolerance * min(losses)


def targets(results: dict[str, dict[str, Any]], *, convolutional: bool) -> list[dict[str, Any]]:
    """The project's targets, as far as both sides were measured: how much longer one may or must take than another."""
    wanted = [(ENGINE, "fit", "at most", 1.05)]
    if not convolutional:
        wanted = [
            (ENGINE, LIMIT, "at most", 1.25),
            ("fit", ENGINE, "at least", 2.5),
            ("tfmot", ENGINE, "at least", 3.0),
        ]
    actual = []
    for name, other, sense, bound in wanted:
        if name in results and other in results:
            ratio = results[name]["us"] / results[other]["us"]
            actual.append(
                {
                    "what": f"{name} / {other} {sense} {bound:g}",
                    "ratio": ratio,
                    "cpu_ratio": results[name]["cpu_us"] / results[other]["cpu_us"],
                    "call_ratio": results[name]["call_us"] / results[other]["call_us"],
                    "held": ratio <= bound if sense == "at most" else ratio >= bound,
                }
            )
    return actual


def table(document: dict[str, Any]) -> str:
    """The document as text."""
    options = document["options"]
    data = "synthetic data" if options["synthetic"] else KINDS[options["model"]].dataset
    lines = [
        f"{options['model']} on {data}, batch {options['batch']}, Adam, density {options['density']:g}, "
        f"{options['steps']} steps, {options['threads']} thread(s) and core(s) each",
        "",
        f"{'microseconds per step':<52}{'median':>7}{'min':>7}{'max':>7}{'cpu':>7}{'call':>7}{'quiet':>7}{'/engine':>9}"
        f"{'/bare':>7}{'loss before':>13}{'after':>10}",
    ]
    for name, it in document["contenders"].items():
        ratios = [f"{it[key]:.2f}" if key in it else "-" for key in ("times_engine", "times_bare")]
        lines.append(
            f"{name + ': ' + it['what']:<52}{it['us']:>7.0f}{it['us_min']:>7.0f}{it['us_max']:>7.0f}"
            f"{it['cpu_us']:>7.0f}{it['call_us']:>7.0f}{it['quiet_runs']:>4}/{len(it['runs'])}{ratios[0]:>10}{ratios[1]:>7}"
            f"{it['loss_before']:>13.4f}{it['loss_after']:>10.5f}"
        )
    same = "agree" if document["same_loss"] else "DISAGREE: the measurement is void"
    lines += [
        "",
        "call: median until the call returned, what the caller waits for; the other columns end with the last step",
        "quiet: runs that no other process disturbed; where there are any, only they count",
        f"validation losses of those that train the same masks {same} "
        f"(relative tolerance {tolerance(options['steps']):g})",
    ]
    for target in document["targets"]:
        lines.append(
            f"target: {target['what']}: {target['ratio']:.2f} ({target['cpu_ratio']:.2f} in processor time, "
            f"{target['call_ratio']:.2f} in whole calls): "
            f"{'held' if target['held'] else 'MISSED'}"
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
