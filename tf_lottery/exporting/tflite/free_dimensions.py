"""Dimensions of a TFLite file's inputs that take any size: which they are, and whether a file can have them.

A file is compared with Keras at the size of the samples, and at other ones, batches included.
"""

from pathlib import Path

from tf_lottery.exporting.checks.agreement import Outputs, compare_outputs
from tf_lottery.exporting.checks.keras_reference import KerasReference
from tf_lottery.exporting.checks.other_sizes import BATCH, SizedSamples
from tf_lottery.exporting.signature import Signature
from tf_lottery.exporting.tflite import flatbuffers, litert
from tf_lottery.exporting.tflite.refusal_reasons import not_micro


def free_dimensions(content: bytes) -> dict[str, list[int]]:
    """Return the places of the dimensions that take any size, the batch being 0, by the name of the input.

    Args:
        content: of a `.tflite` file with one signature; inputs without a free dimension are left out.
    """
    model = flatbuffers.read(content)
    tensors = model.subgraphs[0].tensors
    places = {
        entry.name.decode(): [
            place for place, size in enumerate(tensors[entry.tensorIndex].shapeSignature or ()) if size == -1
        ]
        for entry in model.signatureDefs[0].inputs
    }
    return {name: free for name, free in places.items() if free}


def way_out(signature: Signature) -> str:
    """Return what to do where free dimensions may be the reason that a file can't be made; empty without such ones."""
    if not signature.dynamic:
        return ""
    return f"; the inputs have the shapes {list(signature.shapes)}: fix them by `input_shape=`"


def why_not_free(reference: KerasReference, target: str) -> str:
    """Return why no file can have the free dimensions of a model; empty if it has none, or a file may have them.

    Args:
        reference: the samples and the outputs for them.
        target: "micro", or empty for any.
    """
    if not reference.signature.dynamic:
        return ""
    if target:
        return not_micro(["its memory is planned for fixed shapes"]) + way_out(reference.signature)
    if not reference.other_sizes:
        return "the Keras model takes no other size than the samples have" + way_out(reference.signature)
    return ""


def failure_at_other_sizes(file: Path, reference: KerasReference, precision: str) -> str:
    """Return why a file fails at other sizes than that of the samples; empty if it does not.

    Args:
        file: a TFLite file, in a folder for the exchange of arrays.
        reference: samples of those sizes and the outputs for them.
        precision: of the file.

    Raises:
        OSError: there is no room for the exchange of arrays.
    """
    for size in reference.other_sizes:
        try:
            ran = litert.run_file(file, size.samples, scratch=file.parent, batch=BATCH)
            failure = _difference(reference, size, ran.outputs, precision)
        except litert.LiteRTError as error:
            failure = f"on inputs of {size.sizes}, {error}"
        if failure:
            return failure + way_out(reference.signature)
    return ""


def _difference(reference: KerasReference, size: SizedSamples, outputs: Outputs, precision: str) -> str:
    """Return how a file's outputs at another size differ from the Keras model's; empty if they are accepted."""
    # Of a reduced precision, one of few predicted classes may differ: the numbers are compared.
    kinds = reference.kinds if precision == "float32" else None
    failure = compare_outputs(size.outputs, outputs, precision=precision, kinds=kinds).failure
    if failure and precision == "float32" and reference.tolerances:
        failure = compare_outputs(size.outputs, outputs, tolerance=reference.tolerances, kinds=kinds).failure
    return f"on inputs of {size.sizes}, {failure}" if failure else ""
