"""Find, train, study and ship lottery tickets: sparse subnetworks of Keras models.

Names are loaded when they are first used, so that importing this package loads no TensorFlow.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tf_lottery.errors import LotteryError
    from tf_lottery.experiment.config import Config
    from tf_lottery.export import ExportReport, export
    from tf_lottery.finding import find_ticket
    from tf_lottery.gradients import gradients, hessian_gradients, path_gradients
    from tf_lottery.layers import (
        apply_masks,
        discover,
        get_masks,
        get_weights,
        load_model,
        set_masks,
        set_weights,
        strip,
        wrap,
    )
    from tf_lottery.masks import density, overlap
    from tf_lottery.pruning import prune, prune_to
    from tf_lottery.result import Result, open_run
    from tf_lottery.scoring import scores
    from tf_lottery.slimming import SlimReport, slim
    from tf_lottery.ticket import Ticket, load_ticket

_HOME = {
    "Config": "experiment.config",
    "ExportReport": "export",
    "LotteryError": "errors",
    "Result": "result",
    "SlimReport": "slimming",
    "Ticket": "ticket",
    "apply_masks": "layers",
    "density": "masks",
    "discover": "layers",
    "export": "export",
    "find_ticket": "finding",
    "get_masks": "layers",
    "get_weights": "layers",
    "gradients": "gradients",
    "hessian_gradients": "gradients",
    "load_model": "layers",
    "load_ticket": "ticket",
    "open_run": "result",
    "overlap": "masks",
    "path_gradients": "gradients",
    "prune": "pruning",
    "prune_to": "pruning",
    "scores": "scoring",
    "set_masks": "layers",
    "set_weights": "layers",
    "slim": "slimming",
    "strip": "layers",
    "wrap": "layers",
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
    "density",
    "discover",
    "export",
    "find_ticket",
    "get_masks",
    "get_weights",
    "gradients",
    "hessian_gradients",
    "load_model",
    "load_ticket",
    "open_run",
    "overlap",
    "path_gradients",
    "prune",
    "prune_to",
    "scores",
    "set_masks",
    "set_weights",
    "slim",
    "strip",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(f"tf_lottery.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'tf_lottery' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
