"""`quantize_aware`: a model becomes one that trains with the rounding of LiteRT's int8, its masks kept."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.exporting.checks.samples import flat_samples
from tf_lottery.exporting.quantization.batch_norm_folding import consumers_by_tensor, find_folded, fold
from tf_lottery.exporting.quantization.quantizable import (
    FIXED_RANGES,
    FUSED,
    POOLS,
    ROUNDED_IN_SAME_RANGE,
    SAME_RANGE,
    UNCHANGING,
    activation_of,
    check_quantizable,
    is_fused,
)
from tf_lottery.exporting.signature import signature_of
from tf_lottery.exporting.slim.call_graph import Call, calls_its_layers, trace_calls
from tf_lottery.layers import Masked, get_masks, is_wrapped, named_layers, strip
from tf_lottery.layers.acceptance import check_model, check_weights_finite
from tf_lottery.layers.copying import copy_input, copy_layer
from tf_lottery.layers.fake_quantization import (
    QUANTIZED_CLASSES,
    RANGE_SUFFIX,
    FakeQuantize,
    calibrating,
    is_quantization_aware,
)

_BATCH = 256


def quantize_aware(model: keras.Model, *, calibration: Any = None) -> keras.Model:
    """Returns a copy of a pruned model that trains with the rounding of LiteRT's int8; its masks hold in it.

    Kernels are fake-quantized with a scale for each output channel, and what flows between layers with one range for
    each tensor, where the int8 file has integers: see `layers.fake_quantization`. Pruned weights stay exactly 0.0.
    Batch normalization is folded into the layer in front of it. Fine-tune the copy in `fit` with a small learning rate,
    and give it to `export`, which writes int8 files: dense ones compute the same integers in LiteRT's default kernels.

    Args:
        model: A trained, built functional or Sequential model that computes in float32, wrapped or plain; zeros in the
            kernels of a plain one count as pruned. It is not changed.
        calibration: Real inputs `(samples, ...)` on which the first ranges are measured; a list, or a dict by input
            name, for several inputs. Without them the first batches of `fit` set them.

    Returns:
        A wrapped functional model, not compiled, whose kernels and masks have the paths that they have in `model`.

    Raises:
        UsageError: If `model` is no such model, or quantization-aware already.
        UnfitError: If it is not built, a layer is not supported, is called twice, or the calibration does not fit.
        NonFiniteError: If a weight is NaN or infinite.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu"), keras.layers.Dense(2)])
        >>> [layer.name for layer in quantize_aware(model).layers[1:]]
        ['input_range', 'dense', 'dense_range', 'dense_1', 'dense_1_range']
    """
    check_model(model)
    if is_quantization_aware(model):
        raise UsageError("The model is quantization-aware already.", "Give the float32 model.")
    if not calls_its_layers(model):
        raise UsageError(
            f"A model with its own `call` can't be followed. Received: {type(model).__name__} (name {model.name!r}).",
            "Make it a functional model: keras.Model(inputs, outputs).",
        )
    check_weights_finite(model)
    plain = strip(model) if is_wrapped(model) else model
    signature = signature_of(plain)
    if floats := [dtype for dtype in signature.dtypes if dtype != "float32"]:
        raise UnfitError(f"int8 quantizes float32 inputs. Received: an input of {floats[0]}.", "Leave it in float32.")
    quantized = _Rebuilding(plain, get_masks(model) if is_wrapped(model) else None).quantized_model()
    if calibration is not None:
        _measure_ranges(quantized, flat_samples(plain, signature, calibration))
    return quantized


def _measure_ranges(model: keras.Model, arrays: list[np.ndarray]) -> None:
    with calibrating():
        for start in range(0, len(arrays[0]), _BATCH):
            batch = [keras.ops.convert_to_tensor(array[start : start + _BATCH]) for array in arrays]
            model(keras.tree.pack_sequence_as(model.input, batch), training=False)


class _Rebuilding:
    """The tensors of the copy that were made so far, the range and grid of each, and what its integers are made of."""

    def __init__(self, model: keras.Model, masks: Mapping[str, np.ndarray] | None) -> None:
        self._model, self._masks = model, masks
        self._graph = trace_calls(model)
        self._consumers, self._folded = consumers_by_tensor(self._graph), find_folded(self._graph)
        self._paths = {id(layer): path for path, layer in named_layers(model).items()}
        own = {id(layer) for layer in model.layers}  # outputs of an inner model have no name of their own
        made = [call for call in self._graph.calls if id(call.layer) in own]
        self._makers = {number: call.layer.name for call in made for number in call.outputs}
        self._tensors: dict[int, Any] = {}
        self._grids: dict[int, Any] = {}
        self._exact: dict[int, dict[str, Any]] = {}
        self._ranges: dict[int, FakeQuantize] = {}
        self._check()

    def quantized_model(self) -> keras.Model:
        """Return the copy."""
        inputs = [copy_input(tensor) for tensor in self._model.inputs]
        names = signature_of(self._model).inputs
        for number, tensor, name in zip(self._graph.inputs, inputs, names, strict=True):
            self._measure(number, tensor, name)
        normalizations = {id(call) for call in self._folded.values()}
        for call in self._graph.calls:
            if id(call) in normalizations:
                continue
            if type(call.layer) in QUANTIZED_CLASSES:
                self._add_kernel(call)
            else:
                self._add_other(call)
        outputs = [self._tensors[number] for number in self._graph.outputs]
        if isinstance(self._model, keras.Sequential):
            return keras.Model(inputs[0], outputs[0], name=self._model.name)
        pack = keras.tree.pack_sequence_as
        return keras.Model(pack(self._model.input, inputs), pack(self._model.output, outputs), name=self._model.name)

    def _check(self) -> None:
        seen: set[int] = set()
        normalizations = {id(call) for call in self._folded.values()}
        for call in self._graph.calls:
            if not isinstance(call.layer, keras.layers.Layer):
                name = type(call.layer).__name__
                raise UnfitError(f"The operation {name} can't be trained for int8.", "Use a layer: keras.layers.Add().")
            if id(call.layer) in seen:
                raise UnfitError(
                    f"The layer {call.layer.name!r} is called twice, and can't have two ranges.", "Make it two layers."
                )
            seen.add(id(call.layer))
            if id(call) not in normalizations:
                check_quantizable(call.layer)
        kernels = {self._kernel_path(call.layer) for call in self._graph.calls if type(call.layer) in QUANTIZED_CLASSES}
        if others := sorted(set(self._masks or {}) - kernels):
            raise UnfitError(f"Only kernels may be masked in int8. Received a mask of {others[0]!r}.", "`exclude` it.")

    def _name(self, layer: keras.layers.Layer) -> str:
        return self._paths[id(layer)].replace("/", "_")

    def _kernel_path(self, layer: Any) -> str:
        return f"{self._paths[id(layer)]}/{layer.kernel.name}"

    def _add_kernel(self, call: Call) -> None:
        layer: Any = call.layer
        kernel, bias = layer.kernel.numpy(), None if layer.bias is None else layer.bias.numpy()
        target = call.outputs[0]
        mask = kernel != 0 if self._masks is None else self._masks.get(self._kernel_path(layer))
        if target in self._folded:
            norm = self._folded[target]
            kernel, bias = fold(kernel, bias, norm.layer)
            target = norm.outputs[0]
        activation = layer.activation
        inside = activation in (*FUSED, keras.activations.linear)
        config = {**layer.get_config(), "name": self._name(layer), "use_bias": bias is not None}
        if not inside:
            config["activation"] = "linear"
        copy = QUANTIZED_CLASSES[type(layer)].from_config(config)
        copy.build_from_config(layer.get_build_config())
        copy.kernel.assign(kernel)
        if bias is not None:
            copy.bias.assign(bias)
        source = call.inputs[0]
        output, unit = (copy if mask is None else _masked(copy, mask))(self._tensors[source], self._grids[source])
        self._exact[target] = {"unit": unit, "activation": activation.__name__ if activation in FUSED else None}
        if inside and self._rounded_later(activation, target):
            self._tensors[target] = output
            return
        self._measure(target, output, config["name"])
        if not inside:
            name = f"{config['name']}_{activation.__name__}"
            activated = keras.layers.Activation(activation, name=name)(self._tensors[target])
            del self._exact[target]
            self._measure(target, activated, name, FIXED_RANGES[activation])

    def _rounded_later(self, activation: Any, tensor: int) -> bool:
        """Whether LiteRT rounds a tensor only in a later layer.

        That is an activation that it computes in the same operator, or a concatenation, which nothing else follows.
        """
        readers = self._consumers[tensor]
        if len(readers) != 1 or tensor in self._graph.outputs:
            return False
        follower = readers[0].layer
        return type(follower) is keras.layers.Concatenate or (
            activation is keras.activations.linear and is_fused(follower)
        )

    def _add_other(self, call: Call) -> None:
        layer: Any = call.layer
        copy = copy_layer(layer)
        copy.name = self._name(layer)
        source, target, activation = call.inputs[0], call.outputs[0], activation_of(layer)
        if isinstance(layer, keras.layers.Add):
            pair = self._last_pair(call.inputs, copy.name)
            output, self._exact[target] = copy([self._tensors[n] for n in pair]), {"addends": self._with_grids(pair)}
        else:
            output = call.repeat(copy, self._tensors)[0]
        if isinstance(layer, (*SAME_RANGE, *ROUNDED_IN_SAME_RANGE)) or activation is keras.activations.linear:
            self._ranges[target], self._grids[target] = self._ranges[source], self._grids[source]
            if isinstance(layer, ROUNDED_IN_SAME_RANGE):
                output, _ = self._ranges[source](output, grid=self._grids[source], averages=True)
            self._tensors[target] = output
            return
        if is_fused(layer) and self._behind_a_pool(source):
            grid, self._ranges[target] = self._grids[source], self._ranges[source]
            exact = {"source": grid, "activation": activation.__name__}
            self._tensors[target], self._grids[target] = self._ranges[source](output, grid=grid, **exact)[0], grid
            return
        if isinstance(layer, keras.layers.Concatenate):
            self._add_concatenation(call, copy, output)
            return
        if isinstance(layer, keras.layers.GlobalAveragePooling2D):
            sizes = [size for size in self._graph.shapes[source][1:3] if size is not None]
            if len(sizes) == 2:
                self._exact[target] = {"unit": self._grids[source][0] / math.prod(sizes)}
        elif is_fused(layer):
            exact = {"source": self._grids[source]} if source in self._grids else self._exact[source]
            self._exact[target] = {**exact, "activation": activation.__name__}
        applied = keras.activations.linear if isinstance(layer, keras.layers.Add) else activation
        if target in self._exact and self._rounded_later(applied, target):
            self._tensors[target] = output
        else:
            self._measure(target, output, copy.name, FIXED_RANGES.get(activation))

    def _behind_a_pool(self, number: int) -> bool:
        """Whether a tensor is of a pool, through layers that do nothing at inference, and one layer alone reads it."""
        if len(self._consumers[number]) != 1 or number in self._graph.outputs:
            return False
        maker = next((call for call in self._graph.calls if number in call.outputs), None)
        if maker is not None and isinstance(maker.layer, UNCHANGING):
            return self._behind_a_pool(maker.inputs[0])
        return maker is not None and isinstance(maker.layer, POOLS)

    def _with_grids(self, numbers: Sequence[int]) -> list[Any]:
        return [part for number in numbers for part in (self._tensors[number], self._grids[number])]

    def _last_pair(self, numbers: Sequence[int], name: str) -> tuple[int, int]:
        """The tensors of a sum's last addition: int8 adds two at a time, and each sum has a range of its own."""
        first, *others = numbers
        for position, other in enumerate(others[:-1], start=1):
            partial = -1 - len(self._tensors)
            added = keras.layers.Add(name=f"{name}_part_{position}")([self._tensors[first], self._tensors[other]])
            self._exact[partial] = {"addends": self._with_grids((first, other))}
            self._measure(partial, added, added._keras_history.operation.name)
            first = partial
        return first, others[-1]

    def _add_concatenation(self, call: Call, copy: Any, unrounded: Any) -> None:
        """Round what is concatenated to the range of the whole."""
        target = call.outputs[0]
        self._measure(target, unrounded, copy.name)
        grid, parts = self._grids[target], {}
        for number in call.inputs:
            exact = {"source": self._grids[number]} if number in self._grids else self._exact[number]
            parts[number], _ = self._ranges[target](self._tensors[number], grid=grid, **exact)
        # Rounded parts stay what they are; the converter reads the range of the whole here.
        self._tensors[target], _ = self._ranges[target](call.repeat(copy, parts)[0], grid=grid)

    def _measure(self, number: int, tensor: Any, name: str, fixed: tuple[float, float] | None = None) -> None:
        """Fake-quantize a tensor of the copy, in a range of its own."""
        minimum, maximum = fixed or (None, None)
        layer = FakeQuantize(
            minimum=minimum, maximum=maximum, stands_for=self._makers.get(number, ""), name=f"{name}{RANGE_SUFFIX}"
        )
        self._ranges[number] = layer
        self._tensors[number], self._grids[number] = layer(tensor, **self._exact.get(number, {}))


def _masked(layer: Any, mask: np.ndarray) -> Masked:
    masked = Masked(layer, [layer.kernel.name])
    masked.mask_variables[layer.kernel.name].assign(mask)
    return masked
