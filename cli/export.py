"""`tf-lottery export`: a ticket becomes files that are proven to compute the same."""

from pathlib import Path
from typing import Any

import click
from click import IntRange

from tf_lottery.errors import UsageError

from .command import Command, ListOf
from .finding import find, max_drop_option, out_option
from .names import DATASET, RUN
from .output import print_json, print_table, remark, set_up_logging
from .process import clean_output

EXAMPLES = {
    "tf-lottery export digits-mlp": "The best ticket of the newest run of that name, in every format.",
    "tf-lottery export digits-mlp --round 1 --formats tflite,keras --to app --json": "Chosen round and formats.",
}


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("source", metavar="RUN|TICKET.npz|MODEL.keras", type=RUN)
@out_option
@click.option("--round", "round_number", type=IntRange(0), help="The round; by default the sparsest good one.")
@click.option("--replicate", type=IntRange(0), help="The replicate; by default the best of the round.")
@click.option(
    "--to", type=click.Path(path_type=Path), default="saved_models", show_default=True, help="Folder, or a file name."
)
@click.option("--formats", type=ListOf("formats"), default=("all",), help="all, or some of keras,saved_model,tflite.")
@max_drop_option
@click.option("--dataset", type=DATASET, help="Data to compare on, for a model; normalised to [0, 1].")
@click.option("--data-dir", type=click.Path(), help="Folder of prepared data sets or raw files.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def command(
    context: click.Context,
    source: str,
    out: Path,
    round_number: int | None,
    replicate: int | None,
    to: Path,
    formats: tuple[str, ...],
    max_drop: float,
    dataset: str | None,
    data_dir: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write a ticket as .keras, SavedModel and TFLite; each file is loaded again and compared with the Keras model.

    The source is a run (a path, a name below --out, or the beginning of one), a ticket's file, or a Keras model.
    """
    set_up_logging(context)
    choice = "all" if "all" in formats else list(formats)
    is_file = source.endswith((".npz", ".keras"))
    if is_file and (round_number is not None or replicate is not None):
        raise UsageError("--round and --replicate choose among the tickets of a run.", "Drop them, or give a run.")
    store = None if is_file else find(source, out)
    with clean_output():
        from tf_lottery.export import export

        if store is not None:
            model, config, name = _of_run(store, round_number, replicate, max_drop)
        else:
            model, config, name = _of_file(Path(source))
        samples, labels = _samples(model, config, dataset, data_dir)
        try:
            found = export(model, to, format=choice, samples=samples, labels=labels, force=force, name=name)
        except UsageError as error:
            raise UsageError(error.cause, error.remedy.replace("`force=True`", "--force")) from error
    if as_json:
        print_json(found.to_json())
        return
    rows = [
        (
            record["path"],
            record["precision"],
            record["encoding"],
            f"{record['bytes']:,}",
            f"{record['gzip_bytes']:,}",
            f"{record['max_abs_error']:.1e}",
            "" if record["accuracy"] is None else f"{100 * record['accuracy']:.2f} %",
            "" if record["latency_us_median"] is None else f"{record['latency_us_median']:.1f}",
        )
        for record in found.files
    ]
    headers = ("File", "Precision", "Encoding", "Bytes", "Gzipped", "Max error", "Accuracy", "Latency (us)")
    print_table(headers, rows, right=(False, False, False, True, True, True, True, True))
    click.echo(f"Best: {found.best}")
    kind = "random samples" if found.samples == "random" else "real samples"
    remark(f"Every file was loaded again and compared with the Keras model on {found.sample_count:,} {kind}.")
    for note in found.notes:
        remark(note)
    for record in found.refused:
        remark(f"Refused: {record['format']}, {record['encoding']}: {record['reason']}")


def _of_run(store: Any, number: int | None, replicate: int | None, max_drop: float) -> tuple[Any, dict[str, Any], str]:
    """The plain model of a run's ticket, the run's configuration, and a name for its files."""
    from tf_lottery.analysis.selection import select_round
    from tf_lottery.experiment.state import read_config, read_rows
    from tf_lottery.result import open_run

    config = read_config(store).to_json()
    rows = read_rows(store)
    result = open_run(store.path)
    if number is None:
        number = select_round(rows, max_drop=max_drop)
        if number == 0:
            remark("No pruned round is good enough (see --max-drop): the dense network is exported.")
    if replicate is None:
        candidates = [row for row in rows if row["round"] == number and row["variant"] == "ticket"]
        accurate = [row for row in candidates if row["val_accuracy"] is not None]
        best = max(accurate, key=lambda row: row["val_accuracy"], default=None)
        best = best or min(candidates, key=lambda row: row["val_loss"], default=None)
        replicate = best["replicate"] if best else 0
    ticket = result.ticket(number, replicate=replicate)
    remark(f"Round {number} of replicate {replicate}: {100 * ticket.density:.2f} % of the maskable weights are kept.")
    return ticket.model(), config, f"{store.path.name}_round_{number:02d}"


def _of_file(path: Path) -> tuple[Any, dict[str, Any], str]:
    """The plain model of a ticket's or model's file, the configuration that it was found with, and a name."""
    if path.suffix == ".npz":
        from tf_lottery.ticket import load_ticket

        ticket = load_ticket(path)
        return ticket.model(), ticket.recipe.get("config", {}), path.stem
    from tf_lottery.models.building import build

    return build(str(path), input_shape=None, classes=None), {}, path.stem


def _samples(model: Any, config: dict[str, Any], dataset: str | None, data_dir: str | None) -> tuple[Any, Any]:
    """Test samples (else validation samples) and labels of the data that the model was trained on, or (None, None)."""
    from tf_lottery import data
    from tf_lottery.experiment.config import Config
    from tf_lottery.experiment.problem import load_dataset

    if dataset:
        loaded = data.load(dataset, data_dir=data_dir)
    elif not config or config.get("dataset") == "user":
        remark("No data set is known for this model: random samples are compared. --dataset takes real ones.")
        return None, None
    else:
        document = {key: value for key, value in config.items() if key not in ("hash", "model_hash")}
        if data_dir:
            document["data_dir"] = data_dir
        loaded = load_dataset(Config.from_json(document))
    shape = tuple(model.inputs[0].shape[1:])
    data.check_fits(loaded, input_shape=shape, outputs=model.outputs[0].shape[-1], sparse_labels=True)
    part = loaded.test if loaded.test is not None else loaded.validation
    return part.x, part.y
