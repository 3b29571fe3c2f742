"""What the files of an export say of their inputs and outputs, from the samples, the outputs' kinds and the scaling."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt

from tf_lottery.errors import UsageError
from tf_lottery.exporting.checks.keras_reference import KerasReference
from tf_lottery.exporting.class_names import ClassNames, check_class_names
from tf_lottery.exporting.file_metadata import FileMetadata, TensorDescription
from tf_lottery.exporting.labels import width
from tf_lottery.exporting.named_values import values_by_name
from tf_lottery.exporting.output_kinds import KINDS, OutputKind
from tf_lottery.exporting.sources.input_scaling import takes_pixels

Scaling: TypeAlias = tuple[float | Sequence[float], float | Sequence[float]]
"""The mean and the standard deviation by which raw values `x` are scaled, `(x - mean) / std`: numbers, or one number
per channel each."""

RAW = ((0.0,), (1.0,))
_COLOR_SPACES = {1: "GRAYSCALE", 3: "RGB"}
_DIMENSIONS = ("batch", "height", "width", "channel")


def describe_file(
    model: keras.Model,
    reference: KerasReference,
    *,
    name: str,
    class_names: ClassNames = None,
    normalization: Scaling | Mapping[str, Scaling] | None = None,
) -> FileMetadata:
    """Return what a file of a model says of it.

    An input of three dimensions with one or three channels is an image, anything else a list of features. Where nobody
    says how raw values are scaled, that is known only of a model that scales pixels itself.

    Args:
        model: the plain model.
        reference: the samples, the outputs for them, and the outputs' kinds.
        name: of the file.
        class_names: as of `export`.
        normalization: as of `export`.

    Raises:
        UsageError: an input or output is unknown, or numbers do not fit it.
        UnfitError: there is not one name per class.
    """
    signature = reference.signature
    labels = check_class_names(
        class_names, reference.kinds, {output: width(values) for output, values in reference.outputs.items()}
    )
    scalings = values_by_name("normalization", normalization, signature.inputs)
    if normalization is None and len(signature.inputs) == 1 and takes_pixels(model):
        scalings = {signature.inputs[0]: RAW}
    inputs = {}
    for record in reference.input_records():
        shape, whole = record["shape"], not record["dtype"].startswith("float")
        color_space = _COLOR_SPACES.get(shape[-1] or 0, "") if len(shape) == 3 else ""
        mean, std = _checked(record["input"], scalings.get(record["input"]), shape)
        low, high = record["range"] or (None, None)
        inputs[record["input"]] = TensorDescription(
            "Values as they are, without scaling." if whole else "",
            _DIMENSIONS if color_space else (),
            color_space,
            () if whole else mean,
            () if whole else std,
            None if low is None else float(low),
            None if high is None else float(high),
        )
    outputs = {}
    for output, values in reference.outputs.items():
        low, high = _output_range(values, reference.kinds[output], real=reference.real)
        outputs[output] = TensorDescription(
            f"{KINDS[reference.kinds[output].kind].capitalize()}.",
            minimum=low,
            maximum=high,
            labels=labels.get(output, ()),
        )
    return FileMetadata(name, "", inputs, outputs)


def describe_metadata(metadata: FileMetadata) -> list[str]:
    """Return what the metadata says that an app needs, one sentence each."""
    sentences = []
    for name, tensor in metadata.inputs.items():
        if tensor.std:
            scaling = f"(x - {_listed(tensor.mean)}) / {_listed(tensor.std)}"
            sentences.append(f"The metadata of TFLite files says that the input {name!r} is {scaling} of raw values x.")
    for file, names in metadata.label_files().items():
        sentences.append(f"TFLite files hold the names of {len(names):,} classes in {file}.")
    return sentences


def _checked(name: str, scaling: Any, shape: Sequence[int | None]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """A mean and a standard deviation as lists of numbers; empty ones where nothing was said."""
    if scaling is None:
        return (), ()
    try:
        mean, std = (tuple(np.atleast_1d(np.asarray(part, np.float64)).tolist()) for part in scaling)
        channels = {1, shape[-1] if shape else 1}
        fits = {len(mean), len(std)} <= channels and bool(np.isfinite([*mean, *std]).all()) and min(std) > 0
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise UsageError(
            f"`normalization` of the input {name!r} must be a mean and a positive standard deviation, each a number or "
            f"one per channel. Received: {scaling!r}.",
            "Pass e.g. normalization=(0, 255) for pixels that were divided by 255.",
        )
    longest = max(len(mean), len(std))
    return mean * (longest // len(mean)), std * (longest // len(std))


def _output_range(values: npt.NDArray[Any], kind: OutputKind, *, real: bool) -> tuple[float | None, float | None]:
    """The least and the greatest value of an output, by its kind, else on real samples."""
    if kind.kind == "probabilities" or (kind.kind == "binary" and kind.threshold):
        return 0.0, 1.0
    return (float(values.min()), float(values.max())) if real and values.size else (None, None)


def _listed(numbers: Sequence[float]) -> str:
    texts = [f"{number:.6g}" for number in numbers]
    return texts[0] if len(set(texts)) == 1 else f"[{', '.join(texts)}]"
