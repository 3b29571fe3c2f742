"""Export: a pruned Keras model becomes files that are proven to compute the same.

The package is itself callable: `tf_lottery.export(model, path)` is `tf_lottery.export.export(model, path)`. A
subpackage and a function cannot share one name otherwise, because importing any module below a package binds the
package's name.

Importing this package loads neither TensorFlow nor Keras; the names below are loaded on first use.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tf_lottery.export.integrity import check_file as check_file
    from tf_lottery.export.pipeline import export as export
    from tf_lottery.export.report import ExportReport as ExportReport

_HOMES = {
    "export": "tf_lottery.export.pipeline",
    "check_file": "tf_lottery.export.integrity",
    "ExportReport": "tf_lottery.export.report",
}

__all__ = ["ExportReport", "check_file", "export"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOMES))


class _CallableModule(ModuleType):
    """A module that passes calls on to its `export` function."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return __getattr__("export")(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
