"""Find, train, study and ship lottery tickets: sparse subnetworks of Keras models.

Names are loaded when they are first used, so that importing this package loads no TensorFlow.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tf_lottery.compat.conversion import from_tfmot
    from tf_lottery.errors import LotteryError
    from tf_lottery.experiment.config import Config
    from tf_lottery.exporting import ExportReport, export
    from tf_lottery.exporting.quantization import quantize_aware
    from tf_lottery.exporting.slim import SlimReport, slim
    from tf_lottery.finding.find_ticket import find_ticket
    from tf_lottery.layers import (
        apply_masks,
        discover,
        get_masks,
        get_weights,
        load_model,
        load_weights,
        set_masks,
        set_weights,
        strip,
        wrap,
    )
    from tf_lottery.layers.sparse import densify, sparsify
    from tf_lottery.pruning import schedules
    from tf_lottery.pruning.criteria import scores
    from tf_lottery.pruning.masks import density, overlap
    from tf_lottery.pruning.select import prune, prune_to
    from tf_lottery.results.result import Result, open_run
    from tf_lottery.results.ticket import Ticket, load_ticket
    from tf_lottery.training import callbacks
    from tf_lottery.training.gradients import gradients, hessian_gradients, path_gradients

_HOME = {
    "Config": "experiment.config",
    "ExportReport": "exporting.export_report",
    "LotteryError": "errors",
    "Result": "results.result",
    "SlimReport": "exporting.slim",
    "Ticket": "results.ticket",
    "apply_masks": "layers",
    "densify": "layers.sparse",
    "density": "pruning.masks",
    "discover": "layers",
    "export": "exporting.pipeline",
    "find_ticket": "finding.find_ticket",
    "from_tfmot": "compat.conversion",
    "get_masks": "layers",
    "get_weights": "layers",
    "gradients": "training.gradients",
    "hessian_gradients": "training.gradients",
    "load_model": "layers",
    "load_ticket": "results.ticket",
    "load_weights": "layers",
    "open_run": "results.result",
    "overlap": "pruning.masks",
    "path_gradients": "training.gradients",
    "prune": "pruning.select",
    "prune_to": "pruning.select",
    "quantize_aware": "exporting.quantization",
    "scores": "pruning.criteria",
    "set_masks": "layers",
    "set_weights": "layers",
    "slim": "exporting.slim",
    "sparsify": "layers.sparse",
    "strip": "layers",
    "wrap": "layers",
}

# Modules under a name of their own.
_MODULES = {
    "callbacks": "training.callbacks",
    "schedules": "pruning.schedules",
}

try:
    __version__ = version("tf-lottery")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"

__all__ = [
    "Config",
    "ExportReport",
    "LotteryError",
    "Result",
    "SlimReport",
    "Ticket",
    "apply_masks",
    "callbacks",
    "densify",
    "density",
    "discover",
    "export",
    "find_ticket",
    "from_tfmot",
    "get_masks",
    "get_weights",
    "gradients",
    "hessian_gradients",
    "load_model",
    "load_ticket",
    "load_weights",
    "open_run",
    "overlap",
    "path_gradients",
    "prune",
    "prune_to",
    "quantize_aware",
    "schedules",
    "scores",
    "set_masks",
    "set_weights",
    "slim",
    "sparsify",
    "strip",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(f"tf_lottery.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        globals()[name] = module = import_module(f"tf_lottery.{_MODULES[name]}")
        return module
    raise AttributeError(f"module 'tf_lottery' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_MODULES})
