"""Gradients that criteria need: of the loss, of the gradient's norm (Hessian times gradient), of the sum over paths.

All take a wrapped or a plain model, change nothing in it, and give arrays by the path of each maskable weight.
"""

from tf_lottery.training.gradients.loss import gradients, hessian_gradients
from tf_lottery.training.gradients.path_gradients import path_function, path_gradients

__all__ = ["gradients", "hessian_gradients", "path_function", "path_gradients"]
