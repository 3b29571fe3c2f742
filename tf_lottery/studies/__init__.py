"""Studies of a run: what is measured on the weights, masks and networks of its trainings.

A study is one function from a `StudyRun` to a `StudyOutcome`, in the module of its name (`stability.py`,
`instability.py`, `rounds_barrier.py`, `overlap.py`, `survivors.py`, `weight_noise.py`, `corruption.py`, `attacks.py`,
`transfer.py`), and one line in `study_registry.STUDIES`. The modules `study_*.py`, `extending.py`, `barriers.py` and
`*_report.py` are shared by studies; `calculations/` needs no run; `claims/` checks claims of the literature. Names are
loaded when they are first used: listing the studies loads no TensorFlow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tf_lottery.studies.barriers import Barrier, barrier
    from tf_lottery.studies.study_outcome import StudyOutcome
    from tf_lottery.studies.study_registry import STUDIES, Study, analyze
    from tf_lottery.studies.study_run import StudyRun

_HOMES = {
    **{"Barrier": "barriers", "barrier": "barriers", "StudyOutcome": "study_outcome", "StudyRun": "study_run"},
    **{"STUDIES": "study_registry", "Study": "study_registry", "analyze": "study_registry"},
}
__all__ = ["STUDIES", "Barrier", "Study", "StudyOutcome", "StudyRun", "analyze", "barrier"]


def __getattr__(name: str) -> Any:
    """Load a public name of this package."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
