"""The model behind a run, a ticket's file or a Keras file. Importing this loads neither TensorFlow nor Keras."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.results.run_lookup import find_run
from tf_lottery.results.statistics.selection import DEFAULT_MAX_DROP, select_ticket
from tf_lottery.results.tables.formats import percent
from tf_lottery.utils.references import is_import_path, resolve

if TYPE_CHECKING:
    import keras

    from tf_lottery.results.ticket import Ticket

FILES = (".npz", ".keras")
_HDF5 = (".h5", ".hdf5")
_OTHER_FILES = (*_HDF5, ".pb", ".tflite", ".pt", ".pth", ".onnx")
_SAVE_HDF5_AGAIN = " Save an HDF5 model again: keras.models.load_model(...).save('model.keras')."
_RECIPE = ("round", "replicate", "variant", "seed")
_CONFIG = ("preset", "dataset", "model", "criterion", "scope", "distribution", "granularity", "rewind", "seed")


@dataclass(frozen=True)
class SourceModel:
    """A model to be exported, with what is known of its origin.

    Attributes:
        model: a plain Keras model, zeros in place of pruned weights.
        config: the configuration that it was trained with; empty for a model of another program.
        name: the beginning of the names of its files.
        origin: where it is from, for the model card.
        remarks: sentences on what was chosen.
    """

    model: "keras.Model"
    config: dict[str, Any]
    name: str
    origin: dict[str, Any]
    remarks: tuple[str, ...] = ()


def open_source_model(
    source: str,
    out: str | Path = "runs",
    *,
    round_number: int | None = None,
    replicate: int | None = None,
    max_drop: float = DEFAULT_MAX_DROP,
    trust: bool = False,
) -> SourceModel:
    """Return the model of a run (by path or name), of a ticket's file (`.npz`) or of a model's file (`.keras`).

    Args:
        source: a path, the name of a run below `out`, or the beginning of one.
        out: the folder of the runs.
        round_number: the round, of a run; None for the sparsest one within `max_drop`.
        replicate: the replicate, of a run; None for the best of the round by validation data.
        max_drop: what a round may lose of the dense network's validation accuracy, a fraction.
        trust: whether the module of the run's model function may be imported, where its model needs classes of it.

    Raises:
        UsageError: there is no such thing, it is of another kind, or a round or replicate was given for a file.
        UnfitError: the model can't be made of the file.
        DamagedError: a file is damaged.

    Example:
        `open_source_model("digits-mlp", round_number=3).model.summary()`
    """
    _refuse_other_files(source)
    if not source.endswith(FILES):
        return _of_run(source, out, round_number, replicate, max_drop, trust)
    if round_number is not None or replicate is not None:
        raise UsageError(
            "`round_number` and `replicate` choose among the tickets of a run.", "Drop them, or give a run."
        )
    return _of_file(Path(source))


def open_dense_network(source: str, out: str | Path = "runs", *, trust: bool = False) -> "keras.Model":
    """Return the plain model of a source as it is exported; of a run, its dense network: round 0 of replicate 0.

    Args:
        source: as for `open_source_model`.
        out: the folder of the runs.
        trust: as for `open_source_model`.
    """
    from tf_lottery.exporting.plain_model import make_deployable

    check_kind(source)
    run = not source.endswith(FILES)
    first = 0 if run else None
    opened = open_source_model(source, out, round_number=first, replicate=first, trust=trust)
    return make_deployable(opened.model)[0]


def check_kind(source: str, accepted: Sequence[str] = FILES) -> None:
    """Check that what a source names is a run or a file that is accepted, as far as its name shows it.

    Args:
        source: a path, or the name of a run.
        accepted: the endings of files that are accepted, e.g. (".npz", ".keras").

    Raises:
        UsageError: there is no such file.
        UnfitError: it exists, and is of another kind.
    """
    path = Path(source)
    if source.endswith(tuple(accepted)):
        return
    remedy = f"Give a run, or a {', '.join(accepted[:-1])} or {accepted[-1]} file."
    if (path / "saved_model.pb").is_file():
        raise UnfitError(f"{source} is a SavedModel.", remedy)
    if path.is_file():
        raise UnfitError(
            f"{source} is a file of another kind.", remedy + (_SAVE_HDF5_AGAIN if path.suffix in _HDF5 else "")
        )
    if path.suffix in _OTHER_FILES and not path.exists():
        raise UsageError(f"There is no file {source}.", remedy)


def ticket_origin(ticket: "Ticket") -> dict[str, Any]:
    """Return what is known of a ticket's origin, for the model card: its round, density and main settings."""
    config = ticket.recipe.get("config") or {}
    return {
        "kind": "ticket",
        "density": ticket.density,
        **{key: ticket.recipe[key] for key in _RECIPE if key in ticket.recipe},
        "config": {key: config[key] for key in _CONFIG if config.get(key) is not None},
    }


