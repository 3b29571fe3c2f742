"""Optional dependencies: imported when they are needed, with a clear error where they are missing."""

import importlib
from types import ModuleType

from tf_lottery.errors import UsageError


def require(module: str, purpose: str) -> ModuleType:
    """Return an optional module, imported.

    Args:
        module: its dotted name, e.g. "matplotlib".
        purpose: what needs it, in the plural, e.g. "Figures".

    Raises:
        UsageError: it is not installed.

    Example:
        >>> require("json", "Documents").__name__
        'json'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        top = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != top:
            raise  # a module that the optional one needs itself
        raise UsageError(
            f"{purpose} need the package {top}, which is not installed.",
            'Install it with all that is optional: pip install "tf-lottery[all]".',
        ) from None
