"""A Keras model from what the user names: an architecture, a function of theirs, or a `.keras` file."""

import inspect
import os
import re
from pathlib import Path
from typing import Any

import keras

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.layers import load_model
from tf_lottery.layers.acceptance import check_model, check_weights_finite
from tf_lottery.models.architectures import ARCHITECTURES
from tf_lottery.models.catalog import CATALOG
from tf_lottery.utils.references import call_own, current_directory_importable, import_module
from tf_lottery.utils.text import suggestion

_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def build(spec: str | os.PathLike[str], *, input_shape: Any, classes: int | None) -> keras.Model:
    """Build or load a model.

    Args:
        spec: a name of the catalog; `package.module:function`, found from the current directory too, and called with
            those of `input_shape` and `classes` that its signature takes; or the path of a `.keras` file.
        input_shape: the shape of one example, e.g. (28, 28, 1).
        classes: the number of classes, or None where the data has none.

    Returns:
        A built model. Its unseeded initializers draw from Python's `random`: see `tf_lottery.utils.seeds.seeded`.

    Raises:
        UsageError: an unknown name, a function or file that is not there.
        UnfitError: a function that fails or returns no built Keras 3 model, or a file that needs unknown code.
        NonFiniteError: a weight is NaN or infinite.
        DamagedError: a file that is truncated or altered.
        ResourceError: a file that may not be read.
    """
    text = os.fspath(spec)
    if text.endswith(".keras"):
        model = _load(Path(text).expanduser())
    elif _FUNCTION.fullmatch(text):
        model = _call(text, input_shape=input_shape, classes=classes)
    elif text in ARCHITECTURES:
        # The architecture itself refuses None, with the reason.
        model = ARCHITECTURES[text](input_shape, classes)  # type: ignore[arg-type]
    else:
        raise UsageError(
            f"Unknown model {text!r}: no architecture, no `package.module:function`, no `.keras` file.",
            suggestion(text, CATALOG),
        )
    check_model(model, source=text, error=UnfitError, subclassed=True)
    check_weights_finite(model, source=text)
    return model


def _load(path: Path) -> keras.Model:
    try:
        return load_model(path, safe_mode=True)
    except UnfitError as error:
        raise UnfitError(
            error.cause,
            "Give a function as `package.module:function` that imports its custom layers and loads or builds it.",
        ) from error


def _call(text: str, *, input_shape: Any, classes: int | None) -> Any:
    module_name, _, function_name = text.partition(":")
    with current_directory_importable():
        module = import_module(module_name, reference=text, what="model function")
        function = getattr(module, function_name, None)
        if not callable(function):
            functions = [name for name, _ in inspect.getmembers(module, inspect.isfunction) if name[0] != "_"]
            raise UsageError(
                f"The module {module_name!r} has no function {function_name!r}.", suggestion(function_name, functions)
            )
        arguments = _accepted(function, text, {"input_shape": input_shape, "classes": classes})
        return call_own(function, "model function", text, **arguments)


def _accepted(function: Any, text: str, offered: dict[str, Any]) -> dict[str, Any]:
    """Those of the offered arguments that the function takes."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return offered
    required = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind is not parameter.VAR_POSITIONAL
        and (parameter.name not in offered or parameter.kind is parameter.POSITIONAL_ONLY)
    ]
    if required:
        raise UsageError(
            f"The function {text!r} must take no arguments, or `input_shape` and `classes`. It also requires: "
            f"{', '.join(required)}.",
            "Give those defaults.",
        )
    return {parameter.name: offered[parameter.name] for parameter in parameters if parameter.name in offered}
