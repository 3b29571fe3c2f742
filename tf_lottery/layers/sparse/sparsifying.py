"""`sparsify` and `densify`: from a wrapped model to one that computes with the kept weights alone, and back."""

from collections.abc import Iterator, Mapping

import keras

from tf_lottery.errors import UsageError
from tf_lottery.layers.acceptance import is_wrapped, own_methods
from tf_lottery.layers.copying import METHODS, clone_graph, copy_layer, rebuild
from tf_lottery.layers.masked import Masked
from tf_lottery.layers.paths import named_layers
from tf_lottery.layers.sparse.break_even import CONVOLUTION, DENSE, Work
from tf_lottery.layers.sparse.native import use_threads_of_tensorflow
from tf_lottery.layers.sparse.sparse_conv2d import SparseConv2D, reason_of_convolution
from tf_lottery.layers.sparse.sparse_dense import SparseDense
from tf_lottery.layers.sparse.sparse_layer import SparseLayer
from tf_lottery.layers.sublayers import is_made_from_own_config, is_nested_model

SUMS = (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2)
"""Regularizers that are sums over the weights, so that pruned ones add nothing."""

MOST_WEIGHTS = 2**31 - 1
"""The kernels count places in a matrix by 32 bits."""
SPARSE_CLASSES: dict[type[keras.layers.Layer], type[SparseLayer]] = {
    one.STANDS_FOR: one for one in (SparseDense, SparseConv2D)
}
"""The sparse layers, by the class that they stand for."""


def sparsify(model: keras.Model, *, batch_size: int = 32) -> keras.Model:
    """Returns a copy of a wrapped model whose masked dense layers and convolutions hold the kept weights alone.

    The copy trains in `fit`, best with `jit_compile=True`, or in a custom loop, and saves and loads as `.keras`. Its
    masks are fixed. It is not compiled. The kernels use as many threads as TensorFlow's operations do. Layers that
    they do not cover stay as they are: `reasons_dense` says which, and why.

    Args:
        model: A wrapped Sequential or functional model. It is not changed.
        batch_size: The batch size that it will mostly be trained with. Others work too, and take longer.

    Raises:
        UsageError: If the model is not wrapped, is subclassed or has methods of its own, or no layer is covered.
    """
    reasons = reasons_dense(model)
    if not (covered := [path for path, reason in reasons.items() if not reason]):
        why = "; ".join(f"{path}: {reason}" for path, reason in reasons.items())
        raise UsageError(f"No layer of the model {model.name!r} would compute by the sparse kernels. {why}.")
    use_threads_of_tensorflow()
    copy = _copy_with_masks(model)
    layers = masked_layers(copy)
    capacities = {path: int(layers[path].get_masks()["kernel"].sum()) for path in covered}
    return shared_sparse_model(copy, capacities, batch_size=batch_size)[0]


def densify(model: keras.Model) -> keras.Model:
    """Returns a copy of a model of `sparsify` with mask-applying layers again, with the same weights and masks.

    Args:
        model: A model that `sparsify` made. It is not changed.

    Raises:
        UsageError: If it has no such layer.
    """
    if not is_sparsified(model):
        raise UsageError("`densify` expects a model that `sparsify` made. Received one without sparse layers.")

    def dense(layer: keras.layers.Layer) -> keras.layers.Layer:
        if not isinstance(layer, SparseLayer):
            return layer
        plain = layer.STANDS_FOR.from_config(layer.original.get_config())
        plain.build_from_config(layer.get_build_config())
        masked = Masked(plain, ["kernel"])
        kernel, mask = layer.get_kernel()
        plain.kernel.assign(kernel)
        if plain.use_bias:
            plain.bias.assign(layer.bias)
        masked.mask_variables["kernel"].assign(mask)
        return masked

    return clone_graph(_copy_with_masks(model), dense)


def _copy_with_masks(model: keras.Model) -> keras.Model:
    copy = rebuild(model, copy_layer, share_attributes=True, keep_classes=True)
    copies = masked_layers(copy)
    for path, layer in masked_layers(model).items():
        for weight, mask in layer.get_masks().items():
            copies[path].mask_variables[weight].assign(mask)
    return copy


def is_sparsified(model: keras.Model) -> bool:
    """Returns whether a model has layers that compute with the kept weights alone."""
    return any(isinstance(layer, SparseLayer) for layer in model._flatten_layers())


def reasons_dense(model: keras.Model) -> dict[str, str]:
    """Returns why each mask-applying layer can't compute by the sparse kernels, by path; "" where it can.

    Args:
        model: A wrapped model.

    Raises:
        UsageError: If the model is not wrapped.
    """
    if not is_wrapped(model):
        raise UsageError("A wrapped model is expected. Received a model without mask-applying layers.")
    whole = _reason_of_model(model)
    layers = masked_layers(model)
    return {path: whole or _reason_of_layer(layer) for path, layer in layers.items()} or {model.name: whole}


