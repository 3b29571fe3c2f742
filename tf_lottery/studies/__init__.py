"""Studies of a run: what its networks are like, from their weights, their masks and the data.

A study is one function from a `StudyRun` to an `Outcome` and one line in `registry.STUDIES`. Names are loaded when they
are first used: listing the studies loads no TensorFlow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tf_lottery.studies.barriers import Barrier, barrier
    from tf_lottery.studies.study_outcome import Outcome
    from tf_lottery.studies.study_registry import STUDIES, Study, analyze
    from tf_lottery.studies.study_run import StudyRun

_HOMES = {
    **{"Barrier": "barriers", "barrier": "barriers", "Outcome": "study_outcome", "StudyRun": "study_run"},
    **{"STUDIES": "study_registry", "Study": "study_registry", "analyze": "study_registry"},
}
__all__ = ["STUDIES", "Barrier", "Outcome", "Study", "StudyRun", "analyze", "barrier"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
