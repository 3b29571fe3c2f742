"""Sparse SavedModels: kernels on disk as non-zero values and compact positions, rebuilt once, at loading.

Where the non-zero values lie is stored as gaps of as few bits as pay (see `encode`). A kernel is a variable like those
of a dense SavedModel, read by the same operations: equal outputs, bit for bit, and equal speed. But it has no value in
the checkpoint: the SavedModel's initializer fills it, which every loader runs once: `tf.saved_model.load`, and those of
a session, of the C API and of TensorFlow Serving. Whoever holds a signature holds its variables, too, so a kernel lives
as long as anything that reads it. The alternative, to rebuild it inside the served function, relies on constant
folding, which leaves arrays of more than 10 MB alone: they would be rebuilt at every call.
"""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tf_lottery.exporting.checks.checksums import size
from tf_lottery.exporting.formats.saved_model import save, write_module
from tf_lottery.exporting.signature import signature_of, structure

# By how much an array must become smaller: each that is rebuilt adds some twenty operations to the loading. In bytes it
# takes no more than another variable, which has its place in the checkpoint, and functions that save and restore it.
_LEAST_SAVED = 1000
_MOST_BYTES = 2**31 - 2**24  # a protocol buffer holds less than 2 GiB


@dataclass(frozen=True)
class SparseCode:
    """An array as its non-zero values and where they lie.

    Attributes:
        shape: of the array.
        values: the non-zero values, float32, in the order of the flat array.
        gaps: `uint8`: numbers of `width` bits one after the other, least bit first.
        width: bits of one gap, from 1 to 16.
    """

    shape: tuple[int, ...]
    values: npt.NDArray[Any]
    gaps: npt.NDArray[Any]
    width: int

    @property
    def bytes(self) -> int:
        """The bytes of values and gaps."""
        return self.values.nbytes + self.gaps.nbytes


