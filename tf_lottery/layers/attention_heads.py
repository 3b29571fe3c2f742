"""Where the heads of attention layers lie in the kernels of their projections."""

from dataclasses import dataclass

import keras

from tf_lottery.layers.sublayers import join, sublayers_by_path


@dataclass(frozen=True)
class Heads:
    """Where the heads of one projection lie.

    Attributes:
        attention: The path of the attention layer.
        axis: The axis of the kernel that numbers heads.
        per_unit: How many consecutive heads belong to one key and value head.
    """

    attention: str
    axis: int
    per_unit: int = 1


def heads_by_projection(layer: keras.layers.Layer, path: str) -> dict[int, Heads]:
    """Returns where the heads lie, by the id of each projection of the attention layers in a layer.

    The kernels of query, key, value and gate are (inputs, heads, size of a head), those of the output (heads, size of a
    head, outputs). In grouped-query attention one key and value head serves several consecutive query heads, which are
    pruned with it.

    Args:
        layer: An attention layer, or a layer that holds some.
        path: Its path in the model.
    """
    heads: dict[int, Heads] = {}
    for name, attention in sublayers_by_path(layer):
        if isinstance(attention, keras.layers.MultiHeadAttention):
            per_unit = 1
        elif isinstance(attention, keras.layers.GroupQueryAttention):
            per_unit = attention.num_query_heads // attention.num_key_value_heads
        else:
            continue
        for projection, axis, size in (
            ("_query_dense", 1, per_unit),
            ("_gate_dense", 1, per_unit),
            ("_key_dense", 1, 1),
            ("_value_dense", 1, 1),
            ("_output_dense", 0, per_unit),
        ):
            held = getattr(attention, projection, None)
            kernel = getattr(held, "kernel", None)
            if kernel is not None and len(kernel.shape) >= 3:
                heads[id(held)] = Heads(join(path, name), axis, size)
    return heads
