"""Export: a pruned Keras model becomes files that are proven to compute the same.

Importing this package loads neither TensorFlow nor Keras; the names below are loaded on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tf_lottery.exporting.checks.checksums import check_file as check_file
    from tf_lottery.exporting.export_report import ExportReport as ExportReport
    from tf_lottery.exporting.pipeline import export as export

_HOMES = {
    "export": "tf_lottery.exporting.pipeline",
    "check_file": "tf_lottery.exporting.checks.checksums",
    "ExportReport": "tf_lottery.exporting.export_report",
}

__all__ = ["ExportReport", "check_file", "export"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOMES))