def masked_layers(model: keras.Model) -> dict[str, Masked]:
    """Returns the mask-applying layers of a model by path.

    Args:
        model: A wrapped model.
    """
    return {path: layer for path, layer in named_layers(model).items() if isinstance(layer, Masked)}


def _reason_of_model(model: keras.Model) -> str:
    if not is_nested_model(model) or is_made_from_own_config(model):
        return "the model is subclassed"
    if own := own_methods(model, METHODS):
        return f"the model has its own {', '.join(own)}"
    if {id(one) for one in model.trainable_variables} != {id(one) for one in _trained_by_layers(model)}:
        return "weights are held, or frozen, by the model and not by its layers"
    return ""


def _trained_by_layers(model: keras.Model) -> Iterator[keras.Variable]:
    for layer in model.layers:
        opened = is_nested_model(layer) and not is_made_from_own_config(layer)
        yield from _trained_by_layers(layer) if opened else layer.trainable_variables


def _reason_of_layer(masked: Masked) -> str:
    layer = masked.layer
    if type(layer) not in SPARSE_CLASSES:
        return f"it is a {type(layer).__name__}"
    if masked.weight_paths != ["kernel"]:
        return "its bias is masked too"
    if layer.compute_dtype != "float32":
        return f"it computes in {layer.compute_dtype}"
    if any(weight.trainable != layer.trainable for weight in layer.weights):
        return "its kernel or bias alone is frozen"
    if layer.kernel.shape.num_elements() > MOST_WEIGHTS:
        return f"it has more than {MOST_WEIGHTS:,} weights"
    if getattr(layer, "lora_enabled", False):
        return "LoRA is enabled"
    if isinstance(layer.activation, keras.layers.Layer) and (not layer.activation.built or layer.activation.variables):
        return "its activation has variables"
    if layer.kernel_constraint is not None:
        return "its kernel has a constraint"
    if layer.activity_regularizer is not None:
        return "it has an activity regularizer"
    if layer.kernel_regularizer is not None and type(layer.kernel_regularizer) not in SUMS:
        return "its regularizer is no sum over the weights"
    if isinstance(layer, keras.layers.Conv2D):
        sizes = _build_shape(layer)[1:]
        return reason_of_convolution(layer) or ("" if all(sizes) else "the size of its images is not known")
    return ""


def work_of(masked: Masked) -> Work:
    """Returns what a layer that the kernels cover computes for an example.

    Args:
        masked: The mask-applying layer.
    """
    layer = masked.layer
    size = layer.kernel.shape.num_elements()
    if isinstance(layer, keras.layers.Dense):
        return Work(DENSE, size)
    _, height, width, _ = layer.compute_output_shape(_build_shape(layer))
    return Work(CONVOLUTION, size, height * width)


def _build_shape(layer: keras.layers.Layer) -> tuple[int | None, ...]:
    """Returns the shape of inputs that a layer was built for."""
    if isinstance(layer, keras.layers.Dense):
        return (None, int(layer.kernel.shape[0]))
    shape = (layer.get_build_config() or {}).get("input_shape")
    return tuple(shape) if shape else (None, None, None, int(layer.kernel.shape[2]))


def shared_sparse_model(
    model: keras.Model, capacities: Mapping[str, int], *, batch_size: int = 32
) -> tuple[keras.Model, dict[str, SparseLayer]]:
    """Returns a model that shares all layers with a wrapped one but some, which compute by the sparse kernels.

    Args:
        model: A wrapped model.
        capacities: How many values each of these layers has room for, by path; at least as many as its mask keeps.
        batch_size: As for `sparsify`.

    Returns:
        The model, and its sparse layers by path.
    """
    paths = {id(layer): path for path, layer in masked_layers(model).items() if path in capacities}
    sparse: dict[str, SparseLayer] = {}

    def replace(layer: keras.layers.Layer) -> keras.layers.Layer:
        if id(layer) not in paths:
            return layer
        path = paths[id(layer)]
        sparse[path] = _sparse_layer(layer, max(capacities[path], 1), batch_size)
        return sparse[path]

    return clone_graph(model, replace), sparse


def _sparse_layer(masked: Masked, capacity: int, batch_size: int) -> SparseLayer:
    layer = masked.layer
    sparse = SPARSE_CLASSES[type(layer)](layer.get_config(), capacity, batch_size)
    sparse.build(_build_shape(layer))
    sparse.set_kernel(keras.ops.convert_to_numpy(layer.kernel.value), masked.get_masks()["kernel"])
    if sparse.bias is not None:
        sparse.bias.assign(layer.bias)
    return sparse
