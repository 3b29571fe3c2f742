"""`export`: check the model, write each format into a staging folder, compare, publish all files together."""

import dataclasses
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tf_lottery.errors import CheckFailed, UnfitError, UsageError
from tf_lottery.export import integrity, staging
from tf_lottery.export.candidate import Candidate, Refusal
from tf_lottery.export.keras_file import write_keras
from tf_lottery.export.plain import deployable
from tf_lottery.export.report import REPORT, ExportReport, choose_best, is_report
from tf_lottery.export.samples import flat_labels, flat_samples, random_samples
from tf_lottery.export.saved_model import write_saved_model
from tf_lottery.export.signature import keras_outputs, signature_of
from tf_lottery.export.silence import one_line, quiet
from tf_lottery.export.tflite import write_tflite
from tf_lottery.text import suggestion
from tf_lottery.ticket import Ticket

logger = logging.getLogger(__name__)

WRITERS = {"keras": write_keras, "saved_model": write_saved_model, "tflite": write_tflite}
_FILE_SUFFIXES = {".keras": "keras", ".tflite": "tflite"}


def export(
    model: keras.Model | Ticket,
    path: str | os.PathLike[str],
    *,
    format: str | Sequence[str] = "tflite",
    samples: Any = None,
    labels: Any = None,
    force: bool = False,
    name: str = "model",
) -> ExportReport:
    """Write a pruned model as deployable files, each loaded back and proven to compute what Keras computes.

    Masks of a wrapped model are applied first; the model itself is not changed. Either every file of the report is in
    place, or none. Beside the files lie `manifest.json` (SHA-256 and bytes of each file) and `export.json` (the
    report; it replaces that of an earlier export to the folder).

    Args:
        model: a built functional or Sequential model, plain with zeros in place, or wrapped; or a ticket, whose trained
            weights are exported.
        path: the folder to write to; for one format also a file name (`.keras`, `.tflite`; of a TFLite export it then
            gets the smaller of the dense and the sparse file), or for "saved_model" the folder to become the SavedModel
            if its name ends in `saved_model`.
        format: "tflite", "saved_model", "keras", "all", or a list. A format asked for by name that fails is an error;
            with "all" it is reported as refused, and only an export without any file is an error.
        samples: real inputs, `(samples, ...)`, better 256 or more; a list, or a dict by input name, for several inputs.
            By default 256 random ones with a fixed seed, which the report says.
        labels: class indices `(samples,)` or one-hot rows; for several outputs a list or dict. Then accuracies are
            reported.
        force: replace files that exist.
        name: the beginning of the file names in a folder.

    Returns:
        An `ExportReport`.

    Raises:
        UsageError: unknown format, bad path or name, no Keras model, or a file that exists without `force`.
        UnfitError: the model cannot be exported in a format asked for (not built, subclassed, not convertible), or the
            samples or labels do not fit it.
        NonFiniteError: NaN or infinite weights, samples or outputs.
        CheckFailed: what a format asked for computes is not what Keras computes; nothing is left behind. If only one
            of its encodings is wrong, that file alone is refused.
        ResourceError: the disk is full or the folder cannot be written to.

    Example:
        `tf_lottery.export(model, "saved_models/digits", format="all", samples=x_test, labels=y_test).best`
    """
    formats, explicit = _formats(format)
    folder, file_name = _destination(Path(path), formats, name)
    model, notes = deployable(model.model() if isinstance(model, Ticket) else model)
    signature = signature_of(model)
    arrays = random_samples(model, signature) if samples is None else flat_samples(model, signature, samples)
    targets = flat_labels(model, signature, labels, len(arrays[0]))
    taken = [folder / item for item in _possible_names(formats, file_name, name) if os.path.lexists(folder / item)]
    if taken and not force:
        raise UsageError(f"{taken[0]} exists already.", "Choose another place, or replace it with `force=True`.")
    if folder.is_dir():
        _check_neighbours(folder, force=force)

    try:
        with quiet():
            reference = keras_outputs(model, arrays, signature)
    except (tf.errors.OpError, ValueError) as error:
        raise UnfitError(
            f"The Keras model itself does not run on the samples: {one_line(error)}.",
            "Give samples as the model was trained on: `samples=...`.",
        ) from error
    with staging.staging_folder(folder) as stage:
        results: list[Candidate | Refusal] = []
        for item in formats:
            place = stage / item
            try:
                place.mkdir()
                with quiet():
                    found = WRITERS[item](
                        model, place, signature=signature, samples=arrays, reference=reference, labels=targets
                    )
            except OSError as error:
                raise staging.disk_trouble(folder, error) from error
            if explicit:
                _demand(item, found)
            results += found
        return _publish(
            results,
            folder,
            file_name,
            name,
            stage=stage,
            samples="random" if samples is None else "given",
            sample_count=len(arrays[0]),
            notes=notes,
        )


