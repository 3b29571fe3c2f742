"""The ONNX writer: Keras's own export, any batch size, run in ONNX Runtime and compared."""

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import keras

from tf_lottery.exporting.candidate_file import ALL_FILES, CandidateFile, Refusal, WantedFiles, file_suffix
from tf_lottery.exporting.checks.keras_reference import KerasReference
from tf_lottery.exporting.signature import Signature
from tf_lottery.utils.child_process import ProgramError, program, run_program
from tf_lottery.utils.files import dump_arrays, load_arrays
from tf_lottery.utils.text import one_line

PACKAGES = ("onnx", "tf2onnx", "onnxruntime")
_SUFFIX = ".onnx"
_RUN_FILE = program("tf_lottery.exporting.formats.run_onnx")
_SECONDS = 300.0


def write_onnx(
    model: keras.Model, folder: Path, reference: KerasReference, wanted: WantedFiles = ALL_FILES
) -> list[CandidateFile | Refusal]:
    """Write a model as an ONNX file, run it in ONNX Runtime, and compare; a `file_formats.Writer`.

    Args:
        model: as for `write_keras`.
        folder: as for `write_keras`.
        reference: as for `write_keras`.
        wanted: as for `write_keras`.

    Returns:
        One candidate, or one refusal.
    """
    encoding = wanted.encoding("dense")
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        return [_refuse(encoding, f"{', '.join(missing)} not installed: pip install 'tf-lottery[onnx]'")]
    file = folder / f"model{_SUFFIX}"
    try:
        _convert(model, file, reference.signature)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # the converter raises many kinds, each of which means: not this model
        return [_refuse(encoding, f"Keras cannot convert the model to ONNX: {one_line(error)}")]
    samples_file, results_file = folder / "samples.npz", folder / "outputs.npz"
    samples_file.write_bytes(dump_arrays(reference.named_samples))
    try:
        run_program(_RUN_FILE, [file, samples_file, results_file], name="ONNX Runtime", timeout=_SECONDS)
    except ProgramError as error:
        return [_refuse(encoding, str(error))]
    agreement = reference.compare(load_arrays(results_file))
    if agreement.failure:
        return [_refuse(encoding, agreement.failure, mismatch=True)]
    suffix = file_suffix("" if encoding == "dense" else encoding) + _SUFFIX
    return [CandidateFile(file, suffix, "onnx", "float32", encoding, agreement)]


def _convert(model: keras.Model, file: Path, signature: Signature) -> None:
    """Write a model as an ONNX file whose inputs and outputs have the names of the signature."""
    import onnx

    nested = keras.tree.map_structure(
        lambda tensor: keras.InputSpec(shape=tensor.shape, dtype=tensor.dtype, name=tensor.name),
        model.inputs[0] if isinstance(model, keras.Sequential) else model.input,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the converter, about NumPy
        model.export(file, format="onnx", verbose=False, input_signature=[nested])
    content = onnx.load(file)
    _rename(content.graph, "input", signature.inputs)
    _rename(content.graph, "output", signature.outputs)
    onnx.save(content, file)


def _rename(graph: Any, which: str, names: tuple[str, ...]) -> None:
    """Give the inputs or outputs of a graph names, in order.

    Args:
        graph: an ONNX graph, which is changed.
        which: "input" or "output".
        names: the new ones.
    """
    values = getattr(graph, which)
    renamed = dict(zip((value.name for value in values), names, strict=True))
    # A tensor inside that has one of the names already gets out of the way.
    taken = {name: f"{name}/inner" for node in graph.node for name in node.output if name in names} | {
        name: f"{name}/inner" for name in (initializer.name for initializer in graph.initializer) if name in names
    }
    renamed = taken | renamed
    for value in values:
        value.name = renamed[value.name]
    for initializer in graph.initializer:
        initializer.name = renamed.get(initializer.name, initializer.name)
    for node in graph.node:
        for tensors in (node.input, node.output):
            for place, name in enumerate(tensors):
                tensors[place] = renamed.get(name, name)


def _refuse(encoding: str, reason: str, *, mismatch: bool = False) -> Refusal:
    return Refusal("onnx", "float32", encoding, reason, mismatch)
