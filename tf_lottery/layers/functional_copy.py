"""A functional copy of a subclassed model, for what needs to know its graph: slimming, export, diagnosis."""

from typing import Any

import keras
import numpy as np

from tf_lottery.errors import UnfitError
from tf_lottery.layers.copying import copy_layer, merge_masked_sums, rebuild
from tf_lottery.layers.sublayers import MASKS, plain_class
from tf_lottery.layers.tracing import ReadVariables, SymbolicGraph, call_for_inference, input_shapes, symbolic_graph
from tf_lottery.utils.text import one_line

BATCHES = (2, 5)
"""Numbers of examples that a copy is compared on: a `call` may depend on them."""
RELATIVE, ABSOLUTE = 1e-5, 1e-6


def functional_copy(model: keras.Model) -> keras.Model:
    """Returns a plain functional model of copies of a subclassed model's layers, which computes the same.

    Its `call` is traced once, for inference. Layers and models that it calls are kept whole: what they compute inside
    is not traced. Masks are applied to the weights. Outputs of both are compared on random inputs.

    Args:
        model: A built subclassed model, wrapped or plain. It is not changed.

    Raises:
        UnfitError: If its `call` can't be traced, uses weights of the model's own, or computes otherwise than traced.
    """
    with symbolic_graph(model) as graph:
        if graph.inputs is None:
            raise _not_traced(model, graph.reason)
        try:
            traced = keras.Model(graph.inputs, graph.outputs, name=model.name)
        except ValueError as error:
            raise _not_traced(model, one_line(error)) from error
        _check_no_weight_is_lost(model, traced, graph)
        copy = rebuild(traced, copy_layer)
        merge_masked_sums(traced, copy)
        _check_computes_the_same(model, copy, graph)
    return copy


def _check_no_weight_is_lost(model: keras.Model, traced: keras.Model, graph: SymbolicGraph) -> None:
    """Raises if no layer of the graph holds a weight that `call` reads; what only `train_step` reads may be lost."""
    kept = {id(variable) for variable in traced.variables}
    masks = {id(variable) for variable in getattr(model, MASKS).variables} if hasattr(model, MASKS) else set()
    others = [
        variable
        for variable in model.trainable_variables + model._non_trainable_variables
        if id(variable) not in kept | masks
    ]
    if not others:
        return
    scope = ReadVariables()
    _call(model, graph, _draw_inputs(graph, BATCHES[0]), scope)
    if lost := [variable.path for variable in others if id(variable) in scope.read]:
        raise _not_traced(model, f"no layer that it calls holds its weights {', '.join(lost[:5])}")


def _check_computes_the_same(model: keras.Model, copy: keras.Model, graph: SymbolicGraph) -> None:
    for examples in BATCHES:
        _compare(model, copy, graph, examples)


def _draw_inputs(graph: SymbolicGraph, examples: int) -> Any:
    rng = np.random.default_rng(0)

    def draw(tensor: keras.KerasTensor) -> Any:
        shape = [examples, *(size or 1 for size in tensor.shape[1:])]
        values = rng.integers(0, 2, shape) if "int" in tensor.dtype else rng.normal(size=shape)
        return keras.ops.convert_to_tensor(values.astype(tensor.dtype))

    return keras.tree.map_structure(draw, graph.inputs)


def _call(model: keras.Model, graph: SymbolicGraph, inputs: Any, scope: ReadVariables) -> list[Any]:
    several = len(input_shapes(model)) > 1
    try:
        outputs = call_for_inference(model, model, inputs if several else [inputs], scope)
    except Exception as error:  # code of the user's
        dtypes = ", ".join(tensor.dtype for tensor in keras.tree.flatten(graph.inputs))
        raise _not_traced(model, f"its `call` fails for inputs of {dtypes}: {one_line(error)}") from error
    return keras.tree.flatten(outputs)  # type: ignore[no-any-return]


def _compare(model: keras.Model, copy: keras.Model, graph: SymbolicGraph, examples: int) -> None:
    inputs = _draw_inputs(graph, examples)
    own = _call(model, graph, inputs, ReadVariables())
    for one, other in zip(own, keras.tree.flatten(copy(inputs, training=False)), strict=True):
        one, other = keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other)
        if not np.allclose(one, other, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True):
            raise _not_traced(
                model,
                f"what is traced differs by {float(np.abs(one - other).max()):.2g} from what it computes, so its "
                "`call` depends on more than its inputs and weights",
            )


def _not_traced(model: keras.Model, reason: str) -> UnfitError:
    return UnfitError(
        f"The graph of the subclassed model {model.name!r} of class {plain_class(model).__name__} can't be traced: "
        f"{reason}.",
        "Make it a functional model: keras.Model(inputs, outputs).",
    )
