"""`export`: check the model, write each file into a staging folder, compare, choose, publish all together."""

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from tf_lottery.errors import CheckFailed
from tf_lottery.exporting.candidate_file import CandidateFile, Refusal
from tf_lottery.exporting.candidates import write_candidates
from tf_lottery.exporting.checks.keras_reference import KerasReference, make_reference
from tf_lottery.exporting.class_names import ClassNames
from tf_lottery.exporting.export_report import ExportReport
from tf_lottery.exporting.input_shapes import InputShape
from tf_lottery.exporting.output_evidence import loss_names
from tf_lottery.exporting.output_kinds import Task
from tf_lottery.exporting.plain_model import make_deployable
from tf_lottery.exporting.publish.best_file import check_goal, choose_best
from tf_lottery.exporting.publish.export_request import (
    check_destination,
    check_request,
    quantization_aware_request,
)
from tf_lottery.exporting.publish.file_description import Scaling, describe_file
from tf_lottery.exporting.publish.model_card import describe_model
from tf_lottery.exporting.publish.publication import publish
from tf_lottery.exporting.quantization.int8_twin import int8_twin
from tf_lottery.exporting.signature import signature_of
from tf_lottery.exporting.sources.source_model import ticket_origin
from tf_lottery.exporting.tflite import litert
from tf_lottery.layers.fake_quantization import is_quantization_aware
from tf_lottery.results.statistics.selection import DEFAULT_MAX_DROP
from tf_lottery.results.ticket import Ticket
from tf_lottery.utils import staging
from tf_lottery.utils.child_process import warm_programs

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
    task: Task = None,
    best: str = "balanced",
    max_drop: float = DEFAULT_MAX_DROP,
    only_best: bool = False,
    multiple: int = 1,
    io: str | None = None,
    target: str | None = None,
    batch: int = 1,
    input_shape: InputShape = None,
    class_names: ClassNames = None,
    normalization: Scaling | Mapping[str, Scaling] | None = None,
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
            weights are exported; or a model of `quantize_aware`, of which int8 TFLite files are made, without
            `calibration`, and compared in steps of the output's scale.
        path: the folder to write to; for one format also a file name (`.keras`, `.onnx`, `.tflite`), which the best
            file of the format gets, or for "saved_model" the folder to become the SavedModel if its name ends in
            `saved_model`.
        format: "tflite", "saved_model", "keras", "all" of these, "onnx" (needs the extra `onnx`), or a list. A format
            given by name that fails is an error; with "all" it is reported as refused, and only an export without any
            file is an error.
        precision: of TFLite files: "float32", "float16" (weights), "dynamic" (int8 weights, float32 between layers),
            "int8" (throughout; needs `calibration`), "all" of these, or a list. By name alone: "int16x8" (int8 weights,
            int16 between layers; needs `calibration`); and with the extra `quantizer` "int4" (int4 weights), "mixed"
            (each weight int4, int8 or float32, as few bits as `max_drop` allows on `calibration`).
        encoding: "dense", "sparse" (only non-zero weights are stored), "slim" (what zeros made dead is removed),
            "slim-sparse" (both), "all", or a list.
        samples: real inputs, `(samples, ...)`, better 256 or more; a list, or a dict by input name, for several inputs.
            By default 256 random ones with a fixed seed; the report states which.
        labels: class indices `(samples,)` or one-hot rows; for several outputs a list or dict. Then accuracies are
            reported. They choose nothing. Of targets of a regression only the form counts, for `task`.
        validation: a pair of real inputs and their labels (or None) beside `samples`: on these alone the accuracy
            budget is judged. A file that answers wrongly on any sample is refused, which needs no label.
        calibration: real inputs, of the training data and better 100 or more, on which the ranges of whole
            numbers are measured, and the bits of the precision "mixed" are chosen.
        task: what the outputs hold, which decides how files are compared and what the accuracy budget is about:
            "classification" (or, in full, "probabilities", "logits", "sequence": a class at each position, "binary":
            yes or no for each value), "regression" or "image"; for several outputs a list, or a dict by output name. By
            default the compiled loss, the labels and the last activation say it; where they don't, outputs are
            compared as numbers. The report has what was found, in `outputs`.
        best: the goal for the best file: "size", "latency", "balanced" or "download" (size after gzip), see
            `publish.best_file.choose_best`.
        max_drop: the accuracy budget: what the best file may lose of the Keras model's validation accuracy, a fraction;
            without validation labels, how many predicted classes may differ; without classes, how large the error may
            be, relative to the outputs' spread. It holds for every output.
        only_best: write the best file alone.
        multiple: slimmed layers keep a multiple of so many channels.
        io: what TFLite files of the precision "int8" take and give: "float32" (the default), or "int8": whole numbers,
            whose scale and zero point the report has. Of precisions, "all" then means "int8".
        target: "micro" for files that TensorFlow Lite Micro runs on a microcontroller: int8 throughout, with `io`
            "int8", no sparse weights, known operators only; beside each file lie a C++ array of it and a header. None
            for any processor that runs LiteRT.
        batch: how many samples a TFLite file takes at a time.
        input_shape: the shape that an input of dynamic shape gets in TFLite files, without the batch, e.g.
            `(96, 96, 3)` for `keras.Input((None, None, 3))`; for several inputs a dict by name. Samples must have it.
        class_names: the names of the classes in their order, which TFLite files hold as a list of labels; for several
            outputs a dict by name.
        normalization: how raw values `x` were scaled before they became samples, `(x - mean) / std`: a pair
            `(mean, std)` of numbers or lists of one per channel, e.g. `(0, 255)`; for several inputs a dict by name.
            TFLite files say so in their metadata; the samples are taken as they are.
        force: replace files that exist.
        name: the beginning of the file names in a folder.
        source: entries on the origin of the model, for the model card.

    Returns:
        An `ExportReport`.

    Raises:
        UsageError: unknown format, precision, encoding, goal, io, target or task, ones that contradict each other, the
            labels or outputs, bad path or name, no Keras model, or a file that exists without `force`.
        UnfitError: the model cannot be exported in a format given by name (not built, subclassed, not convertible), or
            the samples or labels do not fit it.
        NonFiniteError: NaN or infinite weights, samples or outputs.
        CheckFailed: what a format given by name computes is not what Keras computes; nothing is left behind. If only
            one of its files is wrong, that file alone is refused.
        ResourceError: the disk is full or the folder cannot be written to.

    Example:
        `tfl.export(model, "app", samples=x_test, labels=y_test, calibration=x_train[:500]).best`
    """
    check_goal(best, max_drop)
    request = check_request(
        Path(path),
        format=format,
        precision=precision,
        encoding=encoding,
        name=name,
        io=io,
        target=target,
        goal=best,
        batch=batch,
        input_shape=input_shape,
        max_drop=max_drop,
    )
    origin = (ticket_origin(model) if isinstance(model, Ticket) else {}) | dict(source or {})
    given = model
    own = model.model() if isinstance(model, Ticket) else model
    model, notes = make_deployable(own)
    source_model = model
    if is_quantization_aware(model):
        request, source_model = quantization_aware_request(request), int8_twin(model)
    reference = make_reference(
        *(model, samples, labels),
        own=own,
        validation=validation,
        calibration=calibration,
        task=task,
        losses=_losses(given, signature_of(model).outputs),
        input_shape=input_shape,
    )
    metadata = describe_file(model, reference, name=name, class_names=class_names, normalization=normalization)
    request = dataclasses.replace(request, metadata=metadata)
    check_destination(request, force=force)
    with staging.staging_folder(request.folder) as stage, warm_programs():
        results, slimmed = write_candidates(source_model, stage, reference, request, multiple=multiple)
        report = ExportReport(
            files=(),
            refused=tuple(result.record() for result in results if isinstance(result, Refusal)),
            samples="given" if reference.real else "random",
            sample_count=reference.count,
            notes=(*notes, *reference.remarks(), *request.metadata_notes()),
            keras=describe_model(model, reference),
            slimmed=slimmed,
            goal=best,
            max_drop=max_drop,
            inputs=tuple(reference.input_records()),
            outputs=tuple(reference.output_records()),
        )
        candidates = [result for result in results if isinstance(result, CandidateFile)]
        if not candidates:
            reasons = dict.fromkeys(f"{record['format']}: {record['reason']}" for record in report.refused)
            raise CheckFailed(f"No file could be exported: {'; '.join(reasons)}.", "Nothing was written.")
        candidates = _time_in_turn(candidates, reference)
        chosen = choose_best(
            [candidate.record(candidate.file) for candidate in candidates],
            goal=best,
            max_drop=max_drop,
        )
        alone = only_best or request.file_name is not None
        return publish(
            candidates, report, request, chosen=chosen, only_best=alone, stage=stage, origin=origin, force=force
        )


def _losses(model: keras.Model | Ticket, outputs: tuple[str, ...]) -> list[str]:
    if not isinstance(model, Ticket):
        return loss_names(model, outputs)
    # A run by configuration trains a classifier; of a caller's own loss a ticket knows nothing.
    by_configuration = (model.recipe.get("config") or {}).get("dataset") not in (None, "user")
    return ["sparse_categorical_crossentropy" if by_configuration else ""] * len(outputs)


def _time_in_turn(candidates: list[CandidateFile], reference: KerasReference) -> list[CandidateFile]:
    """The candidates, with the latencies of the TFLite files measured again, in turn, so that they can be compared."""
    files = {
        place: candidate.file
        for place, candidate in enumerate(candidates)
        if candidate.format == "tflite" and candidate.latency_us_median is not None
    }
    if len(files) < 2:
        return candidates
    try:
        shapes = {name: array.shape[1:] for name, array in reference.named_samples.items()}
        sizes = shapes if reference.signature.dynamic else None
        latencies = dict(zip(files, litert.time_files(list(files.values()), sizes=sizes), strict=True))
    except litert.LiteRTError as error:
        # Each file ran alone; together they may be too large, or too slow. Their own latencies will do.
        logger.warning("The files could not be timed in turn: %s", error)
        return candidates
    return [
        dataclasses.replace(candidate, latency_us_median=latencies.get(place, candidate.latency_us_median))
        for place, candidate in enumerate(candidates)
    ]