def _refuse_other_files(source: str) -> None:
    path = Path(source)
    if path.suffix in _HDF5:
        remedy = "Load it with `keras.models.load_model` and save it again as a `.keras` file."
    elif path.suffix in (".tflite", ".pb") or (path / "saved_model.pb").is_file():
        remedy = (
            "Give the Keras model that it was made of; `tf_lottery.exporting.measure.bench.bench(...)` measures it."
        )
    elif path.is_file() and path.suffix not in FILES:
        remedy = "Save a model with `model.save('model.keras')`, a ticket with `ticket.save('ticket.npz')`."
    else:
        return
    raise UsageError(f"{source} is neither a run, nor a ticket (`.npz`), nor a Keras model (`.keras`).", remedy)


def _of_run(
    name: str, out: str | Path, round_number: int | None, replicate: int | None, max_drop: float, trust: bool
) -> SourceModel:
    from tf_lottery.results.result import open_run

    store = find_run(name, out, prefer_complete=True)
    result = open_run(store.path)
    job = select_ticket(result.rows, round=round_number, replicate=replicate, max_drop=max_drop)
    remarks = []
    if round_number is None and job.round == 0:
        remarks.append("No pruned round is good enough (see `max_drop`): the dense network is taken.")
    ticket = result.ticket(job.round, job.replicate)
    kept = percent(ticket.density, digits=2)
    remarks.append(f"Round {job.round} of replicate {job.replicate}: {kept} of the maskable weights are kept.")
    origin = {"run": store.path.name, **ticket_origin(ticket), "round": job.round, "replicate": job.replicate}
    return SourceModel(
        _model_of(ticket, store.config().model, trust=trust),
        store.config().to_json(),
        f"{store.path.name}_round_{job.round:02d}",
        origin,
        remarks=tuple(remarks),
    )


def _model_of(ticket: "Ticket", reference: str, *, trust: bool) -> "keras.Model":
    """Returns the plain model of a run's ticket; classes are also looked for in the module of the run's function.

    Args:
        ticket: a ticket of the run.
        reference: what the run's configuration says of its model.
        trust: whether that module may be imported.
    """
    try:
        return ticket.model()
    except UnfitError as error:
        if not is_import_path(reference):
            raise
        if not trust:
            raise UnfitError(
                error.cause, f"If you trust the code of {reference!r}, which may hold its classes: `trust=True`."
            ) from error
    import keras

    resolve(reference, what="model")
    module = vars(sys.modules[reference.partition(":")[0]])
    own = {name: value for name, value in module.items() if isinstance(value, type) and issubclass(value, keras.Layer)}
    with keras.saving.custom_object_scope(own):
        return ticket.model()


def _of_file(path: Path) -> SourceModel:
    if path.suffix == ".npz":
        from tf_lottery.results.ticket import load_ticket

        ticket = load_ticket(path)
        origin = {"file": path.name, **ticket_origin(ticket)}
        return SourceModel(ticket.model(), ticket.recipe.get("config", {}), path.stem, origin)
    from tf_lottery.models.building import build

    model = build(str(path), input_shape=None, classes=None)
    return SourceModel(model, {}, path.stem, {"kind": "Keras model", "file": path.name})
