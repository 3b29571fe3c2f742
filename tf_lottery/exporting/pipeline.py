"""`export`: check the model, write each file into a staging folder, compare, choose, publish all together."""

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tf_lottery.errors import CheckFailed, UnfitError, UsageError
from tf_lottery.exporting import slim as slimming
from tf_lottery.exporting.checks.candidate import Candidate, Refusal, encoding_name, file_suffix
from tf_lottery.exporting.checks.samples import flat_labels, flat_samples, random_samples
from tf_lottery.exporting.checks.trial import Trial
from tf_lottery.exporting.export_report import ExportReport
from tf_lottery.exporting.formats.keras_file import write_keras
from tf_lottery.exporting.formats.saved_model import write_saved_model
from tf_lottery.exporting.formats.sparse_saved_model import write_sparse_saved_model
from tf_lottery.exporting.plain import deployable
from tf_lottery.exporting.publish import card, staging
from tf_lottery.exporting.publish.choice import check_goal, choose
from tf_lottery.exporting.publish.publication import publish
from tf_lottery.exporting.publish.request import Request, check_place, make_request
from tf_lottery.exporting.signature import Signature, keras_outputs, signature_of
from tf_lottery.exporting.sources.model_source import ticket_origin
from tf_lottery.exporting.tflite import litert
from tf_lottery.exporting.tflite.tflite_writer import write_tflite
from tf_lottery.results.ticket import Ticket
from tf_lottery.utils.silence import quiet
from tf_lottery.utils.text import one_line

logger = logging.getLogger(__name__)


def export(
    model: keras.Model | Ticket,
    path: str | os.PathLike[str],
    *,
    format: str | Sequence[str] = "tflite",
    precision: str | Sequence[str] = "all",
    encoding: str | Sequence[str] = "all",
    samples: Any = None,
    labels: Any = None,
    validation: tuple[Any, Any] | None = None,
    calibration: Any = None,
    best: str = "balanced",
    max_drop: float = 0.005,
    only_best: bool = False,
    multiple: int = 1,
    force: bool = False,
    name: str = "model",
    source: Mapping[str, Any] | None = None,
) -> ExportReport:
    """Write a pruned model as deployable files, each loaded back and proven to compute what Keras computes.

    Masks of a wrapped model are applied first; the model itself is not changed. Either every file of the report is in
    place, or none. Beside the files lie `manifest.json` (SHA-256 and bytes of each file), `export.json` (the report; it
    replaces that of an earlier export to the folder) and the model card of the best file, `<file>.card.json` and
    `<file>.card.md`.

    Args:
        model: a built functional or Sequential model, plain with zeros in place, or wrapped; or a ticket, whose trained
            weights are exported.
        path: the folder to write to; for one format also a file name (`.keras`, `.tflite`), which the best file of the
            format gets, or for "saved_model" the folder to become the SavedModel if its name ends in `saved_model`.
        format: "tflite", "saved_model", "keras", "all", or a list. A format asked for by name that fails is an error;
            with "all" it is reported as refused, and only an export without any file is an error.
        precision: of TFLite files: "float32", "float16" (weights), "dynamic" (int8 weights, float32 between layers),
            "int8" (throughout; needs `calibration`), "all", or a list.
        encoding: "dense", "sparse" (only non-zero weights are stored), "slim" (what zeros made dead is removed),
            "slim-sparse" (both), "all", or a list.
        samples: real inputs, `(samples, ...)`, better 256 or more; a list, or a dict by input name, for several inputs.
            By default 256 random ones with a fixed seed, which the report says.
        labels: class indices `(samples,)` or one-hot rows; for several outputs a list or dict. Then accuracies are
            reported. They choose nothing. Labels that are no classes (targets of a regression) are left aside.
        validation: a pair of real inputs and their labels (or None) beside `samples`: on these alone the accuracy
            budget is judged. A file that answers wrongly on any sample is refused, which needs no label.
        calibration: real inputs, of the training data and better 100 or more, on which int8 ranges are found.
        best: what the best file is to be: "size", "latency" or "balanced", see `choice.choose`.
        max_drop: the accuracy budget: what the best file may lose of the Keras model's validation accuracy, a fraction;
            without validation labels, how many predicted classes may differ.
        only_best: write the best file alone.
        multiple: slimmed layers keep a multiple of so many channels.
        force: replace files that exist.
        name: the beginning of the file names in a folder.
        source: what the model card says of where the model is from.

    Returns:
        An `ExportReport`.

    Raises:
        UsageError: unknown format, precision, encoding or goal, bad path or name, no Keras model, or a file that exists
            without `force`.
        UnfitError: the model cannot be exported in a format asked for (not built, subclassed, not convertible), or the
            samples or labels do not fit it.
        NonFiniteError: NaN or infinite weights, samples or outputs.
        CheckFailed: what a format asked for computes is not what Keras computes; nothing is left behind. If only one
            of its files is wrong, that file alone is refused.
        ResourceError: the disk is full or the folder cannot be written to.

    Example:
        `tfl.export(model, "app", samples=x_test, labels=y_test, calibration=x_train[:500]).best`
    """
    check_goal(best, max_drop)
    request = make_request(Path(path), format=format, precision=precision, encoding=encoding, name=name)
    origin = (ticket_origin(model) if isinstance(model, Ticket) else {}) | dict(source or {})
    model, notes = deployable(model.model() if isinstance(model, Ticket) else model)
    trial = _trial(model, samples, labels, validation, calibration)
    check_place(request, force=force)
    with staging.staging_folder(request.folder) as stage:
        results, slimmed = _write_all(model, stage, trial, request, multiple)
        report = ExportReport(
            files=(),
            refused=tuple(result.record() for result in results if isinstance(result, Refusal)),
            samples="given" if trial.real else "random",
            sample_count=trial.count,
            notes=(*notes, *trial.remarks()),
            keras=card.of_model(model, trial),
            slimmed=slimmed,
            goal=best,
            max_drop=max_drop,
        )
        candidates = [result for result in results if isinstance(result, Candidate)]
        if not candidates:
            reasons = dict.fromkeys(f"{record['format']}: {record['reason']}" for record in report.refused)
            raise CheckFailed(f"No file could be exported: {'; '.join(reasons)}.", "Nothing was written.")
        candidates = _raced(candidates, stage)
        chosen = choose(
            [candidate.record(candidate.file) for candidate in candidates],
            goal=best,
            max_drop=max_drop,
            own_accuracy=report.keras["validation_accuracy"],
        )
        alone = only_best or request.file_name is not None
        return publish(
            candidates, report, request, chosen=chosen, only_best=alone, stage=stage, origin=origin, force=force
        )