def _publish(
    results: list[Candidate | Refusal],
    folder: Path,
    file_name: str | None,
    name: str,
    *,
    stage: Path,
    samples: str,
    sample_count: int,
    notes: tuple[str, ...],
) -> ExportReport:
    refused = [result.record() for result in results if isinstance(result, Refusal)]
    candidates = [result for result in results if isinstance(result, Candidate)]
    if not candidates:
        reasons = "; ".join(f"{record['format']} {record['encoding']}: {record['reason']}" for record in refused)
        raise CheckFailed(f"No format could be exported: {reasons}.", "Nothing was written.")
    if file_name is not None:
        candidates = [min(candidates, key=lambda candidate: integrity.size(candidate.file))]
    try:
        files, moves, listed = [], {}, {}
        for candidate in candidates:
            target = folder / (file_name or f"{name}{candidate.suffix}")
            renamed = candidate.file.rename(candidate.file.with_name(target.name))
            files.append(dataclasses.replace(candidate, file=renamed).record(target))
            listed.update(integrity.entries(renamed))
            moves[renamed] = target
        report = ExportReport(
            files=tuple(files),
            refused=tuple(refused),
            best=choose_best(tuple(files)),
            samples=samples,
            sample_count=sample_count,
            notes=notes,
        )
        manifest = integrity.merge_manifest(folder, listed, replaced=[target.name for target in moves.values()])
        for text, target in ((report.dumps(), folder / REPORT), (manifest, folder / integrity.MANIFEST)):
            staged = stage / target.name
            staged.write_text(text, encoding="utf-8")
            moves[staged] = target
    except OSError as error:
        raise staging.disk_trouble(folder, error) from error
    staging.publish(moves, aside=stage)
    logger.info("Exported %s to %s", ", ".join(record["path"] for record in files), folder)
    return report


def _demand(format: str, found: list[Candidate | Refusal]) -> None:
    refusals = [result for result in found if isinstance(result, Refusal)]
    for refusal in refusals:
        if refusal.mismatch:
            logger.warning("Refused the %s %s file: %s", refusal.encoding, format, refusal.reason)
    if len(refusals) < len(found):
        return
    reasons = "; ".join(dict.fromkeys(refusal.reason for refusal in refusals))
    if any(refusal.mismatch for refusal in refusals):
        raise CheckFailed(
            f"The {format} file does not compute what the Keras model does: {reasons}.",
            "Nothing was written. Export another format, and report the model for which this happens.",
        )
    raise UnfitError(
        f"The model cannot be exported as {format}: {reasons}.", "Nothing was written. Try another format."
    )


def _check_neighbours(folder: Path, *, force: bool) -> None:
    # Before the work, not after it: a damaged manifest, and an `export.json` that is somebody else's.
    integrity.read_manifest(folder)
    earlier = folder / REPORT
    if earlier.exists() and not force and not is_report(earlier.read_bytes()):
        raise UsageError(
            f"{earlier} is not the report of an export.", "Choose another folder, or replace it with `force=True`."
        )


def _formats(format: str | Sequence[str]) -> tuple[list[str], bool]:
    if format == "all":
        return list(WRITERS), False
    names = [format] if isinstance(format, str) else list(dict.fromkeys(format))
    for item in names:
        if item not in WRITERS:
            raise UsageError(f"Unknown export format {item!r}.", suggestion(str(item), [*WRITERS, "all"]))
    if not names:
        raise UsageError("`format` is empty.", f"Valid: {', '.join([*WRITERS, 'all'])}.")
    return names, True


def _destination(path: Path, formats: list[str], name: str) -> tuple[Path, str | None]:
    if not name or Path(name).name != name or name.startswith("."):
        raise UsageError(f"`name` must be the beginning of a file name, received {name!r}.", "Use e.g. 'model'.")
    suffix_format = _FILE_SUFFIXES.get(path.suffix)
    if path.name.endswith("saved_model") and formats == ["saved_model"]:
        suffix_format = "saved_model"
    if suffix_format is None or (path.is_dir() and suffix_format != "saved_model"):
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file.", "Give a folder, or a new file name ending in .keras or .tflite.")
        return path, None
    if formats != [suffix_format]:
        raise UsageError(
            f"The file name {path.name} is for the format {suffix_format}, received format {', '.join(formats)}.",
            "Give a folder, or a file name that fits the one format.",
        )
    return path.parent, path.name


def _possible_names(formats: list[str], file_name: str | None, name: str) -> list[str]:
    if file_name is not None:
        return [file_name]
    suffixes = {
        "keras": [".keras"],
        "saved_model": ["_saved_model"],
        "tflite": ["_float32_dense.tflite", "_float32_sparse.tflite"],
    }
    return [name + suffix for item in formats for suffix in suffixes[item]]
