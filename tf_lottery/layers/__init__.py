"""Mask-applying layers: wrap a Keras model, strip it, get and set its masks."""

from tf_lottery.layers.acceptance import is_wrapped
from tf_lottery.layers.architecture import architecture, model_from_architecture
from tf_lottery.layers.discovery import Discovery, MaskableWeight, discover
from tf_lottery.layers.masked import Masked
from tf_lottery.layers.model_file import load_model
from tf_lottery.layers.paths import named_layers, named_variables
from tf_lottery.layers.selectors import Selector
from tf_lottery.layers.weight_files import load_weights
from tf_lottery.layers.wrapping import (
    apply_masks,
    copy_model,
    get_masks,
    get_weights,
    set_masks,
    set_weights,
    strip,
    wrap,
)

__all__ = [
    "Discovery",
    "MaskableWeight",
    "Masked",
    "Selector",
    "apply_masks",
    "architecture",
    "copy_model",
    "discover",
    "get_masks",
    "get_weights",
    "is_wrapped",
    "load_model",
    "load_weights",
    "model_from_architecture",
    "named_layers",
    "named_variables",
    "set_masks",
    "set_weights",
    "strip",
    "wrap",
]