def encode(array: npt.NDArray[Any]) -> SparseCode:
    """Return an array as non-zero values and gaps, in the fewest bytes.

    A gap is the number of zeros before a non-zero value. The largest number of `width` bits stands for that many zeros
    without a value behind them, so a long gap costs some bits and no value. With one bit this is a bit field; at the
    density 0.05, where the mean gap is 19, six bits are best: 6.3 per value.

    Args:
        array: float32, of any shape. A -0.0 is a zero, and comes back as 0.0: the same number.

    Example:
        >>> encode(np.array([0, 0, 7, 0, 8], "float32")).gaps  # two bits each, from the right: 2, 1, filling
        array([246], dtype=uint8)
    """
    flat = np.ascontiguousarray(array).ravel()
    positions = np.flatnonzero(flat)
    zeros = np.diff(positions, prepend=-1) - 1
    width = min(range(1, 17), key=lambda bits: bits * (len(zeros) + int((zeros // (2**bits - 1)).sum())))
    return SparseCode(array.shape, flat[positions], _packed(zeros, width), width)


def decode(code: SparseCode) -> tf.Tensor:
    """Return the array of a code, by TensorFlow operations: what the SavedModel does when it is loaded."""
    return _rebuild(
        tf.constant(code.gaps),
        tf.constant([-1, code.width]),
        tf.constant([2**place for place in range(code.width)], tf.int64),
        tf.constant(code.values),
        tf.constant(code.shape, tf.int64),
    )


def save_sparse(model: keras.Model, folder: Path) -> str:
    """Save a model with sparse kernels as the SavedModel `folder`.

    Args:
        model: a plain model.
        folder: a path at which nothing lies, in an existing folder.

    Returns:
        Why it is not worthwhile: nothing to encode, or no fewer bytes than a dense SavedModel takes; empty if it is.

    Raises:
        OSError: writing fails.
    """
    codes = worthwhile_codes(model)
    stored = sum(code.bytes for code in codes.values())
    if not codes:
        return "nothing to encode: no array of weights has enough zeros to become smaller"
    if stored > _MOST_BYTES:
        return f"{stored} bytes of non-zero weights: a SavedModel's graph holds less than 2 GiB"
    dense = folder.with_name("dense_for_size")
    write_module(*_module(model, codes), folder)
    save(model, dense, batch=None)
    sparse_bytes, dense_bytes = size(folder), size(dense)
    shutil.rmtree(dense)
    if sparse_bytes < dense_bytes:
        return ""
    return f"the folder would be no smaller ({sparse_bytes} bytes) than the dense SavedModel ({dense_bytes} bytes)"


def worthwhile_codes(model: keras.Model) -> dict[int, SparseCode]:
    """Return the codes of those float32 variables that become smaller, by position in `model.variables`."""
    codes = {}
    for position, variable in enumerate(model.variables):
        array = np.asarray(variable.value)
        if array.dtype == np.float32 and array.nbytes > _LEAST_SAVED:
            code = encode(array)
            if code.bytes + _LEAST_SAVED < array.nbytes:
                codes[position] = code
    return codes


def _without_value(shape: tuple[int, ...]) -> tf.Variable:
    """A float32 variable that a SavedModel holds without a value.

    Overridden is how a variable is written into and read from a checkpoint, and its stand-in in the graph of the
    SavedModel, which would be; TensorFlow makes variables of another class than the one that is called.
    """
    variable = tf.Variable(tf.zeros(shape), trainable=False)
    kind = type(variable)

    def export(self: Any, object_map: Any = None, **options: Any) -> Any:
        exported = kind._export_to_saved_model_graph(self, object_map=object_map, **options)
        object_map[self] = self
        return exported

    members = {
        "_serialize_to_tensors": lambda self: {},
        "_restore_from_tensors": lambda self, restored: tf.no_op(),
        "_export_to_saved_model_graph": export,
    }
    variable.__class__ = type("VariableWithoutValue", (kind,), members)
    return variable


class _Filling(tf.saved_model.experimental.TrackableResource):
    """What fills variables when the SavedModel is loaded: the initializer of a resource that is used for nothing else.

    Args:
        kernels: variables and the codes of their values.
    """

    def __init__(self, kernels: Sequence[tuple[tf.Variable, SparseCode]]) -> None:
        super().__init__()
        self._kernels = list(kernels)

    def _create_resource(self) -> tf.Tensor:
        return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[], shared_name="filling")

    def _initialize(self) -> None:
        for variable, code in self._kernels:
            variable.assign(decode(code))

    def _destroy_resource(self) -> None:
        tf.raw_ops.DestroyResourceOp(resource=self.resource_handle, ignore_lookup_error=True)


def _module(model: keras.Model, codes: dict[int, SparseCode]) -> tuple[tf.Module, Any]:
    """As `signature.serving_module`, with the coded variables replaced by variables without a value."""
    signature, nested = signature_of(model), structure(model)[0]
    rebuilt = {position: _without_value(code.shape) for position, code in codes.items()}

    def serve(*tensors: Any) -> dict[str, Any]:
        kernels = {position: variable.read_value() for position, variable in rebuilt.items()}
        mapping = [(model.variables[position], value) for position, value in kernels.items()]
        with keras.StatelessScope(state_mapping=mapping) as scope:
            result = model(keras.tree.pack_sequence_as(nested, list(tensors)), training=False)
        for position, variable in enumerate(model.variables):
            # The scope holds back what a layer assigns: the state of a stateful layer or of a seed generator.
            value = scope.get_current_value(variable)
            if value is not None and value is not kernels.get(position):
                rebuilt.get(position, variable.value).assign(value)
        return dict(zip(signature.outputs, keras.tree.flatten(result), strict=True))

    module = tf.Module()
    module.rebuilt = list(rebuilt.values())
    module.filling = _Filling([(rebuilt[position], code) for position, code in codes.items()])
    module.weights = [variable.value for position, variable in enumerate(model.variables) if position not in rebuilt]
    module.tables = [layer.lookup_table for layer in model._flatten_layers() if hasattr(layer, "lookup_table")]
    specs = [
        tf.TensorSpec((None, *shape), dtype, name=name)
        for name, shape, dtype in zip(signature.inputs, signature.shapes, signature.dtypes, strict=True)
    ]
    return module, tf.function(serve, autograph=False).get_concrete_function(*specs)


def _packed(zeros: npt.NDArray[Any], width: int) -> npt.NDArray[Any]:
    """Numbers of zeros before values, as packed gaps of `width` bits."""
    skip = 2**width - 1
    skips, rest = np.divmod(zeros, skip)
    ends = np.cumsum(skips + 1)
    count = int(ends[-1]) if len(ends) else 0
    filling = -count % (8 // math.gcd(8, width))  # to whole bytes and whole gaps
    gaps = np.full(count + filling, skip, np.uint16)
    gaps[ends - 1] = rest
    bits = gaps[:, None] >> np.arange(width, dtype=np.uint16) & 1
    return np.packbits(bits.astype(np.uint8).ravel(), bitorder="little")


def _rebuild_array(
    gaps: tf.Tensor, form: tf.Tensor, places: tf.Tensor, values: tf.Tensor, shape: tf.Tensor
) -> tf.Tensor:
    bits = tf.bitwise.bitwise_and(tf.expand_dims(gaps, 1), tf.constant([1, 2, 4, 8, 16, 32, 64, 128], tf.uint8))
    rows = tf.reshape(tf.cast(bits, tf.bool), form)
    valued = tf.logical_not(tf.reduce_all(rows, 1))
    behind = tf.cumsum(tf.reduce_sum(tf.where(rows, places, 0), 1) + tf.cast(valued, tf.int64))
    positions = tf.gather_nd(behind, tf.where(valued)) - 1
    # `scatter_nd` would add to zeros, and lose numbers so small that additions flush them to zero.
    flat = tf.reshape(tf.zeros(shape), [-1])
    return tf.reshape(tf.tensor_scatter_nd_update(flat, tf.expand_dims(positions, 1), values), shape)


# A function of its own with open shapes: the SavedModel holds it once, however many kernels it has.
_rebuild = tf.function(
    _rebuild_array,
    autograph=False,
    input_signature=[
        tf.TensorSpec([None], tf.uint8),
        tf.TensorSpec([2], tf.int32),
        tf.TensorSpec([None], tf.int64),
        tf.TensorSpec([None], tf.float32),
        tf.TensorSpec([None], tf.int64),
    ],
)
