"""What each call does to channels: read them by a kernel, pass them on, or neither."""

from dataclasses import dataclass
from typing import Any

import keras

from tf_lottery.exporting.slim.failing import failing_at
from tf_lottery.exporting.slim.kernels import READING, Kernel, kernel_of
from tf_lottery.exporting.slim.layer_rules import operation_with_number, passing_of
from tf_lottery.exporting.slim.passing import Passing
from tf_lottery.exporting.slim.program import Call, Program


@dataclass(frozen=True)
class Barrier:
    """A call whose channels can't be followed: all that it takes and makes stays."""

    reason: str


Behaviour = Kernel | Passing | Barrier


def behaviours_of(program: Program) -> list[Behaviour]:
    """The behaviour of each call. A layer that is made for its channels is a barrier in all of its calls or in none."""
    found = []
    for call in program.calls:
        with failing_at(call.layer):
            found.append(_behaviour(call, program))
    barriers = {
        id(call.layer): behaviour
        for call, behaviour in zip(program.calls, found, strict=True)
        if isinstance(behaviour, Barrier) and is_sized(call.layer)
    }
    return [barriers.get(id(call.layer), behaviour) for call, behaviour in zip(program.calls, found, strict=True)]


def has_weights(layer: Any) -> bool:
    """Whether a layer has variables; an operation such as `x + y` has none."""
    return isinstance(layer, keras.layers.Layer) and bool(layer.variables)


def has_width(layer: Any) -> bool:
    """Whether a layer without weights says in its configuration how many channels it makes."""
    return isinstance(layer, keras.layers.Reshape) and layer.target_shape[-1:] not in ((), (-1,))


def is_sized(layer: Any) -> bool:
    """Whether a layer is made for its channels, so that all of its calls must keep the same ones."""
    return has_weights(layer) or has_width(layer)


def _behaviour(call: Call, program: Program) -> Behaviour:
    layer = call.layer
    if not call.plain:
        return operation_with_number(call) or Barrier("it is called with more than tensors")
    if len(call.outputs) != 1 or not all(map(program.width, (*call.inputs, *call.outputs))):
        return Barrier("its number of channels is not known")
    found: Behaviour | str | None
    if type(layer) in READING:
        found = kernel_of(layer)
    else:
        found = passing_of(layer, [program.shapes[n] for n in call.inputs], program.shapes[call.outputs[0]])
    if found is None:
        return Barrier(_unknown(layer))
    return Barrier(found) if isinstance(found, str) else found


def _unknown(layer: Any) -> str:
    kind = type(layer).__name__
    if not type(layer).__module__.startswith("keras."):
        return f"what its class {kind} does to channels is not known"
    if isinstance(layer, keras.layers.Layer):
        return f"{kind} layers may mix channels and are not followed"
    return f"the operation {kind} is not followed"
