"""Variables that read as masked: the one mechanism by which pruned weights are zero.

A masked variable computes `where(mask, stored value, 0)` each time that it is read, so a mask holds for every reader:
the layer that made the variable, a layer that is tied to it, a regularizer, an optimizer's decay, `numpy()`, a file.
The gradient of a pruned weight is exactly zero. What an optimizer adds to the stored value of a pruned weight
(momentum) never shows.

Keras holds the value of a variable as a `tf.Variable`. The class of both becomes a subclass that is made here: that of
the `tf.Variable` masks what is read, that of the Keras variable masks the value that a stateless call maps it to.
Identity, handles, optimizer slots and checkpoints stay as they are. A function that was traced before keeps reading
unmasked values: `wrap` drops those of Keras.
"""

import contextlib
import functools
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.eager import record

_reads = threading.local()


def mask_variable(variable: keras.Variable, mask: keras.Variable) -> None:
    """Makes a variable read as `where(mask, stored value, 0)`, for all its readers.

    Args:
        variable: A built floating-point variable. Its stored value is not changed.
        mask: A boolean variable of the same shape. Assigning it changes what is read, without a retrace.

    Raises:
        RuntimeError: If this release of TensorFlow or Keras holds values in another way.
    """
    for stored in _stored_variables(variable):
        stored.__class__ = _masked_tensor_class(_plain_class(type(stored)))
        stored.tf_lottery_mask = mask
    variable.__class__ = _masked_keras_class(_plain_class(type(variable)))
    variable.tf_lottery_mask = mask


def unmask_variable(variable: keras.Variable) -> None:
    """Makes a variable read as it is stored again; nothing happens to one that is not masked."""
    if not is_masked(variable):
        return
    for stored in _stored_variables(variable):
        stored.__class__ = _plain_class(type(stored))
        del stored.tf_lottery_mask
    variable.__class__ = _plain_class(type(variable))
    del variable.tf_lottery_mask


def is_masked(variable: Any) -> bool:
    """Returns whether a variable reads as masked."""
    return isinstance(variable, _Masking)


def mask_of(variable: keras.Variable) -> keras.Variable:
    """Returns the mask of a masked variable: a boolean variable of its shape."""
    mask: keras.Variable = variable.tf_lottery_mask
    return mask


@contextlib.contextmanager
def read_once(variables: Iterable[keras.Variable]) -> Iterator[None]:
    """Reads masked variables here, and lets their readers inside the context take these values.

    A loop in a graph would mask them in each turn. A variable that is assigned inside is read again from there on.

    Args:
        variables: Variables, masked or not.
    """
    before = _current_reads()
    values = dict(before)
    for variable in variables:
        if is_masked(variable) and isinstance(variable._value, _Masking):
            values[id(variable._value)] = tf.convert_to_tensor(variable._value)
    _reads.values = values
    try:
        yield
    finally:
        _reads.values = before


class _Masking:
    """Marks the classes of masked variables."""

    tf_lottery_mask: keras.Variable


def apply_mask(mask: keras.Variable, weight: Any) -> Any:
    """Returns the weight with exactly 0.0 where the mask is False; its gradient is exactly zero there as well.

    Args:
        mask: A boolean variable of the shape of `weight`.
        weight: The weight as a tensor.
    """
    return keras.ops.where(mask.value, weight, keras.ops.zeros_like(weight))


