"""The model that a user means: a run's ticket, a ticket's file, or a Keras file; and the data that it was made for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_lottery.errors import UsageError
from tf_lottery.store import RunDirectory

from .finding import find
from .output import remark

# How many real samples int8 ranges are found on, and how many files are compared on, by default.
CALIBRATION = 500
SAMPLES = 2000


@dataclass(frozen=True)
class Source:
    """A plain model, the configuration that it was found with (empty for a foreign one), a name for its files."""

    model: Any
    config: dict[str, Any]
    name: str
    origin: dict[str, Any]


@dataclass(frozen=True)
class Samples:
    """What an export compares on, as its arguments: test samples, validation samples, calibration samples."""

    samples: Any = None
    labels: Any = None
    validation: tuple[Any, Any] | None = None
    calibration: Any = None

    def arguments(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("samples", "labels", "validation", "calibration")}


def open_source(source: str, out: Path, *, number: int | None, replicate: int | None, max_drop: float) -> Source:
    """Open a run (by path or name), a ticket (`.npz`) or a model (`.keras`).

    Args:
        source: what the user gave.
        out: the folder of the runs.
        number: the round, of a run; None for the sparsest good one.
        replicate: the replicate, of a run; None for the best of the round.
        max_drop: what a good round may lose of the dense validation accuracy.

    Raises:
        UsageError: there is no such thing, or a round was given for a file.
    """
    if not source.endswith((".npz", ".keras")):
        return _of_run(find(source, out), number, replicate, max_drop)
    if number is not None or replicate is not None:
        raise UsageError("--round and --replicate choose among the tickets of a run.", "Drop them, or give a run.")
    return _of_file(Path(source))


def _of_run(store: RunDirectory, number: int | None, replicate: int | None, max_drop: float) -> Source:
    from tf_lottery.analysis.selection import select_round
    from tf_lottery.experiment.state import read_config, read_rows
    from tf_lottery.export.card import of_ticket
    from tf_lottery.result import open_run

    config = read_config(store).to_json()
    rows = read_rows(store)
    result = open_run(store.path)
    if number is None:
        number = select_round(rows, max_drop=max_drop)
        if number == 0:
            remark("No pruned round is good enough (see --max-drop): the dense network is taken.")
    if replicate is None:
        candidates = [row for row in rows if row["round"] == number and row["variant"] == "ticket"]
        accurate = [row for row in candidates if row["val_accuracy"] is not None]
        best = max(accurate, key=lambda row: row["val_accuracy"], default=None)
        best = best or min(candidates, key=lambda row: row["val_loss"], default=None)
        replicate = best["replicate"] if best else 0
    ticket = result.ticket(number, replicate=replicate)
    remark(f"Round {number} of replicate {replicate}: {100 * ticket.density:.2f} % of the maskable weights are kept.")
    origin = {"run": store.path.name, **of_ticket(ticket), "round": number, "replicate": replicate}
    return Source(ticket.model(), config, f"{store.path.name}_round_{number:02d}", origin)


def _of_file(path: Path) -> Source:
    if path.suffix == ".npz":
        from tf_lottery.export.card import of_ticket
        from tf_lottery.ticket import load_ticket

        ticket = load_ticket(path)
        origin = {"file": path.name, **of_ticket(ticket)}
        return Source(ticket.model(), ticket.recipe.get("config", {}), path.stem, origin)
    from tf_lottery.models.building import build

    model = build(str(path), input_shape=None, classes=None)
    return Source(model, {}, path.stem, {"kind": "Keras model", "file": path.name})


def load_samples(source: Source, dataset: str | None, data_dir: str | None, *, count: int = SAMPLES) -> Samples:
    """The first samples of each part of the data that the model was trained on, or of those named.

    Test samples (validation samples, where there are none) are reported, validation samples choose, training samples
    calibrate.

    Args:
        source: the model.
        dataset: a data set by name, instead of the one of the model's configuration.
        data_dir: where data sets are.
        count: how many of each part at most.
    """
    from tf_lottery import data
    from tf_lottery.experiment.config import Config
    from tf_lottery.experiment.problem import load_dataset

    config, model = source.config, source.model
    if dataset:
        loaded = data.load(dataset, data_dir=data_dir)
    elif not config or config.get("dataset") == "user":
        remark(
            "No data set is known for this model: random samples are compared, and int8 is left out. --dataset takes "
            "real ones."
        )
        return Samples()
    else:
        document = {key: value for key, value in config.items() if key not in ("hash", "model_hash")}
        if data_dir:
            document["data_dir"] = data_dir
        loaded = load_dataset(Config.from_json(document))
    shape = tuple(model.inputs[0].shape[1:])
    data.check_fits(loaded, input_shape=shape, outputs=model.outputs[0].shape[-1], sparse_labels=True)
    validation = loaded.validation
    part = loaded.test if loaded.test is not None else validation
    return Samples(
        part.x[:count],
        part.y[:count],
        None if validation is None else (validation.x[:count], validation.y[:count]),
        loaded.train.x[:CALIBRATION],
    )
