"""`slim`: the model without what its zeros made dead."""

import logging

import keras
import numpy as np

from tf_lottery.errors import NonFiniteError, UsageError
from tf_lottery.exporting.slim.behaviour import Barrier, behaviours_of
from tf_lottery.exporting.slim.channels import Reader, group_channels, kept_groups, pinned_groups, readers_of
from tf_lottery.exporting.slim.constants import constants_of
from tf_lottery.exporting.slim.failing import failing_at
from tf_lottery.exporting.slim.kernels import Kernel
from tf_lottery.exporting.slim.program import calls_its_layers, program_of
from tf_lottery.exporting.slim.rebuilding import Plan, layer_names, rebuilt
from tf_lottery.exporting.slim.slim_report import LayerSlimming, SlimReport
from tf_lottery.layers import is_wrapped, strip
from tf_lottery.layers.wrapping import check_wrappable

log = logging.getLogger(__name__)


def slim(model: keras.Model, *, multiple: int = 1) -> tuple[keras.Model, SlimReport]:
    """A smaller model that computes the same: units and channels that zeros made dead are removed, exactly.

    Removed are channels that nothing on the way to an output reads, and channels that hold the same value for every
    input: that value goes into the bias of what reads it, or, where zero padding makes the border differ, into the row
    of one constant channel that stays for all. The model's own inputs and outputs keep their shapes. What can't be
    followed (layers that mix channels, custom layers) stays whole and is reported.

    Args:
        model: a built functional or Sequential model with exact zeros in its kernels, or a wrapped one, whose masks are
            applied first. It is not changed.
        multiple: round numbers of channels up to multiples of this, as some hardware likes (8), with channels of zeros.

    Returns:
        A plain model, not compiled, with the same inputs and outputs, their names and the layers' names (nested models
        opened; their last layers take their names where they make the model's outputs), and the report.

    Raises:
        UsageError: not a Sequential or functional model, or `multiple` is not a positive integer.
        UnfitError: the model is not built, or a layer can't be followed or made again; its name is told.
        NonFiniteError: a weight is NaN or infinite.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(1)])
        >>> model.layers[1].set_weights([np.array([[1.0], [0.0], [1.0]]), np.zeros(1)])  # unit 1 is not read
        >>> smaller, report = slim(model)
        >>> smaller.layers[0].units, report.removed
        (2, 1)
    """
    if not isinstance(multiple, int | np.integer) or isinstance(multiple, bool) or multiple < 1:
        raise UsageError(f"`multiple` must be a positive integer. Received: {multiple!r}.", "Use e.g. 1 or 8.")
    check_wrappable(model)
    if is_wrapped(model):
        model = strip(model)
    _check(model)
    with failing_at(model, "model"):
        return _slimmed(model, int(multiple))


def _slimmed(model: keras.Model, multiple: int) -> tuple[keras.Model, SlimReport]:
    program = program_of(model)
    behaviours = behaviours_of(program)
    groups = group_channels(program, behaviours)
    readers = readers_of(program, behaviours, groups, constants_of(program, behaviours))
    count = 1 + max((int(numbers.max()) for numbers in groups.values() if len(numbers)), default=0)
    pinned = pinned_groups(program, behaviours, groups)
    needed, kept = kept_groups(tuple(readers.values()), pinned, count, multiple)
    names = layer_names(model, program)
    plan = Plan(program, behaviours, groups, readers, needed, kept)
    result = rebuilt(model, plan, names)
    report = SlimReport(
        layers=tuple(_slimming(names[layer], reader, needed, kept) for layer, reader in readers.items()),
        parameters_before=model.count_params(),
        parameters_after=result.count_params(),
        left_alone=_left_alone(plan, names),
        multiple=multiple,
    )
    log.info("slimmed %s: %d of %d parameters", model.name, report.parameters_after, report.parameters_before)
    return result, report


def _check(model: keras.Model) -> None:
    if not calls_its_layers(model):
        raise UsageError(
            f"A model with its own `call` can't be followed. Received: {type(model).__name__} (name {model.name!r}).",
            "Make it a functional model: keras.Model(inputs, outputs).",
        )
    for variable in model.variables:
        value = variable.numpy()
        if not np.issubdtype(value.dtype, np.integer) and not np.isfinite(value.astype(np.float32)).all():
            raise NonFiniteError(
                f"The weights of {variable.path!r} must be finite. Received NaN or infinite values.",
                "Train again with a smaller learning rate, or take an earlier round.",
            )


def _slimming(name: str, reader: Reader, needed: np.ndarray, kept: np.ndarray) -> LayerSlimming:
    read = reader.kernel.reads[:, needed[reader.outputs]].any(axis=1)
    gone = ~needed[reader.inputs] & read
    return LayerSlimming(
        name=name,
        units_before=len(reader.outputs),
        units_after=int(kept[reader.outputs].sum()),
        units_filling=int((kept & ~needed)[reader.outputs].sum()),
        inputs_before=len(reader.inputs),
        inputs_after=int(kept[reader.inputs].sum()),
        inputs_read=int(read.sum()),
        folded=int((gone & reader.fold & (reader.values != 0)).sum()),
        merged=int((gone & reader.merge).sum()),
    )


def _left_alone(plan: Plan, names: dict[int, str]) -> dict[str, str]:
    """Why channels could not be followed or removed, by the name of the layer where that is so."""
    reasons: dict[str, str] = {}
    ends = set(plan.program.outputs)
    for call, behaviour in zip(plan.program.calls, plan.behaviours, strict=True):
        name = names[id(call.layer)]
        if isinstance(behaviour, Barrier):
            if not (call.outputs[0] in ends and isinstance(call.layer, keras.layers.Activation | keras.layers.Softmax)):
                reasons[name] = behaviour.reason  # in front of an output all channels stay anyway
        elif isinstance(behaviour, Kernel):
            if behaviour.activation is None and call.outputs[0] not in ends:
                reasons[name] = "its activation mixes channels or is not known, so all of its units stay"
            reader = plan.readers[id(call.layer)]
            stay = ~np.isnan(reader.values) & ~reader.fold & ~reader.merge & plan.needed[reader.inputs]
            if stay.any():
                reasons[name] = f"{stay.sum()} constant channels stay, as its zero padding reads them unevenly"
    return reasons
