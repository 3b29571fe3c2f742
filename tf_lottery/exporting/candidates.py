"""Write every candidate of an export: each format of the model, and of its slimmed form."""

import dataclasses
from pathlib import Path
from typing import Any

import keras

from tf_lottery.errors import CheckFailed, UnfitError
from tf_lottery.exporting import slim
from tf_lottery.exporting.candidate_file import CandidateFile, Refusal, encoding_name, file_suffix
from tf_lottery.exporting.checks.keras_reference import KerasReference
from tf_lottery.exporting.file_formats import FORMATS
from tf_lottery.exporting.publish.export_request import ExportRequest
from tf_lottery.utils import staging
from tf_lottery.utils.silence import quiet
from tf_lottery.utils.text import one_line


def write_candidates(
    model: keras.Model, stage: Path, reference: KerasReference, request: ExportRequest, *, multiple: int = 1
) -> tuple[list[CandidateFile | Refusal], dict[str, Any] | None]:
    """Write and verify all files that are asked for, those of the slimmed model too.

    Args:
        model: a plain model.
        stage: the staging folder.
        reference: what the files are compared with.
        request: what is asked for.
        multiple: slimmed layers keep a multiple of so many channels.

    Returns:
        Candidates and refusals, by format; and what slimming removed, None if it was not asked for.

    Raises:
        CheckFailed: of a format that is asked for by name, no file computes what the Keras model does.
        UnfitError: of a format that is asked for by name, no file could be made.
        ResourceError: the disk is full or the folder can't be written to.
    """
    results: dict[str, list[CandidateFile | Refusal]] = {name: [] for name in request.formats}
    models: list[tuple[bool, keras.Model]] = [(False, model)]
    slim_report, refusal_reason = None, ""
    if request.bases(slim=True):
        slim_model, slim_report, refusal_reason = _slim(model, multiple)
        if slim_model is not None:
            models.append((True, slim_model))
    for is_slim, source in models:
        for name in request.formats:
            wanted = request.wanted(name, slim=is_slim)
            if not wanted.bases:
                continue
            crashes = {
                result.precision: f"{result.reason} on the whole model"
                for result in results[name]
                if isinstance(result, Refusal) and result.crashed
            }
            wanted = dataclasses.replace(wanted, hopeless=crashes)
            folder = stage / file_suffix(name, "slim" if is_slim else "")
            try:
                folder.mkdir()
                with quiet():
                    results[name] += FORMATS[name].write(source, folder, reference, wanted)
            except OSError as error:
                raise staging.disk_trouble(request.folder, error) from error
    for name in request.formats:
        if refusal_reason:
            wanted = request.wanted(name, slim=True)
            results[name] += [
                Refusal(name, precision, encoding_name(base, slim=True), refusal_reason)
                for precision in wanted.precisions
                for base in wanted.bases
            ]
        if request.explicit:
            _require_a_file(name, results[name])
    return [result for name in request.formats for result in results[name]], slim_report


def _slim(model: keras.Model, multiple: int) -> tuple[keras.Model | None, dict[str, Any] | None, str]:
    """The slimmed model, what was removed, and the reason if there is none."""
    try:
        slim_model, report = slim.slim(model, multiple=multiple)
    except UnfitError as error:
        return None, None, f"the model cannot be slimmed: {one_line(error)}"
    if report.parameters_after >= report.parameters_before:
        return None, report.to_json(), "nothing to remove: no unit or channel is dead"
    return slim_model, report.to_json(), ""


def _require_a_file(format_name: str, results: list[CandidateFile | Refusal]) -> None:
    """Raise if all files of a format were refused."""
    refusals = [result for result in results if isinstance(result, Refusal)]
    if len(refusals) < len(results):
        return
    reasons = "; ".join(dict.fromkeys(refusal.reason for refusal in refusals)) or "it has none of those encodings"
    if any(refusal.mismatch for refusal in refusals):
        raise CheckFailed(
            f"The {format_name} file does not compute what the Keras model does: {reasons}.",
            "Nothing was written. Export another format, and report the model for which this happens.",
        )
    raise UnfitError(
        f"The model cannot be exported as {format_name}: {reasons}.",
        "Nothing was written. Mend the reason, or ask for another format or precision.",
    )
