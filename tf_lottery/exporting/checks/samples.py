"""Samples and labels as flat lists, in the order of a model's inputs and outputs; random samples."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tf_lottery.errors import NonFiniteError, UnfitError, UsageError
from tf_lottery.exporting.input_shapes import with_default_sizes
from tf_lottery.exporting.signature import Signature
from tf_lottery.utils import seeds

RANDOM_SAMPLES = 256
_RANGES = {"uint8": (0, 256), "int8": (-128, 128)}


def flat_samples(
    model: keras.Model, signature: Signature, samples: Any, *, part: str = "Samples"
) -> list[npt.NDArray[Any]]:
    """Return samples as a list of arrays in the order of `model.inputs`, in the inputs' dtypes.

    Args:
        model: the model to be exported.
        signature: its signature.
        samples: one array `(samples, ...)`; for several inputs a list, or a dict by input name.
        part: what they are, as a message begins.

    Raises:
        UsageError: if the structure is not the model's.
        UnfitError: if a shape or a dtype does not fit, if a value is none of the input's dtype (0.5 or 300 for uint8,
            1e39 for float32), or there is no sample.
        NonFiniteError: if a sample has NaN or infinite values.
    """
    values = _in_order(model, signature, samples)
    arrays = []
    for name, shape, dtype, value in zip(signature.inputs, signature.shapes, signature.dtypes, values, strict=True):
        array = np.asarray(value)
        if array.dtype == object or array.dtype.kind not in "biuf":
            raise UnfitError(f"{part} for input {name!r} have dtype {array.dtype}.", "Give arrays of numbers.")
        fits = array.ndim == len(shape) + 1 and all(
            want in (None, got) for want, got in zip(shape, array.shape[1:], strict=True)
        )
        if not fits or not len(array):
            raise UnfitError(
                f"{part} for input {name!r}: expected shape {('samples', *shape)}, received {array.shape}.",
                "Give at least one sample, better 256, in the shape that the model takes.",
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise NonFiniteError(f"{part} for input {name!r} have NaN or infinite values.", "Remove those samples.")
        arrays.append(_cast(array, dtype, f"{part} for input {name!r}"))
    counts = {len(array) for array in arrays}
    if len(counts) > 1:
        raise UnfitError(
            f"The inputs have different numbers of samples: {[len(array) for array in arrays]}.",
            "Give the same number for each input.",
        )
    return arrays


def random_samples(model: keras.Model, signature: Signature) -> list[npt.NDArray[Any]]:
    """Return 256 standard-normal samples with a fixed seed; whole numbers from the vocabulary for embeddings.

    Inputs that a `Normalization` layer reads get its mean and variance, for which it gives standard-normal values.
    Those of 8-bit integers get all of their values, as pixels have; other whole numbers may be categories: 0 and 1.
    Free dimensions get the size 64.

    Args:
        model: the model to be exported.
        signature: its signature.

    Returns:
        One array `(256, ...)` per input, in the order of `model.inputs`.

    Raises:
        UsageError: if it is unclear which input takes whole numbers.
    """
    layers = list(model._flatten_layers())
    sizes = [layer.input_dim for layer in layers if isinstance(layer, keras.layers.Embedding)]
    sizes += [layer.num_tokens for layer in layers if isinstance(layer, keras.layers.CategoryEncoding)]
    generator = seeds.generator("export samples")
    arrays = []
    for tensor, shape, dtype in zip(model.inputs, signature.shapes, signature.dtypes, strict=True):
        whole = np.issubdtype(np.dtype(dtype), np.integer) or dtype == "bool"
        if sizes and len(signature.inputs) > 1 and not whole:
            raise UsageError(
                "The model has embeddings and several inputs: which of them take whole numbers is not known.",
                "Give real samples: `export(model, path, samples=...)`.",
            )
        size = (RANDOM_SAMPLES, *with_default_sizes(shape))
        low, high = (0, min(sizes)) if sizes and dtype != "bool" else _RANGES.get(dtype, (0, 2))
        if whole or sizes:
            values = generator.integers(low, high, size)
        else:
            values = _denormalized(generator.standard_normal(size), tensor)
        arrays.append(np.asarray(values).astype(dtype))
    return arrays


def _denormalized(values: npt.NDArray[Any], tensor: keras.KerasTensor) -> npt.NDArray[Any]:
    """Values of mean 0 and variance 1 as those of an input, by the `Normalization` layer that reads it, if one does."""
    readers = [node.operation for node in tensor._keras_history.operation._outbound_nodes]
    layer = next((one for one in readers if isinstance(one, keras.layers.Normalization) and not one.invert), None)
    if layer is None or layer.mean is None:
        return values
    mean, variance = (np.asarray(one, np.float64) for one in (layer.mean, layer.variance))
    return values * np.sqrt(variance) + mean


def flat_labels(model: keras.Model, signature: Signature, labels: Any, count: int) -> list[npt.NDArray[Any] | None]:
    """Return labels as one entry per output.

    Args:
        model: the model to be exported.
        signature: its signature.
        labels: one array for a model with one output, else a list, or a dict by output name; None for no labels.
        count: how many samples there are.

    Raises:
        UsageError: if the structure is not that of the outputs.
        UnfitError: if there is not one label per sample.
    """
    names = signature.outputs
    if labels is None:
        return [None] * len(names)
    if isinstance(labels, Mapping):
        unknown = sorted(set(labels) - set(names) - set(signature.model_outputs))
        if unknown:
            raise UsageError(f"`labels` has the unknown outputs {unknown}.", f"Valid: {', '.join(names)}.")
        values = [labels.get(own, labels.get(name)) for own, name in zip(signature.model_outputs, names, strict=True)]
    elif len(names) == 1:
        values = [labels]
    elif isinstance(labels, list | tuple) and len(labels) == len(names):
        values = list(labels)
    else:
        raise UsageError(
            f"The model has {len(names)} outputs; received labels of type {type(labels).__name__}.",
            f"Give a list with one entry per output (None for no labels), or a dict with the keys {', '.join(names)}.",
        )
    arrays = [None if value is None else np.asarray(value) for value in values]
    for name, array in zip(names, arrays, strict=True):
        if array is not None and (array.ndim == 0 or len(array) != count):
            raise UnfitError(
                f"Labels for output {name!r}: expected {count} labels, received shape {array.shape}.",
                "Give one label per sample.",
            )
    return arrays


def _cast(array: npt.NDArray[Any], dtype: str, subject: str) -> npt.NDArray[Any]:
    """The array in an input's dtype: with equal values where that is whole numbers or truth values, else finite.

    A cast that truncates would compare on other samples than those given: of images in [0, 1], uint8 keeps 0 and 1.
    """
    with np.errstate(all="ignore"):  # what overflows is seen below
        cast = array.astype(dtype)
    whole = cast.dtype.kind in "biu"
    lost = cast != array if whole else ~np.isfinite(cast)
    if lost.any():
        raise UnfitError(
            f"{subject}: {dtype} can't hold {int(lost.sum()):,} of {lost.size:,} values, such as {array[lost][0]}.",
            f"Give samples as the model takes them, in {dtype}: raw values, not scaled ones."
            if whole
            else f"Give samples as the model was trained on: every value in the range of {dtype}.",
        )
    return cast


def _in_order(model: keras.Model, signature: Signature, samples: Any) -> list[Any]:
    names = signature.inputs
    if isinstance(samples, Mapping):
        for keys in (signature.model_inputs, names):
            if set(samples) == set(keys):
                return [samples[key] for key in keys]
        raise UsageError(
            f"`samples` has the keys {sorted(map(str, samples))}.", f"Expected: {', '.join(signature.model_inputs)}."
        )
    if len(names) == 1:
        alone = isinstance(samples, list | tuple) and len(samples) == 1 and isinstance(samples[0], np.ndarray)
        return [samples[0] if alone else samples]
    if isinstance(samples, list | tuple) and len(samples) == len(names):
        return list(samples)
    raise UsageError(
        f"The model has {len(names)} inputs; received samples of type {type(samples).__name__}.",
        f"Give a list of {len(names)} arrays, or a dict with the keys {', '.join(names)}.",
    )