def _raced(candidates: list[Candidate], stage: Path) -> list[Candidate]:
    """The candidates, with the latencies of the TFLite files measured again, in turn, so that they can be compared."""
    files = {place: candidate.file for place, candidate in enumerate(candidates) if candidate.format == "tflite"}
    if len(files) < 2:
        return candidates
    try:
        latencies = dict(zip(files, litert.race_files(list(files.values())), strict=True))
    except litert.LiteRTFailed as error:
        # Each file ran by itself; together they may be too large, or too slow. Their own latencies will do.
        logger.warning("The files could not be timed in turn: %s", error)
        return candidates
    return [
        dataclasses.replace(candidate, latency_us_median=latencies.get(place, candidate.latency_us_median))
        for place, candidate in enumerate(candidates)
    ]


def _write_all(
    model: keras.Model, stage: Path, trial: Trial, request: Request, multiple: int
) -> tuple[list[Candidate | Refusal], dict[str, Any] | None]:
    """Every candidate of the model and of its slimmed form, and what slimming did."""
    found: dict[str, list[Candidate | Refusal]] = {item: [] for item in request.formats}
    sources: list[tuple[bool, keras.Model]] = [(False, model)]
    slimmed, reason = None, ""
    if request.bases(slim=True):
        slim_model, slimmed, reason = _slim(model, multiple)
        if slim_model is not None:
            sources.append((True, slim_model))
    for slim, source in sources:
        for item in request.formats:
            place = stage / file_suffix(item, "slim" if slim else "")
            try:
                place.mkdir()
                with quiet():
                    found[item] += _written(item, source, place, trial, slim, request)
            except OSError as error:
                raise staging.disk_trouble(request.folder, error) from error
    for item in request.formats:
        if reason:
            found[item] += [
                Refusal(item, precision, encoding_name(base, slim=True), reason)
                for precision in (request.precisions if item == "tflite" else ("float32",))
                for base in (["dense"] if item == "keras" else request.bases(slim=True))
            ]
        if request.explicit:
            _demand(item, found[item])
    return [result for item in request.formats for result in found[item]], slimmed


