"""Channel rules of layers that pad, repeat or move positions, and of those that flatten channels into features."""

import numpy as np

from tf_lottery.exporting.slim.channel_map import ChannelArrays, ChannelMap, ShapedLayer


def zero_padding(shaped: ShapedLayer) -> ChannelMap:
    """Returns the map of a `ZeroPadding` layer: constant channels get a border of zeros."""
    return ChannelMap(adds_border=True)


def up_sampling(shaped: ShapedLayer) -> ChannelMap:
    """Returns the map of an `UpSampling` layer: constant channels keep their values."""
    # Other interpolations may overshoot at the border.
    exact = getattr(shaped.layer, "interpolation", "nearest") in ("nearest", "bilinear")
    return ChannelMap() if exact else ChannelMap(value=_zeros_only)


def flatten(shaped: ShapedLayer) -> ChannelMap | str:
    """Returns the map of a `Flatten`: channel c becomes the features c, c + channels, c + 2 * channels, ..."""
    width = shaped.inputs[0][-1]
    if len(shaped.output) != 2 or shaped.output[-1] is None or not width:
        return "the number of its outputs is not known"
    positions = shaped.output[-1] // width

    def layout(arrays: ChannelArrays) -> np.ndarray:
        return np.tile(arrays[0], positions)

    return ChannelMap(layout, layout)


def reshape(shaped: ShapedLayer) -> ChannelMap | str:
    """Returns the map of a `Reshape` that keeps channels on the last axis or flattens them."""
    if shaped.inputs[0][-1] == shaped.output[-1]:
        return ChannelMap()
    if len(shaped.output) == 2:
        return flatten(shaped)
    return "it moves channels to other axes"


def permute(shaped: ShapedLayer) -> ChannelMap | str:
    """Returns the map of a `Permute` that keeps channels on the last axis."""
    return ChannelMap() if shaped.layer.dims[-1] == len(shaped.layer.dims) else "it moves channels to other axes"


def _zeros_only(values: ChannelArrays) -> np.ndarray:
    return np.where(values[0] == 0, 0.0, np.nan)
