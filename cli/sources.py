"""The model that a user means: a run's ticket, a ticket's file, or a Keras file; and the data that it was made for."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tf_lottery.errors import UsageError
from tf_lottery.experiment.directory import RunDirectory
from tf_lottery.results.run_lookup import find_run
from tf_lottery.results.tables.formats import percent

from .output import remark

# How many real samples int8 ranges are found on, and how many files are compared on, by default.
CALIBRATION = 500
SAMPLES = 2000
# A model whose share of right answers exceeds that of the commonest class by less knows next to nothing.
SKILL = 0.1
# What an input goes through that a model scales itself: layers, and what Keras makes of `x / 255 - 0.5`.
_SCALING = ("Rescaling", "Normalization", "TrueDivide", "Divide", "Multiply", "Subtract", "Add")
_LEGACY = (".h5", ".hdf5")


@dataclass(frozen=True)
class Source:
    """A plain model, the configuration that it was found with (empty for a foreign one), a name for its files."""

    model: Any
    config: dict[str, Any]
    name: str
    origin: dict[str, Any]


@dataclass(frozen=True)
class Samples:
    """What an export compares on, as its arguments: test samples, validation samples, calibration samples.

    `data` tells of which data set they are and how it was normalized, for the model card: an app must do the same.
    """

    samples: Any = None
    labels: Any = None
    validation: tuple[Any, Any] | None = None
    calibration: Any = None
    data: dict[str, Any] = field(default_factory=dict)

    def arguments(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("samples", "labels", "validation", "calibration")}

    def near_chance(self, accuracy: float | None) -> str:
        """A sentence if a validation accuracy is hardly better than naming the commonest class; empty if it is."""
        if self.validation is None or accuracy is None:
            return ""
        labels = np.asarray(self.validation[1]).ravel()
        chance = float(np.unique(labels, return_counts=True)[1].max() / len(labels))
        if accuracy >= min(chance + SKILL * (1 - chance), 3 * chance):
            return ""
        right = percent(accuracy, digits=2)
        return (
            f"The Keras model itself is near chance: right for {right} of the validation samples, "
            f"while always naming the commonest class is right for {percent(chance, digits=2)}. Agreement with it "
            "proves little."
        )


def open_source(source: str, out: Path, *, number: int | None, replicate: int | None, max_drop: float) -> Source:
    """Open a run (by path or name), a ticket (`.npz`) or a model (`.keras`).

    Args:
        source: what the user gave.
        out: the folder of the runs.
        number: the round, of a run; None for the sparsest good one.
        replicate: the replicate, of a run; None for the best of the round.
        max_drop: what a good round may lose of the dense validation accuracy.

    Raises:
        UsageError: there is no such thing, it is of another kind, or a round was given for a file.
    """
    _refuse_other_files(source)
    if not source.endswith((".npz", ".keras")):
        return _of_run(find_run(source, out), number, replicate, max_drop)
    if number is not None or replicate is not None:
        raise UsageError("--round and --replicate choose among the tickets of a run.", "Drop them, or give a run.")
    return _of_file(Path(source))


def _refuse_other_files(source: str) -> None:
    path = Path(source)
    if path.suffix in _LEGACY:
        remedy = "Load it with `keras.models.load_model` and save it again as a `.keras` file."
    elif path.suffix in (".tflite", ".pb") or (path / "saved_model.pb").is_file():
        remedy = "Give the Keras model that it was made of; `tf-lottery bench` measures it."
    elif path.is_file() and path.suffix not in (".npz", ".keras"):
        remedy = "Save a model with `model.save('model.keras')`, a ticket with `ticket.save('ticket.npz')`."
    else:
        return
    raise UsageError(f"{source} is neither a run, nor a ticket (`.npz`), nor a Keras model (`.keras`).", remedy)


def _of_run(store: RunDirectory, number: int | None, replicate: int | None, max_drop: float) -> Source:
    from tf_lottery.exporting.publish.card import of_ticket
    from tf_lottery.results.result import open_run
    from tf_lottery.results.statistics.selection import select_ticket

    result = open_run(store.path)
    job = select_ticket(result.rows, round=number, replicate=replicate, max_drop=max_drop)
    if number is None and job.round == 0:
        remark("No pruned round is good enough (see --max-drop): the dense network is taken.")
    ticket = result.ticket(job.round, job.replicate)
    kept = percent(ticket.density, digits=2)
    remark(f"Round {job.round} of replicate {job.replicate}: {kept} of the maskable weights are kept.")
    origin = {"run": store.path.name, **of_ticket(ticket), "round": job.round, "replicate": job.replicate}
    return Source(ticket.model(), store.config().to_json(), f"{store.path.name}_round_{job.round:02d}", origin)


def _of_file(path: Path) -> Source:
    if path.suffix == ".npz":
        from tf_lottery.exporting.publish.card import of_ticket
        from tf_lottery.results.ticket import load_ticket

        ticket = load_ticket(path)
        origin = {"file": path.name, **of_ticket(ticket)}
        return Source(ticket.model(), ticket.recipe.get("config", {}), path.stem, origin)
    from tf_lottery.models.building import build

    model = build(str(path), input_shape=None, classes=None)
    return Source(model, {}, path.stem, {"kind": "Keras model", "file": path.name})


def load_samples(
    source: Source,
    dataset: str | None,
    data_dir: str | None,
    *,
    normalization: str | None = None,
    count: int = SAMPLES,
) -> Samples:
    """The first samples of each part of the data that the model was trained on, or of those named.

    Test samples (validation samples, where there are none) are reported, validation samples choose, training samples
    calibrate.

    Args:
        source: the model.
        dataset: a data set by name, instead of the one of the model's configuration.
        data_dir: where data sets are.
        normalization: how the data set named is scaled. By default as the run's; for another model "unit", or "none"
            where its input takes whole numbers.
        count: how many of each part at most.

    Raises:
        UsageError: a normalization without a data set, or one whose numbers the model's input can't hold.
    """
    from tf_lottery import data
    from tf_lottery.experiment.config import Config
    from tf_lottery.experiment.problem import load_dataset

    config = {} if source.config.get("dataset") == "user" else source.config
    if normalization and not dataset:
        raise UsageError(
            "--normalization says how the data of --dataset are scaled.",
            "Add --dataset, or drop it: the data of a run are scaled as in its training.",
        )
    if not dataset and not config:
        remark(
            "No data set is known for this model: random samples are compared, and int8 is left out. --dataset takes "
            "real ones."
        )
        return Samples()
    model = source.model
    if config and dataset in (None, config.get("dataset")):
        document = {key: value for key, value in config.items() if key not in ("hash", "model_hash")}
        given = {"data_dir": data_dir, "normalization": normalization}
        loaded = load_dataset(Config.from_json(document | {key: value for key, value in given.items() if value}))
    else:
        how = _normalization(model, normalization, config.get("normalization"))
        loaded = data.load(str(dataset), data_dir=data_dir, normalization=how)
    shape = tuple(model.inputs[0].shape[1:])
    data.check_fits(loaded, input_shape=shape, outputs=model.outputs[0].shape[-1], sparse_labels=True)
    validation = loaded.validation
    part = loaded.test if loaded.test is not None else validation
    return Samples(
        part.x[:count],
        part.y[:count],
        None if validation is None else (validation.x[:count], validation.y[:count]),
        loaded.train.x[:CALIBRATION],
        {"dataset": loaded.name, "normalization": None if loaded.normalization is None else loaded.normalization.mode},
    )


def _normalization(model: Any, given: str | None, of_run: str | None) -> str:
    """How to scale data for a model: as said, else as its input's dtype needs, else as in its training."""
    dtype = str(model.inputs[0].dtype)
    if "int" in dtype or dtype == "bool":
        if given not in (None, "none"):
            raise UsageError(
                f"The model takes whole numbers ({dtype}), which data scaled by --normalization {given} are not.",
                "Pass --normalization none: raw values.",
            )
        if given is None:
            remark(f"The model takes {dtype}: it gets the raw values of the data (--normalization none).")
        return "none"
    if given or of_run:
        return str(given or of_run)
    scaling = _own_scaling(model)
    if scaling:
        remark(
            f"warning: the model begins with {' and '.join(scaling)}, so it may scale its input itself, and the data "
            "are scaled to [0, 1] before it. If it was trained on raw values, add --normalization none (else unit)."
        )
    return "unit"


def _own_scaling(model: Any) -> list[str]:
    """What scales the input before the first trained layer, by class."""
    found: dict[str, None] = {}
    for operation in _operations(model):
        kind = type(operation).__name__
        if kind in _SCALING:
            found[kind] = None
        elif getattr(operation, "weights", None):
            break
    return list(found)


def _operations(model: Any) -> Iterator[Any]:
    """Layers and operations from the input on, those of nested models in place."""
    for operation in getattr(model, "operations", None) or model.layers:
        if hasattr(operation, "layers"):
            yield from _operations(operation)
        else:
            yield operation
