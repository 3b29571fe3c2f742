"""Sentences on how files were measured: what they were compared with, and at which sizes."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tf_lottery.exporting.input_shapes import sizes_text
from tf_lottery.exporting.measure.bench_findings import short_names
from tf_lottery.exporting.measure.measurement import Measurement
from tf_lottery.exporting.measure.model_files import BASELINE_PRECISIONS
from tf_lottery.exporting.measure.networks import NetworkFiles


def note_networks(networks: Sequence[NetworkFiles], labels: Mapping[Path, str]) -> list[str]:
    """Return which files are of which network, where they are of several.

    Args:
        networks: of the measured files.
        labels: what to call each file.
    """
    if len(networks) < 2:
        return []
    names = short_names(list(labels.values()))
    lists = "; ".join(
        f"{number}: {', '.join(names[labels[file]] for file in network.files)}"
        for number, network in enumerate(networks, 1)
    )
    return [
        f"The files are of {len(networks)} networks, each compared with its own dense files: {lists}. They are "
        "distinguished by inputs, outputs and sizes of weights; a slimmed file is known by the export.json beside it."
    ]


def note_missing(networks: Sequence[NetworkFiles]) -> list[str]:
    """Return which dense baselines are missing."""
    notes = []
    for number, network in enumerate(networks, 1):
        kinds = " and ".join(precision for precision in BASELINE_PRECISIONS if precision not in network.baselines)
        if kinds:
            of = f" of network {number}" if len(networks) > 1 else ""
            notes.append(f"No dense {kinds} TFLite file{of} to compare with: give one, or the network as `model`.")
    return notes


def note_sizes(measurements: Iterable[Measurement], *, sized: bool) -> list[str]:
    """Return at which sizes inputs of free size were measured; nothing where there are none.

    Args:
        measurements: of files.
        sized: whether the caller gave the sizes.
    """
    shapes = dict.fromkeys(
        measurement.input_shapes[name][1:] for measurement in measurements for name in measurement.free_inputs
    )
    if not shapes:
        return []
    why = "" if sized else ", as neither samples nor `input_shape` say another"
    return [f"Inputs of free size were measured at {sizes_text(list(shapes))}{why}."]
