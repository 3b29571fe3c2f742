"""Gradients that criteria need: of the loss, of the gradient's norm (Hessian times gradient), of the sum over paths.

All take a wrapped or a plain model, change nothing in it, and give arrays by the path of each maskable weight.

The package is itself callable: `tf_lottery.gradients(model, x, y, loss=...)` calls its function `gradients`. A
subpackage and a function cannot share one name otherwise, because importing the package binds the name.
"""

import sys
from types import ModuleType
from typing import Any

from tf_lottery.gradients.loss import gradients, hessian_gradients
from tf_lottery.gradients.paths import path_function, path_gradients

__all__ = ["gradients", "hessian_gradients", "path_function", "path_gradients"]


class _CallableModule(ModuleType):
    """A module that passes calls on to its `gradients` function."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return gradients(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
