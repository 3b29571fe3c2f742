"""The sizes at which inputs of free size are judged: those of samples, those that are given, or the default."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras

from tf_lottery.exporting.checks.samples import flat_samples
from tf_lottery.exporting.input_shapes import FreeShape, InputShape, fixed_shapes, sizes_text, with_default_sizes
from tf_lottery.exporting.signature import Signature, signature_of


@dataclass(frozen=True)
class JudgedSizes:
    """The shapes of inputs at which a model is judged.

    Attributes:
        shapes: by the name of the input, without the batch.
        free: the names of the inputs that take other sizes.
        given: whether the caller gave the sizes.
    """

    shapes: dict[str, tuple[int, ...]]
    free: tuple[str, ...] = ()
    given: bool = False

    def sentences(self) -> list[str]:
        """Return at which sizes the model is judged; nothing where it takes no others."""
        if not self.free:
            return []
        why = "" if self.given else ", as neither samples nor `input_shape` say another"
        sizes = sizes_text(list(dict.fromkeys(self.shapes[name] for name in self.free)))
        return [f"Inputs of free size are judged at {sizes}{why}."]


def sizes_of_model(
    model: keras.Model, *, input_shape: InputShape = None, samples: Any = None
) -> tuple[JudgedSizes, Signature]:
    """Return the sizes at which a Keras model is judged, and its signature with these.

    Args:
        model: a plain model.
        input_shape: as of `diagnose`.
        samples: real inputs, as of `export`; None for none.

    Raises:
        UsageError: `input_shape` does not fit the model, or the structure of the samples.
        UnfitError: the samples do not fit the model.
    """
    signature = signature_of(model)
    shapes = fixed_shapes(signature.inputs, signature.shapes, input_shape)
    if samples is not None:
        arrays = flat_samples(model, replace(signature, shapes=shapes), samples)
        shapes = tuple(array.shape[1:] for array in arrays)
    judged = _judged(signature.inputs, signature.shapes, shapes, given=samples is not None or input_shape is not None)
    return judged, replace(signature, shapes=tuple(judged.shapes.values()))


def sizes_of_file(tree: Any, input_shape: InputShape = None) -> tuple[JudgedSizes, dict[int, list[int]]]:
    """Return the sizes at which a file is judged, and the shapes of the inputs that are free, by their tensors.

    Args:
        tree: a `ModelT` tree.
        input_shape: as of `diagnose`.

    Raises:
        UsageError: `input_shape` does not fit the file.
    """
    graph = tree.subgraphs[0]
    signatures = tree.signatureDefs or []
    entries = signatures[0].inputs if len(signatures) == 1 else []
    names = {int(entry.tensorIndex): entry.name.decode() for entry in entries}
    known: dict[str, FreeShape] = {}
    places = {}
    for place in map(int, graph.inputs):
        tensor = graph.tensors[place]
        name = names.get(place) or (tensor.name or b"").decode("utf-8", "replace")
        stored = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
        known[name] = tuple(None if size < 0 else int(size) for size in ([] if stored is None else stored))
        places[name] = place
    without_batch = [shape[1:] for shape in known.values()]
    fixed = fixed_shapes(list(known), without_batch, input_shape)
    judged = _judged(tuple(known), without_batch, fixed, given=input_shape is not None)
    resized = {places[name]: [shape[0] or 1, *judged.shapes[name]] for name, shape in known.items() if None in shape}
    return judged, resized


def set_shapes(tree: Any, shapes: Mapping[int, list[int]]) -> None:
    """Give the tensors of a file's main graph the shapes that they have at the sizes of its inputs.

    Args:
        tree: a `ModelT` tree, which is changed.
        shapes: by the number of the tensor; an interpreter appends some of its own.
    """
    for place, tensor in enumerate(tree.subgraphs[0].tensors):
        if place in shapes:
            tensor.shape, tensor.shapeSignature = shapes[place], None


def _judged(names: tuple[str, ...], known: Any, shapes: Any, *, given: bool) -> JudgedSizes:
    free = tuple(name for name, shape in zip(names, known, strict=True) if None in shape)
    return JudgedSizes(dict(zip(names, map(with_default_sizes, shapes), strict=True)), free, given)
