"""A user's own objects by name: the import path `package.module:name`, and the object that it leads to.

An object that no import path leads to (a lambda, a local function, one of the script that runs) has a name in this
process only, under which it is registered here.
"""

import contextlib
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tf_lottery.errors import LotteryError, UnfitError, UsageError
from tf_lottery.utils.text import one_line, suggestion

_NAME = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
_IMPORT_PATH = re.compile(rf"{_NAME}:{_NAME}")
_LOCAL = re.compile(r"local:\w+-[0-9a-f]{10}")
_local_objects: dict[str, Any] = {}


def is_import_path(text: str) -> bool:
    """Return whether a text has the form `package.module:name`."""
    return _IMPORT_PATH.fullmatch(text) is not None


def is_local(text: str) -> bool:
    """Return whether a text names an object of one process only."""
    return _LOCAL.fullmatch(text) is not None


def is_reference(text: str) -> bool:
    """Return whether a text refers to a user's own object."""
    return is_import_path(text) or is_local(text)


def import_path(value: Any, *modules: str) -> str | None:
    """Return the import path that leads to an object; None where none does.

    An object of the script that runs has none: another process knows it under another name, or not at all.

    Args:
        value: the object.
        *modules: names of further modules that may hold it, beside the one that defines it.

    Example:
        >>> import_path(re.escape), import_path(lambda: 1)
        ('re:escape', None)
    """
    for name in (getattr(value, "__module__", None), *modules):
        module = sys.modules.get(name) if isinstance(name, str) and name != "__main__" else None
        if module is None:
            continue
        own = getattr(value, "__qualname__", None)
        candidates = [own] if isinstance(own, str) else [key for key, held in vars(module).items() if held is value]
        for candidate in candidates:
            path = f"{name}:{candidate}"
            if is_import_path(path) and _look_up(module, candidate) is value:
                return path
    return None


def register_local(label: str, digest: str, value: Any) -> str:
    """Register an object of this process only; return its name.

    Args:
        label: a word to recognize it by.
        digest: ten hexadecimal digits that differ between objects that do different things.
        value: the object.

    Example:
        >>> resolve(register_local("half", "0123456789", 0.5), what="rate")
        0.5
    """
    name = f"local:{re.sub(r'[^A-Za-z0-9_]', '', label) or 'object'}-{digest}"
    _local_objects[name] = value
    return name


def resolve(reference: str, *, what: str) -> Any:
    """Return the object that a reference leads to. Modules in the current directory are found too.

    Args:
        reference: an import path, or the name of an object of this process.
        what: what the object is, for messages, e.g. "criterion".

    Raises:
        UsageError: there is no such module or object.
        UnfitError: the module can't be imported.

    Example:
        >>> resolve("math:pi", what="number")
        3.141592653589793
    """
    if is_local(reference):
        if reference not in _local_objects:
            raise UsageError(
                f"The {what} {reference!r} was a function of the process that began the run, unknown in this one.",
                "Pass that function again. One that a module holds is found by its import path in every process.",
            )
        return _local_objects[reference]
    module_name, _, name = reference.partition(":")
    with current_directory_importable():
        module = import_module(module_name, reference=reference, what=what)
    value = _look_up(module, name)
    if value is None:
        public = [key for key, held in vars(module).items() if key[0] != "_" and callable(held)]
        raise UsageError(
            f"The module {module_name!r} has no {name!r}, for the {what} {reference!r}.", suggestion(name, public)
        )
    return value


def import_module(module_name: str, *, reference: str, what: str) -> Any:
    """Import a user's module.

    Args:
        module_name: its dotted name.
        reference: the import path that names it, for messages.
        what: what that path leads to, for messages, e.g. "model".

    Raises:
        UsageError: there is no such module.
        UnfitError: the module raises an error.
    """
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise UsageError(
                f"No module named {error.name!r}, in {Path.cwd()} or installed, for the {what} {reference!r}.",
                "Run from the folder that holds it, or install it.",
            ) from error
        raise failed(what, reference, error) from error
    except (Exception, SystemExit) as error:  # A user's module may raise anything; its exit code is not ours.
        raise failed(what, reference, error) from error


def call_own(function: Callable[..., Any], what: str, reference: str, *args: Any, **kwargs: Any) -> Any:
    """Call a user's own function, and return what it returns.

    Args:
        function: the function.
        what: what it is, for messages, e.g. "criterion".
        reference: its name.
        *args: its positional arguments.
        **kwargs: its keyword arguments.

    Raises:
        UnfitError: the function raises an error; one of this library's passes through.

    Example:
        >>> call_own(max, "criterion", "builtins:max", 1, 2)
        2
    """
    try:
        return function(*args, **kwargs)
    except LotteryError:
        raise
    except (Exception, SystemExit) as error:  # A user's function may raise anything; its exit code is not ours.
        raise failed(what, reference, error) from error


def failed(what: str, reference: str, error: BaseException) -> LotteryError:
    """Return the error to raise where a user's own code failed.

    Args:
        what: what it is, e.g. "criterion".
        reference: its name.
        error: what it raised.
    """
    return UnfitError(f"The {what} {reference!r} failed: {type(error).__name__}: {one_line(error)}", "Mend it.")


@contextlib.contextmanager
def current_directory_importable() -> Iterator[None]:
    """Find modules in the current directory, inside this context."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        # A module written a moment ago is not yet in the importer's cached listing of its folder.
        importlib.invalidate_caches()
        yield
    finally:
        sys.path.remove(folder)


def _look_up(module: Any, name: str) -> Any:
    """Return the value of a dotted name in a module; None where there is none."""
    value = module
    for part in name.split("."):
        value = getattr(value, part, None)
    return value