def _written(
    item: str, model: keras.Model, place: Path, trial: Trial, slim: bool, request: Request
) -> list[Candidate | Refusal]:
    bases = request.bases(slim=slim)
    if item == "tflite":
        return write_tflite(model, place, trial=trial, slim=slim, bases=bases, precisions=request.precisions)
    found: list[Candidate | Refusal] = []
    if item == "keras" and "dense" in bases:
        found += write_keras(model, place, trial=trial, slim=slim)
    if item == "saved_model" and "dense" in bases:
        found += write_saved_model(model, place, trial=trial, slim=slim)
    if item == "saved_model" and "sparse" in bases:
        found += write_sparse_saved_model(model, place, trial=trial, slim=slim)
    return found


def _slim(model: keras.Model, multiple: int) -> tuple[keras.Model | None, dict[str, Any] | None, str]:
    """The slimmed model, what was removed, and a reason if there is none."""
    try:
        smaller, report = slimming.slim(model, multiple=multiple)
    except UnfitError as error:
        return None, None, f"the model cannot be slimmed: {one_line(error)}"
    if report.parameters_after >= report.parameters_before:
        return None, report.to_json(), "nothing to remove: no unit or channel is dead"
    return smaller, report.to_json(), ""


def _trial(
    model: keras.Model, samples: Any, labels: Any, validation: tuple[Any, Any] | None, calibration: Any
) -> Trial:
    """Everything that files are tried on, checked, with what Keras answers."""
    signature = signature_of(model)
    arrays = random_samples(model, signature) if samples is None else flat_samples(model, signature, samples)
    targets = flat_labels(model, signature, labels, len(arrays[0]))
    validation_targets: list[Any] = [None] * len(signature.outputs)
    extra = 0
    if validation is not None:
        if not isinstance(validation, tuple) or len(validation) != 2:
            raise UsageError(
                f"`validation` must be a pair of inputs and labels. Received: {type(validation).__name__}.",
                "Pass validation=(x, y), or (x, None) without labels.",
            )
        inputs, outcomes = validation
        more = flat_samples(model, signature, inputs)
        extra = len(more[0])
        validation_targets = flat_labels(model, signature, outcomes, extra)
        arrays = [tf.concat([one, two], 0).numpy() for one, two in zip(arrays, more, strict=True)]
    ranges = None
    if calibration is not None:
        ranges = dict(zip(signature.inputs, flat_samples(model, signature, calibration), strict=True))
    return Trial(
        signature,
        arrays,
        _reference(model, arrays, signature),
        targets,
        validation_targets,
        validation=extra,
        calibration=ranges,
        real=samples is not None,
    )


def _reference(model: keras.Model, arrays: list[Any], signature: Signature) -> dict[str, Any]:
    try:
        with quiet():
            return keras_outputs(model, arrays, signature)
    except Exception as error:  # of the user's own layers, which may raise anything
        raise UnfitError(
            f"The Keras model itself does not run on the samples: {one_line(error)}.",
            "Give samples as the model was trained on: `samples=...`.",
        ) from error


def _demand(format: str, found: list[Candidate | Refusal]) -> None:
    refusals = [result for result in found if isinstance(result, Refusal)]
    for refusal in refusals:
        if refusal.mismatch:
            logger.warning("Refused the %s %s %s file: %s", refusal.precision, refusal.encoding, format, refusal.reason)
    if len(refusals) < len(found):
        return
    reasons = "; ".join(dict.fromkeys(refusal.reason for refusal in refusals))
    if any(refusal.mismatch for refusal in refusals):
        raise CheckFailed(
            f"The {format} file does not compute what the Keras model does: {reasons}.",
            "Nothing was written. Export another format, and report the model for which this happens.",
        )
    raise UnfitError(
        f"The model cannot be exported as {format}: {reasons}.",
        "Nothing was written. Mend the reason, or ask for another format or precision.",
    )
