"""Sort model files by the network that they store: each network is compared with its own dense baselines."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_lottery.exporting.measure.model_files import (
    export_record,
    export_records,
    identify,
    model_format,
    stored_weights,
)
from tf_lottery.exporting.tflite import flatbuffers


@dataclass
class NetworkFiles:
    """Files that store one network, as far as one can see.

    Attributes:
        files: in the order in which they were named.
        baselines: path by precision, of a dense file among them or exported beside them; missing ones are left out.
        interface: shapes of its inputs and of its outputs, None where no file shows them.
    """

    files: list[Path]
    baselines: dict[str, Path]
    interface: Any = None


def sort_by_network(files: Sequence[Path]) -> list[NetworkFiles]:
    """Sort files by the network that they store, and find the dense baselines of each.

    Files store one network if one export wrote them, or if shapes of inputs and outputs and sizes of all weights are
    equal: sparse encoding and precision change neither, slimming does. A file that shows nothing of this (Keras files,
    SavedModels) belongs to the only network in its folder, or to the only one at all.

    Args:
        files: to be measured; dense files that were exported to their folders are added where they are needed.
    """
    exported = [
        folder / Path(str(record.get("path"))).name
        for folder in dict.fromkeys(file.parent for file in files)
        for record in export_records(folder)
        if record.get("format") == "tflite" and record.get("encoding") == "dense"
    ]
    groups: list[tuple[set[Any], list[Path]]] = []
    without_clues = []
    for file in dict.fromkeys([*files, *exported]):
        clues = _clues(file) if file.exists() else set()
        if not clues:
            without_clues.append(file)
            continue
        same = [group for group in groups if group[0] & clues]
        groups = [group for group in groups if not group[0] & clues]
        groups.append((clues.union(*(group[0] for group in same)), [*(f for group in same for f in group[1]), file]))
    for file in without_clues:
        near = [group for group in groups if any(other.parent == file.parent for other in group[1])]
        (chosen,) = near if len(near) == 1 else groups if len(groups) == 1 else [(set(), [])]
        if not chosen[1]:
            groups.append(chosen)
        chosen[1].append(file)
    networks = [_network(clues, members, files) for clues, members in groups]
    return sorted((network for network in networks if network.files), key=lambda network: files.index(network.files[0]))


def keep_files(network: NetworkFiles, kept: Collection[Path]) -> NetworkFiles:
    """Return the network with those of its files that are kept; its baselines are among its files.

    Args:
        network: any.
        kept: files, of any network.
    """
    baselines = {precision: file for precision, file in network.baselines.items() if file in kept}
    files = [file for file in dict.fromkeys([*network.files, *baselines.values()]) if file in kept]
    return NetworkFiles(files, baselines, network.interface)


def interface_of(path: Path) -> Any:
    """Return the shapes of a TFLite file's inputs and outputs without the batch, in any order; None if unreadable."""
    return next((clue[0] for clue in _clues(path) if isinstance(clue, tuple)), None)


def _network(clues: set[Any], members: Sequence[Path], files: Sequence[Path]) -> NetworkFiles:
    named = [file for file in files if file in members]
    baselines: dict[str, Path] = {}
    for file in [*named, *(file for file in members if file not in named)]:
        if model_format(file) == "tflite" and file.is_file() and (precision := identify(file).baseline):
            baselines.setdefault(precision, file)
    interface = next((clue[0] for clue in clues if isinstance(clue, tuple)), None)
    return NetworkFiles(named, baselines, interface)


def _clues(path: Path) -> set[Any]:
    """What identifies a file's network: the folder of its export; shapes of inputs, outputs and weights."""
    record = export_record(path)
    clues: set[Any] = {path.parent.absolute()} if record else set()
    if model_format(path) != "tflite" or not path.is_file():
        return clues
    try:
        model = flatbuffers.read(path)
        graph = model.subgraphs[0]
        interface = tuple(
            tuple(sorted(tuple(int(size) for size in graph.tensors[place].shape[1:]) for place in places))
            for places in (graph.inputs, graph.outputs)
        )
    except Exception:  # what the reader raises for bytes that are no flatbuffer is anything
        return clues
    slim = record is not None and "slim" in str(record.get("encoding"))
    weights = () if slim else tuple(sorted(size for _, size, _ in stored_weights(model)))
    return clues | {(interface, path.parent.absolute() if slim else weights)}