def _masked(value: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Returns `where(mask, value, 0)`, whose gradients come in the form and the order of those of `value`.

    The gradient that TensorFlow has for this makes a dense one of the rows of a lookup. It is recorded as TensorFlow
    does, in a scope of the reader's: the graph optimizer sums up the gradients of a shared weight in the order of their
    names, so that other names would be other last bits.
    """
    scope = tf.get_current_name_scope()

    def gradient(upstream: Any) -> list[Any]:
        with tf.name_scope(f"gradient_tape/{scope}/"):
            if not isinstance(upstream, tf.IndexedSlices):
                return [_select(mask, upstream)]
            rows = _select(tf.gather(mask, upstream.indices), upstream.values)
            return [tf.IndexedSlices(rows, upstream.indices, upstream.dense_shape)]

    with record.stop_recording():
        masked = _select(mask, value)
    record.record_operation("Masked", [masked], [value], gradient, lambda tangent: [_select(mask, tangent)])
    return masked


def _select(mask: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    # For equal shapes only, which makes it faster than `tf.where`.
    return tf.raw_ops.Select(condition=mask, x=value, y=tf.zeros_like(value))


def _current_reads() -> dict[int, tf.Tensor]:
    values: dict[int, tf.Tensor] = getattr(_reads, "values", {})
    return values


def _stored_variables(variable: keras.Variable) -> list[Any]:
    """Returns the `tf.Variable` of a Keras variable, or those of its replicas."""
    value = variable._value
    stored = list(getattr(value, "_values", None) or [value])
    if not all(hasattr(type(one), "_read_variable_op") for one in stored):
        raise RuntimeError(
            f"The variable {variable.path!r} can't be masked: it holds {type(value).__name__}, which this release of "
            "tf_lottery does not know how to read. See the README for the supported releases of TensorFlow and Keras."
        )
    return stored


def _plain_class(kind: type) -> Any:
    return kind.__mro__[2] if issubclass(kind, _Masking) else kind


@functools.cache
def _masked_tensor_class(kind: Any) -> type:
    """Returns the subclass of a class of `tf.Variable` whose instances read as masked."""

    class MaskedTensorVariable(_Masking, kind):
        def _read_variable_op(self, no_copy: bool = False) -> tf.Tensor:
            if id(self) in _current_reads():
                return _current_reads()[id(self)]
            value = kind._read_variable_op(self, no_copy)
            return _masked(value, tf.convert_to_tensor(self.tf_lottery_mask.value))

        @property
        def handle(self) -> Any:
            return vars(self)["_handle"]

        @property
        def _handle(self) -> None:
            # Eager operations would read past the mask by the handle; with None here they convert the variable.
            return None

        def __tf_tracing_type__(self, signature_context: Any) -> Any:
            # Of a function that is given the `tf.Variable`: its placeholder is this variable.
            alias = signature_context.alias_global_id(self.handle._id)
            signature_context.add_placeholder(alias, self)
            return self._type_spec.__class__(self.shape, self.dtype, self.trainable, alias_id=alias)

        def sparse_read(self, indices: Any, name: str | None = None) -> tf.Tensor:
            return self._read_rows(kind.sparse_read, tf.gather, indices, name)

        def gather_nd(self, indices: Any, name: str | None = None) -> tf.Tensor:
            return self._read_rows(kind.gather_nd, tf.gather_nd, indices, name)

        def _read_rows(self, read: Any, gather: Any, indices: Any, name: str | None) -> tf.Tensor:
            # Masks the rows alone.
            if id(self) in _current_reads():
                return gather(self.value(), indices, name=name)
            return _masked(read(self, indices, name=name), gather(self.tf_lottery_mask.value, indices))

        def assign(self, *args: Any, **kwargs: Any) -> Any:
            _current_reads().pop(id(self), None)
            return kind.assign(self, *args, **kwargs)

        def assign_add(self, *args: Any, **kwargs: Any) -> Any:
            _current_reads().pop(id(self), None)
            return kind.assign_add(self, *args, **kwargs)

        def assign_sub(self, *args: Any, **kwargs: Any) -> Any:
            _current_reads().pop(id(self), None)
            return kind.assign_sub(self, *args, **kwargs)

    return MaskedTensorVariable


@functools.cache
def _masked_keras_class(kind: Any) -> type:
    """Returns the subclass of a class of Keras variable that masks the value that a stateless call maps it to."""

    class MaskedVariable(_Masking, kind):
        @property
        def value(self) -> Any:
            value = kind.value.fget(self)
            return value if isinstance(value, tf.Variable) else apply_mask(self.tf_lottery_mask, value)

    return MaskedVariable
